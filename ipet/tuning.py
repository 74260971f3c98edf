"""The method: embedding prompts and parallel adapters in every layer of a frozen transformer.

    x   [B, T, D]   tokens entering a layer
    P   [1, n, D]   embedding prompts of this layer
    A               adapter of this layer: D -> r -> ReLU -> dropout -> D, its output times s

    pre-norm layer (ViT, AST)               post-norm layer (wav2vec 2.0)
    z = [P ; x]                             z = [P ; x]
    u = z + MHA(LN1(z))                     u = z + MHA(z)
    y = u + FFN(LN2(u)) + s A(u)            v = LN1(u)
                                            y = LN2(v + FFN(v) + s A(u))
    the first n tokens of y are dropped

The outputs at the prompts' positions are dropped, so prompts matter as keys and values alone:

    MHA(z) at x  =  softmax(Q(x) [K(P) ; K(x)]^T) [V(P) ; V(x)]

K(P) and V(P) do not depend on the clip: they are computed once a step and expanded over the batch.
Their queries, attention rows, feed-forward and adapter outputs are never computed.

Source: Integrated Parameter-Efficient Tuning for General-Purpose Audio Models (ICASSP 2023).
"""

from dataclasses import asdict, dataclass

import timm.models.vision_transformer as timm_vit
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.wav2vec2 import modeling_wav2vec2

INITS = ("zero", "normal")


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

    Raises:
        ValueError: a negative size, a dropout outside [0, 1), an unknown ``init``.
    """

    num_prompts: int = 0
    bottleneck: int = 0
    scale: float = 0.1
    dropout: float = 0.1
    residual: bool = False
    init: str = "zero"

    def __post_init__(self):
        if self.num_prompts < 0 or self.bottleneck < 0:
            raise ValueError(
                f"{self.num_prompts} prompts and a bottleneck of {self.bottleneck}: "
                "both must be 0 (off) or more"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"the adapter's dropout is {self.dropout}; it must lie in [0, 1)")
        if self.init not in INITS:
            raise ValueError(f"the adapter's init is {self.init!r}; accepted: {', '.join(INITS)}")

    @property
    def settings(self) -> dict:
        """The arguments, as JSON values."""
        return asdict(self)

    def __bool__(self) -> bool:
        return bool(self.num_prompts or self.bottleneck)


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
        a = self.scale * self.up(self.dropout(F.relu(self.down(u))))
        return u + a if self.residual else a


class TunedLayer(nn.Module):
    """A frozen library layer with its prompts and its adapter."""

    def __init__(self, layer: nn.Module, width: int, tuning: Tuning):
        super().__init__()
        self.layer = layer
        self.prompt = self.adapter = None
        if tuning.num_prompts:
            # Xavier-uniform sees [1, n, D] as fan-in n D and fan-out D, as the authors' does.
            self.prompt = nn.Parameter(torch.empty(1, tuning.num_prompts, width))
            nn.init.xavier_uniform_(self.prompt)
        if tuning.bottleneck:
            self.adapter = Adapter(width, tuning)

    def adapt(self, u: Tensor) -> Tensor | float:
        """[B, T, D] -> s A(u) [B, T, D], or 0 without an adapter."""
        return self.adapter(u) if self.adapter is not None else 0.0


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[B, T, D] -> [B, H, T, D / H]."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def attention(q: Tensor, k: Tensor, v: Tensor, prompt_k: Tensor, prompt_v: Tensor, dropout, mask=None):
    """softmax(Q [K(P) ; K]^T) [V(P) ; V].

    Args:
        q, k, v: [B, H, T, D / H].
        prompt_k, prompt_v: [1, H, n, D / H], the same for every clip.
        dropout: of the attention weights.
        mask: [B, 1, T, T] True (or 0) where a query sees a key; every query sees every prompt.

    Returns:
        [B, T, D].
    """
    expand = (len(q), -1, -1, -1)
    k = torch.cat([prompt_k.expand(expand), k], dim=2)
    v = torch.cat([prompt_v.expand(expand), v], dim=2)
    if mask is not None:
        mask = F.pad(mask, (prompt_k.shape[2], 0), value=True if mask.dtype == torch.bool else 0.0)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    return out.transpose(1, 2).flatten(2)


class PreNormLayer(TunedLayer):
    """A layer of timm's vision transformers (AST)."""

    def __init__(self, layer: timm_vit.Block, tuning: Tuning):
        if layer.attn.gate is not None:
            raise TypeError("attention with an output gate is not supported; expected timm's plain ViT")
        super().__init__(layer, layer.norm1.normalized_shape[0], tuning)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        f = self.layer
        u = x + f.drop_path1(f.ls1(self.attend(f.norm1(x))))  # u = x + MHA(LN1(x)), P in keys, values
        return u + f.drop_path2(f.ls2(f.mlp(f.norm2(u)))) + self.adapt(u)  # u + FFN(LN2(u)) + s A(u)

    def attend(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]: attention over the prompts and x."""
        a = self.layer.attn
        if self.prompt is None:
            return a(x)
        weight, bias = a.qkv.weight, a.qkv.bias  # rows: queries, keys, values
        kv, kv_bias = weight[a.attn_dim :], bias[a.attn_dim :] if bias is not None else None
        q, k, v = (split_heads(part, a.num_heads) for part in a.qkv(x).chunk(3, dim=-1))
        prompt = F.linear(self.layer.norm1(self.prompt), kv, kv_bias)  # [1, n, 2 D]
        prompt_k, prompt_v = (split_heads(part, a.num_heads) for part in prompt.chunk(2, dim=-1))
        dropout = a.attn_drop.p if a.training else 0.0
        out = attention(a.q_norm(q), a.k_norm(k), v, a.k_norm(prompt_k), prompt_v, dropout)
        return a.proj_drop(a.proj(a.norm(out)))


class PostNormLayer(TunedLayer):
    """A layer of transformers' wav2vec 2.0 (base)."""

    def __init__(self, layer: modeling_wav2vec2.Wav2Vec2EncoderLayer, tuning: Tuning):
        super().__init__(layer, layer.layer_norm.normalized_shape[0], tuning)

    def forward(self, x: Tensor, attention_mask: Tensor | None = None, **kwargs) -> Tensor:
        """[B, T, D], mask [B, 1, T, T] or None -> [B, T, D]."""
        f = self.layer
        u = x + f.dropout(self.attend(x, attention_mask, **kwargs))  # u = x + MHA(x), P in keys, values
        v = f.layer_norm(u)  # v = LN1(u)
        return f.final_layer_norm(v + f.feed_forward(v) + self.adapt(u))  # LN2(v + FFN(v) + s A(u))

    def attend(self, x: Tensor, mask: Tensor | None, **kwargs) -> Tensor:
        """[B, T, D] -> [B, T, D]: attention over the prompts and x."""
        a = self.layer.attention
        if self.prompt is None:
            return a(x, attention_mask=mask, **kwargs)[0]
        q, k, v = (split_heads(project(x), a.num_heads) for project in (a.q_proj, a.k_proj, a.v_proj))
        prompt_k, prompt_v = (
            split_heads(project(self.prompt), a.num_heads) for project in (a.k_proj, a.v_proj)
        )
        dropout = a.dropout if a.training else 0.0
        return a.out_proj(attention(q, k, v, prompt_k, prompt_v, dropout, mask))


TUNED = {
    timm_vit.Block: PreNormLayer,
    modeling_wav2vec2.Wav2Vec2EncoderLayer: PostNormLayer,
}


def tune(backbone: nn.Module, tuning: Tuning) -> nn.Module:
    """Freeze a backbone and insert prompts and adapters into each of its layers, in place.

    Args:
        backbone: holds layers of timm's ViT or of transformers' wav2vec 2.0.
        tuning: what to insert; with nothing to insert, the backbone stays as it is, trainable.

    Returns:
        ``backbone``, with ``tuning`` as an attribute.

    Raises:
        TypeError: none of its layers is of a known kind.
    """
    backbone.tuning = tuning
    if not tuning:
        return backbone
    backbone.requires_grad_(False)
    for module in list(backbone.modules()):
        if hasattr(module, "freeze_feature_encoder"):
            # Without it transformers asks for the gradient of the frozen convolutions' output.
            module.freeze_feature_encoder()
        for name, child in list(module.named_children()):
            if type(child) in TUNED:
                tuned = TUNED[type(child)](child, tuning)
                setattr(module, name, tuned.train(child.training))
    if not tuned_layers(backbone):
        raise TypeError(
            f"{type(backbone).__name__} holds no layer to tune; known kinds: "
            + ", ".join(f"{kind.__module__}.{kind.__name__}" for kind in TUNED)
        )
    return backbone


def tuned_layers(model: nn.Module) -> list[TunedLayer]:
    """The tuned layers, from the input to the output."""
    return [module for module in model.modules() if isinstance(module, TunedLayer)]


def train_mode(model: nn.Module, frozen_dropout: bool) -> None:
    """Put a model into training mode.

    Args:
        frozen_dropout: True, as the authors train: the frozen layers' dropout, wav2vec 2.0's time
            masking and LayerDrop are on. False: only what is trained is in training mode.
    """
    model.train()
    layers = tuned_layers(model)
    if layers and not frozen_dropout:
        model.backbone.eval()
        for layer in layers:
            if layer.adapter is not None:
                layer.adapter.train()


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """What is trained, under names of our own: ``prompts.3``, ``adapters.3.down.weight``, ``head.fc.bias``.

    They stay the same when a library renames its modules; the rest keeps its module's name.
    """
    named = {}
    for i, layer in enumerate(tuned_layers(model)):
        if layer.prompt is not None:
            named[f"prompts.{i}"] = layer.prompt
        if layer.adapter is not None:
            named.update({f"adapters.{i}.{name}": p for name, p in layer.adapter.named_parameters()})
    inserted = {id(parameter) for parameter in named.values()}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in inserted:
            named[name] = parameter
    return named


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """(trainable parameters, all parameters)."""
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return trainable, sum(p.numel() for p in model.parameters())
