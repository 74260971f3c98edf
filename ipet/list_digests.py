"""SHA-256 digests of what lists hold: recordings by their listed paths, classes and trials.

A digest does not depend on where the data lie: relative paths are hashed as they are listed, absolute ones
below the folder that the absolute ones of all lists have in common.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence

from ipet.lists import Clip

VERSION = "2:"  # begins the digest of all lists; an earlier version hashed file names without their folders
EARLIER = (
    "its digest of the lists is of an earlier version, which hashed file names without their folders, and "
    "cannot tell whether the lists are the same"
)


def is_current(digest) -> bool:
    """Return whether a digest of all lists was made by this version."""
    return isinstance(digest, str) and digest.startswith(VERSION)


def hashed_names(names: Iterable[str]) -> dict[str, str]:
    """Return the text that stands for each listed path in a digest.

    Args:
        names: The paths of all lists that belong together.
    """
    names = list(dict.fromkeys(names))
    absolute = [name for name in names if os.path.isabs(name)]
    common = os.path.commonpath([os.path.dirname(os.path.normpath(name)) for name in absolute] or ["/"])
    return {n: os.path.relpath(n, common) if os.path.isabs(n) else os.path.normpath(n) for n in names}


def clips_sha256(clips: Sequence[Clip], names: dict[str, str]) -> str:
    """Return the digest of the clips of a list, in their order, with their classes.

    Args:
        names: See ``hashed_names``.
    """
    rows = [
        (names[listed_name(clip)], clip.classes, *((clip.start, clip.end) if clip.is_segment else ()))
        for clip in clips
    ]
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def listed_name(clip: Clip) -> str:
    """Return the path of a clip as its list has it."""
    return clip.name or str(clip.path)


def datasets_sha256(datasets) -> dict[str, str]:
    """Return the digest of each list of a training's ``Datasets``; a list with trials includes them."""
    lists = {"train": datasets.train.clips} | {n: c.clips for n, c in datasets.evaluation.items()}
    names = hashed_names(listed_name(clip) for clips in lists.values() for clip in clips)
    found = {name: clips_sha256(clips, names) for name, clips in lists.items()}
    for name, trials in ((datasets.reported, datasets.trials), ("valid", datasets.valid_trials)):
        if trials is not None:
            values = trials.pairs.tobytes() + trials.targets.tobytes()
            found[name] = hashlib.sha256(found[name].encode() + values).hexdigest()
    return found
