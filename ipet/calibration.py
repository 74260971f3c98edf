"""Probabilities that mean what they say: a temperature, the calibration error, thresholds of classes.

All of it is fitted on validation data, never on what is reported.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax

RANGE = (0.05, 20.0)  # of temperatures
BINS = 15


def probabilities(outputs: np.ndarray, loss: str, temperature: float = 1.0) -> np.ndarray:
    """[..., S, C] logits of the segments of clips -> [..., C], the mean of the segments' probabilities.

    Args:
        loss: that the logits were trained with: ``cce``, a clip has one class and probabilities sum to 1; or
            ``bce``, each class has its own.
        temperature: what logits are divided by.
    """
    scaled = outputs / temperature
    return (softmax(scaled, axis=-1) if loss == "cce" else expit(scaled)).mean(axis=-2)


def fit_temperature(outputs: np.ndarray, targets: np.ndarray, loss: str) -> float:
    """The temperature under which the segments' logits have the least loss.

    Args:
        outputs: [N, S, C] logits.
        targets: [N, C] multi-hot.
        loss: see ``probabilities``.

    Source: temperature scaling (Guo et al. 2017).
    """
    targets = targets[:, None]

    def mean_loss(log_temperature: float) -> float:
        """The loss under a temperature."""
        scaled = outputs / np.exp(log_temperature)
        if loss == "cce":
            return float(-(log_softmax(scaled, axis=-1) * targets).sum(axis=-1).mean())
        return float((np.logaddexp(0, scaled) - targets * scaled).mean())

    found = minimize_scalar(mean_loss, bounds=np.log(RANGE), method="bounded")
    return float(np.exp(found.x))


def calibration_error(predicted: np.ndarray, targets: np.ndarray, loss: str) -> float:
    """The expected calibration error, from 0 to 1: how far confidence and truth are apart, over 15 bins.

    Args:
        predicted: [N, C] probabilities.
        targets: [N, C] multi-hot.
        loss: ``cce`` judges the most probable class of each clip, ``bce`` every class of each clip.

    Source: Naeini et al. 2015, with bins of equal width.
    """
    if loss == "cce":
        best = predicted.argmax(axis=1)
        confidence, truth = predicted.max(axis=1), np.take_along_axis(targets, best[:, None], axis=1)[:, 0]
    else:
        confidence, truth = predicted.ravel(), targets.ravel()
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=confidence - truth, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def best_thresholds(predicted: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """[N, C] probabilities, [N, C] multi-hot -> [C], from which probability on a class should be said.

    Each has the largest F1 on these clips, and lies between two of their probabilities; 0.5 for a class
    that no clip has.
    """
    thresholds = np.full(predicted.shape[1], 0.5)
    for c in np.flatnonzero(targets.any(axis=0)):
        order = np.argsort(-predicted[:, c], kind="stable")
        values, hits = predicted[order, c], np.cumsum(targets[order, c])
        said = np.arange(1, len(values) + 1)
        last = np.append(np.diff(values) != 0, True)  # of equal probabilities all are said, or none
        f1 = np.where(last, 2 * hits / (said + hits[-1]), -1)
        k = int(f1.argmax())
        below = values[k + 1] if k + 1 < len(values) else 0.0
        thresholds[c] = (values[k] + below) / 2
    return thresholds
