"""Damaged and random files through every reader of a stranger's file.

    python3 -m tests.fuzz -seconds 60

prints for each reader how many it was given, how many it read and refused, and what it should not have done:
anything but to read a file, or to refuse it by a ValueError or FileNotFoundError of one line that names it. A
finding names the number of its input, which ``-seed`` and ``-only`` make again.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.torch
import soundfile
import torch

sys.path.append(str(Path(__file__).parent))  # helpers, where this file is run as a module

from ipet.audio import read_audio
from ipet.checkpoint import read_tensors
from ipet.lists import read_clips, read_labels
from ipet.passport import read_passport
from ipet.printable import escaped
from ipet.saved import read_adapter, read_description
from ipet.trials import read_trials

from helpers import write_lists

MEMORY = 3 << 30  # beyond what is taken at the start: what a forged size would exceed
TOKENS = (  # that mean something to one of the formats
    *(b"\x00", b"\n", b"\x1b[2J", b'"', b"{", b"]", b",", b"\\u0000", b"\\ud800", b"../", b"/m/00", b"wav"),
    *(b"-1", b"1e999", b"NaN", b"99999999999999999999", b"null", b"true", b"\xff\xff\xff\xff", b"\x7f\xff"),
)
FIRST = {  # a description of schema 1
    "schema": 1,
    "labels": [{"mid": "/m/00", "name": "class 0"}],
    "loss": "cce",
    "front_end": {"kind": "waveform", "num_frames": 40, "num_segments": 1, "whole_periods": True},
    "cut": {"num_samples": 6_400, "crop": "centre", "repeat": True},
    "backbone": {"kind": "wav2vec2", "pretrained": "wav2vec2_small", "sha256": 64 * "0", "config": {}},
    "tuning": {"method": "ipet", "num_prompts": 4, "bottleneck": 8, "scale": 0.1},
    "calibration": {"temperature": 1.25, "thresholds": [0.5]},
}
DESCRIPTION = {  # PEFT's fields before it
    **{"peft_type": "IPET", "schema": 2, "kind": "run", "base_model_name_or_path": "wav2vec2_small"},
    **{"revision": None, "task_type": None, "inference_mode": True},
    **{name: value for name, value in FIRST.items() if name != "schema"},
}
PASSPORT = {
    **{"schema": 1, "experiment": "ast_esc50", "arguments": {"lr": 0.1}, "seeds": [1], "cells": ["seed_1"]},
    **{"lists_sha256": None, "lists": {}, "backbone": {}, "sources": {}, "git": None, "starts": [{}]},
    "results": {"metric": None, "protocol": None, "protocols": {}, "cells": {"seed_1": {"sha256": {}}}},
}


READERS = (
    *("lists", "labels", "trials", "adapter_config.json", "adapter.json", "adapter_model.safetensors"),
    *("passports", "weights", "recordings"),
)


class Reader(NamedTuple):
    """What reads a file, and the sound files that are damaged for it."""

    read: Callable[[Path], object]
    sound: list[Path]


class Tally(NamedTuple):
    """What became of a reader's files."""

    read: int
    refused: int
    seconds: float
    findings: list[str]


def readers(folder: Path) -> dict[str, Reader]:
    """The readers by name, and sound files of theirs in a folder."""
    lists = write_lists(folder / "lists", train=3)
    labels = read_labels(lists / "labels.csv")
    trials = folder / "trials.txt"
    trials.write_text("1 a/b/c.wav d/e/f.wav\n0 a/b/c.wav g/h/i.wav\n")
    known = {"a/b/c.wav": 0, "d/e/f.wav": 1, "g/h/i.wav": 2}
    (folder / "adapter_config.json").write_text(json.dumps(DESCRIPTION))
    (folder / "adapter.json").write_text(json.dumps(FIRST))
    (folder / "passport.json").write_text(json.dumps(PASSPORT))
    tensors = {"prompts.0": torch.ones(1, 2, 3), "backbone.vit.norm.bias": torch.zeros(4)}
    safetensors.torch.save_file(tensors, folder / "adapter_model.safetensors")
    torch.save(tensors, folder / "weights.pth")
    torch.save(tensors, folder / "old.pth", _use_new_zipfile_serialization=False)
    noise = 0.1 * np.random.default_rng(0).standard_normal((800, 2))
    sounds = [folder / f"a.{kind}" for kind in ("wav", "flac", "ogg", "mp3")]
    for path in sounds:
        soundfile.write(path, noise, 16_000)
    made = (
        Reader(lambda path: read_clips(path, lists, labels), [lists / "train.json"]),
        Reader(read_labels, [lists / "labels.csv"]),
        Reader(lambda path: read_trials(path, known), [trials]),
        Reader(read_description, [folder / "adapter_config.json"]),
        Reader(read_description, [folder / "adapter.json"]),
        Reader(read_adapter, [folder / "adapter_model.safetensors"]),
        Reader(read_passport, [folder / "passport.json"]),
        Reader(read_tensors, [folder / "weights.pth", folder / "old.pth"]),
        Reader(read_audio, sounds),
    )
    return dict(zip(READERS, made))


def damage(content: bytes, rng: random.Random) -> bytes:
    """Some places of a file changed: bytes, tokens, pieces twice or gone, its end; or nothing of it left."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(300))
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        place, length = rng.randrange(len(changed) + 1), rng.randint(1, 8)
        kind = rng.randrange(5)
        if kind == 0:
            changed[place : place + length] = rng.randbytes(length)
        elif kind == 1:
            token = rng.choice(TOKENS)
            changed[place : place + rng.randrange(2) * len(token)] = token
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = changed[place : place + 8 * length]
        elif rng.random() < 0.3:
            del changed[place:]
    return bytes(changed)


def inputs(reader: Reader, seed: int) -> Iterator[tuple[Path, bytes]]:
    """Damaged files without end: which one was sound, and the bytes."""
    contents = [path.read_bytes() for path in reader.sound]
    number = 0
    while True:
        rng = random.Random(f"{seed} {number}")
        chosen = rng.randrange(len(contents))
        yield reader.sound[chosen], damage(contents[chosen], rng)
        number += 1


def wrong(path: Path, error: BaseException) -> str | None:
    """What is wrong with how a file was refused, if anything is."""
    message = str(error)
    if not isinstance(error, ValueError | FileNotFoundError):
        return f"{type(error).__name__}: {message[:200]!r}"
    if str(path) not in message or escaped(message) != message or len(message) > 1_000:
        return f"{type(error).__name__} that does not name the file in one line: {message[:300]!r}"
    return None


def fuzz(reader: Reader, seed: int, most: int | None = None, seconds: float | None = None) -> Tally:
    """Give a reader damaged files, ``most`` of them or for so many seconds."""
    begin, read, refused, findings = time.perf_counter(), 0, 0, []
    for number, (sound, content) in enumerate(inputs(reader, seed)):
        spent = time.perf_counter() - begin
        if number == most or (seconds is not None and spent > seconds):
            return Tally(read, refused, spent, findings)
        path = sound.with_name(f"damaged{sound.suffix}")
        path.write_bytes(content)
        try:
            reader.read(path)
            read += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            refused += 1
            said = wrong(path, error)
            findings += [f"input {number} of seed {seed}: {said}"] if said else []
    raise AssertionError("inputs have no end")


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """No more memory than ``MEMORY``, and nothing on the screen of what libraries say in C (mpg123)."""
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    before, screen = resource.getrlimit(resource.RLIMIT_AS), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, before[1]))
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(screen, 2)
        os.close(screen)
        os.close(nowhere)
        resource.setrlimit(resource.RLIMIT_AS, before)


def main(argv: list[str] | None = None) -> int:
    """Fuzz every reader; 1 where there was a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-seconds", type=float, default=60.0, help="of all readers together")
    parser.add_argument("-seed", type=int, default=0, help="of the damage")
    parser.add_argument("-only", default=None, help="one reader")
    flags = parser.parse_args(argv)
    failed = 0
    print("| reader | files | read | refused | seconds | findings |\n|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        chosen = {n: r for n, r in readers(Path(folder)).items() if flags.only in (None, n)}
        for name, reader in chosen.items():
            with bounded():
                tally = fuzz(reader, flags.seed, seconds=flags.seconds / len(chosen))
            counts = (tally.read + tally.refused, tally.read, tally.refused)
            row = [name, *(f"{n:,}" for n in counts), f"{tally.seconds:.1f}", str(len(tally.findings))]
            print(f"| {' | '.join(row)} |", flush=True)
            for finding in tally.findings[:5]:
                print(f"  {finding}", file=sys.stderr)
            failed += len(tally.findings)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
