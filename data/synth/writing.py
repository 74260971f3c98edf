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
from pathlib import Path
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


def receipt(parameters: dict) -> bytes:
    """The bytes of the file that says what a set was made from."""
    return json.dumps(parameters, indent=1).encode() + b"\n"


def check_folder(folder: Path, parameters: dict) -> None:
    """Raise unless ``folder`` is new, empty, or holds a set of the same parameters."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: is a file; expected a new or empty folder")
    if (folder / RECEIPT).is_file():
        if (folder / RECEIPT).read_bytes() != receipt(parameters):
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
    contents = plan.tables | {RECEIPT: receipt(parameters)}
    return all((folder / path).is_file() for path in [*plan.clips, *contents]) and all(
        (folder / path).read_bytes() == content for path, content in contents.items()
    )


def remove_set(folder: Path, plan_of: Callable[[dict], Plan]) -> None:
    """Delete the files of the set that was generated in a folder; others stay.

    Args:
        folder: Folder of the set, or any other, which is left as it is.
        plan_of: Function from the parameters of a receipt to the plan of its set.
    """
    if not (folder / RECEIPT).is_file():
        return
    try:
        plan = plan_of(json.loads((folder / RECEIPT).read_bytes()))
    except (ImportError, KeyError, TypeError, ValueError):  # no receipt of ours
        return
    folders = set()
    for path in [
        *plan.clips,
        *plan.tables,
        RECEIPT,
    ]:  # the receipt last: an interrupted removal can be repeated
        (folder / path).unlink(missing_ok=True)
        folders.update(parent for parent in Path(path).parents if parent != Path())
    for path in sorted(folders, reverse=True):
        with contextlib.suppress(OSError):  # it holds other files
            (folder / path).rmdir()


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
    check_folder(folder, parameters)
    # The receipt comes first and the tables last: an interrupted run can be repeated, and is not
    # taken for a whole set before.
    replace_file(folder / RECEIPT, receipt(parameters))
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
