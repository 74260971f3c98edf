"""Write the clip lists and the label table of a dataset.

A clip list is ``{"data": [{"wav": "audio/1-100032-A-0.wav", "labels": "/m/07rwj00"}, ...]}`` with
paths relative to the data root; a label table has the columns ``index,mid,display_name``.

    python3 data/prepare.py esc50 ~/ESC-50-master

A new dataset is one function, ``root -> Lists``, and one line of ``DATASETS``.
"""

import argparse
import csv
import io
import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

HERE = Path(__file__).resolve().parent
WAV_HEADER_BYTES = 44  # a WAV file of this size or less holds no samples
NUM_EXAMPLES = 3  # names shown of what is missing or wrong


class Label(NamedTuple):
    """One class; its index is its place in the table."""

    mid: str
    display_name: str


class Clip(NamedTuple):
    """One line of a clip list."""

    wav: str  # path relative to the data root
    labels: str  # mids, with commas between them


class Row(NamedTuple):
    """One line of the printed table."""

    name: str
    found: int
    official: int  # what the release holds


@dataclass
class Lists:
    """What a dataset's function found: everything that is written and printed."""

    labels: list[Label]
    clips: dict[str, list[Clip]]  # by list name: "train_1" becomes train_1.json
    table: list[Row]
    notes: list[str] = field(default_factory=list)  # worth reading, no reason to stop

    def files(self) -> dict[str, str]:
        """The text of every file, by file name."""
        texts = {f"{name}.json": clip_list(clips) for name, clips in self.clips.items()}
        return {"labels.csv": label_table(self.labels), **texts}


# ------------------------------------------------------------------------------------- datasets


def read_esc50(path: Path) -> tuple[dict[int, str], dict[str, Clip], dict[str, int], dict[str, set[int]]]:
    """``meta/esc50.csv``: names by target, clips and folds by file, and the folds of each recording.

    Raises:
        ValueError: the table contradicts itself.
    """
    names: dict[int, str] = {}  # of each target
    clips: dict[str, Clip] = {}
    fold_of: dict[str, int] = {}
    folds_of_source: dict[str, set[int]] = {}
    for line, row in read_csv(path, ["filename", "fold", "target", "category"]):
        where = f"{path}, line {line}"
        filename, category = row["filename"], row["category"]
        fold = whole_number(row["fold"], "fold", where)
        target = whole_number(row["target"], "target", where)
        if names.setdefault(target, category) != category:
            raise ValueError(
                f"{where}: target {target} is called {category!r} here and {names[target]!r} above"
            )
        if "/" in filename or "\\" in filename:
            raise ValueError(f"{where}: filename {filename!r} is a path; expected a file of audio/")
        if filename in clips:
            raise ValueError(f"{where}: {filename} is listed twice")
        clips[filename] = Clip(f"audio/{filename}", f"/m/07rwj{target:02d}")
        fold_of[filename] = fold
        folds_of_source.setdefault(row.get("src_file") or filename, set()).add(fold)
    for category, count in Counter(names.values()).items():
        if count > 1:
            targets = [target for target in sorted(names) if names[target] == category]
            raise ValueError(f"{path}: {category!r} has {count} targets, {listing(targets)}")
    return names, clips, fold_of, folds_of_source


def prepare_esc50(root: Path) -> Lists:
    """Lists of ESC-50: ``train_<k>`` holds all folds but k, ``eval_<k>`` holds fold k.

    Args:
        root: the release's folder, with ``meta/esc50.csv`` and ``audio/``.

    Raises:
        FileNotFoundError: ``root`` is not such a folder, or listed clips are not on disk.
        ValueError: ``meta/esc50.csv`` contradicts itself.

    Source: https://github.com/karolpiczak/ESC-50 (Piczak 2015).
    """
    path = root / "meta" / "esc50.csv"
    check_root(root, ["meta/esc50.csv", "audio/"], "ESC-50, e.g. .../ESC-50-master")

    names, clips, fold_of, folds_of_source = read_esc50(path)
    folds = sorted(set(fold_of.values()))
    if len(folds) < 2:
        raise ValueError(f"{path}: found {len(folds)} fold; cross-validation needs at least 2")
    check_on_disk((clip.wav for clip in clips.values()), clip_bytes(root, ["audio"]), root, path)

    lists: dict[str, list[Clip]] = {}
    for k in folds:
        lists[f"train_{k}"] = sorted(clip for name, clip in clips.items() if fold_of[name] != k)
        lists[f"eval_{k}"] = sorted(clip for name, clip in clips.items() if fold_of[name] == k)
    labels = [Label(f"/m/07rwj{target:02d}", names[target]) for target in sorted(names)]
    table = [Row("classes", len(labels), 50)]
    table += [
        Row(f"fold {k}", len(lists.get(f"eval_{k}", [])), 400 if 1 <= k <= 5 else 0)
        for k in sorted({*folds, 1, 2, 3, 4, 5})
    ]
    table += [Row("clips", len(clips), 2000)]

    notes = check_classes(labels, lists, root)
    shared = sorted(source for source, folds in folds_of_source.items() if len(folds) > 1)
    if shared:
        notes.append(
            f"one recording (src_file) has clips in several folds, so that training hears parts of "
            f"what is evaluated: {listing(shared)}"
        )
    return Lists(labels, lists, table, notes)


def read_held_out(held_out: dict[str, Path], mids: dict[str, str], root: Path) -> dict[str, str]:
    """The clips of the validation and the test list -> ``valid`` or ``test``.

    Raises:
        ValueError: a line is no clip of a known word, or a clip comes twice.
    """
    split_of: dict[str, str] = {}
    for split, path in held_out.items():
        for line, wav in enumerate(read_text(path).splitlines(), start=1):
            wav = wav.strip()
            if not wav:
                continue
            where = f"{path}, line {line}"
            word, slash, filename = wav.partition("/")
            if not slash or not filename or "/" in filename:
                raise ValueError(f"{where}: found {wav!r}; expected WORD/FILE.wav")
            if word not in mids:
                raise ValueError(
                    f"{where}: {wav} is of the unknown word {word!r}; {root} has no folder of "
                    f"that name among its {len(mids)} words"
                )
            if wav in split_of:
                also = "listed twice" if split_of[wav] == split else "also in validation_list.txt"
                raise ValueError(f"{where}: {wav} is {also}; clips must not leak between lists")
            split_of[wav] = split
    return split_of


def prepare_speech_commands(root: Path) -> Lists:
    """Lists of Speech Commands v0.02: ``train``, ``valid`` and ``test``.

    Validation and test are the release's own two lists; every other clip of a word trains.

    Args:
        root: the extracted folder: 35 folders of words and the two lists.

    Raises:
        FileNotFoundError: ``root`` is not such a folder, or listed clips are not on disk.
        ValueError: the lists name an unknown word, or a clip twice.

    Source: https://arxiv.org/abs/1804.03209 (Warden 2018).
    """
    held_out = {"valid": root / "validation_list.txt", "test": root / "testing_list.txt"}
    check_root(
        root,
        [path.name for path in held_out.values()],
        "Speech Commands, the folder that speech_commands_v0.02.tar.gz was extracted into",
    )
    words = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] not in "._")
    if not words:
        raise FileNotFoundError(f"{root}: holds no folder of a word, such as right/")
    mids = {word: f"/m/spcmd{index:02d}" for index, word in enumerate(words)}

    split_of = read_held_out(held_out, mids, root)
    num_bytes = clip_bytes(root, words)
    for split, path in held_out.items():
        wavs = [wav for wav in split_of if split_of[wav] == split]
        check_on_disk(wavs, num_bytes, root, path)
    check_on_disk(num_bytes, num_bytes, root, root)

    lists: dict[str, list[Clip]] = {"train": [], "valid": [], "test": []}
    for wav in sorted(num_bytes):
        lists[split_of.get(wav, "train")].append(Clip(wav, mids[wav.partition("/")[0]]))
    labels = [Label(mids[word], word) for word in words]
    table = [
        Row("words", len(words), 35),
        Row("train", len(lists["train"]), 84_843),
        Row("valid", len(lists["valid"]), 9_981),
        Row("test", len(lists["test"]), 11_005),
        Row("clips", len(num_bytes), 105_829),
    ]
    return Lists(labels, lists, table, check_classes(labels, lists, root))


class Dataset(NamedTuple):
    """How a dataset is prepared, and where its lists go and are used."""

    prepare: Callable[[Path], Lists]
    folder: str  # of data/
    experiment: str  # that the closing line suggests


DATASETS = {
    "esc50": Dataset(prepare_esc50, "esc50", "ast_esc50"),
    "speech_commands": Dataset(prepare_speech_commands, "speechcommands", "w2v_speechcommands"),
}


# --------------------------------------------------------------------------------------- reading


def check_root(root: Path, needed: list[str], dataset: str) -> None:
    """Raise unless ``root`` holds every needed file, and folder (``name/``), of a dataset."""

    def holds(folder: Path, name: str) -> bool:
        # os.path answers False where a Path would raise on a folder that may not be entered.
        exists = os.path.isdir if name.endswith("/") else os.path.isfile
        return exists(folder / name)

    def lacks(folder: Path) -> list[str]:
        return [name for name in needed if not holds(folder, name)]

    if not root.is_dir():
        found = "is not a folder" if root.exists() else "does not exist"
        raise FileNotFoundError(f"{root}: {found}; expected the root of {dataset}")
    if lacks(root):
        nearby = [root.parent, *sorted(path for path in root.iterdir() if path.is_dir())]
        hints = [f"; did you mean {path}?" for path in nearby if not lacks(path)]
        raise FileNotFoundError(
            f"{root}: has no {' and no '.join(lacks(root))}; expected the root of {dataset}, "
            f"which holds {' and '.join(needed)}{''.join(hints[:1])}"
        )


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte-order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text ({error})") from error


def read_csv(path: Path, columns: list[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table, each with its line number.

    Raises:
        ValueError: a column is missing, or a row has no value in one.
    """
    reader = csv.DictReader(io.StringIO(read_text(path)))
    try:
        rows = [(reader.line_num, row) for row in reader]
        header = reader.fieldnames or []
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error
    missing = [column for column in columns if column not in header]
    if missing:
        raise ValueError(
            f"{path}: has no column {' and no column '.join(missing)}; its first line is {','.join(header)!r}"
        )
    if not rows:
        raise ValueError(f"{path}: lists no clip")
    for line, row in rows:
        empty = [column for column in columns if not row[column]]
        if empty:
            raise ValueError(f"{path}, line {line}: has no {' and no '.join(empty)}")
    return rows


def whole_number(text: str, column: str, where: str) -> int:
    """The value of a cell such as ``14``."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{where}: {column} is {text!r}; expected a whole number")
    return int(text)


def clip_bytes(root: Path, folders: list[str]) -> dict[str, int]:
    """The size in bytes of every WAV file of some folders, by its path relative to ``root``."""
    sizes = {}
    for folder in tqdm(folders, desc="looking at", unit="folder", leave=False, disable=None):
        with os.scandir(root / folder) as entries:
            for entry in entries:
                # macOS leaves ._right.wav beside right.wav when it unpacks to a shared disk.
                hidden = entry.name.startswith(".")
                if entry.name.lower().endswith(".wav") and not hidden and entry.is_file():
                    sizes[f"{folder}/{entry.name}"] = entry.stat().st_size
    return sizes


# -------------------------------------------------------------------------------------- checking


def check_on_disk(wavs: Iterable[str], num_bytes: dict[str, int], root: Path, path: Path) -> None:
    """Raise if a clip that ``path`` names is not under ``root``, or holds no samples."""
    wavs = sorted(wavs)
    missing = [wav for wav in wavs if wav not in num_bytes]
    if missing:
        raise FileNotFoundError(
            f"{path}: {len(missing):,} of its {len(wavs):,} clips are not in {root}: {listing(missing)}"
        )
    empty = [wav for wav in wavs if num_bytes[wav] <= WAV_HEADER_BYTES]
    if empty:
        raise ValueError(
            f"{path}: {len(empty):,} of its {len(wavs):,} clips are empty files: {listing(empty)}"
        )


def check_classes(labels: list[Label], lists: dict[str, list[Clip]], root: Path) -> list[str]:
    """Raise if a training list has no clip of a class; note it of the other lists."""
    notes = []
    for name, clips in lists.items():
        if not clips:
            raise ValueError(f"{root}: {name}.json would be empty")
        found = {mid for clip in clips for mid in clip.labels.split(",")}
        absent = [label.display_name for label in labels if label.mid not in found]
        if not absent:
            continue
        message = f"{name}.json has no clip of {listing(absent)}"
        if name.startswith("train"):
            raise ValueError(f"{root}: {message}")
        notes.append(message)
    return notes


def listing(names: Iterable) -> str:
    """The first few names, and how many more there are."""
    names = [str(name) for name in names]
    more = len(names) - NUM_EXAMPLES
    return ", ".join(names[:NUM_EXAMPLES]) + (f" and {more:,} more" if more > 0 else "")


# --------------------------------------------------------------------------------------- writing


def clip_list(clips: list[Clip]) -> str:
    """The JSON text of a clip list, one clip a line."""
    lines = ",\n".join(json.dumps(clip._asdict()) for clip in clips)
    return f'{{"data": [\n{lines}\n]}}\n'


def label_table(labels: list[Label]) -> str:
    """The CSV text of a label table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "mid", "display_name"])
    writer.writerows([index, *label] for index, label in enumerate(labels))
    return text.getvalue()


def write_files(folder: Path, texts: dict[str, str]) -> None:
    """Write every file or none: no name is replaced before all texts are safely on disk."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: is a file; the lists need a folder")
    folder.mkdir(parents=True, exist_ok=True)
    temporary = {name: folder / f".{name}.{os.getpid()}.tmp" for name in texts}
    try:
        for name, text in texts.items():
            with open(temporary[name], "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        for name in texts:
            os.replace(temporary[name], folder / name)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def leftovers(folder: Path, texts: dict[str, str]) -> list[str]:
    """Notes on lists that an earlier, larger set has left in ``folder``."""
    kinds = {name.partition("_")[0] for name in texts}
    lists = sorted(path.name for path in folder.glob("*_*.json"))
    others = [name for name in lists if name not in texts and name.partition("_")[0] in kinds]
    return [f"{folder} also holds lists of an earlier set: {listing(others)}"] if others else []


# -------------------------------------------------------------------------------------- printing


def describe(table: list[Row]) -> str:
    """The counts found beside the official ones, and whether they agree."""
    width = max(len(row.name) for row in table)
    lines = [f"{'':{width}}{'found':>10}{'official':>10}"]
    for row in table:
        mark = "" if row.found == row.official else "  differs"
        lines.append(f"{row.name:{width}}{row.found:10,}{row.official:10,}{mark}")
    if all(row.found == row.official for row in table):
        lines.append("\nAll counts are those of the official release.")
    else:
        lines.append(
            "\nThe counts differ from the official release. That is no error in a smaller set of "
            "the same\nlayout, but its results do not compare with published ones."
        )
    return "\n".join(lines)


def next_command(name: str, root: Path, folder: Path) -> str:
    """The command that trains on what was written."""
    dataset = DATASETS[name]
    words = ["python3", "main.py", "-name", "first", "-tags", "ipet", "-path_data", str(root)]
    if folder != HERE / dataset.folder:
        words += ["-path_list", str(folder)]
    experiment = os.path.relpath(HERE.parent / dataset.experiment)
    return f"cd {shlex.quote(experiment)} && {shlex.join(words)}"


def get_args(argv: list[str] | None = None) -> argparse.Namespace:
    """What to prepare, from where, and into which folder."""
    parser = argparse.ArgumentParser(
        description="Write a dataset's clip lists and label table.",
        epilog="example:\n  python3 data/prepare.py esc50 ~/ESC-50-master",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=DATASETS, metavar="NAME", help=" or ".join(DATASETS))
    parser.add_argument("path", metavar="PATH", help="the dataset's folder, as it was unpacked")
    folders = " or ".join(f"data/{dataset.folder}" for dataset in DATASETS.values())
    parser.add_argument("-out", metavar="DIR", help=f"where the lists go (default: {folders})")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Write a dataset's lists, print what was found, and return the exit status."""
    args = get_args(argv)
    dataset = DATASETS[args.name]
    # The closing command starts with cd, so that a relative path would lead elsewhere.
    root = Path(os.path.abspath(args.path))
    folder = Path(os.path.abspath(args.out)) if args.out else HERE / dataset.folder
    try:
        lists = dataset.prepare(root)
        texts = lists.files()
        write_files(folder, texts)
    except (OSError, ValueError) as error:
        print(f"prepare.py {args.name}: {error}", file=sys.stderr)
        return 1

    print(f"{args.name}: {root}\n\n{describe(lists.table)}")
    for note in lists.notes + leftovers(folder, texts):
        print(f"Note: {note}.")
    print(f"\nWrote {len(texts)} files to {folder}. Next:\n")
    print(f"  {next_command(args.name, root, folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
