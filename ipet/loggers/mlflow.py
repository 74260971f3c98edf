"""MLflow: a store of SQLite, which ``mlflow ui`` shows."""

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ipet.loggers.base import Logger, Place, as_markdown, tag

LONGEST_PARAMETER = 6000  # letters of a value
MOST_BYTES = 150  # of a caption in a file's name
POINTS_A_BATCH = 500  # that are given together; it takes at most 1,000
SECONDS_A_BATCH = 5.0


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
        name = place.project
        experiment = self.client.get_experiment_by_name(name)
        if artifacts and experiment is not None and experiment.artifact_location != artifacts:
            name = f"{name} {artifacts}"  # the folder was moved
            experiment = self.client.get_experiment_by_name(name)
        experiment_id = (
            experiment.experiment_id
            if experiment is not None
            else self.client.create_experiment(name, artifact_location=artifacts)
        )
        self.waiting, self.since = [], time.monotonic()
        self.until: dict[str, int] = {}  # the last step of each metric that is there
        self.over = False  # all results are there
        self.id = self.taken_up(place, artifacts)
        if self.id is None:
            self.id = self.client.create_run(experiment_id, run_name=place.name).info.run_id
            place.remember("mlflow", self.id)
            tags = [RunTag("group", place.group), RunTag("folder", str(place.folder))]
            params = [Param(n, str(v)[:LONGEST_PARAMETER]) for n, v in place.parameters.items()]
            self.client.log_batch(self.id, params=params, tags=tags)

    def taken_up(self, place: Place, artifacts: str | None) -> str | None:
        """The id of the run that a training goes on with, if the store has it; one that begins, drops it.

        A store of the run's own says where files go. Where that is not below ``artifacts``, as of one that
        was moved, or packed by a stranger, the run is begun anew.
        """
        from mlflow.exceptions import MlflowException

        known = place.known_as("mlflow")
        with contextlib.suppress(MlflowException):  # another store
            if known is not None and not place.last_step:
                self.client.delete_run(known)
            elif known is not None:
                found = self.client.get_run(known)
                if artifacts and not found.info.artifact_uri.startswith(f"{artifacts}/"):
                    return None
                for name in found.data.metrics:
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
        self.over = True
        self.scalars(values, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence], step: int) -> None:
        """A file of Markdown."""
        self.client.log_text(self.id, as_markdown(columns, rows) + "\n", f"{name}.md")

    def picture(self, name: str, path: Path, step: int) -> None:
        """A file."""
        self.add(name, path)

    def sound(self, name: str, path: Path, caption: str, step: int) -> None:
        """A file, whose name says what it is."""
        short = tag(caption).encode()[:MOST_BYTES].decode(errors="ignore")  # of a file's name, 255
        self.add(f"{name}_{short}", path)

    def add(self, name: str, path: Path) -> None:
        """Keep a file, named ``name``, among the run's artifacts."""
        folder, _, name = name.rpartition("/")
        named = shutil.copyfile(path, path.with_name(f"{name}{path.suffix}")) if name != path.stem else path
        self.client.log_artifact(self.id, str(named), folder or None)

    def close(self) -> None:
        """Have the last points written."""
        self.flush()
        self.client.set_terminated(self.id, "FINISHED" if self.over else "KILLED")
