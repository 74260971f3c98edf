"""What one decoding of a recording tells: its format, level, faults, log-mels, and what it sounds like."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ipet.audio import check_left, decode, mix_down
from ipet.datasets import look_at
from ipet.features import LogMel
from ipet.fingerprint import Fingerprint, coarse_log_mel, fingerprint
from ipet.levels import Levels, measure
from ipet.lists import Clip
from ipet.moments import Moments, log_mel_moments, one_thread, plain_log_mel

FULL_SCALE = 0.999  # of the largest sample of a format; MP3s decode to more


@dataclass(frozen=True)
class Examination:
    """A recording that can be used.

    Args:
        sample_rate: Hz, of the file.
        num_channels: of the file.
        kind: container and coding, as libsndfile calls them.
        seconds: its length.
        level_db: RMS of its mono samples at 16 kHz without their mean, in dB of full scale.
        clipped: share of the file's samples at full scale.
        offset: mean of its samples, 1 is full scale.
        digest: of the samples that a backbone hears: equal means the same, in any lossless format.
        moments: of its log-mels.
        fingerprint: of its sound; None where it is constant.
        levels: Levels of the file's channels, before they are mixed.
    """

    sample_rate: int
    num_channels: int
    kind: str
    seconds: float
    level_db: float
    clipped: float
    offset: float
    digest: bytes
    moments: Moments
    fingerprint: Fingerprint | None
    levels: Levels


def examine(path: Path, front_end: LogMel, coarse: LogMel) -> Examination:
    """Decode a recording once and look at all of it.

    Args:
        front_end, coarse: what ``plain_log_mel`` and ``coarse_log_mel`` returned.

    Raises: see ``read_audio``.
    """
    file = decode(path)
    samples = mix_down(file.samples, file.sample_rate)
    check_left(path, len(samples))
    offset = float(samples.mean(dtype=np.float64))
    power = float(np.square(samples - offset, dtype=np.float64).mean())
    waveform = torch.from_numpy(samples)
    return Examination(
        sample_rate=file.sample_rate,
        num_channels=file.samples.shape[1],
        kind=file.kind,
        seconds=len(file.samples) / file.sample_rate,
        level_db=float(10 * np.log10(max(power, 1e-20))),
        clipped=float((np.abs(file.samples) >= FULL_SCALE).mean()),
        offset=offset,
        digest=hashlib.blake2b(np.ascontiguousarray(samples), digest_size=16).digest(),
        moments=log_mel_moments(waveform, front_end),
        fingerprint=fingerprint(waveform, coarse) if np.ptp(samples) and len(samples) > 1 else None,
        levels=measure(file.samples),
    )


def examine_all(
    clips: Iterable[Clip], num_workers: int | None = None
) -> tuple[dict[Path, Examination], dict[Path, str]]:
    """Every distinct recording of some clips, decoded once under a progress bar, by threads.

    Args:
        num_workers: threads; one a core if not given.

    Returns:
        Those that can be used, by path; and of the others what is wrong with them.
    """
    front_end, coarse = plain_log_mel(), coarse_log_mel()
    found: dict[Path, Examination] = {}

    def look(path: Path) -> None:
        """Examine a recording; the threads share what is found."""
        found[path] = examine(path, front_end, coarse)

    with one_thread():
        looked_at = list(look_at(clips, look, num_workers or os.cpu_count() or 1))
    broken = {clip.path: said.removeprefix(f"{clip.path}: ") for clip, said in looked_at if said is not None}
    return {clip.path: found[clip.path] for clip, said in looked_at if said is None}, broken
