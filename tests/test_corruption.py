"""Noise and reverberation: which version of a clip is drawn, at which level, and what is read for it."""

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from ipet.audio import ClipError
from ipet.corruption import FLOOR, VERSIONS, Corruption, at_snr, listed, reverberate

from helpers import write_wav

NUM_SAMPLES = 1600


class Memory:
    """Recordings that are tensors; notes what is read of them."""

    def __init__(self, **waveforms):
        self.waveforms = {Path(name): waveform for name, waveform in waveforms.items()}
        self.reads = []

    def length(self, path):
        return len(self.waveforms[path])

    def read(self, path, start=0, num_samples=None):
        self.reads.append((path.name, start, num_samples))
        stop = None if num_samples is None else start + num_samples
        return self.waveforms[path][start:stop].clone()


def gaussian(num_samples, level=1.0, seed=0):
    return level * torch.randn(num_samples, generator=torch.Generator().manual_seed(seed))


def corruption(**replaced):
    """A corruption whose four kinds have one file each, of different lengths, far above the floor."""
    waveforms = {
        "noise": gaussian(16_000, 3.0, seed=1),
        "speech": gaussian(5_000, 1.0, seed=2),
        "music": gaussian(700, 2.0, seed=3),
        "rir": torch.tensor([0.0, 0.5, 0.0, 0.25]),
    }
    recordings = Memory(**{**waveforms, **replaced})
    return Corruption([Path("noise")], [Path("speech")], [Path("music")], [Path("rir")], recordings)


def version_of(reads):
    """The version that a clip became, told from the files that were read."""
    kinds = list(dict.fromkeys(name for name, *_ in reads))
    return {"": "clean", "rir": "reverberation"}.get("".join(kinds), " and ".join(kinds))


def snr_db(clip, noise):
    """The ratio of the powers in dB."""
    return 10 * torch.log10(clip.square().mean() / noise.square().mean()).item()


def voices(num_files, level=1.0):
    """A corruption whose speech is so many independent files of one level."""
    waveforms = {f"speech{i}": gaussian(4_000, level, seed=10 + i) for i in range(num_files)}
    names = [Path(name) for name in waveforms]
    return Corruption([Path("n")], names, [Path("m")], [Path("r")], Memory(**waveforms))


def test_the_six_versions_are_equally_probable():
    corrupt, clip, rng = corruption(), gaussian(100), np.random.default_rng(0)
    count = Counter()
    for _ in range(6000):
        corrupt.recordings.reads.clear()
        corrupt(clip, rng)
        count[version_of(corrupt.recordings.reads)] += 1
    assert set(count) == set(VERSIONS)
    # 1000 +- 29 of each; 130 are four and a half deviations
    assert all(abs(number - 1000) < 130 for number in count.values()), count


@pytest.mark.parametrize("kind", ["music", "noise"])
def test_music_and_noise_are_one_file_at_ratios_uniform_in_their_range(kind):
    corrupt, clip, rng = corruption(), gaussian(NUM_SAMPLES, 1.0, seed=9), np.random.default_rng(1)
    ratios = np.array([snr_db(clip, corrupt.draw(kind, clip, rng)) for _ in range(2000)])
    low, high = {"music": (5, 25), "noise": (0, 15)}[kind]
    assert low - 0.01 < ratios.min() < low + 0.2
    assert high - 0.2 < ratios.max() < high + 0.01
    assert len(corrupt.recordings.reads) == 2000
    counts, _ = np.histogram(ratios, bins=5, range=(low, high))
    assert all(abs(counts - 400) < 90), counts  # 400 +- 18


def test_babble_is_the_mean_of_three_to_eight_files_at_one_ratio():
    # A2: each of the files was scaled to the ratio, so that their sum lay 7 dB above it
    corrupt, clip, rng = voices(20), gaussian(NUM_SAMPLES), np.random.default_rng(2)
    numbers, ratios = Counter(), []
    for _ in range(1200):
        corrupt.recordings.reads.clear()
        ratios.append(snr_db(clip, corrupt.draw("speech", clip, rng)))
        names = [name for name, *_ in corrupt.recordings.reads]
        assert len(set(names)) == len(names)  # different files
        numbers[len(names)] += 1
    assert sorted(numbers) == [3, 4, 5, 6, 7, 8]
    assert all(abs(number - 200) < 65 for number in numbers.values()), numbers  # 200 +- 13
    assert 12.99 < min(ratios) < 13.1 and 19.9 < max(ratios) < 20.02
    assert np.mean(ratios) == pytest.approx(16.5, abs=0.2)
    assert np.std(ratios) == pytest.approx(7 / 12**0.5, rel=0.05)  # of a uniform distribution 7 dB wide


def test_babble_of_ordinary_level_lies_17_decibels_below_the_clip():
    # A2: 17.3 dB in the original, 8.8 dB here before; files and clip at -26 dB of full scale, as speech is
    corrupt, rng = voices(20, level=0.05), np.random.default_rng(0)
    clip = gaussian(NUM_SAMPLES, 0.05, seed=1)
    ratios = [snr_db(clip, corrupt.draw("speech", clip, rng)) for _ in range(800)]
    assert np.mean(ratios) == pytest.approx(17.3, abs=0.3)


def test_babble_of_fewer_files_than_are_drawn_repeats_some():
    corrupt, clip = voices(2), gaussian(NUM_SAMPLES)
    for seed in range(20):
        assert corrupt.draw("speech", clip, np.random.default_rng(seed)).isfinite().all()


def test_music_over_babble_is_relative_to_the_clip_with_the_babble():
    # A2: it was relative to the clip alone
    corrupt, clip = corruption(), gaussian(NUM_SAMPLES, 0.1)
    corrupt.draw_part = lambda path, *_: gaussian(NUM_SAMPLES, seed=len(path.name))
    for seed in range(40):
        rng = np.random.default_rng(seed)
        if VERSIONS[rng.integers(len(VERSIONS))] != "speech and music":
            continue
        # The same draws again, one after the other.
        with_speech = clip + corrupt.draw("speech", clip, rng)
        want = with_speech + corrupt.draw("music", with_speech, rng)
        torch.testing.assert_close(corrupt(clip, np.random.default_rng(seed)), want)
        return
    pytest.fail("speech and music was never drawn")


def test_a_noise_at_zero_decibels_has_the_power_of_the_clip_and_at_twenty_a_hundredth():
    clip, noise = gaussian(NUM_SAMPLES, 3.0), gaussian(NUM_SAMPLES, 1.0, seed=1)
    power = clip.square().mean()
    torch.testing.assert_close(at_snr(clip, noise, 0.0).square().mean(), power, rtol=1e-3, atol=0)
    torch.testing.assert_close(at_snr(clip, noise, 20.0).square().mean(), power / 100, rtol=1e-3, atol=0)


def test_silence_as_a_clip_or_as_noise_stays_finite():
    silence, clip = torch.zeros(NUM_SAMPLES), gaussian(NUM_SAMPLES)
    assert torch.equal(at_snr(clip, silence, 0.0), silence)
    assert at_snr(silence, clip, 0.0).square().mean().item() == pytest.approx(FLOOR, rel=1e-3)
    corrupt = corruption(noise=silence, speech=silence, music=silence)
    for seed in range(30):
        rng = np.random.default_rng(seed)
        assert torch.isfinite(corrupt(clip, rng)).all() and torch.isfinite(corrupt(silence, rng)).all()


def test_reverberation_is_the_sum_of_delayed_copies_for_a_response_of_norm_one():
    clip = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    response = torch.tensor([0.0, 3.0, 0.0, 4.0])  # norm 5
    delayed_1, delayed_3 = torch.tensor([0.0, 1, 2, 3, 4]), torch.tensor([0.0, 0, 0, 1, 2])
    torch.testing.assert_close(reverberate(clip, response), 0.6 * delayed_1 + 0.8 * delayed_3)


@pytest.mark.parametrize("num_samples", [1, 3, 10])  # shorter and longer than the response
def test_a_clip_keeps_its_length_and_kind(num_samples):
    corrupt, clip = corruption(), gaussian(num_samples)
    before = clip.clone()
    for seed in range(40):
        corrupted = corrupt(clip, np.random.default_rng(seed))
        assert (corrupted.shape, corrupted.dtype) == (clip.shape, torch.float32)
    assert torch.equal(clip, before)


def test_the_same_generator_gives_the_same_version_and_another_one_others():
    clip = gaussian(NUM_SAMPLES)
    first, again = (
        [corruption()(clip, np.random.default_rng([seed, 5])) for seed in range(20)] for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    different = {tuple(waveform[:5].tolist()) for waveform in first}
    assert len(different) >= 12  # clean, and reverberation of the only room, come several times


def test_only_the_part_of_a_long_file_that_is_added_is_read():
    corrupt, clip, rng = corruption(), gaussian(NUM_SAMPLES), np.random.default_rng(0)
    for _ in range(500):
        corrupt.draw("noise", clip, rng)
    starts = [start for _, start, _ in corrupt.recordings.reads]
    assert {num_samples for *_, num_samples in corrupt.recordings.reads} == {NUM_SAMPLES}
    assert 0 <= min(starts) < 200 and 16_000 - NUM_SAMPLES - 200 < max(starts) <= 16_000 - NUM_SAMPLES
    assert np.mean(starts) == pytest.approx((16_000 - NUM_SAMPLES) / 2, rel=0.1)


def test_a_short_file_is_repeated_periodically():
    corrupt, clip = corruption(), gaussian(NUM_SAMPLES)
    added = corrupt.draw("music", clip, np.random.default_rng(0))  # 700 samples
    torch.testing.assert_close(added[700:1400], added[:700])
    torch.testing.assert_close(added[1400:], added[:200])


def test_a_silent_impulse_response_is_named():
    corrupt = corruption(rir=torch.zeros(4))
    with pytest.raises(ClipError, match="rir: holds zeros alone; expected an impulse response"):
        for seed in range(40):
            corrupt(gaussian(10), np.random.default_rng(seed))


def test_every_kind_needs_a_file():
    with pytest.raises(ValueError, match="no file of music; expected noise, speech, music and impulse"):
        Corruption([Path("n")], [Path("s")], [], [Path("r")])


# Lists --------------------------------------------------------------------------------------------


@pytest.fixture
def releases(tmp_path):
    """Lists as data/prepare.py writes them, and two files for each."""
    for folder, names in {"musan": ("music", "noise", "speech"), "rirs": ("simulated",)}.items():
        for name in names:
            wavs = [f"{name}/{i}.wav" for i in range(2)]
            for i, wav in enumerate(wavs):
                write_wav(tmp_path / "data" / folder / wav, seconds=0.3, seed=i)
            entries = [{"wav": wav, "labels": f"/m/{name}"} for wav in wavs]
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{name}.json").write_text(json.dumps({"data": entries}))
    return tmp_path


def from_lists(folder, **replaced):
    folders = {
        "folder_musan": folder / "musan",
        "root_musan": folder / "data" / "musan",
        "folder_rir": folder / "rirs",
        "root_rir": folder / "data" / "rirs",
    }
    return Corruption.from_lists(**{**folders, **replaced})


def test_the_lists_of_both_releases_make_a_corruption_that_reads_files(releases):
    corrupt = from_lists(releases)
    assert {kind: [path.parent.name for path in paths] for kind, paths in corrupt.files.items()} == {
        "noise": ["noise"] * 2,
        "speech": ["speech"] * 2,
        "music": ["music"] * 2,
        "rirs": ["simulated"] * 2,
    }
    assert len(corrupt.paths) == 8 and all(path.is_file() for path in corrupt.paths)
    clip = gaussian(NUM_SAMPLES, 0.1)
    versions = [corrupt(clip, np.random.default_rng(seed)) for seed in range(30)]
    changed = sum(not torch.equal(version, clip) for version in versions)
    assert 18 <= changed < 30  # 5 of 6
    assert all(torch.isfinite(version).all() for version in versions)


def test_other_recordings_can_take_the_place_of_the_files(releases):
    corrupt = from_lists(releases)
    corrupt.recordings = Memory()
    corrupt.recordings.waveforms = {path: torch.zeros(50) for path in corrupt.files["noise"]}
    assert torch.equal(corrupt.draw("noise", torch.ones(80), np.random.default_rng(0)), torch.zeros(80))
    assert len(corrupt.recordings.reads) == 1


@pytest.mark.parametrize(
    ("missing", "release"),
    [("musan/speech.json", "musan"), ("musan/noise.json", "musan"), ("rirs/simulated.json", "rirs")],
)
def test_a_missing_list_is_named_with_the_command_that_writes_it(releases, missing, release):
    (releases / missing).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        from_lists(releases)
    assert str(caught.value) == (
        f"{releases / missing}: no such list; -path_{release.removesuffix('s')} DIR takes the recordings of "
        f"the extracted release, python3 data/prepare.py {release} PATH writes the list, and -add_musan_rir "
        "False trains without noise and reverberation"
    )


@pytest.mark.parametrize(("root", "flag"), [("root_musan", "-path_musan"), ("root_rir", "-path_rir")])
def test_a_missing_file_s_letter_names_the_flag_of_its_release(releases, root, flag):
    with pytest.raises(FileNotFoundError, match=re.escape(f"is {flag} the folder that the list's paths")):
        from_lists(releases, **{root: releases})


def test_without_a_root_paths_start_at_the_lists(releases):
    (releases / "data" / "musan").rename(releases / "aside")
    for name in ("music", "noise", "speech"):
        (releases / "aside" / name).rename(releases / "musan" / name)
    corrupt = from_lists(releases, root_musan=None)
    assert corrupt.files["music"][0] == releases / "musan" / "music" / "0.wav"


@pytest.mark.parametrize("above", ["", "musan", "RIRS_NOISES"])
def test_extracted_releases_are_used_without_lists_as_prepare_would_list_them(tmp_path, above):
    """D3: -path_musan and -path_rir name the extracted releases; no list has to be written before."""
    wanted = {
        "music": ["music/fma/a.wav", "music/rfm/b.WAV"],
        "noise": ["noise/free-sound/n.wav"],
        "speech": ["speech/librivox/s.wav"],
        "rirs": [f"simulated_rirs/{size}room/Room1/r.wav" for size in ("large", "medium", "small")],
    }
    root = tmp_path / above
    for wav in [
        *(wav for wavs in wanted.values() for wav in wavs),
        "simulated_rirs/smallroom/Room1/._r.wav",
        "music/README",
    ]:
        (root / wav).parent.mkdir(parents=True, exist_ok=True)
        (root / wav).touch()
    corrupt = from_lists(tmp_path / "no_lists", root_musan=tmp_path, root_rir=tmp_path)
    found = {kind: [path.relative_to(root).as_posix() for path in corrupt.files[kind]] for kind in wanted}
    assert found == wanted


def test_a_list_of_noise_chooses_among_the_files_of_the_release(tmp_path):  # D3
    (tmp_path / "data/noise").mkdir(parents=True)
    (tmp_path / "data/music").mkdir()
    for name in ("noise/a.wav", "noise/b.wav", "music/m.wav"):
        (tmp_path / "data" / name).write_bytes(b"a recording")
    (tmp_path / "musan").mkdir()
    (tmp_path / "musan/noise.json").write_text('{"data": [{"wav": "noise/b.wav", "labels": "/m/noise"}]}')
    flags = (tmp_path / "data", "musan", "-path_musan")
    assert listed(tmp_path / "musan", "noise", *flags) == [tmp_path / "data/noise/b.wav"]
    with pytest.raises(
        FileNotFoundError, match=r"music\.json: no such list"
    ):  # lists are there: it is missing
        listed(tmp_path / "musan", "music", *flags)
