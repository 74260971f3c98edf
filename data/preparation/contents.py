"""What recordings hold: those that cannot be opened, and those that hold the same."""

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from tqdm import tqdm


def unusable(root: Path, wavs: Iterable[str]) -> dict[str, str]:
    """The recordings whose header or length is not sound, each with the reason."""
    from ipet.audio import ClipError, open_audio  # slow to import: it brings torch

    def complaint(wav: str) -> str:
        try:
            with open_audio(root / wav):
                return ""
        except ClipError as error:
            return str(error).removeprefix(f"{root / wav}: ")

    wavs = list(wavs)
    with ThreadPoolExecutor(8) as pool:
        reasons = pool.map(complaint, wavs)
        bar = tqdm(reasons, "opening", len(wavs), unit="clip", leave=False, disable=None)
        return {wav: reason for wav, reason in zip(wavs, bar) if reason}


def lengths(root: Path, wavs: Iterable[str]) -> dict[str, float]:
    """Return the seconds of each recording, as its header tells."""
    wavs = sorted(wavs)
    if not wavs:
        return {}
    from ipet.audio import SAMPLE_RATE, Recordings  # slow to import: it brings torch

    recordings = Recordings()
    with ThreadPoolExecutor(8) as pool:
        samples = pool.map(lambda wav: recordings.length(root / wav), wavs)
        return {wav: number / SAMPLE_RATE for wav, number in zip(wavs, samples)}


def gather(keys: Iterable, values: Iterable[str]) -> list[list[str]]:
    """The values that share a key, where more than one does."""
    sharing: dict = {}
    for key, value in zip(keys, values):
        sharing.setdefault(key, []).append(value)
    return [values for values in sharing.values() if len(values) > 1]


def duplicates(root: Path, wavs: Iterable[str]) -> list[list[str]]:
    """The groups of recordings that hold the same bytes, by size and then SHA-256."""

    def digest(wav: str) -> str:
        return hashlib.sha256((root / wav).read_bytes()).hexdigest()

    wavs = sorted(wavs)
    num_bytes = (os.path.getsize(root / wav) for wav in wavs)
    sized_alike = sorted(chain.from_iterable(gather(num_bytes, wavs)))
    with ThreadPoolExecutor(8) as pool:
        digests = pool.map(digest, sized_alike)
        bar = tqdm(digests, "comparing", len(sized_alike), unit="clip", leave=False, disable=None)
        return gather(bar, sized_alike)
