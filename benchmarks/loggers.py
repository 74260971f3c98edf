"""What each logger takes of a training's time: a step, its begin and its end, and going on.

Rows of three numbers, as a training step has them, through the logbook with one logger each, in turn. A step
is the time until a row is handed over and, every hundred rows, written, as a checkpoint wants it; what a
logger's own thread or process does meanwhile counts as far as it holds up this one. Going on is the time in
which a logger is told all rows again.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from ipet.logbook import Logbook
from ipet.loggers import LOGGERS, is_installed

ROWS_A_SYNC = 100


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    parser.add_argument("-rows", type=int, default=2_000, help="training steps")
    parser.add_argument("-rounds", type=int, default=3)
    parser.add_argument("-only", nargs="+", choices=LOGGERS, default=list(LOGGERS), help="loggers")


def seconds_of(work) -> float:
    """How long a function takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(cell: Path, names: tuple[str, ...], rows: int) -> dict[str, float]:
    """Seconds of a row, of the begin, the end, and of going on, of one training."""
    start = time.perf_counter()
    logbook = Logbook(cell, names)
    begun = time.perf_counter()
    for step in range(1, rows + 1):
        logbook.log("step", 1, step, loss=1 / step, lr=1e-3, grad_norm=0.5)
        if step % ROWS_A_SYNC == 0:
            logbook.sync()
    logged = time.perf_counter()
    logbook.close()
    closed = time.perf_counter()
    again = seconds_of(lambda: Logbook(cell, names, last_step=rows, last_epoch=1).close())
    if logbook.failed:
        raise RuntimeError(f"{logbook.failed[0]} failed; there is nothing to time")
    return {"step": (logged - begun) / rows, "begin": begun - start, "end": closed - logged, "again": again}


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print the table."""
    installed = [name for name in args.only if all(map(is_installed, LOGGERS[name].packages))]
    ways = {"metrics.jsonl alone": (), **{name: (name,) for name in installed}}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "IPET/t/a"
        run.mkdir(parents=True)
        (run / "arguments.json").write_text(json.dumps({"lr": 1e-3}))
        for turn in range(args.rounds + 1):
            for name, names in ways.items():
                taken = measure(run / f"{name.partition(' ')[0]}_{turn}", names, args.rows)
                if turn:  # the first one imports
                    found[name].append(taken)
    medians = {
        name: {part: statistics.median(t[part] for t in taken) for part in taken[0]}
        for name, taken in found.items()
    }
    print(f"{'logger':<22}{'a step':>10}{'begin':>9}{'end':>9}{f'going on, {args.rows:,} steps':>26}")
    for name, m in medians.items():
        print(
            f"{name:<22}{1e6 * m['step']:>7.0f} us{m['begin']:>7.2f} s{m['end']:>7.2f} s{m['again']:>24.2f} s"
        )
    print(end="", flush=True)
    return medians
