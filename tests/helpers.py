"""What several tests share: experiments side by side, small lists of noise, runs as users start them."""

import contextlib
import importlib
import importlib.util
import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import soundfile

from ipet.summary import planned_cells

ROOT = Path(__file__).resolve().parents[1]
ALL_EXPERIMENTS = sorted(path.parent.name for path in ROOT.glob("*/main.py"))
EXPERIMENTS = [name for name in ALL_EXPERIMENTS if not name.endswith("_custom")]  # the published ten
MODULES = ("arguments", "dataset", "model", "trainer", "main")


def load_script(path, name):
    """A script outside the package, as a module of that name."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def experiment(name):
    """The modules of an experiment's directory, importable under their short names inside the block."""
    kept = {module: sys.modules.pop(module, None) for module in MODULES}
    sys.path.insert(0, str(ROOT / name))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(ROOT / name))
        for module, before in kept.items():
            sys.modules.pop(module, None)
            if before is not None:
                sys.modules[module] = before


@contextlib.contextmanager
def parts_of(name, argv):
    """An experiment's parsed arguments, and what it builds, as if ``main.py`` had been given ``argv``."""
    before = sys.argv
    sys.argv = [str(ROOT / name / "main.py"), *map(str, argv)]
    try:
        with experiment(name) as load:
            args = load("arguments").get_args(sys.argv[1:])
            builders = load("dataset").build_datasets, load("model").build_model, load("trainer").Trainer
            yield args, builders
    finally:
        sys.argv = before


def run_here(name, *argv):
    """Train an experiment in this process; returns the folder of its run."""
    from ipet.experiment import run_folder
    from ipet.launch import work

    with parts_of(name, argv) as (args, builders):
        folder = run_folder(vars(args), name)
        work(args, folder, *builders)
    return folder


def command_here(name, *argv):
    """What ``main.py`` does, in this process: errors are told, and raise SystemExit."""
    from ipet.launch import run

    with parts_of(name, argv) as (args, builders):
        run(args, *builders)


def start(name, *argv, launcher=(), own_group=False, **environment):
    """Start ``main.py`` (or torchrun) in an experiment's directory, as a user does."""
    command = [sys.executable, *launcher, "main.py", *map(str, argv)]
    env = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return subprocess.Popen(
        command,
        cwd=ROOT / name,
        env={**env, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=own_group,  # whose processes a signal can be sent to together
        # A shell's background jobs ignore Ctrl-C, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def run_there(name, *argv, launcher=(), timeout=240, **environment):
    """Run ``main.py`` in a process of its own to its end; returns exit status, stdout, stderr."""
    process = start(name, *argv, launcher=launcher, **environment)
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return process.returncode, out, err


def wait_for_another_state(process, folder, seen):
    """Wait until a training state is written that was not among ``seen``; False where the run ends first."""
    while process.poll() is None:
        try:
            states = {path: path.stat().st_mtime_ns for path in folder.rglob("training_state.pt")}
        except FileNotFoundError:  # a folder went while it was looked through: best/ is written anew
            continue
        if states != seen:
            seen.clear()
            seen.update(states)
            return True
        time.sleep(0.001)
    return False


def wait_for_a_write(process, folder, seconds=0.5):
    """Wait until a training state is being written, or for so long."""
    cells = {path.parent for path in folder.rglob("training_state.pt")}
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        for cell in cells:
            if any(name.startswith(".training_state.pt.") for name in os.listdir(cell)):
                return


def processes_of(pid):
    """A process and all that it has started and those have, as {pid: when it began}; of Linux's /proc."""
    found, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, *values = path.read_text().rpartition(")")[2].split()
            if state != "Z":
                parents[int(path.parent.name)] = int(parent), values[17]
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        if one in parents and one not in found:
            found[one] = parents[one][1]
            waiting += [child for child, (parent, _) in parents.items() if parent == one]
    return found


def listening(processes):
    """The addresses on which processes wait for connections, as in Linux's /proc."""
    sockets = set()
    for pid in processes:
        with contextlib.suppress(OSError):
            for file in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    sockets.add(os.readlink(f"/proc/{pid}/fd/{file}"))
    found = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                _, local, _, state, *_, inode = row.split()[:10]
                if state == "0A" and f"socket:[{inode}]" in sockets:
                    words = bytes.fromhex(local.partition(":")[0])  # of 4 bytes, the last one first
                    found.append(b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4)))
    addresses = map(ipaddress.ip_address, found)
    return [getattr(address, "ipv4_mapped", None) or address for address in addresses]


def still_there(processes):
    """Those of ``processes_of`` that have not ended."""
    return [pid for pid, began in processes.items() if processes_of(pid).get(pid) == began]


def seconds_until_gone(processes, most=30):
    """How long it takes until none of them is left; the test fails where it is longer than ``most``."""
    begin = time.monotonic()
    while left := still_there(processes):
        assert time.monotonic() - begin < most, f"still there: {left}"
        time.sleep(0.05)
    return time.monotonic() - begin


def write_wav(path, seconds=0.4, seed=0, rate=16_000):
    """Quiet noise over a tone that the seed chooses."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(
        path,
        0.2 * np.sin(2 * np.pi * (200 + 150 * (seed % 4)) * t) + 0.01 * rng.standard_normal(len(t)),
        rate,
    )


long = pytest.mark.long  # skipped by `make test`, run by `make torture`; see conftest.py


def write_lists(folder, num_classes=4, **clips):
    """Lists of noise (``train_1=12``: 12 clips in train_1.json) and their label table; returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{i},/m/{i:02d},class {i}" for i in range(num_classes)]
    (folder / "labels.csv").write_text("\n".join(["index,mid,display_name", *rows]) + "\n")
    for n, (name, number) in enumerate(clips.items()):
        data = []
        for i in range(number):
            write_wav(folder / f"wav/{name}_{i}.wav", 0.3 + 0.1 * (i % 5), seed=1000 * n + i)
            data.append({"wav": f"wav/{name}_{i}.wav", "labels": f"/m/{i % num_classes:02d}"})
        (folder / f"{name}.json").write_text(json.dumps({"data": data}))
    return folder


def tiny(lists, runs, *more):
    """Flags of a run of seconds: a tiny random backbone on ``lists``, no loggers, written under ``runs``."""
    flags = ["-name", "a", "-tags", "t", "-path_list", lists, "-path_run", runs, "-logger="]
    return [*flags, "-pretrained", "random", "-size", "tiny", "-precision", "fp32", *more]


def rows(folder, kind):
    """The rows of a kind in a folder's metrics.jsonl."""
    lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def result(*curve, metric="accuracy", watched="eval", higher_is_better=True, **more):
    """What a finished cell says, with these values of its metric after its epochs."""
    best = max(curve) if higher_is_better else min(curve)
    return {
        "metric": metric,
        "higher_is_better": higher_is_better,
        "watched": watched,
        "best_epoch": curve.index(best) + 1,
        "history": [{"epoch": i, f"{watched}_{metric}": v} for i, v in enumerate(curve, start=1)],
        "tuning": {"method": "ipet"},
        "trainable_parameters": 1_250,
        "all_parameters": 100_000,
        "seconds": 1_830.0,
        "peak_memory_bytes": 3 * 2**30,
        "checkpoint_bytes": 5 * 2**20 // 2,
        "macs": 48_600_000_000,
        "without_hearing": None,
        **more,
    }


def write_run(folder, experiment, cells, names=("cat", "dog"), predictions=None, **arguments):
    """A run's folder: its arguments, and the results, labels and predictions of its finished cells."""
    defaults = {"rand_seed": [7], "fold": 0, "protocol": ["last"], "path_list": "/lists/esc50"}
    arguments = {"experiment": experiment, **defaults, **arguments}
    arguments["cells"] = planned_cells(arguments["rand_seed"], arguments["fold"], arguments["protocol"])
    folder.mkdir(parents=True)
    (folder / "arguments.json").write_text(json.dumps(arguments))
    for cell, value in cells.items():
        path = folder / cell
        (path / "last").mkdir(parents=True)
        (path / "result.json").write_text(json.dumps({"evaluated_sha256": "0" * 64, **value}))
        labels = [{"mid": f"/m/{i}", "name": name} for i, name in enumerate(names)]
        (path / "last" / "adapter_config.json").write_text(json.dumps({"labels": labels}))
        if predictions is not None:
            np.savez(path / "predictions.npz", **predictions)
    return folder


def one_hot(*classes, num_classes=2):
    return np.eye(num_classes, dtype=np.float32)[list(classes)]


def adapter(folder):
    """The tensors of a saved adapter."""
    return safetensors.torch.load((folder / "adapter_model.safetensors").read_bytes())


@contextlib.contextmanager
def stopped_behind_the_third_step(monkeypatch):
    """Trainings inside the block get SIGTERM in their third step, and stop."""
    from ipet.interruption import Stopped
    from ipet.trainer import Trainer

    take = Trainer.train_step

    def stop_behind_the_third(training, *batch):
        if training.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(training, *batch)

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(Trainer, "train_step", stop_behind_the_third)
        yield
