"""Finding C: lists with times of events and with clips of no class are read alike by every command."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

from ipet import __main__
from ipet.audio import ClipError, read_audio
from ipet.corruption import listed
from ipet.datasets import Clips, Cut
from ipet.diagnosis import Patient, read_lists
from ipet.excerpts import write_excerpt
from ipet.lists import check_disjoint, check_labelled, read_clips, read_labels
from ipet.segments import Segment, check_segments, read_source, source_name
from ipet.trials import read_clip_trials

from helpers import run_here, tiny, write_lists, write_wav

SHORT = ["-frame_length", 64, "-epoch", 1, "-batch_size", 4]


def write_clips(folder, name, *entries):
    """Write a list of entries: (path, labels) or (path, labels, start, end)."""
    data = [dict(zip(("wav", "labels", "start", "end"), entry)) for entry in entries]
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"data": data}))
    return path


@pytest.fixture
def folder(tmp_path):
    """A label table of the classes a and b, and three recordings of 2 s."""
    (tmp_path / "labels.csv").write_text("index,mid,display_name\n0,/m/a,a\n1,/m/b,b\n")
    for i in range(3):
        write_wav(tmp_path / f"{i}.wav", 2.0, seed=i)
    return tmp_path


def clips_of(folder, name):
    """The clips of a list."""
    return read_clips(folder / f"{name}.json", folder, read_labels(folder / "labels.csv"))


@pytest.mark.parametrize("rate", [16_000, 44_100, 8_000])
@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_segment_is_that_part_of_its_recording(tmp_path, rate, kind):  # C
    path = tmp_path / f"a.{kind}"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(2 * rate), rate)
    whole = read_audio(path)
    assert torch.equal(read_source(Segment(path, 0.5, 1.25)), whole[8_000:20_000])
    assert torch.equal(read_source(Segment(path, 1.5, float("inf"))), whole[24_000:])
    assert torch.equal(read_source(path), whole)


def test_training_reads_the_segment_and_the_empty_label(folder):  # C
    write_clips(folder, "train", ("0.wav", "/m/a", 0.5, 1.0), ("0.wav", "", 1.0, 1.5), ("1.wav", "/m/a,/m/b"))
    clips = Clips(clips_of(folder, "train"), read_labels(folder / "labels.csv"), Cut(32_000))
    waveform, target = clips.read(0)
    assert len(clips) == 3 and target.tolist() == [1.0, 0.0]
    assert torch.equal(waveform, read_audio(folder / "0.wav")[8_000:16_000])
    assert clips.lengths().tolist() == [8_000, 8_000, 32_000]
    assert clips.targets().tolist() == [[1, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (("0.wav", "/m/a", -1, 1), "'start' is -1; expected seconds of at least 0"),
        (("0.wav", "/m/a", "0", 1), "'start' is \"0\"; expected seconds"),
        (("0.wav", "/m/a", True, 1), "'start' is true; expected seconds"),
        (("0.wav", "/m/a", None, 1), "'start' is null; expected seconds"),
        (("0.wav", "/m/a", 1, 1), "ends at 1 s and starts at 1 s"),
        (("0.wav", "/m/a", float("nan"), 1), "'start' is NaN; expected seconds"),
        (("0.wav", "/m/a", 0, float("inf")), "'end' is Infinity; expected seconds"),
    ],
)
def test_times_that_are_none_are_refused_with_the_entry(folder, entry, said):  # C
    path = write_clips(folder, "train", ("1.wav", "/m/a"), entry)
    with pytest.raises(ValueError) as caught:
        clips_of(folder, "train")
    assert str(caught.value).startswith(f"{path}: clip 1") and said in str(caught.value)


def test_two_segments_of_a_recording_are_two_clips_and_one_twice_is_refused(folder):  # C
    write_clips(folder, "train", ("0.wav", "/m/a", 0, 1), ("0.wav", "/m/b", 1, 2))
    assert len(clips_of(folder, "train")) == 2
    write_clips(folder, "train", ("0.wav", "/m/a", 0, 1), ("0.wav", "/m/b", 0, 1))
    with pytest.raises(ValueError, match=r"clips 0 and 1 are both .*0\.wav \[0 to 1 s\]; expected each once"):
        clips_of(folder, "train")


def test_lists_may_share_a_recording_and_no_audio_of_it(folder):  # C
    write_clips(folder, "train", ("0.wav", "/m/a", 0, 1))
    write_clips(folder, "valid", ("0.wav", "/m/a", 1, 2))
    write_clips(folder, "test", ("0.wav", "/m/a", 0.9, 1.5))
    train, valid, test = (clips_of(folder, name) for name in ("train", "valid", "test"))
    check_disjoint(train, valid)
    for lists in ((train, test), (valid, test)):
        with pytest.raises(ValueError, match="are in both lists"):
            check_disjoint(*lists)


def test_a_segment_outside_its_recording_is_refused_before_training(folder):  # C
    write_clips(folder, "train", ("0.wav", "/m/a", 0, 2.05), ("1.wav", "/m/a", 1.5, 2.5))
    check_segments(clips_of(folder, "train")[:1])  # rounded
    with pytest.raises(ClipError, match=r"clip 1: .*1\.wav \[1\.5 to 2\.5 s\] is outside its recording of 2"):
        check_segments(clips_of(folder, "train"))
    for name in ("valid", "test"):
        shutil.copy(folder / "train.json", folder / f"{name}.json")
    lists = write_lists(folder / "lists", train=4, valid=4, test=4)
    path = lists / "train.json"
    content = json.loads(path.read_text())
    content["data"][2] |= {"start": 30.0, "end": 31.0}
    path.write_text(json.dumps(content))
    with pytest.raises(ClipError, match=r"clip 2: .*is outside its recording of 0\.50 s"):
        run_here("w2v_custom", *tiny(lists, folder / "runs", *SHORT))


def test_a_task_of_one_label_refuses_clips_of_no_class(folder):  # C
    write_clips(folder, "train", ("0.wav", "/m/a"), ("1.wav", ""))
    with pytest.raises(
        ValueError, match=r"clip 1 .* has no label, as 1 of 2 clips have none.*-classification_loss bce"
    ):
        check_labelled(clips_of(folder, "train"))


@pytest.mark.parametrize(
    ("name", "cached"), [("ast_custom", False), ("w2v_custom", False), ("w2v_custom", True)]
)
def test_segments_and_clips_of_no_class_are_trained_on_and_evaluated(tmp_path, name, cached):  # C
    lists = write_lists(tmp_path / "lists", train=9, valid=5, test=6)
    for of in ("train", "valid", "test"):
        path = lists / f"{of}.json"
        content = json.loads(path.read_text())
        for i, clip in enumerate(content["data"]):
            clip |= {"labels": ""} if i == 1 else {"start": 0.05, "end": 0.25} if i % 2 else {"end": 0.25}
        half = dict(content["data"][3], start=0.25, end=0.3)  # one more part of a recording
        content["data"].append(half)
        path.write_text(json.dumps(content))
    flags = ["-path_cache", tmp_path / "cache"] if cached else []
    folder = run_here(name, *tiny(lists, tmp_path / "runs", *SHORT, *flags))
    result = json.loads((folder / "seed_1234/result.json").read_text())
    assert result["metric"] == "mAP"
    predictions = np.load(folder / "seed_1234/predictions.npz")
    assert predictions["targets"].shape == (7, 4) and (predictions["targets"].sum(axis=1) == 0).sum() == 1


def test_a_page_of_a_run_names_and_cuts_segments(folder):  # C
    segment = Segment(folder / "0.wav", 0.5, 0.75)
    assert source_name(segment, folder) == "0.wav [0.5 to 0.75 s]"
    assert write_excerpt(folder / "excerpt.wav", segment) == 0.25
    assert soundfile.info(folder / "excerpt.wav").frames == 4_000


def test_noises_and_trials_are_whole_recordings(folder):  # C
    write_clips(folder, "noise", ("0.wav", "", 0, 1))
    with pytest.raises(
        ValueError, match=r"0\.wav \[0 to 1 s\] is a part of a recording, as 1 of 1 clips; noises"
    ):
        listed(folder, "noise", folder, "musan", "-path_musan")
    (folder / "trials.txt").write_text("1 0.wav 1.wav\n0 0.wav 2.wav\n")
    write_clips(folder, "test", ("0.wav", "/m/a", 0, 1), ("1.wav", "/m/a"), ("2.wav", "/m/b"))
    with pytest.raises(ValueError, match="is a part of a recording, as 1 of 3 clips; trials name whole"):
        read_clip_trials(folder / "trials.txt", clips_of(folder, "test"), folder)


# The doctor -----------------------------------------------------------------------------------------


def examined(capsys, folder):
    """The JSON of the doctor, and its findings by code."""
    __main__.main(["doctor", str(folder), "-json", "-"])
    content = json.loads(capsys.readouterr().out)
    return content, {finding["code"]: finding for finding in content["findings"]}


def test_the_doctor_examines_each_segment_by_itself(capsys, folder):  # C
    samples = soundfile.read(folder / "0.wav")[0]
    samples[16_000:] = 0
    soundfile.write(folder / "0.wav", samples, 16_000)
    write_clips(folder, "train", ("0.wav", "/m/a", 0, 1), ("0.wav", "", 1, 2), ("1.wav", "/m/b", 0, 0.5))
    write_clips(folder, "valid", ("2.wav", "/m/a", 0, 1), ("2.wav", "/m/b", 1.25, 2))
    content, found = examined(capsys, folder)
    assert content["lists"]["train"]["no_class"] == 1 and content["lists"]["train"]["hours"] == pytest.approx(
        2.5 / 3600
    )
    assert "0.wav [1 to 2 s]" in found["constant"]["examples"][0]
    __main__.main(["doctor", str(folder)])
    printed = capsys.readouterr().out
    assert "5 recordings and segments" in printed and "no class" in printed


def test_the_doctor_tells_segments_that_leak(capsys, folder):  # C
    write_clips(folder, "train", ("0.wav", "/m/a", 0, 1), ("1.wav", "/m/b", 0, 1))
    write_clips(folder, "valid", ("0.wav", "/m/a", 0.5, 1.5), ("1.wav", "/m/b", 1, 2))
    _, found = examined(capsys, folder)
    assert (
        len(found["segment_leakage"]["examples"]) == 1
        and "0.wav [0 to 1 s]" in found["segment_leakage"]["examples"][0]
    )
    assert "1.wav" in found["shared_recording"]["examples"][0]


@pytest.mark.parametrize(
    ("names", "code", "gravity"),
    [
        (("Dog", "dog"), "spelling", "check"),
        (("hi-hat", "hi hat"), "spelling", "check"),
        (("cat", "c\u0430t"), "spelling", "check"),
        (("d\u200bog", "cat"), "hidden_characters", "check"),
        (("nan", "cat"), "missing_label", "check"),
        (("['a', 'b']", "cat"), "textual_list", "check"),
        (("train", "val"), "split_as_class", "mend"),
        (("fold1", "fold2"), "split_as_class", "mend"),
    ],
)
def test_the_doctor_tells_names_that_are_no_classes(folder, names, code, gravity):  # C
    rows = [f'{i},/m/{"ab"[i]},"{name}"' for i, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["index,mid,display_name", *rows]) + "\n", encoding="utf-8")
    write_clips(folder, "train", ("0.wav", "/m/a"), ("1.wav", "/m/b"))
    patient = Patient(read_lists(folder, folder), {}, {})
    found = {finding.code: finding for finding in patient.of_names() if finding.examples}
    assert set(found) == {code} and found[code].gravity == gravity
