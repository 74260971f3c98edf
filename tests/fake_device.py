"""A GPU without a GPU: tensors that have a shape, a type and the device ``cuda``, and no values.

An operation on tensors of two devices or of two types fails as on a GPU. A tensor that was made before, and
is not among a model's parameters and buffers, is a real one and fails, too.
"""

import contextlib

import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class NoDoubles(TorchDispatchMode):
    """Fail where a float64 tensor lies on a device other than the CPU, as Apple silicon does."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Call the operation and check its results."""
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float64:
                assert tensor.device.type == "cpu", f"{func}: float64 on {tensor.device}"
        return result


PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution")  # names of aten's operators


class SameTypes(TorchDispatchMode):
    """Fail where two floating-point types are multiplied, as a GPU's kernels do and fake ones do not."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Check the operands and call the operation."""
        if func.overloadpacket.__name__ in PRODUCTS:
            found = {x.dtype for x in args if isinstance(x, torch.Tensor) and x.is_floating_point()}
            if len(found) > 1:
                raise RuntimeError(f"{func}: more than one dtype: {', '.join(sorted(map(str, found)))}")
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def fake_gpu(doubles=False):
    """Inside the block tensors are fake, and devices ``cuda`` and ``cuda:1`` are there."""
    with FakeTensorMode(), SameTypes(), contextlib.nullcontext() if doubles else NoDoubles():
        yield


@contextlib.contextmanager
def fake_autocast(dtype):
    """Mixed precision of the fake GPU; ``torch.autocast`` switches itself off where there is no real one."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", dtype != torch.float32)
    torch.set_autocast_dtype("cuda", dtype if dtype != torch.float32 else before[1])
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
        torch.clear_autocast_cache()


def to_fake(model: nn.Module, device="cuda") -> nn.Module:
    """Replace a model's parameters and buffers by fake ones on a device, in place."""
    made = {}

    def fake(tensor):
        if id(tensor) not in made:
            new = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
            if isinstance(tensor, nn.Parameter):
                new = nn.Parameter(new, requires_grad=tensor.requires_grad)
            made[id(tensor)] = new
        return made[id(tensor)]

    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                tensors[name] = None if tensor is None else fake(tensor)
    return model
