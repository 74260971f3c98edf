"""Digests of lists: what changes them, what does not, and runs whose lists were changed (A3)."""

import json
import shutil
from pathlib import Path

import pytest

from ipet.beginning import read_lists
from ipet.folds import count_folds, next_fold
from ipet.list_digests import VERSION, clips_sha256, hashed_names, is_current
from ipet.lists import Clip
from ipet.passport import list_files
from ipet.splits import Cell
from ipet.study import lists_sha256

from helpers import parts_of, run_here, tiny, write_lists


def digest(*names, classes=(0,)):
    clips = [Clip(Path(name), classes, "here", name) for name in names]
    return clips_sha256(clips, hashed_names(names))


def test_clips_of_equal_file_names_in_other_folders_have_another_digest():
    assert digest("s1/a0.wav", "s1/a1.wav") != digest("s3/a0.wav", "s3/a1.wav")
    assert digest("/data/s1/a0.wav", "/data/s2/b0.wav") != digest("/data/s3/a0.wav", "/data/s2/b0.wav")


def test_order_and_classes_of_clips_change_the_digest():
    assert digest("a.wav", "b.wav") != digest("b.wav", "a.wav")
    assert digest("a.wav") != digest("a.wav", classes=(1,))


def test_absolute_paths_are_hashed_below_the_folder_that_they_share():
    assert digest("/one/x/a.wav", "/one/y/b.wav") == digest("/two/deep/x/a.wav", "/two/deep/y/b.wav")
    assert digest("./x//a.wav") == digest("x/a.wav")


def test_swapped_lists_of_equal_file_names_have_another_digest(tmp_path):
    write_lists(tmp_path, train=4, test=4)
    for name in ("train", "test"):
        data = [{"wav": f"{name}/{i}.wav", "labels": f"/m/0{i}"} for i in range(4)]
        (tmp_path / f"{name}.json").write_text(json.dumps({"data": data}))
    before = lists_sha256(tmp_path)
    swap(tmp_path, "train", "test")
    assert lists_sha256(tmp_path) != before and is_current(before)


def swap(folder, one, other):
    """Exchange two lists."""
    texts = [(folder / f"{name}.json").read_text() for name in (one, other)]
    for name, text in zip((other, one), texts):
        (folder / f"{name}.json").write_text(text)


SHORT = ("-frame_length", 40, "-epoch", 1, "-batch_size", 4, "-test_every_epoch", "False")


@pytest.fixture
def begun(tmp_path):
    """Lists whose clips have the same file names in each list's folder, and the flags of a finished run."""
    lists = write_lists(tmp_path / "lists", train=4, valid=4, test=4)
    for name in ("train", "valid", "test"):
        (lists / name).mkdir()
        data = json.loads((lists / f"{name}.json").read_text())["data"]
        for i, entry in enumerate(data):
            shutil.move(lists / entry["wav"], lists / f"{name}/{i}.wav")
            entry["wav"] = f"{name}/{i}.wav"
        (lists / f"{name}.json").write_text(json.dumps({"data": data}))
    flags = tiny(lists, tmp_path / "runs", *SHORT)
    return lists, flags, run_here("w2v_speechcommands", *flags, "-seed", 1)


def test_a_further_seed_after_train_and_test_were_swapped_is_refused(begun):
    lists, flags, _ = begun
    swap(lists, "train", "test")
    with pytest.raises(ValueError, match="the lists, their labels or trials are others"):
        run_here("w2v_speechcommands", *flags, "-seed", 1, 2, "-resume")


def test_a_digest_of_an_earlier_version_is_told_from_changed_lists(begun):
    _, flags, folder = begun
    record = folder / "arguments.json"
    arguments = json.loads(record.read_text())
    assert arguments["lists_sha256"].startswith(VERSION)
    record.write_text(json.dumps(arguments | {"lists_sha256": 64 * "0"}))
    with pytest.raises(ValueError, match=r"of an earlier version, .*choose another -name"):
        run_here("w2v_speechcommands", *flags, "-seed", 1, 2, "-resume")


def test_nested_folds_fewer_than_there_are_hash_and_record_the_list_that_is_held_out(tmp_path):
    folds = {f"{name}_{k}": 4 for k in range(1, 6) for name in ("train", "eval")}
    lists = write_lists(tmp_path / "lists", **folds)
    files = list_files({"path_list": str(lists), "fold": 3}, ["seed_1/fold_3_nested"])
    assert list(files) == ["labels.csv", "train_3.json", "eval_3.json", "eval_4.json"]
    found = []
    for labels in ("/m/00", "/m/01"):
        (lists / "eval_4.json").write_text(
            json.dumps({"data": [{"wav": "wav/eval_4_0.wav", "labels": labels}]})
        )
        with parts_of("ast_esc50", tiny(lists, tmp_path / "runs", "-fold", 3)) as (args, (build, *_)):
            found.append(read_lists(args, [Cell(1, fold) for fold in (1, 2, 3)], build)[2].hexdigest())
    assert found[0] != found[1]


def test_a_stray_list_is_no_fold(tmp_path):  # B13
    for name in ("eval_1", "eval_2", "eval_3", "eval_1_old", "eval_12_copy", "eval_5"):
        (tmp_path / f"{name}.json").write_text("{}")
    assert count_folds(tmp_path) == 3
    assert [next_fold(tmp_path, fold, 3) for fold in (1, 2, 3)] == [2, 3, 1]
