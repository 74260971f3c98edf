"""Waveforms: decode, mix down, resample, crop or tile. Everything is [T] float32 at 16 kHz."""

import functools
import math
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr
import torch
from torch import Tensor

from ipet.audio_decoders import Decoder, open_decoder
from ipet.audio_formats import ClipError
from ipet.files import AUDIO, readable_size
from ipet.levels import LevelMeter

SAMPLE_RATE = 16_000  # Hz, of both backbones

CROPS = ("first", "centre", "random")
RATES = (1_000, 768_000)  # Hz: 1 Hz, which a header may claim, would become 16,000 times as many samples
# No format holds more in a byte: FLAC packs 8 x 65,535 equal samples into 26 bytes, Ogg 255 x 4,096 into 33.
SAMPLES_A_BYTE = 1 << 15
MOST_SAMPLES = 1 << 30  # of a recording in memory: 4 GiB, 18 hours at 16 kHz
BLOCK_SAMPLES = 1 << 24  # decoded at once, of all channels: 64 MiB, 17 minutes at 16 kHz
UNKNOWN_BLOCK = 1 << 20  # decoded at once where only decoding tells how many there are
CACHED_LENGTHS = 1 << 16  # lengths of recordings that only decoding tells


class Decoded(NamedTuple):
    """A recording as its file holds it."""

    samples: np.ndarray  # [T, channels] float32
    sample_rate: int  # Hz
    kind: str  # as libsndfile calls it, such as ``WAV PCM_16``


def read_audio(path: str | Path, meter: LevelMeter | None = None) -> Tensor:
    """Decode an audio file of any format, sample rate and channel count up to its real end.

    Args:
        path: Path of the file.
        meter: Measures the channels before they are mixed.

    Returns:
        [T] float32 samples at 16 kHz: the mean of the channels, resampled by soxr (HQ).

    Raises:
        FileNotFoundError: The file does not exist, or is a folder.
        ClipError: The file is empty, truncated, not audio, too long to be held in memory, holds no sample,
            or NaN or infinity; or its header claims what cannot be.
    """
    with open_whole(path) as file:
        blocks = limited(path, file, read_blocks(path, file))
        blocks = [mono(block) for block in (meter.through(blocks) if meter else blocks)]
        waveform = resample(join(blocks), file.sample_rate)
    check_left(path, len(waveform))
    return torch.from_numpy(waveform)


def decode(path: str | Path) -> Decoded:
    """Return a recording as its file holds it; see ``read_audio`` for its errors."""
    with open_whole(path) as file:
        samples = join(list(limited(path, file, read_blocks(path, file), file.channels)))
        return Decoded(samples, file.sample_rate, file.kind)


def read_blocks(
    path: str | Path, file: Decoder, size: int | None = None, start: int = 0
) -> Iterator[np.ndarray]:
    """Yield [t, channels] float32 samples from a decoder's position to the real end of the file.

    Memory is taken for what is decoded, never for all that a header promises.

    Args:
        path: Path that an error names.
        file: Decoder of the file.
        size: Number of samples of a channel in a block.
        start: Sample that the decoder stands at.

    Raises:
        ClipError: Fewer samples than the header promises, or one that is not finite.
    """
    size = size or max(1, (UNKNOWN_BLOCK if file.frames is None else BLOCK_SAMPLES) // file.channels)
    decoded, is_last = start, False
    while not is_last:
        samples = file.read(size)
        decoded, is_last = decoded + len(samples), len(samples) < size
        check_finite(path, samples)
        yield samples
    check_whole(path, decoded, file.promised)
    if not decoded:
        raise ClipError(f"{path}: holds 0 samples; a clip needs at least 1")


def limited(path: str | Path, file: Decoder, blocks: Iterator[np.ndarray], channels: int = 1) -> Iterator:
    """Pass blocks on while what was decoded fits into memory; see ``check_size``.

    Args:
        path: Path that an error names.
        file: Decoder of the file.
        blocks: What ``read_blocks`` yields.
        channels: Number of channels that are held.
    """
    num_frames = 0
    for block in blocks:
        num_frames += len(block)
        check_size(path, math.ceil(num_frames * max(channels, SAMPLE_RATE / file.sample_rate)))
        yield block


def join(blocks: list[np.ndarray]) -> np.ndarray:
    """Blocks behind one another; a single one is not copied."""
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def mix_down(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """[T, channels] samples at any rate -> [T] at 16 kHz: their mean, resampled by soxr (HQ)."""
    return resample(mono(samples), sample_rate)


def mono(samples: np.ndarray) -> np.ndarray:
    """[T, channels] -> [T], their mean."""
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)


def resample(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """[T] samples at any rate -> [T] at 16 kHz by soxr (HQ)."""
    if sample_rate != SAMPLE_RATE:
        waveform = soxr.resample(waveform, sample_rate, SAMPLE_RATE, quality="HQ")
    return waveform


def stream_audio(
    path: str | Path, seconds: float = 10.0, meter: LevelMeter | None = None
) -> Iterator[Tensor]:
    """Yield a recording of any length in blocks of samples at 16 kHz, decoded as they are asked for.

    Together they are what ``read_audio`` returns, to rounding.

    Args:
        path: Path of the recording.
        seconds: Length of a block.
        meter: See ``read_audio``.

    Raises: See ``read_audio``.
    """
    num_samples = 0
    with open_audio(path) as file:
        size = max(1, round(seconds * file.sample_rate))
        resampler = None
        if file.sample_rate != SAMPLE_RATE:
            resampler = soxr.ResampleStream(file.sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        for block in read_blocks(path, file, size):
            if meter is not None:
                meter.add(block)
            waveform = mono(block)
            if resampler is not None:
                waveform = resampler.resample_chunk(waveform, last=len(block) < size)
            num_samples += len(waveform)
            if len(waveform):
                yield torch.from_numpy(waveform)
    check_left(path, num_samples)


def check_finite(path: str | Path, samples: np.ndarray) -> None:
    """Raise ClipError where a sample is NaN or infinite."""
    if not np.isfinite(samples).all():
        raise ClipError(f"{path}: holds NaN or infinite samples; expected finite ones")


def check_whole(path: str | Path, decoded: int, promised: int) -> None:
    """Raise ClipError where fewer frames could be decoded than the header promised."""
    if decoded < promised:
        raise ClipError(
            f"{path}: truncated, its header promises {promised} frames, {decoded} could be decoded"
        )


def check_left(path: str | Path, num_samples: int) -> None:
    """Raise ClipError where no sample is left behind resampling."""
    if not num_samples:
        raise ClipError(f"{path}: too short, no sample is left at {SAMPLE_RATE} Hz")


class Recordings:
    """Recordings as files, decoded whenever they are read; a ``Cache`` has the same two methods."""

    def read(self, path: str | Path, start: int = 0, num_samples: int | None = None) -> Tensor:
        """Return [T] float32 samples at 16 kHz from sample ``start``, at most ``num_samples``.

        Raises:
            FileNotFoundError, ClipError: See ``read_audio``; also where the recording ends before ``start``.
        """
        if start == 0 and num_samples is None:
            return read_audio(path)
        with open_audio(path) as file:
            if file.sample_rate == SAMPLE_RATE and file.can_seek:  # no need to decode the rest
                check_start(path, start, file.frames)
                file.seek(start)
                if num_samples is None:
                    return torch.from_numpy(join([mono(b) for b in read_blocks(path, file, start=start)]))
                samples = file.read(num_samples)
                check_finite(path, samples)
                check_whole(path, start + len(samples), min(file.frames, start + num_samples))
                return torch.from_numpy(mono(samples))
        waveform = read_audio(path)
        check_start(path, start, len(waveform))
        return waveform[start:][:num_samples].clone()

    def length(self, path: str | Path) -> int:
        """Return the number of samples at 16 kHz, from a header that the file confirms, or by decoding."""
        with open_audio(path) as file:
            if file.frames is not None:
                return resampled_length(file.frames, file.sample_rate)
        found = os.stat(path)
        return decoded_length(os.fspath(path), found.st_size, found.st_mtime_ns)


@functools.lru_cache(CACHED_LENGTHS)
def decoded_length(path: str, size: int, mtime_ns: int) -> int:
    """Return the number of samples at 16 kHz of a recording, by decoding it.

    Args:
        path: Path of the file.
        size: Number of its bytes; with ``mtime_ns``, it tells whether the file is still the same.
        mtime_ns: Time of its last change.
    """
    with open_audio(path) as file:
        num_frames = sum(map(len, read_blocks(path, file)))
        return resampled_length(num_frames, file.sample_rate)


def resampled_length(num_frames: int, sample_rate: int) -> int:
    """Return the number of samples at 16 kHz, rounded as soxr does."""
    return math.floor(num_frames * SAMPLE_RATE / sample_rate + 0.5)


def check_start(path: str | Path, start: int, num_samples: int) -> None:
    """Raise ClipError where a recording ends before the first sample that is asked for."""
    if not 0 <= start < num_samples:
        raise ClipError(f"{path}: a part from sample {start:,} on; the recording has {num_samples:,} samples")


@contextmanager
def open_audio(path: str | Path) -> Iterator[Decoder]:
    """Open a recording whose header and length are sound; see ``read_audio`` for its errors."""
    path = Path(path)
    size = size_of(path)
    if path.suffix.lower() == ".raw":  # soundfile wants to be told what it holds
        raise ClipError(f"{path}: .raw has no header that tells its format; {AUDIO}")
    if size == 0:
        raise ClipError(f"{path}: the file is empty (0 bytes); {AUDIO}")
    with closing(open_decoder(path, size)) as file:
        check_header(path, size, file)
        yield file


@contextmanager
def open_whole(path: str | Path) -> Iterator[Decoder]:
    """Open a recording that is small enough to be held in memory; see ``read_audio`` for its errors."""
    with open_audio(path) as file:
        check_size(path, math.ceil((file.frames or 0) * max(1, SAMPLE_RATE / file.sample_rate)))
        yield file


def size_of(path: Path) -> int:
    """The bytes of a file that may be read.

    Raises:
        FileNotFoundError: there is none.
        ClipError: it may not be read.
    """
    try:
        return readable_size(path, AUDIO)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ClipError(str(error)) from None


def check_size(path: str | Path, num_samples: int) -> None:
    """Raise ClipError where a recording has more samples than are held in memory."""
    if num_samples > MOST_SAMPLES:
        raise ClipError(
            f"{path}: {num_samples:,} samples or more; at most {MOST_SAMPLES:,} are held in memory: "
            "cut it, or hear it with python3 -m ipet predict -timeline"
        )


def check_header(path: Path, size: int, file: Decoder) -> None:
    """Raise ClipError where a header of a file of ``size`` bytes claims what cannot be."""
    if not RATES[0] <= file.sample_rate <= RATES[1]:
        raise ClipError(
            f"{path}: a sample rate of {file.sample_rate:,} Hz; expected {RATES[0]:,} to {RATES[1]:,} Hz"
        )
    if file.frames == 0:
        raise ClipError(f"{path}: holds 0 samples; a clip needs at least 1")
    if file.promised * file.channels > size * SAMPLES_A_BYTE:
        raise ClipError(
            f"{path}: its header claims {file.promised:,} samples, which {size:,} bytes cannot hold; "
            "expected a whole file: encode it again"
        )


def tile(waveform: Tensor, num_samples: int) -> Tensor:
    """[T] -> [num_samples], repeated periodically; [T] unchanged where T is enough.

    Raises:
        ValueError: The waveform is empty.
    """
    if not len(waveform):
        raise ValueError("an empty waveform; expected at least 1 sample to repeat")
    if len(waveform) >= num_samples:
        return waveform
    return waveform.repeat(-(-num_samples // len(waveform)))[:num_samples]


def crop_or_tile(
    waveform: Tensor, num_samples: int, crop: str, rng: np.random.Generator | None = None
) -> Tensor:
    """Bring a clip to a fixed length.

    Args:
        waveform: [T] samples; repeated periodically where T < ``num_samples``.
        crop: which part of a longer clip: ``first``, ``centre``, or ``random``.
        rng: draws the start of a ``random`` crop.

    Returns:
        [num_samples] samples.

    Raises:
        ValueError: ``crop`` is none of the three, or random without ``rng``.
    """
    if crop not in CROPS:
        raise ValueError(f"crop is {crop!r}; accepted: {', '.join(CROPS)}")
    if crop == "random" and rng is None:
        raise ValueError("crop is 'random' and rng is None; a random crop needs a generator")
    spare = max(0, len(waveform) - num_samples)
    if crop == "first":
        start = 0
    elif crop == "centre":
        start = spare // 2
    else:
        start = int(rng.integers(spare + 1))
    return tile(waveform, num_samples)[start : start + num_samples]
