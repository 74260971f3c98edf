"""The lists that data/prepare.py writes, and what it refuses to write."""

import csv
import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from helpers import load_script

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "data" / "prepare.py"
HEADER = "filename,fold,target,category,esc10,src_file,take"
WORDS = ("bed", "right", "zero")


prepare = load_script(SCRIPT, "prepare_lists")


def write_wav(path, num_samples=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * num_samples))


def esc50(root, rows):
    """An ESC-50 folder of (filename, fold, target, category); filenames are fold-source-take-..."""
    lines = [HEADER]
    for filename, fold, target, category in rows:
        write_wav(root / "audio" / filename)
        _, source, take, _ = filename.split("-")
        lines.append(f"{filename},{fold},{target},{category},False,{source},{take}")
    write_table(root, "\n".join(lines) + "\n")
    return root


def write_table(root, text):
    (root / "meta").mkdir(parents=True, exist_ok=True)
    (root / "meta" / "esc50.csv").write_text(text)


def table_of(root):
    return (root / "meta" / "esc50.csv").read_text()


DOG_AND_RAIN = [
    ("2-20-A-0.wav", 2, 0, "dog"),
    ("1-10-A-0.wav", 1, 0, "dog"),
    ("2-21-A-10.wav", 2, 10, "rain"),
    ("1-11-A-10.wav", 1, 10, "rain"),
]


def speech_commands(root):
    """Three words of three clips: of each, one to train, one to validate, one to test."""
    for word in WORDS:
        for i in range(3):
            write_wav(root / word / f"a{i}_nohash_0.wav")
    write_wav(root / "_background_noise_" / "white_noise.wav")
    (root / "validation_list.txt").write_text("".join(f"{w}/a1_nohash_0.wav\n" for w in WORDS))
    (root / "testing_list.txt").write_text("".join(f"{w}/a2_nohash_0.wav\n" for w in WORDS))
    return root


def append(path, line):
    with open(path, "a") as file:
        file.write(line + "\n")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run(capsys, *argv):
    """Exit status, what was printed and what was complained about."""
    status = prepare.main([str(argument) for argument in argv])
    return status, *capsys.readouterr()


def complaint(capsys, tmp_path, name, root):
    """The one line of a refusal, after which nothing has been written."""
    out = tmp_path / "lists"
    status, printed, error = run(capsys, name, root, "-out", out)
    assert status == 1
    assert printed == ""
    assert not out.exists()
    assert error.endswith("\n") and error.count("\n") == 1, error
    return error


# ----------------------------------------------------------------------------------------- ESC-50


def test_each_fold_is_evaluated_once_and_trained_on_by_the_others(tmp_path):
    rows = [(f"{k}-{k}{t}-A-{t}.wav", k, t, name) for k in (1, 2, 3) for t, name in enumerate("ab")]
    lists = prepare.prepare_esc50(esc50(tmp_path, rows))
    assert list(lists.clips) == ["train_1", "eval_1", "train_2", "eval_2", "train_3", "eval_3"]
    for k in (1, 2, 3):
        train, evaluation = set(lists.clips[f"train_{k}"]), set(lists.clips[f"eval_{k}"])
        assert {clip.wav[6] for clip in evaluation} == {str(k)}
        assert train.isdisjoint(evaluation)
        assert len(train | evaluation) == 6


def test_esc50_lists_and_labels_are_written_as_the_experiments_read_them(tmp_path, capsys):
    root, out = esc50(tmp_path / "root", DOG_AND_RAIN), tmp_path / "lists"
    status, _, error = run(capsys, "esc50", root, "-out", out)
    assert (status, error) == (0, "")
    assert sorted(contents(out)) == [
        "eval_1.json",
        "eval_2.json",
        "labels.csv",
        "train_1.json",
        "train_2.json",
    ]
    fold_1 = [
        {"wav": "audio/1-10-A-0.wav", "labels": "/m/07rwj00"},
        {"wav": "audio/1-11-A-10.wav", "labels": "/m/07rwj10"},
    ]
    fold_2 = [
        {"wav": "audio/2-20-A-0.wav", "labels": "/m/07rwj00"},
        {"wav": "audio/2-21-A-10.wav", "labels": "/m/07rwj10"},
    ]
    for name, clips in {
        "train_1": fold_2,
        "eval_1": fold_1,
        "train_2": fold_1,
        "eval_2": fold_2,
    }.items():
        assert json.loads((out / f"{name}.json").read_text()) == {"data": clips}
    # Indices count the classes that are there; the mid keeps the official number.
    assert (out / "labels.csv").read_bytes() == (
        b"index,mid,display_name\n0,/m/07rwj00,dog\n1,/m/07rwj10,rain\n"
    )


def test_a_set_of_the_official_size_is_said_to_be_so(tmp_path, capsys):
    rows = [
        (f"{fold}-{fold}{target:02d}{i}-A-{target}.wav", fold, target, f"class_{target}")
        for fold in range(1, 6)
        for target in range(50)
        for i in range(8)
    ]
    # 2,000 names of one file: opening them is not what is tested.
    root = tmp_path / "root"
    esc50(root, rows[:1])
    for filename, *_ in rows[1:]:
        os.link(root / "audio" / rows[0][0], root / "audio" / filename)
    lines = [f"{name},{fold},{target},{category}" for name, fold, target, category in rows]
    write_table(root, "filename,fold,target,category\n" + "\n".join(lines))
    status, printed, _ = run(capsys, "esc50", root, "-out", tmp_path / "lists")
    assert status == 0
    assert "All counts are those of the official release." in printed
    assert "differs" not in printed
    data = json.loads((tmp_path / "lists" / "train_5.json").read_text())["data"]
    assert len(data) == 1600
    with open(tmp_path / "lists" / "labels.csv") as file:
        mids = [row["mid"] for row in csv.DictReader(file)]
    assert mids == [f"/m/07rwj{target:02d}" for target in range(50)]


def test_a_smaller_set_is_prepared_and_its_difference_is_said(tmp_path, capsys):
    root = esc50(tmp_path / "root", DOG_AND_RAIN)
    _, printed, _ = run(capsys, "esc50", root, "-out", tmp_path / "lists")
    assert "classes         2        50  differs" in printed
    assert "fold 1          2       400  differs" in printed
    assert "fold 5          0       400  differs" in printed
    assert "The counts differ from the official release." in printed


def test_the_last_line_is_the_next_command(tmp_path, capsys, monkeypatch):
    root, out = esc50(tmp_path / "my sounds", DOG_AND_RAIN), tmp_path / "lists"
    monkeypatch.chdir(ROOT)
    _, printed, _ = run(capsys, "esc50", root, "-out", out)
    assert printed.splitlines()[-1].strip() == (
        f"cd ast_esc50 && python3 main.py -name first -path_data '{root}' -path_list {out}"
    )


def test_the_default_folder_needs_no_path_list(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prepare, "HERE", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    esc50(tmp_path / "sounds", DOG_AND_RAIN)
    _, printed, _ = run(capsys, "esc50", "sounds")  # relative here, absolute after the cd
    assert (tmp_path / "data" / "esc50" / "labels.csv").is_file()
    assert printed.splitlines()[-1].strip() == (
        f"cd ast_esc50 && python3 main.py -name first -path_data {tmp_path / 'sounds'}"
    )


def test_a_second_run_writes_the_same_bytes_whatever_the_order_of_the_table(tmp_path, capsys):
    out = tmp_path / "lists"
    run(capsys, "esc50", esc50(tmp_path / "root", DOG_AND_RAIN), "-out", out)
    first = contents(out)
    run(capsys, "esc50", esc50(tmp_path / "root", DOG_AND_RAIN[::-1]), "-out", out)
    assert contents(out) == first


def test_a_refused_set_leaves_the_lists_of_an_earlier_run_alone(tmp_path, capsys):
    root, out = esc50(tmp_path / "root", DOG_AND_RAIN), tmp_path / "lists"
    run(capsys, "esc50", root, "-out", out)
    first = contents(out)
    (root / "audio" / "1-10-A-0.wav").unlink()
    assert run(capsys, "esc50", root, "-out", out)[0] == 1
    assert contents(out) == first


def test_a_write_that_fails_replaces_nothing_and_leaves_no_temporary_file(tmp_path, monkeypatch):
    prepare.write_files(tmp_path, {"labels.csv": "old", "train.json": "old"})
    calls = []

    def full_disk(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepare.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        prepare.write_files(tmp_path, {"labels.csv": "new", "train.json": "new"})
    assert contents(tmp_path) == {"labels.csv": b"old", "train.json": b"old"}


def test_lists_left_by_a_larger_set_are_pointed_out(tmp_path, capsys):
    root, out = esc50(tmp_path / "root", DOG_AND_RAIN), tmp_path / "lists"
    out.mkdir()
    (out / "train_5.json").write_text("{}")
    (out / "unrelated_thing.json").write_text("{}")
    _, printed, _ = run(capsys, "esc50", root, "-out", out)
    assert f"Note: {out} also holds lists of an earlier set: train_5.json.\n" in printed


def test_a_recording_cut_into_two_folds_is_pointed_out(tmp_path, capsys):
    rows = [*DOG_AND_RAIN, ("2-10-B-0.wav", 2, 0, "dog")]  # 1-10-A-0.wav lies in fold 1
    root = esc50(tmp_path / "root", rows)
    _, printed, _ = run(capsys, "esc50", root, "-out", tmp_path / "lists")
    assert "Note: one recording (src_file) has clips in several folds" in printed
    assert "what is evaluated: 10.\n" in printed


def test_a_class_absent_from_a_fold_is_pointed_out(tmp_path, capsys):
    rows = [*DOG_AND_RAIN, ("3-30-A-0.wav", 3, 0, "dog")]
    root = esc50(tmp_path / "root", rows)
    _, printed, _ = run(capsys, "esc50", root, "-out", tmp_path / "lists")
    assert "Note: eval_3.json has no clip of rain.\n" in printed


def test_a_root_that_is_not_there_is_refused(tmp_path, capsys):
    error = complaint(capsys, tmp_path, "esc50", tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere'}: does not exist; expected the root of ESC-50" in error


def test_a_root_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "master.zip").write_bytes(b"PK")
    error = complaint(capsys, tmp_path, "esc50", tmp_path / "master.zip")
    assert "master.zip: is not a folder" in error


@pytest.mark.parametrize("given", ["", "root/audio"])
def test_a_neighbour_of_the_root_is_refused_with_the_root_as_a_hint(tmp_path, capsys, given):
    root = esc50(tmp_path / "root", DOG_AND_RAIN)
    error = complaint(capsys, tmp_path, "esc50", tmp_path / given)
    assert "has no meta/esc50.csv and no audio/" in error
    assert "which holds meta/esc50.csv and audio/" in error
    assert error.endswith(f"did you mean {root}?\n")


def test_a_missing_column_is_named_with_its_file(tmp_path, capsys):
    root = esc50(tmp_path / "root", DOG_AND_RAIN)
    write_table(root, table_of(root).replace("fold", "split"))
    error = complaint(capsys, tmp_path, "esc50", root)
    assert f"{root}/meta/esc50.csv: has no column fold; its first line is 'filename,split" in error


def test_an_empty_table_is_refused(tmp_path, capsys):
    root = esc50(tmp_path / "root", [])
    (root / "audio").mkdir()
    assert "meta/esc50.csv: lists no clip" in complaint(capsys, tmp_path, "esc50", root)


def test_clips_that_are_not_on_disk_are_counted_and_named(tmp_path, capsys):
    rows = [(f"{k}-{k}{i}-A-0.wav", k, 0, "dog") for k in (1, 2) for i in range(4)]
    root = esc50(tmp_path / "root", rows)
    for i in range(4):
        (root / "audio" / f"2-2{i}-A-0.wav").unlink()
    assert (
        f"{root}/meta/esc50.csv: 4 of its 8 clips are not in {root}: audio/2-20-A-0.wav, "
        "audio/2-21-A-0.wav, audio/2-22-A-0.wav and 1 more\n"
    ) in complaint(capsys, tmp_path, "esc50", root)


@pytest.mark.parametrize("empty", ["no bytes", "a header alone"])
def test_an_empty_clip_is_refused(tmp_path, capsys, empty):
    root = esc50(tmp_path / "root", DOG_AND_RAIN)
    clip = root / "audio" / "1-10-A-0.wav"
    clip.write_bytes(b"")
    if empty == "a header alone":
        write_wav(clip, num_samples=0)
    error = complaint(capsys, tmp_path, "esc50", root)
    assert error.endswith("1 of its 4 clips are empty files: audio/1-10-A-0.wav\n")


@pytest.mark.parametrize(
    "line, expected",
    [
        ("9-9-A-0.wav,2,0,hound", "target 0 is called 'hound' here and 'dog' above"),
        ("9-9-A-0.wav,2,7,dog", "'dog' has 2 targets, 0, 7"),
        ("1-10-A-0.wav,2,0,dog", "line 6: 1-10-A-0.wav is listed twice"),
        ("9-9-A-0.wav,two,0,dog", "line 6: fold is 'two'; expected a whole number"),
        ("9-9-A-0.wav,2,-1,dog", "line 6: target is '-1'; expected a whole number"),
        ("9-9-A-0.wav,2", "line 6: has no target and no category"),
        ("../9-9-A-0.wav,2,0,dog", "line 6: filename '../9-9-A-0.wav' is a path"),
        ("9-9-A-7.wav,2,7,cow", "train_2.json has no clip of cow"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(tmp_path, capsys, line, expected):
    root = esc50(tmp_path / "root", DOG_AND_RAIN)
    write_wav(root / "audio" / line.split(",")[0])
    append(root / "meta" / "esc50.csv", line)
    assert expected in complaint(capsys, tmp_path, "esc50", root)


def test_one_fold_alone_is_refused(tmp_path, capsys):
    rows = [("1-10-A-0.wav", 1, 0, "dog"), ("1-11-A-0.wav", 1, 0, "dog")]
    root = esc50(tmp_path / "root", rows)
    assert "found 1 fold; cross-validation needs at least 2" in complaint(capsys, tmp_path, "esc50", root)


def test_a_table_that_is_not_text_is_refused(tmp_path, capsys):
    root = esc50(tmp_path / "root", DOG_AND_RAIN)
    (root / "meta" / "esc50.csv").write_bytes(b"filename,fold\xff\xfe\n")
    assert "meta/esc50.csv: is not UTF-8 text" in complaint(capsys, tmp_path, "esc50", root)


@pytest.mark.parametrize("mark, name", [(";", "';'"), ("\t", "tabs")])
def test_a_table_separated_by_other_marks_is_refused_with_a_hint(tmp_path, capsys, mark, name):
    root = esc50(tmp_path / "root", DOG_AND_RAIN)
    write_table(root, table_of(root).replace(",", mark))
    error = complaint(capsys, tmp_path, "esc50", root)
    assert error.endswith(f"; is it separated by {name}? expected ','\n")


def test_a_row_with_more_values_than_columns_is_refused(tmp_path, capsys):
    root = esc50(tmp_path / "root", DOG_AND_RAIN)
    write_table(root, table_of(root).replace("dog,False", "dog, barking,False", 1))
    error = complaint(capsys, tmp_path, "esc50", root)
    assert "meta/esc50.csv, line 2: has 8 values for 7 columns; a value that holds commas" in error


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path):
    root = esc50(tmp_path, DOG_AND_RAIN)
    text = table_of(root).replace("\n", "\r\n")
    (root / "meta" / "esc50.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert len(prepare.prepare_esc50(root).clips["train_1"]) == 2


# -------------------------------------------------------------------------------- Speech Commands


def test_speech_commands_trains_on_what_is_in_neither_list(tmp_path, capsys):
    root, out = speech_commands(tmp_path / "root"), tmp_path / "lists"
    status, printed, error = run(capsys, "speech_commands", root, "-out", out)
    assert (status, error) == (0, "")
    assert sorted(contents(out)) == ["labels.csv", "test.json", "train.json", "valid.json"]
    for i, name in enumerate(("train", "valid", "test")):
        assert json.loads((out / f"{name}.json").read_text()) == {
            "data": [
                {"wav": f"bed/a{i}_nohash_0.wav", "labels": "/m/spcmd00"},
                {"wav": f"right/a{i}_nohash_0.wav", "labels": "/m/spcmd01"},
                {"wav": f"zero/a{i}_nohash_0.wav", "labels": "/m/spcmd02"},
            ]
        }
    assert (out / "labels.csv").read_text().splitlines() == [
        "index,mid,display_name",
        "0,/m/spcmd00,bed",
        "1,/m/spcmd01,right",
        "2,/m/spcmd02,zero",
    ]
    assert "words         3        35  differs" in printed
    assert "train         3    84,843  differs" in printed
    assert "valid         3     9,981  differs" in printed
    assert "test          3    11,005  differs" in printed
    assert "cd " in printed.splitlines()[-1] and "w2v_speechcommands &&" in printed.splitlines()[-1]


def test_the_official_speech_commands_splits_add_up(tmp_path):
    table = prepare.prepare_speech_commands(speech_commands(tmp_path)).table
    official = {row.name: row.official for row in table}
    assert official["train"] + official["valid"] + official["test"] == official["clips"] == 105_829


def test_a_second_run_of_speech_commands_writes_the_same_bytes(tmp_path, capsys):
    root, out = speech_commands(tmp_path / "root"), tmp_path / "lists"
    run(capsys, "speech_commands", root, "-out", out)
    first = contents(out)
    listed = root / "testing_list.txt"
    listed.write_text("\n".join(listed.read_text().split()[::-1]))
    run(capsys, "speech_commands", root, "-out", out)
    assert contents(out) == first


def test_lists_do_not_depend_on_the_order_of_the_disk(tmp_path, monkeypatch):
    root = speech_commands(tmp_path)
    before = prepare.prepare_speech_commands(root).files()
    module = sys.modules["preparation.speech_commands"]
    clip_bytes = module.clip_bytes
    monkeypatch.setattr(module, "clip_bytes", lambda *where: dict(reversed(clip_bytes(*where).items())))
    assert prepare.prepare_speech_commands(root).files() == before


def test_what_is_no_clip_of_a_word_is_left_out(tmp_path):
    root = speech_commands(tmp_path)
    write_wav(root / "bed" / "._a0_nohash_0.wav")
    (root / "bed" / "notes.txt").write_text("x")
    write_wav(root / ".cache" / "a.wav")
    lists = prepare.prepare_speech_commands(root)
    assert [label.display_name for label in lists.labels] == list(WORDS)
    assert [clip.wav for clip in lists.clips["train"]] == [f"{w}/a0_nohash_0.wav" for w in WORDS]


def test_a_folder_without_the_official_lists_is_refused(tmp_path, capsys):
    root = speech_commands(tmp_path / "root")
    (root / "testing_list.txt").unlink()
    error = complaint(capsys, tmp_path, "speech_commands", root)
    assert f"{root}: has no testing_list.txt; expected the root of Speech Commands" in error


@pytest.mark.parametrize(
    "name, line, expected",
    [
        ("testing_list.txt", "bed/a1_nohash_0.wav", "is also in validation_list.txt"),
        ("testing_list.txt", "bed/a2_nohash_0.wav", "is listed twice"),
        ("validation_list.txt", "bed/a1_nohash_0.wav", "is listed twice"),
        ("testing_list.txt", "cow/a0_nohash_0.wav", "is of the unknown word 'cow'"),
        ("testing_list.txt", "a0_nohash_0.wav", "expected WORD/FILE.wav"),
        ("testing_list.txt", "bed/b7_nohash_0.wav", "1 of its 4 clips are not in"),
    ],
)
def test_a_list_that_leaks_or_errs_is_refused(tmp_path, capsys, name, line, expected):
    root = speech_commands(tmp_path / "root")
    append(root / name, line)
    error = complaint(capsys, tmp_path, "speech_commands", root)
    assert str(root / name) in error
    assert line in error
    assert expected in error


def test_a_word_without_training_clips_is_refused(tmp_path, capsys):
    root = speech_commands(tmp_path / "root")
    (root / "bed" / "a0_nohash_0.wav").unlink()
    (root / "dog").mkdir()
    error = complaint(capsys, tmp_path, "speech_commands", root)
    assert error.endswith("train.json has no clip of bed, dog\n")


def test_an_empty_official_list_is_refused(tmp_path, capsys):
    root = speech_commands(tmp_path / "root")
    (root / "validation_list.txt").write_text("\n")
    assert "valid.json would be empty" in complaint(capsys, tmp_path, "speech_commands", root)


def test_an_empty_training_clip_is_refused(tmp_path, capsys):
    root = speech_commands(tmp_path / "root")
    (root / "zero" / "a0_nohash_0.wav").write_bytes(b"")
    error = complaint(capsys, tmp_path, "speech_commands", root)
    assert error.endswith("1 of its 9 clips are empty files: zero/a0_nohash_0.wav\n")


# -------------------------------------------------------------------------------- the command line


def test_out_that_is_a_file_is_refused(tmp_path, capsys):
    root = esc50(tmp_path / "root", DOG_AND_RAIN)
    (tmp_path / "lists").write_text("mine")
    status, _, error = run(capsys, "esc50", root, "-out", tmp_path / "lists")
    assert (status, error) == (
        1,
        f"prepare.py esc50: {tmp_path / 'lists'}: is a file; the lists need a folder\n",
    )
    assert (tmp_path / "lists").read_text() == "mine"


def test_an_unknown_dataset_is_refused_with_the_known_ones(tmp_path, capsys):
    with pytest.raises(SystemExit):
        prepare.main(["esc5", str(tmp_path)])
    error = capsys.readouterr().err
    assert all(name in error for name in prepare.DATASETS)


def test_a_flag_of_another_dataset_is_refused_with_its_name(tmp_path, capsys):
    with pytest.raises(SystemExit):
        prepare.main(["esc50", str(tmp_path), "-seed", "1"])
    assert capsys.readouterr().err.startswith("error: -seed is for gtzan and folder, not for esc50")


def test_a_misspelt_flag_is_refused_with_the_right_one(tmp_path, capsys):
    with pytest.raises(SystemExit):
        prepare.main(["folder", str(tmp_path), "-fold", "5"])
    assert "did you mean '-folds'?" in capsys.readouterr().err


def test_help_shows_an_example():
    shown = subprocess.run([sys.executable, SCRIPT, "-h"], capture_output=True, text=True, check=True)
    assert "python3 data/prepare.py esc50 ~/ESC-50-master" in shown.stdout


def test_a_mistake_on_the_command_line_shows_one_line_and_no_traceback(tmp_path):
    command = [sys.executable, SCRIPT, "speech_commands", tmp_path / "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"prepare.py speech_commands: {tmp_path / 'nowhere'}: does not exist")
    assert done.stderr.count("\n") == 1
