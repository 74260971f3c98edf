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

from ipet.files import AUDIO, readable_size
from ipet.printable import escaped

SAMPLE_RATE = 16_000  # Hz, of both backbones

# A WAV written to a pipe carries a placeholder of about 2 or 4 GiB in place of its length.
STREAMED_BYTES = 0x7FFFF000
SEEKABLE = ("WAV", "WAVEX", "FLAC", "OGG")  # to the very sample: an MP3 is not, see Forward
CROPS = ("first", "centre", "random")
MAX_FRAMES = 1 << 40  # libsndfile gives more where a FLAC does not tell its length
RATES = (1_000, 768_000)  # Hz: 1 Hz, which a header may claim, would become 16,000 times as many samples
# No format holds more in a byte: FLAC packs 8 x 65,535 equal samples into 26 bytes, Ogg 255 x 4,096 into 33.
SAMPLES_A_BYTE = 1 << 15
MOST_SAMPLES = 1 << 30  # of a recording in memory: 4 GiB, 18 hours at 16 kHz
BLOCK_SAMPLES = 1 << 24  # decoded at once, of all channels: 64 MiB, 17 minutes at 16 kHz


class ClipError(ValueError):
    """A clip that cannot be used; the message says which, what was found and what is accepted.

    A DataLoader worker raises it again with its own traceback as the message: only the text after
    the last ``ClipError: `` is kept, so that the reader gets the letter without the envelope.
    """

    def __init__(self, message: str):
        super().__init__(escaped(message.rsplit("ClipError: ", 1)[-1].strip()))


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
        ClipError: the file is empty, truncated, not audio, too long to be held in memory, holds no sample,
            or NaN or infinity; or its header claims what cannot be.
    """
    with open_whole(path) as file:
        waveform = join([mono(block) for block in read_blocks(path, file)])
        waveform = resample(waveform, file.samplerate)
    check_left(path, len(waveform))
    return torch.from_numpy(waveform)


def decode(path: str | Path) -> Decoded:
    """A recording as its file holds it; see ``read_audio`` for its errors."""
    with open_whole(path) as file:
        check_size(path, file.frames * file.channels)
        samples = join(list(read_blocks(path, file)))
        return Decoded(samples, file.samplerate, f"{file.format} {file.subtype}")


def read_blocks(path: str | Path, file: soundfile.SoundFile, size: int | None = None) -> Iterator[np.ndarray]:
    """[t, channels] float32 samples, from where a file stands to its end; the last block is a shorter one.

    Memory is taken for what is decoded, never for all that a header promises.

    Args:
        path: what an error names.
        size: samples of a channel in a block.

    Raises:
        ClipError: fewer samples than the header promises, or one that is not finite.
    """
    size = size or max(1, BLOCK_SAMPLES // file.channels)
    decoded, last = file.tell(), False
    while not last:
        samples = file.read(min(size, file.frames - decoded), "float32", always_2d=True)
        decoded, last = decoded + len(samples), len(samples) < size
        check_finite(path, samples)
        yield samples
    check_whole(path, decoded, file.frames)


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


def stream_audio(path: str | Path, seconds: float = 10.0) -> Iterator[Tensor]:
    """A recording of any length in blocks of samples at 16 kHz, decoded as they are asked for.

    Together they are what ``read_audio`` returns, to rounding.

    Args:
        path: of the recording.
        seconds: of it that are decoded at once.

    Raises: see ``read_audio``.
    """
    num_samples = 0
    with open_audio(path) as file:
        size = max(1, round(seconds * file.samplerate))
        resampler = None
        if file.samplerate != SAMPLE_RATE:
            resampler = soxr.ResampleStream(file.samplerate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        for block in read_blocks(path, file, size):
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
    if decoded < 0.95 * promised:  # an MP3's length is an estimate
        raise ClipError(
            f"{path}: truncated, its header promises {promised} frames, {decoded} could be decoded"
        )


def check_left(path: str | Path, num_samples: int) -> None:
    """Raise ClipError where no sample is left behind resampling."""
    if not num_samples:
        raise ClipError(f"{path}: too short, no sample is left at {SAMPLE_RATE} Hz")


class Forward(soundfile.SoundFile):
    """A recording that is read from its beginning to its end.

    ``SoundFile`` seeks behind every block that it has read, to where it is: an MP3's decoder then lacks the
    frames before, and gives other samples (libsndfile 1.2.2, mpg123).
    """

    def seekable(self) -> bool:
        """Never, so that nothing seeks on its own."""
        return False


class Recordings:
    """Recordings as files, decoded whenever they are read; a ``Cache`` has the same two methods."""

    def read(self, path: str | Path, start: int = 0, num_samples: int | None = None) -> Tensor:
        """[T] float32 samples at 16 kHz from sample ``start``, at most ``num_samples``.

        Raises: see ``read_audio``.
        """
        if start == 0 and num_samples is None:
            return read_audio(path)
        with open_audio(path) as file:
            if file.samplerate == SAMPLE_RATE and file.format in SEEKABLE:  # no need to decode the rest
                start = file.seek(min(start, file.frames))
                if num_samples is None:
                    return torch.from_numpy(join([mono(block) for block in read_blocks(path, file)]))
                samples = file.read(min(num_samples, file.frames - start), "float32", always_2d=True)
                check_finite(path, samples)
                check_left(path, len(samples))
                return torch.from_numpy(mono(samples))
        return read_audio(path)[start:][:num_samples].clone()

    def length(self, path: str | Path) -> int:
        """Samples at 16 kHz, as the file's header tells."""
        with open_audio(path) as file:
            return math.floor(file.frames * SAMPLE_RATE / file.samplerate + 0.5)  # as soxr rounds


@contextmanager
def open_audio(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open a recording whose header and length are sound; see ``read_audio`` for its errors."""
    path = Path(path)
    size = size_of(path)
    if path.suffix.lower() == ".raw":  # soundfile wants to be told what it holds
        raise ClipError(f"{path}: .raw has no header that tells its format; {AUDIO}")
    if size == 0:
        raise ClipError(f"{path}: the file is empty (0 bytes); {AUDIO}")
    try:
        with Forward(path) as file:
            check_header(path, size, file)
            yield file
    except soundfile.LibsndfileError as error:
        raise ClipError(f"{path}: not readable as WAV, FLAC, OGG or MP3: {error}") from None


@contextmanager
def open_whole(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open a recording that is small enough to be held in memory; see ``read_audio`` for its errors."""
    with open_audio(path) as file:
        check_size(path, math.ceil(file.frames * max(1, SAMPLE_RATE / file.samplerate)))
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
            f"{path}: {num_samples:,} samples by its header; at most {MOST_SAMPLES:,} are held in memory: "
            "cut it, or hear it with python3 -m ipet predict -timeline"
        )


def check_header(path: Path, size: int, file: soundfile.SoundFile) -> None:
    """Raise ClipError where a header of a file of ``size`` bytes claims what cannot be.

    libsndfile reads a cut WAV without a word, but notes the mismatch in its log of the header.
    """
    if file.format == "RAW":  # libsndfile takes whatever is called .au, .snd, .vox or .gsm for speech
        raise ClipError(f"{path}: no header tells its format, and its name alone is no proof; {AUDIO}")
    if not RATES[0] <= file.samplerate <= RATES[1]:
        raise ClipError(
            f"{path}: a sample rate of {file.samplerate:,} Hz; expected {RATES[0]:,} to {RATES[1]:,} Hz"
        )
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
    if file.frames * file.channels > size * SAMPLES_A_BYTE:
        raise ClipError(
            f"{path}: its header claims {file.frames:,} samples, which {size:,} bytes cannot hold; "
            "expected a whole file: encode it again"
        )


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
