"""Augmentation: within its limits, off at zero, and drawn from each clip's own seed."""

import numpy as np
import pytest
import torch

from ipet.augment import NoiseAndRoll, SpecAugment, mix


def random_fbank(*shape, seed=0):
    """Log-mels without a zero, so that every zero is a mask's."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) + 0.5


def seeds(*values):
    return torch.tensor(values)


# Mixup --------------------------------------------------------------------------------------------


def test_a_mix_of_two_clips():
    # 3/4 [1, 2, 3] + 1/4 [4, 0, 4] = [1.75, 1.5, 3.25]; its mean is 6.5 / 3
    mixed = mix(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 0.0, 4.0]), 0.75)
    torch.testing.assert_close(mixed, torch.tensor([1.75, 1.5, 3.25]) - 6.5 / 3)


def test_a_longer_clip_is_cut_and_a_shorter_one_padded_with_zeros():
    clip = torch.tensor([1.0, 2.0, 3.0])
    # 1/2 [1, 2, 3] + 1/2 [4, 0, 4] = [2.5, 1, 3.5]
    longer = mix(clip, torch.tensor([4.0, 0.0, 4.0, 9.0, 9.0]), 0.5)
    torch.testing.assert_close(longer, torch.tensor([2.5, 1.0, 3.5]) - 7 / 3)
    # 1/2 [1, 2, 3] + 1/2 [4, 0, 0] = [2.5, 1, 1.5]
    shorter = mix(clip, torch.tensor([4.0]), 0.5)
    torch.testing.assert_close(shorter, torch.tensor([2.5, 1.0, 1.5]) - 5 / 3)


def test_a_mix_is_centred_on_zero():
    mixed = mix(random_fbank(500), random_fbank(400, seed=1), 0.3)
    assert mixed.shape == (500,)
    assert mixed.mean().item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_whole_share_is_one_of_the_two_clips(weight):
    first, second = random_fbank(5), random_fbank(5, seed=1)
    kept = first if weight else second
    assert torch.equal(mix(first, second, weight), kept - kept.mean())


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_share_outside_0_to_1_is_refused(weight):
    with pytest.raises(ValueError, match=rf"weight is {weight}; it must lie in \[0, 1\]"):
        mix(torch.zeros(3), torch.zeros(3), weight)


# Masks --------------------------------------------------------------------------------------------


def stretches(mask):
    """[B, L] -> widths of the masked stretches; fails where a clip has more than one."""
    widths = mask.sum(dim=1)
    edges = torch.diff(torch.nn.functional.pad(mask.int(), (1, 1)), dim=1).abs().sum(dim=1)
    assert torch.equal(edges, 2 * (widths > 0).int())  # one beginning and one end, or none
    return widths


def test_masks_are_single_stretches_below_their_limits_and_change_nothing_else():
    fbank = random_fbank(1_000, 60, 40)
    masked = SpecAugment(max_mels=8, max_frames=12)(fbank, torch.arange(1_000))
    hidden = masked == 0
    frames, mels = hidden.all(dim=2), hidden.all(dim=1)  # [B, T], [B, M]
    widths = stretches(frames), stretches(mels)
    # uniform on [0, limit), rounded down: 0 ... limit - 1, each equally often
    assert [sorted(set(w.tolist())) for w in widths] == [list(range(12)), list(range(8))]
    assert widths[0].float().mean().item() == pytest.approx(11 / 2, abs=0.5)
    assert widths[1].float().mean().item() == pytest.approx(7 / 2, abs=0.35)
    assert torch.equal(hidden, frames[:, :, None] | mels[:, None, :])
    assert torch.equal(masked[~hidden], fbank[~hidden])


def test_masks_reach_every_frame_and_mel_but_the_last():
    hidden = SpecAugment(8, 12)(random_fbank(1_000, 60, 40), torch.arange(1_000)) == 0
    frames, mels = hidden.all(dim=2).any(dim=0), hidden.all(dim=1).any(dim=0)
    # starts are rounded down, as torchaudio's are: the very last frame and mel are never hidden
    assert frames[:-1].all()
    assert mels[:-1].all()


def test_a_limit_of_zero_switches_a_mask_off():
    fbank, all_seeds = random_fbank(50, 60, 40), torch.arange(50)
    assert torch.equal(SpecAugment(0, 0)(fbank, all_seeds), fbank)
    only_frames = SpecAugment(0, 12)(fbank, all_seeds) == 0
    assert only_frames.any()
    assert torch.equal(only_frames.any(dim=2), only_frames.all(dim=2))  # whole frames alone
    only_mels = SpecAugment(8, 0)(fbank, all_seeds) == 0
    assert only_mels.any()
    assert torch.equal(only_mels.any(dim=1), only_mels.all(dim=1))  # whole mels alone


def test_a_limit_beyond_the_clip_leaves_something_of_it_and_cuts_no_stretch_short():
    masked = SpecAugment(1_000, 1_000)(random_fbank(500, 16, 16), torch.arange(500))
    widths = stretches((masked == 0).all(dim=2))
    # uniform on 0 ... 15, as all of them fit
    assert widths.max() == 15
    assert widths.float().mean().item() == pytest.approx(15 / 2, abs=0.7)


def test_masks_differ_between_seeds():
    fbank = random_fbank(1, 60, 40).expand(20, -1, -1)
    masked = SpecAugment(20, 30)(fbank, torch.arange(20)) == 0
    assert len({tuple(m.flatten().tolist()) for m in masked}) > 15


# Noise and roll -----------------------------------------------------------------------------------


def test_noise_is_uniform_below_one_level_a_clip():
    noise = NoiseAndRoll()(torch.zeros(300, 50, 40), torch.arange(300))
    assert noise.min() >= 0
    assert noise.max() < 0.1
    # of 2,000 numbers in [0, level) the largest is the level, but for a thousandth
    levels = noise.amax(dim=(1, 2))
    assert levels.mean().item() == pytest.approx(0.05, abs=0.005)  # uniform in [0, 0.1)
    torch.testing.assert_close(noise.mean(dim=(1, 2)), levels / 2, atol=0.002, rtol=0)


def test_clips_roll_by_ten_frames_back_to_nine_ahead():
    fbank = torch.zeros(400, 50, 4)
    fbank[:, 20] = 100.0
    rolled = NoiseAndRoll()(fbank, torch.arange(400))
    frames = rolled[:, :, 0].argmax(dim=1) - 20
    assert sorted(set(frames.tolist())) == list(range(-10, 10))
    # what leaves at one end enters at the other: nothing is lost
    assert torch.equal((rolled > 50).sum(dim=(1, 2)), torch.full((400,), 4))


def test_no_level_and_no_frame_is_no_change():
    fbank = random_fbank(3, 50, 40)
    still = NoiseAndRoll(max_level=0.0, max_roll=1)(fbank, torch.arange(3))
    for got, clip in zip(still, fbank):
        assert torch.equal(got, clip) or torch.equal(got, clip.roll(-1, dims=0))  # rolls by -1 or 0


# Seeds --------------------------------------------------------------------------------------------

AUGMENTATIONS = [SpecAugment(20, 30), NoiseAndRoll()]


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_a_clip_s_seed_alone_decides_whatever_the_batch(augment):
    clips = random_fbank(6, 60, 40)
    together = augment(clips, seeds(11, 2**62 - 1, 13, 14, 15, 16))
    backwards = augment(clips.flip(0), seeds(16, 15, 14, 13, 2**62 - 1, 11)).flip(0)
    alone = torch.cat([augment(clips[i : i + 1], seeds(s)) for i, s in ((0, 11), (1, 2**62 - 1))])
    assert torch.equal(backwards, together)
    assert torch.equal(alone, together[:2])


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_augmentation_neither_reads_nor_moves_the_global_random_state(augment):
    clips, results = random_fbank(2, 60, 40), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state()
        results.append(augment(clips, seeds(11, 12)))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*results)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_different_seeds_augment_differently(augment):
    clip = random_fbank(1, 60, 40)
    assert not torch.equal(augment(clip, seeds(11)), augment(clip, seeds(12)))


def test_masks_and_noise_of_one_seed_are_drawn_apart():
    # both draw from [0, 1): the first frame mask's width and the noise level must not go together
    zeros = torch.zeros(300, 50, 40)
    levels = NoiseAndRoll()(zeros, torch.arange(300)).amax(dim=(1, 2)).numpy()
    widths = (SpecAugment(0, 50)(zeros + 1, torch.arange(300)) == 0).all(dim=2).sum(dim=1).numpy()
    assert abs(np.corrcoef(levels, widths)[0, 1]) < 0.2
