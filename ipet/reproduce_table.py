"""The tables of ``reproduce``: the original's protocol and ours side by side, as text, for papers and pages.

- original: the best epoch on the list that is evaluated, as the original code reports it (optimistic, since
  the epoch is chosen on what it is measured on).
- ours: the last epoch where there is no validation list; the epoch that is chosen on validation data
  elsewhere.
"""

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np

from ipet import plots
from ipet.checkpoint import write_atomically, write_json
from ipet.original_metrics import NAME_OF, PREFIX
from ipet.page import Figure, Page, Section, Table, Text, drawn, write_page
from ipet.printable import escaped
from ipet.report import DAMAGE, latex_table, markdown_table, read_run, text_table
from ipet.reproduce_data import DATASETS
from ipet.reproduce_plan import BACKBONES, PlannedRun
from ipet.summary import TITLES, by_fold, cell_order, in_percent, interval, spread, summarise

OURS = ("nested", "test_at_best_epoch", "last")  # the first one that a run has
NOTES = (
    "original: the best epoch on the list that is evaluated, the original's protocol (optimistic)",
    "ours: the last epoch; with validation data the epoch that is best on them",
    "mean ± standard deviation over seeds (number of complete seeds); *: some trainings are missing",
)
WORDS = ("experiment", "data", "method", "metric", "ours is", "state", "method (%)", "experiment (%)")
KINDS = ("original", "ours")
VALUES = tuple(f"{kind}{suffix}" for kind in KINDS for suffix in ("", "_low", "_high", "_spread"))
RAW = ("experiment", "data", "method", "grid", "value", "metric", *VALUES, "ours_protocol", "seeds")
RAW += (
    "planned_seeds",
    "cells",
    "planned_cells",
    "trainable_parameters",
    "all_parameters",
    "seconds",
    "peak_memory_bytes",
    "folder",
)
RAW += ("state", "reason")


# Reading ------------------------------------------------------------------------------------------


def row_of(run: PlannedRun, seeds: Sequence[int]) -> dict:
    """Return a run's row: shares of one, None for what is not there."""
    grid, value = run.grid or (None, None)
    row = dict.fromkeys(RAW) | {"experiment": run.experiment.name, "data": DATASETS[run.dataset][0]}
    row |= {"method": run.method, "grid": grid, "value": value, "folder": str(run.folder)}
    row |= {"state": run.state, "reason": run.reason or None, "seeds": 0, "cells": 0}
    planned = run.cells() if run.command else []
    row |= {"planned_seeds": len(seeds), "planned_cells": len(planned)}
    if not planned or run.state == "left out" or not run.has_these_settings():
        return row
    errors: list[str] = []
    try:
        found = read_run(run.folder, errors).results
        results = {cell: result for cell, result in found.items() if cell in planned}
        if results:
            row |= values_of(results, planned) | {"cells": len(results)}
    except DAMAGE as error:
        errors.append(str(error))
    if errors and run.state == "finished":
        row["state"] = "failed"
    row["reason"] = row["reason"] or "; ".join(errors) or None
    return row


def values_of(results: Mapping[str, Mapping], planned: Sequence[str] = ()) -> dict:
    """Return what a run's finished cells give under both protocols, and what they cost.

    Args:
        results: Results by the name of the cell.
        planned: Names of all cells; a seed is complete where it has all of its cells.
    """
    summary = summarise(results, "nested")
    name = next(name for name in OURS if name in summary["protocols"])
    ours = summary["protocols"][name]
    original = original_values(results)
    missing = {cell_order(cell)[0] for cell in planned if cell not in results}
    complete = {cell_order(cell)[0] for cell in results} - missing
    values = [*mean_and_interval(original), spread_over_seeds(original, complete)]
    values += [ours["mean"], *(ours["interval"] or (None, None))]
    values += [spread_over_seeds(ours["values"], complete)]
    return {
        "metric": summary["metric"],
        **dict(zip(VALUES, values)),
        "ours_protocol": TITLES[name].partition(" [")[0],
        "seeds": len(complete),
        **{
            cost: summary[cost]
            for cost in ("trainable_parameters", "all_parameters", "seconds", "peak_memory_bytes")
        },
    }


def original_values(results: Mapping[str, Mapping]) -> dict[str, float]:
    """Return each cell's best epoch on the list that is evaluated; nothing where no epoch looked at it."""
    values = {}
    for cell, result in results.items():
        metric, best = result["metric"], max if result["higher_is_better"] else min
        own = "eval_" + metric if result["watched"] == "eval" else None
        for name in (PREFIX + NAME_OF.get(metric, ""), own):
            curve = [row[name] for row in result["history"] if name in row]
            if curve and len(curve) == len(result["history"]):
                values[cell] = best(curve)
                break
    return values if len(values) == len(results) else {}


def mean_and_interval(by_cell: Mapping[str, float]) -> list[float | None]:
    """Return the mean over seeds and folds, and its 95 % interval where there are several."""
    if not by_cell:
        return [None, None, None]
    return [float(np.mean(by_fold(by_cell))), *(interval(by_cell) or (None, None))]


def spread_over_seeds(by_cell: Mapping[str, float], seeds: Collection[int]) -> float | None:
    """Return the standard deviation over seeds of the mean over folds; None for fewer than two seeds."""
    by_seed: dict[int, list[float]] = {}
    for cell, value in by_cell.items():
        if (seed := cell_order(cell)[0]) in seeds:
            by_seed.setdefault(seed, []).append(value)
    return spread([float(np.mean(values)) for values in by_seed.values()]) if len(by_seed) > 1 else None


# Tables -------------------------------------------------------------------------------------------


def method_tables(rows: Sequence[Mapping]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return a title, a head and lines for each backbone: methods by data sets, both protocols."""
    tables = []
    for backbone, title in BACKBONES.items():
        own = [row for row in rows if row["experiment"].startswith(f"{backbone}_") and row["grid"] is None]
        data = list(dict.fromkeys(row["data"] for row in own))
        cells = {(row["method"], row["data"]): row for row in own}
        head = ["method (%)", *(f"{name} {kind}" for name in data for kind in KINDS)]
        lines = [
            [
                method,
                *(cell_text(cells[method, name], kind) for name in data for kind in KINDS),
            ]
            for method in dict.fromkeys(row["method"] for row in own)
        ]
        if lines:
            tables.append((title, head, lines))
    return tables


def grid_tables(rows: Sequence[Mapping]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return a title, a head and lines for each grid: experiments by values, ``original / ours``."""
    tables = []
    for grid in dict.fromkeys(row["grid"] for row in rows if row["grid"] is not None):
        own = [row for row in rows if row["grid"] == grid]
        values = list(dict.fromkeys(row["value"] for row in own))
        cells = {(row["experiment"], row["method"], row["value"]): row for row in own}
        lines = []
        for experiment, method in dict.fromkeys((row["experiment"], row["method"]) for row in own):
            found = [cells[experiment, method, value] for value in values]
            shown = [" / ".join(cell_text(row, kind) for kind in KINDS) for row in found]
            lines.append([f"{experiment} {method}", *shown])
        tables.append((f"Grid: {grid} (original / ours)", ["experiment (%)", *values], lines))
    return tables


def detail_table(rows: Sequence[Mapping]) -> tuple[str, list[str], list[list[str]]]:
    """Return a title, a head and a line a run, with intervals and costs."""
    lines = []
    for row in rows:
        shown = {
            "experiment": row["experiment"],
            "method": row["method"] + (f" {row['grid']}={row['value']}" if row["grid"] else ""),
            "metric": row["metric"] or "-",
            "original": in_percent(row["original"]),
            "95 %": interval_text(row["original_low"], row["original_high"]),
            "ours": in_percent(row["ours"]),
            "95 % ours": interval_text(row["ours_low"], row["ours_high"]),
            "ours is": row["ours_protocol"] or "-",
            "seeds": f"{row['seeds']} of {row['planned_seeds']}",
            "cells": f"{row['cells']} of {row['planned_cells']}" if row["planned_cells"] else "-",
            "trainable": "-" if row["trainable_parameters"] is None else f"{row['trainable_parameters']:,}",
            "time": "-" if row["seconds"] is None else str(timedelta(seconds=round(row["seconds"]))),
            "state": row["state"],
        }
        lines.append(list(shown.values()))
        head = list(shown)
    return "Runs", head, lines


def cell_text(row: Mapping, kind: str) -> str:
    """Return ``94.10 ± 0.21 (3)``: a run's value, its spread and seeds; see ``NOTES``.

    Args:
        kind: ``original`` or ``ours``.
    """
    if row[kind] is None:
        return row["state"] if row["state"] in ("failed", "stopped") else "-"
    spread_text = "" if row[f"{kind}_spread"] is None else f" ± {in_percent(row[f'{kind}_spread'])}"
    star = "*" if row["cells"] < row["planned_cells"] else ""
    return f"{in_percent(row[kind])}{spread_text} ({row['seeds']}){star}"


def interval_text(low: float | None, high: float | None) -> str:
    """Return ``94.10 - 96.20``, or a dash."""
    return "-" if low is None else f"{in_percent(low)} - {in_percent(high)}"


def reasons(rows: Sequence[Mapping]) -> list[str]:
    """Return why cells are empty, one line a reason with the runs that it concerns."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        reason = row["reason"]
        if reason is None and row["cells"] < row["planned_cells"]:
            reason = f"{row['state']}: not every training is finished; the same command continues it"
        if reason is None and row["cells"] and row["original"] is None:
            reason = "original: the test list was not evaluated after every epoch, so there is no best one"
        if reason is not None:
            name = row["method"] + (f" {row['grid']}={row['value']}" if row["grid"] else "")
            by_reason.setdefault(f"{row['experiment']}: {reason}", []).append(name)
    return [escaped(f"{reason} ({', '.join(names)})") for reason, names in by_reason.items()]


def as_text(rows: Sequence[Mapping], notes: Sequence[str]) -> str:
    """Return the tables as plain text."""
    parts = [f"{title}\n\n{text_table(head, lines, [], WORDS)}" for title, head, lines in tables_of(rows)]
    return "\n\n".join([*parts, "\n".join(notes)]).rstrip()


def as_markdown(rows: Sequence[Mapping], notes: Sequence[str]) -> str:
    """Return the tables as Markdown."""
    parts = [
        f"## {title}\n\n{markdown_table(head, lines, [], WORDS)}" for title, head, lines in tables_of(rows)
    ]
    return "\n\n".join([*parts, *notes])


def as_latex(rows: Sequence[Mapping], notes: Sequence[str]) -> str:
    """Return the tables as LaTeX (booktabs)."""
    parts = [f"% {title}\n{latex_table(head, lines, [], WORDS)}" for title, head, lines in tables_of(rows)]
    return "\n\n".join(["\n".join(f"% {note}" for note in notes), *parts])


def as_csv(rows: Sequence[Mapping], notes: Sequence[str]) -> str:
    """Return a row a run: shares of one, bytes, seconds; no notes."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, RAW, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().rstrip("\n")


def tables_of(rows: Sequence[Mapping]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return every table: of methods, of grids, of all runs."""
    return [*method_tables(rows), *grid_tables(rows), detail_table(rows)]


FORMATS = {"text": as_text, "markdown": as_markdown, "csv": as_csv, "latex": as_latex}
ENDINGS = {"text": "txt", "markdown": "md", "csv": "csv", "latex": "tex"}


# Files --------------------------------------------------------------------------------------------


def write_tables(out: Path, rows: Sequence[Mapping], notes: Sequence[str]) -> None:
    """Write the tables in every format, as JSON and as a page, and the figures of grids, into a folder."""
    for name, ending in ENDINGS.items():
        write_atomically(out / f"table.{ending}", (FORMATS[name](rows, notes) + "\n").encode())
    write_json(out / "reproduce.json", {"runs": list(rows), "notes": list(notes)})
    figures = grid_figures(rows)
    for stem, metric, label, curves in figures:
        plots.plot_grid(out / f"{stem}.png", curves, label, metric)
    sections = [
        Section(title, [Table("", head, lines, set(head) - set(WORDS))])
        for title, head, lines in tables_of(rows)
    ]
    drawings: list[Text | Figure | Table] = [
        drawn(f"{metric} over {label}", label, plots.plot_grid, curves, label, metric)
        for _, metric, label, curves in figures
    ]
    sections += [Section("Grids", drawings), Section("Notes", [Text(note) for note in notes])]
    done = sum(row["ours"] is not None for row in rows)
    lead = f"{done} of {len(rows)} runs have results"
    write_page(out / "index.html", Page("The paper's table, reproduced", lead, sections=sections))


def grid_figures(rows: Sequence[Mapping]) -> list[tuple[str, str, str, dict]]:
    """Return file name, metric, label of the values and curves (percent by value) of each grid and metric."""
    figures = []
    keys = dict.fromkeys((row["grid"], row["metric"]) for row in rows if row["grid"] and row["metric"])
    for grid, metric in keys:
        curves: dict[str, list[tuple[float, float]]] = {}
        for row in rows:
            if (row["grid"], row["metric"]) == (grid, metric):
                for kind in ("original", "ours"):
                    if row[kind] is not None:
                        point = float(row["value"].removeprefix("x")), 100 * row[kind]
                        curves.setdefault(f"{row['experiment']} {row['method']}, {kind}", []).append(point)
        relative = any(row["value"].startswith("x") for row in rows if row["grid"] == grid)
        label = f"{grid}, multiples of the published value" if relative else grid
        figures.append((f"grid_{grid}_{metric}", f"{metric} (%)", label, curves))
    return figures
