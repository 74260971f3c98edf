"""Activation checkpointing of transformers and timm gives the gradients without it. Finding B7."""

import pytest
import timm
import torch
from test_library import MODELS, build, logits, moved
from torch import nn

import ipet

MODES = [{"use_reentrant": False}, {"use_reentrant": True}]
DROPOUTS = ("attention_dropout", "activation_dropout", "hidden_dropout", "dropout", "layerdrop")


@pytest.fixture
def timm_mode():
    before = timm.layers.use_reentrant_ckpt()
    yield timm.layers.set_reentrant_ckpt
    timm.layers.set_reentrant_ckpt(before)


def deterministic(model):
    """Switch dropout and masking off."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for key in DROPOUTS:
            if isinstance(getattr(module, key, None), float):
                setattr(module, key, 0.0)
    if hasattr(model, "config"):
        model.config.mask_time_prob = 0.0
    return model


def gradients(name, enable=None, **tuning):
    model, x = build(name)
    moved(ipet.tune(model, **{"num_prompts": 2, "bottleneck": 4, "dropout": 0.0, **tuning}))
    deterministic(model)
    if enable is not None:
        enable(model)
    logits(model.train(), x).square().sum().backward()
    return {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated")
@pytest.mark.parametrize("mode", MODES, ids=["not reentrant", "reentrant"])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_equal_those_without_checkpointing(name, mode, timm_mode):
    def enable(model):
        if hasattr(model, "set_grad_checkpointing"):
            timm_mode(mode["use_reentrant"])
            model.set_grad_checkpointing()
        else:
            model.gradient_checkpointing_enable(mode)

    found, expected = gradients(name, enable), gradients(name)
    assert all(gradient is not None for gradient in expected.values())
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated")
@pytest.mark.parametrize("name", ["wav2vec 2.0", "WavLM", "AST"])
def test_prefixes_and_heads_alone_get_their_gradients_with_reentrant_checkpointing(name):
    def enable(model):
        model.gradient_checkpointing_enable({"use_reentrant": True})

    tuning = {"num_prompts": 0, "bottleneck": 0, "num_prefixes": 2}
    torch.testing.assert_close(gradients(name, enable, **tuning), gradients(name, **tuning))


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated")
def test_reentrant_checkpointing_gives_gradients_of_masked_clips():
    found = []
    for reentrant in (False, True):
        model, x = build("WavLM")
        deterministic(moved(ipet.tune(model, 2, 4, dropout=0.0)))
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        mask = torch.ones(2, 8_000, dtype=torch.long)
        mask[1, 5_000:] = 0
        model.train()(x, attention_mask=mask).logits.square().sum().backward()
        found.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    torch.testing.assert_close(*found)
