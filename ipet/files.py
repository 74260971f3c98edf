"""What a command is given, before work begins: is it there, can it be read or written, whose is it."""

import errno
import os
import stat
from pathlib import Path

ABOVE = 4  # folders between an adapter's and its run's: RUN/seed_1/fold_1/last
AUDIO = "expected an audio file"


def readable_size(path: str | Path, expected: str) -> int:
    """The bytes of a file that may be read.

    Args:
        expected: what an error says would do.

    Raises:
        FileNotFoundError: there is none, or it is no file.
        OSError: it may not be read, or be looked at: links in a circle, a name that is too long.
    """
    shown = os.fspath(path)
    try:
        found = os.stat(path)
    except (FileNotFoundError, ValueError):  # the latter: a NUL in its name
        link = os.path.islink(path)
        raise FileNotFoundError(f"{shown}: {'a link to nowhere' if link else 'no such file'}") from None
    except OSError as error:
        raise OSError(f"{shown}: {error.strerror}; {expected}") from None
    if not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(f"{shown}: not a file")
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        raise OSError(f"{shown}: {os.strerror(errno.EACCES)}; {expected}")
    return found.st_size


def run_of(folder: Path) -> Path | None:
    """The folder of the run that a folder is or lies in: of a cell, of an adapter."""
    folder = folder.absolute()
    around = [folder, *folder.parents][: ABOVE + 1]
    return next((path for path in around if (path / "arguments.json").is_file()), None)


def check_writable(path: str | Path | None) -> None:
    """Raise OSError where a file cannot be written, or its folder not be made; nothing is made yet.

    Args:
        path: of the file; None and ``-``, the screen, are fine.
    """
    if path is None or str(path) == "-":
        return
    path = Path(path)
    if path.is_dir():
        raise OSError(f"{path}: a folder; expected a file to write")
    if path.exists() and not os.access(path, os.W_OK):
        raise OSError(f"{path}: may not be written; expected a file that may")
    folder = path.absolute().parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise OSError(f"{path}: {folder} is no folder; expected a file in one")
    if not path.exists() and not os.access(folder, os.W_OK | os.X_OK):
        raise OSError(f"{path}: the folder {folder} may not be written; expected one that may")
