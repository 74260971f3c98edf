"""Choosing an experiment's settings with Optuna: every trial is a run of main.py.

Only validation data choose: the validation list, or, of folds, the held-out fold of the training
list that ``-protocol nested`` keeps. (One setting is chosen for all folds, so every clip has been
validation data of some fold: the folds' test numbers of the chosen setting are slightly optimistic.)
A study can be stopped and gone on with, and several processes
can work on it: what is open, running or done is in the storage alone.
"""

import statistics
import warnings
from collections.abc import Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ipet.checkpoint import write_atomically, write_json
from ipet.list_digests import EARLIER, is_current
from ipet.logbook import VOLATILE
from ipet.patch import patch_of
from ipet.study import FIXED, Sweep, describe, lists_sha256
from ipet.sweep_trial import PROJECT, follow, is_dead, sign, value_of_run

PRUNE_AFTER_TRIALS = 3  # complete ones; the median of fewer says little


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
        task.metric = study.user_attrs.get("metric", task.metric)
        if retry:
            for trial in current_trials(study):
                if trial.state == optuna.trial.TrialState.FAIL:
                    queue_again(study, trial)
    while (trial := next_trial(study, task, sampler, num_trials, seed)) is not None:
        run_trial(study, trial, task)
    return conclude(study, task)


# Before the first trial ---------------------------------------------------------------------------


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
    """The median rule at a step, after three complete trials and a fifth of a cell's evaluations.

    Not Optuna's MedianPruner: that compares a trial's best value so far, which an easy first fold makes
    for ever.

    Raises:
        ValueError: the trials' steps are not the same ones.
    """
    from optuna.pruners import BasePruner
    from optuna.trial import TrialState

    apart = {"epoch", "eval_every", "patience"} & set(task.distributions)
    if task.settings.get("patience") and task.settings["fold"]:
        apart.add("patience")
    if apart:
        raise ValueError(
            "-prune compares trials evaluation by evaluation; their number must not differ, as it does by "
            + ", ".join(f"-{name}" for name in sorted(apart))
        )
    warmup = task.settings["epoch"] // task.settings["eval_every"] // 5

    class BelowMedian(BasePruner):
        """Whether a trial's last value is worse than the median of the complete ones at its step."""

        def prune(self, study, trial) -> bool:
            """As Optuna asks it."""
            step = trial.last_step
            if step is None or step < warmup:
                return False
            complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            others = [t.intermediate_values[step] for t in complete if step in t.intermediate_values]
            if len(others) < PRUNE_AFTER_TRIALS:
                return False
            median, value = statistics.median(others), trial.intermediate_values[step]
            return value != task.best((value, median))

    return BelowMedian()


def check_same(study, task: Sweep) -> None:
    """Keep what a new study is about; an existing one must be about the same.

    Raises:
        ValueError: it is not.
    """
    kept = VOLATILE | FIXED | set(task.distributions)
    trials = [task.settings.get("path_trial"), *(task.settings.get("more_trials") or ())]
    about = {
        "experiment": task.experiment.name,
        "grid": task.grid,
        "range": {name: list(bounds) for name, bounds in task.ranges.items()},
        **{f"-{name}": str(value) for name, value in task.settings.items() if name not in kept},
        "-rand_seed": str(task.settings["rand_seed"]),
        "-fold": str(task.settings["fold"]),
        "lists_sha256": lists_sha256(task.settings["path_list"], [path for path in trials if path]),
    }
    before = study.user_attrs.get("about")
    if before is None:
        study.set_user_attr("about", about)
        return
    differ = [key for key in about if key in before and before[key] != about[key]]
    changed = [f"{key} was {before[key]!r} and is {about[key]!r}" for key in differ if key != "lists_sha256"]
    if "lists_sha256" in differ and not is_current(before["lists_sha256"]):
        changed.append(EARLIER)
    elif "lists_sha256" in differ:  # of which the digests tell nobody anything
        changed.append(f"{task.settings['path_list']} holds other lists than those it began with")
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
        study.set_user_attr("metric", task.metric)
        told = study.tell(trial, value, skip_if_finished=True)
        ended = f"{task.metric} {100 * value:.2f} % on validation data"
        if told.state != TrialState.COMPLETE:
            raise UpdateFinishedTrialError
    except TrialPruned as reason:
        study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
        ended = f"pruned: {reason}"
    except InterruptedError as error:
        study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        queue_again(study, study.trials[trial.number])
        ended = f"stopped: {error}; it goes on later"
    except ChildProcessError as error:
        trial.set_user_attr("error", str(error))
        study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        ended = f"failed: {error}"
    except UpdateFinishedTrialError:  # after minutes without a sign another process took it over
        ended = "given up: another process has taken it over"
    except BaseException as error:
        study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        if isinstance(error, KeyboardInterrupt):
            queue_again(study, study.trials[trial.number])
        raise
    print(f"trial {trial.number}: {ended}", flush=True)


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
    try:
        patch = patch_of(task, best.params)
    except ValueError as error:
        print(f"{error}; as flags: {' '.join(f'-{name} {value}' for name, value in best.params.items())}")
        return 0
    if not patch:
        print("these are the defaults of arguments.py already")
        return 0
    write_atomically(task.folder / "arguments.diff", patch.encode())
    print(f"\n{patch}\n{task.folder / 'arguments.diff'}: apply it in {task.experiment.parent} with patch -p1")
    return 0
