"""What a logger is, what it is told, and whose numbers it gets."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ipet.checkpoint import read_json, write_json
from ipet.files import run_of

IDS = "loggers.json"  # in a cell's folder: by which names a logger knows it


@dataclass(frozen=True)
class Place:
    """Whose numbers a logger gets: those of one cell, a seed's fold, of a run.

    Args:
        folder: of the cell.
        run: folder of the run; loggers that keep many trainings in one store have it there.
        parameters: what it is trained with, JSON values by name.
        last_step: behind which a training goes on; 0: it begins.
    """

    folder: Path
    run: Path
    parameters: Mapping[str, object]
    last_step: int = 0

    @property
    def project(self) -> str:
        """Return the value of ``-project``."""
        folder = self.run.parts[-3] if len(self.run.parts) > 3 else "IPET"
        return str(self.parameters.get("project") or folder)

    @property
    def group(self) -> str:
        """Return what the cells of a run have in common: its folders below the project's."""
        parts = self.run.parts
        if self.project in parts[-4:-2]:
            return "/".join(parts[len(parts) - parts[::-1].index(self.project) :])
        return "/".join(parts[-2:])

    @property
    def name(self) -> str:
        """Return a name of the cell that is unique in the project."""
        return f"{self.group}/{self.cell}".rstrip("/")

    @property
    def cell(self) -> str:
        """Return the path of the cell in its run, such as ``seed_1234/fold_1``; empty for the run itself."""
        return self.folder.relative_to(self.run).as_posix() if self.folder != self.run else ""

    def known_as(self, logger: str) -> str | None:
        """By which name a logger knows this cell from an earlier start."""
        path = self.folder / IDS
        return read_json(path).get(logger) if path.is_file() else None

    def remember(self, logger: str, name: str) -> str:
        """Keep that name for the next start; returns it."""
        path = self.folder / IDS
        write_json(path, {**(read_json(path) if path.is_file() else {}), logger: name})
        return name


def place_of(folder: str | Path, parameters: Mapping[str, object], last_step: int) -> Place:
    """The place of a cell; of a run its arguments are parameters, too."""
    folder = Path(folder).absolute()
    run = run_of(folder) or folder
    record = run / "arguments.json"
    return Place(folder, run, {**(read_json(record) if record.is_file() else {}), **parameters}, last_step)


class Logger:
    """What a logger is told; what it has no use for may be left as it is.

    When a training goes on, it is told every row from the first one again, unless it ``keeps`` what an
    earlier start told it. One that raises an exception is told no more, and the training goes on without it.

    Args:
        place: whose numbers it gets.
    """

    packages: tuple[str, ...] = ()  # modules that it imports
    install = ""  # what brings them
    keeps = False

    def __init__(self, place: Place):
        """Get ready."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """The numbers of a row, by names such as ``step/loss``; ``step`` never falls."""

    def flush(self) -> None:
        """See that what it was told outlives this process: a checkpoint says that its steps are done."""

    def result(self, values: Mapping[str, float], step: int) -> None:
        """What came out, by names such as ``result/last/eval_accuracy``; once, when training is over."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence], step: int) -> None:
        """A table of words and numbers."""

    def picture(self, name: str, path: Path, step: int) -> None:
        """A figure, as a PNG file that is gone afterwards."""

    def sound(self, name: str, path: Path, caption: str, step: int) -> None:
        """A clip, as a WAV file of 16 kHz that is gone afterwards."""

    def close(self) -> None:
        """Write what is left and let go."""


def as_markdown(columns: Sequence[str], rows: Iterable[Sequence]) -> str:
    """A table of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(v).replace("|", "\\|") for v in line) + " |" for line in lines)


def tag(text: str) -> str:
    """A text as it can stand in a name of any logger: letters, digits, dots and lines."""
    return re.sub(r"[^\w.-]+", "_", text).strip("_")


def pixels(path: Path):
    """A PNG file -> [H, W, 3] uint8."""
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))
