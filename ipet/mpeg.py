"""Frames of MPEG audio (MP1, MP2, MP3): how many a stream holds, and how many its Xing frame claims."""

BITRATES = {  # kbit/s by version 1 or 2 and layer
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}  # Hz by version
RESYNC_BYTES = 1 << 16  # searched for the next frame


def frame_length(data: bytes, at: int) -> int:
    """Return the bytes of the frame at an offset, or 0 where there is none (or one of free format)."""
    if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] & 0xE0 != 0xE0:
        return 0
    version, layer = data[at + 1] >> 3 & 3, 4 - (data[at + 1] >> 1 & 3)
    bitrate, rate, padding = data[at + 2] >> 4, data[at + 2] >> 2 & 3, data[at + 2] >> 1 & 1
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0
    kbits = BITRATES[1 if version == 3 else 2, layer][bitrate]
    hz = RATES[version][rate]
    if layer == 1:
        return (12_000 * kbits // hz + padding) * 4
    return (144_000 if version == 3 or layer == 2 else 72_000) * kbits // hz + padding


def first_frame(data: bytes, start: int) -> int:
    """Return the offset of the first frame from ``start`` on that another one follows, or -1."""
    at = data.find(b"\xff", start)
    while 0 <= at < start + RESYNC_BYTES:
        length = frame_length(data, at)
        if length and (at + length == len(data) or frame_length(data, at + length)):
            return at
        at = data.find(b"\xff", at + 1)
    return -1


def xing_offset(data: bytes, at: int) -> int:
    """Return the offset of the Xing or Info tag in a frame, or -1."""
    is_v1, is_mono = data[at + 1] >> 3 & 3 == 3, data[at + 3] >> 6 == 3
    tag = at + 4 + ((17 if is_mono else 32) if is_v1 else (9 if is_mono else 17))
    return tag if data[tag : tag + 4] in (b"Xing", b"Info") else -1


def claimed_mpeg_frames(data: bytes, start: int = 0) -> tuple[int, int] | None:
    """Return the number of frames that a Xing frame claims and the number's offset, or None."""
    at = first_frame(data, start)
    tag = xing_offset(data, at) if at >= 0 else -1
    if tag < 0 or len(data) < tag + 12 or not data[tag + 7] & 1:
        return None
    return int.from_bytes(data[tag + 8 : tag + 12], "big"), tag + 8


def count_mpeg_frames(data: bytes, start: int = 0) -> int:
    """Return the number of whole frames, without a Xing frame at the beginning; 0 if there is none."""
    at = first_frame(data, start)
    count = -1 if at >= 0 and xing_offset(data, at) >= 0 else 0
    while 0 <= at < len(data):
        length = frame_length(data, at)
        if not length:
            at = first_frame(data, at + 1)
            continue
        if at + length > len(data):
            break
        count += 1
        at += length
    return max(0, count)
