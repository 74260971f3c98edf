"""The method: embedding prompts and parallel adapters in every layer of a frozen transformer.

    x   [B, T, D]   tokens entering a layer
    P   [1, n, D]   embedding prompts of this layer
    A               adapter of this layer: D -> r -> ReLU -> dropout -> D, its output times s

    pre-norm layer (ViT, AST)               post-norm layer (wav2vec 2.0, HuBERT, WavLM)
    z = [P ; x]                             z = [P ; x]
    u = z + MHA(LN1(z))                     u = z + MHA(z)
    y = u + FFN(LN2(u)) + s A(u)            v = LN1(u)
                                            y = LN2(v + FFN(v) + s A(u))
    the first n tokens of y are dropped

The outputs at the prompts' positions are dropped, so prompts matter as keys and values alone:

    MHA(z) at x  =  softmax(Q(x) [K(P) ; K(x)]^T) [V(P) ; V(x)]

K(P) and V(P) do not depend on the clip: they are computed once a step and expanded over the batch.
Their queries, attention rows, feed-forward and adapter outputs are never computed. Nor are those of
tokens whose outputs nothing reads: AST's embedding is made of two tokens of its last layer.

Two other places for the adapter, h = MHA(...) and g = FFN(...) being what the two blocks add:

    parallel      u = z + h              y = ... + g + s A(u)      the method; also He et al. 2022
    sequential    u = z + h              y = ... + g + s A(g)      as He et al. 2022 compare it
    houlsby       u = z + h + s A1(h)    y = ... + g + s A2(g)     Houlsby et al. 2019

Prefixes (Li and Liang 2021) are learnt keys and values in the place of K(P) and V(P).

WavLM adds a gated bias of the distance between two tokens to the scores. Prompts and prefixes have no
position, as those of AST have no positional embedding: the bias towards them is 0.

Source: Integrated Parameter-Efficient Tuning for General-Purpose Audio Models (ICASSP 2023).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ipet.attention import attention, check_request, full_mask, report_weights, split_heads
from ipet.names import own_name
from ipet.placement import device_of, moved, place_inserted, reference_of, training_dtype
from ipet.recomputation import recompute

INITS = ("zero", "normal")
POSITIONS = ("parallel", "sequential", "houlsby")
PREFIX_STD = 0.02  # of the transformers' own embeddings
TUNED: dict[str, type["TunedLayer"]] = {}  # a library's layer, by its class's full name: how it is tuned


@dataclass(frozen=True)
class Tuning:
    """What is inserted into every layer; nothing at all leaves the backbone to full fine-tuning.

    Args:
        num_prompts: n, embedding prompts a layer; 0 for none.
        bottleneck: r, the adapter's hidden width; 0 for no adapter.
        scale: s, the factor of the adapter's output.
        dropout: after the adapter's ReLU.
        residual: the adapter adds its input to its output, as the authors' wav2vec 2.0 does.
        init: ``zero`` starts the adapter silent; ``normal`` (0.02) is what the authors' code does.
        position: where the adapter is, ``parallel``, ``sequential`` or ``houlsby`` (two a layer).
        num_prefixes: learnt keys and values a layer; 0 for none.

    Raises:
        ValueError: a negative size, a dropout outside [0, 1), an unknown ``init`` or ``position``;
            ``residual`` elsewhere than parallel.
    """

    num_prompts: int = 0
    bottleneck: int = 0
    scale: float = 0.1
    dropout: float = 0.1
    residual: bool = False
    init: str = "zero"
    position: str = "parallel"
    num_prefixes: int = 0

    def __post_init__(self):
        if self.num_prompts < 0 or self.bottleneck < 0 or self.num_prefixes < 0:
            raise ValueError(
                f"{self.num_prompts} prompts, a bottleneck of {self.bottleneck} and {self.num_prefixes} "
                "prefixes: each must be 0 (off) or more"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"the adapter's dropout is {self.dropout}; it must lie in [0, 1)")
        if self.init not in INITS:
            raise ValueError(f"the adapter's init is {self.init!r}; accepted: {', '.join(INITS)}")
        if self.position not in POSITIONS:
            raise ValueError(f"the adapter's position is {self.position!r}; accepted: {', '.join(POSITIONS)}")
        if self.residual and self.position != "parallel":
            # After a block it would double the block's output; the authors have it beside one only.
            raise ValueError(f"an adapter with residual is parallel; found position {self.position!r}")

    @property
    def settings(self) -> dict:
        """The arguments, as JSON values."""
        return asdict(self)

    def __bool__(self) -> bool:
        return bool(self.num_prompts or self.bottleneck or self.num_prefixes)


class Adapter(nn.Module):
    """s A(u) = s (W_up dropout(ReLU(W_down u + b_down)) + b_up)."""

    def __init__(self, width: int, tuning: Tuning):
        super().__init__()
        self.down = nn.Linear(width, tuning.bottleneck)  # Kaiming-uniform, a = sqrt(5)
        self.dropout = nn.Dropout(tuning.dropout)
        self.up = nn.Linear(tuning.bottleneck, width)
        self.scale, self.residual = tuning.scale, tuning.residual
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        if tuning.init == "normal":
            nn.init.normal_(self.down.weight, std=0.02)
            nn.init.normal_(self.up.weight, std=0.02)

    def forward(self, u: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        x = u
        if not torch.is_autocast_enabled(u.device.type):
            x = u.to(self.down.weight.dtype)  # float32 in a half-precision layer
        a = self.scale * self.up(self.dropout(F.relu(self.down(x))))
        a = a if x is u else a.to(u.dtype)
        return u + a if self.residual else a


def tunes(*layers: str) -> Callable:
    """Register the decorated ``TunedLayer`` for library layers, given as ``package.module.Class``."""

    def add(kind: type["TunedLayer"]) -> type["TunedLayer"]:
        """Enter the class, and leave it as it is."""
        TUNED.update(dict.fromkeys(layers, kind))
        return kind

    return add


class TunedLayer(nn.Module):
    """A frozen library layer with its prompts, its prefixes and its adapter."""

    compute_attention = staticmethod(attention)  # ``insight`` gives a layer one that looks on
    norm_name = "layer_norm"  # of the library's layer, a norm of its width

    def __init__(self, layer: nn.Module, width: int, tuning: Tuning):
        super().__init__()
        self.layer, self.position = layer, tuning.position
        self.prompt = self.prefix = self.adapter = self.attention_adapter = None
        self.given_prepended = None  # in place of what is computed here: see prompts_computed, MultiTask
        if tuning.num_prompts:
            # Xavier-uniform sees [1, n, D] as fan-in n D and fan-out D, as the authors' does.
            self.prompt = nn.Parameter(torch.empty(1, tuning.num_prompts, width))
            nn.init.xavier_uniform_(self.prompt)
        if tuning.num_prefixes:
            self.prefix = nn.Parameter(torch.empty(2, tuning.num_prefixes, width))  # keys, values
            nn.init.normal_(self.prefix, std=PREFIX_STD)
        if tuning.bottleneck:
            self.adapter = Adapter(width, tuning)
        if tuning.bottleneck and tuning.position == "houlsby":
            self.attention_adapter = Adapter(width, tuning)

        self.register_forward_hook(heard_by_the_layers_hooks)

    def __call__(self, *inputs, **keywords):
        """Compute on the layer's device, with recomputation where transformers' checkpointing is enabled."""
        forward = super().__call__
        if inputs and inputs[0].device != (device := self.device):  # of several, as ``device_map`` says
            inputs, keywords = moved(device, inputs), dict(zip(keywords, moved(device, keywords.values())))
        if self.training and getattr(self.layer, "gradient_checkpointing", False):
            return recompute(self.layer._gradient_checkpointing_func, forward, inputs, keywords)
        return forward(*inputs, **keywords)

    @property
    def norm(self) -> nn.Module:
        """A norm of the library's layer, whose device and type are those of the tokens; or the layer."""
        return getattr(self.layer, self.norm_name, self.layer)

    @property
    def device(self) -> torch.device:
        """Device on which the layer computes."""
        return device_of(self.layer, self.norm)

    def place(self, dtype: torch.dtype | None = None) -> "TunedLayer":
        """Move what was inserted to the layer's device and ``dtype``; None: see ``training_dtype``."""
        dtype = dtype or training_dtype(reference_of(self.layer, self.norm).dtype)
        place_inserted(self, self.layer, self.device, dtype)
        return self

    @property
    def num_heads(self) -> int:
        """H."""
        return self.attention.num_heads

    def adapted(self, h: Tensor) -> Tensor:
        """[B, T, D], the attention's output -> h + s A1(h) (houlsby), or h."""
        return h if self.attention_adapter is None else h + self.attention_adapter(h)

    def adapt(self, u: Tensor, g: Tensor) -> Tensor | float:
        """[B, T, D], the layer's state and the feed-forward's output -> s A(u), s A(g), or 0."""
        if self.adapter is None:
            return 0.0
        return self.adapter(u if self.position == "parallel" else g)

    def prepended(self) -> tuple[Tensor, Tensor] | None:
        """Keys and values [1 or B, H, n, D / H] that every query sees before the tokens' own, or None."""
        given = self.given_prepended  # read once: another thread may set it
        if given is not None:
            return given()
        parts = []
        if self.prompt is not None:
            prompt = self.prompt.to(reference_of(self.layer, self.norm).dtype)
            parts.append(self.project(prompt))  # K(P), V(P)
        if self.prefix is not None:
            parts.append(split_heads(self.prefix, self.num_heads).split(1))
        if not parts:
            return None
        keys, values = (torch.cat(part, dim=2) for part in zip(*parts))
        return keys, values


def heard_by_the_layers_hooks(tuned: TunedLayer, inputs: tuple, output):
    """Call what was hooked to the library's layer, such as transformers' recorder of hidden states."""
    for hook in tuned.layer._forward_hooks.values():
        replaced = hook(tuned.layer, inputs, output)
        output = output if replaced is None else replaced
    return output


@tunes("timm.models.vision_transformer.Block")
class PreNormLayer(TunedLayer):
    """A layer of timm's vision transformers (AST); with ``Tuning()`` the layer as it is."""

    norm_name = "norm1"

    def __init__(self, layer: nn.Module, tuning: Tuning):
        if layer.attn.gate is not None:
            raise TypeError("attention with an output gate is not supported; expected timm's plain ViT")
        super().__init__(layer, layer.norm1.normalized_shape[0], tuning)

    @property
    def attention(self) -> nn.Module:
        """The library's."""
        return self.layer.attn

    def forward(self, x: Tensor, num_outputs: int | None = None, attn_mask: Tensor | None = None) -> Tensor:
        """[B, T, D] -> [B, T, D], or [B, t, D]: the first t tokens' outputs, the others' not computed.

        Args:
            attn_mask: [B, 1, 1, T] True where there is a token of the clip; see ``attention``.
        """
        f = self.layer
        h = self.attend(f.norm1(x), num_outputs, attn_mask)  # h = MHA(LN1(x)), P in keys, values
        h = f.drop_path1(f.ls1(h))
        u = x[:, :num_outputs] + self.adapted(h)  # u = x + h, or x + h + s A1(h)
        g = f.drop_path2(f.ls2(f.mlp(f.norm2(u))))  # g = FFN(LN2(u))
        return u + g + self.adapt(u, g)  # y = u + g + s A(u), or u + g + s A(g)

    def attend(self, x: Tensor, num_outputs: int | None, mask: Tensor | None) -> Tensor:
        """[B, T, D] -> [B, t, D]: the first t tokens' attention over the prompts and x."""
        a = self.attention
        prepended = self.prepended()
        if prepended is None and num_outputs is None:
            return a(x, attn_mask=mask)
        q, k, v = (split_heads(part, a.num_heads) for part in a.qkv(x).chunk(3, dim=-1))
        dropout = a.attn_drop.p if a.training else 0.0
        q, k = a.q_norm(q[:, :, :num_outputs]), a.k_norm(k)
        out = self.compute_attention(q, k, v, prepended, dropout, mask)
        return a.proj_drop(a.proj(a.norm(out)))

    def project(self, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """[1, n, D] -> K(LN1(P)), V(LN1(P)), each [1, H, n, D / H]."""
        a = self.attention
        weight, bias = a.qkv.weight, a.qkv.bias  # rows: queries, keys, values
        kv, kv_bias = weight[a.attn_dim :], bias[a.attn_dim :] if bias is not None else None
        projected = F.linear(self.layer.norm1(prompt), kv, kv_bias)  # [1, n, 2 D]
        k, v = (split_heads(part, a.num_heads) for part in projected.chunk(2, dim=-1))
        return a.k_norm(k), v


@tunes(
    "transformers.models.wav2vec2.modeling_wav2vec2.Wav2Vec2EncoderLayer",
    "transformers.models.hubert.modeling_hubert.HubertEncoderLayer",
)
class PostNormLayer(TunedLayer):
    """A layer of transformers' wav2vec 2.0 or HuBERT (base)."""

    def __init__(self, layer: nn.Module, tuning: Tuning):
        super().__init__(layer, layer.layer_norm.normalized_shape[0], tuning)

    @property
    def attention(self) -> nn.Module:
        """The library's."""
        return self.layer.attention

    def forward(self, x: Tensor, attention_mask: Tensor | None = None, **kwargs) -> Tensor:
        """[B, T, D], mask [B, 1, T, T] or None -> [B, T, D]."""
        f = self.layer
        h = f.dropout(self.attend(x, attention_mask, **kwargs))  # h = MHA(x), P in keys, values
        u = x + self.adapted(h)  # u = x + h, or x + h + s A1(h)
        v = f.layer_norm(u)  # v = LN1(u)
        g = f.feed_forward(v)  # g = FFN(v)
        return f.final_layer_norm(v + g + self.adapt(u, g))  # y = LN2(v + g + s A(u)), or ... s A(g)

    def attend(self, x: Tensor, mask: Tensor | None, **kwargs) -> Tensor:
        """[B, T, D] -> [B, T, D]: attention over the prompts and x."""
        a = self.attention
        prepended = self.prepended()
        if prepended is None:
            return a(x, attention_mask=mask, **kwargs)[0]
        check_request(a, **kwargs)
        return self.attend_all(x, prepended, full_mask(mask))

    def attend_all(self, x: Tensor, prepended, mask: Tensor | None) -> Tensor:
        """[B, T, D], prepended keys and values or None -> [B, T, D]."""
        a = self.attention
        q, k, v = (split_heads(project(x), a.num_heads) for project in (a.q_proj, a.k_proj, a.v_proj))
        dropout = a.dropout if a.training else 0.0
        h = a.out_proj(self.compute_attention(q, k, v, prepended, dropout, mask))
        report_weights(a, h, q, k, prepended, mask)
        return h

    def project(self, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """[1, n, D] -> K(P), V(P), each [1, H, n, D / H]."""
        a = self.attention
        return split_heads(a.k_proj(prompt), a.num_heads), split_heads(a.v_proj(prompt), a.num_heads)


@tunes("transformers.models.wavlm.modeling_wavlm.WavLMEncoderLayer")
class WavLMLayer(PostNormLayer):
    """A layer of transformers' WavLM (base): the first one makes the position bias for all of them.

    Source: WavLM (Chen et al. 2022).
    """

    def forward(self, x: Tensor, attention_mask=None, position_bias=None, **kwargs) -> tuple[Tensor, Tensor]:
        """[B, T, D], mask [B, T] or None, bias [B H, T, T] or None -> [B, T, D] and the bias."""
        if position_bias is None:
            position_bias = self.layer.attention.compute_bias(x.shape[1], x.shape[1]).repeat(x.shape[0], 1, 1)
        return super().forward(x, attention_mask, position_bias=position_bias, **kwargs), position_bias

    def attend(self, x: Tensor, mask: Tensor | None, position_bias: Tensor, **kwargs) -> Tensor:
        """[B, T, D] -> [B, T, D]: attention over the prompts and x."""
        a = self.attention
        prepended = self.prepended()
        # The library's form takes the weights out of the projections: it would pass by what wraps them. And
        # it hands torch a mask and a bias of two types, of which torch warns.
        if prepended is None and mask is None and type(a.q_proj) is nn.Linear:
            return a(x, attention_mask=mask, position_bias=position_bias, **kwargs)[0]
        bias = self.gate(x) * position_bias.unflatten(0, (x.shape[0], -1))  # [B, H, T, T]
        if mask is not None:
            bias = bias.masked_fill(mask.ne(1)[:, None, None], float("-inf"))
        return self.attend_all(x, prepended, bias)

    def gate(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, H, T, 1], how strongly a query heeds distances."""
        a = self.attention
        g = a.gru_rel_pos_linear(split_heads(x, a.num_heads)).unflatten(-1, (2, 4)).sum(-1)  # [B, H, T, 2]
        update, reset = g.sigmoid().chunk(2, dim=-1)
        return update * (reset * a.gru_rel_pos_const - 1) + 2


def tune(backbone: nn.Module, tuning: Tuning) -> nn.Module:
    """Freeze a backbone and insert prompts, prefixes and adapters into each of its layers, in place.

    Args:
        backbone: holds layers of timm's ViT or of transformers' wav2vec 2.0, HuBERT or WavLM.
        tuning: what to insert; with nothing to insert, the backbone stays as it is, trainable.

    Returns:
        ``backbone``, with the attributes ``tuning`` and ``frozen``.

    Raises:
        TypeError: none of its layers is of a known kind.
    """
    backbone.tuning, backbone.frozen = tuning, bool(tuning)
    return wrap_layers(freeze(backbone), tuning) if tuning else backbone


def freeze(backbone: nn.Module) -> nn.Module:
    """Nothing of the backbone is trained from now on, in place; its attribute ``frozen`` says so."""
    backbone.requires_grad_(False)
    for module in backbone.modules():
        if hasattr(module, "_freeze_parameters"):
            # Without it transformers asks for the gradient of the frozen convolutions' output. (Only
            # two of the three models have the public freeze_feature_encoder, which does no more.)
            module._freeze_parameters()
    backbone.frozen = True
    return backbone


def wrap_layers(backbone: nn.Module, tuning: Tuning, dtype: torch.dtype | None = None) -> nn.Module:
    """Replace each of a backbone's layers by a ``TunedLayer`` around it, in place.

    Args:
        backbone: Model with layers of a known kind.
        tuning: What is inserted.
        dtype: Type of the inserted parameters; None: that of the layer, float32 for half precision.

    Raises:
        TypeError: none of its layers is of a known kind.
    """
    known = {id(layer) for layer in library_layers(backbone)}
    for module in list(backbone.modules()):
        for name, child in list(module.named_children()):
            if id(child) in known:
                tuned = TUNED[full_name(child)](child, tuning).place(dtype)
                setattr(module, name, tuned.train(child.training))
    return backbone


def library_layers(backbone: nn.Module) -> list[nn.Module]:
    """The library's transformer layers, from the input to the output.

    Raises:
        TypeError: there is none of a known kind.
    """
    layers = [module for module in backbone.modules() if full_name(module) in TUNED]
    if not layers:
        raise TypeError(f"{type(backbone).__name__} holds no layer to tune; known kinds: {', '.join(TUNED)}")
    return layers


def full_name(module: nn.Module) -> str:
    """A module's class, as ``package.module.Class``."""
    return f"{type(module).__module__}.{type(module).__qualname__}"


def tuned_layers(model: nn.Module) -> list[TunedLayer]:
    """The tuned layers, from the input to the output."""
    return [module for module in model.modules() if isinstance(module, TunedLayer)]


@contextmanager
def prompts_computed(model: nn.Module) -> Iterator[None]:
    """K(P) and V(P) of every layer are computed once, for all that the model hears inside the block.

    For inference: what is trained must not change there. Enter it inside ``autocast``, where that is used.
    """
    layers = [layer for layer in tuned_layers(model) if layer.given_prepended is None]
    try:
        for layer in layers:
            with torch.no_grad():
                computed = layer.prepended()
            layer.given_prepended = partial(lambda computed: computed, computed)
        yield
    finally:
        for layer in layers:
            layer.given_prepended = None


def train_mode(model: nn.Module, frozen_dropout: bool) -> None:
    """Put a model into training mode.

    Args:
        frozen_dropout: True, as the authors train: the frozen layers' dropout, wav2vec 2.0's time
            masking and LayerDrop are on. False: only what is trained is in training mode, and AST's
            patchout, which is there only where it is asked for.
    """
    model.train()
    if getattr(model.backbone, "frozen", False) and not frozen_dropout:
        model.backbone.eval()
        for module in model.backbone.modules():
            parameters = list(module.parameters())
            trained = parameters and all(parameter.requires_grad for parameter in parameters)
            if trained:
                module.train()
        for module in getattr(model.backbone, "augmentations", ()):
            module.train()


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """What is trained, under names of our own: ``prompts.3``, ``adapters.3.down.weight``, ``head.fc.bias``.

    They stay the same when a library renames its modules. What else was inserted has its module's
    attribute ``trainable_name`` for a beginning. The rest, such as biases, has a name of ``ipet.names`` where
    the backbone's ``own_names`` says which table, and keeps its module's name elsewhere.
    """
    named = {}
    for i, layer in enumerate(tuned_layers(model)):
        if layer.prompt is not None:
            named[f"prompts.{i}"] = layer.prompt
        if layer.prefix is not None:
            named[f"prefixes.{i}"] = layer.prefix
        adapters = {f"adapters.{i}": layer.adapter}
        if layer.attention_adapter is not None:
            adapters = {
                f"adapters.{i}.attention": layer.attention_adapter,
                f"adapters.{i}.feed_forward": layer.adapter,
            }
        for adapter, module in adapters.items():
            if module is not None:
                named.update({f"{adapter}.{name}": p for name, p in module.named_parameters()})
    for module in model.modules():
        if hasattr(module, "trainable_name"):
            named.update({f"{module.trainable_name}.{name}": p for name, p in module.named_parameters()})
    inserted = {id(parameter) for parameter in named.values()}
    tables = [
        (f"{name}.{library}".lstrip("."), f"{name}.".lstrip("."), table)
        for name, module in model.named_modules()
        for library, table in getattr(module, "own_names", {}).items()
    ]
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in inserted:
            for beginning, above, table in tables:
                if name.startswith(beginning):
                    name = above + own_name(name.removeprefix(beginning), table)
            named[name] = parameter
    return named


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """(trainable parameters, all parameters)."""
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return trainable, sum(p.numel() for p in model.parameters())
