"""wav2vec 2.0: transformers' own model, pooled over time.

Source: wav2vec 2.0 (Baevski et al. 2020).
"""

import re
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from ipet.checkpoint import fingerprint, name_some

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
HEADS = r"(quantizer|project_q|project_hid|lm_head|classifier|projector|dropout_features)\b"


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


def build_wav2vec2(size: str = "base", pretrained: str = "random") -> Wav2Vec2:
    """wav2vec 2.0 with published weights, or with random ones (``pretrained="random"``).

    Args:
        size: of a random one: ``base``, ``small`` or ``tiny``. Published weights bring their own.
        pretrained: a folder in Hugging Face's layout (``.safetensors`` or ``.bin``), or a hub id.

    Raises:
        FileNotFoundError: neither a folder nor to be had from the hub.
        ValueError: an unknown size; a missing or unexpected tensor, which is named.

    ``sha256``, an attribute, identifies it before anything is inserted.
    """
    if size not in SIZES:
        raise ValueError(f"the size of wav2vec 2.0 is {size!r}; accepted: {', '.join(SIZES)}")
    if pretrained == "random":
        config = Wav2Vec2Config(**SIZES[size], attn_implementation="sdpa")
        backbone = Wav2Vec2(Wav2Vec2Model(config))
    else:
        backbone = Wav2Vec2(load_published(pretrained))
    backbone.sha256 = fingerprint(backbone)
    return backbone


def load_published(pretrained: str) -> Wav2Vec2Model:
    """transformers' loader, made strict: it fills a missing tensor with random numbers and a warning."""
    folder = Path(pretrained).expanduser()
    source = str(folder) if folder.is_dir() else pretrained
    if not folder.is_dir() and not re.fullmatch(r"[\w.-]+/[\w.-]+", pretrained):
        raise FileNotFoundError(
            f"{pretrained}: no such folder; accepted: a folder in Hugging Face's layout, "
            "a hub id such as facebook/wav2vec2-base, random"
        )
    try:
        model, info = Wav2Vec2Model.from_pretrained(
            source, attn_implementation="sdpa", dtype=torch.float32, output_loading_info=True
        )
    except OSError as error:
        raise FileNotFoundError(
            f"{pretrained}: not to be loaded from here or from the Hugging Face hub: "
            f"{str(error).splitlines()[0]}"
        ) from error
    missing = sorted(info["missing_keys"])
    unexpected = sorted(name for name in info["unexpected_keys"] if not re.match(HEADS, name))
    if missing or unexpected:
        raise ValueError(
            f"{pretrained}: {name_some(missing)} missing, {name_some(unexpected)} unexpected; "
            "expected the tensors of a wav2vec 2.0 model"
        )
    return model
