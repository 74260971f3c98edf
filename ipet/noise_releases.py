"""The recordings of MUSAN and RIRS_NOISES, found in the folders that the archives were extracted into."""

import os
from pathlib import Path

FOLDERS = {  # list: the folders of its recordings, below the root of the release
    "music": ("music",),
    "noise": ("noise",),
    "speech": ("speech",),
    "simulated": tuple(f"simulated_rirs/{size}room" for size in ("small", "medium", "large")),
}
ROOTS = ("", "musan", "RIRS_NOISES")  # of a release, below the folder that the user gives


def find_recordings(root: Path, name: str) -> list[Path]:
    """Return the WAV files that ``data/prepare.py`` would write into a list, in its order.

    Args:
        root: Folder of the release, or the one above it.
        name: Name of the list: ``music``, ``noise``, ``speech`` or ``simulated``.

    Returns:
        The paths; empty where ``root`` does not hold all folders of the list.
    """
    for top in (Path(root) / name for name in ROOTS):
        if all((top / folder).is_dir() for folder in FOLDERS[name]):
            found = [path for folder in FOLDERS[name] for path in recordings_below(top / folder)]
            return sorted(found, key=lambda path: path.relative_to(top).as_posix())
    return []


def recordings_below(folder: Path) -> list[Path]:
    """Return the WAV files below a folder; hidden files, such as macOS's ``._a.wav``, are not recordings."""
    return [
        Path(place) / name
        for place, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(".wav") and not name.startswith(".")
    ]
