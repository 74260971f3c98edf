"""Memory of a training: how much it takes, and activations computed again so that it takes less."""

import functools
import sys

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ipet import distributed
from ipet.tuning import library_layers, tuned_layers

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None


def peak_memory(device: torch.device) -> int:
    """Bytes of the process that needed most: its GPU's allocations, or its resident set so far.

    0 on Windows, which does not tell.
    """
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    elif resource is None:
        peak = 0
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return distributed.max_over_ranks(peak)


def checkpoint_activations(model: nn.Module) -> None:
    """Let every layer of a model's backbone keep its input alone for the backward pass, in place.

    The rest is computed again there, with the same dropout: the same gradients, for the time of a
    second forward pass.

    Args:
        model: its ``backbone`` holds tuned layers, or the library's own.

    Source: Training Deep Nets with Sublinear Memory Cost (Chen et al. 2016).
    """
    for layer in tuned_layers(model.backbone) or library_layers(model.backbone):
        layer.forward = functools.partial(forward_again, layer.forward)


def forward_again(forward, *args, **kwargs):
    """What ``forward`` returns; where gradients are asked for, its activations are computed twice."""
    if not torch.is_grad_enabled():
        return forward(*args, **kwargs)
    return checkpoint(forward, *args, use_reentrant=False, **kwargs)
