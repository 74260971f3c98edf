"""Loggers: programs to watch and compare trainings with, which get what ``metrics.jsonl`` holds, and more.

Each is one small class and its line in ``LOGGERS``; its library is imported when it is asked for, and in the
main process alone. None of them reaches for a network unless the environment asks it to. ``docs/loggers.md``
tells what each one gets, and where that lies.
"""

import importlib.util
from collections.abc import Iterable

from ipet.loggers.base import Logger, Place, place_of
from ipet.loggers.mlflow import MLflow
from ipet.loggers.neptune import Neptune
from ipet.loggers.tensorboard import TensorBoard
from ipet.loggers.trackio import Trackio
from ipet.loggers.wandb import WeightsAndBiases

__all__ = ["LOGGERS", "Logger", "Place", "check_loggers", "is_installed", "place_of"]

LOGGERS: dict[str, type[Logger]] = {
    "tensorboard": TensorBoard,
    "neptune": Neptune,
    "trackio": Trackio,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}


def check_loggers(names: Iterable[str]) -> None:
    """Raise ValueError where a logger's package is not installed."""
    for name in names:
        if not all(map(is_installed, LOGGERS[name].packages)):
            raise ValueError(
                f"-logger {name} needs the package: python3 -m pip install {LOGGERS[name].install}; "
                "JSONL and TensorBoard are written without it"
            )


def is_installed(module: str) -> bool:
    """Whether a module can be imported; a folder of that name, such as of a logger's files, is none."""
    found = importlib.util.find_spec(module)
    return found is not None and found.origin is not None
