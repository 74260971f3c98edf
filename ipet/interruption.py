"""Ends that come from outside, a signal or Ctrl-C, and checkpoints for those that give no warning."""

import atexit
import ctypes
import multiprocessing.util  # its own end at exit is registered before ours, and so comes after it
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ipet import output_pipe
from ipet.parsing import read_interval

RESUME_STATUS = 75  # EX_TEMPFAIL of sysexits.h: the same command with -resume goes on
CUSTOMARY = [getattr(signal, name) for name in ("SIGINT", "SIGPIPE") if hasattr(signal, name)]
ENDS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")  # SLURM sends USR1 where --signal=USR1@60 asks for it
PATIENCE = 2.0  # seconds in which a signal and its copies, sent on by a launcher, count as one


def ends() -> list[signal.Signals]:
    """The signals that end a run; not SIGHUP, a terminal's end, where ``nohup`` has it ignored."""
    numbers = [getattr(signal, name) for name in ENDS if hasattr(signal, name)]
    return [n for n in numbers if n.name != "SIGHUP" or signal.getsignal(n) != signal.SIG_IGN]


class Stopped(BaseException):
    """The training was asked to end; all of its steps are saved.

    No ``Exception``, as ``KeyboardInterrupt`` is none: it may come anywhere, and what takes an exception for
    a damaged file must not take this one for it.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int):
        self.number = number
        super().__init__(f"stopped by {signal.Signals(number).name}")

    @property
    def status(self) -> int:
        """The exit status: 130 and 141, as a shell knows them, or ``RESUME_STATUS`` for schedulers."""
        return 128 + self.number if self.number in CUSTOMARY else RESUME_STATUS


class StopRequest:
    """Whether a signal has asked this process to end; it listens inside its ``with`` block.

    The first signal is remembered, in ``number``, so that the training can be saved between two steps;
    Ctrl-C again, a moment later, ends at once.
    """

    def __init__(self):
        self.number: int | None = None
        self.since = 0.0
        self.immediate = False
        self.before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # no other thread may
            self.before = {number: signal.signal(number, self.heed) for number in ends()}
            output_pipe.State.listeners.append(self.heed_closed_output)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if self.heed_closed_output in output_pipe.State.listeners:
            output_pipe.State.listeners.remove(self.heed_closed_output)

    def heed_closed_output(self) -> None:
        """End as by a signal when the reader of the output has gone, as ``head`` does."""
        self.heed(signal.SIGPIPE, None)

    def heed(self, number: int, frame) -> None:
        """Remember a signal."""
        now = time.monotonic()
        if self.number is None:
            self.number, self.since = number, now
        elif number == signal.SIGINT and now - self.since > PATIENCE:
            raise KeyboardInterrupt
        if self.immediate:
            raise Stopped(self.number)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside the block a signal raises ``Stopped`` wherever the process is; so does an earlier one."""
        self.immediate = True
        try:
            if self.number is not None:
                raise Stopped(self.number)
            yield
        finally:
            self.immediate = False


def end_with_parent(number: int = signal.SIGTERM, parent: int | None = None) -> None:
    """Have the system send this process a signal when the one that started it ends, however; on Linux.

    Args:
        number: of the signal.
        parent: the one that started it, if known: it may have ended before it was asked for.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), number)


def begin_reader(worker: int) -> None:
    """In a loader's new process: read until the process it reads for ends, and no longer.

    Ctrl-C and a launcher's signals reach the whole group. Readers that ended by them would leave the
    training without the clips of the steps it still takes before it saves.
    """
    for name in ENDS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "SIGKILL"):  # not on Windows
        end_with_parent(signal.SIGKILL)


@atexit.register
def end_readers() -> None:
    """Kill this process's readers. ``multiprocessing`` would send SIGTERM, and wait for ever."""
    readers = [process for process in multiprocessing.active_children() if process.daemon]
    if readers and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would take it for a crash
    for reader in readers:
        reader.kill()


class Timer:
    """When a checkpoint is due.

    Args:
        every: ``500``, behind every 500th step; or ``10m``, minutes.

    Raises:
        ValueError: it is neither, or not above 0.
    """

    def __init__(self, every: str):
        self.steps, self.seconds = read_interval(every)
        self.saved_at = time.monotonic()

    def saved(self) -> None:
        """A checkpoint has been written."""
        self.saved_at = time.monotonic()

    def falls_on(self, step: int) -> bool:
        """Whether a checkpoint belongs behind this very step, in every process alike."""
        return self.steps is not None and step % self.steps == 0

    def is_due(self, step: int) -> bool:
        """Whether a checkpoint should be written behind ``step``."""
        return self.falls_on(step) or (
            self.seconds is not None and time.monotonic() - self.saved_at >= self.seconds
        )
