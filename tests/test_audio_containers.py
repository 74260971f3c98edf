"""Containers with untrue headers are read to their real end, or refused for the true reason (A9)."""

import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile
import torch

from ipet.audio import ClipError, Recordings, decode, read_audio, stream_audio

RATE = 16_000
SECONDS = 2.0
FORMATS = {  # name: suffix, libsndfile's format, subtype
    "wav": (".wav", "WAV", "PCM_16"),
    "wav float": (".wav", "WAV", "FLOAT"),
    "wav ima": (".wav", "WAV", "IMA_ADPCM"),
    "wav gsm": (".wav", "WAV", "GSM610"),
    "wav g721": (".wav", "WAV", "G721_32"),
    "wav nms": (".wav", "WAV", "NMS_ADPCM_16"),
    "rf64": (".wav", "RF64", "PCM_16"),
    "w64": (".w64", "W64", "PCM_16"),
    "aiff": (".aiff", "AIFF", "PCM_16"),
    "au": (".au", "AU", "PCM_16"),
    "caf": (".caf", "CAF", "PCM_16"),
    "flac": (".flac", "FLAC", "PCM_16"),
    "vorbis": (".ogg", "OGG", "VORBIS"),
    "opus": (".opus", "OGG", "OPUS"),
    "mp3": (".mp3", "MP3", "MPEG_LAYER_III"),
}
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def tone(seconds=SECONDS, rate=RATE, quiet=0.0):
    """[T] samples of a rising tone, with silence for the first seconds."""
    t = np.arange(int(seconds * rate)) / rate
    return 0.3 * np.sin(2 * np.pi * (200 + 300 * t) * t) * (t >= quiet)


def written(folder, name, samples=None, rate=RATE):
    """Write samples in one of the formats; return the path."""
    suffix, kind, subtype = FORMATS[name]
    path = folder / f"a{suffix}"
    rate = 8_000 if "gsm" in name or "g721" in name or "nms" in name else rate
    soundfile.write(path, tone(rate=rate) if samples is None else samples, rate, subtype, format=kind)
    return path


def by_ffmpeg(path):
    """Return [t, channels] samples as ffmpeg decodes them, and their rate."""
    wav = path.with_name("by_ffmpeg.wav")
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(path), "-c:a", "pcm_f32le", str(wav)]
    subprocess.run(command, check=True)
    return soundfile.read(wav, dtype="float32", always_2d=True)


def mp3_without_xing(path, samples, rate=44_100):
    """Write an MP3 of variable bitrate and remove its first frame, which holds the number of frames."""
    soundfile.write(
        path, samples, rate, "MPEG_LAYER_III", format="MP3", bitrate_mode="VARIABLE", compression_level=0.7
    )
    data = path.read_bytes()
    bitrates = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]
    length = 144_000 * bitrates[data[2] >> 4] // rate + (data[2] >> 1 & 1)
    assert b"Xing" in data[:length] or b"Info" in data[:length]
    path.write_bytes(data[length:])


@needs_ffmpeg
@pytest.mark.parametrize("name", [n for n in FORMATS if n != "wav nms"])  # which ffmpeg lacks
def test_every_format_has_the_length_and_samples_of_ffmpeg(tmp_path, name):
    path = written(tmp_path, name)
    want, rate = by_ffmpeg(path)
    found = decode(path)
    assert found.sample_rate == rate or name == "opus"  # opus is decoded at 48 kHz by ffmpeg
    if name == "opus":
        assert len(found.samples) / found.sample_rate == pytest.approx(len(want) / rate, abs=1e-3)
        return
    if name == "vorbis":  # ffmpeg also gives the padding of the last block, which the container cuts off
        assert len(want) - 1_024 < len(found.samples) <= len(want)
        want = want[: len(found.samples)]
    assert len(found.samples) == len(want)
    if name != "wav g721":  # whose codes the two decoders scale differently
        assert np.abs(found.samples - want).max() < (2e-3 if name in ("vorbis", "mp3", "wav ima") else 1e-4)


@pytest.mark.parametrize("name", FORMATS)
def test_length_blocks_and_parts_agree_with_the_whole(tmp_path, name):
    path = written(tmp_path, name)
    whole = read_audio(path)
    assert Recordings().length(path) == len(whole)
    blocks = torch.cat(list(stream_audio(path, 0.3)))
    torch.testing.assert_close(blocks, whole, atol=2e-4, rtol=0)
    for start, number in ((0, 1_000), (len(whole) // 2, 700), (len(whole) - 10, 100)):
        part = Recordings().read(path, start, number)
        torch.testing.assert_close(part, whole[start : start + number], atol=2e-4, rtol=0)
    with pytest.raises(ClipError, match=f"the recording has {len(whole):,} samples"):  # B13
        Recordings().read(path, len(whole) + 5, 100)


@pytest.mark.parametrize("quiet", [0.0, 2.0, 5.0])
def test_an_mp3_without_a_xing_frame_is_heard_to_its_end(tmp_path, quiet):
    path = tmp_path / "a.mp3"
    mp3_without_xing(path, tone(6.0, 44_100, quiet))
    assert Recordings().length(path) == len(read_audio(path))
    assert len(read_audio(path)) / RATE == pytest.approx(6.0, abs=0.12)  # of an encoder's delay and padding
    assert read_audio(path)[-RATE:].abs().max() > 0.2  # the last second is there
    if shutil.which("ffmpeg"):
        want, rate = by_ffmpeg(path)
        assert len(want) / rate == pytest.approx(len(read_audio(path)) / RATE, abs=0.06)


@pytest.mark.parametrize("claim", [0, 10, 10**6])
def test_a_false_number_of_frames_in_an_mp3_does_not_hide_samples(tmp_path, claim):
    path = written(tmp_path, "mp3")
    whole = len(read_audio(path))
    data = bytearray(path.read_bytes())
    at = max(data.find(b"Xing"), data.find(b"Info"))
    data[at + 8 : at + 12] = struct.pack(">I", claim)
    path.write_bytes(data)
    if claim > 1_000:
        with pytest.raises(ClipError, match="truncated, its header promises 1,000,000 frames of MPEG"):
            read_audio(path)
    else:
        assert len(read_audio(path)) == pytest.approx(whole, abs=2 * 1_152)


LENGTHS = {  # format and field: name of the chunk, offset of the field from it, struct format
    "wav data": (b"data", 4, "<I"),
    "wav RIFF": (b"RIFF", 4, "<I"),
    "wav float fact": (b"fact", 8, "<I"),
    "wav gsm data": (b"data", 4, "<I"),
    "rf64 data": (b"ds64", 16, "<Q"),
    "rf64 samples": (b"ds64", 24, "<Q"),
    "w64 data": (bytes.fromhex("64617461f3acd311"), 16, "<Q"),
    "aiff SSND": (b"SSND", 4, ">I"),
    "aiff COMM": (b"COMM", 10, ">I"),
    "au size": (b".snd", 8, ">I"),
    "caf data": (b"data", 4, ">Q"),
}


def lying(folder, field, claim):
    """Write a file whose length field makes a claim; return its path and its samples without the lie.

    Args:
        claim: Value of the field, or what is added to the largest value (if negative).
    """
    path = written(folder, field.rpartition(" ")[0])
    whole = read_audio(path)
    data = bytearray(path.read_bytes())
    name, offset, kind = LENGTHS[field]
    claim = claim if claim >= 0 else claim + (1 << 8 * struct.calcsize(kind))
    struct.pack_into(kind, data, data.find(name) + offset, claim)
    path.write_bytes(data)
    return path, whole


@pytest.mark.parametrize("field", LENGTHS)
@pytest.mark.parametrize("claim", [0, 2, 1_000, -1, -4])
def test_a_length_field_that_is_too_small_or_a_placeholder_hides_no_sample(tmp_path, field, claim):
    path, whole = lying(tmp_path, field, claim)
    assert torch.equal(read_audio(path), whole)
    assert Recordings().length(path) == len(whole)
    assert torch.equal(torch.cat(list(stream_audio(path, 60.0))), whole)
    if "gsm" not in field:  # at another rate all of it is decoded
        assert torch.equal(Recordings().read(path, len(whole) - 50, 100), whole[-50:])


@pytest.mark.parametrize("field", LENGTHS)
@pytest.mark.parametrize("claim", [70_000, 10_000_000])
def test_a_length_field_that_is_too_large_is_refused_or_read_to_the_end(tmp_path, field, claim):
    path, whole = lying(tmp_path, field, claim)
    try:
        assert torch.equal(read_audio(path), whole)
    except ClipError as error:
        assert "truncated, its header promises" in str(error)


@pytest.mark.skipif(shutil.which("sox") is None, reason="sox is not installed")
@pytest.mark.parametrize("name", ["wav", "wav float", "wav ima", "wav gsm", "w64", "aiff", "au", "flac"])
def test_formats_have_the_length_and_samples_of_sox(tmp_path, name):
    path = written(tmp_path, name)
    raw = subprocess.run(["sox", path, "-t", "f32", "-"], check=True, stdout=subprocess.PIPE).stdout
    want, found = np.frombuffer(raw, "<f4"), decode(path).samples[:, 0]
    assert len(found) == len(want) and np.abs(found - want).max() < 1e-4


@needs_ffmpeg
@pytest.mark.parametrize("field", ["wav RIFF", "wav float fact", "rf64 samples", "aiff COMM", "au size"])
@pytest.mark.parametrize("claim", [0, 1_000])
def test_lengths_that_ffmpeg_does_not_believe_either_give_its_samples(tmp_path, field, claim):
    path, _ = lying(tmp_path, field, claim)
    want, _ = by_ffmpeg(path)
    found = decode(path).samples
    assert len(found) == len(want) and np.abs(found - want).max() < 1e-4


def damaged_copies(data, rng, number):
    """Yield copies of a file with a few bytes of its beginning replaced, some of them cut off."""
    for i in range(number):
        copy = bytearray(data)
        for _ in range(1 + i % 3):
            at, width = int(rng.integers(min(len(data), 200))), int(rng.choice([1, 4, 8]))
            copy[at : at + width] = bytes([int(rng.choice([0, 127, 255, int(rng.integers(256))]))]) * width
        yield bytes(copy[: int(rng.integers(1, len(copy)))] if i % 5 == 0 else copy)


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_header_is_read_or_refused_and_never_crashes(tmp_path, name, monkeypatch):
    monkeypatch.setattr("ipet.audio_decoders.fallback_decoder", lambda path: None)
    path = written(tmp_path, name, tone(0.2, 8_000))
    for data in damaged_copies(path.read_bytes(), np.random.default_rng(0), 60):
        path.write_bytes(data)
        try:
            assert len(decode(path).samples) and Recordings().length(path) > 0
        except ClipError:
            continue


@pytest.mark.parametrize("sizes", [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (36, 0)])
def test_an_interrupted_wav_is_read_to_its_end(tmp_path, sizes):
    path = written(tmp_path, "wav")
    whole = read_audio(path)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 4, sizes[0])
    struct.pack_into("<I", data, 40, sizes[1])
    path.write_bytes(data)
    assert torch.equal(read_audio(path), whole)
    assert torch.equal(torch.cat(list(stream_audio(path, 0.5))), whole)


@pytest.mark.parametrize("extra", [b"LIST" + struct.pack("<I", 4) + b"INFO", bytes(64), b"TAG" + bytes(125)])
def test_chunks_padding_and_tags_behind_the_samples_are_no_samples(tmp_path, extra):
    path = written(tmp_path, "wav")
    whole = read_audio(path)
    path.write_bytes(path.read_bytes() + extra)
    assert torch.equal(read_audio(path), whole)


def test_two_recordings_in_one_file_are_refused(tmp_path):
    path = written(tmp_path, "wav")
    path.write_bytes(2 * path.read_bytes())
    with pytest.raises(ClipError, match="a second recording follows at byte"):
        read_audio(path)


@pytest.mark.parametrize(
    "name", ["wav", "wav ima", "wav gsm", "rf64", "w64", "aiff", "au", "caf", "flac", "vorbis"]
)
def test_a_file_that_ends_early_is_refused_as_truncated(tmp_path, name):
    path = written(tmp_path, name)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(ClipError, match="truncated"):
        read_audio(path)


@pytest.mark.parametrize("claim", [0, 100])
def test_a_flac_of_unknown_or_too_small_length_is_read_to_its_end(tmp_path, claim):
    path = written(tmp_path, "flac")
    whole = read_audio(path)
    data = bytearray(path.read_bytes())
    packed = int.from_bytes(data[18:26], "big") >> 36 << 36 | claim  # STREAMINFO's total is 36 bits
    data[18:26] = packed.to_bytes(8, "big")
    path.write_bytes(data)
    assert torch.equal(read_audio(path), whole)
    assert Recordings().length(path) == len(whole)


def test_a_wav_with_an_id3_tag_in_front_or_a_big_endian_header_is_read(tmp_path):
    path = written(tmp_path, "mp3")
    whole = read_audio(path)
    path.write_bytes(b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128) + path.read_bytes())
    assert torch.equal(read_audio(path), whole)


NEEDING_FFMPEG = {
    ".m4a": ["-c:a", "aac"],
    ".aac": ["-c:a", "aac"],
    ".wma": ["-c:a", "wmav2"],
    ".mp4": ["-c:a", "aac"],
    ".mka": ["-c:a", "flac"],
    ".ac3": ["-c:a", "ac3"],
    ".webm": ["-c:a", "libopus"],
}


@needs_ffmpeg
@pytest.mark.parametrize("suffix", NEEDING_FFMPEG)
def test_formats_that_libsndfile_lacks_are_read_through_ffmpeg(tmp_path, suffix):  # C
    soundfile.write(tmp_path / "in.wav", tone(rate=48_000), 48_000)
    path = tmp_path / f"-a{suffix}"  # a name that looks like a flag
    made = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", "in.wav", *NEEDING_FFMPEG[suffix], f"file:{path.name}"], cwd=tmp_path
    )
    if made.returncode:
        pytest.skip(f"this ffmpeg has no encoder of {suffix}")
    want, rate = by_ffmpeg(path)
    found = decode(path)
    assert found.sample_rate == rate and len(found.samples) == len(want)
    assert np.abs(found.samples - want).max() < 1e-4
    assert Recordings().length(path) == len(read_audio(path))


def test_without_ffmpeg_an_m4a_is_refused_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("ipet.audio_decoders.has_ffmpeg", lambda: False)
    monkeypatch.setattr("ipet.audio_decoders.has_torchcodec", lambda: False)
    (tmp_path / "a.m4a").write_bytes(b"\x00\x00\x00\x20ftypM4A " + bytes(500))
    with pytest.raises(ClipError, match=r"for \.m4a install ffmpeg"):
        read_audio(tmp_path / "a.m4a")


@needs_ffmpeg
@pytest.mark.parametrize(
    "text",
    ["#EXTM3U\n#EXTINF:1,\nother.wav\n", "ffconcat version 1.0\nfile other.wav\n"],
    ids=["hls", "concat"],
)
@pytest.mark.parametrize("suffix", [".m4a", ".mka", ".wav"])
def test_a_playlist_is_no_recording_and_opens_no_other_file(tmp_path, text, suffix):
    soundfile.write(tmp_path / "other.wav", tone(), RATE)
    (tmp_path / f"a{suffix}").write_text(text)
    with pytest.raises(ClipError):
        read_audio(tmp_path / f"a{suffix}")


@needs_ffmpeg
def test_a_truncated_m4a_is_refused(tmp_path):
    soundfile.write(tmp_path / "in.wav", tone(8.0), RATE)
    path = tmp_path / "a.m4a"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", tmp_path / "in.wav", "-c:a", "aac", "-movflags", "faststart", path],
        check=True,
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(ClipError):
        read_audio(path)
