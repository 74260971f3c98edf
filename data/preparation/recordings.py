"""The recordings of a user's own set: class folders, or a table of paths and labels."""

import math
import os
import re
from pathlib import Path
from typing import NamedTuple

from ipet.audio_formats import AUDIO_SUFFIXES, decodable_suffixes, recordings_below
from ipet.input_report import InputReport
from ipet.label_names import clean_name
from preparation.labels import Cell, LabelRules, read_labels
from preparation.layout import Placed, folders_of, place, split_layout, wrapped_parts
from preparation.lists import listing
from preparation.paths import resolve_paths
from preparation.reading import check_root, subfolders
from preparation.table import (
    Table,
    account_for_columns,
    assign_roles,
    header_key,
    ignored_columns,
    knows,
    read_table,
    span,
    unit_of,
)

SUFFIXES = tuple(sorted(decodable_suffixes()))
BACKGROUND = re.compile(
    r"_*(background|noise|ambient|ambience|silence|negatives?|none|empty|no)([_ ]?\w*)", re.I
)
KAGGLE = ("validation_list.txt", "testing_list.txt")  # of Speech Commands


class Recording(NamedTuple):
    """One clip: a recording or a part of it, and what the user said about it."""

    wav: str  # path relative to the data root, or absolute outside it
    classes: tuple[str, ...]  # empty: no class
    group: str = ""  # of clips that must stay together, where groups are used
    part: str = ""  # of a given split: train, valid, test, or the name of a fold
    start: float = 0.0  # seconds
    end: float = math.inf  # seconds; infinity: the end of the recording

    @property
    def is_segment(self) -> bool:
        """True for a clip that is a part of its recording."""
        return self.start > 0 or self.end < math.inf

    @property
    def name(self) -> str:
        """The path, and the times of a segment."""
        if not self.is_segment:
            return self.wav
        end = "end" if math.isinf(self.end) else f"{self.end:g} s"
        return f"{self.wav} [{self.start:g} to {end}]"


class Found(NamedTuple):
    """The clips of a folder or a table, and their groups and split."""

    recordings: list[Recording]
    notes: list[str]
    grouped: str = ""  # the column or expression of the groups
    divided: str = ""  # the column of the split; empty: folders, or no split


# Class folders ------------------------------------------------------------------------------------


def from_folders(root: Path, group: str | None, rules: LabelRules, layout: str, report: InputReport) -> Found:
    """Return the recordings below class folders, at any depth.

    Args:
        root: The data root, with one folder for each class, or with folders of a split that hold these.
        group: Regular expression; its one group, searched in the relative path, is the recording's.
        rules: Rules for reading the names of the folders.
        layout: Meaning of the folders, of ``LAYOUTS``; empty: by their names.
        report: Account of what is used and left out.

    Raises:
        FileNotFoundError: ``root`` is not a folder, or holds none.
        ValueError: A class has no recording, the folders are ambiguous, or ``group`` does not match.
    """
    check_root(root, [], "class folders")
    names = subfolders(root)
    if not names:
        raise FileNotFoundError(f"{root}: holds no folder; expected one a class, or a table by -csv")
    check_speech_commands(root)
    wavs = sorted(path.relative_to(root).as_posix() for path in recordings_below(root, report))
    placed, notes = place_by_folders(root, wavs, names, layout, report)
    if layout == "pooled":
        placed = [one._replace(part="") for one in placed]
    counts: dict[str, int] = {}
    for one in placed:
        counts[one.name] = counts.get(one.name, 0) + 1
    cells = [Cell(name, 0, f"{counts[name]:,} recordings in {name}/") for name in sorted(counts)]
    classes = dict(zip(sorted(counts), read_labels(cells, rules, str(root), report, notes)))
    notes += background_notes(counts, classes)
    kept = [one for one in placed if classes[one.name] is not None]
    for one in placed:
        if classes[one.name] is None:
            report.leave_out("recordings", one.wav, f"the class folder {one.name} is left out")
        else:
            report.use("recordings")
    groups = captured([one.wav for one in kept], group, root) if group else [""] * len(kept)
    found = [Recording(one.wav, classes[one.name], g, one.part) for one, g in zip(kept, groups)]
    if not found:
        raise ValueError(f"{root}: no recording is left")
    return Found(found, notes, f"-group {group}" if group else "")


def check_speech_commands(root: Path) -> None:
    """Raise ValueError for Speech Commands as Kaggle or its authors pack it: its lists name the split."""
    for folder in (root, root / "train", root.parent):
        if all(os.path.isfile(folder / name) for name in KAGGLE):
            best = root.parent if folder == root.parent else root
            raise ValueError(
                f"{root}: {folder} holds {' and '.join(KAGGLE)}, the lists of Speech Commands; use them: "
                f"python3 data/prepare.py speech_commands {best}"
            )


def place_by_folders(
    root: Path, wavs: list[str], names: list[str], layout: str, report: InputReport
) -> tuple[list[Placed], list[str]]:
    """Return the class folder and the part of each recording, and notes; the others are reported.

    Raises:
        ValueError: The folders are ambiguous, or one of them has no recording.
    """
    beside = [wav for wav in wavs if "/" not in wav]
    for wav in beside:
        report.leave_out("recordings", wav, "next to the class folders", "move them into a class folder")
    folders = folders_of(wav for wav in wavs if "/" in wav)
    depth, parts = split_layout(root, folders, layout) if folders else (-1, {})
    wrapped = wrapped_parts(folders, parts) if depth == 0 else set()
    placed = []
    for wav, of in folders.items():
        one = place(wav, of, depth, parts, wrapped)
        if isinstance(one, Placed):
            placed.append(one)
        else:
            remedy = "move them, or name every recording by -csv FILE"
            report.leave_out("recordings", wav, one, remedy)
    if depth != 0:
        check_not_empty(root, set(names) - {of[0] for of in folders.values()})
    notes = []
    if depth >= 0 and not layout:
        check_outside(root, folders, depth, parts)
    if depth >= 0:
        kinds = "folds" if all(part.isdigit() for part in parts.values()) else "parts of a split"
        used = sorted(parts, key=lambda name: (parts[name].zfill(9), name))
        notes.append(
            f"the folders {listing(used)} are taken as {kinds}; -layout pooled draws new lists from all of "
            "them, -layout classes takes them as classes"
        )
        others = sorted(set(names) - set(parts)) if depth == 0 else []
        for name in others:
            report.leave_out("folders", name, "next to the folders of the split", "-layout classes")
        report.use("folders", len(parts))
    else:
        report.use("folders", len({one.name for one in placed}))
    return placed, notes


def check_outside(root: Path, folders: dict[str, tuple[str, ...]], depth: int, parts: dict[str, str]) -> None:
    """Raise ValueError where recordings are in folders that are no part of a split."""
    outside = [of for of in folders.values() if len(of) <= depth or of[depth] not in parts]
    if outside:
        names = sorted({"/".join(of[: depth + 1]) for of in outside})
        raise ValueError(
            f"{root}: the folders {listing(sorted(parts))} are parts of a split, and {len(outside):,} "
            f"recordings are next to them ({listing(names)}); -layout parts leaves these out, -layout pooled "
            "draws new lists without them, -layout classes takes every folder as a class"
        )


def check_not_empty(root: Path, empty: set[str]) -> None:
    """Raise ValueError where class folders hold no recording that can be read, with the reason."""
    if not empty:
        return
    unread = sorted(
        {path.suffix.lower() for name in empty for path in (root / name).rglob("*") if path.is_file()}
        & set(AUDIO_SUFFIXES)
    )
    why = f"; {', '.join(unread)} needs ffmpeg or torchcodec" if unread else ""
    raise ValueError(
        f"{root}: no recording ({', '.join(s[1:] for s in SUFFIXES)}) of class {listing(sorted(empty))}{why}"
    )


def background_notes(counts: dict[str, int], classes: dict[str, tuple[str, ...] | None]) -> list[str]:
    """Return a note for each class folder that probably holds recordings of no class."""
    named = [name for name in counts if BACKGROUND.fullmatch(name) and classes[name]]
    return [
        f"the folder {name} is a class; -no_label {name} makes its clips clips of no class" for name in named
    ]


def captured(wavs: list[str], pattern: str, root: Path) -> list[str]:
    """Return what a regular expression's one group captures in each path."""
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


# Tables -------------------------------------------------------------------------------------------


def from_table(
    root: Path,
    path: Path,
    group: str | None,
    rules: LabelRules,
    columns: tuple[tuple[str, str], ...],
    merge_rows: bool,
    report: InputReport,
) -> Found:
    """Return the clips of a table with a path and a label in each row.

    Args:
        root: Folder that relative paths start from.
        path: The table. Its times of events, its split or folds and its groups are used, if it has them.
        group: Column of the groups.
        rules: Rules for reading labels.
        columns: Pairs of a role and a column, by the user.
        merge_rows: Flag to unite the labels of several rows of one clip.
        report: Account of what is used and left out.

    Raises:
        FileNotFoundError: The table or a recording does not exist.
        ValueError: The table is ambiguous, lacks a column or a value, or has two rows for a clip.
    """
    check_root(root, [], "the recordings")
    table = read_table(path)
    roles = assign_roles(table, columns, group)
    notes, where = table.notes, [f"{path}, line {line}" for line, _ in table.rows]
    values = [row for _, row in table.rows]
    units = {role: unit_of(table, roles[role]) for role in ("start", "end", "duration") if role in roles}
    spans = [span(row, roles, units, place) for row, place in zip(values, where)]
    written = [(line, row[roles["path"]]) for line, row in table.rows]
    wavs, finder = resolve_paths(root, written, path, notes)
    cells = [Cell(row[roles["label"]], line, f"row {line}") for line, row in table.rows]
    classes = read_labels(cells, rules, str(path), report, notes)
    grouped = group_column(table, roles, ignored_columns(columns), classes, notes)
    account_for_columns(table, roles, columns, report)
    found: dict[tuple, Recording] = {}
    for (line, row), wav, times, names in zip(table.rows, wavs, spans, classes):
        if names is None:
            continue
        of_group = clean_name(row[grouped]) if grouped else ""
        if grouped and not of_group:
            raise ValueError(
                f"{path}, line {line}: has no {grouped}; -columns ignore={grouped} leaves it out"
            )
        part = clean_name(row[roles["split"]]) if "split" in roles else ""
        one = Recording(wav, names, of_group, part, *times)
        key = (wav, *times)
        if key in found and found[key] == one:
            report.leave_out("rows", f"row {line}", "the same as an earlier row")
            continue
        if key in found:
            if not merge_rows or found[key]._replace(classes=names) != one:
                raise ValueError(
                    f"{path}, line {line}: {one.name} is listed twice; several labels stand in one row, a;b, "
                    "or -merge_rows unites the labels of its rows"
                )
            one = one._replace(classes=tuple(dict.fromkeys(found[key].classes + names)))
        report.use("rows")
        found[key] = one
    if not found:
        raise ValueError(f"{path}: no row is left")
    recordings = sorted(found.values())
    check_groups(recordings, path, grouped)
    report.use("recordings", len({one.wav for one in recordings}))
    finder.report_unlisted(wavs, report)
    return Found(recordings, notes, grouped, roles.get("split", ""))


def group_column(
    table: Table,
    roles: dict[str, str],
    ignored: set[str],
    classes: list[tuple[str, ...] | None],
    notes: list[str],
) -> str:
    """Return the column whose values stay together: the one that was asked for, or speakers and the like."""
    if "group" in roles:
        return roles["group"]
    free = [name for name in table.columns if name not in roles.values() and header_key(name) not in ignored]
    values = {name: [clean_name(row[name]) for _, row in table.rows] for name in free if knows(name, "group")}
    # A column that follows from the label is the label itself, such as the speaker to be identified.
    values = {
        name: of
        for name, of in values.items()
        if len({*zip(of, classes)}) > len({*classes}) and len({*of}) > 1
    }
    if not values:
        return ""
    # Of several columns the one that the others follow: one speaker of many sessions, say.
    coarse = [
        name
        for name, of in values.items()
        if all(len({*zip(of, other)}) == len({*other}) for other in values.values())
    ]
    if not coarse:
        raise ValueError(
            f"{table.path}: the columns {listing(values)} could each be the group; choose "
            f"by -group {next(iter(values))}, or leave one out by -columns ignore={[*values][-1]}"
        )
    [chosen, *_] = coarse
    roles["group"] = chosen
    notes.append(
        f"clips of one {header_key(chosen)} stay in one list; -columns ignore={chosen} does not keep them "
        "together"
    )
    return chosen


def check_groups(recordings: list[Recording], path: Path, grouped: str) -> None:
    """Raise ValueError where the segments of one recording belong to several groups."""
    if not grouped:
        return
    of: dict[str, set[str]] = {}
    for one in recordings:
        of.setdefault(one.wav, set()).add(one.group)
    torn = [wav for wav, groups in of.items() if len(groups) > 1]
    if torn:
        raise ValueError(
            f"{path}: segments of {listing(torn)} have several values of {grouped}; expected one for each "
            f"recording, or -columns ignore={grouped}"
        )
