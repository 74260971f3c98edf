"""Neptune: offline runs, which ``neptune sync`` uploads to a self-hosted server."""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ipet.loggers.base import Logger, Place, as_markdown, tag


class Neptune(Logger):
    """A run in Neptune's offline format, under ``neptune/`` of the cell.

    The hosted service closed in 2026. ``NEPTUNE_MODE`` chooses another mode for a self-hosted server, and
    ``NEPTUNE_PROJECT`` its ``workspace/project``. An offline run is written from its beginning when the
    training resumes; a run on a server is resumed by its id.
    """

    packages, install = ("neptune",), "neptune-client"

    def __init__(self, place: Place):
        folder = place.folder / "neptune"
        os.environ["NEPTUNE_DATA_DIRECTORY"] = str(folder)  # not the current folder
        mode = os.environ.get("NEPTUNE_MODE", "offline")
        if mode == "offline":
            # Greetings, and the notice that neptune-client is also published under another name.
            logging.getLogger("neptune").addFilter(is_error)
        import neptune

        if mode == "offline":
            for former in (folder / "offline").glob("run__*"):
                shutil.rmtree(former, ignore_errors=True)
        known = place.known_as("neptune") if mode != "offline" and place.last_step else None
        project = os.environ.get("NEPTUNE_PROJECT") or place.project
        self.run = neptune.init_run(
            mode=mode,
            project=project,
            **({"with_id": known} if known is not None else description_of(place)),
            capture_stdout=False,
            capture_stderr=False,
            capture_hardware_metrics=False,
            capture_traceback=False,
            git_ref=False,
        )
        self.module, self.keeps = neptune, known is not None
        if known is None:
            self.run["project"], self.run["tags"] = project, tags_of(place)
            self.run["sys/group_tags"].add([place.group])
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


def is_error(record: logging.LogRecord) -> bool:
    """Return whether a message of neptune's is an error."""
    return record.levelno >= logging.ERROR


def tags_of(place: Place) -> str:
    """Return the value of ``-tags``."""
    return str(place.parameters.get("tags") or place.run.parent.name)


def description_of(place: Place) -> dict[str, object]:
    """Return the keywords of ``neptune.init_run`` that describe a new run."""
    sources = sorted((place.run / "sources").glob("*.py"))
    return {
        "name": f"{place.run.name}/{place.cell}".rstrip("/"),
        "description": str(place.parameters.get("description") or ""),
        "tags": [tags_of(place)],
        "source_files": [str(path) for path in sources],
    }
