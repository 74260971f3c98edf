"""How a process of a run ends: what it says of why, and what it leaves."""

import contextlib
import os
import sys
import threading
import time
import traceback
from pathlib import Path

import torch

from ipet import distributed
from ipet.checkpoint import write_atomically
from ipet.interruption import end_readers
from ipet.output_pipe import READER_GONE, flush_output
from ipet.shared_memory import REMEDY, describe_free, is_out_of_shared_memory

# What a user can mend: one line. Anything else is a defect of ours and shows its traceback.
MENDABLE = (ValueError, OSError, FloatingPointError, MemoryError, torch.OutOfMemoryError)
READER_ENDED = (
    "a worker that reads clips was killed from outside, often for want of memory or of room in /dev/shm; use "
    f"fewer -num_workers, or more memory ({REMEDY}), then -resume"
)
NO_SHARED_MEMORY = f"there is no room in shared memory, {{free}}: {REMEDY}"
NO_MEMORY = "no memory is left; a smaller -micro_batch_size, or -checkpoint_activations True, needs less"
MOMENT = 5.0  # seconds: a process that fails because another one did waits so long for that one's end


def tell_but_of_disks(error: threading.ExceptHookArgs) -> None:
    """Print the traceback of a thread, unless a disk failed: TensorBoard's next call raises that again."""
    if not issubclass(error.exc_type, OSError):
        threading.__excepthook__(error)


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


def reason(error: BaseException) -> str:
    """Return the one line that says why a run ended, for an error that a user can mend."""
    if is_out_of_shared_memory(error):
        return NO_SHARED_MEMORY.format(free=describe_free())
    return str(error) or type(error).__name__


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
    os._exit(READER_GONE if flush_output() else status)
