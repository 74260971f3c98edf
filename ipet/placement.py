"""Device and data type of inserted parameters: those of the layer that they are inserted into.

Half precision: what is inserted into a model in float16 or bfloat16 is float32, as in PEFT
(``autocast_adapter_dtype``), and so becomes the head. An update of an optimiser is often smaller than the
distance of two bfloat16 numbers, and Adam's epsilon is 0 in float16. Inputs are cast to the parameters' type,
and an adapter's outputs back.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

HALF = (torch.float16, torch.bfloat16)


def device_of(layer: nn.Module, norm: nn.Module) -> torch.device:
    """Return the device on which a layer computes.

    Weights that accelerate has offloaded are on ``meta``; its hook knows the device of execution.
    """
    for module in (norm, layer):
        device = getattr(getattr(module, "_hf_hook", None), "execution_device", None)
        if device is not None:
            return torch.device(device)
    return reference_of(layer, norm).device


def reference_of(layer: nn.Module, norm: nn.Module) -> Tensor:
    """Return a parameter with the device and type of a layer's activations: its norm's weight, if it has one.

    Weights of products may be quantised, or held in the type of autocast.
    """
    weight = getattr(norm, "weight", None)
    return next(layer.parameters()) if weight is None else weight


def training_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which parameters inserted into a layer of type ``dtype`` are trained."""
    return torch.float32 if dtype in HALF else dtype


def place_inserted(tuned: nn.Module, layer: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Move what a tuned layer holds in addition to the library's layer to a device and a type, in place."""
    frozen = {id(p) for p in layer.parameters()}
    for module in tuned.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in frozen and (parameter.device, parameter.dtype) != (device, dtype):
                setattr(module, name, nn.Parameter(parameter.detach().to(device, dtype)))


def moved(device: torch.device, values: Iterable) -> list:
    """Return values with the tensors among them on a device."""
    return [value.to(device) if isinstance(value, Tensor) else value for value in values]


def compute_in_float32(part: nn.Module | nn.Parameter) -> None:
    """Convert a head in half precision to float32, in place; floating-point inputs are cast to float32."""
    if isinstance(part, nn.Parameter):
        part.data = part.data.float()
        return
    part.float()
    part.register_forward_pre_hook(cast_inputs, with_kwargs=True)


def cast_inputs(part: nn.Module, inputs: tuple, keywords: dict) -> tuple[tuple, dict]:
    """Cast half-precision inputs of a module to its own type; a forward pre-hook."""
    dtype = next(part.parameters()).dtype

    def cast(value):
        half = isinstance(value, Tensor) and value.dtype in HALF
        return value.to(dtype) if half else value

    return tuple(map(cast, inputs)), {name: cast(value) for name, value in keywords.items()}


def is_half(part: nn.Module | nn.Parameter) -> bool:
    """Return whether all of a part's parameters are in half precision."""
    parameters = [part] if isinstance(part, nn.Parameter) else list(part.parameters())
    return all(p.dtype in HALF for p in parameters)
