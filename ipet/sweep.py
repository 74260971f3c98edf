"""Choosing an experiment's settings with Optuna: every trial is a run of main.py.

Only validation data choose: the validation list, or, of folds, the held-out fold of the training
list that ``-protocol nested`` keeps. (One setting is chosen for all folds, so every clip has been
validation data of some fold: the folds' test numbers of the chosen setting are slightly optimistic.)
A study can be stopped and gone on with, and several processes
can work on it: what is open, running or done is in the storage alone.
"""

import ast
import difflib
import importlib.util
import itertools
import json
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ipet.checkpoint import write_atomically, write_json
from ipet.interruption import end_with_parent
from ipet.logbook import VOLATILE
from ipet.summary import at_epoch, cell_order, read_results

POSIX = os.name == "posix"
PROJECT = "sweeps"  # the folder of the studies' runs
FIXED = {"name", "tags", "project", "path_run", "resume", "protocol", "rand_seed", "fold"}  # not to be chosen
POLL_SECONDS = 1.0
SIGN_SECONDS = 30.0  # between a worker's signs of life
GRACE_SECONDS = 300.0  # without one a trial counts as dead
PATIENCE_SECONDS = 30.0  # for a training that is asked to end
EVALUATED = ("valid_", "eval_", "test_")  # begins what the row of an evaluated epoch holds
PRUNE_AFTER_TRIALS = 3  # complete ones; the median of fewer says little


@dataclass
class Sweep:
    """What a study is about.

    Args:
        experiment: its folder.
        grid: values to choose from, as main.py takes them, by the name of the flag.
        ranges: low, high and whether in log scale, by the name of the flag.
        further: other flags of main.py.
        settings: main.py's, as it would resolve them with ``further``.
        metric: by which epochs are compared.
        higher_is_better: of two values of it.
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
        """Where a trial's run is written; one that is run again goes on in the same."""
        return self.folder / f"trial_{trial.system_attrs.get('failed_trial', trial.number)}"


def sweep(
    experiment: Path,
    grid: dict[str, list[str]],
    ranges: dict[str, tuple[str, str, bool]],
    sampler: str,
    path_run: Path,
    num_trials: int | None = None,
    seed: int = 1234,
    prune: bool = False,
    study_name: str | None = None,
    storage: str | None = None,
    retry: bool = False,
    further: Sequence[str] = (),
) -> int:
    """Run the open trials of a study, and print and write the best settings.

    Args:
        experiment: the folder of ``main.py`` and ``arguments.py``.
        grid: values to choose from, as main.py takes them, by the name of the flag.
        ranges: low, high and whether in log scale, by the name of the flag.
        sampler: ``grid``, ``random`` or ``tpe``.
        path_run: the study is written to ``path_run/sweeps/<study_name>``.
        num_trials: at most so many in the study; None for every point of the grid.
        seed: of the sampler.
        prune: end trials whose validation metric lies below the median of the others.
        study_name: the experiment's name if not given.
        storage: a file that processes and machines share, or a database's URL.
        retry: run trials that failed once more.
        further: flags that main.py is given beside the chosen ones.

    Returns:
        The exit status: 1 where no trial is complete.

    Raises:
        ValueError: a name that is no flag, a value that is none of its values, no validation data,
            or a study of that name with other settings.
        SystemExit: main.py would refuse the flags; the reason is printed.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    name = study_name or experiment.name
    task = describe(experiment, grid, ranges, list(further), path_run / PROJECT / name)
    task.folder.mkdir(parents=True, exist_ok=True)
    with lock(task.folder):
        study = optuna.create_study(
            study_name=name,
            storage=open_storage(storage or str(task.folder / "sweep.journal")),
            direction="maximize" if task.higher_is_better else "minimize",
            pruner=pruner(task) if prune else optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        check_same(study, task)
        if retry:
            for trial in current_trials(study):
                if trial.state == optuna.trial.TrialState.FAIL:
                    queue_again(study, trial)
    while (trial := next_trial(study, task, sampler, num_trials, seed)) is not None:
        run_trial(study, trial, task)
    return conclude(study, task)


# Before the first trial ---------------------------------------------------------------------------


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
    if settings["fold"]:
        further = [*further, "-protocol", "nested"]  # each fold's epoch on a held-out training fold
        settings = settings_of(experiment, further)
    elif not (settings["path_list"] / "valid.json").is_file():
        raise ValueError(
            f"{experiment.name} has no folds, and {settings['path_list']} no valid.json: a sweep chooses on "
            "validation data alone, never on evaluation or test clips"
        )
    trainer = load_module(experiment / "trainer.py").Trainer
    task = Sweep(
        experiment,
        grid,
        ranges,
        further,
        settings,
        trainer.metric,
        getattr(trainer, "higher_is_better", True),
        folder,
    )
    task.distributions = distributions(task)
    return task


def settings_of(experiment: Path, flags: Sequence[str]) -> dict:
    """What main.py would make of ``flags``: every setting by its name."""
    return vars(load_module(experiment / "arguments.py").get_args(["-name", "trial", *flags]))


def load_module(path: Path):
    """A file of an experiment, as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def open_storage(storage: str):
    """A database by its URL, or a journal in a file: appended to under a lock that works on NFS too."""
    if "://" in storage:
        return storage
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = Path(storage).expanduser().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path}: no journal of Optuna ({error}); a database is given as a URL") from None


@contextmanager
def lock(folder: Path):
    """One process at a time, on any machine that shares the folder; a killed one's lock ends after 30 s."""
    from optuna.storages.journal import JournalFileOpenLock

    held = JournalFileOpenLock(str(folder / "sweep"))
    held.acquire()
    try:
        yield
    finally:
        with suppress(RuntimeError):  # taken by another process, after 30 s
            held.release()


def pruner(task: Sweep):
    """The median rule, after three complete trials and a fifth of a cell's evaluations."""
    from optuna.pruners import MedianPruner

    evaluations = task.settings["epoch"] // task.settings["eval_every"]
    return MedianPruner(PRUNE_AFTER_TRIALS, n_warmup_steps=evaluations // 5)


def check_same(study, task: Sweep) -> None:
    """Keep what a new study is about; an existing one must be about the same.

    Raises:
        ValueError: it is not.
    """
    kept = VOLATILE | FIXED | set(task.distributions)
    about = {
        "experiment": task.experiment.name,
        "grid": task.grid,
        "range": {name: list(bounds) for name, bounds in task.ranges.items()},
        **{f"-{name}": str(value) for name, value in task.settings.items() if name not in kept},
        "-rand_seed": str(task.settings["rand_seed"]),
        "-fold": str(task.settings["fold"]),
    }
    before = study.user_attrs.get("about")
    if before is None:
        study.set_user_attr("about", about)
        return
    changed = [
        f"{key} was {before[key]!r} and is {about[key]!r}"
        for key in about
        if key in before and before[key] != about[key]
    ]
    if changed:
        raise ValueError(
            f"study {study.study_name!r} goes on as it began: {'; '.join(changed)}; "
            "another -study NAME begins a new one"
        )


# Which trial is next ------------------------------------------------------------------------------


def next_trial(study, task: Sweep, sampler: str, num_trials: int | None, seed: int):
    """Take the next open trial, or None where none is open (others may still be running)."""
    import optuna

    with lock(task.folder):
        queue_dead(study)
        trials = current_trials(study)
        if not any(trial.state == optuna.trial.TrialState.WAITING for trial in trials):
            if num_trials is not None and len(trials) >= num_trials:
                return None
            if sampler == "grid":
                # Not GridSampler: it gives two processes the same last point, and a failed one none.
                taken = [{**trial.system_attrs.get("fixed_params", {}), **trial.params} for trial in trials]
                missing = [point for point in task.points if point not in taken]
                if not missing:
                    return None
                study.enqueue_trial(missing[0])
        # A sampler of its own for each trial: going on, and any number of processes, draw the same.
        samplers = {"tpe": optuna.samplers.TPESampler}
        study.sampler = samplers.get(sampler, optuna.samplers.RandomSampler)(seed=seed + len(study.trials))
        trial = study.ask(task.distributions)
        sign(trial)
        return trial


def current_trials(study) -> list:
    """The trials of a study, without those that were queued again."""
    trials = study.trials
    again = {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}
    return [trial for trial in trials if trial.number not in again]


def sign(trial) -> None:
    """Leave a sign of life: who works on the trial, and when it was last seen."""
    trial.set_user_attr("worker", [socket.gethostname(), os.getpid(), time.time()])


def is_dead(trial) -> bool:
    """Whether the process that runs the trial has ended, or not been seen for minutes."""
    if "worker" not in trial.user_attrs:
        return time.time() - trial.datetime_start.timestamp() > GRACE_SECONDS
    host, pid, seen = trial.user_attrs["worker"]
    if host == socket.gethostname() and POSIX:  # elsewhere signal 0 is Ctrl-C
        if pid == os.getpid():  # a number that was given anew: this process runs no trial now
            return True
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
    return time.time() - seen > GRACE_SECONDS


def queue_dead(study) -> None:
    """Queue what processes that were killed have left behind."""
    import optuna

    for trial in current_trials(study):
        if trial.state == optuna.trial.TrialState.RUNNING and is_dead(trial):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
            queue_again(study, trial)
            print(f"trial {trial.number}: its process has ended; it is run again", flush=True)


def queue_again(study, trial) -> None:
    """Have a trial of the same values run, in the same run folder."""
    from optuna.storages import RetryHeartbeatStaleTrialCallback

    for gone in ("worker", "error"):
        trial.user_attrs.pop(gone, None)
    RetryHeartbeatStaleTrialCallback()(study, trial)


# A trial ------------------------------------------------------------------------------------------


def run_trial(study, trial, task: Sweep) -> None:
    """Train a trial's run to its end, and tell the study how it ended.

    Raises:
        ValueError: the run has no validation data to choose on.
        KeyboardInterrupt: the sweep is asked to end; the trial is queued again.
    """
    from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
    from optuna.trial import TrialState

    folder = task.run_folder(study.trials[trial.number])
    shown = " ".join(f"{name}={value}" for name, value in trial.params.items())
    print(f"trial {trial.number}: {shown}  ({folder.name})", flush=True)
    try:
        follow(trial, task, folder)
        value = value_of_run(folder, task)
        study.tell(trial, value)
        ended = f"{task.metric} {100 * value:.2f} % on validation data"
    except TrialPruned as reason:
        study.tell(trial, state=TrialState.PRUNED)
        ended = f"pruned: {reason}"
    except ChildProcessError as error:
        trial.set_user_attr("error", str(error))
        study.tell(trial, state=TrialState.FAIL)
        ended = f"failed: {error}"
    except UpdateFinishedTrialError:  # after minutes without a sign another process took it over
        ended = "given up: another process has taken it over"
    except BaseException as error:
        study.tell(trial, state=TrialState.FAIL)
        if isinstance(error, KeyboardInterrupt):
            queue_again(study, study.trials[trial.number])
        raise
    print(f"trial {trial.number}: {ended}", flush=True)


def follow(trial, task: Sweep, folder: Path) -> None:
    """Run main.py, and report every epoch to Optuna as soon as it is written.

    Raises:
        TrialPruned: the trial is not worth going on with.
        ChildProcessError: main.py failed; the message is its last error.
        ValueError: it evaluates on something other than validation data.
    """
    from optuna.exceptions import TrialPruned

    output = folder.with_suffix(".log")
    with open(output, "wb") as log:
        process = subprocess.Popen(
            command(trial.params, task, folder),
            cwd=task.experiment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            **apart(),
        )
    seen = signed = 0
    try:
        while True:
            ended = process.poll() is not None  # before the rows are read: nothing follows them
            for step, value in progress(folder, task)[seen:]:
                seen = step
                trial.report(value, step)
                if not ended and trial.should_prune():
                    raise TrialPruned(f"{task.metric} {100 * value:.2f} % at step {step} is below the median")
            if ended:
                break
            if time.monotonic() - signed > SIGN_SECONDS:
                sign(trial)
                signed = time.monotonic()
            time.sleep(POLL_SECONDS)
    finally:
        stop(process)
    if process.returncode:
        raise ChildProcessError(f"{last_error(output)} (exit status {process.returncode}; more in {output})")


def command(params: Mapping, task: Sweep, folder: Path) -> list[str]:
    """The command line of a trial."""
    run = {"name": folder.name, "tags": task.folder.name, "project": PROJECT}
    # main.py runs in the experiment's folder: what is relative to this one is written out.
    paths = {name: value for name, value in task.settings.items() if isinstance(value, Path)}
    run = {**paths, **run, "path_run": task.folder.parents[1]}
    flags = [text for name, value in run.items() for text in (f"-{name}", str(value))]
    chosen = [text for name, value in params.items() for text in (f"-{name}", str(value))]
    return [sys.executable, "-u", "main.py", "-resume", "True", *task.further, *flags, *chosen]


def apart() -> dict:
    """Keywords of ``Popen`` for a training that Ctrl-C leaves to this process, which then asks it to end."""
    if not POSIX:
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True, "preexec_fn": begin_training}


def begin_training() -> None:
    """In a new process: end when the one that started it is killed, and heed its SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with_parent()


def stop(process: subprocess.Popen) -> None:
    """Have a training end: as by Ctrl-C, then less politely."""
    for number in (signal.SIGINT, signal.SIGTERM) if POSIX else ():
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL) if POSIX else process.kill()
        process.wait()


def progress(folder: Path, task: Sweep) -> list[tuple[int, float]]:
    """(step, value) of every evaluated epoch of a run so far.

    A step is an evaluation, counted on from cell to cell; its value is the mean over the cells so far of
    the best validation value, so the last one is the trial's.

    Raises:
        ValueError: an epoch was not evaluated on validation data.
    """
    cells = {
        path.parent.relative_to(folder).as_posix(): path for path in folder.glob("seed_*/**/metrics.jsonl")
    }
    best_of_cells: list[float] = []
    means: list[float] = []
    for cell in sorted(cells, key=cell_order):
        rows = [row for row in epoch_rows(cells[cell]) if any(k.startswith(EVALUATED) for k in row)]
        if any(f"valid_{task.metric}" not in row for row in rows):
            raise ValueError(no_validation(cells[cell]))
        curve = [row[f"valid_{task.metric}"] for row in rows]
        means += [statistics.fmean([*best_of_cells, task.best(curve[:i])]) for i in range(1, len(curve) + 1)]
        best_of_cells += [task.best(curve)] if curve else []
    return list(enumerate(means, start=1))


def epoch_rows(path: Path) -> list[dict]:
    """The rows of a ``metrics.jsonl`` that tell of an epoch; a thousand times as many tell of steps."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if '"kind": "epoch"' in line and line.endswith("\n")]


def value_of_run(folder: Path, task: Sweep) -> float:
    """The mean over a finished run's cells of the validation metric at the chosen epoch.

    Raises:
        ValueError: the epoch of a cell was chosen on something other than validation data.
        ChildProcessError: the run has no cell, or one whose metric is not defined.
    """
    results = read_results(folder)
    for cell, result in results.items():
        if result["watched"] != "valid":
            raise ValueError(no_validation(folder / cell / "result.json"))
    if not results:
        raise ChildProcessError(f"{folder}: main.py ended without a result")
    value = statistics.fmean(at_epoch(result, result["best_epoch"]) for result in results.values())
    if not math.isfinite(value):
        raise ChildProcessError(f"{folder}: the validation {task.metric} is {value}")
    return value


def no_validation(path: Path) -> str:
    """Why a run cannot be chosen by."""
    return f"{path}: compares epochs on evaluation clips; a sweep chooses on validation data alone"


def last_error(output: Path) -> str:
    """What a failed training said: its last ``error:`` line, or its last one."""
    lines = [line.strip() for line in output.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    return [*(lines or ["it said nothing"]), *errors][-1]


# The outcome --------------------------------------------------------------------------------------


def conclude(study, task: Sweep) -> int:
    """Print how the trials ended and the best one; write its settings as a patch.

    Returns:
        The exit status: 1 where no trial is complete and none is running.
    """
    from optuna.trial import TrialState

    trials = current_trials(study)
    by_state = {state: [t for t in trials if t.state == state] for state in TrialState}
    complete, running = by_state[TrialState.COMPLETE], by_state[TrialState.RUNNING]
    print(
        f"\nstudy {study.study_name}: {len(complete)} trials complete, "
        f"{len(by_state[TrialState.PRUNED])} pruned, {len(by_state[TrialState.FAIL])} failed"
        + (f", {len(running)} running in other processes" if running else "")
    )
    for trial in by_state[TrialState.FAIL]:
        print(f"  trial {trial.number} failed: {trial.user_attrs.get('error', 'interrupted')}")
    if by_state[TrialState.FAIL]:
        print("  -retry runs what failed once more")
    rows = [
        {
            "trial": trial.number,
            "run": task.run_folder(trial).name,
            "state": trial.state.name.lower(),
            task.metric: trial.value,
            "settings": trial.params,
            "error": trial.user_attrs.get("error"),
        }
        for trial in trials
    ]
    write_json(task.folder / "sweep.json", {"experiment": task.experiment.name, "trials": rows})
    if not complete:
        return 0 if running else 1
    best = study.best_trial
    kept = f"{task.run_folder(best).name}, {task.metric} {100 * best.value:.2f} % on validation data"
    print(f"best: trial {best.number} ({kept})")
    for name, value in best.params.items():
        print(f"  {name} = {value}")
    if task.settings["fold"]:
        print("note: every clip was validation data of some fold; the folds' test numbers are optimistic now")
    patch = patch_of(task, best.params)
    if not patch:
        print("these are the defaults of arguments.py already")
        return 0
    write_atomically(task.folder / "arguments.diff", patch.encode())
    print(f"\n{patch}\n{task.folder / 'arguments.diff'}: apply it in {task.experiment.parent} with patch -p1")
    return 0


def patch_of(task: Sweep, params: Mapping) -> str:
    """A unified diff that makes ``params`` the experiment's defaults; empty where they are already."""
    path = task.experiment / "arguments.py"
    before = path.read_text(encoding="utf-8")
    chosen = {name: literal(task, name, str(value)) for name, value in params.items()}
    if (
        "lr" in chosen
        and params.get("method", task.settings.get("method", "")).startswith("finetune")
        and "lr_finetune=" in before
    ):
        chosen["lr_finetune"] = chosen.pop("lr")  # fine-tuning has a default of its own
    after = with_defaults(before, chosen)
    name = f"{task.experiment.name}/arguments.py"
    lines = (before.splitlines(keepends=True), after.splitlines(keepends=True))
    return "".join(difflib.unified_diff(*lines, f"a/{name}", f"b/{name}"))


def literal(task: Sweep, name: str, text: str) -> str:
    """A flag's text as Python: ``1e-3`` stays, ``bce`` gets its quotes."""
    value = value_of(task, name, text)
    try:
        same = ast.literal_eval(text) == value
    except (ValueError, SyntaxError):
        same = False
    if same:
        return text
    # The parser turns the text of a default into its value, as it does on the command line.
    return repr(value) if type(value) in (bool, int, float) else json.dumps(text)


def with_defaults(source: str, literals: Mapping[str, str]) -> str:
    """The text of an ``arguments.py`` whose call in ``get_args`` says ``literals``.

    The value of a keyword that is there is replaced, and nothing else; the others are put before
    the line, or in it before the word, where the last keyword begins.

    Raises:
        ValueError: ``get_args`` returns no call with keywords.
    """
    lines = source.splitlines(keepends=True)
    calls = [
        node.value
        for function in ast.parse(source).body
        if isinstance(function, ast.FunctionDef) and function.name == "get_args"
        for node in ast.walk(function)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call) and node.value.keywords
    ]
    if not calls:
        raise ValueError("get_args of arguments.py returns no call with settings to change")
    keywords = calls[0].keywords
    there = {keyword.arg: keyword.value for keyword in keywords}
    # From the end to the beginning, so that what is left keeps its place.
    edits = [
        (value.lineno, value.col_offset, value.end_lineno, value.end_col_offset, literals[name])
        for name, value in there.items()
        if name in literals
    ]
    line, column = keywords[-1].lineno, keywords[-1].col_offset
    first = min(keyword.col_offset for keyword in keywords if keyword.lineno == line)
    own_line = not lines[line - 1].encode()[:first].strip()
    column, end = (first, "\n" + " " * first) if own_line else (column, " ")
    added = [f"{name}={text}," for name, text in literals.items() if name not in there]
    if added:
        edits.append((line, column, line, column, " ".join(added) + end))
    for line, column, end_line, end_column, text in sorted(edits, reverse=True):
        head, tail = lines[line - 1].encode()[:column], lines[end_line - 1].encode()[end_column:]
        lines[line - 1 : end_line] = [head.decode() + text + tail.decode()]
    return "".join(lines)
