"""Decoded recordings: 16-bit samples at 16 kHz in large files, mapped into memory instead of decoded.

    ipet_000000_5f2a91c3.int16    a shard: the samples of one recording behind the other's (native bytes)
    ipet_000000_5f2a91c3.index    what the shard holds, an ``Entry`` a line: its CRC-32, its JSON

A recording is known by its absolute path, and decoded again where the size or the time of change of its
source differs; a dataset that was moved is decoded anew. A shard appears whole, behind its index, and never
changes under its name: a kill loses what the shard being filled would have held, and nothing else.
"""

import contextlib
import json
import os
import re
import secrets
import sys
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from tqdm import tqdm

from ipet.audio import ClipError, read_audio
from ipet.checkpoint import write_atomically

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

# Files that this module wrote, whole or not; others in the folder stay.
OWN = re.compile(r"\.?ipet_\d{6,}_[0-9a-f]{8}\.(int16|index)(\.[0-9a-f]{8}\.unfinished)?")
SCHEMA = 1  # of an index
SHARD_BYTES = 256 << 20  # 2.3 hours
STEP = 2.0**-15  # of 16-bit audio, which comes back bit for bit
MAX_MAPS = 256  # each holds a file descriptor, and a process often has 1,024
AHEAD = 4  # recordings that each thread decodes before they are needed


class Entry(NamedTuple):
    """What a shard holds of a recording.

    Args:
        shard: the file of its samples.
        source: the absolute path of the recording.
        size, mtime_ns: of the source, in bytes and nanoseconds, as it was decoded.
        start, num_samples: the place in the shard.
        step: the sample that the integer 1 stands for.
        crc32: of the integers' bytes.
    """

    shard: Path
    source: str
    size: int
    mtime_ns: int
    start: int
    num_samples: int
    step: float
    crc32: int

    @property
    def stop(self) -> int:
        """The place behind its last sample."""
        return self.start + self.num_samples


class Cache:
    """The recordings that ``build_cache`` decoded.

    Pickled, it is its folder alone: a DataLoader's worker reads the index and maps the shards itself.

    Args:
        folder: of the cache.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: another version wrote it.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(os.path.abspath(folder))
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder}: no such cache; build_cache writes it")
        self.index = read_index(self.folder)
        self.maps: dict[Path, np.ndarray] = {}

    def __reduce__(self):
        return Cache, (self.folder,)

    def length(self, path: str | Path) -> int:
        """The samples of a recording at 16 kHz.

        Raises:
            ClipError: it is not in the cache.
        """
        return self.find(path).num_samples

    def read(self, path: str | Path, start: int = 0, num_samples: int | None = None) -> Tensor:
        """A recording, or a part of it.

        Args:
            path: of the recording.
            start: the first sample, at 16 kHz.
            num_samples: how many, or all up to the end; fewer where the recording ends before.

        Returns:
            [T] float32 samples at 16 kHz, within half a step (2^-16; more where a recording is louder
            than full scale) of those of ``read_audio``; equal where the source is 16-bit mono at 16 kHz.

        Raises:
            ClipError: it is not in the cache, or its shard is lost.
            ValueError: the part begins outside the recording, or holds no sample.
        """
        entry = self.find(path)
        if not 0 <= start < entry.num_samples:
            raise ValueError(
                f"{path}: start is {start}; expected 0 to {entry.num_samples - 1}, its last sample"
            )
        if num_samples is not None and num_samples < 1:
            raise ValueError(f"{path}: num_samples is {num_samples}; expected at least 1")
        first = entry.start + start
        stop = entry.stop if num_samples is None else min(entry.stop, first + num_samples)
        return torch.from_numpy(self.shard_of(entry)[first:stop] * np.float32(entry.step))

    def find(self, path: str | Path) -> Entry:
        """The entry of a recording; see ``length`` for its error."""
        entry = self.index.get(os.path.abspath(path))
        if entry is None:
            raise ClipError(f"{path}: not in the cache {self.folder}; build_cache decodes it")
        return entry

    def shard_of(self, entry: Entry) -> np.ndarray:
        """[N] int16 samples of an entry's shard, mapped when it is first needed."""
        samples = self.maps.get(entry.shard)
        if samples is None:
            if len(self.maps) >= MAX_MAPS:
                del self.maps[next(iter(self.maps))]
            with contextlib.suppress(FileNotFoundError):
                samples = self.maps[entry.shard] = map_shard(entry.shard)
        if samples is None or len(samples) < entry.stop:
            raise ClipError(
                f"{entry.source}: its samples in {entry.shard} are gone or cut off; start the run again "
                "and build_cache decodes it anew"
            )
        return samples


def build_cache(
    folder: str | Path,
    paths: Iterable[str | Path],
    num_workers: int,
    progress: bool = True,
    verify: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> Cache:
    """Decode the recordings that are not in a cache, or have changed since, and open it.

    Recordings of other lists stay in it. A second build of the same folder waits for the first one.

    Args:
        folder: of the cache; made where it is not there.
        paths: of the recordings.
        num_workers: threads that decode (libsndfile and soxr let others run).
        progress: show a bar on a terminal.
        verify: check the samples of every entry, and not only the sizes of the files.
        shard_bytes: a shard is closed when it holds as many.

    Raises:
        ClipError, FileNotFoundError: the first recording that cannot be decoded; see ``read_audio``.
            What was decoded before is kept.
        OSError: the folder cannot be written, or its disk is full.
        ValueError: another version wrote the cache.
    """
    folder = Path(os.path.abspath(folder))
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: a file; expected the folder of a cache")
    folder.mkdir(parents=True, exist_ok=True)
    sources = dict.fromkeys(os.path.abspath(path) for path in paths)
    with locked(folder):
        index = repair(folder, verify, progress)
        changed = [source for source in sources if not is_current(index.get(source), source)]
        if not changed:
            return Cache(folder)
        with (
            ShardWriter(folder, shard_bytes) as writer,
            tqdm(total=len(changed), desc="cache", unit="clip", disable=None if progress else True) as bar,
        ):
            for decoded in decode_in_order(changed, max(1, num_workers)):
                writer.add(*decoded)
                bar.update()
    return Cache(folder)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only build of a folder; a process that ends, however it ends, lets the next one in."""
    if fcntl is None:
        with FileLock(folder / "lock"):  # silent while it waits
            yield
        return
    with open(folder / "lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{folder}: another process builds this cache; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems
            raise OSError(
                f"{folder}: its file system cannot lock a file ({error.strerror}); choose a folder for the "
                "cache on another disk"
            ) from error
        yield


def is_current(entry: Entry | None, source: str) -> bool:
    """Whether an entry was decoded from its source as it is now."""
    if entry is None:
        return False
    try:
        found = os.stat(source)
    except OSError:
        return False  # decoding it says what is wrong
    return (found.st_size, found.st_mtime_ns) == (entry.size, entry.mtime_ns)


def current_sources(folder: str | Path, paths: Iterable[str | Path]) -> set[Path]:
    """Those of some recordings that a cache holds as they are now."""
    if not Path(folder).is_dir():
        return set()
    index = read_index(Path(folder))
    sources = {path: os.path.abspath(path) for path in paths}
    return {Path(path) for path, source in sources.items() if is_current(index.get(source), source)}


# Decoding -----------------------------------------------------------------------------------------


def decode_in_order(sources: Sequence[str], num_workers: int) -> Iterator[tuple]:
    """What ``decode`` returns for each source, several at a time and a few ahead."""
    pending = deque()
    with ThreadPoolExecutor(num_workers) as pool:
        try:
            for source in sources:
                pending.append(pool.submit(decode, source))
                if len(pending) > AHEAD * num_workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def decode(source: str) -> tuple[str, os.stat_result, np.ndarray, float]:
    """The source, its state before it was read, its [T] int16 samples, and their step."""
    try:
        found = os.stat(source)  # before: a change while it is read is seen by the next build
    except FileNotFoundError:
        raise FileNotFoundError(f"{source}: no such file") from None
    return source, found, *quantise(read_audio(source).numpy())


def quantise(waveform: np.ndarray) -> tuple[np.ndarray, float]:
    """[T] samples -> [T] int16, and the step that gives the samples back.

    The step is that of 16-bit audio, 2^-15. Resampled or floating-point audio can exceed full scale; its
    step is as much larger as its peak needs, so that nothing is clipped.
    """
    step = max(STEP, float(waveform.max()) / 32767, float(waveform.min()) / -32768)
    return np.rint(waveform / np.float32(step)).astype(np.int16), step


class ShardWriter:
    """Fills one shard after another; what is left is written at the end, also after an error."""

    def __init__(self, folder: Path, shard_bytes: int):
        self.folder, self.shard_bytes = folder, shard_bytes
        self.begin()

    def begin(self) -> None:
        """Start an empty shard, under a name that no other one ever had."""
        last = max((int(path.name.split("_")[1]) for path in self.folder.glob("ipet_*_*.int16")), default=-1)
        # Never a deleted shard's name: another run may still know what that one held.
        self.shard = self.folder / f"ipet_{last + 1:06d}_{secrets.token_hex(4)}.int16"
        self.samples, self.entries = bytearray(), []

    def add(self, source: str, found: os.stat_result, samples: np.ndarray, step: float) -> None:
        """Put a recording behind the others, and close the shard where it is full."""
        start, crc = len(self.samples) // 2, zlib.crc32(samples)
        self.samples += samples.data.cast("B")
        self.entries.append(
            Entry(self.shard, source, found.st_size, found.st_mtime_ns, start, len(samples), step, crc)
        )
        if len(self.samples) >= self.shard_bytes:
            self.close()

    def close(self) -> None:
        """Write the shard and begin the next one."""
        shard, samples, entries = self.shard, self.samples, self.entries
        self.samples, self.entries = bytearray(), []
        if not entries:
            return
        try:
            write_index(shard, entries, len(samples))  # first: the shard is what makes it count
            write_atomically(shard, memoryview(samples))
        except OSError as error:
            raise OSError(
                f"{self.folder}: {error.strerror}, writing {len(samples)} bytes; what was written before is "
                "kept: make room and start again, or choose another folder for the cache"
            ) from error
        self.begin()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *_) -> None:
        self.close()


# Files --------------------------------------------------------------------------------------------


def write_index(shard: Path, entries: Sequence[Entry], size: int) -> None:
    """Write a shard's index: that it holds so many bytes and clips, then its entries."""
    rows = [{"schema": SCHEMA, "bytes": size, "clips": len(entries)}, *(entry[1:] for entry in entries)]
    texts = [json.dumps(row).encode() for row in rows]
    lines = [b"%08x %s\n" % (zlib.crc32(text), text) for text in texts]
    write_atomically(shard.with_suffix(".index"), b"".join(lines))


def read_row(line: bytes):
    """The value of an index's line, or None where it does not match its checksum."""
    try:
        return json.loads(line[9:]) if int(line[:8], 16) == zlib.crc32(line[9:]) else None
    except ValueError:
        return None


def read_shard(shard: Path) -> tuple[list[Entry], bool]:
    """The entries of a shard that can be read, and whether these are all that it ever held.

    Raises:
        FileNotFoundError: the shard or its index is missing.
        ValueError: another version wrote it.
    """
    path, size = shard.with_suffix(".index"), shard.stat().st_size
    head, *rows = [read_row(line) for line in path.read_bytes().splitlines()] or [None]
    if isinstance(head, dict) and head.get("schema") != SCHEMA:
        raise ValueError(
            f"{path}: schema {head.get('schema')!r}; this version reads {SCHEMA}: choose another folder "
            "for the cache"
        )
    entries = [Entry(shard, *row) for row in rows if isinstance(row, list)]
    entries = [entry for entry in entries if 2 * entry.stop <= size]
    whole = head == {"schema": SCHEMA, "bytes": size, "clips": len(rows)} and len(entries) == len(rows)
    return entries, whole


def read_index(folder: Path) -> dict[str, Entry]:
    """The entry of every source, the latest one where there are several."""
    index = {}
    for shard in sorted(folder.glob("ipet_*.int16")):
        with contextlib.suppress(FileNotFoundError):  # another build has just replaced it
            index.update({entry.source: entry for entry in read_shard(shard)[0]})
    return index


def map_shard(shard: Path) -> np.ndarray:
    """[N] int16 samples of a shard, read from the disk as they are used."""
    size = shard.stat().st_size // 2
    if not size:
        return np.zeros(0, np.int16)  # nothing cannot be mapped
    return np.memmap(shard, np.int16, mode="r", shape=(size,)).view(np.ndarray)


def repair(folder: Path, verify: bool, progress: bool) -> dict[str, Entry]:
    """Drop the entries that are damaged and the files that nothing needs; returns the index.

    Samples are compared with their checksums where ``verify`` says so, or their shard or its index is
    not as it was written.
    """
    shards = sorted(folder.glob("ipet_*.int16"))
    for shard in tqdm(
        shards, "verify", unit="shard", leave=False, disable=None if verify and progress else True
    ):
        with contextlib.suppress(FileNotFoundError):  # a shard without an index holds nothing
            entries, whole = read_shard(shard)
            if whole and not verify:
                continue
            samples = map_shard(shard)
            sound = [e for e in entries if zlib.crc32(samples[e.start : e.stop]) == e.crc32]
            if not whole or len(sound) < len(entries):
                tqdm.write(f"{shard}: damaged, {len(sound)} recordings in it are sound", file=sys.stderr)
                write_index(shard, sound, shard.stat().st_size)
    index = read_index(folder)
    needed = {entry.shard for entry in index.values()}
    for pattern in ("ipet_*.int16", "ipet_*.index", ".ipet_*.int16.*", ".ipet_*.index.*"):
        for path in folder.glob(pattern):
            if OWN.fullmatch(path.name) and path.with_suffix(".int16") not in needed:
                path.unlink()
    return index
