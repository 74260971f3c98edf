"""Mean and standard deviation of log-mels, recording by recording: what AST experiments normalise by."""

import contextlib
import math
from collections.abc import Iterator
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from ipet.features import LogMel, covered_samples

WINDOW_MS, HOP_MS = 25.0, 10.0  # the experiments' defaults
BLOCK_FRAMES = 4096  # computed at once: an hour's recording would need gigabytes


class Moments(NamedTuple):
    """Of some log-mels: their number, their mean, and the sum of (x - mean)^2."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    @property
    def std(self) -> float:
        """The standard deviation of the values, of which there must be one at least."""
        return math.sqrt(self.squares / self.count)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Inside the block torch computes on one thread: several threads each have a recording of their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def moments(x: Tensor) -> Moments:
    """The moments of a tensor's values, in float64."""
    x = x.double()
    return Moments(x.numel(), x.mean().item(), (x - x.mean()).square().sum().item())


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of both sets of values together.

    Source: Chan, Golub and LeVeque 1983; sums of squares would cancel.
    """
    if not a.count or not b.count:
        return a if a.count else b
    n, delta = a.count + b.count, b.mean - a.mean
    mean = a.mean + delta * b.count / n
    return Moments(n, mean, a.squares + b.squares + delta**2 * a.count * b.count / n)


def plain_log_mel(num_mels: int = 128) -> LogMel:
    """The front end whose ``log_mel`` the moments are of."""
    return LogMel(num_mels, 1, mean=0.0, std=1.0, window_ms=WINDOW_MS, hop_ms=HOP_MS)


@torch.inference_mode()
def log_mel_moments(waveform: Tensor, front_end: LogMel, num_frames: int | None = None) -> Moments:
    """The moments of one clip's log-mels, its mean removed first; none where it is shorter than a frame.

    Args:
        waveform: [T] samples at 16 kHz.
        front_end: what ``plain_log_mel`` returned.
        num_frames: only the first frames; None: all.
    """
    waveform = waveform - waveform.mean()
    if num_frames:
        waveform = waveform[: covered_samples(num_frames, WINDOW_MS, HOP_MS)]
    block = covered_samples(BLOCK_FRAMES, WINDOW_MS, HOP_MS)
    starts = range(0, len(waveform) - front_end.window_samples + 1, BLOCK_FRAMES * front_end.hop_samples)
    blocks = (front_end.log_mel(waveform[None, start : start + block]) for start in starts)
    return reduce(merge, map(moments, blocks), Moments())
