"""Ends that nobody chose, crashes, kills, Ctrl-C, a full disk: no process is left, and no state lost."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ipet.checkpoint import hold, load_latest_training, remove_unfinished, write_atomically
from ipet.trainer import Trainer

from helpers import (
    ROOT,
    command_here,
    listening,
    long,
    processes_of,
    rows,
    run_here,
    seconds_until_gone,
    start,
    still_there,
    tiny,
    wait_for_another_state,
    write_lists,
)

pytestmark = long
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are counted in Linux's /proc")
FLAGS = ["-frame_length", 40, "-batch_size", 4, "-embedding_prompt_num", 3]


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("lists"), train=13, valid=5, test=7)


# Processes ------------------------------------------------------------------------------------------


@pytest.fixture
def two_with_readers(lists, tmp_path):
    """A run of two processes with a reader each, behind its first checkpoint; and all of its processes."""
    flags = [*tiny(lists, tmp_path, *FLAGS), "-epoch", 5_000, "-nproc", 2, "-num_workers", 1]
    process = start("w2v_speechcommands", *flags, "-checkpoint_every", 1, own_group=True)
    assert wait_for_another_state(process, tmp_path, {})
    processes = processes_of(process.pid)
    assert len(processes) >= 5, processes  # the launcher, two ranks, a reader of each
    addresses = listening(processes)
    assert addresses and all(address.is_loopback for address in addresses), addresses
    yield process, processes
    for pid in still_there(processes):  # of a test that failed
        os.kill(pid, signal.SIGKILL)
    process.communicate()


def ranks_of(process):
    """The processes that a launcher has started."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def end_by(end, process):
    """Ctrl-C in a terminal, or SIGKILL to the launcher or a rank of it."""
    if end == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(process.pid if end == "the launcher is killed" else ranks_of(process)[1], signal.SIGKILL)


@linux
@pytest.mark.parametrize("end", ["Ctrl-C", "a rank is killed", "the launcher is killed"])
def test_no_process_outlives_a_run(two_with_readers, tmp_path, record_property, end):
    process, processes = two_with_readers
    end_by(end, process)
    seconds = seconds_until_gone(processes)
    _, err = process.communicate(timeout=30)
    record_property("seconds to stop all (most)", round(seconds, 1))
    assert process.returncode == {"Ctrl-C": 130, "a rank is killed": 1}.get(end, -signal.SIGKILL), err
    assert ("error: process 1 was ended by SIGKILL" in err) == (end == "a rank is killed")
    if end == "Ctrl-C":
        assert "add -resume to go on" in err and "Traceback" not in err
    state, note = load_latest_training(tmp_path / "IPET/t/w2v_speechcommands/a/seed_1234/training_state.pt")
    assert state["step"] > 0 and note is None


@linux
def test_an_error_of_one_process_stops_all_of_them_and_is_told_once(tmp_path, record_property):
    """The broken clip is met in the midst of the epoch, when the other process waits for its gradients."""
    lists = write_lists(tmp_path / "lists", train=60, valid=4, test=4)
    soundfile.write(lists / "wav/train_3.wav", np.full(6_400, np.nan), 16_000, subtype="FLOAT")
    flags = [*tiny(lists, tmp_path, *FLAGS), "-batch_size", 2, "-nproc", 2, "-num_workers", 1]
    process, processes = start("w2v_speechcommands", *flags, own_group=True), {}
    while process.poll() is None:
        processes |= processes_of(process.pid)
        time.sleep(0.05)
    seconds_until_gone(processes)
    gone = time.time()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    [told] = [line for line in err.splitlines() if "error: " in line]
    assert "train.json: clip 3" in told and "NaN" in told and "Traceback" not in err
    failed = min(path.stat().st_mtime for path in tmp_path.rglob("error_rank*.log"))
    assert gone - failed < 30
    record_property("seconds to stop all (most)", round(gone - failed, 1))


# What is told, and the exit status ------------------------------------------------------------------


@pytest.fixture
def ended(lists, tmp_path, monkeypatch, capsys):
    """What ``main.py`` does where its work is another: the exit status, and what is told."""
    monkeypatch.setattr("threading.excepthook", threading.excepthook)

    def end(work):
        monkeypatch.setattr("ipet.launch.work", lambda *_: work())
        with pytest.raises(SystemExit) as left:
            command_here("w2v_speechcommands", *tiny(lists, tmp_path, *FLAGS))
        return left.value.code, capsys.readouterr().err

    return end


@pytest.mark.parametrize(("name", "status"), [("TERM", 75), ("USR1", 75), ("HUP", 75), ("INT", 130)])
def test_a_signal_before_or_behind_a_training_has_the_status_that_goes_on(ended, name, status):
    """While recordings are decoded, weights are read, or the test list is heard."""
    number = getattr(signal, f"SIG{name}")
    before = signal.signal(number, lambda *_: pytest.fail("nobody heeds it"))
    try:
        found, told = ended(lambda: os.kill(os.getpid(), number))
        assert signal.getsignal(number).__name__ == "<lambda>"
    finally:
        signal.signal(number, before)
    assert found == status
    assert told == f"error: stopped by SIG{name}; all is saved: add -resume to go on\n"


def test_a_reader_that_was_killed_is_no_defect_of_ours(ended):
    def work():
        raise RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. \nmore")

    found, told = ended(work)
    assert found == 1 and told.startswith(
        "error: a worker that reads clips was killed from outside, often for want of"
    )
    assert told.endswith("(DataLoader worker (pid 12) is killed by signal: Killed. )\n")


def test_a_traceback_is_not_written_through_a_link(ended, tmp_path):
    """Whoever packed a run may have put one there; an error may come before it is looked for."""
    folder, precious = tmp_path / "IPET/t/w2v_speechcommands/a", tmp_path / "precious"
    folder.mkdir(parents=True)
    precious.write_text("of mine")
    (folder / "arguments.json").write_text("{}")
    (folder / "error_rank0.log").symlink_to(precious)

    def work():
        raise ValueError("7 is no cell")

    assert ended(work) == (1, f"error: 7 is no cell (more in {folder}/error_rank0.log)\n")
    assert precious.read_text() == "of mine" and "7 is no cell" in (folder / "error_rank0.log").read_text()


def test_a_record_that_names_no_trainings_is_refused(lists, tmp_path):
    folder = tmp_path / "IPET/t/w2v_speechcommands/a"
    folder.mkdir(parents=True)
    for cells in (["seed_1/../../other"], [7]):
        (folder / "arguments.json").write_text(json.dumps({"cells": cells}))
        with pytest.raises(ValueError, match=r"arguments\.json: \[.*\] are no trainings of a run; choose"):
            run_here("w2v_speechcommands", *tiny(lists, tmp_path, *FLAGS), "-resume")


# Disks ----------------------------------------------------------------------------------------------


def test_what_killed_writes_left_is_removed_and_a_living_ones_file_stays(tmp_path):
    for name in ("seed_1/.training_state.pt.a1b2c3d4.unfinished", ".summary.json.e5f6g7h8.unfinished"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    other = tmp_path / ".env.unfinished.txt"
    other.write_text("somebody's")
    held = tmp_path / "seed_1/.result.json.i9j0k1l2.unfinished"
    with open(held, "wb") as file:
        assert hold(file)
        assert remove_unfinished(tmp_path) == 2
        assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == [other, held]
    assert remove_unfinished(tmp_path) == 1 and not held.exists()


def test_a_write_that_is_killed_leaves_the_old_content(tmp_path):
    write_atomically(tmp_path / "a.json", b"old")
    child = os.fork()
    if child == 0:
        os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)
        write_atomically(tmp_path / "a.json", b"new")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert (tmp_path / "a.json").read_bytes() == b"old"
    assert len(list(tmp_path.glob(".a.json.*.unfinished"))) == 1
    assert remove_unfinished(tmp_path) == 1 and os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_fails_leaves_a_state_to_go_on_from(lists, tmp_path, monkeypatch, number):
    """At the fourth checkpoint of eight; the finished run is the one whose disk never failed."""
    flags = [*tiny(lists, tmp_path, *FLAGS), "-epoch", 2, "-resume", "-checkpoint_every", 1]
    whole = run_here("w2v_speechcommands", *flags, "-name", "whole") / "seed_1234"
    sync, path = os.fsync, tmp_path / "IPET/t/w2v_speechcommands/a/seed_1234/training_state.pt"
    metrics, synced = path.with_name("metrics.jsonl"), []

    def fail_from_the_fourth_step_on(descriptor):
        begun = metrics.is_file()
        of_rows = begun and os.path.samestat(os.fstat(descriptor), metrics.stat())
        synced.append("rows" if of_rows else "state")
        if begun and synced[-1] == "state" and len(rows(path.parent, "step")) >= 4:
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    with monkeypatch.context() as patched, pytest.raises(OSError, match=f"{os.strerror(number)}: '{path}'"):
        patched.setattr("ipet.checkpoint.os.fsync", fail_from_the_fourth_step_on)
        run_here("w2v_speechcommands", *flags)
    state, note = load_latest_training(path)
    assert state["step"] == 3 and note is None and not list(tmp_path.rglob("*.unfinished"))
    assert synced[-2:] == ["rows", "state"]  # rows before the state that says that they are there
    run_here("w2v_speechcommands", *flags)
    for kind in ("step", "epoch"):
        assert rows(path.parent, kind) == rows(whole, kind)


def test_a_run_whose_folder_is_removed_ends_and_does_not_make_another(lists, tmp_path, monkeypatch):
    flags = [*tiny(lists, tmp_path, *FLAGS), "-epoch", 2, "-logger", ""]
    take = Trainer.train_step

    def remove_before_the_second(training, *batch):
        if training.step == 1:
            shutil.rmtree(tmp_path / "IPET")
        return take(training, *batch)

    monkeypatch.setattr(Trainer, "train_step", remove_before_the_second)
    with pytest.raises(FileNotFoundError, match="seed_1234: this folder of the run is gone"):
        run_here("w2v_speechcommands", *flags)
    assert not (tmp_path / "IPET").exists()


def small_disks():
    """Whether this user may mount a disk in a namespace of its own."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0
    )


FULL_DISK = """
mount -t tmpfs -o size={kib}k none {disk} && cd {experiment}
{python} main.py {flags}; echo "status $?"
mount -o remount,size=64m {disk}
{python} main.py {flags} -resume >&2; echo "status $?"
cp -r {disk} {copy}
"""


@pytest.mark.skipif(not small_disks(), reason="a disk in a namespace needs Linux and the right to mount one")
def test_a_full_disk_ends_the_run_with_one_line_and_it_goes_on_when_there_is_room(lists, tmp_path):
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    flags = [*tiny(lists, disk, *FLAGS, "-epoch", 3, "-checkpoint_every", 1), "-logger", "tensorboard"]
    script = FULL_DISK.format(
        kib=480,
        disk=disk,
        experiment=ROOT / "w2v_speechcommands",
        python=sys.executable,
        flags=" ".join(map(str, flags)),
        copy=copy,
    )
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, timeout=240)
    assert [line for line in done.stdout.splitlines() if line.startswith("status")] == [
        "status 1",
        "status 0",
    ], done
    told = done.stderr.splitlines()[0]
    assert told.startswith("error: [Errno 28] No space left on device: ")
    assert told.endswith("what was saved before is kept: mend it, then add -resume to go on")
    assert "error" not in "".join(done.stderr.splitlines()[1:])
    cell = copy / "IPET/t/w2v_speechcommands/a/seed_1234"
    assert [row["step"] for row in rows(cell, "step")] == list(range(1, 13))
    assert json.loads((cell / "result.json").read_text())["best_epoch"] in (1, 2, 3)
