"""The synthetic ESC-50: its layout, its bytes, its sounds."""

import csv
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers import load_script

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "data" / "synth" / "esc50.py"


synth = load_script(SCRIPT, "synth_esc50")
SMALL = synth.Parameters(classes=2, clips_per_fold=1, folds=2, seconds=1, sample_rate=16_000)


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_clips_have_the_official_format_and_the_table_the_official_columns(tmp_path):
    synth.write_set(tmp_path, synth.Parameters(classes=2, clips_per_fold=1, folds=2))
    assert sorted(contents(tmp_path)) == [
        "audio/1-9100100-A-10.wav",
        "audio/1-9110100-A-11.wav",
        "audio/2-9100200-A-10.wav",
        "audio/2-9110200-A-11.wav",
        "meta/esc50.csv",
        "synthetic.json",
    ]
    for path in (tmp_path / "audio").iterdir():
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.channels) == ("WAV", "PCM_16", 1)
        assert (info.samplerate, info.frames) == (44_100, 5 * 44_100)
    assert (tmp_path / "meta" / "esc50.csv").read_text().splitlines() == [
        "filename,fold,target,category,esc10,src_file,take",
        "1-9100100-A-10.wav,1,10,rain,True,9100100,A",
        "1-9110100-A-11.wav,1,11,sea_waves,True,9110100,A",
        "2-9100200-A-10.wav,2,10,rain,True,9100200,A",
        "2-9110200-A-11.wav,2,11,sea_waves,True,9110200,A",
    ]


def test_the_default_set_has_ten_classes_in_five_folds():
    takes = synth.takes(synth.Parameters())
    assert len(takes) == 10 * 5 * 4
    assert len({take.target for take in takes}) == 10
    assert {take.fold for take in takes} == {1, 2, 3, 4, 5}


def test_names_are_unique_and_a_source_lies_in_one_fold_alone():
    # 30 takes of one class and fold need a second source: there are 26 letters.
    takes = synth.takes(synth.Parameters(classes=len(synth.SOUNDS), clips_per_fold=30, folds=12))
    assert len({take.filename for take in takes}) == len(takes)
    folds = {}
    for take in takes:
        folds.setdefault(take.source, set()).add(take.fold)
    assert all(len(of_source) == 1 for of_source in folds.values())


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(tmp_path):
    synth.write_set(tmp_path / "a", SMALL)
    synth.write_set(tmp_path / "b", SMALL)
    synth.write_set(tmp_path / "c", SMALL._replace(seed=1))
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert set(a) == set(c)
    clips = [of[name] for of in (a, c) for name in of if name.endswith(".wav")]
    assert len(set(clips)) == len(clips) == 8  # other seeds, classes and folds: other clips


def test_a_larger_set_holds_the_clips_of_a_smaller_one(tmp_path):
    synth.write_set(tmp_path / "small", SMALL)
    synth.write_set(tmp_path / "large", SMALL._replace(classes=3, clips_per_fold=2, folds=3))
    small, large = contents(tmp_path / "small"), contents(tmp_path / "large")
    assert all(large[name] == small[name] for name in small if name.endswith(".wav"))


def test_a_repeated_run_restores_the_same_bytes(tmp_path):
    synth.write_set(tmp_path, SMALL)
    first = contents(tmp_path)
    (tmp_path / "audio" / "1-9100100-A-10.wav").write_bytes(b"cut sho")
    (tmp_path / "meta" / "esc50.csv").unlink()  # as after an interruption
    synth.write_set(tmp_path, SMALL)
    assert contents(tmp_path) == first


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds files that were not made here"):
        synth.write_set(tmp_path, SMALL)
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_set_of_other_parameters_is_left_alone(tmp_path):
    synth.write_set(tmp_path, SMALL)
    first = contents(tmp_path)
    with pytest.raises(FileExistsError, match=r"other parameters \(see synthetic.json in it\)"):
        synth.write_set(tmp_path, SMALL._replace(seed=1))
    assert contents(tmp_path) == first


@pytest.mark.parametrize(
    "name, value",
    [("classes", 99), ("folds", 1), ("seconds", 0.5), ("sample_rate", 8000), ("seed", -1)],
)
def test_a_parameter_out_of_range_is_refused_before_anything_is_written(tmp_path, name, value):
    with pytest.raises(ValueError, match=f"-{name} is {value}; expected a number from"):
        synth.write_set(tmp_path / "new", SMALL._replace(**{name: value}))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
@pytest.mark.parametrize("target", synth.SOUNDS)
def test_every_sound_is_finite_audible_and_as_long_as_asked(target, sample_rate):
    for seed in range(3):
        waveform = synth.SOUNDS[target](np.random.default_rng(seed), 1.5, sample_rate)
        assert waveform.shape == (1.5 * sample_rate,)
        assert np.isfinite(waveform).all()
        assert waveform.std() > 1e-4


@pytest.mark.parametrize("target", synth.SOUNDS)
def test_takes_differ_in_sound_and_in_level_and_never_clip(target):
    sound = synth.SOUNDS[target]
    takes = [synth.record(sound, np.random.default_rng(i), 1, 16_000) for i in range(4)]
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


def accuracy_of_nearest_mean(features, targets, folds):
    """Share of clips whose fold's nearest class mean, over the other folds, is their own."""
    features = (features - features.mean(0)) / features.std(0)
    classes = np.unique(targets)
    hits = 0
    for fold in np.unique(folds):
        train, evaluation = folds != fold, folds == fold
        means = np.stack([features[train & (targets == c)].mean(0) for c in classes])
        distances = np.linalg.norm(features[evaluation][:, None] - means, axis=-1)
        hits += (classes[distances.argmin(1)] == targets[evaluation]).sum()
    return hits / len(targets)


def test_classes_can_be_told_apart_by_spectrum_but_not_at_once_and_not_by_loudness():
    parameters = synth.Parameters(clips_per_fold=2, seconds=3, sample_rate=16_000)
    takes = synth.takes(parameters)
    targets, folds, _ = np.array(takes).T
    clips = [
        synth.record(synth.SOUNDS[take.target], np.random.default_rng([0, *take]), 3, 16_000)
        for take in takes
    ]
    spectrum = np.stack([band_levels(clip, 16_000) for clip in clips])
    loudness = np.array([[np.log10(clip.std())] for clip in clips])
    # Chance is 0.1.
    assert 0.4 < accuracy_of_nearest_mean(spectrum, targets, folds) < 0.95
    assert accuracy_of_nearest_mean(loudness, targets, folds) < 0.35


def test_the_synthetic_set_is_prepared_like_the_official_one(tmp_path):
    root, lists = tmp_path / "demo", tmp_path / "lists"
    made = subprocess.run(
        [sys.executable, SCRIPT, root, "-classes", "3", "-clips_per_fold", "2", "-seconds", "1"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert made.stdout.splitlines()[-1].strip() == f"python3 data/prepare.py esc50 {root}"
    prepare = load_script(ROOT / "data" / "prepare.py", "prepare_synth")
    assert prepare.main(["esc50", str(root), "-out", str(lists)]) == 0
    found = prepare.prepare_esc50(root)
    assert [label.display_name for label in found.labels] == ["rain", "sea_waves", "crackling_fire"]
    assert {name: len(clips) for name, clips in found.clips.items()} == {
        f"{split}_{k}": num_clips for k in range(1, 6) for split, num_clips in (("train", 24), ("eval", 6))
    }
    assert found.notes == []
    with open(lists / "labels.csv") as file:
        assert [row["mid"] for row in csv.DictReader(file)] == [f"/m/07rwj{t}" for t in (10, 11, 12)]


def test_a_mistake_on_the_command_line_shows_one_line_and_no_traceback(tmp_path, capsys):
    assert synth.main([str(tmp_path), "-folds", "1"]) == 1
    assert capsys.readouterr().err == "esc50.py: -folds is 1; expected a number from 2 to 99\n"
