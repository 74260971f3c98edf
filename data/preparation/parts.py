"""A split that the user gave, by a column or by folders: training, validation and test, or folds."""

from pathlib import Path

from ipet.label_names import fold_of, part_of
from preparation.layout import SPLITS
from preparation.lists import listing
from preparation.recordings import Recording

ACCEPTED = (
    "train, valid and test (also training, val, validation, dev, testing, eval), or folds such as 1, 2, 3"
)


def redraw(column: str) -> str:
    """Return how a split that the user gave is left out.

    Args:
        column: Column of the table; empty: the split is one of folders.
    """
    if column:
        return f"leave the split out by -columns ignore={column}"
    return "leave the split out by -layout pooled"


def given_places(
    recordings: list[Recording], source: Path, notes: list[str], column: str = ""
) -> tuple[list, int]:
    """Return the list of each clip by the split that the user gave, and the number of folds.

    Args:
        recordings: Clips with a ``part`` each.
        source: The table or the data root, for errors.
        notes: Decisions so far; new ones are appended.
        column: Column of the split; empty: folders.

    Returns:
        ``train``, ``valid`` or ``test`` of each clip and 0; or its fold from 1 and their number. A split
        without one of these three lists becomes one fold: its evaluation list is fold 1, and training clips
        are in fold 0, which is never evaluated.

    Raises:
        ValueError: A clip has no part, the parts have other names, or there is nothing to train on.
    """
    remedy = redraw(column)
    values = sorted({one.part for one in recordings})
    if "" in values:
        without = [one.name for one in recordings if not one.part]
        raise ValueError(f"{source}: {len(without):,} clips have no split: {listing(without)}; {remedy}")
    numbers = {value: fold_of(value.removesuffix(".0")) for value in values}
    if all(numbers.values()) and len({found[0] for found in numbers.values()}) == 1:
        numbered = {value: found[1] for value, found in numbers.items()}
        return given_folds(recordings, numbered, source, notes, remedy)
    parts = {value: part_of(value) for value in values}
    odd = [value for value in values if not parts[value]]
    if odd:
        where = f"the column {column}" if column else "the split"
        raise ValueError(f"{source}: {where} holds {listing(map(repr, odd))}; expected {ACCEPTED}; {remedy}")
    for part in SPLITS:
        same = [value for value in values if parts[value] == part]
        if len({value.casefold() for value in same}) > 1:
            raise ValueError(
                f"{source}: the parts {listing(same)} could each be the {part} list; expected one of them; "
                f"{remedy}"
            )
    renamed = [f"{value} is {parts[value]}" for value in values if value != parts[value]]
    if renamed:
        notes.append(f"of the split {listing(renamed)}")
    found = set(parts.values())
    if "train" not in found or len(found) < 2:
        raise ValueError(
            f"{source}: the split has {listing(values)} alone; expected train and a list to evaluate; "
            f"{remedy}"
        )
    if found == set(SPLITS):
        return [parts[one.part] for one in recordings], 0
    [other] = found - {"train"}
    missing = "valid" if other == "test" else "test"
    notes.append(
        f"the split has no {missing} list: it is written as one fold, train_1.json and eval_1.json "
        f"({other}); the epoch is then not chosen on a validation list"
    )
    return [int(parts[one.part] == other) for one in recordings], 1


def given_folds(
    recordings: list[Recording], numbers: dict[str, int], source: Path, notes: list[str], remedy: str
) -> tuple[list[int], int]:
    """Return the fold of each clip, from 1, and the number of folds; see ``given_places``."""
    ordered = sorted(set(numbers.values()))
    if len(ordered) < 2:
        raise ValueError(
            f"{source}: all clips are of fold {listing(numbers)}; expected two or more; {remedy}"
        )
    place = {number: k for k, number in enumerate(ordered, start=1)}
    if ordered != list(place.values()):
        renamed = [f"{number} is fold {k}" for number, k in place.items()]
        notes.append(f"folds are numbered from 1: {listing(renamed)}")
    return [place[numbers[one.part]] for one in recordings], len(ordered)
