"""Initialise a training from a saved adapter (``-init_adapter``), also for other classes.

All tensors that the method trains are copied, such as prompts and adapters. Of the head, the rows of a class
are copied by the class's name: classes may be added (their rows begin as in a new head), removed or
reordered. A speaker head keeps its embedding layer; its classifier is copied by speaker.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from ipet.checkpoint import check_shapes, fetch, file_sha256, load_exactly
from ipet.description import CONFIG, FORMER_CONFIG, FORMER_WEIGHTS, WEIGHTS
from ipet.input_report import InputReport
from ipet.lists import Labels
from ipet.saved import Saved, read_saved
from ipet.tuning import trainable_parameters

FLAG = "-init_adapter"
RECORD = "init_adapter.json"  # in a run's folder; its passport repeats it
CLASS_ROWS = ("head.fc.weight", "head.fc.bias")  # a row a class
# Settings of a method that decide what its tensors mean, and the flags that set them.
FLAGS = {
    "num_prompts": "-embedding_prompt_num",
    "bottleneck": "-adapter_hidden_dim",
    "position": "-adapter_position",
    "scale": "-adapter_scalar",
    "residual": "-adapter_residual",
    "rank": "-lora_rank",
    "num_prefixes": "-prefix_num",
    "border": "-border",
}


class ClassMapping(NamedTuple):
    """Rows of a saved head for the classes of a run.

    Args:
        rows: Row of the saved head for each class of the run; None for an added class.
        removed: Rows of the saved head that no class of the run takes.
        renumbered: Pairs (class of the run, row of the saved head) that share an id but no name.
    """

    rows: tuple[int | None, ...]
    removed: tuple[int, ...]
    renumbered: tuple[tuple[int, int], ...]


def map_classes(old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]]) -> ClassMapping:
    """Match classes by name; ids decide between classes of one name, and never alone.

    The same id means other classes in other tables (``/m/gtzan00`` is blues in one, pop in another), so that
    a class of the same id and another name is a new class.

    Args:
        old: (id, name) of the classes of the saved head.
        new: (id, name) of the classes of the run.
    """
    rows: dict[int, int] = {}
    keys = (lambda label: label, lambda label: label[1], lambda label: plain_name(label[1]))
    for key in keys:
        sides = [{}, {}]
        for side, labels, taken in zip(sides, (old, new), (set(rows.values()), set(rows))):
            for i, label in enumerate(labels):
                if i not in taken:
                    side.setdefault(key(label), []).append(i)
        for name, found in sides[1].items():
            there = sides[0].get(name, [])
            if len(found) == len(there) == 1:
                rows[found[0]] = there[0]
    removed = [i for i in range(len(old)) if i not in set(rows.values())]
    by_id = {old[i][0]: i for i in removed}
    renumbered = [(i, by_id[mid]) for i, (mid, _) in enumerate(new) if i not in rows and mid in by_id]
    return ClassMapping(tuple(rows.get(i) for i in range(len(new))), tuple(removed), tuple(renumbered))


def plain_name(name: str) -> str:
    """Return a class's name without case, underscores and Unicode variants: ``Dog_bark`` is ``dog bark``."""
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()


def read_source(source: str) -> Saved:
    """Read the adapter that ``-init_adapter`` names: a folder, or a hub id.

    Raises:
        FileNotFoundError, ValueError: There is no adapter, or it is damaged; see ``read_saved``.
    """
    folder = Path(source).expanduser()
    if not folder.exists():
        files = (CONFIG, WEIGHTS, FORMER_CONFIG, FORMER_WEIGHTS)
        folder = fetch(source, files, f"the folder of a saved adapter for {FLAG}, or a hub id")
    return read_saved(folder)


def source_sha256(source: str) -> str:
    """Return the SHA-256 of the tensors that ``-init_adapter`` names; see ``read_source`` for its errors."""
    return file_sha256(read_source(source).weights)


def initialise(model: nn.Module, labels: Labels, source: str) -> tuple[dict, InputReport]:
    """Put a saved adapter into a model that may have other classes.

    Args:
        model: A ``Classifier``, its head new.
        labels: The classes of its head.
        source: Folder of the adapter, or a hub id.

    Returns:
        The record for a run's provenance, as JSON values; and an account of the adapter's classes.

    Raises:
        FileNotFoundError, ValueError: See ``read_source``; ValueError where method, sizes, backbone or task
            are others.
    """
    saved = read_source(source)
    check_method(saved, model)
    check_same_backbone(saved, model)
    old = [(label["mid"], label["name"]) for label in saved.description["labels"]]
    new = list(zip(labels.mids, labels.names))
    mapping = map_classes(old, new)
    load_mapped(trainable_parameters(model), saved, mapping)
    report = InputReport(f"{FLAG} {source}")
    report.use("classes", len(old) - len(mapping.removed))
    for row in mapping.removed:
        report.leave_out("classes", old[row][1], f"not among the {len(new)} classes of {labels.path}")
    record = {
        "source": source,
        "sha256": file_sha256(saved.weights),
        "experiment": saved.description.get("experiment"),
        "classes": {
            "kept": sum(row is not None for row in mapping.rows),
            "moved": {
                new[i][1]: [row, i] for i, row in enumerate(mapping.rows) if row is not None and row != i
            },
            "added": [new[i][1] for i, row in enumerate(mapping.rows) if row is None],
            "removed": [old[row][1] for row in mapping.removed],
            "same_id_other_name": {new[i][1]: old[row][1] for i, row in mapping.renumbered},
        },
        "settings_that_differ": other_settings(saved.description, model),
    }
    return record, report


def load_mapped(target: Mapping[str, Tensor], saved: Saved, mapping: ClassMapping) -> None:
    """Copy a saved adapter's tensors into those of a model, and the rows of its head by class.

    Raises:
        ValueError: Names or shapes are others; the message names the file and the tensors.
    """
    tensors = dict(saved.tensors)
    if ("head.embed.weight" in tensors) != ("head.embed.weight" in target):
        kinds = {True: "speakers", False: "classes"}
        is_speaker = "head.embed.weight" in tensors
        raise ValueError(
            f"{saved.weights}: has the head of a model of {kinds[is_speaker]}, this experiment's is of "
            f"{kinds[not is_speaker]}; expected an adapter of the same task"
        )
    kept = [(i, row) for i, row in enumerate(mapping.rows) if row is not None]
    for name in CLASS_ROWS:
        if name not in tensors or name not in target:
            continue
        num_rows = len(kept) + len(mapping.removed)
        if tensors[name].shape[:1] != (num_rows,) or tensors[name].shape[1:] != target[name].shape[1:]:
            raise ValueError(
                f"{saved.weights}: {name} has shape {list(tensors[name].shape)}; expected "
                f"{[num_rows, *target[name].shape[1:]]}, a row for each class of {saved.config.name}"
            )
        rows = target[name].detach().cpu().clone()
        for i, row in kept:
            rows[i] = tensors[name][row].to(rows.dtype)
        tensors[name] = rows
    check_shapes(target, tensors, str(saved.weights))
    load_exactly(target, tensors, str(saved.weights))


def check_method(saved: Saved, model: nn.Module) -> None:
    """Raise ValueError where an adapter's method or one of its sizes is another than the model's."""
    theirs, ours = saved.description["tuning"], model.backbone.tuning
    if theirs["method"] != ours["method"]:
        raise ValueError(
            f"{saved.config}: an adapter of -method {theirs['method']}, this run is of -method "
            f"{ours['method']}; expected the same: give -method {theirs['method']}"
        )
    differ = [name for name in FLAGS if theirs.get(name) != ours.get(name)]
    if differ:
        found = ", ".join(f"{name} {theirs.get(name)} (here {ours.get(name)})" for name in differ)
        flags = " ".join(f"{FLAGS[name]} {theirs[name]}" for name in differ if theirs.get(name) is not None)
        raise ValueError(f"{saved.config}: an adapter with {found}; expected the same: give {flags}")


def check_same_backbone(saved: Saved, model: nn.Module) -> None:
    """Raise ValueError where an adapter was trained on another frozen backbone than the model's."""
    theirs, ours = saved.description["backbone"], model.backbone
    if theirs["sha256"] != ours.sha256:
        name = theirs["pretrained"]
        remedy = (
            "its random weights come with its own -rand_seed and -size alone"
            if name == "random"
            else f"expected the same: give -pretrained {name}"
        )
        raise ValueError(
            f"{saved.config}: trained on the backbone {name} (SHA-256 {theirs['sha256'][:12]}...), this "
            f"run's has SHA-256 {ours.sha256[:12]}...; {remedy}"
        )


def other_settings(description: Mapping, model: nn.Module) -> dict:
    """Return the front end's settings that are others in the run: [the adapter's, the run's] by name."""
    theirs, ours = description["front_end"], model.front_end.settings
    return {
        name: [theirs.get(name), ours.get(name)]
        for name in sorted(theirs.keys() | ours.keys())
        if theirs.get(name) != ours.get(name)
    }


def lines_of(record: Mapping) -> list[str]:
    """Return lines about an initialised training for the terminal."""
    classes = record["classes"]
    counts = f"{classes['kept']} classes kept"
    counts += f" ({len(classes['moved'])} at another index)" if classes["moved"] else ""
    counts += f", {len(classes['added'])} added: {some(classes['added'])}" if classes["added"] else ""
    counts += f", {len(classes['removed'])} removed: {some(classes['removed'])}" if classes["removed"] else ""
    origin = f" ({record['experiment']})" if record["experiment"] else ""
    lines = [f"initialised from {record['source']}{origin}, SHA-256 {record['sha256'][:12]}...: {counts}"]
    for ours, theirs in classes["same_id_other_name"].items():
        lines.append(
            f"note: {ours!r} has the id of the adapter's {theirs!r} and another name, so it is a new class; "
            "if they are one, give it the same name in labels.csv"
        )
    lines += [
        f"note: {name} was {was} for the adapter and is {now} here"
        for name, (was, now) in record["settings_that_differ"].items()
    ]
    return lines


def some(names: Sequence[str], most: int = 5) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
