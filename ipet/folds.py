"""The numbered lists of cross-validation: ``train_1.json``, ``eval_1.json``, ``train_2.json``, ..."""

from collections.abc import Mapping
from pathlib import Path

from ipet.list_files import list_file

MANY = 2  # a number of folds for which the name of a file that a flag names is numbered


def count_folds(folder: Path, files: Mapping[str, Path] | None = None) -> int:
    """Return how many folds there are: ``eval_1.json``, ``eval_2.json`` and so on without a gap.

    Args:
        folder: Folder of the lists.
        files: Lists that flags name in place of the folder's; see ``list_files.list_file``.
    """
    number = 0
    while list_file(folder, f"eval_{number + 1}.json", files, MANY).is_file():
        number += 1
    return number


def next_fold(folder: Path, fold: int, num_folds: int, files: Mapping[str, Path] | None = None) -> int:
    """Return the fold whose clips are held out of a fold's training list to choose the epoch on.

    Args:
        folder: Folder of the lists.
        fold: Number of the fold, from 1.
        num_folds: Number of folds of the run, which may be fewer than there are.
        files: See ``count_folds``.
    """
    return fold % max(count_folds(folder, files), num_folds) + 1
