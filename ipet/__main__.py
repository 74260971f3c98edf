"""python3 -m ipet COMMAND: what is done with runs beside training them.

Light on purpose: a command's module, and torch with it, is imported once its flags are read.
"""

import argparse
import signal
import sys
from functools import partial
from pathlib import Path

import ipet
from ipet.arguments import (
    PROTOCOLS,
    REPOSITORY,
    Help,
    Parser,
    count,
    names,
    part_of_path,
    positive,
    probability,
    size,
    suggest,
)
from ipet.printable import escaped

FORMATS = ("text", "markdown", "csv", "latex")


def main(argv: list[str] | None = None) -> int:
    """Run a command; its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python3 -m ipet COMMAND [flags]      (COMMAND -h lists its flags)\n")
        print("\n".join(f"  {name:<8} {command.__doc__}" for name, command in COMMANDS.items()))
        print(f"\n{EXAMPLE}", end="")
        return 0 if argv else 2
    if argv[0] in ("-version", "--version"):
        print(f"ipet {ipet.__version__}")
        return 0
    if argv[0] not in COMMANDS:
        known = ", ".join(COMMANDS)
        hint = suggest(argv[0], list(COMMANDS))
        print(f"error: unknown command {argv[0]!r}{hint} (accepted: {known})", file=sys.stderr)
        return 2
    # A scheduler's end is as orderly as Ctrl-C.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return COMMANDS[argv[0]](argv[1:])
    except (ValueError, OSError) as error:  # what a user can mend; anything else shows its traceback
        print(f"error: {escaped(str(error))}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package not in ("jinja2", "matplotlib", "optuna"):
            raise
        print(f"error: {package} is not installed: python3 -m pip install {package}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; the same command goes on", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


EXAMPLE = """example:
  python3 -m ipet doctor data/drums -path_data /data/drums
"""


def report(argv: list[str]) -> int:
    """Print one table of many runs, and draw their plots."""
    parser = Parser(prog="python3 -m ipet report", formatter_class=Help, epilog=REPORT_EXAMPLE)
    add = parser.add_argument
    add("run", nargs="+", type=Path, metavar="RUN", help="a run's folder, or one above runs")
    add("-format", type=formats, default="text", metavar="A,B", help=f"of the table: {', '.join(FORMATS)}")
    add(
        "-out",
        type=Path,
        default=None,
        metavar="DIR",
        help="also write table.txt .md .csv .tex and plots there",
    )
    add(
        "-protocol",
        choices=PROTOCOLS,
        default=None,
        help="what is reported of folds; each run's own if not given",
    )
    add("-cells", action="store_true", help="also print each run's own table")
    add("-html", type=Path, default=None, metavar="DIR", help="also write pages there; open index.html")
    add("-clips", type=count, default=20, metavar="N", help="recordings to play on a run's page, at most")
    flags = parser.parse_args(argv)

    from ipet.report import report

    pages = None
    if flags.html is not None:
        from ipet.pages import write_pages

        pages = partial(write_pages, flags.html, flags.clips)
    return report(flags.run, flags.format, flags.out, flags.protocol, flags.cells, pages)


def formats(text: str) -> tuple[str, ...]:
    """``text,csv`` -> ("text", "csv")."""
    unknown = [name for name in names(text) if name not in FORMATS]
    if unknown or not names(text):
        raise argparse.ArgumentTypeError(f"unknown format {text!r}; accepted: {', '.join(FORMATS)}")
    return names(text)


REPORT_EXAMPLE = """example:
  python3 -m ipet report runs/IPET -format markdown -out report
  python3 -m ipet report runs/IPET -html page
"""


def compare(argv: list[str]) -> int:
    """Explain what two runs differ in, and which is better on the same clips."""
    parser = Parser(prog="python3 -m ipet compare", formatter_class=Help, epilog=COMPARE_EXAMPLE)
    for name in ("a", "b"):
        parser.add_argument(name, type=Path, metavar=name.upper(), help="a run's folder, or a passport.json")
    parser.add_argument(
        "-json", default=None, metavar="FILE", help="also write it there; - prints JSON alone"
    )
    flags = parser.parse_args(argv)

    from ipet.compare import compare

    return compare(flags.a, flags.b, flags.json)


COMPARE_EXAMPLE = """example:
  python3 -m ipet compare runs/IPET/ast_esc50/first runs/IPET/ast_esc50/second
"""


def rerun(argv: list[str]) -> int:
    """Make a run again from its passport.json, and say whether it is the same bit for bit."""
    usage = "python3 -m ipet rerun PASSPORT [flags] [-- flags of main.py]"
    parser = Parser(usage=usage, formatter_class=Help, epilog=RERUN_EXAMPLE)
    add = parser.add_argument
    add("passport", type=Path, metavar="PASSPORT", help="the passport.json of a run")
    add(
        "-path_run",
        type=Path,
        default=None,
        metavar="DIR",
        help="where runs are written; beside the run if not given",
    )
    add("-name", type=part_of_path, default=None, help="of the new run; the run's and _again if not given")
    add("-json", type=Path, default=None, metavar="FILE", help="also write what differs there")
    own, further = split(argv)
    flags = parser.parse_args(own)

    from ipet.rerun import rerun

    return rerun(flags.passport, experiments(), flags.path_run, flags.name, further, flags.json)


RERUN_EXAMPLE = """example:
  python3 -m ipet rerun runs/IPET/ast_esc50/first/passport.json
  python3 -m ipet rerun passport.json -- -path_data /data/ESC-50-master -path_list data/esc50
"""


def split(argv: list[str]) -> tuple[list[str], list[str]]:
    """The flags before ``--``, and those of main.py behind it."""
    return (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])


def sweep_parser() -> Parser:
    """The flags of ``sweep``."""
    parser = Parser(
        usage="python3 -m ipet sweep EXPERIMENT -grid NAME=A,B ... [flags] [-- flags of main.py]",
        formatter_class=Help,
        epilog=SWEEP_EXAMPLE,
    )
    add = parser.add_argument
    add("experiment", type=Path, metavar="EXPERIMENT", help="its folder, such as ast_esc50")
    add(
        "-grid",
        type=grid_axis,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=A,B",
        help="values to choose from",
    )
    add(
        "-range",
        type=range_axis,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=LOW:HIGH[:log]",
        help="bounds to choose between; needs -sampler random or tpe",
    )
    add(
        "-sampler",
        choices=("grid", "random", "tpe"),
        default=None,
        help="grid, or tpe where there is a -range",
    )
    add("-trials", type=size, default=None, metavar="N", help="how many; all points of the grid if not given")
    add("-seed", type=count, default=1234, help="of the sampler")
    add(
        "-prune",
        choices=("median", "none"),
        default="none",
        help="stop trials below the median of the others",
    )
    add(
        "-study",
        type=part_of_path,
        default=None,
        metavar="NAME",
        help="its name; the experiment's if not given",
    )
    add("-storage", default=None, metavar="FILE|URL", help="sweep.journal in the study's folder if not given")
    add("-path_run", type=Path, default=REPOSITORY / "runs", metavar="DIR", help="where runs are written")
    add("-retry", action="store_true", help="run trials that failed once more")
    return parser


def sweep(argv: list[str]) -> int:
    """Choose the settings of an experiment on validation data."""
    parser = sweep_parser()
    own, further = split(argv)
    flags = parser.parse_args(own)
    choose_sampler(parser, flags)

    from ipet.sweep import sweep

    return sweep(
        find_experiment(parser, flags.experiment),
        grid=dict(flags.grid),
        ranges=dict(flags.range),
        sampler=flags.sampler,
        num_trials=flags.trials,
        seed=flags.seed,
        prune=flags.prune == "median",
        study_name=flags.study,
        storage=flags.storage,
        path_run=flags.path_run.expanduser().resolve(),
        retry=flags.retry,
        further=further,
    )


def grid_axis(text: str) -> tuple[str, list[str]]:
    """``lr=1e-3,5e-3`` -> ("lr", ["1e-3", "5e-3"])."""
    name, _, values = text.partition("=")
    if not name or not names(values) or len(set(names(values))) < len(names(values)):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=A,B of different values")
    return name.lstrip("-"), list(names(values))


def range_axis(text: str) -> tuple[str, tuple[str, str, bool]]:
    """``lr=1e-4:1e-2:log`` -> ("lr", ("1e-4", "1e-2", True))."""
    name, _, bounds = text.partition("=")
    low, high, *log = [*bounds.split(":"), ""][:4] if ":" in bounds else ("", "", "?")
    if not (name and low and high) or log not in ([""], ["log", ""]):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=LOW:HIGH or NAME=LOW:HIGH:log")
    return name.lstrip("-"), (low, high, bool(log[0]))


def choose_sampler(parser: Parser, flags) -> None:
    """Check that the axes, the sampler and the number of trials go together."""
    axes = [name for name, _ in [*flags.grid, *flags.range]]
    if not axes:
        parser.error("nothing to choose: give -grid NAME=A,B or -range NAME=LOW:HIGH")
    if len(set(axes)) < len(axes):
        parser.error(f"-grid, -range: each name once, found {', '.join(axes)}")
    flags.sampler = flags.sampler or ("tpe" if flags.range else "grid")
    if flags.sampler == "grid" and flags.range:
        parser.error("-range has no points for -sampler grid; accepted: random, tpe")
    if flags.sampler != "grid" and flags.trials is None:
        parser.error(f"-sampler {flags.sampler} needs -trials N")


def find_experiment(parser: Parser, path: Path) -> Path:
    """The folder of an experiment, given by its path or its name in the repository."""
    for folder in (path, REPOSITORY / path):
        if is_experiment(folder):
            return folder.resolve()
    parser.error(f"{path}: no experiment{suggest(path.name, list(experiments()))}")


def experiments() -> dict[str, Path]:
    """The folders of the repository's experiments, by name."""
    return {folder.name: folder for folder in sorted(REPOSITORY.iterdir()) if is_experiment(folder)}


def is_experiment(folder: Path) -> bool:
    """Whether a folder holds what sweep and rerun start."""
    return (folder / "main.py").is_file() and (folder / "arguments.py").is_file()


SWEEP_EXAMPLE = """example:
  python3 -m ipet sweep ast_esc50 -grid lr=1e-3,5e-3 adapter_hidden_dim=32,64 -- -path_data /data/ESC-50
The same command again goes on with a study that was stopped, or works on it beside another process.
Settings are chosen on validation data: the validation list, or of folds a held-out training fold.
"""


def adapter_parser(command: str, usage: str, epilog: str) -> Parser:
    """The flags that the commands on a saved adapter share."""
    parser = Parser(usage=f"python3 -m ipet {command} {usage}", formatter_class=Help, epilog=epilog)
    add = parser.add_argument
    add("adapter", metavar="ADAPTER", help="last/ or best/ of a run, a copy of it, or a hub id")
    add(
        "-pretrained",
        default=None,
        metavar="WEIGHTS",
        help="the backbone's weights, where they are not to be had under the name that the adapter holds",
    )
    add("-device", default=None, help="such as cuda:0 or cpu; a GPU if there is one, if not given")
    add("-precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="of products of matrices")
    return parser


def predict(argv: list[str]) -> int:
    """Tell what is heard in recordings, by a saved adapter."""
    parser = adapter_parser("predict", "ADAPTER FILE ... [flags]", PREDICT_EXAMPLE)
    add = parser.add_argument
    add("file", nargs="+", type=Path, metavar="FILE", help="recordings, and folders of them")
    add("-top", "--top", type=size, default=5, help="classes of each")
    add("-csv", "--csv", type=Path, default=None, metavar="FILE", help="write there, and go on where it ends")
    add("-jsonl", "--jsonl", default=None, metavar="FILE", help="a JSON object a line; - is the screen")
    add("-timeline", action="store_true", help="window by window, of recordings of any length")
    add("-events", action="store_true", help="from when to when each class is heard")
    add("-hop", type=positive, default=None, metavar="SECONDS", help="between windows; half a window")
    add(
        "-threshold",
        type=probability,
        default=None,
        help="probability from which on a class is heard; if not given each class's own, which the "
        "validation list chose, or 0.5",
    )
    flags = parser.parse_args(argv)
    if flags.timeline and flags.events:
        parser.error("-timeline and -events: one of the two, please")

    from ipet.commands import predict
    from ipet.inference import load

    return predict(
        load(flags.adapter, flags.device, flags.pretrained, flags.precision),
        flags.file,
        "timeline" if flags.timeline else "events" if flags.events else "clips",
        flags.top,
        flags.hop,
        flags.threshold,
        flags.csv,
        flags.jsonl,
    )


PREDICT_EXAMPLE = """example:
  python3 -m ipet predict runs/IPET/ast_esc50/first/seed_1234/fold_1/last recordings/ -csv heard.csv
"""


def embed(argv: list[str]) -> int:
    """Write embeddings of recordings, by a saved adapter."""
    parser = adapter_parser("embed", "ADAPTER FILE ... -out FILE.npz", EMBED_EXAMPLE)
    parser.add_argument("file", nargs="+", type=Path, metavar="FILE", help="recordings, and folders of them")
    parser.add_argument("-out", type=Path, required=True, metavar="FILE", help=".npz or .parquet")
    flags = parser.parse_args(argv)

    from ipet.commands import embed
    from ipet.inference import load

    model = load(flags.adapter, flags.device, flags.pretrained, flags.precision)
    return embed(model, flags.file, flags.out)


EMBED_EXAMPLE = """example:
  python3 -m ipet embed runs/IPET/ast_esc50/first/seed_1234/fold_1/last recordings/ -out embeddings.npz
"""


def verify(argv: list[str]) -> int:
    """Score how alike two voices are, or a list of trials."""
    parser = adapter_parser("verify", "ADAPTER ONE OTHER | -trials FILE", VERIFY_EXAMPLE)
    add = parser.add_argument
    add("file", nargs="*", type=Path, metavar="FILE", help="two recordings")
    add("-trials", "--trials", type=Path, default=None, metavar="FILE", help="a list of trials instead")
    add("-path_data", type=Path, default=Path(), metavar="DIR", help="where the trials' paths start")
    add("-scoring", choices=("mean_distance", "cosine"), default="mean_distance", help="higher is more alike")
    add("-csv", "--csv", type=Path, default=None, metavar="FILE", help="the trials' scores")
    add("-json", "--json", default=None, metavar="FILE", help="write what is told there; - is the screen")
    flags = parser.parse_args(argv)

    from ipet.commands import verify
    from ipet.inference import load

    model = load(flags.adapter, flags.device, flags.pretrained, flags.precision)
    return verify(model, flags.file, flags.trials, flags.path_data, flags.scoring, flags.csv, flags.json)


VERIFY_EXAMPLE = """example:
  python3 -m ipet verify runs/IPET/ast_voxceleb/first/seed_1234/last one.wav other.wav
"""


def inspect(argv: list[str]) -> int:
    """Tell what a saved adapter's prompts and adapters do, layer by layer."""
    parser = adapter_parser("inspect", "ADAPTER LIST [flags]", INSPECT_EXAMPLE)
    add = parser.add_argument
    add("list", type=Path, metavar="LIST", help="a list of clips, its labels.csv beside it")
    add(
        "-path_data",
        type=Path,
        default=None,
        metavar="DIR",
        help="where the list's paths start; the list's folder if not given",
    )
    add(
        "-trials",
        type=Path,
        default=None,
        metavar="FILE",
        help="of speakers: trials of the list's utterances",
    )
    add(
        "-clips",
        type=size,
        default=None,
        metavar="N",
        help="take a random part of the list; all if not given",
    )
    add("-seed", type=count, default=1234, help="of that draw")
    add("-csv", "--csv", type=Path, default=None, metavar="FILE", help="a row a layer, and one of all")
    add(
        "-json", default=None, metavar="FILE", help="write everything there; - prints it instead of the table"
    )
    add("-out", type=Path, default=None, metavar="DIR", help="write all of these and plots there")
    flags = parser.parse_args(argv)

    from ipet.inference import load
    from ipet.inspection import inspect

    return inspect(
        load(flags.adapter, flags.device, flags.pretrained, flags.precision),
        Path(flags.adapter),
        flags.list,
        flags.path_data,
        flags.trials,
        flags.clips,
        flags.seed,
        flags.pretrained,
        flags.csv,
        flags.json,
        flags.out,
    )


INSPECT_EXAMPLE = """example:
  python3 -m ipet inspect runs/IPET/ast_esc50/first/seed_1234/fold_1/last data/esc50/eval_1.json \\
      -path_data /data/ESC-50-master -out insight
The list is heard some times a layer: -clips 200 is a fast first look. docs/insight.md says what is told.
"""


def push(argv: list[str]) -> int:
    """Hand a saved adapter on, by the Hugging Face hub."""
    parser = Parser(
        usage="python3 -m ipet push ADAPTER OWNER/NAME [flags]", formatter_class=Help, epilog=PUSH_EXAMPLE
    )
    add = parser.add_argument
    add("adapter", type=Path, metavar="ADAPTER", help="last/ or best/ of a run, or a copy of it")
    add("hub_id", metavar="OWNER/NAME", help="the repository, made if it is not there")
    add("-public", action="store_true", help="a new repository is seen by everybody")
    add("-card", action="store_true", help="write README.md beside the adapter, for you to edit, and stop")
    flags = parser.parse_args(argv)

    from ipet.share import push, write_card

    if flags.card:
        print(f"{write_card(flags.adapter, flags.hub_id)}: edit it, then push")
    else:
        print(push(flags.adapter, flags.hub_id, private=not flags.public))
    return 0


PUSH_EXAMPLE = """example:
  python3 -m ipet push runs/IPET/ast_esc50/first/seed_1234/fold_1/last somebody/sounds
Needs a login (hf auth login, or HF_TOKEN). Whoever has access uses it by ipet.load("somebody/sounds").
"""


def doctor(argv: list[str]) -> int:
    """Examine lists and their recordings, and propose how to train on them."""
    parser = Parser(
        usage="python3 -m ipet doctor LISTS [-path_data DIR] [-content KIND] [-json FILE]",
        formatter_class=Help,
        epilog=DOCTOR_EXAMPLE,
    )
    add = parser.add_argument
    add("lists", type=Path, metavar="LISTS", help="a folder that data/prepare.py wrote, or one list of it")
    add(
        "-path_data",
        type=Path,
        default=None,
        metavar="DIR",
        help="where the lists' paths start; the lists' folder if not given",
    )
    add(
        "-content",
        choices=("sounds", "music", "speech"),
        default=None,
        help="what was recorded: proposes the backbone that knows it; both if not given",
    )
    add("-json", default=None, metavar="FILE", help="write all that was found there; - is the screen")
    flags = parser.parse_args(argv)

    from ipet.doctor import doctor

    return doctor(flags.lists, flags.path_data, flags.json, flags.content)


DOCTOR_EXAMPLE = """example:
  python3 -m ipet doctor data/drums -path_data /data/drums -json drums.json
The exit status is 1 where something must be mended: recordings that cannot be used, the same audio in
training and evaluation, or with different labels, and classes that are evaluated without being trained.
"""


def export(argv: list[str]) -> int:
    """Write a saved adapter with its backbone as one ONNX or torch.export file."""
    parser = Parser(
        usage="python3 -m ipet export ADAPTER OUT [flags]", formatter_class=Help, epilog=EXPORT_EXAMPLE
    )
    add = parser.add_argument
    add("adapter", type=Path, metavar="ADAPTER", help="last/ or best/ of a run, a copy of it, or a hub id")
    add("out", type=Path, metavar="OUT", help="folder of the files")
    add("-format", choices=("onnx", "torch"), nargs="+", default=["onnx"], help="onnx; torch: torch.export's")
    add("-pretrained", default=None, metavar="WEIGHTS", help="the backbone's, if they lie elsewhere now")
    flags = parser.parse_args(argv)

    from ipet.export import FORMATS, check_packages, export
    from ipet.inference import load

    for name in flags.format:
        check_packages(name)
    model = load(flags.adapter, "cpu", flags.pretrained)
    for name, difference in export(model, flags.out, tuple(flags.format)).items():
        print(f"{flags.out / FORMATS[name]}: differs from the model by at most {difference:.1e}")
    return 0


EXPORT_EXAMPLE = """example:
  python3 -m ipet export runs/IPET/ast_esc50/first/seed_1234/fold_1/last exported
  python3 -m ipet export runs/IPET/w2v_gtzan/first/seed_1234/fold_1/last exported -format onnx torch
The file takes one segment of samples at 16 kHz and gives probabilities; model.json beside it says how
long a segment is and what the classes are. ONNX needs: python3 -m pip install onnx onnxscript onnxruntime
"""


def migrate(argv: list[str]) -> int:
    """Rewrite saved adapters of an earlier version as this one writes them."""
    parser = Parser(usage="python3 -m ipet migrate FOLDER ...", formatter_class=Help, epilog=MIGRATE_EXAMPLE)
    parser.add_argument("folder", nargs="+", type=Path, metavar="FOLDER", help="adapters lie there or below")
    flags = parser.parse_args(argv)

    from ipet.saved import migrate, saved_below

    folders = [folder for top in flags.folder for folder in saved_below(top)]
    changed = sum(map(migrate, folders))
    print(f"{changed} of {len(folders)} saved adapters rewritten")
    return 0


MIGRATE_EXAMPLE = """example:
  python3 -m ipet migrate runs
All of this version's commands read the earlier ones, too. Whatever ends it, each folder can be read.
"""

COMMANDS = {
    "report": report,
    "compare": compare,
    "rerun": rerun,
    "sweep": sweep,
    "predict": predict,
    "embed": embed,
    "verify": verify,
    "inspect": inspect,
    "push": push,
    "export": export,
    "migrate": migrate,
    "doctor": doctor,
}

if __name__ == "__main__":
    sys.exit(main())
