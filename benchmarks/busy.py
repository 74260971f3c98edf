"""A training step on a busy machine: how OpenMP's threads wait, against the fair share of the cores.

A step of a small transformer, by as many threads as there are cores, on an otherwise idle machine and next
to neighbours that do the same. The ways of waiting, for the measured process and its neighbours alike:

    default   libgomp's own: a thread spins for 300,000 rounds before it sleeps
    ours      what this repository's commands choose by the load when they start (ipet/openmp.py)
    bounded   what they choose on an idle machine, at any load: as if it came later
    passive   OMP_WAIT_POLICY=passive: a thread sleeps at once

Next to N neighbours the fair share is N + 1 times the seconds on the idle machine by libgomp's default;
``over fair`` is what is measured, over that. Each measurement is a process of its own, in turn (A B C A B C
...). It means something only where nothing else runs.
"""

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

import torch

from ipet.interruption import end_with_parent
from ipet.openmp import POLICIES, SPIN_COUNT, limit_spinning

WAYS = {
    "default": {},
    "ours": None,  # chosen when a process starts
    "bounded": {"GOMP_SPINCOUNT": str(SPIN_COUNT)},
    "passive": {"OMP_WAIT_POLICY": "passive"},
}
WARM_UP_SECONDS = 3.0  # until the neighbours compute
STEP = """
import statistics, sys, time, torch
from torch import nn
torch.manual_seed(0)
layer = nn.TransformerEncoderLayer(192, 3, 768, batch_first=True, norm_first=True, dropout=0.0)
model = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
x = torch.randn(8, 250, 192)
optimizer = torch.optim.Adam(model.parameters())
def step():
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()
step()
seconds = []
while not seconds or int(sys.argv[1]) == 0 or len(seconds) < int(sys.argv[1]):
    start = time.perf_counter()
    step()
    seconds.append(time.perf_counter() - start)
print(statistics.median(seconds))
"""


def environment_of(way: str) -> dict[str, str]:
    """Return the environment of a process that waits in that way; ``ours`` looks at the load of now."""
    environment = {k: v for k, v in os.environ.items() if k not in (*POLICIES, "OMP_NUM_THREADS")}
    if WAYS[way] is not None:
        return environment | WAYS[way]
    chosen = {}
    with hidden_torch():
        limit_spinning(chosen)
    return environment | chosen


@contextlib.contextmanager
def hidden_torch() -> Iterator[None]:
    """Hide that torch has been imported here: the choice is for another process."""
    module = sys.modules.pop("torch")
    try:
        yield
    finally:
        sys.modules["torch"] = module


def seconds_of_step(way: str, steps: int) -> float:
    """Return the median seconds of a step, in a process of its own."""
    command = [sys.executable, "-c", STEP, str(steps)]
    done = subprocess.run(command, env=environment_of(way), check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


@contextlib.contextmanager
def neighbours(way: str, number: int) -> Iterator[None]:
    """Have other processes take steps inside the block."""
    command, environment = [sys.executable, "-c", STEP, "0"], environment_of(way)
    ended = {"preexec_fn": partial(end_with_parent, signal.SIGKILL)} if os.name == "posix" else {}
    processes = [subprocess.Popen(command, env=environment, **ended) for _ in range(number)]
    try:
        if processes:
            time.sleep(WARM_UP_SECONDS)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the part's own flags."""
    parser.add_argument("-rounds", type=int, default=3, help="timed rounds")
    parser.add_argument("-steps", type=int, default=10, help="of a process")
    parser.add_argument("-neighbours", type=int, default=3, help="processes that compute, too")


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print a row a way of waiting, and return the numbers."""
    idle = {way: [] for way in WAYS}
    busy = {way: [] for way in WAYS}
    for _ in range(args.rounds):
        for way in WAYS:
            idle[way].append(seconds_of_step(way, args.steps))
        for way in WAYS:
            with neighbours(way, args.neighbours):
                busy[way].append(seconds_of_step(way, args.steps))
    alone = statistics.median(idle["default"])
    results = {}
    print(f"{'':<10}{'idle, s':>9}{'over default':>14}{'busy, s':>10}{'over fair':>11}")
    for way in WAYS:
        row = {"idle": statistics.median(idle[way]), "busy": statistics.median(busy[way])}
        row["idle_over_default"] = statistics.median(a / b for a, b in zip(idle[way], idle["default"]))
        row["busy_over_fair"] = row["busy"] / ((args.neighbours + 1) * alone)
        results[way] = row
        print(
            f"{way:<10}{row['idle']:>9.3f}{row['idle_over_default']:>14.2f}{row['busy']:>10.3f}"
            f"{row['busy_over_fair']:>11.2f}",
            flush=True,
        )
    return results
