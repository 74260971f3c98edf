"""The training loss after every epoch of a run, also of those that were not evaluated."""

import json
from collections.abc import Mapping
from pathlib import Path

from ipet.results import is_count, is_number

Curve = list[tuple[int, float]]  # epoch, loss


def loss_curves(folder: Path, results: Mapping[str, Mapping]) -> dict[str, Curve]:
    """Return the training loss of every cell over the epochs.

    The rows of ``metrics.jsonl`` hold every epoch; a result's history, which is used where they are missing,
    holds the evaluated ones.

    Args:
        folder: Folder of the run.
        results: Results of its cells, by name.
    """
    curves = {}
    for cell, result in results.items():
        losses = {row["epoch"]: row["train_loss"] for row in result["history"] if "train_loss" in row}
        losses |= logged_losses(folder / cell / "metrics.jsonl")
        curves[cell] = sorted(losses.items())
    return curves


def logged_losses(path: Path) -> dict[int, float]:
    """Return the training loss of each epoch in a ``metrics.jsonl``; what is no such row is passed over."""
    losses: dict[int, float] = {}
    if not path.is_file():
        return losses
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if '"epoch"' not in line or '"train_loss"' not in line:  # most rows are of steps
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and is_count(row.get("epoch"), 1) and is_number(row.get("train_loss")):
                losses[row["epoch"]] = row["train_loss"]
    return losses
