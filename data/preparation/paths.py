"""The files that the paths of a user's table mean: other separators, folders, suffixes and Unicode forms."""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from ipet.audio_formats import decodable_suffixes, recordings_below
from ipet.input_report import InputReport
from preparation.lists import listing

DRIVE = re.compile(r"^([A-Za-z]:[\\/]|\\\\|file://)")


def plain(path: str) -> str:
    """Return what paths share that differ only in case and Unicode normal form."""
    return unicodedata.normalize("NFC", path).casefold()


def relative_to_root(root: Path, path: str | Path) -> str:
    """Return a path in the form of a list: relative to the data root, or absolute outside it."""
    full = Path(os.path.normpath(root / path))
    return (full.relative_to(root) if full.is_relative_to(root) else full).as_posix()


class Finder:
    """The recordings below a data root, found by any ending of their paths.

    Args:
        root: The data root. It is searched when the first path is not found as it is written.
    """

    def __init__(self, root: Path):
        self.root = root
        self._below: list[str] | None = None
        self._ending: dict[str, list[str]] = {}
        self.account = InputReport(str(root))

    @property
    def below(self) -> list[str]:
        """All recordings below the root, relative to it."""
        if self._below is None:
            found = recordings_below(self.root, self.account)
            self._below = sorted(path.relative_to(self.root).as_posix() for path in found)
            for wav in self._below:
                name = plain(os.path.basename(wav))
                self._ending.setdefault(name, []).append(wav)
                self._ending.setdefault(os.path.splitext(name)[0], []).append(wav)
        return self._below

    def find(self, written: str) -> tuple[str, str]:
        """Return the recording that a table means, and how it was found; two empty texts if there is none.

        Raises:
            ValueError: Several recordings fit.
        """
        text = written.strip()
        for exact in (written, text):
            if os.path.isfile(self.root / exact):
                return relative_to_root(self.root, exact), ""
        slashed = re.sub(r"^file://", "", text).replace("\\", "/")
        if slashed != text and os.path.isfile(self.root / slashed):
            return relative_to_root(self.root, slashed), "backslashes read as slashes"
        named = [
            slashed + s for s in sorted(decodable_suffixes()) if os.path.isfile(self.root / (slashed + s))
        ]
        if len(named) == 1:
            return relative_to_root(self.root, named[0]), "suffix added"
        absolute = bool(DRIVE.match(text)) or slashed.startswith("/")
        parts = [part for part in plain(slashed).split("/") if part not in ("", ".")]
        if not parts or not self.below:
            return "", ""
        fitting = {wav: self.shared(wav, parts) for wav in self._ending.get(parts[-1], [])}
        needed = 1 if absolute else len(parts)  # of a relative path, all that is written
        most = max(fitting.values(), default=0)
        best = [wav for wav, count in fitting.items() if count == most >= needed]
        if len(best) > 1:
            raise ValueError(f"{written} could be any of {listing(sorted(best))} in {self.root}")
        if not best:
            return "", ""
        how = (
            "found by the end of an absolute path" if absolute else "found in another folder of the data root"
        )
        return best[0], how

    @staticmethod
    def shared(wav: str, parts: list[str]) -> int:
        """Return how many parts two paths share from their ends, the last one with or without suffix."""
        count = 1
        for one, other in zip(reversed(plain(wav).split("/")[:-1]), reversed(parts[:-1])):
            if one != other:
                break
            count += 1
        return count

    def report_unlisted(self, used: Iterable[str], report: InputReport) -> None:
        """Report the recordings below the root that a table does not name."""
        if self.root.parent == self.root:  # the whole disk: a table of absolute paths
            return
        listed = set(used)
        for wav in self.below:
            if wav not in listed:
                report.leave_out("recordings", wav, f"in {self.root} and not named in the table", "add rows")
        for (kind, reason, remedy), items in self.account.left_out.items():
            for item in items if kind == "recordings" else ():
                report.leave_out(kind, item, reason, remedy)


def resolve_paths(
    root: Path, rows: list[tuple[int, str]], source: Path, notes: list[str]
) -> tuple[list[str], Finder]:
    """Return the recording of each row, relative to the data root or absolute outside it.

    Args:
        root: Folder that relative paths start from.
        rows: Line and written path.
        source: The table, for errors.
        notes: Decisions so far; new ones are appended.

    Raises:
        FileNotFoundError: Recordings are missing.
        ValueError: A path is empty, or could be several recordings.
    """
    finder, found, missing = Finder(root), [], []
    how: dict[str, list[str]] = {}
    for line, written in rows:
        if not written.strip():
            raise ValueError(f"{source}, line {line}: has no path")
        try:
            wav, way = finder.find(written)
        except ValueError as error:
            raise ValueError(f"{source}, line {line}: {error}; write its folder, too") from None
        if way:
            how.setdefault(way, []).append(f"{written} is {wav}")
        if not wav:
            missing.append(relative_to_root(root, written.strip()))
        found.append(wav)
    if missing:
        names = list(dict.fromkeys(missing))
        raise FileNotFoundError(
            f"{source}: {len(names):,} of its {len({written for _, written in rows}):,} recordings are not "
            f"in {root}: {listing(names)}"
        )
    for way, examples in how.items():
        notes.append(f"{len(examples):,} of {len(rows):,} paths: {way}, such as {examples[0]}")
    return found, finder
