"""Metrics of verification trials: pure functions of scores and targets, on NumPy arrays."""

from collections.abc import Sequence

import numpy as np

DETECTION_COSTS = {"minDCF": 1.0, "minDCF10": 10.0}  # cost of a miss, at a target prior of 0.01
P_TARGET = 0.01


def det_curve(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False alarm and miss rates at every threshold, from "accept nothing" to "accept everything".

    Args:
        scores: [N], higher for the same speaker.
        targets: [N], 1 or True for a target trial.

    Returns:
        [K] false alarm rates from 0 to 1 and [K] miss rates from 1 to 0, K - 1 different scores.

    Raises:
        ValueError: only targets or only nontargets, a score is not finite, or the shapes differ.
    """
    from sklearn.metrics import roc_curve

    scores, targets = check_trials(scores, targets)
    false_alarm, hit, _ = roc_curve(targets, scores, drop_intermediate=False)
    return false_alarm, 1 - hit


def check_trials(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N] scores and [N] bool targets that a rate of misses and false alarms exists for."""
    scores, targets = np.asarray(scores), np.asarray(targets)
    if scores.ndim != 1 or scores.shape != targets.shape:
        raise ValueError(
            f"scores of shape {list(scores.shape)} and targets of shape {list(targets.shape)}; "
            "expected [N] and [N]"
        )
    if not np.isin(targets, (0, 1)).all():
        other = targets[~np.isin(targets, (0, 1))][0]
        raise ValueError(f"the targets hold other values than 0 and 1, such as {other}")
    targets = targets.astype(bool)
    if targets.all() or not targets.any():
        raise ValueError(
            f"{targets.sum()} of the {len(targets)} trials are targets; expected targets and nontargets"
        )
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise ValueError(
            f"{len(wrong)} of the {len(scores)} scores are not finite, the first is {scores[wrong[0]]} "
            f"of trial {wrong[0]}"
        )
    return scores, targets


def error_rates(scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return EER, minDCF and minDCF10 of [N] scores and [N] targets; see ``det_curve`` for its errors."""
    return rates_of_curve(*det_curve(scores, targets))


def rates_of_curve(false_alarm: np.ndarray, miss: np.ndarray) -> dict[str, float]:
    """Return EER, minDCF and minDCF10 of a DET curve, [K] false alarm and [K] miss rates."""
    costs = {name: least_cost(false_alarm, miss, c_miss=cost) for name, cost in DETECTION_COSTS.items()}
    return {"EER": equal_error(false_alarm, miss), **costs}


class WeightedErrorRates:
    """Error rates of trials that count several times, in part, or not at all.

    The trials are sorted once: weights change the rates, never the order.

    Args:
        scores, targets: [N] and [N], see ``det_curve`` for their errors.
    """

    def __init__(self, scores: np.ndarray, targets: np.ndarray):
        scores, targets = check_trials(scores, targets)
        self.order = np.argsort(-scores, kind="stable")
        self.targets, ordered = targets[self.order], scores[self.order]
        self.last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of each different score

    def __call__(self, weights: np.ndarray) -> dict[str, float]:
        """Return the error rates under [N] weights; NaN where no target or no nontarget has a weight."""
        weights = weights[self.order]
        hits = np.cumsum(weights * self.targets)[self.last]
        false_alarms = np.cumsum(weights * ~self.targets)[self.last]
        if not hits[-1] or not false_alarms[-1]:
            return dict.fromkeys(("EER", *DETECTION_COSTS), float("nan"))
        return rates_of_curve(
            np.concatenate([[0.0], false_alarms / false_alarms[-1]]),
            np.concatenate([[1.0], 1 - hits / hits[-1]]),
        )


def trial_speakers(pairs: np.ndarray, targets: np.ndarray, labels: Sequence[str] | None = None) -> np.ndarray:
    """Return the speakers of the two utterances of every trial, as numbers.

    Utterances of a target trial have one speaker, and so have utterances of one label. Labels that nontarget
    trials contradict, such as one for all, are ignored.

    Args:
        pairs: [N, 2] utterances of the trials.
        targets: [N] bool.
        labels: [U] speaker names of the utterances, if a list has them.

    Returns:
        [N, 2] int32.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs, targets = np.asarray(pairs), np.asarray(targets).astype(bool)
    num_utterances = int(pairs.max()) + 1
    edges = pairs[targets]
    if labels is not None:
        _, names = np.unique(np.array(labels[:num_utterances], dtype=str), return_inverse=True)
        if not (names[pairs[~targets, 0]] == names[pairs[~targets, 1]]).any():
            first = np.full(names.max() + 1, num_utterances)
            np.minimum.at(first, names, np.arange(num_utterances))
            edges = np.concatenate([edges, np.stack([np.arange(num_utterances), first[names]], axis=1)])
    graph = coo_array((np.ones(len(edges)), edges.T), shape=(num_utterances, num_utterances))
    _, speakers = connected_components(graph, directed=False)
    return speakers[pairs].astype(np.int32)


def eer(scores: np.ndarray, targets: np.ndarray) -> float:
    """[N], [N] -> equal error rate, from 0 to 1; see ``det_curve`` for its errors."""
    return equal_error(*det_curve(scores, targets))


def equal_error(false_alarm: np.ndarray, miss: np.ndarray) -> float:
    """Where a DET curve, [K] and [K], has as many misses as false alarms; linear between its points."""
    excess = miss - false_alarm  # falls from 1 to -1
    k = int(np.argmax(excess <= 0))  # the first point behind the crossing, never the very first
    step = excess[k - 1] / (excess[k - 1] - excess[k])
    return float(false_alarm[k - 1] + step * (false_alarm[k] - false_alarm[k - 1]))


def min_dcf(
    scores: np.ndarray,
    targets: np.ndarray,
    p_target: float = P_TARGET,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """The least normalised detection cost over all thresholds, "accept nothing" among them.

        C(threshold) = c_miss p_target miss + c_fa (1 - p_target) false_alarm
        minDCF       = min C / min(c_miss p_target, c_fa (1 - p_target))

    Args:
        scores, targets: [N] and [N], as in ``det_curve``, with its errors.
        p_target: prior probability of a target trial.
        c_miss, c_fa: cost of a miss and of a false alarm.

    Source: NIST's speaker recognition evaluations; VoxCeleb uses p_target 0.01 (or 0.05) and costs of 1.
    """
    if not (0 < p_target < 1 and c_miss > 0 and c_fa > 0):
        raise ValueError(
            f"p_target={p_target}, c_miss={c_miss}, c_fa={c_fa}; expected a probability between 0 and 1 "
            "and costs above 0"
        )
    return least_cost(*det_curve(scores, targets), p_target, c_miss, c_fa)


def least_cost(
    false_alarm: np.ndarray,
    miss: np.ndarray,
    p_target: float = P_TARGET,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Return the minDCF of a DET curve, [K] false alarm and [K] miss rates; see ``min_dcf``."""
    cost_miss, cost_fa = c_miss * p_target, c_fa * (1 - p_target)
    return float((cost_miss * miss + cost_fa * false_alarm).min() / min(cost_miss, cost_fa))
