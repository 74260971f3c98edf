"""The lists that a training starts with, where the folder that it names does not hold all of them yet.

- Shipped lists of Speech Commands and VoxCeleb1 lack their long training lists, which are what remains of
  an unpacked release.
- Published lists hold paths of another machine; a folder of lists with paths on this one is derived.

Light on purpose: no torch.
"""

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from ipet.clip_entries import ListedClip, list_text
from ipet.input_report import InputReport
from ipet.published_lists import (
    Published,
    check_fit,
    check_tables,
    is_published,
    read_labels,
    read_list,
    read_published,
    read_text,
    tables_in,
)
from ipet.recording_search import find_recordings, listing, recordings_below
from ipet.releases import ORIGIN, RELEASES, DataRoot, below, data_root, release_of

FEWEST_FOUND = 0.1  # share of the listed recordings: less is another folder, not an incomplete release
NAMED_BY_PATH = ("gtzan", "speechcommands")  # whose paths name the classes
OWN_LISTS = re.compile(
    r"labels\.csv|((train|eval)(_\d+)?|valid|test|stats|origin)\.json|trials(_\w+)?\.txt|\..*"
)


class StartingLists(NamedTuple):
    """The lists of a training.

    Args:
        folder: Holds ``labels.csv`` and the lists.
        notes: Lines that say what was written where.
        reports: What of the user's lists was used and left out.
    """

    folder: Path
    notes: list[str]
    reports: list[InputReport]


def starting_lists(lists: Path, root: Path, fallback: Path) -> StartingLists:
    """Return the lists that a training reads; write those that are missing.

    Safe for several processes at once: every file is replaced atomically and its content depends on nothing
    but the arguments and the recordings.

    Args:
        lists: Folder that ``-path_list`` names.
        root: Folder that ``-path_data`` names.
        fallback: Folder for lists that do not belong into ``lists``.

    Raises:
        FileNotFoundError: The recordings are not there.
        ValueError: Lists and label tables contradict each other.
        OSError: Nothing can be written.
    """
    name = release_of(lists)
    if name is None:
        if is_published(lists):
            return convert(read_published(lists), root, fallback)
        check_tables({path: read_labels(path) for path in others_than_labels(lists)})
        return StartingLists(lists, [], [])
    check_shipped(name, lists)
    place = data_root(lists, root)
    found = StartingLists(lists, [], [])
    if RELEASES[name].num_train and not (lists / "train.json").is_file():
        found = complete(name, lists, place, fallback)
    found.notes.insert(0, f"{RELEASES[name].title}: recordings in {place.describe()}")
    strangers = report_strangers(lists)
    return found._replace(reports=[*strangers, *found.reports])


def others_than_labels(lists: Path) -> list[Path]:
    """Return the label tables of a folder if there is one next to ``labels.csv``; none otherwise."""
    tables = tables_in(lists)
    return tables if len(tables) > 1 and lists / "labels.csv" in tables else []


def check_shipped(name: str, lists: Path) -> None:
    """Raise ValueError where published lists or tables were put among the shipped ones and do not fit.

    Label ids of other publications of a data set may mean other classes.
    """
    check_tables({path: read_labels(path) for path in tables_in(lists)})
    if name in NAMED_BY_PATH:
        table = lists / "labels.csv"
        for path in sorted(lists.glob("*.json")):
            if path.name.startswith(("train", "eval", "valid", "test")) and (clips := read_list(path)):
                check_fit(path, clips, read_labels(table), table)


def report_strangers(lists: Path) -> list[InputReport]:
    """Return a report on lists among the shipped ones that no run reads; none if there are no such lists."""
    report = InputReport(str(lists))
    remedy = "put published lists into a folder for -path_list"
    for path in sorted(lists.iterdir()):
        if OWN_LISTS.fullmatch(path.name):
            report.use("lists")
        elif path.suffix in (".json", ".csv", ".txt") or (path.is_dir() and "trials" in path.name):
            report.leave_out("lists", path.name, "not one of the shipped lists", remedy)
    return [report] if report.left_out else []


# The training list of a release ----------------------------------------------------------------------


def complete(name: str, lists: Path, root: DataRoot, fallback: Path) -> StartingLists:
    """Write the training list of a release, into ``lists`` if the release is complete."""
    release = RELEASES[name]
    clips, report = remaining(name, lists, root)
    if not clips:
        raise FileNotFoundError(f"{root.describe()}: holds no training clip of {release.title}")
    counted = f"{len(clips):,} clips"
    text = list_text(clips)
    if len(clips) == release.num_train:
        try:
            write(lists / "train.json", text)
            note = f"wrote {lists / 'train.json'}: {counted}, what remains of {root.describe()}"
            return StartingLists(lists, [note], [report])
        except OSError:  # an installation that is not the user's
            pass
    else:
        counted += f" of the official {release.num_train:,}"
    folder = fallback / derived_name(lists, root.path)
    texts = {path.name: read_text(path) for path in sorted(lists.glob("*.*")) if shipped(path)}
    write_all(folder, {**texts, "train.json": text, ORIGIN: origin(name, lists, report)})
    note = f"wrote {folder / 'train.json'}: {counted}, what remains of {root.describe()}"
    return StartingLists(folder, [note], [report])


def shipped(path: Path) -> bool:
    """Return whether a file of a shipped folder is one of its lists."""
    return path.name in ("labels.csv", "valid.json", "test.json") or path.name.startswith("trials")


def remaining(name: str, lists: Path, root: DataRoot) -> tuple[list[ListedClip], InputReport]:
    """Return path and label of every training clip of Speech Commands or VoxCeleb1, and what was left out.

    Args:
        name: Release.
        lists: Holds its label table, and the lists of the clips that are not for training.
        root: Where its recordings lie.
    """
    fold = str if root.same_case else str.casefold
    class_of = {fold(label): (label, mid) for mid, label in read_labels(lists / "labels.csv")}
    held_out = {
        fold(wav)
        for path in ("valid.json", "test.json")
        if (lists / path).is_file()
        for wav, *_ in read_list(lists / path)
    }
    prefix, folder = root.folders[0]
    top, report = root.path / folder, InputReport(str(root.path / folder))
    clips, lacking = [], dict(class_of)
    for class_folder in below(top):
        if fold(class_folder.name) not in class_of:
            starts = tuple(fold(f"{start}{class_folder.name}/") for start in ("", "test/wav/"))
            if not any(wav.startswith(starts) for wav in held_out):
                report.leave_out("folders", class_folder.name, "not a class of the label table")
            continue
        report.use("folders")
        label, mid = class_of[fold(class_folder.name)]
        start = f"{prefix}/{label}" if prefix else label
        wavs = (f"{start}/{wav}" for wav in wavs_below(class_folder, root.extension))
        found = [ListedClip(wav, mid) for wav in wavs if fold(wav) not in held_out]
        if found:
            lacking.pop(fold(label))
        clips += found
    report.use("recordings", len(clips))
    report.use("classes", len(class_of) - len(lacking))
    for label, _ in lacking.values():
        report.leave_out("classes", label, "no recording of it is there to train on")
    return sorted(clips), report


def wavs_below(folder: Path, extension: str) -> list[str]:
    """Return the recordings in a folder and one folder below it, relative to it, as lists call them.

    Args:
        extension: Extension of the recordings; the lists' is ``.wav``.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):  # macOS leaves ._right.wav next to right.wav
                continue
            if entry.name.endswith(extension):
                found.append(entry.name)
            elif entry.is_dir():
                names = (inner.name for inner in os.scandir(entry.path))
                found += [f"{entry.name}/{n}" for n in names if n.endswith(extension) and n[0] != "."]
    return sorted(name.removesuffix(extension) + ".wav" for name in found)


# Published lists -------------------------------------------------------------------------------------


def convert(published: Published, root: Path, fallback: Path) -> StartingLists:
    """Write published lists with the paths of this machine.

    Args:
        published: Lists that were read.
        root: Holds the recordings, at any depth.
        fallback: Folder for the new lists.

    Raises:
        FileNotFoundError: Nearly none of the recordings is in ``root``.
        ValueError: A recording could be several files there.
    """
    lists = dict(published.lists)
    if published.trials and "test" not in lists:
        lists["test"] = trial_clips(read_text(published.trials["trials.txt"]))
    wavs = dict.fromkeys(wav for clips in lists.values() for wav, *_ in clips)
    names = {wav.replace("\\", "/").rpartition("/")[2] for wav in wavs}
    places = find_recordings(wavs, recordings_below(root, names) if root.is_dir() else [], str(root))
    for wav in wavs.keys() - places.keys():
        if os.path.isabs(wav) and os.path.isfile(wav):  # published on this machine
            places[wav] = wav
    missing = [wav for wav in wavs if wav not in places]
    if len(places) < FEWEST_FOUND * len(wavs):
        raise FileNotFoundError(
            f"{published.folder}: {len(missing):,} of its {len(wavs):,} recordings are not in {root}, in no "
            f"folder of it: {listing(missing)}; -path_data names the folder of the recordings"
        )
    report = published.report
    report.use("recordings", len(places))
    for wav in missing:
        report.leave_out("recordings", wav, f"not in {root}", "-path_data names the folder of the recordings")
    folder = fallback / derived_name(published.folder, root)
    texts = {"labels.csv": table_text(published.labels)}
    for name, clips in lists.items():
        found = [clip._replace(wav=places[clip.wav]) for clip in clips if clip.wav in places]
        if not found:
            raise FileNotFoundError(f"{published.folder}: no recording of {name} is in {root}")
        texts[f"{name}.json"] = list_text(found)
    for name, path in published.trials.items():
        texts[name] = without_missing(path, missing, report)
    write_all(folder, {**texts, ORIGIN: origin("", published.folder, report)})
    note = (
        f"{published.folder}: published lists with the label table {published.table.name}; with the paths of "
        f"this machine they are in {folder}"
    )
    return StartingLists(folder, [note], [report])


def without_missing(path: Path, missing: Iterable[str], report: InputReport) -> str:
    """Return the text of a trial list without the trials of missing recordings, which are counted."""
    missing = {end for wav in missing for end in path_ends(wav)}
    kept = []
    for line in read_text(path).splitlines(keepends=True):
        lacking = missing.intersection(line.split()[1:])
        if lacking:
            report.leave_out("trials", line.strip(), f"a recording of {path.name} is missing")
        else:
            kept.append(line)
    report.use("trials", len(kept))
    return "".join(kept)


def path_ends(wav: str) -> list[str]:
    """Return a path and every end of it: ``a/b/c.wav``, ``b/c.wav``, ``c.wav``."""
    parts = wav.split("/")
    return [wav, *("/".join(parts[start:]) for start in range(1, len(parts)))]


def trial_clips(text: str) -> list[ListedClip]:
    """Return path and speaker of every utterance of a trial list, each once."""
    names = dict.fromkeys(name for line in text.splitlines() for name in line.split()[1:])
    return [
        ListedClip(name, name.split("/")[-3] if name.count("/") > 1 else name.partition("/")[0])
        for name in sorted(names)
    ]


# Files -----------------------------------------------------------------------------------------------


def derived_name(lists: Path, root: Path) -> str:
    """Return the name of a folder of derived lists, one for each pair of lists and recordings."""
    digest = hashlib.sha256(f"{Path(lists).resolve()}\n{Path(root).resolve()}".encode()).hexdigest()
    return f"{Path(lists).name}_{digest[:10]}"


def origin(release: str, lists: Path, report: InputReport) -> str:
    """Return the text of ``origin.json``: where derived lists come from, and what was left out."""
    value = {"release": release, "lists": str(lists), "inputs": report.as_dict()}
    return json.dumps(value, indent=2) + "\n"


def table_text(labels: Iterable[tuple[str, str]]) -> str:
    """Return the CSV text of a label table."""
    text = io.StringIO()
    rows = [("index", "mid", "display_name"), *((index, *label) for index, label in enumerate(labels))]
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def write_all(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files of a folder that differ from what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or read_text(path) != text:
            write(path, text)


def write(path: Path, text: str) -> None:
    """Write a file atomically; several processes, of several machines, may write the same one."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
