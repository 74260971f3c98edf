"""The scoring of VoxCeleb1's trials, and its metrics.

37,720 trials of 4,708 utterances in 5 segments of 128, as in Vox1-O; embeddings are random. The
baseline is what a verification script does: one call a trial.
"""

import argparse
import time

import numpy as np
import torch
from torch.nn import functional as F

from ipet.metrics import eer, eer_interval, min_dcf
from ipet.scoring import as_norm, score_trials

NUM_TRIALS, NUM_UTTERANCES, NUM_SEGMENTS, WIDTH, NUM_COHORT = 37_720, 4_708, 5, 128, 1_211


def seconds(call, repeats: int = 5) -> float:
    """The median time of a call, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def one_by_one(embeddings: torch.Tensor, pairs: np.ndarray) -> list[float]:
    """One Python call a trial."""
    embeddings = F.normalize(embeddings, dim=-1)
    return [-torch.cdist(embeddings[a], embeddings[b]).mean().item() for a, b in pairs.tolist()]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part has none."""


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
    loop = seconds(lambda: one_by_one(embeddings, pairs), repeats=1)
    batched = seconds(lambda: score_trials(embeddings, pairs))
    rows = {
        "scores, one call a trial": loop,
        "scores, mean distance": batched,
        "scores, cosine": seconds(lambda: score_trials(embeddings, pairs, "cosine")),
        "AS-norm, cohort of 1,211": seconds(lambda: as_norm(scores, pairs, embeddings, cohort)),
        "EER and both minDCF": seconds(
            lambda: [eer(scores, targets), min_dcf(scores, targets), min_dcf(scores, targets, c_miss=10)]
        ),
        "EER's 95 % interval": seconds(lambda: eer_interval(scores, targets)),
    }
    print(f"{NUM_TRIALS:,} trials of {NUM_UTTERANCES:,} utterances, {torch.get_num_threads()} threads")
    for name, value in rows.items():
        print(f"{name:<26}{value:9.3f} s")
    print(f"batched against one by one: {loop / batched:.0f} x")

    return rows
