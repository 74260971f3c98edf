"""python3 -m benchmarks [PART ...]: everything that is timed here, or some parts of it.

    python3 -m benchmarks                                      all parts, with their defaults
    python3 -m benchmarks steps -only ast_esc50 -memory        one part, with its flags (-h lists them)
    python3 -m benchmarks steps scoring -json results.json     some parts, with their defaults

Ways that are compared do the same work in one process, in turn (A B A B ...), unless a part says else.
"""

import argparse
import platform
import sys
import warnings
from pathlib import Path

import torch

from benchmarks import (
    busy,
    coverage,
    determinism,
    evaluation,
    growth,
    loggers,
    predicting,
    prompts,
    reading,
    scoring,
    startup,
    steps,
    tasks,
    variable,
)
from ipet.checkpoint import write_json
from ipet.output_pipe import guard_output

PARTS = {  # each: its flags, and what it measures, prints and returns
    "startup": startup,
    "reading": reading,
    "steps": steps,
    "prompts": prompts,
    "evaluation": evaluation,
    "tasks": tasks,
    "variable": variable,
    "predicting": predicting,
    "scoring": scoring,
    "growth": growth,
    "loggers": loggers,
    "determinism": determinism,
    "coverage": coverage,
    "busy": busy,
}


def get_parts(argv: list[str]) -> dict[str, argparse.Namespace]:
    """The parts that the command line names, all if it names none, with their flags; ``json`` in each."""
    named = []
    while argv and argv[0] in PARTS:
        named.append(argv[0])
        argv = argv[1:]
    if not named and argv and not argv[0].startswith("-"):
        raise SystemExit(f"error: unknown part {argv[0]!r}; accepted: {', '.join(PARTS)}")
    parts = {}
    for name in named or PARTS:
        doc = PARTS[name].__doc__ if len(named) == 1 else __doc__
        parser = argparse.ArgumentParser(
            prog=" ".join(["python3 -m benchmarks", *named]),
            description=doc,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("-json", type=Path, help="file for the numbers")
        if len(named) == 1:
            PARTS[name].add_flags(parser)
            parts[name] = parser.parse_args(argv)
        else:
            both = parser.parse_args(argv)
            PARTS[name].add_flags(parser)
            parts[name] = parser.parse_args([], both)
    return parts


def main() -> None:
    """Print every part's table; ``-json FILE`` keeps the numbers."""
    guard_output()
    parts = get_parts(sys.argv[1:])
    warnings.filterwarnings("ignore")  # of libraries, about what is measured here as it is
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    results = {"device": name, "torch": torch.__version__, "machine": platform.machine()}
    print(", ".join(f"{key} {value}" for key, value in results.items()), flush=True)
    for part, args in parts.items():
        print(f"\n== {part}: {PARTS[part].__doc__.splitlines()[0]}", flush=True)
        results[part] = PARTS[part].run(args, device)
        if args.json:  # after each: an interrupt leaves what is measured
            write_json(args.json, results)


if __name__ == "__main__":
    main()
