"""Flags of ``python3 -m ipet COMMAND`` for what is done with runs: report, compare, rerun, sweep.

Light on purpose: see ``__main__``.
"""

import argparse
from functools import partial
from pathlib import Path

from ipet.arguments import PROTOCOLS
from ipet.parsing import REPOSITORY, Help, Parser, count, names, part_of_path, size, suggest
from ipet.reproduce_arguments import FORMATS, formats, reproduce_parser, weights_by_backbone


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
    add("passport", type=Path, metavar="PASSPORT", help="the passport.json of a run, or the run's folder")
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


def reproduce(argv: list[str]) -> int:
    """Train and tabulate every experiment and method of the paper, on the data sets that are prepared."""
    parser = reproduce_parser()
    own, further = split(argv)
    flags = parser.parse_args(own)
    known = {name: folder for name, folder in experiments().items() if not name.endswith("_custom")}
    unknown = [name for name in flags.experiment if name not in known]
    if unknown:
        hint = suggest(unknown[0], list(known))
        parser.error(f"{unknown[0]}: none of the ten experiments{hint} (accepted: {', '.join(known)})")
    grids: dict[str, tuple[str, ...]] = {}
    for name, values in flags.grid:  # the same grid may be named twice
        grids[name] = tuple(dict.fromkeys([*grids.get(name, ()), *values]))

    from ipet.reproduce import reproduce
    from ipet.reproduce_data import find_releases
    from ipet.reproduce_plan import BASELINES, GRIDS, Request

    request = Request(
        experiments=[known[name] for name in flags.experiment or known],
        methods=tuple(dict.fromkeys(flags.method)) or (("ipet",) if grids else BASELINES),
        seeds=tuple(dict.fromkeys(flags.seed)),
        grids={name: values or GRIDS[name][1] for name, values in grids.items()},
        data=find_releases(flags.data),
        path_list=flags.path_list and flags.path_list.expanduser().resolve(),
        path_run=flags.path_run.expanduser().resolve(),
        pretrained=weights_by_backbone(flags.pretrained),
        further=further,
    )
    return reproduce(request, flags.plan, flags.format, flags.out and flags.out.expanduser(), flags.json)


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
    known = list(experiments())
    hint = suggest(path.name, known) or f"; accepted: {', '.join(known)}, or a folder of one's own"
    parser.error(f"{path}: no experiment{hint}")


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
