"""What a file of AST weights holds: size and grid of its positions, and timm's names for its tensors.

Known layouts: the AST authors', Hugging Face's, timm's DeiT, and that of ``save_backbone``.
"""

import itertools
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ipet.input_report import InputReport

PATCH = 16  # mels and frames a patch covers
PREFIX = 2  # the class and the distillation token
SIZES = {  # of the backbone, as timm's keywords
    "base": {},
    "base224": {},  # DeiT of 224 pixels: the same shapes, other weights
    "small224": {"embed_dim": 384, "depth": 12, "num_heads": 6},
    "tiny224": {"embed_dim": 192, "depth": 12, "num_heads": 3},
    "small": {"embed_dim": 192, "depth": 6, "num_heads": 3},
    "tiny": {"embed_dim": 48, "depth": 2, "num_heads": 2},
}
SHAPES = {  # (width, layers): size
    (settings.get("embed_dim", 768), settings.get("depth", 12)): name
    for name, settings in reversed(SIZES.items())
}
HEADS = r"(head|head_dist|mlp_head|classifier)\."  # of the pretraining tasks
MELS = 128  # of the published weights
STRIDES = (10, 12, 14, 16)  # of the published weights, in mels and frames
FRAMES = (128, 256, 300, 400, 512, 1024)  # of the published weights and settings
Grid = tuple[int, int]  # rows (mels) and columns (frames) of patches


def count_patches(length: int, stride: int) -> int:
    """Return the number of patches along an axis of mels or frames."""
    return (length - PATCH) // stride + 1


def grid_of(num_mels: int, num_frames: int, stride: Grid) -> Grid:
    """Return the grid of patches of an input."""
    return count_patches(num_mels, stride[0]), count_patches(num_frames, stride[1])


def size_of(tensors: Mapping[str, Tensor], asked: str | None, source: str) -> str:
    """Return the size of the model that has these tensors, under timm's names.

    Args:
        asked: Size that the model must have; None: any.

    Raises:
        ValueError: No known size has their width and number of layers, or not the size that was asked for.
    """
    layers = {match[1] for name in tensors if (match := re.match(r"blocks\.(\d+)\.", name))}
    shape = (tensors["pos_embed"].shape[-1], len(layers))
    found = SHAPES.get(shape)
    if asked is not None and (found is None or SIZES[found] == SIZES.get(asked)):
        return asked  # what does not fit is named when the tensors are copied
    if asked is not None:
        raise ValueError(f"{source}: its size is {found!r}, but {asked!r} was asked for; leave out -size")
    if found is None:
        known = ", ".join(f"{name} ({width}, {depth})" for (width, depth), name in reversed(SHAPES.items()))
        raise ValueError(
            f"{source}: width {shape[0]} and {shape[1]} layers are no known size of AST; expected {known}"
        )
    return found


def pretrained_grid(
    position: Tensor,
    square: bool,
    config: Mapping,
    num_mels: int,
    num_frames: int,
    stride: Grid,
    source: str,
) -> Grid:
    """Return the grid that a position embedding was trained on.

    Args:
        position: [1, 2 + N, D].
        square: Whether the weights are of images.
        config: Settings of the ``config.json`` next to the weights; empty without one.
        num_mels, num_frames, stride: Of the model that takes the weights.
        source: File of the weights, for errors.

    Raises:
        ValueError: The number of patches contradicts ``config``. Without a ``config``, N has more than one
            factorisation: it must be that of ``stride`` and a published number of frames, or of the model,
            and where other published strides have the same N, that of the model.
    """
    num_patches = position.shape[1] - PREFIX
    if square:
        rows = math.isqrt(max(0, num_patches))
        if not rows or rows**2 != num_patches:
            raise ValueError(
                f"{source}: pos_embed has {num_patches} patches; expected a square of an image's"
            )
        return rows, rows
    mels, frames = (config.get(name) for name in ("num_mels", "num_frames"))
    if "kind" not in config:
        mels, frames = (config.get(name) for name in ("num_mel_bins", "max_length"))
    if mels is not None or frames is not None:
        return configured_grid(num_patches, mels, frames, stride, source)
    own = [grid_of(m, t, stride) for m in dict.fromkeys((MELS, num_mels)) for t in FRAMES]
    current = grid_of(num_mels, num_frames, stride)
    fitting = [grid for grid in own if math.prod(grid) == num_patches]
    others = other_strides(num_patches, stride, fitting)
    if math.prod(current) == num_patches and bool(fitting) == bool(others):
        fitting = [current]  # of an own number of frames, or of the only one of two meanings that fits
    elif others:
        fitting = []
    if not fitting:
        hint = f": it fits {' or '.join(others[:3])}" if others else ""
        raise ValueError(
            f"{source}: pos_embed has {num_patches} patches, not known to be a grid of strides {stride[0]} "
            f"and {stride[1]}{hint}; expected -fstride and -tstride of its pretraining, or a config.json "
            "next to it with frequency_stride, time_stride, num_mel_bins and max_length"
        )
    return fitting[0]


def configured_grid(num_patches: int, mels: object, frames: object, stride: Grid, source: str) -> Grid:
    """Return the grid that a ``config.json`` describes; see ``pretrained_grid``."""
    mels, frames = MELS if mels is None else mels, 1024 if frames is None else frames
    if not all(type(value) is int and value >= PATCH for value in (mels, frames)):
        raise ValueError(
            f"{source}: its config.json says {str(mels)[:40]} mels and {str(frames)[:40]} frames; expected "
            f"whole numbers of at least {PATCH}"
        )
    grid = grid_of(mels, frames, stride)
    if math.prod(grid) != num_patches:
        raise ValueError(
            f"{source}: pos_embed has {num_patches} patches, its config.json describes {grid[0]} x {grid[1]} "
            f"({mels} mels, {frames} frames, strides {stride[0]} and {stride[1]})"
        )
    return grid


def other_strides(num_patches: int, stride: Grid, known: Collection[Grid]) -> list[str]:
    """Return the flags of published strides, other than ``stride``, that give this number of patches.

    Those of a grid that is known are left out: its positions are not mistaken for others.
    """
    return [
        f"-fstride {f} -tstride {t} ({num_frames} frames)"
        for f, t in sorted(itertools.product(STRIDES, repeat=2), key=lambda pair: pair[0] != pair[1])
        for num_frames in FRAMES
        if (f, t) != stride
        and math.prod(grid := grid_of(MELS, num_frames, (f, t))) == num_patches
        and grid not in known
    ]


def to_timm(tensors: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], bool, InputReport]:
    """Give the tensors of a published checkpoint timm's names; the pretraining heads are left out.

    Known layouts: the AST authors' (``v.`` before timm's names), Hugging Face's (its names before
    and since transformers 5), timm's own for one channel or three (DeiT on ImageNet; AST sums them).

    Returns:
        The tensors, whether their patches form a square (ImageNet) rather than mels by frames, and an
        account of the tensors that were left out.
    """
    report = InputReport(str(Path(source)))
    tensors = {name.removeprefix("audio_spectrogram_transformer."): t for name, t in tensors.items()}
    tensors = without_heads(tensors, report)
    if any(name.startswith("v.") for name in tensors):
        tensors = {name.removeprefix("v."): t for name, t in tensors.items()}
        tensors = without_heads(tensors, report)
    elif any(name.startswith("embeddings.") for name in tensors):
        tensors = join_qkv({huggingface_to_timm(name): t for name, t in tensors.items()})
    for name in ("pos_embed", "patch_embed.proj.weight"):
        if name not in tensors:
            raise ValueError(
                f"{source}: {name} missing; expected AST weights as published by their authors or by "
                "Hugging Face, or timm's DeiT"
            )
    report.use("tensors", len(tensors))
    square = tensors["patch_embed.proj.weight"].shape[1] == 3
    if square:
        tensors["patch_embed.proj.weight"] = tensors["patch_embed.proj.weight"].sum(1, keepdim=True)
    return tensors, square, report


def without_heads(tensors: Mapping[str, Tensor], report: InputReport) -> dict[str, Tensor]:
    """Return the tensors that belong to no head of a pretraining task; the others go into the report."""
    kept = {}
    for name, tensor in tensors.items():
        if re.match(HEADS, name):
            report.leave_out("tensors", name, "head of the pretraining task", "a new head is trained")
        else:
            kept[name] = tensor
    return kept


HUGGINGFACE = [  # a name's parts, before and since transformers 5 -> timm's
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^(encoder\.layer|encoder\.layers|layers)\.(\d+)\.", r"blocks.\2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.(attention\.)?(query|q_proj)\.", ".attn.q."),
    (r"\.attention\.(attention\.)?(key|k_proj)\.", ".attn.k."),
    (r"\.attention\.(attention\.)?(value|v_proj)\.", ".attn.v."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.(intermediate\.dense|mlp\.fc1)\.", ".mlp.fc1."),
    (r"\.(output\.dense|mlp\.fc2)\.", ".mlp.fc2."),
]


def huggingface_to_timm(name: str) -> str:
    """A tensor's name in Hugging Face's AST -> in timm's ViT, with q, k and v still apart."""
    for pattern, replacement in HUGGINGFACE:
        name = re.sub(pattern, replacement, name)
    return name


def join_qkv(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join ``attn.q``, ``attn.k`` and ``attn.v`` to timm's ``attn.qkv``, where all three are there."""
    joined = dict(tensors)
    for name in tensors:
        parts = [name.replace(".attn.q.", f".attn.{part}.") for part in "qkv"]
        if ".attn.q." in name and all(part in tensors for part in parts):
            joined[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat([joined.pop(p) for p in parts])
    return joined
