"""Weights & Biases: runs offline, which ``wandb sync`` uploads."""

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ipet.loggers.base import Logger, Place, pixels


class WeightsAndBiases(Logger):
    """An offline run under ``wandb/`` of the cell; ``WANDB_MODE`` chooses another mode.

    A run offline cannot be cut off behind a step, so one that goes on is written anew under its name. One
    online goes on behind the last step that the server has.
    """

    packages, install = ("wandb",), "wandb"

    def __init__(self, place: Place):
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to its makers
        self.cache = place.folder / "wandb" / "cache"  # else in the user's home
        self.own = [name for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR") if name not in os.environ]
        os.environ.update(dict.fromkeys(self.own, str(self.cache)))
        import wandb

        mode = os.environ.get("WANDB_MODE", "offline")
        if mode != "online":
            for folder in (place.folder / "wandb").glob("offline-run-*"):
                shutil.rmtree(folder)
        self.module = wandb
        known = place.known_as("wandb") if place.last_step else None
        self.run = wandb.init(
            project=place.project,
            group=place.group,
            name=place.name,
            id=known or place.remember("wandb", secrets.token_hex(6)),
            resume="allow" if mode == "online" else None,
            config=dict(place.parameters),
            dir=str(place.folder),
            mode=mode,
            settings=wandb.Settings(
                console="off",
                silent=True,
                symlink=False,
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
                x_disable_meta=True,
                x_save_requirements=False,
            ),
        )
        self.first = self.run.starting_step if mode == "online" and known else 0

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Rows of one step are one row there."""
        if step >= self.first:
            self.run.log(dict(values), step=step)

    def result(self, values: Mapping[str, float], step: int) -> None:
        """The run's summary."""
        self.run.summary.update(dict(values))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence], step: int) -> None:
        """A table; of words, as a column has one kind of value there."""
        data = [[str(value) for value in row] for row in rows]
        self.run.log({name: self.module.Table(columns=list(columns), data=data)}, step=step)

    def picture(self, name: str, path: Path, step: int) -> None:
        """An image."""
        self.run.log({name: self.module.Image(pixels(path))}, step=step)

    def sound(self, name: str, path: Path, caption: str, step: int) -> None:
        """Audio with its caption."""
        self.run.log({name: self.module.Audio(str(path), caption=caption)}, step=step)

    def close(self) -> None:
        """Have the run written, and end the process that has done so."""
        try:
            self.run.finish()
            self.module.teardown()
        finally:
            for name in self.own:
                os.environ.pop(name, None)
            shutil.rmtree(self.cache, ignore_errors=True)
