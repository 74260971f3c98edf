"""AST: timm's distilled vision transformer over overlapping patches of a log-mel spectrogram.

Source: AST: Audio Spectrogram Transformer (Gong et al. 2021).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import timm
import torch
from timm.layers import PatchDropout
from torch import Tensor, nn
from torch.nn import functional as F

from ipet.ast_weights import (
    PATCH,
    PREFIX,
    SIZES,
    grid_of,
    pretrained_grid,
    size_of,
    to_timm,
)
from ipet.checkpoint import (
    fingerprint,
    load_exactly,
    pinned,
    published_file,
    read_settings,
    read_tensors,
    save_published,
)
from ipet.features import Padded
from ipet.kinds import kinds_that_hear
from ipet.limits import PATCHES
from ipet.names import AST, library_names
from ipet.tuning import PreNormLayer, Tuning

IMAGENET = "deit_base_distilled_patch16_384"
HUB = {  # hub ids of ImageNet weights by size
    "base": "timm/deit_base_distilled_patch16_384.fb_in1k",
    "base224": "timm/deit_base_distilled_patch16_224.fb_in1k",
    "small224": "timm/deit_small_distilled_patch16_224.fb_in1k",
    "tiny224": "timm/deit_tiny_distilled_patch16_224.fb_in1k",
}
PUBLISHED = (
    "ast_small, a .pth, .bin or .safetensors file, a folder in Hugging Face's layout, a hub id such as "
    "MIT/ast-finetuned-audioset-10-10-0.4593, imagenet, random"
)
STRIDE = (10, 10)  # of AST as published, in mels and frames
FLAGS = {  # that weights fix
    "size": "-size",
    "num_mels": "-nfilts",
    "fstride": "-fstride",
    "tstride": "-tstride",
}


class PatchEmbed(nn.Module):
    """Overlapping patches; frequency is the slow axis of the tokens."""

    def __init__(self, width: int, stride: tuple[int, int]):
        super().__init__()
        self.proj = nn.Conv2d(1, width, PATCH, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1, M, T] -> [B, f t, D]."""
        return self.proj(x).flatten(2).transpose(1, 2)


class AudioSpectrogramTransformer(nn.Module):
    """Log-mels to one embedding a clip: the mean of the class and the distillation token.

    Args:
        num_frames: T, of every input.
        num_mels: M, of every input.
        stride: distance of the patches, in mels and frames.
        size: a name from ``SIZES``; ``base`` is the published one.
        patchout: share of a clip's patches that training mode leaves out, others in every step.

    Raises:
        ValueError: an unknown size, an input smaller than a patch or of too many, a share outside [0, 1).

    Source of ``patchout``: PaSST (Koutini et al. 2022), there unstructured.
    """

    own_names: ClassVar = {"vit.": AST}

    def __init__(
        self,
        num_frames: int,
        num_mels: int = 128,
        stride: tuple[int, int] = STRIDE,
        size: str = "base",
        patchout: float = 0.0,
    ):
        super().__init__()
        if size not in tuple(SIZES):  # of a stranger's config.json, it may be anything
            raise ValueError(f"the size of AST is {size!r}; accepted: {', '.join(SIZES)}")
        if num_frames < PATCH or num_mels < PATCH:
            raise ValueError(
                f"an input of {num_frames} frames and {num_mels} mels is smaller than a patch; "
                f"both must be at least {PATCH}"
            )
        if not 0 <= patchout < 1:
            raise ValueError(f"the share of patches to leave out is {patchout:g}; it must lie in [0, 1)")
        self.grid = grid_of(num_mels, num_frames, stride)
        if math.prod(self.grid) > PATCHES:
            raise ValueError(
                f"an input of {num_frames:,} frames and {num_mels:,} mels has {math.prod(self.grid):,} "
                f"patches; expected at most {PATCHES:,}: fewer frames, or longer strides"
            )
        self.vit = timm.create_model(IMAGENET, in_chans=1, num_classes=0, **SIZES[size])
        self.width = self.vit.embed_dim
        self.settings = {
            "kind": "ast",
            "size": size,
            "num_frames": num_frames,
            "num_mels": num_mels,
            "stride": list(stride),
        }
        self.vit.patch_embed = PatchEmbed(self.width, stride)
        self.vit.patch_drop = PatchDropout(patchout, PREFIX)
        self.vit.pos_embed = nn.Parameter(torch.empty(1, PREFIX + math.prod(self.grid), self.width))
        nn.init.trunc_normal_(self.vit.pos_embed, std=0.02)  # as timm does

    @property
    def augmentations(self) -> tuple[nn.Module, ...]:
        """What changes clips in training, also where the frozen layers' dropout is off."""
        return (self.vit.patch_drop,)

    @property
    def convolutions(self) -> nn.Module:
        """[B, 1, M, T] log-mels -> [B, f t, D] patches."""
        return self.vit.patch_embed

    def forward(self, fbank: Tensor | Padded) -> Tensor:
        """[B, T, M], or clips of their own numbers of frames -> [B, D]."""
        vit, position, masked = self.vit, self.vit.pos_embed, {}
        if isinstance(fbank, Padded):
            fbank, position, masked = self.fit(*fbank)
        x = vit.patch_embed(fbank.transpose(1, 2).unsqueeze(1))  # [B, f t, D]
        *layers, last = vit.blocks
        tokens = [token.expand(x.shape[0], -1, -1) for token in (vit.cls_token, vit.dist_token)]
        x = torch.cat([*tokens, x], dim=1) + position  # [B, 2 + f t, D]
        x = vit.patch_drop(x)
        for layer in layers:
            x = layer(x, **masked)
        last = last if isinstance(last, PreNormLayer) else PreNormLayer(last, Tuning())
        y = vit.norm(last(x, num_outputs=PREFIX, **masked))  # the last layer's other outputs would go unused
        return (y[:, 0] + y[:, 1]) / 2

    def fit(self, fbank: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Clips as long as the longest of a batch, their positions, and which tokens are a clip's.

        A clip of n frames has the fewest patches in time that cover it, 1 + ceil((n - 16) / stride), and no
        more than the backbone has positions. So its last one reaches beyond it by less than a stride, in a
        batch and alone. It has the first positions, whatever its length.

        Args:
            fbank: [B, T, M], T of the backbone.
            num_frames: [B].

        Returns:
            [B, T', M]; [1, 2 + f t', D]; and, where not all have the same number of patches, ``attn_mask``
            [B, 1, 1, 2 + f t'] True where a token is the clip's.
        """
        rows, most = self.grid
        stride = self.settings["stride"][1]
        columns = 1 + ((num_frames - PATCH).clamp(min=0) + stride - 1) // stride  # [B]
        columns = columns.clamp(max=most)
        fewest, longest = columns.aminmax()
        longest = int(longest)
        prefix, patches = self.vit.pos_embed.split([PREFIX, rows * most], dim=1)
        patches = patches.unflatten(1, self.grid)[:, :, :longest].flatten(1, 2)
        masked = {}
        if fewest < longest:
            own = torch.arange(longest, device=fbank.device) < columns[:, None]  # [B, t']
            own = own[:, None].expand(-1, rows, -1).flatten(1)  # [B, f t'], as the patches are
            masked["attn_mask"] = F.pad(own, (PREFIX, 0), value=True)[:, None, None]
        return fbank[:, : PATCH + (longest - 1) * stride], torch.cat([prefix, patches], dim=1), masked

    def load_published(
        self, tensors: Mapping[str, Tensor], source: str, square: bool = False, config: Mapping | None = None
    ) -> None:
        """Copy published weights under timm's names (see ``to_timm``), their positions fitted to the input.

        Args:
            tensors: Weights by timm's names.
            source: File that they were read from, for errors.
            square: Whether they are of images.
            config: Settings of the ``config.json`` next to them; see ``pretrained_grid``.

        Raises:
            ValueError: A tensor is missing, unexpected or of another shape, or the grid of the positions is
                not known.
        """
        tensors = {name: t.float() for name, t in tensors.items()}
        self.sha256 = fingerprint(tensors)  # the same for every number of frames
        of_input = (self.settings["num_mels"], self.settings["num_frames"], tuple(self.settings["stride"]))
        grid = pretrained_grid(tensors["pos_embed"], square, config or {}, *of_input, source)
        tensors["pos_embed"] = adapt_position_embedding(tensors["pos_embed"], grid, self.grid)
        target = self.vit.state_dict()
        load_exactly(target, library_names(tensors, target, AST), source)


def adapt_position_embedding(position: Tensor, grid: tuple[int, int], new_grid: tuple[int, int]) -> Tensor:
    """Fit a position embedding to another number of mels or frames, as AST does.

    An axis that becomes shorter is cut around its centre; a longer one is interpolated.

    Args:
        position: [1, 2 + f t, D] of ``grid`` (f, t).

    Returns:
        [1, 2 + f' t', D] of ``new_grid`` (f', t'); the two tokens' rows are unchanged.
    """
    prefix, patches = position[:, :PREFIX], position[:, PREFIX:]
    patches = patches.unflatten(1, grid).permute(0, 3, 1, 2)  # [1, D, f, t]
    for axis in (0, 1):
        old, new = grid[axis], new_grid[axis]
        if new < old:
            patches = patches.narrow(2 + axis, old // 2 - new // 2, new)
    if patches.shape[2:] != tuple(new_grid):
        patches = F.interpolate(patches, new_grid, mode="bilinear", align_corners=False)
    return torch.cat([prefix, patches.flatten(2).transpose(1, 2)], dim=1)


def build_ast(
    num_frames: int,
    num_mels: int = 128,
    stride: tuple[int, int] = STRIDE,
    size: str | None = None,
    pretrained: str = "random",
    patchout: float = 0.0,
) -> AudioSpectrogramTransformer:
    """AST with published weights, or with random ones (``pretrained="random"``).

    Args:
        num_frames, num_mels: see ``AudioSpectrogramTransformer``.
        stride: see there; where it is the published one, that of the weights' own ``config.json`` counts.
        size: see there; None: that of the weights, or ``base``.
        pretrained: ``ast_small``, a file, a folder in Hugging Face's layout or of ``save_backbone``, a
            hub id, ``imagenet`` or ``random``.
        patchout: see ``AudioSpectrogramTransformer``.

    Raises:
        FileNotFoundError: none of these, or not to be had from the hub.
        ValueError: a damaged file; a missing or unexpected tensor, which is named; another kind of
            model, or one that ``save_backbone`` wrote with another size, stride or number of mels.

    Attributes of the result: ``sha256`` identifies it before anything is inserted, ``input_report`` tells
    which tensors of a file were left out.
    """
    if pretrained == "random":
        backbone = AudioSpectrogramTransformer(num_frames, num_mels, stride, size or "base", patchout)
        backbone.sha256 = fingerprint(backbone.state_dict())
        return backbone
    if pretrained == "imagenet":
        if (size or "base") not in HUB:
            raise ValueError(f"-pretrained imagenet: no weights of size {size}; accepted: {', '.join(HUB)}")
        pretrained = HUB[size or "base"]
    path = published_file(pretrained, PUBLISHED)
    fixed, stride, config = fixed_by_weights(path, size, num_mels, stride)
    tensors, square, report = to_timm(read_tensors(path), str(path))
    size = fixed or size_of(tensors, size, str(path))
    backbone = AudioSpectrogramTransformer(num_frames, num_mels, stride, size, patchout)
    backbone.load_published(tensors, str(path), square, config)
    backbone.settings |= pinned(path)
    backbone.input_report = report
    return backbone


build = build_ast  # as ``ipet.kinds`` knows it


def rebuild(settings: Mapping, pretrained: str) -> AudioSpectrogramTransformer:
    """The backbone whose ``settings`` a saved adapter holds, with its weights; see ``build_ast``."""
    stride = tuple(settings["stride"])
    return build_ast(settings["num_frames"], settings["num_mels"], stride, settings["size"], pretrained)


def fixed_by_weights(
    path: Path, size: str | None, num_mels: int, stride: tuple[int, int]
) -> tuple[str | None, tuple[int, int], dict]:
    """Return the size and the stride that a file of weights fixes by its ``config.json``, and what that says.

    A ``config.json`` is ours or Hugging Face's; None and ``STRIDE`` ask for nothing in particular.

    Returns:
        The size, None where it is not said; the stride, that which was asked for where it is not said; and
        the settings of the ``config.json``, empty without one.

    Raises:
        ValueError: ``config.json`` is of another kind of model, or says other than what was asked for.
    """
    config = path.with_name("config.json")
    settings = read_settings(config) if config.is_file() else {}
    kind = settings.get("kind", settings.get("model_type", "ast"))
    if kind not in ("ast", "audio-spectrogram-transformer"):
        speech = kind in tuple(kinds_that_hear("waveform"))
        others = f"; {kind} is trained by the w2v_ experiments" if speech else ""
        raise ValueError(f"{config}: holds a model of type {kind!r}; expected AST, such as ast_small{others}")
    strides = settings.get("stride", [*map(settings.get, ("frequency_stride", "time_stride"))])
    if not (isinstance(strides, list) and len(strides) == 2 and all(map(is_stride, strides))):
        raise ValueError(f"{config}: the strides are {str(strides)[:80]}; expected two whole numbers above 0")
    fstride, tstride = strides
    own = {"fstride": fstride, "tstride": tstride}
    if "kind" in settings:
        own |= {"size": settings.get("size"), "num_mels": settings.get("num_mels")}
    asked = {"size": size, "num_mels": num_mels, "fstride": stride[0], "tstride": stride[1]}
    usual = dict(zip(("fstride", "tstride"), STRIDE))
    for name, flag in FLAGS.items():
        if own.get(name) and asked[name] not in (usual.get(name), own[name]):
            raise ValueError(
                f"{config}: {name} is {own[name]!r}, but {asked[name]!r} was asked for; leave out {flag}"
            )
    return own.get("size"), (fstride or stride[0], tstride or stride[1]), settings


def is_stride(value) -> bool:
    """Whether a ``config.json`` says something usable of a stride: a distance, or nothing."""
    return value is None or (type(value) is int and value > 0)


def save_backbone(backbone: AudioSpectrogramTransformer, folder: str | Path, half: bool = True) -> None:
    """Write a folder that ``build_ast`` reads, under timm's names; see ``save_published``."""
    save_published(folder, backbone.vit.state_dict(), backbone.settings, half)
