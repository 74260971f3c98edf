"""Models on a GPU that is not there: shapes, types and devices are computed, and no numbers."""

import torch
from torch import nn
from torch._subclasses import FakeTensorMode


def fake_cuda():
    """Return the mode under which ``device="cuda"`` exists, and a tensor elsewhere is an error in its use."""
    return FakeTensorMode(allow_non_fake_inputs=False)


def to_fake_cuda(model: nn.Module) -> nn.Module:
    """Put a model's parameters and buffers onto the GPU that is not there, in place; inside ``fake_cuda``."""
    for module in model.modules():
        for name, p in list(module._parameters.items()):
            if p is not None:
                moved = torch.empty(p.shape, dtype=p.dtype, device="cuda")
                module._parameters[name] = nn.Parameter(moved, requires_grad=p.requires_grad)
        for name, b in list(module._buffers.items()):
            if b is not None:
                module._buffers[name] = torch.empty(b.shape, dtype=b.dtype, device="cuda")
    return model
