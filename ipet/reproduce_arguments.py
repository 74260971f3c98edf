"""Flags of ``reproduce``, and of other commands that print tables."""

import argparse
from pathlib import Path

from ipet import limits
from ipet.arguments import METHODS, SEED
from ipet.parsing import REPOSITORY, Help, Parser, names, number

FORMATS = ("text", "markdown", "csv", "latex")  # of a table


def formats(text: str) -> tuple[str, ...]:
    """``text,csv`` -> ("text", "csv")."""
    unknown = [name for name in names(text) if name not in FORMATS]
    if unknown or not names(text):
        raise argparse.ArgumentTypeError(f"unknown format {text!r}; accepted: {', '.join(FORMATS)}")
    return names(text)


def reproduce_parser() -> Parser:
    """The flags of ``reproduce``."""
    usage = "python3 -m ipet reproduce [EXPERIMENT ...] -data NAME=DIR ... [flags] [-- flags of main.py]"
    parser = Parser(usage=usage, formatter_class=Help, epilog=REPRODUCE_EXAMPLE)
    add = parser.add_argument
    add("experiment", nargs="*", metavar="EXPERIMENT", help="such as ast_esc50; all ten if none is given")
    add(
        "-data",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=DIR",
        help="folder of a release (esc50, fsd50k, gtzan, speechcommands, voxceleb, musan, rirs), or a folder "
        "that holds releases",
    )
    add(
        "-path_list",
        type=Path,
        default=None,
        metavar="DIR",
        help="holds the lists, in folders of these names; data/ if not given",
    )
    add(
        "-method",
        nargs="+",
        action="extend",
        choices=METHODS,
        default=[],
        metavar="A",
        help=f"one or several of {', '.join(METHODS)} (default: finetune linear prompt adapter ipet)",
    )
    add("-seed", type=number(int, 0, limits.SEED), nargs="+", default=[SEED], metavar="N", help="of each run")
    add(
        "-grid",
        type=grid_of,
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME[=A,B]",
        help="instead of the table: ipet, or -method, with other numbers of prompts, adapter widths or "
        "learning rates (prompts, adapter, lr; x2 is twice the experiment's own value)",
    )
    add(
        "-pretrained",
        type=weights_of,
        nargs="+",
        action="extend",
        default=[],
        metavar="AST=A W2V=B",
        help="weights of each backbone, as main.py takes them; one word without = is for both",
    )
    add("-plan", action="store_true", help="print every command and its folder, and run nothing")
    add("-format", type=formats, default="text", metavar="A,B", help=f"of the tables: {', '.join(FORMATS)}")
    add("-path_run", type=Path, default=REPOSITORY / "runs", metavar="DIR", help="where runs are written")
    add(
        "-out",
        type=Path,
        default=None,
        metavar="DIR",
        help="where tables, page and figures are written; reproduce/ of -path_run if not given",
    )
    add("-json", default=None, metavar="FILE", help="also write the rows there; - prints JSON alone")
    return parser


def grid_of(text: str) -> tuple[str, tuple[str, ...]]:
    """``prompts=2,4`` -> ("prompts", ("2", "4")); ``prompts`` -> ("prompts", ()), its usual values."""
    name, equals, values = text.partition("=")
    known = ("prompts", "adapter", "lr")
    if name not in known or (equals and not names(values)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of {', '.join(known)}, or NAME=A,B of such a name"
        )
    for value in names(values):
        try:
            positive = float(value.removeprefix("x")) > 0
        except ValueError:
            positive = False
        if not positive:
            raise argparse.ArgumentTypeError(f"{value!r} of {name} is neither a number above 0 nor x and one")
    return name, tuple(dict.fromkeys(names(values)))


def weights_of(text: str) -> list[tuple[str, str]]:
    """``AST=a.pth`` -> [("ast", "a.pth")]; ``random`` -> of both backbones."""
    name, equals, value = text.partition("=")
    if not equals:
        return [("ast", text), ("w2v", text)]
    if name.lower() not in ("ast", "w2v") or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is no AST=WEIGHTS or W2V=WEIGHTS")
    return [(name.lower(), value)]


def weights_by_backbone(words: list[list[tuple[str, str]]]) -> dict[str, str]:
    """Return the weights of each backbone; what names one goes before a word that is for both.

    Raises:
        ValueError: Two words name weights of one backbone.
    """
    found: dict[str, str] = {}
    for pairs in sorted(words, key=len, reverse=True):
        for backbone, weights in pairs:
            given = [w for other in words if len(other) == len(pairs) for b, w in other if b == backbone]
            if len(set(given)) > 1:
                raise ValueError(
                    f"-pretrained names {' and '.join(given)} for {backbone.upper()}; expected one"
                )
            found[backbone] = weights
    return found


REPRODUCE_EXAMPLE = """example:
  python3 -m ipet reproduce -data esc50=/data/ESC-50-master gtzan=/data/GTZAN -seed 1 2 3
  python3 -m ipet reproduce ast_esc50 -data /data -method ipet lora -plan
  python3 -m ipet reproduce w2v_esc50 -data /data -grid prompts=16,64,128 lr -- -epoch 10
The same command again reads what is finished and continues what is not. Empty cells have their reasons.
"""
