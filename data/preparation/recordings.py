"""The recordings of one's own set: class folders, or a table of paths and labels."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from preparation.lists import listing
from preparation.reading import check_root, clip_bytes, read_csv, subfolders

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
SPLITS = ("train", "valid", "test")
SPLIT_FOLDERS = {*SPLITS, "training", "val", "validation", "dev", "testing", "eval", "evaluation"}


class Recording(NamedTuple):
    """One recording, and what was said of it."""

    wav: str  # path relative to the data root, or absolute outside it
    classes: tuple[str, ...]
    group: str = ""  # what must stay together, where groups were asked for
    split: str = ""  # the list it was given to, where the table says it


def from_folders(root: Path, group: str | None) -> tuple[list[Recording], list[str]]:
    """One folder a class, however deep its recordings lie; and notes.

    Args:
        group: a regular expression; its one group, searched in the relative path, is the recording's.

    Raises:
        FileNotFoundError: ``root`` is no folder, or holds none.
        ValueError: a class has no recording, ``group`` is no such expression or does not match.
    """
    check_root(root, [], "class folders")
    names = subfolders(root)
    if not names:
        raise FileNotFoundError(f"{root}: holds no folder; expected one a class, or a table by -csv")
    if SPLIT_FOLDERS.issuperset(name.lower() for name in names):
        raise ValueError(
            f"{root}: its folders {listing(names)} are lists and not classes; expected one folder a class, "
            "or -csv with the columns path, label and split"
        )
    wavs = sorted(clip_bytes(root, names, SUFFIXES, nested=True))
    empty = sorted(set(names) - {wav.partition("/")[0] for wav in wavs})
    if empty:
        kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise ValueError(f"{root}: no recording ({kinds}) of class {listing(empty)}")
    beside = sorted(e.name for e in os.scandir(root) if e.name.lower().endswith(SUFFIXES) and e.is_file())
    notes = [f"{len(beside):,} recordings beside the class folders are left out: {listing(beside)}"]
    groups = captured(wavs, group, root) if group else [""] * len(wavs)
    recordings = [Recording(wav, (wav.partition("/")[0],), g) for wav, g in zip(wavs, groups)]
    return recordings, notes if beside else []


def captured(wavs: list[str], pattern: str, root: Path) -> list[str]:
    """What a regular expression's one group captures in each path."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"-group {pattern!r} is no regular expression: {error}") from None
    if expression.groups != 1:
        raise ValueError(
            f"-group {pattern!r} has {expression.groups} capturing groups; expected one, as in '(kit\\d+)_'"
        )
    matches = [expression.search(wav) for wav in wavs]
    without = [wav for wav, match in zip(wavs, matches) if not match or not match[1]]
    if without:
        raise ValueError(
            f"{root}: -group {pattern!r} captures nothing in {len(without):,} of {len(wavs):,} paths: "
            f"{listing(without)}"
        )
    return [match[1] for match in matches]


def from_table(root: Path, table: Path, group: str | None) -> list[Recording]:
    """The rows of a CSV with the columns ``path``, ``label`` and, if given, ``split``.

    Args:
        root: where relative paths start.
        group: the column that tells the groups.

    Raises:
        FileNotFoundError: there is no such table, or a recording is missing.
        ValueError: the table lacks a column or a value, lists a path twice, or has another split.
    """
    check_root(root, [], "the recordings")
    if not table.is_file():
        raise FileNotFoundError(f"{table}: no such file; expected a CSV with the columns path and label")
    recordings: dict[str, Recording] = {}
    for line, row in read_csv(table, ["path", "label", *([group] if group else [])]):
        where = f"{table}, line {line}"
        path = Path(os.path.normpath(root / row["path"]))  # one file, one path, however it is written
        wav = (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
        if wav in recordings:
            raise ValueError(f"{where}: {wav} is listed twice; several labels stand in one row: a;b")
        classes = tuple(
            dict.fromkeys(part.strip() for part in re.split("[;,]", row["label"]) if part.strip())
        )
        if not classes:
            raise ValueError(f"{where}: has no label, but {row['label']!r}")
        split = row.get("split")
        if split is not None and split not in SPLITS:
            raise ValueError(f"{where}: split is {split!r}; expected {', '.join(SPLITS)}")
        recordings[wav] = Recording(wav, classes, row[group] if group else "", split or "")
    missing = [wav for wav in recordings if not os.path.isfile(root / wav)]
    if missing:
        raise FileNotFoundError(
            f"{table}: {len(missing):,} of its {len(recordings):,} recordings are not in {root}: "
            f"{listing(missing)}"
        )
    return sorted(recordings.values())
