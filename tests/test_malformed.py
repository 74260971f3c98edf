"""Broken, odd and hostile inputs through the real entry points: one line on what is wrong, or a result.

The table is tests/malformed.py; ``python3 -m tests.test_malformed`` prints it as docs/bad_input.md.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # helpers, where this file is run as a module

from ipet.__main__ import main
from ipet.audio import ClipError
from ipet.beginning import build_chosen, check, choose_cells
from ipet.checkpoint import trainable_state
from ipet.saved import save_adapter

from helpers import ROOT, experiment, load_script, rows, run_here, tiny, write_lists, write_wav
from malformed import (
    ADAPTERS,
    ARGUMENTS,
    LISTS,
    OWN,
    RECORDINGS,
    TABLES,
    TRIALS,
    WEIGHTS,
    document,
    matches,
)
from saving import save_backbone, tuned_model

prepare = load_script(ROOT / "data" / "prepare.py", "prepare_malformed_script")
AST = ["-frame_length", 64, "-fold", 1, "-batch_size", 4, "-epoch", 1]
REFUSED = [row for row in RECORDINGS if not row.outcome.startswith("fine")]
FINE = [row for row in RECORDINGS if row.outcome.startswith("fine")]


def each(table):
    """A test for each row of a table."""
    return pytest.mark.parametrize("row", table, ids=lambda row: row.name)


def assert_says(row, message):
    """The message is one line that can be shown, and says what the row says."""
    assert message.isprintable() and "Traceback" not in message, message
    assert matches(row.outcome, message), message


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Sound lists: a fold of 13 clips and 4, and trials."""
    folder = write_lists(tmp_path_factory.mktemp("sound") / "lists", train_1=13, eval_1=4, train=4, test=4)
    (folder / "trials.txt").write_text("1 a/b/c d/e/f\n0 a/b/c g/h/i\n")
    return folder


@pytest.fixture
def lists(sound, tmp_path):
    """A copy to be broken."""
    return Path(shutil.copytree(sound, tmp_path / "lists"))


@pytest.fixture(autouse=True)
def root_reads_no_locked_file(monkeypatch):
    """The system lets root read every file; to the tests it is as to everybody else."""
    if os.geteuid() == 0:
        monkeypatch.setattr("ipet.files.os.access", lambda path, *_, **__: os.stat(path).st_mode & 0o444 > 0)


def read(name, lists, runs, *more):
    """What a training reads before its first step; its datasets, and the recordings that it leaves out.

    That is: the command line, the lists, every header.
    """
    with experiment(name) as load:
        args = load("arguments").get_args([str(flag) for flag in tiny(lists, runs, *AST[:2], *more)])
        build = load("dataset").build_datasets
        cells = choose_cells(args, args.path_run / "run")
        lock, bad = check(args, args.path_run / "run", cells, build)
        lock.release()
        return build_chosen(build, bad, args, cells[0]), bad


def put(row, lists):
    """Make a row's recording, the training list's clip 3; returns its path."""
    (lists / "wav/train_1_3.wav").unlink()
    path = lists / row.file
    row.make(path)
    content = json.loads((lists / "train_1.json").read_text())
    content["data"][3]["wav"] = row.file
    (lists / "train_1.json").write_text(json.dumps(content))
    return path


def clip_error(row, lists, tmp_path):
    """What is said of a row's recording, at the moment that the row tells."""
    if row.when == "before training":
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            read("ast_esc50", lists, tmp_path, "-fold", 1)
    else:
        datasets, _ = read("ast_esc50", lists, tmp_path, "-fold", 1)
        with pytest.raises(ClipError) as caught:
            datasets.train[1, 3]
    return str(caught.value)


@each(REFUSED)
def test_a_recording_that_cannot_be_used_is_one_line_that_names_list_clip_and_file(row, lists, tmp_path):
    path = put(row, lists)
    message = clip_error(row, lists, tmp_path / "runs")
    assert_says(row, message)
    assert message.startswith(f"{lists}/train_1.json: clip 3: {path}"[:230])


@each(REFUSED)
def test_a_recording_that_cannot_be_used_is_skipped_counted_and_listed(row, lists, tmp_path, capsys):
    path = put(row, lists)
    datasets, bad = read("ast_esc50", lists, tmp_path, "-fold", 1, "-on_bad_audio", "skip")
    assert bad == {path}
    [(named, said)] = json.loads((tmp_path / "run/skipped_clips.json").read_text()).items()
    assert named == str(path)
    assert_says(row, said)
    assert [clip.path.name for clip in datasets.train.clips] == [
        f"train_1_{i}.wav" for i in range(13) if i != 3
    ]
    assert "note: 1 recordings cannot be used and are left out" in capsys.readouterr().out


@each(FINE)
def test_an_odd_recording_is_read_as_it_is(row, lists, tmp_path):
    put(row, lists)
    datasets, _ = read("ast_esc50", lists, tmp_path, "-fold", 1)
    waveform, _ = datasets.train.read(3)
    assert row.outcome == f"fine: {len(waveform):,} sample{'s' * (len(waveform) > 1)}"
    assert waveform.isfinite().all()
    assert len(datasets.train.cut(waveform)) == min(len(waveform), 63 * 160 + 400)  # 64 frames


@each(LISTS)
def test_a_list_is_read_or_refused_in_one_line_before_training(row, lists, tmp_path):
    row.make(lists)
    if row.outcome.startswith("fine"):
        datasets, _ = read("ast_esc50", lists, tmp_path, "-fold", 1)
        assert row.outcome == f"fine: {len(datasets.train)} clips"
        return
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read("ast_esc50", lists, tmp_path / "runs", "-fold", 1)
    assert_says(row, str(caught.value))
    assert str(caught.value).startswith(f"{lists}") and not (tmp_path / "runs/run").exists()


@each(OWN)
def test_a_table_or_a_folder_is_read_or_refused_or_warned_of(row, tmp_path, capsys):
    root, out = tmp_path / "own", tmp_path / "lists"
    root.mkdir()
    row.make(root)
    flags = [] if row.name.startswith("folders") else ["-csv", str(root / "own.csv")]
    status = prepare.main(["folder", str(root), "-out", str(out), *flags])
    printed, error = capsys.readouterr()
    if row.outcome.startswith("fine"):
        assert (status, error) == (0, "")
        assert ["clips", row.outcome.split()[1]] in [line.split() for line in printed.splitlines()]
        return
    assert status == (0 if row.outcome.startswith("warning") else 1)
    assert_says(row, error.removesuffix("\n"))
    assert out.exists() == (status == 0)


@each(TRIALS)
def test_trials_are_read_or_refused_in_one_line_before_training(row, lists, tmp_path):
    row.make(lists)
    if row.outcome.startswith("fine"):
        datasets, _ = read("ast_voxceleb", lists, tmp_path)
        assert row.outcome == f"fine: {len(datasets.trials.targets)} trials"
        return
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read("ast_voxceleb", lists, tmp_path)
    assert_says(row, str(caught.value))


@each(ARGUMENTS)
def test_a_command_line_is_refused_in_one_line(row, lists, tmp_path, capsys):
    fold = [] if "-fold" in row.make else ["-fold", 1]
    with pytest.raises((SystemExit, ValueError, FileNotFoundError)) as caught:
        read("ast_esc50", lists, tmp_path, *fold, *row.make)
    message = str(caught.value)
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 2
        message = capsys.readouterr().err.removesuffix("\n").removeprefix("error: ")
    assert_says(row, message)


# Adapters -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A folder with a backbone and an adapter of it."""
    folder = tmp_path_factory.mktemp("tuned")
    save_backbone("ast", folder / "backbone")
    model, description = tuned_model(folder / "backbone", "ipet")
    save_adapter(folder / "adapter", trainable_state(model), description)
    return folder


@each(ADAPTERS)
def test_an_adapter_is_refused_in_one_line(row, tuned, tmp_path, capsys):
    folder = Path(shutil.copytree(tuned / "adapter", tmp_path / "adapter"))
    row.make(folder)
    recording = tuned / "backbone/config.json"  # any file: it is not read
    assert main(["predict", str(folder), str(recording)]) == 1
    message = capsys.readouterr().err.removesuffix("\n")
    assert message.startswith("error: ")
    assert_says(row, message)
    assert not (folder / "TRAPPED").exists()


@each(WEIGHTS)
def test_weights_are_refused_in_one_line(row, tmp_path):
    row.make(tmp_path)
    flags = tiny(tmp_path, tmp_path, *AST, "-pretrained", tmp_path / "weights.pth")
    with experiment("ast_esc50") as load, pytest.raises(ValueError) as caught:
        load("model").build_model(load("arguments").get_args([str(flag) for flag in flags]), 4)
    assert_says(row, str(caught.value))
    assert not (tmp_path / "TRAPPED").exists()


def test_predict_tells_of_every_recording_and_hears_the_others(tuned, tmp_path, capsys):
    folder, heard, told = tmp_path / "heard", [], {}
    for i, row in enumerate(RECORDINGS):
        path = folder / f"{i:02d}" / Path(row.file).name[-200:]
        path.parent.mkdir(parents=True)
        if row.name != "an hour of silence":
            row.make(path)
        if path.is_file():  # a folder is looked through for recordings
            told |= {} if row in FINE else {path: row}
            heard += [path] if row in FINE else []
    paths = [str(path) for path in [*heard, *told]]
    assert main(["predict", str(tuned / "adapter"), *paths, "-top", "1", "-jsonl", "-"]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["path"] for line in out.splitlines()] == list(map(str, heard))
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == len(told) > 20 and len(heard) > 10
    for line, (path, row) in zip(lines, told.items()):
        assert line.startswith(f"error: {path}: ")
        assert_says(row, line)


def test_a_training_leaves_out_all_of_them_and_goes_on_in_the_same_order(tmp_path, capsys):
    """The losses are those of lists that never held them."""
    lists = write_lists(tmp_path / "lists", train_1=13, eval_1=4)
    content = json.loads((lists / "train_1.json").read_text())["data"]
    whole = [{"wav": f"wav/{i}.wav", "labels": f"/m/0{i % 4}"} for i in range(10 * len(REFUSED))]
    for i, clip in enumerate(whole):
        write_wav(lists / clip["wav"], 0.05, seed=i)
    mixed = [*content, *whole]
    for i, row in enumerate(REFUSED):
        path = lists / "bad" / f"{i}{Path(row.file).suffix}"
        path.parent.mkdir(exist_ok=True)
        row.make(path)
        mixed.insert(7 * i, {"wav": str(path.relative_to(lists)), "labels": "/m/01"})
    losses = []
    for name, clips in (("mixed", mixed), ("sound", [*content, *whole])):
        (lists / "train_1.json").write_text(json.dumps({"data": clips}))
        flags = tiny(lists, tmp_path, *AST, "-on_bad_audio", "skip", "-batch_size", 64)
        folder = run_here("ast_esc50", *flags, "-name", name)
        losses.append(rows(folder / "seed_1234/fold_1", "step"))
    assert losses[0] == losses[1] and len(losses[0]) == -(-len([*content, *whole]) // 64)
    skipped = json.loads((tmp_path / "IPET/t/ast_esc50/mixed/skipped_clips.json").read_text())
    assert len(skipped) == len(REFUSED)
    assert f"note: {len(REFUSED)} recordings cannot be used" in capsys.readouterr().out


# The table --------------------------------------------------------------------------------------------


def test_the_document_is_the_table():
    path = Path(__file__).resolve().parents[1] / "docs/bad_input.md"
    assert path.read_text() == document(), "python3 -m tests.test_malformed > docs/bad_input.md"


def test_an_outcome_matches_its_own_parts_in_their_order_alone():
    assert matches("truncated ... bytes", "a.wav: truncated, of 3 bytes")
    assert not matches("bytes ... truncated", "a.wav: truncated, of 3 bytes")
    assert not matches("truncated", "a.wav: whole")


def test_no_input_is_in_the_table_twice():
    for table, _ in TABLES.values():
        assert len({row.name for row in table}) == len(table)


if __name__ == "__main__":
    print(document(), end="")
