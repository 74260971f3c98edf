"""Commands account for their input, and say what they hear of it (findings A10, B13, C)."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from ipet.__main__ import main
from ipet.audio import decode, read_audio
from ipet.checkpoint import trainable_state
from ipet.diagnosis import is_cancelled
from ipet.examination import examine_decoded
from ipet.fingerprint import coarse_log_mel
from ipet.levels import SILENT_DB
from ipet.moments import plain_log_mel
from ipet.recording_reader import level_db
from ipet.saved import save_adapter

from helpers import write_wav
from saving import save_backbone, tuned_model

RATE = 16_000


def looked_at(path, samples, rate=RATE, **more):
    """Write [T] or [T, channels] samples, and examine the file."""
    soundfile.write(path, samples, rate, **more)
    return examine_decoded(path, decode(path), plain_log_mel(), coarse_log_mel())


def tone(seconds=1.0):
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * RATE)) / RATE)


# A10: level and phase ------------------------------------------------------------------------------


def test_channels_that_cancel_each_other_are_found(tmp_path):
    x = tone()
    assert is_cancelled(looked_at(tmp_path / "a.wav", np.stack([x, -x], axis=1)))
    assert is_cancelled(looked_at(tmp_path / "b.wav", np.stack([x, -0.95 * x], axis=1)))
    rng = np.random.default_rng(0)
    for samples in (
        x,
        np.stack([x, x], axis=1),
        np.stack([x, 0 * x], axis=1),
        0.1 * rng.standard_normal((RATE, 2)),
        np.stack([0 * x, -0 * x], axis=1),
    ):
        assert not is_cancelled(looked_at(tmp_path / "c.wav", samples))


def test_an_empty_channel_and_another_scale_are_measured_before_the_mean(tmp_path):
    x = tone()
    one = looked_at(tmp_path / "a.wav", np.stack([x, 0 * x], axis=1))
    assert one.levels.channels_db[0] == pytest.approx(-13.5, abs=0.1) and one.levels.channels_db[1] < -100
    integers = looked_at(tmp_path / "b.wav", 32_768 * x, subtype="FLOAT")
    assert integers.levels.peak > 9_000 and integers.clipped == 0
    clipped = looked_at(tmp_path / "c.wav", np.clip(9 * x, -1, 1))
    assert clipped.clipped > 0.3 and clipped.levels.peak <= 1


def test_silence_is_what_lies_below_60_db_or_is_constant(tmp_path):
    for samples, silent in ((tone(), False), (0.0005 * tone(), True), (0 * tone() + 0.5, True)):
        write = tmp_path / "a.wav"
        soundfile.write(write, samples, RATE, subtype="FLOAT")
        assert (level_db(read_audio(write)) < SILENT_DB) == silent


# Commands ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A saved adapter whose clips are 0.64 s long."""
    folder = tmp_path_factory.mktemp("adapter")
    save_backbone("ast", folder / "backbone")
    model, description = tuned_model(folder / "backbone", "ipet")
    save_adapter(folder / "last", trainable_state(model), description)
    return folder / "last"


def test_predict_and_embed_report_silence_damage_and_the_part_that_is_heard(adapter, tmp_path, capsys):
    x = tone(2.0)
    soundfile.write(tmp_path / "long.wav", x, RATE)
    soundfile.write(tmp_path / "opposed.wav", np.stack([x, -x], axis=1), RATE)
    (tmp_path / "damaged.wav").write_bytes(b"RIFF" * 99)
    (tmp_path / "notes.txt").write_text("a")
    report = tmp_path / "out" / "report.json"
    assert main(["predict", str(adapter), str(tmp_path), "-report", str(report)]) == 1
    err = capsys.readouterr().err
    assert "silent, below -60 dB of full scale, because its channels cancel" in err  # A10
    assert "2 recordings: longer than what the model is given; used of each: first 0.6" in err  # B13
    told = json.loads(report.read_text())
    assert told["supplied"]["recordings"] == 3 and told["used"]["recordings"] == 2
    [damaged] = [entry for entry in told["left_out"] if entry["kind"] == "recordings"]
    assert damaged["reason"].startswith("not readable as audio")
    [silent] = [entry for entry in told["doubts"] if entry["reason"].startswith("silent")]
    assert [item.endswith("opposed.wav") for item in silent["items"]] == [True]
    flags = ["-out", str(tmp_path / "out/e.npz"), "-report", str(report)]
    assert main(["embed", str(adapter), str(tmp_path / "long.wav"), *flags]) == 0
    assert json.loads(report.read_text())["used"] == {"recordings": 1}


def test_a_folder_is_accounted_for(tmp_path, monkeypatch, capsys):
    """C: of ten files of five kinds each is used or counted with its reason."""
    from ipet.audio_formats import scan_recordings
    from ipet.input_report import InputReport

    monkeypatch.setattr("ipet.audio_formats.has_fallback", lambda: False)
    for name in ("a.wav", "b.WAV", "sub/c.wav"):
        write_wav(tmp_path / name, 0.1)
    for name in ("d.m4a", "e.txt", "f.raw", ".hidden.wav"):
        shutil.copy(tmp_path / "a.wav", tmp_path / name)
    report = InputReport("predict")
    found = scan_recordings([tmp_path], report)
    assert [path.name for path in found] == ["a.wav", "b.WAV", "c.wav"]
    told = report.as_dict()
    assert sum(told["supplied"].values()) == 7
    assert {entry["reason"].partition(":")[0] for entry in told["left_out"]} >= {"hidden"}
    assert json.dumps(told)
    assert main(["predict", str(tmp_path / "nowhere"), str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "d.m4a" in err and "ffmpeg" in err and "f.raw" in err and "e.txt" in err
