"""The recordings behind the rows of a run's predictions, and excerpts of them to listen to."""

import io
from collections.abc import Container, Mapping
from pathlib import Path

import numpy as np
import soundfile

from ipet.audio import SAMPLE_RATE, Recordings
from ipet.checkpoint import file_sha256, write_atomically
from ipet.lists import read_clips, read_labels
from ipet.segments import Segment, sample_span
from ipet.trials import read_clip_trials

SECONDS = 10  # of an excerpt, at most


def check_list(path: Path, sha256: Mapping[str, str]) -> Path:
    """The path of a list that is as it was in training.

    Raises:
        FileNotFoundError, ValueError: it is not there, or has changed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the list is no longer there")
    if sha256.get(path.name, (found := file_sha256(path))) != found:
        raise ValueError(f"{path}: the list is another one than in training")
    return path


def evaluated_clips(
    folder: Path, root: Path, fold: int, targets: np.ndarray, sha256: Mapping[str, str], bad: Container[Path]
) -> list[tuple[Path | Segment, ...]]:
    """The recording or segment of each row of the predictions on ``eval_<fold>.json``, or ``test.json``.

    Args:
        folder: of the lists.
        root: where their paths start.
        fold: from 1; 0: none.
        targets: [N, C] of the predictions.
        sha256: of the lists in training, by file name; one that is not known is not compared.
        bad: recordings that were left out.

    Raises:
        FileNotFoundError, ValueError: the list is not there, not the one of training, or damaged.
    """
    path = check_list(folder / (f"eval_{fold}.json" if fold else "test.json"), sha256)
    labels = read_labels(check_list(folder / "labels.csv", sha256))
    clips = [clip for clip in read_clips(path, root, labels, check_files=False) if clip.path not in bad]
    classes = [tuple(np.flatnonzero(row).tolist()) for row in targets]
    if classes != [tuple(sorted(set(clip.classes))) for clip in clips]:
        raise ValueError(f"{path}: the list is another one than in training")
    return [(clip.source,) for clip in clips]


def trial_clips(
    folder: Path, root: Path, path_trial: Path, targets: np.ndarray, sha256: Mapping[str, str]
) -> list[tuple[Path, ...]]:
    """The two recordings of each trial; see ``evaluated_clips``.

    Args:
        path_trial: the list of the trials.
        targets: [N] of the predictions.
    """
    lists = [check_list(folder / name, sha256) for name in ("train.json", "test.json")]
    known = [clip for path in lists for clip in read_clips(path, root, None, check_files=False)]
    pairs, found = read_clip_trials(check_list(path_trial, sha256), known, root)
    if not np.array_equal(found, targets.astype(bool)):
        raise ValueError(f"{path_trial}: the list is another one than in training")
    return [(known[a].path, known[b].path) for a, b in pairs]


def write_excerpt(path: Path, recording: Path | Segment) -> float:
    """Write the beginning of a recording or segment: 16 kHz, mono, 16 bits, FLAC or WAV by name.

    Returns:
        Its seconds.

    Raises:
        OSError, ClipError: the recording cannot be read; or ``path`` not be written.
    """
    first, most = 0, SECONDS * SAMPLE_RATE
    if isinstance(recording, Segment):
        first, number = sample_span(recording.start, recording.end)
        recording, most = recording.path, most if number is None else min(number, most)
    samples = Recordings().read(recording, first, most).numpy()
    buffer = io.BytesIO()
    soundfile.write(
        buffer, np.clip(samples, -1, 1), SAMPLE_RATE, format=path.suffix[1:].upper(), subtype="PCM_16"
    )
    write_atomically(path, buffer.getvalue())
    return len(samples) / SAMPLE_RATE
