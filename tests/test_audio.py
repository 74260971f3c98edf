"""Clips as they are decoded: [T] float32 at 16 kHz, or one line that names the file."""

import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader, Dataset

from ipet.audio import ClipError, Recordings, crop_or_tile, decode, read_audio, stream_audio, tile

from parity import load, needs_parity

RATE = 16_000


def sine(rate, hz=440.0, seconds=0.5):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)


def write(path, samples, rate=RATE, subtype=None):
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def refusal(path, error=ClipError):
    """The message with which a clip is refused: one line that begins with its path."""
    with pytest.raises(error) as caught:
        read_audio(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


# Decoding -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 96_000])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_sine_in_a_wav_stays_that_sine(tmp_path, subtype, rate, channels):
    samples = np.repeat(sine(rate)[:, None], channels, axis=1)
    waveform = read_audio(write(tmp_path / "a.wav", samples, rate, subtype))
    assert waveform.dtype == torch.float32
    assert waveform.shape == (8_000,)  # 0.5 s
    # the ends ring, as those of any cut sine do
    want = torch.from_numpy(sine(RATE)).float()
    torch.testing.assert_close(waveform[200:-200], want[200:-200], atol=2e-4, rtol=0)


@pytest.mark.parametrize(("name", "tolerance"), [("a.flac", 2e-4), ("a.ogg", 0.02), ("a.mp3", 0.02)])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_sine_in_another_format_stays_that_sine(tmp_path, name, tolerance, rate):
    waveform = read_audio(write(tmp_path / name, np.stack([sine(rate)] * 2, axis=1), rate))
    assert waveform.dtype == torch.float32
    assert waveform.shape == (8_000,)
    spectrum = torch.fft.rfft(waveform).abs()
    assert spectrum.argmax() == 220  # 440 Hz, in bins of 1 / 0.5 s = 2 Hz
    want = torch.from_numpy(sine(RATE)).float()
    torch.testing.assert_close(waveform[1000:-1000], want[1000:-1000], atol=tolerance, rtol=0)


def test_what_16_khz_cannot_hold_is_filtered_out_and_not_folded_back(tmp_path):
    # 12 kHz sampled at 16 kHz would be heard as 16 - 12 = 4 kHz
    waveform = read_audio(write(tmp_path / "a.wav", sine(44_100, hz=12_000), 44_100, "FLOAT"))
    assert waveform[200:-200].abs().max() < 1e-4


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged_exactly(tmp_path, channels):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (500, channels), dtype=np.int16)
    waveform = read_audio(write(tmp_path / "a.wav", samples))
    # a sum of 16-bit integers is exact in float32, and so is its share of 2^15: one rounding is left
    want = samples.sum(axis=1).astype(np.float32) / 2**15 / np.float32(channels)
    assert torch.equal(waveform, torch.from_numpy(want))


def test_opposite_channels_cancel_at_any_rate(tmp_path):
    samples = np.stack([sine(44_100), -sine(44_100)], axis=1)
    assert torch.equal(read_audio(write(tmp_path / "a.wav", samples, 44_100, "FLOAT")), torch.zeros(8_000))


def test_samples_at_16_khz_are_not_touched(tmp_path):
    samples = np.random.default_rng(0).standard_normal(1_000).astype(np.float32)  # beyond [-1, 1] too
    waveform = read_audio(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
    assert torch.equal(waveform, torch.from_numpy(samples))


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_wav_that_was_streamed_to_a_pipe_is_read_to_its_end(tmp_path, length):
    data = bytearray(write(tmp_path / "a.wav", sine(RATE)).read_bytes())
    whole = read_audio(tmp_path / "a.wav")
    assert data[36:40] == b"data"
    struct.pack_into("<I", data, 4, length)  # of the RIFF chunk
    struct.pack_into("<I", data, 40, length)  # of the samples
    (tmp_path / "streamed.wav").write_bytes(data)
    assert torch.equal(read_audio(tmp_path / "streamed.wav"), whole)


# Refusals -----------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path):
    assert refusal(tmp_path / "a.wav", FileNotFoundError) == "no such file"


def test_a_folder_is_no_clip(tmp_path):
    refusal(tmp_path, FileNotFoundError)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    assert refusal(tmp_path / "a.wav").startswith("the file is empty (0 bytes)")


def test_a_wav_of_a_header_alone_is_refused(tmp_path):
    assert refusal(write(tmp_path / "a.wav", np.zeros(0))) == "holds 0 samples; a clip needs at least 1"


@pytest.mark.parametrize(("subtype", "width"), [("PCM_16", 2), ("PCM_24", 3), ("PCM_U8", 1)])
def test_half_a_wav_is_refused_with_what_is_missing(tmp_path, subtype, width):
    data = write(tmp_path / "a.wav", sine(RATE), subtype=subtype).read_bytes()
    (tmp_path / "a.wav").write_bytes(data[: len(data) // 2])
    there = len(data) // 2 - 44  # behind a header of 44 bytes
    assert refusal(tmp_path / "a.wav") == (
        f"truncated, its header promises {8_000 * width} bytes of audio, {there} are there"
    )


def test_half_a_float_wav_is_refused(tmp_path):
    data = write(tmp_path / "a.wav", sine(RATE), subtype="FLOAT").read_bytes()
    (tmp_path / "a.wav").write_bytes(data[: len(data) // 2])
    assert refusal(tmp_path / "a.wav").startswith("truncated, its header promises 32000 bytes of audio")


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3"])
def test_half_a_compressed_file_is_refused(tmp_path, name):
    data = write(tmp_path / name, sine(RATE, seconds=2.0)).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    assert refusal(tmp_path / name).startswith("truncated")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_a_file_that_is_no_audio_is_refused(tmp_path, name):
    (tmp_path / name).write_text("index,mid,display_name\n" * 50)
    assert refusal(tmp_path / name).startswith("not readable as audio: ")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_sample_that_is_not_finite_is_refused(tmp_path, value):
    samples = sine(44_100)
    samples[100] = value
    write(tmp_path / "a.wav", samples, 44_100, "FLOAT")
    assert refusal(tmp_path / "a.wav") == "holds NaN or infinite samples; expected finite ones"


def test_a_clip_of_which_resampling_leaves_nothing_is_refused(tmp_path):
    write(tmp_path / "a.wav", np.ones(1), 44_100)  # 16 / 44.1 of a sample
    assert refusal(tmp_path / "a.wav") == "too short, no sample is left at 16000 Hz"


# Headers that claim what is not there ---------------------------------------------------------------


def claim(path, num_samples):
    """Let a FLAC's header say that it holds so many samples: the low 36 bits of its bytes 10 to 17."""
    data = bytearray(path.read_bytes())
    packed = int.from_bytes(data[18:26], "big") >> 36 << 36 | num_samples
    data[18:26] = packed.to_bytes(8, "big")
    path.write_bytes(data)
    return path


def allocated(read, path):
    """The most memory, in bytes, that Python's allocators held while a file was refused, and the reason."""
    tracemalloc.start()
    try:
        with pytest.raises(ClipError) as caught:
            read(path)
        return tracemalloc.get_traced_memory()[1], str(caught.value)
    finally:
        tracemalloc.stop()


READERS = {
    "whole": read_audio,
    "a stream": lambda path: list(stream_audio(path)),
    "a part": lambda path: Recordings().read(path, 100_000),
    "for doctor": decode,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("claimed", [2**36 - 2, 2**29, 2**20])
def test_memory_is_taken_for_what_is_there_and_not_for_what_a_header_claims(tmp_path, read, claimed):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000)
    path = claim(write(tmp_path / "a.flac", noise), claimed)
    most, said = allocated(read, path)
    assert most < 100 << 20  # one block at most; 2^29 samples would be 2 GiB
    assert said.startswith(f"{path}: ") and "\n" not in said
    assert any(words in said for words in ("bytes cannot hold", "truncated", "not readable as")), said


def test_a_header_that_claims_more_than_bytes_can_hold_is_refused_with_both(tmp_path):
    path = claim(write(tmp_path / "a.flac", sine(RATE)), 2**36 - 2)
    size = path.stat().st_size
    assert refusal(path) == (
        f"its header claims 68,719,476,734 samples, which {size:,} bytes cannot hold; expected a whole file: "
        "encode it again"
    )


def test_hours_of_silence_in_few_bytes_are_no_forgery(tmp_path):
    path = write(tmp_path / "a.flac", np.zeros(100 * RATE))
    assert path.stat().st_size < 100 * RATE / 100
    assert len(read_audio(path)) == 100 * RATE


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2**31 - 1])
def test_a_rate_that_would_multiply_the_samples_is_refused(tmp_path, rate):
    data = bytearray(write(tmp_path / "a.wav", sine(RATE)).read_bytes())
    struct.pack_into("<I", data, 24, rate)
    (tmp_path / "a.wav").write_bytes(data)
    assert refusal(tmp_path / "a.wav") == f"a sample rate of {rate:,} Hz; expected 1,000 to 768,000 Hz"


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_a_recording_too_long_for_the_memory_is_refused_by_its_header(tmp_path, monkeypatch, rate):
    monkeypatch.setattr("ipet.audio.MOST_SAMPLES", 16_000)
    path = write(tmp_path / "a.wav", np.zeros(rate), rate)  # a second
    if rate <= RATE:
        assert len(read_audio(path)) == 16_000
    write(path, np.zeros(rate + 2), rate)
    assert "at most 16,000 are held in memory: cut it, or hear it with" in refusal(path)
    assert sum(map(len, stream_audio(path))) >= 16_000  # of any length


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_recording_decoded_in_blocks_is_the_same(tmp_path, monkeypatch, name, rate):
    path = write(tmp_path / name, np.stack([sine(rate, seconds=2.0), sine(rate, 300.0, 2.0)], axis=1), rate)
    whole = read_audio(path)
    monkeypatch.setattr("ipet.audio.BLOCK_SAMPLES", 20_000)  # of two channels
    torch.testing.assert_close(read_audio(path), whole, atol=1e-6, rtol=0)
    assert len(decode(path).samples) == 2 * rate
    torch.testing.assert_close(torch.cat(list(stream_audio(path, 0.3))), whole, atol=1e-5, rtol=0)


def test_raw_samples_are_refused_for_their_want_of_a_header(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(1_000))
    assert refusal(tmp_path / "a.raw").startswith(
        ".raw has no header that tells its format; expected an audio"
    )


@pytest.mark.parametrize("ending", ["au", "snd", "vox", "gsm"])
def test_a_name_alone_does_not_make_a_recording(tmp_path, ending):
    """libsndfile would decode any bytes under these names, as noise."""
    (tmp_path / f"a.{ending}").write_bytes(b"<html>404</html>" * 500)
    assert refusal(tmp_path / f"a.{ending}").startswith("no header states its format, and its name alone is")


def test_a_sun_recording_with_its_header_is_read(tmp_path):
    soundfile.write(tmp_path / "a.au", np.full(900, 0.25), 16_000, format="AU", subtype="PCM_16")
    assert len(read_audio(tmp_path / "a.au")) == 900


def test_a_link_to_nowhere_is_named(tmp_path):
    (tmp_path / "a.wav").symlink_to(tmp_path / "gone.wav")
    assert refusal(tmp_path / "a.wav", FileNotFoundError) == "a link to nowhere"


def test_links_in_a_circle_and_names_that_are_too_long_are_refused(tmp_path):
    (tmp_path / "a.wav").symlink_to(tmp_path / "a.wav")
    assert "expected an audio file" in refusal(tmp_path / f"{300 * 'a'}.wav")
    with pytest.raises((ClipError, FileNotFoundError)):
        read_audio(tmp_path / "a.wav")


def test_an_escape_sequence_in_a_name_is_spelt_out(tmp_path):
    path = tmp_path / "\x1b[2J\n.wav"
    path.write_bytes(b"")
    with pytest.raises(ClipError, match=r"\\x1b\[2J\\n\.wav: the file is empty") as caught:
        read_audio(path)
    assert str(caught.value).isprintable()


# ClipError in a DataLoader ------------------------------------------------------------------------


class Files(Dataset):
    """Reads files as a DataLoader's worker does."""

    def __init__(self, *paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return read_audio(self.paths[index])


def test_a_clip_error_drops_the_traceback_it_comes_in():
    letter = "list.json: clip 3: a.wav: holds 0 samples; a clip needs at least 1"
    envelope = (
        "Caught ClipError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        f'  File "worker.py", line 309, in _worker_loop\nipet.audio.ClipError: {letter}\n'
    )
    assert str(ClipError(envelope)) == letter
    assert str(ClipError(letter)) == letter


def test_a_worker_s_clip_error_reaches_the_reader_as_one_line(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros(0))
    message = ""
    try:
        list(DataLoader(Files(path), num_workers=1))
    except ClipError as error:
        message = str(error)
        error.__traceback__ = None  # holds the loader, whose worker would end seconds later
    assert message == f"{path}: holds 0 samples; a clip needs at least 1"


# Lengths ------------------------------------------------------------------------------------------


def test_tiling_repeats_a_short_clip_and_leaves_a_long_one():
    clip = torch.tensor([1.0, 2.0, 3.0])
    assert tile(clip, 7).tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert tile(clip, 6).tolist() == [1, 2, 3, 1, 2, 3]
    assert tile(clip, 3).tolist() == [1, 2, 3]
    assert tile(clip, 2).tolist() == [1, 2, 3]


def test_crops_of_a_long_clip():
    clip = torch.arange(10.0)  # 7 samples to spare for 3: the centre starts at 7 // 2 = 3
    assert crop_or_tile(clip, 3, "first").tolist() == [0, 1, 2]
    assert crop_or_tile(clip, 3, "centre").tolist() == [3, 4, 5]


def test_a_random_crop_may_start_anywhere_and_nowhere_else():
    rng = np.random.default_rng(0)
    crops = [crop_or_tile(torch.arange(10.0), 3, "random", rng).tolist() for _ in range(200)]
    assert sorted({tuple(crop) for crop in crops}) == [(i, i + 1, i + 2) for i in range(8)]


def test_a_random_crop_is_its_generator_s():
    draws = [crop_or_tile(torch.arange(99.0), 3, "random", np.random.default_rng(5)) for _ in range(2)]
    assert torch.equal(*draws)


@pytest.mark.parametrize("crop", ["first", "centre", "random"])
def test_a_short_clip_is_repeated_whatever_the_crop(crop):
    got = crop_or_tile(torch.tensor([1.0, 2.0]), 5, crop, np.random.default_rng(0))
    assert got.tolist() == [1, 2, 1, 2, 1]


def test_an_unknown_crop_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="crop is 'middle'; accepted: first, centre, random"):
        crop_or_tile(torch.zeros(3), 2, "middle")


@needs_parity
@pytest.mark.parametrize(
    "case",
    [
        *(f"w2v2_ESC50_T512_w{j}" for j in range(4)),
        *(f"w2v2_Speechcommands_V2_T128_w{j}" for j in (0, 1, 3)),
    ],
)
@pytest.mark.parametrize("crop", ["first", "centre", "random"])
def test_repetition_is_the_authors(case, crop):
    data = load("fbank.npz")
    clip = torch.from_numpy(data[f"wave{case[-1]}"].astype(np.float32) / 2**15)
    num_samples = 160 * int(case.split("_T")[1].split("_")[0])  # frames of 10 ms
    got = crop_or_tile(clip, num_samples, crop, np.random.default_rng(0))
    assert len(got) == data[f"{case}_len"]
    assert np.array_equal(got[::97], data[f"{case}_every97"])
    assert np.array_equal(got[-8:], data[f"{case}_last8"])
    assert got.double().sum().item() == pytest.approx(data[f"{case}_sum"], abs=1e-6)


def test_a_random_crop_without_a_generator_is_refused():
    with pytest.raises(ValueError, match="rng is None"):
        crop_or_tile(torch.zeros(4), 2, "random")


# Recordings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("num_frames", [1_000, 1_001, 4_410, 7_777])
def test_a_recording_s_length_is_told_without_decoding_it(tmp_path, rate, num_frames):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, (num_frames, 2)), rate)
    assert Recordings().length(path) == len(read_audio(path))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_part_of_a_recording_is_that_part_of_the_whole(tmp_path, rate, name):
    path = tmp_path / name
    soundfile.write(path, np.stack([sine(rate, 440), sine(rate, 700)], axis=1), rate)
    whole, recordings = read_audio(path), Recordings()
    assert torch.equal(recordings.read(path), whole)
    assert torch.equal(recordings.read(path, 300, 500), whole[300:800])
    assert torch.equal(recordings.read(path, 1_000), whole[1_000:])
    assert torch.equal(recordings.read(path, len(whole) - 10, 500), whole[-10:])
