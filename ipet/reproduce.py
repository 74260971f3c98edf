"""The paper's table by one command: every experiment and method as a run of main.py, then the tables.

A finished run is read, an interrupted one is continued, and what is not prepared is an empty cell with its
reason.
"""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ipet.checkpoint import tell
from ipet.experiment import apart, stop
from ipet.interruption import RESUME_STATUS
from ipet.printable import escaped
from ipet.reproduce_plan import PROJECT, PlannedRun, Request, plan
from ipet.reproduce_table import FORMATS, NOTES, reasons, row_of, write_tables
from ipet.summary import in_percent
from ipet.sweep_trial import last_error


def reproduce(
    request: Request,
    plan_only: bool = False,
    formats: Sequence[str] = ("text",),
    out: Path | None = None,
    json_file: str | None = None,
) -> int:
    """Run what is open of a request, print its tables and write them; return the exit status.

    Args:
        request: Experiments, methods, seeds, data and flags.
        plan_only: Print every command with its folder and state, and run nothing.
        formats: Formats of the printed tables.
        out: Folder of the written tables; ``reproduce/`` below ``path_run`` if None.
        json_file: File that the rows are also written to; ``-`` prints them in place of the tables.

    Returns:
        0 where every prepared run is finished; 1 where one failed or none is prepared; 75 where a run was
        stopped by a signal, 130 where this process was: the same command continues.

    Raises:
        ValueError: A flag is none of the experiments'.
    """
    runs, flag_notes = plan(request)
    quiet = json_file == "-"
    for note in flag_notes:
        print(f"note: {escaped(note)}", file=sys.stderr if quiet else sys.stdout, flush=True)
    if plan_only:
        tell({"runs": planned_rows(runs), "notes": flag_notes}, plan_text(runs), json_file)
        return 0
    out = out or request.path_run / PROJECT
    status = 0
    try:
        status = train(runs, request, quiet)
    except KeyboardInterrupt:
        print("error: interrupted; repeat the command to continue", file=sys.stderr, flush=True)
        status = 130
    rows = [row_of(run, request.seeds) for run in runs]
    if any(row["state"] == "failed" for row in rows):  # also where results cannot be read
        status = status or 1
    notes = [*NOTES, *reasons(rows)]
    write_tables(out, rows, notes)
    text = "\n\n".join(FORMATS[name](rows, notes) for name in formats)
    tell({"runs": rows, "notes": notes}, f"\n{text}\n\ntables and page: {out}", json_file)
    if status == 0 and not any(run.state == "finished" for run in runs):
        print("error: no data set of these experiments is prepared, see above", file=sys.stderr)
        return 1
    return status


def plan_text(runs: Sequence[PlannedRun]) -> str:
    """Return the state, the folder and the command of every run as text."""
    lines = []
    for run in runs:
        lines.append(
            f"{run.experiment.name} {run.name}: {run.state}{': ' + run.reason if run.reason else ''}"
        )
        if run.command:
            lines.append(f"  {run.folder}")
            lines.append(f"  (cd {shlex.quote(str(run.experiment))} && {shlex.join(words_of(run))})")
    states = [run.state for run in runs]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return "\n".join(map(escaped, lines)) + f"\n\n{len(runs)} runs: {', '.join(counts)}"


def planned_rows(runs: Sequence[PlannedRun]) -> list[dict]:
    """Return the state, the folder and the command of every run as JSON values."""
    return [
        {
            "experiment": run.experiment.name,
            "name": run.name,
            "state": run.state,
            "reason": run.reason or None,
        }
        | {"folder": str(run.folder), "command": words_of(run) if run.command else None}
        for run in runs
    ]


def words_of(run: PlannedRun) -> list[str]:
    """Return a run's command without the interpreter's path and ``-u``."""
    return ["python3", *run.command[2:]]


def train(runs: Sequence[PlannedRun], request: Request, quiet: bool) -> int:
    """Run what is open, one after another; return the exit status.

    Raises:
        KeyboardInterrupt: This process was asked to end; main.py was asked to save, and has ended.
    """
    status, waiting = 0, [run for run in runs if run.state == "open"]
    for number, run in enumerate(waiting, start=1):
        if not quiet:
            where = f"[{number} of {len(waiting)}] {run.experiment.name} {run.name}"
            print(f"{where}: {run.folder}, output in {run.log.name}", flush=True)
        try:
            returned = start(run)
        except OSError as error:
            returned, run.reason = None, str(error)
        if returned is None:
            run.state, status = "failed", status or 1
        elif returned == 0 and run.has_results():
            run.state = "finished"
        elif returned == RESUME_STATUS:
            run.state, run.reason = "stopped", f"{last_error(run.log)}; repeat the command to continue"
            status = RESUME_STATUS
        else:
            run.state = "failed"
            run.reason = f"{last_error(run.log)} (exit status {returned}; more in {run.log})"
            status = status or 1
        if not quiet:
            print(f"  {outcome(run, request)}", flush=True)
        if run.state == "stopped":  # by a scheduler, which stops what comes next, too
            return status
    return status


def start(run: PlannedRun) -> int:
    """Run main.py to its end; its exit status."""
    run.log.parent.mkdir(parents=True, exist_ok=True)
    run.state = "stopped"  # until it has ended by itself
    with open(run.log, "wb") as log:
        process = subprocess.Popen(
            run.command,
            cwd=run.experiment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            **apart(),
        )
        try:
            return process.wait()
        finally:
            stop(process)


def outcome(run: PlannedRun, request: Request) -> str:
    """Return what a run came to, in a line."""
    if run.state != "finished":
        return escaped(f"{run.state}: {run.reason}")
    row = row_of(run, request.seeds)
    return (
        f"{row['metric']}: original {in_percent(row['original'])} %, ours {in_percent(row['ours'])} % "
        f"({row['ours_protocol']})"
    )
