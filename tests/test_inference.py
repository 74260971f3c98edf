"""A saved adapter in use: the same answers as in evaluation, long recordings, commands on many files."""

import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import ipet
from ipet import commands, inference
from ipet.__main__ import main
from ipet.audio import ClipError, read_audio, stream_audio
from ipet.backbones.audio_spectrogram_transformer import build_ast, save_backbone
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.backbones.wav2vec2 import save_backbone as save_wav2vec2
from ipet.checkpoint import read_json, write_json
from ipet.datasets import Cut
from ipet.features import Waveform
from ipet.heads import Classifier
from ipet.inference import TunedModel, Window, side_by_side, windows

from helpers import ROOT, load_script, long, run_here, tiny, write_lists, write_wav
from releases import make_voxceleb1

CASES = {  # experiment, flags
    "ast": ("ast_esc50", ["-frame_length", 64, "-fold", 1, "-freqm", 4]),
    "ast, segments": ("ast_gtzan", ["-frame_length", 32, "-fold", 1, "-nb_seg", 3]),
    "w2v": ("w2v_speechcommands", ["-frame_length", 40]),
    "w2v, segments": ("w2v_gtzan", ["-frame_length", 40, "-fold", 1, "-nb_seg", 2]),
    "w2v, several labels": ("w2v_fsd50k", ["-frame_length", 40, "-classification_loss", "bce"]),
    "ast, own lengths": (
        "ast_esc50",
        ["-frame_length", 64, "-fold", 1, "-freqm", 4, "-timem", 8, "-variable_length"],
    ),
    "w2v, own lengths": ("w2v_speechcommands", ["-frame_length", 60, "-variable_length"]),
    "ast, LoRA": ("ast_esc50", ["-frame_length", 64, "-fold", 1, "-method", "lora"]),
    "w2v, fine-tuned": ("w2v_speechcommands", ["-frame_length", 40, "-method", "finetune"]),
    "ast, input prompt": (
        "ast_esc50",
        ["-frame_length", 64, "-fold", 1, "-method", "input_prompt", "-border", 3],
    ),
}


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbones")
    torch.manual_seed(0)
    save_backbone(build_ast(64, size="tiny"), folder / "ast")
    save_wav2vec2(build_wav2vec2("tiny"), folder / "w2v")
    return folder


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("lists"), train_1=8, eval_1=6, train=8, valid=4, test=6)


def train(case, backbones, lists, runs):
    """The cell's folder of a run of one epoch, and the list that it reports."""
    name, flags = CASES[case]
    flags = [*flags, "-epoch", 1, "-batch_size", 4, "-lr", "1e-2", "-pretrained", backbones / case[:3]]
    folder = run_here(name, *tiny(lists, runs, *flags), "-size", "tiny")
    [cell] = folder.glob("seed_1234/fold_1" if "-fold" in flags else "seed_1234")
    return cell, "eval_1" if "-fold" in flags else "test"


@pytest.fixture(scope="module")
def trained(backbones, lists, tmp_path_factory):
    """An AST adapter, and wav2vec 2.0's."""
    return {
        case: train(case, backbones, lists, tmp_path_factory.mktemp("runs"))[0] / "last"
        for case in ("ast", "w2v")
    }


@pytest.mark.parametrize("case", CASES)
def test_a_loaded_adapter_answers_as_it_did_in_evaluation(case, backbones, lists, tmp_path):
    cell, name = train(case, backbones, lists, tmp_path)
    kept = np.load(cell / "predictions.npz")["scores"]
    model = ipet.load(cell / ("best" if name == "test" else "last"))
    paths = [lists / clip["wav"] for clip in json.loads((lists / f"{name}.json").read_text())["data"]]
    got = np.stack(list(model.probabilities(paths)))
    want = torch.from_numpy(kept) / model.temperature  # also of several segments: one rule (A5)
    want = want.sigmoid() if model.several else want.softmax(dim=-1)
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-4, atol=1e-6)
    assert model.model.front_end.variable_length == ("own lengths" in case)
    assert model.window_cut.repeat == (case.startswith("w2v") and "own lengths" not in case)
    assert (model.temperature == 1) == (name != "test")  # fitted where there is a validation list
    assert model.several == ("several" in case or not np.allclose(got.sum(axis=1), 1, atol=1e-4))
    ranked = model.predict(paths[0], top=2)
    assert [label.name for label in ranked] == [model.labels[i] for i in np.argsort(-got[0])[:2]]
    assert ranked[0].probability == pytest.approx(got[0].max(), rel=1e-4)


def test_samples_in_memory_are_heard_like_their_file(trained, lists):
    model = ipet.load(trained["ast"])
    path = lists / "wav/train_1_0.wav"
    waveform = read_audio(path)
    for audio in (waveform, waveform.numpy(), waveform.numpy().astype(np.float64)):
        for got, want in zip(model.predict(audio), model.predict(path), strict=True):
            assert got.name == want.name and got.probability == pytest.approx(want.probability)
        assert np.allclose(model.embed(audio), model.embed(path), atol=1e-5)
    assert model.embed(path).shape == (48,)
    for wrong in (np.zeros((2, 100)), np.zeros(0), np.array([0.0, np.nan])):
        with pytest.raises(
            ValueError, match=r"an array of shape .* expected \[T\] finite samples at 16000 Hz"
        ):
            model.predict(wrong)


# Several tasks on one backbone ------------------------------------------------------------------------


def memory_of(model):
    return {p.data_ptr() for p in model.model.backbone.parameters()}


@pytest.mark.parametrize("case", ["ast", "w2v"])
def test_a_sibling_is_another_task_on_the_same_weights(case, trained, backbones, lists, tmp_path):
    name, flags = CASES[case]
    methods = ["-method", "prompt"], ["-method", "lora"], ["-method", "bitfit"], ["-method", "finetune"]
    path = lists / "wav/train_1_0.wav"
    first = ipet.load(trained[case])
    before = first.predict(path)
    for number, method in enumerate(methods):
        runs = tmp_path / str(number)
        own = [*flags, *method, "-epoch", 1, "-batch_size", 4, "-lr", "1e-2", "-pretrained", backbones / case]
        run_here(name, *tiny(lists, runs, *own), "-size", "tiny")
        [folder] = runs.rglob("last")
        sibling = first.sibling(folder)
        assert sibling.predict(path) == ipet.load(folder).predict(path)
        assert first.predict(path) == before
        shared = memory_of(first) & memory_of(sibling)
        assert len(shared) == 0 if method[1] == "finetune" else len(shared) > 9
    with pytest.raises(ValueError, match="the model's backbone is fine-tuned: no other task has the same"):
        ipet.load(folder).sibling(trained[case])
    again = sibling.sibling(trained[case])  # a fine-tuned sibling has not touched what they share
    assert again.predict(path) == before and memory_of(again) & memory_of(first)


def test_a_sibling_of_another_backbone_is_refused(trained):
    with pytest.raises(
        ValueError, match=r"adapter_config.json: its backbone has kind 'wav2vec2', the loaded one 'ast'"
    ):
        ipet.load(trained["ast"]).sibling(trained["w2v"])


# Another backbone, another version --------------------------------------------------------------------


def change(folder, tmp_path, **values):
    """A copy of an adapter with another description."""
    other = tmp_path / "changed"
    other.mkdir()
    (other / "adapter_model.safetensors").write_bytes((folder / "adapter_model.safetensors").read_bytes())
    write_json(other / "adapter_config.json", read_json(folder / "adapter_config.json") | values)
    return other


def test_another_backbone_is_refused_with_the_reason(trained, tmp_path):
    torch.manual_seed(1)
    save_backbone(build_ast(64, size="tiny"), tmp_path / "other")
    with pytest.raises(ValueError, match=r"trained on the backbone with SHA-256 \w+\.\.\., this one has"):
        ipet.load(trained["ast"], pretrained=str(tmp_path / "other"))


def test_a_backbone_that_has_moved_is_named_anew(trained, backbones, tmp_path):
    settings = read_json(trained["w2v"] / "adapter_config.json")["backbone"] | {
        "pretrained": str(tmp_path / "gone")
    }
    folder = change(trained["w2v"], tmp_path, backbone=settings)
    with pytest.raises(FileNotFoundError, match="gone"):
        ipet.load(folder)
    assert ipet.load(folder, pretrained=str(backbones / "w2v")).labels == ipet.load(trained["w2v"]).labels


def test_random_weights_cannot_be_had_again(trained, tmp_path):
    settings = read_json(trained["w2v"] / "adapter_config.json")["backbone"] | {"pretrained": "random"}
    with pytest.raises(ValueError, match="its backbone had random weights, which are not kept"):
        ipet.load(change(trained["w2v"], tmp_path, backbone=settings))


LABEL = {"mid": "/m/a", "name": "a"}


@pytest.mark.parametrize(
    "part, values, said",
    [
        (
            "front_end",
            {"teeth": 3},
            r"adapter_config\.json: does not describe an adapter of this version .*teeth",
        ),
        ("tuning", {"method": "magic"}, r"adapter_config\.json: the method is 'magic'; accepted: "),
        (
            "tuning",
            {"teeth": 3},
            r"adapter_config\.json: does not describe an adapter of this version .*teeth",
        ),
        ("tuning", {"bottleneck": 16_000}, r"adapter_model\.safetensors: adapters\.0\.[\w.]+ has shape"),
        ("tuning", {"num_prompts": 10_000}, r"adapter_model\.safetensors: prompts\.0 has shape \[1, 4, 48\]"),
        ("tuning", {"method": "prompt"}, r"adapter_model\.safetensors: none missing, 8 .* unexpected"),
        ("labels", [LABEL] * 100_000, r"adapter_model\.safetensors: head\.fc.* has shape"),
        ("front_end", {"window_ms": 0.01}, r"adapter_config\.json: a window of 0\.01 ms"),
        (
            "backbone",
            {"num_frames": 360_000},
            r"adapter_config\.json: .* has 431,988 patches; expected at most",
        ),
        (
            "backbone",
            {"kind": "cochlea"},
            r"adapter_config\.json: the backbone's kind is 'cochlea'; accepted",
        ),
    ],
)
def test_a_description_that_does_not_fit_is_refused_before_anything_of_its_size_is_made(
    trained, tmp_path, part, values, said
):
    before = read_json(trained["ast"] / "adapter_config.json")[part]
    folder = change(trained["ast"], tmp_path, **{part: before | values if part != "labels" else values})
    with pytest.raises(ValueError, match=said) as caught:
        ipet.load(folder)
    assert "\n" not in str(caught.value)


# Long recordings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16_000, 44_100, 8_000])
@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0])
def test_a_stream_is_the_whole_recording(tmp_path, rate, seconds):
    write_wav(tmp_path / "a.wav", 1.0, rate=rate)
    blocks = list(stream_audio(tmp_path / "a.wav", seconds))
    np.testing.assert_allclose(torch.cat(blocks).numpy(), read_audio(tmp_path / "a.wav").numpy(), atol=1e-5)
    assert len(blocks) > 1 or seconds == 1


def test_a_stream_of_a_broken_recording_ends_with_the_reason(tmp_path):
    samples = np.zeros(16_000, np.float32)
    samples[12_000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(ClipError, match="holds NaN or infinite samples"):
        list(stream_audio(tmp_path / "a.wav", 0.1))


@pytest.mark.parametrize("length", [1, 7, 10, 13, 20, 23, 40])
@pytest.mark.parametrize("block", [1, 4, 50])
def test_windows_cover_every_sample(length, block):
    stream = torch.arange(float(length)).split(block)
    found = list(windows(stream, size=10, step=4))
    assert all(torch.equal(w, torch.arange(float(length))[s : s + len(w)]) for s, w in found)
    assert [start for start, _ in found] == list(range(0, 4 * len(found), 4))
    assert all(len(w) == 10 for _, w in found[:-1])
    assert found[-1][0] + len(found[-1][1]) == length


@pytest.mark.parametrize("case", ["ast", "w2v"])
def test_a_window_is_heard_like_a_clip_of_its_own(trained, tmp_path, case):
    model = ipet.load(trained[case])
    write_wav(tmp_path / "long.wav", 3.0, seed=2)
    waveform = read_audio(tmp_path / "long.wav")
    timeline = list(model.timeline(tmp_path / "long.wav", hop=0.25))
    assert timeline[0].start == 0 and timeline[-1].end == pytest.approx(3.0, abs=1e-4)
    assert np.diff([window.start for window in timeline]) == pytest.approx(0.25)
    for window in (timeline[0], timeline[3], timeline[-1]):
        part = waveform[round(window.start * 16_000) : round(window.end * 16_000)]
        [alone] = model.probabilities([part])
        np.testing.assert_allclose(window.probabilities, alone, rtol=1e-3, atol=1e-5)
    for hop in (0, 0.7):
        with pytest.raises(ValueError, match=f"windows {hop} s apart; expected more than 0 and at most 0"):
            next(model.timeline(tmp_path / "long.wav", hop=hop))


def test_events_join_windows_in_a_row(trained):
    model = ipet.load(trained["ast"])
    rows = [[0.7, 0.2, 0.1, 0.0], [0.8, 0.1, 0.1, 0.0], [0.1, 0.6, 0.2, 0.1], [0.9, 0.05, 0.05, 0.0]]
    timeline = [Window(i / 2, i / 2 + 1, np.array(row)) for i, row in enumerate(rows)]
    assert model.events(timeline) == [
        ("class 0", 0.0, 1.5, 0.8),
        ("class 1", 1.0, 2.0, 0.6),
        ("class 0", 1.5, 2.5, 0.9),
    ]
    model.several = True
    assert [event[:3] for event in model.events(timeline, 0.15)] == [
        ("class 0", 0.0, 1.5),
        ("class 1", 0.0, 1.0),
        ("class 1", 1.0, 2.0),
        ("class 2", 1.0, 2.0),
        ("class 0", 1.5, 2.5),
    ]


# Commands -------------------------------------------------------------------------------------------


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_predict_tells_files_and_folders_and_goes_on_where_it_ended(trained, tmp_path, capsys):
    recordings = write_lists(tmp_path / "rec", train=7) / "wav"
    out = tmp_path / "heard.csv"
    command = ["predict", str(trained["ast"]), str(recordings), "--top", "2", "--csv", str(out)]
    assert main(command) == 0
    rows = table(out)
    assert [row["rank"] for row in rows] == ["1", "2"] * 7
    assert [row["path"] for row in rows[::2]] == sorted(map(str, recordings.glob("*.wav")))
    model = ipet.load(trained["ast"])
    for row in rows[::2]:
        [best] = model.predict(row["path"], top=1)
        assert row["label"] == best.name and float(row["probability"]) == pytest.approx(
            best.probability, abs=1e-4
        )
    whole = out.read_text()
    for stop in (whole.index("\n") + 3, len(whole) - 4, len(whole)):  # cut off, and whole
        out.write_text(whole[:stop])
        assert main(command) == 0
        assert sorted(out.read_text().splitlines()) == sorted(whole.splitlines())
    with pytest.raises(ValueError, match="has the columns"):
        main_raising(["predict", str(trained["ast"]), str(recordings), "-events", "-csv", str(out)])


def test_the_rows_of_a_table_are_in_its_file_at_any_time(tmp_path):
    path, columns = tmp_path / "heard.csv", commands.COLUMNS["clips"]
    path.write_text("path,rank,label,probability\na.wav,1,dog,0.5\nb.wav,1,dog,0.5\n\n")
    opened = commands.Table(columns, path, None)
    assert [row["path"] for row in table(path)] == ["a.wav", "b.wav"] and opened.done == {"a.wav"}
    opened.add([("b.wav", 1, "dog", 0.52)])  # on another device
    assert [tuple(row.values()) for row in table(path)][1:] == [("b.wav", "1", "dog", "0.52")]
    opened.close()
    path.write_text("\n")
    with pytest.raises(ValueError, match="has the columns"):
        commands.Table(columns, path, None)


@pytest.mark.parametrize(
    "rows",
    [
        [("b.wav", 1, "dog", 0.9), ("b.wav", 2, "cat", 0.1)],  # sure of it
        [("b.wav", 1, "hum", 0.6), ("b.wav", 2, "hiss", 0.4)],  # other classes
        [("b.wav", 1, "dog", 0.6), ("b.wav", 2, "cat", 0.3), ("b.wav", 3, "hen", 0.1)],  # more of them
        [("b.wav", 1, "dog", 0.6)],
    ],
)
def test_a_table_goes_on_with_the_same_adapter_and_flags_alone(tmp_path, rows):
    path = tmp_path / "heard.csv"
    lines = [f"{name}.wav,{rank}" for name in "ab" for rank in ("1,dog,0.6", "2,cat,0.4")]
    text = "\n".join(["path,rank,label,probability", *lines, ""])
    path.write_text(text)
    opened = commands.Table(commands.COLUMNS["clips"], path, None)
    with pytest.raises(ValueError, match="it has 2 rows from '1 dog"):
        opened.add(rows)
    opened.close()
    assert path.read_text() == text


def test_a_row_that_was_cut_in_its_path_takes_no_row_along(tmp_path):
    path, columns = tmp_path / "heard.csv", commands.COLUMNS["clips"]
    path.write_text("path,rank,label,probability\na.wav,1,dog,0.6\nb.wav,1,dog,0.6\nb.wa")
    assert commands.Table(columns, path, None).done == {"a.wav"}
    path.write_text("path,rank,label,probability\na.wav,1,dog,0.6\nnotes\nb.wav,1,dog,0.6\n")
    with pytest.raises(ValueError, match="has a row of 1 fields, 'notes'; expected 4 in each"):
        commands.Table(columns, path, None)
    path.write_text("path,rank,lab")  # the head itself
    commands.Table(columns, path, None).close()
    assert path.read_text() == "path,rank,label,probability\n"
    path.write_text("somebody's notes")
    with pytest.raises(ValueError, match="has the columns"):
        commands.Table(columns, path, None)


def test_an_adapters_folder_is_found_from_above_and_from_inside(trained):
    last = trained["ast"]
    for folder in (last.parent, last.parent.parent, last.parents[2]):
        with pytest.raises(
            FileNotFoundError, match=f"expected the folder of an adapter, such as {re.escape(str(last))}"
        ):
            ipet.load(folder)
    with pytest.raises(
        FileNotFoundError,
        match=f"a file; expected the folder of a saved adapter, such as {re.escape(str(last))}",
    ):
        ipet.load(last / "adapter_config.json")


def test_a_reader_that_goes_ends_a_command_quietly(trained, tmp_path):
    lists = write_lists(tmp_path / "rec", train=3)
    command = [
        sys.executable,
        "-m",
        "ipet",
        "predict",
        str(trained["ast"]),
        str(lists / "wav"),
        "-jsonl",
        "-",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(60) == 141


def test_a_name_that_is_no_text_has_rows_and_is_known_again(tmp_path):
    name, out = os.fsdecode(b"a\xff.wav"), (tmp_path / "heard.csv", str(tmp_path / "heard.jsonl"))
    opened = commands.Table(commands.COLUMNS["clips"], *out)
    opened.add([(name, 1, "dög", 0.5)])
    opened.add([("last.wav", 1, "dög", 0.5)])
    opened.close()
    lines = Path(out[1]).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["path"] for line in lines] == [name, "last.wav"]
    opened = commands.Table(commands.COLUMNS["clips"], out[0], None)
    opened.close()
    assert opened.done == {name} and b"a\xff.wav" in out[0].read_bytes()


def main_raising(argv):
    """The command without the last line's catch."""
    from ipet.__main__ import COMMANDS

    return COMMANDS[argv[0]](argv[1:])


def test_predict_tells_what_it_cannot_use_and_goes_on(trained, tmp_path, capsys):
    recordings = write_lists(tmp_path / "rec", train=3) / "wav"
    (recordings / "train_1.wav").write_bytes(b"")
    assert main(["predict", str(trained["w2v"]), str(recordings), "--jsonl", "-", "--top", "1"]) == 1
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["path"].rpartition("/")[2] for row in rows] == ["train_0.wav", "train_2.wav"]
    assert rows[0].keys() == {"path", "rank", "label", "probability"}
    assert "train_1.wav: the file is empty" in said.err
    assert main(["predict", str(trained["w2v"]), str(tmp_path / "nowhere")]) == 1
    assert "nowhere: no such file or folder" in capsys.readouterr().err


@pytest.mark.parametrize("kind, columns", [("-timeline", ["start", "end"]), ("-events", ["onset", "offset"])])
def test_predict_tells_when(trained, tmp_path, kind, columns):
    write_wav(tmp_path / "long.wav", 2.0)
    flags = [kind, "-csv", str(tmp_path / "a.csv"), "-top", "1", "-threshold", "0.1"]
    assert main(["predict", str(trained["ast"]), str(tmp_path / "long.wav"), *flags]) == 0
    rows = table(tmp_path / "a.csv")
    assert list(rows[0]) == ["path", *columns, "label", "probability"] and float(rows[0][columns[0]]) == 0
    assert float(rows[-1][columns[1]]) == pytest.approx(2.0, abs=1e-3)


def test_predict_keeps_the_order_counts_every_recording_and_hears_those_around_a_broken_one(
    trained, tmp_path, monkeypatch, capsys
):
    """More than a batch, and than what is decoded ahead; the last one is broken, too."""
    bars = []

    class Bar(commands.tqdm):
        def __init__(self, *args, **flags):
            super().__init__(*args, **{**flags, "disable": False, "file": io.StringIO()})
            bars.append(self)

    monkeypatch.setattr(commands, "tqdm", Bar)
    paths = [tmp_path / f"{i:02d}.wav" for i in range(40)]
    for i, path in enumerate(paths):
        write_wav(path, 0.05 if i % 3 else 0.5, seed=i)
    for i in (3, 17, 39):
        paths[i].write_text("no audio")
    out = tmp_path / "heard.csv"
    assert main(["predict", str(trained["ast"]), str(tmp_path), "-csv", str(out), "-top", "1"]) == 1
    heard = [str(path) for i, path in enumerate(paths) if i not in (3, 17, 39)]
    assert [row["path"] for row in table(out)] == heard
    assert (bars[0].total, bars[0].n) == (40, 40)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in said] == [str(paths[i]) for i in (3, 17, 39)]


class Loudness(torch.nn.Module):
    """[B, N] samples -> [B, 2] logits: not above three quarters of a power, or above it."""

    width = 2

    def forward(self, x):
        loud = x.square().mean(dim=1) - 0.75 * 0.02
        return 1e4 * torch.stack([-loud, loud], dim=1)


@pytest.fixture
def loudness():
    """A model of windows of 5 s that says where it is loud."""
    head = torch.nn.Linear(2, 2)  # it has a device
    torch.nn.init.eye_(head.weight)
    torch.nn.init.zeros_(head.bias)
    model = Classifier(Waveform(500), Loudness(), head).eval()
    return TunedModel(model, Cut(80_000), {"labels": [{"name": "quiet"}, {"name": "loud"}], "loss": "cce"})


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("seconds, windows", [(20, 7), (20.001, 8), (4, 1), (5, 1), (7.5, 2)])
def test_a_table_is_right_where_a_window_ends(loudness, tmp_path, rate, seconds, windows):
    t = np.arange(round(seconds * rate)) / rate
    samples = 0.2 * np.sin(2 * np.pi * 440 * t) * ((t >= 10) & (t < 15))  # of power 0.02
    soundfile.write(tmp_path / "a.wav", np.stack([samples, samples], axis=1), rate)
    for kind in ("timeline", "events"):
        commands.predict(loudness, [tmp_path / "a.wav"], kind, 1, csv_file=tmp_path / f"{kind}.csv")
    rows = [(float(r["start"]), float(r["end"]), r["label"]) for r in table(tmp_path / "timeline.csv")]
    ends = [min(2.5 * i + 5, seconds) for i in range(windows)]
    assert [row[:2] for row in rows] == [
        (2.5 * i, pytest.approx(end, abs=1e-4)) for i, end in enumerate(ends)
    ]
    assert [i for i, row in enumerate(rows) if row[2] == "loud"] == [4] * (seconds >= 20)
    events = [(float(r["onset"]), float(r["offset"]), r["label"]) for r in table(tmp_path / "events.csv")]
    if seconds < 20:
        assert events == [(0, pytest.approx(seconds, abs=1e-4), "quiet")]
    else:  # 7.5 to 12.5 and 12.5 to 17.5 are half loud, and not called so
        assert events[:2] == [(0, 12.5, "quiet"), (10, 15, "loud")]
        assert events[2] == (12.5, pytest.approx(seconds, abs=1e-4), "quiet")


@long
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="a peak is forgotten on Linux alone")
def test_a_long_recording_takes_no_more_memory_than_a_short_one(loudness, tmp_path):
    second = 0.1 * np.random.default_rng(0).standard_normal((44_100, 2))
    peaks = []
    for minutes in (2, 2, 12):  # the first one warms up
        with soundfile.SoundFile(tmp_path / "a.wav", "w", 44_100, 2) as file:
            for _ in range(60 * minutes):
                file.write(second)
        Path("/proc/self/clear_refs").write_text("5")
        commands.predict(loudness, [tmp_path / "a.wav"], "timeline", csv_file=tmp_path / f"{len(peaks)}.csv")
        [line] = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        peaks.append(int(line) / 1024)
    assert peaks[2] - peaks[1] < 24  # MiB; the ten minutes more are 200 MiB of samples, 37 at 16 kHz


def test_embed_writes_a_row_a_recording(trained, tmp_path, capsys):
    recordings = write_lists(tmp_path / "rec", train=5) / "wav"
    assert main(["embed", str(trained["w2v"]), str(recordings), "-out", str(tmp_path / "e.npz")]) == 0
    assert capsys.readouterr().out == f"5 embeddings of 96 values in {tmp_path / 'e.npz'}\n"
    kept, model = np.load(tmp_path / "e.npz"), ipet.load(trained["w2v"])
    for path, embedding in zip(kept["paths"], kept["embeddings"]):
        np.testing.assert_allclose(embedding, model.embed(str(path)), rtol=1e-4, atol=1e-5)
    assert main(["embed", str(trained["w2v"]), str(recordings), "-out", str(tmp_path / "e.txt")]) == 1
    assert "ends with '.txt'; expected .npz or .parquet" in capsys.readouterr().err


def test_verify_scores_two_voices_and_trials_as_training_did(backbones, tmp_path, capsys):
    prepare = load_script(ROOT / "data/prepare.py", "prepare_for_inference")
    root = make_voxceleb1(tmp_path / "vox")
    assert prepare.main(["voxceleb1", str(root), "-out", str(tmp_path / "lists")]) == 0
    flags = ["-frame_length", 32, "-nb_seg", 2, "-epoch", 1, "-batch_size", 4, "-path_data", root]
    flags = [*tiny(tmp_path / "lists", tmp_path, *flags), "-pretrained", backbones / "ast"]
    cell = run_here("ast_voxceleb", *flags) / "seed_1234"
    kept, rows = np.load(cell / "predictions.npz"), (tmp_path / "lists/trials.txt").read_text().split("\n")
    hint = shlex.split(capsys.readouterr().out.splitlines()[-1])  # what training ends with
    assert hint[:4] == ["python3", "-m", "ipet", "verify"] and main(hint[3:]) == 0
    assert float(capsys.readouterr().out) == pytest.approx(kept["scores"][0], abs=1e-3)
    wav = next(p for p in (root / "test/wav", root / "wav", root) if (p / rows[0].split()[1]).is_file())
    out = tmp_path / "scores.csv"
    command = ["verify", str(cell / "last"), "--trials", str(tmp_path / "lists/trials.txt")]
    assert main([*command, "-path_data", str(wav), "--csv", str(out)]) == 0
    np.testing.assert_allclose([float(r["score"]) for r in table(out)], kept["scores"], atol=1e-4)
    said = capsys.readouterr().out
    assert f"EER {100 * read_json(cell / 'result.json')['history'][0]['eval_EER']:.2f} %" in said
    _, one, other = rows[0].split()
    assert main(["verify", str(cell / "last"), str(wav / one), str(wav / other)]) == 0
    assert float(capsys.readouterr().out) == pytest.approx(kept["scores"][0], abs=1e-3)
    told = tmp_path / "told.json"
    assert main([*command, "-path_data", str(wav), "-json", str(told)]) == 0
    values = read_json(told)
    assert values.pop("input")["used"] == {"trials": values["trials"], "recordings": values["recordings"]}
    assert values == {
        "scoring": "mean_distance",
        "trials": len(kept["scores"]),
        "recordings": len(set(" ".join(rows).split()) - {"0", "1"}),
        "EER": pytest.approx(read_json(cell / "result.json")["history"][0]["eval_EER"], abs=1e-6),
        "minDCF": pytest.approx(read_json(cell / "result.json")["history"][0]["eval_minDCF"], abs=1e-6),
    }
    assert main(["verify", str(cell / "last"), str(wav / one), str(wav / other), "-json", "-"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["scoring"] == "mean_distance"
    assert main(["verify", str(cell / "last"), str(wav / one)]) == 1
    assert "1 recordings; expected two to compare" in capsys.readouterr().err


def test_predict_runs_as_a_command_of_its_own(trained, lists):
    command = [sys.executable, "-m", "ipet", "predict", str(trained["ast"]), str(lists / "wav/test_0.wav")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT.parent)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("test_0.wav") and len(lines) == 5 and "%  class" in lines[1]


@pytest.fixture()
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield torch.device("cpu")
    torch.set_num_threads(before)


def test_batches_on_a_cpu_share_out_its_threads_and_keep_their_order(four_threads):
    def compute(batch):
        threading.Event().wait(0.02 * (batch % 2))  # some take longer
        return batch, torch.get_num_threads(), threading.current_thread().name

    outputs = list(side_by_side(compute, range(12), four_threads))
    assert [batch for batch, _, _ in outputs] == list(range(12))
    assert {threads for _, threads, _ in outputs} == {1} and len({name for _, _, name in outputs}) > 1
    [(_, threads, name)] = side_by_side(compute, [0], four_threads)  # alone: at once, by all
    assert (threads, name) == (4, threading.current_thread().name)
    started = []
    thread = threading.Thread(target=lambda: started.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert (torch.get_num_threads(), started) == (4, [4])  # as before


def test_batches_side_by_side_are_read_a_few_ahead_and_end_with_an_error(four_threads):
    taken = []

    def batches():
        for batch in range(100):
            taken.append(batch)
            yield batch

    outputs = side_by_side(lambda batch: 1 / (20 - batch), batches(), four_threads)
    assert [next(outputs) for _ in range(3)] == [1 / 20, 1 / 19, 1 / 18]
    assert len(taken) <= 3 + 2 * inference.WORKERS
    with pytest.raises(ZeroDivisionError):
        list(outputs)
    assert len(taken) < 40
    started = []
    thread = threading.Thread(target=lambda: started.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert started == [4]


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("readable", [0, 1, 2, 7])
def test_a_batch_that_cannot_be_read_takes_no_other_along(four_threads, threads, readable):
    torch.set_num_threads(threads)

    def batches():
        yield from range(readable)
        raise ClipError("broken.wav")

    outputs, heard = side_by_side(lambda batch: batch, batches(), four_threads), []
    with pytest.raises(ClipError, match="broken"):
        for output in outputs:
            heard.append(output)
    assert heard == list(range(readable)) and torch.get_num_threads() == threads


def test_a_model_answers_the_same_whatever_the_threads(trained, four_threads):
    model = ipet.load(trained["w2v"], "cpu")
    waveforms = [0.1 * torch.randn(3_000 + 500 * i) for i in range(40)]
    answers = np.stack(list(model.probabilities(waveforms)))
    torch.set_num_threads(1)
    np.testing.assert_allclose(np.stack(list(model.probabilities(waveforms))), answers, atol=1e-6)
