"""Evaluation metrics: pure functions of scores and targets, on NumPy arrays."""

import numpy as np
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score


def accuracy(scores: np.ndarray, targets: np.ndarray) -> float:
    """Share of the clips whose highest score is at the right class.

    Args:
        scores: [N, C] logits or probabilities.
        targets: [N, C] one-hot.
    """
    return float(np.mean(scores.argmax(axis=1) == targets.argmax(axis=1)))


def classes_with_both(targets: np.ndarray) -> np.ndarray:
    """[N, C] multi-hot -> indices of the classes that have a positive and a negative clip."""
    positives = targets.sum(axis=0)
    return np.flatnonzero((positives > 0) & (positives < len(targets)))


def average_precision(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """[N, C], [N, C] multi-hot -> [C] step-wise average precision; NaN for a class without positives."""
    return np.array(
        [
            average_precision_score(targets[:, c], scores[:, c]) if targets[:, c].any() else np.nan
            for c in range(scores.shape[1])
        ]
    )


def mean_average_precision(scores: np.ndarray, targets: np.ndarray) -> float:
    """[N, C], [N, C] multi-hot -> macro mAP over the classes that occur; NaN where none does."""
    known = [value for value in average_precision(scores, targets) if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def mean_auc(scores: np.ndarray, targets: np.ndarray) -> float:
    """[N, C], [N, C] multi-hot -> macro area under the ROC over the classes it is defined for, or NaN."""
    classes = classes_with_both(targets)
    if not len(classes):
        return float("nan")
    return float(np.mean([roc_auc_score(targets[:, c], scores[:, c]) for c in classes]))


def d_prime(auc: float) -> float:
    """sqrt(2) times the normal quantile of the (mean) AUC."""
    return float(np.sqrt(2) * norm.ppf(auc))
