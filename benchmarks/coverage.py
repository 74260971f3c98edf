"""How often the 95 % intervals hold the value that they are of: simulated lists and trials.

Lists have classes of few and of many positive clips; trials are of 40 speakers, as in Vox1-O, or fewer. The
truth is the metric's mean over many such lists. ``below`` and ``above`` are the shares of intervals that lie
wholly below and above it, 2.5 % each if all is well.
"""

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from ipet.intervals import (
    ClipBootstrap,
    SpeakerBootstrap,
    difference_interval,
    error_rate_intervals,
    mean_average_precision_interval,
    weighted_eer,
    weighted_mean_average_precision,
)
from ipet.metrics import mean_average_precision
from ipet.verification_metrics import error_rates, trial_speakers

TRUTHS = 4  # lists that the truth is the mean of, for each one that an interval is of; at least 500


class Coverage(NamedTuple):
    """Shares of intervals that hold the truth, and that lie wholly below or above it; their mean width."""

    held: float
    below: float
    above: float
    width: float


def simulated_list(
    rng: np.random.Generator, num_clips: int, num_classes: int, positives: int, drawn: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and targets, [N, C], of a list whose classes are 1.5 deviations apart.

    Args:
        positives: Positive clips of each class.
        drawn: Their number is itself drawn, and some clips have higher scores than others in all classes.
    """
    if drawn:
        targets = rng.random((num_clips, num_classes)) < positives / num_clips
    else:
        order = rng.random((num_clips, num_classes)).argsort(axis=0)
        targets = order < positives
    scores = rng.standard_normal((num_clips, num_classes)) + 1.5 * targets
    return scores + 0.7 * drawn * rng.standard_normal((num_clips, 1)), targets


class Voices(NamedTuple):
    """Trials of simulated speakers.

    ``noise`` [2]: deviation of the utterances around a speaker's centre, for each of two systems that hear
    the same utterances.
    """

    speakers: int
    utterances: int
    noise: tuple[float, float] = (0.8, 0.8)

    def trials(self, rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Return the scores [N] of both systems, the targets [N], and the trials' speakers [N, 2].

        Each utterance is compared with 4 of its speaker and 4 of others, as in Vox1-O. Speakers differ in how
        much their utterances do.
        """
        count = self.speakers * self.utterances
        speaker = np.repeat(np.arange(self.speakers), self.utterances)
        centres = rng.standard_normal((self.speakers, 16))
        spread = np.exp(0.3 * rng.standard_normal(self.speakers))[speaker, None]
        own = spread * rng.standard_normal((count, 16))
        one = np.repeat(np.arange(count), 8)
        targets = np.tile(np.arange(8) < 4, count)
        offset = rng.integers(1, self.utterances, len(one))
        same = speaker[one] * self.utterances + (one % self.utterances + offset) % self.utterances
        stranger = (speaker[one] + rng.integers(1, self.speakers, len(one))) % self.speakers
        other = stranger * self.utterances + rng.integers(0, self.utterances, len(one))
        pairs = np.stack([one, np.where(targets, same, other)], axis=1)
        scores = []
        for noise in self.noise:
            mixed = 0.9 * own + 0.44 * rng.standard_normal(own.shape)  # what the systems hear differently
            voices = centres[speaker] + noise * mixed
            voices /= np.linalg.norm(voices, axis=1, keepdims=True)
            scores.append((voices[pairs[:, 0]] * voices[pairs[:, 1]]).sum(axis=1))
        return scores, targets, trial_speakers(pairs, targets, list(map(str, speaker)))


def measured(
    interval: Callable[[np.random.Generator], tuple[float, float]],
    value: Callable[[np.random.Generator], float],
    repetitions: int,
    seed: int = 0,
) -> Coverage:
    """Return how many of ``repetitions`` intervals hold the mean of the values."""
    values, draws = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    truth = np.mean([value(values) for _ in range(max(500, TRUTHS * repetitions))])
    low, high = np.array([interval(draws) for _ in range(repetitions)]).T
    held = (low <= truth) & (truth <= high)
    return Coverage(*(float(np.mean(share)) for share in (held, high < truth, low > truth, high - low)))


def of_mean_average_precision(
    positives: int, drawn: bool, repetitions: int, num_clips: int = 250, num_classes: int = 10
) -> Coverage:
    """Return the coverage of the interval of mAP."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return simulated_list(rng, num_clips, num_classes, positives, drawn)

    return measured(
        lambda rng: mean_average_precision_interval(*draw(rng)),
        lambda rng: mean_average_precision(*draw(rng)),
        repetitions,
    )


def of_error_rate(name: str, voices: Voices, repetitions: int) -> Coverage:
    """Return the coverage of the interval of ``EER`` or ``minDCF``."""

    def interval(rng: np.random.Generator) -> tuple[float, float]:
        (scores, _), targets, speakers = voices.trials(rng)
        return error_rate_intervals(scores, targets, speakers)[name]

    def value(rng: np.random.Generator) -> float:
        (scores, _), targets, _ = voices.trials(rng)
        return error_rates(scores, targets)[name]

    return measured(interval, value, repetitions)


def of_eer_difference(voices: Voices, repetitions: int) -> Coverage:
    """Return the coverage of the paired difference of two systems' EER."""

    def interval(rng: np.random.Generator) -> tuple[float, float]:
        scores, targets, speakers = voices.trials(rng)
        one, other = (weighted_eer(each, targets) for each in scores)
        return difference_interval(lambda w: one(w) - other(w), [SpeakerBootstrap(speakers)])[1:]

    def value(rng: np.random.Generator) -> float:
        scores, targets, _ = voices.trials(rng)
        one, other = (error_rates(each, targets)["EER"] for each in scores)
        return one - other

    return measured(interval, value, repetitions)


def of_precision_difference(positives: int, repetitions: int, num_clips: int = 250) -> Coverage:
    """Return the coverage of the paired difference of two systems' mAP."""

    def draw(rng: np.random.Generator) -> tuple[list[np.ndarray], np.ndarray]:
        scores, targets = simulated_list(rng, num_clips, 10, positives, False)
        return [scores + a * rng.standard_normal(scores.shape) for a in (0.4, 0.8)], targets

    def interval(rng: np.random.Generator) -> tuple[float, float]:
        scores, targets = draw(rng)
        one, other = (weighted_mean_average_precision(each, targets) for each in scores)
        return difference_interval(lambda w: one(w) - other(w), [ClipBootstrap(num_clips)])[1:]

    def value(rng: np.random.Generator) -> float:
        scores, targets = draw(rng)
        one, other = (mean_average_precision(each, targets) for each in scores)
        return one - other

    return measured(interval, value, repetitions)


FORTY = Voices(40, 12)
SETTINGS: dict[str, Callable[[int], Coverage]] = {
    **{
        f"mAP, {n} positives a class{', drawn' * drawn}": lambda r, n=n, drawn=drawn: (
            of_mean_average_precision(n, drawn, r)
        )
        for n in (5, 10, 50)
        for drawn in (False, True)
    },
    **{
        f"{name}, {voices.speakers} speakers of {voices.utterances}": lambda r, n=name, v=voices: (
            of_error_rate(n, v, r)
        )
        for name in ("EER", "minDCF")
        for voices in (FORTY, Voices(20, 12), Voices(10, 12))
    },
    "mAP, paired difference": lambda r: of_precision_difference(10, r),
    "EER, paired difference": lambda r: of_eer_difference(Voices(40, 12, (0.8, 1.0)), r),
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    parser.add_argument("-repetitions", type=int, default=500, help="intervals of each setting")
    parser.add_argument(
        "-only", nargs="+", default=[""], metavar="WORD", help="settings whose name begins so"
    )


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print a row for each setting; on the CPU."""
    print(f"{args.repetitions:,} intervals each\n{'of':<32}{'held':>8}{'below':>8}{'above':>8}{'width':>9}")
    rows = {}
    for name, coverage_of in SETTINGS.items():
        if name.startswith(tuple(args.only)):
            found = coverage_of(args.repetitions)
            shares = "".join(f"{100 * share:7.1f}%" for share in found[:3])
            print(f"{name:<32}{shares}{found.width:9.4f}", flush=True)
            rows[name] = found._asdict()
    return rows
