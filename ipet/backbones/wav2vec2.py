"""wav2vec 2.0, HuBERT and WavLM: transformers' own models, pooled over time.

Source: wav2vec 2.0 (Baevski et al. 2020), HuBERT (Hsu et al. 2021), WavLM (Chen et al. 2022).
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    HubertConfig,
    HubertModel,
    PreTrainedConfig,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

from ipet.checkpoint import (
    fingerprint,
    load_exactly,
    name_some,
    pinned,
    published_file,
    read_settings,
    read_tensors,
    save_published,
)
from ipet.features import HOP_SAMPLES, Padded
from ipet.input_report import InputReport
from ipet.kinds import BACKBONES
from ipet.names import WAV2VEC2, library_names

SIZES = {
    "base": {},
    "small": {
        "hidden_size": 192,
        "num_hidden_layers": 6,
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
MODEL_TYPES = {  # transformers' name: its configuration, its model
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model),
    "hubert": (HubertConfig, HubertModel),
    "wavlm": (WavLMConfig, WavLMModel),
}
AST_TYPES = ("audio-spectrogram-transformer", "ast")  # model types of a config.json
PUBLISHED = "wav2vec2_small, a folder in Hugging Face's layout, a hub id such as {}, random"
POSITIONS = "encoder.pos_conv_embed.conv"  # the convolution that makes the positions
SIZED_BY = {  # settings, and the tensor and the axis that have their size
    "hidden_size": ("encoder.layer_norm.weight", 0),
    "intermediate_size": ("encoder.layers.0.feed_forward.intermediate_dense.weight", 0),
    "num_conv_pos_embeddings": (f"{POSITIONS}.parametrizations.weight.original1", 2),
    "num_buckets": ("encoder.layers.0.attention.rel_attn_embed.weight", 0),  # WavLM's
}
LAYER, CONVOLUTION = r"encoder\.layers\.(\d+)\.", r"feature_extractor\.conv_layers\.(\d+)\.conv\.weight"
MASK = "masked_spec_embed"  # what stands in for a masked token
HEADS = (  # of the pretraining tasks and others; a tensor of the encoder has a longer name
    r"(quantizer|project_q|project_hid|lm_head|classifier|projector|tdnn|objective|layer_weights|"
    r"label_embeddings_concat|final_proj|feature_extractor\.(weight|bias)$)\b"
)


class Wav2Vec2(nn.Module):
    """A waveform to one embedding a clip: mean and standard deviation of the tokens over time."""

    own_names: ClassVar = {"model.": WAV2VEC2}

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model
        self.width = 2 * model.config.hidden_size
        self.settings = {"kind": model.config.model_type, "config": model.config.to_diff_dict()}
        self.drops_layers = model.config.layerdrop > 0

    @property
    def convolutions(self) -> nn.Module:
        """[B, N] samples -> [B, C, T] features."""
        return self.model.feature_extractor

    def train(self, mode: bool = True) -> "Wav2Vec2":
        """Set the mode of training; a batch norm keeps its pretrained statistics, which no adapter saves."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self

    def forward(self, waveform: Tensor | Padded) -> Tensor:
        """[B, N], or clips of their own lengths -> [B, 2 D]; unbiased variance, no epsilon."""
        if isinstance(waveform, Padded):
            return torch.cat([pooled(clip[None]) for clip in self.tokens(*waveform)])
        return pooled(self.model(waveform).last_hidden_state)  # one token every 320 samples

    def tokens(self, waveform: Tensor, num_samples: Tensor) -> list[Tensor]:
        """[B, N] samples, [B] true lengths -> of each clip [T_i, D], as if it were alone.

        A clip with too few samples for a deviation, or for a time mask, gets zeros up to that length.
        """
        model = self.model
        lengths = [max(n, least_samples(model.config)) for n in num_samples.tolist()]
        inside = torch.arange(waveform.shape[1], device=waveform.device) < num_samples[:, None]
        waveform = F.pad(waveform * inside, (0, max(0, max(lengths) - waveform.shape[1])))
        features = self.features(waveform, lengths)  # [B, T, C]
        counts = [count_tokens(model.config, n) for n in lengths]
        own = torch.arange(features.shape[1]) < torch.tensor(counts)[:, None]
        own = own.to(waveform.device)  # [B, T]
        if getattr(model.config, "conv_pos_batch_norm", False) and min(counts) < max(counts):
            # Its batch norm makes padding other than zero, which the clip's last positions would take in.
            rows = [(features[i : i + 1, :n], own[i : i + 1, :n]) for i, n in enumerate(counts)]
            return [self.encode(*row, [n])[0] for row, n in zip(rows, counts)]
        return self.encode(features, own, counts)

    def encode(self, features: Tensor, own: Tensor, counts: list[int]) -> list[Tensor]:
        """Return each clip's tokens, [T_i, D], of features [B, T, C]; ``own`` [B, T] is False in padding."""
        model = self.model
        x = model.feature_projection(features)
        x = x[0] if isinstance(x, tuple) else x  # HuBERT's gives the projection alone
        x = model._mask_hidden_states(x, self.time_masks(own))
        x = model.encoder(x, None if min(counts) == max(counts) else own).last_hidden_state
        return [clip[:n] for clip, n in zip(x, counts)]

    def features(self, waveform: Tensor, lengths: list[int]) -> Tensor:
        """[B, N] samples, the clips' lengths -> [B, T, C] features; what is behind a clip's is no clip's."""
        if self.model.config.feat_extract_norm != "group":  # a norm over channels sees one moment
            return self.convolutions(waveform[:, : max(lengths)]).transpose(1, 2)
        # The first layer's norm is over all time: zeros behind a clip would change every one of its features.
        clips = [torch.empty(0)] * len(lengths)
        for length in sorted(set(lengths)):
            rows = [row for row, n in enumerate(lengths) if n == length]
            for row, features in zip(rows, self.convolutions(waveform[rows, :length])):
                clips[row] = features.transpose(0, 1)  # [T_i, C]
        return pad_sequence(clips, batch_first=True)

    def time_masks(self, own: Tensor) -> Tensor | None:
        """[B, T] True where a clip has a token -> [B, T] True where training hides it; None: nowhere.

        The share is ``mask_time_prob``'s at any length: the least number of masks of transformers, two, would
        hide half a second nearly whole.
        """
        config = self.model.config
        if not (self.model.training and config.mask_time_prob and config.apply_spec_augment):
            return None
        hidden = _compute_mask_indices(own.shape, config.mask_time_prob, config.mask_time_length, own)
        return torch.from_numpy(hidden).to(own.device)


def pooled(x: Tensor) -> Tensor:
    """[B, T, D] -> [B, 2 D], mean and deviation over time."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))  # bf16 is too coarse for a deviation
    return torch.cat([x.mean(dim=1), x.std(dim=1)], dim=-1)


def build_wav2vec2(
    size: str | None = None,
    pretrained: str = "random",
    num_frames: int | None = None,
    model_type: str = "wav2vec2",
) -> Wav2Vec2:
    """wav2vec 2.0, HuBERT or WavLM with published weights, or with random ones (``pretrained="random"``).

    Args:
        size: of a random one: ``base``, ``small`` or ``tiny``; None: ``base``. Published weights bring
            their own, which a given one must equal.
        pretrained: ``wav2vec2_small``, a folder in Hugging Face's layout (``.safetensors`` or ``.bin``),
            or a hub id; of a model for a task its encoder is taken.
        num_frames: of 10 ms, the length of every input; checked if given.
        model_type: ``wav2vec2``, ``hubert`` or ``wavlm``, which published weights must be of; ``auto``: that
            of their ``config.json``.

    Raises:
        FileNotFoundError: neither a folder nor to be had from the hub.
        ValueError: an unknown size or type; a missing or unexpected tensor, which is named; a model
            of another type, or with pre-norm layers; an input too short for it.

    Attributes of the result: ``sha256`` identifies it before anything is inserted, ``input_report`` tells
    which tensors of a checkpoint were left out.
    """
    if size not in (None, *SIZES):
        raise ValueError(f"the size of wav2vec 2.0 is {size!r}; accepted: {', '.join(SIZES)}")
    if model_type not in (*MODEL_TYPES, "auto") or (model_type, pretrained) == ("auto", "random"):
        raise ValueError(f"the model type is {model_type!r}; accepted: {', '.join(MODEL_TYPES)}")
    if pretrained == "random":
        backbone = Wav2Vec2(new_model(new_config(model_type, SIZES[size or "base"])))
    else:
        example = BACKBONES["wav2vec2" if model_type == "auto" else model_type].published
        path = published_file(pretrained, PUBLISHED.format(example))
        model, report = load_published(path, model_type, size)
        backbone = Wav2Vec2(model)
        backbone.settings |= pinned(path)
        backbone.input_report = report
    if num_frames is not None:
        check_length(backbone.model.config, num_frames)
    backbone.sha256 = fingerprint(backbone.model.state_dict())
    return backbone


build = build_wav2vec2  # as ``ipet.kinds`` knows it


def rebuild(settings: Mapping, pretrained: str) -> Wav2Vec2:
    """The backbone whose ``settings`` a saved adapter holds, with its weights; see ``build_wav2vec2``."""
    return build_wav2vec2(pretrained=pretrained, model_type=settings["kind"])


def new_model(config: PreTrainedConfig) -> PreTrainedModel:
    """transformers' model of a configuration, with random weights."""
    return MODEL_TYPES[config.model_type][1](config)


def new_config(model_type: str, settings: dict) -> PreTrainedConfig:
    """transformers' configuration of these settings."""
    # WavLM's bias of distances has one implementation only; the other two have a faster one.
    faster = {} if model_type == "wavlm" else {"attn_implementation": "sdpa"}
    return MODEL_TYPES[model_type][0].from_dict({**settings, **faster})


def load_published(
    path: Path, model_type: str, size: str | None = None
) -> tuple[PreTrainedModel, InputReport]:
    """Return transformers' model with all tensors of a checkpoint's encoder, and an account of the others.

    (transformers' own loader fills a missing tensor with random numbers and a warning.)
    """
    config = path.with_name("config.json")
    settings = read_settings(config)
    found = settings.get("model_type", settings.get("kind"))
    if model_type == "auto":
        if found not in tuple(MODEL_TYPES):
            raise ValueError(
                f"{config}: model_type is {found!r}; accepted: {', '.join(MODEL_TYPES)}{of_ast(found)}"
            )
        model_type = found
    if found != model_type:
        fitting = f", or -model_type {found}" if found in tuple(MODEL_TYPES) else of_ast(found)
        raise ValueError(f"{config}: model_type is {found!r}; expected {model_type!r}{fitting}")
    if settings.get("do_stable_layer_norm"):
        raise ValueError(
            f"{config}: do_stable_layer_norm is true (pre-norm layers, as in the large models); expected a "
            f"model with post-norm layers, such as {BACKBONES[model_type].published}; in Python, ipet.tune "
            "tunes transformers' models of either kind"
        )
    tensors, report = encoder_of(read_tensors(path), str(path))
    with described_by(config, model_type):
        built = new_config(model_type, settings)
    if size is not None:
        check_size(built, size, str(config))
    check_config(built, tensors, config)
    with described_by(config, model_type):
        model = new_model(built)
    if not (model.config.mask_time_prob or model.config.mask_feature_prob):
        tensors.pop(MASK, None)  # a model that masks nothing when it is tuned has no use for it
    target = model.state_dict()
    load_exactly(target, library_names(tensors, target, WAV2VEC2), str(path))
    return model, report


def of_ast(model_type: object) -> str:
    """Return where weights of AST are trained, for an error; empty for other weights."""
    return "; AST is trained by the ast_ experiments" if model_type in AST_TYPES else ""


def encoder_of(tensors: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], InputReport]:
    """Return the tensors of a checkpoint's encoder under today's names, and an account of the others.

    A model for a task, such as ``WavLMForXVector``, has its encoder's tensors below the name of its type, and
    the task's beside them. Other checkpoints hold an encoder alone, or with the heads of ``HEADS``.
    """
    report = InputReport(source)
    prefixes = tuple(f"{name}." for name in MODEL_TYPES)
    of_task = any(name.startswith(prefixes) for name in tensors)
    kept = {}
    for name, tensor in tensors.items():
        if re.match(HEADS, name) or (of_task and not name.startswith(prefixes)):
            report.leave_out("tensors", name, "not of the encoder", "a new head is trained on it")
        else:
            kept[modern_name(name)] = tensor
    report.use("tensors", len(kept))
    return kept, report


@contextmanager
def described_by(config: Path, model_type: str) -> Iterator[None]:
    """Whatever a library raises of a ``config.json``'s values is a ValueError of one line that names it."""
    try:
        yield
    except Exception as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
        raise ValueError(f"{config}: describes no {model_type} model ({said})") from None


def check_config(config: PreTrainedConfig, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise ValueError where a ``config.json`` has other sizes than its tensors: none is built of its word.

    What sizes have no tensor to compare with are left to ``load_exactly``.
    """
    sizes = {name: place for name, place in SIZED_BY.items() if hasattr(config, name)}
    if getattr(config, "conv_pos_batch_norm", False):  # some HuBERTs: no weight norm
        sizes["num_conv_pos_embeddings"] = (f"{POSITIONS}.weight", 2)
    absent = sorted({tensor for tensor, _ in sizes.values()} - tensors.keys())
    if absent:
        raise ValueError(f"{path.parent}: {name_some(absent)} missing")
    found = {name: tensors[tensor].shape[axis] for name, (tensor, axis) in sizes.items()}
    layers = {match[1] for match in (re.match(LAYER, name) for name in tensors) if match}
    convolutions = {int(match[1]): t for n, t in tensors.items() if (match := re.fullmatch(CONVOLUTION, n))}
    found["num_hidden_layers"] = len(layers)
    found["conv_dim"] = [convolutions[i].shape[0] for i in sorted(convolutions)]
    found["conv_kernel"] = [convolutions[i].shape[2] for i in sorted(convolutions)]
    for name, size in found.items():
        said = getattr(config, name)
        if (list(said) if isinstance(size, list) else said) != size:
            raise ValueError(f"{path}: {name} is {said}, of the tensors {size}")
    if getattr(config, "add_adapter", False):
        raise ValueError(f"{path}: add_adapter is true; expected a base model, without one of its own")
    if not 0 < config.num_attention_heads <= config.hidden_size:
        raise ValueError(f"{path}: {config.num_attention_heads} heads of {config.hidden_size} values")


def check_size(config: PreTrainedConfig, size: str, source: str) -> None:
    """Raise ValueError where weights are not of the size that was asked for."""
    asked = type(config)(**SIZES[size])
    for name in ("hidden_size", "num_hidden_layers"):
        found, wanted = getattr(config, name), getattr(asked, name)
        if found != wanted:
            raise ValueError(f"{source}: {name} is {found}, of size {size!r} it is {wanted}; leave out -size")


def check_length(config: PreTrainedConfig, num_frames: int) -> None:
    """Raise ValueError where an input has too few tokens for a deviation, or for a time mask."""
    tokens, least = count_tokens(config, num_frames * HOP_SAMPLES), least_tokens(config)
    if tokens < least:
        raise ValueError(
            f"{num_frames} frames become {max(0, tokens)} tokens of wav2vec 2.0; expected at least {least}"
        )


def count_tokens(config: PreTrainedConfig, num_samples: int) -> int:
    """How many tokens the convolutions make of so many samples."""
    for kernel, stride in zip(config.conv_kernel, config.conv_stride):
        num_samples = (num_samples - kernel) // stride + 1
    return num_samples


def least_tokens(config: PreTrainedConfig) -> int:
    """Tokens that a deviation, and a time mask where there are any, needs."""
    return max(2, config.mask_time_length if config.mask_time_prob > 0 else 0)


def least_samples(config: PreTrainedConfig) -> int:
    """Samples that become ``least_tokens``."""
    num_samples = least_tokens(config)
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride)):
        num_samples = (num_samples - 1) * stride + kernel
    return num_samples


def save_backbone(backbone: Wav2Vec2, folder: str | Path, half: bool = True) -> None:
    """Write a folder in Hugging Face's layout, which ``build_wav2vec2`` reads; see ``save_published``."""
    config = json.loads(backbone.model.config.to_json_string())
    save_published(folder, backbone.model.state_dict(), config, half)


def modern_name(name: str) -> str:
    """A tensor's name in a published file, of any version, with a task's prefix or not -> in one form."""
    name = re.sub(rf"^({'|'.join(MODEL_TYPES)})\.", "", name)
    name = name.replace("conv.weight_g", "conv.parametrizations.weight.original0")
    return name.replace("conv.weight_v", "conv.parametrizations.weight.original1")
