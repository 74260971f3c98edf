"""The labels of a user's recordings: several in a cell, missing values, and spellings of one name."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ipet.input_report import InputReport
from ipet.label_names import (
    clean_name,
    difference,
    hidden_characters,
    is_missing,
    spelling_groups,
    textual_list,
)
from ipet.printable import control_character
from preparation.lists import listing

ROWS_SHOWN = 6  # ranges of row numbers in a message
MISSING_CHOICES = ("refuse", "drop", "class", "none")


@dataclass(frozen=True)
class LabelRules:
    """The rules for reading labels.

    Args:
        separator: Text between the labels of a cell, or ``none``; empty: ``;`` and ``|``.
        fix: Flag to merge spellings of one name and to read lists that were written as text.
        missing: Treatment of empty cells and markers of missing values: ``refuse``, ``drop`` the row,
            take the marker as a ``class``, or ``none``, a clip of no class.
        no_label: Labels or class folders whose clips have no class, such as ``background``.
    """

    separator: str = ""
    fix: bool = False
    missing: str = "refuse"
    no_label: tuple[str, ...] = ()


class Cell(NamedTuple):
    """The text of the labels of one recording."""

    text: str
    row: int  # line of the table, or 0 for class folders
    item: str  # recording or folder, as a report names it


def row_ranges(rows: Iterable[int]) -> str:
    """Return line numbers in short: ``rows 2-5, 8 and 3 more``."""
    ranges: list[list[int]] = []
    for row in sorted(set(rows)):
        if ranges and ranges[-1][1] == row - 1:
            ranges[-1][1] = row
        else:
            ranges.append([row, row])
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in ranges[:ROWS_SHOWN]]
    left = sum(b - a + 1 for a, b in ranges[ROWS_SHOWN:])
    noun = "row" if len(shown) == 1 and shown[0].isdigit() else "rows"
    return f"{noun} {', '.join(shown)}" + (f" and {left:,} more" if left else "")


def read_labels(
    cells: list[Cell], rules: LabelRules, source: str, report: InputReport, notes: list[str]
) -> list[tuple[str, ...] | None]:
    """Return the classes of each cell: none for a clip of no class; None where the row is left out.

    Args:
        cells: One for each recording of a table, or one for each class folder.
        rules: Rules for reading them.
        source: Path of the table or of the data root; errors begin with it.
        report: Account of what is left out or doubtful.
        notes: Decisions so far; new ones are appended.

    Raises:
        ValueError: A list was written as text, commas may or may not separate, a label is missing, or a
            name holds a control character.
    """
    parts = split_cells(cells, rules, source, report)
    unknown = [
        name
        for name in rules.no_label
        if not any(clean_name(name) == p for of in parts for p in map(clean_name, of or [""]))
    ]
    if unknown:
        known = sorted({name for of in parts for name in of})
        raise ValueError(f"{source}: -no_label {listing(unknown)}: no such label; found {listing(known)}")
    found = drop_missing(cells, parts, rules, source, report)
    for cell, names in zip(cells, found):
        odd = next((name for name in names or () if control_character(name)), None)
        if odd is not None and not rules.fix:
            where = f"{source}, line {cell.row}" if cell.row else source
            raise ValueError(
                f"{where}: the label {odd[:80]!r} holds a line break or another control character; "
                "-fix_labels replaces it by a blank"
            )
    return unify_spellings(cells, found, rules, report, notes)


def split_cells(
    cells: list[Cell], rules: LabelRules, source: str, report: InputReport
) -> list[tuple[str, ...]]:
    """Return the labels of each cell as they are written, each once.

    Raises:
        ValueError: See ``read_labels``.
    """
    if not cells or not cells[0].row:  # a folder is one class, whatever its name holds
        return [(cell.text,) for cell in cells]
    lists = [textual_list(cell.text) for cell in cells]
    as_text = [cell for cell, of in zip(cells, lists) if of is not None]
    if as_text and not rules.fix:
        raise ValueError(
            f"{source}: {len(as_text):,} of {len(cells):,} labels are lists that were written as text, such "
            f"as {as_text[0].text[:80]} ({row_ranges(cell.row for cell in as_text)}); -fix_labels reads them "
            "as several labels"
        )
    plain = [cell for cell, of in zip(cells, lists) if of is None]
    separators = separators_of(plain, rules, source, report)
    found = []
    for cell, of in zip(cells, lists):
        names = split_text(cell.text, separators) if of is None else of
        names = [name.strip(" \t") for name in names]
        found.append(tuple(dict.fromkeys(name for name in names if name)) or ("",))
    return found


def separators_of(cells: list[Cell], rules: LabelRules, source: str, report: InputReport) -> tuple[str, ...]:
    """Return what separates the labels of a cell.

    Raises:
        ValueError: Cells hold commas, and no flag says whether they separate.
    """
    if rules.separator:
        return () if rules.separator == "none" else (rules.separator,)
    commas = [cell for cell in cells if "," in cell.text]
    if any(mark in cell.text for cell in cells for mark in ";|"):
        for cell in commas:
            report.doubt(
                "labels",
                f"{cell.text.strip()!r} in row {cell.row}",
                "hold a comma, which is taken as part of a name because ; or | separates in other rows",
                "-label_separator , separates at commas",
            )
        return (";", "|")
    if commas:
        raise ValueError(
            f"{source}: {len(commas):,} of {len(cells):,} labels hold commas, such as "
            f"{commas[0].text.strip()[:80]!r} ({row_ranges(cell.row for cell in commas)}), and may be one "
            "label or several; -label_separator none keeps them whole, -label_separator , separates them"
        )
    return (";", "|")


def split_text(text: str, separators: tuple[str, ...]) -> list[str]:
    """Return the parts of a text between any of some separators."""
    parts = [text]
    for separator in separators:
        parts = [piece for part in parts for piece in part.split(separator)]
    return parts


def drop_missing(
    cells: list[Cell],
    parts: list[tuple[str, ...]],
    rules: LabelRules,
    source: str,
    report: InputReport,
) -> list[tuple[str, ...] | None]:
    """Return the labels without those that mean none; None for a row that is left out.

    Raises:
        ValueError: A label is missing and no flag decides what that means, or a clip has a label and none.
    """
    nothing = {clean_name(name) for name in rules.no_label}
    unclear, found = [], []
    for cell, names in zip(cells, parts):
        kept = [name for name in names if clean_name(name) not in nothing]
        if kept and len(kept) < len(names):
            where = f"{source}, line {cell.row}" if cell.row else source
            raise ValueError(
                f"{where}: has the label {listing(kept)} and {listing(set(names) - set(kept))}, which "
                "-no_label says means none"
            )
        missing = [name for name in kept if is_missing(name)]
        if missing and (rules.missing == "refuse" or (rules.missing == "class" and "" in missing)):
            unclear.append(cell)
        if missing and rules.missing == "drop":
            reason = "the label is empty or a marker of a missing value"
            kind = "rows" if cell.row else "folders"
            report.leave_out(
                kind, f"{cell.item}: {cell.text!r}", reason, "-missing_labels none|class keeps them"
            )
            found.append(None)
            continue
        if rules.missing == "none":
            kept = [name for name in kept if name not in missing]
        found.append(tuple(kept))
    if unclear:
        empty = f"{sum(not clean_name(cell.text) for cell in unclear):,} empty"
        where = f" ({row_ranges(cell.row for cell in unclear)})" if unclear[0].row else ""
        words = listing(dict.fromkeys(repr(cell.text.strip()) for cell in unclear))
        raise ValueError(
            f"{source}: {len(unclear):,} of {len(cells):,} labels are missing, {empty}: {words}{where}; "
            "-missing_labels drop leaves them out, none keeps them as clips of no class, class takes a word "
            "as a class"
        )
    return found


def unify_spellings(
    cells: list[Cell],
    found: list[tuple[str, ...] | None],
    rules: LabelRules,
    report: InputReport,
    notes: list[str],
) -> list[tuple[str, ...] | None]:
    """Merge the spellings of one name where ``rules.fix`` is set, and report them otherwise."""
    rows: dict[str, list[Cell]] = {}
    for cell, names in zip(cells, found):
        for name in names or ():
            rows.setdefault(name, []).append(cell)
    counts = Counter({name: len(of) for name, of in rows.items()})
    groups = spelling_groups(sorted(rows))
    new = {name: name for name in rows}
    for group in groups:
        best = min(group, key=lambda name: (-counts[name], name))
        what = f"differ in {difference(group)} alone"
        remedy = f"-fix_labels merges them into {clean_name(best)!r}"
        if rules.fix:
            new |= dict.fromkeys(group, clean_name(best))
            spellings = " and ".join(f"{name!r} ({counts[name]:,})" for name in group)
            notes.append(f"-fix_labels: {spellings} became the class {clean_name(best)!r}")
        else:
            for name in group:
                report.doubt("class names", f"{name!r} {places(rows[name])}", what, remedy)
    grouped = {name for group in groups for name in group}
    for name in rows:
        if name in grouped or name == clean_name(name):
            continue
        if rules.fix:
            new[name] = clean_name(name)
            notes.append(f"-fix_labels: {name!r} became the class {clean_name(name)!r}")
        else:
            hidden = ", ".join(hidden_characters(name))
            what = f"hold {hidden}" if hidden else "hold several blanks in a row or letters in parts (NFD)"
            report.doubt("class names", f"{name!r} {places(rows[name])}", what, "-fix_labels removes them")
    return [None if names is None else tuple(dict.fromkeys(new[name] for name in names)) for names in found]


def places(cells: list[Cell]) -> str:
    """Return where a name stands: its rows, or its folder."""
    if cells[0].row:
        return f"({row_ranges(cell.row for cell in cells)})"
    return f"({cells[0].item})"
