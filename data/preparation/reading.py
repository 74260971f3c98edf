"""A release's folders and tables, read with errors that say where."""

import csv
import io
import os
from pathlib import Path

from tqdm import tqdm


def check_root(root: Path, needed: list[str], dataset: str) -> None:
    """Raise unless ``root`` holds every needed file, and folder (``name/``), of a dataset."""

    def holds(folder: Path, name: str) -> bool:
        # os.path answers False where a Path would raise on a folder that may not be entered.
        exists = os.path.isdir if name.endswith("/") else os.path.isfile
        return exists(folder / name)

    def lacks(folder: Path) -> list[str]:
        return [name for name in needed if not holds(folder, name)]

    if not root.is_dir():
        found = "is not a folder" if root.exists() else "does not exist"
        raise FileNotFoundError(f"{root}: {found}; expected the root of {dataset}")
    if lacks(root):
        nearby = [root.parent, *sorted(path for path in root.iterdir() if path.is_dir())]
        hints = [f"; did you mean {path}?" for path in nearby if not lacks(path)]
        raise FileNotFoundError(
            f"{root}: has no {' and no '.join(lacks(root))}; expected the root of {dataset}, "
            f"which holds {' and '.join(needed)}{''.join(hints[:1])}"
        )


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte-order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text ({error})") from error


def read_csv(path: Path, columns: list[str], header: bool = True) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table, each with its line number.

    Args:
        columns: that every row must have a value in.
        header: the first line names the columns; otherwise ``columns`` are all there are.

    Raises:
        ValueError: a column is missing, a row has no value in one, or more values than columns.
    """
    reader = csv.DictReader(io.StringIO(read_text(path)), fieldnames=None if header else columns)
    try:
        rows = [(reader.line_num, row) for row in reader]
        found = reader.fieldnames or []
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.reader.line_num}: {error}") from error
    missing = [column for column in columns if column not in found]
    if missing:
        raise ValueError(
            f"{path}: has no column {' and no column '.join(missing)}; its first line is "
            f"{','.join(found)!r}{separator_hint(','.join(found))}"
        )
    if not rows:
        raise ValueError(f"{path}: lists no clip")
    for line, row in rows:
        empty = [column for column in columns if not row[column]]
        if empty:
            values = separator_hint(row[columns[0]] or "")
            raise ValueError(f"{path}, line {line}: has no {' and no '.join(empty)}{values}")
        if any(row.get(None, [])):  # a spreadsheet may leave empty ones
            raise ValueError(
                f"{path}, line {line}: has {len(found) + len(row[None])} values for {len(found)} columns; "
                'a value that holds commas stands in quotes: "a,b"'
            )
    return rows


def separator_hint(line: str) -> str:
    """A question, where a line looks as if something other than commas separated its values."""
    marks = {";": "';'", "\t": "tabs"}
    return next((f"; is it separated by {marks[m]}? expected ','" for m in marks if m in line), "")


def whole_number(text: str, column: str, where: str) -> int:
    """The value of a cell such as ``14``."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{where}: {column} is {text!r}; expected a whole number")
    return int(text)


def subfolders(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")


def clip_bytes(
    root: Path, folders: list[str], suffixes: tuple[str, ...] = (".wav",), nested: bool = False
) -> dict[str, int]:
    """The size in bytes of every recording of some folders, by its path relative to ``root``.

    Args:
        suffixes: of the files that are recordings.
        nested: folders in the folders are looked through too.
    """
    sizes = {}
    for top in tqdm(folders, desc="looking at", unit="folder", leave=False, disable=None):
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}"
                    # macOS leaves ._right.wav beside right.wav when it unpacks to a shared disk.
                    if entry.name.startswith("."):
                        continue
                    if entry.name.lower().endswith(suffixes) and entry.is_file():
                        sizes[path] = entry.stat().st_size
                    elif nested and entry.is_dir() and not leads_back(entry):
                        waiting.append(path)
    return sizes


def leads_back(entry: os.DirEntry) -> bool:
    """Whether a link leads to a folder that it lies in."""
    if not entry.is_symlink():
        return False
    here, there = os.path.realpath(os.path.dirname(entry.path)), os.path.realpath(entry.path)
    return Path(here).is_relative_to(there)
