"""Generate a set of sounds in the layout of a dataset.

Every command of the ten experiments runs on it before, or without, the real recordings:

    python3 data/synthesize.py esc50 demo_data/esc50
    python3 data/prepare.py esc50 demo_data/esc50 -out demo_data/esc50_lists

A set is one module of ``synth/``, with a function ``(size, seed) -> Plan``. The same name, size and
seed make the same bytes on any number of cores.
"""

import argparse
import importlib
import os
import shlex
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))  # synth, where this file is not run but loaded
sys.path.append(str(HERE.parent))  # ipet, where it is not installed

from synth.writing import SIZES, Plan, is_whole, remove_set, sources_digest, write_set  # noqa: E402

from ipet.output_pipe import guard_output  # noqa: E402
from ipet.parsing import Parser  # noqa: E402

SETS = {
    "esc50": "sounds of animals, weather, houses and streets, 5 folds, as ESC-50",
    "fsd50k": "mixtures of such sounds, several labels a clip, as FSD50K",
    "gtzan": "music of 10 genres, as GTZAN",
    "speech_commands": "35 spoken words of many voices, as Speech Commands V2",
    "voxceleb1": "sentences of many speakers and a trial list, as VoxCeleb1",
    "musan": "music, speech and noise to mix in, as MUSAN",
    "rirs": "impulse responses of rooms, as RIRS_NOISES",
}
EXAMPLES = "sets:\n" + "".join(f"  {name:16} {text}\n" for name, text in SETS.items())
EXAMPLES += """
examples:
  python3 data/synthesize.py esc50 demo_data/esc50
  python3 data/synthesize.py voxceleb1 demo_data/voxceleb1 -size tiny -seed 1
"""


def whole_number(text: str) -> int:
    """A seed: 0, 1, 2, ..."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not 0, 1, 2, ...")
    return int(text)


def get_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Which set, where to, how large."""
    parser = Parser(
        description="Generate a set of sounds in the layout of a dataset.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", choices=SETS, metavar="NAME", help=" or ".join(SETS))
    add("folder", type=Path, metavar="OUT", help="a new or empty folder")
    add(
        "-size",
        choices=SIZES,
        default="demo",
        help="tiny: seconds, to try; demo: trains in minutes; large (default: demo)",
    )
    add("-seed", type=whole_number, default=0, metavar="N", help="the same makes the same bytes (default: 0)")
    add("-processes", type=whole_number, metavar="N", help="that render clips (default: one a core)")
    add(
        "-refresh",
        action="store_true",
        help="write nothing if OUT holds the whole set; replace a generated set of other parameters or code",
    )
    return parser.parse_args(argv)


def plan_of(parameters: dict) -> Plan:
    """Return the plan of the set that a receipt's parameters describe.

    Raises:
        ImportError, KeyError, ValueError: They describe no set of this program.
    """
    name, size, seed = (parameters[key] for key in ("set", "size", "seed"))
    if name not in SETS or size not in SIZES:
        raise ValueError(f"{name!r} of size {size!r} is no set")
    return importlib.import_module(f"synth.{name}").plan(size, seed)


def main(argv: list[str] | None = None) -> int:
    """Write a set, print the command that follows, and return the exit status."""
    if argv is None:
        guard_output(finish=True)
    args = get_args(argv)
    started = time.perf_counter()
    parameters = {"set": args.name, "size": args.size, "seed": args.seed, "code": sources_digest()}
    try:
        plan = importlib.import_module(f"synth.{args.name}").plan(args.size, args.seed)
        if args.refresh and is_whole(args.folder, parameters, plan):
            print(f"{args.folder} holds all {len(plan.clips):,} clips already.")
            return 0
        if args.refresh:
            remove_set(args.folder, plan_of)
        num_clips = write_set(args.folder, parameters, plan, args.processes)
    except ModuleNotFoundError as error:
        print(f"synthesize.py {args.name}: needs the package {error.name} ({error})", file=sys.stderr)
        return 1
    except (ImportError, OSError, ValueError) as error:
        print(f"synthesize.py {args.name}: {error}", file=sys.stderr)
        return 1
    seconds = time.perf_counter() - started
    print(f"Wrote {num_clips:,} clips in {seconds:.0f} s to {args.folder}. Next:\n")
    prepare = os.path.relpath(HERE / "prepare.py")
    words = ["python3", prepare, args.name, str(args.folder)]
    if args.name not in ("musan", "rirs"):  # data/ holds the lists of the real data sets
        words += ["-out", f"{args.folder}_lists"]
    print(f"  {shlex.join(words)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
