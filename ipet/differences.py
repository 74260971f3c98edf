"""How much better one run is than another, with a 95 % interval: on the same clips, or on different ones.

Clips that are hard for both runs cancel in a paired difference, so that it separates two methods where the
runs' own intervals overlap. Differences are paired only where both runs evaluated the same list, by its
SHA-256.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ipet.intervals import WEIGHTED, ClipBootstrap, Metric, SpeakerBootstrap, difference_interval
from ipet.report import DAMAGE, read_predictions, read_speakers, told
from ipet.results import read_result
from ipet.summary import NESTED, cell_order

NUM_RESAMPLES = 1000
OTHER_LISTS = "no paired difference: the evaluation lists differ (SHA-256 of their clips, or trials)"
UNKNOWN_LISTS = "no paired difference: the evaluation list of one is not known"


class Scores(NamedTuple):
    """The predictions of a cell, and the digest of the list that it was evaluated on.

    ``scores`` and ``targets``: [N, C] twice, or [N] twice of trials, whose ``speakers`` are [N, 2].
    """

    scores: np.ndarray
    targets: np.ndarray
    speakers: np.ndarray | None = None
    sha256: str | None = None

    def draw(self) -> ClipBootstrap | SpeakerBootstrap:
        """Return the resampling of the cell's clips, or of the speakers of its trials."""
        return ClipBootstrap(len(self.targets)) if self.speakers is None else SpeakerBootstrap(self.speakers)

    def metric(self, name: str) -> Metric:
        """Return a metric of the cell as a function of [N] weights.

        Raises:
            ValueError: It does not exist for these scores and targets.
        """
        if self.scores.ndim == 1 and np.shape(self.speakers) != (len(self.targets), 2):
            raise ValueError("its trials have no speakers; an interval is over speakers")
        return WEIGHTED[name](self.scores, self.targets)


def shared(a: Mapping, b: Mapping) -> list[str]:
    """Return the cells that both runs have."""
    return sorted(a.keys() & b.keys(), key=cell_order)


def comparable(a: Mapping[str, Scores], b: Mapping[str, Scores]) -> list[str]:
    """Return the cells that both evaluated on the same list: recordings, classes and trials, in order."""
    return [
        cell
        for cell in shared(a, b)
        if a[cell].sha256 is not None
        and a[cell].sha256 == b[cell].sha256
        and a[cell].scores.shape == b[cell].scores.shape
        and np.array_equal(a[cell].targets, b[cell].targets)
    ]


def paired_difference(
    a: Mapping[str, Scores],
    b: Mapping[str, Scores],
    metric: str,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float, float] | None:
    """Return the mean over the cells of metric(A) - metric(B), and its 95 % interval.

    The interval is what other clips, or speakers, of this kind would give for these trained models. Both runs
    get the same clips of a resample, and so do all cells that were evaluated on the same list (seeds of one
    fold). What other seeds would give is not in it, so the difference of two single trainings may lie outside
    0 and still be chance.

    Args:
        a, b: Scores of each cell.
        metric: ``accuracy``, ``mAP`` or ``EER``.

    Returns:
        Difference, low and high, in the metric's unit, from -1 to 1; None where no cell was evaluated on the
        same list in both.
    """
    groups: dict[tuple, list[str]] = {}  # of cells with the same clips
    for cell in comparable(a, b):
        groups.setdefault((cell_order(cell)[1], a[cell].sha256), []).append(cell)
    if not groups:
        return None
    draws = [a[cells[0]].draw() for cells in groups.values()]
    pairs = [[(a[c].metric(metric), b[c].metric(metric)) for c in cells] for cells in groups.values()]
    ends = np.cumsum([draw.num_items for draw in draws])[:-1]

    def difference(counts: np.ndarray) -> float:
        """Return the mean difference where each clip of each group counts so often."""
        parts = np.split(counts, ends)
        return float(np.mean([x(part) - y(part) for part, group in zip(parts, pairs) for x, y in group]))

    return within_range(difference_interval(difference, draws, num_resamples, seed))


def unpaired_difference(
    a: Mapping[str, Scores],
    b: Mapping[str, Scores],
    metric: str,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return the difference of the runs' means over cells, each resampled by itself.

    Args, Returns: see ``paired_difference``.
    """
    draws, counted = [], []
    for sign, run in ((1, a), (-1, b)):
        for scores in run.values():
            draws.append(scores.draw())
            counted.append((sign / len(run), scores.metric(metric)))
    ends = np.cumsum([draw.num_items for draw in draws])[:-1]

    def difference(counts: np.ndarray) -> float:
        """Return the difference where each clip of each cell counts so often."""
        return float(sum(w * value(part) for (w, value), part in zip(counted, np.split(counts, ends))))

    return within_range(difference_interval(difference, draws, num_resamples, seed))


def within_range(found: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return a difference of two shares and its bounds, which are cut at -1 and 1."""
    difference, low, high = found
    return difference, max(-1.0, low), min(1.0, high)


def read_scores(folder: Path, metric: str) -> Scores:
    """Read a cell's predictions, for which the metric exists; see ``read_predictions`` for its errors."""
    path = folder / "predictions.npz"
    arrays = read_predictions(path)
    sha256 = read_result(folder / "result.json").get("evaluated_sha256")
    try:
        found = Scores(*arrays, read_speakers(path), sha256)
        found.metric(metric)
    except DAMAGE as error:
        raise ValueError(told(path, error)) from None
    return found


def paired_of(
    a: tuple[Path | None, Mapping], b: tuple[Path | None, Mapping], protocol: str | None, errors: list[str]
) -> dict:
    """Return the difference of two runs' saved predictions, or why there is none.

    Args:
        a, b: Folder of each run, None where there is a passport alone, and its results.
        protocol: Protocol that both have.
        errors: Messages about damaged files are added.

    Returns:
        ``paired`` says whether the difference is of the same clips; ``why``, why it is not.
    """
    if protocol is None:
        return {"none": "the two have no protocol of the same metric in common"}
    folders, results = zip(a, b)
    metric = results[0]["metric"]
    if metric not in WEIGHTED:
        return {"none": f"there is none of {metric}; there is of {', '.join(WEIGHTED)}"}
    if not all(folders):
        return {"none": "it needs both runs' folders; a passport alone holds no predictions"}
    ending = NESTED * (protocol == "nested")
    cells = [cell + ending for cell in shared(*(each["protocols"][protocol] for each in results))]
    if not cells:
        return {"none": "the two have no cell in common"}
    kept: tuple[dict, dict] = {}, {}
    for cell in cells:
        try:
            pair = [read_scores(folder / cell, metric) for folder in folders]
        except (OSError, ValueError) as error:
            errors.append(str(error))
            continue
        for run, scores in zip(kept, pair):
            run[cell] = scores
    if not kept[0]:
        return {"none": "no cell's predictions could be read in both"}
    used = comparable(*kept)
    unknown = any(scores.sha256 is None for run in kept for scores in run.values())
    difference, low, high = (paired_difference if used else unpaired_difference)(*kept, metric)
    shown = used or list(kept[0])
    return {
        "metric": metric,
        # That is what predictions.npz holds, under whatever protocol the run is reported.
        "of": protocol if protocol in ("nested", "test_at_best_epoch") else "last",
        "paired": bool(used),
        "why": None if used else UNKNOWN_LISTS if unknown else OTHER_LISTS,
        "difference": difference,
        "low": low,
        "high": high,
        "cells": shown,
        "left_out": [cell for cell in cells if cell not in shown],
        "items": {cell: len(kept[0][cell].targets) for cell in shown},
        "resampled": "clips" if kept[0][shown[0]].speakers is None else "speakers",
        "num_resamples": NUM_RESAMPLES,
    }
