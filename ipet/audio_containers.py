"""Structure of audio containers: where the audio ends, whatever the header's length field says.

Recorders that are interrupted, streams and careless tools leave lengths in headers that are not those of the
audio: 0, a placeholder, too small, too large. ``examine_container`` compares the length field with the file
itself and returns how the file has to be read; a file that ends before its audio does is refused.
"""

import math
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ipet.audio_formats import ClipError
from ipet.mpeg import claimed_mpeg_frames, count_mpeg_frames

PLACEHOLDER_BYTES = 0x7FFF0000  # from here on a 32-bit length is one that nobody could fill in
HEAD_BYTES = 4096  # holds the chunks before the samples of nearly every file
MAX_CHUNKS = 10_000  # before the samples
GSM_BLOCK, GSM_SAMPLES = 65, 320  # bytes and samples of a block of GSM 6.10 in WAV
GSM_TAG, MPEG_TAGS = 0x31, (0x50, 0x55)
W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
W64_DATA, W64_FORMAT = (bytes.fromhex(n + "f3acd3118cd100c04f8edb8a") for n in ("64617461", "666d7420"))
CONVERT = "convert it, for example with ffmpeg -i"


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


def examine_container(path: Path, size: int) -> Container:
    """Return how a file has to be read; see ``Container``.

    Args:
        path: Path of the file.
        size: Number of its bytes.

    Raises:
        ClipError: The file is truncated, or two recordings one after another.
        Unreadable: libsndfile would misread it.
    """
    with open(path, "rb", buffering=HEAD_BYTES) as file:
        start = skip_id3(file)
        head = file.read(16)
        for magic, examine in EXAMINERS:
            if head.startswith(magic):
                return examine(path, file, size, start)
    return Container()


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


# WAV, RF64 and AIFF: chunks -------------------------------------------------------------------------


def riff_chunks(file: BinaryIO, start: int, size: int, order: str) -> Iterator[Chunk]:
    """Yield the chunks of a RIFF or IFF file from an offset on."""
    for _ in range(MAX_CHUNKS):
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            return
        chunk = Chunk(head[:4], start + 4, start + 8, struct.unpack(f"{order}I", head[4:])[0])
        yield chunk
        start = chunk.start + chunk.size + chunk.size % 2


def examine_riff(path: Path, file: BinaryIO, size: int, start: int) -> Container:
    """Examine a WAV or RF64 file."""
    file.seek(start)
    magic = file.read(4)
    order = ">" if magic == b"RIFX" else "<"
    wide: Chunk | None = None
    block_size = tag = 0
    for chunk in riff_chunks(file, start + 12, size, order):
        if chunk.name == b"ds64":
            wide = Chunk(b"ds64", chunk.start + 8, 0, read_number(file, chunk.start + 8, "<Q"))
        elif chunk.name == b"fmt ":
            tag = read_number(file, chunk.start, f"{order}H")
            block_size = read_number(file, chunk.start + 12, f"{order}H")
        elif chunk.name == b"data":
            claimed, field = chunk.size, (chunk.size_at, f"{order}I")
            if wide is not None and claimed == 0xFFFFFFFF:
                claimed, field = wide.size, (wide.size_at, "<Q")
            placeholder = claimed >= (PLACEHOLDER_BYTES if field[1].endswith("I") else 1 << 62)
            if placeholder and chunk.start + claimed > size:
                claimed = 0
            found = span(path, file, size, chunk.start, claimed, order, is_chunk_name)
            return riff_container(chunk.start, found, claimed, field, tag, block_size)
    return Container("WAV")


def riff_container(
    start: int, found: int, claimed: int, field: tuple[int, str], tag: int, block_size: int
) -> Container:
    """Return how a WAV has to be read whose ``found`` bytes of samples begin at ``start``."""
    if tag in MPEG_TAGS:
        return Container("WAV", window=(start, start + found), is_exact=False)
    limit = found // GSM_BLOCK * GSM_SAMPLES if tag == GSM_TAG else None
    if found == claimed:
        return Container("WAV", limit=limit)
    whole = found // block_size * block_size if block_size else found
    return Container("WAV", (patch(*field, whole),), limit=limit)


def span(
    path: Path,
    file: BinaryIO,
    size: int,
    start: int,
    claimed: int,
    order: str,
    is_name: Callable[[bytes], bool],
) -> int:
    """Return the true number of bytes of samples, which begin at ``start`` and should be ``claimed``.

    What follows the samples is other chunks or padding; anything else is samples too.

    Raises:
        ClipError: There are fewer bytes than claimed, or a second file follows.
    """
    available = size - start
    if claimed > available:
        raise truncated(path, claimed, available)
    end = start + claimed
    rest = available - claimed
    if rest < 8:
        return claimed if claimed else available
    file.seek(end + claimed % 2)
    tail = file.read(16)
    if tail[:4] in (b"RIFF", b"RF64", b"FORM", b"RIFX") and tail[8:12] in (b"WAVE", b"AIFF", b"AIFC"):
        raise ClipError(f"{path}: a second recording follows at byte {end:,}; expected one: split the file")
    if tail[:3] in (b"TAG", b"ID3") or tail[:8] == b"APETAGEX":
        return claimed
    if is_name(tail[:4]) and struct.unpack(f"{order}I", tail[4:8])[0] <= rest:
        return claimed
    if claimed and not any(tail) and is_zero(file, end):
        return claimed
    return available


def is_chunk_name(name: bytes) -> bool:
    """Return whether four bytes can be the name of a chunk: printable ASCII."""
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def is_zero(file: BinaryIO, start: int) -> bool:
    """Return whether a file holds zeros alone from an offset on."""
    file.seek(start)
    while block := file.read(1 << 20):
        if block.count(0) != len(block):
            return False
    return True


def examine_aiff(path: Path, file: BinaryIO, size: int, start: int) -> Container:
    """Examine an AIFF or AIFF-C file, or another IFF file."""
    file.seek(start + 8)
    kind, frames = file.read(4), 0
    if kind not in (b"AIFF", b"AIFC"):
        return examine_svx(path, file, size, start)
    for chunk in riff_chunks(file, start + 12, size, ">"):
        if chunk.name == b"COMM":
            frames = read_number(file, chunk.start + 2, ">I")
        elif chunk.name == b"SSND":
            claimed = chunk.size
            if claimed >= PLACEHOLDER_BYTES and chunk.start + claimed > size or claimed <= 8:
                claimed = 0 if frames or size - chunk.start > 8 else claimed
            found = span(path, file, size, chunk.start, claimed, ">", is_chunk_name)
            same = found == chunk.size
            return Container("AIFF", () if same else (patch(chunk.size_at, ">I", found),))
    return Container("AIFF")


def examine_svx(path: Path, file: BinaryIO, size: int, start: int) -> Container:
    """Examine an 8SVX or 16SV file."""
    for chunk in riff_chunks(file, start + 12, size, ">"):
        if chunk.name == b"BODY" and 0 < chunk.size < PLACEHOLDER_BYTES and chunk.start + chunk.size > size:
            raise truncated(path, chunk.size, size - chunk.start)
    return Container("SVX")


# W64, CAF, AU, NIST, VOC ----------------------------------------------------------------------------


def examine_w64(path: Path, file: BinaryIO, size: int, start: int) -> Container:
    """Examine a Sony Wave64 file, of which libsndfile ignores the length of the samples."""
    at, block_size = start + 40, 0
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(24)
        if len(head) < 24:
            break
        length = struct.unpack("<Q", head[16:])[0]
        if head[:16] == W64_FORMAT:
            block_size = read_number(file, at + 24 + 12, "<H")
        if head[:16] == W64_DATA:
            available, claimed = size - at - 24, length - 24
            if available < claimed < 1 << 62:
                raise truncated(path, claimed, available)
            end = at + -(-length // 8) * 8
            file.seek(end)
            follows = file.read(24)
            is_chunk = len(follows) == 24 and follows[4:16] in (W64_DATA[4:], W64_RIFF[4:])
            if claimed > 0 and is_chunk and block_size:
                return Container("W64", limit=claimed // block_size)
            return Container("W64")
        at += max(24, -(-length // 8) * 8)
    return Container("W64")


def examine_caf(path: Path, file: BinaryIO, size: int, start: int) -> Container:
    """Examine a Core Audio file; a length of -1 means up to the end."""
    at = start + 8
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(12)
        if len(head) < 12:
            break
        name, length = head[:4], struct.unpack(">q", head[4:])[0]
        if name == b"data":
            available = size - at - 12
            if length > available and length < 1 << 62:
                raise truncated(path, length, available)
            after = at + 12 + max(0, length)
            file.seek(after)
            rest = size - after
            if 4 < length <= available and (rest < 12 or is_chunk_name(file.read(4)) or is_zero(file, after)):
                return Container("CAF")
            return Container("CAF", (patch(at + 4, ">q", available),))
        if length < 0:
            break
        at += 12 + length
    return Container("CAF")


def examine_au(path: Path, file: BinaryIO, size: int, start: int) -> Container:
    """Examine a Sun AU file: its samples go up to the end of the file."""
    file.seek(start)
    order = ">" if file.read(4) == b".snd" else "<"
    offset, claimed = (read_number(file, start + at, f"{order}I") for at in (4, 8))
    available = size - start - offset
    if available < claimed < PLACEHOLDER_BYTES:
        raise truncated(path, claimed, available)
    if claimed == available or available < 0:
        return Container("AU")
    return Container("AU", (patch(start + 8, f"{order}I", 0xFFFFFFFF),))


def examine_nist(path: Path, file: BinaryIO, size: int, start: int) -> Container:
    """Examine a NIST SPHERE file."""
    file.seek(start)
    lines = file.read(HEAD_BYTES).split(b"\n")
    fields = {words[0]: words[2] for line in lines if len(words := line.split()) == 3}
    try:
        header = int(lines[1])
        counts = (fields[name] for name in (b"sample_count", b"channel_count", b"sample_n_bytes"))
        claimed = math.prod(map(int, counts))
    except (KeyError, ValueError, IndexError):
        return Container("NIST")
    if fields.get(b"sample_coding", b"pcm").partition(b",")[0] in (b"pcm", b"ulaw", b"alaw"):
        if claimed > size - start - header:
            raise truncated(path, claimed, size - start - header)
        return Container("NIST")
    raise Unreadable(f"{fields[b'sample_coding'].decode('latin-1')} in NIST SPHERE")


def examine_voc(path: Path, file: BinaryIO, size: int, start: int) -> Container:
    """Examine a Creative Voice file; libsndfile takes the heads of further blocks for samples."""
    at, sounds = start + read_number(file, start + 20, "<H"), 0
    while at < size:
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or head[0] == 0:
            break
        length = int.from_bytes(head[1:], "little")
        sounds += head[0] in (1, 2, 9)
        if sounds == 1 and at + 4 + length > size:
            raise truncated(path, length, size - at - 4)
        at += 4 + length
    if sounds > 1:
        raise Unreadable(f"VOC of {sounds} blocks of sound")
    return Container("VOC")


# FLAC -----------------------------------------------------------------------------------------------


def examine_flac(path: Path, file: BinaryIO, size: int, start: int) -> Container:
    """Examine a FLAC file: its last frame tells how many samples there are."""
    file.seek(start)
    head = file.read(42)
    if len(head) < 42 or head[4] & 0x7F:
        return Container("FLAC")
    least, most, _, largest = (
        int.from_bytes(head[a:b], "big") for a, b in ((8, 10), (10, 12), (12, 15), (15, 18))
    )
    packed = int.from_bytes(head[18:26], "big")
    claimed = packed & (1 << 36) - 1
    if claimed and last_flac_sample(file, size, least, most, largest, packed) == claimed:
        return Container("FLAC")
    unknown = (packed >> 36 << 36).to_bytes(8, "big")
    return Container("FLAC", ((start + 18, unknown),) if claimed else (), is_exact=False, promised=claimed)


def last_flac_sample(file: BinaryIO, size: int, least: int, most: int, largest: int, packed: int) -> int:
    """Return the number of samples up to the end of the last frame; 0 where it is not found."""
    num_bytes = min(size, (largest or 1 << 16) + 1024)
    file.seek(size - num_bytes)
    tail = file.read(num_bytes)
    bits = {8: 1, 12: 2, 16: 4, 20: 5, 24: 6, 32: 7}.get((packed >> 36 & 31) + 1)
    end = len(tail)
    while (at := tail.rfind(b"\xff", 0, end)) >= 0:
        end = at
        frame = tail[at : at + 16]
        if len(frame) < 6 or frame[1] not in (0xF8, 0xF9) or frame[3] & 1 or frame[3] >> 4 > 10:
            continue
        if bits is not None and frame[3] >> 1 & 7 not in (0, bits):
            continue
        stop = flac_frame_stop(frame, least, most)
        if stop:
            return stop
    return 0


def flac_frame_stop(frame: bytes, least: int, most: int) -> int:
    """Return the number of the sample after a frame, or 0 where its header is not sound."""
    extra = 8 - (frame[4] ^ 0xFF).bit_length() if frame[4] >= 0xC0 else 0  # bytes of the number, all of them
    if 0x80 <= frame[4] < 0xC0 or extra > 7 or frame[4] == 0xFF:
        return 0
    number = frame[4] & (0xFF >> extra + 1 if extra else 0x7F)
    at = 5
    for byte in frame[5 : 4 + extra]:
        number, at = number << 6 | byte & 0x3F, at + 1
    code = frame[2] >> 4
    if code == 0:
        return 0
    if code in (6, 7):
        width = code - 5
        block, at = int.from_bytes(frame[at : at + width], "big") + 1, at + width
    else:
        block = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    at += {12: 1, 13: 2, 14: 2}.get(frame[2] & 15, 0)
    if at >= len(frame) or crc8(frame[:at]) != frame[at] or block > most:
        return 0
    return number + block if frame[1] & 1 else number * (least if least == most else most) + block


def crc8(data: bytes) -> int:
    """Return the checksum of a FLAC frame's header."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07) & 0xFF if value & 0x80 else value << 1
    return value


# Ogg ------------------------------------------------------------------------------------------------


def examine_ogg(path: Path, file: BinaryIO, size: int, start: int) -> Container:
    """Examine an Ogg file: whole pages, of one stream of audio after its beginning."""
    at, streams, begun, last, previous = start, set(), False, -1, -1
    while at < size:
        file.seek(at)
        head = file.read(27)
        if head[:4] != b"OggS":
            at = next_page(file, at + 1)
            continue
        table = file.read(head[26]) if len(head) == 27 else b""
        end = at + 27 + len(table) + sum(table)
        if len(head) < 27 or len(table) < head[26] or end > size:
            raise ClipError(f"{path}: truncated, its last page of Ogg is cut off: {size:,} bytes are there")
        if head[5] & 2 and begun:
            raise Unreadable("Ogg of several streams in a row")
        begun = begun or not head[5] & 2
        streams.add(head[14:18])
        granule = struct.unpack("<q", head[6:14])[0]
        if granule >= 0:
            previous, last = last, granule
        at = end
    if last < previous:
        raise Unreadable("Ogg whose last page ends before the page before it")
    return Container("OGG", is_exact=len(streams) == 1)


def next_page(file: BinaryIO, start: int) -> int:
    """Return the offset of the next page of an Ogg file, or that of the file's end."""
    while True:
        file.seek(start)
        block = file.read(1 << 16)
        at = block.find(b"OggS")
        if at >= 0:
            return start + at
        if len(block) < 1 << 16:
            return start + len(block)
        start += len(block) - 3


# MP3 ------------------------------------------------------------------------------------------------


def examine_mpeg(path: Path, size: int, window: tuple[int, int] | None = None) -> Container:
    """Examine an MP3: libsndfile's length is the Xing frame's, or an estimate from the first frame.

    Raises:
        ClipError: There are fewer frames than the Xing frame promises.
    """
    start, stop = window or (0, size)
    with open(path, "rb") as file:
        start = start if window else skip_id3(file)
        with mmap.mmap(file.fileno(), stop, access=mmap.ACCESS_READ) as data:
            claim, found = claimed_mpeg_frames(data, start), count_mpeg_frames(data, start)
    if claim is None or not found:
        return Container("MP3", window=window, is_exact=False)
    claimed, at = claim
    if found < claimed - 1:  # some encoders count the Xing frame itself
        raise ClipError(
            f"{path}: truncated, its header promises {claimed:,} frames of MPEG, {found:,} are there"
        )
    if found <= claimed + 1:
        return Container("MP3", window=window)
    return Container("MP3", (patch(at, ">I", found),), window=window)


# Helpers --------------------------------------------------------------------------------------------


def read_number(file: BinaryIO, offset: int, format: str) -> int:
    """Return a number at an offset; 0 behind the end of the file."""
    file.seek(offset)
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


EXAMINERS = (
    (b"RIFF", examine_riff),
    (b"RF64", examine_riff),
    (b"BW64", examine_riff),
    (b"RIFX", examine_riff),
    (b"FORM", examine_aiff),
    (b"fLaC", examine_flac),
    (b"OggS", examine_ogg),
    (b"caff", examine_caf),
    (b".snd", examine_au),
    (b"dns.", examine_au),
    (b"NIST_1A", examine_nist),
    (b"Creative Voice", examine_voc),
    (W64_RIFF, examine_w64),
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
