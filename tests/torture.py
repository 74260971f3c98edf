"""python3 -m tests.torture [PART ...]: the long tests as one table: what was counted, how long, how it ended.

    python3 -m tests.torture                    all parts: make torture
    python3 -m tests.torture kills hosts        some of them

A part is a command that anybody can give by itself; its tests count what they did (pytest's
``record_property``). A part that fails is shown with its end, and the exit status is then 1.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

import torch

ROOT = Path(__file__).resolve().parents[1]


class Part(NamedTuple):
    """What is done to the software, and how."""

    what: str
    command: str  # behind python3 -m
    environment: str = ""
    needs: str | None = None  # a path without which the part is none


OWN_PART = ("ends", "two_hosts", "serve_page", "pages_in_browser")  # test modules with a part of their own
OTHERS = (  # names of long tests that are in another part
    "not killed_across and not killed_at and not signals_end and not torchruns and not kept_out "
    "and not one_process_then and not layer_drop and not memory_and_open_files"
)
PARTS = {
    "kills": Part(
        "SIGKILL behind checkpoints, between them, while they are written; in one fold and two; resumed, bit "
        "for bit the run that was never killed, each step once",
        "pytest tests/test_runs.py -k killed",
        "IPET_TORTURE=1 IPET_KILLS=20",
    ),
    "signals": Part(
        "SIGTERM, SIGUSR1, Ctrl-C to the whole group; a signal in evaluation; resumed bit for bit",
        "pytest tests/test_runs.py tests/test_interruption.py -k signal",
        "IPET_TORTURE=1",
    ),
    "restart": Part(
        "torchrun --max_restarts; a damaged checkpoint; a second process on the same run",
        "pytest tests/test_runs.py -k 'torchruns or damaged or kept_out'",
        "IPET_TORTURE=1",
    ),
    "hosts": Part(
        "two hosts in network namespaces, one cut off and back; one process's numbers",
        "pytest tests/test_two_hosts.py",
        "IPET_TORTURE=1",
    ),
    "ranks": Part(
        "2 and 4 processes give one's numbers, every clip once; stopped as one process, as two, ended as one",
        "pytest tests/test_runs.py -k "
        "'several_processes or one_process_then or layer_drop or finite_gradient'",
        "IPET_TORTURE=1",
    ),
    "ends": Part(
        "Ctrl-C, a rank that fails, a rank or launcher killed: no process left; full, failing, removed disks",
        "pytest tests/test_ends.py",
        "IPET_TORTURE=1",
    ),
    "browser": Part(
        "the served page and the pages of reports in a real browser",
        "pytest tests/test_serve_page.py tests/test_pages_in_browser.py",
        "IPET_TORTURE=1",
    ),
    "growth": Part(
        "memory and open files over 200 epochs, readers coming and going",
        "pytest tests/test_benchmarks.py -k memory_and_open_files",
        "IPET_TORTURE=1 IPET_EPOCHS=200",
    ),
    "again": Part(
        "rerun of a passport, compare of two runs", "pytest tests/test_passport.py tests/test_compare.py"
    ),
    "parity": Part(
        "equal to the authors' numbers in float32 and float64, every mode, every published length",
        "pytest tests/test_parity_backbones.py",
        "IPET_TORTURE=1",
        needs="../shared/parity",
    ),
    "malformed": Part(
        "malformed recordings, lists, tables, arguments and checkpoints",
        "pytest tests/test_malformed.py",
    ),
    "others": Part(
        "all other long tests: sweeps, loggers, readers, several processes, the commands of the documents",
        f"pytest tests -m long -k '{OTHERS}'"
        + "".join(f" --ignore=tests/test_{name}.py" for name in OWN_PART),
        "IPET_TORTURE=1",
    ),
    "wheel": Part(
        "the wheel in an environment that holds nothing else; downloads torch and the rest, some GB",
        "pytest tests/test_wheel.py -k empty_environment",
        "IPET_TORTURE=1",
    ),
    "fuzz": Part("damaged and random files of every kind", "tests.fuzz"),
    "properties": Part(
        "properties of lists, cuts, masks, shares and files",
        "pytest tests/test_properties.py",
        "IPET_PROPERTIES=long",
    ),
}


def counted(report: Path) -> dict[str, float]:
    """What pytest's report counts: tests, and what they recorded, added up unless its name says the most."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    numbers = {"passed": len(cases)}
    for end in ("failure", "error", "skipped"):
        if count := sum(case.find(end) is not None for case in cases):
            numbers["passed"] -= count
            numbers[end] = count
    for found in (one for case in cases for one in case.iter("property")):
        name, value = found.get("name"), float(found.get("value"))
        before = numbers.get(name, 0)
        numbers[name] = max(before, value) if "(most)" in name else before + value
    return numbers


def summed(lines: list[str]) -> dict[str, float]:
    """The sums of the columns of a table that a command printed; its first column is names."""
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    columns = list(zip(*(rows[:1] + rows[2:])))[1:]  # without the names; the second line rules off the head
    return {head: sum(float(value.replace(",", "")) for value in values) for head, *values in columns}


def run(part: Part, report: Path) -> tuple[str, str]:
    """What a part counted and how it ended; the last lines of one that failed are printed."""
    report.unlink(missing_ok=True)
    pytest = part.command.startswith("pytest")
    command = f"{part.environment} exec {sys.executable} -m {part.command}"
    done = subprocess.run(
        command + f" -q -p no:cacheprovider --junitxml {report}" * pytest,
        shell=True,
        cwd=ROOT,
        env={"OMP_NUM_THREADS": "1", **os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = done.stdout.splitlines()
    if done.returncode:
        print("\n".join(lines[-40:]), flush=True)
    numbers = counted(report) if report.is_file() else summed(lines)
    outcome = "FAILED" if done.returncode else "skipped" if numbers.get("passed") == 0 else "held"
    told = (f"{value:,.1f}".removesuffix(".0") + f" {name}" for name, value in numbers.items())
    return ", ".join(told), outcome


def main() -> None:
    """Print a row a part as it ends."""
    there = [name for name, part in PARTS.items() if part.needs is None or (ROOT / part.needs).exists()]
    names = sys.argv[1:] or there
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise SystemExit(f"error: unknown part {unknown[0]!r}; accepted: {', '.join(PARTS)}")
    machine = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
    print(f"{time.strftime('%Y-%m-%d')}, {machine}\n")
    print("| part | what | command | counted | seconds | outcome |\n|---|---|---|---|---:|---|", flush=True)
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            part, begin = PARTS[name], time.monotonic()
            count, outcome = run(part, Path(scratch) / "report.xml")
            failed += [name] if outcome == "FAILED" else []
            command = f"`{part.environment} python3 -m {part.command}`".replace("` ", "`")
            seconds = time.monotonic() - begin
            print(f"| {name} | {part.what} | {command} | {count} | {seconds:.0f} | {outcome} |", flush=True)
    if failed:
        raise SystemExit(f"error: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
