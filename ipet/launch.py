"""run(): processes, folds, the run's folder, errors, and the summary."""

import contextlib
import hashlib
import logging
import os
import re
import signal
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ipet import distributed
from ipet.checkpoint import read_json, write_atomically, write_json
from ipet.datasets import check_recordings
from ipet.lists import check_disjoint
from ipet.logbook import check_loggers, open_run, record_start
from ipet.summary import summarise, table
from ipet.trainer import Recipe, seed_everything

# What a user can mend: one line. Anything else is a defect of ours and shows its traceback.
MENDABLE = (ValueError, OSError, FloatingPointError, torch.OutOfMemoryError)


def run(args, build_datasets, build_model, trainer) -> None:
    """Train and evaluate an experiment, in as many processes as there are GPUs.

    Args:
        args: the experiment's parsed arguments.
        build_datasets: (args, fold or None) -> ``Datasets``.
        build_model: (args, number of classes) -> ``Classifier``.
        trainer: a subclass of ``ClassificationTrainer``.
    """
    choose_gpus(args.usable_gpu)
    processes = args.nproc or max(1, torch.cuda.device_count())
    if "RANK" not in os.environ and processes > args.batch_size:
        leave(f"-batch_size {args.batch_size} is shared by {processes} processes; expected a clip for each")
    if "RANK" not in os.environ and processes > 1:
        sys.exit(launch(processes))
    folder = args.path_run / args.project / args.tags / args.name
    try:
        work(args, folder, build_datasets, build_model, trainer)
    except KeyboardInterrupt:
        leave("interrupted; add -resume to go on behind the last whole epoch", status=130)
    except MENDABLE as error:
        kept = None if getattr(error, "refused", False) else keep_traceback(folder)
        leave(f"{str(error) or type(error).__name__}{f' (more in {kept})' if kept else ''}")
    except Exception as error:
        if re.search("closed by peer|reset by peer|NCCL|Broken pipe", str(error)):
            leave("another process of this run ended; it, or the launcher, says why")
        leave("the traceback above shows a defect in the software, not in your data", traceback.format_exc())
    finally:
        distributed.stop()


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
    """Run this command once more in each of several processes on this machine; its exit status."""
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # the failed rank tells its story
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=str(os.getpid()),
        max_restarts=0,  # -resume goes on; a restart would meet its own run folder
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        monitor_interval=0.5,
    )
    os.environ["IPET_LAUNCHED"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    try:
        elastic_launch(config, sys.executable)("-u", *sys.argv)
    except ChildFailedError as error:
        return max(1, error.get_first_failure()[1].exitcode)
    except (KeyboardInterrupt, SignalException) as error:
        print("error: interrupted; add -resume to go on behind the last whole epoch", file=sys.stderr)
        return 128 + getattr(error, "sigval", signal.SIGINT)
    return 0


def work(args, folder: Path, build_datasets, build_model, trainer) -> None:
    """What every process does: check everything once, then train fold after fold."""
    device = choose_device(args.flag_reproducible)
    distributed.start(device)
    args.precision = choose_precision(args.precision, device)  # a resumed run keeps it
    if distributed.world_size() > args.batch_size:
        raise ValueError(
            f"-batch_size {args.batch_size} is shared by {distributed.world_size()} processes; "
            "expected at least one clip each"
        )
    recipe = recipe_of(args, device)
    folds = list(range(1, args.fold + 1)) or [None]
    check(args, folder, folds, build_datasets)
    if distributed.is_main():
        used = {"device": str(device), "processes": distributed.world_size(), "recipe": asdict(recipe)}
        used["threads"] = torch.get_num_threads()
        record_start(folder, Path(sys.argv[0]).resolve().parent, used)

    results = {}
    for fold in folds:
        cell = f"fold_{fold}" if fold else args.name
        path = folder / f"fold_{fold}" if fold else folder
        done = distributed.from_main(lambda path=path: finished(path) if args.resume else None)
        if done is not None:
            results[cell] = done
            continue
        datasets = build_datasets(args, fold)
        seed_everything(args.rand_seed)  # every process and every fold begins alike
        model = build_model(args, len(datasets.train.labels))
        results[cell] = trainer(
            model,
            datasets,
            recipe,
            device,
            path,
            describe=describe(args, model, datasets),
            title=f"fold {fold}  " if fold else "",
            loss=args.classification_loss,
        ).fit(args.resume)

    if distributed.is_main():
        summary = summarise(results)
        write_json(folder / "summary.json", summary)
        write_atomically(folder / "summary.txt", (table(summary) + "\n").encode())
        print(f"\n{table(summary)}\nrun folder: {folder}", flush=True)


def choose_device(reproducible: bool) -> torch.device:
    """This process's GPU, or the CPU where there is none.

    Raises:
        ValueError: there are more processes than GPUs.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
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
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if fast else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise ValueError("-precision fp16 needs a GPU; on a CPU choose bf16 or fp32")
    return name


def finished(path: Path) -> dict | None:
    """The result of a fold that was trained to its end, or None."""
    return read_json(path / "result.json") if (path / "result.json").is_file() else None


def recipe_of(args, device: torch.device) -> Recipe:
    """The training part of the arguments."""
    readers = (
        min(8, (os.cpu_count() or 1) // max(1, torch.cuda.device_count())) if device.type == "cuda" else 0
    )
    return Recipe(
        epochs=args.epoch,
        batch_size=args.batch_size,
        lr=args.lr,
        gamma=args.gamma,
        decay_start=args.lr_decay_start_epoch,
        decay_end=args.lr_decay_end_epoch,
        weight_decay=args.weight_decay,
        precision=args.precision,
        frozen_dropout=args.frozen_dropout,
        seed=args.rand_seed,
        eval_batch_size=args.eval_batch_size or args.batch_size,
        num_workers=readers if args.num_workers is None else args.num_workers,
        loggers=args.logger,
    )


def check(args, folder: Path, folds: list, build_datasets) -> None:
    """Read every list, and open the run's folder, before any work begins.

    The main process does it; an error stops all of them, and is told once.
    """
    error = None
    if distributed.is_main():
        try:
            check_loggers(args.logger)
            digest, recordings = hashlib.sha256(), []
            for fold in folds:
                datasets = build_datasets(args, fold)
                lists = (datasets.train, *datasets.evaluation.values())
                check_disjoint(*(clips.clips for clips in lists))
                digest.update(repr(datasets.train.labels.mids).encode())
                for clips in lists:
                    recordings += clips.clips
                    digest.update(repr([(c.path.name, c.classes) for c in clips.clips]).encode())
            check_recordings(recordings)
            arguments = {key: plain(value) for key, value in sorted(vars(args).items())}
            arguments["lists_sha256"] = digest.hexdigest()  # a run does not go on with other lists
            existed = open_run(folder, arguments, Path(sys.argv[0]).resolve().parent, args.resume)
            if args.resume and not existed:
                print(f"nothing to resume in {folder}: a new run begins", flush=True)
        except MENDABLE as found:
            error = found
            error.refused = True  # before the run was opened: nothing is written into it
    message = distributed.from_main(lambda: str(error) if error else None)
    if message is not None:
        raise error or ValueError(message)


def plain(value):
    """An argument as a JSON value."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def describe(args, model, datasets) -> dict:
    """What ``adapter.json`` says of the model, so that the file alone suffices to use it again."""
    labels, backbone = datasets.train.labels, model.backbone
    return {
        "experiment": Path(sys.argv[0]).resolve().parent.name,
        "labels": [{"mid": mid, "name": name} for mid, name in zip(labels.mids, labels.names)],
        "loss": args.classification_loss,
        "front_end": model.front_end.settings,
        "cut": datasets.evaluation[datasets.watched].cut.settings,
        "backbone": {**backbone.settings, "pretrained": args.pretrained, "sha256": backbone.sha256},
        "tuning": backbone.tuning.settings,
    }


def keep_traceback(folder: Path) -> Path | None:
    """Leave the whole story in the run's folder, where there is one; returns the file."""
    path = folder / f"error_rank{distributed.rank()}.log"
    with contextlib.suppress(OSError):  # the disk may be what is wrong
        if (folder / "arguments.json").is_file():
            path.write_text(traceback.format_exc())
            return path
    return None


def leave(message: str, trace: str = "", status: int = 1) -> None:
    """Say why, and end this process at once: another one may be waiting for it in a collective.

    Where several processes fail, the first one speaks.
    """
    several = distributed.world_size() > 1
    if not several or distributed.is_first("error"):
        rank = f"[rank {distributed.rank()}] " if several else ""
        print(f"{trace}{rank}error: {message}", file=sys.stderr, flush=True)
    else:
        time.sleep(5)  # the first one's end ends this one
    sys.stdout.flush()
    if several:
        os._exit(status)
    sys.exit(status)
