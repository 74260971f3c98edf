"""What is read out of a command line in more than one place."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ipet import limits


def list_folder(argv: Sequence[str] | None, default: Path) -> Path:
    """The folder that the last ``-path_list`` names, ``~`` in it resolved; the default without one.

    Args:
        argv: the words of a command line; None: those of this process.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-path_list", type=Path, default=default)
    words = sys.argv[1:] if argv is None else list(argv)
    return parser.parse_known_args(words)[0].path_list.expanduser()


def read_interval(text: str) -> tuple[int | None, float | None]:
    """``500`` -> (500, None), steps; ``10m`` -> (None, 600.0), seconds.

    Raises:
        ValueError: it is neither, or not above 0.
    """
    number, minutes = text.removesuffix("m"), text.endswith("m")
    try:
        value = float(number) if minutes else int(number)
    except ValueError:
        value = 0
    if not 0 < value < (float("inf") if minutes else limits.WHOLE_NUMBER + 1):
        raise ValueError(f"{text[:40]!r} is no interval; expected steps such as 500, or minutes such as 10m")
    return (None, 60 * value) if minutes else (int(value), None)
