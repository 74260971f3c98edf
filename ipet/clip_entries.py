"""Entries of clip lists as JSON holds them: ``{"data": [{"wav": ..., "labels": "mid[,mid...]"}, ...]}``."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class ListedClip(NamedTuple):
    """One entry of a clip list."""

    wav: str  # path, relative to the data root or absolute
    labels: str  # mids, with commas between them; empty: no class
    start: float = 0.0  # seconds
    end: float = math.inf  # seconds; infinity: the end of the recording

    def entry(self) -> dict:
        """Return the JSON object of the clip; only a part of a recording has times."""
        times = {"start": self.start} if self.start > 0 else {}
        times |= {"end": self.end} if self.end < math.inf else {}
        return {"wav": self.wav, **times, "labels": self.labels}


def list_text(clips: Iterable[ListedClip]) -> str:
    """Return the JSON text of a clip list: one clip a line, without spaces."""
    lines = ",\n".join(json.dumps(clip.entry(), separators=(",", ":")) for clip in clips)
    return f'{{"data":[\n{lines}\n]}}\n'


def read_times(entry: Mapping, where: str) -> tuple[float, float]:
    """Return start and end of an entry in seconds; 0 and infinity for a whole recording.

    Raises:
        ValueError: One of them is no number of at least 0, or the end is not after the start.
    """
    times = {"start": entry.get("start", 0.0), "end": entry.get("end", math.inf)}
    for key, value in times.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not value >= 0 or (key in entry and math.isinf(value)):
            raise ValueError(f"{where}: {key!r} is {json.dumps(value)[:80]}; expected seconds of at least 0")
    if times["end"] <= times["start"]:
        raise ValueError(f"{where}: ends at {times['end']} s and starts at {times['start']} s")
    return float(times["start"]), float(times["end"])
