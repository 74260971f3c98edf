"""The releases that ``reproduce`` trains on, and how ``-data`` names them."""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ipet.parsing import suggest
from ipet.published_lists import is_published
from ipet.releases import MOST_CLASSES, RELEASES, class_names, data_root, match

DATASETS = {  # by their folder of data/: name in tables, entries that only this release has
    "esc50": ("ESC-50", ("meta/esc50.csv", "audio/1-100032-A-0.wav")),
    "fsd50k": ("FSD50K", ("FSD50K.dev_audio", "dev_audio")),
    "gtzan": ("GTZAN", ("genres_original", "Data/genres_original", "genres")),
    "speechcommands": ("Speech Commands", ("validation_list.txt", "testing_list.txt")),
    "voxceleb": ("VoxCeleb1", ("dev/wav", "test/wav", "vox1_dev_wav")),
    "musan": ("MUSAN", ("librivox", "speech/librivox", "music")),
    "rirs": ("RIRS_NOISES", ("simulated_rirs",)),
}
PREPARE = {"speechcommands": "speech_commands", "voxceleb": "voxceleb1"}  # names of data/prepare.py
ALIASES = {"speech_commands": "speechcommands", "voxceleb1": "voxceleb", "esc-50": "esc50"}


def find_releases(words: Sequence[str]) -> dict[str, Path]:
    """Return the folders of releases that ``-data`` names: ``esc50=DIR``, or a folder that holds releases.

    Raises:
        ValueError: An unknown data set, or a folder without a release.
        FileNotFoundError: There is no such folder.
    """
    named: dict[str, Path] = {}
    folders: list[tuple[str, Path]] = []
    for word in words:
        name, equals, path = word.partition("=")
        folder = Path(path if equals else word).expanduser().resolve()
        if not folder.is_dir():
            raise FileNotFoundError(f"-data {word}: no folder {folder}; expected that of a release")
        if not equals:
            folders.append((word, folder))
            continue
        key = ALIASES.get(name.lower(), name.lower())
        if key not in DATASETS:
            raise ValueError(
                f"-data {word}: unknown data set {name!r}{suggest(name, list(DATASETS))} (accepted: "
                f"{', '.join(DATASETS)})"
            )
        if named.setdefault(key, folder) != folder:
            raise ValueError(f"-data names two folders of {key}, {named[key]} and {folder}; expected one")
    found: dict[str, Path] = {}
    for word, folder in folders:
        releases = releases_in(folder)
        if not releases:
            known = ", ".join(title for title, _ in DATASETS.values())
            raise ValueError(
                f"-data {word}: neither it nor a folder in it is one of these releases: {known}; name "
                "one as in -data esc50=DIR"
            )
        for key, places in releases.items():
            places = list(dict.fromkeys([*([found[key]] if key in found else []), *places]))
            if len(places) > 1 and key not in named:
                raise ValueError(
                    f"-data {word}: {DATASETS[key][0]} is there twice, {places[0]} and {places[1]}; name one "
                    f"as in -data {key}={places[0]}"
                )
            found[key] = places[0]
    return found | named


def releases_in(folder: Path) -> dict[str, list[Path]]:
    """Return the releases that a folder is, or else those that are in it, by data set."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    found = {
        key: [p for p in [folder] if is_release(key, p)] or [p for p in inner if is_release(key, p)]
        for key in DATASETS
    }
    return {key: places for key, places in found.items() if places}


def is_release(key: str, folder: Path) -> bool:
    """Return whether a folder is a release: by a name that only it has, or by its recordings."""
    if any((folder / mark).exists() for mark in DATASETS[key][1]) and not is_other(key, folder):
        return True
    if key not in RELEASES:
        return False
    classes = class_names(key)
    return match(RELEASES[key], classes, folder, math.ceil(MOST_CLASSES * len(classes))) is not None


def is_other(key: str, folder: Path) -> bool:
    """Return whether a folder with a mark of MUSAN is no copy of it: other sets hold music, too."""
    parts = ("music", "noise", "speech")
    return key == "musan" and not all((folder / part).is_dir() for part in parts)


@cache
def problem_of_data(key: str, lists: Path, folder: Path) -> str:
    """Return why a data set cannot be trained on, with the remedy; empty if it can.

    Args:
        key: Its folder of data/.
        lists: Folder of its lists.
        folder: Folder of its release.
    """
    if not (lists / "labels.csv").is_file() and not is_published(lists):
        name = PREPARE.get(key, key)
        return f"no lists in {lists}: python3 data/prepare.py {name} {folder} -out {lists}"
    try:
        data_root(lists, folder)
    except (OSError, ValueError) as error:
        return f"-data {key}={folder}: {error}"
    return ""
