"""Batches on their way from a loader's workers: through shared memory, or through pipes where it is small.

A container has 64 MiB of ``/dev/shm`` unless it is told otherwise. A worker whose batch does not fit there
would fail in a thread of ``multiprocessing``, which prints a traceback and leaves the training waiting for
ever. Here a worker asks first, and sends such a batch by value: slower, with the same content.
"""

import errno
import functools
import multiprocessing
import os
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import get_worker_info
from tqdm import tqdm

FOLDER = Path("/dev/shm")
RESERVE = 16 * 2**20  # bytes that workers leave to others: NCCL's rings, semaphores, other programs
PAGE = 4096  # bytes; every tensor takes whole pages
REMEDY = "docker run --ipc=host (or --shm-size 8g) gives a container more, and -num_workers 0 needs none"


def free_bytes() -> int | None:
    """Return the free bytes of shared memory; None where there is no such folder, as outside Linux."""
    try:
        values = os.statvfs(FOLDER)
    except (OSError, AttributeError):
        return None
    return values.f_bavail * values.f_frsize


def describe_free() -> str:
    """Return what is known of the shared memory: its folder, and how much of it is free."""
    free = free_bytes()
    return f"{FOLDER}" if free is None else f"{FOLDER}, of which {free / 2**20:.0f} MiB are free"


def check_semaphores(num_workers: int) -> None:
    """Raise OSError if the queues of a loader's workers have no room, before the loader fails half-way."""
    if num_workers:
        multiprocessing.Lock()


class ByValue:
    """A batch that is pickled by value, and arrives as the batch itself.

    Args:
        batch: Named tuple of tensors on the CPU.
    """

    def __init__(self, batch: tuple[Tensor, ...]):
        self.batch = batch

    def __reduce__(self):
        return receive, (type(self.batch), [tensor.numpy() for tensor in self.batch])


def receive(kind: type, arrays: list) -> tuple[Tensor, ...]:
    """Return a batch that came by value; the first one is reported."""
    report_small()
    return kind(*map(torch.from_numpy, arrays))


@functools.cache
def report_small() -> None:
    """Print once, in the first process of this machine, that shared memory is too small."""
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        tqdm.write(
            f"note: {describe_free()}, is too small for the batches of the workers; they are sent "
            f"through pipes, which is slower: {REMEDY}",
            file=sys.stderr,
        )


def hand_over(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...] | ByValue:
    """Return a batch as a loader should send it: in shared memory if it fits, by value otherwise.

    Outside a worker it is returned as it is. Moving it here, and not in the thread that sends it, turns a
    failure into an exception of the worker, which the training is told of.
    """
    if get_worker_info() is None:
        return batch
    free = free_bytes()
    if free is not None and free - sum(map(taken_bytes, batch)) < RESERVE:
        return ByValue(batch)
    try:
        for tensor in batch:
            tensor.share_memory_()
    except (RuntimeError, OSError):  # another worker was faster, or there are no file descriptors left
        return ByValue(batch)
    return batch


def taken_bytes(tensor: Tensor) -> int:
    """Return the bytes that a tensor takes in shared memory."""
    return -(-tensor.untyped_storage().nbytes() // PAGE) * PAGE


def is_out_of_shared_memory(error: BaseException) -> bool:
    """Return whether an error says that nothing more fits into shared memory.

    ``multiprocessing`` keeps its semaphores there; their error names no file.
    """
    if isinstance(error, OSError):
        free = free_bytes()
        return error.errno == errno.ENOSPC and error.filename is None and free is not None and free < PAGE
    return "shared memory" in str(error) and isinstance(error, RuntimeError)
