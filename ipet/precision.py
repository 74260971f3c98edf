"""Mixed precision: what matrices are multiplied in, by autocast."""

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: str, precision: str) -> torch.autocast:
    """The context in which matrices are multiplied in ``bf16`` or ``fp16``; without effect for ``fp32``."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device, dtype, enabled=dtype != torch.float32)


def hold_frozen(model: nn.Module, precision: str) -> None:
    """Keep the frozen weights of products and convolutions as autocast multiplies them, in place.

    Autocast would cast them anew in every step, and both copies would take memory. What a model computes
    inside ``autocast`` stays the same, bit for bit; outside it works no longer.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | _ConvNd):
            for parameter in module.parameters(recurse=False):
                if not parameter.requires_grad:
                    parameter.data = parameter.data.to(PRECISIONS[precision])
