"""A patch of an experiment's arguments.py that makes chosen settings its defaults."""

import ast
import difflib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ipet.experiment import settings_of
from ipet.study import Sweep, value_of


def patch_of(task: Sweep, params: Mapping) -> str:
    """A unified diff that makes ``params`` the experiment's defaults; empty where they are already.

    Raises:
        ValueError: see ``with_defaults`` and ``check_patched``.
    """
    path = task.experiment / "arguments.py"
    before = path.read_text(encoding="utf-8")
    chosen = {name: literal(task, name, str(value)) for name, value in params.items()}
    if (
        "lr" in chosen
        and params.get("method", task.settings.get("method", "")).startswith("finetune")
        and "lr_finetune=" in before
    ):
        chosen["lr_finetune"] = chosen.pop("lr")  # fine-tuning has a default of its own
    after = with_defaults(before, chosen)
    check_patched(task, after)
    name = f"{task.experiment.name}/arguments.py"
    lines = (before.splitlines(keepends=True), after.splitlines(keepends=True))
    return "".join(difflib.unified_diff(*lines, f"a/{name}", f"b/{name}"))


def check_patched(task: Sweep, source: str) -> None:
    """Raise ValueError where an ``arguments.py`` of this text gives no arguments.

    A keyword may be among those that ``**own_lists(...)`` brings, and then comes twice.
    """
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, task.experiment.name, "arguments.py")
        path.parent.mkdir()
        path.write_text(source, encoding="utf-8")
        try:
            settings_of(path.parent, task.further)
        except TypeError as error:
            raise ValueError(f"{task.experiment / 'arguments.py'} cannot be patched ({error})") from None


def literal(task: Sweep, name: str, text: str) -> str:
    """A flag's text as Python: ``1e-3`` stays, ``bce`` gets its quotes."""
    value = value_of(task, name, text)
    try:
        same = ast.literal_eval(text) == value
    except (ValueError, SyntaxError):
        same = False
    if same:
        return text
    # The parser turns the text of a default into its value, as it does on the command line.
    return repr(value) if type(value) in (bool, int, float) else json.dumps(text)


def with_defaults(source: str, literals: Mapping[str, str]) -> str:
    """The text of an ``arguments.py`` whose call in ``get_args`` says ``literals``.

    The value of a keyword that is there is replaced, and nothing else; the others are put before
    the line, or in it before the word, where the last keyword begins.

    Raises:
        ValueError: ``get_args`` returns no call with keywords.
    """
    lines = source.splitlines(keepends=True)
    calls = [
        node.value
        for function in ast.parse(source).body
        if isinstance(function, ast.FunctionDef) and function.name == "get_args"
        for node in ast.walk(function)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Call) and node.value.keywords
    ]
    if not calls:
        raise ValueError("get_args of arguments.py returns no call with settings to change")
    keywords = calls[0].keywords
    there = {keyword.arg: keyword.value for keyword in keywords}
    # From the end to the beginning, so that what is left keeps its place.
    edits = [
        (value.lineno, value.col_offset, value.end_lineno, value.end_col_offset, literals[name])
        for name, value in there.items()
        if name in literals
    ]
    line, column = keywords[-1].lineno, keywords[-1].col_offset
    first = min(keyword.col_offset for keyword in keywords if keyword.lineno == line)
    own_line = not lines[line - 1].encode()[:first].strip()
    column, end = (first, "\n" + " " * first) if own_line else (column, " ")
    added = [f"{name}={text}," for name, text in literals.items() if name not in there]
    if added:
        edits.append((line, column, line, column, " ".join(added) + end))
    for line, column, end_line, end_column, text in sorted(edits, reverse=True):
        head, tail = lines[line - 1].encode()[:column], lines[end_line - 1].encode()[end_column:]
        lines[line - 1 : end_line] = [head.decode() + text + tail.decode()]
    return "".join(lines)
