"""What a model got wrong, the surest mistakes first: pairs of classes, clips of several classes, trials."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

Cells = Mapping[str, tuple[np.ndarray, np.ndarray]]  # by name: [N, C] scores and targets, or [N] of trials
Row = tuple[str, int]  # a cell and a row of its scores


class Pair(NamedTuple):
    """Clips of one class that were answered as another."""

    true: int
    answered: int
    clips: int
    share: float  # of the class's clips
    rows: list[Row]  # the surest mistakes first


class Mistake(NamedTuple):
    """A clip whose highest score is at a class that it has not."""

    row: Row
    true: list[int]
    answered: int


class Trial(NamedTuple):
    """A trial on the wrong side of most others of its kind."""

    row: Row
    target: bool
    score: float


def confused_pairs(matrix: np.ndarray, cells: Cells, most: int) -> list[Pair]:
    """The pairs of classes that were confused most often, at most so many.

    Args:
        matrix: [C, C] clips of a class (row) that were answered as each class (column), of ``cells``.
        cells: one-hot targets.
    """
    wrong = matrix * (1 - np.eye(len(matrix), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = {divmod(int(i), len(matrix)): [] for i in order if wrong.flat[i]}
    for cell, (scores, targets) in cells.items():
        true, answered = targets.argmax(axis=1), scores.argmax(axis=1)
        for row, pair in enumerate(zip(true.tolist(), answered.tolist())):
            if pair in pairs:
                margin = scores[row, pair[1]] - scores[row, pair[0]]
                pairs[pair].append((float(margin), (cell, row)))
    totals = matrix.sum(axis=1)
    return [
        Pair(*pair, len(found), len(found) / int(totals[pair[0]]), [row for _, row in sorted_by(found)])
        for pair, found in pairs.items()
    ]


def surest_mistakes(cells: Cells, most: int) -> list[Mistake]:
    """The clips of several classes whose highest score is at a class that they have not, the surest first."""
    found = []
    for cell, (scores, targets) in cells.items():
        has = targets.astype(bool)
        answered = scores.argmax(axis=1)
        for row in np.flatnonzero(~has[np.arange(len(has)), answered] & has.any(axis=1)):
            margin = scores[row, answered[row]] - scores[row, has[row]].max()
            true = np.flatnonzero(has[row]).tolist()
            found.append((float(margin), Mistake((cell, int(row)), true, int(answered[row]))))
    return [mistake for _, mistake in sorted_by(found)[:most]]


def hardest_trials(cells: Cells, most: int) -> list[Trial]:
    """As many of one speaker with the lowest scores as of two with the highest, ``most`` together."""
    trials = [
        Trial((cell, row), bool(target), float(score))
        for cell, (scores, targets) in cells.items()
        for row, (score, target) in enumerate(zip(scores, targets))
    ]
    targets = sorted((trial for trial in trials if trial.target), key=lambda trial: trial.score)
    others = sorted((trial for trial in trials if not trial.target), key=lambda trial: -trial.score)
    return targets[: most - most // 2] + others[: most // 2]


def sorted_by(found: list[tuple[float, object]]) -> list:
    """The pairs of a number and something, the largest number first; equal ones as they were."""
    return sorted(found, key=lambda pair: -pair[0])
