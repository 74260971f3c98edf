"""The table at the end of a run, from the results of its folds."""

from collections.abc import Mapping, Sequence

import numpy as np


def at_epoch(result: Mapping, epoch: int) -> float:
    """A fold's watched value at an epoch."""
    return result["history"][epoch - 1][f"{result['watched']}_{result['metric']}"]


def common_epoch(results: Sequence[Mapping]) -> int:
    """The one epoch with the highest mean over the folds (AST's protocol)."""
    num_epochs = min(len(result["history"]) for result in results)
    means = [np.mean([at_epoch(r, epoch) for r in results]) for epoch in range(1, num_epochs + 1)]
    return int(np.argmax(means)) + 1


def fold_protocols(results: Sequence[Mapping]) -> dict[str, list[float]]:
    """One value a fold under each protocol for folds without validation data.

    ``last``: the last epoch; nothing was chosen.
    ``best_epoch``: each fold's best epoch on its own evaluation clips (the IPET authors').
    ``common_epoch``: the single epoch that is best on the mean of the folds (AST's).
    """
    common = common_epoch(results)
    return {
        "last": [at_epoch(r, len(r["history"])) for r in results],
        "best_epoch": [at_epoch(r, r["best_epoch"]) for r in results],
        "common_epoch": [at_epoch(r, common) for r in results],
    }


def spread(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def summarise(results: Mapping[str, Mapping]) -> dict:
    """Results by fold (``fold_1`` ...), or one by the name of the run -> the summary as JSON values."""
    runs = list(results.values())
    first = runs[0]
    summary = {"metric": first["metric"], "cells": list(results)}
    if first["watched"] == "eval":
        protocols = fold_protocols(runs)
        summary["common_epoch"] = common_epoch(runs)
        summary["best_epochs"] = [r["best_epoch"] for r in runs]
    else:
        best = [r["best_epoch"] for r in runs]
        summary["best_epochs"] = best
        protocols = {
            "valid_at_best_epoch": [at_epoch(r, epoch) for r, epoch in zip(runs, best)],
            "test_at_best_epoch": [r["test_at_best_epoch"][f"test_{r['metric']}"] for r in runs],
            "test_at_last_epoch": [r["test_at_last_epoch"][f"test_{r['metric']}"] for r in runs],
        }
    summary["protocols"] = {
        name: {"values": values, "mean": float(np.mean(values)), "std": spread(values)}
        for name, values in protocols.items()
    }
    constant = [r["without_hearing"] for r in runs if r.get("without_hearing") is not None]
    return summary | {
        "without_hearing": float(np.mean(constant)) if constant else None,
        "trainable_parameters": first["trainable_parameters"],
        "all_parameters": first["all_parameters"],
        "seconds": sum(r["seconds"] for r in runs),
        "peak_memory_bytes": max(r["peak_memory_bytes"] for r in runs),
    }


TITLES = {
    "last": "last epoch",
    "best_epoch": "best epoch [1]",
    "common_epoch": "common epoch [2]",
    "valid_at_best_epoch": "valid, chosen epoch [3]",
    "test_at_best_epoch": "test, chosen epoch [3]",
    "test_at_last_epoch": "test, last epoch",
}


def table(summary: Mapping) -> str:
    """The summary as text: a row a fold, their mean and standard deviation, and what it cost."""
    protocols, cells = summary["protocols"], summary["cells"]
    head = [summary["metric"] + " (%)", *(TITLES[name] for name in protocols)]
    rows = [
        [cell, *(f"{100 * p['values'][i]:.2f}" for p in protocols.values())] for i, cell in enumerate(cells)
    ]
    if len(cells) > 1:
        rows.append(["mean", *(f"{100 * p['mean']:.2f}" for p in protocols.values())])
        rows.append(["std", *(f"{100 * p['std']:.2f}" for p in protocols.values())])
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row):
        return "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))])

    trainable, total = summary["trainable_parameters"], summary["all_parameters"]
    best = ", ".join(map(str, summary["best_epochs"]))
    if "common_epoch" in summary:
        notes = [
            f"[1] each fold's best epoch on its own evaluation clips ({best}): the authors' protocol,"
            " optimistic",
            f"[2] epoch {summary['common_epoch']}, the single one that is best on the mean of the folds:"
            " AST's protocol",
        ]
    else:
        notes = [f"[3] epoch {best}, the best on the validation list; the test list chose nothing"]
    if summary["without_hearing"] is not None:
        notes.append(
            f"always answering the most frequent training class: {100 * summary['without_hearing']:.2f}"
        )
    return "\n".join(
        [
            line(head),
            line(["-" * width for width in widths]),
            *map(line, rows),
            *notes,
            f"trainable parameters {trainable:,} of {total:,} ({100 * trainable / total:.2f} %), "
            f"time {summary['seconds']:.0f} s, peak memory {summary['peak_memory_bytes'] / 2**20:,.0f} MiB",
        ]
    )
