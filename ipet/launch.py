"""run(): processes, folds, the run's folder, errors, and the summary."""

import contextlib
import hashlib
import logging
import os
import re
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Container
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ipet import distributed
from ipet.arguments import PROTOCOL, SEED
from ipet.audio import ClipError, Recordings
from ipet.cache import Cache, build_cache, current_sources
from ipet.checkpoint import EMBEDDED, remove_unfinished, write_atomically, write_json
from ipet.datasets import Datasets, check_recordings, unusable
from ipet.devices import best_device, fast_precision
from ipet.interruption import Stopped, StopRequest, end_readers, end_with_parent, ends
from ipet.lists import Clip, check_disjoint, utterance_key
from ipet.logbook import lock_run, open_run, read_record, record_start
from ipet.loggers import check_loggers
from ipet.loopback import BACKEND, stay_on_loopback
from ipet.passport import hashes, list_files, plain, write_passport
from ipet.recipe import Recipe
from ipet.splits import Cell
from ipet.summary import cell_name, cell_order, planned_cells, read_results, summarise, table
from ipet.trainer import seed_everything
from ipet.tuning import count_parameters
from ipet.verification import MORE_TRIALS

# What a user can mend: one line. Anything else is a defect of ours and shows its traceback.
MENDABLE = (ValueError, OSError, FloatingPointError, MemoryError, torch.OutOfMemoryError)
READER_ENDED = (
    "a reader of clips was ended from outside, often for want of memory; fewer -num_workers or a larger "
    "/dev/shm may help, then -resume"
)
CRASHES = (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS)  # gloo aborts what another one's end leaves behind
MOMENT = 5.0  # seconds: a process that fails because another one did waits so long for that one's end


def run(args, build_datasets, build_model, trainer) -> None:
    """Train and evaluate an experiment, in as many processes as there are GPUs.

    Args:
        args: the experiment's parsed arguments.
        build_datasets: (args, ``Cell``) -> ``Datasets``.
        build_model: (args, number of classes) -> ``Classifier``.
        trainer: a subclass of ``ClassificationTrainer``.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:  # a launcher that is killed tells its processes nothing
        launcher = os.environ.get("IPET_LAUNCHED")
        end_with_parent(parent=int(launcher) if launcher else None)
    threading.excepthook = tell_but_of_disks
    choose_gpus(args.usable_gpu)
    processes = args.nproc or max(1, torch.cuda.device_count())
    if "RANK" not in os.environ and processes > args.batch_size:
        leave(f"-batch_size {args.batch_size} is shared by {processes} processes; expected a clip for each")
    if "RANK" not in os.environ and processes > 1:
        sys.exit(launch(processes))
    folder = args.path_run / args.project / args.tags / args.name
    alone, stop = distributed.world_size() == 1, StopRequest()
    # Before, between and behind the trainings, too, a signal's exit status says how to go on. Of several
    # processes their launcher's does, and one that waits for another in torch would not heed it.
    with stop if alone else contextlib.nullcontext():
        try:
            with stop.at_once() if alone else contextlib.nullcontext():
                work(args, folder, build_datasets, build_model, trainer)
        except Stopped as stopped:
            if not distributed.is_main():
                distributed.wait_for("error", MOMENT)  # the main process speaks
            leave(f"{stopped}; all is saved: add -resume to go on", status=stopped.status)
        except KeyboardInterrupt:
            leave("interrupted; add -resume to go on from the last checkpoint", status=130)
        except MENDABLE as error:
            kept = None if getattr(error, "refused", False) else keep_traceback(folder)
            more = f" (more in {kept})" if kept else ""
            leave(f"{str(error) or type(error).__name__}{more}{what_is_kept(error, folder)}")
        except Exception as error:
            if re.search("closed by peer|reset by peer|Timed out|NCCL|Broken pipe", str(error)):
                leave(
                    "another process ended, or did not answer within -timeout; it, or the launcher, says why"
                )
            if "DataLoader worker" in str(error):
                leave(f"{READER_ENDED} ({str(error).splitlines()[0]})")
            leave(
                "the traceback above shows a defect in the software, not in your data", traceback.format_exc()
            )
        finally:
            distributed.stop()
    if distributed.world_size() > 1:
        end()


def tell_but_of_disks(error: threading.ExceptHookArgs) -> None:
    """Print the traceback of a thread, unless a disk failed: TensorBoard's next call raises that again."""
    if not issubclass(error.exc_type, OSError):
        threading.__excepthook__(error)


def choose_gpus(numbers: tuple[int, ...] | None) -> None:
    """Let this process and those it starts see these GPUs alone, of those that it may see.

    Raises:
        SystemExit: one of them is not there, or torchrun has started the processes already.
    """
    if numbers is None:
        return
    if "RANK" in os.environ:
        if "IPET_LAUNCHED" not in os.environ:
            leave("-usable_gpu goes with python3 main.py; for torchrun set CUDA_VISIBLE_DEVICES")
        return
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")  # a scheduler's choice is not widened
    names = allowed.split(",") if allowed else [str(i) for i in range(torch.cuda.device_count())]
    if max(numbers) >= len(names):
        wanted = ",".join(map(str, numbers))
        leave(f"-usable_gpu {wanted}: {len(names)} GPUs are there, counted from 0; without it all are used")
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names[i] for i in numbers)


def launch(processes: int) -> int:
    """Run this command once more in each of several processes on this machine; its exit status.

    Nothing of them listens to other machines.
    """
    stay_on_loopback()
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # the failed rank tells its story
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=str(os.getpid()),
        max_restarts=0,  # -resume goes on; a restart would meet its own run folder
        rdzv_backend=BACKEND,
        monitor_interval=0.5,
        signals_to_handle=",".join([*(number.name for number in ends()), "SIGQUIT"]),  # handed on to them
    )
    os.environ["IPET_LAUNCHED"] = str(os.getpid())
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    try:
        elastic_launch(config, sys.executable)("-u", *sys.argv)
    except ChildFailedError as error:
        for failure in error.failures.values():
            if -failure.exitcode in CRASHES:  # it could not say so itself
                print(
                    f"error: process {failure.local_rank} was ended by {failure.signal_name()}, which the "
                    "system sends for want of memory, too; add -resume to go on from the last checkpoint",
                    file=sys.stderr,
                )
        return max(1, error.get_first_failure()[1].exitcode)
    except (KeyboardInterrupt, SignalException) as error:
        print("error: interrupted; add -resume to go on from the last checkpoint", file=sys.stderr)
        return Stopped(getattr(error, "sigval", signal.SIGINT)).status
    return 0


def work(args, folder: Path, build_datasets, build_model, trainer) -> None:
    """What every process does: check everything once, then train cell after cell."""
    device = choose_device(args.flag_reproducible)
    distributed.start(device, timedelta(minutes=args.timeout))
    args.precision = choose_precision(args.precision, device)  # a resumed run keeps it
    # Of torchrun --max-restarts comes the same command again. A host that joins anew does not know of it.
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    args.resume = distributed.from_main(lambda: args.resume or restarted)
    if distributed.world_size() > args.batch_size:
        raise ValueError(
            f"-batch_size {args.batch_size} is shared by {distributed.world_size()} processes; "
            "expected at least one clip each"
        )
    recipe = recipe_of(args, device)
    cells = choose_cells(args, folder)
    lock, bad = check(args, folder, cells, build_datasets)
    build_datasets = partial(build_chosen, build_datasets, bad)
    try:
        train_cells(args, folder, cells, recipe, device, build_datasets, build_model, trainer)
    finally:
        if lock is not None:
            lock.release()


def train_cells(
    args, folder: Path, cells, recipe: Recipe, device, build_datasets, build_model, trainer
) -> None:
    """Train what is not finished of a run, and print its table."""
    recordings, first = open_cache(args, cells, build_datasets), None
    if distributed.is_main():
        used = {"device": str(device), "processes": distributed.world_size(), "recipe": asdict(recipe)}
        used["recipe"].pop("seed")  # each cell has its own
        used["threads"] = torch.get_num_threads()
        used["lists"] = hashes(list_files(json_values(args), [cell_name(*cell) for cell in cells]))
        record_start(folder, Path(sys.argv[0]).resolve().parent, used)

    for cell in cells:
        path = folder / cell_name(*cell)
        # A finished cell is never trained again; an existing run is entered with -resume alone.
        finished = distributed.from_main(lambda path=path: (path / "result.json").is_file())
        unscored = distributed.from_main(lambda path=path: unscored_trials(args, path))
        if finished and not unscored:
            continue
        datasets = build_datasets(args, cell)
        datasets.read_from(recordings)
        first = datasets if cell == cells[0] else first
        seed_everything(cell.seed)  # every process and every fold begins alike
        model = build_model(args, len(datasets.train.labels))
        training = trainer(
            model,
            datasets,
            replace(recipe, seed=cell.seed),
            device,
            path,
            describe=describe(args, model, datasets),
            title=title_of(cell, several_seeds=len({cell.seed for cell in cells}) > 1),
            **task_of(args),
        )
        if not finished:
            if distributed.is_main():
                print(begins(training, args, device), flush=True)
            training.fit(args.resume)
            if distributed.is_main():
                write_summary(args, folder)
        for trials in unscored:
            further = build_datasets(with_trials(args, trials), cell)
            further.read_from(recordings)
            training.score(trials.stem, further)

    if distributed.is_main():
        print(f"\n{table(write_summary(args, folder))}\nrun folder: {folder}", flush=True)
        if args.pretrained != "random":  # weights that nobody could load again
            first = first or build_datasets(args, cells[0])
            command = use_command(args, folder / cell_name(*cells[0]), first)
            print(f"Next, let it hear what it was not trained on:\n\n  {command}", flush=True)


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


def begins(training, args, device: torch.device) -> str:
    """What a log should say before hours of silence: what is trained, on what, and where."""
    trainable, total = count_parameters(training.model)
    settings = ", ".join(f"{name} {value}" for name, value in training.model.backbone.tuning.items())
    head_lr = f" (head {args.head_lr:g})" if args.head_lr else ""
    return (
        f"{training.title}{len(training.datasets.train):,} training clips, {args.epoch} epochs, "
        f"lr {args.lr:g}{head_lr}, {trainable:,} of {total:,} parameters ({settings}), {args.precision} on "
        f"{distributed.world_size()} x {device.type}"
    )


def use_command(args, cell: Path, datasets: Datasets) -> str:
    """The command that has a saved adapter hear an evaluated clip, or compare the voices of two."""
    [*_, clips] = datasets.evaluation.values()
    heard = [clips.clips[0].path]
    if datasets.trials is not None:
        heard = [clips.clips[i].path for i in datasets.trials.pairs[0]]
    adapter = cell / ("best" if datasets.watched == "valid" else "last")
    words = ["verify" if datasets.trials is not None else "predict", str(adapter), *map(str, heard)]
    if args.pretrained not in EMBEDDED and os.path.exists(args.pretrained):  # seen from this folder
        words += ["-pretrained", os.path.abspath(args.pretrained)]
    return shlex.join(["python3", "-m", "ipet", *words])


def more_trials(args) -> tuple[Path, ...]:
    """The further trial lists, where the task has trials."""
    return getattr(args, "more_trials", ())


def unscored_trials(args, path: Path) -> list[Path]:
    """The further trial lists that a cell has no scores of yet."""
    return [t for t in more_trials(args) if not (path / MORE_TRIALS / f"{t.stem}.json").is_file()]


def with_trials(args, trials: Path):
    """The arguments with another trial list."""
    return type(args)(**{**vars(args), "path_trial": trials})


def title_of(cell: Cell, several_seeds: bool) -> str:
    """What begins a cell's progress bar and lines."""
    parts = [f"seed {cell.seed}"] if several_seeds else []
    parts += [f"fold {cell.fold}"] if cell.fold else []
    parts += ["nested"] if cell.nested else []
    return "".join(f"{part}  " for part in parts)


def task_of(args) -> dict:
    """What a trainer takes for its task."""
    values = {"loss": args.classification_loss, "class_weights": args.class_weights}
    values["prior"] = args.head_bias == "prior"
    return values | ({"scoring": args.scoring, "top": args.as_norm} if "scoring" in args else {})


def write_summary(args, folder: Path) -> dict:
    """Write the summary of the cells that are finished, and the run's passport; return the summary."""
    results = read_results(folder)
    summary = summarise(results, args.protocol[0])
    write_json(folder / "summary.json", summary)
    write_atomically(folder / "summary.txt", (table(summary) + "\n").encode())
    write_passport(folder, results, summary)
    return summary


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
        keep_features=int(getattr(args, "keep_features", 0) * 2**30),
        num_workers=readers if args.num_workers is None else args.num_workers,
        loggers=args.logger,
    )


def few(args, datasets: Datasets, seed: int) -> Datasets:
    """The lists with ``-shots`` training clips of each class, others for each seed; or as they are."""
    if args.shots is None:
        return datasets
    return datasets._replace(train=datasets.train.few(args.shots, seed))


def build_chosen(build_datasets, paths: Container[Path], args, cell: Cell) -> Datasets:
    """The lists that a cell is trained on: without the clips of some recordings, and then a few of them."""
    datasets = build_datasets(args, cell)
    return few(args, datasets.without(paths) if paths else datasets, cell.seed)


def check(args, folder: Path, cells: list[Cell], build_datasets) -> tuple[FileLock | None, frozenset[Path]]:
    """Read every list, and open the run's folder, before any work begins.

    The main process does it; an error stops all of them, and is told once.

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
            if args.on_bad_audio == "skip":
                paths = [clip.path for clip in recordings]
                sound = current_sources(args.path_cache, paths) if args.path_cache else ()
                bad = unusable(recordings, sound)
                digest.update(repr(sorted(path.name for path in bad)).encode() if bad else b"")
            elif args.path_cache is None:  # what is in a cache has been decoded once
                check_recordings(recordings)
            for datasets in lists:
                few(args, datasets.without(bad) if bad else datasets, cells[0].seed)
            arguments = json_values(args)
            arguments["experiment"] = Path(sys.argv[0]).resolve().parent.name
            arguments["cells"] = [cell_name(*cell) for cell in cells]
            arguments["lists_sha256"] = digest.hexdigest()  # a run does not go on with other lists
            lock = lock_run(folder)
            remove_unfinished(folder)
            existed = open_run(folder, arguments, Path(sys.argv[0]).resolve().parent, args.resume)
            read_results(folder)  # the summary's, which is written when a training has ended
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


def read_lists(args, cells: list[Cell], build_datasets) -> tuple[list[Datasets], list[Clip], Any]:
    """Everything that a run will read: its lists, their recordings, and a digest of what is learnt from."""
    # The lists of a run are those of its folds, whatever seeds and protocols are asked for.
    folds = list(dict.fromkeys(Cell(cells[0].seed, cell.fold) for cell in cells))
    digest, recordings = hashlib.sha256(), []
    lists = [build_datasets(args, cell) for cell in folds]
    for datasets in lists:
        check_leakage(datasets)
        digest.update(repr(datasets.train.labels.mids).encode())
        for clips in (datasets.train, *datasets.evaluation.values()):
            recordings += clips.clips
            digest.update(repr([(c.path.name, c.classes) for c in clips.clips]).encode())
        if datasets.trials is not None:
            names = [utterance_key(clip.path) for clip in datasets.evaluation["eval"].clips]
            digest.update(repr(names).encode())
            digest.update(datasets.trials.pairs.tobytes() + datasets.trials.targets.tobytes())
        if datasets.train.corrupt is not None:
            noises = datasets.train.corrupt.paths
            recordings += [Clip(path, (), "noise and rooms of the training clips") for path in noises]
            digest.update(repr([path.parts[-2:] for path in noises]).encode())
    for cell in {cell.fold: cell for cell in cells if cell.nested}.values():
        lists.append(build_datasets(args, cell))
    for trials in more_trials(args):
        lists.append(build_datasets(with_trials(args, trials), cells[0]))
        check_leakage(lists[-1])
        recordings += lists[-1].evaluation["eval"].clips
    return lists, recordings, digest


def check_leakage(datasets: Datasets) -> None:
    """Refuse lists that share a clip; where trials name training utterances, say so.

    Trials over all of VoxCeleb1 (E, H) are meant for models that were trained on other data.
    """
    if datasets.trials is None:
        check_disjoint(datasets.train.clips, *(clips.clips for clips in datasets.evaluation.values()))
        return
    trained = {clip.path for clip in datasets.train.clips}
    heard = sum(clip.path in trained for clip in datasets.evaluation["eval"].clips)
    if heard:
        print(
            f"note: {heard:,} of the {len(datasets.evaluation['eval']):,} utterances of the trials are in "
            "the training list; their error rates are no measure of unknown speakers, nor is AS-norm's "
            "cohort one of strangers",
            flush=True,
        )


def json_values(args) -> dict:
    """The arguments as JSON values."""
    return {key: plain(value) for key, value in sorted(vars(args).items())}


def describe(args, model, datasets) -> dict:
    """What ``adapter_config.json`` says of the model, so that the file alone suffices to use it again."""
    labels, backbone = datasets.train.labels, model.backbone
    return {
        "experiment": Path(sys.argv[0]).resolve().parent.name,
        "labels": [{"mid": mid, "name": name} for mid, name in zip(labels.mids, labels.names)],
        "loss": args.classification_loss,
        "front_end": model.front_end.settings,
        "cut": datasets.evaluation[datasets.watched].cut.settings,
        "backbone": {**backbone.settings, "pretrained": args.pretrained, "sha256": backbone.sha256},
        "tuning": backbone.tuning,
    }


def keep_traceback(folder: Path) -> Path | None:
    """Leave the whole story in the run's folder, where there is one; returns the file."""
    path = folder / f"error_rank{distributed.rank()}.log"
    with contextlib.suppress(OSError):  # the disk may be what is wrong
        if (folder / "arguments.json").is_file():
            # Not opened: what lies there may be a link that whoever packed the run has put there.
            write_atomically(path, traceback.format_exc().encode(errors="backslashreplace"))
            return path
    return None


def what_is_kept(error: Exception, folder: Path) -> str:
    """How to go on where a disk ended a training that has been saved."""
    if not isinstance(error, OSError) or getattr(error, "refused", False):
        return ""
    with contextlib.suppress(OSError):
        if any(folder.rglob("training_state*.pt")):
            return "; what was saved before is kept: mend it, then add -resume to go on"
    return ""


def leave(message: str, trace: str = "", status: int = 1) -> None:
    """Say why, and end this process at once: another one may be waiting for it in a collective.

    Where several processes fail, the first one speaks.
    """
    several = distributed.world_size() > 1
    if not several or distributed.is_first("error said"):
        rank = f"[rank {distributed.rank()}] " if several else ""
        print(f"{trace}{rank}error: {message}", file=sys.stderr, flush=True)
        distributed.tell("error")
    elif status == 1:
        time.sleep(MOMENT)  # the first one's end ends this one; those that a signal stopped end alike
    end(status)


def end(status: int = 0) -> None:
    """End this process; one of several at once.

    Another process may be waiting for it in a collective; and gloo's threads may still let go of Python
    objects, which aborts an interpreter that is taking itself down (torch 2.11).
    """
    if distributed.world_size() == 1:
        sys.exit(status)
    end_readers()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
