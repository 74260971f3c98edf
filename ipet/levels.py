"""Levels of a recording's channels, measured before they are mixed and converted (A10).

The mean of the channels is what models are given. It is silence where one channel is the other one inverted,
and too quiet where a channel is empty; samples far outside [-1, 1] are integers that were written as floats.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ipet.audio_formats import ClipError

SILENT_DB = -60  # RMS, of full scale
NOTHING_DB = -200.0  # of digital silence
CANCELLED_DB = 10.0  # that the mean is quieter than that of unrelated channels: a correlation below -0.9
EMPTY_DB = 40.0  # that a channel is quieter than the loudest one
LARGEST_SAMPLE = 4.0  # 12 dB above full scale; decoders of lossy codings and mixing stay below
ONE_CHANNEL = "keep one channel, for example by ffmpeg -i IN -af 'pan=mono|c0=c0' OUT"
RESCALE = "divide them by their full scale (32768 for 16 bits), or write them as integers"


class Levels(NamedTuple):
    """Levels of a recording, in dB of full scale, each without its mean value.

    Args:
        channels_db: RMS of every channel.
        mixed_db: RMS of the mean of the channels.
        peak: Largest absolute sample of any channel, 1 is full scale.
    """

    channels_db: tuple[float, ...]
    mixed_db: float
    peak: float

    @property
    def loss_db(self) -> float:
        """How much quieter the mean of the channels is than that of unrelated channels of these levels."""
        powers = [10 ** (db / 10) for db in self.channels_db]
        return to_db(sum(powers) / len(powers) ** 2) - self.mixed_db

    @property
    def is_cancelled(self) -> bool:
        """Whether the channels cancel each other out in their mean, as a channel and its inverse do."""
        return max(self.channels_db) >= SILENT_DB and self.loss_db > CANCELLED_DB

    @property
    def empty_channels(self) -> list[int]:
        """Numbers of the channels that are next to silent beside the loudest one, from 1."""
        loudest = max(self.channels_db)
        if loudest < SILENT_DB:
            return []
        return [i for i, db in enumerate(self.channels_db, 1) if db < loudest - EMPTY_DB]

    @property
    def is_out_of_scale(self) -> bool:
        """Whether samples lie far outside [-1, 1]."""
        return self.peak > LARGEST_SAMPLE

    def doubts(self) -> list[tuple[str, str]]:
        """Return what speaks against the mean of the channels as it is: reasons and remedies."""
        found = []
        if self.is_cancelled:
            reason = "channels that cancel each other out in their mean, which is heard"
            found.append((reason, ONE_CHANNEL))
        if self.is_out_of_scale:
            found.append(("samples far outside [-1, 1], such as integers written as floats", RESCALE))
        return found


class LevelMeter:
    """Measures the levels of a recording block by block, before its channels are mixed."""

    def __init__(self):
        self.count, self.peak = 0, 0.0
        self.sums = self.squares = np.zeros(0)  # of every channel, and last of their mean

    def add(self, block: np.ndarray) -> None:
        """Measure [t, channels] samples."""
        if not len(block):
            return
        if not self.count:
            self.sums, self.squares = np.zeros((2, block.shape[1] + 1))
        tracks = [*block.T, block.mean(axis=1)] if block.shape[1] > 1 else [block[:, 0]] * 2
        self.sums += [track.sum(dtype=np.float64) for track in tracks]
        self.squares += [np.square(track, dtype=np.float64).sum() for track in tracks]
        self.peak = max(self.peak, float(np.abs(block).max()))
        self.count += len(block)

    def through(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Pass blocks on and measure them."""
        for block in blocks:
            self.add(block)
            yield block

    @property
    def levels(self) -> Levels:
        """Return the levels of what was measured."""
        power = self.squares / self.count - np.square(self.sums / self.count)
        *channels, mixed = [to_db(value) for value in power.tolist()]
        return Levels(tuple(channels), mixed, self.peak)


def to_db(power: float) -> float:
    """Return a power in dB of full scale."""
    return float(10 * np.log10(power)) if power > 10 ** (NOTHING_DB / 10) else NOTHING_DB


def measure(samples: np.ndarray) -> Levels:
    """Return the levels of [T, channels] samples."""
    meter = LevelMeter()
    meter.add(samples)
    return meter.levels


def check_audible(path: str | Path, level_db: float, levels: Levels) -> None:
    """Raise ClipError where a recording is silent, with the reason.

    Args:
        path: Path that the error names.
        level_db: RMS of what a model is given, in dB of full scale.
        levels: Levels of the channels.
    """
    if level_db >= SILENT_DB:
        return
    if levels.is_cancelled:
        raise ClipError(
            f"{path}: silent, its channels cancel each other out: their mean lies at {level_db:.0f} dB of "
            f"full scale, the loudest channel at {max(levels.channels_db):.0f} dB; {ONE_CHANNEL}"
        )
    raise ClipError(f"{path}: silent, below {SILENT_DB} dB of full scale; expected something to hear")
