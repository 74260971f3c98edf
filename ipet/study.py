"""What a study is about: an experiment and the axes of its settings, checked against its own flags."""

import difflib
import hashlib
import itertools
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ipet.checkpoint import read_json
from ipet.experiment import load_module, run_folder, settings_of
from ipet.list_digests import VERSION, hashed_names
from ipet.lists import read_labels
from ipet.speaker_split import default_number
from ipet.splits import Cell
from ipet.starting_lists import starting_lists

FIXED = {"name", "tags", "project", "path_run", "resume", "protocol", "rand_seed", "fold"}  # not to be chosen
FIXED |= {"valid_speakers", "init_adapter"}  # they decide what a trial is evaluated on, or begins from
SEED = 1234  # of the lists that are read for their labels; any would do
UNKNOWN = "metric"  # until a run says its name


@dataclass
class Sweep:
    """What a study is about.

    Args:
        experiment: its folder.
        grid: values to choose from, as main.py takes them, by the name of the flag.
        ranges: low, high and whether in log scale, by the name of the flag.
        further: other flags of main.py.
        settings: main.py's, as it would resolve them with ``further``.
        metric: The metric by which epochs are compared, as far as it is known before the first run.
        higher_is_better: Whether higher values of the metric are better.
        folder: of the study; trials are runs in it.
        distributions: Optuna's, of ``grid`` and ``ranges``.
    """

    experiment: Path
    grid: dict[str, list[str]]
    ranges: dict[str, tuple[str, str, bool]]
    further: list[str]
    settings: dict
    metric: str
    higher_is_better: bool
    folder: Path
    distributions: dict = field(default_factory=dict)

    @property
    def points(self) -> list[dict[str, str]]:
        """All points of the grid, the last axis first."""
        return [dict(zip(self.grid, values)) for values in itertools.product(*self.grid.values())]

    def best(self, values: Iterable[float]) -> float:
        """The best of some values of the metric."""
        return max(values) if self.higher_is_better else min(values)

    def run_folder(self, trial) -> Path:
        """Return the folder of a trial's run; one that is run again continues in the same folder."""
        run = {
            "path_run": self.folder.parents[1],
            "project": self.folder.parent.name,
            "tags": self.folder.name,
        }
        number = trial.system_attrs.get("failed_trial", trial.number)
        return run_folder({**run, "name": f"trial_{number}"}, self.experiment.name)


def describe(experiment: Path, grid: dict, ranges: dict, further: list[str], folder: Path) -> Sweep:
    """Check a sweep's axes against the experiment's own flags.

    Raises:
        ValueError: an axis is no flag or cannot be chosen, or there are no validation data.
        SystemExit: main.py would refuse a value; the reason is printed.
    """
    settings = settings_of(experiment, further)
    for name in [*grid, *ranges]:
        if name in FIXED:
            raise ValueError(
                f"-{name} cannot be chosen by a sweep; give it behind --, where main.py takes it"
            )
        if name not in settings:
            close = difflib.get_close_matches(name, settings, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{name!r} is no flag of {experiment.name}{hint}")
    root, runs = settings["path_data"], settings["path_run"]
    settings["path_list"] = starting_lists(settings["path_list"], root, runs / ".lists").folder
    if settings["fold"]:
        further = [*further, "-protocol", "nested"]  # each fold's epoch on a held-out training fold
        settings = {**settings_of(experiment, further), "path_list": settings["path_list"]}
    elif "valid_speakers" in settings:
        if not settings["valid_speakers"]:
            number = default_number(len(read_labels(settings["path_list"] / "labels.csv")))
            further = [*further, "-valid_speakers", str(number)]  # trials among held-out training speakers
            settings = {**settings_of(experiment, further), "path_list": settings["path_list"]}
    elif not (settings["path_list"] / "valid.json").is_file():
        raise ValueError(
            f"{experiment.name} has no folds, and {settings['path_list']} no valid.json: a sweep chooses on "
            "validation data alone, never on evaluation or test clips"
        )
    metric, higher_is_better = expected_metric(experiment, settings)
    task = Sweep(experiment, grid, ranges, further, settings, metric, higher_is_better, folder)
    task.distributions = distributions(task)
    return task


def expected_metric(experiment: Path, settings: dict) -> tuple[str, bool]:
    """Return the metric that a run of these settings reports, and whether higher values are better.

    A trainer whose metric depends on the lists has a class method ``task_metric(datasets)``; other trainers
    declare class attributes. The result of a run has the last word, see ``sweep_trial.value_of_run``.
    """
    trainer = load_module(experiment / "trainer.py").Trainer
    if not hasattr(trainer, "task_metric"):
        return getattr(trainer, "metric", UNKNOWN), getattr(trainer, "higher_is_better", True)
    fold, seed = settings["fold"], next(iter(settings["rand_seed"]), SEED)
    build_datasets = load_module(experiment / "dataset.py").build_datasets
    unchecked = Namespace(**{**settings, "on_bad_audio": "skip"})  # labels are enough, recordings can wait
    return trainer.task_metric(build_datasets(unchecked, Cell(seed, 1 if fold else None, bool(fold))))


def lists_sha256(folder: Path, trials: Iterable[Path] = ()) -> str:
    """Return a digest of what the lists in a folder hold: recordings by their listed paths, and labels.

    The folder that absolute paths have in common may differ from machine to machine.

    Args:
        folder: Folder of the lists.
        trials: Lists of trials.

    Raises:
        ValueError: a list that is no JSON.
    """
    digest = hashlib.sha256()
    if (folder / "labels.csv").is_file():
        digest.update((folder / "labels.csv").read_bytes())
    lists = {}
    for path in sorted(folder.glob("*.json")):
        content = read_json(path)
        clips = content.get("data") if isinstance(content, dict) else None
        if isinstance(clips, list):  # otherwise another file, such as of statistics
            lists[path.name] = [c for c in clips if isinstance(c, dict)]
    names = hashed_names(str(clip.get("wav")) for clips in lists.values() for clip in clips)
    for file, clips in lists.items():
        rows = [sorted({**clip, "wav": names[str(clip.get("wav"))]}.items()) for clip in clips]
        digest.update(repr((file, rows)).encode())
    for path in sorted(trials):
        digest.update(repr(path.name).encode() + (path.read_bytes() if path.is_file() else b""))
    return VERSION + digest.hexdigest()


def distributions(task: Sweep) -> dict:
    """Optuna's distribution of every axis; each value is one that main.py takes.

    Raises:
        ValueError: a range of something other than numbers, or an empty one.
        SystemExit: main.py would refuse a value; the reason is printed.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict = {}
    for name, texts in task.grid.items():
        for text in texts:
            value_of(task, name, text)
        found[name] = CategoricalDistribution(texts)
    for name, (*bounds, log) in task.ranges.items():
        low, high = (value_of(task, name, text) for text in bounds)
        kind = {int: IntDistribution, float: FloatDistribution}.get(type(low))
        if kind is None:
            raise ValueError(f"-range {name}: {bounds[0]} is no number; list the values with -grid")
        if not low < high or (log and low <= 0):
            above = ", both above 0" if log else ""
            raise ValueError(f"-range {name}: from {low} to {high}; expected the lower bound first{above}")
        found[name] = kind(low, high, log=log)
    return found


def value_of(task: Sweep, name: str, text: str):
    """What main.py makes of a flag's text."""
    return settings_of(task.experiment, [*task.further, f"-{name}", text])[name]
