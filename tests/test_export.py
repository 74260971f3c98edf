"""A saved adapter as one file: ONNX Runtime and torch.export answer as the model does, for any batch."""

import json
import sys

import numpy as np
import pytest
import torch

import ipet
from ipet.__main__ import main
from ipet.audio import read_audio
from ipet.backbones.audio_spectrogram_transformer import build_ast, save_backbone
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.backbones.wav2vec2 import save_backbone as save_wav2vec2
from ipet.export import DESCRIPTION, FORMATS, Exported, check_packages, difference

from helpers import run_here, tiny, write_lists

CASES = {
    "ast": ("ast_esc50", ["-frame_length", 64, "-fold", 1]),
    "w2v": ("w2v_speechcommands", ["-frame_length", 40, "-adapter_scalar", 4]),
}


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("lists"), train_1=8, eval_1=4, train=8, valid=4, test=4)


@pytest.fixture(scope="module", params=["ast", "w2v"])
def adapter(request, lists, tmp_path_factory):
    name, flags = CASES[request.param]
    weights, runs = tmp_path_factory.mktemp("weights"), tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    if request.param == "ast":
        save_backbone(build_ast(64, size="tiny"), weights)
    else:
        save_wav2vec2(build_wav2vec2("tiny"), weights)
    flags = [*flags, "-epoch", 1, "-batch_size", 4, "-lr", "1e-2", "-pretrained", weights, "-size", "tiny"]
    folder = run_here(name, *tiny(lists, runs, *flags))
    return next(folder.rglob("last"))


def test_the_file_hears_what_predict_hears(adapter, lists, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    assert main(["export", str(adapter), str(tmp_path), "-format", "onnx", "torch"]) == 0
    said = capsys.readouterr().out
    assert "model.onnx: differs from the model by at most" in said and "model.pt2" in said

    model = ipet.load(adapter)
    saved = json.loads((tmp_path / DESCRIPTION).read_text())
    assert saved["labels"] == list(model.labels) and saved["sample_rate"] == 16_000
    size = saved["inputs"]["waveform"][1]
    paths = [lists / "wav/train_1_0.wav", lists / "wav/train_1_1.wav", lists / "wav/train_1_2.wav"]
    clips = [model.window_cut(read_audio(path)) for path in paths]
    feed = {"waveform": np.stack([np.pad(clip.numpy(), (0, size - len(clip))) for clip in clips])}
    if "num_samples" in saved["inputs"]:
        feed["num_samples"] = np.array([len(clip) for clip in clips])
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    found = dict(zip(saved["outputs"], session.run(saved["outputs"], feed)))
    np.testing.assert_allclose(found["probabilities"], np.stack(list(model.probabilities(paths))), atol=1e-5)
    np.testing.assert_allclose(
        found["embedding"], [model.embed(path) for path in paths], rtol=1e-3, atol=1e-4
    )
    program = torch.export.load(tmp_path / FORMATS["torch"]).module()
    given = [torch.from_numpy(value) for value in feed.values()]
    np.testing.assert_allclose(program(*given)[0].numpy(), found["probabilities"], atol=1e-5)


def test_a_file_that_answers_otherwise_is_refused(adapter, tmp_path):
    exported = Exported(ipet.load(adapter)).eval()

    def wrong(*x):
        probabilities, embedding = exported(*x)
        return probabilities + 2e-4, embedding

    assert difference(exported, exported, tmp_path) == 0
    with pytest.raises(ValueError, match=r"its probabilities differ by 2\.0e-04; expected at most 1e-04"):
        difference(wrong, exported, tmp_path)


def test_a_format_that_is_unknown_or_not_installed_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="the format is 'tflite'; accepted: onnx, torch"):
        check_packages("tflite")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        ValueError, match="needs the package onnxruntime: python3 -m pip install onnx onnxscript"
    ):
        check_packages("onnx")
