"""What is prepared: clip lists, a label table, and the counts that are printed."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ipet.clip_entries import ListedClip as Clip
from ipet.clip_entries import list_text
from ipet.input_report import InputReport
from ipet.printable import control_character

NUM_EXAMPLES = 3  # names shown of what is missing or wrong


class Label(NamedTuple):
    """One class; its index is its place in the table."""

    mid: str
    display_name: str


class Row(NamedTuple):
    """One line of the printed table."""

    name: str
    found: int
    official: int | None = None  # what the release holds, where there is a release


@dataclass
class Lists:
    """What a dataset's function found: everything that is written and printed."""

    labels: list[Label]
    clips: dict[str, list[Clip]]  # by list name: "train_1" becomes train_1.json
    table: list[Row]
    notes: list[str] = field(default_factory=list)  # worth reading, no reason to stop
    texts: dict[str, str] = field(default_factory=dict)  # further files, by name
    experiment: str = (
        ""  # that the closing command suggests; none: one's own, which the doctor looks at first
    )
    flags: tuple[str, ...] = ()  # that it needs
    mixed_in_by: str = ""  # or the flag by which an experiment adds these recordings to its own
    report: InputReport | None = None  # what was supplied, used and left out

    def files(self) -> dict[str, str]:
        """The text of every file, by file name.

        Raises:
            ValueError: a path or a name holds a control character, for which a training would refuse it.
        """
        words = [word for clips in self.clips.values() for clip in clips for word in (clip.wav, clip.labels)]
        words += [word for label in self.labels for word in label]
        odd = next((word for word in words if control_character(word) is not None), None)
        if odd is not None:
            raise ValueError(f"{odd[:200]!r} holds a control character; rename it: expected text in one line")
        lists = {f"{name}.json": list_text(clips) for name, clips in self.clips.items()}
        return {"labels.csv": label_table(self.labels), **lists, **self.texts}

    def training_clips(self) -> list[Clip]:
        """Return the distinct clips of all training lists, without their labels."""
        train = (clips for name, clips in self.clips.items() if name.startswith("train"))
        return sorted({clip._replace(labels="") for clips in train for clip in clips})


def listing(names: Iterable) -> str:
    """The first few names, and how many more there are."""
    names = [str(name) for name in names]
    more = len(names) - NUM_EXAMPLES
    return ", ".join(names[:NUM_EXAMPLES]) + (f" and {more:,} more" if more > 0 else "")


def fold_lists(fold_of: dict[Clip, int]) -> dict[str, list[Clip]]:
    """``train_<k>`` with all folds but k and ``eval_<k>`` with fold k, of each fold k."""
    lists = {}
    for k in sorted(set(fold_of.values())):
        lists[f"train_{k}"] = sorted(clip for clip, fold in fold_of.items() if fold != k)
        lists[f"eval_{k}"] = sorted(clip for clip, fold in fold_of.items() if fold == k)
    return lists


def label_table(labels: list[Label]) -> str:
    """The CSV text of a label table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "mid", "display_name"])
    writer.writerows([index, *label] for index, label in enumerate(labels))
    return text.getvalue()
