"""Waveforms: decode, mix down, resample, crop or tile. Everything is [T] float32 at 16 kHz."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

SAMPLE_RATE = 16_000  # Hz, of both backbones
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")  # of the files that are taken for recordings in a folder

# A WAV written to a pipe carries a placeholder of about 2 or 4 GiB in place of its length.
STREAMED_BYTES = 0x7FFFF000
CROPS = ("first", "centre", "random")
MAX_FRAMES = 1 << 40  # libsndfile gives more where a FLAC does not tell its length


class ClipError(ValueError):
    """A clip that cannot be used; the message says which, what was found and what is accepted.

    A DataLoader worker raises it again with its own traceback as the message: only the text after
    the last ``ClipError: `` is kept, so that the reader gets the letter without the envelope.
    """

    def __init__(self, message: str):
        super().__init__(message.rsplit("ClipError: ", 1)[-1].strip())


class Decoded(NamedTuple):
    """A recording as its file holds it."""

    samples: np.ndarray  # [T, channels] float32
    sample_rate: int  # Hz
    kind: str  # as libsndfile calls it, such as ``WAV PCM_16``


def read_audio(path: str | Path) -> Tensor:
    """Decode a WAV, FLAC, OGG or MP3 file of any sample rate and channel count.

    Returns:
        [T] float32 samples at 16 kHz: the mean of the channels, resampled by soxr (HQ).

    Raises:
        FileNotFoundError: there is no such file, or it is a folder.
        ClipError: the file is empty, truncated, not audio, holds no sample, or NaN or infinity.
    """
    decoded = decode(path)
    waveform = mix_down(decoded.samples, decoded.sample_rate)
    check_left(path, len(waveform))
    return torch.from_numpy(waveform)


def decode(path: str | Path) -> Decoded:
    """A recording as its file holds it; see ``read_audio`` for its errors."""
    with open_audio(path) as file:
        samples = file.read(dtype="float32", always_2d=True)
        sample_rate, num_frames, kind = file.samplerate, file.frames, f"{file.format} {file.subtype}"
    check_whole(path, len(samples), num_frames)
    check_finite(path, samples)
    return Decoded(samples, sample_rate, kind)


def mix_down(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """[T, channels] samples at any rate -> [T] at 16 kHz: their mean, resampled by soxr (HQ)."""
    waveform = samples.mean(axis=1)
    if sample_rate != SAMPLE_RATE:
        waveform = soxr.resample(waveform, sample_rate, SAMPLE_RATE, quality="HQ")
    return waveform


def stream_audio(path: str | Path, seconds: float = 10.0) -> Iterator[Tensor]:
    """A recording of any length in blocks of samples at 16 kHz, decoded as they are asked for.

    Together they are what ``read_audio`` returns, to rounding.

    Args:
        path: of the recording.
        seconds: of it that are decoded at once.

    Raises: see ``read_audio``.
    """
    with open_audio(path) as file:
        rate, num_frames, decoded, num_samples = file.samplerate, file.frames, 0, 0
        size = max(1, round(seconds * rate))
        resampler = None
        if rate != SAMPLE_RATE:
            resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        last = False
        while not last:
            samples = file.read(size, "float32", always_2d=True)  # [T, channels]
            last, decoded = len(samples) < size, decoded + len(samples)
            check_finite(path, samples)
            waveform = samples.mean(axis=1)
            if resampler is not None:
                waveform = resampler.resample_chunk(waveform, last=last)
            num_samples += len(waveform)
            if len(waveform):
                yield torch.from_numpy(waveform)
    check_whole(path, decoded, num_frames)
    check_left(path, num_samples)


def check_finite(path: str | Path, samples: np.ndarray) -> None:
    """Raise ClipError where a sample is NaN or infinite."""
    if not np.isfinite(samples).all():
        raise ClipError(f"{path}: holds NaN or infinite samples; expected finite ones")


def check_whole(path: str | Path, decoded: int, promised: int) -> None:
    """Raise ClipError where fewer frames could be decoded than the header promised."""
    if decoded < 0.95 * promised:  # an MP3's length is an estimate
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
        """[T] float32 samples at 16 kHz from sample ``start``, at most ``num_samples``.

        Raises: see ``read_audio``.
        """
        if start == 0 and num_samples is None:
            return read_audio(path)
        with open_audio(path) as file:
            if file.samplerate == SAMPLE_RATE and file.seekable():  # no need to decode the rest
                file.seek(min(start, file.frames))
                samples = file.read(-1 if num_samples is None else num_samples, "float32", always_2d=True)
                return torch.from_numpy(samples.mean(axis=1))
        return read_audio(path)[start:][:num_samples].clone()

    def length(self, path: str | Path) -> int:
        """Samples at 16 kHz, as the file's header tells."""
        with open_audio(path) as file:
            return math.floor(file.frames * SAMPLE_RATE / file.samplerate + 0.5)  # as soxr rounds


@contextmanager
def open_audio(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open a recording whose header and length are sound; see ``read_audio`` for its errors."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    if path.stat().st_size == 0:
        raise ClipError(f"{path}: the file is empty (0 bytes); expected WAV, FLAC, OGG or MP3 audio")
    try:
        with soundfile.SoundFile(path) as file:
            check_length(path, file)
            yield file
    except soundfile.LibsndfileError as error:
        raise ClipError(f"{path}: not readable as WAV, FLAC, OGG or MP3: {error}") from None


def check_length(path: Path, file: soundfile.SoundFile) -> None:
    """Raise ClipError where a file holds no sample, or less audio than its header promises.

    libsndfile reads a cut WAV without a word, but notes the mismatch in its log of the header.
    """
    if file.frames > MAX_FRAMES:
        raise ClipError(
            f"{path}: its header does not say how long it is (a FLAC written to a pipe); "
            "expected a whole file: encode it again"
        )
    cut = re.search(r"^data : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    if cut:
        promised, found = map(int, cut.groups())
        if found < promised < STREAMED_BYTES:
            raise ClipError(
                f"{path}: truncated, its header promises {promised} bytes of audio, {found} are there"
            )
    if not file.frames:
        raise ClipError(f"{path}: holds 0 samples; a clip needs at least 1")


def tile(waveform: Tensor, num_samples: int) -> Tensor:
    """[T] -> [num_samples], repeated periodically; [T] unchanged where T is enough."""
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
