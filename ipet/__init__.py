"""Integrated parameter-efficient tuning (IPET) of audio transformers."""

__version__ = "0.1.0"


def __getattr__(name: str):
    """``ipet.load``, imported when it is needed: torch takes seconds, and flags are read without it."""
    if name == "load":
        from ipet.inference import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
