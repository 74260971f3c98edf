"""A run's folder and what is written into it while it runs."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from ipet.checkpoint import naming, read_json, write_atomically, write_json
from ipet.extension import is_extension, set_results_aside
from ipet.list_digests import EARLIER, is_current
from ipet.loggers import LOGGERS, Logger, place_of

PACKAGES = (
    "torch",
    "torchaudio",
    "torchvision",
    "timm",
    "transformers",
    "huggingface_hub",
    "numpy",
    "scipy",
    "scikit-learn",
    "soundfile",
    "soxr",
    "safetensors",
    "tensorboard",
    "peft",
    "optuna",
)
# These may change between a run and its continuation. With other processes (usable_gpu, nproc) the
# clips of every step stay the same; dropout draws from a stream of each process's own.
VOLATILE = {
    "resume",
    "init_adapter",  # its SHA-256 stays the same
    "usable_gpu",
    "nproc",
    "num_workers",
    "micro_batch_size",
    "checkpoint_activations",
    "keep_features",
    "checkpoint_every",
    "on_nonfinite",
    "timeout",
    "eval_batch_size",
    "logger",
    "number_iteration_for_log",
    "description",
    "path_run",
    "path_data",
    "path_list",
    "path_training_dataset",
    "path_validation_dataset",
    "path_evaluation_dataset",
    "path_data_label",
    "path_cache",
    "path_trial",
    "more_trials",
    "path_musan",
    "path_rir",
    "path_noise_list",
}
WORTH_KEEPING = ("training_state*.pt", "result.json")  # states may be deleted to make room; results stay
FORMER = {"head_bias": "published"}  # what versions did that had no such argument yet
DIGESTS = {  # arguments whose values tell a reader nothing
    "lists_sha256": "the lists, their labels or trials are others",
    "init_adapter_sha256": "-init_adapter names another adapter than it began with, or none",
}
CELLS = {"rand_seed", "protocol", "cells"}  # more of them can be added to a run


class Logbook:
    """One JSON object a line in ``metrics.jsonl``, and the same numbers in the chosen loggers.

    The file is what counts, and an error of its disk is raised. A logger that fails is told no more: a note
    says so, the training goes on, and ``-resume`` tells the logger everything again.

    Args:
        folder: of the run or the fold.
        loggers: names from ``LOGGERS``.
        last_step, last_epoch: a continued run's, the latter whole; later rows, which were written behind
            its last checkpoint, are dropped.
        parameters: what loggers are told of the training beside its run's arguments, JSON values by name.
        log_every: Loggers get every Nth step; the file holds every step.
    """

    def __init__(
        self,
        folder: str | Path,
        loggers: tuple[str, ...],
        last_step: int = 0,
        last_epoch: int = 0,
        parameters: Mapping[str, object] | None = None,
        log_every: int = 1,
    ):
        self.log_every = log_every
        self.path = Path(folder) / "metrics.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read_rows(self.path) if row["step"] <= last_step]
        kept = [row for row in kept if row["kind"] == "step" or row["epoch"] <= last_epoch]
        write_atomically(self.path, "".join(json.dumps(row) + "\n" for row in kept).encode())
        self.file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115, open as long as the run
        self.loggers: dict[str, Logger] = {}
        self.failed: list[str] = []
        for name in loggers:
            with self.unless_it_fails(name):
                self.loggers[name] = LOGGERS[name](place_of(folder, parameters or {}, last_step))
                if not self.loggers[name].keeps:
                    for row in filter(self.is_logged, kept):
                        self.loggers[name].scalars(*numbers_of(row))

    @contextlib.contextmanager
    def unless_it_fails(self, name: str) -> Iterator[None]:
        """Go on without a logger that raises inside the block."""
        try:
            yield
        except Exception as error:
            said = str(error).partition("\n")[0] or "no reason given"
            tqdm.write(
                f"note: -logger {name} failed and is left out from here on ({type(error).__name__}: {said}); "
                f"{self.path} has every row, and -resume of a run that has not ended tells it all of them"
            )
            self.failed.append(name)
            failed = self.loggers.pop(name, None)
            if failed is not None:
                with contextlib.suppress(Exception):  # it has failed already
                    failed.close()

    def tell(self, what: str, *values) -> None:
        """Call a method of every logger."""
        for name, logger in list(self.loggers.items()):
            with self.unless_it_fails(name):
                getattr(logger, what)(*values)

    def sync(self) -> None:
        """See that every row so far outlives a power cut: before a state says that its step is done."""
        with naming(self.path):
            os.fsync(self.file.fileno())
        self.tell("flush")

    def log(self, kind: str, epoch: int, step: int, **values: float | list) -> None:
        """Write one row; ``kind`` is ``step`` or ``epoch``. Loggers get its numbers."""
        row = {"kind": kind, "epoch": epoch, "step": step, **values}
        with naming(self.path):
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()
        if self.is_logged(row):
            self.tell("scalars", *numbers_of(row))

    def is_logged(self, row: Mapping) -> bool:
        """Return whether loggers get a row: every epoch's, and every Nth step's."""
        return row["kind"] != "step" or row["step"] % self.log_every == 0

    def show(self, step: int, tell_all: Callable[[Callable], None]) -> None:
        """Tell the loggers what came out of a training that is over.

        Args:
            step: its last one.
            tell_all: see ``showing.show``; what it cannot draw or read is told in a note.
        """
        if not self.loggers:
            return
        try:
            tell_all(lambda what, *values: self.tell(what, *values, step))
        except Exception as error:
            tqdm.write(f"note: not all that came out is in the loggers: {type(error).__name__}: {error}")

    def close(self) -> None:
        """Close everything."""
        with contextlib.suppress(OSError):  # every row was flushed: its error is told already
            self.file.close()
        self.tell("close")
        self.loggers = {}


def numbers_of(row: Mapping) -> tuple[dict[str, float], int]:
    """What loggers get of a row: its numbers, such as ``step/loss``, and its step."""
    own = ("kind", "epoch", "step")
    return {
        f"{row['kind']}/{name}": value
        for name, value in row.items()
        if name not in own and isinstance(value, int | float)
    }, row["step"]


class NoLogbook:
    """What the processes beside the main one write: nothing."""

    def sync(self) -> None:
        """Nothing."""

    def log(self, kind: str, epoch: int, step: int, **values: float | list) -> None:
        """Nothing."""

    def show(self, step: int, tell_all: Callable[[Callable], None]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def read_rows(path: str | Path) -> list[dict]:
    """The rows of a ``metrics.jsonl``; a last line that was cut off while written is left out."""
    rows = []
    if Path(path).is_file():
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
    return rows


def lock_run(folder: str | Path) -> FileLock:
    """Keep other processes out of a run's folder for as long as the lock is held.

    The system lets go of it with the process, however that ends.

    Raises:
        OSError: its file system has no locks.
        ValueError: another process works there, or a link in it leads out of it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    refuse_links(folder)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        starts = read_starts(folder)
        since = f", since {starts[-1].get('started')}" if starts else ""
        raise ValueError(
            f"{folder}: another process works on this run{since}; wait for its end, or choose another -name"
        ) from None
    except OSError as error:
        if error.filename is not None:  # of the file itself, such as a folder that may not be written into
            raise
        reason = f"its file system cannot lock a file ({error.strerror}); choose another -path_run"
        raise OSError(error.errno, reason, str(folder)) from None
    return lock


def refuse_links(folder: Path) -> None:
    """Raise ValueError where a link in a run's folder leads out of it: a run writes into its folder alone.

    Whoever packed a run that goes on here may have put one there.
    """
    inside = folder.resolve()
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise ValueError(
                f"{path}: a link that leads out of the run's folder; expected files and folders of its own"
            )


def read_record(path: Path) -> dict:
    """A run's ``arguments.json``.

    Raises:
        ValueError: it holds something else.
    """
    record = read_json(path)
    lists = ("rand_seed", "protocol", "cells")
    if not isinstance(record, dict) or not all(isinstance(record.get(name, []), list) for name in lists):
        raise ValueError(f"{path}: holds no arguments of a run, as it did; choose another -name")
    return record


def read_starts(folder: str | Path) -> list[dict]:
    """A run's ``environment.json``, an entry a start; none where it has not started yet.

    Raises:
        ValueError: it holds something else.
    """
    path = Path(folder) / "environment.json"
    starts = read_json(path) if path.is_file() else []
    if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
        raise ValueError(f"{path}: holds no starts of a run, as it did; choose another -name")
    return starts


def open_run(folder: str | Path, arguments: dict, sources: Path, resume: bool) -> bool:
    """Create a run's folder, or check that an existing run may be resumed.

    A folder without a saved step or a result holds nothing to lose: the run begins anew. A resumed run may be
    given more epochs; see ``ipet.extension``.

    Args:
        folder: ``runs/<project>/<tags>/<name>``.
        arguments: Resolved arguments, as JSON values.
        sources: Folder of the experiment; its Python files are copied.
        resume: Whether an existing run is resumed.

    Returns:
        Whether the run existed.

    Raises:
        FileExistsError: The run exists and ``resume`` is off.
        FileNotFoundError: The run exists, its arguments do not.
        ValueError: The run exists with other arguments.
    """
    folder = Path(folder)
    record = folder / "arguments.json"
    existed = any(path for name in WORTH_KEEPING for path in folder.rglob(name))  # else nothing is lost
    if existed:
        before = read_record(record)
        if before.get("experiment") != arguments.get("experiment"):
            raise ValueError(
                f"{folder}: this run is of {before.get('experiment')}, not of {arguments.get('experiment')}; "
                "choose another -name or -tags"
            )
    if existed and not resume:
        raise FileExistsError(
            f"{folder}: this run exists; add -resume to go on with it, or choose another -name"
        )
    if existed:
        changed = [
            DIGESTS.get(key, f"-{key} was {before.get(key)!r} and is {arguments.get(key)!r}")
            for key in sorted(before.keys() | arguments.keys())
            if key not in VOLATILE | CELLS and differs(key, before, arguments)
        ]
        if is_current(arguments.get("lists_sha256")) and not is_current(before.get("lists_sha256")):
            raise ValueError(
                f"{folder}: {EARLIER}; choose another -name for a new run, or resume this one with the "
                "version that began it"
            )
        longer = is_extension(before, arguments)
        changed = [said for said in changed if not (longer and said.startswith("-epoch was"))]
        if changed:
            raise ValueError(
                f"{folder}: a run goes on with the arguments it began with: {'; '.join(changed)}"
            )
        added = {
            key: list(dict.fromkeys([*before.get(key, []), *arguments[key]]))
            for key in ("rand_seed", "cells")
        }
        added["protocol"] = arguments["protocol"]  # the first of them is reported
        if longer:
            set_results_aside(folder, before["epoch"])
            added["epoch"] = arguments["epoch"]
        write_json(record, before | added)
    else:
        for source in sorted(sources.glob("*.py")):
            (folder / "sources").mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, folder / "sources" / source.name)
        write_json(record, arguments)
    return existed


def differs(key: str, before: dict, arguments: dict) -> bool:
    """Whether an argument changed; one that an earlier version had not was off, or as in ``FORMER``."""
    if key in before:
        return before[key] != arguments.get(key)
    return bool(arguments.get(key)) and arguments.get(key) != FORMER.get(key)


def record_start(folder: str | Path, sources: Path, used: dict) -> None:
    """Add to ``environment.json`` what this start of the run depends on.

    Args:
        folder: of the run.
        sources: the experiment's folder.
        used: device, processes, lists, and how is trained: JSON values.
    """
    for stale in Path(folder).glob("error_rank*.log"):
        if re.fullmatch(r"error_rank\d+\.log", stale.name):
            stale.unlink()  # of a start that failed
    write_json(Path(folder) / "environment.json", [*read_starts(folder), {**environment(sources), **used}])


def environment(folder: Path) -> dict:
    """What a run depends on: when, where, the command, versions, the git commit of ``folder``, hardware."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version_of(name) for name in PACKAGES},
        "git": git_commit(folder),
        "ipet_sha256": package_sha256(),
        "hardware": hardware(),
    }


def package_sha256() -> str:
    """SHA-256 over this package's files: which code ran, also outside git and of a changed checkout."""
    digest, folder = hashlib.sha256(), Path(__file__).resolve().parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def hardware() -> dict:
    """This machine's processor, cores, memory in bytes, and GPUs."""
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "memory_bytes": physical_memory(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def physical_memory() -> int:
    """Bytes of this machine's RAM; 0 on Windows, which does not tell."""
    if not hasattr(os, "sysconf"):
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def processor() -> str:
    """The processor's model, where the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def version_of(package: str) -> str | None:
    """An installed package's version, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_commit(folder: Path) -> str | None:
    """The commit that is checked out, with ``-dirty`` where files differ from it; None outside git."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
