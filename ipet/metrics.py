"""Evaluation metrics and their 95 % intervals: pure functions of scores and targets, on NumPy arrays."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from scipy.special import ndtri as normal_quantile

CONFIDENCE = 0.95  # of every interval


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
    """[N, C], [N, C] multi-hot -> [C] step-wise average precision; NaN for a class without positives."""
    from sklearn.metrics import average_precision_score  # here and below: slow to import

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
    from sklearn.metrics import roc_auc_score

    classes = classes_with_both(targets)
    if not len(classes):
        return float("nan")
    return float(np.mean([roc_auc_score(targets[:, c], scores[:, c]) for c in classes]))


def d_prime(auc: float) -> float:
    """sqrt(2) times the normal quantile of the (mean) AUC."""
    return float(np.sqrt(2) * normal_quantile(auc))


# Verification -------------------------------------------------------------------------------------


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
    scores: np.ndarray, targets: np.ndarray, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0
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
    false_alarm, miss = det_curve(scores, targets)
    cost_miss, cost_fa = c_miss * p_target, c_fa * (1 - p_target)
    return float((cost_miss * miss + cost_fa * false_alarm).min() / min(cost_miss, cost_fa))


# 95 % intervals -----------------------------------------------------------------------------------


def wilson_interval(accuracy: float, num_clips: int) -> tuple[float, float]:
    """The Wilson interval of a share of ``num_clips`` independent clips."""
    from scipy.stats import binomtest  # here: slow to import

    test = binomtest(round(accuracy * num_clips), num_clips)
    interval = test.proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def bootstrap_interval(
    metric: Callable[[np.ndarray], float],
    num_items: int | Sequence[int],
    num_resamples: int = 200,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile interval of a metric when its items are drawn again, with replacement.

    Args:
        metric: [N] int counts, how often each item was drawn -> value; NaN where it has none.
        num_items: N, the trials or clips; several numbers: of groups, each drawn in itself, whose counts
            stand one after another.

    Source: the bootstrap (Efron 1979). Items count as independent: trials that share a speaker, and clips
    cut from one recording, are not, and the interval is then narrower than it should be.
    """
    rng = np.random.default_rng(seed)
    sizes = [num_items] if isinstance(num_items, int) else num_items
    values = [
        metric(np.concatenate([np.bincount(rng.integers(n, size=n), minlength=n) for n in sizes]))
        for _ in range(num_resamples)
    ]
    low, high = np.nanquantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def eer_interval(
    scores: np.ndarray, targets: np.ndarray, num_resamples: int = 200, seed: int = 0
) -> tuple[float, float]:
    """[N], [N] -> the bootstrap interval of the EER over trials; see ``det_curve`` for its errors."""
    return bootstrap_interval(counted_eer(scores, targets), len(scores), num_resamples, seed)


def counted_eer(scores: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """[N], [N] -> the EER as a function of [N] int, how often each trial counts; NaN where it has none.

    See ``det_curve`` for its errors.
    """
    scores, targets = check_trials(scores, targets)
    order = np.argsort(-scores, kind="stable")  # once: a resample changes counts, never the order
    targets, last = targets[order], last_of_ties(scores[order])

    def counted(counts: np.ndarray) -> float:
        """The EER where each trial counts so often."""
        counts = counts[order]
        hits = np.cumsum(counts * targets)
        accepted = np.cumsum(counts)
        num_targets, num_nontargets = hits[-1], accepted[-1] - hits[-1]
        if not num_targets or not num_nontargets:
            return float("nan")
        false_alarm = (accepted - hits)[last] / num_nontargets
        miss = 1 - hits[last] / num_targets
        return equal_error(np.concatenate([[0.0], false_alarm]), np.concatenate([[1.0], miss]))

    return counted


def counted_accuracy(scores: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """[N, C], [N, C] one-hot -> the accuracy as a function of [N] int, how often each clip counts."""
    right = scores.argmax(axis=1) == targets.argmax(axis=1)
    return lambda counts: float(counts @ right / counts.sum())


def counted_mean_average_precision(scores: np.ndarray, targets: np.ndarray) -> Callable[[np.ndarray], float]:
    """[N, C], [N, C] multi-hot -> the macro mAP as a function of [N] int, how often each clip counts."""
    if not np.any(targets):
        return lambda counts: float("nan")
    return CountedAveragePrecision(scores, targets).mean


COUNTED = {"accuracy": counted_accuracy, "mAP": counted_mean_average_precision, "EER": counted_eer}


def last_of_ties(ordered: np.ndarray) -> np.ndarray:
    """[N] sorted scores -> the last index of each different score."""
    return np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)


def mean_average_precision_interval(
    scores: np.ndarray, targets: np.ndarray, num_resamples: int = 200, seed: int = 0
) -> tuple[float, float]:
    """[N, C], [N, C] multi-hot -> the bootstrap interval of the macro mAP over clips, or two NaN."""
    if not np.any(targets):
        return float("nan"), float("nan")
    return bootstrap_interval(CountedAveragePrecision(scores, targets).mean, len(scores), num_resamples, seed)


class CountedAveragePrecision:
    """Average precision of every class when clips count several times, or not at all.

    The clips are sorted once. Precision is needed at positive clips alone, so what a resample costs is one
    cumulative sum over the clips of each class.

    Args:
        scores: [N, C].
        targets: [N, C] multi-hot, with a positive somewhere.
    """

    def __init__(self, scores: np.ndarray, targets: np.ndarray):
        order = np.argsort(-scores, axis=0, kind="stable").T  # [C, N] clips, the best first
        ranked = np.take_along_axis(scores.T, order, axis=1)
        hit = np.take_along_axis(targets.T, order, axis=1).astype(bool)
        last = np.stack([np.searchsorted(-row, -row, side="right") - 1 for row in ranked])  # of a tie
        self.order = np.ascontiguousarray(order, dtype=np.int32)

        # One entry a positive, [P], by class and then by rank.
        self.classes, ranks = np.nonzero(hit)
        self.clips = order[self.classes, ranks]
        self.last = last[self.classes, ranks]  # precision is taken behind all clips of the same score
        self.starts = np.flatnonzero(np.diff(self.classes, prepend=-1))  # [K] a class's first positive
        self.first = self.starts.repeat(np.diff(self.starts, append=len(self.classes)))
        self.behind = self.first + hit.cumsum(axis=1)[self.classes, self.last]

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """[N] int -> [K] AP of the classes that have positives; NaN where none of these was drawn."""
        retrieved = np.cumsum(counts.astype(np.int32)[self.order], axis=1, dtype=np.int32)  # [C, N]
        weights = counts[self.clips]
        hits = np.append(0, np.cumsum(weights))
        hits = hits[self.behind] - hits[self.first]
        precision = hits / np.maximum(1, retrieved[self.classes, self.last])
        drawn = np.add.reduceat(weights, self.starts)
        total = np.add.reduceat(weights * precision, self.starts)
        return np.divide(total, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0)

    def mean(self, counts: np.ndarray) -> float:
        """[N] int -> macro mAP over the classes that were drawn."""
        values = self(counts)
        return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
