"""A training step of IPET against what one might use instead.

A step is whole: front end, backbone, head, loss, gradients, optimiser, in training mode with the published
settings, at base size and small, with random weights, on noise. The ways:

    ipet        this repository
    kept        the same, the outputs of wav2vec 2.0's frozen convolutions known from an earlier epoch
    compiled    the same, its layers by torch.compile, which takes a minute at first: timed where it is named
    textbook    the method as its equations read, in fp32 (benchmarks/textbook.py, benchmarks/ways.py)
    peft_lora   transformers' model of the same size with PEFT's LoRA, rank 8 on queries and values
    lora        this repository's LoRA, by the same library; finetune, linear: this repository's too

All ways of a setting run in one process in turn (A B C A B C ...). A ratio is another way's time over IPET's
in the same round; the median of the rounds is shown, with the least and the most. Peak memory is what a
process of its own needs beyond the built model. The share of the limit: multiply-accumulates of IPET's step,
as torch counts them, against this machine's matrix products in the same type at the setting's sizes.
"""

import argparse
import gc
import statistics
import subprocess
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import medians_and_ratio, seconds_in_turn, seconds_of
from benchmarks.ways import SETTINGS, WAYS, build, fits, step_of
from ipet.precision import PRECISIONS
from ipet.tuning import count_parameters, library_layers

MIB = 2**20


def compare(setting: str, ways: dict[str, str], rounds: int, device: torch.device) -> dict[str, dict]:
    """Seconds of each way's step, and their ratio to IPET's in the same round.

    Args:
        ways: to their precision; ``ipet`` is among them.
    """
    steps = {way: step_of(setting, way, ways[way], device) for way in WAYS if way in ways}
    seconds = seconds_in_turn(steps, rounds, device)
    if dist.is_initialized():  # the textbook's: models of the next setting would be built for it, too
        dist.destroy_process_group()
    measured = {}
    for way in steps:
        values = medians_and_ratio({way: seconds[way], "ipet": seconds["ipet"]}, over=way, under="ipet")
        measured[way] = {"seconds": values.pop(way), **{k: v for k, v in values.items() if k != "ipet"}}
    return measured


def peak_memory(setting: str, way: str, precision: str) -> float:
    """MiB that three steps need beyond the built model, in a process of their own."""
    command = [sys.executable, "-m", "benchmarks", "steps", "-memory_of", setting, way, precision]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def memory_of(setting: str, way: str, precision: str, device: torch.device) -> float:
    """MiB of this process's peak in three steps, beyond what it holds when the model is built."""
    step = step_of(setting, way, precision, device)
    gc.collect()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the peak so far
        before = resident("VmRSS")
    for _ in range(3):
        step()
    after = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident("VmHWM")
    return (after - before) / MIB


def resident(name: str) -> int:
    """Bytes of this process in memory: VmRSS now, VmHWM at most."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return 1024 * int(line.split()[1])


def multiply_accumulates(setting: str, device: torch.device) -> float:
    """Of a step of IPET, forward and backward, as torch counts them."""
    step = step_of(setting, "ipet", "fp32", device)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / 2


def state_bytes(setting: str, method: str) -> int:
    """Of a method's gradients and of Adam's two moments, in fp32."""
    model = build(SETTINGS[setting], method, "fp32", torch.device("cpu")).model
    return 3 * 4 * count_parameters(model)[0]


def matrix_rate(setting: str, precision: str, device: torch.device) -> float:
    """Multiply-accumulates a second of [B T, D] x [D, 4 D] and back, a layer's largest products."""
    _, model, _, batch = build(SETTINGS[setting], "linear", precision, device)
    shapes = []
    hook = lambda module, args, kwargs: shapes.append((args or tuple(kwargs.values()))[0].shape)  # noqa: E731
    library_layers(model)[0].register_forward_pre_hook(hook, with_kwargs=True)
    with torch.no_grad():
        model(batch.waveform, batch.num_samples)
    [(clips, tokens, width)] = shapes
    dtype = PRECISIONS[precision]
    x = torch.randn(clips * tokens, width, device=device).to(dtype)
    up = torch.randn(4 * width, width, device=device).to(dtype)
    down = torch.randn(width, 4 * width, device=device).to(dtype)
    times = [seconds_of(lambda: F.linear(F.linear(x, up), down), device) for _ in range(30)]
    return 8 * clips * tokens * width**2 / statistics.median(times[5:])


def measure(setting: str, ways: dict[str, str], rounds: int, memory: bool, device: torch.device) -> dict:
    """All of a setting's numbers, printed as they come."""
    measured = compare(setting, ways, rounds, device)
    precision = ways["ipet"]
    macs, limit = multiply_accumulates(setting, device), matrix_rate(setting, precision, device)
    share = macs / measured["ipet"]["seconds"] / limit
    print(f"\n{setting}, {SETTINGS[setting].batch_size} clips a step, IPET in {precision}")
    print(f"{'way':<12}{'precision':<11}{'seconds':>8}{'ratio':>8}   {'(min - max)':<16}" + "MiB" * memory)
    for way, precision_of_way in ways.items():
        row = measured[way]
        if memory:
            row["peak_mib"] = peak_memory(setting, way, precision_of_way)
        spread = f"({row['ratio_min']:.2f} - {row['ratio_max']:.2f})"
        print(
            f"{way:<12}{precision_of_way:<11}{row['seconds']:>8.3f}{row['ratio']:>8.2f}   {spread:<16}"
            + (f"{row['peak_mib']:.0f}" if memory else ""),
            flush=True,
        )
    print(
        f"IPET: {macs / 1e9:.0f} G multiply-accumulates a step, {100 * share:.0f} % of the "
        f"{limit / 1e9:.0f} G/s of matrix products"
    )
    state, of_finetune = (state_bytes(setting, method) for method in ("ipet", "finetune"))
    print(
        f"gradients and Adam's moments: {state / MIB:.1f} MiB, {100 * state / of_finetune:.1f} % of "
        f"fine-tuning's {of_finetune / MIB:.0f} MiB"
    )
    return {
        "ways": measured,
        "state_bytes": state,
        "state_bytes_finetune": of_finetune,
        "macs": macs,
        "limit_macs_per_s": limit,
        "share_of_limit": share,
    }


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    add = parser.add_argument
    add("-only", choices=SETTINGS, nargs="+", default=list(SETTINGS), help="some settings")
    add(
        "-ways",
        choices=WAYS,
        nargs="+",
        default=[way for way in WAYS if way != "compiled"],
        help="some ways; ipet is always among them",
    )
    add("-precision", choices=PRECISIONS, nargs="+", default=["fp32", "bf16"], help="of all but the textbook")
    add("-rounds", type=int, default=5, help="timed rounds")
    add("-memory", action="store_true", help="peak memory, too: a process for each number")
    add("-memory_of", nargs=3, help=argparse.SUPPRESS)


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print a table a setting."""
    if args.memory_of:
        print(memory_of(*args.memory_of, device))
        return {}
    results = {}
    for setting in args.only:
        for precision in args.precision:
            chosen = [way for way in WAYS if way in args.ways or way == "ipet"]
            ways = {way: precision for way in chosen if fits(way, setting)}
            if "textbook" in ways:
                ways["textbook"] = "fp32"
            results[f"{setting}, {precision}"] = measure(setting, ways, args.rounds, args.memory, device)
    return results
