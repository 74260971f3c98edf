"""Names of our own for the tensors of the backbones, whatever their libraries call them.

A saved adapter holds these, as in ``backbone.layers.3.attention.query.bias``, and so it reads on when timm or
transformers rename a module. Then one line here gets the new name beside the former one; no file changes.

In the tables ``{i}`` is a layer's number, counted from 0, and ``.weight`` or ``.bias`` follows where a part
has them. AST's queries, keys and values are the rows of one matrix, in this order.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")
Table = Mapping[str, tuple[str, ...]]

AST: dict[str, tuple[str, ...]] = {  # our name: timm's
    "class_token": ("cls_token",),
    "distillation_token": ("dist_token",),
    "positions": ("pos_embed",),
    "patches": ("patch_embed.proj",),
    "layers.{i}.attention_norm": ("blocks.{i}.norm1",),
    "layers.{i}.attention.query_key_value": ("blocks.{i}.attn.qkv",),
    "layers.{i}.attention.output": ("blocks.{i}.attn.proj",),
    "layers.{i}.feed_forward_norm": ("blocks.{i}.norm2",),
    "layers.{i}.feed_forward.up": ("blocks.{i}.mlp.fc1",),
    "layers.{i}.feed_forward.down": ("blocks.{i}.mlp.fc2",),
    "norm": ("norm",),
}
WAV2VEC2: dict[str, tuple[str, ...]] = {  # our name: transformers', of HuBERT and WavLM, too
    "mask": ("masked_spec_embed",),
    "convolutions.{i}": ("feature_extractor.conv_layers.{i}.conv",),
    "convolutions.{i}.norm": ("feature_extractor.conv_layers.{i}.layer_norm",),
    "projection_norm": ("feature_projection.layer_norm",),
    "projection": ("feature_projection.projection",),
    "positions": ("encoder.pos_conv_embed.conv",),
    "positions.gain": (
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
        "encoder.pos_conv_embed.conv.weight_g",
    ),
    "positions.direction": (
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
        "encoder.pos_conv_embed.conv.weight_v",
    ),
    "positions.norm": ("encoder.pos_conv_embed.batch_norm",),  # some HuBERTs'
    "norm": ("encoder.layer_norm",),
    "layers.{i}.attention.query": ("encoder.layers.{i}.attention.q_proj",),
    "layers.{i}.attention.key": ("encoder.layers.{i}.attention.k_proj",),
    "layers.{i}.attention.value": ("encoder.layers.{i}.attention.v_proj",),
    "layers.{i}.attention.output": ("encoder.layers.{i}.attention.out_proj",),
    "layers.{i}.attention.distances": ("encoder.layers.{i}.attention.rel_attn_embed",),  # WavLM's
    "layers.{i}.attention.distance_gate": ("encoder.layers.{i}.attention.gru_rel_pos_linear",),
    "layers.{i}.attention.distance_gate_scale": ("encoder.layers.{i}.attention.gru_rel_pos_const",),
    "layers.{i}.attention_norm": ("encoder.layers.{i}.layer_norm",),
    "layers.{i}.feed_forward.up": ("encoder.layers.{i}.feed_forward.intermediate_dense",),
    "layers.{i}.feed_forward.down": ("encoder.layers.{i}.feed_forward.output_dense",),
    "layers.{i}.feed_forward_norm": ("encoder.layers.{i}.final_layer_norm",),
}
FORMER = {"backbone.vit.": AST, "backbone.model.": WAV2VEC2}  # how the libraries' names began in schema 1


def own_name(name: str, table: Table) -> str:
    """A tensor's name in its library -> ours; one that the table does not have stays as it is."""
    ours = {theirs: own for own, names in table.items() for theirs in names}
    number = re.search(r"\.(\d+)\.", name)
    general = re.sub(r"\.\d+\.(layer\.)?", ".{i}.", name, count=1)  # a TunedLayer holds the library's
    above, dot, leaf = general.rpartition(".")
    for part, rest in ((general, ""), (above, dot + leaf)):
        if part in ours:
            return (ours[part] + rest).replace("{i}", number[1] if number else "")
    return name


def own_names(tensors: Mapping[str, Value], source: str) -> dict[str, Value]:
    """A saved adapter's tensors with the backbone's under names of our own: schema 1 had the libraries'.

    Raises:
        ValueError: two of them get the same name; the message begins with ``source``.
    """
    named: dict[str, Value] = {}
    for name, tensor in tensors.items():
        own = name
        for beginning, table in FORMER.items():
            if name.startswith(beginning):
                own = f"backbone.{own_name(name.removeprefix(beginning), table)}"
        if own in named:
            raise ValueError(f"{source}: {own[:80]!r} is there twice, once under a former name")
        named[own] = tensor
    return named


def library_names(tensors: Mapping[str, Value], names: Iterable[str], table: Table) -> dict[str, Value]:
    """Tensors of a published file under ``names``, the library's of today, where it has had others."""
    today = {own_name(name, table): name for name in names}
    return {today.get(own_name(name, table), name): tensor for name, tensor in tensors.items()}
