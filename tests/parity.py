"""The published check values: where they are, and the weights they were computed with."""

import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ipet.tuning import trainable_parameters

SHARED = Path(__file__).resolve().parents[2] / "shared"
PARITY = SHARED / "parity"
needs_parity = pytest.mark.skipif(not PARITY.is_dir(), reason="the check values (shared/parity) are missing")


def load(name):
    with np.load(PARITY / name) as file:
        return dict(file)


def det(name, shape, mean, std):
    """float32(mean + std * N(0, 1)), seeded by the name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return torch.from_numpy((mean + std * rng.standard_normal(shape)).astype(np.float32))


def draw(name, shape, model):
    """The deterministic tensor of that name under the rules of ``ast``, ``w2v2`` or ``heads``."""
    rules = json.loads((PARITY / "spec.json").read_text())[model]
    [(_, mean, std)] = [rule for rule in rules if re.search(rule[0], name)]
    return det(name, shape, mean, std)


def canonical_w2v2(name):
    name = name.replace("parametrizations.weight.original0", "weight_g")
    return name.replace("parametrizations.weight.original1", "weight_v")


def fill_inserted(backbone: nn.Module, model):
    """Give prompts and adapters their deterministic values; the check values call a prompt [n, D]."""
    with torch.no_grad():
        for name, tensor in trainable_parameters(backbone).items():
            shape = tensor.shape[1:] if name.startswith("prompts") else tensor.shape
            tensor.copy_(draw(name, tuple(shape), model).view_as(tensor))


def relative(got, want):
    """max |a - b| / max |b|; max |a - b| where b is zero, as the gradient of a dead ReLU is."""
    want = torch.as_tensor(want, dtype=torch.float64)
    scale = want.abs().max().item() or 1.0
    return (got.detach().double() - want).abs().max().item() / scale
