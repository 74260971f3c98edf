"""Parts of recordings: from ``start`` to ``end`` in seconds."""

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ipet.audio import SAMPLE_RATE, ClipError, Recordings, read_audio

ROUNDING = 0.1  # seconds by which a part may end after its recording: annotations are rounded
THREADS = 8  # that read lengths


def sample_span(start: float, end: float) -> tuple[int, int | None]:
    """Return the first sample at 16 kHz and the number of samples of a part; None: up to the end.

    Args:
        start: Seconds.
        end: Seconds; infinity for the end of the recording.
    """
    first = round(start * SAMPLE_RATE)
    return first, None if math.isinf(end) else max(1, round(end * SAMPLE_RATE) - first)


class Segment(NamedTuple):
    """A part of a recording, from ``start`` to ``end`` in seconds; infinity: the end of the recording."""

    path: Path
    start: float
    end: float

    def __str__(self) -> str:
        return f"{self.path} {self.times}"

    @property
    def times(self) -> str:
        """Both times, as they are printed."""
        return f"[{self.start:g} to {'end' if math.isinf(self.end) else f'{self.end:g} s'}]"


def source_name(source: Path | Segment, root: Path) -> str:
    """Return the path of a clip's source below ``root``, with the times of a segment."""
    path, times = (source.path, f" {source.times}") if isinstance(source, Segment) else (source, "")
    return f"{path.relative_to(root) if path.is_relative_to(root) else path}{times}"


def read_source(source: Path | Segment) -> Tensor:
    """Return the samples of a recording or a segment at 16 kHz."""
    if isinstance(source, Segment):
        return Recordings().read(source.path, *sample_span(source.start, source.end))
    return read_audio(source)


def check_segments(clips: Iterable) -> None:
    """Raise ClipError where a part is outside its recording; unreadable recordings are skipped.

    Args:
        clips: Clips of lists (``ipet.lists.Clip``).
    """
    segments = [clip for clip in clips if clip.is_segment]
    paths = list(dict.fromkeys(clip.path for clip in segments))
    with ThreadPoolExecutor(THREADS) as pool:
        seconds = dict(zip(paths, pool.map(seconds_of, paths)))
    outside = [clip for clip in segments if lies_outside(clip.start, clip.end, seconds[clip.path])]
    if outside:
        first = outside[0]
        raise ClipError(
            f"{first.where}: {first.source} is outside its recording of {seconds[first.path]:.2f} s, as "
            f"{len(outside):,} of {len(segments):,} clips with times do; start and end are in seconds"
        )


def seconds_of(path: Path) -> float:
    """Return the length of a recording in seconds; infinity where it cannot be read, which others report."""
    try:
        return Recordings().length(path) / SAMPLE_RATE
    except (ClipError, OSError):
        return math.inf


def lies_outside(start: float, end: float, length: float) -> bool:
    """Return whether a part begins after its recording, or ends later than rounding explains."""
    return start >= length or (end < math.inf and end > length + ROUNDING)
