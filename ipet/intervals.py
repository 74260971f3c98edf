"""95 % intervals of metrics: what other clips, or other speakers, of the same kind would give.

    accuracy     Wilson's interval of independent clips
    mAP          bootstrap over clips; on the log-odds scale, logit m +- z s / (m (1 - m))
    EER, minDCF  bootstrap over speakers, whose trials are not independent; the same, with Student's t

``s`` is the standard deviation of the resamples' values. Their percentiles are not used: a positive clip that
is drawn twice is a second hit, so that the mAP of resamples is too high, and their spread is that of lists
that are off centre. An interval is of the metric's mean over lists of the same size. ``python3 -m benchmarks
coverage`` measures how often it holds it.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import expit, logit, stdtrit
from scipy.special import ndtri as normal_quantile

from ipet.verification_metrics import WeightedErrorRates

CONFIDENCE = 0.95  # of every interval
UPPER = (1 + CONFIDENCE) / 2
NUM_RESAMPLES = 200
BLOCK = 1 << 16  # counts that are summed at once; they stay in a processor's cache
Interval = tuple[float, float]
Metric = Callable[[np.ndarray], float]  # [N] weights of the items -> value; NaN where it has none
Draw = Callable[[np.random.Generator], np.ndarray]  # -> [N] weights of the items


# Resampling ---------------------------------------------------------------------------------------


class ClipBootstrap:
    """Draw as many clips as there are, with replacement.

    Args:
        num_clips: N.

    ``quantile`` is the factor of a standard error in an interval.
    """

    quantile = float(normal_quantile(UPPER))

    def __init__(self, num_clips: int):
        self.num_items = num_clips

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        """Return [N] counts of the clips."""
        return np.bincount(rng.integers(self.num_items, size=self.num_items), minlength=self.num_items)


class SpeakerBootstrap:
    """Draw as many speakers as there are, with replacement; a trial counts as often as its speakers.

    A trial of two speakers has the product of their counts. Utterances are not drawn within a speaker: their
    share of the spread is in the speakers' already, and with both intervals are too wide.

    Args:
        speakers: [N, 2] speakers of the trials' utterances.
    """

    def __init__(self, speakers: np.ndarray):
        names, numbers = np.unique(speakers, return_inverse=True)
        self.one, self.other = numbers.reshape(-1, 2).T
        self.same = self.one == self.other
        self.num_items, self.num_speakers = len(self.one), len(names)

    @property
    def quantile(self) -> float:
        """Student's: the spread is that of so few speakers."""
        return float(stdtrit(max(1, self.num_speakers - 1), UPPER))

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        """Return [N] counts of the trials."""
        drawn = rng.integers(self.num_speakers, size=self.num_speakers)
        counts = np.bincount(drawn, minlength=self.num_speakers)
        return np.where(self.same, counts[self.one], counts[self.one] * counts[self.other])


def resampled(
    metric: Metric, draws: Sequence[Draw], num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Return the values of a metric under resampled weights.

    Args:
        metric: [N] weights -> value, or several, [K].
        draws: Resampling of each group of items; the groups' weights follow one another.
        num_resamples: R.
        seed: Seed of all draws.

    Returns:
        [R] or [R, K].
    """
    rng = np.random.default_rng(seed)
    return np.array([metric(np.concatenate([draw(rng) for draw in draws])) for _ in range(num_resamples)])


def standard_error(values: np.ndarray) -> float:
    """Return the standard deviation of [R] resampled values that exist; 0 of fewer than two."""
    values = values[np.isfinite(values)]
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


# Intervals of a value -----------------------------------------------------------------------------


def wilson_interval(share: float, num_items: int) -> Interval:
    """Return the Wilson interval of a share of ``num_items`` independent items."""
    z2 = normal_quantile(UPPER) ** 2
    centre = (share + z2 / (2 * num_items)) / (1 + z2 / num_items)
    half = np.sqrt(z2 * share * (1 - share) / num_items + (z2 / (2 * num_items)) ** 2) / (1 + z2 / num_items)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return float(0.0 if share == 0 else low), float(1.0 if share == 1 else high)


def logit_interval(value: float, error: float, quantile: float, num_items: int) -> Interval:
    """Return the interval of a value in (0, 1) whose log-odds have a normal error.

    Args:
        value: The metric.
        error: Its standard error.
        quantile: Factor of the error.
        num_items: Independent items behind the value. Where all are right, or no resample differs, the
            interval is Wilson's of so many items: resamples of perfect answers are all perfect.
    """
    if np.isnan(value):
        return float("nan"), float("nan")
    if not 0 < value < 1 or not error:
        return wilson_interval(min(max(value, 0.0), 1.0), max(1, num_items))
    half = quantile * error / (value * (1 - value))
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))


def mean_average_precision_interval(
    scores: np.ndarray, targets: np.ndarray, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Interval:
    """Return the interval of the macro mAP over clips; two NaN where no class has a positive.

    Args:
        scores: [N, C].
        targets: [N, C] multi-hot.
    """
    if not np.any(targets):
        return float("nan"), float("nan")
    metric, draw = WeightedAveragePrecision(scores, targets).mean, ClipBootstrap(len(scores))
    error = standard_error(resampled(metric, [draw], num_resamples, seed))
    value = metric(np.ones(len(scores), dtype=int))
    return logit_interval(value, error, draw.quantile, int(np.sum(targets)))


def error_rate_intervals(
    scores: np.ndarray,
    targets: np.ndarray,
    speakers: np.ndarray,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the intervals of EER, minDCF and minDCF10 over speakers.

    Args:
        scores, targets: [N] and [N]; see ``det_curve`` for their errors.
        speakers: [N, 2] speakers of the trials' utterances, see ``trial_speakers``.
    """
    rates, draw = WeightedErrorRates(scores, targets), SpeakerBootstrap(speakers)
    values = rates(np.ones(len(scores)))
    several = resampled(lambda weights: list(rates(weights).values()), [draw], num_resamples, seed)
    return {
        name: logit_interval(value, standard_error(column), draw.quantile, draw.num_speakers)
        for (name, value), column in zip(values.items(), several.T)
    }


# Differences --------------------------------------------------------------------------------------


def weighted_accuracy(scores: np.ndarray, targets: np.ndarray) -> Metric:
    """Return the accuracy of [N, C] scores and [N, C] one-hot targets as a function of the clips' weights."""
    right = scores.argmax(axis=1) == targets.argmax(axis=1)
    return lambda weights: float(weights @ right / weights.sum())


def weighted_mean_average_precision(scores: np.ndarray, targets: np.ndarray) -> Metric:
    """Return the macro mAP of [N, C] scores and targets as a function of the clips' weights."""
    if not np.any(targets):
        return lambda weights: float("nan")
    return WeightedAveragePrecision(scores, targets).mean


def weighted_eer(scores: np.ndarray, targets: np.ndarray) -> Metric:
    """Return the EER of [N] scores and targets as a function of the trials' weights."""
    rates = WeightedErrorRates(scores, targets)
    return lambda weights: rates(weights)["EER"]


WEIGHTED = {"accuracy": weighted_accuracy, "mAP": weighted_mean_average_precision, "EER": weighted_eer}


def difference_interval(
    difference: Metric,
    draws: Sequence[ClipBootstrap | SpeakerBootstrap],
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return a difference of two metrics of the same items, and its 95 % interval.

    Args:
        difference: [N] weights of all items -> difference.
        draws: Resampling of each group of items.

    Returns:
        Difference, low and high: the difference, and as many standard errors below and above.
    """
    whole = difference(np.ones(sum(draw.num_items for draw in draws), dtype=int))
    half = max(draw.quantile for draw in draws) * standard_error(
        resampled(difference, draws, num_resamples, seed)
    )
    return whole, whole - half, whole + half


class WeightedAveragePrecision:
    """Average precision of every class where clips count several times, or not at all.

    The clips are sorted once. Precision is needed at positive clips alone, so that a resample costs one
    cumulative sum over the clips of each class.

    Args:
        scores: [N, C].
        targets: [N, C] multi-hot, with a positive somewhere.
    """

    def __init__(self, scores: np.ndarray, targets: np.ndarray):
        present = np.flatnonzero(np.any(targets, axis=0))
        scores, targets = np.asarray(scores)[:, present].T, np.asarray(targets)[:, present].T.astype(bool)
        # Not int32: NumPy would convert the indices in each resample.
        self.order = np.argsort(-scores, axis=1, kind="stable")  # [K, N] clips, the best first
        ranked = np.take_along_axis(scores, self.order, axis=1)
        hit = np.take_along_axis(targets, self.order, axis=1)

        # One entry a positive, [P], by class and then by rank.
        self.classes, ranks = np.nonzero(hit)
        self.clips = self.order[self.classes, ranks]
        tied = np.diff(ranked, axis=1, append=np.nan) == 0  # with the next clip
        ends = np.where(tied, ranked.shape[1], np.arange(ranked.shape[1]))
        last = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]  # of a tie
        self.last = last[self.classes, ranks]  # precision is taken after all clips of the same score
        self.starts = np.flatnonzero(np.diff(self.classes, prepend=-1))  # [K] a class's first positive
        self.first = self.starts.repeat(np.diff(self.starts, append=len(self.classes)))
        self.behind = self.first + hit.cumsum(axis=1)[self.classes, self.last]

    def retrieved(self, counts: np.ndarray) -> np.ndarray:
        """Return [P] clips that are ranked as high as each positive, or higher, under [N] int counts."""
        counts, found = counts.astype(np.int32), np.empty(len(self.classes), np.int32)
        num_classes, num_clips = self.order.shape
        block = min(num_classes, max(1, BLOCK // num_clips))
        buffer = np.empty((block, num_clips), np.int32)
        for start in range(0, num_classes, block):
            ranked = buffer[: num_classes - start]
            counts.take(self.order[start : start + block], out=ranked, mode="clip")  # faster than "raise"
            ranked.cumsum(axis=1, out=ranked)
            of = slice(*np.searchsorted(self.classes, (start, start + block)))
            found[of] = ranked[self.classes[of] - start, self.last[of]]
        return found

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Return [K] AP of the classes with positives under [N] int counts; NaN where none was drawn."""
        weights = counts[self.clips]
        hits = np.append(0, np.cumsum(weights))
        hits = hits[self.behind] - hits[self.first]
        precision = hits / np.maximum(1, self.retrieved(counts))
        drawn = np.add.reduceat(weights, self.starts)
        total = np.add.reduceat(weights * precision, self.starts)
        return np.divide(total, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0)

    def mean(self, counts: np.ndarray) -> float:
        """Return the macro mAP over the classes that were drawn, under [N] int counts."""
        values = self(counts)
        return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
