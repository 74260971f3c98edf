"""Timings against named baselines: python3 -m benchmarks."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch


def seconds_of(call: Callable, device: torch.device) -> float:
    """How long a call takes, its work on a GPU included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def seconds_in_turn(
    calls: Mapping[str, Callable], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Each call's seconds in every round (A B C A B C ...), after one round to warm up."""
    seconds = [{way: seconds_of(call, device) for way, call in calls.items()} for _ in range(rounds + 1)]
    return {way: [taken[way] for taken in seconds[1:]] for way in calls}


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
