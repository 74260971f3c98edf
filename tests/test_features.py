"""Log-mels: the authors' numbers, Kaldi's, and what a batch does to a clip: nothing."""

import numpy as np
import pytest
import torch
from torchaudio.compliance import kaldi

from ipet.features import LogMel, Waveform, covered_samples, segment_rows

from parity import det, load, needs_parity

ESC50 = {"mean": -6.6268077, "std": 5.358466}


def waves():
    data = load("fbank.npz")
    return [torch.from_numpy(data[f"wave{j}"].astype(np.float32) / 2**15) for j in range(4)]


def noise(num_samples, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(num_samples, generator=generator)


def one(front_end, waveform):
    """[T] samples -> [T', M] log-mels of a clip by itself."""
    return front_end(waveform[None], torch.tensor([len(waveform)]))[0]


def padded(front_end):
    """What a frame behind a clip's end becomes: zero before the normalisation."""
    return -front_end.mean / (2 * front_end.std)


def assert_same_log_mels(got, want, raw):
    """The tolerances for log-mels of another implementation; all three in units of the raw log-mels."""
    error = (got - want).abs()
    assert error[raw > -8].max() < 1e-3
    assert error.max() < 2e-2
    assert error.square().mean().sqrt() < 5e-4


@needs_parity
@pytest.mark.parametrize("j", range(4))
def test_raw_log_mels_are_the_authors(j):
    wave = waves()[j]
    got = LogMel(128, 512, 0.0, 1.0).log_mel((wave - wave.mean())[None])[0]
    want = torch.from_numpy(load("fbank.npz")[f"raw{j}"])
    assert got.shape == want.shape
    assert_same_log_mels(got, want, want)


@needs_parity
@pytest.mark.parametrize("case", ["ESC50_T512", "Speechcommands_V2_T128"])
def test_padded_and_normalised_log_mels_are_the_authors(case):
    data = load("fbank.npz")
    mean, std = data[f"{case}_norm"]
    front_end = LogMel(128, int(case.split("_T")[1]), mean, std)
    for j, wave in enumerate(waves()):
        got, want = one(front_end, wave - wave.mean()), torch.from_numpy(data[f"{case}_w{j}"])
        assert got.shape == want.shape
        scale = 2 * std
        assert_same_log_mels(got * scale, want * scale, want * scale + mean)


@needs_parity
@pytest.mark.parametrize("case", ["GTZAN_T400", "VoxCeleb1_T400"])
def test_training_log_mels_of_clips_longer_and_shorter_are_the_authors(case):
    data = load("fbank.npz")
    mean, std = data[f"{case}_norm"]
    front_end = LogMel(128, 400, mean, std)
    for j, wave in enumerate(waves()):
        got = one(front_end, wave - wave.mean())[[0, 1, 100, 200, 398, 399]]
        want = torch.from_numpy(data[f"{case}_train_w{j}_rows"])
        scale = 2 * std
        assert_same_log_mels(got * scale, want * scale, want * scale + mean)


@needs_parity
@pytest.mark.parametrize("case", ["GTZAN_T400", "VoxCeleb1_T400"])
def test_segments_of_log_mels_are_the_authors(case):
    data = load("fbank.npz")
    mean, std = data[f"{case}_norm"]
    num_segments, whole = (10, False) if case.startswith("GTZAN") else (5, True)
    front_end = LogMel(128, 400, mean, std, num_segments=num_segments, whole_periods=whole)
    clips = [wave - wave.mean() for wave in waves()]  # 0.35 s to 5 s
    length = torch.tensor([len(clip) for clip in clips])
    batch = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    got = front_end(batch, length).unflatten(0, (4, num_segments))  # [B, S, T, M]
    for j, segments in enumerate(got):
        name = f"{case}_w{j}"
        assert list(segments.shape) == data[f"{name}_shape"].tolist()
        for row, key in ((0, "first_row"), (-1, "last_row")):
            want = torch.from_numpy(data[f"{name}_{key}"])
            assert_same_log_mels(segments[:, row] * 2 * std, want * 2 * std, want * 2 * std + mean)
        torch.testing.assert_close(
            segments.mean(dim=1), torch.from_numpy(data[f"{name}_bin_mean"]), atol=2e-3, rtol=0
        )
        dot = (segments.double() * det("probe:segments", segments.shape, 0, 1)).sum(dim=(1, 2))
        torch.testing.assert_close(dot, torch.from_numpy(data[f"{name}_dot"]).double(), atol=0.2, rtol=1e-3)


@needs_parity
@pytest.mark.parametrize(("case", "num_segments"), [("GTZAN_T400", 10), ("VoxCeleb1_T300", 5)])
def test_segments_of_samples_are_the_authors(case, num_segments):
    data, wave = load("fbank.npz"), waves()[2]  # the one clip that is long enough for their code
    front_end = Waveform(int(case[-3:]), num_segments)
    got = front_end(wave[None], torch.tensor([len(wave)]))
    name = f"w2v2_{case}_w2"
    assert list(got.shape) == data[f"{name}_shape"].tolist()
    assert torch.equal(got[:, :8], torch.from_numpy(data[f"{name}_first8"]))
    assert torch.equal(got[:, -8:], torch.from_numpy(data[f"{name}_last8"]))


@pytest.mark.parametrize(
    ("length", "whole_periods", "starts"),
    [
        (10, True, [0, 2, 5]),  # of 5 rows in 10: linspace(0, 5, 3) = 0, 2.5, 5
        (5, True, [0, 0, 0]),  # exactly one segment long
        (3, True, [0, 0, 1]),  # 3 (5 // 3 + 1) = 6 rows: linspace(0, 1, 3) = 0, 0.5, 1
        (3, False, [0, 0, 0]),
    ],
)
def test_segments_are_evenly_spaced_and_short_clips_repeated(length, whole_periods, starts):
    rows = segment_rows(length, 5, 3, whole_periods)
    assert rows.tolist() == [[(start + i) % length for i in range(5)] for start in starts]


def test_segments_are_for_evaluation_and_independent_of_the_batch():
    front_end = LogMel(128, 16, **ESC50, num_segments=3)
    clips, length = torch.zeros(2, 8_000), torch.tensor([8_000, 3_000])
    clips[0], clips[1, :3_000] = noise(8_000), noise(3_000)
    together = front_end(clips, length)
    alone = [front_end(clips[i : i + 1, :n], length[i : i + 1]) for i, n in enumerate(length.tolist())]
    assert torch.equal(together, torch.cat(alone)) and together.shape == (6, 16, 128)
    assert front_end(clips, length, torch.tensor([1, 2])).shape == (2, 16, 128)  # training: no segments


@pytest.mark.parametrize(
    ("window", "window_ms", "hop_ms", "num_mels"),
    [
        ("hanning", 25.0, 10.0, 128),
        ("hamming", 25.0, 10.0, 128),
        ("povey", 25.0, 10.0, 80),
        ("rectangular", 25.0, 10.0, 40),
        ("hanning", 32.0, 8.0, 64),  # 512 samples: no zeros before the Fourier transform
        ("hanning", 40.0, 20.0, 64),
    ],
)
def test_log_mels_are_kaldi_s(window, window_ms, hop_ms, num_mels):
    wave = noise(8_000)
    want = kaldi.fbank(
        wave[None],
        htk_compat=True,
        sample_frequency=16_000,
        window_type=window,
        frame_length=window_ms,
        frame_shift=hop_ms,
        num_mel_bins=num_mels,
        dither=0.0,
    )
    front_end = LogMel(num_mels, 512, 0.0, 1.0, window_ms, hop_ms, window)
    got = front_end.log_mel(wave[None])[0]
    assert got.shape == want.shape
    assert_same_log_mels(got, want, want)
    # the fixed length changes nothing but the frames behind the end
    fixed = one(LogMel(num_mels, 512, 0.0, 0.5, window_ms, hop_ms, window), wave)  # 2 std = 1
    assert torch.equal(fixed[: len(got)], got)
    assert torch.equal(fixed[len(got) :], torch.zeros(512 - len(got), num_mels))


def test_a_clip_is_the_same_in_a_batch_and_by_itself():
    front_end = LogMel(128, 64, **ESC50)
    clips = [noise(length, seed=length) for length in (12_000, 4_000, 399, 400, 1)]
    batch = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    together = front_end(batch, torch.tensor([len(clip) for clip in clips]))
    assert together.shape == (5, 64, 128)
    for got, clip in zip(together, clips):
        torch.testing.assert_close(got, one(front_end, clip), atol=1e-5, rtol=0)


def test_what_lies_behind_a_clip_s_last_sample_does_not_matter():
    front_end, clip = LogMel(128, 64, **ESC50), noise(4_000)
    num_samples = torch.tensor([4_000, 4_000])
    batch = torch.stack([torch.cat([clip, torch.zeros(4_000)]), torch.cat([clip, noise(4_000, 1)])])
    silence, rubbish = front_end(batch, num_samples)
    assert torch.equal(silence, rubbish)


@pytest.mark.parametrize(
    ("num_samples", "num_frames"),
    # the first frame takes 400 samples, each further one 160
    [(1, 0), (399, 0), (400, 1), (559, 1), (560, 2), (720, 3), (10_479, 63), (10_480, 64), (10_481, 64)],
)
def test_only_whole_frames_are_kept(num_samples, num_frames):
    front_end = LogMel(128, 64, **ESC50)
    fbank = one(front_end, noise(num_samples))
    is_padded = (fbank == padded(front_end)).all(dim=1)
    assert is_padded.tolist() == [False] * num_frames + [True] * (64 - num_frames)


def test_frames_are_padded_before_the_normalisation():
    fbank = one(LogMel(128, 64, **ESC50), noise(400))
    # (0 - -6.6268077) / (2 5.358466): louder than the clip's own silence
    torch.testing.assert_close(fbank[1:], torch.full((63, 128), 6.6268077 / 10.716932))


def test_normalisation_takes_the_mean_and_twice_the_deviation():
    clip = noise(12_000)
    raw, fbank = one(LogMel(128, 64, 0.0, 0.5), clip), one(LogMel(128, 64, -3.0, 2.0), clip)
    torch.testing.assert_close(fbank, (raw + 3.0) / 4.0)


def test_a_long_clip_gives_its_first_frames():
    front_end, clip = LogMel(128, 64, **ESC50), noise(20_000)
    torch.testing.assert_close(one(front_end, clip), one(front_end, clip[:10_480]), atol=1e-6, rtol=0)


def test_digital_silence_is_finite():
    raw = one(LogMel(128, 8, 0.0, 0.5), torch.zeros(2_000))
    torch.testing.assert_close(raw, torch.full((8, 128), -15.942385))  # log of 2^-23


def test_mixed_precision_leaves_log_mels_alone():
    front_end, clip = LogMel(128, 64, **ESC50), noise(12_000)
    with torch.autocast("cpu", torch.bfloat16):
        got = one(front_end, clip)
    assert got.dtype == torch.float32
    assert torch.equal(got, one(front_end, clip))


def test_augmentation_comes_with_seeds_and_masks_before_the_normalisation():
    class Masks(torch.nn.Module):
        def forward(self, fbank, seeds):
            return torch.zeros_like(fbank)  # everything masked

    class Noise(torch.nn.Module):
        def forward(self, fbank, seeds):
            return fbank + seeds[:, None, None]

    front_end = LogMel(128, 64, **ESC50, masks=Masks(), noise=Noise())
    clip, length = noise(12_000)[None], torch.tensor([12_000])
    got = front_end(clip, length, torch.tensor([7]))
    torch.testing.assert_close(got, torch.full((1, 64, 128), padded(front_end) + 7))
    assert torch.equal(front_end(clip, length), LogMel(128, 64, **ESC50)(clip, length))


def test_log_mels_put_nothing_into_a_checkpoint():
    assert LogMel(128, 64, **ESC50).state_dict() == {}


def test_settings_rebuild_the_front_end():
    front_end = LogMel(64, 32, **ESC50, window_ms=20.0, hop_ms=5.0, window="povey")
    settings = dict(front_end.settings)
    assert settings.pop("kind") == "log_mel"
    assert torch.equal(one(LogMel(**settings), noise(4_000)), one(front_end, noise(4_000)))


def test_covered_samples_are_one_window_and_a_hop_for_each_further_frame():
    assert covered_samples(1, 25, 10) == 400
    assert covered_samples(128, 25, 10) == 20_720  # 400 + 127 160
    assert covered_samples(512, 25, 10) == 82_160  # 400 + 511 160
    assert covered_samples(10, 20, 5) == 1_040  # 320 + 9 80


def test_an_unknown_window_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="window is 'hann'; accepted: hanning, hamming, povey, rectangular"):
        LogMel(128, 64, **ESC50, window="hann")


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_a_deviation_that_is_not_positive_is_refused(std):
    with pytest.raises(ValueError, match=f"standard deviation is {std}; it must be above 0"):
        LogMel(128, 64, mean=0.0, std=std)


def test_a_waveform_front_end_changes_nothing():
    clip = noise(100)[None]
    assert torch.equal(Waveform(1)(clip, torch.tensor([100]), torch.tensor([1])), clip)


@pytest.mark.parametrize("wrong", [{"window_ms": 0.01}, {"hop_ms": 0.01}])
def test_windows_and_hops_shorter_than_a_sample_are_refused(wrong):
    with pytest.raises(ValueError, match="expected at least 2 and 1"):
        LogMel(128, 10, 0.0, 0.5, **wrong)
