"""What prompts and adapters do in a layer, measured while clips pass, and what a layer is without them.

Everything is a running sum: memory does not grow with the clips.

    adapter         mean over tokens of ||s A(u)|| / ||FFN||  and of  ||s A(u)|| / ||u||
    attention       mean over queries of the weights on K(P), beside n / (n + T): what they would be if all
                    keys were alike
    similarity      linear CKA of a layer's pooled states X, Y [N, D], centred:
                    ||Y^T X||^2 / (||X^T X|| ||Y^T Y||), Frobenius norms

Source of CKA: Similarity of Neural Network Representations Revisited (Kornblith et al. 2019).
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from ipet.attention import attention, attention_weights
from ipet.tuning import TunedLayer, library_layers, tuned_layers

Part = tuple[int, str]  # of a layer, counted from 0: "prompts", "adapter" or "lora"
HELD = {"prompts": ("prompt", "prefix"), "adapter": ("adapter", "attention_adapter")}  # by a layer, where
COMPUTED = {"prompts": ("given_prepended",)}  # keys and values that ``prompts_computed`` made of them
LORA = "lora."  # begins the name of a low-rank update's two matrices
TINY = 1e-30


class Mean:
    """A running mean of tensors over all their axes but the first ones.

    Args:
        kept: how many axes are kept.
    """

    def __init__(self, kept: int = 0):
        self.kept, self.total, self.count = kept, torch.zeros((), dtype=torch.float64), 0

    def add(self, values: Tensor) -> None:
        """Take in values [K1, ..., N1, ...]."""
        values = values.float().reshape(*values.shape[: self.kept], -1)
        self.total = self.total + values.sum(dim=-1).cpu().double()
        self.count += values.shape[-1]

    @property
    def value(self):
        """A number, or a list of [K1] numbers; None where nothing was taken in."""
        return (self.total / self.count).tolist() if self.count else None


class LayerWatch:
    """Looks on while a tuned layer computes; what the layer gives is not changed.

    Args:
        layer: with prompts, prefixes or an adapter.
    """

    def __init__(self, layer: TunedLayer):
        self.layer = layer
        self.to_ffn, self.to_state, self.token_norm = Mean(), Mean(), Mean()
        self.attended, self.uniform = Mean(kept=1), Mean()
        self.active = Mean(kept=1)  # share of the tokens for which each unit is above 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside the block every forward pass of the layer is taken in."""
        layer = self.layer
        with ExitStack() as stack:
            stack.callback(layer.register_forward_pre_hook(self.see_input).remove)
            layer.compute_attention = self.see_attention
            stack.callback(delattr, layer, "compute_attention")
            if layer.adapter is not None:
                layer.adapt = self.see_adapter
                stack.callback(delattr, layer, "adapt")
                stack.callback(layer.adapter.down.register_forward_hook(self.see_units).remove)
            yield

    def see_input(self, layer: nn.Module, inputs: tuple) -> None:
        """Take in tokens [B, T, D]."""
        self.token_norm.add(inputs[0].float().norm(dim=-1))

    def see_adapter(self, u: Tensor, g: Tensor) -> Tensor:
        """What ``TunedLayer.adapt`` gives; takes in the size of s A beside g and u."""
        given = type(self.layer).adapt(self.layer, u, g)
        added = (given - u if self.layer.adapter.residual else given).float().norm(dim=-1)  # [B, T]
        self.to_ffn.add(added / g.float().norm(dim=-1).clamp_min(TINY))
        self.to_state.add(added / u.float().norm(dim=-1).clamp_min(TINY))
        return given

    def see_units(self, down: nn.Module, inputs: tuple, output: Tensor) -> None:
        """Take in the adapter's hidden values before the ReLU, [B, T, r]."""
        self.active.add((output > 0).movedim(-1, 0))

    def see_attention(self, q: Tensor, k: Tensor, v: Tensor, prepended, drop: float, mask=None) -> Tensor:
        """What ``attention`` gives; takes in the weights on the prompts, of one clip after another."""
        if prepended is not None:
            prompt_k = prepended[0].expand(len(q), -1, -1, -1)
            with torch.autocast(q.device.type, enabled=False):
                for i in range(len(q)):  # all clips' weights [B, H, t, n + T] could be gigabytes
                    self.see_clip(
                        q[i : i + 1].float(),
                        k[i : i + 1].float(),
                        prompt_k[i : i + 1].float(),
                        None if mask is None else mask[i : i + 1],
                    )
        return attention(q, k, v, prepended, drop, mask)

    def see_clip(self, q: Tensor, k: Tensor, prompt_k: Tensor, mask: Tensor | None) -> None:
        """[1, H, t, d], [1, H, T, d], [1, H, n, d] of one clip; see ``attention``."""
        n = prompt_k.shape[2]
        weights = attention_weights(q, k, prompt_k, mask)
        self.attended.add(weights[0, :, :, :n].sum(dim=-1))  # [H, t]
        seen = torch.tensor(float(k.shape[2]))
        if mask is not None and mask.dtype == torch.bool:
            seen = mask.sum(dim=-1)
        self.uniform.add(n / (n + seen))

    def results(self) -> dict:
        """JSON values by name; None for what the layer has not.

        ``attention`` and ``uniform`` from 0 to 1, ``heads`` the attention of each head; ``prompts`` their
        number, ``prompt_norm`` and ``token_norm`` mean Euclidean norms of prompts and of the tokens that
        enter the layer; ``adapter_to_ffn`` and ``adapter_to_state`` ratios; ``units_ever`` the share of the
        adapter's hidden units that are above 0 for a token at least, ``units_active`` that of an average
        token.
        """
        layer, heads, active = self.layer, self.attended.value, self.active.value
        keys = [part.shape[1] for part in (layer.prompt, layer.prefix) if part is not None]
        return {
            "prompts": sum(keys) or None,
            "attention": None if heads is None else sum(heads) / len(heads),
            "uniform": self.uniform.value,
            "heads": heads,
            "prompt_norm": None if layer.prompt is None else layer.prompt[0].norm(dim=-1).mean().item(),
            "token_norm": self.token_norm.value,
            "adapter_to_ffn": self.to_ffn.value,
            "adapter_to_state": self.to_state.value,
            "units_ever": None if active is None else sum(share > 0 for share in active) / len(active),
            "units_active": None if active is None else sum(active) / len(active),
        }


@contextmanager
def watched(backbone: nn.Module) -> Iterator[list[LayerWatch]]:
    """A ``LayerWatch`` of every tuned layer, all of them watching inside the block."""
    watches = [LayerWatch(layer) for layer in tuned_layers(backbone)]
    with ExitStack() as stack:
        for watch in watches:
            stack.enter_context(watch.watching())
        yield watches


# Switching off ------------------------------------------------------------------------------------


def kinds_of(backbone: nn.Module) -> list[str]:
    """What its layers hold that can be switched off: some of ``prompts``, ``adapter`` and ``lora``."""
    kinds = [
        kind
        for kind, places in HELD.items()
        if any(getattr(layer, place) is not None for layer in tuned_layers(backbone) for place in places)
    ]
    return kinds + ["lora"] * any(update_of(module) is not None for module in backbone.modules())


def update_of(module: nn.Module) -> int | None:
    """The layer to which a low-rank update's second matrix B belongs, or None for any other module."""
    name = getattr(module, "trainable_name", "")
    return int(name.split(".")[1]) if name.startswith(LORA) and name.endswith(".up") else None


@contextmanager
def without(backbone: nn.Module, parts: Iterable[Part]) -> Iterator[None]:
    """Inside the block these parts are switched off; without all of them the backbone is the frozen one."""
    layers = tuned_layers(backbone)
    updates = [(update_of(module), module) for module in backbone.modules()]
    with ExitStack() as stack:
        for i, kind in parts:
            for place in (*HELD.get(kind, ()), *COMPUTED.get(kind, ())):
                stack.callback(setattr, layers[i], place, getattr(layers[i], place))
                setattr(layers[i], place, None)
            for layer, module in updates:
                if kind == "lora" and layer == i:
                    stack.callback(module.register_forward_hook(silenced).remove)
        yield


def silenced(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    """Zeros in the place of a module's output."""
    return torch.zeros_like(output)


# Similarity ---------------------------------------------------------------------------------------


class LinearCKA:
    """Linear CKA of two representations of the same N clips, from 0 to 1; memory is 3 D^2, whatever N.

    Fewer clips than dimensions make it large for any two representations.
    """

    def __init__(self):
        self.count = 0

    def add(self, x: Tensor, y: Tensor) -> None:
        """Take in [B, D] and [B, E] of the same clips."""
        x, y = x.cpu().double(), y.cpu().double()
        if not self.count:
            self.origin = x.mean(dim=0), y.mean(dim=0)  # near the mean, so that the centring cancels little
            self.sums = [x.new_zeros(part.shape[1]) for part in (x, y)]
            self.xx, self.yy, self.yx = 0, 0, 0
        x, y = x - self.origin[0], y - self.origin[1]
        self.count += len(x)
        self.sums = [total + part.sum(dim=0) for total, part in zip(self.sums, (x, y))]
        self.xx, self.yy, self.yx = self.xx + x.T @ x, self.yy + y.T @ y, self.yx + y.T @ x

    @property
    def value(self) -> float | None:
        """The similarity; None where one of the two is the same for all clips."""
        if not self.count:
            return None
        mean_x, mean_y = (total / self.count for total in self.sums)
        xx = self.xx - self.count * mean_x.outer(mean_x)
        yy = self.yy - self.count * mean_y.outer(mean_y)
        yx = self.yx - self.count * mean_y.outer(mean_x)
        scale = (xx.norm() * yy.norm()).item()
        return (yx.square().sum() / scale).item() if scale > 0 else None


@contextmanager
def pooled_states(backbone: nn.Module) -> Iterator[dict[int, Tensor]]:
    """Inside the block, by layer from 0: the mean over tokens of what it last gave, [B, D]."""
    states: dict[int, Tensor] = {}

    def keep(i: int):
        """A hook of layer i."""

        def hook(layer: nn.Module, inputs: tuple, output) -> None:
            y = output[0] if isinstance(output, tuple) else output  # WavLM's gives its bias, too
            states[i] = y.float().mean(dim=1)

        return hook

    with ExitStack() as stack:
        for i, layer in enumerate(library_layers(backbone)):  # a tuned layer calls its library layer's hooks
            stack.callback(layer.register_forward_hook(keep(i)).remove)
        yield states
