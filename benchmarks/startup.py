"""How long a command takes to begin: whole processes, the median of some."""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {  # folder, what python runs
    "main.py -h": ("ast_esc50", ["main.py", "-h"]),
    "import torch": (".", ["-c", "import torch"]),
    "import torch, torchaudio, timm, transformers": (
        ".",
        ["-c", "import torch, torchaudio, timm, transformers.models.wav2vec2.modeling_wav2vec2"],
    ),
    "import ipet.launch": (".", ["-c", "import ipet.launch"]),
    "import ipet.launch and both backbones": (".", ["-c", "import ipet.launch, ipet.models"]),
}


def seconds_of(folder: str, words: list[str]) -> float:
    """Of one process, from its start to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=ROOT / folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    parser.add_argument("-rounds", type=int, default=5, help="timed rounds")


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print a row a command."""
    rounds = [
        {name: seconds_of(*command) for name, command in COMMANDS.items()} for _ in range(args.rounds + 1)
    ]
    results = {}
    for name in COMMANDS:
        results[name] = statistics.median(taken[name] for taken in rounds[1:])  # the first one warms up
        print(f"{name:<48}{results[name]:>7.2f} s", flush=True)
    return results
