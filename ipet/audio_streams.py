"""Containers whose length decoding tells: FLAC, Ogg and MP3, and how far their headers can be trusted."""

import mmap
import struct
from pathlib import Path
from typing import BinaryIO

from ipet.audio_formats import ClipError
from ipet.audio_structure import Container, Unreadable, patch, skip_id3
from ipet.mpeg import claimed_mpeg_frames, count_mpeg_frames

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
