"""A dataset's lists by its protocol: folds, or training, validation and test; or trials of speakers."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ipet.corruption import Corruption
from ipet.datasets import Cut, Datasets, EvaluationClips, TrainClips, Trials
from ipet.features import HOP_SAMPLES, covered_samples
from ipet.folds import next_fold
from ipet.list_files import list_file
from ipet.lists import read_clips, read_labels
from ipet.speaker_split import hold_out_speakers
from ipet.trials import read_clip_trials


class Cuts(NamedTuple):
    """How the clips of a training list are cut, and those of every other list."""

    train: Cut
    evaluation: Cut


def log_mel_cuts(
    num_frames: int, window_ms: float, hop_ms: float, train_crop: str = "first", num_segments: int = 1
) -> Cuts:
    """Cuts for log-mels: the first frames of a clip, its mean removed; or segments of it in evaluation."""
    cut = Cut(covered_samples(num_frames, window_ms, hop_ms), zero_mean=True, whole=num_segments > 1)
    return Cuts(Cut(cut.num_samples, train_crop, zero_mean=True), cut)


def waveform_cuts(num_frames: int, num_segments: int = 1, variable_length: bool = False) -> Cuts:
    """Return the cuts of waveforms: a random crop in training, the centre or segments in evaluation.

    A short clip is repeated; with ``variable_length`` it stays short, and the clip that mixup adds to it is
    brought to its length.
    """
    num_samples, repeat = num_frames * HOP_SAMPLES, not variable_length
    evaluation = Cut(num_samples, "centre", repeat=repeat, whole=num_segments > 1)
    return Cuts(Cut(num_samples, "random", repeat=repeat, repeat_mixed=True), evaluation)


class Cell(NamedTuple):
    """One training of a run.

    ``nested``: one fold of the training list is held out, to choose the epoch on.
    """

    seed: int
    fold: int | None = None  # from 1
    nested: bool = False


def fold_datasets(
    cell: Cell,
    cuts: Cuts,
    folder: Path,
    root: Path,
    num_folds: int,
    mixup: float = 0.0,
    check_files: bool = True,
    files: Mapping[str, Path] | None = None,
) -> Datasets:
    """``train_<k>.json`` and ``eval_<k>.json`` of a fold.

    Nested: the clips of the next fold's ``eval`` list are taken out of the training list, as
    ``valid``; ``test`` is then the fold's own ``eval`` list.

    Args:
        folder: of the lists and ``labels.csv``.
        root: where the lists' paths start.
        num_folds: that are asked for, the first ones.
        check_files: see ``read_clips``.
        files: list files in place of the folder's, see ``list_file``.

    Raises: see ``read_labels`` and ``read_clips``; ValueError where nothing is left to train or
        choose on.
    """
    path_of = partial(list_file, folder, files=files, num_folds=num_folds)
    labels = read_labels(path_of("labels.csv"))
    if not path_of(f"train_{cell.fold}.json").is_file():
        found = sum(path_of(f"train_{k}.json").is_file() for k in range(1, num_folds + 1))
        raise FileNotFoundError(
            f"{folder}: no {path_of(f'train_{cell.fold}.json').name}, {found} folds are there; expected the "
            f"{num_folds} of -fold"
        )
    read = partial(read_clips, root=root, labels=labels, check_files=check_files)
    train = read(path_of(f"train_{cell.fold}.json"))
    held_out = {"eval": read(path_of(f"eval_{cell.fold}.json"))}
    if cell.nested:
        held_out_fold = next_fold(folder, cell.fold, num_folds, files)
        chosen = {clip.source for clip in read(path_of(f"eval_{held_out_fold}.json"))}
        valid = [clip for clip in train if clip.source in chosen]
        train = [clip for clip in train if clip.source not in chosen]
        if not train or not valid:
            raise ValueError(
                f"{folder}: with fold {held_out_fold} held out of train_{cell.fold}.json {len(train)} clips "
                f"are left to train on and {len(valid)} to choose the epoch on; -protocol nested needs both, "
                "hence at least 3 folds"
            )
        held_out = {"valid": valid, "test": held_out["eval"]}
    return Datasets(
        TrainClips(train, labels, cuts.train, mixup, cell.seed),
        {name: EvaluationClips(clips, labels, cuts.evaluation) for name, clips in held_out.items()},
    )


def split_datasets(
    cell: Cell,
    cuts: Cuts,
    folder: Path,
    root: Path,
    mixup: float = 0.0,
    check_files: bool = True,
    files: Mapping[str, Path] | None = None,
) -> Datasets:
    """``train.json``, ``valid.json`` and ``test.json``; see ``fold_datasets``."""
    labels = read_labels(list_file(folder, "labels.csv", files))
    train, *others = (
        read_clips(list_file(folder, f"{name}.json", files), root, labels, check_files=check_files)
        for name in ("train", "valid", "test")
    )
    return Datasets(
        TrainClips(train, labels, cuts.train, mixup, cell.seed),
        {n: EvaluationClips(clips, labels, cuts.evaluation) for n, clips in zip(("valid", "test"), others)},
    )


def own_datasets(cell: Cell, cuts: Cuts, **lists) -> Datasets:
    """What lies in a folder of one's own: ``fold_datasets`` of a fold, ``split_datasets`` otherwise."""
    return (split_datasets if cell.fold is None else fold_datasets)(cell, cuts, **lists)


def verification_datasets(
    cell: Cell,
    cuts: Cuts,
    folder: Path,
    root: Path,
    path_trial: Path,
    mixup: float = 0.0,
    check_files: bool = True,
    noises: Mapping | None = None,
    top: int = 0,
    files: Mapping[str, Path] | None = None,
    valid_speakers: int = 0,
) -> Datasets:
    """``train.json`` by speakers, and the utterances of ``train.json`` and ``test.json`` that trials name.

    Args:
        path_trial: the trial list.
        noises: keywords of ``Corruption.from_lists``; None adds none.
        top: over how many training speakers scores are normalised, which makes a cohort of one
            utterance of each of them; 0: none.
        files: see ``fold_datasets``.
        valid_speakers: Number of training speakers that are held out for validation; 0 by the published
            protocol. See ``hold_out_speakers``.

    Raises: see ``fold_datasets`` and ``read_clip_trials``; ValueError where ``top`` is 1 or above the
        number of speakers.
    """
    path_of = partial(list_file, folder, files=files)
    labels = read_labels(path_of("labels.csv"))
    train = read_clips(path_of("train.json"), root, labels, check_files=check_files)
    known = [*train, *read_clips(path_of("test.json"), root, None, check_files=check_files)]
    pairs, targets = read_clip_trials(path_trial, known, root)
    used, pairs = np.unique(pairs, return_inverse=True)
    utterances = EvaluationClips([known[i] for i in used], labels, cuts.evaluation)
    corrupt = Corruption.from_lists(**noises) if noises is not None else None
    one_each = list({clip.classes: clip for clip in reversed(train)}.values())
    if top and not 2 <= top <= len(one_each):
        raise ValueError(f"-as_norm {top}: scores are normalised over 2 to {len(one_each)} training speakers")
    datasets = Datasets(
        TrainClips(train, labels, cuts.train, mixup, cell.seed, corrupt),
        {"eval": utterances},
        Trials(pairs.reshape(-1, 2), targets),
        EvaluationClips(one_each, labels, cuts.evaluation) if top else None,
    )
    return hold_out_speakers(datasets, valid_speakers) if valid_speakers else datasets
