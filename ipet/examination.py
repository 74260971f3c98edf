"""What one decoding of a recording tells: its format, level, faults, log-mels, and what it sounds like."""

import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ipet.audio import ClipError, Decoded, check_left, decode, mix_down
from ipet.datasets import look_at
from ipet.features import LogMel
from ipet.fingerprint import Fingerprint, coarse_log_mel, fingerprint
from ipet.levels import Levels, measure
from ipet.lists import Clip
from ipet.moments import Moments, log_mel_moments, one_thread, plain_log_mel
from ipet.segments import Segment

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
        clipped: share of the file's samples at full scale; 0 of a file whose scale is another.
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
    return examine_decoded(path, decode(path), front_end, coarse)


def examine_decoded(path: Path | Segment, file: Decoded, front_end: LogMel, coarse: LogMel) -> Examination:
    """Return the examination of decoded samples; see ``examine``."""
    samples = mix_down(file.samples, file.sample_rate)
    check_left(path, len(samples))
    offset = float(samples.mean(dtype=np.float64))
    waveform = torch.from_numpy(samples)
    levels = measure(file.samples)
    return Examination(
        sample_rate=file.sample_rate,
        num_channels=file.samples.shape[1],
        kind=file.kind,
        seconds=len(file.samples) / file.sample_rate,
        level_db=level_of(samples),
        clipped=0.0 if levels.is_out_of_scale else float((np.abs(file.samples) >= FULL_SCALE).mean()),
        offset=offset,
        digest=hashlib.blake2b(np.ascontiguousarray(samples), digest_size=16).digest(),
        moments=log_mel_moments(waveform, front_end),
        fingerprint=fingerprint(waveform, coarse) if np.ptp(samples) and len(samples) > 1 else None,
        levels=levels,
    )


def level_of(samples: np.ndarray) -> float:
    """Return the RMS of [T] samples without their mean, in dB of full scale."""
    power = np.square(samples - samples.mean(dtype=np.float64), dtype=np.float64).mean()
    return float(10 * np.log10(max(power, 1e-20)))


def examine_all(
    clips: Iterable[Clip], num_workers: int | None = None
) -> tuple[dict[Path | Segment, Examination], dict[Path | Segment, str]]:
    """Examine every distinct clip; each recording is decoded once, under a progress bar, by threads.

    Args:
        num_workers: threads; one a core if not given.

    Returns:
        Clips that can be used, by their source; and the fault of each of the others.
    """
    front_end, coarse = plain_log_mel(), coarse_log_mel()
    clips = list(clips)
    found: dict[Path | Segment, Examination] = {}
    broken: dict[Path | Segment, str] = {}
    sources: dict[Path, dict[Path | Segment, None]] = {}
    for clip in clips:
        sources.setdefault(clip.path, {})[clip.source] = None

    def look(path: Path) -> None:
        """Examine a recording, or its segments; the threads share what is found."""
        file = decode(path)
        for source in sources[path]:
            part = cut(file, source) if isinstance(source, Segment) else file
            try:
                found[source] = examine_decoded(source, part, front_end, coarse)
            except ClipError as error:
                if source == path:
                    raise
                broken[source] = str(error).removeprefix(f"{source}: ")

    with one_thread():
        looked_at = list(look_at(clips, look, num_workers or os.cpu_count() or 1))
    for clip, said in looked_at:
        if said is not None:
            broken |= dict.fromkeys(sources[clip.path], said.removeprefix(f"{clip.path}: "))
    ordered = (source for of in sources.values() for source in of)
    return {source: found[source] for source in ordered if source in found and source not in broken}, broken


def cut(file: Decoded, segment: Segment) -> Decoded:
    """Return the samples of a segment, at the file's rate."""
    first = round(segment.start * file.sample_rate)
    last = len(file.samples) if math.isinf(segment.end) else round(segment.end * file.sample_rate)
    return file._replace(samples=file.samples[first:last])
