"""The runs of ``reproduce``: which experiments, methods and grids, on which releases, by which commands."""

import contextlib
import io
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ipet.checkpoint import EMBEDDED, read_json
from ipet.experiment import settings_of
from ipet.logbook import CELLS, VOLATILE, differs
from ipet.passport import hashes, list_files, plain
from ipet.reproduce_data import DATASETS, problem_of_data
from ipet.summary import planned_cells

PROJECT = "reproduce"  # folder of the runs below -path_run
BASELINES = ("finetune", "linear", "prompt", "adapter", "ipet")
NOISES = {"musan": "path_musan", "rirs": "path_rir"}  # sets that are mixed in, and the flags that name them
BACKBONES = {"ast": "AST", "w2v": "wav2vec 2.0"}
GRIDS = {  # flag, and the values that are tried; a multiple "x2" is of the experiment's own value
    "prompts": ("embedding_prompt_num", ("1", "2", "4", "8", "16", "32", "64", "128")),
    "adapter": ("adapter_hidden_dim", ("8", "16", "32", "64", "128", "256")),
    "lr": ("lr", ("x0.2", "x0.5", "x1", "x2", "x5")),
}


@dataclass
class PlannedRun:
    """One run of the table or of a grid.

    Args:
        experiment: Folder of the experiment.
        method: ``-method``.
        name: Name of the run: the method, and in a grid the value.
        folder: Folder of the run.
        grid: Name of the grid and the value, or None.
        command: Command line, run in the experiment's folder; empty where the run is left out.
        settings: Settings that main.py resolves the command line to.
        reason: Why the run is left out, or failed.
        state: ``left out``, ``open``, ``finished``, ``stopped`` or ``failed``.
    """

    experiment: Path
    method: str
    name: str
    folder: Path
    grid: tuple[str, str] | None = None
    command: list[str] = field(default_factory=list)
    settings: dict = field(default_factory=dict)
    reason: str = ""
    state: str = "open"

    @property
    def backbone(self) -> str:
        """``ast`` or ``w2v``."""
        return self.experiment.name.partition("_")[0]

    @property
    def dataset(self) -> str:
        """Folder of data/, such as ``esc50``."""
        return self.experiment.name.partition("_")[2]

    @property
    def log(self) -> Path:
        """The output of main.py."""
        return self.folder.with_name(f"{self.folder.name}.log")

    def cells(self) -> list[str]:
        """Return the names of the run's trainings."""
        settings = self.settings
        protocols = settings["protocol"] or ("last",)
        return planned_cells(settings["rand_seed"], settings["fold"], protocols)

    def has_results(self) -> bool:
        """Return whether every training has a result."""
        return all((self.folder / cell / "result.json").is_file() for cell in self.cells())

    def has_these_settings(self) -> bool:
        """Return whether the run in the folder was begun with these settings; results of others are not its.

        A damaged ``arguments.json`` is left to main.py, which names it.
        """
        try:
            before = read_json(self.folder / "arguments.json")
        except (OSError, ValueError):
            return False
        now = {name: plain(value) for name, value in self.settings.items()}
        if now["precision"] == "auto":  # chosen when the run starts
            now.pop("precision")
        return not any(name not in VOLATILE | CELLS and differs(name, before, now) for name in now)

    def is_finished(self) -> bool:
        """Return whether every training has a result, and the run has these settings."""
        return self.has_results() and self.has_these_settings() and self.has_these_lists()

    def has_these_lists(self) -> bool:
        """Return whether the run's lists have not changed; of others main.py says that it cannot continue."""
        try:
            before = read_json(self.folder / "passport.json")["lists"]
        except (OSError, ValueError, KeyError, TypeError):
            return True  # left to main.py, or to the reader of the results
        settings = {name: plain(value) for name, value in self.settings.items()}
        now = hashes(list_files(settings, self.cells()))
        return not any(before.get(name, digest) != digest for name, digest in now.items())


@dataclass(frozen=True)
class Request:
    """A request for ``reproduce``: the runs of its table.

    Args:
        experiments: Folders of the experiments.
        methods: Names of ``-method``; of a grid usually one.
        seeds: Seeds of each run.
        grids: Values by the name of the grid; empty for the table of methods.
        data: Folder of each release, by its folder of data/.
        path_list: Folder of the lists' folders; None: where the experiments have them.
        path_run: Folder below which the runs are written.
        pretrained: Weights by backbone, ``ast`` or ``w2v``; main.py's default where one is missing.
        further: Further flags of main.py.
    """

    experiments: Sequence[Path]
    methods: Sequence[str]
    seeds: Sequence[int]
    grids: Mapping[str, Sequence[str]]
    data: Mapping[str, Path]
    path_list: Path | None
    path_run: Path
    pretrained: Mapping[str, str]
    further: Sequence[str]


# Planning -----------------------------------------------------------------------------------------


def plan(request: Request) -> tuple[list[PlannedRun], list[str]]:
    """Return the runs of a request, and notes on flags that do not apply to some of them.

    Raises:
        ValueError: A further flag applies to none of the runs; the message is main.py's.
    """
    units, dropped, runs, num_tried = flag_units(request.further), {}, [], 0
    check_units(units, request)
    for experiment in request.experiments:
        for run in runs_of(request, experiment):
            runs.append(run)
            run.reason = unprepared(request, run)
            if run.reason:
                run.state = "left out"
                continue
            num_tried += 1
            complete(request, run, units, dropped)
            run.state = "left out" if run.reason else "finished" if run.is_finished() else "open"
    for by_run in dropped.values():
        if len(by_run) == num_tried:
            raise ValueError(next(iter(by_run.values())))
    used = {run.dataset for run in runs} | (set(NOISES) if any(mixes_noise(run) for run in runs) else set())
    unused = [key for key in request.data if key not in used]
    notes = [
        f"{' '.join(unit)} does not apply to {shorten(list(by_run))}, and is left out there"
        for unit, by_run in sorted(dropped.items(), key=lambda item: units.index(item[0]))
    ]
    if unused:
        notes.append(f"-data: no experiment here uses {', '.join(unused)}")
    return runs, notes


def mixes_noise(run: PlannedRun) -> bool:
    """Return whether a run's training clips are mixed with MUSAN and reverberated."""
    return bool(run.settings.get("add_musan_rir"))


def check_units(units: Sequence[tuple[str, ...]], request: Request) -> None:
    """Raise ValueError where a flag after ``--`` is one that ``reproduce`` gives every run itself."""
    own = {"-name", "-tags", "-project", "-path_run", "-method", "-seed", "-rand_seed", "-resume"}
    own |= {"-path_data", "-path_list"} | ({"-pretrained"} if request.pretrained else set())
    taken = [unit[0] for unit in units if unit[0].partition("=")[0] in own]
    if taken:
        raise ValueError(
            f"{taken[0]} follows --, but reproduce gives it to every run itself; its own flags, before "
            "--, are -data -path_list -path_run -method -seed -pretrained"
        )


def shorten(names: Sequence[str]) -> str:
    """Return the first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more runs" if len(names) > 3 else "")


def runs_of(request: Request, experiment: Path) -> list[PlannedRun]:
    """Return the runs of an experiment, still without their commands."""
    points: list[tuple[str, str] | None] = [
        (grid, value) for grid, values in request.grids.items() for value in values
    ]
    runs = []
    for method in request.methods:
        for point in points or [None]:
            name = "_".join([method, *(point or ())])
            folder = request.path_run / PROJECT / experiment.name / name
            runs.append(PlannedRun(experiment, method, name, folder, point))
    return runs


def lists_of(request: Request, run: PlannedRun) -> Path | None:
    """Return the folder of a run's lists where ``-path_list`` names the folder above; None: the default."""
    return None if request.path_list is None else request.path_list / run.dataset


def unprepared(request: Request, run: PlannedRun) -> str:
    """Return why a run's data set is not prepared, with what helps; empty where it is."""
    title, _ = DATASETS[run.dataset]
    if run.dataset not in request.data:
        return f"{title} is not among -data; add -data {run.dataset}=DIR"
    return ""


def complete(request: Request, run: PlannedRun, units: Sequence[tuple[str, ...]], dropped: dict) -> None:
    """Write a run's command, or why it cannot be run.

    Args:
        units: Further flags with their values.
        dropped: Gets the message about a flag that does not apply, by flag and run.
    """
    left = list(units)
    while True:
        flags = [word for unit in left for word in unit]
        own = own_flags(request, run, {})
        run.settings, run.reason = resolve(run.experiment, [*flags, *own])
        if not run.reason:
            break
        named = set(re.findall(r"(?<![\w-])-[A-Za-z]\w*", run.reason))
        unit = next((unit for unit in left if unit[0].partition("=")[0] in named), None)
        if unit is None:
            return
        dropped.setdefault(unit, {})[f"{run.experiment.name} {run.name}"] = run.reason
        left.remove(unit)
    if mixes_noise(run):
        absent = [key for key, flag in NOISES.items() if not run.settings.get(flag)]
        if absent:
            run.reason = (
                f"mixes in {' and '.join(DATASETS[key][0] for key in absent)}: add "
                f"-data {' '.join(f'{key}=DIR' for key in absent)}, or -- -add_musan_rir False"
            )
            return
    run.reason = problem_of_data(run.dataset, run.settings["path_list"], request.data[run.dataset])
    if run.reason:
        return
    own = own_flags(request, run, run.settings)
    run.settings, run.reason = resolve(run.experiment, [*flags, *own])
    if not run.reason:
        run.command = [sys.executable, "-u", "main.py", *flags, *own]


def own_flags(request: Request, run: PlannedRun, settings: Mapping) -> list[str]:
    """Return the flags that ``reproduce`` itself gives a run.

    Args:
        settings: Settings that main.py resolves these flags and the further ones to; empty before that.
    """
    values: dict[str, object] = {
        "resume": True,
        "path_run": request.path_run,
        "project": PROJECT,
        "tags": run.experiment.name,
        "name": run.name,
        "method": run.method,
        "path_data": request.data[run.dataset],
    }
    lists = lists_of(request, run)
    if lists is not None:
        values["path_list"] = lists
    weights = request.pretrained.get(run.backbone)
    if weights is not None:
        is_name = weights == "random" or weights in EMBEDDED or not Path(weights).expanduser().exists()
        values["pretrained"] = weights if is_name else Path(weights).expanduser().resolve()
    if run.experiment.name == "w2v_voxceleb" or settings.get("add_musan_rir"):
        values |= {flag: request.data[key] for key, flag in NOISES.items() if key in request.data}
        if request.path_list is not None:
            values["path_noise_list"] = request.path_list
    if "test_every_epoch" in settings and not settings["fold"]:
        values["test_every_epoch"] = True  # the original's protocol looks at the test list after each epoch
    if run.grid is not None:
        flag, _ = GRIDS[run.grid[0]]
        values[flag] = grid_value(run.grid[1], settings.get(flag))
    flags = [word for name, value in values.items() if value is not None for word in (f"-{name}", str(value))]
    return [*flags, "-rand_seed", *map(str, request.seeds)]


def grid_value(text: str, own) -> str | None:
    """Return a grid's value: ``x2`` is twice the experiment's own, once that is known."""
    if not text.startswith("x"):
        return text
    return None if own is None else f"{float(text[1:]) * own:.6g}"


def resolve(experiment: Path, flags: Sequence[str]) -> tuple[dict, str]:
    """Return the settings that main.py resolves flags to; or nothing, and its error message."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return settings_of(experiment, flags), ""
    except SystemExit:
        return {}, said.getvalue().strip().removeprefix("error: ").removesuffix(" (-h lists the flags)")


def flag_units(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each flag with its values: ``-epoch 1 -size tiny`` -> ("-epoch", "1"), ("-size", "tiny")."""
    units: list[list[str]] = []
    for word in words:
        if re.match(r"--?[A-Za-z]", word):
            units.append([word])
        elif units:
            units[-1].append(word)
        else:
            raise ValueError(f"{word!r} follows --, where flags of main.py are expected")
    return [tuple(unit) for unit in units]
