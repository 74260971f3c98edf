"""Mean and standard deviation of the training lists' log-mels: an AST experiment's normalisation."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from pathlib import Path

from tqdm import tqdm

from ipet.audio import Recordings, read_audio
from ipet.features import LogMel
from ipet.moments import HOP_MS, WINDOW_MS, Moments, log_mel_moments, merge, one_thread, plain_log_mel
from ipet.segments import sample_span
from preparation.lists import Clip


def clip_moments(clip: str | Clip, root: Path, front_end: LogMel, num_frames: int | None) -> Moments:
    """Return the moments of one clip's log-mels; none where it is shorter than a frame.

    Args:
        clip: Path of a recording, or a clip, which may be a part of its recording.
        root: Where paths start.
        front_end: Log-mels.
        num_frames: Only the first frames; None: all.

    Raises:
        FileNotFoundError, ClipError: the recording cannot be used; the message names it.
    """
    if isinstance(clip, str):
        return log_mel_moments(read_audio(root / clip), front_end, num_frames)
    span = sample_span(clip.start, clip.end)
    return log_mel_moments(Recordings().read(root / clip.wav, *span), front_end, num_frames)


def log_mel_stats(
    root: Path,
    wavs: Sequence[str | Clip],
    num_mels: int = 128,
    num_frames: int | None = None,
    workers: int = 1,
) -> dict[str, float | int | None]:
    """Mean and standard deviation over every log-mel of the recordings, each clip's mean removed first.

    Args:
        root: where the paths in ``wavs`` start.
        wavs: paths, or clips of lists.
        num_frames: only the first frames of a recording; None: all. The zeros that training pads
            short clips with do not count.
        workers: threads; the result does not depend on their number.

    Returns:
        What ``stats.json`` holds.

    Raises:
        FileNotFoundError, ClipError: a recording cannot be used.
        ValueError: the recordings hold no frame, or nothing but silence.
    """
    front_end = plain_log_mel(num_mels)
    of_clip = partial(clip_moments, root=root, front_end=front_end, num_frames=num_frames)
    with one_thread(), ThreadPoolExecutor(workers) as pool:
        found = pool.map(of_clip, wavs)
        bar = tqdm(found, "log-mels", len(wavs), unit="clip", leave=False, disable=None)
        total = reduce(merge, bar, Moments())  # in the list's order
    if not total.squares:
        found = "no two different log-mels" if total.count else "no frame of 25 ms"
        raise ValueError(f"{root}: found {found} in {len(wavs):,} training clips")
    return {
        "mean": total.mean,
        "std": total.std,
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
