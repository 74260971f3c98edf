"""Lists of clips and tables of labels, checked as they are read."""

import csv
import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import torch
from torch import Tensor

from ipet.clip_entries import read_times
from ipet.files import readable_size
from ipet.printable import control_character
from ipet.releases import DataRoot, data_root
from ipet.segments import Segment, sample_span

COLUMNS = ("index", "mid", "display_name")


@dataclass(frozen=True)
class Labels:
    """The classes of a dataset, in the order of their indices.

    Args:
        path: of the table.
        mids: a class's id in the lists, such as ``/m/07rwj00``.
        names: what people call it.
    """

    path: Path
    mids: tuple[str, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.mids)


@dataclass(frozen=True)
class Clip:
    """One entry of a list: a recording, or a part of it.

    Args:
        path: File of the recording.
        classes: Indices of its classes; empty for a clip of no class.
        where: List and entry, for messages.
        name: Path as the list has it, ``wav``.
        label: Labels as the list has them.
        start: Beginning of the part in seconds.
        end: End of the part in seconds; infinity for the end of the recording.
    """

    path: Path
    classes: tuple[int, ...]
    where: str
    name: str = ""
    label: str = ""
    start: float = 0.0
    end: float = math.inf

    @property
    def is_segment(self) -> bool:
        """Whether the clip is a part of its recording."""
        return self.start > 0 or self.end < math.inf

    @property
    def span(self) -> tuple[int, int | None]:
        """The first sample at 16 kHz, and the number of samples; None: up to the end."""
        return sample_span(self.start, self.end)

    @property
    def source(self) -> Path | Segment:
        """What the clip is heard from: its file, or a part of it."""
        return Segment(self.path, self.start, self.end) if self.is_segment else self.path

    def overlaps(self, other: "Clip") -> bool:
        """Return whether two clips share audio of one file."""
        return self.path == other.path and self.start < other.end and other.start < self.end


def read_labels(path: str | Path) -> Labels:
    """Read a label table: CSV with the columns ``index``, ``mid`` and ``display_name``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a column is missing, the indices are not 0, 1, 2, ..., an id comes twice, a field is
            longer than 128 KiB or holds a control character.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such label table; expected a CSV with {', '.join(COLUMNS)}: python3 data/prepare.py "
            "writes it, or -path_list names another folder"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin with a byte-order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error}") from None
    reader = csv.DictReader(text.splitlines())
    try:
        found, rows = reader.fieldnames, list(reader)
    except csv.Error as error:
        raise ValueError(
            f"{path}: line {reader.reader.line_num}: {error}; expected {', '.join(COLUMNS)}"
        ) from None
    absent = [column for column in COLUMNS if column not in (found or ())]
    if absent:
        raise ValueError(
            f"{path}: column {absent[0]!r} is missing; found {str(found)[:200]}, expected {list(COLUMNS)}"
        )
    if not rows:
        raise ValueError(f"{path}: names no label; expected one a line")
    for i, row in enumerate(rows):
        if row["index"] != str(i):
            raise ValueError(f"{path}: line {i + 2} has index {str(row['index'])[:80]!r}, expected {i}")
        empty = [column for column in COLUMNS if not row[column]]
        if empty:
            raise ValueError(f"{path}: line {i + 2} has no {empty[0]}; expected {', '.join(COLUMNS)}")
        for column in COLUMNS:
            check_text(row[column], f"{path}: line {i + 2}", column)
    mids = tuple(row["mid"] for row in rows)
    twice, times = max(Counter(mids).items(), key=itemgetter(1))
    if times > 1:
        raise ValueError(f"{path}: label {twice[:80]!r} comes {times} times; expected once")
    return Labels(path, mids, tuple(row["display_name"] for row in rows))


def read_clips(
    path: str | Path,
    root: str | Path,
    labels: Labels | None,
    flag: str = "-path_data",
    check_files: bool = True,
) -> list[Clip]:
    """Read a list ``{"data": [{"wav": ..., "labels": "mid[,mid...]"}, ...]}``.

    An entry may have ``start`` and ``end`` in seconds: the clip is that part of the recording. Empty
    ``labels`` are a clip of no class, which only a task of several labels can have (``check_labelled``).

    Args:
        path: the JSON file.
        root: the folder that relative ``wav`` paths start from, and stay in; absolute ones work too. For the
            shipped lists also a folder near it, see ``releases.data_root``.
        labels: the table that the labels come from; None: they may be any, and no class is kept.
        flag: what names the root on the command line.
        check_files: a file that is missing or empty is an error; otherwise that is left to ``unusable``.

    Raises:
        FileNotFoundError: the list, or a clip it names, is not there.
        ValueError: not such a list; a clip lacks a key, has a label that is not in the table, comes twice,
            leaves ``root`` by its ``..``, has a control character in its path, or is an empty file.
    """
    path, root = Path(path), data_root(Path(path).parent, Path(root))
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list of clips")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # the latter: a hostile depth
        raise ValueError(f"{path}: not JSON: {error}") from None
    entries = content.get("data") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f'{path}: expected {{"data": [{{"wav": ..., "labels": ...}}, ...]}} with a clip')
    index = {mid: i for i, mid in enumerate(labels.mids)} if labels else {}
    clips = [read_entry(path, i, entry, root, labels, index) for i, entry in enumerate(entries)]
    check_once(path, clips)
    if check_files:
        for clip in clips:
            check_file(clip, flag)
    return clips


def read_entry(
    path: Path, i: int, entry, root: Path | DataRoot, labels: Labels | None, index: dict[str, int]
) -> Clip:
    """Check entry ``i`` of the list at ``path``; see ``read_clips``."""
    where = f"{path}: clip {i}"
    for key in ("wav", "labels"):
        found = entry.get(key) if isinstance(entry, dict) else None
        if not isinstance(found, str) or (key == "wav" and not found):
            raise ValueError(f"{where} lacks {key!r}; found {json.dumps(entry)[:200]}")
        check_text(found, where, repr(key))
    file = below(root, entry["wav"], where)
    mids = entry["labels"].split(",") if labels and entry["labels"] else []
    unknown = [mid for mid in mids if mid not in index]
    if unknown:
        raise ValueError(
            f"{where} ({entry['wav'][-200:]}) has label {unknown[0][:200]!r}, which is not among the "
            f"{len(labels)} labels of {labels.path}"
        )
    classes = tuple(index[mid] for mid in mids)
    return Clip(file, classes, where, entry["wav"], entry["labels"], *read_times(entry, where))


def check_labelled(clips: Sequence[Clip]) -> None:
    """Raise ValueError where a clip has no class, which a task of one label cannot have."""
    without = [clip for clip in clips if not clip.classes]
    if without:
        raise ValueError(
            f"{without[0].where} ({without[0].source}) has no label, as {len(without):,} of {len(clips):,} "
            "clips have none; a task of one label needs one for each clip: give them a class, or train a "
            "task of several labels by -classification_loss bce"
        )


def check_text(text: str, where: str, what: str) -> None:
    """Raise ValueError where a path or a name holds a character that has no place there."""
    control = control_character(text)
    if control is not None:
        raise ValueError(f"{where}: {what} holds the control character {control}; expected text in one line")


def below(root: Path | DataRoot, name: str, where: str) -> Path:
    """The file that a list calls ``name``: one path of one file, however it is written.

    A link inside ``root`` may lead anywhere: who owns the folder made it, and not who wrote the list.

    Raises:
        ValueError: it is relative, and leaves ``root`` by its ``..``.
    """
    if isinstance(root, DataRoot):
        root, name = root.path, root.locate(name)
    if os.pardir in name and Path(os.path.normpath(name)).parts[:1] == (os.pardir,):
        raise ValueError(
            f"{where}: {name[:200]} leaves {root}, the folder that the list's paths start from; expected a "
            "path inside it, or an absolute one"
        )
    return Path(os.path.normpath(root / name))


def check_once(path: Path, clips: Sequence[Clip]) -> None:
    """Raise ValueError where a clip comes twice in a list: it would count twice."""
    places: dict[Path | Segment, int] = {}
    for i, clip in enumerate(clips):
        first = places.setdefault(clip.source, i)
        if first != i:
            raise ValueError(f"{path}: clips {first} and {i} are both {clip.source}; expected each once")


def check_file(clip: Clip, flag: str) -> None:
    """Raise FileNotFoundError or ValueError where a clip's file is missing, not to be looked at or empty."""
    try:
        size = readable_size(clip.path, "expected a file that can be read")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{clip.where}: {error}; is {flag} the folder that the list's paths start from?"
        ) from None
    except OSError as error:
        raise ValueError(f"{clip.where}: {error}") from None
    if size == 0:
        raise ValueError(f"{clip.where}: {clip.path}: the file is empty (0 bytes); expected audio")


def check_disjoint(*lists: Sequence[Clip]) -> None:
    """Raise ValueError where a clip is in two of the lists, such as training and test."""
    seen: dict[Path, list[Clip]] = {}
    for clips in lists:
        shared = [
            (clip, other) for clip in clips for other in seen.get(clip.path, ()) if clip.overlaps(other)
        ]
        if shared:
            clip, other = shared[0]
            number = len({one.source for one, _ in shared})
            raise ValueError(
                f"{clip.where}: {clip.source} is also {other.where}: {number} clips "
                "are in both lists; training, validation and test must be disjoint"
            )
        for clip in clips:
            seen.setdefault(clip.path, []).append(clip)


def multi_hot(classes: Sequence[int], num_classes: int) -> Tensor:
    """Class indices -> [C] ones and zeros."""
    target = torch.zeros(num_classes)
    target[list(classes)] = 1.0
    return target
