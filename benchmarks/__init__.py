"""Timings against named baselines: python3 -m benchmarks."""

import statistics
from collections.abc import Mapping, Sequence


def medians_and_ratio(values: Mapping[str, Sequence[float]], over: str, under: str) -> dict[str, float]:
    """The median of each way's values, and the median and the bounds of the ratios of ``over`` to ``under``.

    Args:
        values: by way; those at the same place were measured together.
    """
    ratios = [a / b for a, b in zip(values[over], values[under])]
    return {
        **{name: statistics.median(measured) for name, measured in values.items()},
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }
