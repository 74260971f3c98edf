"""Neptune: runs offline, for those who run a server of their own."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ipet.loggers.base import Logger, Place, as_markdown, tag


class Neptune(Logger):
    """Neptune's offline format under ``neptune/`` of the cell; the hosted service closed in 2026.

    ``NEPTUNE_MODE`` chooses another mode for those who run a server of their own. A run offline that goes on
    is written anew; one on a server is taken up by its id, and cannot be cut off there.
    """

    packages, install = ("neptune",), "neptune"

    def __init__(self, place: Place):
        folder = place.folder / "neptune"
        os.environ["NEPTUNE_DATA_DIRECTORY"] = str(folder)  # not the current folder
        import neptune

        mode = os.environ.get("NEPTUNE_MODE", "offline")
        if mode == "offline":
            shutil.rmtree(folder, ignore_errors=True)
        known = place.known_as("neptune") if mode != "offline" and place.last_step else None
        settings = {"mode": mode, "name": place.name, "tags": [place.group]} if known is None else {}
        self.run = neptune.init_run(
            **(settings or {"mode": mode, "with_id": known}),
            capture_stdout=False,
            capture_stderr=False,
            capture_hardware_metrics=False,
            capture_traceback=False,
            git_ref=False,
            source_files=[],
        )
        self.module, self.keeps = neptune, known is not None
        if known is None:
            for name, value in place.parameters.items():
                self.run[f"arguments/{name}"] = (
                    value if isinstance(value, bool | int | float | str) else str(value)
                )
        if mode != "offline" and known is None:
            place.remember("neptune", str(self.run["sys/id"].fetch()))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Points of curves."""
        for name, value in values.items():
            self.run[name].append(value, step=step)

    def result(self, values: Mapping[str, float], step: int) -> None:
        """Fields of the run."""
        for name, value in values.items():
            self.run[name] = value

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence], step: int) -> None:
        """A text of Markdown."""
        self.run[name] = as_markdown(columns, rows)

    def picture(self, name: str, path: Path, step: int) -> None:
        """A file."""
        self.add(name, path)

    def sound(self, name: str, path: Path, caption: str, step: int) -> None:
        """A file, whose name says what it is."""
        self.add(f"{name}/{tag(caption)}", path)

    def add(self, name: str, path: Path) -> None:
        """Keep a copy of a file: neptune itself would remember where it lay."""
        copy = self.module.types.File.from_content(path.read_bytes(), extension=path.suffix[1:])
        self.run[name].upload(copy)

    def close(self) -> None:
        """Flush to disk."""
        self.run.stop()
