"""TensorBoard: event files, which ``tensorboard --logdir`` shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ipet.checkpoint import naming
from ipet.loggers.base import Logger, Place, as_markdown, pixels, tag


class TensorBoard(Logger):
    """Events under ``tensorboard/`` of the cell, written anew when a training goes on."""

    def __init__(self, place: Place):
        from torch.utils.tensorboard import SummaryWriter  # a second of imports

        self.folder, self.parameters = place.folder / "tensorboard", place.parameters
        with naming(self.folder):
            for path in self.folder.glob("events.out.tfevents.*"):
                path.unlink()
            # A TensorBoard that shows the earlier start drops what it has read of it.
            self.writer = SummaryWriter(str(self.folder), purge_step=0)
        if place.parameters:
            self.table("arguments", ("argument", "value"), list(place.parameters.items()), 0)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Raises what its thread met when it wrote an earlier one."""
        with naming(self.folder):
            for name, value in values.items():
                self.writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Events wait for two minutes otherwise."""
        with naming(self.folder):
            self.writer.flush()

    def result(self, values: Mapping[str, float], step: int) -> None:
        """A row of its table of hyperparameters, and scalars."""
        from torch.utils.tensorboard.summary import hparams

        chosen = {
            name: value if isinstance(value, int | float | str) else str(value)
            for name, value in self.parameters.items()
        }
        for summary in hparams(chosen, dict(values)):  # add_hparams would begin another file
            self.writer.file_writer.add_summary(summary)
        self.scalars(values, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence], step: int) -> None:
        """As text, in Markdown."""
        self.writer.add_text(name, as_markdown(columns, rows), step)

    def picture(self, name: str, path: Path, step: int) -> None:
        """An image."""
        self.writer.add_image(name, pixels(path), step, dataformats="HWC")

    def sound(self, name: str, path: Path, caption: str, step: int) -> None:
        """Audio; its tag says what it is, as there is no caption."""
        import soundfile

        samples, rate = soundfile.read(path, dtype="float32")
        self.writer.add_audio(f"{name}/{tag(caption)}", samples[None], step, sample_rate=rate)

    def close(self) -> None:
        """Flush to disk."""
        with naming(self.folder):
            self.writer.close()
