"""Generated sets: their files, their layouts, their sounds; music and speech have their own files."""

import csv
import json
import subprocess
import sys
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from data.synth import esc50, fsd50k, sounds
from data.synth.acoustics import record
from data.synth.writing import Plan, sources_digest, wav_bytes, write_set

from helpers import ROOT, load_script

SCRIPT = ROOT / "data" / "synthesize.py"
synthesize = load_script(SCRIPT, "synthesize")
prepare = load_script(ROOT / "data" / "prepare.py", "prepare_synth")


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def noise_file(clip, seed):
    return wav_bytes(0.1 * np.random.default_rng([seed, clip]).uniform(-1, 1, 800), 16_000)


def a_plan(num_clips=3, seed=0):
    return Plan(
        {f"a/{i}.wav": i for i in range(num_clips)}, partial(noise_file, seed=seed), {"t.csv": b"x\n"}
    )


# -------------------------------------------------------------------------------------------- writing


def test_a_set_is_its_clips_its_tables_and_a_receipt(tmp_path):
    assert write_set(tmp_path / "set", {"seed": 0}, a_plan(), processes=1) == 3
    files = contents(tmp_path / "set")
    assert sorted(files) == ["a/0.wav", "a/1.wav", "a/2.wav", "synthetic.json", "t.csv"]
    assert json.loads(files["synthetic.json"]) == {"seed": 0}


def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path):
    write_set(tmp_path / "one", {}, a_plan(), processes=1)
    write_set(tmp_path / "two", {}, a_plan(), processes=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_repeated_run_restores_the_same_bytes(tmp_path):
    write_set(tmp_path, {}, a_plan(), processes=1)
    first = contents(tmp_path)
    (tmp_path / "a/1.wav").write_bytes(b"cut sho")
    (tmp_path / "t.csv").unlink()  # as after an interruption
    write_set(tmp_path, {}, a_plan(), processes=1)
    assert contents(tmp_path) == first


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds files that were not made here"):
        write_set(tmp_path, {}, a_plan())
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_set_of_other_parameters_is_left_alone(tmp_path):
    write_set(tmp_path, {"seed": 0}, a_plan(), processes=1)
    first = contents(tmp_path)
    with pytest.raises(FileExistsError, match=r"other parameters \(see synthetic.json in it\)"):
        write_set(tmp_path, {"seed": 1}, a_plan(seed=1))
    assert contents(tmp_path) == first


@pytest.mark.parametrize("waveform", [np.array([0, 1.01]), np.array([np.nan]), np.zeros((2, 3))])
def test_samples_that_no_file_can_hold_are_refused(waveform):
    with pytest.raises(ValueError, match=r"expected (samples in \[-1, 1\]|\[T\])"):
        wav_bytes(waveform, 16_000)


# ------------------------------------------------------------------------------------ the command line


def test_the_command_writes_a_set_and_prints_the_next_one(tmp_path):
    root = tmp_path / "esc50"
    made = subprocess.run(
        [sys.executable, SCRIPT, "esc50", root, "-size", "tiny"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert made.stdout.startswith("Wrote 50 clips in ")
    assert made.stdout.splitlines()[-1].strip() == f"python3 data/prepare.py esc50 {root} -out {root}_lists"
    said = json.loads((root / "synthetic.json").read_text())
    assert said.pop("code") == sources_digest()
    assert said == {"set": "esc50", "size": "tiny", "seed": 0}


def test_refreshing_writes_what_is_missing_or_was_made_otherwise_and_nothing_else(
    tmp_path, capsys, monkeypatch
):
    plan = a_plan()
    sets = SimpleNamespace(import_module=lambda _: SimpleNamespace(plan=lambda *_: plan))
    monkeypatch.setattr(synthesize, "importlib", sets)
    command = ["esc50", str(tmp_path / "set"), "-size", "tiny", "-processes", "1", "-refresh"]

    def refreshed() -> str:
        assert synthesize.main(command) == 0
        return capsys.readouterr().out.splitlines()[0]

    assert refreshed().startswith("Wrote 3 clips")
    first = contents(tmp_path / "set")
    assert refreshed() == f"{tmp_path}/set holds all 3 clips already."
    for missing in ("a/1.wav", "t.csv"):
        (tmp_path / "set" / missing).unlink()
        assert refreshed().startswith("Wrote 3 clips") and contents(tmp_path / "set") == first
    (tmp_path / "set/synthetic.json").write_text('{"set": "esc50", "size": "tiny", "seed": 0}')  # older code
    (tmp_path / "set/stale.wav").write_bytes(b"of the older set")
    assert refreshed().startswith("Wrote 3 clips") and contents(tmp_path / "set") == first


def test_refreshing_never_deletes_what_was_not_made_here(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert synthesize.main(["esc50", str(tmp_path), "-size", "tiny", "-refresh"]) == 1
    assert "not made here" in capsys.readouterr().err
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_mistake_on_the_command_line_shows_one_line_and_no_traceback(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert synthesize.main(["esc50", str(tmp_path), "-size", "tiny"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"synthesize.py esc50: {tmp_path}: holds files that were not made here")
    assert error.count("\n") == 1


def test_an_unknown_size_names_the_sizes():
    with pytest.raises(ValueError, match="size is 'huge'; expected tiny, demo or large"):
        esc50.plan("huge", 0)


# ----------------------------------------------------------------------------------------- ESC-50-like


@pytest.fixture(scope="module")
def tiny_esc50(tmp_path_factory):
    root = tmp_path_factory.mktemp("esc50")
    write_set(root, {}, esc50.plan("tiny", 0))
    return root


def test_clips_have_the_official_format_and_the_table_the_official_columns(tiny_esc50):
    for path in (tiny_esc50 / "audio").iterdir():
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.channels) == ("WAV", "PCM_16", 1)
        assert (info.samplerate, info.frames) == (44_100, 5 * 44_100)
    with open(tiny_esc50 / "meta" / "esc50.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    first = {"fold": "1", "target": "10", "category": "rain", "esc10": "True"}
    first |= {"filename": "1-9101000-A-10.wav", "src_file": "9101000", "take": "A"}
    assert first in rows


def test_the_set_is_prepared_like_the_official_one(tiny_esc50):
    found = prepare.prepare_esc50(tiny_esc50)
    names = ["dog", "rain", "wind", "clock_tick", "siren"]
    assert [label.display_name for label in found.labels] == names
    counts = {
        f"{split}_{k}": num_clips for k in range(1, 6) for split, num_clips in (("train", 40), ("eval", 10))
    }
    assert {name: len(clips) for name, clips in found.clips.items()} == counts
    assert found.notes == []


def test_the_demo_has_more_than_twenty_classes_in_five_folds_and_a_source_lies_in_one_alone():
    takes = list(esc50.plan("demo", 0).clips.values())
    assert len({take.target for take in takes}) == len(sounds.CLASSES) >= 20
    assert {take.fold for take in takes} == {1, 2, 3, 4, 5}
    assert len({take.filename for take in takes}) == len(takes)
    folds = {}
    for take in takes:
        folds.setdefault(take.source, set()).add(take.fold)
    assert all(len(of_source) == 1 for of_source in folds.values())
    assert len(folds) == len(takes) / 2  # two cuts of each


def test_the_same_seed_makes_the_same_bytes_another_seed_others_and_a_larger_set_holds_a_smaller():
    tiny, other, demo = (esc50.plan(size, seed) for size, seed in (("tiny", 0), ("tiny", 1), ("demo", 0)))
    path = "audio/3-9163000-B-16.wav"
    assert tiny.render(tiny.clips[path]) == demo.render(demo.clips[path])
    assert tiny.render(tiny.clips[path]) != other.render(other.clips[path])


# ---------------------------------------------------------------------------------------- FSD50K-like


@pytest.fixture(scope="module")
def tiny_fsd50k(tmp_path_factory):
    root = tmp_path_factory.mktemp("fsd50k")
    write_set(root, {}, fsd50k.plan("tiny", 0))
    return root


def test_mixtures_are_prepared_like_the_official_release(tiny_fsd50k):
    found = prepare.prepare_fsd50k(tiny_fsd50k)
    assert {name: len(clips) for name, clips in found.clips.items()} == {"train": 52, "valid": 26, "test": 26}
    assert found.notes == []  # every class is in every list
    assert len(found.labels) == len(fsd50k.VOCABULARY)


def test_labels_come_with_their_ancestors_each_once():
    assert fsd50k.with_ancestors(("Crow", "Chirp_and_tweet")) == [
        *("Crow", "Bird", "Wild_animals", "Animal"),
        "Chirp_and_tweet",
    ]
    assert set(fsd50k.with_ancestors(("Thunder",))) == {"Thunder", "Natural_sounds", "Rain", "Water"}


def test_clips_hold_one_to_three_sounds_and_every_leaf_is_in_every_list():
    mixtures = list(fsd50k.plan("demo", 0).clips.values())
    assert {len(mixture.leaves) for mixture in mixtures} == {1, 2, 3}
    for low, high in ((100_000, 300_000), (300_000, 500_000), (500_000, 700_000)):
        own = [mixture for mixture in mixtures if low <= mixture.number < high]
        assert {leaf for mixture in own for leaf in mixture.leaves} == set(fsd50k.LEAVES)


def test_a_mixture_is_as_long_as_planned_and_the_same_every_time():
    plan = fsd50k.plan("tiny", 0)
    path, mixture = next((p, m) for p, m in plan.clips.items() if len(m.leaves) == 3)
    first = plan.render(mixture)
    assert first == fsd50k.plan("tiny", 0).render(mixture) != fsd50k.plan("tiny", 1).render(mixture), path
    assert len(first) == 44 + 2 * round(mixture.seconds * 44_100)


# -------------------------------------------------------------------------------------------- sounds


@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
@pytest.mark.parametrize("target", sounds.CLASSES)
def test_every_sound_is_finite_audible_and_as_long_as_asked(target, sample_rate):
    for seed in range(3):
        waveform = sounds.CLASSES[target](np.random.default_rng(seed), 1.5, sample_rate)
        assert waveform.shape == (1.5 * sample_rate,)
        assert np.isfinite(waveform).all()
        assert waveform.std() > 1e-4


@pytest.mark.parametrize("target", sounds.CLASSES)
def test_the_shortest_clip_is_never_without_its_sound(target):
    shortest = min(low for _, (low, _) in fsd50k.SIZES.values())
    sound = sounds.CLASSES[target]
    levels = [sound(np.random.default_rng(seed), shortest, 16_000).std() for seed in range(60)]
    assert min(levels) > 1e-3


@pytest.mark.parametrize("target", sounds.CLASSES)
def test_takes_differ_in_sound_and_in_level_and_never_clip(target):
    takes = [record(sounds.CLASSES[target], np.random.default_rng(i), 1, 16_000) for i in range(4)]
    peaks = np.array([np.abs(take).max() for take in takes])
    assert (peaks < 1).all()
    assert (peaks > 0.09).all()  # -20 dB is 0.1
    assert len(set(peaks)) == 4
    correlation = np.corrcoef(takes)[np.triu_indices(4, 1)]
    assert np.abs(correlation).max() < 0.9


def band_levels(waveform, sample_rate):
    """[T] -> [48]: mean and deviation over time of the log energy of 24 bands up to 8 kHz."""
    frames = waveform[: len(waveform) // 512 * 512].reshape(-1, 512)
    power = np.abs(np.fft.rfft(frames * np.hanning(512), 2048)) ** 2  # [F, 1025]
    edges = np.geomspace(60, 8000, 25) * 2048 / sample_rate
    bands = [power[:, int(a) : int(b) + 1].mean(1) for a, b in pairwise(edges)]
    levels = np.log10(np.stack(bands) + 1e-9)  # [24, F]
    return np.concatenate([levels.mean(1) - levels.mean(), levels.std(1)])


def accuracy_of_nearest_mean(features, targets, takes):
    """Share of the last two takes whose class mean, over the other takes, is the nearest."""
    features = (features - features.mean(0)) / features.std(0)
    classes, train = np.unique(targets), takes < takes.max() - 1
    means = np.stack([features[train & (targets == c)].mean(0) for c in classes])
    distances = np.linalg.norm(features[~train][:, None] - means, axis=-1)
    return (classes[distances.argmin(1)] == targets[~train]).mean()


def test_classes_can_be_told_apart_by_spectrum_but_not_at_once_and_not_by_loudness():
    takes = [(target, take) for target in sounds.CLASSES for take in range(8)]
    clips = [record(sounds.CLASSES[t], np.random.default_rng([5, t, n]), 2, 16_000) for t, n in takes]
    targets, numbers = np.array(takes).T
    spectrum = np.stack([band_levels(clip, 16_000) for clip in clips])
    loudness = np.array([[np.log10(clip.std())] for clip in clips])
    # Chance is 1 / 26.
    assert 0.2 < accuracy_of_nearest_mean(spectrum, targets, numbers) < 0.8
    assert accuracy_of_nearest_mean(loudness, targets, numbers) < 0.2
