"""What is chosen and checked before the first training of a run: devices, cells, lists, recordings."""

import hashlib
import os
import sys
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from ipet import distributed
from ipet.arguments import PROTOCOL, SEED, folder_of_lists, leaves_out, list_values
from ipet.audio import ClipError, Recordings
from ipet.cache import Cache, build_cache, current_sources
from ipet.checkpoint import remove_unfinished, write_json
from ipet.datasets import Datasets, check_recordings, open_header, unusable
from ipet.devices import best_device, fast_precision
from ipet.ending import MENDABLE
from ipet.folds import next_fold
from ipet.input_report import InputReport
from ipet.list_digests import VERSION, clips_sha256, datasets_sha256, hashed_names
from ipet.list_files import list_file
from ipet.lists import Clip, check_disjoint, check_labelled, read_clips
from ipet.logbook import lock_run, open_run, read_record
from ipet.loggers import check_loggers
from ipet.passport import plain
from ipet.recipe import Recipe
from ipet.releases import DataRoot, data_root
from ipet.segments import check_segments
from ipet.splits import Cell
from ipet.starting_lists import FEWEST_FOUND, StartingLists, starting_lists
from ipet.summary import cell_name, cell_order, planned_cells, read_results
from ipet.warm_start import source_sha256


def choose_device(reproducible: bool) -> torch.device:
    """This process's GPU, or the CPU where there is none.

    Of several processes on Apple silicon each computes on the CPU: no backend of torch's connects them else.

    Raises:
        ValueError: there are more processes than GPUs.
    """
    kind = best_device()
    if kind != "cuda":
        return torch.device(kind if distributed.world_size() == 1 else "cpu")
    if distributed.local_rank() >= torch.cuda.device_count():
        raise ValueError(
            f"process {distributed.local_rank()} has no GPU of its own, {torch.cuda.device_count()} are "
            "there; expected one process a GPU"
        )
    torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32, in convolutions too
    if reproducible:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, finds defects only
    return torch.device("cuda", distributed.local_rank())


def choose_precision(name: str, device: torch.device) -> str:
    """``auto`` is bf16 on a GPU that computes in it, fp32 elsewhere.

    On a CPU bf16 has to be asked for: fp32 there gives the same numbers on every machine and for
    any number of processes.

    Raises:
        ValueError: fp16 on a CPU.
    """
    if name == "auto":
        return fast_precision() if device.type == "cuda" else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise ValueError("-precision fp16 needs a GPU; on a CPU choose bf16 or fp32")
    return name


def recipe_of(args, device: torch.device) -> Recipe:
    """The training part of the arguments."""
    readers = (
        min(8, (os.cpu_count() or 1) // max(1, torch.cuda.device_count())) if device.type == "cuda" else 0
    )
    return Recipe(
        epochs=args.epoch,
        batch_size=args.batch_size,
        lr=args.lr,
        head_lr=args.head_lr,
        prompt_lr=args.prompt_lr,
        gamma=args.gamma,
        decay_start=args.lr_decay_start_epoch,
        decay_end=args.lr_decay_end_epoch,
        schedule=args.lr_schedule or "step",
        warmup=args.warmup_epoch,
        weight_decay=args.weight_decay,
        precision=args.precision,
        frozen_dropout=args.frozen_dropout,
        eval_batch_size=args.eval_batch_size or args.batch_size,
        micro_batch_size=args.micro_batch_size,
        checkpoint_activations=args.checkpoint_activations,
        checkpoint_every=args.checkpoint_every,
        on_nonfinite=args.on_nonfinite,
        balanced=args.balanced_sampler,
        eval_every=args.eval_every,
        patience=args.patience,
        test_every_epoch=args.test_every_epoch,
        keep_features=int(getattr(args, "keep_features", 0) * 2**30),
        num_workers=readers if args.num_workers is None else share_workers(args.num_workers),
        loggers=args.logger,
        amsgrad=args.amsgrad,
        log_every=args.number_iteration_for_log,
    )


def share_workers(total: int) -> int:
    """Return the reader processes of this process, of ``total`` over all processes, rounded up."""
    return -(-total // distributed.world_size())


def task_of(args) -> dict:
    """What a trainer takes for its task."""
    values = {"loss": args.classification_loss, "class_weights": args.class_weights}
    values["prior"] = args.head_bias == "prior"
    return values | ({"scoring": args.scoring, "top": args.as_norm} if "scoring" in args else {})


def choose_cells(args, folder: Path) -> list[Cell]:
    """The trainings that the arguments ask for, seed by seed and fold by fold.

    A run that goes on has those it began with, unless seeds or protocols are given.
    """
    record = folder / "arguments.json"
    before = distributed.from_main(lambda: read_record(record) if args.resume and record.is_file() else {})
    given = args.rand_seed or args.protocol
    args.rand_seed = tuple(args.rand_seed or before.get("rand_seed", [SEED]))
    args.protocol = tuple(args.protocol or before.get("protocol", [PROTOCOL]))
    names = planned_cells(args.rand_seed, args.fold, args.protocol)
    if not given:
        names = before.get("cells", names)
    try:
        return [Cell(seed, fold or None, nested) for seed, fold, nested in map(cell_order, names)]
    except (ValueError, AttributeError):
        raise ValueError(
            f"{record}: {str(names)[:80]} are no trainings of a run; choose another -name"
        ) from None


def few(args, datasets: Datasets, seed: int) -> Datasets:
    """The lists with ``-shots`` training clips of each class, others for each seed; or as they are."""
    if args.shots is None:
        return datasets
    return datasets._replace(train=datasets.train.few(args.shots, seed))


def build_chosen(build_datasets, paths: Container[Path], args, cell: Cell) -> Datasets:
    """The lists that a cell is trained on: without the clips of some recordings, and then a few of them."""
    datasets = build_datasets(args, cell)
    return few(args, without(args, datasets, paths), cell.seed)


def without(args, datasets: Datasets, paths: Container[Path]) -> Datasets:
    """Return the lists without some recordings; of the data sets as published more may be missing."""
    if not paths:
        return datasets
    if args.on_bad_audio == "skip":
        return datasets.without(paths)
    return datasets.without(paths, most=1 - FEWEST_FOUND, trials_too=True)


def find_bad(args, recordings: list[Clip]) -> dict[Path, str]:
    """Return the recordings that cannot be used, and why, where such recordings are left out.

    Raises:
        ClipError: One cannot be used, and none is left out; or a segment lies outside its recording.
    """
    if not leaves_out(args):
        if args.path_cache is None:  # what is in a cache has been decoded once
            check_recordings(recordings)
        check_segments(recordings)
        return {}
    sound = current_sources(args.path_cache, [clip.path for clip in recordings]) if args.path_cache else ()
    bad = unusable(recordings, sound, None if args.on_bad_audio == "skip" else open_header)
    check_segments(clip for clip in recordings if clip.path not in bad)
    return bad


def left_out_names(paths: Container[Path], recordings: list[Clip]) -> list[str]:
    """Return the text that stands in a digest for each recording that is left out."""
    names = hashed_names(clip.name or str(clip.path) for clip in recordings)
    return sorted({names[clip.name or str(clip.path)] for clip in recordings if clip.path in paths})


def shipped_reports(args, recordings: list[Clip], bad: Mapping[Path, str]) -> list[InputReport]:
    """Return what was used and left out of a data set's recordings; nothing for lists of one's own."""
    if args.on_bad_audio is not None or not leaves_out(args):
        return []
    root = data_root(folder_of_lists(args), args.path_data)
    top = root.path if isinstance(root, DataRoot) else root
    report = InputReport(root.describe() if isinstance(root, DataRoot) else str(root))
    report.use("recordings", len({clip.path for clip in recordings}) - len(bad))
    for path, said in bad.items():
        item = os.path.relpath(path, top)
        if path.exists():
            report.leave_out("recordings", f"{item}: {said.rpartition(f'{path}: ')[2]}", "cannot be read")
        else:
            report.leave_out("recordings", item, "not there; the lists and their folds stay as they are")
    return [report]


def use_starting_lists(args) -> StartingLists:
    """Let the arguments name the lists that are read, after those that were missing were written.

    Every process does it; an error stops all of them, and is told once. Lists that flags name are read as
    they are.
    """
    if args.path_training_dataset is not None:
        return StartingLists(args.path_list, [], [])
    found, message, error = None, None, None
    for turn in (distributed.is_main(), not distributed.is_main()):  # the main process tells what it wrote
        if turn:
            try:
                found = starting_lists(args.path_list, args.path_data, args.path_run / ".lists")
            except MENDABLE as raised:
                error = raised
        message = distributed.first_of_ranks(str(error) if error else None)
        if message is not None:
            break
    if message is not None:
        error = error or ValueError(message)
        error.refused = True  # before the run was opened: nothing is written into it
        raise error
    if "path_trial" in args and args.path_trial == args.path_list / "trials.txt":
        args.path_trial = found.folder / "trials.txt"
    args.path_list = found.folder
    return found


def more_trials(args) -> tuple[Path, ...]:
    """The further trial lists, where the task has trials."""
    return getattr(args, "more_trials", ())


def with_trials(args, trials: Path):
    """The arguments with another trial list."""
    return type(args)(**{**vars(args), "path_trial": trials})


def check(
    args, folder: Path, cells: list[Cell], build_datasets, inputs: StartingLists | None = None
) -> tuple[FileLock | None, frozenset[Path]]:
    """Read every list, and open the run's folder, before any work begins.

    The main process does it; an error stops all of them, and is told once.

    Args:
        args: Arguments of the experiment.
        folder: Folder of the run.
        cells: Trainings of the run.
        build_datasets: See ``launch.run``.
        inputs: What ``use_starting_lists`` returned; default: nothing to report.

    Returns:
        The folder's lock, in the main process; and the recordings to leave out.
    """
    error, lock, bad = None, None, {}
    if distributed.is_main():
        try:
            check_loggers(args.logger)
            lists, recordings, digest = read_lists(args, cells, build_datasets)
            if args.fold and (args.path_list / f"train_{args.fold + 1}.json").is_file():
                print(f"note: {args.path_list} holds more folds than the {args.fold} of -fold", flush=True)
            bad = find_bad(args, recordings)
            digest.update(repr(left_out_names(bad, recordings)).encode() if bad else b"")
            for datasets in lists:
                few(args, without(args, datasets, bad), cells[0].seed)
            arguments = json_values(args)
            arguments["experiment"] = Path(sys.argv[0]).resolve().parent.name
            arguments["cells"] = [cell_name(*cell) for cell in cells]
            arguments["lists_sha256"] = VERSION + digest.hexdigest()  # a run does not go on with other lists
            if args.init_adapter is not None:
                arguments["init_adapter_sha256"] = adapter_sha256(args, folder)
            lock = lock_run(folder)
            remove_unfinished(folder)
            existed = open_run(folder, arguments, Path(sys.argv[0]).resolve().parent, args.resume)
            read_results(folder)  # the summary's, which is written when a training has ended
            inputs = inputs or StartingLists(args.path_list, [], [])
            reports = [*inputs.reports, *shipped_reports(args, recordings, bad)]
            if reports:
                write_json(folder / "inputs.json", [report.as_dict() for report in reports])
            for line in [*inputs.notes, *(line for report in reports for line in report.warnings())]:
                print(f"note: {line}", flush=True)
            if bad:
                write_json(folder / "skipped_clips.json", {str(path): said for path, said in bad.items()})
                first = next(iter(bad.values()))
                print(
                    f"note: {len(bad)} recordings cannot be used and are left out, see "
                    f"{folder / 'skipped_clips.json'}; the first: {first}",
                    flush=True,
                )
            if args.resume and not existed:
                print(f"nothing to resume in {folder}: a new run begins", flush=True)
        except MENDABLE as found:
            if lock is not None:
                lock.release()
            error = found
            error.refused = True  # before the run was opened: nothing is written into it
    message = distributed.from_main(lambda: str(error) if error else None)
    if message is not None:
        raise error or ValueError(message)
    return lock, distributed.from_main(lambda: frozenset(bad))


def adapter_sha256(args, folder: Path) -> str:
    """Return the SHA-256 of the adapter that a run begins from; that of a resumed run may be gone by now."""
    try:
        return source_sha256(args.init_adapter)
    except FileNotFoundError:
        record = folder / "arguments.json"
        known = read_record(record).get("init_adapter_sha256") if record.is_file() else None
        if not args.resume or not isinstance(known, str):
            raise
        return known


def read_lists(args, cells: list[Cell], build_datasets) -> tuple[list[Datasets], list[Clip], Any]:
    """Return everything that a run reads: its lists, their recordings, and a digest of all lists."""
    # The lists of a run are those of its folds, whatever seeds and protocols are asked for.
    folds = list(dict.fromkeys(Cell(cells[0].seed, cell.fold) for cell in cells))
    digest, recordings = hashlib.sha256(), []
    lists = [build_datasets(args, cell) for cell in folds]
    for datasets in lists:
        check_leakage(datasets)
        if len(datasets.train.labels.mids) < 2 and args.classification_loss == "cce":
            raise ValueError(f"{args.path_list}: its labels.csv has one class alone; expected two or more")
        if args.classification_loss == "cce":
            for clips in datasets.lists if datasets.trials is None else [datasets.train]:
                check_labelled(clips.clips)
        digest.update(repr(datasets.train.labels.mids).encode())
        digest.update(repr(datasets_sha256(datasets)).encode())
        for clips in (datasets.train, *datasets.evaluation.values()):
            recordings += clips.clips
        if datasets.train.corrupt is not None:
            noises = datasets.train.corrupt.paths
            recordings += [Clip(path, (), "noise and rooms of the training clips") for path in noises]
            digest.update(repr(list(hashed_names(map(str, noises)).values())).encode())
    # -protocol nested, which may be added later, reads the list of a further fold, too.
    files = list_values(args)["files"]
    further = [next_fold(args.path_list, cell.fold, args.fold, files) for cell in folds if cell.fold]
    for path in [list_file(args.path_list, f"eval_{fold}.json", files, args.fold) for fold in further]:
        if path.is_file():
            clips = read_clips(path, args.path_data, lists[0].train.labels, check_files=False)
            digest.update(clips_sha256(clips, hashed_names(clip.name for clip in clips)).encode())
    for cell in {cell.fold: cell for cell in cells if cell.nested}.values():
        lists.append(build_datasets(args, cell))
    for trials in more_trials(args):
        lists.append(build_datasets(with_trials(args, trials), cells[0]))
        check_leakage(lists[-1])
        recordings += lists[-1].evaluation[lists[-1].reported].clips
    return lists, recordings, digest


def check_leakage(datasets: Datasets) -> None:
    """Refuse lists that share a clip; where trials name training utterances, say so.

    Trials over all of VoxCeleb1 (E, H) are meant for models that were trained on other data.
    """
    if datasets.trials is None:
        check_disjoint(datasets.train.clips, *(clips.clips for clips in datasets.evaluation.values()))
        return
    trained = {clip.path for clip in datasets.train.clips}
    tested = datasets.evaluation[datasets.reported]
    heard = sum(clip.path in trained for clip in tested.clips)
    if heard:
        print(
            f"note: {heard:,} of the {len(tested):,} utterances of the trials are in "
            "the training list; their error rates are no measure of unknown speakers, nor is AS-norm's "
            "cohort one of strangers",
            flush=True,
        )


def json_values(args) -> dict:
    """The arguments as JSON values."""
    return {key: plain(value) for key, value in sorted(vars(args).items())}


def open_cache(args, cells: list[Cell], build_datasets):
    """What samples are read from: files, or a cache that holds all of them, decoded where they are not yet.

    One process of each machine decodes; an error there stops all.
    """
    if args.path_cache is None:
        return Recordings()
    error = None
    if distributed.local_rank() == 0:
        try:
            # All seeds hear the same lists, but for the few clips that each of them draws.
            heard = [cell for cell in cells if args.shots or cell.seed == cells[0].seed]
            datasets = [build_datasets(args, cell) for cell in heard]
            datasets += [build_datasets(with_trials(args, t), cells[0]) for t in more_trials(args)]
            paths = dict.fromkeys(path for lists in datasets for path in lists.paths)
            build_cache(args.path_cache, list(paths), num_workers=os.cpu_count() or 1)
        except ClipError as found:
            clips = (clip for lists in datasets for part in lists.lists for clip in part.clips)
            where = next((f"{clip.where}: " for clip in clips if str(clip.path) in str(found)), "")
            error = ClipError(f"{where}{found}")
        except MENDABLE as found:
            error = found
    message = distributed.first_of_ranks(str(error) if error else None)
    if message is not None:
        raise error or ValueError(message)
    return Cache(args.path_cache)
