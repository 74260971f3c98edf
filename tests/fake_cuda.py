"""Models on a GPU that is not there: shapes, types and devices are computed, and no numbers."""

import contextlib

import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ipet.precision import PRECISIONS

PRODUCTS = (
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "convolution",
    "_scaled_dot_product",
)  # names of aten's operators


class SameTypes(TorchDispatchMode):
    """Refuse products of two floating-point types, as a GPU's kernels do; those of no GPU are not asked."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__.startswith(PRODUCTS):
            found = {x.dtype for x in args if isinstance(x, torch.Tensor) and x.is_floating_point()}
            if len(found) > 1:
                raise RuntimeError(f"{func}: tensors of more than one dtype: {', '.join(map(str, found))}")
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def fake_cuda():
    """Let ``device="cuda"`` exist; a tensor elsewhere, or of another type, is an error where it is used."""
    with FakeTensorMode(allow_non_fake_inputs=False), SameTypes():
        yield


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


@contextlib.contextmanager
def fake_autocast(precision: str):
    """Multiply matrices in a precision on ``cuda``; ``torch.autocast`` is without effect where no GPU is."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", precision != "fp32")
    torch.set_autocast_dtype("cuda", PRECISIONS[precision])
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
