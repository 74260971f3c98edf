"""How command lines are read: a strict parser, types of values, and what is read in more than one place."""

import argparse
import difflib
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ipet import limits
from ipet.list_files import FLAGS

LOGGERS = ("tensorboard", "neptune", "trackio", "wandb", "mlflow")
REPOSITORY = Path(__file__).resolve().parents[1]


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows every flag's default, where it has one, and the example as it is written."""

    def _get_help_string(self, action):
        return action.help if action.default is None else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """argparse, strict: no abbreviated flags, no misspelt defaults, and a hint for a misspelt flag."""

    def _get_option_tuples(self, option_string):
        return []  # argparse abbreviates single-dash flags even with allow_abbrev=False

    def error(self, message):
        """One line, without the two dozen lines of usage."""
        self.exit(2, f"error: {message} (-h lists the flags)\n")

    def flags(self) -> list[str]:
        """Every flag and alias."""
        return [flag for action in self._actions for flag in action.option_strings]

    def parse_args(self, args=None, namespace=None):
        """Parse; an unknown flag is an error that names the nearest known one."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"unknown argument {unknown[0]!r}{suggest(unknown[0], self.flags())}")
        return parsed

    def add_to_help(self, name: str, text: str) -> None:
        """Add to a flag's help what no plain default tells."""
        next(action for action in self._actions if action.dest == name).help += text

    def set_defaults(self, **defaults) -> None:
        """Change defaults; raises TypeError for a name that is no flag."""
        known = [action.dest for action in self._actions]
        for name in defaults:
            if name not in known:
                raise TypeError(f"default {name!r} is no flag{suggest(name, known)}")
        super().set_defaults(**defaults)


def suggest(name: str, known: list[str]) -> str:
    """``; did you mean X?``, or nothing."""
    close = difflib.get_close_matches(name.split("=")[0], known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


# Types: each turns a flag's text into a value or says what it accepts -----------------------------


YES, NO = ("true", "yes", "t", "y", "1"), ("false", "no", "f", "n", "0")  # spellings of a switch


def boolean(text: str) -> bool:
    """Return the value of a switch, spelt as in ``YES`` or ``NO``, in any case."""
    if text.lower() in (*YES, *NO):
        return text.lower() in YES
    raise argparse.ArgumentTypeError(f"{text!r} is neither True nor False")


def number(kind: type, low: float = -math.inf, high: float = math.inf, above: bool = False):
    """A type for finite numbers in [low, high], or in (low, high] with ``above``."""
    name = "a whole number" if kind is int else "a number"
    if low > -math.inf:
        name += f" {'above' if above else 'at least'} {low}"
    if high < math.inf:
        name += f", at most {high}"

    def parse(text: str):
        """The number that a flag's word says."""
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        inside = (low < value if above else low <= value) and value <= high
        if not inside or math.isinf(value):
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not {name}")
        return value

    return parse


def part_of_path(text: str) -> str:
    """A folder's name: no separators, not ``..``."""
    if not text.isprintable() or text in ("", ".", "..") or set(text) & set("/\\"):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a folder's name")
    return text


def names(text: str) -> tuple[str, ...]:
    """``a,b`` -> ("a", "b")."""
    return tuple(name for name in text.split(",") if name)


def logger_names(text: str) -> tuple[str, ...]:
    """Names of loggers, of those there are."""
    unknown = [name for name in names(text) if name not in LOGGERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown logger {unknown[0]!r}; accepted: {', '.join(LOGGERS)}")
    return names(text)


class Joined(argparse.Action):
    """Words that are tuples each, ``a,b c``, as one tuple without repetitions."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Keep it."""
        setattr(namespace, self.dest, tuple(dict.fromkeys(name for word in values for name in word)))


def gpu_numbers(text: str) -> tuple[int, ...]:
    """Return the GPU numbers of ``0,1``, which may have spaces."""
    parts = [part.strip() for part in names(text)]
    if not all(part.isdecimal() and len(part) < 5 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of GPU numbers such as 0,1")
    return tuple(map(int, parts))


finite = number(float)


def parameters(text: str) -> int:
    """``300k`` -> 300000, ``1.5M`` -> 1500000."""
    units = {"k": 1_000, "m": 1_000_000}
    unit = units.get(text[-1:].lower(), 1)
    try:
        value = float(text[:-1] if unit > 1 else text) * unit
    except ValueError:
        value = math.nan
    if not 1 <= value <= limits.PARAMETERS:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is no number of parameters such as 300k, 1.5M or 250000, at most "
            f"{limits.PARAMETERS}"
        )
    return int(value)


def interval(text: str) -> str:
    """``500`` steps or ``10m`` minutes, as it is."""
    try:
        read_interval(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(error) from None
    return text


count, size = number(int, 0, limits.WHOLE_NUMBER), number(int, 1, limits.WHOLE_NUMBER)
positive, not_negative = number(float, 0, above=True), number(float, 0)
probability = number(float, 0, 1)


def add_switch(group, *flags: str, default: bool, help: str) -> None:
    """Add a flag that takes a boolean; without a value it means True."""
    group.add_argument(
        *flags, type=boolean, nargs="?", const=True, default=default, metavar="BOOL", help=help
    )


def list_folder(argv: Sequence[str] | None, default: Path) -> Path:
    """The folder that the last ``-path_list`` names, ``~`` in it resolved; the default without one.

    Args:
        argv: the words of a command line; None: those of this process.
    """
    return paths_of(argv, ["path_list"]).get("path_list", default).expanduser()


def list_files(argv: Sequence[str] | None) -> dict[str, Path]:
    """Return the lists and the label table that a command line names one by one, by flag."""
    return {name: path.expanduser() for name, path in paths_of(argv, dict.fromkeys(FLAGS.values())).items()}


def paths_of(argv: Sequence[str] | None, names: Iterable[str]) -> dict[str, Path]:
    """Return the paths that a command line gives with some flags; see ``list_folder`` for ``argv``."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in names:
        parser.add_argument(f"-{name}", type=Path, default=argparse.SUPPRESS)
    words = sys.argv[1:] if argv is None else list(argv)
    return vars(parser.parse_known_args(words)[0])


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
