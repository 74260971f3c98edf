"""A trial of a sweep: the process that works on it, and what its run has reached on validation data."""

import json
import math
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from ipet.checkpoint import EMBEDDED
from ipet.experiment import POSIX, apart, stop
from ipet.interruption import RESUME_STATUS
from ipet.study import Sweep
from ipet.summary import at_epoch, cell_order, read_results

PROJECT = "sweeps"  # the folder of the studies' runs
POLL_SECONDS = 1.0
SIGN_SECONDS = 30.0  # between a worker's signs of life
GRACE_SECONDS = 300.0  # without one a trial counts as dead
MOST_STOPS = 3  # by signals, behind which a trial counts as failed
EVALUATED = ("valid_", "eval_", "test_")  # begins what the row of an evaluated epoch holds


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


def follow(trial, task: Sweep, folder: Path) -> None:
    """Run main.py, and report every epoch to Optuna as soon as it is written.

    Raises:
        TrialPruned: the trial is not worth going on with.
        ChildProcessError: main.py failed; the message is its last error.
        InterruptedError: a signal ended it, all saved, which has not happened to it often.
        ValueError: it evaluates on something other than validation data.
    """
    from optuna.exceptions import TrialPruned

    output = folder.with_suffix(".log")
    output.parent.mkdir(parents=True, exist_ok=True)
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
    if process.returncode == RESUME_STATUS and stops(trial) < MOST_STOPS:
        raise InterruptedError(last_error(output))
    if process.returncode:
        raise ChildProcessError(f"{last_error(output)} (exit status {process.returncode}; more in {output})")


def stops(trial) -> int:
    """How often a trial was queued again."""
    return len(trial.study.trials[trial.number].system_attrs.get("retry_history", []))


def command(params: Mapping, task: Sweep, folder: Path) -> list[str]:
    """The command line of a trial."""
    run = {"name": folder.name, "tags": task.folder.name, "project": PROJECT}
    # main.py runs in the experiment's folder: what is relative to this one is written out.
    paths = {name: value for name, value in task.settings.items() if isinstance(value, Path)}
    weights = task.settings.get("pretrained")  # a name, a hub id or a path
    if weights and weights not in ("random", *EMBEDDED) and Path(weights).exists():
        paths["pretrained"] = Path(weights).absolute()
    run = {**paths, **run, "path_run": task.folder.parents[1]}
    flags = [text for name, value in run.items() for text in (f"-{name}", str(value))]
    chosen = [text for name, value in params.items() for text in (f"-{name}", str(value))]
    return [sys.executable, "-u", "main.py", "-resume", "True", *task.further, *flags, *chosen]


def progress(folder: Path, task: Sweep) -> list[tuple[int, float]]:
    """Return (step, value) of every evaluated epoch of a run so far.

    A step is an evaluation, counted on from cell to cell; its value is the mean over the cells so far of
    the best validation value, so the last one is the trial's. Empty while the run evaluates by another metric
    than ``task.metric``: its result will name it.

    Raises:
        ValueError: An epoch was not evaluated on validation data.
    """
    cells = {
        path.parent.relative_to(folder).as_posix(): path for path in folder.glob("seed_*/**/metrics.jsonl")
    }
    best_of_cells: list[float] = []
    means: list[float] = []
    for cell in sorted(cells, key=cell_order):
        rows = [row for row in epoch_rows(cells[cell]) if any(k.startswith(EVALUATED) for k in row)]
        if any(not any(name.startswith("valid_") for name in row) for row in rows):
            raise ValueError(no_validation(cells[cell]))
        if any(f"valid_{task.metric}" not in row for row in rows):
            return []
        curve = [row[f"valid_{task.metric}"] for row in rows]
        means += [statistics.fmean([*best_of_cells, task.best(curve[:i])]) for i in range(1, len(curve) + 1)]
        best_of_cells += [task.best(curve)] if curve else []
    return list(enumerate(means, start=1))


def epoch_rows(path: Path) -> list[dict]:
    """The rows of a ``metrics.jsonl`` that tell of an epoch; a thousand times as many tell of steps."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if '"kind": "epoch"' in line and line.endswith("\n")]


def value_of_run(folder: Path, task: Sweep) -> float:
    """Return the mean over a finished run's cells of the validation metric at the chosen epoch.

    The run's results say which metric that is; ``task.metric`` is set to it.

    Raises:
        ValueError: The epoch of a cell was chosen on something other than validation data, or the study
            optimises in the other direction.
        ChildProcessError: The run has no cell, or one whose metric is not defined.
    """
    results = read_results(folder)
    for cell, result in results.items():
        if result["watched"] != "valid":
            raise ValueError(no_validation(folder / cell / "result.json"))
    if not results:
        raise ChildProcessError(f"{folder}: main.py ended without a result")
    first = next(iter(results.values()))
    if first["higher_is_better"] != task.higher_is_better:
        words = {True: "higher", False: "lower"}
        raise ValueError(
            f"{folder}: {first['metric']} is better when {words[first['higher_is_better']]}, the study looks "
            f"for {words[task.higher_is_better]} values; declare higher_is_better in the class Trainer of "
            f"{task.experiment / 'trainer.py'} and begin another -study NAME"
        )
    task.metric = first["metric"]
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
