"""Frozen weights held in the type that they are multiplied in: less work, the same numbers."""

import copy

import pytest
import torch
from torch import nn

from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.heads import Classifier, LinearHead
from ipet.methods import METHODS, apply_method
from ipet.precision import autocast, hold_frozen
from ipet.tuning import trainable_parameters

PAIRS = [
    (kind, method)
    for kind in ("ast", "wav2vec2", "hubert", "wavlm")
    for method in METHODS
    if kind == "ast" or method != "input_prompt"  # a border of a spectrogram
]
SETTINGS = {"num_prompts": 3, "bottleneck": 4, "rank": 2, "num_prefixes": 3, "border": 2}


def classifier(kind, method):
    torch.manual_seed(0)
    backbone = build_ast(64, size="tiny") if kind == "ast" else build_wav2vec2("tiny", model_type=kind)
    head = LinearHead(backbone.width, 2)
    return Classifier(nn.Identity(), apply_method(backbone, method, **SETTINGS), head).eval()


def answers(model, x):
    """Logits, and the gradients of what is trained."""
    with autocast("cpu", "bf16"):
        logits = model.head(model.backbone(x))
    named = trainable_parameters(model)
    grads = torch.autograd.grad(logits.float().pow(2).sum(), list(named.values()), allow_unused=True)
    return [logits, *grads]


@pytest.mark.parametrize(("kind", "method"), PAIRS)
def test_what_is_computed_stays_the_same_bit_for_bit(kind, method):
    model = classifier(kind, method)
    x = torch.randn(2, 64, 128) if kind == "ast" else 0.1 * torch.randn(2, 4_000)
    held = copy.deepcopy(model)
    hold_frozen(held, "bf16")
    for mine, wanted in zip(answers(held, x), answers(model, x), strict=True):
        assert (mine is None) == (wanted is None)
        assert mine is None or (torch.equal(mine, wanted) and mine.dtype == wanted.dtype)


def test_what_is_trained_and_what_is_summed_keeps_its_type():
    model = classifier("ast", "ipet")
    hold_frozen(model, "bf16")
    held = {name: p.dtype for name, p in model.named_parameters() if p.dtype != torch.float32}
    assert set(held.values()) == {torch.bfloat16} and len(held) == 2 + 2 * 4 * 2  # patches; 4 a layer
    assert all(p.dtype == torch.float32 for p in trainable_parameters(model).values())
    before = {name: p.dtype for name, p in model.named_parameters()}
    hold_frozen(model, "bf16")
    assert before == {name: p.dtype for name, p in model.named_parameters()}


@pytest.mark.parametrize("method", ["ipet", "finetune"])
def test_nothing_is_cast_where_nothing_is_frozen_or_fp32_is_asked_for(method):
    model = classifier("ast", method)
    hold_frozen(model, "fp32" if method == "ipet" else "bf16")
    assert all(p.dtype == torch.float32 for p in model.parameters())
