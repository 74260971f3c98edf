"""Parts of recordings: from ``start`` to ``end`` in seconds."""

import math
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ipet.audio import SAMPLE_RATE, Recordings, read_audio


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
