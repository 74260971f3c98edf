"""A training step with deterministic algorithms (``-flag_reproducible``) against the same step without them.

One process takes the steps in turn (A B A B ...); the ratio is that of a round, the median of the rounds is
shown with the least and the most. On a CPU the flag changes nothing, the same bits come without it: what is
timed there is torch's switch itself.
"""

import argparse
import os
from functools import partial

import torch

from benchmarks import medians_and_ratio, seconds_in_turn
from benchmarks.ways import SETTINGS, step_of
from ipet.precision import PRECISIONS

SMALL = [name for name in SETTINGS if name.endswith("small")]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    parser.add_argument("-only", choices=SETTINGS, nargs="+", default=SMALL, help="some settings")
    parser.add_argument("-precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("-rounds", type=int, default=15, help="timed rounds")


def take(step, deterministic: bool) -> None:
    """One step."""
    torch.use_deterministic_algorithms(deterministic)
    step()


def compare(setting: str, precision: str, rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of a step each way, and the ratio with its bounds."""
    step = step_of(setting, "ipet", precision, device)
    ways = {"free": partial(take, step, False), "deterministic": partial(take, step, True)}
    before = torch.utils.deterministic.fill_uninitialized_memory
    torch.utils.deterministic.fill_uninitialized_memory = False  # as in a run
    try:
        return medians_and_ratio(seconds_in_turn(ways, rounds, device), over="deterministic", under="free")
    finally:
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = before


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print a row a setting."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    results = {}
    print(f"{'step':<28}{'free':>9}{'determ.':>9}{'ratio':>7}   (min - max)")
    for setting in args.only:
        row = results[setting] = compare(setting, args.precision, args.rounds, device)
        spread = f"({row['ratio_min']:.2f} - {row['ratio_max']:.2f})"
        print(
            f"{setting:<28}{row['free']:>8.3f}s{row['deterministic']:>8.3f}s{row['ratio']:>7.2f}   {spread}",
            flush=True,
        )
    return results
