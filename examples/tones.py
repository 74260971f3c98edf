"""What the examples have in common: a second of a steady, rising or falling tone in noise, and flags."""

import argparse
from pathlib import Path

import torch
from torch.utils.data import Dataset

KINDS = ("steady", "rising", "falling")
SAMPLE_RATE = 16_000


class Tones(Dataset):
    """``size`` clips: ``input_values`` [16000] and ``labels``, which of ``KINDS``, of each."""

    def __init__(self, size: int, seed: int):
        self.size, self.seed = size, seed

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        kind = index % len(KINDS)
        low, noise = (
            300 + 900 * torch.rand(1, generator=generator),
            torch.randn(SAMPLE_RATE, generator=generator),
        )
        seconds = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
        octaves = (torch.zeros(SAMPLE_RATE), seconds, 1 - seconds)[kind]
        phase = 2 * torch.pi * torch.cumsum(low * 2**octaves, dim=0) / SAMPLE_RATE
        return {"input_values": 0.5 * phase.sin() + 0.2 * noise, "labels": torch.tensor(kind)}


def get_args(description: str) -> argparse.Namespace:
    """The flags of an example."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=form)
    parser.add_argument("-epochs", type=int, default=10)
    parser.add_argument("-clips", type=int, default=120, help="to train on; half as many to test on")
    parser.add_argument("-out", type=Path, default=Path("adapter"), help="where the adapter is written")
    return parser.parse_args()
