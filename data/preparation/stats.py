"""Mean and standard deviation of the training lists' log-mels: an AST experiment's normalisation."""

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from ipet.audio import read_audio
from ipet.features import LogMel, covered_samples

WINDOW_MS, HOP_MS = 25.0, 10.0  # the experiments' defaults
BLOCK_FRAMES = 4096  # computed at once: an hour's recording would need gigabytes


class Moments(NamedTuple):
    """Of some log-mels: their number, their mean, and the sum of (x - mean)^2."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0


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


@torch.inference_mode()
def clip_moments(path: Path, front_end: LogMel, num_frames: int | None) -> Moments:
    """The moments of one recording's log-mels; none where it is shorter than a frame.

    Raises:
        FileNotFoundError, ClipError: the recording cannot be used; the message names it.
    """
    waveform = read_audio(path)
    waveform = waveform - waveform.mean()
    if num_frames:
        waveform = waveform[: covered_samples(num_frames, WINDOW_MS, HOP_MS)]
    block = covered_samples(BLOCK_FRAMES, WINDOW_MS, HOP_MS)
    starts = range(0, len(waveform) - front_end.window_samples + 1, BLOCK_FRAMES * front_end.hop_samples)
    blocks = (front_end.log_mel(waveform[None, start : start + block]) for start in starts)
    return reduce(merge, map(moments, blocks), Moments())


def log_mel_stats(
    root: Path, wavs: Sequence[str], num_mels: int = 128, num_frames: int | None = None, workers: int = 1
) -> dict[str, float | int | None]:
    """Mean and standard deviation over every log-mel of the recordings, each clip's mean removed first.

    Args:
        root: where the paths in ``wavs`` start.
        num_frames: only the first frames of a recording; None: all. The zeros that training pads
            short clips with do not count.
        workers: threads; the result does not depend on their number.

    Returns:
        What ``stats.json`` holds.

    Raises:
        FileNotFoundError, ClipError: a recording cannot be used.
        ValueError: the recordings hold no frame, or nothing but silence.
    """
    front_end = LogMel(num_mels, 1, mean=0.0, std=1.0, window_ms=WINDOW_MS, hop_ms=HOP_MS)
    of_clip = partial(clip_moments, front_end=front_end, num_frames=num_frames)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the threads are the clips'
    try:
        with ThreadPoolExecutor(workers) as pool:
            found = pool.map(of_clip, (root / wav for wav in wavs))
            bar = tqdm(found, "log-mels", len(wavs), unit="clip", leave=False, disable=None)
            total = reduce(merge, bar, Moments())  # in the list's order
    finally:
        torch.set_num_threads(before)
    if not total.squares:
        found = "no two different log-mels" if total.count else "no frame of 25 ms"
        raise ValueError(f"{root}: found {found} in {len(wavs):,} training clips")
    return {
        "mean": total.mean,
        "std": math.sqrt(total.squares / total.count),
        "num_clips": len(wavs),
        "num_frames": total.count // num_mels,
        "first_frames": num_frames,
        "num_mels": num_mels,
        "window_ms": WINDOW_MS,
        "hop_ms": HOP_MS,
        "window": "hanning",
    }


def stats_file(stats: dict) -> str:
    """The text of ``stats.json``."""
    return json.dumps(stats, indent=2) + "\n"


def norm_flags(stats: dict) -> list[str]:
    """The flags by which an AST experiment takes them."""
    return ["-norm_mean", f"{stats['mean']:.7f}", "-norm_std", f"{stats['std']:.7f}"]
