"""One's own recordings: class folders and tables become lists that leak nothing, or a letter."""

import importlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ipet.lists import check_disjoint, read_clips, read_labels

from helpers import load_script, write_wav
from parity import SHARED

ROOT = Path(__file__).resolve().parents[1]
DRUMS = SHARED / "real_audio" / "D1_drums"

prepare = load_script(ROOT / "data" / "prepare.py", "prepare_folder_script")
splits = importlib.import_module("preparation.splits")


def class_folders(root, **numbers):
    """``kick=7``: seven recordings of class kick, kick/kick_0.wav ..., each with its own content."""
    for n, (name, number) in enumerate(numbers.items()):
        for i in range(number):
            write_wav(root / f"{name}/{name}_{i}.wav", 0.05, seed=1000 * n + i)
    return root


def kits(root, num_kits=6, classes=("kick", "snare"), each=2):
    """Classes of recordings kit0_0.wav, kit0_1.wav, kit1_0.wav ... ."""
    for n, name in enumerate(classes):
        for k in range(num_kits):
            for i in range(each):
                write_wav(root / f"{name}/kit{k}_{i}.wav", 0.05, seed=1000 * n + 10 * k + i)
    return root


def table(path, *rows, header="path,label"):
    """A CSV file of these rows, and an own recording for each path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    for i, row in enumerate(rows):
        write_wav(path.parent / row.split(",")[0], 0.05, seed=i)
    return path


def run(capsys, *argv):
    """Exit status, what was printed and what was complained about."""
    status = prepare.main([str(argument) for argument in argv])
    return status, *capsys.readouterr()


def prepared(capsys, tmp_path, root, *flags, warned=False):
    """The wav -> labels of every list, by the list's name; and what was printed, with any warnings."""
    out = tmp_path / "lists"
    status, printed, error = run(capsys, "folder", root, "-out", out, *flags)
    assert status == 0 and bool(error) == warned, error
    printed += error
    paths = (path for path in sorted(out.glob("*.json")) if path.name != "input_report.json")
    lists = {path.stem: json.loads(path.read_text())["data"] for path in paths}
    return {name: {clip["wav"]: clip["labels"] for clip in clips} for name, clips in lists.items()}, printed


def complaint(capsys, tmp_path, root, *flags):
    """The one line of a refusal, after which nothing has been written."""
    out = tmp_path / "lists"
    status, printed, error = run(capsys, "folder", root, "-out", out, *flags)
    assert (status, printed) == (1, "")
    assert not out.exists()
    assert error.startswith("prepare.py folder: ") and error.count("\n") == 1, error
    return error


def kits_of(wavs):
    return {Path(wav).name.partition("_")[0] for wav in wavs}


# ---------------------------------------------------------------------------------- class folders


def test_class_folders_become_three_lists_with_equal_shares_of_every_class(capsys, tmp_path):
    root = class_folders(tmp_path / "drums", kick=20, snare=40)
    lists, printed = prepared(capsys, tmp_path, root)
    assert {name: Counter(clips.values()) for name, clips in lists.items()} == {
        "train": {"/m/kick": 14, "/m/snare": 28},  # 70 %
        "valid": {"/m/kick": 3, "/m/snare": 6},
        "test": {"/m/kick": 3, "/m/snare": 6},
    }
    labels = read_labels(tmp_path / "lists/labels.csv")
    assert labels.names == ("kick", "snare")
    check_disjoint(*(read_clips(tmp_path / f"lists/{name}.json", root, labels) for name in lists))
    assert "classes         2\n" in printed and "train          42\n" in printed
    assert "official" not in printed and "differs" not in printed
    command = f"python3 -m ipet doctor {tmp_path / 'lists'} -path_data {root}"
    assert printed.splitlines()[-1].strip() == command


@pytest.mark.parametrize("number, sizes", [(3, (1, 1, 1)), (4, (2, 1, 1)), (7, (5, 1, 1)), (10, (7, 2, 1))])
def test_a_small_class_is_in_every_list_and_mostly_in_training(capsys, tmp_path, number, sizes):
    lists, _ = prepared(capsys, tmp_path, class_folders(tmp_path / "drums", kick=number))
    train, *others = (len(lists[name]) for name in ("train", "valid", "test"))
    assert (train, *sorted(others, reverse=True)) == sizes


def test_recordings_of_one_class_alone_are_told(capsys, tmp_path):
    root = class_folders(tmp_path / "drums", only=12)
    _, printed = prepared(capsys, tmp_path, root)
    assert f"all are of the class 'only'; a training needs two: is {root} a folder too high or" in printed


def test_other_shares_and_another_seed(capsys, tmp_path):
    root = class_folders(tmp_path / "drums", kick=20, snare=10)
    one, _ = prepared(capsys, tmp_path / "a", root, "-split", "0.5,0.3,0.2", "-seed", "1")
    assert {name: len(clips) for name, clips in one.items()} == {"train": 15, "valid": 9, "test": 6}
    again, _ = prepared(capsys, tmp_path / "b", root, "-split", "0.5,0.3,0.2", "-seed", "1")
    other, _ = prepared(capsys, tmp_path / "c", root, "-split", "0.5,0.3,0.2", "-seed", "2")
    assert one == again != other


def test_recordings_of_any_kind_may_lie_deep_in_a_class_folder(capsys, tmp_path):
    root = class_folders(tmp_path / "birds", wren=2)
    rng = np.random.default_rng(0)
    for name in ("2020/may/a.flac", "2020/b.OGG", "c.mp3"):
        path = root / "wren" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix[1:].upper()
        soundfile.write(path, 0.1 * rng.standard_normal(8_000), 16_000, format=kind)
    (root / "wren/notes.txt").write_text("x")
    write_wav(root / "wren/.hidden.wav")
    write_wav(root / "stray.wav")
    (root / "wren/2020/up").symlink_to(root / "wren")  # leads back: not walked forever
    lists, printed = prepared(capsys, tmp_path, root, warned=True)
    assert sorted(wav for clips in lists.values() for wav in clips) == [
        "wren/2020/b.OGG",
        "wren/2020/may/a.flac",
        "wren/c.mp3",
        "wren/wren_0.wav",
        "wren/wren_1.wav",
    ]
    assert "1 of 6 recordings left out: next to the class folders (stray.wav)" in printed
    assert "1 of 1 hidden files left out" in printed and "1 of 1 other files left out" in printed


def test_names_of_classes_become_ids_that_are_unlike(capsys, tmp_path):
    names = ["Hi-Hat", "hi hat", "Grüße, Otto", "鼓", "!?"]
    root = class_folders(tmp_path / "own", **dict.fromkeys(names, 3))
    _, printed = prepared(capsys, tmp_path, root, warned=True)
    assert "class names: differ in upper and lower case and separators alone ('Hi-Hat'" in printed
    labels = read_labels(tmp_path / "lists/labels.csv")
    assert dict(zip(labels.names, labels.mids)) == {
        "!?": "/m/class",
        "Grüße, Otto": "/m/grüße_otto",
        "Hi-Hat": "/m/hi_hat",
        "hi hat": "/m/hi_hat_2",
        "鼓": "/m/鼓",
    }


# -------------------------------------------------------------------------------- folds and groups


def test_folds_evaluate_every_clip_once_in_equal_shares(capsys, tmp_path):
    root = class_folders(tmp_path / "drums", kick=9, snare=6)
    lists, printed = prepared(capsys, tmp_path, root, "-folds", "3")
    assert sorted(lists) == ["eval_1", "eval_2", "eval_3", "train_1", "train_2", "train_3"]
    for k in (1, 2, 3):
        assert Counter(lists[f"eval_{k}"].values()) == {"/m/kick": 3, "/m/snare": 2}
        assert lists[f"train_{k}"].keys().isdisjoint(lists[f"eval_{k}"])
        assert len(lists[f"train_{k}"]) == 10
    assert len(lists["eval_1"] | lists["eval_2"] | lists["eval_3"]) == 15
    assert " -m ipet doctor " in printed.splitlines()[-1]


@pytest.mark.parametrize("flags", [(), ("-folds", "3")])
def test_a_group_of_the_paths_lies_in_one_list(capsys, tmp_path, flags):
    root = kits(tmp_path / "drums")
    lists, printed = prepared(capsys, tmp_path, root, "-group", r"(kit\d+)_", *flags)
    held_out = [clips for name, clips in lists.items() if not (flags and name.startswith("train"))]
    groups = [kits_of(clips) for clips in held_out]
    assert len(groups) == 3 and all(groups)
    assert sum(map(len, groups)) == len(set().union(*groups)) == 6
    for clips in held_out:
        assert set(clips.values()) == {"/m/kick", "/m/snare"}
    assert "groups          6" in printed


def test_groups_of_very_different_size_come_near_the_shares():
    # Expected 70, 15, 15. Largest first: 50 to train; 20 and 15 lower chi-squared most in the empty
    # lists, by 20 (20 - 30) / 15 and 15 (15 - 30) / 15; 10 and 5 would overfill these: 65, 20, 15.
    groups = [5, 50, 15, 10, 20]
    place = splits.apportion(np.array(groups)[:, None], (0.7, 0.15, 0.15), seed=0)
    train, *others = np.bincount(place, weights=groups)
    assert (train, sorted(others)) == (65, [15, 20])


def test_several_labels_are_shared_out_too():
    rng = np.random.default_rng(0)
    counts = (rng.random((2_000, 12)) < np.geomspace(0.01, 0.5, 12)).astype(int)
    counts = counts[counts.any(axis=1)]
    place = splits.apportion(counts, (0.7, 0.15, 0.15), seed=1)
    for s, share in enumerate((0.7, 0.15, 0.15)):
        got = counts[place == s].sum(axis=0)
        assert np.abs(got - share * counts.sum(axis=0)).max() <= 2


@pytest.mark.skipif(not DRUMS.is_dir(), reason="the real recordings (shared/real_audio) are missing")
def test_drum_kits_of_real_recordings_stay_in_one_fold(capsys, tmp_path):
    names = read_labels(DRUMS / "labels.csv")
    clips = read_clips(DRUMS / "train_1.json", DRUMS, names) + read_clips(DRUMS / "eval_1.json", DRUMS, names)
    rows = [
        f"{clip.path.relative_to(DRUMS)},{names.names[clip.classes[0]].split(',')[0]},{kit(clip.path)}"
        for clip in clips
    ]
    csv = tmp_path / "drums.csv"
    csv.write_text("\n".join(["path,label,kit", *rows]) + "\n")
    flags = ("-csv", csv, "-group", "kit", "-folds", "4", "-duplicates", "keep")
    lists, _ = prepared(capsys, tmp_path, DRUMS, *flags)
    groups = [{kit(Path(wav)) for wav in lists[f"eval_{k}"]} for k in range(1, 5)]
    assert sum(map(len, groups)) == len(set().union(*groups)) > 4
    assert sum(len(lists[f"eval_{k}"]) for k in range(1, 5)) == len(clips) == 737
    for k in range(1, 5):
        assert set(lists[f"train_{k}"].values()) == set(read_labels(tmp_path / "lists/labels.csv").mids)


def kit(path):
    """``wav/1-the-black-pearl-1-0-tom-x.flac`` -> its fold number and first word."""
    return "-".join(path.stem.split("-")[:2])


# ---------------------------------------------------------------------------------------- tables


def test_a_table_with_several_labels_a_clip_and_a_column_of_groups(capsys, tmp_path):
    rows = [f"site{i % 6}/{i}.wav,{label},site{i % 6}" for i, label in enumerate(["wren", "wren;tit"] * 12)]
    csv = table(tmp_path / "birds/birds.csv", *rows, header="path,label,site")
    lists, _ = prepared(capsys, tmp_path, csv.parent, "-csv", csv, "-group", "site")
    assert {mids for clips in lists.values() for mids in clips.values()} == {"/m/wren", "/m/tit,/m/wren"}
    sites = [{wav.split("/")[0] for wav in lists[name]} for name in ("train", "valid", "test")]
    assert sum(map(len, sites)) == len(set().union(*sites)) == 6


def test_labels_with_commas_in_quotes_are_several_where_a_flag_says_so(capsys, tmp_path):
    rows = [f'{i}.wav,"a, b"' for i in range(9)]
    csv = table(tmp_path / "own/own.csv", *rows)
    flags = ("-csv", csv, "-folds", "3", "-label_separator", ",")
    lists, printed = prepared(capsys, tmp_path, csv.parent, *flags)
    assert set(lists["train_1"].values()) == {"/m/a,/m/b"}
    assert [len(lists[f"eval_{k}"]) for k in (1, 2, 3)] == [3, 3, 3]
    assert "Note:" not in printed


def test_a_column_split_is_used_as_it_is(capsys, tmp_path):
    rows = [f"{i}.wav,kick,{split}" for i, split in enumerate(["test", "train", "valid", "train", "train"])]
    csv = table(tmp_path / "own/own.csv", *rows, header="path,label,split")
    lists, _ = prepared(capsys, tmp_path, csv.parent, "-csv", csv)
    assert {name: sorted(clips) for name, clips in lists.items()} == {
        "train": ["1.wav", "3.wav", "4.wav"],
        "valid": ["2.wav"],
        "test": ["0.wav"],
    }


def test_absolute_paths_inside_the_root_become_relative_and_others_stay(capsys, tmp_path):
    csv = table(tmp_path / "own/own.csv", "a.wav,kick,train", "b.wav,kick,valid", header="path,label,split")
    write_wav(tmp_path / "elsewhere/c.wav", 0.05, seed=9)
    text = csv.read_text().replace("a.wav", str(csv.parent / "a.wav"))
    csv.write_text(f"{text}../elsewhere/c.wav,kick,test\n")
    lists, _ = prepared(capsys, tmp_path, csv.parent, "-csv", csv)
    assert [*lists["train"], *lists["test"]] == ["a.wav", str(tmp_path / "elsewhere/c.wav")]
    read_clips(tmp_path / "lists/test.json", csv.parent, read_labels(tmp_path / "lists/labels.csv"))


@pytest.mark.parametrize(
    "row, expected",
    [
        ("./a/../0.wav,bell", "line 11: 0.wav is listed twice; several labels stand in one row, a;b, or"),
        ("9.wav,;", "1 of 10 labels are missing, 0 empty: ';' (row 11); -missing_labels drop"),
        ("9.wav,", "1 of 10 labels are missing, 1 empty: '' (row 11); -missing_labels drop"),
        (
            "9.wav,kick,snare",
            "line 11: has 3 values for 2 columns; a value that holds commas stands in quotes",
        ),
        ("9.wav,snare", "3 lists need at least 3 clips of a class; snare has 1"),
    ],
)
def test_a_row_that_errs_is_refused(capsys, tmp_path, row, expected):
    csv = table(tmp_path / "own/own.csv", *(f"{i}.wav,kick" for i in range(9)), row)
    assert expected in complaint(capsys, tmp_path, csv.parent, "-csv", csv)


def test_recordings_that_a_table_names_and_nobody_has_are_counted(capsys, tmp_path):
    csv = table(tmp_path / "own/own.csv", *(f"{i}.wav,kick" for i in range(6)))
    for i in range(4):
        (csv.parent / f"{i}.wav").unlink()
    error = complaint(capsys, tmp_path, csv.parent, "-csv", csv)
    assert f"{csv}: 4 of its 6 recordings are not in {csv.parent}: 0.wav, 1.wav, 2.wav and 1 more\n" in error


@pytest.mark.parametrize(
    "header, flags, expected",
    [
        (
            "where,what",
            (),
            "has no column path and no column label; its columns are where, what; name one by",
        ),
        ("path,label", ("-group", "kit"), "has no column kit; its columns are path, label"),
        ("path,label,split", (), "the column split holds 'left'; expected train, valid and test"),
    ],
)
def test_a_table_with_other_columns_is_refused(capsys, tmp_path, header, flags, expected):
    row = "0.wav,kick,left" if "split" in header else "0.wav,kick"
    csv = table(tmp_path / "own/own.csv", row, header=header)
    assert expected in complaint(capsys, tmp_path, csv.parent, "-csv", csv, *flags)


@pytest.mark.parametrize("flags", [("-folds", "2"), ("-split", "0.5,0.25,0.25")])
def test_a_column_split_excludes_another_split(capsys, tmp_path, flags):
    rows = [f"{i}.wav,kick,{split}" for i, split in enumerate(("train", "valid", "test"))]
    csv = table(tmp_path / "own/own.csv", *rows, header="path,label,split")
    error = complaint(capsys, tmp_path, csv.parent, "-csv", csv, *flags)
    assert f"has a split, which is used as it is; leave out {flags[0]}, or leave the split out by" in error


def test_a_split_that_parts_a_group_is_refused(capsys, tmp_path):
    rows = [f"{i}.wav,kick,{split},ann" for i, split in enumerate(("train", "valid", "test"))]
    csv = table(tmp_path / "own/own.csv", *rows, header="path,label,split,singer")
    error = complaint(capsys, tmp_path, csv.parent, "-csv", csv, "-group", "singer")
    assert "lists share groups, which must not leak between them: ann (test, train, valid)" in error


def test_a_split_without_a_class_in_training_or_without_a_list_is_refused(capsys, tmp_path):
    rows = ["0.wav,kick,train", "1.wav,kick,valid", "2.wav,snare,test"]
    csv = table(tmp_path / "own/own.csv", *rows, header="path,label,split")
    assert "train.json has no clip of snare" in complaint(capsys, tmp_path, csv.parent, "-csv", csv)
    csv.write_text("path,label,split\n0.wav,kick,train\n1.wav,snare,train\n")
    assert "the split has train alone" in complaint(capsys, tmp_path, csv.parent, "-csv", csv)


# ---------------------------------------------------------------------------------- what is refused


def test_the_same_content_in_two_lists_is_refused_or_kept_with_a_note(capsys, tmp_path):
    rows = ["0.wav,kick,train", "1.wav,kick,valid", "2.wav,kick,test"]
    csv = table(tmp_path / "own/own.csv", *rows, header="path,label,split")
    shutil.copy(csv.parent / "0.wav", csv.parent / "2.wav")
    error = complaint(capsys, tmp_path, csv.parent, "-csv", csv)
    assert "lists share recordings of the same content: 0.wav = 2.wav (test, train); delete" in error
    lists, printed = prepared(capsys, tmp_path, csv.parent, "-csv", csv, "-duplicates", "keep")
    assert "Note: lists share recordings of the same content: 0.wav = 2.wav (test, train).\n" in printed
    assert list(lists["test"]) == ["2.wav"]


def test_the_same_content_in_one_list_is_no_leak(capsys, tmp_path):
    rows = ["0.wav,kick,train", "1.wav,kick,valid", "2.wav,kick,test", "3.wav,kick,train"]
    csv = table(tmp_path / "own/own.csv", *rows, header="path,label,split")
    shutil.copy(csv.parent / "0.wav", csv.parent / "3.wav")
    lists, _ = prepared(capsys, tmp_path, csv.parent, "-csv", csv)
    assert list(lists["train"]) == ["0.wav", "3.wav"]


def test_the_same_content_with_two_labels_is_noted(capsys, tmp_path):
    rows = ["0.wav,kick,train", "1.wav,kick,valid", "2.wav,kick,test", "3.wav,snare,train"]
    csv = table(tmp_path / "own/own.csv", *rows, header="path,label,split")
    shutil.copy(csv.parent / "0.wav", csv.parent / "3.wav")
    _, printed = prepared(capsys, tmp_path, csv.parent, "-csv", csv)
    assert "Note: the same content has different labels: 0.wav = 3.wav.\n" in printed


def test_a_recording_that_cannot_be_opened_is_named_with_the_reason(capsys, tmp_path):
    root = class_folders(tmp_path / "drums", kick=5)
    (root / "kick/kick_3.wav").write_bytes(b"no audio at all")
    error = complaint(capsys, tmp_path, root)
    assert "1 of 5 recordings cannot be opened: kick/kick_3.wav (not readable as audio" in error


@pytest.mark.parametrize(
    "numbers, flags, expected",
    [
        ({"kick": 5, "snare": 2}, (), "3 lists need at least 3 clips of a class; snare has 2"),
        ({"kick": 5, "snare": 4}, ("-folds", "5"), "5 lists need at least 5 clips of a class; snare has 4"),
        (
            {"train": 5, "test": 4},
            (),
            "its folders test, train are parts of a split and hold no class folders with the",
        ),
        ({"kick": 5}, ("-group", "kit"), "-group 'kit' has 0 capturing groups; expected one"),
        ({"kick": 5}, ("-group", "(kit"), "-group '(kit' is no regular expression"),
        ({"kick": 5}, ("-group", "(kit)_"), "captures nothing in 5 of 5 paths: kick/kick_0.wav"),
        ({"kick": 5}, ("-group", "(kick)/"), "3 lists need at least 2 groups of a class; kick has 1"),
        ({"kick": 5}, ("-group", r"_(\d)", "-folds", "6"), "6 lists need at least 6 groups; found 5"),
        ({}, (), "holds no folder; expected one a class, or a table by -csv"),
        ({"kick": 5}, ("-folds", "5", "-split", "0.8,0.1,0.1"), "-folds and -split exclude each other"),
        ({"kick": 5}, ("-csv", "nowhere.csv"), "nowhere.csv: no such file; expected a CSV with the columns"),
    ],
)
def test_class_folders_that_make_no_lists_are_refused(capsys, tmp_path, numbers, flags, expected):
    root = class_folders(tmp_path / "drums", **numbers)
    root.mkdir(exist_ok=True)
    assert expected in complaint(capsys, tmp_path, root, *flags)


def test_a_class_folder_without_a_recording_is_refused(capsys, tmp_path):
    root = class_folders(tmp_path / "drums", kick=5)
    (root / "snare").mkdir()
    (root / "snare/a.txt").write_bytes(b"x")
    assert "of class snare" in complaint(capsys, tmp_path, root)


def test_a_file_whose_name_is_no_line_of_text_is_refused_and_not_printed(capsys, tmp_path):
    for i in range(6):
        write_wav(tmp_path / f"own/kick/{i}{chr(27) if i == 3 else ''}[2J.wav", 0.05, seed=i)
    assert prepare.main(["folder", str(tmp_path / "own"), "-out", str(tmp_path / "lists")]) == 1
    err = capsys.readouterr().err
    assert "'kick/3\\x1b[2J.wav' holds a control character; rename it" in err and err.count("\n") == 1
    assert not (tmp_path / "lists").exists()


@pytest.mark.parametrize("shares", ["0.7,0.3", "0.7,0.2,0.2", "1,0,0", "most"])
def test_shares_that_are_not_three_of_sum_one_are_refused(capsys, tmp_path, shares):
    with pytest.raises(SystemExit):
        prepare.main(["folder", str(tmp_path), "-split", shares])
    assert f"{shares!r} is not three shares above 0 of sum 1" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["esc50", "voxceleb", "preparation"])
def test_own_lists_do_not_go_where_others_are(capsys, tmp_path, monkeypatch, name):
    monkeypatch.setattr(prepare, "HERE", tmp_path / "data")
    root = class_folders(tmp_path / name, kick=5)
    status, _, error = run(capsys, "folder", root)
    assert status == 1 and not (tmp_path / "data").exists()
    assert f"data/{name} is not for lists of one's own; name a folder with -out" in error


def test_own_lists_go_to_a_folder_of_their_name(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "HERE", tmp_path / "data")
    root = class_folders(tmp_path / "drums", kick=5)
    status, printed, _ = run(capsys, "folder", root)
    assert status == 0 and (tmp_path / "data/drums/train.json").is_file()
    assert f" doctor {tmp_path / 'data/drums'} " in printed.splitlines()[-1]


def test_lists_of_another_kind_left_behind_are_pointed_out(capsys, tmp_path):
    root = class_folders(tmp_path / "drums", kick=6)
    run(capsys, "folder", root, "-out", tmp_path / "lists", "-folds", "2", "-stats")
    _, printed, _ = run(capsys, "folder", root, "-out", tmp_path / "lists")
    assert "also holds lists of an earlier set: eval_1.json, eval_2.json, train_1.json and 1 more." in printed
    assert "stats.json is of an earlier run; -stats computes it anew." in printed


def test_the_command_runs_from_anywhere(tmp_path):
    root = class_folders(tmp_path / "drums", kick=5)
    command = [sys.executable, ROOT / "data/prepare.py", "folder", "drums", "-out", "lists"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "lists/train.json").is_file()
    assert f" doctor {tmp_path / 'lists'} -path_data {root}\n" in done.stdout
