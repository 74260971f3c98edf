"""softmax(Q K^T / sqrt(d)) V, with keys and values that every query sees, by the faster of two ways.

PyTorch's fused kernel wins everywhere but on a CPU with dropout, which it does not know there, and in bf16
on a CPU without matrix tiles (AMX): there it computes in fp32, and two matrix products in bf16 take half the
time. Both ways are the same function.
"""

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ipet.dropout import dropout


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[B, T, D] -> [B, H, T, D / H]."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def attention(q: Tensor, k: Tensor, v: Tensor, prepended, drop: float, mask=None) -> Tensor:
    """softmax(Q [K(P) ; K]^T / sqrt(d)) [V(P) ; V].

    Args:
        q: [B, H, t, D / H].
        k, v: [B, H, T, D / H].
        prepended: K(P) and V(P) [1, H, n, D / H], the same for every clip, or [B, H, n, D / H]; or None.
        drop: probability of dropout of the attention weights.
        mask: [B, 1 or H, 1 or t, T] True where a query sees a key, or what is added to the scores; every
            query sees every prompt, and nothing is added to their scores.

    Returns:
        [B, t, D].
    """
    if prepended is not None:
        prompt_k, prompt_v = prepended
        k, v, mask = before(prompt_k, k), before(prompt_v, v), seen_by_all(prompt_k.shape[2], mask)
    products = products_are_faster(q.device.type, q.dtype) or (drop > 0 and q.device.type == "cpu")
    attend = by_products if products else F.scaled_dot_product_attention
    return attend(q, k, v, attn_mask=mask, dropout_p=drop).transpose(1, 2).flatten(2)


def before(prompts: Tensor, x: Tensor) -> Tensor:
    """[1 or B, H, n, d], [B, H, T, d] -> [B, H, n + T, d]."""
    return torch.cat([prompts.to(x.dtype).expand(x.shape[0], -1, -1, -1), x], dim=2)


def seen_by_all(num_prompts: int, mask: Tensor | None) -> Tensor | None:
    """A mask [..., T] -> [..., n + T], in which every query sees the prompts and nothing is added to them."""
    if mask is None:
        return None
    return F.pad(mask, (num_prompts, 0), value=True if mask.dtype == torch.bool else 0.0)


def attention_weights(q: Tensor, k: Tensor, prompt_k: Tensor, mask: Tensor | None = None) -> Tensor:
    """The weights of ``attention``, which the fused kernel does not give: [B, H, t, n + T], rows of sum 1.

    Args:
        q, k, mask: as there.
        prompt_k: K(P) [1 or B, H, n, D / H].
    """
    return softmax_of_products(q, before(prompt_k, k), seen_by_all(prompt_k.shape[2], mask))


def by_products(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None, dropout_p: float) -> Tensor:
    """[B, H, T, d], [B, H, S, d], [B, H, S, d] -> [B, H, T, d], as ``F.scaled_dot_product_attention``."""
    return dropout(softmax_of_products(q, k, attn_mask), dropout_p) @ v


def softmax_of_products(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """[B, H, T, d], [B, H, S, d], mask [B, 1 or H, T, S] or None -> [B, H, T, S]."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, float("-inf"))
    elif mask is not None:
        scores = scores + mask
    return scores.softmax(dim=-1)


def full_mask(mask) -> Tensor | None:
    """Return a mask that broadcasts to [B, H, t, T] from any that transformers gives a layer.

    Args:
        mask: None; [B, 1 or H, 1 or t, T]; or, of flash attention, [B, T], not 0 where there is a token.

    Raises:
        ValueError: The mask is flex attention's, which has no columns for prompts.
    """
    if mask is None or (isinstance(mask, Tensor) and mask.ndim == 4):
        return mask
    if isinstance(mask, Tensor) and mask.ndim == 2:
        return mask.ne(0)[:, None, None]
    found = f"a tensor of shape {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
    raise ValueError(
        f"prompts and prefixes: the attention mask is {found}, as of flex_attention; expected "
        'attn_implementation "sdpa" or "eager": model.set_attn_implementation("sdpa")'
    )


def implementation_of(attend: nn.Module) -> str:
    """Return the attention implementation that transformers' configuration names for a layer's attention."""
    return getattr(getattr(attend, "config", None), "_attn_implementation", None) or "eager"


def check_request(attend: nn.Module, output_attentions: bool | None = None, **others) -> None:
    """Raise ValueError where attention weights are requested of an implementation that returns none."""
    implementation = implementation_of(attend)
    if output_attentions and implementation != "eager":
        raise ValueError(
            f"output_attentions=True: attn_implementation {implementation!r} returns no weights; expected "
            '"eager": model.set_attn_implementation("eager")'
        )


def report_weights(attend: nn.Module, h: Tensor, q: Tensor, k: Tensor, prepended, mask=None) -> None:
    """Pass a layer's output and weights to the hooks of the library's attention, which is not called itself.

    They are those of ``output_attentions=True``, and recorded with the eager implementation alone, as of a
    model without prompts. Keys are the prompts and prefixes first, then the tokens.

    Args:
        attend: The library's attention module.
        h: Output, [B, T, D].
        q, k, prepended, mask: see ``attention``.
    """
    hooks = attend._forward_hooks
    if not hooks or implementation_of(attend) != "eager":
        return
    if prepended is None:
        weights = softmax_of_products(q, k, mask)
    else:
        weights = attention_weights(q, k, prepended[0], mask)
    for hook in hooks.values():
        hook(attend, (), (h, weights))


@functools.cache
def products_are_faster(device: str, dtype: torch.dtype) -> bool:
    """Whether two matrix products beat the fused kernel; see above."""
    if device != "cpu" or dtype != torch.bfloat16:
        return False
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16")) and not able.get("amx_bf16")


def choose_attention(model: nn.Module, device: str, dtype: torch.dtype) -> None:
    """Let the library's own attention layers in a model take the faster way, in place.

    Args:
        model: timm's layers have a switch ``fused_attn``; transformers' models a configuration.
        device: ``cpu`` or ``cuda``.
        dtype: in which matrices are multiplied there.
    """
    fused = not products_are_faster(device, dtype)
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
        if hasattr(module, "set_attn_implementation"):
            module.set_attn_implementation("sdpa" if fused else "eager")
