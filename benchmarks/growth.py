"""Memory and open files of a process over the epochs of a small training: what it holds behind some.

A tiny wav2vec 2.0, with checkpoints, evaluation and metrics as in a run. What grows from epoch to epoch would
end a training of a weekend.
"""

import argparse
import gc
import os
import tempfile

import torch

from benchmarks.steps import MIB, resident
from benchmarks.ways import Setting, build, noise_datasets, trainer_of
from ipet.logbook import Logbook

SETTING = Setting("w2v_speechcommands", 8, 35, ("-pretrained", "random", "-size", "tiny"))


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    parser.add_argument("-clips", type=int, default=64, help="of the training list")
    parser.add_argument("-epochs", type=int, default=20, help="a multiple of 4")
    parser.add_argument("-num_workers", type=int, default=0, help="readers, which come and go")


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print what is held behind some epochs."""
    flags = ["-epoch", str(args.epochs), "-num_workers", str(args.num_workers)]
    built = build(SETTING, "ipet", "fp32", device, *flags)
    datasets = noise_datasets(built.args, args.clips, 1, SETTING.num_classes)
    held = {}
    with tempfile.TemporaryDirectory() as folder:
        training = trainer_of(built, datasets, folder, device)
        training.logbook = Logbook(training.folder, ("tensorboard",))
        for epoch in range(1, args.epochs + 1):
            training.run_epoch()
            gc.collect()
            held[epoch] = {"mib": resident("VmRSS") / MIB, "files": len(os.listdir("/proc/self/fd"))}
        training.logbook.close()
    shown = [1, *(args.epochs * quarter // 4 for quarter in (1, 2, 3, 4))]
    print("epoch" + "".join(f"{epoch:>10}" for epoch in shown))
    print("MiB  " + "".join(f"{held[epoch]['mib']:>10.1f}" for epoch in shown))
    print("files" + "".join(f"{held[epoch]['files']:>10}" for epoch in shown), flush=True)
    return held
