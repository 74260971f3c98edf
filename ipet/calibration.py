"""Probabilities that mean what they say: a temperature, the calibration error, thresholds of classes.

All of it is fitted on validation data, never on what is reported.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, log_softmax, logsumexp, softmax

RANGE = (0.05, 20.0)  # of temperatures
BINS = 15


def clip_scores(outputs: np.ndarray, loss: str) -> np.ndarray:
    """Return the scores of clips from the logits of their segments: the one rule, everywhere.

    The segments' probabilities are averaged. With ``cce`` a score is the logarithm of the mean softmax, with
    ``bce`` the log-odds of the mean sigmoid; both keep apart what the probabilities themselves round to 1.

    Args:
        outputs: [..., S, C] logits of S segments.
        loss: Loss that the logits were trained with: ``cce``, where a clip has one class and probabilities
            sum to 1, or ``bce``, where each class has its own.

    Returns:
        [..., C] float64.
    """
    outputs = outputs.astype(np.float64)
    if loss == "cce":
        return logsumexp(log_softmax(outputs, axis=-1), axis=-2) - np.log(outputs.shape[-2])
    if outputs.shape[-2] == 1:
        return outputs[..., 0, :]
    return logsumexp(log_expit(outputs), axis=-2) - logsumexp(log_expit(-outputs), axis=-2)


def probabilities(outputs: np.ndarray, loss: str, temperature: float = 1.0) -> np.ndarray:
    """Return the probabilities of clips, from the logits of their segments.

    Args:
        outputs, loss: See ``clip_scores``, [..., S, C].
        temperature: Divisor of the clips' scores. It changes no clip's most probable class, and no class's
            ranking of clips with ``bce``.

    Returns:
        [..., C] float64.
    """
    scores = clip_scores(outputs, loss) / temperature
    return softmax(scores, axis=-1) if loss == "cce" else expit(scores)


def original_predictions(outputs: np.ndarray) -> np.ndarray:
    """Return what the original code evaluates: the mean over segments of sigmoids, whatever the loss.

    Args:
        outputs: [N, S, C] logits.

    Returns:
        [N, C] float32.
    """
    return expit(outputs.astype(np.float64)).mean(axis=-2).astype(np.float32)


def fit_temperature(outputs: np.ndarray, targets: np.ndarray, loss: str) -> float:
    """Return the temperature under which the clips' scores have the least loss.

    Args:
        outputs: [N, S, C] logits of segments.
        targets: [N, C] multi-hot.
        loss: See ``clip_scores``.

    Source: temperature scaling (Guo et al. 2017).
    """
    scores = clip_scores(outputs, loss)

    def mean_loss(log_temperature: float) -> float:
        """Return the loss under a temperature."""
        scaled = scores / np.exp(log_temperature)
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
