"""Clips of 1 to 10 s at their own lengths: batches of like length against batches of any length.

The two small backbones that ship with this repository, IPET, fp32, noise in memory. A round is an epoch of
training steps in each way, front end to optimiser, and a pass over an evaluation list. Padded is the share of
a batch's samples that fill up its shorter clips.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import medians_and_ratio, seconds_in_turn
from benchmarks.ways import Setting, build, noise_datasets, trainer_of
from ipet.audio import SAMPLE_RATE
from ipet.datasets import EpochBatches, collate
from ipet.trainer import Trainer
from ipet.tuning import train_mode

LONGEST = 10  # s, and the shortest 1 s
FRAMES = ("-variable_length", "-frame_length", str(100 * LONGEST))
SETTINGS = {
    "ast_small": Setting("ast_esc50", 8, 50, ("-pretrained", "ast_small", *FRAMES)),
    "wav2vec2_small": Setting("w2v_speechcommands", 8, 35, ("-pretrained", "wav2vec2_small", *FRAMES)),
}


class NoiseOfManyLengths:
    """Recordings of noise, of any path, in memory: from a tenth of the longest to the longest.

    Args:
        longest: samples.
    """

    def __init__(self, longest: int):
        self.longest = longest

    def length(self, path: Path) -> int:
        """Samples of a recording, the same for the same path."""
        return int(np.random.default_rng(int(path.name)).integers(self.longest // 10, self.longest + 1))

    def read(self, path: Path, start: int = 0, num_samples: int | None = None) -> Tensor:
        """[T] samples at 16 kHz, the same for the same path."""
        rng = np.random.default_rng([int(path.name), 1])
        return 0.1 * torch.from_numpy(rng.standard_normal(self.length(path), np.float32))


def padded_share(batches: list[np.ndarray], lengths: np.ndarray) -> float:
    """The share of some batches' samples that fill up the shorter clips."""
    whole = sum(len(batch) * int(lengths[batch].max()) for batch in batches)
    return 1 - sum(int(lengths[batch].sum()) for batch in batches) / whole


def epoch_of(training: Trainer, batches: EpochBatches) -> Callable[[], None]:
    """An epoch of training steps on clips that are read once, here."""
    read = [collate([training.datasets.train[key] for key in keys]) for keys in batches]

    def take() -> None:
        train_mode(training.model, training.recipe.frozen_dropout)
        for i, batch in enumerate(read):
            training.train_step(batch.to(training.device), batches.weights(i))

    return take


def pass_over(training: Trainer, lengths: np.ndarray | None) -> np.ndarray:
    """The outputs of the evaluation list, in batches of like length or, without lengths, in its order."""
    [clips] = training.datasets.evaluation.values()
    training.known_lengths[clips] = lengths
    return training.predict(clips)


def compare(setting: str, num_clips: int, rounds: int, device: torch.device) -> dict[str, dict]:
    """Of training and of evaluation: seconds of both ways, their ratio, and what both fill up."""
    given = SETTINGS[setting]
    built = build(given, "ipet", "fp32", device)
    datasets = noise_datasets(built.args, num_clips, LONGEST, given.num_classes)
    datasets.read_from(NoiseOfManyLengths(built.model.front_end.num_samples))
    with tempfile.TemporaryDirectory() as scratch:
        training = trainer_of(built, datasets, scratch, device)
    lengths = {"training": datasets.train.lengths(), "evaluation": datasets.evaluation["eval"].lengths()}
    of_any = EpochBatches(num_clips, given.batch_size, training.recipe.seed)
    results = {}
    orders = {  # of batches
        "training": (list(training.batches.global_batches()), list(of_any.global_batches())),
        "evaluation": tuple(
            np.split(order, range(given.batch_size, num_clips, given.batch_size))
            for order in (np.argsort(-lengths["evaluation"], kind="stable"), np.arange(num_clips))
        ),
    }
    calls = {
        "training": {"alike": epoch_of(training, training.batches), "any": epoch_of(training, of_any)},
        "evaluation": {
            "alike": partial(pass_over, training, lengths["evaluation"]),
            "any": partial(pass_over, training, None),
        },
    }
    alike, other = (torch.from_numpy(call()) for call in calls["evaluation"].values())
    torch.testing.assert_close(alike, other, rtol=1e-3, atol=1e-4)
    for part in orders:
        measured = medians_and_ratio(seconds_in_turn(calls[part], rounds, device), over="any", under="alike")
        padded = [padded_share(batches, lengths[part]) for batches in orders[part]]
        results[part] = measured | {"padded_alike": padded[0], "padded_any": padded[1]}
    return results


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    parser.add_argument("-only", choices=SETTINGS, nargs="+", default=list(SETTINGS), help="some settings")
    parser.add_argument("-clips", type=int, default=40, help="to train on, and to evaluate")
    parser.add_argument("-rounds", type=int, default=3, help="timed rounds")


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print two rows a setting: training and evaluation."""
    print(
        f"{args.clips} clips of {LONGEST // 10} to {LONGEST} s, {SAMPLE_RATE} Hz\n{'setting':<16}{'part':<12}"
        f"{'alike s':>8}{'any s':>8}{'ratio':>7}   {'(min - max)':<16}{'padded':>8}{'any':>7}"
    )
    results = {}
    for setting in args.only:
        results[setting] = compare(setting, args.clips, args.rounds, device)
        for part, r in results[setting].items():
            spread = f"({r['ratio_min']:.2f} - {r['ratio_max']:.2f})"
            print(
                f"{setting:<16}{part:<12}{r['alike']:>8.2f}{r['any']:>8.2f}{r['ratio']:>7.2f}   {spread:<16}"
                f"{100 * r['padded_alike']:>6.1f} %{100 * r['padded_any']:>5.1f} %",
                flush=True,
            )
    return results
