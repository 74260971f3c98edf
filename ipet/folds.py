"""The numbered lists of cross-validation: ``train_1.json``, ``eval_1.json``, ``train_2.json``, ..."""

from pathlib import Path


def count_folds(folder: Path) -> int:
    """Return how many folds lie in a folder: ``eval_1.json``, ``eval_2.json`` and so on without a gap."""
    number = 0
    while (folder / f"eval_{number + 1}.json").is_file():
        number += 1
    return number


def next_fold(folder: Path, fold: int, num_folds: int) -> int:
    """Return the fold whose clips are held out of a fold's training list to choose the epoch on.

    Args:
        folder: Folder of the lists.
        fold: Number of the fold, from 1.
        num_folds: Number of folds of the run, which may be fewer than there are.
    """
    return fold % max(count_folds(folder), num_folds) + 1
