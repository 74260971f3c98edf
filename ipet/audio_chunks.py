"""Containers that state the length of their audio: WAV, RF64, AIFF, 8SVX, W64, CAF, AU, NIST SPHERE, VOC."""

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from ipet.audio_formats import ClipError
from ipet.audio_structure import (
    HEAD_BYTES,
    Chunk,
    Container,
    Unreadable,
    move,
    patch,
    read_number,
    truncated,
)

PLACEHOLDER_BYTES = 0x7FFF0000  # from here on a 32-bit length is one that nobody could fill in
MAX_CHUNKS = 10_000  # before the samples
GSM_BLOCK, GSM_SAMPLES = 65, 320  # bytes and samples of a block of GSM 6.10 in WAV
GSM_TAG, MPEG_TAGS = 0x31, (0x50, 0x55)
W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
W64_DATA, W64_FORMAT = (bytes.fromhex(n + "f3acd3118cd100c04f8edb8a") for n in ("64617461", "666d7420"))


# WAV, RF64 and AIFF: chunks -------------------------------------------------------------------------


def riff_chunks(file: BinaryIO, start: int, size: int, order: str) -> Iterator[Chunk]:
    """Yield the chunks of a RIFF or IFF file from an offset on."""
    for _ in range(MAX_CHUNKS):
        move(file, start)
        head = file.read(8)
        if len(head) < 8:
            return
        chunk = Chunk(head[:4], start + 4, start + 8, struct.unpack(f"{order}I", head[4:])[0])
        yield chunk
        start = chunk.start + chunk.size + chunk.size % 2


def examine_riff(path: Path, file: BinaryIO, size: int, start: int) -> Container:
    """Examine a WAV or RF64 file."""
    move(file, start)
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
    move(file, end + claimed % 2)
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
    move(file, start)
    while block := file.read(1 << 20):
        if block.count(0) != len(block):
            return False
    return True


def examine_aiff(path: Path, file: BinaryIO, size: int, start: int) -> Container:
    """Examine an AIFF or AIFF-C file, or another IFF file."""
    move(file, start + 8)
    kind, frames = file.read(4), 0
    if kind not in (b"AIFF", b"AIFC"):
        return examine_svx(path, file, size, start)
    for chunk in riff_chunks(file, start + 12, size, ">"):
        if chunk.name == b"COMM":
            frames = read_number(file, chunk.start + 2, ">I")
        elif chunk.name == b"SSND":
            claimed = chunk.size
            if (claimed >= PLACEHOLDER_BYTES and chunk.start + claimed > size) or claimed <= 8:
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
        move(file, at)
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
            move(file, end)
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
        move(file, at)
        head = file.read(12)
        if len(head) < 12:
            break
        name, length = head[:4], struct.unpack(">q", head[4:])[0]
        if name == b"data":
            available = size - at - 12
            if length > available and length < 1 << 62:
                raise truncated(path, length, available)
            after = at + 12 + max(0, length)
            move(file, after)
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
    move(file, start)
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
    move(file, start)
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
        move(file, at)
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
