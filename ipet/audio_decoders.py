"""Decoders: libsndfile, and for what it lacks the ``ffmpeg`` program or torchcodec.

A decoder gives the samples of a file from its beginning to its real end, as [t, channels] float32.
"""

import contextlib
import struct
import subprocess
import threading
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from ipet.audio_containers import examine_container
from ipet.audio_formats import (
    INSTALL,
    RAW_SUFFIXES,
    ClipError,
    has_ffmpeg,
    has_torchcodec,
    libsndfile_suffixes,
)
from ipet.audio_streams import examine_mpeg
from ipet.audio_structure import Container, PatchedFile, Unreadable

SEEKABLE = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG")  # exact to the sample
WITHOUT_SEEK = ("GSM610", "G721_32", "G723_24", "G723_40", "NMS_ADPCM_16", "NMS_ADPCM_24", "NMS_ADPCM_32")
MAX_FRAMES = 1 << 40  # libsndfile gives more for a FLAC without a length
RAW_REASON = "no header states its format, and its name alone is no proof"
STALL_SECONDS = 60.0  # without output of ffmpeg
# Containers that identify themselves by their first bytes: no raw samples, playlists, devices and generators.
FFMPEG_FORMATS = (
    "aac,ac3,ac4,acm,act,adx,aea,aiff,amr,ape,apc,asf,asf_o,ast,au,avi,bfstm,brstm,caf,codec2,dsf,dts,dtshd,"
    "eac3,ea,fsb,flac,flv,hca,iff,ilbc,ircam,loas,matroska,webm,mlp,mmf,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,"
    "mpeg,mpegts,nistsphere,nut,ogg,oma,paf,pvf,qcp,rm,rso,sds,shn,sox,swf,tak,truehd,tta,voc,vqf,w64,wav,"
    "wsaud,wtv,wv,wve,xa,xwma"
)
DAMAGE = ("partial file", "Error while decoding", "Error submitting", "Invalid data found", "truncat")
PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"[playlist]", b"<SMIL", b"<asx")


class Decoder(Protocol):
    """A recording that is being decoded.

    ``frames`` is the number of samples of a channel, or None if only decoding tells it; ``promised``, how
    many have to come according to the header, 0 without such a promise; ``can_seek``, whether ``seek`` is
    exact to the sample; ``kind``, the container and the coding.
    """

    sample_rate: int
    channels: int
    frames: int | None
    promised: int
    can_seek: bool
    kind: str

    def read(self, count: int) -> np.ndarray:
        """Return the next samples, [t, channels] float32; fewer than ``count`` at the end alone."""

    def seek(self, frame: int) -> None:
        """Move to a sample."""

    def close(self) -> None:
        """Release the file."""


class ForwardFile(soundfile.SoundFile):
    """A file that is only read forward.

    ``SoundFile`` seeks to where it is after every block: an MP3's decoder then lacks the frames before and
    gives other samples (libsndfile 1.2.2, mpg123), and codings without a seek, such as GSM 6.10, fail.
    """

    def seekable(self) -> bool:
        """Return False, so that nothing seeks on its own."""
        return False


class LibsndfileDecoder:
    """Decode with libsndfile; see ``Decoder``.

    Args:
        path: Path of the file.
        size: Number of its bytes.

    Raises:
        soundfile.LibsndfileError: libsndfile does not decode the file.
        ClipError, Unreadable: See ``examine_container``.
    """

    def __init__(self, path: Path, size: int):
        self.path, self.patched = path, None
        container = examine_container(path, size)
        if container.window is not None:
            container = examine_mpeg(path, size, container.window)
        self.file = self.open(container)
        if self.file.format == "MP3" and container.kind != "MP3":
            with contextlib.closing(self.file):
                container = examine_mpeg(path, size)
            self.file = self.open(container)
        self.container = container
        self.is_raw = self.file.format == "RAW"
        self.sample_rate, self.channels = self.file.samplerate, self.file.channels
        self.kind = f"{self.file.format} {self.file.subtype}"
        self.can_seek = self.file.format in SEEKABLE and self.file.subtype not in WITHOUT_SEEK
        self.promised, self.decoded = container.promised, 0
        if container.is_exact and self.file.frames < MAX_FRAMES:
            self.frames = min(self.file.frames, container.limit or self.file.frames)
            self.promised = self.frames
        else:
            self.frames, self.can_seek = None, False

    def open(self, container: Container) -> ForwardFile:
        """Open the file as its container has to be read."""
        is_endless = container.kind == "MP3" and not container.is_exact
        if not (container.patches or container.window or is_endless):
            return ForwardFile(self.path)
        self.patched = PatchedFile(self.path, container.patches, container.window, is_endless)
        try:
            return ForwardFile(self.patched)
        except soundfile.LibsndfileError:
            self.patched.close()
            raise

    def read(self, count: int) -> np.ndarray:
        """Return the next samples; see ``Decoder``."""
        if self.frames is not None:
            count = min(count, self.frames - self.decoded)
        try:
            samples = self.file.read(count, "float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise ClipError(
                f"{self.path}: truncated or damaged, the decoder stopped after {self.decoded:,} samples: "
                f"{reason_of(error)}"
            ) from None
        self.decoded += len(samples)
        return samples

    def seek(self, frame: int) -> None:
        """Move to a sample; see ``Decoder``."""
        self.decoded = self.file.seek(frame)

    def close(self) -> None:
        """Release the file."""
        self.file.close()
        if self.patched is not None:
            self.patched.close()


class FfmpegDecoder:
    """Decode with the ``ffmpeg`` program, as it is asked for; see ``Decoder``.

    The program sees the file alone: no network, no playlist, no format without a header, and no shell.

    Args:
        path: Path of the file.

    Raises:
        ClipError: ffmpeg does not decode the file.
    """

    frames, promised, can_seek = None, 0, False

    def __init__(self, path: Path):
        self.path, self.is_stalled = path, False
        command = ["ffmpeg", "-nostdin", "-hide_banner", "-v", "error", "-protocol_whitelist", "file"]
        command += ["-format_whitelist", FFMPEG_FORMATS, "-i", f"file:{path.absolute()}", "-vn", "-sn", "-dn"]
        command += ["-map_metadata", "-1", "-c:a", "pcm_f32le", "-f", "wav", "-bitexact", "pipe:1"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
        self.said = bytearray()
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()
        try:
            self.sample_rate, self.channels = self.read_header()
        except BaseException:
            self.close()
            raise
        self.kind = f"{path.suffix[1:].upper() or 'audio'} ffmpeg"

    def listen(self) -> None:
        """Keep the beginning of what ffmpeg writes to its standard error."""
        for line in self.process.stderr:
            if len(self.said) < 1 << 16:
                self.said += line

    def take(self, count: int) -> bytes:
        """Return the next bytes of ffmpeg's output; fewer at its end alone."""
        timer = threading.Timer(STALL_SECONDS, self.stall)
        timer.daemon = True
        timer.start()
        try:
            return self.process.stdout.read(count)
        finally:
            timer.cancel()

    def stall(self) -> None:
        """End a program that gives nothing any more."""
        self.is_stalled = True
        self.process.kill()

    def read_header(self) -> tuple[int, int]:
        """Return the sample rate and the channels of ffmpeg's output, a WAV."""
        if len(self.take(12)) < 12:
            self.finish()
            raise self.error("holds no audio that ffmpeg decodes")
        rate = channels = 0
        while True:
            head = self.take(8)
            if len(head) < 8:
                raise self.error("holds no audio that ffmpeg decodes")
            if head[:4] == b"data":
                return rate, channels
            content = self.take(struct.unpack("<I", head[4:])[0])
            if head[:4] == b"fmt ":
                channels, rate = struct.unpack("<HI", content[2:8])

    def read(self, count: int) -> np.ndarray:
        """Return the next samples; see ``Decoder``."""
        width = 4 * self.channels
        data = self.take(count * width)
        samples = np.frombuffer(data[: len(data) // width * width], "<f4").reshape(-1, self.channels)
        if len(samples) < count:
            self.finish()
        return samples.copy()

    def finish(self) -> None:
        """Wait for the end of ffmpeg; raise ClipError where it did not decode everything."""
        timer = threading.Timer(STALL_SECONDS, self.stall)
        timer.daemon = True
        timer.start()
        try:
            status = self.process.wait()
        finally:
            timer.cancel()
        self.listener.join(5)
        text = self.said.decode("utf-8", "replace")
        if status or self.is_stalled or any(word in text for word in DAMAGE):
            raise self.error("ffmpeg did not decode all of it")

    def error(self, what: str) -> ClipError:
        """Return an error with the last thing that ffmpeg said."""
        if self.is_stalled:
            return ClipError(f"{self.path}: ffmpeg gave nothing for {STALL_SECONDS:.0f} s and was ended")
        lines = self.said.decode("utf-8", "replace").strip().splitlines()
        said = lines[-1].replace(f"file:{self.path.absolute()}: ", "") if lines else "no samples"
        start = "truncated, " if any("partial file" in line for line in lines) else ""
        return ClipError(f"{self.path}: {start}{what}: {said}")

    def seek(self, frame: int) -> None:
        """Refuse; see ``Decoder``."""
        raise OSError(f"{self.path}: ffmpeg's output is only read forward")

    def close(self) -> None:
        """End ffmpeg."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.listener.join(5)
        self.process.stderr.close()


class TorchcodecDecoder:
    """Decode with torchcodec, all of the file at once; see ``Decoder``.

    Raises:
        ClipError: torchcodec does not decode the file.
    """

    can_seek = False

    def __init__(self, path: Path):
        from torchcodec.decoders import AudioDecoder

        self.path = path
        with open(path, "rb") as file:
            if file.read(64).lstrip().startswith(PLAYLISTS):
                raise ClipError(f"{path}: a playlist; expected an audio file")
        try:
            samples = AudioDecoder(str(path.absolute())).get_all_samples()
        except (RuntimeError, ValueError, IndexError) as error:
            raise ClipError(f"{path}: torchcodec does not decode it: {str(error).splitlines()[0]}") from None
        self.sample_rate, self.data = samples.sample_rate, samples.data.T.numpy()
        self.channels, self.frames = self.data.shape[1], len(self.data)
        self.promised, self.decoded = self.frames, 0
        self.kind = f"{path.suffix[1:].upper() or 'audio'} torchcodec"

    def read(self, count: int) -> np.ndarray:
        """Return the next samples; see ``Decoder``."""
        samples = np.ascontiguousarray(self.data[self.decoded : self.decoded + count], dtype=np.float32)
        self.decoded += len(samples)
        return samples

    def seek(self, frame: int) -> None:
        """Move to a sample; see ``Decoder``."""
        self.decoded = frame

    def close(self) -> None:
        """Release the samples."""
        self.data = None


def reason_of(error: soundfile.LibsndfileError) -> str:
    """Return what libsndfile says, without the file's name and the full stop."""
    return error.error_string.removeprefix("Error : ").rstrip(".")


def fallback_decoder(path: Path) -> Decoder | None:
    """Return a decoder of FFmpeg's formats, or None where neither ffmpeg nor torchcodec is installed.

    Raises:
        ClipError: It does not decode the file.
    """
    if has_ffmpeg():
        return FfmpegDecoder(path)
    return TorchcodecDecoder(path) if has_torchcodec() else None


def open_decoder(path: Path, size: int) -> Decoder:
    """Return a decoder that stands at the beginning of a file.

    Args:
        path: Path of the file.
        size: Number of its bytes.

    Raises:
        ClipError: No decoder of this machine reads the file, or it is truncated.
    """
    try:
        decoder = LibsndfileDecoder(path, size)
        if not decoder.is_raw:
            return decoder
        decoder.close()
        said = RAW_REASON  # libsndfile takes whatever is called .au, .snd, .vox or .gsm for samples
    except soundfile.LibsndfileError as error:
        said = f"not readable as audio: {reason_of(error)}"
    except Unreadable as error:
        said = f"not readable as audio: {error}"
    try:
        decoder = fallback_decoder(path)
    except ClipError as error:
        other = str(error).removeprefix(f"{path}: ")
        raise ClipError(f"{path}: {said}; {other}") from None
    if decoder is None:
        is_known = path.suffix.lower() in (*libsndfile_suffixes(), *RAW_SUFFIXES)
        remedy = "" if is_known else f"; for {path.suffix or 'its format'} {INSTALL}"
        raise ClipError(f"{path}: {said}{remedy}")
    return decoder
