"""Batches reach the training however little shared memory there is, and a run says so in one line."""

import errno
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
import torch

from ipet import shared_memory
from ipet.datasets import Cut, EvaluationClips, RankShare, evaluation_loader
from ipet.ending import READER_ENDED, reason
from ipet.interruption import Stopped
from ipet.lists import Clip, Labels
from ipet.trainer import Trainer

from helpers import ROOT, rows, run_here, tiny, write_lists

LABELS = Labels(Path("labels.csv"), ("a", "b"), ("a", "b"))


@pytest.fixture
def clips(tmp_path):
    """Six clips of different lengths."""
    for i in range(6):
        rng = np.random.default_rng(i)
        soundfile.write(tmp_path / f"{i}.wav", 0.1 * rng.standard_normal(400 + 10 * i), 16_000)
    listed = [Clip(tmp_path / f"{i}.wav", (i % 2,), f"train.json: clip {i}") for i in range(6)]
    return EvaluationClips(listed, LABELS, Cut(10_000))


@pytest.fixture
def batches(clips):
    """Read all batches with two workers, or without any."""

    def read(num_workers):
        return list(evaluation_loader(clips, RankShare(6), 2, num_workers, pin=False))

    shared_memory.report_small.cache_clear()
    yield read
    shared_memory.report_small.cache_clear()


def test_batches_are_the_same_with_and_without_shared_memory(batches, monkeypatch, capfd):
    # B2
    expected = batches(0)
    shared = batches(2)
    assert all(batch.waveform.is_shared() for batch in shared)
    assert "note" not in capfd.readouterr().err
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: shared_memory.RESERVE + 10)
    by_value = batches(2)
    assert not any(tensor.is_shared() for batch in by_value for tensor in batch)
    for found in (shared, by_value):
        for one, other in zip(expected, found, strict=True):
            assert type(other) is type(one)
            for a, b in zip(one, other, strict=True):
                assert a.dtype == b.dtype and torch.equal(a, b)
    [note] = capfd.readouterr().err.splitlines()
    assert note.startswith("note: /dev/shm, of which 16 MiB are free, is too small for the batches of the")
    assert "--ipc=host" in note and "--shm-size" in note and "-num_workers 0" in note


def test_batch_that_does_not_fit_after_all_comes_by_value(batches, monkeypatch):
    # B2: another worker, or program, took the room between the look and the write
    def refuse(_):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: Success (0)")

    monkeypatch.setattr(torch.Tensor, "share_memory_", refuse)
    assert [batch.index.tolist() for batch in batches(1)] == [[0, 1], [2, 3], [4, 5]]


def test_batch_stays_as_it_is_without_workers(batches, monkeypatch):
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 0)
    assert not any(tensor.is_shared() for batch in batches(0) for tensor in batch)
    batch = batches(0)[0]
    assert shared_memory.hand_over(batch) is batch


def test_errors_of_shared_memory_are_named(monkeypatch):
    # B2
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # a semaphore of multiprocessing
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 0)
    for error in (full, RuntimeError("unable to allocate shared memory(shm) for file </x>: Success (0)")):
        said = reason(error)
        assert "\n" not in said and "/dev/shm, of which 0 MiB are free" in said
        assert "--ipc=host" in said and "-num_workers 0" in said
    disk = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/run/metrics.jsonl")
    assert "/dev/shm" not in reason(disk)
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 2**30)
    assert "/dev/shm" not in reason(full)
    assert all(word in READER_ENDED for word in ("/dev/shm", "--ipc=host", "-num_workers"))


def test_signal_ends_a_training_whose_worker_is_stuck(tmp_path, monkeypatch):
    # B2: SIGTERM was remembered for a step that never came
    lists = write_lists(tmp_path / "lists", train=12, valid=3, test=3)
    flags = [*tiny(lists, tmp_path, "-frame_length", 40, "-embedding_prompt_num", 3), "-batch_size", 2]
    monkeypatch.setattr(Trainer, "batches_as_read", stuck_after(3, Trainer.batches_as_read))
    threading.Thread(target=terminate_when_stuck, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        run_here("w2v_speechcommands", *flags, "-num_workers", 1)
    assert time.monotonic() - began < 60
    cell = tmp_path / "IPET/t/w2v_speechcommands/a/seed_1234"
    assert [row["step"] for row in rows(cell, "step")] == [1, 2, 3]
    assert (cell / "training_state.pt").is_file()


STUCK = threading.Event()


class StuckLoader:
    """A loader that hands on some batches, and then nothing for ever."""

    def __init__(self, loader, number):
        self.loader, self.number = loader, number

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for i, batch in enumerate(self.loader):
            if i == self.number:
                STUCK.set()
                time.sleep(120)
            yield batch


def stuck_after(number, read):
    """Give a trainer a loader that is stuck after some batches."""

    def batches_as_read(self, pending):
        self.loader = StuckLoader(self.loader, number)
        yield from read(self, pending)

    return batches_as_read


def terminate_when_stuck():
    """Send this process SIGTERM once its loader is stuck."""
    if STUCK.wait(60):
        os.kill(os.getpid(), signal.SIGTERM)


# A small /dev/shm of its own ------------------------------------------------------------------------


def why_no_mount():
    """Return why no file system can be mounted in a namespace here; empty where it can."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return "a small /dev/shm needs Linux and unshare"
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/dev/shm"]
    done = subprocess.run(command, capture_output=True, text=True)
    return f"a small /dev/shm needs the right to mount one: {done.stderr.strip()}" if done.returncode else ""


NO_MOUNT = why_no_mount()
LOADER = """
import torch
from ipet.datasets import Batch, collate_for_loader, single
from ipet.interruption import begin_reader

class Clips(torch.utils.data.Dataset):
    def __len__(self):
        return 32
    def __getitem__(self, i):
        return single(torch.full((2_000_000,), float(i)), torch.zeros(2), i)

loader = torch.utils.data.DataLoader(
    Clips(), 4, num_workers=2, collate_fn=collate_for_loader, worker_init_fn=begin_reader
)
means = [batch.waveform.mean(dim=1).tolist() for batch in loader]
assert sum(means, []) == [float(i) for i in range(32)], means
print("read all")
"""


@pytest.mark.skipif(bool(NO_MOUNT), reason=NO_MOUNT or "-")
@pytest.mark.parametrize("size", ["64m", "20m"])
def test_workers_hand_on_more_than_a_containers_shared_memory_holds(size):
    # B2: 8 batches of 32 MB through 64 MiB, which is Docker's default; it printed a traceback and hung
    script = f'mount -t tmpfs -o size={size} none /dev/shm && exec "$@"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-c", LOADER],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 0 and done.stdout == "read all\n", done.stderr
    [note] = done.stderr.splitlines()
    assert "/dev/shm" in note and "--ipc=host" in note


@pytest.mark.skipif(bool(NO_MOUNT), reason=NO_MOUNT or "-")
def test_run_without_any_shared_memory_ends_with_one_line(tmp_path):
    # B2: not even the semaphores of the workers fit
    lists = write_lists(tmp_path / "lists", train=4, valid=3, test=3)
    flags = tiny(lists, tmp_path, "-frame_length", 40, "-embedding_prompt_num", 3)
    script = 'mount -t tmpfs -o size=4k none /dev/shm && head -c 4096 /dev/zero >/dev/shm/full; exec "$@"'
    command = [sys.executable, "main.py", *map(str, flags), "-num_workers", "1"]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *command],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT / "w2v_speechcommands",
    )
    assert done.returncode == 1
    told, *_ = done.stderr.splitlines()  # torch 2.11 adds that its unfinished loader has no _shutdown
    assert told.startswith("error: there is no room in shared memory, /dev/shm, of which 0 MiB are free: ")
    assert "--ipc=host" in told and "-num_workers 0" in told
