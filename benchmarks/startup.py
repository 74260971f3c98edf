"""How long a command takes to begin: whole processes, the median of some."""

import argparse
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch

from benchmarks import seconds_in_turn

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {  # folder, what python runs
    "main.py -h": ("ast_esc50", ["main.py", "-h"]),
    "import torch": (".", ["-c", "import torch"]),
    "import torch, torchaudio, timm, transformers": (
        ".",
        ["-c", "import torch, torchaudio, timm, transformers.models.wav2vec2.modeling_wav2vec2"],
    ),
    "import ipet.launch": (".", ["-c", "import ipet.launch"]),
    "import ipet.launch and AST": (
        ".",
        ["-c", "import ipet.launch, ipet.backbones.audio_spectrogram_transformer"],
    ),
    "import ipet.launch and wav2vec 2.0": (".", ["-c", "import ipet.launch, ipet.backbones.wav2vec2"]),
}


def start(folder: str, words: list[str]) -> None:
    """One process, from its start to its end."""
    subprocess.run([sys.executable, *words], cwd=ROOT / folder, check=True, stdout=subprocess.DEVNULL)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    parser.add_argument("-rounds", type=int, default=5, help="timed rounds")


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print a row a command."""
    processes = {name: partial(start, *command) for name, command in COMMANDS.items()}
    results = {}
    for name, seconds in seconds_in_turn(processes, args.rounds, torch.device("cpu")).items():
        results[name] = statistics.median(seconds)
        print(f"{name:<48}{results[name]:>7.2f} s", flush=True)
    return results
