"""Activation checkpointing of tuned layers as transformers and timm offer it, reentrant or not.

The reentrant form computes gradients only where an input of the checkpointed function requires one, and only
of inputs that are passed as positions. The input of the first tuned layer comes from frozen modules and
requires none; transformers passes masks and WavLM's position bias as keywords.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn


def is_reentrant(checkpoint: Callable) -> bool:
    """Return whether a checkpointing function of transformers is the reentrant form."""
    return bool(getattr(checkpoint, "keywords", {}).get("use_reentrant", True))


def recompute(checkpoint: Callable, forward: Callable, inputs: tuple, keywords: dict):
    """Call ``forward`` through a checkpointing function so that its parameters get their gradients.

    Args:
        checkpoint: What transformers' ``gradient_checkpointing_enable`` has set.
        forward: Forward pass of a layer whose first argument is the tokens [B, T, D].
        inputs: Its arguments by position.
        keywords: Its arguments by name.
    """
    if not is_reentrant(checkpoint) or not torch.is_grad_enabled():
        return checkpoint(partial(forward, **keywords), *inputs)
    names = [name for name, value in keywords.items() if isinstance(value, Tensor)]
    others = {name: value for name, value in keywords.items() if name not in names}
    num_named = len(names)

    def by_position(*values):
        """Call ``forward`` with the last values by their names."""
        positional = values[: len(values) - num_named]
        return forward(*positional, **dict(zip(names, values[len(positional) :])), **others)

    tokens = inputs[0] if inputs[0].requires_grad else inputs[0].detach().requires_grad_()
    return checkpoint(by_position, tokens, *inputs[1:], *(keywords[name] for name in names))


def require_input_gradients(model: nn.Module) -> None:
    """Let reentrant checkpointing of timm's vision transformers reach the inserted parameters, in place.

    timm checkpoints its blocks from outside, so the module before them has to give a tensor with a gradient.
    """
    for module in model.modules():
        if hasattr(module, "grad_checkpointing") and isinstance(getattr(module, "norm_pre", None), nn.Module):
            module.norm_pre.register_forward_hook(partial(with_gradient, use_reentrant=timm_is_reentrant))


def timm_is_reentrant() -> bool:
    """Return whether timm's checkpointing is set to the reentrant form."""
    from timm.layers import use_reentrant_ckpt

    return use_reentrant_ckpt()


def with_gradient(module: nn.Module, inputs: tuple, output: Tensor, use_reentrant: Callable) -> Tensor:
    """Return an output that requires a gradient for reentrant checkpointing; a forward hook."""
    needed = torch.is_grad_enabled() and not output.requires_grad and use_reentrant()
    return output.detach().requires_grad_() if needed else output
