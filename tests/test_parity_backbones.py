"""Embeddings, hidden states and gradients equal the authors' implementation, for every mode."""

import copy
import json
import os
from functools import lru_cache

import numpy as np
import pytest
import torch

from ipet.backbones.audio_spectrogram_transformer import adapt_position_embedding, build_ast
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.tuning import Tuning, trainable_parameters, tune, tuned_layers

from parity import canonical_w2v2, det, draw, fill_inserted, load, needs_parity, relative

pytestmark = needs_parity

FILES = [
    "ast_esc50_t512_p4_d32.npz",
    "ast_gtzan_t400_p8_d64.npz",
    "ast_speechcommands_t128_p4_d128.npz",
    "w2v2_l16000_p64_d64.npz",
    "w2v2_l81920_p128_d128.npz",
]
LONGEST, SHORTEST = FILES[0], (FILES[2], FILES[3])  # the latter: of each backbone
MODES = ("ipet", "prompt", "adapter", "plain")
TOLERANCE = {"out": 5e-6, "hidden": 1e-5, "grad": 1e-4, "out_f64": 1e-9, "grad_f64": 1e-9}


@lru_cache
def ast_tensors():
    """The deterministic weights of AST; its position embedding is that of the AudioSet grid."""
    state = build_ast(1024).vit.state_dict()  # 1,024 frames: 12 x 101 patches
    return {name: draw(name, tuple(tensor.shape), "ast") for name, tensor in state.items()}


@lru_cache
def frozen_ast(frames):
    backbone = build_ast(frames)
    backbone.load_published(ast_tensors(), "the deterministic weights")
    return backbone


@lru_cache
def frozen_w2v2():
    backbone = build_wav2vec2("base")
    state = backbone.model.state_dict()
    drawn = {name: draw(canonical_w2v2(name), tuple(t.shape), "w2v2") for name, t in state.items()}
    backbone.model.load_state_dict(drawn)
    return backbone


def build(meta, mode, residual=True):
    tuning = Tuning(
        num_prompts=meta["prompts"] if mode in ("ipet", "prompt") else 0,
        bottleneck=meta["adapter_dim"] if mode in ("ipet", "adapter") else 0,
        residual=residual and meta["backbone"] == "W2V2",  # the authors' wav2vec 2.0 form
    )
    if meta["backbone"] == "AST":
        backbone, rules = copy.deepcopy(frozen_ast(meta["frames"])), "ast"
    else:
        backbone, rules = copy.deepcopy(frozen_w2v2()), "w2v2"
    tune(backbone, tuning)
    if tuning:
        fill_inserted(backbone, rules)
    return backbone.eval()


def input_of(meta):
    return det(meta["input_name"], meta["input_shape"], meta["input_mean"], meta["input_std"])


def check_gradients(backbone, want, mode, suffix, tolerance):
    named = trainable_parameters(backbone)
    assert sorted(named) == sorted(want[f"grad_{mode}_names"].tolist())
    for i, name in enumerate(want[f"grad_{mode}_names"].tolist()):
        grad = named[name].grad.double()
        grad = grad[0] if name.startswith("prompts") else grad  # [1, n, D] -> [n, D]
        probe = det(f"probe:{name}", tuple(grad.shape), 0, 1).double()
        l2, dot = (float(want[f"grad_{mode}_{kind}{suffix}"][i]) for kind in ("l2", "dot"))
        assert grad.norm().item() == pytest.approx(l2, rel=tolerance), name
        assert (grad * probe).sum().item() == pytest.approx(dot, abs=tolerance * l2), name
        if not suffix:
            first = want[f"grad_{mode}_first32"][i]
            assert relative(grad.flatten()[:32], first) < tolerance, name


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("file", FILES)
def test_embeddings_and_gradients_equal_the_authors(file, mode):
    want = load(file)
    meta = json.loads(str(want["meta"]))
    backbone, x = build(meta, mode), input_of(meta)

    hidden = []
    for layer in tuned_layers(backbone):
        layer.register_forward_hook(lambda module, inputs, output: hidden.append(output.detach()))
    out = backbone(x)
    assert relative(out, want[f"out_{mode}"]) < TOLERANCE["out"]
    if mode == "ipet":
        if meta["backbone"] == "AST":
            states = torch.stack([h[:, :2] for h in hidden])  # class and distillation token
        else:
            states = torch.stack([torch.stack([h.mean(1), h[:, 0]], dim=1) for h in hidden])
        assert relative(states, want["hidden_ipet"]) < TOLERANCE["hidden"]
    if mode != "plain":
        (out * det("cotangent", tuple(out.shape), 0, 1)).sum().backward()
        # A unit of an adapter may lie on the ReLU's edge in float32: on which side depends on the processor.
        tolerance = TOLERANCE["grad"] if mode == "prompt" else 2e-3
        check_gradients(backbone, want, mode, "", tolerance)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("file", FILES)
def test_in_float64_they_are_equal_to_nine_digits(file, mode):
    quick = file in SHORTEST or (mode == "ipet" and file != LONGEST)
    if not quick and not os.environ.get("IPET_TORTURE"):
        pytest.skip(
            "ipet has all of it, and float32 every mode and length; IPET_TORTURE=1 includes the others"
        )
    want = load(file)
    meta = json.loads(str(want["meta"]))
    backbone, x = build(meta, mode).double(), input_of(meta).double()
    out = backbone(x)
    assert relative(out, want[f"out_{mode}_f64"]) < TOLERANCE["out_f64"]
    if mode != "plain":
        (out * det("cotangent", tuple(out.shape), 0, 1).double()).sum().backward()
        check_gradients(backbone, want, mode, "_f64", TOLERANCE["grad_f64"])


@pytest.mark.parametrize("mode", ("ipet", "adapter"))
@pytest.mark.parametrize("file", FILES[3:])
def test_the_function_preserving_wav2vec2_equals_its_check_values(file, mode):
    want = load(file)
    meta = json.loads(str(want["meta"]))
    backbone, x = build(meta, mode, residual=False), input_of(meta)
    with torch.no_grad():
        assert relative(backbone(x), want[f"variant_noresidual_out_{mode}"]) < TOLERANCE["out"]
        exact = backbone.double()(x.double())
    assert relative(exact, want[f"variant_noresidual_out_{mode}_f64"]) < TOLERANCE["out_f64"]


@pytest.mark.parametrize("file", FILES[3:])
def test_the_stages_before_wav2vec2_layers_equal_the_authors(file):
    want = load(file)
    meta = json.loads(str(want["meta"]))
    backbone, x = build(meta, "plain"), input_of(meta)
    stages = {}

    def keep(name, pick):
        return lambda module, inputs, output: stages.__setitem__(name, pick(inputs, output))

    model = backbone.model
    model.feature_extractor.register_forward_hook(keep("conv_out", lambda i, o: o))
    model.feature_projection.register_forward_hook(keep("proj_out", lambda i, o: o[0]))
    model.encoder.dropout.register_forward_hook(keep("enc_in", lambda i, o: o))
    with torch.no_grad():
        backbone(x)
    for name, stage in stages.items():
        assert list(stage.shape) == want[f"stage_{name}_shape"].tolist()
        tokens = stage.transpose(1, 2) if name == "conv_out" else stage  # [B, frames, channels]
        sub = tokens[:, :: max(1, meta["frames"] // 8), ::16]
        assert relative(sub, want[f"stage_{name}_sub"]) < TOLERANCE["hidden"]
        assert stage.double().norm().item() == pytest.approx(float(want[f"stage_{name}_l2"]), rel=1e-5)
    assert set(stages) == {"conv_out", "proj_out", "enc_in"}


@pytest.mark.parametrize("frames", (128, 512, 1024, 1400))
def test_position_embeddings_fit_the_number_of_frames(frames):
    want = load("ast_pos_embed.npz")
    new = (12, (frames - 16) // 10 + 1)
    position = adapt_position_embedding(draw("pos_embed", (1, 1214, 768), "ast"), (12, 101), new)
    assert list(position.shape) == want[f"T{frames}_shape"].tolist()
    for got, key in (
        (position[0, ::7, ::16], "sub"),
        (position[0, 2], "row_first"),
        (position[0, -1], "row_last"),
    ):
        np.testing.assert_allclose(got, want[f"T{frames}_{key}"], atol=1e-6, rtol=0)
    probe = det("probe:pos_embed", tuple(position.shape), 0, 1).double()
    assert position.double().norm().item() == pytest.approx(float(want[f"T{frames}_l2"]), rel=1e-6)
    assert (position.double() * probe).sum().item() == pytest.approx(float(want[f"T{frames}_dot"]), rel=1e-6)
