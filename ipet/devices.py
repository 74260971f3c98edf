"""Which kind of device computes, and the type of numbers that it is fast in."""

import torch


def best_device() -> str:
    """``cuda`` where torch sees a GPU of NVIDIA's or AMD's, ``mps`` on Apple silicon, otherwise ``cpu``."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def fast_precision() -> str:
    """``bf16`` where the device multiplies matrices in it, otherwise ``fp32``.

    On a CPU that is AMX or AVX-512 BF16, which halve the time of a step; others emulate bf16, slowly.
    """
    kind = best_device()
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    can = torch.cpu.get_capabilities() if kind == "cpu" else {}
    return "bf16" if can.get("amx_bf16") or can.get("avx512_bf16") else "fp32"
