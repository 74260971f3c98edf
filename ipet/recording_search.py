"""Find the recordings of published lists, which hold paths of another machine, on this one.

Light on purpose: no torch.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath


def find_recordings(wavs: Iterable[str], there: Iterable[str], where: str = "") -> dict[str, str]:
    """Return the recording on disk of each listed path: the one whose path ends alike for the most parts.

    As many parts must agree as tell all listed paths from each other: where ``bed/1.wav`` and ``right/1.wav``
    are listed and one of them is missing, the other one is not taken for it.

    Args:
        wavs: Paths in the lists, of any machine.
        there: Recordings on disk, relative to their root.
        where: Root, for messages.

    Returns:
        Path on disk by listed path, without those that are not there.

    Raises:
        ValueError: Several recordings end alike for as many parts.
    """
    parts_of = {wav: path_parts(wav) for wav in wavs}
    places = {}
    for fold in (str, str.casefold):  # another case only for what is not found otherwise
        left = {wav: [fold(part) for part in parts] for wav, parts in parts_of.items() if wav not in places}
        if not left:
            break
        fewest = parts_that_differ([[fold(part) for part in parts] for parts in parts_of.values()])
        by_end: dict[tuple[str, ...], list[tuple[str, list[str]]]] = {}
        for place in there:
            parts = fold(place).split("/")
            by_end.setdefault(tuple(parts[-fewest:]), []).append((place, parts))
        for wav, parts in left.items():
            candidates = by_end.get(tuple(parts[-fewest:]), [])
            alike = {place: shared_end(parts, other) for place, other in candidates}
            most = max(alike.values(), default=0)
            best = [place for place, count in alike.items() if count == most]
            if len(best) > 1:
                raise ValueError(f"{wav} could be any of {listing(sorted(best))} in {where}")
            if best:
                places[wav] = best[0]
    return places


def path_parts(wav: str) -> Sequence[str]:
    """Return the parts of a path of any machine."""
    return (PureWindowsPath if "\\" in wav else PurePosixPath)(wav).parts


def parts_that_differ(paths: Iterable[Sequence[str]]) -> int:
    """Return how many parts, counted from their ends, tell paths from each other; equal ones count once."""
    paths = set(map(tuple, paths))
    count = 1
    while len({parts[-count:] for parts in paths}) < len(paths):
        count += 1
    return count


def shared_end(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many parts two paths share, counted from their ends."""
    count = 0
    for a, b in zip(reversed(one), reversed(other)):
        if a != b:
            break
        count += 1
    return count


def recordings_below(root: Path, names: set[str]) -> list[str]:
    """Return the files of some names below a folder, relative to it, without hidden ones.

    Args:
        names: File names that are looked for, in any case.
    """
    found, names = [], {name.casefold() for name in names}
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        top = os.path.relpath(folder, root)
        prefix = "" if top == "." else Path(top).as_posix() + "/"
        found += [prefix + name for name in files if name.casefold() in names and not name.startswith("._")]
    return sorted(found)


def listing(names: Iterable) -> str:
    """Return the first three names, and how many more there are."""
    names = [str(name) for name in names]
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
