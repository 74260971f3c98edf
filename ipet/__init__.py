"""Integrated parameter-efficient tuning (IPET) of audio transformers."""

import importlib

__version__ = "0.1.0"


LATER = {  # imported when they are needed: torch takes seconds, and flags are read without it
    "load": "ipet.inference",
    "tune": "ipet.library",
    "save_tuned": "ipet.library",
    "load_tuned": "ipet.library",
}


def __getattr__(name: str):
    """``ipet.load``, ``ipet.tune`` and others."""
    if name in LATER:
        return getattr(importlib.import_module(LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
