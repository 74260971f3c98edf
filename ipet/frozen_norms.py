"""Frozen batch norms: their running statistics are part of the frozen weights, and must not move."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


def keep_statistics(backbone: nn.Module) -> None:
    """Keep the norms of a frozen backbone that have running statistics in evaluation mode, in place.

    ``model.train()`` would let them follow the training clips: the frozen weights would no longer be those
    that the saved adapter belongs to.
    """
    for module in backbone.modules():
        if isinstance(module, _NormBase) and module.track_running_stats and not is_kept(module):
            module.register_forward_pre_hook(evaluate_frozen)
            module.is_frozen_norm = True


def release_statistics(part: nn.Module) -> None:
    """Let the norms of a trained part follow the training clips again, in place."""
    for module in part.modules():
        if is_kept(module):
            module.is_frozen_norm = False


def is_kept(module: nn.Module) -> bool:
    """Return whether a module's running statistics are frozen."""
    return getattr(module, "is_frozen_norm", False)


def evaluate_frozen(module: nn.Module, inputs: tuple) -> None:
    """Put a frozen norm into evaluation mode before it computes; a forward pre-hook."""
    if module.is_frozen_norm and module.training:
        module.eval()
