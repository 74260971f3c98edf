"""Recordings for a saved adapter: decoded ahead, measured, and accounted for."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn
from tqdm import tqdm

from ipet.audio import SAMPLE_RATE, ClipError, read_audio
from ipet.audio_formats import RECORDINGS, shown
from ipet.datasets import Cut
from ipet.input_report import InputReport
from ipet.levels import ONE_CHANNEL, SILENT_DB, LevelMeter, Levels, to_db
from ipet.printable import escaped

READERS, AHEAD = 4, 16  # threads that decode (libsndfile lets others run), and files decoded ahead
NEGLIGIBLE = SAMPLE_RATE // 40  # samples beyond what a model is given that nobody misses, a frame of 25 ms


class UsedPart(NamedTuple):
    """The part of a recording that a model is given, where that is not all of it.

    Args:
        seconds: Length of the recording.
        spans: Beginnings and ends of the parts, in seconds.
        name: Description of the part, such as ``middle 5.12 s``.
    """

    seconds: float
    spans: list[tuple[float, float]]
    name: str

    @property
    def text(self) -> str:
        """Return the part and the whole as text."""
        return f"{self.name} of {self.seconds:.2f} s"


def used_part(num_samples: int, cut: Cut, front_end: nn.Module) -> UsedPart | None:
    """Return the part of a recording that a model is given, or None if that is all of it.

    Args:
        num_samples: Length of the recording at 16 kHz.
        cut: Cut of the model.
        front_end: Front end of the model.
    """
    size, number = front_end.num_samples, front_end.num_segments
    if not cut.whole:
        size, number = min(size, cut.num_samples), 1
    if num_samples - size * number <= NEGLIGIBLE:
        return None
    spare = num_samples - size
    if number > 1:
        starts = [spare * i / (number - 1) for i in range(number)]
        name = f"{number} evenly spaced segments of {size / SAMPLE_RATE:.2f} s"
    else:
        starts = [spare // 2 if cut.crop == "centre" else 0]
        name = f"{'middle' if cut.crop == 'centre' else 'first'} {size / SAMPLE_RATE:.2f} s"
    spans = [(start / SAMPLE_RATE, (start + size) / SAMPLE_RATE) for start in starts]
    return UsedPart(num_samples / SAMPLE_RATE, spans, name)


def level_db(waveform: Tensor) -> float:
    """Return the RMS of [T] samples without their mean, in dB of full scale."""
    return to_db(float((waveform - waveform.mean()).square().mean()))


def read_measured(path: Path) -> tuple[Tensor, Levels]:
    """Return the [T] samples of a recording at 16 kHz and the levels of its channels; see ``read_audio``."""
    meter = LevelMeter()
    return read_audio(path, meter), meter.levels


def report_levels(path: Path, level: float, levels: Levels, report: InputReport) -> None:
    """Report a recording that is silent, whose channels cancel each other out, or that is out of scale.

    Args:
        path: Path of the recording.
        level: RMS of what a model is given, in dB of full scale.
        levels: Levels of the channels.
        report: Receives the doubts.
    """
    if level < SILENT_DB:
        why = ", because its channels cancel each other out" if levels.is_cancelled else ""
        reason = f"silent, below {SILENT_DB} dB of full scale{why}; the answer says nothing"
        report.doubt(RECORDINGS, shown(path), reason, ONE_CHANNEL if why else "")
        return
    for reason, remedy in levels.doubts():
        report.doubt(RECORDINGS, shown(path), reason, remedy)


class Reader:
    """Recordings decoded ahead by threads, in order; those that cannot be used are reported and left out.

    Args:
        paths: Paths of the recordings, which the report counts as used.
        report: Receives what is left out and what is doubtful.
        cut: Cut of the model that is given the recordings.
        front_end: Its front end.
        remedy: Flag that makes a command use all of a long recording.

    Attributes:
        read: Paths of the recordings that were handed on, and the used part of each, to be removed by the
            caller.
        failed: Number of the recordings that cannot be used.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        report: InputReport,
        cut: Cut,
        front_end: nn.Module,
        remedy: str = "",
    ):
        self.paths, self.report, self.cut, self.front_end = list(paths), report, cut, front_end
        self.remedy = remedy
        self.read: deque[tuple[Path, UsedPart | None]] = deque()
        self.failed = 0

    def __iter__(self) -> Iterator[Tensor]:
        pending: deque = deque()
        rest = iter(self.paths)
        with ThreadPoolExecutor(READERS) as pool:
            while True:
                for path in rest:
                    pending.append((path, pool.submit(read_measured, path)))
                    if len(pending) >= AHEAD:
                        break
                if not pending:
                    return
                path, future = pending.popleft()
                try:
                    waveform, levels = future.result()
                except (ClipError, OSError) as error:
                    self.failed += 1
                    leave_out(path, error, self.report)
                    continue
                self.read.append((path, self.examine(path, waveform, levels)))
                yield waveform

    def examine(self, path: Path, waveform: Tensor, levels: Levels) -> UsedPart | None:
        """Report what is doubtful about a recording; return its used part."""
        level = level_db(waveform)
        report_levels(path, level, levels, self.report)
        part = used_part(len(waveform), self.cut, self.front_end)
        if part is None:
            return None
        reason = f"longer than what the model is given; used of each: {part.name}"
        self.report.doubt(RECORDINGS, shown(path), reason, self.remedy)
        spans = np.round(np.array(part.spans) * SAMPLE_RATE).astype(int).tolist()
        if level >= SILENT_DB and all(level_db(waveform[a:b]) < SILENT_DB for a, b in spans):
            reason = f"silent in the part that is used, below {SILENT_DB} dB of full scale"
            self.report.doubt(RECORDINGS, shown(path), reason, self.remedy)
        return part


def leave_out(path: Path, error: Exception, report: InputReport) -> None:
    """Print the error of a recording and count it as left out."""
    text = escaped(str(error))
    tqdm.write(f"error: {text}", file=sys.stderr)
    report.fail(RECORDINGS, shown(path), text.removeprefix(f"{shown(path)}: "))
