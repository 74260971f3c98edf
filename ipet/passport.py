"""passport.json: what a run was made from and what came out, in one file that can be handed on.

It holds no more than the run's folder does, as hashes where the folder holds files: arguments, lists,
versions, hardware, and each cell's metrics. ``python3 -m ipet rerun`` makes the run again from it.
"""

from collections.abc import Mapping
from pathlib import Path

from ipet.checkpoint import file_sha256, read_json, write_json
from ipet.description import FORMER_WEIGHTS, WEIGHTS
from ipet.folds import next_fold
from ipet.list_files import FLAGS, list_file
from ipet.saved import files_of
from ipet.summary import cell_order
from ipet.warm_start import RECORD

SCHEMA = 1
APART = ("experiment", "cells", "lists_sha256", "init_adapter_sha256")  # of arguments.json, no flags
RESULT = "result.json"
ADAPTERS = (f"last/{WEIGHTS}", f"best/{WEIGHTS}")
FORMER = dict(zip((f"last/{FORMER_WEIGHTS}", f"best/{FORMER_WEIGHTS}"), ADAPTERS))  # of schema 1
FILES = (RESULT, "metrics.jsonl", *ADAPTERS, "predictions.npz")  # of a cell
NOISES = ("musan/music.json", "musan/noise.json", "musan/speech.json", "rirs/simulated.json")
KINDS = {  # of a passport's entries, by name
    "experiment": str,
    "arguments": dict,
    "seeds": list,
    "cells": list,
    "lists_sha256": str | None,
    "lists": dict,
    "backbone": dict,
    "sources": dict,
    "git": str | None,
    "starts": list,
    "results": dict,
}


def write_passport(folder: str | Path, results: Mapping[str, Mapping], summary: Mapping) -> None:
    """Write a run's ``passport.json``, atomically.

    Args:
        folder: of the run; it holds ``arguments.json`` and ``environment.json``.
        results, summary: of its finished cells, see ``passport_of``.
    """
    folder = Path(folder)
    path = folder / "passport.json"
    try:
        before = read_passport(path)
    except (ValueError, OSError):  # none yet, or none of this version
        before = None
    arguments, starts = read_json(folder / "arguments.json"), read_json(folder / "environment.json")
    write_json(path, passport_of(folder, arguments, starts, results, summary, before))


def passport_of(
    folder: str | Path,
    arguments: Mapping,
    starts: list[Mapping],
    results: Mapping[str, Mapping],
    summary: Mapping | None,
    before: Mapping | None = None,
) -> dict:
    """A run's passport, as JSON values.

    Args:
        folder: of the run, whose files are hashed.
        arguments: ``arguments.json``.
        starts: ``environment.json``.
        results: of the finished cells, by name.
        summary: of ``results``; None where there are none.
        before: an earlier passport; what it says of a cell whose result has not changed is taken from it.
    """
    folder, last = Path(folder), starts[-1] if starts else {}
    known = before["results"]["cells"] if before else {}
    cells = {cell: cell_files(folder / cell, known.get(cell)) for cell in results}
    backbones = {files["backbone_sha256"] for files in cells.values()}
    return {
        "schema": SCHEMA,
        "experiment": arguments.get("experiment", "unknown"),
        "arguments": {k: v for k, v in arguments.items() if k not in APART},
        "seeds": list(arguments.get("rand_seed") or []),
        "cells": sorted({*arguments.get("cells", []), *results}, key=cell_order),
        "lists_sha256": arguments.get("lists_sha256"),
        "lists": last.get("lists", {}),
        "backbone": {
            "pretrained": arguments.get("pretrained"),
            "sha256": backbones.pop() if len(backbones) == 1 else None,  # random ones are a cell's own
        },
        **began_from(folder, arguments),
        "sources": hashes({path.name: path for path in sorted((folder / "sources").glob("*.py"))}),
        "git": last.get("git"),
        # The command may name folders of this machine; the arguments say the same.
        "starts": [{k: v for k, v in start.items() if k not in ("command", "lists")} for start in starts],
        "results": {
            "metric": summary["metric"] if summary else None,
            "protocol": summary["protocol"] if summary else None,
            "protocols": {name: dict(p["values"]) for name, p in summary["protocols"].items()}
            if summary
            else {},
            "cells": cells,
        },
    }


def began_from(folder: Path, arguments: Mapping) -> dict:
    """Return ``init_adapter``, the adapter that a run began from and its classes; nothing without one."""
    if arguments.get("init_adapter_sha256") is None:
        return {}
    path = folder / RECORD
    record = read_json(path) if path.is_file() else {}
    return {"init_adapter": {"sha256": arguments["init_adapter_sha256"], **record}}


def cell_files(folder: Path, known: Mapping | None = None) -> dict:
    """The SHA-256 of a finished cell's files, None of one that is not there, and its backbone's.

    Args:
        known: what was found earlier; it holds as long as ``result.json``, written last, is the same.
    """
    result = hashes({RESULT: folder / RESULT}).get(RESULT)
    if known and known.get("sha256", {}).get(RESULT) == result:
        return dict(known)
    adapters = {name: files_of((folder / name).parent)[1] for name in ADAPTERS}
    found = hashes({name: folder / name for name in FILES} | adapters)
    config, _ = files_of(folder / "last")
    description = read_json(config) if config.is_file() else {}
    return {
        "sha256": {name: found.get(name) for name in FILES},
        "backbone_sha256": description.get("backbone", {}).get("sha256"),
    }


def hashes(files: Mapping[str, Path]) -> dict[str, str]:
    """The SHA-256 of every file that is there, by its name."""
    return {name: file_sha256(path) for name, path in files.items() if path.is_file()}


def list_files(arguments: Mapping, cells: list[str]) -> dict[str, Path]:
    """The lists that a run reads, by a name without the machine's folders.

    Args:
        arguments: as ``arguments.json`` holds them.
        cells: the run's, by name.
    """
    folder = Path(arguments["path_list"])
    folds = sorted({cell_order(cell)[1] for cell in cells})
    given = {flag: Path(arguments[flag]) for flag in FLAGS.values() if arguments.get(flag)}
    names = ["labels.csv"]
    if folds == [0]:
        names += ["train.json", "valid.json", "test.json"]
    else:
        nested = any(cell_order(cell)[2] for cell in cells)
        names += [f"train_{k}.json" for k in folds]
        held_out = [next_fold(folder, k, arguments["fold"], given) for k in folds] if nested else []
        names += [f"eval_{k}.json" for k in sorted({*folds, *held_out})]
    files = {name: list_file(folder, name, given, arguments.get("fold") or 0) for name in names}
    trials = [arguments.get("path_trial"), *(arguments.get("more_trials") or [])]
    files |= {Path(path).name: Path(path) for path in trials if path}
    if arguments.get("add_musan_rir"):
        files |= {name: Path(arguments["path_noise_list"]) / name for name in NOISES}
    return files


def read_passport(path: str | Path) -> dict:
    """Read and check a ``passport.json``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no passport, or of another version; the message names what is wrong.
    """
    passport = read_json(path)
    if not isinstance(passport, dict) or "schema" not in passport:
        raise ValueError(f"{path}: no passport; expected the passport.json of a run's folder")
    if passport["schema"] != SCHEMA:
        raise ValueError(f"{path}: schema {passport['schema']!r}; this version reads {SCHEMA}")
    for name, kind in KINDS.items():
        if name not in passport or not isinstance(passport[name], kind):
            found = type(passport[name]).__name__ if name in passport else "nothing"
            raise ValueError(f"{path}: damaged: {name!r} is {found}; expected {kind_name(kind)}")
    try:
        for cell in passport["cells"]:
            cell_order(cell)
        for name in passport["sources"]:
            if Path(name).name != name:  # compare reads the file of that name in a run's folder
                raise ValueError(f"{name!r} is no source's name")
        results = passport["results"]
        for values in results["protocols"].values():
            for cell, value in values.items():
                cell_order(cell), float(value)
        for cell, files in results["cells"].items():
            cell_order(cell)
            files["sha256"] = {FORMER.get(name, name): digest for name, digest in files["sha256"].items()}
        [{**start} for start in passport["starts"]]
        for name in ("metric", "protocol"):
            if not isinstance(results[name], str | None):
                raise TypeError(f"{name} is {type(results[name]).__name__}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: damaged ({type(error).__name__}: {error})") from None
    return passport


def plain(value):
    """An argument as a JSON value."""
    if isinstance(value, Path):
        return str(value)
    return [plain(part) for part in value] if isinstance(value, tuple) else value


def kind_name(kind) -> str:
    """``dict`` -> ``dict``, ``str | None`` -> ``str | None``."""
    return getattr(kind, "__name__", str(kind))
