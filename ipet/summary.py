"""The table of a run, from the results of its cells: one a seed, or one a seed and fold."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.special import stdtrit as student_quantile

from ipet.original_metrics import EVALUATED, NAME_OF, best_epoch_on_test, curve_of, original_values, shown
from ipet.original_metrics import best_of_curve as best_of
from ipet.results import read_result

Results = Mapping[str, Mapping]  # by cell: "seed_1234", "seed_1234/fold_1", "seed_1234/fold_1_nested"
NESTED = "_nested"  # ends the name of a cell whose epoch was chosen on a held-out training fold
SHARES = ("accuracy", "mAP", "mAUC", "EER")  # metrics in percent
TITLES = {
    "last": "last epoch",
    "best_epoch": "best epoch [1]",
    "common_epoch": "common epoch [2]",
    "nested": "nested [3]",
    "valid_at_best_epoch": "valid, chosen epoch [4]",
    "test_at_best_epoch": "test, chosen epoch [4]",
    "test_at_last_epoch": "test, last epoch",
    "test_best_epoch": "test, best epoch [5]",
}
NOTES = {
    "best_epoch": "[1] each cell's best epoch on the clips it is evaluated on ({best}): the authors'"
    " protocol, optimistic",
    "common_epoch": "[2] epoch {common}, the single one that is best on the mean of the folds, on the clips"
    " that are evaluated: AST's protocol",
    "nested": "[3] the epoch that is best on a held-out fold of the training list ({nested})",
    "valid_at_best_epoch": "[4] epoch {best}, the best on the validation list; the test list chose nothing",
    "test_best_epoch": "[5] each cell's best epoch on the test list ({test}): the authors' protocol,"
    " optimistic",
}


def cell_name(seed: int, fold: int | None = None, nested: bool = False) -> str:
    """The folder of a cell below the run's."""
    return f"seed_{seed}" + (f"/fold_{fold}" if fold else "") + (NESTED if nested else "")


def planned_cells(seeds: Sequence[int], num_folds: int, protocols: Sequence[str]) -> list[str]:
    """The cells that seeds, folds (0: none) and protocols ask for, seed by seed."""
    kinds = sorted({protocol == "nested" for protocol in protocols})
    folds = range(1, num_folds + 1) if num_folds else [None]
    return [cell_name(seed, fold, nested) for seed in seeds for nested in kinds for fold in folds]


def read_results(folder: str | Path) -> dict[str, dict]:
    """The finished cells of a run, by name.

    Raises:
        ValueError: a result is damaged, or of another metric than the others; see ``read_result``.
    """
    folder = Path(folder)
    found = {
        path.parent.relative_to(folder).as_posix(): path for path in folder.glob("seed_*/**/result.json")
    }
    results = {cell: read_result(found[cell]) for cell in sorted(found, key=cell_order)}
    for cell, result in results.items():
        check_agrees(found[cell], result, next(iter(results.values())))
    return results


def check_agrees(path: Path, result: Mapping, first: Mapping) -> None:
    """Raise ValueError where a cell's result is of another metric than the first one's of its run."""
    for name in ("metric", "higher_is_better"):
        if result[name] != first[name]:
            raise ValueError(
                f"{path}: damaged: {name!r} is {result[name]!r}; expected {first[name]!r}, as in the run's "
                "other results"
            )


def cell_order(cell: str) -> tuple[int, int, bool]:
    """Seed, fold (0: none) and whether nested, of a cell's name; cells are sorted by it."""
    seed, _, fold = cell.removesuffix(NESTED).partition("/")
    return int(seed.removeprefix("seed_")), int(fold.removeprefix("fold_") or 0), cell.endswith(NESTED)


def at_epoch(result: Mapping, epoch: int) -> float:
    """A cell's watched value at an evaluated epoch."""
    return row_at(result, epoch)[f"{result['watched']}_{result['metric']}"]


def row_at(result: Mapping, epoch: int) -> Mapping:
    """What a cell's history says of an evaluated epoch."""
    return {row["epoch"]: row for row in result["history"]}[epoch]


def last_epoch(result: Mapping) -> int:
    """The last epoch of a cell, which is always evaluated."""
    return result["history"][-1]["epoch"]


def at_test(result: Mapping, when: str) -> float:
    """A cell's value on the test list; ``when`` is ``best_epoch`` or ``last_epoch``."""
    return result[f"test_at_{when}"][f"test_{result['metric']}"]


def common_epoch(results: Sequence[Mapping]) -> int:
    """The one epoch with the best mean over the folds (AST's protocol)."""
    evaluated = sorted(set.intersection(*({row["epoch"] for row in r["history"]} for r in results)))
    means = [np.mean([at_epoch(r, epoch) for r in results]) for epoch in evaluated]
    return evaluated[int(np.argmax(means) if results[0]["higher_is_better"] else np.argmin(means))]


def protocols(results: Results) -> dict[str, dict[str, float]]:
    """One value a cell under each protocol that the cells allow.

    Without validation data: ``last``, the last epoch, where nothing was chosen; ``best_epoch``,
    each cell's best epoch on its own evaluation clips (the IPET authors'); with folds
    ``common_epoch``, the single epoch that is best on the mean of a seed's folds (AST's); and, of
    cells of their own, ``nested``, the epoch chosen on a held-out fold of the training list.
    With validation data: the chosen epoch on the validation and the test list, and the last epoch; and, where
    the test list was evaluated after each epoch, ``test_best_epoch``, the best of these (the IPET authors').
    """
    watched = {cell: r for cell, r in results.items() if r["watched"] == "eval"}
    nested = {cell: r for cell, r in results.items() if cell.endswith(NESTED)}
    split = {cell: r for cell, r in results.items() if cell not in watched and cell not in nested}
    values = {
        "last": {cell: at_epoch(r, last_epoch(r)) for cell, r in watched.items()},
        "best_epoch": {cell: at_epoch(r, r["best_epoch"]) for cell, r in watched.items()},
        "common_epoch": {cell: at_epoch(watched[cell], e) for cell, e in common_epochs(watched).items()},
        "nested": {cell.removesuffix(NESTED): at_test(r, "best_epoch") for cell, r in nested.items()},
        "valid_at_best_epoch": {cell: at_epoch(r, r["best_epoch"]) for cell, r in split.items()},
        "test_at_best_epoch": {cell: at_test(r, "best_epoch") for cell, r in split.items()},
        "test_at_last_epoch": {cell: at_test(r, "last_epoch") for cell, r in split.items()},
        "test_best_epoch": {
            cell: best_of(curve_of(r, NAME_OF[r["metric"]]))
            for cell, r in split.items()
            if best_epoch_on_test(r) is not None
        },
    }
    return {name: by_cell for name, by_cell in values.items() if by_cell}


def common_epochs(results: Results) -> dict[str, int]:
    """The common epoch of every cell's seed, for cells with folds."""
    by_seed: dict[str, list[str]] = {}
    for cell in results:
        if "/" in cell:
            by_seed.setdefault(cell.split("/")[0], []).append(cell)
    return {
        cell: epoch
        for cells in by_seed.values()
        for epoch in [common_epoch([results[cell] for cell in cells])]
        for cell in cells
    }


def by_fold(by_cell: Mapping[str, float]) -> list[float]:
    """The mean over the seeds of each fold; without folds, the value of each seed."""
    groups: dict[str, list[float]] = {}
    for cell, value in by_cell.items():
        groups.setdefault(cell.split("/")[-1], []).append(value)
    return [float(np.mean(group)) for group in groups.values()]


def interval(by_cell: Mapping[str, float]) -> list[float] | None:
    """The 95 % interval of the mean: Student's t over the folds, each averaged over its seeds.

    Without folds, or of one fold, over the seeds. Cut at 0 and 1. None for a single value.
    """
    values = by_fold(by_cell)
    if len(values) == 1:
        values = list(by_cell.values())
    if len(values) == 1:
        return None
    half = student_quantile(len(values) - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(len(values))
    return [max(0.0, float(np.mean(values) - half)), min(1.0, float(np.mean(values) + half))]


def spread(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def summarise(results: Results, protocol: str = "last") -> dict:
    """The finished cells of a run -> the summary as JSON values.

    Args:
        results: of at least one cell.
        protocol: the one that is reported where there is no validation list, from
            ``arguments.PROTOCOLS``; ``last`` where the cells of it are not there.
    """
    cells = {cell: r for cell, r in results.items() if not cell.endswith(NESTED)}
    runs = list(results.values())
    first = runs[0]
    by_protocol = protocols(results)
    if "test_at_best_epoch" in by_protocol:
        protocol = "test_at_best_epoch"
    elif protocol not in by_protocol:
        protocol = next(iter(by_protocol))
    summary = {
        "metric": first["metric"],
        "higher_is_better": first["higher_is_better"],
        "protocol": protocol,
        "cells": sorted({cell.removesuffix(NESTED) for cell in results}, key=cell_order),
        "best_epochs": {cell: r["best_epoch"] for cell, r in cells.items()},
        "nested_epochs": {c: r["best_epoch"] for c, r in results.items() if c.endswith(NESTED)},
        "test_epochs": {c: e for c, r in cells.items() if (e := best_epoch_on_test(r)) is not None},
        "common_epochs": common_epochs({c: r for c, r in cells.items() if r["watched"] == "eval"}),
        "protocols": {
            name: {
                "values": by_cell,
                "mean": float(np.mean(by_fold(by_cell))),
                "std": spread(list(by_cell.values())),
                "interval": interval(by_cell),
            }
            for name, by_cell in by_protocol.items()
        },
    }
    reported = summary["protocols"][protocol]
    if reported["interval"] is None and len(reported["values"]) == 1:
        reported["interval"] = first.get("interval", {}).get(protocol)  # over the clips or trials
    summary["details"] = details(results, summary)
    summary["detail_intervals"] = detail_intervals(results, summary)
    summary["original"] = original_summary(cells)
    constant = [r["without_hearing"] for r in runs if r.get("without_hearing") is not None]
    return summary | {
        "without_hearing": float(np.mean(constant)) if constant else None,
        "tuning": first.get("tuning"),
        "trainable_parameters": first["trainable_parameters"],
        "all_parameters": first["all_parameters"],
        "macs": first.get("macs"),
        "checkpoint_bytes": first.get("checkpoint_bytes"),
        "seconds": sum(r["seconds"] for r in runs),
        "peak_memory_bytes": max(r["peak_memory_bytes"] for r in runs),
    }


def details(results: Results, summary: Mapping) -> dict[str, float]:
    """The means of the other metrics under the reported protocol; the loss is left out."""
    protocol = summary["protocol"]
    rows = []
    for cell in summary["protocols"][protocol]["values"]:
        if protocol in ("nested", "test_at_best_epoch"):
            rows.append(results[cell + NESTED * (protocol == "nested")]["test_at_best_epoch"])
            continue
        epochs = {"best_epoch": summary["best_epochs"], "common_epoch": summary["common_epochs"]}
        epoch = epochs.get(protocol, {}).get(cell, last_epoch(results[cell]))
        rows.append(row_at(results[cell], epoch))
    measured = [
        {k.split("_", 1)[1]: v for k, v in r.items() if k.startswith(("eval_", "test_"))} for r in rows
    ]
    common = set.intersection(*map(set, measured))  # a later version may measure more
    names = [n for n in measured[0] if n in common and n not in ("loss", summary["metric"])]
    return {name: float(np.mean([row[name] for row in measured])) for name in names}


def detail_intervals(results: Results, summary: Mapping) -> dict[str, list[float]]:
    """Return the intervals of the other metrics of a single cell, where it was reported with them."""
    protocol = summary["protocol"]
    if len(results) != 1:
        return {}
    found = next(iter(results.values())).get("detail_intervals", {}).get(protocol) or {}
    return {name: interval for name, interval in found.items() if name in summary["details"] and interval}


def original_summary(cells: Results) -> dict:
    """Return the original's metrics: the list they are of, and the mean over the cells at two epochs.

    Returns:
        ``{"list": "test", "metrics": {"acc": {"last": 0.9, "best_epoch": 0.95}, ...}}``; empty without any.
    """
    metrics = {
        name: {when: float(np.mean(by_fold(by_cell))) for when, by_cell in values.items()}
        for name, values in original_values(cells).items()
    }
    return {"list": EVALUATED[next(iter(cells.values()))["watched"]], "metrics": metrics} if metrics else {}


def original_rows(summary: Mapping) -> list[list[str]]:
    """Return a row for each of the original's metrics: its name, last epoch and best epoch."""
    metrics = summary["original"].get("metrics", {})
    return [[n, shown(n, values["last"]), shown(n, values["best_epoch"])] for n, values in metrics.items()]


def original_title(summary: Mapping) -> str:
    """Return what the original's metrics are of."""
    return (
        f"the original code's metrics on the {summary['original']['list']} list, sigmoids averaged over "
        "segments, and over epochs for cum_*; best epoch: each metric's own, optimistic"
    )


def in_percent(value: float | None) -> str:
    """``0.1234`` -> ``12.34``; a dash for what is not there."""
    return "-" if value is None else f"{100 * value:.2f}"


def table(summary: Mapping) -> str:
    """The summary as text: a row a cell, their mean, standard deviation and interval, and the costs."""
    by_protocol, cells = summary["protocols"], summary["cells"]
    head = [summary["metric"] + " (%)", *(TITLES[name] for name in by_protocol)]
    rows = [[cell, *(in_percent(p["values"].get(cell)) for p in by_protocol.values())] for cell in cells]
    if len(cells) > 1:
        rows.append(["mean", *(in_percent(p["mean"]) for p in by_protocol.values())])
        rows.append(["std", *(in_percent(p["std"]) for p in by_protocol.values())])
    if any(p["interval"] for p in by_protocol.values()):
        intervals = [p["interval"] for p in by_protocol.values()]
        rows.append(
            ["95 %", *("-" if i is None else f"{in_percent(i[0])} - {in_percent(i[1])}" for i in intervals)]
        )
    notes = notes_of(summary)
    if summary["details"]:
        values = "  ".join(
            " ".join([name, detail_shown(name, value), *interval_shown(name, summary)])
            for name, value in summary["details"].items()
        )
        notes.append(f"{TITLES[summary['protocol']].partition(' [')[0]}: {values}")
    if summary["original"]:
        notes += [
            original_title(summary),
            *lines(["metric", "last epoch", "best epoch"], original_rows(summary)),
        ]
    if summary["without_hearing"] is not None:
        notes.append(
            f"always answering the most frequent training class: {in_percent(summary['without_hearing'])}"
        )
    trainable, total = summary["trainable_parameters"], summary["all_parameters"]
    costs = (
        f"trainable parameters {trainable:,} of {total:,} ({100 * trainable / total:.2f} %), "
        f"time {summary['seconds']:.0f} s, peak memory {summary['peak_memory_bytes'] / 2**20:,.0f} MiB"
    )
    return "\n".join([*lines(head, rows), *notes, costs])


def lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table of plain text, numbers to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))])
        for row in [head, ["-" * width for width in widths], *rows]
    ]


def detail_shown(name: str, value: float) -> str:
    """Return a further metric in percent, or as it is."""
    return f"{in_percent(value)} %" if name.startswith(SHARES) else f"{value:.4f}"


def interval_shown(name: str, summary: Mapping) -> list[str]:
    """Return a further metric's interval in parentheses; nothing without one."""
    found = summary["detail_intervals"].get(name)
    return [f"({detail_shown(name, found[0])} to {detail_shown(name, found[1])})"] if found else []


def notes_of(summary: Mapping) -> list[str]:
    """How each protocol chose its epoch; the numbers in brackets are those of ``TITLES``."""
    epochs = {
        "best": listed(summary["best_epochs"].values()),
        "common": listed(dict.fromkeys(summary["common_epochs"].values())),
        "nested": listed(summary["nested_epochs"].values()),
        "test": listed(summary["test_epochs"].values()),
    }
    return [NOTES[name].format(**epochs) for name in summary["protocols"] if name in NOTES]


def listed(values) -> str:
    """``3, 5, 2``."""
    return ", ".join(map(str, values))
