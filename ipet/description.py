"""adapter_config.json, which may come from anybody: checked before anything of its sizes is built.

The names of a saved adapter's files and some of its fields are PEFT's, so that others' programs see what it
is. There are two kinds: a run's, which describes a whole model but for the weights of its frozen backbone,
and that of ``ipet.save_tuned``, of what was put into a model of one's own.

A run's schema 1 had other file names and no field of PEFT's. It is still read.
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from ipet import limits
from ipet.audio import CROPS, SAMPLE_RATE
from ipet.printable import control_character

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"  # PEFT's names
FORMER_WEIGHTS, FORMER_CONFIG = "adapter.safetensors", "adapter.json"  # of a run's schema 1
SCHEMA, PEFT_TYPE = 2, "IPET"
RUN, TUNED = "run", "tuned"
KINDS = {  # who wrote a folder, and what reads it
    RUN: "a run wrote it; it is read by ipet.load(folder) and python3 -m ipet",
    TUNED: "ipet.save_tuned wrote it; it is read by ipet.load_tuned(model, folder)",
}
Check = Callable[[object], bool]


def whole(low: int, high: int) -> tuple[Check, str]:
    """A check for whole numbers in [low, high], and what it accepts."""

    def holds(value) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return holds, f"a whole number from {low:,} to {high:,}"


def real(low: float = -1e6, high: float = 1e6) -> tuple[Check, str]:
    """A check for finite numbers in [low, high], and what it accepts."""

    def holds(value) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

    return holds, f"a number from {low:,g} to {high:,g}"


def one_of(*names: str) -> tuple[Check, str]:
    """A check for some names, and what it accepts."""
    return lambda value: isinstance(value, str) and value in names, " or ".join(map(repr, names))


TEXT = (lambda value: isinstance(value, str) and value != "", "text")
SWITCH = (lambda value: isinstance(value, bool), "true or false")
STRIDES = (
    lambda value: isinstance(value, list) and len(value) == 2 and all(map(whole(1, limits.FRAMES)[0], value)),
    "two whole numbers above 0",
)
REVISION = (
    lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{40}", value) is not None,
    "a commit of 40 hexadecimal digits",
)

FIELDS = {  # of each part, those that must be there
    "labels": {"mid": TEXT, "name": TEXT},  # of each of them
    "backbone": {"kind": TEXT, "pretrained": TEXT, "sha256": TEXT},
    "tuning": {"method": TEXT},
    "front_end": {
        "kind": one_of("log_mel", "waveform"),
        "num_frames": whole(1, limits.FRAMES),
        "num_segments": whole(1, limits.SEGMENTS),
    },
    "cut": {"num_samples": whole(1, limits.SAMPLES), "crop": one_of(*CROPS)},
}
BOUNDS = {  # of each part, those that may be there
    "backbone": {
        "num_frames": whole(1, limits.FRAMES),
        "num_mels": whole(1, limits.MELS),
        "stride": STRIDES,
        "revision": REVISION,
    },
    "tuning": {
        "num_prompts": whole(1, limits.PROMPTS),
        "num_prefixes": whole(1, limits.PROMPTS),
        "bottleneck": whole(1, limits.BOTTLENECK),
        "rank": whole(1, limits.BOTTLENECK),
        "border": whole(1, limits.FRAMES),
        "scale": real(),
        "dropout": real(0, 1),
        "residual": SWITCH,
        "init": TEXT,
        "position": TEXT,
    },
    "front_end": {
        "num_mels": whole(1, limits.MELS),
        "mean": real(),
        "std": real(0),
        "window_ms": real(0, limits.WINDOW_MS),
        "hop_ms": real(0, limits.WINDOW_MS),
        "window": TEXT,
        "whole_periods": SWITCH,
        "variable_length": SWITCH,
    },
    "cut": {"repeat": SWITCH, "zero_mean": SWITCH, "whole": SWITCH},
    "calibration": {"temperature": real(1e-6)},
    "scoring": {"scoring": one_of("mean_distance", "cosine")},  # of a speaker model's trials
}


def peft_fields(kind: str, base_model: str | None, revision: str | None = None) -> dict:
    """How a config begins: what others' programs look for, and what tells its kind and schema.

    Args:
        base_model: a hub id or a path of the frozen weights, where it is known.
        revision: of that hub's repository.
    """
    return {
        "peft_type": PEFT_TYPE,
        "schema": SCHEMA,
        "kind": kind,
        "base_model_name_or_path": base_model,
        "revision": revision,
        "task_type": None,  # PEFT knows none of sounds
        "inference_mode": True,
    }


def run_config(description: Mapping) -> dict:
    """A run's config of this schema, from its description of this schema or of the first one."""
    backbone = description.get("backbone")
    backbone = backbone if isinstance(backbone, dict) else {}
    begin = peft_fields(RUN, backbone.get("pretrained"), backbone.get("revision"))
    return begin | {name: value for name, value in description.items() if name not in begin}


def kind_of(config, path: str | Path) -> str:
    """Which of ``KINDS`` a config is of, of this schema or of the first one.

    Args:
        config: the value of the file at ``path``, any JSON value.

    Raises:
        ValueError: it is of another method, a later schema or an unknown kind.
    """
    config = config if isinstance(config, dict) else {}
    schema = config.get("schema")
    if config.get("peft_type", PEFT_TYPE) != PEFT_TYPE:
        raise ValueError(f"{path}: peft_type is {shown(config['peft_type'])}; expected {PEFT_TYPE!r}")
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise ValueError(f"{path}: schema {shown(schema)}; this version reads 1 and {SCHEMA}")
    first = TUNED if "peft_type" in config else RUN
    kind = config.get("kind") if schema == SCHEMA else first
    if kind not in tuple(KINDS):
        raise ValueError(f"{path}: kind is {shown(kind)}; expected {' or '.join(map(repr, KINDS))}")
    return kind


def check_kind(config, kind: str, path: str | Path) -> None:
    """Raise ValueError where a config is not of a kind, with what reads it; see ``kind_of``."""
    found = kind_of(config, path)
    if found != kind:
        raise ValueError(f"{path}: {KINDS[found]}")


def check_description(description, path: str | Path) -> None:
    """Raise ValueError where a run's config is of no adapter that this version reads, or of absurd sizes.

    Args:
        description: the value of the file at ``path``, any JSON value.
        path: what the error names.
    """
    check_kind(description, RUN, path)
    labels = description.get("labels")
    if not isinstance(labels, list) or not labels:
        raise ValueError(f"{path}: labels are {shown(labels)}; expected a list with a class")
    if description.get("loss") not in ("cce", "bce"):
        raise ValueError(f"{path}: loss is {shown(description.get('loss'))}; expected 'cce' or 'bce'")
    for i, label in enumerate(labels):
        check_part(label, FIELDS["labels"], {}, f"{path}: labels[{i}]")
    for name in ("backbone", "tuning", "front_end", "cut"):
        check_part(description.get(name), FIELDS[name], BOUNDS[name], f"{path}: {name}")
    check_part(description, {}, BOUNDS["scoring"], str(path))
    check_part(description.get("calibration", {}), {}, BOUNDS["calibration"], f"{path}: calibration")
    check_thresholds(description.get("calibration", {}), len(labels), path)
    check_work(description["front_end"], path)
    check_texts({name: value for name, value in description.items() if name != "metrics"}, path)
    check_texts(description.get("metrics"), path, finite=False)  # d' of a perfect ranking is infinite


def check_part(part, needed: Mapping, bounds: Mapping, where: str) -> None:
    """Raise ValueError where a part lacks what is needed, or one of its values is out of bounds."""
    if not isinstance(part, dict):
        raise ValueError(f"{where} is {shown(part)}; expected {', '.join(needed) or 'names and values'}")
    for name, (holds, accepted) in {**needed, **bounds}.items():
        if name in needed and name not in part:
            raise ValueError(f"{where} lacks {name!r}; expected {accepted}")
        if name in part and not holds(part[name]):
            raise ValueError(f"{where}.{name} is {shown(part[name])}; expected {accepted}")


def check_thresholds(calibration: Mapping, num_labels: int, path: str | Path) -> None:
    """Raise ValueError where there are thresholds, but not one for each class."""
    found = calibration.get("thresholds", [0.0] * num_labels)
    if not isinstance(found, list) or len(found) != num_labels or not all(map(real(-1, 2)[0], found)):
        raise ValueError(
            f"{path}: calibration.thresholds is {shown(found)}; expected a probability for each of the "
            f"{num_labels} classes"
        )


def check_work(front_end: Mapping, path: str | Path) -> None:
    """Raise ValueError where a clip's segments would be more numbers than the memory holds."""
    a_frame = SAMPLE_RATE * max(front_end.get("window_ms", 0), 10) / 1000  # samples; mels are fewer
    if front_end["num_segments"] * front_end["num_frames"] * a_frame > limits.NUMBERS:
        raise ValueError(
            f"{path}: front_end has {front_end['num_segments']:,} segments of {front_end['num_frames']:,} "
            f"frames of {a_frame:,.0f} samples; at most {limits.NUMBERS:,} are heard at once"
        )


def check_texts(value, path: str | Path, finite: bool = True) -> None:
    """Raise ValueError where a text anywhere in a JSON value would not be one line on a screen.

    Args:
        finite: numbers must be, too.
    """
    waiting = [value]
    while waiting:  # no recursion: a hostile depth
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and control_character(value) is not None:
            raise ValueError(
                f"{path}: a text holds the control character {control_character(value)}; expected one line"
            )
        elif finite and isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{path}: holds the number {value}; expected finite ones")


def shown(value) -> str:
    """A JSON value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
