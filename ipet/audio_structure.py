"""How an audio file has to be read so that all of it is heard, and what the examiners of formats share."""

import os
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ipet.audio_formats import ClipError

HEAD_BYTES = 4096  # holds the chunks before the samples of nearly every file


class Container(NamedTuple):
    """How a file has to be read so that all of its audio is heard, and nothing else.

    Args:
        kind: Name of the container; empty where it is not known here.
        patches: Bytes to put at offsets of the file, in place of a length that is not true.
        window: Offsets between which the audio lies, of a stream that is wrapped in another container.
        is_exact: Whether the decoder's number of samples is the true one; otherwise decoding tells.
        promised: Samples of a channel that have to come; 0 if the header makes no usable promise.
        limit: Samples of a channel after which the decoder would return padding.
    """

    kind: str = ""
    patches: tuple[tuple[int, bytes], ...] = ()
    window: tuple[int, int] | None = None
    is_exact: bool = True
    promised: int = 0
    limit: int | None = None


class Chunk(NamedTuple):
    """A chunk of a container: its name, offset of its size field, offset of its content, size."""

    name: bytes
    size_at: int
    start: int
    size: int


class Unreadable(ValueError):
    """A file that libsndfile would misread; another decoder may read it."""


def move(file: BinaryIO, offset: int) -> None:
    """Move to an offset that a header states, which may lie far behind the end of the file."""
    file.seek(min(offset, os.fstat(file.fileno()).st_size))


def skip_id3(file: BinaryIO) -> int:
    """Move behind the ID3v2 tags at the beginning of a file; return the offset."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3":
            file.seek(start)
            return start
        start += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0)))


def read_number(file: BinaryIO, offset: int, format: str) -> int:
    """Return a number at an offset; 0 behind the end of the file."""
    move(file, offset)
    data = file.read(struct.calcsize(format))
    return struct.unpack(format, data)[0] if len(data) == struct.calcsize(format) else 0


def patch(offset: int, format: str, value: int) -> tuple[int, bytes]:
    """Return a number as the bytes that are to be put at an offset."""
    return offset, struct.pack(format, min(value, (1 << 8 * struct.calcsize(format)) - 1))


def truncated(path: Path, promised: int, found: int) -> ClipError:
    """Return the error for a file that is shorter than its header says."""
    return ClipError(
        f"{path}: truncated, its header promises {promised} bytes of audio, {max(0, found)} are there"
    )


class PatchedFile:
    """A file of which some bytes are others, or a part of a file, for libsndfile's virtual I/O.

    Args:
        path: Path of the file.
        patches: Bytes to put at offsets.
        window: Offsets between which the file is seen; all of it by default.
        is_endless: Whether the file is said to be far longer than it is, so that libsndfile reads to its end
            where it would trust an estimate. Reading ends where the file does.
    """

    EXTRA = 1 << 36  # bytes

    def __init__(
        self,
        path: Path,
        patches: tuple[tuple[int, bytes], ...] = (),
        window: tuple[int, int] | None = None,
        is_endless: bool = False,
    ):
        self.file = open(path, "rb")  # noqa: SIM115, closed by close()
        self.start, self.stop = window or (0, os.fstat(self.file.fileno()).st_size)
        self.patches = patches
        self.length = self.stop - self.start + (self.EXTRA if is_endless else 0)
        self.position = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to an offset; see ``io.IOBase.seek``."""
        self.position = offset + (0, self.position, self.length)[whence]
        return self.position

    def tell(self) -> int:
        """Return the offset."""
        return self.position

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes."""
        first = self.start + self.position
        if self.position >= self.length - 128 and self.length > self.stop - self.start:
            data = bytes(count)  # where an ID3v1 tag would be
        else:
            self.file.seek(first)
            left = max(0, self.stop - first)
            data = self.file.read(left if count < 0 else min(count, left))
        for offset, content in self.patches:
            if first < offset + len(content) and offset < first + len(data):
                changed = bytearray(data)
                for i, byte in enumerate(content):
                    if 0 <= offset + i - first < len(data):
                        changed[offset + i - first] = byte
                data = bytes(changed)
        self.position += len(data)
        return data

    def readinto(self, buffer) -> int:
        """Fill a buffer with the next bytes; return their number."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data) -> int:
        """Refuse to write."""
        raise OSError("a file that is read")

    def close(self) -> None:
        """Close the file."""
        self.file.close()
