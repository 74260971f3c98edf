"""What is written, all of it or nothing, and what is printed."""

import os
from collections.abc import Container
from pathlib import Path

from preparation.lists import Row, listing

KINDS = ("train", "eval", "valid", "test", "trials")  # of files that one set has and another has not


def write_files(folder: Path, texts: dict[str, str]) -> None:
    """Write every file or none: no name is replaced before all texts are safely on disk."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: is a file; the lists need a folder")
    folder.mkdir(parents=True, exist_ok=True)
    temporary = {name: folder / f".{name}.{os.getpid()}.tmp" for name in texts}
    try:
        for name, text in texts.items():
            with open(temporary[name], "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for name in texts:
            os.replace(temporary[name], folder / name)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def keeps_shipped(folder: Path, texts: dict[str, str]) -> tuple[bool, int]:
    """Return whether lists are those of a folder, apart from recordings they lack, and how many these are.

    Args:
        folder: Folder of the shipped lists.
        texts: Lists that were prepared from a copy of the release, by file name.
    """
    lacking = set()
    for name, text in texts.items():
        path = folder / name
        if not path.is_file():
            continue
        shipped = path.read_text(encoding="utf-8")
        if shipped == text:
            continue
        if not name.endswith(".json"):
            return False, 0
        here, there = (set(lines.replace("},", "}").splitlines()) for lines in (text, shipped))
        if not here <= there:
            return False, 0
        lacking |= there - here
    return True, len(lacking)


def leftovers(folder: Path, texts: Container[str]) -> list[str]:
    """Notes on what an earlier, larger or different set has left in ``folder``."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".json", ".txt"))
    others = [name for name in names if name not in texts]
    lists = [name for name in others if Path(name).stem.partition("_")[0] in KINDS]
    notes = [f"{folder} also holds lists of an earlier set: {listing(lists)}"] if lists else []
    if "stats.json" in others:
        notes.append(f"{folder / 'stats.json'} is of an earlier run; -stats computes it anew")
    return notes


def describe(table: list[Row]) -> str:
    """The counts found beside the official ones, and whether they agree."""
    width = max(len(row.name) for row in table)
    if all(row.official is None for row in table):
        return "\n".join(f"{row.name:{width}}{row.found:10,}" for row in table)
    lines = [f"{'':{width}}{'found':>10}{'official':>10}"]
    for row in table:
        official = "" if row.official is None else f"{row.official:10,}"
        mark = "" if row.official in (None, row.found) else "  differs"
        lines.append(f"{row.name:{width}}{row.found:10,}{official}{mark}")
    if all(row.official in (None, row.found) for row in table):
        lines.append("\nAll counts are those of the official release.")
    else:
        lines.append(
            "\nThe counts differ from the official release. That is no error in a smaller set of "
            "the same\nlayout, but its results do not compare with published ones."
        )
    return "\n".join(lines)
