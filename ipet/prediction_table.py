"""Answers to recordings as rows: text on the screen, CSV that can be continued, and JSON lines."""

import csv
import io
import json
import math
import sys
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from ipet.checkpoint import write_atomically
from ipet.printable import escaped
from ipet.recording_reader import UsedPart

OTHER_DEVICE = 0.05  # that a probability may differ by on another device, or in another precision
COLUMNS = {
    "clips": ("path", "rank", "label", "probability"),
    "timeline": ("path", "start", "end", "label", "probability"),
    "events": ("path", "onset", "offset", "label", "probability"),
}


class Table:
    """Rows as text on the screen, as CSV or as JSON lines; a CSV file that exists is gone on with.

    Args:
        columns: names of the values of a row; the first is the recording's path.
        csv_file, jsonl_file: where to write; ``-`` is the standard output. Without both, text.

    ``done``, an attribute, holds the paths that the CSV file has already. It stays as it is until a row is
    added; of its last recording, which is heard again, another answer is refused.

    Raises:
        ValueError: the CSV file has other columns.
    """

    def __init__(self, columns: tuple[str, ...], csv_file: Path | None, jsonl_file: str | None):
        self.columns, self.done = columns, set()
        self.text = csv_file is None and jsonl_file is None
        self.csv = self.jsonl = self.path = None
        self.kept: list[list[str]] = []
        if csv_file is not None:
            self.path = csv_file
            self.kept, self.last = whole_rows(csv_file, columns)
            self.done = {row[0] for row in self.kept}
            if not self.kept and not self.last:
                self.begin()
        if jsonl_file is not None:
            self.jsonl = sys.stdout if jsonl_file == "-" else new_file(Path(jsonl_file))

    def begin(self) -> None:
        """Open the CSV file behind the rows that are kept, which are in it at any time."""
        if self.kept:
            buffer = io.StringIO()
            csv.writer(buffer, lineterminator="\n").writerows([self.columns, *self.kept])
            write_atomically(self.path, buffer.getvalue().encode("utf-8", "surrogateescape"))
        self.csv = new_file(self.path, "a" if self.kept else "w")
        self.writer = csv.writer(self.csv, lineterminator="\n")
        if not self.kept:
            self.writer.writerow(self.columns)
            self.csv.flush()

    def check(self, rows: list[tuple]) -> None:
        """Raise ValueError where the file holds another answer to the recording that is heard again."""
        if not rows or not self.last or rows[0][0] != self.last[0][0]:
            return
        alike = zip(self.last, rows)
        close = all(abs(number(before[-1]) - now[-1]) <= OTHER_DEVICE for before, now in alike)
        before, now = ({row[-2] for row in some} for some in (self.last, rows))
        whole = len(rows) if "rank" in self.columns and self.kept else None
        same = whole in (None, sum(row[0] == self.kept[0][0] for row in self.kept))
        if not (same and close and len(self.last) <= len(rows) and 2 * len(before & now) >= len(before)):
            shown = [" ".join(map(str, map(rounded, row[1:]))) for row in (self.last[0], rows[0])]
            raise ValueError(
                f"{self.path}: of {self.last[0][0]} it has {len(self.last)} rows from {shown[0]!r} on, and "
                f"now they are {len(rows)} from {shown[1]!r} on; expected the adapter and the flags that it "
                "was begun with, or another file"
            )

    def add(self, rows: list[tuple], part: UsedPart | None = None) -> None:
        """Write the rows of one recording.

        Args:
            rows: Values of the columns.
            part: Part of the recording that the rows are of, which text and JSON lines hold; None: all of it.

        Raises:
            ValueError: see ``check``.
        """
        if self.path is not None and self.csv is None:
            self.check(rows)
            self.begin()
        if self.csv is not None:
            self.writer.writerows([[rounded(value) for value in row] for row in rows])
            self.csv.flush()
        if self.jsonl is not None:
            more = {} if part is None else {"seconds": rounded(part.seconds), "used": rounded(part.spans)}
            for row in rows:
                values = dict(zip(self.columns, map(rounded, row))) | more
                self.jsonl.write(json.dumps(values, ensure_ascii=not is_text(row[0])) + "\n")
            self.jsonl.flush()
        if self.text and rows:
            of_part = "" if part is None else f" ({part.text})"
            tqdm.write(escaped(rows[0][0]) + of_part)  # a path of a folder that anybody may have packed
            for _, *place, label, probability in rows:
                # A clip's place is its rank, which the order shows; a window's, seconds.
                seconds = f"{place[0]:9.2f} -{place[1]:9.2f} s  " if len(place) == 2 else "  "
                tqdm.write(f"{seconds}{100 * probability:6.1f} %  {label}")

    def close(self) -> None:
        """Close the files."""
        for file in (self.csv, self.jsonl):
            if file is not None and file is not sys.stdout:
                file.close()


def new_file(path: Path, mode: str = "w") -> TextIO:
    """A file of text to write, whose lines end as they are given; its folder is made if need be.

    Names of files that are no text are written as the bytes that they are.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, mode, encoding="utf-8", errors="surrogateescape", newline="")


def is_text(name: str) -> bool:
    """Whether a file's name can be written as text: Linux takes any bytes for one."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def number(text: str) -> float:
    """What a field of a CSV file says; NaN where it is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def rounded(value):
    """Return seconds and probabilities, or lists of them, with four digits after the point."""
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) else value


def whole_rows(path: Path, columns: tuple[str, ...]) -> tuple[list[list[str]], list[list[str]]]:
    """The rows of a CSV file, and apart the last recording's, of which some may be missing; none without it.

    Raises:
        ValueError: it has other columns, or a row of fewer or more.
    """
    if not path.is_file() or not path.stat().st_size:
        return [], []
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    whole = text[: text.rfind("\n") + 1]  # without a row that was cut off
    head, *rows = [row for row in csv.reader(io.StringIO(whole or text)) if row] or [[]]
    if not whole and ",".join(columns).startswith(text):
        return [], []
    if tuple(head) != columns:
        raise ValueError(
            f"{path}: has the columns {', '.join(head)}; expected {', '.join(columns)}, or no file"
        )
    torn = next((row for row in rows if len(row) != len(columns)), None)
    if torn is not None:
        raise ValueError(
            f"{path}: has a row of {len(torn)} fields, {torn[0]!r}; expected {len(columns)} in each"
        )
    last = rows[-1][0] if rows else None
    return [row for row in rows if row[0] != last], [row for row in rows if row[0] == last]
