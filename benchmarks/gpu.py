"""python3 -m benchmarks.gpu: check and time what needs a GPU, and write a report.

    forward, backward   every method on every backbone: logits and gradients against those of the CPU in fp32
    mixed precision     the same in bf16 and fp16, near those in fp32, and fp16 with its loss scaler
    checkpointing       gradients with recomputed activations equal those without
    DDP                 one process a GPU, gradients equal those of the whole batch in one process
    compile             torch.compile gives the logits and gradients of the model as it is
    library             ipet.tune on a model in bf16 trains
    throughput          clips a second and memory of whole training steps

The report is written as gpu_report.md and gpu_report.json. Exit status: 0 where every check passed, 1 where
one failed, 2 where there is no GPU.
"""

import argparse
import platform
import statistics
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn import functional as F

import ipet
from benchmarks import seconds_of
from benchmarks.ways import SETTINGS, Setting, ours
from ipet import distributed
from ipet.attention import choose_attention
from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.checkpoint import write_atomically, write_json
from ipet.heads import Classifier, LinearHead
from ipet.kinds import BACKBONES
from ipet.memory import checkpoint_activations
from ipet.methods import METHODS, apply_method
from ipet.precision import PRECISIONS, autocast, hold_frozen
from ipet.tuning import trainable_parameters

SIZES = {"num_prompts": 4, "bottleneck": 8, "rank": 4, "num_prefixes": 4, "border": 2}
CLOSE = {"fp32": 2e-3, "bf16": 0.1, "fp16": 0.03}  # relative error of all gradients together
PASSED, FAILED, NO_GPU = 0, 1, 2
Row = dict[str, object]


def model_of(kind: str, method: str, size: str) -> tuple[nn.Module, Tensor]:
    """A classifier without dropout, and a batch of noise; the same in every process."""
    torch.manual_seed(0)
    backbone = build_ast(64, size=size) if kind == "ast" else build_wav2vec2(size, model_type=kind)
    x = torch.randn(4, 64, 128) if kind == "ast" else 0.1 * torch.randn(4, 8_000)
    model = Classifier(nn.Identity(), apply_method(backbone, method, **SIZES), LinearHead(backbone.width, 3))
    with torch.no_grad():
        for parameter in trainable_parameters(model).values():
            parameter.add_(0.02 * torch.randn_like(parameter))  # a new adapter would be silent
    return model.eval(), x


class Plain(nn.Module):
    """A classifier called with the backbone's input."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """The backbone's input -> [B, C] logits."""
        return self.model.head(self.model.backbone(x))


def answers(call: Callable, model: nn.Module, x: Tensor, precision: str = "fp32") -> tuple[Tensor, Tensor]:
    """Logits [B C] and all gradients in one vector, on the CPU in fp32."""
    scaler = torch.amp.GradScaler(x.device.type, enabled=precision == "fp16" and x.device.type == "cuda")
    model.zero_grad(set_to_none=True)
    with autocast(x.device.type, precision):
        logits = call(x)
    target = torch.arange(len(x), device=x.device) % 3
    scaler.scale(F.cross_entropy(logits.float(), target)).backward()
    scale = scaler.get_scale()
    gradients = [
        p.grad.float().flatten() / scale for p in trainable_parameters(model).values() if p.grad is not None
    ]
    return logits.detach().float().flatten().cpu(), torch.cat(gradients).cpu()


def error_of(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> float:
    """The larger relative error of logits and gradients; infinite where one is not finite."""
    errors = [((a - b).norm() / b.norm()).item() for a, b in zip(found, expected, strict=True)]
    return max(errors) if all(map(torch.isfinite, map(torch.tensor, errors))) else float("inf")


def near(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], most: float) -> str:
    """The error as text.

    Raises:
        AssertionError: It is larger than ``most``.
    """
    error = error_of(found, expected)
    assert error <= most, f"relative error {error:.2g}, expected at most {most:g}"
    return f"relative error {error:.1e}"


def check_method(kind: str, method: str, precision: str, device: torch.device, size: str) -> str:
    """Forward and backward pass against the CPU in fp32."""
    model, x = model_of(kind, method, size)
    expected = answers(Plain(model), model, x)
    model = model.to(device)
    choose_attention(model, device.type, PRECISIONS[precision])
    hold_frozen(model, precision)
    return near(answers(Plain(model), model, x.to(device), precision), expected, CLOSE[precision])


def check_checkpointing(kind: str, device: torch.device, size: str) -> str:
    """Gradients with recomputed activations."""
    model, x = model_of(kind, "ipet", size)
    model, x = model.to(device), x.to(device)
    expected = answers(Plain(model), model, x)
    checkpoint_activations(model)
    return near(answers(Plain(model), model, x), expected, CLOSE["fp32"])


def check_compile(kind: str, device: torch.device, size: str, backend: str) -> str:
    """Logits and gradients of the compiled model."""
    model, x = model_of(kind, "ipet", size)
    model, x = model.to(device), x.to(device)
    expected = answers(Plain(model), model, x)
    torch.compiler.reset()
    compiled = torch.compile(Plain(model), backend=backend)
    return near(answers(compiled, model, x), expected, CLOSE["fp32"])


def check_library(device: torch.device, size: str) -> str:
    """Some steps of a loop of one's own on a model in bf16."""
    torch.manual_seed(0)
    model = ipet.tune(build_wav2vec2(size).model.to(device, torch.bfloat16), 4, 8).train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    x, losses = 0.1 * torch.randn(4, 8_000, device=device, dtype=torch.bfloat16), []
    for _ in range(5):
        # One value of the states is drawn to 1; their mean square is fixed by the last norm.
        loss = (model.eval()(x).last_hidden_state[..., 0].float() - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0], f"the loss went from {losses[0]:.4f} to {losses[-1]:.4f}"
    return f"loss {losses[0]:.4f} to {losses[-1]:.4f}"


def ddp_process(rank: int, processes: int, device_type: str, folder: str, size: str) -> None:
    """One process of ``check_ddp``: its share of the batch; the first keeps the gradients."""
    device = torch.device(device_type, rank) if device_type == "cuda" else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    store = dist.FileStore(f"{folder}/store", processes)
    dist.init_process_group(backend, store=store, rank=rank, world_size=processes)
    model, x = model_of("wav2vec2", "ipet", size)
    model = model.to(device)
    parallel = distributed.parallelise(Plain(model), device, drops_layers=False)
    share = torch.arange(4) % processes == rank
    targets = (torch.arange(4) % 3)[share].to(device)
    F.cross_entropy(parallel(x[share].to(device)), targets).backward()
    if rank == 0:
        gradients = [p.grad.flatten() for p in trainable_parameters(model).values()]
        torch.save(torch.cat(gradients).cpu(), f"{folder}/gradients.pt")
    dist.destroy_process_group()


def check_ddp(device: torch.device, size: str) -> str:
    """Gradients of one process a GPU, two on a CPU, against those of the whole batch."""
    processes = min(4, torch.cuda.device_count()) if device.type == "cuda" else 2
    processes = 1 if processes == 3 else processes  # shares of four clips
    model, x = model_of("wav2vec2", "ipet", size)
    expected = answers(Plain(model), model, x)[1]
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(ddp_process, (processes, device.type, folder, size), nprocs=processes)
        found = torch.load(f"{folder}/gradients.pt")
    return f"{processes} processes, {near((found, found), (expected, expected), CLOSE['fp32'])}"


def measure(setting: Setting, precision: str, rounds: int, device: torch.device) -> str:
    """Clips a second of whole training steps, and their peak memory."""
    step = ours(setting, "ipet", precision, device)
    for _ in range(3 if device.type == "cuda" else 1):
        step()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = statistics.median(seconds_of(step, device) for _ in range(rounds))
    used = f", {torch.cuda.max_memory_allocated(device) / 2**20:.0f} MiB" if device.type == "cuda" else ""
    return f"{setting.batch_size / seconds:.1f} clips/s, {1000 * seconds:.1f} ms a step{used}"


def checks(device: torch.device, flags: argparse.Namespace) -> Iterator[tuple[str, str, Callable[[], str]]]:
    """Every check: its part, its case and what runs it."""
    size = flags.size
    for kind in flags.kinds:
        for method in flags.methods:
            if kind == "ast" or method != "input_prompt":
                for precision in flags.precisions:
                    part = "forward, backward" if precision == "fp32" else "mixed precision"
                    run = partial(check_method, kind, method, precision, device, size)
                    yield part, f"{kind}, {method}, {precision}", run
        yield "checkpointing", kind, partial(check_checkpointing, kind, device, size)
        yield "compile", kind, partial(check_compile, kind, device, size, flags.compile_backend)
    yield "DDP", "wav2vec2", partial(check_ddp, device, size)
    yield "library", "wav2vec2, bf16", partial(check_library, device, size)
    for name in flags.settings:
        for precision in flags.precisions:
            if precision != "fp16" or device.type == "cuda":
                run = partial(measure, SETTINGS[name], precision, flags.rounds, device)
                yield "throughput", f"{name}, {precision}", run


def run_checks(device: torch.device, flags: argparse.Namespace) -> list[Row]:
    """Run every check; one that fails is a row, and the next follows."""
    rows = []
    for part, case, check in checks(device, flags):
        try:
            row = {"part": part, "case": case, "passed": True, "result": check()}
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            row = {"part": part, "case": case, "passed": False, "result": said}
            row["traceback"] = traceback.format_exc()
        print(f"{'passed' if row['passed'] else 'FAILED'}  {part}: {case}: {row['result']}", flush=True)
        rows.append(row)
    return rows


def report_of(machine: Row, rows: list[Row]) -> str:
    """The report in Markdown."""
    failed = sum(not row["passed"] for row in rows)
    lines = ["# GPU report", "", *(f"- {name}: {value}" for name, value in machine.items())]
    lines += [f"- checks: {len(rows)}, failed: {failed}", ""]
    for part in dict.fromkeys(row["part"] for row in rows):
        lines += [f"## {part}", "", "| case | passed | result |", "|---|---|---|"]
        for row in rows:
            if row["part"] == part:
                said = str(row["result"]).replace("|", "\\|")
                lines.append(f"| {row['case']} | {'yes' if row['passed'] else '**no**'} | {said} |")
        lines.append("")
    return "\n".join(lines)


def get_flags(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python3 -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("-device", choices=("cuda", "cpu"), default="cuda", help="cpu: a trial of the checks themselves")
    add("-out", type=Path, default=Path(), help="folder of the report; the current one if not given")
    add("-size", choices=("tiny", "small", "base"), default="small", help="of the backbones that are checked")
    add("-kinds", choices=BACKBONES, nargs="+", default=list(BACKBONES), help="backbones")
    add("-methods", choices=METHODS, nargs="+", default=list(METHODS), help="methods")
    add("-precisions", choices=PRECISIONS, nargs="+", default=list(PRECISIONS), help="precisions")
    add("-settings", choices=SETTINGS, nargs="*", default=list(SETTINGS), help="what throughput is timed of")
    add("-rounds", type=int, default=20, help="timed steps")
    add("-compile_backend", default="inductor", help="of torch.compile")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run the checks and write the report; returns the exit status."""
    flags = get_flags(argv)
    if flags.device == "cuda" and not torch.cuda.is_available():
        print(
            "error: no GPU that torch can use; make test checks the same code on a fake one", file=sys.stderr
        )
        return NO_GPU
    device = torch.device("cuda", 0) if flags.device == "cuda" else torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "CPU"
    machine = {"device": name, "GPUs": torch.cuda.device_count(), "torch": torch.__version__}
    machine |= {"CUDA": torch.version.cuda, "ipet": ipet.__version__}
    rows = run_checks(device, flags)
    flags.out.mkdir(parents=True, exist_ok=True)
    write_json(flags.out / "gpu_report.json", {**machine, "checks": rows})
    write_atomically(flags.out / "gpu_report.md", report_of(machine, rows).encode())
    print(f"written: {flags.out / 'gpu_report.md'}, {flags.out / 'gpu_report.json'}")
    return FAILED if any(not row["passed"] for row in rows) else PASSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
