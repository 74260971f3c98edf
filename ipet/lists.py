"""Lists of clips and tables of labels, checked as they are read."""

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

COLUMNS = ("index", "mid", "display_name")


@dataclass(frozen=True)
class Labels:
    """The classes of a dataset, in the order of their indices.

    Args:
        path: of the table.
        mids: a class's id in the lists, such as ``/m/07rwj00``.
        names: what people call it.
    """

    path: Path
    mids: tuple[str, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.mids)


@dataclass(frozen=True)
class Clip:
    """One recording of a list: its file, its classes, and where the list names it."""

    path: Path
    classes: tuple[int, ...]
    where: str


def read_labels(path: str | Path) -> Labels:
    """Read a label table: CSV with the columns ``index``, ``mid`` and ``display_name``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, the indices are not 0, 1, 2, ..., an id comes twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such label table; expected a CSV with {', '.join(COLUMNS)}: python3 data/prepare.py "
            "writes it, or -path_list names another folder"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin with a byte-order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error}") from None
    reader = csv.DictReader(text.splitlines())
    absent = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if absent:
        raise ValueError(
            f"{path}: column {absent[0]!r} is missing; found {reader.fieldnames}, expected {list(COLUMNS)}"
        )
    rows = list(reader)
    if not rows:
        raise ValueError(f"{path}: names no label; expected one a line")
    for i, row in enumerate(rows):
        if row["index"] != str(i):
            raise ValueError(f"{path}: line {i + 2} has index {row['index']!r}, expected {i}")
        empty = [column for column in COLUMNS if not row[column]]
        if empty:
            raise ValueError(f"{path}: line {i + 2} has no {empty[0]}; expected {', '.join(COLUMNS)}")
    mids = tuple(row["mid"] for row in rows)
    twice = next((mid for mid in mids if mids.count(mid) > 1), None)
    if twice is not None:
        raise ValueError(f"{path}: label {twice!r} comes {mids.count(twice)} times; expected once")
    return Labels(path, mids, tuple(row["display_name"] for row in rows))


def read_clips(path: str | Path, root: str | Path, labels: Labels) -> list[Clip]:
    """Read a list ``{"data": [{"wav": ..., "labels": "mid[,mid...]"}, ...]}``.

    Args:
        path: the JSON file.
        root: the folder that relative ``wav`` paths start from; absolute ones work too.
        labels: the table that the labels come from.

    Raises:
        FileNotFoundError: the list, or a clip it names, is not there.
        ValueError: not such a list; a clip lacks a key, has a label that is not in the table, or
            is an empty file.
    """
    path, root = Path(path), Path(root)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list of clips")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    entries = content.get("data") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f'{path}: expected {{"data": [{{"wav": ..., "labels": ...}}, ...]}} with a clip')
    index = {mid: i for i, mid in enumerate(labels.mids)}
    return [read_entry(path, i, entry, root, labels, index) for i, entry in enumerate(entries)]


def read_entry(path: Path, i: int, entry, root: Path, labels: Labels, index: dict[str, int]) -> Clip:
    """Check entry ``i`` of the list at ``path``; see ``read_clips``."""
    where = f"{path}: clip {i}"
    for key in ("wav", "labels"):
        if not isinstance(entry, dict) or not isinstance(entry.get(key), str) or not entry[key]:
            raise ValueError(f"{where} lacks {key!r}; found {json.dumps(entry)[:200]}")
    file = Path(os.path.normpath(root / entry["wav"]))  # one file, one path, however it is written
    unknown = [mid for mid in entry["labels"].split(",") if mid not in index]
    if unknown:
        raise ValueError(
            f"{where} ({entry['wav']}) has label {unknown[0]!r}, which is not among the "
            f"{len(labels)} labels of {labels.path}"
        )
    if not file.is_file():
        raise FileNotFoundError(
            f"{where}: {file}: no such file; is -path_data the folder that the list's paths start from?"
        )
    if file.stat().st_size == 0:
        raise ValueError(f"{where}: {file}: the file is empty (0 bytes); expected audio")
    return Clip(file, tuple(index[mid] for mid in entry["labels"].split(",")), where)


def check_disjoint(*lists: Sequence[Clip]) -> None:
    """Raise ValueError where a clip is in two of the lists, such as training and test."""
    seen: dict[Path, str] = {}
    for clips in lists:
        shared = [clip for clip in clips if clip.path in seen]
        if shared:
            raise ValueError(
                f"{shared[0].where}: {shared[0].path} is also {seen[shared[0].path]}: {len(shared)} clips "
                "are in both lists; training, validation and test must be disjoint"
            )
        seen |= {clip.path: clip.where for clip in clips}


def multi_hot(classes: Sequence[int], num_classes: int) -> Tensor:
    """Class indices -> [C] ones and zeros."""
    target = torch.zeros(num_classes)
    target[list(classes)] = 1.0
    return target
