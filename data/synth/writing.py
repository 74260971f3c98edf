"""Write a generated set: every clip over the processes, the same bytes whatever their number.

A set's module has one function, ``plan(size, seed) -> Plan``; a size is one of ``SIZES``.
"""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import soundfile
from tqdm import tqdm

SIZES = ("tiny", "demo", "large")
RECEIPT = "synthetic.json"  # marks a folder as made here, and says from what


class Plan(NamedTuple):
    """The files of a set: clips, each rendered from a few values of its own, and tables."""

    clips: dict[str, Any]  # path below the set's folder -> what ``render`` takes: small, picklable
    render: Callable[[Any], bytes]  # a function of a module: -> the bytes of that file
    tables: dict[str, bytes]  # path -> bytes; written when every clip is


def check_size(size: str) -> None:
    """Raise unless ``size`` is one of ``SIZES``."""
    if size not in SIZES:
        raise ValueError(f"size is {size!r}; expected {', '.join(SIZES[:-1])} or {SIZES[-1]}")


def wav_bytes(waveform: np.ndarray, sample_rate: int) -> bytes:
    """The bytes of a 16-bit mono WAV file.

    Args:
        waveform: [T] samples in [-1, 1].
        sample_rate: samples a second.

    Raises:
        ValueError: the waveform is not [T], or a sample is outside [-1, 1] or no number.
    """
    if waveform.ndim != 1:
        raise ValueError(f"waveform has shape {waveform.shape}; expected [T]")
    peak = np.abs(waveform).max(initial=0)
    if not peak <= 1:  # nan is not
        raise ValueError(f"waveform has the peak {peak}; expected samples in [-1, 1]")
    samples = np.round(32767 * waveform).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, subtype="PCM_16", format="WAV")
    return file.getvalue()


def receipt(parameters: dict, plan: Plan) -> bytes:
    """Return the bytes of the file that records what a set was made from, and its files."""
    files = sorted([*plan.clips, *plan.tables])
    return json.dumps({**parameters, "files": files}, indent=1).encode() + b"\n"


def check_folder(folder: Path, parameters: dict, plan: Plan) -> None:
    """Raise OSError unless ``folder`` is new, empty, or holds a set of the same parameters and files."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: is a file; expected a new or empty folder")
    if (folder / RECEIPT).is_file():
        if (folder / RECEIPT).read_bytes() != receipt(parameters, plan):
            raise FileExistsError(
                f"{folder}: holds a generated set of other parameters (see {RECEIPT} in it); "
                "delete it or choose another folder"
            )
    elif any(folder.iterdir()):
        raise FileExistsError(
            f"{folder}: holds files that were not made here; expected a new or empty folder"
        )


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that is never seen half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_clip(path: str, clip: Any, folder: Path, render: Callable[[Any], bytes]) -> None:
    """Render one clip into its file."""
    replace_file(folder / path, render(clip))


def sources_digest() -> str:
    """Of all modules of this package: a set that other code made may have other bytes."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def is_whole(folder: Path, parameters: dict, plan: Plan) -> bool:
    """Whether ``folder`` holds all files of a set of these parameters."""
    contents = plan.tables | {RECEIPT: receipt(parameters, plan)}
    return all((folder / path).is_file() for path in [*plan.clips, *contents]) and all(
        (folder / path).read_bytes() == content for path, content in contents.items()
    )


def remove_set(folder: Path) -> None:
    """Delete the files of the generated set in a folder that its receipt records; others stay."""
    try:
        paths = [PurePosixPath(path) for path in json.loads((folder / RECEIPT).read_bytes())["files"]]
    except (OSError, ValueError, KeyError, TypeError):  # no receipt, or not one of ours
        return
    if any(path.is_absolute() or ".." in path.parts for path in paths):
        return
    for path in paths:
        (folder / path).unlink(missing_ok=True)
    (folder / RECEIPT).unlink()  # last: an interrupted removal can be repeated
    for parent in sorted({parent for path in paths for parent in path.parents}, reverse=True):
        if parent.parts:
            with contextlib.suppress(OSError):  # it holds other files
                (folder / parent).rmdir()


def write_set(folder: Path, parameters: dict, plan: Plan, processes: int | None = None) -> int:
    """Write a set and return its number of clips.

    A second run with the same parameters writes the same bytes again.

    Args:
        folder: new, empty, or holding a set of these parameters.
        parameters: what the set is made from, as JSON can say it.
        plan: its files.
        processes: how many render clips; every core where it is None.

    Raises:
        OSError: ``folder`` holds anything but a set of the same parameters.
    """
    check_folder(folder, parameters, plan)
    # The receipt comes first and the tables last: an interrupted run can be repeated, and is not
    # taken for a whole set before.
    replace_file(folder / RECEIPT, receipt(parameters, plan))
    write = partial(write_clip, folder=folder, render=plan.render)
    bar = partial(tqdm, total=len(plan.clips), desc="synthesising", unit="clip", leave=False, disable=None)
    processes = processes or os.cpu_count() or 1
    if processes == 1:
        for path, clip in bar(plan.clips.items()):
            write(path, clip)
    else:
        with ProcessPoolExecutor(processes) as pool:
            written = pool.map(write, plan.clips, plan.clips.values(), chunksize=4)
            for _ in bar(written):
                pass
    for path, content in plan.tables.items():
        replace_file(folder / path, content)
    return len(plan.clips)
