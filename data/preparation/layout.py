"""The meaning of a user's folders: classes, or parts of a split that hold class folders."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ipet.label_names import FOLD_WORDS, fold_folders, fold_of, may_be_part, part_of
from preparation.lists import listing

SPLITS = ("train", "valid", "test")
WRAPPERS = {
    "audio",
    "audios",
    "wav",
    "wavs",
    "wave",
    "clips",
    "data",
    "recordings",
    "sounds",
    "samples",
    "flac",
}
LAYOUTS = ("classes", "parts", "pooled")
HELP = (
    "-layout classes takes every folder as a class, or -csv FILE with the columns path, label and split "
    "names the lists"
)


class Placed(NamedTuple):
    """A recording by its folders."""

    wav: str
    name: str  # of its class folder
    part: str  # of its split: train, valid, test, or the number of a fold; empty where there is no split


def folders_of(wavs: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the folders of each recording, from the root down."""
    return {wav: tuple(wav.split("/")[:-1]) for wav in wavs}


def inner_names(folders: Iterable[tuple[str, ...]], top: str) -> set[str]:
    """Return the names of the class folders in a folder of the root, below a wrapper such as ``audio``."""
    inside = [of for of in folders if of[0] == top]
    names = {of[1] for of in inside if len(of) > 1}
    if len(names) == 1 and names <= WRAPPERS and all(len(of) > 2 for of in inside):
        return {of[2] for of in inside}
    return names


def split_layout(root: Path, folders: dict[str, tuple[str, ...]], chosen: str) -> tuple[int, dict[str, str]]:
    """Return the depth of the folders that are parts of a split, and the part of each; -1 for class folders.

    Args:
        root: The data root, for errors.
        folders: Folders of each recording.
        chosen: ``-layout``, or nothing.

    Raises:
        ValueError: The folders may be classes or parts, or are parts without class folders.
    """
    if chosen == "classes":
        return -1, {}
    tops = sorted({of[0] for of in folders.values()})
    parts = {name: part_of(name) for name in tops if part_of(name)}
    if len(set(parts.values())) > 1 or (parts and chosen):
        check_class_folders(root, folders, parts)
        return 0, parts
    folds = fold_folders(tops)
    if folds and (all(fold_of(name)[0] in FOLD_WORDS for name in folds) or chosen):
        check_class_folders(root, folders, folds)
        return 0, {name: str(number) for name, number in folds.items()}
    check_numbers(root, folders, tops, folds)
    check_single_part(root, folders, tops, parts)
    unsure = {may_be_part(name) for name in tops} - {""}
    if len(unsure) > 1:
        named = [name for name in tops if may_be_part(name)]
        raise ValueError(f"{root}: the folders {listing(named)} may be parts of a split or classes; {HELP}")
    return inner_layout(root, folders, chosen)


def inner_layout(root: Path, folders: dict[str, tuple[str, ...]], chosen: str) -> tuple[int, dict[str, str]]:
    """Return what ``split_layout`` returns, of parts inside the class folders: ``dog/train/1.wav``."""
    for depth in range(1, max(map(len, folders.values()))):
        names = {of[depth] for of in folders.values() if len(of) > depth}
        parts = {name: part_of(name) for name in names if part_of(name)}
        folds = fold_folders(name for name in names if (fold_of(name) or ("",))[0] in FOLD_WORDS)
        if len(set(parts.values())) > 1 or folds:
            if depth > 1:
                raise ValueError(
                    f"{root}: the folders {listing(sorted(parts or folds))} are {depth} levels deep and may "
                    f"be parts of a split; {HELP}"
                )
            found = parts if len(set(parts.values())) > 1 else {n: str(k) for n, k in folds.items()}
            check_not_between(root, folders, found, chosen)
            return 1, found
    if chosen:
        raise ValueError(
            f"{root}: -layout {chosen} expects folders such as train, valid and test, or fold1 and fold2; "
            f"found {listing(sorted({of[0] for of in folders.values()}))}"
        )
    return -1, {}


def check_not_between(
    root: Path, folders: dict[str, tuple[str, ...]], parts: Iterable[str], chosen: str
) -> None:
    """Raise ValueError for ``site/train/dog``: the class may be the folder above a part or the one in it."""
    inside = {of[2] if len(of) > 2 else "" for of in folders.values() if len(of) > 1 and of[1] in parts}
    tops = {of[0] for of in folders.values()}
    if "" not in inside and not chosen:
        raise ValueError(
            f"{root}: the folders {listing(sorted(parts))} are parts of a split between "
            f"{listing(sorted(tops))} and {listing(sorted(inside))}, and either may be the classes; -layout "
            f"parts takes the former; {HELP}"
        )


def check_class_folders(root: Path, folders: dict[str, tuple[str, ...]], parts: Iterable[str]) -> None:
    """Raise ValueError where no part of a split holds class folders."""
    if not any(inner_names(folders.values(), name) for name in parts):
        raise ValueError(
            f"{root}: its folders {listing(sorted(parts))} are parts of a split and hold no class folders "
            f"with the labels; {HELP}"
        )


def check_numbers(
    root: Path, folders: dict[str, tuple[str, ...]], tops: list[str], folds: dict[str, int]
) -> None:
    """Raise ValueError where folders have numbers alone, which may be classes (digits) or folds."""
    numbers = sorted(folds.values())
    if not numbers or numbers not in (list(range(len(numbers))), list(range(1, len(numbers) + 1))):
        return
    inside = [inner_names(folders.values(), name) for name in folds]
    remedy = (
        "-layout parts takes them as folds" if any(inside) else "-csv FILE with a column fold names folds"
    )
    raise ValueError(
        f"{root}: the numbered folders {listing(sorted(folds, key=folds.get))} may be classes or folds; "
        f"-layout classes takes every folder as a class, {remedy}"
    )


def check_single_part(
    root: Path, folders: dict[str, tuple[str, ...]], tops: list[str], parts: dict[str, str]
) -> None:
    """Raise ValueError where one folder alone is a part of a split, and holds class folders."""
    if len(tops) == 1 and (tops[0].lower() in WRAPPERS or parts) and inner_names(folders.values(), tops[0]):
        raise ValueError(
            f"{root}: holds the one folder {tops[0]}, with folders in it; expected class folders: prepare "
            f"{root / tops[0]}"
        )
    for name in parts:
        if inner_names(folders.values(), name):
            raise ValueError(
                f"{root}: the folder {name} may be a part of a split or a class next to "
                f"{listing(other for other in tops if other != name)}; {HELP}"
            )


def place(
    wav: str, of: tuple[str, ...], depth: int, parts: dict[str, str], wrapped: set[str]
) -> Placed | str:
    """Return a recording's class folder and part, or why it has none.

    Args:
        wav: Path of the recording.
        of: Folders of the recording.
        depth: Depth of the folders that are parts; -1: there are none.
        parts: The part of each of these folders.
        wrapped: Folders of parts in which a wrapper such as ``audio`` holds the class folders.
    """
    if depth < 0:
        return Placed(wav, of[0], "")
    if len(of) <= depth or of[depth] not in parts:
        return "in no folder of the split"
    if depth == 1:
        return Placed(wav, of[0], parts[of[1]])
    inside = of[2:] if of[0] in wrapped else of[1:]
    return (
        Placed(wav, inside[0], parts[of[0]]) if inside else "in a folder of the split, but in no class folder"
    )


def wrapped_parts(folders: dict[str, tuple[str, ...]], parts: Iterable[str]) -> set[str]:
    """Return the parts whose class folders are in one folder such as ``audio``."""
    found = set()
    for name in parts:
        direct = {of[1] for of in folders.values() if of[0] == name and len(of) > 1}
        if direct and direct != inner_names(folders.values(), name):
            found.add(name)
    return found
