"""The generated corpus that the small backbones learn from: clips of up to 5.12 s, and their labels.

    python3 -m pretraining.corpus corpus -size large
    python3 -m pretraining.corpus corpus -parts sounds styles

A part is a folder:

    waveforms.npy   [N, 81920] int16 at 16 kHz, zeros behind a clip's end
    lengths.npy     [N] int32 samples
    labels.npy      [N, L] uint8, 1 where a label holds
    labels.json     the L names
    corpus.json     what it was made from

A clip depends on the seed, its part and its number alone: whatever the number of processes, and in a
larger corpus, it is the same.
"""

import argparse
import json
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.random import Generator
from tqdm import tqdm

from ipet.output_pipe import guard_output

SAMPLE_RATE = 16_000
NUM_SAMPLES = 81_920  # 5.12 s: 512 frames of 10 ms
CLIPS = {  # of each part
    "large": {"sounds": 14_000, "styles": 3_000, "words": 6_000, "sentences": 16_000},
    "tiny": {"sounds": 40, "styles": 20, "words": 40, "sentences": 20},
}
RECEIPT = "corpus.json"


class Part(NamedTuple):
    """A kind of clip."""

    labels: tuple[str, ...]
    make: Callable[[Generator], tuple[np.ndarray, set[str]]]  # -> [T] in [-1, 1], labels that hold


def find_part(name: str) -> Part:
    """Import a part's generator.

    Raises:
        ImportError: it needs a package that is not installed.
    """
    if name in ("words", "sentences"):
        speech = import_module("pretraining.speech")
        return Part(speech.LABELS[name], speech.MAKE[name])
    module = import_module(f"pretraining.{name}")
    return Part(module.LABELS, module.make)


def make_clip(index: int, name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Clip number ``index`` of a part: [T] int16 samples, [L] uint8 labels."""
    part = find_part(name)
    waveform, held = part.make(np.random.default_rng([seed, zlib.crc32(name.encode()), index]))
    if unknown := held - set(part.labels):
        raise ValueError(f"part {name}, clip {index}: labels {sorted(unknown)} are not among the part's")
    if not np.isfinite(waveform).all() or not waveform.any():
        raise ValueError(f"part {name}, clip {index}: silent or not finite")
    samples = np.round(32767 * np.clip(waveform[:NUM_SAMPLES], -1, 1)).astype(np.int16)
    return samples, np.array([label in held for label in part.labels], np.uint8)


def write_part(out: Path, name: str, num_clips: int, seed: int, processes: int | None = None) -> Path:
    """Write a part of the corpus; its folder appears when it is whole.

    Raises:
        FileExistsError: the folder is there, made from something else.
    """
    folder = out / name
    receipt = {"part": name, "clips": num_clips, "seed": seed}
    if folder.exists():
        if (folder / RECEIPT).is_file() and json.loads((folder / RECEIPT).read_text()) == receipt:
            return folder
        raise FileExistsError(
            f"{folder}: exists, and was not made from {receipt} (see {RECEIPT} in it); "
            "delete it or choose another folder"
        )
    part = find_part(name)
    temporary = out / f".{name}.{os.getpid()}"
    temporary.mkdir(parents=True)
    try:
        waveforms = open_memmap(temporary / "waveforms.npy", "w+", np.int16, (num_clips, NUM_SAMPLES))
        lengths, labels = np.zeros(num_clips, np.int32), np.zeros((num_clips, len(part.labels)), np.uint8)
        with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
            clips = pool.map(partial(make_clip, name=name, seed=seed), range(num_clips), chunksize=8)
            for index, (samples, held) in enumerate(tqdm(clips, desc=name, total=num_clips, unit="clip")):
                waveforms[index, : len(samples)] = samples
                lengths[index], labels[index] = len(samples), held
        waveforms.flush()
        np.save(temporary / "lengths.npy", lengths)
        np.save(temporary / "labels.npy", labels)
        (temporary / "labels.json").write_text(json.dumps(part.labels, indent=1) + "\n")
        (temporary / RECEIPT).write_text(json.dumps(receipt, indent=1) + "\n")
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


class Corpus:
    """A part of the corpus, opened.

    Args:
        folder: of the part.

    Attributes:
        waveforms: [N, 81920] int16, read from the file as needed.
        lengths: [N] samples.
        labels: [N, L] uint8.
        names: of the L labels.

    Raises:
        FileNotFoundError: ``folder`` holds no part.
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        if not (folder / RECEIPT).is_file():
            raise FileNotFoundError(
                f"{folder}: no part of a corpus ({RECEIPT} is missing); "
                f"python3 -m pretraining.corpus {folder.parent} -parts {folder.name} writes one"
            )
        self.waveforms = np.load(folder / "waveforms.npy", mmap_mode="r")
        self.lengths = np.load(folder / "lengths.npy")
        self.labels = np.load(folder / "labels.npy")
        self.names: list[str] = json.loads((folder / "labels.json").read_text())


def main(argv: Sequence[str] | None = None) -> int:
    """Write the parts that the command line names, and return the exit status."""
    if argv is None:
        guard_output()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="where the parts' folders go")
    parser.add_argument("-size", default="large", choices=tuple(CLIPS))
    parser.add_argument("-seed", type=int, default=0, help="the same seed makes the same clips")
    parser.add_argument("-parts", nargs="+", default=list(CLIPS["large"]), choices=tuple(CLIPS["large"]))
    parser.add_argument("-processes", type=int, help="default: one for each core")
    args = parser.parse_args(argv)
    for name in args.parts:
        try:
            folder = write_part(args.out, name, CLIPS[args.size][name], args.seed, args.processes)
        except (ImportError, OSError) as error:
            print(f"pretraining.corpus: {error}", file=sys.stderr)
            return 1
        hours = Corpus(folder).lengths.sum() / SAMPLE_RATE / 3600
        print(f"{folder}: {CLIPS[args.size][name]:,} clips, {hours:.1f} hours")
    return 0


if __name__ == "__main__":
    sys.exit(main())
