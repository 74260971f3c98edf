"""Lists of verification trials: their lines, and the recordings that their names mean."""

import difflib
import os
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from ipet.audio_formats import scan_recordings
from ipet.input_report import InputReport
from ipet.lists import Clip, below
from ipet.printable import CONTROL, spelt

MAX_CANDIDATES = 3  # names in a message
MAX_COMPARED = 2000  # names that an unknown one is compared with
VOXCELEB_PARTS = 3  # speaker/video/utterance.wav
TRIALS = {"1": True, "0": False, "target": True, "nontarget": False}


def read_trial_rows(path: str | Path) -> list[list[str]]:
    """The three fields of every trial of a list, ``1 spk/video/utt.wav spk/video/utt.wav`` a line.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: not text, a line has not three fields or begins with none of 1, 0, target and nontarget.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such list of trials; python3 data/prepare.py voxceleb1 writes it, or -path_trial "
            "names another"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error}") from None
    odd = next((found for found in CONTROL.finditer(text) if found[0] not in "\t\r\n"), None)
    if odd is not None:
        line = text.count("\n", 0, odd.start()) + 1
        raise ValueError(f"{path}: line {line} holds the control character {spelt(odd[0])}; expected text")
    rows = [trial_fields(line) for line in text.split("\n")]
    for i, row in enumerate(rows):
        if row and (len(row) != 3 or row[0] not in TRIALS):
            raise ValueError(
                f"{path}: line {i + 1} is {' '.join(row)[:200]!r}; expected '1 utterance utterance' (one "
                "speaker) or '0 utterance utterance' (two)"
            )
    trials = [row for row in rows if row]
    if not trials:
        raise ValueError(f"{path}: holds no trial; expected '1 utterance utterance' or '0 ...' a line")
    return trials


def trial_fields(line: str) -> list[str]:
    """Split a line of a trial list at white space, or at its two tabs, so that names may hold spaces."""
    if line.strip().count("\t") == 2:
        return [field.strip() for field in line.strip().split("\t")]
    return line.split()


def read_trials(
    path: str | Path, utterances: Mapping[str, int], root: str | Path | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a list of trials.

    Args:
        path: File of lines ``1 spk/video/utt.wav spk/video/utt.wav``: 1 or target for the same speaker, 0 or
            nontarget for different ones.
        utterances: Index of every utterance, by the name that a list of clips gives it. Trials may name it in
            any way that ``UtteranceNames`` resolves.
        root: Folder that relative names start from.

    Returns:
        [N, 2] int64 indices of utterances and [N] bool, True for targets.

    Raises:
        FileNotFoundError, ValueError: see ``read_trial_rows``.
        ValueError: A name is unknown or ambiguous; all trials are targets, or none is.
    """
    kinds, enrolled, tested = zip(*read_trial_rows(path))
    index = resolve_trial_names(Path(path), dict.fromkeys(chain(enrolled, tested)), utterances, root)
    pairs = np.array([[index[name] for name in enrolled], [index[name] for name in tested]], dtype=np.int64).T
    targets = np.array([TRIALS[kind] for kind in kinds])
    if targets.all() or not targets.any():
        raise ValueError(
            f"{path}: {targets.sum()} of the {len(targets)} trials are targets; expected targets and "
            "nontargets"
        )
    return np.ascontiguousarray(pairs), targets


def read_clip_trials(
    path: str | Path, clips: Sequence[Clip], root: str | Path
) -> tuple[np.ndarray, np.ndarray]:
    """Read trials of listed clips; see ``read_trials``.

    Args:
        clips: Clips of one or more lists; of a recording that several have, the first clip is meant.
        root: Folder that the lists' relative names start from.

    Returns:
        [N, 2] positions in ``clips`` and [N] bool, True for targets.
    """
    parts = [clip for clip in clips if clip.is_segment]
    if parts:
        raise ValueError(
            f"{parts[0].where}: {parts[0].source} is a part of a recording, as {len(parts):,} of "
            f"{len(clips):,} clips; trials name whole recordings: remove start and end"
        )
    first = {clip.path: i for i, clip in reversed(list(enumerate(clips)))}
    return read_trials(path, {clip.name: first[clip.path] for clip in clips}, root)


def resolve_trial_names(
    path: Path,
    names: Iterable[str],
    utterances: Mapping[str, int],
    root: str | Path | None,
    among: str = "the list of clips",
) -> dict[str, int]:
    """Return the utterance of every name in a trial list.

    Args:
        among: Name of what holds the utterances, for messages.

    Raises:
        ValueError: A name is unknown or ambiguous; the message has its line and the candidates.
    """
    known, index, unknown = UtteranceNames(utterances, root), {}, []
    names = list(names)
    for name in names:
        found = known.find(name)
        if len(found) > 1:
            several = ", ".join(found[:MAX_CANDIDATES]) + ", ..." * (len(found) > MAX_CANDIDATES)
            raise ValueError(
                f"{path}: line {line_of(path, {name})} names utterance {name}, which may be {several}; "
                f"expected a name as {among} has it"
            )
        if found:
            index[name] = utterances[found[0]]
        else:
            unknown.append(name)
    if unknown:
        first = unknown[0]
        close = known.similar(first)
        hint = f" (the closest: {', '.join(close)})" if close else ""
        raise ValueError(
            f"{path}: line {line_of(path, {first})} names utterance {first}, which is not in {among}"
            f"{hint}; {len(unknown)} of the {len(names)} utterances are unknown, "
            f"{len(set(utterances.values()))} are known"
        )
    return index


def line_of(path: Path, names: Container[str]) -> int:
    """Return the number of the first line of a trial list with one of some names."""
    lines = (trial_fields(line) for line in path.read_text(encoding="utf-8-sig").split("\n"))
    return next(number for number, row in enumerate(lines, 1) for name in row[1:] if name in names)


class UtteranceNames:
    """The names of a list's recordings, and what other names for them mean.

    A name is resolved by the first of these rules that finds a recording. Recordings that a rule finds in
    equal right make the name ambiguous.

    1. The list has exactly this name.
    2. It is the same file: ``./a/b.wav`` for ``a/b.wav``, an absolute path for a relative one.
    3. One of the two ends with the other, in whole folders: ``id1/video/1.wav`` for
       ``test/wav/id1/video/1.wav``, or the other way round.
    4. The last three parts are equal, VoxCeleb's ``speaker/video/utterance.wav``.
    5. Rule 3 or 4 finds it where the suffixes are left out: ``id1/video/1.wav`` for ``id1/video/1.m4a``.

    A name of a file below ``root`` that the list has not is unknown: it never means another recording.

    Args:
        utterances: Index of every utterance by its name; names with the same index are one recording.
        root: Folder that relative names start from; None: no file is looked for.
    """

    def __init__(self, utterances: Mapping[str, int], root: str | Path | None = None):
        self.utterances, self.root = utterances, None if root is None else os.path.abspath(root)
        self.files: dict[str, str] = {self.file(name): name for name in reversed(utterances)}
        self.parts = {name: tuple(split_path(name)) for name in utterances}
        self.stems = {name: without_suffix(own) for name, own in self.parts.items()}
        # By whether suffixes count, and length; made when they are needed.
        self.ends: dict[tuple[bool, int], dict[tuple[str, ...], list[str]]] = {}

    def file(self, name: str) -> str:
        """Return the path of the file that a name means, as one spelling."""
        return os.path.normpath(name if self.root is None else os.path.join(self.root, name))

    def ending_with(self, parts: Sequence[str], suffixes: bool = True) -> list[str]:
        """Return the listed names that end with some parts.

        Args:
            suffixes: Whether the suffix of the file counts; without it, ``parts`` have none either.
        """
        key = suffixes, len(parts)
        if key not in self.ends:
            ends: dict[tuple[str, ...], list[str]] = {}
            for name, own in (self.parts if suffixes else self.stems).items():
                if len(own) >= len(parts):
                    ends.setdefault(own[-len(parts) :], []).append(name)
            self.ends[key] = ends
        return self.ends[key].get(tuple(parts), [])

    def sharing_end(self, parts: Sequence[str], suffixes: bool = True) -> list[str]:
        """Return the listed names of which one end is the other, or VoxCeleb's three last parts are equal."""
        found = self.ending_with(parts, suffixes) if parts else []
        for i in range(1, len(parts)):  # the listed name is the shorter one
            shorter = self.ending_with(parts[i:], suffixes)
            found = found + [other for other in shorter if len(self.parts[other]) == len(parts) - i]
        if not found and len(parts) > VOXCELEB_PARTS:
            found = self.ending_with(parts[-VOXCELEB_PARTS:], suffixes)
        return found

    def find(self, name: str) -> list[str]:
        """Return the listed names that a name may mean: one, or none if unknown, or several if ambiguous."""
        if name in self.utterances:
            return [name]
        if self.file(name) in self.files:
            return [self.files[self.file(name)]]
        if self.root is not None and os.path.isfile(self.file(name)):
            return []
        parts = tuple(split_path(name))
        found = self.sharing_end(parts) or self.sharing_end(without_suffix(parts), suffixes=False)
        return list({self.utterances[other]: other for other in reversed(found)}.values())[::-1]

    def similar(self, name: str) -> list[str]:
        """Return a few listed names that an unknown name may have been meant as."""
        parts = split_path(name)
        same_file = self.ending_with(parts[-1:]) if parts else []
        return same_file[:MAX_CANDIDATES] or difflib.get_close_matches(
            name, list(self.parts)[:MAX_COMPARED], 1
        )


def split_path(name: str) -> list[str]:
    """Return the parts of a path without ``.``, ``..`` resolved; Windows' separators count, too."""
    return [part for part in os.path.normpath(name.replace("\\", "/")).split("/") if part not in ("", ".")]


def without_suffix(parts: Sequence[str]) -> tuple[str, ...]:
    """Return the parts of a path without the suffix of the file."""
    return (*parts[:-1], os.path.splitext(parts[-1])[0]) if parts else ()


def trial_files(trials: Path, names: Iterable[str], root: Path) -> dict[str, Path]:
    """Return the recording of every name in a trial list.

    Names are paths from ``root``, or absolute. A name that is no such file is resolved among the recordings
    below ``root``, as training resolves it among those of its lists.

    Args:
        trials: Path of the list, for messages.
        names: Names, each once.
        root: Folder that the names start from.

    Raises:
        ValueError: A name is unknown or ambiguous, or leaves ``root``.
    """
    files = {name: below(root, name, f"{trials}") for name in names}
    absent = [name for name, file in files.items() if not file.exists()]
    if absent and root.is_dir():
        try:
            recordings = scan_recordings([root], InputReport(str(root)))
        except FileNotFoundError:
            recordings = []
        there = {p.relative_to(root).as_posix(): i for i, p in enumerate(recordings)}
        paths = list(there)
        found = resolve_trial_names(trials, absent, there, root, among=f"the folder {root}")
        files |= {name: below(root, paths[i], f"{trials}") for name, i in found.items()}
    return files
