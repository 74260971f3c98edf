"""What two runs differ in: arguments, data, code, machine, results, where their trainings part.

And by how much one is better on the same clips: clips that are hard for both runs cancel in the paired
difference, so it tells two methods apart where the runs' own intervals overlap.
"""

import difflib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ipet.checkpoint import read_json, tell
from ipet.differences import paired_of, shared
from ipet.list_digests import VERSION, is_current
from ipet.passport import ADAPTERS, passport_of, read_passport
from ipet.printable import escaped
from ipet.report import DAMAGE, find_runs, read_run, told
from ipet.summary import TITLES, cell_order, summarise

PLACES = {  # arguments that only say where things lie; the lists' content has a hash of its own
    *("name", "tags", "project", "resume", "path_run"),
    *("path_data", "path_list", "path_trial", "path_noise_list"),
}
GIVEN_OR_NOT = {"path_cache", "path_musan", "path_rir"}  # these say whether something is done, too
TIMES = {"seconds"}  # of a row of metrics.jsonl
MOST_LINES = 12  # of a changed source file that are shown

Pair = tuple[object, object]  # a value of A, of B


@dataclass(frozen=True)
class Side:
    """One of the two runs.

    Args:
        path: as it was given.
        passport: what it says, or would say of the folder.
        folder: of the run, where there is one.
    """

    path: Path
    passport: dict
    folder: Path | None

    @property
    def results(self) -> dict:
        """Metric, protocols and files of the finished cells."""
        return self.passport["results"]

    @property
    def cells(self) -> dict[str, dict]:
        """What the finished cells' files hash to."""
        return self.results["cells"]

    @property
    def last_start(self) -> dict:
        """The environment of the last start."""
        return self.passport["starts"][-1] if self.passport["starts"] else {}


def compare(a: Path, b: Path, json_file: str | None = None) -> int:
    """Print what two runs differ in; returns the exit status.

    Args:
        a, b: each a run's folder or a ``passport.json``.
        json_file: also write everything there as JSON; ``-``: print that instead.

    Returns:
        0; or 1 where a damaged or missing file was left out; its name is printed.

    Raises:
        FileNotFoundError: there is no run.
        ValueError: a run is damaged as a whole.
    """
    errors: list[str] = []
    sides = read_side(a, errors), read_side(b, errors)
    found = differences(*sides, errors)
    tell(found, as_text(found), json_file)
    for error in dict.fromkeys(errors):
        print(f"error: {error}", file=sys.stderr)
    return 1 if errors else 0


# Reading ------------------------------------------------------------------------------------------


def read_side(path: Path, errors: list[str]) -> Side:
    """A run by its folder or its passport; a damaged result is left to ``errors``.

    Raises:
        FileNotFoundError: neither is there.
        ValueError: the run is damaged, or several lie below the folder.
    """
    path = Path(path).expanduser()
    if path.is_file():
        beside = path.resolve().parent
        return Side(path, read_passport(path), beside if (beside / "arguments.json").is_file() else None)
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such run; expected a run's folder or a passport.json")
    folders = find_runs(path)
    if len(folders) > 1:
        raise ValueError(f"{path}: {len(folders)} runs lie below; expected the folder of one")
    [folder] = folders
    try:
        run = read_run(folder, errors)
        starts = folder / "environment.json"
        protocol = next(iter(run.arguments.get("protocol") or ["last"]))
        summary = summarise(run.results, protocol) if run.results else None
        started = read_json(starts) if starts.is_file() else []
        return Side(path, passport_of(folder, run.arguments, started, run.results, summary), folder)
    except DAMAGE as error:
        raise ValueError(told(folder, error).removesuffix("; left out")) from None


def read_rows(path: Path) -> list[dict]:
    """The rows of a ``metrics.jsonl``, without times.

    Raises:
        FileNotFoundError, ValueError: it is missing or damaged; the message names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; where the trainings part is not known")
    rows = []
    for i, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            row = json.loads(line, parse_constant=str)  # NaN, which is no difference to itself
            rows.append({k: v for k, v in row.items() if k not in TIMES})
        except (ValueError, AttributeError):
            raise ValueError(f"{path}: line {i} is no row; where the trainings part is not known") from None
        if "skipped" in rows[-1]:
            rows[-1]["skipped"] = [Path(clip).name for clip in rows[-1]["skipped"]]
    return rows


# The differences ----------------------------------------------------------------------------------


def differences(a: Side, b: Side, errors: list[str]) -> dict:
    """Everything that two runs differ in, as JSON values; a pair is [of A, of B].

    ``same`` says whether all cells of the two are the same ones, bit for bit. What is damaged is left to
    ``errors``.
    """
    one, other = a.passport, b.passport
    protocol = shared_protocol(a, b)
    training = {cell: parting(cell, a, b, errors) for cell in shared(a.cells, b.cells)}
    found = {
        "runs": [str(a.path), str(b.path)],
        "experiment": [one["experiment"], other["experiment"]],
        "arguments": unequal(shown_arguments(one["arguments"]), shown_arguments(other["arguments"])),
        "data": unequal(*data_of(one, other)),
        "lists_sha256": one["lists_sha256"],
        "backbone": unequal(*(backbones(side, training) for side in (a, b))),
        "sources": unequal(one["sources"], other["sources"]),
        "source_lines": {},
        "environment": unequal(flat(a.last_start), flat(b.last_start)),
        "starts": [len(one["starts"]), len(other["starts"])],
        "results": results_of(a, b, protocol),
        "training": training,
        "paired": paired_of(*((side.folder, side.results) for side in (a, b)), protocol, errors),
        "same": bool(training)
        and a.cells.keys() == b.cells.keys()
        and all(cell["same"] for cell in training.values()),
    }
    if a.folder and b.folder:
        found["source_lines"] = {name: changed_lines(name, a, b) for name in found["sources"]}
    return found


def unequal(a: Mapping, b: Mapping) -> dict[str, list]:
    """The entries that differ, by name; what one has not and is off in the other is no difference."""
    names = dict.fromkeys([*a, *b])
    return {n: [a.get(n), b.get(n)] for n in names if a.get(n) != b.get(n) and (a.get(n) or b.get(n))}


def shown_arguments(arguments: Mapping) -> dict:
    """The arguments that numbers may depend on."""
    shown = {name: value for name, value in arguments.items() if name not in PLACES}
    shown |= {name: "given" for name in GIVEN_OR_NOT & shown.keys() if shown[name]}
    if shown.get("more_trials"):
        shown["more_trials"] = [Path(path).name for path in shown["more_trials"]]
    return shown


def data_of(one: Mapping, other: Mapping) -> tuple[dict, dict]:
    """Return, for two passports, the digest of all lists and the hash of every list file.

    Digests of two versions are left out: that they differ says nothing.
    """
    found = [dict(passport["lists"]) for passport in (one, other)]
    digests = [passport["lists_sha256"] for passport in (one, other)]
    if is_current(digests[0]) == is_current(digests[1]) or None in digests:
        found = [{"lists_sha256": digest, **files} for digest, files in zip(digests, found)]
    return found[0], found[1]


def backbones(side: Side, cells: Iterable[str]) -> dict:
    """The frozen weights: their name and SHA-256; of random ones, each cell's."""
    backbone = side.passport["backbone"]
    if backbone.get("sha256") is None:
        return {**backbone, **{cell: side.cells[cell].get("backbone_sha256") for cell in cells}}
    return dict(backbone)


def flat(start: Mapping, prefix: str = "") -> dict:
    """A start's environment as one level of names, such as ``packages.torch``."""
    found = {}
    for name, value in start.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        elif prefix or name not in ("started", "command", "lists"):
            found[prefix + name] = value
    return found


def changed_lines(name: str, a: Side, b: Side) -> list[str]:
    """The lines of a source file that one of the two has alone, the first ones."""
    texts = []
    for side in (a, b):
        path = side.folder / "sources" / name
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        texts.append(lines)
    lines = list(difflib.unified_diff(*texts, n=0, lineterm=""))[2:]
    lines = [line for line in lines if not line.startswith("@@")]
    more = [f"... {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
    return [*lines[:MOST_LINES], *more]


def shared_protocol(a: Side, b: Side) -> str | None:
    """The protocol that the results are compared under: A's, or B's where B has not A's."""
    if a.results["metric"] is None or a.results["metric"] != b.results["metric"]:
        return None
    both = [name for name in a.results["protocols"] if name in b.results["protocols"]]
    wanted = [a.results["protocol"], b.results["protocol"], *both]
    return next((name for name in wanted if name in both), None)


def results_of(a: Side, b: Side, protocol: str | None) -> dict:
    """The metric of every cell that both have, and the cells that one has alone."""
    values = [side.results["protocols"].get(protocol, {}) for side in (a, b)]
    return {
        "metric": [a.results["metric"], b.results["metric"]],
        "reported": [a.results["protocol"], b.results["protocol"]],
        "protocol": protocol,
        "cells": {cell: [values[0][cell], values[1][cell]] for cell in shared(*values)},
        "alone": [
            sorted(a.cells.keys() - b.cells.keys(), key=cell_order),
            sorted(b.cells.keys() - a.cells.keys(), key=cell_order),
        ],
    }


def parting(cell: str, a: Side, b: Side, errors: list[str]) -> dict:
    """Where the trainings of a cell part, and whether what they left is the same bit for bit.

    Returns:
        ``files``: whether each file is the same, None where one has it not; ``first``: the first row
        that differs, as the differing values' pairs; ``rows``: how many each has, or None; ``same``: the
        rows but for times, the adapters and the predictions.
    """
    one, other = (side.cells[cell]["sha256"] for side in (a, b))
    names = ("metrics.jsonl", *ADAPTERS, "predictions.npz")
    files = {name: one[name] == other[name] if one.get(name) and other.get(name) else None for name in names}
    first, num_rows, rows_same = None, None, files["metrics.jsonl"]
    if a.folder and b.folder:
        try:
            rows = [read_rows(side.folder / cell / "metrics.jsonl") for side in (a, b)]
            num_rows, first = [len(part) for part in rows], first_difference(*rows)
            rows_same = first is None and num_rows[0] == num_rows[1]
        except (OSError, ValueError) as error:
            errors.append(str(error))
    kept = [files[name] for name in names if name != "metrics.jsonl"]
    return {"same": rows_same is True and all(kept), "files": files, "rows": num_rows, "first": first}


def first_difference(a: Sequence[Mapping], b: Sequence[Mapping]) -> dict | None:
    """The first pair of rows that differ: its kind, epoch and step, and the values that do."""
    for one, other in zip(a, b):
        if one != other:
            place = {name: one.get(name) for name in ("kind", "epoch", "step")}
            return {**place, "values": unequal(one, other)}
    return None


# As text ------------------------------------------------------------------------------------------


def as_text(found: Mapping) -> str:
    """The differences as a reader's lines."""
    lines = [f"A  {found['runs'][0]}", f"B  {found['runs'][1]}", ""]
    one, other = found["experiment"]
    lines += section("experiment", one if one == other else "", {} if one == other else {"": [one, other]})
    lines += section("arguments", "the same", found["arguments"])
    lists = short(found["lists_sha256"])
    lines += section("data", f"the same, lists {lists}" if found["lists_sha256"] else "-", found["data"])
    lines += section("backbone", "the same", found["backbone"])
    lines += section("sources", "the same", found["sources"])
    for name, changed in found["source_lines"].items():
        lines += [f"    {name}: {line}" for line in changed]
    lines += section("environment", "the same", found["environment"])
    if found["starts"] != [1, 1]:
        lines.append(f"  starts: {' | '.join(map(str, found['starts']))}; the last ones are compared")
    lines += results_lines(found["results"])
    lines += ["training"] if found["training"] else []
    lines += [line for cell, part in found["training"].items() for line in training_lines(cell, part)]
    # Of a stranger's run, too: a passport's values, a source's lines.
    return "\n".join(map(escaped, [*lines, *paired_lines(found["paired"])]))


def section(title: str, same: str, pairs: Mapping[str, Sequence]) -> list[str]:
    """``title  the same``, or a line for each pair that differs, A | B."""
    if not pairs:
        return [f"{title:<12} {same}"]
    width = max(map(len, pairs))
    return [
        f"{title:<12} A | B",
        *(f"  {n:<{width}}  {short(one)} | {short(other)}" for n, (one, other) in pairs.items()),
    ]


def short(value) -> str:
    """A value in a line: a dash for none, the beginning of a hash."""
    if isinstance(value, str):
        digits = value.removeprefix(VERSION)
        hexadecimal = len(digits) >= 40 and not set(digits) - set("0123456789abcdef")
        return digits[:12] if hexadecimal else value
    if isinstance(value, list):
        return " ".join(map(short, value)) or "-"
    if isinstance(value, float):
        return f"{value:.9g}"  # tells two different float32 apart
    return "-" if value is None else str(value)


def results_lines(results: Mapping) -> list[str]:
    """The metric of every shared cell, A and B, and their mean."""
    if results["protocol"] is None:
        one, other = results["metric"]
        unlike = one != other and one and other
        why = f"{one} | {other}: other metrics" if unlike else "no finished cell in common"
        return [f"{'results':<12} {why}"]
    cells, metric = results["cells"], results["metric"][0]
    lines = [f"{'results':<12} {metric} (%), {title_of(results['protocol'])}: A | B | A - B"]
    if results["reported"][0] != results["reported"][1]:
        lines.append(f"  reported: {' | '.join(map(title_of, results['reported']))}")
    rows = dict(cells)
    if len(cells) > 1:
        rows["mean"] = [float(np.mean([pair[i] for pair in cells.values()])) for i in (0, 1)]
    width = max(map(len, rows), default=0)
    for name, (one, other) in rows.items():
        equal = "the same" if one == other else f"{100 * (one - other):+.2f}"
        lines.append(f"  {name:<{width}}  {100 * one:.2f} | {100 * other:.2f} | {equal}")
    for letter, alone in zip("AB", results["alone"]):
        if alone:
            lines.append(f"  in {letter} alone: {', '.join(alone)}")
    return lines


def title_of(protocol: str | None) -> str:
    """A protocol's title without the number of its note."""
    return TITLES[protocol].partition(" [")[0] if protocol in TITLES else "-"


def training_lines(cell: str, part: Mapping) -> list[str]:
    """Where the trainings of a cell part."""
    title = f"  {cell}  "
    if part["same"]:
        rows = f"{part['rows'][0]} rows of metrics.jsonl" if part["rows"] else "metrics.jsonl"
        return [f"{title}bit for bit the same: {rows}, both adapters, predictions"]
    first, rows = part["first"], part["rows"]
    if first:
        where = f"epoch {first['epoch']}" + f", step {first['step']}" * (first["kind"] == "step")
        values = ", ".join(f"{n} {short(x)} | {short(y)}" for n, (x, y) in first["values"].items())
        said = f"part at {where}: {values}"
    elif rows and rows[0] != rows[1]:
        said = f"the rows of metrics.jsonl are the same as far as both go; there are {rows[0]} | {rows[1]}"
    elif rows:
        said = f"all {rows[0]} rows of metrics.jsonl are the same"
    else:
        said = f"metrics.jsonl {state(part['files']['metrics.jsonl'])}"
    others = [f"{n} {state(same)}" for n, same in part["files"].items() if n != "metrics.jsonl"]
    return [title + said, f"    {', '.join(others)}"]


def state(same: bool | None) -> str:
    """``the same``, ``differs``, or that one has it not."""
    return {True: "the same", False: "differs", None: "is not there"}[same]


def paired_lines(paired: Mapping) -> list[str]:
    """Return the lines of the difference, paired or not, and what its interval is of."""
    if "none" in paired:
        return [f"{'paired':<12} no difference on the same clips: {paired['none']}"]
    difference, low, high = (f"{100 * paired[name]:+.2f}" for name in ("difference", "low", "high"))
    items = sorted(set(paired["items"].values()))
    what, better = ("trials", "lower") if paired["metric"] == "EER" else ("clips", "higher")
    sizes = f"{items[0]:,}" if len(items) == 1 else f"{items[0]:,} to {items[-1]:,}"
    over = "speakers of the " * (paired["resampled"] == "speakers")
    title = "paired" if paired["paired"] else "unpaired"
    cells = f"  bootstrap over the {over}{sizes} {what} of each of the {len(paired['cells'])} shared cells"
    lines = [
        f"{title:<12} {paired['metric']}, {title_of(paired['of'])}: A - B = {difference} percentage "
        f"points, 95 % {low} to {high}; {better} is better",
    ]
    if paired["paired"]:
        lines.append(f"{cells}, the same ones for both runs; other seeds are not in it")
    else:
        lines += [f"  {paired['why']}", f"{cells}, for each run by itself; other seeds are not in it"]
    if paired["left_out"]:
        lines.append(f"  left out, evaluated on other {what}: {', '.join(paired['left_out'])}")
    return lines
