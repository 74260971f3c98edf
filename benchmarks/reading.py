"""Clips a second, decoded from their files and read from the cache.

Clips of noise shaped like those of four datasets, read whole and in random order by one process; all
files are in the system's memory, and the cache is open. Both ways run in turn (A B A B ...); the ratio of
every pair is taken, and its median reported. ``-folder``: recordings of your own, at any depth.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmarks import medians_and_ratio
from ipet.audio import Recordings
from ipet.audio_formats import decodable_suffixes
from ipet.cache import build_cache

# name: (clips, seconds, Hz, suffix)
SHAPES = {
    "ESC-50": (200, 5, 44_100, ".wav"),
    "GTZAN": (60, 30, 22_050, ".wav"),
    "FSD50K": (60, 30, 44_100, ".wav"),
    "VoxCeleb": (300, 8, 16_000, ".wav"),
    "VoxCeleb as FLAC": (300, 8, 16_000, ".flac"),
}


def write_clips(folder: Path, num_clips: int, seconds: int, rate: int, suffix: str) -> list[Path]:
    """Quiet 16-bit mono noise."""
    rng = np.random.default_rng(0)
    paths = [folder / f"{i}{suffix}" for i in range(num_clips)]
    for path in paths:
        samples = 0.1 * rng.standard_normal(seconds * rate, np.float32)
        soundfile.write(path, samples, rate, subtype="PCM_16")
    return paths


def clips_a_second(recordings, paths: list[Path], seed: int) -> float:
    """How fast every clip is read once, in random order."""
    order = np.random.default_rng(seed).permutation(len(paths))
    start = time.perf_counter()
    for i in order:
        recordings.read(paths[i])
    return len(paths) / (time.perf_counter() - start)


def compare(paths: list[Path], cache_folder: Path, rounds: int, num_workers: int) -> dict:
    """Median clips a second of each way, the spread of their ratios, and the clips that a build decodes."""
    start = time.perf_counter()
    cache = build_cache(cache_folder, paths, num_workers, progress=False)
    built = len(paths) / (time.perf_counter() - start)
    ways = {"files": Recordings(), "cache": cache}
    speeds = {name: [] for name in ways}
    for pair in range(rounds + 1):
        for name, recordings in ways.items():
            speed = clips_a_second(recordings, paths, pair)
            if pair:  # the first pair warms up
                speeds[name].append(speed)
    return medians_and_ratio(speeds, over="cache", under="files") | {"built": built}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    parser.add_argument("-folder", type=Path, help="recordings of your own, in place of the noise")
    parser.add_argument("-rounds", type=int, default=5, help="timed rounds")
    parser.add_argument("-num_workers", type=int, default=2, help="threads that build the cache")


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print a row a kind of clip."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return dict(rows(args))
    finally:
        torch.set_num_threads(threads)


def rows(args: argparse.Namespace) -> Iterator[tuple[str, dict]]:
    """The name and the numbers of each kind of clip, printed as they come."""
    print("whole clips, random order, one process; clips a second")
    print(f"{'clips':<32}{'files':>8}{'cache':>9}{'ratio':>8}   {'(min - max)':<16}{'build':>7}")
    with tempfile.TemporaryDirectory() as scratch:
        for i, name in enumerate(SHAPES if args.folder is None else [args.folder.name]):
            folder = Path(scratch, str(i))
            folder.mkdir()
            if args.folder is None:
                num_clips, seconds, rate, suffix = SHAPES[name]
                paths = write_clips(folder, num_clips, seconds, rate, suffix)
                name = f"{name}, {seconds} s, {rate / 1000:g} kHz"
            else:
                suffixes = decodable_suffixes()
                paths = sorted(p for p in args.folder.rglob("*") if p.suffix.lower() in suffixes)
                if not paths:
                    raise SystemExit(f"error: {args.folder}: holds no {', '.join(sorted(suffixes))} file")
            r = compare(paths, folder / "cache", args.rounds, args.num_workers)
            spread = f"({r['ratio_min']:.1f} - {r['ratio_max']:.1f})"
            print(
                f"{name:<32}{r['files']:>8.0f}{r['cache']:>9.0f}{r['ratio']:>8.1f}   {spread:<16}"
                f"{r['built']:>7.0f}",
                flush=True,
            )
            yield name, r
