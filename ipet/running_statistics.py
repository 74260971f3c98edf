"""Running statistics of frozen normalisation layers, which training must not change.

A batch norm updates its running mean and variance in every forward pass in training mode, whether or not its
parameters are trained. A saved adapter holds none of them, so a model whose statistics have drifted cannot be
restored.
"""

from collections.abc import Collection

from torch import nn


def has_running_statistics(module: nn.Module) -> bool:
    """Return whether a module normalises by running statistics (batch, sync batch, instance norm)."""
    return getattr(module, "running_mean", None) is not None


def evaluate_only(module: nn.Module, inputs: tuple) -> None:
    """Switch a module to evaluation mode; a forward pre-hook, so that ``model.train()`` has no effect."""
    module.training = False


def freeze_statistics(model: nn.Module, trained: Collection[nn.Module] = ()) -> None:
    """Keep the normalisation layers of a model in evaluation mode, in place.

    Dropout and all other modules still follow ``model.train()``.

    Args:
        model: Model whose normalisation layers keep their running statistics.
        trained: Parts that are trained as they are, with their statistics.
    """
    excluded = {id(module) for part in trained for module in part.modules()}
    for module in model.modules():
        if has_running_statistics(module) and id(module) not in excluded:
            module.register_forward_pre_hook(evaluate_only)
