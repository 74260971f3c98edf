"""Output into a pipe whose reader leaves early, as ``head`` does.

A program in C is ended by SIGPIPE there; Python ignores that signal, and an exception appears in the midst of
the work or after its end. ``guard_output`` gives a command the customary end: no traceback, and the status
141 that a shell reports of a program that SIGPIPE ended.
"""

import atexit
import io
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from typing import ClassVar

READER_GONE = 141  # 128 + SIGPIPE


class ReaderGone(SystemExit):
    """The reader of the output has gone. No ``Exception``: nothing takes it for an error of a file."""

    def __init__(self):
        super().__init__(READER_GONE)


class State:
    """What is known of the readers of this process's output.

    Attributes:
        gone: A reader has gone; what is written since then is dropped.
        finish: The command goes on to its end, so that its files are written.
        listeners: Functions that are called when a reader goes, the last one alone; a training ends by it
            when it has been saved.
    """

    gone = False
    finish = False
    listeners: ClassVar[list[Callable[[], None]]] = []


class Pipe(io.FileIO):
    """A pipe that a standard stream writes to; what is written to it after its reader has gone is dropped."""

    def write(self, data) -> int | None:
        """Write bytes.

        Raises:
            ReaderGone: The reader has gone, in a command that ends by it.
        """
        try:
            return super().write(data)
        except BrokenPipeError:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())  # also for what children write
            report_gone()
        return len(data)


def report_gone() -> None:
    """Remember that a reader has gone, and end the command where it should end."""
    State.gone = True
    if State.listeners:
        State.listeners[-1]()
    elif not State.finish and threading.current_thread() is threading.main_thread():
        raise ReaderGone


def guard_output(finish: bool = False) -> None:
    """Let this process end as is customary when the reader of its output goes; call it first.

    Args:
        finish: Drop the output that is left and complete the work, then end with the same status; otherwise
            end at the next write.
    """
    State.finish = finish
    guarded = [guard(name) for name in ("stdout", "stderr")]
    if any(guarded):
        atexit.register(end_as_customary)


def guard(name: str) -> bool:
    """Replace a standard stream that is a pipe of this process; return whether it is one."""
    stream = getattr(sys, name)
    if stream is not getattr(sys, f"__{name}__") or not hasattr(signal, "SIGPIPE"):
        return False  # it has been replaced, by a test or an application around this; or there is none
    try:
        number = stream.fileno()
        kind = os.fstat(number).st_mode
    except (AttributeError, OSError, ValueError):  # None, closed, or no file
        return False
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind)):
        return False
    stream.flush()
    pipe = Pipe(number, "wb", closefd=False)
    text = io.TextIOWrapper(
        pipe if stream.write_through else io.BufferedWriter(pipe),
        encoding=stream.encoding,
        errors=stream.errors,
        newline="\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
    setattr(sys, name, text)
    return True


def flush_output() -> bool:
    """Write what is buffered; return whether the reader of any of the output has gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except ReaderGone:
            pass
    return State.gone


def end_as_customary() -> None:
    """At the process's end, give it the customary status where a reader has gone."""
    if flush_output():
        os._exit(READER_GONE)
