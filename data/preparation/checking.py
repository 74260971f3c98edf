"""What no list may have: clips that are not there, empty files, classes that are never heard."""

from collections.abc import Iterable
from pathlib import Path

from preparation.lists import Clip, Label, listing

WAV_HEADER_BYTES = 44  # a WAV file of this size or less holds no samples


def check_on_disk(wavs: Iterable[str], num_bytes: dict[str, int], root: Path, path: Path) -> None:
    """Raise if a clip that ``path`` names is not under ``root``, or holds no samples."""
    wavs = sorted(wavs)
    missing = [wav for wav in wavs if wav not in num_bytes]
    if missing:
        raise FileNotFoundError(
            f"{path}: {len(missing):,} of its {len(wavs):,} clips are not in {root}: {listing(missing)}"
        )
    empty = [wav for wav in wavs if num_bytes[wav] <= WAV_HEADER_BYTES]
    if empty:
        raise ValueError(
            f"{path}: {len(empty):,} of its {len(wavs):,} clips are empty files: {listing(empty)}"
        )


def check_classes(labels: list[Label], lists: dict[str, list[Clip]], root: Path) -> list[str]:
    """Raise if a training list has no clip of a class; note it of the other lists."""
    notes = []
    for name, clips in lists.items():
        if not clips:
            raise ValueError(f"{root}: {name}.json would be empty")
        found = {mid for clip in clips if clip.labels for mid in clip.labels.split(",")}
        absent = [label.display_name for label in labels if label.mid not in found]
        if not absent:
            continue
        message = f"{name}.json has no clip of {listing(absent)}"
        if name.startswith("train"):
            raise ValueError(f"{root}: {message}")
        notes.append(message)
    return notes
