"""The learning rate's way down, as a factor of what it begins with."""

import math

SCHEDULES = ("step", "cosine")


def step_decay(epoch: int, gamma: float, start: int, end: int) -> float:
    """gamma^max(0, min(e, end) - start), e counted from 1: the authors' schedule."""
    return gamma ** max(0, min(epoch, end) - start)


def warm_up(step: int, warmup: int) -> float:
    """From 1 / warmup at step 0 to 1 at the last of ``warmup`` steps, and 1 behind them."""
    return min(1.0, (step + 1) / max(1, warmup))


def cosine(step: int, steps: int, warmup: int) -> float:
    """From 1 behind the warm-up along a cosine towards 0, which it would reach at step ``steps``.

    Source: SGDR (Loshchilov and Hutter 2017), without its restarts.
    """
    done = max(0, step - warmup) / max(1, steps - warmup)
    return (1 + math.cos(math.pi * done)) / 2
