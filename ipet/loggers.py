"""Loggers: programs to watch and compare trainings with, which get what ``metrics.jsonl`` holds, and more.

Each is one small class and its line in ``LOGGERS``; its library is imported when it is asked for, and in the
main process alone. None of them reaches for a network unless the environment asks it to. ``docs/loggers.md``
tells what each one gets, and where that lies.
"""

import contextlib
import importlib.util
import io
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ipet.checkpoint import naming, read_json, write_json

IDS = "loggers.json"  # in a cell's folder: by which names a logger knows it
LONGEST_PARAMETER = 6000  # letters of a value, in mlflow
POINTS_A_BATCH = 500  # that mlflow is given together; it takes at most 1,000
SECONDS_A_BATCH = 5.0


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
        """The name of what a user's runs are kept in: ``-project``."""
        return self.run.parts[-3] if len(self.run.parts) > 3 else "IPET"

    @property
    def group(self) -> str:
        """What the cells of a run have in common: ``<tags>/<name>``."""
        return "/".join(self.run.parts[-2:])

    @property
    def name(self) -> str:
        """Of the cell, unlike any other of the project."""
        cell = self.folder.relative_to(self.run).as_posix() if self.folder != self.run else ""
        return f"{self.group}/{cell}".rstrip("/")

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
    run = next((p for p in (folder, *folder.parents[:3]) if (p / "arguments.json").is_file()), folder)
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
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def remove(self, place: Place) -> None:
        """What an earlier start of this cell has left in the store."""
        with contextlib.suppress(ValueError):  # no such project yet
            for run in list(self.module.Api().runs(place.project)):
                if run.name == place.name:
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
            self.run.finish()


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


class MLflow(Logger):
    """A run in the store ``mlflow/`` of the run's folder; ``MLFLOW_TRACKING_URI`` names another one.

    Nothing can be taken out of a run there: one that goes on keeps its id and gets what it has not.
    """

    packages, install = ("mlflow", "sqlalchemy", "alembic"), "mlflow-skinny"

    def __init__(self, place: Place):
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.tracking import MlflowClient

        logging.getLogger("alembic").setLevel(logging.WARNING)
        self.metric, store, artifacts = Metric, os.environ.get("MLFLOW_TRACKING_URI"), None
        if not store:
            folder = place.run / "mlflow"
            folder.mkdir(exist_ok=True)
            store, artifacts = f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri()
        self.client = MlflowClient(tracking_uri=store)
        experiment = self.client.get_experiment_by_name(place.project)
        experiment_id = (
            experiment.experiment_id
            if experiment is not None
            else self.client.create_experiment(place.project, artifact_location=artifacts)
        )
        self.waiting, self.since = [], time.monotonic()
        self.until: dict[str, int] = {}  # the last step of each metric that is there
        self.id = self.taken_up(place)
        if self.id is None:
            self.id = self.client.create_run(experiment_id, run_name=place.name).info.run_id
            place.remember("mlflow", self.id)
            tags = [RunTag("group", place.group), RunTag("folder", str(place.folder))]
            params = [Param(n, str(v)[:LONGEST_PARAMETER]) for n, v in place.parameters.items()]
            self.client.log_batch(self.id, params=params, tags=tags)

    def taken_up(self, place: Place) -> str | None:
        """The id of the run that a training goes on with, if the store has it; one that begins, drops it."""
        from mlflow.exceptions import MlflowException

        known = place.known_as("mlflow")
        with contextlib.suppress(MlflowException):  # another store
            if known is not None and not place.last_step:
                self.client.delete_run(known)
            elif known is not None:
                for name in self.client.get_run(known).data.metrics:
                    self.until[name] = max(m.step for m in self.client.get_metric_history(known, name))
                self.client.update_run(known, "RUNNING")
                return known
        return None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Points wait until there are enough of them: one alone takes milliseconds."""
        now = int(time.time() * 1000)
        new = [(name, value) for name, value in values.items() if step > self.until.get(name, -1)]
        self.waiting += [self.metric(name, value, now, step) for name, value in new]
        if len(self.waiting) >= POINTS_A_BATCH or time.monotonic() - self.since > SECONDS_A_BATCH:
            self.flush()

    def flush(self) -> None:
        """Have the points written that wait."""
        while self.waiting:
            self.client.log_batch(self.id, metrics=self.waiting[:POINTS_A_BATCH])
            del self.waiting[:POINTS_A_BATCH]
        self.since = time.monotonic()

    def result(self, values: Mapping[str, float], step: int) -> None:
        """Metrics like the others."""
        self.scalars(values, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence], step: int) -> None:
        """A file of Markdown."""
        self.client.log_text(self.id, as_markdown(columns, rows) + "\n", f"{name}.md")

    def picture(self, name: str, path: Path, step: int) -> None:
        """A file."""
        self.add(name, path)

    def sound(self, name: str, path: Path, caption: str, step: int) -> None:
        """A file, whose name says what it is."""
        self.add(f"{name}_{tag(caption)}", path)

    def add(self, name: str, path: Path) -> None:
        """Keep a file, named ``name``, among the run's artifacts."""
        folder, _, name = name.rpartition("/")
        named = shutil.copyfile(path, path.with_name(f"{name}{path.suffix}")) if name != path.stem else path
        self.client.log_artifact(self.id, str(named), folder or None)

    def close(self) -> None:
        """Have the last points written."""
        self.flush()
        self.client.set_terminated(self.id)


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
        self.keeps = known is not None
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
        self.run[name].upload(str(path), wait=True)

    def sound(self, name: str, path: Path, caption: str, step: int) -> None:
        """A file, whose name says what it is."""
        self.run[f"{name}/{tag(caption)}"].upload(str(path), wait=True)

    def close(self) -> None:
        """Flush to disk."""
        self.run.stop()


LOGGERS: dict[str, type[Logger]] = {
    "tensorboard": TensorBoard,
    "neptune": Neptune,
    "trackio": Trackio,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}


def check_loggers(names: Iterable[str]) -> None:
    """Raise ValueError where a logger's package is not installed."""
    for name in names:
        if not all(map(is_installed, LOGGERS[name].packages)):
            raise ValueError(
                f"-logger {name} needs the package: python3 -m pip install {LOGGERS[name].install}; "
                "JSONL and TensorBoard are written without it"
            )


def is_installed(module: str) -> bool:
    """Whether a module can be imported; a folder of that name, such as of a logger's files, is none."""
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None


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
