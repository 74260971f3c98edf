"""What ``inspect`` found, as a reader's tables, as CSV and as plots."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from ipet.plots import plot_by_layer
from ipet.printable import escaped

COLUMNS = {  # of the first table: title, and how a layer's value is shown
    "attention": ("on prompts", lambda v: f"{100 * v:.2f} %"),
    "uniform": ("uniform", lambda v: f"{100 * v:.2f} %"),
    "heads": ("heads", lambda v: f"{100 * min(v):.2f} - {100 * max(v):.2f} %"),
    "prompt_norm": ("|P|", lambda v: f"{v:.2f}"),
    "token_norm": ("|x|", lambda v: f"{v:.2f}"),
    "adapter_to_ffn": ("|sA|/|FFN|", lambda v: f"{v:.3f}"),
    "adapter_to_state": ("|sA|/|u|", lambda v: f"{v:.3f}"),
    "units_ever": ("units", lambda v: f"{100 * v:.0f} %"),
    "units_active": ("active", lambda v: f"{100 * v:.0f} %"),
    "cka": ("CKA", lambda v: f"{v:.3f}"),
}
CHANGES = ("value", "change", "low", "high", "loss", "loss_change", "loss_low", "loss_high")


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as lines, the first column to the left."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [
        "  ".join(
            f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]


def as_text(found: Mapping) -> str:
    """The two tables: what each layer's parts do, and what it costs to be without them."""
    trials = f"{found['trials']:,} trials of " if found["trials"] else ""
    loss = "" if found["loss"] is None else f", loss {found['loss']:.4f}"
    lines = [
        f"{escaped(found['adapter'])}: {found['method']}, {trials}{found['clips']:,} clips of "
        f"{escaped(found['list'])}",
        f"{found['metric']} {100 * found['value']:.2f} %{loss}",
        "",
    ]
    shown = {n: c for n, c in COLUMNS.items() if any(row.get(n) is not None for row in found["layers"])}
    table = [["layer", *(title for title, _ in shown.values())]]
    for row in found["layers"]:
        cells = ["-" if row.get(n) is None else form(row[n]) for n, (_, form) in shown.items()]
        table.append([str(row["layer"]), *cells])
    lines += [*aligned(table), ""]
    better = "higher" if found["higher_is_better"] else "lower"
    table = [["without", f"{found['metric']} ({better} is better)", "points (95 %)", "loss", "change (95 %)"]]
    for row in [*found["layers"], found["all"]]:
        place = f"layer {row['layer']}" if "layer" in row else "all"
        table += [[f"{place}: {name}", *changed_cells(c)] for name, c in row["without"].items()]
    if len(table) > 1:
        lines += aligned(table if found["loss"] is not None else [row[:3] for row in table])
    return "\n".join(lines + ([found["note"]] if found["note"] else []))


def changed_cells(c: Mapping) -> list[str]:
    """A change as the cells of its row."""
    cells = [
        f"{100 * c['value']:.2f} %",
        f"{100 * c['change']:+.2f} ({100 * c['low']:+.2f} to {100 * c['high']:+.2f})",
    ]
    if "loss" in c:
        cells.append(f"{c['loss']:.4f}")
        cells.append(f"{c['loss_change']:+.4f} ({c['loss_low']:+.4f} to {c['loss_high']:+.4f})")
    return cells


def as_csv(found: Mapping) -> str:
    """A row a layer, and one of all; shares and the metric from 0 to 1, empty what there is not."""
    names = list(dict.fromkeys(n for row in [*found["layers"], found["all"]] for n in row["without"]))
    plain = ["layer", "prompts", *(name for name in COLUMNS if name != "heads")]
    columns = [*plain, *(f"{name}_{column}" for name in names for column in CHANGES)]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in [*found["layers"], {"layer": "all", **found["all"]}]:
        cells = {name: row[name] for name in plain if row.get(name) is not None}
        cells |= {f"{name}_{column}": v for name, c in row["without"].items() for column, v in c.items()}
        writer.writerow(cells)
    return buffer.getvalue()


def draw(found: Mapping, out: Path) -> None:
    """Draw ``attention.png``, ``adapter.png``, ``without.png`` and ``similarity.png``, those that apply."""
    layers = found["layers"]
    percent = {
        "mean of the heads": [row.get("attention") for row in layers],
        "uniform attention": [row.get("uniform") for row in layers],
    }
    spread = {
        "mean of the heads": [row.get("heads") and (min(row["heads"]), max(row["heads"])) for row in layers]
    }
    ratios = {
        "beside the feed-forward's": [row.get("adapter_to_ffn") for row in layers],
        "beside the layer's state": [row.get("adapter_to_state") for row in layers],
    }
    if any(row.get("attention") is not None for row in layers):
        plot_by_layer(out / "attention.png", percent, "attention on the prompts (%)", spread, factor=100)
    if any(row.get("adapter_to_ffn") is not None for row in layers):
        plot_by_layer(out / "adapter.png", ratios, "norm of the adapter's output")
    plot_by_layer(
        out / "similarity.png", {"": [row["cka"] for row in layers]}, "linear CKA with the frozen network"
    )
    names = list(layers[0]["without"])
    if names:
        changes = {f"without {n}": [row["without"][n]["change"] for row in layers] for n in names}
        bounds = {
            f"without {n}": [(row["without"][n]["low"], row["without"][n]["high"]) for row in layers]
            for n in names
        }
        title = f"change of the {found['metric']} (points)"
        plot_by_layer(out / "without.png", changes, title, bounds, factor=100)
