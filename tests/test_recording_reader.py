"""predict, embed and verify account for every recording: used, left out, silent, or used in part."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
import torch

from ipet import commands
from ipet.__main__ import main
from ipet.checkpoint import read_json
from ipet.datasets import Cut
from ipet.features import Waveform
from ipet.heads import Classifier
from ipet.inference import TunedModel
from ipet.recording_reader import used_part

RATE = 16_000
NOISE = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE)
LABELS = {"labels": [{"name": "quiet"}, {"name": "loud"}], "loss": "cce"}
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


class Loudness(torch.nn.Module):
    """[B, N] samples -> [B, 2] logits."""

    width = 2

    def forward(self, x):
        loud = x.square().mean(dim=1)
        return torch.stack([-loud, loud], dim=1)


def model_of(seconds=1, crop="centre", num_segments=1):
    """Return a model of clips of some seconds that tells how loud they are."""
    front_end = Waveform(100 * seconds, num_segments=num_segments)
    cut = Cut(RATE * seconds, crop, repeat=True, whole=num_segments > 1)
    return TunedModel(Classifier(front_end, Loudness(), torch.nn.Linear(2, 2)).eval(), cut, LABELS)


@pytest.fixture
def model(monkeypatch):
    """The model that every command loads."""
    found = model_of()
    monkeypatch.setattr("ipet.inference.load", lambda *args, **flags: found)
    return found


@pytest.fixture
def folder(tmp_path):
    """Return a folder of four recordings that can be heard, and of six other files."""
    top = tmp_path / "mixed"
    (top / "inside").mkdir(parents=True)
    for name in ("a.wav", "b.aiff", "inside/c.w64", "d.au"):
        soundfile.write(top / name, NOISE[:RATE], RATE)
    soundfile.write(top / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(top / "inverted.wav", np.stack([NOISE[:RATE], -NOISE[:RATE]], axis=1), RATE)
    (top / "broken.flac").write_bytes(b"no audio")
    (top / "samples.raw").write_bytes(bytes(1000))
    (top / "notes.txt").write_text("notes")
    (top / "._a.wav").write_bytes(bytes(100))
    return top


def check_report(report):
    """Assert that a report accounts for the files of ``folder``."""
    assert report["supplied"]["recordings"] == 8 and report["used"]["recordings"] == 6
    reasons = {entry["examples"][0].rpartition("/")[2]: entry["reason"] for entry in report["left_out"]}
    assert reasons["broken.flac"].startswith("not readable as audio")
    assert reasons["samples.raw"] == ".raw has no header that states its format"
    assert reasons["notes.txt"] == "not audio by their suffix"
    assert reasons["._a.wav"].startswith("hidden")
    doubts = {entry["items"][0].rpartition("/")[2]: entry["reason"] for entry in report["doubts"]}
    assert doubts["silent.wav"] == "silent, below -60 dB of full scale; the answer says nothing"
    assert "because its channels cancel each other out" in doubts["inverted.wav"]


def test_predict_accounts_for_every_file_of_a_folder(model, folder, tmp_path, capsys):  # C, A10
    told, rows = tmp_path / "told.json", tmp_path / "heard.csv"
    assert main(["predict", "A", str(folder), "-csv", str(rows), "-report", str(told)]) == 1
    check_report(read_json(told))
    error = capsys.readouterr().err
    assert "mixed: 1 of 8 recordings left out: they cannot be used" in error
    assert "mixed: 1 of 8 recordings left out: .raw has no header" in error
    assert "mixed: 1 of 1 other files left out: not audio by their suffix" in error
    assert len({line.split(",")[0] for line in rows.read_text().splitlines()[1:]}) == 6
    assert main(["predict", "A", str(folder), "-csv", str(rows), "-report", "-"]) == 1  # goes on
    report = json.loads(capsys.readouterr().out)
    assert report["supplied"]["recordings"] == 8
    assert (
        sum(entry["count"] for entry in report["left_out"] if entry["reason"].startswith("already in")) == 5
    )


def test_embed_accounts_for_every_file_of_a_folder(model, folder, tmp_path):  # C, A10
    told, out = tmp_path / "told.json", tmp_path / "e.npz"
    assert main(["embed", "A", str(folder), "-out", str(out), "-report", str(told)]) == 1
    check_report(read_json(told))
    assert len(np.load(out)["paths"]) == 6


@pytest.mark.parametrize("kind", ["-timeline", "-events"])
def test_a_timeline_of_silence_is_flagged(model, folder, tmp_path, kind, capsys):  # A10
    told = tmp_path / "told.json"
    assert main(["predict", "A", str(folder), kind, "-jsonl", "-", "-report", str(told)]) == 1
    check_report(read_json(told))
    paths = {json.loads(line)["path"] for line in capsys.readouterr().out.splitlines()}
    assert len(paths) == 6


def test_verify_flags_silence(model, folder, tmp_path, capsys):  # A10
    assert main(["verify", "A", str(folder / "a.wav"), str(folder / "inverted.wav")]) == 0
    assert "channels cancel each other out" in capsys.readouterr().err
    (tmp_path / "trials.txt").write_text("1 a.wav b.aiff\n0 a.wav silent.wav\n")
    command = ["verify", "A", "-trials", str(tmp_path / "trials.txt"), "-path_data", str(folder)]
    assert main([*command, "-json", str(tmp_path / "told.json")]) == 0
    report = read_json(tmp_path / "told.json")["input"]
    assert report["used"] == {"trials": 2, "recordings": 3}
    assert [doubt["reason"].partition(";")[0] for doubt in report["doubts"]] == [
        "silent, below -60 dB of full scale"
    ]


def test_channels_that_nearly_cancel_and_samples_out_of_scale_are_flagged(model, tmp_path, capsys):  # A10
    x = NOISE[:RATE]
    soundfile.write(tmp_path / "phase.wav", np.stack([x, -0.95 * x], axis=1), RATE)
    soundfile.write(tmp_path / "integers.wav", 32_768 * x, RATE, "FLOAT")
    assert main(["predict", "A", str(tmp_path)]) == 0
    error = capsys.readouterr().err
    assert "1 recordings: channels that cancel each other out in their mean" in error and "phase.wav" in error
    assert "1 recordings: samples far outside [-1, 1]" in error and "integers.wav" in error


@pytest.mark.parametrize(
    "crop, num_segments, name, spans",
    [
        ("first", 1, "first 1.00 s", [[0, 1]]),
        ("centre", 1, "middle 1.00 s", [[1, 2]]),
        ("centre", 2, "2 evenly spaced segments of 1.00 s", [[0, 1], [2, 3]]),
    ],
)
def test_predict_of_a_long_file_says_what_part_was_used(  # B13
    monkeypatch, tmp_path, capsys, crop, num_segments, name, spans
):
    monkeypatch.setattr("ipet.inference.load", lambda *args: model_of(1, crop, num_segments))
    path = tmp_path / "long.wav"
    soundfile.write(path, NOISE, RATE)
    assert main(["predict", "A", str(path)]) == 0
    out, error = capsys.readouterr()
    assert out.startswith(f"{path} ({name} of 3.00 s)\n")
    assert f"used of each: {name} ({path}); -timeline and -events use all of it" in error
    assert main(["predict", "A", str(path), "-jsonl", "-"]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[0])
    assert row["seconds"] == 3 and row["used"] == spans
    soundfile.write(path, NOISE[:RATE], RATE)
    assert main(["predict", "A", str(path)]) == 0
    out, error = capsys.readouterr()
    assert out.startswith(f"{path}\n") and error == ""


def test_a_long_file_whose_used_part_is_silent_is_flagged(model, tmp_path, capsys):  # A10
    soundfile.write(tmp_path / "a.wav", NOISE * (np.arange(3 * RATE) < RATE), RATE)
    assert main(["predict", "A", str(tmp_path / "a.wav")]) == 0
    assert "silent in the part that is used" in capsys.readouterr().err


@pytest.mark.parametrize("num_samples", [RATE // 2, RATE, RATE + 160])
def test_a_recording_that_is_used_whole_has_no_part(num_samples):
    model = model_of()
    assert used_part(num_samples, model.cut, model.model.front_end) is None


def test_segments_that_cover_a_recording_leave_nothing_unused():
    model = model_of(1, "centre", 3)
    assert used_part(3 * RATE, model.cut, model.model.front_end) is None
    assert used_part(4 * RATE, model.cut, model.model.front_end).spans[-1] == (3, 4)


@needs_ffmpeg
def test_predict_and_embed_read_an_m4a_of_a_folder(model, tmp_path):  # C
    soundfile.write(tmp_path / "in.wav", NOISE[:RATE], RATE)
    (tmp_path / "set").mkdir()
    made = ["ffmpeg", "-v", "error", "-i", tmp_path / "in.wav", "-c:a", "aac", tmp_path / "set/a.m4a"]
    subprocess.run(made, check=True)
    assert commands.predict(model_of(), [tmp_path / "set"], csv_file=tmp_path / "heard.csv") == 0
    assert "a.m4a" in (tmp_path / "heard.csv").read_text()
    assert commands.embed(model_of(), [tmp_path / "set"], tmp_path / "e.npz") == 0
