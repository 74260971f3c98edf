"""One table of many runs, as a paper would print it, and their plots."""

import csv
import io
import sys
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np

from ipet import plots
from ipet.checkpoint import read_json, write_atomically
from ipet.epoch_losses import loss_curves
from ipet.metrics import average_precision, confusion
from ipet.printable import escaped, folder_name
from ipet.results import read_result
from ipet.saved import files_of
from ipet.summary import NESTED, TITLES, cell_order, check_agrees, in_percent, summarise, table
from ipet.verification_metrics import det_curve

COSTS = ("trainable_parameters", "all_parameters", "seconds", "peak_memory_bytes")
RAW = (  # columns of the CSV: values as they are, for programs
    *(
        "experiment",
        "data",
        "method",
        "run",
        "metric",
        "protocol",
        "value",
        "low",
        "high",
        "best_epoch_value",
        "cells",
        "planned_cells",
    ),
    *("trainable_parameters", "all_parameters", "seconds", "peak_memory_bytes", "checkpoint_bytes", "macs"),
)
WORDS = ("experiment", "data", "method", "run", "metric", "protocol")  # columns that begin, not end, alike
OPTIMISTIC = {  # protocols
    "best_epoch": "best epoch: chosen on the clips that it is evaluated on, so optimistic",
    "common_epoch": "common epoch: chosen on the clips that are evaluated, so optimistic with few folds",
}
BEST_EPOCH = (
    "best_epoch",
    "test_best_epoch",
)  # the protocol of the authors, without and with validation data
# An archive's; a shape that a header claims; numbers and depths that are hostile.
BROKEN = (zipfile.BadZipFile, EOFError, MemoryError, OverflowError, RecursionError)
DAMAGE = (ValueError, OSError, KeyError, IndexError, TypeError, AttributeError, *BROKEN)
MOST_UNPACKED = 1 << 32  # bytes of a cell's scores: 2 million clips of 500 classes
LATEX = str.maketrans(  # what is a command there, as text
    {c: "\\" + c for c in "%_&#${}"}
    | {"±": r"$\pm$", "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


@dataclass
class Run:
    """A run as it was found.

    Args:
        folder: where.
        arguments: what it was started with.
        results: of its finished cells, by name.
        planned: the cells that the arguments ask for.
        summary: of ``results``; None where no cell is finished.
        label: the end of ``folder`` that tells it from the other runs.
    """

    folder: Path
    arguments: dict
    results: dict[str, dict] = field(default_factory=dict)
    planned: list[str] = field(default_factory=list)
    summary: dict | None = None
    label: str = ""

    @property
    def experiment(self) -> str:
        """Such as ``ast_esc50``."""
        return str(self.arguments.get("experiment", "unknown"))

    @property
    def data(self) -> str:
        """The folder of the lists, and how many folds."""
        folds = f" ({self.arguments['fold']} folds)" if self.arguments.get("fold") else ""
        return Path(str(self.arguments.get("path_list", "-"))).name + folds

    @property
    def method(self) -> str:
        """Such as ``ipet``."""
        tuning = (self.summary or {}).get("tuning") or {}
        return str(tuning.get("method") or self.arguments.get("method", "unknown"))

    @property
    def missing(self) -> list[str]:
        """The planned cells that are not finished."""
        return [cell for cell in self.planned if cell not in self.results]

    @property
    def reported(self) -> list[str]:
        """The folders of the cells under the reported protocol."""
        cells = self.summary["protocols"][self.summary["protocol"]]["values"]
        return [cell + NESTED * (self.summary["protocol"] == "nested") for cell in cells]


def report(
    paths: Iterable[Path],
    formats: Sequence[str] = ("text",),
    out: Path | None = None,
    protocol: str | None = None,
    cells: bool = False,
    more: Callable[[list[Run], list[str], list[str]], None] | None = None,
) -> int:
    """Print the table of all runs under ``paths``; returns the exit status.

    Args:
        paths: runs, or folders above runs.
        formats: of the printed table: ``text``, ``markdown``, ``csv``, ``latex``.
        out: also write the table in every format, and the plots, into this folder.
        protocol: reported where there are folds; what each run was started with if not given.
        cells: also print each run's own table.
        more: gets the runs, the notes beside the table, and the errors, to which it may add.

    Returns:
        0, or 1 where a damaged file was left out; its name is printed.

    Raises:
        FileNotFoundError: no run lies under one of ``paths``.
        ValueError: every run is damaged.
    """
    errors: list[str] = []
    runs = read_runs(paths, protocol, errors)
    rows = [row_of(run) for run in runs]
    if not rows:
        raise ValueError("; ".join(errors))
    notes = notes_of(runs, protocol)
    for name in formats:
        print(FORMATS[name](rows, notes), end="\n\n" if name != formats[-1] or cells else "\n")
    if cells:
        for run in runs:
            own = table(run.summary) if run.summary else "no cell is finished"
            print(f"{escaped(str(run.folder))}\n{own}\n")
    if out is not None:
        for name, ending in {"text": "txt", "markdown": "md", "csv": "csv", "latex": "tex"}.items():
            write_atomically(out / f"table.{ending}", (FORMATS[name](rows, notes) + "\n").encode())
        draw(runs, out, errors)
        print(f"tables and plots: {out}")
    if more is not None:
        more(runs, notes, errors)
    for error in dict.fromkeys(errors):
        print(f"error: {escaped(error)}", file=sys.stderr)
    return 1 if errors else 0


# Reading ------------------------------------------------------------------------------------------


def read_runs(paths: Iterable[Path], protocol: str | None, errors: list[str]) -> list[Run]:
    """The runs under ``paths``, by experiment, method and name; what is damaged is left to ``errors``."""
    runs = []
    for folder in dict.fromkeys(folder for path in paths for folder in find_runs(path)):
        try:
            run = read_run(folder, errors)
            if run.results:
                own = next(iter(run.arguments.get("protocol") or ["last"]))
                run.summary = summarise(run.results, protocol or own)
            runs.append(run)
        except DAMAGE as error:
            errors.append(told(folder, error))
    for run, label in zip(runs, shortest_ends([run.folder for run in runs])):
        run.label = label
    return sorted(runs, key=lambda run: (run.experiment, run.method, run.label))


def find_runs(path: Path) -> list[Path]:
    """The folders at or below ``path`` that hold a run.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder; expected a run's, or one above runs")
    found = [path / "arguments.json"] if (path / "arguments.json").is_file() else []
    found = found or sorted(path.rglob("arguments.json"))
    if not found:
        raise FileNotFoundError(f"{path}: no run is here or below; a run's folder holds arguments.json")
    return [file.parent.resolve() for file in found]


def read_run(folder: Path, errors: list[str]) -> Run:
    """A run and its finished cells; a damaged result is left to ``errors``."""
    run = Run(folder, read_json(folder / "arguments.json"))
    results = {}
    for path in sorted(folder.glob("seed_*/**/result.json")):
        try:
            result = read_result(path)
            check_agrees(path, result, next(iter(results.values()), result))
            results[path.parent.relative_to(folder).as_posix()] = result
        except DAMAGE as error:
            errors.append(told(path, error))
    run.results = {cell: results[cell] for cell in sorted(results, key=cell_order)}
    run.planned = sorted({*run.arguments.get("cells", []), *results}, key=cell_order)
    return run


def told(path: Path, error: Exception) -> str:
    """What is wrong with a file, in one line that names it."""
    if str(path) in str(error):
        return str(error)
    reason = f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return f"{path}: damaged ({reason}); left out"


def shortest_ends(folders: Sequence[Path]) -> list[str]:
    """As many last parts of the folders' paths as it takes to tell them apart."""
    for length in range(1, max((len(folder.parts) for folder in folders), default=0) + 1):
        ends = ["/".join(folder.parts[-length:]) for folder in folders]
        if len(set(ends)) == len(ends):
            return ends
    return [str(folder) for folder in folders]


# The table ----------------------------------------------------------------------------------------


def row_of(run: Run) -> dict:
    """A run's row: values as they are, None for what is not there."""
    done = len(run.planned) - len(run.missing)
    row = dict.fromkeys(RAW) | {"experiment": run.experiment, "data": run.data}
    row |= {"method": run.method, "run": run.label}
    row |= {"cells": done, "planned_cells": len(run.planned)}
    if run.summary:
        protocol = run.summary["protocol"]
        reported = run.summary["protocols"][protocol]
        low, high = reported["interval"] or (None, None)
        row |= {"metric": run.summary["metric"], "protocol": TITLES[protocol].partition(" [")[0]}
        row |= {"value": reported["mean"], "low": low, "high": high}
        optimistic = next((p for p in BEST_EPOCH if p in run.summary["protocols"]), None)
        row["best_epoch_value"] = run.summary["protocols"][optimistic]["mean"] if optimistic else None
        row |= {cost: run.summary.get(cost) for cost in (*COSTS, "checkpoint_bytes", "macs")}
    # Of a stranger's run, too: what it names must not reach a terminal as an escape sequence.
    return {name: escaped(value) if isinstance(value, str) else value for name, value in row.items()}


def shown(row: Mapping) -> dict[str, str]:
    """A row as it is read: percent, MiB, hours."""

    def unit(name: str, form: Callable[[float], str]) -> str:
        """A value in its unit, or a dash."""
        return "-" if row[name] is None else form(row[name])

    share = "-" if row["value"] is None else in_percent(row["trainable_parameters"] / row["all_parameters"])
    interval = "-" if row["low"] is None else f"{in_percent(row['low'])} - {in_percent(row['high'])}"
    return {
        "experiment": row["experiment"],
        "data": row["data"],
        "method": row["method"],
        "run": row["run"],
        "metric": row["metric"] or "-",
        "protocol": row["protocol"] or "-",
        "%": in_percent(row["value"]),
        "95 % interval": interval,
        "best epoch (%)": in_percent(row["best_epoch_value"]),
        "cells": f"{row['cells']} of {row['planned_cells']}",
        "trainable": unit("trainable_parameters", lambda n: f"{n:,}"),
        "share (%)": share,
        "time": unit("seconds", lambda s: str(timedelta(seconds=round(s)))),
        "memory (MiB)": unit("peak_memory_bytes", lambda n: f"{n / 2**20:,.0f}"),
        "checkpoint (MiB)": unit("checkpoint_bytes", lambda n: f"{n / 2**20:.3g}"),
        "GMACs": unit("macs", lambda n: f"{n / 1e9:.3g}"),
    }


def notes_of(runs: Sequence[Run], protocol: str | None) -> list[str]:
    """What a reader of the table must know beside it."""
    notes = []
    reported = {run.summary["protocol"] for run in runs if run.summary}
    shown_too = {"best_epoch" for run in runs if run.summary and {*BEST_EPOCH} & {*run.summary["protocols"]}}
    notes += [note for name, note in OPTIMISTIC.items() if name in reported | shown_too]
    for run in runs:
        if run.missing and run.results:
            notes.append(f"{run.label}: missing {', '.join(run.missing)}")
        elif run.missing:
            notes.append(f"{run.label}: no cell is finished")
        if protocol and run.summary and protocol not in run.summary["protocols"]:
            reported = TITLES[run.summary["protocol"]].partition(" [")[0]
            notes.append(f"{run.label}: has no cells of protocol {protocol}, so {reported} is reported")
    return [escaped(note) for note in notes]


def as_text(rows: Sequence[Mapping], notes: Sequence[str]) -> str:
    """Return the table as plain text."""
    return text_table(*columns(rows), notes)


def text_table(
    head: Sequence[str], body: Sequence[Sequence[str]], notes: Sequence[str], words: Collection[str] = WORDS
) -> str:
    """Return columns of plain text; those of ``words`` are set to the left."""
    widths = [max(map(len, column)) for column in zip(head, *body)]

    def line(values: Sequence[str]) -> str:
        """A row, words to the left and numbers to the right."""
        aligned = [
            value.ljust(width) if name in words else value.rjust(width)
            for name, value, width in zip(head, values, widths)
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, body), *notes])


def as_markdown(rows: Sequence[Mapping], notes: Sequence[str]) -> str:
    """Return the table as GitHub's Markdown."""
    return markdown_table(*columns(rows), notes)


def markdown_table(
    head: Sequence[str], body: Sequence[Sequence[str]], notes: Sequence[str], words: Collection[str] = WORDS
) -> str:
    """Return a table of GitHub's Markdown; the columns of ``words`` are set to the left."""
    rule = ["---" if name in words else "---:" for name in head]
    lines = [
        "| " + " | ".join(v.replace("|", "\\|") for v in values) + " |" for values in (head, rule, *body)
    ]
    return "\n".join([*lines, *(f"\n{note}" for note in notes)])


def as_csv(rows: Sequence[Mapping], notes: Sequence[str]) -> str:
    """Values as they are: shares of one, bytes, seconds; no notes."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, RAW, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().rstrip("\n")


def as_latex(rows: Sequence[Mapping], notes: Sequence[str]) -> str:
    """Return the table as a tabular of LaTeX."""
    return latex_table(*columns(rows), notes)


def latex_table(
    head: Sequence[str], body: Sequence[Sequence[str]], notes: Sequence[str], words: Collection[str] = WORDS
) -> str:
    """Return a tabular with the rules of the booktabs package; ``words`` name the columns of text."""

    def line(values: Sequence[str]) -> str:
        """A row of a tabular."""
        return " & ".join(v.translate(LATEX).replace(" - ", "--") for v in values) + r" \\"

    alignment = "".join("l" if name in words else "r" for name in head)
    rules = [r"\begin{tabular}{" + alignment + "}", r"\toprule", line(head), r"\midrule"]
    return "\n".join(
        [*(f"% {note}" for note in notes), *rules, *map(line, body), r"\bottomrule", r"\end{tabular}"]
    )


FORMATS = {"text": as_text, "markdown": as_markdown, "csv": as_csv, "latex": as_latex}


def columns(rows: Sequence[Mapping]) -> tuple[list[str], list[list[str]]]:
    """The head and the lines of the table that is read."""
    lines = [shown(row) for row in rows]
    return list(lines[0]), [list(line.values()) for line in lines]


# Plots --------------------------------------------------------------------------------------------


def draw(runs: Sequence[Run], out: Path, errors: list[str]) -> None:
    """Write every plot that the runs have numbers for; what is damaged is left to ``errors``.

    ``out/<experiment>/pareto.png`` compares the runs of an experiment on the same data; a run's own
    plots lie in ``out/<experiment>/<run>/``.
    """
    groups = groups_of(runs)
    for (experiment, data, metric), group in groups.items():
        several = sum(name == experiment for name, _, _ in groups) > 1
        name = f"pareto_{data}_{folder_name(metric)}.png" if several else "pareto.png"
        draw_pareto(out / folder_name(experiment) / name, group)
    for run in [run for run in runs if run.summary]:
        folder = out / folder_name(run.experiment) / run.label
        try:
            draw_curves(run, folder)
            PLOTS[run.summary["metric"]](run, folder)
        except DAMAGE as error:
            errors.append(told(run.folder, error))


def groups_of(runs: Sequence[Run]) -> dict[tuple[str, str, str], list[Run]]:
    """The runs with a finished cell that can be compared: of one experiment, data and metric."""
    groups: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        if run.summary:
            groups.setdefault((run.experiment, run.data, run.summary["metric"]), []).append(run)
    return groups


def draw_pareto(path: Path, group: Sequence[Run]) -> None:
    """What trained parameters buy, of runs that can be compared."""
    points = [pareto_point(run, [other.method for other in group]) for run in group]
    summary = group[0].summary
    plots.plot_pareto(path, points, f"{summary['metric']} (%)", summary["higher_is_better"])


def pareto_point(run: Run, methods: Sequence[str]) -> tuple[str, int, float, tuple[float, float] | None]:
    """Label, trainable parameters, metric and interval in percent."""
    reported = run.summary["protocols"][run.summary["protocol"]]
    label = run.method if methods.count(run.method) == 1 else f"{run.method} {run.label}"
    interval = tuple(100 * bound for bound in reported["interval"]) if reported["interval"] else None
    return label, run.summary["trainable_parameters"], 100 * reported["mean"], interval


def draw_curves(run: Run, folder: Path) -> None:
    """Draw ``curves.png``, the watched metric of every cell over the epochs, and ``loss.png``."""
    plots.plot_curves(folder / "curves.png", *curves_of(run))
    losses = loss_curves(run.folder, run.results)
    if all(losses.values()):
        plots.plot_curves(folder / "loss.png", losses, "training loss")


def curves_of(run: Run) -> tuple[dict[str, list[tuple[int, float]]], str]:
    """The watched metric of every cell over the epochs, in percent, and what it is called."""
    metric = run.summary["metric"]
    curves = {
        cell: [(row["epoch"], 100 * row[f"{result['watched']}_{metric}"]) for row in result["history"]]
        for cell, result in run.results.items()
    }
    watched = " and ".join(sorted({result["watched"] for result in run.results.values()}))
    return curves, f"{watched} {metric} (%)"


def draw_confusion(run: Run, folder: Path) -> None:
    """The confusion of all cells, added up: of the last epoch, or of the test list at the chosen one."""
    names = class_names(run)
    plots.plot_confusion(folder / "confusion.png", confusion(predictions(run), len(names)), names)


def mean_precisions(cells: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """[N, C] scores and targets of each cell -> [C] mean average precision, NaN if unknown, [C] clips."""
    values = np.array([average_precision(scores, targets) for scores, targets in cells])  # [cells, C]
    known = ~np.isnan(values)
    means = np.where(known.any(axis=0), np.nansum(values, axis=0) / np.maximum(known.sum(axis=0), 1), np.nan)
    return means, sum(targets.sum(axis=0, dtype=int) for _, targets in cells)


def draw_per_class(run: Run, folder: Path) -> None:
    """The average precision of every class, the mean of the cells, as bars and as CSV."""
    names = class_names(run)
    cells = list(predictions(run))
    means, clips = mean_precisions(cells)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["class", "name", "average_precision", "clips"])
    writer.writerows(zip(range(len(names)), names, map(float, means), map(int, clips)))
    write_atomically(folder / "per_class_ap.csv", buffer.getvalue().encode())
    plots.plot_per_class(folder / "per_class_ap.png", means, names, "average precision")


def draw_trials(run: Run, folder: Path) -> None:
    """The DET curve of every cell, and the scores of the first one."""
    trials = dict(zip(run.reported, predictions(run)))
    plots.plot_det(folder / "det.png", {cell: det_curve(*pair) for cell, pair in trials.items()})
    plots.plot_scores(folder / "scores.png", *next(iter(trials.values())))


PLOTS = {"accuracy": draw_confusion, "mAP": draw_per_class, "EER": draw_trials}


def predictions(run: Run) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Scores and targets of each reported cell: [N, C] twice, or [N] twice of trials."""
    for cell in run.reported:
        yield read_predictions(run.folder / cell / "predictions.npz")


def read_predictions(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Scores and targets of a cell: [N, C] twice, or [N] twice of trials.

    Raises:
        FileNotFoundError, ValueError: the file is missing or damaged; the message names it.
    """
    try:
        with np.load(path) as arrays:
            unpacked = sum(record.file_size for record in arrays.zip.infolist())
            if unpacked > MOST_UNPACKED:
                raise ValueError(f"would unpack to {unpacked:,} bytes; expected at most {MOST_UNPACKED:,}")
            return arrays["scores"], arrays["targets"]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; what needs its scores is left out") from None
    except DAMAGE as error:
        raise ValueError(told(path, error)) from None


def read_speakers(path: Path) -> np.ndarray | None:
    """Return the speakers [N, 2] of a cell's trials; None where it has no trials, or they are not known.

    Raises:
        FileNotFoundError, ValueError: The file is missing or damaged; the message names it.
    """
    try:
        with np.load(path) as arrays:
            return arrays.get("speakers")
    except FileNotFoundError:
        raise
    except DAMAGE as error:
        raise ValueError(told(path, error)) from None


def class_names(run: Run) -> list[str]:
    """The display names of the classes."""
    config, _ = files_of(run.folder / run.reported[0] / "last")
    description = read_json(config)
    return [label["name"] for label in description["labels"]]
