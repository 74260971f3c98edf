"""The scoring of VoxCeleb1's trials, and its metrics.

37,720 trials of 4,708 utterances in 5 segments of 128, as in Vox1-O; embeddings are random. The
baseline is what a verification script does: one call a trial.
"""

import argparse
import statistics

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks import medians_and_ratio, seconds_in_turn
from ipet.intervals import error_rate_intervals
from ipet.scoring import as_norm, score_trials
from ipet.verification_metrics import eer, min_dcf

NUM_TRIALS, NUM_UTTERANCES, NUM_SEGMENTS, WIDTH, NUM_COHORT = 37_720, 4_708, 5, 128, 1_211
NUM_SPEAKERS = 40

ONE_BY_ONE, BATCHED = "scores, one call a trial", "scores, mean distance"


def one_by_one(embeddings: torch.Tensor, pairs: np.ndarray) -> list[float]:
    """One Python call a trial."""
    embeddings = F.normalize(embeddings, dim=-1)
    return [-torch.cdist(embeddings[a], embeddings[b]).mean().item() for a, b in pairs.tolist()]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    parser.add_argument("-rounds", type=int, default=5, help="timed rounds")


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print a row for each step; on the CPU."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(NUM_UTTERANCES, NUM_SEGMENTS, WIDTH, generator=generator)
    cohort = torch.randn(NUM_COHORT, NUM_SEGMENTS, WIDTH, generator=generator)
    rng = np.random.default_rng(0)
    pairs = rng.integers(NUM_UTTERANCES, size=(NUM_TRIALS, 2))
    targets = rng.random(NUM_TRIALS) < 0.5
    scores = score_trials(embeddings, pairs)
    np.testing.assert_allclose(scores, one_by_one(embeddings, pairs), atol=1e-4)  # the same work
    calls = {
        ONE_BY_ONE: lambda: one_by_one(embeddings, pairs),
        BATCHED: lambda: score_trials(embeddings, pairs),
        "scores, cosine": lambda: score_trials(embeddings, pairs, "cosine"),
        "AS-norm, cohort of 1,211": lambda: as_norm(scores, pairs, embeddings, cohort),
        "EER and both minDCF": lambda: [
            eer(scores, targets),
            min_dcf(scores, targets),
            min_dcf(scores, targets, c_miss=10),
        ],
        "their 95 % intervals": lambda: error_rate_intervals(scores, targets, pairs % NUM_SPEAKERS),
    }
    seconds = seconds_in_turn(calls, args.rounds, torch.device("cpu"))
    rows = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(f"{NUM_TRIALS:,} trials of {NUM_UTTERANCES:,} utterances, {torch.get_num_threads()} threads")
    for name, value in rows.items():
        print(f"{name:<26}{value:9.3f} s")
    ratio = medians_and_ratio(seconds, over=ONE_BY_ONE, under=BATCHED)
    spread = f"({ratio['ratio_min']:.0f} - {ratio['ratio_max']:.0f})"
    print(f"batched against one by one: {ratio['ratio']:.0f} x {spread}")
    return rows | {"ratio": ratio["ratio"]}
