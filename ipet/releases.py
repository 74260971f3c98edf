"""The five data sets whose lists ``data/`` ships, and where an unpacked release keeps their recordings.

Light on purpose: a command line without data is answered before torch is loaded.
"""

import csv
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ipet.parsing import REPOSITORY

DATA = REPOSITORY / "data"
ORIGIN = "origin.json"  # in a folder of lists that was derived from shipped or published ones
MAX_ENTRIES = 10_000  # of a folder that are looked at
EXTENSIONS = (".wav", ".au")  # of GTZAN's copies


class Part(NamedTuple):
    """Recordings that the shipped lists keep below one folder.

    Args:
        prefix: Folder in the lists' paths, relative to the root; ``""``: none.
        folders: Where the recordings may lie below the root on disk, in the order of preference.
        holds: Regular expression that the name of an entry of the folder matches; ``""``: it is the name of
            a class.
    """

    prefix: str
    folders: tuple[str, ...]
    holds: str


class Release(NamedTuple):
    """A data set as its authors release it.

    Args:
        title: Name for messages.
        parts: Folders of its recordings.
        example: Folder for example commands.
        unpack: What to unpack where, one step each.
        num_train: Clips of the training list where that is not shipped; 0: it is.
    """

    title: str
    parts: tuple[Part, ...]
    example: str
    unpack: tuple[str, ...]
    num_train: int = 0


TEST_SPEAKERS = r"id10(2[789]|30)\d"
RELEASES = {  # by their folder of data/
    "esc50": Release(
        "ESC-50",
        (Part("audio", ("audio", "audio_16k", ""), r"\d-\d+-[A-Z]-\d+\.wav"),),
        "/data/ESC-50-master",
        ("unpack https://github.com/karolpiczak/ESC-50/archive/master.zip in /data: ESC-50-master/audio/",),
    ),
    "fsd50k": Release(
        "FSD50K",
        (
            Part("FSD50K.dev_audio", ("FSD50K.dev_audio", "FSD50K.dev_audio_16k", "dev_audio"), r"\d+\.wav"),
            Part(
                "FSD50K.eval_audio", ("FSD50K.eval_audio", "FSD50K.eval_audio_16k", "eval_audio"), r"\d+\.wav"
            ),
        ),
        "/data/FSD50K",
        (
            "unpack https://zenodo.org/records/4060432 in /data/FSD50K: FSD50K.dev_audio/ and "
            "FSD50K.eval_audio/",
        ),
    ),
    "gtzan": Release(
        "GTZAN",
        (Part("genres_original", ("genres_original", "Data/genres_original", "genres", ""), ""),),
        "/data/GTZAN",
        ("unpack GTZAN (Tzanetakis and Cook 2002) in /data/GTZAN: genres_original/blues/ or genres/blues/",),
    ),
    "speechcommands": Release(
        "Speech Commands V2",
        (Part("", ("",), ""),),
        "/data/speech_commands_v0.02",
        ("unpack speech_commands_v0.02.tar.gz in /data/speech_commands_v0.02: backward/, bed/, ...",),
        num_train=84_843,
    ),
    "voxceleb": Release(
        "VoxCeleb1",
        (
            Part(
                "dev/wav",
                ("dev/wav", "vox1_dev_wav/wav", "vox1_dev_wav", "dev", "wav", ""),
                rf"(?!{TEST_SPEAKERS}$)id1\d{{4}}",
            ),
            Part(
                "test/wav",
                ("test/wav", "vox1_test_wav/wav", "vox1_test_wav", "test", "wav", ""),
                TEST_SPEAKERS,
            ),
        ),
        "/data/voxceleb1",
        (
            "unpack vox1_dev_wav.zip of www.robots.ox.ac.uk/~vgg/data/voxceleb in /data/voxceleb1/dev",
            "unpack vox1_test_wav.zip in /data/voxceleb1/test",
        ),
        num_train=148_642,
    ),
}


@dataclass(frozen=True)
class DataRoot:
    """Where the recordings of a release lie.

    Args:
        path: Root that was found.
        folders: Folder on disk, relative to ``path``, by the prefix of the lists' paths.
        extension: Extension of the recordings on disk.
    """

    path: Path
    folders: tuple[tuple[str, str], ...]
    extension: str = ".wav"

    def locate(self, wav: str) -> str:
        """Return the path on disk, relative to the root, of a path in a list."""
        for prefix, folder in self.folders:
            if prefix and not wav.startswith(f"{prefix}/"):
                continue
            rest = wav[len(prefix) + 1 :] if prefix else wav
            place = f"{folder}/{rest}" if folder else rest
            return place if self.extension == ".wav" else place.removesuffix(".wav") + self.extension
        return wav

    def is_official(self) -> bool:
        """Return whether recordings lie below the root as the shipped lists say."""
        return self.extension == ".wav" and all(prefix == folder for prefix, folder in self.folders)

    def describe(self) -> str:
        """Return the folders on disk, for messages."""
        folders = [str(self.path / folder) for _, folder in self.folders]
        return " and ".join(dict.fromkeys(folders))


class DataNotFound(FileNotFoundError):
    """The recordings of a release are not where ``-path_data`` says."""


def release_of(lists: Path) -> str | None:
    """Return the name of the release that a folder of lists belongs to; None for other lists.

    Args:
        lists: Folder of ``data/``, or one that was derived from it (see ``ipet.starting_lists``).
    """
    lists = Path(lists)
    if lists.name in RELEASES and lists.parent.resolve() == DATA.resolve():
        return lists.name
    marker = lists / ORIGIN
    if marker.is_file():
        match = re.search(r'"release": "(\w+)"', marker.read_text(encoding="utf-8"))
        if match and match[1] in RELEASES:
            return match[1]
    return None


def is_lenient(lists: Path) -> bool:
    """Return whether recordings that are missing or unreadable are left out of these lists by default.

    That is so for the lists of a data set as published: nobody can change them. Lists of one's own name
    recordings that are there.
    """
    return release_of(lists) is not None or (Path(lists) / ORIGIN).is_file()


def class_names(name: str) -> list[str]:
    """Return the display names of a release's label table, in the order of their indices."""
    with open(DATA / name / "labels.csv", encoding="utf-8", newline="") as file:
        return [row["display_name"] for row in csv.DictReader(file)]


def data_root(lists: Path, path: Path) -> Path | DataRoot:
    """Return where the paths of a folder of lists start: ``path`` itself, except for the shipped lists.

    Args:
        lists: Folder of the lists.
        path: Folder that the user named: the release, the folder above it, or its folder of recordings.

    Raises:
        DataNotFound: The recordings of a shipped list are not there.
        ValueError: Several folders could be the release.
    """
    name = release_of(lists)
    return path if name is None else find_root(name, Path(path))


def find_root(name: str, path: Path) -> DataRoot:
    """Find the recordings of a release in ``path``, above it or one folder below it; see ``data_root``."""
    release = RELEASES[name]
    if not path.is_dir():
        found = "is not a folder" if path.exists() else "does not exist"
        raise DataNotFound(f"{path}: {found}; expected the folder of {release.title}")
    classes = set(class_names(name))
    for bases in ([path], above(release, path), below(path)):
        roots = [root for base in bases if (root := match(release, classes, base))]
        if len(roots) > 1:
            names = " and ".join(str(root.path) for root in roots[:3])
            raise ValueError(
                f"{path}: {len(roots)} folders could be {release.title} ({names}); name one of them"
            )
        if roots:
            return roots[0]
    expected = " and ".join(
        f"{part.folders[0]}/" if part.folders[0] else "a folder a word" for part in release.parts
    )
    raise DataNotFound(f"{path}: holds no recordings of {release.title}; expected {expected} in it")


def above(release: Release, path: Path) -> list[Path]:
    """Return the folder that ``path`` would be a folder of recordings of, if its name is one."""
    folders = [folder for part in release.parts for folder in part.folders if folder]
    depths = [
        len(Path(folder).parts)
        for folder in folders
        if path.parts[-len(Path(folder).parts) :] == Path(folder).parts
    ]
    tops = [Path(folder).parts[0] for folder in folders]
    return [path.parents[max(depths) - 1]] if depths else [path.parent] if path.name in tops else []


def below(path: Path) -> list[Path]:
    """Return the folders in a folder, without hidden ones."""
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in islice(entries, MAX_ENTRIES) if entry.is_dir()]
    except OSError:
        return []
    return [path / name for name in sorted(names) if not name.startswith(".")]


def match(release: Release, classes: set[str], base: Path) -> DataRoot | None:
    """Return the root at ``base`` if every part of the release is there."""
    folders = []
    for part in release.parts:
        found = next((f for f in part.folders if holds(base / f, part.holds, classes)), None)
        if found is None:
            return None
        folders.append((part.prefix, found))
    return DataRoot(base, tuple(folders), extension_in(base / folders[0][1]))


def holds(folder: Path, pattern: str, classes: set[str]) -> bool:
    """Return whether a folder holds an entry of a matching name, or a folder of a class."""
    try:
        with os.scandir(folder) as entries:
            if not pattern:
                return any(entry.name in classes and entry.is_dir() for entry in islice(entries, MAX_ENTRIES))
            return any(re.fullmatch(pattern, entry.name) for entry in islice(entries, MAX_ENTRIES))
    except OSError:
        return False


def extension_in(folder: Path) -> str:
    """Return the extension of the recordings in folders of a folder: ``.au`` in GTZAN's first release."""
    for inner in below(folder):
        with os.scandir(inner) as entries:
            names = sorted(entry.name for entry in islice(entries, MAX_ENTRIES))
        found = [os.path.splitext(name)[1] for name in names if not name.startswith(".")]
        found = [extension for extension in found if extension in EXTENSIONS]
        if found:
            return ".wav" if ".wav" in found else found[0]
    return ".wav"


def commands(name: str, words: Sequence[str], noises: bool = False) -> list[str]:
    """Return the steps from an empty disk to a training on a release, as lines for an error message.

    Args:
        name: Release.
        words: Words of the command line that lacks the data.
        noises: Whether the training mixes in MUSAN and room responses, whose folders are missing.
    """
    release = RELEASES[name]
    lines = list(release.unpack)
    kept = without_flags(words, {"-path_data"})
    kept += [] if "-name" in {word.partition("=")[0] for word in kept} else ["-name", "exp", "-tags", "tags"]
    kept += ["-path_data", release.example]
    if noises:
        lines += [
            "python3 ../data/prepare.py musan /data/musan",
            "python3 ../data/prepare.py rirs /data/RIRS_NOISES",
        ]
        kept += ["-path_musan", "/data/musan", "-path_rir", "/data/RIRS_NOISES"]
    return [*lines, shlex.join(["python3", "main.py", *kept])]


def without_flags(words: Sequence[str], flags: set[str]) -> list[str]:
    """Return the words of a command line without some flags and their values."""
    kept, skip = [], False
    for word in words:
        flag, equals, _ = word.partition("=")
        if flag in flags:
            skip = not equals
        elif skip and not word.startswith("-"):
            skip = False
        else:
            kept, skip = [*kept, word], False
    return kept
