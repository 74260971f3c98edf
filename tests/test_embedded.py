"""``-pretrained ast_small`` and ``wav2vec2_small``: the backbones that the repository ships with."""

import json
import shlex

import pytest
import safetensors.torch
import torch
from transformers import Wav2Vec2Model

from ipet import __main__, checkpoint
from ipet.backbones import audio_spectrogram_transformer as ast_module
from ipet.backbones import wav2vec2 as speech_module
from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import SIZES, build_wav2vec2
from ipet.checkpoint import EMBEDDED, PRETRAINED_MODELS, fingerprint

from helpers import run_here, write_lists

MOST_BYTES = 12e6


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def halved(backbone):
    """The same network with every weight rounded to float16."""
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.copy_(parameter.half())
    return backbone.eval()


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """A tiny backbone of each kind where the repository's lie, and what was saved, in evaluation mode."""
    monkeypatch.setattr(checkpoint, "PRETRAINED_MODELS", tmp_path / "pretrained_models")
    backbones = {"ast_small": build_ast(512, size="tiny"), "wav2vec2_small": build_wav2vec2("tiny")}
    ast_module.save_backbone(backbones["ast_small"], tmp_path / "pretrained_models/ast_small")
    speech_module.save_backbone(backbones["wav2vec2_small"], tmp_path / "pretrained_models/wav2vec2_small")
    return {name: halved(backbone) for name, backbone in backbones.items()}


@torch.no_grad()
def test_ast_is_read_by_its_name_without_a_size(saved):
    backbone = build_ast(512, pretrained="ast_small").eval()
    assert backbone.settings == {**saved["ast_small"].settings, "size": "tiny"}
    fbank = noise(2, 512, 128)
    assert torch.equal(backbone(fbank), saved["ast_small"](fbank))


@torch.no_grad()
def test_wav2vec2_is_read_by_its_name_and_by_transformers(saved, tmp_path):
    waveform = noise(2, 8_000)
    wanted = saved["wav2vec2_small"](waveform)
    backbone = build_wav2vec2(pretrained="wav2vec2_small").eval()
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}
    assert torch.equal(backbone(waveform), wanted)
    theirs = Wav2Vec2Model.from_pretrained(tmp_path / "pretrained_models/wav2vec2_small", dtype=torch.float32)
    tokens = theirs.eval()(waveform).last_hidden_state
    torch.testing.assert_close(torch.cat([tokens.mean(1), tokens.std(1)], -1), wanted, rtol=1e-4, atol=1e-5)


def test_a_shorter_input_keeps_the_centre_of_the_position_table(saved):
    backbone = build_ast(128, pretrained="ast_small")
    table = saved["ast_small"].vit.pos_embed[0, 2:].unflatten(0, (12, 50))
    # 12 of 50 columns: 50 // 2 - 12 // 2 = 19
    assert torch.equal(backbone.vit.pos_embed[0, 2:].unflatten(0, (12, 12)), table[:, 19:31])


def test_a_fingerprint_is_of_the_values_not_of_how_they_are_kept(saved, tmp_path):
    ast_module.save_backbone(saved["ast_small"], tmp_path / "ast", half=False)
    speech_module.save_backbone(saved["wav2vec2_small"], tmp_path / "speech", half=False)
    kept = safetensors.torch.load_file(tmp_path / "ast/model.safetensors")
    assert {t.dtype for t in kept.values()} == {torch.float32}
    for frames in (128, 512):
        short = build_ast(frames, pretrained="ast_small")
        assert short.sha256 == build_ast(512, pretrained=str(tmp_path / "ast")).sha256
    assert short.sha256 == fingerprint(saved["ast_small"].vit.state_dict())
    speech = [build_wav2vec2(pretrained=p).sha256 for p in ("wav2vec2_small", str(tmp_path / "speech"))]
    assert speech[0] == speech[1] == fingerprint(saved["wav2vec2_small"].model.state_dict())


def test_saving_twice_writes_the_same_bytes(saved, tmp_path):
    for module, name in ((ast_module, "ast_small"), (speech_module, "wav2vec2_small")):
        module.save_backbone(saved[name], tmp_path / name)
        for file in ("model.safetensors", "config.json"):
            first = tmp_path / "pretrained_models" / name / file
            assert (tmp_path / name / file).read_bytes() == first.read_bytes()
        assert len(list((tmp_path / name).iterdir())) == 2


def test_a_weight_that_float16_cannot_hold_is_refused(tmp_path):
    backbone = build_ast(128, size="tiny")
    with torch.no_grad():
        backbone.vit.norm.bias[3] = 70_000
    with pytest.raises(ValueError, match=r"norm\.bias is not finite in torch\.float16; nothing was written"):
        ast_module.save_backbone(backbone, tmp_path / "x")
    assert not (tmp_path / "x").exists()
    ast_module.save_backbone(backbone, tmp_path / "x", half=False)


@pytest.mark.parametrize(
    "asked, message",
    [
        ({"size": "base"}, r"size is 'tiny', but 'base' was asked for; leave out -size"),
        ({"stride": (8, 10)}, r"fstride is 10, but 8 was asked for; leave out -fstride"),
        ({"stride": (10, 16)}, r"tstride is 10, but 16 was asked for; leave out -tstride"),
        ({"num_mels": 64}, r"num_mels is 128, but 64 was asked for; leave out -nfilts"),
    ],
)
def test_what_the_weights_of_ast_fix_cannot_be_asked_for_otherwise(saved, asked, message):
    with pytest.raises(ValueError, match=rf"ast_small.config\.json: {message}"):
        build_ast(512, pretrained="ast_small", **asked)
    build_ast(512, pretrained="ast_small", size="tiny", stride=(10, 10))


def test_a_size_that_the_weights_of_wav2vec2_do_not_have_is_refused(saved):
    hidden = SIZES["small"]["hidden_size"]
    with pytest.raises(ValueError, match=rf"hidden_size is 48, of size 'small' it is {hidden}; leave out"):
        build_wav2vec2("small", "wav2vec2_small")
    assert build_wav2vec2("tiny", "wav2vec2_small").width == 2 * 48


def test_each_kind_of_experiment_has_its_own_backbone(saved):
    with pytest.raises(ValueError, match=r"model of type 'wav2vec2'; expected AST, such as ast_small"):
        build_ast(512, pretrained="wav2vec2_small")
    with pytest.raises(ValueError, match="model_type is 'ast'; expected 'wav2vec2'"):
        build_wav2vec2(pretrained="ast_small")


def test_a_name_means_the_repositorys_backbone_from_everywhere(saved, tmp_path, monkeypatch):
    other = build_ast(512, size="tiny")
    ast_module.save_backbone(other, tmp_path / "work/ast_small")
    monkeypatch.chdir(tmp_path / "work")
    ours = fingerprint(saved["ast_small"].vit.state_dict())
    assert build_ast(512, pretrained="ast_small").sha256 == ours
    assert build_ast(512, pretrained="./ast_small").sha256 == fingerprint(halved(other).vit.state_dict())


@pytest.mark.parametrize(
    "build", [lambda: build_ast(64, pretrained="ast_small"), lambda: build_wav2vec2(None, "wav2vec2_small")]
)
def test_an_installed_package_says_where_the_backbones_are(tmp_path, monkeypatch, build):
    monkeypatch.setattr(checkpoint, "PRETRAINED_MODELS", tmp_path / "pretrained_models")
    with pytest.raises(FileNotFoundError, match=r"pretrained_models/ of the repository.*clone.*or give the"):
        build()


def test_an_experiment_trains_on_it_and_its_adapter_says_so(saved, tmp_path, capsys):
    """Its last line hears a clip that was not trained on."""
    lists = write_lists(tmp_path / "lists", train_1=6, eval_1=4)
    flags = ["-name", "a", "-tags", "t", "-path_list", lists, "-path_run", tmp_path, "-fold", 1]
    flags += ["-pretrained", "ast_small", "-frame_length", 64, "-epoch", 1, "-batch_size", 4]
    folder = run_here("ast_esc50", *flags, "-precision", "fp32")
    description = json.loads((folder / "seed_1234/fold_1/last/adapter_config.json").read_text())
    assert description["backbone"]["size"] == "tiny"
    assert description["backbone"]["pretrained"] == "ast_small"
    assert description["backbone"]["sha256"] == fingerprint(saved["ast_small"].vit.state_dict())
    command = capsys.readouterr().out.splitlines()[-1].strip()
    assert command.startswith("python3 -m ipet predict ") and __main__.main(shlex.split(command)[3:]) == 0
    heard, *ranked = capsys.readouterr().out.splitlines()
    assert heard == str(lists / "wav/eval_1_0.wav") and len(ranked) == 4


# What is shipped ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EMBEDDED)
def test_what_ships_is_small_whole_and_described(name):
    folder = PRETRAINED_MODELS / name
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    assert {t.dtype for t in tensors.values()} <= {torch.float16, torch.float32}
    assert (folder / "model.safetensors").stat().st_size <= MOST_BYTES
    assert name in (folder / "README.md").read_text()
    if name == "ast_small":
        backbone, heard = build_ast(256, pretrained=name), noise(2, 256, 128)
    else:
        backbone, heard = build_wav2vec2(pretrained=name), 0.1 * noise(2, 16_000)
    with torch.no_grad():
        embedding = backbone.eval()(heard)
    assert embedding.shape == (2, backbone.width) and embedding.isfinite().all()
    # A network that answers every sound alike would be no backbone.
    assert not torch.allclose(embedding[0], embedding[1], atol=1e-3)
