"""Which kind of device computes, and the type of numbers that it is fast in."""

import functools
import sys

import torch

BF16_UNITS = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")  # as ``torch.cpu.get_capabilities`` names them


def best_device() -> str:
    """``cuda`` where torch sees a GPU of NVIDIA's or AMD's, ``mps`` on Apple silicon, otherwise ``cpu``."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def computes_in_bf16(kind: str) -> bool:
    """Return whether a kind of device multiplies matrices in bf16 in hardware.

    A CPU does with AMX or AVX-512 BF16 (x86) or the BF16 extension (Arm); others emulate it, several times
    slower than fp32. Apple's GPU is not asked, and not known to be faster in it.
    """
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    units = torch.cpu.get_capabilities() if kind == "cpu" else {}
    return any(units.get(name) for name in BF16_UNITS)


def fast_precision() -> str:
    """``bf16`` where the device multiplies matrices in it in hardware, otherwise ``fp32``."""
    return "bf16" if computes_in_bf16(best_device()) else "fp32"


def precision_note(precision: str, kind: str) -> str | None:
    """Return a line for the user where a precision does not pay on a kind of device; None where it does.

    Args:
        precision: ``fp32``, ``bf16`` or ``fp16``, as asked for.
        kind: ``cuda``, ``mps`` or ``cpu``.
    """
    if precision == "bf16" and kind == "cpu" and not computes_in_bf16(kind):
        return (
            "-precision bf16: this processor has no bf16 units (AMX, AVX-512 BF16 or Arm BF16) and emulates "
            "them, several times slower than fp32; -precision fp32 is faster here"
        )
    if precision == "bf16" and kind == "cuda" and not computes_in_bf16(kind):
        return (
            "-precision bf16: this GPU has no bf16 units and emulates them; -precision fp16 is faster here, "
            "-precision fp32 exact"
        )
    if precision == "fp16" and kind == "cpu":
        return "-precision fp16: a CPU computes slowly in it; -precision fp32 is faster here"
    return None


@functools.cache
def warn_of_precision(precision: str, kind: str) -> None:
    """Write ``precision_note`` to standard error, once a process."""
    note = precision_note(precision, kind)
    if note:
        print(f"note: {note}", file=sys.stderr, flush=True)
