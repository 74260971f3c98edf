"""Which file a list is read from: one of the list folder, or one that the command line names."""

import re
from collections.abc import Mapping
from pathlib import Path

FLAGS = {  # list of a folder: the flag that names a file in its place
    "train": "path_training_dataset",
    "valid": "path_validation_dataset",
    "eval": "path_evaluation_dataset",
    "test": "path_evaluation_dataset",
    "labels": "path_data_label",
}
NUMBER = re.compile(r"\d+(?=\D*$)")  # the last one of a file's name


def list_file(folder: Path, name: str, files: Mapping[str, Path] | None, num_folds: int = 0) -> Path:
    """Return the file of a list.

    Args:
        folder: List folder.
        name: Name of the list in the folder: ``train.json``, ``eval_2.json``, ``labels.csv``.
        files: Files that the command line names, by flag. Of several folds it names the first one's file;
            the last number in its name is the fold.
        num_folds: Number of folds of the run; 0 without folds.
    """
    kind, _, fold = Path(name).stem.partition("_")
    given = (files or {}).get(FLAGS.get(kind, ""))
    if given is None:
        return Path(folder) / name
    given = Path(given)
    if not fold or num_folds < 2:
        return given
    return given.with_name(NUMBER.sub(fold, given.stem) + given.suffix)


def count_list_files(path: Path) -> int:
    """Return how many files there are from fold 1 on, of a training list whose last number is the fold."""
    path, fold = Path(path), 0
    if not NUMBER.search(path.stem):
        return 0
    while list_file(path.parent, f"train_{fold + 1}.json", {FLAGS["train"]: path}, 2).is_file():
        fold += 1
    return fold
