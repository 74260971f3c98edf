"""Channels and scale are measured before mixing and conversion (A10)."""

import numpy as np
import pytest
import soundfile
import torch

from ipet.audio import ClipError, read_audio, stream_audio
from ipet.levels import LevelMeter, check_audible, measure

RATE = 16_000
RNG = np.random.default_rng(0)
ONE, OTHER = (0.2 * RNG.standard_normal(RATE).astype(np.float32) for _ in range(2))
SILENCE = np.zeros(RATE, np.float32)


def stack(*channels):
    return np.stack(channels, axis=1)


CANCELLED = {
    "inverted": stack(ONE, -ONE),
    "inverted and 40 dB apart": stack(ONE, -ONE + 0.01 * OTHER),
    "inverted and quieter": stack(ONE, -0.8 * ONE),
    "two pairs of four": stack(ONE, OTHER, -ONE, -OTHER),
    "inverted with an offset": stack(ONE + 0.1, 0.1 - ONE),
}
KEPT = {
    "mono": ONE[:, None],
    "the same twice": stack(ONE, ONE),
    "unrelated": stack(ONE, OTHER),
    "one empty": stack(ONE, SILENCE),
    "one of six": stack(ONE, *[SILENCE] * 5),
    "half inverted": stack(ONE, -0.5 * ONE + OTHER),
    "silence": stack(SILENCE, SILENCE),
}


@pytest.mark.parametrize("case", CANCELLED)
def test_channels_that_cancel_each_other_out_are_told(case):
    levels = measure(CANCELLED[case])
    assert levels.is_cancelled and not levels.empty_channels


@pytest.mark.parametrize("case", KEPT)
def test_channels_that_are_heard_in_their_mean_are_not_called_cancelled(case):
    assert not measure(KEPT[case]).is_cancelled


def test_empty_channels_are_numbered_whatever_their_offset():
    assert measure(stack(ONE, SILENCE)).empty_channels == [2]
    assert measure(stack(SILENCE + 0.3, ONE, 1e-4 * OTHER)).empty_channels == [1, 3]
    assert measure(stack(ONE, 0.1 * OTHER)).empty_channels == []
    assert measure(stack(SILENCE, SILENCE)).empty_channels == []


@pytest.mark.parametrize(
    "factor, is_out", [(1, False), (3, False), (128, True), (32_768, True), (2**31, True)]
)
def test_samples_far_outside_full_scale_are_told(factor, is_out):
    samples = factor * ONE[:, None] / np.abs(ONE).max()
    assert measure(samples).is_out_of_scale == is_out


def test_a_level_does_not_depend_on_the_blocks():
    samples = stack(ONE + 0.2, 0.5 * OTHER)
    whole, meter = measure(samples), LevelMeter()
    for block in np.array_split(samples, 7):
        meter.add(block)
    np.testing.assert_allclose(meter.levels.channels_db, whole.channels_db, atol=1e-6)
    assert meter.levels.mixed_db == pytest.approx(whole.mixed_db, abs=1e-6)
    assert whole.channels_db[0] == pytest.approx(20 * np.log10(ONE.std()), abs=1e-3)


def test_a_file_is_measured_before_its_channels_are_mixed_and_resampled(tmp_path):
    soundfile.write(tmp_path / "a.wav", stack(ONE, -ONE), 44_100, "FLOAT")
    for read in (read_audio, lambda path, meter: torch.cat(list(stream_audio(path, 0.3, meter)))):
        meter = LevelMeter()
        assert float(read(tmp_path / "a.wav", meter).abs().max()) < 1e-6
        assert meter.levels.is_cancelled
        assert max(meter.levels.channels_db) == pytest.approx(20 * np.log10(ONE.std()), abs=1e-3)


def test_a_silent_recording_is_refused_with_its_reason():
    check_audible("a.wav", -30.0, measure(stack(ONE, ONE)))
    with pytest.raises(ClipError, match=r"a\.wav: silent, below -60 dB of full scale"):
        check_audible("a.wav", -200.0, measure(stack(SILENCE, SILENCE)))
    with pytest.raises(
        ClipError, match=r"channels cancel each other out.*loudest channel at -14 dB; keep one"
    ):
        check_audible("a.wav", -200.0, measure(stack(ONE, -ONE)))
