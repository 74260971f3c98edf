"""Lists as others publish them: absolute paths of another machine, and a label table of their own.

The code of AST, SSAST and IPET reads such folders:

    esc_train_data_1.json  esc_eval_data_1.json  ...  esc_class_labels_indices.csv
    fsd50k_tr_full.json  fsd50k_val_full.json  fsd50k_eval_full.json  fsd50k_class_labels_indices.csv
    vox1_trials/veri_test.txt

Light on purpose: no torch.
"""

import csv
import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ipet.clip_entries import ListedClip, read_times
from ipet.input_report import InputReport
from ipet.recording_search import listing
from ipet.releases import class_names

COLUMNS = ("index", "mid", "display_name")
# "esc_train_data_1.json" is train_1, "fsd50k_val_full.json" valid: a word of the name, and a fold's number.
WORDS = {
    "train": ("train", "training", "tr"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test", "testing"),
    "eval": ("eval", "evaluation"),
}
FOLD_WORDS = ("data", "split", "cv", "k")  # that a fold's number may follow without a space
WHOLE = ("all", "full", "whole", "total")  # lists of the whole set, which no protocol reads
OUR_NAMES = re.compile(r"(train|valid|test|eval)(_\d+)?")  # of data/prepare.py
TRIAL = re.compile(r"(0|1|target|nontarget)\s+\S+\s+\S+")
FIRST_TRIALS = (
    "trials",
    "trials_o",
    "veri_test",
    "vox1_o",
    "vox1-o",
    "voxceleb1_o",
)  # Vox1-O, which runs score
ESC50_FILE = re.compile(r"\d-\d+-[a-z]-(\d+)\.\w+")
FEWEST_FITTING = 0.5  # of the clips whose path names a class


class Published(NamedTuple):
    """A folder of published lists.

    Args:
        folder: Where it lies.
        table: Path of its label table.
        labels: Pairs of id and display name, in the order of their indices.
        lists: Clips of every list, by the name that IPET gives a list: ``train_1``.
        sources: Path of each list, by the same name.
        trials: Paths of trial lists, by the name that they get: ``trials.txt`` is scored by default.
        report: What was used, and what was left out.
    """

    folder: Path
    table: Path
    labels: list[tuple[str, str]]
    lists: dict[str, list[ListedClip]]
    sources: dict[str, Path]
    trials: dict[str, Path]
    report: InputReport


def is_published(folder: Path) -> bool:
    """Return whether a folder holds published lists and not those that ``data/prepare.py`` writes."""
    folder = Path(folder)
    lists = [path.stem for path in folder.glob("*.json") if part_of(path.stem)[0]]
    if not lists or not tables_in(folder):
        return False
    trains = any(name in ("train", "train_1") for name in lists)
    ours = trains or all(OUR_NAMES.fullmatch(name) for name in lists)
    return not (ours and (folder / "labels.csv").is_file())


def read_published(
    folder: Path, files: Mapping[str, Path] | None = None, table: Path | None = None
) -> Published:
    """Read a folder of published lists.

    Args:
        folder: Holds the lists (``.json``), one label table (``.csv``) and perhaps trial lists (``.txt``),
            also in a folder whose name holds ``trials``.
        files: Lists by IPET's names (``train``, ``valid``, ``test``, ``train_1``, ``eval_1``); default: those
            of ``folder``, told by their names.
        table: Label table; default: the one of ``folder``.

    Raises:
        FileNotFoundError: There is no list or no label table.
        ValueError: A file is no such list or table, a name tells no part, two lists tell the same one, tables
            disagree, a label is not in the table, or the labels contradict the paths.
    """
    folder, report = Path(folder), InputReport(str(folder))
    if files is None:
        files = name_lists(sorted(folder.glob("*.json")), report)
    lists = {name: clips for name, path in files.items() if (clips := read_list(path)) is not None}
    for name in files.keys() - lists.keys():
        report.leave_out("lists", files[name].name, "not a list of clips")
    if not lists:
        raise FileNotFoundError(f"{folder}: holds no list of clips; expected .json files with 'data'")
    report.use("lists", len(lists))
    table, labels = read_table(folder) if table is None else (Path(table), read_labels(Path(table)))
    trials = find_trials(folder)
    mids = {mid for mid, _ in labels}
    for name, clips in lists.items():
        unknown = sorted({mid for clip in clips if clip.labels for mid in clip.labels.split(",")} - mids)
        if unknown and not (trials and name in ("test", "valid")):  # speakers that nobody was trained on
            raise ValueError(
                f"{files[name]}: {listing(unknown)}: not in the label table {table}; expected the table that "
                "was published with the list"
            )
        check_fit(files[name], clips, labels, table)
    return Published(folder, table, labels, lists, {name: files[name] for name in lists}, trials, report)


# Names ---------------------------------------------------------------------------------------------


def part_of(stem: str) -> tuple[list[str], str]:
    """Return the parts of a set that a list's name tells, one unless it is unclear, and its fold.

    The fold is the number after ``fold``, or else one at the end of the name that belongs to no other word:
    ``train_1``, ``esc_train_data1`` and ``fold1_train`` tell fold 1, ``train_esc50`` and ``dev_vox1`` none.
    """
    words = re.split(r"[^a-z0-9]+|(?<=[a-z])(?=[0-9])", stem.lower())
    parts = [part for part, known in WORDS.items() if any(word in known for word in words)]
    fold = re.search(r"(?:^|[^a-z])fold[^a-z0-9]*(\d+)", stem.lower())
    last = re.search(r"([a-z]*)(\d+)$", stem.lower())
    if fold:
        return parts, fold[1]
    if last and (not last[1] or last[1] in FOLD_WORDS or any(last[1] in known for known in WORDS.values())):
        return parts, last[2]
    return parts, ""


def name_lists(paths: Sequence[Path], report: InputReport) -> dict[str, Path]:
    """Return the lists by the names that IPET gives them: ``train_1``, ``valid``, ...

    With folds the list that is evaluated is ``eval_1``; without folds it is ``test``. A list of the whole set
    is left out.
    """
    names: dict[str, Path] = {}
    told = {path: part_of(path.stem) for path in paths}
    has_train = any(parts == ["train"] for parts, _ in told.values())
    for path, (parts, fold) in told.items():
        words = re.split(r"[^a-z0-9]+", path.stem.lower())
        if not parts and set(words) & set(WHOLE):
            report.leave_out("lists", path.name, "a list of the whole set; the protocols read its parts")
            continue
        if not parts and read_list(path) is None:
            report.leave_out("lists", path.name, "not a list of clips")
            continue
        if len(parts) != 1:
            accepted = ", ".join(word for known in WORDS.values() for word in known)
            raise ValueError(
                f"{path}: its name tells {len(parts)} parts of a set; expected one of {accepted}"
            )
        part = parts[0]
        if part == "valid" and "dev" in words and not has_train:  # VoxCeleb's dev is trained on
            part = "train"
        if part in ("test", "eval"):
            part = "eval" if fold else "test"
        name = f"{part}_{int(fold)}" if fold else part
        if name in names:
            both = listing([names[name].name, path.name])
            raise ValueError(f"{path.parent}: {both} are all {name}; expected one list of each")
        names[name] = path
    return names


def find_trials(folder: Path) -> dict[str, Path]:
    """Return the trial lists of a folder, and of its folders named ``*trials*``.

    A single one, or else Vox1-O, is ``trials.txt``; the others keep their names.

    Raises:
        ValueError: Several lists could be the one that is scored by default.
    """
    found = [*sorted(folder.glob("*.txt")), *sorted(folder.glob("*trials*/*.txt"))]
    found = [path for path in found if TRIAL.match(read_text(path)[:1000])]
    if not found:
        return {}
    first = found if len(found) == 1 else [path for path in found if path.stem.lower() in FIRST_TRIALS]
    first = first[:1] if len({path.stem for path in first}) == 1 else first
    exact = [path for path in first if path.stem.lower() == "trials"]
    first = exact or first
    if len(first) != 1:
        names = listing(str(path.relative_to(folder)) for path in found)
        raise ValueError(
            f"{folder}: holds {len(found)} trial lists ({names}), {len(first)} of them named as Vox1-O; name "
            "the one to score trials.txt or veri_test.txt"
        )
    others = {path.name: path for path in found if path != first[0] and path.name != "trials.txt"}
    return {"trials.txt": first[0], **others}


# Files ---------------------------------------------------------------------------------------------


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, with or without a byte-order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text ({error})") from None


def read_list(path: Path) -> list[ListedClip] | None:
    """Return the clips of a list as they are written there; None for other JSON files.

    Raises:
        ValueError: It is not JSON, or a clip of it has no path or no labels.
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
        clips.append(ListedClip(*texts, *read_times(clip, f"{path}: data[{i}]")))
    return clips


def tables_in(folder: Path) -> list[Path]:
    """Return the label tables of a folder: CSV files with the columns ``index,mid,display_name``."""

    def head(path: Path) -> set[str]:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            return {word.strip().strip('"') for word in file.readline().split(",")}

    return [path for path in sorted(folder.glob("*.csv")) if set(COLUMNS) <= head(path)]


def read_labels(path: Path) -> list[tuple[str, str]]:
    """Return id and display name of every class of a label table, in the order of their indices.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column is missing, or the indices are not 0, 1, 2, ..., each once.
    """
    rows = list(csv.DictReader(read_text(path).splitlines()))
    if not rows or not all(row.get(column) for row in rows for column in COLUMNS):
        raise ValueError(f"{path}: expected a value of {', '.join(COLUMNS)} in every row")
    numbers = [row["index"] for row in rows]
    if sorted(numbers) != sorted(map(str, range(len(rows)))):
        raise ValueError(f"{path}: its indices are {listing(numbers)}; expected 0, 1, 2, ..., each once")
    rows.sort(key=lambda row: int(row["index"]))
    return [(row["mid"], row["display_name"]) for row in rows]


def read_table(folder: Path) -> tuple[Path, list[tuple[str, str]]]:
    """Return path and labels of the label table of a folder.

    Raises:
        FileNotFoundError: There is none.
        ValueError: There are several, and an id means different classes in them.
    """
    tables = tables_in(folder)
    if not tables:
        raise FileNotFoundError(f"{folder}: found none; expected one .csv with {', '.join(COLUMNS)}")
    labels = {path: read_labels(path) for path in tables}
    check_tables(labels)
    own = [path for path in tables if path.name != "labels.csv"]  # the table published with the lists
    path = own[0] if own else tables[0]
    return path, labels[path]


def check_tables(tables: Mapping[Path, Sequence[tuple[str, str]]]) -> None:
    """Raise ValueError where label tables of one folder give an id different names or places."""
    if not tables:
        return
    (first, labels), *others = tables.items()
    for path, other in others:
        if list(labels) == list(other):
            continue
        where = f"{first.parent}: its label tables disagree: "
        end = "; keep the table that was published with the lists"
        if len(labels) != len(other):
            raise ValueError(
                f"{where}{len(labels)} classes in {first.name}, {len(other)} in {path.name}{end}"
            )
        index = next(i for i, (one, two) in enumerate(zip(labels, other)) if one != two)
        one, two = (" ".join(table[index]) for table in (labels, other))
        raise ValueError(f"{where}class {index} is {one} in {first.name} and {two} in {path.name}{end}")


def check_fit(
    path: Path, clips: Iterable[ListedClip], labels: Sequence[tuple[str, str]], table: Path
) -> None:
    """Raise ValueError where the paths of most clips name another class than their label does.

    ``pop/pop.00001.wav`` with the label ``/m/gtzan00``, which the table calls blues, comes from another
    table. Only paths that name a class of the table count; those of ESC-50 name it by its number.
    """
    name_of = {mid: name.lower() for mid, name in labels if not name.isdigit()}
    names = set(name_of.values())
    numbered = esc50_names(names)
    told = fitting = 0
    example = ""
    for wav, text, *_ in clips:
        mids = text.split(",")
        if len(mids) != 1 or mids[0] not in name_of:
            continue
        parts = wav.replace("\\", "/").lower().split("/")
        said = {part for part in (*parts[-3:-1], parts[-1].partition(".")[0]) if part in names}
        number = ESC50_FILE.fullmatch(parts[-1])
        if number and int(number[1]) in numbered:
            said = {numbered[int(number[1])]}
        if said:
            told += 1
            if name_of[mids[0]] in said:
                fitting += 1
            else:
                example = example or f"{wav} has {text}, which is {name_of[mids[0]]} there"
    if told and fitting < FEWEST_FITTING * told:
        raise ValueError(
            f"{path}: its labels are not those of {table}: {example}; expected the label table that was "
            "published with the list"
        )


def esc50_names(names: Container[str]) -> dict[int, str]:
    """Return the names of ESC-50's classes among some names, by the number in the names of its recordings."""
    try:
        return {number: name for number, name in enumerate(class_names("esc50")) if name in names}
    except OSError:  # an installed package is without data/
        return {}


def count_folds(folder: Path) -> int:
    """Return how many training folds the names of published lists tell."""
    parts = [part_of(path.stem) for path in folder.glob("*.json")]
    return len({fold for of, fold in parts if of == ["train"] and fold})
