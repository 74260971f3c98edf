"""The folder of a saved adapter, of a run or of ``ipet.save_tuned``: two files, see ``ipet.description``.

Tensors are written first and their description last, former files are removed after that: at every moment
the folder reads as what it was, or as what it becomes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
from torch import Tensor, nn

from ipet.checkpoint import load_trainable_state, read_json, read_tensors, write_atomically, write_json
from ipet.description import (
    CONFIG,
    FORMER_CONFIG,
    FORMER_WEIGHTS,
    RUN,
    SCHEMA,
    TUNED,
    WEIGHTS,
    check_description,
    check_kind,
    kind_of,
    peft_fields,
    run_config,
)
from ipet.names import own_names


class Saved(NamedTuple):
    """A run's adapter as it was read, and the files that errors about it name."""

    description: dict
    tensors: dict[str, Tensor]
    config: Path
    weights: Path


def files_of(folder: str | Path) -> tuple[Path, Path]:
    """A folder's config and its tensors; those of a run's schema 1 where it holds no later ones.

    Raises:
        FileNotFoundError: it is a file, or a folder above those of adapters.
    """
    folder = Path(folder)
    if folder.is_file():
        raise FileNotFoundError(
            f"{folder}: a file; expected the folder of a saved adapter, such as {folder.parent}"
        )
    if folder.is_dir() and not any((folder / name).is_file() for name in (CONFIG, FORMER_CONFIG)):
        depths = ("*/" * depth for depth in range(4))  # of a cell, a seed, a run, and of several runs
        below = [path.parent for depth in depths for path in sorted(folder.glob(f"{depth}last/{CONFIG}"))]
        if below:
            raise FileNotFoundError(
                f"{folder}: holds no {CONFIG}; expected the folder of an adapter, such as {below[0]}"
            )
    if (folder / FORMER_CONFIG).is_file() and not (folder / CONFIG).is_file():
        return folder / FORMER_CONFIG, folder / FORMER_WEIGHTS
    return folder / CONFIG, folder / WEIGHTS


def write_saved(folder: str | Path, tensors: Mapping[str, Tensor], config: Mapping) -> None:
    """Write the two files of a saved adapter; see the module."""
    folder = Path(folder)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(folder / WEIGHTS, safetensors.torch.save(whole))
    write_json(folder / CONFIG, config)


def remove_former(folder: Path) -> bool:
    """Delete an adapter of schema 1 next to one of a later schema; return whether there was one.

    Files of these names that are no adapter of schema 1 are not this program's, and stay.
    """
    config, weights = folder / FORMER_CONFIG, folder / FORMER_WEIGHTS
    try:
        read_description(config)
    except (OSError, ValueError):
        return False
    weights.unlink(missing_ok=True)
    config.unlink()  # last: what was interrupted can be repeated
    return True


def remove_adapter(folder: str | Path) -> None:
    """Delete a run's adapter; other files in its folder stay."""
    for name in (CONFIG, WEIGHTS):
        (Path(folder) / name).unlink(missing_ok=True)
    remove_former(Path(folder))


def save_adapter(folder: str | Path, state: Mapping[str, Tensor], description: Mapping) -> None:
    """Write a run's adapter, in place of an earlier one.

    Args:
        state: what ``trainable_state`` returned.
        description: labels, front end, backbone, tuning, metrics: JSON values.
    """
    write_saved(folder, state, run_config(description))
    remove_former(Path(folder))


def add_to_description(folder: str | Path, **values) -> None:
    """Say more, JSON values, of a saved adapter."""
    path, _ = files_of(folder)
    write_json(path, read_json(path) | values)


def read_saved(folder: str | Path) -> Saved:
    """A run's adapter, of schema 1 too, in the words of this one.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: see ``read_description`` and ``read_adapter``.
    """
    config, weights = files_of(folder)
    return Saved(read_description(config), read_adapter(weights), config, weights)


def read_description(path: str | Path) -> dict:
    """What a run's config says, of schema 1 too, in the words of this one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: see ``check_description``.
    """
    description = read_json(path)
    check_description(description, path)
    return run_config(description)


def read_adapter(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a run's adapter under names of our own; see ``read_tensors``.

    Raises:
        ValueError: one of them is not finite, or holds no floating-point numbers, or is there twice.
    """
    tensors = read_tensors(path)
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise ValueError(f"{path}: {name} is not finite, {tensor.dtype}; expected finite numbers")
    return own_names(tensors, str(path))


def load_adapter(folder: str | Path, model: nn.Module) -> dict:
    """Put a run's adapter into a model of the same shape; returns its description.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the description's kind or schema is another, its backbone has other weights, or the
            tensors are not finite or do not fit the model.
    """
    config, weights = files_of(folder)
    description = read_json(config)
    check_kind(description, RUN, config)
    tensors = read_adapter(weights)
    check_backbone(description, model, config)
    load_trainable_state(model, tensors, str(weights))
    return run_config(description)


def check_backbone(description: Mapping, model: nn.Module, path: Path) -> None:
    """Raise ValueError where an adapter was trained on another backbone than the model's."""
    backbone, found = description.get("backbone"), getattr(model.backbone, "sha256", None)
    trained_on = backbone.get("sha256") if isinstance(backbone, dict) else None
    if trained_on != found:
        raise ValueError(
            f"{path}: trained on the backbone with SHA-256 {str(trained_on)[:12]}..., "
            f"this one has {str(found)[:12]}...; expected the same"
        )


def migrate(folder: str | Path) -> bool:
    """Rewrite a saved adapter of schema 1 as one of this schema; whether there was something to do.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: it is damaged, or of a later schema; it stays as it is.
    """
    folder = Path(folder)
    path, _ = files_of(folder)
    config = read_json(path)
    kind = kind_of(config, path)
    if config["schema"] == SCHEMA:
        return remove_former(folder)  # what a migration that was stopped left
    if kind == RUN:
        saved = read_saved(folder)
        write_saved(folder, saved.tensors, saved.description)
        remove_former(folder)
    else:
        begin = peft_fields(TUNED, None)
        write_json(path, begin | {name: value for name, value in config.items() if name not in begin})
    return True


def saved_below(folder: str | Path) -> list[Path]:
    """The folders of saved adapters, this one or below it.

    Raises:
        FileNotFoundError: there is none.
    """
    found = {path.parent for name in (CONFIG, FORMER_CONFIG) for path in Path(folder).rglob(name)}
    if not found:
        raise FileNotFoundError(f"{folder}: no {CONFIG} or {FORMER_CONFIG} there, or below")
    return sorted(found)
