"""Lists that were made on another machine, with its absolute paths: the recordings are looked for here.

AST's, SSAST's and IPET's own published lists are such files: ``{"data": [{"wav":
"/data/.../1-100032-A-0.wav", "labels": "/m/07rwj00"}, ...]}`` beside a table with the
columns ``index,mid,display_name``.
"""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from ipet.segments import read_times
from preparation.checking import check_classes, check_on_disk
from preparation.lists import Clip, Label, Lists, Row, listing
from preparation.reading import check_root, clip_bytes, read_csv, read_text
from preparation.recordings import SUFFIXES

# "esc_train_data_1.json" is train_1, "fsd50k_val_full.json" valid: a word of the name, and a fold's number.
WORDS = {
    "train": ("train", "training", "tr"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test", "testing"),
    "eval": ("eval", "evaluation"),
}
COLUMNS = ["index", "mid", "display_name"]


def prepare_lists(root: Path, lists: Path | None = None) -> Lists:
    """The same lists and labels, with paths relative to ``root``.

    A recording is the file under ``root`` whose path ends like the listed one for the most parts.

    Args:
        root: holds the recordings, at any depth.
        lists: the folder of the lists (``.json``) and of one label table (``.csv``).

    Raises:
        FileNotFoundError: a folder, the lists, the table or a recording is missing.
        ValueError: a file is no such list or table, a list's name tells no part, two tell the same, a
            recording could be two files, or a label is not in the table.
    """
    if lists is None:
        raise ValueError("-lists is missing: the folder of the lists, with their label table")
    check_root(root, [], "the recordings")
    check_root(lists, [], "lists of clips")
    found = {path: read_list(path) for path in sorted(lists.glob("*.json"))}
    found = {path: clips for path, clips in found.items() if clips is not None}
    if not found:
        raise FileNotFoundError(f"{lists}: holds no list of clips; expected .json files with 'data'")
    labels, trials = read_table(lists), read_trials(lists)
    name_of = part_names(list(found))

    found_here = clip_bytes(root, ["."], SUFFIXES, nested=True)
    sizes = {wav.removeprefix("./"): size for wav, size in found_here.items()}
    places = places_under(root, sizes, {clip.wav: path for path, clips in found.items() for clip in clips})
    mids, clips_of = {label.mid for label in labels}, {}
    for path, clips in found.items():
        moved = [clip._replace(wav=places[clip.wav]) for clip in clips]
        check_on_disk((clip.wav for clip in moved), sizes, root, path)
        unknown = sorted({mid for clip in clips if clip.labels for mid in clip.labels.split(",")} - mids)
        if unknown and not (trials and name_of[path] == "test"):  # whose speakers nobody was trained on
            raise ValueError(f"{path}: {listing(unknown)}: not in the label table of {lists}")
        clips_of[name_of[path]] = moved
    heard = {name: clips for name, clips in clips_of.items() if not (trials and name == "test")}
    notes = check_classes(labels, heard, root)
    table = [Row("classes", len(labels)), *(Row(name, len(clips)) for name, clips in clips_of.items())]
    return Lists(labels, clips_of, table, notes, trials)


def read_list(path: Path) -> list[Clip] | None:
    """A list's clips as they are written there; None where a JSON file is something else.

    Raises:
        ValueError: it is not JSON, or a clip of it has no path or no labels.
    """
    try:
        value = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, list):
        return None
    clips = []
    for i, clip in enumerate(data):
        texts = [clip.get(key) for key in ("wav", "labels")] if isinstance(clip, dict) else []
        if not texts or not all(isinstance(text, str) for text in texts) or not texts[0]:
            raise ValueError(f"{path}: data[{i}] is {str(clip)[:80]}; expected texts of 'wav' and 'labels'")
        clips.append(Clip(*texts, *read_times(clip, f"{path}: data[{i}]")))
    return clips


def read_table(lists: Path) -> list[Label]:
    """The labels of the one table in a folder, in the order of their indices."""
    tables = [path for path in sorted(lists.glob("*.csv")) if set(COLUMNS) <= set(head_of(path))]
    if len(tables) != 1:
        names = listing(path.name for path in tables) or "none"
        raise FileNotFoundError(f"{lists}: found {names}; expected one .csv with {', '.join(COLUMNS)}")
    rows = [row for _, row in read_csv(tables[0], COLUMNS)]
    numbers = [row["index"] for row in rows]
    if sorted(numbers) != sorted(map(str, range(len(rows)))):
        raise ValueError(f"{tables[0]}: its indices are {listing(numbers)}; expected 0, 1, 2, ..., each once")
    rows.sort(key=lambda row: int(row["index"]))
    return [Label(row["mid"], row["display_name"]) for row in rows]


def read_trials(lists: Path) -> dict[str, str]:
    """The lists of trials in a folder, as they are, by name; a single one as ``trials.txt``."""
    texts = {path.name: read_text(path) for path in sorted(lists.glob("*.txt"))}
    texts = {
        name: text for name, text in texts.items() if re.match(r"(0|1|target|nontarget)\s+\S+\s+\S+", text)
    }
    return texts if len(texts) != 1 else {"trials.txt": next(iter(texts.values()))}


def head_of(path: Path) -> list[str]:
    """The columns of a table."""
    return [word.strip().strip('"') for word in read_text(path).partition("\n")[0].split(",")]


def part_names(paths: list[Path]) -> dict[Path, str]:
    """What IPET calls each list: ``train_1``, ``valid``, ...

    With folds what is evaluated is ``eval_1``; of lists without folds ``test``.
    """
    names: dict[Path, str] = {}
    for path in paths:
        words = re.split(r"[^a-z0-9]+|(?<=[a-z])(?=[0-9])", path.stem.lower())
        parts = [part for part, known in WORDS.items() if any(word in known for word in words)]
        if len(parts) != 1:
            accepted = ", ".join(word for known in WORDS.values() for word in known)
            raise ValueError(
                f"{path}: its name tells {len(parts)} parts of a set; expected one of {accepted}"
            )
        fold = words[-1] if words[-1].isdigit() else ""
        part = parts[0]
        if part in ("test", "eval"):
            part = "eval" if fold else "test"
        names[path] = f"{part}_{int(fold)}" if fold else part
    for path, name in names.items():
        same = [other.name for other in paths if names[other] == name]
        if len(same) > 1:
            raise ValueError(f"{path.parent}: {listing(same)} are all {name}; expected one list of each")
    return names


def places_under(root: Path, sizes: Iterable[str], listed: dict[str, Path]) -> dict[str, str]:
    """Where each listed recording lies below ``root``.

    Args:
        sizes: the recordings there, relative to it.
        listed: the list that names a path.

    Raises:
        FileNotFoundError: no file has a recording's name.
        ValueError: several have, and end alike for as many parts.
    """
    by_name: dict[str, list[str]] = {}
    for wav in sizes:
        by_name.setdefault(os.path.basename(wav), []).append(wav)
    places, missing = {}, []
    for wav in listed:
        parts = (PureWindowsPath if "\\" in wav else PurePosixPath)(wav).parts
        alike = {there: shared_end(parts, there.split("/")) for there in by_name.get(parts[-1], [])}
        most = max(alike.values(), default=0)
        best = [there for there, count in alike.items() if count == most]
        if len(best) > 1:
            raise ValueError(f"{listed[wav]}: {wav} could be any of {listing(sorted(best))} in {root}")
        if best:
            places[wav] = best[0]
        else:
            missing.append(wav)
    if missing:
        raise FileNotFoundError(
            f"{listed[missing[0]]}: {len(missing):,} of {len(listed):,} recordings are not in {root}, in no "
            f"folder of it: {listing(missing)}"
        )
    return places


def shared_end(one: Iterable[str], other: Iterable[str]) -> int:
    """How many parts two paths have alike, from their ends."""
    count = 0
    for a, b in zip(reversed(tuple(one)), reversed(tuple(other))):
        if a != b:
            break
        count += 1
    return count
