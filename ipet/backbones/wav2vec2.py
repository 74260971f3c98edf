"""wav2vec 2.0: transformers' own model, pooled over time.

Source: wav2vec 2.0 (Baevski et al. 2020).
"""

import re

import torch
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from ipet.checkpoint import fingerprint, load_exactly, published_file, read_json, read_tensors
from ipet.features import HOP_SAMPLES

SIZES = {
    "base": {},
    "small": {
        "hidden_size": 192,
        "num_hidden_layers": 4,
        "num_attention_heads": 3,
        "intermediate_size": 768,
        "conv_dim": (128,) * 7,
        "num_conv_pos_embeddings": 64,
        "num_conv_pos_embedding_groups": 12,
    },
    "tiny": {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 96,
        "conv_dim": (16,) * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    },
}
PUBLISHED = "a folder in Hugging Face's layout, a hub id such as facebook/wav2vec2-base, random"
HEADS = r"(quantizer|project_q|project_hid|lm_head|classifier|projector)\b"


class Wav2Vec2(nn.Module):
    """A waveform to one embedding a clip: mean and standard deviation of the tokens over time."""

    def __init__(self, model: Wav2Vec2Model):
        super().__init__()
        self.model = model
        self.width = 2 * model.config.hidden_size
        self.settings = {"kind": "wav2vec2", "config": model.config.to_diff_dict()}
        self.drops_layers = model.config.layerdrop > 0

    def forward(self, waveform: Tensor) -> Tensor:
        """[B, N] -> [B, 2 D]; unbiased variance, no epsilon."""
        x = self.model(waveform).last_hidden_state  # [B, T, D], one token every 320 samples
        x = x.to(torch.promote_types(x.dtype, torch.float32))  # bf16 is too coarse for a deviation
        return torch.cat([x.mean(dim=1), x.std(dim=1)], dim=-1)


def build_wav2vec2(size: str = "base", pretrained: str = "random", num_frames: int | None = None) -> Wav2Vec2:
    """wav2vec 2.0 with published weights, or with random ones (``pretrained="random"``).

    Args:
        size: of a random one: ``base``, ``small`` or ``tiny``. Published weights bring their own.
        pretrained: a folder in Hugging Face's layout (``.safetensors`` or ``.bin``), or a hub id.
        num_frames: of 10 ms, the length of every input; checked if given.

    Raises:
        FileNotFoundError: neither a folder nor to be had from the hub.
        ValueError: an unknown size; a missing or unexpected tensor, which is named; a model with
            pre-norm layers; an input too short for it.

    ``sha256``, an attribute, identifies it before anything is inserted.
    """
    if size not in SIZES:
        raise ValueError(f"the size of wav2vec 2.0 is {size!r}; accepted: {', '.join(SIZES)}")
    if pretrained == "random":
        config = Wav2Vec2Config(**SIZES[size], attn_implementation="sdpa")
        backbone = Wav2Vec2(Wav2Vec2Model(config))
    else:
        backbone = Wav2Vec2(load_published(pretrained))
    if num_frames is not None:
        check_length(backbone.model.config, num_frames)
    backbone.sha256 = fingerprint(backbone.model.state_dict())
    return backbone


def load_published(pretrained: str) -> Wav2Vec2Model:
    """transformers' model with the tensors of a published checkpoint, all of them and no other.

    (transformers' own loader fills a missing tensor with random numbers and a warning.)
    """
    path = published_file(pretrained, PUBLISHED)
    config = path.with_name("config.json")
    settings = read_json(config)
    if settings.get("model_type") != "wav2vec2":
        raise ValueError(f"{config}: model_type is {settings.get('model_type')!r}; expected 'wav2vec2'")
    if settings.get("do_stable_layer_norm"):
        raise ValueError(
            f"{config}: do_stable_layer_norm is true (pre-norm layers, as in the large models); "
            "expected a model with post-norm layers, such as facebook/wav2vec2-base"
        )
    model = Wav2Vec2Model(Wav2Vec2Config.from_dict(settings, attn_implementation="sdpa"))
    tensors = {modern_name(n): t for n, t in read_tensors(path).items() if not re.match(HEADS, n)}
    load_exactly(model.state_dict(), tensors, str(path))
    return model


def check_length(config: Wav2Vec2Config, num_frames: int) -> None:
    """Raise ValueError where an input has too few tokens for a deviation, or for a time mask."""
    tokens = num_frames * HOP_SAMPLES
    for kernel, stride in zip(config.conv_kernel, config.conv_stride):
        tokens = (tokens - kernel) // stride + 1
    least = max(2, config.mask_time_length if config.mask_time_prob > 0 else 0)
    if tokens < least:
        raise ValueError(
            f"{num_frames} frames become {max(0, tokens)} tokens of wav2vec 2.0; expected at least {least}"
        )


def modern_name(name: str) -> str:
    """A tensor's name in any version of transformers, with or without a task's prefix -> today's."""
    name = name.removeprefix("wav2vec2.")
    name = name.replace("conv.weight_g", "conv.parametrizations.weight.original0")
    return name.replace("conv.weight_v", "conv.parametrizations.weight.original1")
