"""What a run's folder says of its trainings, result.json and training_state.pt, checked as it is read.

A folder may come from a stranger, or from a disk that has lost a part of it.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ipet.checkpoint import read_json

MOST = 1e13  # of seconds, which are shown as days; of bytes, parameters and multiply-accumulates 10^18
WATCHED = ("eval", "valid")


class Kind(NamedTuple):
    """What a value may be, and whether one is."""

    expected: str
    fits: Callable[[Any], bool]


def is_number(value, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether a value is a number, or, without bounds, NaN or infinite."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(value, int):
        return low <= value <= high and abs(value) < 1 << 1000
    return low <= value <= high or (not math.isfinite(value) and math.isinf(low))


def is_count(value, low: int = 0) -> bool:
    """Whether a value is a whole number, of at most 10^18."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= 10**18


def is_named(value, fits: Callable[[Any], bool]) -> bool:
    """Whether a value is a dictionary by names whose values fit."""
    return isinstance(value, Mapping) and all(isinstance(k, str) and fits(v) for k, v in value.items())


def is_interval(value) -> bool:
    """Whether a value is None, or two numbers."""
    return value is None or (isinstance(value, list) and len(value) == 2 and all(map(is_number, value)))


def or_none(kind: Kind) -> Kind:
    """The same, or None."""
    return Kind(f"{kind.expected}, or null", lambda value: value is None or kind.fits(value))


WORD = Kind("a word", lambda value: isinstance(value, str) and 0 < len(value) < 100)
SWITCH = Kind("true or false", lambda value: isinstance(value, bool))
COUNT = Kind("a whole number", is_count)
FROM_1 = Kind("a whole number from 1", lambda value: is_count(value, 1))
SECONDS = Kind("seconds", lambda value: is_number(value, 0, MOST))
AMOUNT = Kind("a number from 0", lambda value: is_number(value, 0, 1e18))
NUMBERS = Kind("numbers by name", lambda value: is_named(value, is_number))
ROWS = Kind(
    "a row of numbers for each evaluated epoch",
    lambda value: (
        isinstance(value, list)
        and all(is_named(row, is_number) and is_count(row.get("epoch"), 1) for row in value)
    ),
)
DICT = Kind("a dictionary", lambda value: isinstance(value, dict))
TENSORS = Kind("tensors by name", lambda value: is_named(value, lambda part: isinstance(part, Tensor)))

RESULT = {
    "metric": WORD,
    "higher_is_better": SWITCH,
    "watched": Kind(" or ".join(WATCHED), lambda value: isinstance(value, str) and value in WATCHED),
    "best_epoch": FROM_1,
    "history": ROWS,
    "trainable_parameters": COUNT,
    "all_parameters": FROM_1,
    "seconds": SECONDS,
    "peak_memory_bytes": AMOUNT,
}
RESULT_TOO = {  # not of every version and every task
    "tuning": or_none(DICT),
    "macs": or_none(AMOUNT),
    "checkpoint_bytes": or_none(AMOUNT),
    "without_hearing": or_none(Kind("a number", is_number)),
    "skipped_steps": COUNT,
    "interval": Kind("two numbers by protocol", lambda value: is_named(value, is_interval)),
    "detail_intervals": Kind(
        "two numbers by protocol and metric",
        lambda value: is_named(value, lambda part: is_named(part, is_interval)),
    ),
    "evaluated_sha256": WORD,
    "calibration": DICT,
}
STATE = {
    "epoch": COUNT,
    "step": COUNT,
    "epoch_losses": Kind("numbers", lambda value: isinstance(value, list) and all(map(is_number, value))),
    "skipped": COUNT,
    "seconds": SECONDS,
    "history": ROWS,
    "now": TENSORS,
    "last": TENSORS,
    "best": TENSORS,
    "backbone": or_none(WORD),
    "optimizer": DICT,
    "scaler": DICT,
}
STATE_TOO = {
    "task": DICT,
    "skipped_in_a_row": COUNT,
    "lengths": Kind(
        "whole numbers",
        lambda value: isinstance(value, Tensor) and value.dtype == torch.int64 and value.ndim == 1,
    ),
}


def check(path: Path, content, required: Mapping[str, Kind], further: Mapping[str, Kind]) -> None:
    """Raise ValueError where a file's content is no dictionary of such values; it names file and value."""
    if not isinstance(content, dict):
        raise ValueError(f"{path}: damaged: it holds {shown(content)}; expected a dictionary")
    for name, kind in {**required, **further}.items():
        if name not in content and name in required:
            raise ValueError(f"{path}: damaged: it has no {name!r}; expected {kind.expected}")
        if name in content and not kind.fits(content[name]):
            raise ValueError(f"{path}: damaged: {name!r} is {shown(content[name])}; expected {kind.expected}")


def shown(value) -> str:
    """A value's kind, and the value where it is short."""
    kind = {"NoneType": "null", "dict": "a dictionary"}.get(type(value).__name__, type(value).__name__)
    if isinstance(value, str | bool | float) or (isinstance(value, int) and abs(value) < 10**20):
        return f"{kind} {str(value)[:40]!r}"
    return f"{kind} of {len(value)}" if isinstance(value, list | dict) else kind


def read_result(path: Path) -> dict:
    """The result of a finished cell.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged; the message names the file, what was found and what is expected.
    """
    result = read_json(path)
    check(path, result, RESULT, RESULT_TOO)
    watched = f"{result['watched']}_{result['metric']}"
    check_history(path, result["history"], watched)
    if result["best_epoch"] not in [row["epoch"] for row in result["history"]]:
        raise ValueError(
            f"{path}: damaged: 'best_epoch' is {result['best_epoch']}; expected an epoch of 'history'"
        )
    method = (result.get("tuning") or {}).get("method", "")
    if not isinstance(method, str):
        raise ValueError(f"{path}: damaged: the method of 'tuning' is {shown(method)}; expected a word")
    for name in ("test_at_best_epoch", "test_at_last_epoch") if result["watched"] == "valid" else ():
        check(path, result, {name: NUMBERS}, {})
        check(path, result[name], {f"test_{result['metric']}": Kind("a number", is_number)}, {})
    return result


def check_history(path: Path, history: list[dict], watched: str) -> None:
    """Raise ValueError where there is no evaluated epoch, or one without the watched value."""
    lacking = [row["epoch"] for row in history if watched not in row]
    if lacking or not history:
        found = f"epoch {lacking[0]} has no {watched!r}" if lacking else "it has no epoch"
        raise ValueError(f"{path}: damaged: {found} in 'history'; expected {ROWS.expected}")


def check_state(path: Path, state: dict) -> None:
    """Raise ValueError where a training state lacks a value, or has one of another kind."""
    check(path, state, STATE, STATE_TOO)


def check_extent_of(path: Path, state: dict, steps: int, epochs: int, num_clips: int) -> None:
    """Raise ValueError where a training state is of more, or of less, than a training can have done.

    Args:
        steps, epochs: of an epoch, and of the training.
        num_clips: of its list.
    """
    said = f"{path}: damaged:"
    if state["epoch"] > epochs or state["step"] != state["epoch"] * steps + len(state["epoch_losses"]):
        raise ValueError(
            f"{said} step {state['step']} of epoch {state['epoch']}; expected at most {epochs} epochs of "
            f"{steps} steps"
        )
    if len(state["epoch_losses"]) > steps:
        raise ValueError(f"{said} {len(state['epoch_losses'])} 'epoch_losses'; expected at most {steps}")
    seen = [row["epoch"] for row in state["history"]]
    if seen != sorted(set(seen)) or (seen and seen[-1] > state["epoch"]):
        raise ValueError(
            f"{said} 'history' has the epochs {str(seen)[:60]}; expected some of {state['epoch']}, in order"
        )
    if state["epoch"] == epochs and seen[-1:] != [epochs]:
        raise ValueError(f"{said} 'history' has no epoch {epochs}; expected the last one, which is evaluated")
    for name in ("last", "best"):
        if bool(state[name]) != bool(seen if name == "best" else state["epoch"]):
            found = f"{len(state[name])} tensors behind epoch {state['epoch']}"
            raise ValueError(f"{said} {name!r} has {found}; expected those of an epoch, none before its end")
    if "lengths" in state and len(state["lengths"]) != num_clips:
        raise ValueError(f"{said} {len(state['lengths'])} 'lengths'; expected those of {num_clips} clips")


def check_optimizer(path: Path, optimizer: torch.optim.Optimizer, state: dict) -> None:
    """Raise ValueError where an optimiser's saved state is not that of the same parameters."""
    own = optimizer.state_dict()["param_groups"]
    parameters = {
        i: p for group, of in zip(own, optimizer.param_groups) for i, p in zip(group["params"], of["params"])
    }
    groups, moments = state.get("param_groups"), state.get("state")
    same = isinstance(groups, list) and len(groups) == len(own) and isinstance(moments, dict)
    for group, of in zip(groups, own) if same else ():
        same &= isinstance(group, dict) and all(
            group.get(name) == value if name == "params" else type(group.get(name, value)) is type(value)
            for name, value in of.items()
        )
    for i, values in moments.items() if same else ():
        same &= (
            i in parameters
            and is_named(values, lambda value: isinstance(value, Tensor))
            and {"step", "exp_avg", "exp_avg_sq"} <= values.keys()
            and values["step"].numel() == 1
            and all(values[name].shape == parameters[i].shape for name in ("exp_avg", "exp_avg_sq"))
        )
    if not same:
        raise ValueError(
            f"{path}: damaged: its 'optimizer' is not of this training; expected two moments of each of "
            f"{len(parameters)} trained tensors"
        )
