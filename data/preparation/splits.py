"""Folds, and training, validation and test lists, with equal shares of every class.

A group (a singer, a drum kit) is never in two of them, or the test would ask what training has heard.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from preparation.layout import SPLITS
from preparation.lists import listing
from preparation.recordings import Recording

NO_CLASS = ""  # stands for the clips of no class while lists are drawn
URGENT = 1e6  # above any chi-squared of counts: a list without a class outweighs uneven shares


def folds_of(classes: Sequence, groups: Sequence | None, num_folds: int, seed: int) -> list[int]:
    """The fold of every clip, from 1, by scikit-learn's stratified folds.

    Args:
        classes: of every clip, one each.
        groups: of every clip; a group lies in one fold alone. None: every clip is its own.
        seed: of the shuffling.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # slow to import

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = kind(num_folds, shuffle=True, random_state=seed)
    fold = np.zeros(len(classes), dtype=int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class in fewer groups than folds: we note it
        for k, (_, held_out) in enumerate(splitter.split(classes, classes, groups), start=1):
            fold[held_out] = k
    return fold.tolist()


def apportion(counts: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """Give each group to one of S lists, so that the lists' class counts come near their shares.

    Greedy, the largest group first and the rest in a drawn order: each goes where it raises
    chi-squared, the sum over lists and classes of (a - e)^2 / e, the least; a counts what a list
    has of a class and e = share x all of the class is what it should get. When no more groups
    with a class are left than lists without it, one of these lists comes first.

    Args:
        counts: [G, C] clips of each class in each group; several labels a clip are fine.
        shares: [S], above 0, of sum 1.
        seed: of the order among groups of one size.

    Returns:
        [G] the list of each group, from 0.
    """
    expected = np.outer(shares, counts.sum(axis=0))  # [S, C]
    assigned = np.zeros_like(expected)
    left = (counts > 0).sum(axis=0)  # [C] groups with a class that are still to be given
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    place = np.empty(len(counts), dtype=int)
    for group in order:
        [c] = np.nonzero(counts[group])
        n, a, e = counts[group, c], assigned[:, c], expected[:, c]
        rise = (n * (n + 2 * (a - e)) / e).sum(axis=1)  # of chi-squared, in each list
        lacking = a == 0
        urgent = lacking & (left[c] <= lacking.sum(axis=0))
        place[group] = np.argmin(rise - URGENT * urgent.sum(axis=1))
        assigned[place[group], c] += n
        left[c] -= 1
    return place


def check_enough(recordings: list[Recording], grouped: bool, num_lists: int, root: Path) -> None:
    """Raise unless every class has a clip for each list or, with groups, two groups."""
    what, needed = ("groups", 2) if grouped else ("clips", num_lists)
    units = {(r.group if grouped else r.wav, name) for r in recordings for name in r.classes}
    count = Counter(name for _, name in units)
    few = [f"{name} has {count[name]}" for name in sorted(count) if count[name] < needed]
    if few:
        raise ValueError(
            f"{root}: {num_lists} lists need at least {needed} {what} of a class; {listing(few)}"
        )
    num_groups = len({r.group for r in recordings})
    if grouped and num_groups < num_lists:
        raise ValueError(f"{root}: {num_lists} lists need at least {num_lists} groups; found {num_groups}")


def place_recordings(
    recordings: list[Recording], grouped: bool, folds: int | None, shares: tuple[float, ...], seed: int
) -> list:
    """The fold (from 1) or the list (``train``, ``valid``, ``test``) of every recording."""
    groups = [r.group if grouped else r.wav for r in recordings]
    # Clips of no class are shared out like those of a class.
    kinds = [r.classes or (NO_CLASS,) for r in recordings]
    if folds and all(len(of) == 1 for of in kinds):
        return folds_of([of[0] for of in kinds], groups if grouped else None, folds, seed)
    row = {group: i for i, group in enumerate(sorted(set(groups)))}
    column = {name: i for i, name in enumerate(sorted({name for of in kinds for name in of}))}
    counts = np.zeros((len(row), len(column)), dtype=np.int32)
    for group, of in zip(groups, kinds):
        counts[row[group], [column[name] for name in of]] += 1
    place = apportion(counts, [1 / folds] * folds if folds else shares, seed)
    names = range(1, folds + 1) if folds else SPLITS
    return [names[place[row[group]]] for group in groups]
