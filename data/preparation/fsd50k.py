"""FSD50K: 51,197 clips of 0.3 to 30 s in 200 classes, several a clip, with official lists."""

from pathlib import Path

from preparation.checking import check_classes, check_on_disk
from preparation.lists import Clip, Label, Lists, Row
from preparation.reading import check_root, clip_bytes, read_csv, whole_number

TRUTH = "FSD50K.ground_truth"
SPLITS = {"train": "train", "val": "valid"}  # what dev.csv calls them, and our lists


def read_vocabulary(path: Path) -> list[Label]:
    """``vocabulary.csv``, which has no header line: index, name, mid.

    Raises:
        ValueError: the indices are not 0, 1, 2, ..., or a name or mid comes twice.
    """
    labels: list[Label] = []
    for line, row in read_csv(path, ["index", "label", "mid"], header=False):
        where = f"{path}, line {line}"
        if whole_number(row["index"], "index", where) != len(labels):
            raise ValueError(f"{where}: index is {row['index']}; expected {len(labels)}")
        if any(row["mid"] == label.mid or row["label"] == label.display_name for label in labels):
            raise ValueError(f"{where}: {row['label']} ({row['mid']}) comes twice")
        labels.append(Label(row["mid"], row["label"]))
    return labels


def read_truth(path: Path, folder: str, columns: list[str], mids: set[str]) -> dict[Clip, str]:
    """``dev.csv`` or ``eval.csv``: its clips, each with what the last of ``columns`` says.

    Raises:
        ValueError: a clip comes twice, its name is a path, or it has an unknown label.
    """
    said: dict[str, tuple[Clip, str]] = {}
    for line, row in read_csv(path, columns):
        where, fname = f"{path}, line {line}", row["fname"]
        if "/" in fname or "\\" in fname:
            raise ValueError(f"{where}: fname {fname!r} is a path; expected a file of {folder}/")
        if fname in said:
            raise ValueError(f"{where}: {fname} is listed twice")
        unknown = [mid for mid in row["mids"].split(",") if mid not in mids]
        if unknown:
            raise ValueError(
                f"{where}: {fname} has label {unknown[0]!r}, which is not among the {len(mids)} of "
                f"{path.with_name('vocabulary.csv')}"
            )
        said[fname] = Clip(f"{folder}/{fname}.wav", row["mids"]), row[columns[-1]]
    return dict(said.values())


def prepare_fsd50k(root: Path) -> Lists:
    """Lists of FSD50K: ``train`` and ``valid`` are the development set's own split, ``test`` is eval.

    Args:
        root: the folder that the archives were unpacked into.

    Raises:
        FileNotFoundError: ``root`` is not such a folder, or listed clips are not on disk.
        ValueError: a table contradicts itself, or a clip is in both sets.

    Source: https://zenodo.org/records/4060432 (Fonseca et al. 2022).
    """
    tables = [f"{TRUTH}/{name}.csv" for name in ("dev", "eval", "vocabulary")]
    folders = ["FSD50K.dev_audio", "FSD50K.eval_audio"]
    check_root(root, [*tables, *(f"{folder}/" for folder in folders)], "FSD50K, with its archives unpacked")
    dev_csv, eval_csv, vocabulary = (root / table for table in tables)

    labels = read_vocabulary(vocabulary)
    mids = {label.mid for label in labels}
    dev = read_truth(dev_csv, folders[0], ["fname", "mids", "split"], mids)
    evaluation = read_truth(eval_csv, folders[1], ["fname", "mids"], mids)

    lists: dict[str, list[Clip]] = {"train": [], "valid": [], "test": sorted(evaluation)}
    for clip, split in sorted(dev.items()):
        if split not in SPLITS:
            raise ValueError(
                f"{dev_csv}: the split of {clip.wav} is {split!r}; expected {' or '.join(SPLITS)}"
            )
        lists[SPLITS[split]].append(clip)
    both = {Path(clip.wav).name for clip in dev} & {Path(clip.wav).name for clip in evaluation}
    if both:
        raise ValueError(
            f"{eval_csv}: {len(both):,} clips are also in dev.csv, such as {min(both)}; "
            "clips must not leak between lists"
        )

    num_bytes = clip_bytes(root, folders)
    check_on_disk((clip.wav for clip in dev), num_bytes, root, dev_csv)
    check_on_disk((clip.wav for clip in evaluation), num_bytes, root, eval_csv)
    table = [
        Row("classes", len(labels), 200),
        Row("train", len(lists["train"]), 36_796),
        Row("valid", len(lists["valid"]), 4_170),
        Row("test", len(lists["test"]), 10_231),
        Row("clips", len(dev) + len(evaluation), 51_197),
    ]
    return Lists(labels, lists, table, check_classes(labels, lists, root), experiment="ast_fsd50k")
