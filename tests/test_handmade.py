"""The baseline without a backbone."""

import json
import sys

import pytest

from pretraining import handmade

from helpers import write_lists


@pytest.fixture
def lists(tmp_path):
    """Four tones, each a class."""
    return write_lists(tmp_path, train_1=16, eval_1=8)


def test_four_tones_need_no_backbone(lists, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["handmade", str(lists), "train_1:eval_1", "eval_1:train_1"])
    handmade.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["train_1:eval_1", "eval_1:train_1", "mean"]
    assert all(float(row[1]) == 100 for row in rows)


def test_labels_of_other_tones_are_counted_as_wrong(lists):
    path = lists / "eval_1.json"
    clips = json.loads(path.read_text())["data"]
    for clip in clips[2:]:
        clip["labels"] = clips[0 if clip["labels"] != clips[0]["labels"] else 1]["labels"]
    path.write_text(json.dumps({"data": clips}))
    assert handmade.accuracy_of(lists, "train_1", "eval_1") == 2 / 8
