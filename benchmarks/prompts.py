"""How a training step's time grows with the number of prompts, of IPET and of the textbook form.

w2v_gtzan at base size: 199 tokens a clip. The rest of the method, adapters of 64, is the same. Without
prompts the method is ``adapter``. IPET computes a prompt's key and value once a step; the textbook form takes
every prompt through the whole layer, in every clip.
"""

import argparse
from functools import partial

import torch
import torch.distributed as dist

from benchmarks import medians_and_ratio, seconds_in_turn
from benchmarks.ways import SETTINGS, ours, textbook

COUNTS = (0, 32, 64, 128)


def steps(setting: str, form: str, precision: str, device: torch.device) -> dict[int, object]:
    """A step for every number of prompts."""
    build = {"ipet": partial(ours, SETTINGS[setting]), "textbook": partial(textbook, SETTINGS[setting])}[form]
    made = {}
    for count in COUNTS:
        if count:
            made[count] = build("ipet", precision, device, "-embedding_prompt_num", str(count))
        else:
            made[count] = build("adapter", precision, device)
    return made


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    parser.add_argument("-only", choices=SETTINGS, nargs="+", default=["w2v_gtzan"], help="some settings")
    parser.add_argument("-rounds", type=int, default=5, help="timed rounds")


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print a row a form and number of prompts: seconds, and the growth over none."""
    print(f"{'setting':<24}{'form':<10}{'prompts':>8}{'seconds':>9}{'growth':>9}   (min - max)")
    results = {}
    for setting in args.only:
        for form in ("ipet", "textbook"):
            seconds = seconds_in_turn(steps(setting, form, "fp32", device), args.rounds, device)
            if dist.is_initialized():
                dist.destroy_process_group()
            for count in COUNTS:
                pair = {"with": seconds[count], "none": seconds[0]}
                r = medians_and_ratio(pair, over="with", under="none")
                growth, low, high = (100 * (r[name] - 1) for name in ("ratio", "ratio_min", "ratio_max"))
                results[f"{setting}, {form}, {count}"] = {"seconds": r["with"], "growth": growth / 100}
                print(
                    f"{setting:<24}{form:<10}{count:>8}{r['with']:>9.3f}{growth:>8.0f} %   "
                    f"({low:.0f} - {high:.0f})",
                    flush=True,
                )
    return results
