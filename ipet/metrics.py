"""Classification metrics: pure functions of scores and targets, on NumPy arrays."""

from collections.abc import Iterable

import numpy as np
from scipy.special import ndtri as normal_quantile


def accuracy(scores: np.ndarray, targets: np.ndarray) -> float:
    """Share of the clips whose highest score is at the right class.

    Args:
        scores: [N, C] logits or probabilities.
        targets: [N, C] one-hot.
    """
    return float(np.mean(scores.argmax(axis=1) == targets.argmax(axis=1)))


def confusion(cells: Iterable[tuple[np.ndarray, np.ndarray]], num_classes: int) -> np.ndarray:
    """[N, C] scores and targets of each cell -> [C, C] clips of a class (row) answered as each, added up."""
    matrix = np.zeros((num_classes, num_classes), dtype=int)
    for scores, targets in cells:
        np.add.at(matrix, (targets.argmax(axis=1), scores.argmax(axis=1)), 1)
    return matrix


def classes_with_both(targets: np.ndarray) -> np.ndarray:
    """[N, C] multi-hot -> indices of the classes that have a positive and a negative clip."""
    positives = targets.sum(axis=0)
    return np.flatnonzero((positives > 0) & (positives < len(targets)))


def average_precision(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the step-wise average precision of every class; NaN for a class without positives.

    Args:
        scores: [N, C].
        targets: [N, C] multi-hot.
    """
    targets = np.asarray(targets).astype(bool)
    values = np.full(scores.shape[1], np.nan)
    for c in np.flatnonzero(targets.any(axis=0)):
        order = np.argsort(-scores[:, c], kind="stable")
        ranked, hits = scores[order, c], np.cumsum(targets[order, c])
        # Tied clips are retrieved together, so precision is taken at the last clip of each score.
        last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        gained = np.diff(hits[last], prepend=0)
        values[c] = (gained * hits[last] / (last + 1)).sum() / hits[-1]
    return values


def mean_average_precision(scores: np.ndarray, targets: np.ndarray) -> float:
    """Return the macro mAP over the classes that occur; NaN where none does; see ``average_precision``."""
    known = [value for value in average_precision(scores, targets) if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def mean_auc(scores: np.ndarray, targets: np.ndarray) -> float:
    """Return the macro area under the ROC curve over the classes that have it; NaN where none has.

    Args:
        scores: [N, C].
        targets: [N, C] multi-hot.
    """
    classes = classes_with_both(targets)
    if not len(classes):
        return float("nan")
    from scipy.stats import rankdata  # here: slow to import

    ranks = rankdata(scores[:, classes], axis=0)  # ties share their mean rank, and so count half
    positive = np.asarray(targets)[:, classes].astype(bool)
    num_positives = positive.sum(axis=0)
    wins = np.where(positive, ranks, 0).sum(axis=0) - num_positives * (num_positives + 1) / 2
    return float(np.mean(wins / (num_positives * (len(scores) - num_positives))))


def d_prime(auc: float) -> float:
    """sqrt(2) times the normal quantile of the (mean) AUC."""
    return float(np.sqrt(2) * normal_quantile(auc))
