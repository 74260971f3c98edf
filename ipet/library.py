"""IPET for models and training loops of your own.

    model = Wav2Vec2ForSequenceClassification.from_pretrained("facebook/wav2vec2-base", num_labels=4)
    ipet.tune(model, num_prompts=8, bottleneck=32)        # frozen, but for what is inserted and its head
    ...                                                   # transformers' Trainer, Lightning, a loop
    ipet.save_tuned(model, "adapter")                     # some MB

    model = Wav2Vec2ForSequenceClassification.from_pretrained("facebook/wav2vec2-base", num_labels=4)
    ipet.load_tuned(model, "adapter")

The folder has PEFT's file names, ``adapter_model.safetensors`` and ``adapter_config.json``, and tensor names
of our own but for the trained head's. It loads into a model with the same frozen weights alone.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

import ipet.layer_kinds  # noqa: F401, registers them
from ipet.attention import implementation_of
from ipet.checkpoint import fingerprint, load_exactly, read_json, read_tensors
from ipet.description import TUNED, check_kind, peft_fields
from ipet.placement import compute_in_float32, is_half
from ipet.recomputation import require_input_gradients
from ipet.running_statistics import freeze_statistics
from ipet.saved import files_of, write_saved
from ipet.saving_guard import refuse_save_pretrained
from ipet.tuning import Tuning, freeze, library_layers, trainable_parameters, tuned_layers, wrap_layers


def tune(
    model: nn.Module,
    num_prompts: int = 8,
    bottleneck: int = 32,
    *,
    scale: float = 0.1,
    dropout: float = 0.1,
    residual: bool = False,
    init: str = "zero",
    position: str = "parallel",
    num_prefixes: int = 0,
    train: Iterable[str] | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Freeze a model and insert prompts and adapters into each of its transformer layers, in place.

    What is inserted goes to the device of its layer. Normalisation layers with running statistics stay in
    evaluation mode through ``model.train()``, unless they belong to a part that is trained.

    Args:
        model: one of timm's ViTs, or a transformers model with the layers of wav2vec 2.0, HuBERT, WavLM,
            UniSpeech, data2vec audio, SEW, AST or Whisper's encoder; or any module that holds one.
        num_prompts, bottleneck, scale, dropout, residual, init, position, num_prefixes: see ``Tuning``.
        train: parts that are trained as they are, modules or parameters by their names; None: the model's
            head, which is timm's classifier, or what transformers puts on top of a base model.
        dtype: Type of the inserted parameters. None: that of the layer; float32 in a model in float16 or
            bfloat16, whose head, if all of it is trained, is then converted to float32, too.

    Returns:
        ``model``. What is trained requires a gradient, and nothing else does.

    Raises:
        ValueError: it is tuned already, nothing would be inserted, it has no part of that name, a value
            that ``Tuning`` refuses, or an attention implementation that knows no prompts.
        TypeError: it has no layer of a known kind.
    """
    tuning = Tuning(
        num_prompts, bottleneck, float(scale), float(dropout), residual, init, position, num_prefixes
    )
    if not tuning:
        raise ValueError(
            "no prompts, no adapters, no prefixes: nothing would be inserted; expected one of them"
        )
    if tuned_layers(model):
        raise ValueError(f"{type(model).__name__} is tuned already; expected a fresh one")
    names = head_names(model) if train is None else list(train)
    for name in names:
        part_of(model, name)  # before anything is changed
    if tuning.num_prompts or tuning.num_prefixes:
        check_attention(model)
    parts = [part_of(model, name) for name in names]
    shared = shared_parameters(model, parts)
    wrap_layers(freeze(model), tuning, dtype)
    freeze_statistics(model, [part for part in parts if isinstance(part, nn.Module)])
    for part in parts:
        part.requires_grad_(True)
    head = head_names(model)
    if dtype is None and set(head) <= set(names) and not shared:
        for name in head:
            part = part_of(model, name)
            if is_half(part):
                compute_in_float32(part)
    require_input_gradients(model)
    refuse_save_pretrained(model)
    model.tuning = {**tuning.settings, "train": names}
    return model


def check_attention(model: nn.Module) -> None:
    """Raise ValueError where a model's layers use flex attention, which has no place for prompts."""
    for layer in library_layers(model):
        for module in layer.modules():
            implementation = implementation_of(module)
            if implementation.removeprefix("paged|") == "flex_attention":
                raise ValueError(
                    f"{type(model).__name__}: attn_implementation is {implementation!r}, which knows no "
                    'prompts or prefixes; expected "sdpa" or "eager": model.set_attn_implementation("sdpa")'
                )


def shared_parameters(model: nn.Module, parts: list) -> bool:
    """Return whether a parameter of some parts is also one of another part, such as an embedding."""
    inside = [p for part in parts for p in ([part] if isinstance(part, nn.Parameter) else part.parameters())]
    places = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    within = Counter(id(p) for p in inside)
    return any(places[i] > count for i, count in within.items())


def head_names(model: nn.Module) -> list[str]:
    """The parts on top of a model's backbone, as its library has them; none where it knows of no head."""
    if hasattr(model, "get_classifier"):  # timm; of a distilled model two
        found = model.get_classifier()
        heads = [id(head) for head in (found if isinstance(found, tuple) else (found,))]
        return [
            name for name, module in model.named_modules() if id(module) in heads and has_parameters(module)
        ]
    library = sys.modules.get("transformers")
    if library is None or not isinstance(model, library.PreTrainedModel):
        return []
    parts = dict(model.named_children()) | dict(model.named_parameters(recurse=False))
    inner = {name for name, part in parts.items() if isinstance(part, library.PreTrainedModel)}
    # A base model has none inside itself: its embeddings and its last norm are no head.
    return [n for n, p in parts.items() if n not in inner and has_parameters(p)] if inner else []


def has_parameters(part: nn.Module | nn.Parameter) -> bool:
    """Whether there is something to train."""
    return isinstance(part, nn.Parameter) or any(True for _ in part.parameters())


def part_of(model: nn.Module, name: str) -> nn.Module | nn.Parameter:
    """The module or parameter of that name.

    Raises:
        ValueError: there is none, or it has nothing to train.
    """
    part = dict(model.named_modules()).get(name) or dict(model.named_parameters()).get(name)
    if not name or part is None or not has_parameters(part):
        accepted = ", ".join(n for n, child in model.named_children() if has_parameters(child))
        raise ValueError(
            f"{type(model).__name__} has no part {name!r} to train; it has {accepted}, and theirs"
        )
    return part


def tuned_state(model: nn.Module) -> dict[str, Tensor]:
    """What is trained, under names of our own; and the buffers of its head (of a batch norm)."""
    buffers = {
        name: b for name, b in model.state_dict(keep_vars=True).items() if not isinstance(b, nn.Parameter)
    }
    heads = tuple(f"{name}." for name in settings_of(model)["train"])
    return {**trainable_parameters(model), **{n: b for n, b in buffers.items() if n.startswith(heads)}}


def settings_of(model: nn.Module) -> dict:
    """What ``tune`` was given.

    Raises:
        ValueError: it was not this one that tuned the model.
    """
    settings = getattr(model, "tuning", None)
    if not isinstance(settings, dict) or "train" not in settings:
        raise ValueError(f"{type(model).__name__} was not tuned by ipet.tune; expected one that was")
    return settings


def frozen_fingerprint(model: nn.Module) -> str:
    """SHA-256 of the parameters and buffers that are not trained; see ``fingerprint``."""
    tuned = {id(tensor) for tensor in tuned_state(model).values()}
    return fingerprint({n: t for n, t in model.state_dict(keep_vars=True).items() if id(t) not in tuned})


def save_tuned(model: nn.Module, folder: str | Path) -> None:
    """Write what was inserted and trained; see the module.

    Raises:
        ValueError: the model was not tuned by ``tune``.
    """
    config = {
        **peft_fields(TUNED, name_of(model)),
        "tuning": settings_of(model),
        "model": type(model).__name__,
        "frozen_sha256": frozen_fingerprint(model),
    }
    write_saved(folder, tuned_state(model), config)


def name_of(model: nn.Module) -> str | None:
    """Where transformers or timm had a model's weights from; None where neither knows."""
    of_transformers = getattr(getattr(model, "config", None), "name_or_path", None)
    of_timm = getattr(model, "pretrained_cfg", None) or {}
    name = of_transformers or (of_timm.get("hf_hub_id") if isinstance(of_timm, dict) else None)
    return name if isinstance(name, str) else None


def load_tuned(model: nn.Module, folder: str | Path, dtype: torch.dtype | None = None) -> nn.Module:
    """Insert what ``save_tuned`` wrote into a model with the same frozen weights, in place.

    Args:
        model: fresh, as it was given to ``tune``.
        dtype: Type of the inserted parameters, see ``tune``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder holds something else, or the model has other frozen weights or another head;
            it is then tuned, and not to be used.
    """
    path, weights = files_of(folder)
    config, tensors = read_config(path), read_tensors(weights)
    check_sizes(config["tuning"], tensors, path)
    tune(model, **config["tuning"], dtype=dtype)
    found = frozen_fingerprint(model)
    if found != config["frozen_sha256"]:
        raise ValueError(
            f"{path}: trained on frozen weights with SHA-256 {config['frozen_sha256'][:12]}... of "
            f"{config['model']}; this {type(model).__name__} has {found[:12]}...; expected the same, in the "
            "same precision"
        )
    load_exactly(tuned_state(model), tensors, str(weights))
    return model


def read_config(path: Path) -> dict:
    """What ``save_tuned`` said of the tensors.

    Raises:
        ValueError: it is not of that kind, or of another version.
    """
    config = read_json(path)
    check_kind(config, TUNED, path)
    tuning = config.get("tuning")
    known = Tuning().settings | {"train": [""]}
    said = isinstance(tuning, dict) and tuning.keys() == known.keys()
    alike = said and all(type(value) is type(known[name]) for name, value in tuning.items())
    if (
        not alike
        or not all(isinstance(name, str) for name in tuning["train"])
        or not all(isinstance(config.get(name), str) for name in ("model", "frozen_sha256"))
    ):
        raise ValueError(
            f"{path}: damaged: not the tuning, model and frozen_sha256 that ipet.save_tuned writes"
        )
    return config


def check_sizes(tuning: Mapping, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise ValueError where a description has other sizes than its tensors: none is built of its word."""
    places = {
        "num_prompts": ("prompts.0", 1),
        "num_prefixes": ("prefixes.0", 1),
        "bottleneck": ("adapters.0.attention.up.weight", 1)
        if tuning["position"] == "houlsby"
        else ("adapters.0.up.weight", 1),
    }
    for name, (tensor, axis) in places.items():
        found = tensors[tensor].shape[axis] if tensor in tensors else 0
        if tuning[name] != found:
            raise ValueError(f"{path}: {name} is {tuning[name]!r}, of the tensors {found}")
