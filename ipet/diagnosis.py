"""What lists of recordings suffer from: leaks, contradictions, uneven classes, silence and other faults."""

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ipet.audio import SAMPLE_RATE
from ipet.audio_formats import decodable_suffixes
from ipet.examination import Examination
from ipet.fingerprint import near_duplicates
from ipet.label_findings import name_faults
from ipet.levels import EMPTY_DB, LARGEST_SAMPLE, SILENT_DB
from ipet.lists import Clip, Labels, read_clips, read_labels
from ipet.segments import Segment, read_source, source_name

SURE = 0.95  # correlation of a contradiction: two syllables that share a vowel reach 0.91
CLIPPED = 0.001  # share of samples at full scale that is heard as distortion
OFFSET = 0.01  # of full scale
SHORTEST = 0.025  # s, a frame
UNEVEN = 10  # times as many clips of the largest class as of the smallest
FEW = 5  # clips of a class to train on
GRAVITIES = {"mend": "To be mended", "check": "To be looked at", "note": "Good to know"}
SPLITS = ("train", "valid", "test")


class Finding(NamedTuple):
    """One thing that was found."""

    gravity: str  # of GRAVITIES
    code: str  # its name, for programs
    text: str  # what the examples are
    examples: list[str]  # all there are


class Alike(NamedTuple):
    """Two recordings that sound the same, each with its copies, and how alike their waveforms are."""

    one: list[Path]
    other: list[Path]
    alike: float


@dataclass(frozen=True)
class Lists:
    """Lists of clips that belong together.

    Args:
        folder: that they lie in.
        root: where their paths start.
        labels: their table.
        clips: by the list's name.
        apart: names of lists that must not share audio; the first of each is trained on.
        trials: speakers are verified; those of the test list have no class.
    """

    folder: Path
    root: Path
    labels: Labels
    clips: dict[str, list[Clip]]
    apart: list[tuple[str, ...]] = field(default_factory=list)
    trials: bool = False

    @property
    def num_folds(self) -> int:
        """0 where there are no folds."""
        return len(self.apart) if "train_1" in self.clips and self.apart else 0

    @property
    def training(self) -> list[str]:
        """Names of the lists that are trained on; of a single list, its own."""
        return [names[0] for names in self.apart] or list(self.clips)

    def short(self, source: Path | Segment) -> str:
        """Return a clip's path as the lists write it, with the times of a segment."""
        return source_name(source, self.root)

    def has_classes(self, name: str) -> bool:
        """Return whether the clips of a list have known classes: not those of a test list of trials."""
        return not (self.trials and name == "test")


def read_lists(path: Path, root: Path | None) -> Lists:
    """Read a folder of lists, or one list beside its ``labels.csv``.

    Args:
        path: the folder, or the JSON file.
        root: where the lists' paths start; their folder if not given.

    Raises:
        FileNotFoundError: there is nothing, or no list, or none of the recordings.
        ValueError: see ``read_clips``; a fold lacks one of its two lists.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder or list; data/prepare.py writes them")
    folder = (path if path.is_dir() else path.parent).resolve()
    root = (root or folder).resolve()
    names, apart = ([path.stem], []) if path.is_file() else names_of_lists(folder)
    labels = read_labels(folder / "labels.csv")
    trials = path.is_dir() and (folder / "trials.txt").is_file()
    clips = {}
    for name in names:
        table = None if trials and name == "test" else labels
        file = path if path.is_file() else folder / f"{name}.json"
        clips[name] = read_clips(file, root, table, check_files=False)
    some = {clip.path for of_list in clips.values() for clip in of_list}
    if not any(one.is_file() for one in some):
        raise FileNotFoundError(
            f"{root}: none of the {len(some):,} recordings is there, such as {next(iter(some))}; is "
            "-path_data the folder that the lists' paths start from?"
        )
    return Lists(folder, root, labels, clips, apart, trials)


def names_of_lists(folder: Path) -> tuple[list[str], list[tuple[str, ...]]]:
    """The names of a folder's lists, and which must not share audio; see ``Lists``."""
    found = {file.stem for file in folder.glob("*.json")}
    folds = {name.partition("_")[2] for name in found if name.startswith(("train_", "eval_"))}
    if folds:
        apart = [(f"train_{k}", f"eval_{k}") for k in sorted(folds, key=lambda k: (len(k), k))]
        names = [name for pair in apart for name in pair]
        absent = [name for name in names if name not in found]
        if absent:
            raise ValueError(f"{folder}: has no {absent[0]}.json, though the fold's other list is there")
        return names, apart
    names = [name for name in SPLITS if name in found]
    if "train" not in names:
        decodable = decodable_suffixes()
        sound = any(path.suffix.lower() in decodable for path in folder.rglob("*"))
        more = f"; python3 data/prepare.py folder {folder} writes lists of its recordings" if sound else ""
        raise FileNotFoundError(
            f"{folder}: holds neither train_1.json nor train.json; expected lists as data/prepare.py writes "
            f"them, or name one list{more}"
        )
    return names, [tuple(names)] if len(names) > 1 else []


# Findings -----------------------------------------------------------------------------------------


class Patient:
    """Lists with what was found in their recordings.

    Args:
        lists: what ``read_lists`` returned.
        sound, broken: what ``examine_all`` returned.

    Attributes: ``places``, the lists that each path is in; ``classes``, every set of classes that it was
    given; ``copies``, groups of paths with the same samples; ``near``, pairs that sound the same.
    """

    def __init__(self, lists: Lists, sound: dict[Path, Examination], broken: dict[Path, str]):
        self.lists, self.sound, self.broken = lists, sound, broken
        self.places: dict[Path | Segment, set[str]] = {}
        self.classes: dict[Path | Segment, set[tuple[int, ...]]] = {}
        for name, clips in lists.clips.items():
            for clip in clips:
                self.places.setdefault(clip.source, set()).add(name)
                known = self.classes.setdefault(clip.source, set())
                if lists.has_classes(name):
                    known.add(tuple(sorted(clip.classes)))
        alike: dict[bytes, list[Path]] = {}
        for path, found in sound.items():
            if found.fingerprint is not None and found.level_db >= SILENT_DB:  # all silence is alike
                alike.setdefault(found.digest, []).append(path)
        self.groups = list(alike.values())
        self.copies = [group for group in self.groups if len(group) > 1]
        pairs = near_duplicates(
            [sound[group[0]].fingerprint for group in self.groups],
            lambda i: read_source(self.groups[i][0]),
        )
        self.near = [Alike(self.groups[one], self.groups[other], alike) for one, other, alike in pairs]

    def crosses(self, paths: Iterable[Path]) -> bool:
        """Whether some recordings of the same audio are in lists that must not share any."""
        places = set().union(*(self.places[path] for path in paths))
        return any(len(places.intersection(names)) > 1 for names in self.lists.apart)

    def disagree(self, paths: Iterable[Path]) -> bool:
        """Whether some recordings of the same audio have different labels."""
        known = set().union(*(self.classes[path] for path in paths))
        return len(known) > 1

    def named(self, path: Path) -> str:
        """A recording, with its lists and classes."""
        names = self.lists.labels.names
        classes = " or ".join(
            ", ".join(names[c] for c in known) or "no class" for known in sorted(self.classes[path])
        )
        evaluated = [name for name in self.places[path] if name not in self.lists.training]
        where = sorted(evaluated or self.places[path])
        return f"{self.lists.short(path)} ({', '.join([*where, classes] if classes else where)})"

    def findings(self) -> list[Finding]:
        """All of them, the gravest first."""
        found = [*self.of_files(), *self.of_audio(), *self.of_names(), *self.of_classes(), *self.of_sound()]
        found = [finding for finding in found if finding.examples]
        return sorted(found, key=lambda finding: list(GRAVITIES).index(finding.gravity))

    def of_files(self) -> Iterable[Finding]:
        """Recordings that cannot be used, and clips that are listed twice."""
        broken = [f"{self.lists.short(path)}: {reason}" for path, reason in self.broken.items()]
        yield Finding("mend", "unusable", "recordings that cannot be used", broken)
        twice = [
            f"{self.lists.short(path)} in {name}"
            for name, clips in self.lists.clips.items()
            for path, number in Counter(clip.source for clip in clips).items()
            if number > 1
        ]
        yield Finding("check", "listed_twice", "clips that a list has more than once", twice)

    def of_audio(self) -> Iterable[Finding]:
        """The same audio in two lists, with two labels, or twice."""
        leaks = [[path] for path in self.places if self.crosses([path])]
        known = {path for group in leaks for path in group}
        leaks += [group for group in self.copies if self.crosses(group) and known.isdisjoint(group)]
        text = "leakage, the same audio in training and evaluation"
        yield Finding("mend", "leakage", text, self.group_texts(leaks))
        near = [pair for pair in self.near if self.crosses([*pair.one, *pair.other])]
        text = "leakage, pairs in training and evaluation that sound the same up to gain, coding or delay"
        yield Finding("mend", "near_leakage", text, self.pair_texts(near))

        overlaps = self.overlapping_segments()
        text = "leakage, segments in training and evaluation that share a part of a recording"
        yield Finding("mend", "segment_leakage", text, [pair for pair, overlap in overlaps if overlap])
        text = "segments of one recording in training and evaluation"
        yield Finding("check", "shared_recording", text, [pair for pair, overlap in overlaps if not overlap])

        torn = [[path] for path, known in self.classes.items() if len(known) > 1]
        torn += [group for group in self.copies if self.disagree(group)]
        text = "contradictions, the same audio with different labels"
        yield Finding("mend", "contradiction", text, self.group_texts(torn))
        unlike = [pair for pair in self.near if self.disagree([*pair.one, *pair.other])]
        text = "contradictions, pairs that sound the same with different labels"
        sure = [pair for pair in unlike if pair.alike >= SURE]
        yield Finding("mend", "near_contradiction", text, self.pair_texts(sure))
        text = "pairs that sound much alike with different labels"
        doubtful = [pair for pair in unlike if pair.alike < SURE]
        yield Finding("check", "perhaps_contradiction", text, self.pair_texts(doubtful))

        same = [group for group in self.copies if not self.crosses(group)]
        yield Finding("check", "copies", "the same audio more than once in a list", self.group_texts(same))
        rest = [p for p in self.near if not self.crosses([*p.one, *p.other])]
        rest = [p for p in rest if not self.disagree([*p.one, *p.other])]
        yield Finding("note", "near_copies", "pairs in a list that sound the same", self.pair_texts(rest))

    def overlapping_segments(self) -> list[tuple[str, bool]]:
        """Return pairs of clips of one recording in lists that are apart, and whether they overlap.

        Of each recording the first pair is named, an overlapping one if there is one.
        """
        of_file: dict[Path, list[tuple[str, Clip]]] = {}
        for name, clips in self.lists.clips.items():
            for clip in clips:
                of_file.setdefault(clip.path, []).append((name, clip))
        found = []
        for clips in of_file.values():
            if not any(clip.is_segment for _, clip in clips):
                continue
            pairs = [
                (not a.overlaps(b), i, a.source, b.source)
                for i, ((one, a), (other, b)) in enumerate(itertools.combinations(clips, 2))
                if a.source != b.source
                and any({one, other} <= set(names) for names in self.lists.apart)
                and one != other
            ]
            if pairs:
                apart, _, a, b = min(pairs)
                found.append((f"{self.named(a)} and {self.named(b)}", not apart))
        return found

    def group_texts(self, groups: Iterable[list[Path]]) -> list[str]:
        """A line each, its recordings with signs of equality between."""
        return [" = ".join(map(self.named, group)) for group in groups]

    def pair_texts(self, pairs: Iterable[Alike]) -> list[str]:
        """A line each, the most alike first, with the correlation of their waveforms."""
        ordered = sorted(pairs, key=lambda pair: -pair.alike)
        return [f"{self.named(p.one[0])} ~ {self.named(p.other[0])}, {p.alike:.2f}" for p in ordered]

    def of_names(self) -> Iterable[Finding]:
        """Return faults of class names; see ``name_faults``."""
        total = np.sum(list(class_counts(self.lists).values()), axis=0)
        for fault in name_faults(dict(zip(self.lists.labels.names, map(int, total)))):
            yield Finding(*fault)

    def of_classes(self) -> Iterable[Finding]:
        """Classes without clips, and uneven ones."""
        names = self.lists.labels.names
        counts = class_counts(self.lists)
        evaluated, lone, absent = [], [], []
        for training, *others in self.lists.apart if not self.lists.trials else ():
            for c, name in enumerate(names):
                has = [other for other in others if counts[other][c]]
                if has and not counts[training][c]:
                    evaluated.append(f"{name} in {', '.join(has)}")
                if counts[training][c] and not has:
                    lone.append(f"{name} in {training}")
                elif counts[training][c]:
                    absent += [f"{name} in {other}" for other in others if other not in has]
        yield Finding("mend", "untrained", "classes evaluated without a clip to train on", evaluated)
        total = np.sum(list(counts.values()), axis=0)
        empty = [name for name, number in zip(names, total) if not number]
        yield Finding("check", "empty_class", "classes of labels.csv without a clip", empty)
        yield Finding("check", "single_list", "classes with clips to train on and none to evaluate", lone)
        yield Finding("note", "absent", "classes that an evaluation list lacks", absent)
        trained = training_counts(self.lists)
        some = sorted((int(number), name) for name, number in zip(names, trained) if number)
        few = [f"{name}: {number}" for number, name in some if number < FEW]
        yield Finding("check", "few", f"classes with fewer than {FEW} clips to train on", few)
        if some and some[-1][0] >= UNEVEN * some[0][0]:
            ratio = some[-1][0] / some[0][0]
            text = f"uneven classes, the largest with {ratio:.0f} times the clips of the smallest"
            ends = [f"{name}: {number:,}" for number, name in (some[-1], some[0])]
            yield Finding("check", "uneven", text, ends)

    def of_sound(self) -> Iterable[Finding]:
        """Yield faults of levels and channels, rates and lengths."""
        faults = (
            (
                "mend",
                "cancelled",
                "recordings whose channels cancel each other out in their mean, which is heard",
                is_cancelled,
            ),
            (
                "mend",
                "scale",
                f"recordings with samples far outside [-1, 1], above {LARGEST_SAMPLE:g}, such as integers "
                "written as floats",
                lambda e: e.levels.is_out_of_scale,
            ),
            (
                "check",
                "empty_channel",
                f"recordings with an empty channel, {EMPTY_DB:g} dB below the loudest; it lowers their mean",
                lambda e: bool(e.levels.empty_channels),
            ),
            ("check", "constant", "recordings of one constant value", is_constant),
            ("check", "silent", f"silent recordings, RMS below {SILENT_DB} dBFS", is_silent),
            (
                "check",
                "clipped",
                f"clipped recordings, above {100 * CLIPPED:g} % of their samples at full scale",
                lambda e: e.clipped > CLIPPED,
            ),
            (
                "check",
                "offset",
                f"recordings with an offset (DC) above {100 * OFFSET:g} % of full scale",
                lambda e: abs(e.offset) > OFFSET and not e.levels.is_out_of_scale,
            ),
            ("check", "short", "recordings shorter than a frame of 25 ms", lambda e: e.seconds < SHORTEST),
            (
                "check",
                "low_rate",
                "recordings of a rate below 16 kHz, empty above half of it, where backbones hear up to 8 kHz",
                lambda e: e.sample_rate < SAMPLE_RATE,
            ),
            (
                "note",
                "high_rate",
                "recordings of a rate above 16 kHz, of which nothing above 8 kHz is heard",
                lambda e: e.sample_rate > SAMPLE_RATE,
            ),
            (
                "note",
                "channels",
                "recordings of several channels, of which the mean is heard",
                lambda e: e.num_channels > 1,
            ),
        )
        for gravity, code, text, has in faults:
            examples = [self.lists.short(path) for path, found in self.sound.items() if has(found)]
            yield Finding(gravity, code, text, examples)


def is_cancelled(found: Examination) -> bool:
    """Return whether the channels cancel each other out in their mean."""
    return found.levels.is_cancelled


def is_silent(found: Examination) -> bool:
    """Return whether there is next to nothing to hear, though the samples of each channel differ."""
    return found.fingerprint is not None and found.level_db < SILENT_DB and not is_cancelled(found)


def is_constant(found: Examination) -> bool:
    """Return whether every channel holds one value alone."""
    return found.fingerprint is None and not is_cancelled(found)


def class_counts(lists: Lists) -> dict[str, np.ndarray]:
    """[C] clips of each class, by list."""
    counts = {name: np.zeros(len(lists.labels), dtype=int) for name in lists.clips}
    for name, clips in lists.clips.items():
        np.add.at(counts[name], [c for clip in clips for c in clip.classes], 1)
    return counts


def training_counts(lists: Lists) -> np.ndarray:
    """[C] clips of each class in the training lists, a recording once."""
    distinct = {clip.source: clip for name in lists.training for clip in lists.clips[name]}
    chosen = [c for clip in distinct.values() for c in clip.classes]
    return np.bincount(np.array(chosen, dtype=int), minlength=len(lists.labels))
