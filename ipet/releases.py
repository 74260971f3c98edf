"""The five data sets whose lists ``data/`` ships, and where an unpacked release keeps their recordings.

Light on purpose: a command line without data is answered before torch is loaded.
"""

import csv
import math
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ipet.parsing import REPOSITORY

DATA = REPOSITORY / "data"
ORIGIN = "origin.json"  # in a folder of lists that was derived from shipped or published ones
MAX_ENTRIES = 10_000  # of a folder that are looked at
MAX_FOLDERS = 2_000  # of one depth below the root that are looked into
MAX_DEPTH = 3  # of folders below and above the root that are searched
MOST_CLASSES = 0.5  # share of the class folders that tells a release from folders of like names
EXTENSIONS = (".wav", ".au", ".flac")  # of copies of the releases


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
        unpack: Commands, or comments, from an empty disk to ``example``, one a line.
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
        (Part("audio", ("audio", "audio_16k", ""), r"\d-\d+-[A-Z]-\d+\.(wav|flac)"),),
        "/data/ESC-50-master",
        (
            "curl -L -o /data/ESC-50.zip https://github.com/karolpiczak/ESC-50/archive/master.zip",
            "unzip /data/ESC-50.zip -d /data  # writes ESC-50-master/audio/",
        ),
    ),
    "fsd50k": Release(
        "FSD50K",
        (
            Part(
                "FSD50K.dev_audio",
                ("FSD50K.dev_audio", "FSD50K.dev_audio_16k", "dev_audio"),
                r"\d+\.(wav|flac)",
            ),
            Part(
                "FSD50K.eval_audio",
                ("FSD50K.eval_audio", "FSD50K.eval_audio_16k", "eval_audio"),
                r"\d+\.(wav|flac)",
            ),
        ),
        "/data/FSD50K",
        (
            "# download FSD50K.dev_audio.z* and FSD50K.eval_audio.z* from https://zenodo.org/records/4060432",
            "for part in dev eval; do zip -s 0 FSD50K.${part}_audio.zip --out $part.zip; "
            "unzip $part.zip -d /data/FSD50K; done",
        ),
    ),
    "gtzan": Release(
        "GTZAN",
        (Part("genres_original", ("genres_original", "Data/genres_original", "genres", ""), ""),),
        "/data/GTZAN",
        ("# unpack GTZAN (Tzanetakis and Cook 2002) to /data/GTZAN: genres_original/blues/ or genres/",),
    ),
    "speechcommands": Release(
        "Speech Commands V2",
        (Part("", ("",), ""),),
        "/data/speech_commands_v0.02",
        (
            "mkdir -p /data/speech_commands_v0.02",
            "curl -L http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz | "
            "tar -xz -C /data/speech_commands_v0.02",
        ),
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
            "# download both archives as https://www.robots.ox.ac.uk/~vgg/data/voxceleb says",
            "unzip vox1_dev_wav.zip -d /data/voxceleb1/dev  # writes wav/",
            "unzip vox1_test_wav.zip -d /data/voxceleb1/test",
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
        extension: Extension of the recordings on disk, as it is spelled there.
        same_case: Whether names on disk are spelled as in the lists; otherwise case is ignored.
    """

    path: Path
    folders: tuple[tuple[str, str], ...]
    extension: str = ".wav"
    same_case: bool = True

    def locate(self, wav: str) -> str:
        """Return the path on disk, relative to the root, of a path in a list."""
        for prefix, folder in self.folders:
            if prefix and not wav.startswith(f"{prefix}/"):
                continue
            rest = wav[len(prefix) + 1 :] if prefix else wav
            place = f"{folder}/{rest}" if folder else rest
            if self.extension != ".wav":
                place = place.removesuffix(".wav") + self.extension
            return place if self.same_case else self.spelled.get(place.casefold(), place)
        return wav

    @cached_property
    def spelled(self) -> dict[str, str]:
        """Return the recordings on disk, relative to the root, by their names without case."""
        found = {}
        for top in dict.fromkeys(folder for _, folder in self.folders):
            for folder, _, files in os.walk(self.path / top):
                start = Path(os.path.relpath(folder, self.path)).as_posix()
                places = (name if start == "." else f"{start}/{name}" for name in files)
                found |= {place.casefold(): place for place in places}
        return found

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
    """Find the recordings of a release in a folder, below it or above it; see ``data_root``.

    A folder with most of the classes goes before one with a few: words such as ``house`` are names of other
    folders, too.
    """
    release = RELEASES[name]
    if not path.is_dir():
        found = "is not a folder" if path.exists() else "does not exist"
        raise DataNotFound(f"{path}: {found}; expected the folder of {release.title}")
    path, classes = path.absolute(), class_names(name)
    for bases, num_classes in search(path, math.ceil(MOST_CLASSES * len(classes))):
        roots = [root for base in bases if (root := match(release, classes, base, num_classes))]
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


def search(path: Path, most: int) -> Iterator[tuple[list[Path], int]]:
    """Yield folders to look for a release in, the likeliest first, and how many of its classes must be there.

    Args:
        path: Folder that the user named.
        most: Number of classes that is enough for the release; fewer count where no folder has so many.
    """
    levels = [[path], below(path)]
    yield levels[0], most
    yield levels[1], most
    for folder in path.parents[: MAX_DEPTH + 1]:
        yield [folder], most
    while len(levels) <= MAX_DEPTH:
        levels.append(list(islice((inner for base in levels[-1] for inner in below(base)), MAX_FOLDERS)))
        yield levels[-1], most
    for level in levels:
        yield level, 1


def below(path: Path) -> list[Path]:
    """Return the folders in a folder, without hidden ones and those that macOS adds to archives."""
    try:
        with os.scandir(path) as entries:
            names = [entry.name for entry in islice(entries, MAX_ENTRIES) if entry.is_dir()]
    except OSError:
        return []
    return [path / name for name in sorted(names) if not name.startswith((".", "__MACOSX"))]


def match(release: Release, classes: Sequence[str], base: Path, num_classes: int) -> DataRoot | None:
    """Return the root at ``base`` if every part of the release is there.

    Args:
        num_classes: Fewest folders of classes, where these tell the release.
    """
    found, same_case = [], True
    for part in release.parts:
        for folder in dict.fromkeys(as_spelled(base, folder) for folder in part.folders):
            if folder is not None and holds(base / folder, part.holds, classes, num_classes):
                found.append((part.prefix, folder))
                break
        else:
            return None
        same_case &= folder in part.folders and holds(base / folder, part.holds, classes, num_classes, True)
    return DataRoot(base, tuple(found), extension_in([base / folder for _, folder in found]), same_case)


def as_spelled(base: Path, folder: str) -> str | None:
    """Return a relative folder as it is spelled on disk, in whatever case; None if it is not there."""
    here, parts = base, []
    for part in Path(folder).parts:
        if not (here / part).is_dir():
            part = next((other.name for other in below(here) if other.name.casefold() == part.casefold()), "")
            if not part:
                return None
        here, parts = here / part, [*parts, part]
    return "/".join(parts)


def holds(
    folder: Path, pattern: str, classes: Sequence[str], num_classes: int, same_case: bool = False
) -> bool:
    """Return whether a folder holds an entry of a matching name, or else enough folders of classes.

    Args:
        same_case: Whether the case of names counts.
    """
    fold = str if same_case else str.casefold
    names = set(map(fold, classes))
    try:
        with os.scandir(folder) as entries:
            if not pattern:
                found = (
                    fold(entry.name) in names and entry.is_dir() for entry in islice(entries, MAX_ENTRIES)
                )
                return sum(found) >= num_classes
            matches = re.compile(pattern, 0 if same_case else re.IGNORECASE).fullmatch
            return any(matches(entry.name) for entry in islice(entries, MAX_ENTRIES))
    except OSError:
        return False


def extension_in(folders: Sequence[Path]) -> str:
    """Return the extension of the recordings in folders, or one or two levels below: ``.au`` in old GTZAN."""
    for folder in folders:
        levels = [folder]
        for _ in range(MAX_DEPTH):
            found = next((extension for inner in levels if (extension := extension_of(inner))), "")
            if found:
                return found
            levels = list(islice((inner for base in levels for inner in below(base)), MAX_FOLDERS))
    return ".wav"


def extension_of(folder: Path) -> str:
    """Return the extension of the recordings in a folder, ``.wav`` before others; empty: it has none."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in islice(entries, MAX_ENTRIES))
    except OSError:
        return ""
    found = {os.path.splitext(name)[1] for name in names if not name.startswith(".")}
    found = sorted(found, key=lambda extension: (extension.lower() != ".wav", extension != ".wav", extension))
    return next((extension for extension in found if extension.lower() in EXTENSIONS), "")


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
            "curl -L https://www.openslr.org/resources/17/musan.tar.gz | tar -xz -C /data  # writes musan/",
            "curl -L -o /data/rirs_noises.zip https://www.openslr.org/resources/28/rirs_noises.zip",
            "unzip /data/rirs_noises.zip -d /data  # writes RIRS_NOISES/",
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
