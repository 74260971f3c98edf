"""trackio: a store of SQLite, which ``trackio show`` shows."""

import contextlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ipet.loggers.base import Logger, Place


class Trackio(Logger):
    """A run in the store ``trackio/`` of the run's folder; ``TRACKIO_DIR`` names another one.

    A training that goes on is written anew, so that nothing stands in it twice. With a Space or a server in
    the environment (``TRACKIO_SPACE_ID``, ``TRACKIO_SERVER_URL``) it goes on there instead.
    """

    packages, install = ("trackio",), "trackio"

    def __init__(self, place: Place):
        os.environ.setdefault("TRACKIO_DIR", str(place.run / "trackio"))  # read when it is imported
        os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        with quiet():
            import trackio
        self.module = trackio
        self.keeps = any(os.environ.get(name) for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"))
        with quiet(), contextlib.nullcontext() if self.keeps else no_hub():
            if not self.keeps:
                self.remove(place)
            self.run = trackio.init(
                project=place.project,
                name=place.name,
                group=place.group,
                config=dict(place.parameters),
                resume="allow" if self.keeps else "never",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        place.remember("trackio", self.run.id)

    def remove(self, place: Place) -> None:
        """What an earlier start of this cell left in the store; others may have runs of its name there."""
        known = place.known_as("trackio")
        with contextlib.suppress(ValueError):  # no such project yet
            for run in list(self.module.Api().runs(place.project)) if known else ():
                if run.id == known:
                    run.delete()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """A thread of its own writes them, twice a second."""
        self.run.log(dict(values), step=step)

    def result(self, values: Mapping[str, float], step: int) -> None:
        """Like any other numbers."""
        self.run.log(dict(values), step=step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence], step: int) -> None:
        """A table."""
        self.run.log({name: self.module.Table(columns=list(columns), data=[list(r) for r in rows])}, step)

    def picture(self, name: str, path: Path, step: int) -> None:
        """An image."""
        self.run.log({name: self.module.Image(path)}, step=step)

    def sound(self, name: str, path: Path, caption: str, step: int) -> None:
        """Audio with its caption."""
        self.run.log({name: self.module.Audio(path, caption=caption)}, step=step)

    def close(self) -> None:
        """Wait for its thread."""
        with quiet():
            self.module.finish()  # and not its run: that would be ended once more, aloud, with the process


def quiet():
    """Keep what a library prints from the terminal inside the block."""
    return contextlib.redirect_stdout(io.StringIO())


@contextlib.contextmanager
def no_hub():
    """Have the Hugging Face hub not asked inside the block: trackio asks it who a token belongs to."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
