"""Names of our own for every tensor of the backbones, and adapters that outlive a library's renaming."""

import re

import pytest
import timm
import torch
from transformers.models.wav2vec2 import modeling_wav2vec2

import ipet
from ipet import names
from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import MODEL_TYPES, SIZES, Wav2Vec2, build_wav2vec2, new_config, new_model
from ipet.checkpoint import trainable_state
from ipet.names import AST, WAV2VEC2, library_names, own_name, own_names
from ipet.saved import save_adapter
from ipet.tuning import Tuning, trainable_parameters, tune

from saving import save_backbone, tuned_model

MORE = {  # of parts that the published ones do not have
    "hubert": {"conv_pos_batch_norm": True, "feat_extract_norm": "layer", "conv_bias": True},
    "wav2vec2": {"feat_extract_norm": "layer", "conv_bias": True},
}


def backbones():
    """Every kind, and those with more parts: name, backbone, the library's model in it, the table."""
    ast = build_ast(64, size="tiny")
    yield "ast", ast, ast.vit, AST
    for kind in MODEL_TYPES:
        backbone = build_wav2vec2("tiny", model_type=kind)
        yield kind, backbone, backbone.model, WAV2VEC2
    for kind, more in MORE.items():
        backbone = Wav2Vec2(new_model(new_config(kind, {**SIZES["tiny"], **more})))
        yield f"{kind}, more parts", backbone, backbone.model, WAV2VEC2


def test_every_parameter_has_a_name_of_our_own_and_no_two_have_the_same():
    met = {}
    for kind, backbone, library, table in backbones():
        theirs = dict(library.named_parameters())
        own = trainable_parameters(backbone)
        assert [id(p) for p in own.values()] == [id(p) for p in theirs.values()], kind
        assert list(own) == [own_name(name, table) for name in theirs]
        for name in own:
            general = re.sub(r"\.\d+\.", ".{i}.", name)
            part = general if general in table else general.rpartition(".")[0]
            assert part in table, f"{kind}: {name} is no name of our own"
            met.setdefault(id(table), set()).add(part)
            assert own_name(name, table) == name  # what has ours keeps it
        former = next(beginning for beginning, known in names.FORMER.items() if known is table)
        first = {f"{former}{name}": p for name, p in theirs.items()}
        assert own_names(first, "a") == {f"backbone.{name}": p for name, p in own.items()}
        assert library_names(own, theirs, table) == theirs
    for table in (AST, WAV2VEC2):
        assert met[id(table)] == set(table)  # no line that nothing needs
        listed = [name for named in table.values() for name in named]
        assert len(listed) == len(set(listed))


def test_names_are_these_for_good():
    """Saved files have them."""
    table = {
        "blocks.11.attn.qkv.bias": "layers.11.attention.query_key_value.bias",
        "blocks.0.norm1.weight": "layers.0.attention_norm.weight",
        "blocks.0.mlp.fc2.bias": "layers.0.feed_forward.down.bias",
        "pos_embed": "positions",
        "norm.bias": "norm.bias",
    }
    assert {name: own_name(name, AST) for name in table} == table
    table = {
        "encoder.layers.3.attention.q_proj.bias": "layers.3.attention.query.bias",
        "encoder.layers.3.final_layer_norm.weight": "layers.3.feed_forward_norm.weight",
        "encoder.layers.3.attention.gru_rel_pos_const": "layers.3.attention.distance_gate_scale",
        "encoder.pos_conv_embed.conv.weight_g": "positions.gain",
        "encoder.pos_conv_embed.conv.bias": "positions.bias",
        "feature_extractor.conv_layers.6.conv.weight": "convolutions.6.weight",
        "masked_spec_embed": "mask",
    }
    assert {name: own_name(name, WAV2VEC2) for name in table} == table


def test_a_name_that_no_table_has_stays():
    for name in ("blocks.0.unheard_of.weight", "weight", "", "a.1.b", "blocks.{i}.norm1.bias.bias"):
        assert own_name(name, AST) == name
    assert own_names({"head.fc.bias": 1, "prompts.0": 2}, "a") == {"head.fc.bias": 1, "prompts.0": 2}
    with pytest.raises(ValueError, match=r"^a: 'backbone\.norm\.bias' is there twice"):
        own_names({"backbone.norm.bias": 1, "backbone.vit.norm.bias": 2}, "a")


def test_what_is_trained_of_a_wrapped_layer_has_its_name_without_the_wrapping():
    backbone = tune(build_ast(64, size="tiny"), Tuning(num_prompts=2))
    backbone.vit.blocks[1].layer.norm2.bias.requires_grad_(True)
    assert list(trainable_parameters(backbone)) == [
        "prompts.0",
        "prompts.1",
        "layers.1.feed_forward_norm.bias",
    ]


# A later version of a library ----------------------------------------------------------------------


def rename(monkeypatch, kind, **parts):
    """Let a library's module call parts otherwise; their former names are still there to be read."""
    build = kind.__init__

    def renamed(self, *args, **kwargs):
        build(self, *args, **kwargs)
        for former, new in parts.items():
            self._modules[new] = self._modules.pop(former)

    monkeypatch.setattr(kind, "__init__", renamed)
    for former, new in parts.items():
        monkeypatch.setattr(kind, former, property(lambda self, new=new: self._modules[new]), raising=False)


def upgrade(monkeypatch, kind):
    """Rename modules of timm or transformers; returns the table, and how its names change."""
    if kind == "ast":
        rename(monkeypatch, timm.models.vision_transformer.Block, attn="attention", norm1="before", mlp="ffn")
        return AST, [(r"\.attn\.", ".attention."), (r"\.norm1$", ".before"), (r"\.mlp\.", ".ffn.")]
    rename(
        monkeypatch,
        modeling_wav2vec2.Wav2Vec2EncoderLayer,
        attention="self_attention",
        feed_forward="ffn",
        final_layer_norm="last_norm",
    )
    rename(monkeypatch, modeling_wav2vec2.Wav2Vec2FeatureProjection, projection="linear")
    return WAV2VEC2, [
        (r"\.attention\.", ".self_attention."),
        (r"\.feed_forward\.", ".ffn."),
        (r"\.final_layer_norm$", ".last_norm"),
        (r"\.projection$", ".linear"),
    ]


@pytest.mark.parametrize("kind", ["ast", "wav2vec2"])
def test_a_saved_adapter_is_read_when_the_library_has_renamed_its_modules(kind, tmp_path, monkeypatch):
    """The file stays as it is; the table gets the new names beside the former ones."""
    save_backbone(kind, tmp_path / "backbone")
    noise = 0.1 * torch.randn(10_240, generator=torch.Generator().manual_seed(0))
    before, saved = {}, {}
    for method in ("ipet", "bitfit", "finetune"):
        model, description = tuned_model(tmp_path / "backbone", method)
        save_adapter(tmp_path / method, trainable_state(model), description)
        before[method] = ipet.load(tmp_path / method, "cpu").predict(noise)
        saved[method] = {name for name, _ in model.named_parameters()}
    assert len({tuple(answer) for answer in before.values()}) == 3  # each method's numbers matter

    table, changes = upgrade(monkeypatch, kind)
    with pytest.raises(ValueError, match=r"model\.safetensors: \d+ \(.* missing, \d+ \(.* unexpected"):
        ipet.load(tmp_path / "bitfit", "cpu")  # the table does not know of it
    for own, theirs in list(table.items()):
        new = theirs[0]
        for pattern, replacement in changes:
            new = re.sub(pattern, replacement, new)
        if new != theirs[0]:
            monkeypatch.setitem(table, own, (*theirs, new))
    for method, answer in before.items():
        loaded = ipet.load(tmp_path / method, "cpu")
        assert loaded.predict(noise) == answer
        assert {name for name, _ in loaded.model.named_parameters()} != saved[method]
