"""python3 -m benchmarks: a training step of IPET against the method as its equations read.

Both run in one process, in turn (A B A B ...), on the same batch and the same weights; the ratio
of every pair is taken, and its median reported.
"""

import argparse
import copy
import json
import platform
import time

import torch
from torch import nn

from benchmarks import medians_and_ratio
from benchmarks.textbook import make_plain
from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.tuning import Tuning, tune

# name: (backbone, input [B, ...], prompts, bottleneck)
SETTINGS = {
    "w2v_speechcommands": ("wav2vec2", (8, 20_480), 64, 64),
    "w2v_gtzan": ("wav2vec2", (4, 64_000), 128, 64),
    "ast_esc50": ("ast", (2, 512, 128), 4, 32),
}


def build(kind: str, shape: tuple[int, ...], tuning: Tuning) -> nn.Module:
    """A tuned base-size backbone with random weights, in evaluation mode (no random number drawn)."""
    torch.manual_seed(0)
    backbone = build_ast(shape[1]) if kind == "ast" else build_wav2vec2("base")
    return tune(backbone, tuning).eval()


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> float:
    """Seconds of one update."""
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    model(x).square().mean().backward()
    optimizer.step()
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(kind: str, shape: tuple[int, ...], prompts: int, bottleneck: int, pairs: int, device) -> dict:
    """Median seconds of a step of each, and the median and spread of their ratios."""
    ours = build(kind, shape, Tuning(prompts, bottleneck)).to(device)
    models = {"ipet": ours, "textbook": make_plain(copy.deepcopy(ours))}
    optimizers = {
        name: torch.optim.Adam([p for p in model.parameters() if p.requires_grad], fused=True)
        for name, model in models.items()
    }
    x = 0.1 * torch.randn(shape, device=device)
    seconds = {name: [] for name in models}
    for pair in range(pairs + 1):
        for name, model in models.items():
            taken = step(model, optimizers[name], x)
            if pair:  # the first pair warms up
                seconds[name].append(taken)
    return medians_and_ratio(seconds, over="textbook", under="ipet")


def main() -> None:
    """Print the table; ``-json FILE`` keeps the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-pairs", type=int, default=5, help="timed pairs of steps")
    parser.add_argument("-only", choices=SETTINGS, help="one setting")
    parser.add_argument("-json", help="file for the numbers")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print("training step in evaluation mode (no dropout), fp32")
    print(f"{name}, torch {torch.__version__}, {platform.machine()}")
    print(f"{'setting':<20}{'batch':>6}{'IPET s':>9}{'textbook s':>12}{'ratio':>8}   (min - max)")
    results = {}
    for setting, (kind, shape, prompts, bottleneck) in SETTINGS.items():
        if args.only in (None, setting):
            r = results[setting] = compare(kind, shape, prompts, bottleneck, args.pairs, device)
            print(
                f"{setting:<20}{shape[0]:>6}{r['ipet']:>9.3f}{r['textbook']:>12.3f}{r['ratio']:>8.2f}"
                f"   ({r['ratio_min']:.2f} - {r['ratio_max']:.2f})",
                flush=True,
            )
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"device": name, "results": results}, file, indent=2)


if __name__ == "__main__":
    main()
