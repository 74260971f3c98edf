"""The examples of docs/extending.md work as they stand, each from nothing to an adapter that is loaded."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
import safetensors.torch
import torch

import ipet
from ipet import arguments, kinds
from ipet.backbones import wav2vec2
from ipet.backbones.audio_spectrogram_transformer import build_ast, save_backbone
from ipet.methods import METHODS, apply_method
from ipet.saved import load_adapter
from ipet.tuning import count_parameters, trainable_parameters

from helpers import ROOT, load_script, parts_of, run_here, tiny, write_lists, write_wav

TEXT = (ROOT / "docs/extending.md").read_text()
DATASET, SETTINGS, METHOD, BACKBONE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
KIND = "data2vec-audio"
SHORT = ["-frame_length", 64, "-batch_size", 4, "-epoch", 1, "-precision", "fp32"]


def written(code, path, name=None):
    """A document's block as a module."""
    path.write_text(code)
    return load_script(path, name or path.stem)


def entry(name):
    """What the document enters into a table under a name, as ``[key, text of the value]``."""
    return re.search(rf'^    "{name}": (.*),$', TEXT, re.MULTILINE)[1]


def urbansound8k(root):
    """The layout of the release: two classes, three folds, a clip of each."""
    rows = ["slice_file_name,fsID,fold,classID,class"]
    for target, name in ((0, "air_conditioner"), (3, "dog_bark")):
        for fold in (1, 2, 3):
            rows.append(f"{100 + fold}-{target}-0-0.wav,{100 + fold},{fold},{target},{name}")
            write_wav(root / f"audio/fold{fold}/{100 + fold}-{target}-0-0.wav", 0.2, seed=10 * target + fold)
    (root / "metadata").mkdir()
    (root / "metadata/UrbanSound8K.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """``data/prepare.py`` with the example's dataset in its table."""
    script = load_script(ROOT / "data/prepare.py", "prepare_for_docs")
    module = written(DATASET, tmp_path / "urbansound8k.py")
    names = {"Dataset": script.Dataset, "prepare_urbansound8k": module.prepare_urbansound8k}
    monkeypatch.setitem(script.DATASETS, "urbansound8k", eval(entry("urbansound8k"), names))
    yield script
    sys.modules.pop("urbansound8k")


def test_the_example_of_a_dataset_is_prepared_and_trained_on(prepare, tmp_path):
    root, lists = urbansound8k(tmp_path / "UrbanSound8K"), tmp_path / "lists"
    assert prepare.main(["urbansound8k", str(root), "-out", str(lists)]) == 0
    assert {path.name for path in lists.glob("*")} == {
        "labels.csv",
        *(f"{kind}_{k}.json" for kind in ("eval", "train") for k in (1, 2, 3)),
    }
    [clip, _] = json.loads((lists / "eval_3.json").read_text())["data"]
    assert clip == {"wav": "audio/fold3/103-0-0-0.wav", "labels": "/m/urban00"}
    experiment = tmp_path / "ast_urbansound8k"
    shutil.copytree(ROOT / "ast_esc50", experiment, ignore=shutil.ignore_patterns("__pycache__"))
    (experiment / "arguments.py").write_text(SETTINGS)
    with parts_of(experiment, ["-name", "a"]) as (args, _):
        assert args.path_list == ROOT / "data/urbansound8k" and args.fold == 10 and args.frame_length == 400
    flags = [*tiny(lists, tmp_path / "runs"), *SHORT, "-path_data", root, "-fold", 3]
    run = run_here(experiment, *flags, "-freqm", 8, "-timem", 8)
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["protocols"]["last"]["values"].values()) <= {0.0, 0.5, 1.0}  # two clips a fold
    assert len(summary["protocols"]["last"]["values"]) == 3


def test_the_example_of_a_dataset_names_a_missing_clip(prepare, tmp_path):
    root = urbansound8k(tmp_path / "UrbanSound8K")
    (root / "audio/fold2/102-3-0-0.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of its 6 clips are not in .*102-3-0-0\.wav"):
        sys.modules["urbansound8k"].prepare_urbansound8k(root)


@pytest.fixture
def norms(tmp_path, monkeypatch):
    """The example's method is a choice of ``-method``."""
    monkeypatch.setattr(arguments, "METHODS", (*arguments.METHODS, "norms"))
    yield written(METHOD, tmp_path / "norms.py")
    METHODS.pop("norms")


def test_the_example_of_a_method_trains_norms_alone(norms):
    torch.manual_seed(0)
    backbone = apply_method(build_ast(64, size="tiny"), "norms")
    # Two norms of width 48 in each of two layers, a scale and a shift each.
    assert count_parameters(backbone)[0] == 2 * 2 * 2 * 48
    assert backbone.frozen and backbone.tuning == {"method": "norms"}


def test_the_example_of_a_method_is_trained_saved_and_loaded(norms, tmp_path):
    torch.manual_seed(0)
    save_backbone(build_ast(64, size="tiny"), tmp_path / "weights")
    lists = write_lists(tmp_path / "lists", train_1=8, eval_1=4)
    flags = [*tiny(lists, tmp_path / "runs"), *SHORT, "-fold", 1, "-pretrained", tmp_path / "weights"]
    flags += ["-method", "norms", "-freqm", 8, "-timem", 8]
    folder = run_here("ast_custom", *flags) / "seed_1234/fold_1/last"
    tensors = safetensors.torch.load_file(folder / "adapter_model.safetensors")
    inside = {name for name in tensors if not name.startswith("head.")}
    assert inside == {
        f"backbone.layers.{i}.{norm}.{leaf}"
        for i in (0, 1)
        for norm in ("attention_norm", "feed_forward_norm")
        for leaf in ("weight", "bias")
    }
    model = ipet.load(folder)
    assert model.description["tuning"] == {"method": "norms"}
    assert len(model.predict(lists / "wav/eval_1_0.wav", top=4)) == 4
    with parts_of("ast_custom", flags) as (args, (_, build_model, _)):
        fresh = build_model(args, num_classes=4)
    load_adapter(folder, fresh)
    for name, parameter in trainable_parameters(fresh).items():
        torch.testing.assert_close(parameter.data, tensors[name])


@pytest.fixture
def data2vec(tmp_path, monkeypatch):
    """The example's backbone is a choice of ``-model_type``."""
    registered = eval(entry(KIND), {"Backbone": kinds.Backbone})
    monkeypatch.setitem(kinds.BACKBONES, KIND, registered)
    yield written(BACKBONE, tmp_path / "data2vec_audio.py", registered.module)
    sys.modules.pop(registered.module)


def test_the_example_of_a_backbone_is_unchanged_by_a_new_adapter(data2vec):
    torch.manual_seed(0)
    backbone = data2vec.build("tiny").eval()
    waveform = torch.randn(2, 8_000)
    before = backbone(waveform)
    assert before.shape == (2, backbone.width) == (2, 2 * 48)
    assert torch.equal(apply_method(backbone, "adapter", bottleneck=4)(waveform), before)


def test_the_example_of_a_backbone_has_the_parameters_worked_out_by_hand(data2vec):
    backbone = apply_method(data2vec.build("tiny"), "ipet", num_prompts=3, bottleneck=4)
    # In each of two layers of width 48: 3 prompts; down and up, with their biases.
    assert count_parameters(backbone)[0] == 2 * (3 * 48 + (48 * 4 + 4) + (4 * 48 + 48))


def test_the_example_of_a_backbone_is_trained_saved_and_loaded(data2vec, tmp_path):
    torch.manual_seed(0)
    weights = data2vec.build("tiny")
    wav2vec2.save_backbone(weights, tmp_path / "weights", half=False)
    assert data2vec.build(pretrained=str(tmp_path / "weights")).sha256 == weights.sha256
    lists = write_lists(tmp_path / "lists", train_1=8, eval_1=4)
    flags = [*tiny(lists, tmp_path / "runs"), *SHORT, "-fold", 1, "-model_type", KIND]
    run = run_here("w2v_custom", *flags, "-pretrained", tmp_path / "weights")
    folder = run / "seed_1234/fold_1/last"
    model = ipet.load(folder)
    found = model.description["backbone"]
    assert found["kind"] == KIND and found["sha256"] == weights.sha256
    scores = np.load(folder.parent / "predictions.npz")["scores"]  # [4, C], of the run itself
    clips = [lists / f"wav/eval_1_{i}.wav" for i in range(4)]
    np.testing.assert_allclose(list(model.probabilities(clips)), scores, atol=1e-5)
    tensors = safetensors.torch.load_file(tmp_path / "weights/model.safetensors")
    tensors.pop("encoder.layer_norm.weight")
    safetensors.torch.save_file(tensors, tmp_path / "weights/model.safetensors")
    with pytest.raises(ValueError, match=r"1 \(encoder.layer_norm.weight\) missing"):
        ipet.load(folder)


def test_the_example_of_a_backbone_is_what_its_experiments_take_when_asked(data2vec):
    with parts_of("w2v_custom", ["-name", "a", "-model_type", KIND]) as (args, _):
        assert args.pretrained == "facebook/data2vec-audio-base"
