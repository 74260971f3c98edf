"""A run made again from its passport, and whether it came out the same, bit for bit."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from ipet.checkpoint import write_json
from ipet.compare import as_text, differences, flat, read_side, short, unequal
from ipet.devices import best_device
from ipet.experiment import apart, run_folder, settings_of, stop
from ipet.logbook import environment
from ipet.parsing import list_folder
from ipet.passport import hashes, list_files, plain, read_passport
from ipet.printable import escaped
from ipet.summary import planned_cells
from ipet.warm_start import source_sha256

OWN = {"name", "path_run", "resume"}  # of the new run; not taken from a passport
COMMAS = {"logger", "usable_gpu"}  # flags of one word; other lists are several
# What main.py derives from other flags where it is not given, in the order in which it does.
DERIVED = ("method", "lr", "pretrained", "path_data", "path_trial", "tags")
BY_AUTHORS = ("adapter_init", "adapter_residual")  # -authors True sets them where they are not given
TOLD = ("python", "packages.", "ipet_sha256", "hardware.cpu", "hardware.gpus")  # of an environment


def rerun(
    path: Path,
    experiments: Mapping[str, Path],
    path_run: Path | None,
    name: str | None,
    further: Sequence[str],
    json_file: Path | None = None,
) -> int:
    """Train and evaluate again what a passport tells of, and compare the two; returns the exit status.

    A passport may come from elsewhere: of it, only the name of an experiment of this repository and values
    of that experiment's own flags are used. It does not choose a folder that is written into.

    Args:
        path: the ``passport.json``, or the folder of its run.
        experiments: the folders of those that may be run, by name.
        path_run: where runs are written; None: where the passport's run lies, or else main.py's own.
        name: of the new run; None: the run's with ``_again``.
        further: flags of main.py that replace the passport's.
        json_file: where to write what differs.

    Returns:
        0 where every cell is the same, bit for bit; 1 where one is not, or main.py failed; 130 where this
        process was asked to end.

    Raises:
        FileNotFoundError, ValueError: there is no such passport, it is damaged, or main.py would refuse it.
    """
    path = Path(path).expanduser()
    path = path / "passport.json" if path.is_dir() else path
    passport = read_passport(path)
    if not passport["results"]["cells"]:
        raise ValueError(f"{path}: no cell of this run is finished; there is nothing to compare with")
    if passport["experiment"] not in experiments:
        known = ", ".join(experiments)
        raise ValueError(f"{path}: experiment {passport['experiment']!r} is none of this repository: {known}")
    experiment = experiments[passport["experiment"]]
    arguments = passport["arguments"] | lists_of(path, passport["arguments"], further)
    check_cache(path, arguments.get("path_cache"), further)

    resolve = partial(resolved, path, experiment)
    flags = flags_of(arguments, resolve, path)
    own = [f"-name={name or str(arguments.get('name')) + '_again'}"]
    place = path_run or runs_folder(path, arguments, experiment.name)
    own += [f"-path_run={place}"] if place else []
    resolve([*flags, *own])  # what is wrong from here on is wrong in ``further``
    settings = settings_of(experiment, [*flags, *further, *own])
    folder = run_folder(settings, experiment.name)
    # main.py runs in the experiment's folder: paths that are relative to this one are resolved by now.
    own = [f"-{key}={settings[key]}" for key in sorted(OWN)]
    command = [sys.executable, "-u", "main.py", *flags_of(json_values(settings), resolve, path), *own]
    for note in notes(passport, experiment, settings):
        print(f"note: {escaped(note)}", flush=True)
    print(f"{experiment.name}: {path} again, in {folder}", flush=True)
    try:
        status = run(command, experiment, passport["starts"])
    except KeyboardInterrupt:  # and main.py has saved what it did
        print("error: interrupted; the same command goes on with -- -resume", file=sys.stderr)
        return 130
    if status:
        print(f"error: main.py ended with exit status {status}; nothing was compared", file=sys.stderr)
        return 1
    return outcome(path, folder, passport["results"]["cells"], json_file)


def resolved(path: Path, experiment: Path, flags: Sequence[str]) -> dict:
    """What an experiment makes of the flags that a passport's arguments became.

    Raises:
        ValueError: it does not take them; the message names the passport, and says why.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return settings_of(experiment, flags)
    except SystemExit:
        reason = said.getvalue().strip().removeprefix("error: ").removesuffix(" (-h lists the flags)")
        raise ValueError(f"{path}: {experiment.name} does not take its arguments: {reason}") from None


def lists_of(path: Path, arguments: Mapping, further: Sequence[str]) -> dict[str, str]:
    """The folder of the lists, which an experiment may read its defaults from: the passport's or a given one.

    Raises:
        ValueError: it is not there.
    """
    folder = list_folder(further, Path(str(arguments.get("path_list")))).resolve()
    if not folder.is_dir():
        raise ValueError(
            f"{path}: the run's lists, {folder}, are not there; where they lie here goes behind --: "
            "-- -path_list DIR -path_data DIR"
        )
    return {"path_list": str(folder)}


def check_cache(path: Path, cache, further: Sequence[str]) -> None:
    """Raise ValueError where a passport, and nobody here, says into which folder recordings are decoded.

    Args:
        path: of the passport.
        cache: what its arguments say of ``-path_cache``.
        further: the flags that replace the passport's.
    """
    given = any(word.partition("=")[0] == "-path_cache" for word in further)
    if cache is not None and not given and not any(Path(str(cache)).glob("ipet_*.index")):
        raise ValueError(
            f"{path}: the run kept decoded recordings in {cache}, which is no such folder here; where "
            "they may be written goes behind --: -- -path_cache DIR"
        )


def runs_folder(path: Path, arguments: Mapping, experiment: str) -> Path | None:
    """Return the ``-path_run`` below which a passport lies in its own run; None where it lies elsewhere."""
    folder = path.resolve().parent
    keys = ("project", "tags", "name")
    if not all(isinstance(arguments.get(key), str) for key in keys):
        return None
    end = run_folder({"path_run": "", **{key: arguments[key] for key in keys}}, experiment).parts
    return folder.parents[len(end) - 1] if folder.parts[-len(end) :] == end else None


def json_values(settings: Mapping) -> dict:
    """Settings as a passport's arguments hold them."""
    return {key: plain(value) for key, value in settings.items()}


def flags_of(arguments: Mapping, resolve: Callable[[Sequence[str]], Mapping], path: Path) -> list[str]:
    """The flags of main.py that resolve to these arguments; those that are defaults are left out.

    Args:
        arguments: as ``arguments.json`` holds them; the run's name and place are left out.
        resolve: flags -> what main.py makes of them, by name.
        path: what an error names.

    Raises:
        ValueError: an argument is no flag, or main.py would make something else of it.
    """
    place = spell("path_list", arguments.get("path_list"))  # some experiments take defaults from there
    defaults = json_values(resolve(place))
    wanted = {key: value for key, value in arguments.items() if key not in OWN}
    unknown = [key for key in wanted if key not in defaults and wanted[key]]  # off: of another version
    if unknown:
        raise ValueError(f"{path}: argument {unknown[0]!r} is no flag of its experiment")
    wanted = {key: value for key, value in wanted.items() if key in defaults}
    if not wanted.get("fold"):
        wanted.pop("protocol", None)  # no choice where there are no folds
    given = [key for key, value in wanted.items() if key not in DERIVED and value != defaults[key]]
    given += [key for key in BY_AUTHORS if wanted.get("authors") and key in wanted and key not in given]
    if wanted.get("model_type") == "auto" and "pretrained" in wanted:
        given.append("pretrained")  # whose config.json has the type
    flags = place + [word for key in given for word in spell(key, wanted[key])]
    for key in DERIVED:
        if key in wanted and json_values(resolve(flags))[key] != wanted[key]:
            flags += spell(key, wanted[key])
    other = unequal(
        wanted, {key: value for key, value in json_values(resolve(flags)).items() if key in wanted}
    )
    if other:
        key, (was, now) = next(iter(other.items()))
        raise ValueError(f"{path}: -{key} was {was!r}; this version makes {now!r} of the run's arguments")
    return flags


def spell(name: str, value) -> list[str]:
    """A flag with its value, as main.py reads it; nothing for None, which is what is not given."""
    if value is None:
        return []
    if isinstance(value, list) and name not in COMMAS:
        return [f"-{name}", *map(str, value)]
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return [f"-{name}={text}"]  # in one word, so that -1e-05 is a value and no flag


def notes(passport: Mapping, experiment: Path, settings: Mapping) -> list[str]:
    """What may make the numbers other ones, or the run another one, before it begins."""
    found, start = [], passport["starts"][-1] if passport["starts"] else {}
    was, now = flat(start), flat(environment(experiment))
    now |= {
        "device": best_device(),
        "processes": settings["nproc"] or max(1, torch.cuda.device_count()),
    }
    was["device"] = str(was.get("device")).partition(":")[0]
    for extension in (begun.get("extension") for begun in passport["starts"]):
        if isinstance(extension, Mapping) and extension.get("schedule") == "cosine":
            found.append(
                f"the run was continued from {extension.get('from_epoch')} to {extension.get('to_epoch')} "
                "epochs with a cosine schedule; one training of all epochs has other learning rates"
            )
    for name in [name for name in now if name.startswith((*TOLD, "device", "processes"))]:
        if name in was and was[name] != now[name]:
            found.append(f"{name} was {short(was[name])} and is {short(now[name])}")
    sources = hashes({path.name: path for path in experiment.glob("*.py")})
    found += [f"{experiment.name}/{name} has changed" for name in unequal(passport["sources"], sources)]
    cells = planned_cells(settings["rand_seed"], settings["fold"], settings["protocol"])
    lists = hashes(list_files(json_values(settings), cells))
    for name in passport["lists"]:
        if lists.get(name) != passport["lists"][name]:
            found.append(f"list {name} {'is another' if name in lists else 'is not there'}")
    begun_from = passport.get("init_adapter")
    if isinstance(begun_from, Mapping) and settings.get("init_adapter") is not None:
        with contextlib.suppress(OSError, ValueError):  # main.py says what is wrong with it
            if source_sha256(settings["init_adapter"]) != begun_from.get("sha256"):
                found.append(f"-init_adapter {settings['init_adapter']} is another adapter than it was")
    more = [cell for cell in cells if cell not in passport["results"]["cells"]]
    if more:
        found.append(f"not finished in the run, trained now all the same: {', '.join(more)}")
    return found


def run(command: Sequence[str], experiment: Path, starts: Sequence[Mapping]) -> int:
    """Run main.py to its end, with as many threads as it had; its exit status.

    Raises:
        KeyboardInterrupt: this process was asked to end; main.py was asked to save, and has ended.
    """
    threads = starts[-1].get("threads") if starts else None
    threads = {"OMP_NUM_THREADS": str(threads)} if isinstance(threads, int) and 0 < threads < 1024 else {}
    process = subprocess.Popen(
        command,
        cwd=experiment,
        env={**threads, **os.environ},  # sums in another order are other sums
        stdin=subprocess.DEVNULL,
        **apart(),
    )
    try:
        return process.wait()
    finally:
        stop(process)


def outcome(path: Path, folder: Path, cells: Mapping, json_file: Path | None = None) -> int:
    """Compare a passport with the new run; 0 where every cell of the passport came out the same, else 1."""
    errors: list[str] = []
    found = differences(read_side(path, errors), read_side(folder, errors), errors)
    print(f"\n{as_text(found)}\n")
    for error in dict.fromkeys(errors):
        print(f"error: {error}", file=sys.stderr)
    training = found["training"]
    other = [cell for cell in cells if cell not in training or not training[cell]["same"]]
    if json_file is not None:
        write_json(json_file, {**found, "errors": errors, "not_the_same": other})
    if other:
        print(f"not the same: {len(other)} of {len(cells)} cells: {', '.join(other)}")
        return 1
    print(f"bit for bit the same: {len(cells)} of {len(cells)} cells")
    return 0
