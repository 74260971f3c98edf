"""run(): the processes of a run, its trainings cell after cell, and the summary."""

import contextlib
import logging
import os
import re
import shlex
import signal
import sys
import threading
import traceback
from dataclasses import asdict, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ipet import distributed
from ipet.beginning import (
    build_chosen,
    check,
    choose_cells,
    choose_device,
    choose_precision,
    json_values,
    more_trials,
    open_cache,
    recipe_of,
    task_of,
    use_starting_lists,
    with_trials,
)
from ipet.checkpoint import EMBEDDED, write_atomically, write_json
from ipet.datasets import Datasets
from ipet.devices import precision_note
from ipet.ending import (
    MENDABLE,
    MOMENT,
    NO_MEMORY,
    READER_ENDED,
    end,
    keep_traceback,
    leave,
    reason,
    tell_but_of_disks,
    what_is_kept,
)
from ipet.experiment import run_folder
from ipet.extension import describe_extension, extension_note
from ipet.interruption import Stopped, StopRequest, end_with_parent, ends
from ipet.logbook import read_starts, record_start, version_of
from ipet.loopback import BACKEND, stay_on_loopback
from ipet.parsing import REPOSITORY
from ipet.passport import hashes, list_files, write_passport
from ipet.recipe import Recipe
from ipet.shared_memory import is_out_of_shared_memory
from ipet.splits import Cell
from ipet.summary import cell_name, read_results, summarise, table
from ipet.trainer import seed_everything
from ipet.tuning import count_parameters
from ipet.verification import MORE_TRIALS
from ipet.warm_start import RECORD, initialise, lines_of

CRASHES = (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS)  # gloo aborts what another one's end leaves behind


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
    folder = run_folder(vars(args), Path(sys.argv[0]).resolve().parent.name)
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
            leave(f"{reason(error)}{more}{what_is_kept(error, folder)}")
        except Exception as error:
            if re.search("closed by peer|reset by peer|Timed out|NCCL|Broken pipe", str(error)):
                leave(
                    "another process ended, or did not answer within -timeout; it, or the launcher, says why"
                )
            if re.search("can't allocate memory|DefaultCPUAllocator", str(error)):  # torch's own MemoryError
                leave(f"{NO_MEMORY} ({str(error).splitlines()[0]})")
            if is_out_of_shared_memory(error):
                leave(f"{reason(error)}{what_is_kept(error, folder)}")
            if "DataLoader worker" in str(error):
                leave(f"{READER_ENDED} ({str(error).splitlines()[0]})")
            leave(
                "the traceback above shows a defect in the software, not in your data", traceback.format_exc()
            )
        finally:
            distributed.stop()
    if distributed.world_size() > 1:
        end()


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
    note = precision_note(args.precision, device.type)
    if note and distributed.is_main():
        print(f"note: {note}", flush=True)
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
    inputs = use_starting_lists(args)
    lock, bad = check(args, folder, cells, build_datasets, inputs)
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
        extension = describe_extension(folder, read_starts(folder), recipe)
        if extension is not None:
            used["extension"] = extension
            print(extension_note(extension), flush=True)
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
        if distributed.is_main() and cell == cells[0] and hasattr(model.backbone, "input_report"):
            model.backbone.input_report.print_warnings()
        training = trainer(
            model,
            datasets,
            replace(recipe, seed=cell.seed, test_every_epoch=recipe.test_every_epoch and not cell.nested),
            device,
            path,
            describe=describe(args, model, datasets),
            title=title_of(cell, several_seeds=len({cell.seed for cell in cells}) > 1),
            **task_of(args),
        )
        if not finished:
            if args.init_adapter is not None:
                begin_from_adapter(args, model, datasets, folder, path)
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


def begin_from_adapter(args, model, datasets: Datasets, folder: Path, cell: Path) -> None:
    """Initialise a new training from ``-init_adapter``, and record it; a resumed one has its own state."""
    if distributed.from_main(lambda: any(cell.glob("training_state*.pt"))):
        return
    record, report = initialise(model, datasets.train.labels, args.init_adapter)
    if distributed.is_main():
        print("\n".join(lines_of(record)), flush=True)
        report.print_warnings()
        write_json(folder / RECORD, record | {"input": report.as_dict()})
        here = Path(sys.argv[0]).resolve().parent.name
        if args.fold and record["experiment"] == here:
            print(
                "note: an adapter of a fold of the same set was trained on clips that other folds are "
                "evaluated on",
                flush=True,
            )


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
    command = shlex.join(["python3", "-m", "ipet", *words])
    return command if version_of("ipet") else f"(cd {shlex.quote(str(REPOSITORY))} && {command})"


def unscored_trials(args, path: Path) -> list[Path]:
    """The further trial lists that a cell has no scores of yet."""
    return [t for t in more_trials(args) if not (path / MORE_TRIALS / f"{t.stem}.json").is_file()]


def title_of(cell: Cell, several_seeds: bool) -> str:
    """What begins a cell's progress bar and lines."""
    parts = [f"seed {cell.seed}"] if several_seeds else []
    parts += [f"fold {cell.fold}"] if cell.fold else []
    parts += ["nested"] if cell.nested else []
    return "".join(f"{part}  " for part in parts)


def write_summary(args, folder: Path) -> dict:
    """Write the summary of the cells that are finished, and the run's passport; return the summary."""
    results = read_results(folder)
    summary = summarise(results, args.protocol[0])
    write_json(folder / "summary.json", summary)
    write_atomically(folder / "summary.txt", (table(summary) + "\n").encode())
    write_passport(folder, results, summary)
    return summary


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
        **({"scoring": args.scoring} if "scoring" in args else {}),
    }
