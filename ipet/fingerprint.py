"""Recordings that sound the same: audio fingerprints propose pairs, waveforms decide.

The fingerprint of a clip is a picture of signs. With E[f, m] the energy of mel band m in dB, averaged over
40 ms that end with frame f, and lag l = 40 ms,

    d[f, m] = (E[f, m + 1] - E[f, m]) - (E[f - l, m + 1] - E[f - l, m]),        bit[f, m] = d[f, m] > 0

A gain cancels in the first difference, a filter in the second. A bit counts only where its four energies are
within 40 dB of the clip's loudest and d is more than 0.9 dB from 0: what is left survives coding.
Two clips are compared frame by frame at every delay up to 120 ms, by the share of bits that differ.

Not every clip is compared with every other one: a summary of each (its mean spectrum and the spread of every
band, which no delay changes) finds its nearest neighbours. Few bits prove little, as of a drum of 60 ms:
hence the waveforms of a proposed pair are read again, and their normalised cross-correlation decides.

Source: signs of differences over bands and time, compared by Hamming distance, as in Haitsma and Kalker 2002.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ipet.audio import SAMPLE_RATE
from ipet.features import HOP_SAMPLES, LogMel

NUM_BANDS = 32  # so that a frame's bits are one uint32
SECONDS = 10  # of a clip that are looked at
EDGE_SAMPLES = 800  # of silence put before and behind: a clip that begins in a sound has its onset, too
SMOOTH = LAG = 4  # frames of 10 ms
BEL = np.log(10)  # 10 dB of a natural logarithm of power
RANGE, RELIABLE = 4 * BEL, 0.2
MOST_DELAY = 12  # frames
LOW_BANDS = 22  # of the summary, below 3.3 kHz: coding and resampling take from above
NEIGHBOURS = 16  # a clip is compared with
LEAST_BITS, LEAST_OVERLAP = 8, 0.6  # of the longer fingerprint
MOST_DIFFERENT = 0.15  # share of bits
ALIKE = 0.85  # normalised cross-correlation from which on two waveforms are of one recording
FINER = 4  # delays a sample
BLOCK = 1024  # clips, or pairs, at once


class Fingerprint(NamedTuple):
    """What is kept of a clip, 8 KB at most."""

    bits: np.ndarray  # [F] uint32, a band difference a bit
    valid: np.ndarray  # [F] uint32, which of them count
    summary: np.ndarray  # [44] float32


class Pair(NamedTuple):
    """Two clips of one recording, by their positions, and the cross-correlation of their waveforms."""

    one: int
    other: int
    alike: float


def coarse_log_mel() -> LogMel:
    """The front end that ``fingerprint`` takes."""
    return LogMel(NUM_BANDS, 1, mean=0.0, std=1.0)


@torch.inference_mode()
def fingerprint(waveform: Tensor, front_end: LogMel) -> Fingerprint:
    """The fingerprint of the first ten seconds of a clip of [T] samples at 16 kHz."""
    waveform = F.pad((waveform - waveform.mean())[: SECONDS * SAMPLE_RATE], (EDGE_SAMPLES, EDGE_SAMPLES))
    power = front_end.log_mel(waveform[None])[0].exp().numpy()  # [F, M]
    padded = np.pad(power.astype(np.float64), ((SMOOTH, SMOOTH - 1), (0, 0)))
    total = padded.cumsum(axis=0)
    energy = np.log(np.maximum((total[SMOOTH:] - total[:-SMOOTH]) / SMOOTH, 1e-12))
    floor = energy.max() - RANGE
    heard = energy > floor
    energy = np.maximum(energy, floor)

    slope = np.diff(energy, axis=1)  # [F, M - 1]
    both = heard[:, 1:] & heard[:, :-1]
    d = slope[LAG:] - slope[:-LAG]
    valid = both[LAG:] & both[:-LAG] & (np.abs(d) > RELIABLE)
    frames = valid.any(axis=1)
    first = int(frames.argmax())  # so that delays count from the first sound
    last = len(frames) - int(frames[::-1].argmax()) if frames.any() else first
    valid, bits = valid[first:last], d[first:last] > 0

    active = energy[heard.any(axis=1), :LOW_BANDS]
    mean = active.mean(axis=0)
    summary = np.concatenate([mean - mean.mean(), active.std(axis=0)]).astype(np.float32)
    return Fingerprint(as_words(bits & valid), as_words(valid), summary)


def as_words(bits: np.ndarray) -> np.ndarray:
    """[F, 31] bool -> [F] uint32."""
    return bits @ (1 << np.arange(bits.shape[1], dtype=np.uint32)).astype(np.uint32)


def near_duplicates(prints: Sequence[Fingerprint], read: Callable[[int], Tensor]) -> list[Pair]:
    """The pairs of clips that are of one recording: up to gain, coding, resampling and a delay.

    Clips of a recording that begin more than 120 ms apart in it are not found.

    Args:
        prints: of N clips.
        read: a position -> the [T] samples of that clip at 16 kHz.
    """
    pairs = neighbours(np.stack([p.summary for p in prints])) if len(prints) > 1 else np.empty((0, 2), int)
    proposed = pairs[differing(prints, pairs) < MOST_DIFFERENT]
    found, kept = [], {}
    for one, other in proposed.tolist():
        if one not in kept:
            kept = {one: read(one)}  # pairs are sorted: the first of a pair is read once
        alike = correlation(kept[one], read(other))
        if alike > ALIKE:
            found.append(Pair(one, other, alike))
    return found


def neighbours(summaries: np.ndarray) -> np.ndarray:
    """[N, D] -> [P, 2] sorted pairs of a clip and one of its nearest by Euclidean distance."""
    spread = summaries.std(axis=0)
    z = torch.from_numpy((summaries - summaries.mean(axis=0)) / np.maximum(spread, 1e-6))
    squares = z.square().sum(dim=1)
    num_nearest = min(NEIGHBOURS, len(z) - 1)
    pairs = []
    for start in range(0, len(z), BLOCK):
        rows = torch.arange(start, min(start + BLOCK, len(z)))
        distances = squares - 2 * z[rows] @ z.T  # [B, N], up to the row's own square
        distances[torch.arange(len(rows)), rows] = torch.inf
        nearest = distances.topk(num_nearest, largest=False).indices  # [B, K]
        pairs.append(torch.stack([rows[:, None].expand_as(nearest), nearest], dim=-1).reshape(-1, 2))
    return np.unique(torch.cat(pairs).sort(dim=1).values.numpy(), axis=0)


def differing(prints: Sequence[Fingerprint], pairs: np.ndarray) -> np.ndarray:
    """[P, 2] pairs -> [P] the share of bits that differ at the best delay; 1 where too few compare."""
    num_bits = np.array([np.bitwise_count(p.valid).sum(dtype=np.int64) for p in prints])
    shares = np.ones(len(pairs))
    # Pairs of about one length go together, or the longest clip of a set would make all pairs long.
    length = np.array([len(p.bits) for p in prints])
    order = np.argsort(length[pairs].max(axis=1), kind="stable")
    for start in range(0, len(order), BLOCK):
        rows = order[start : start + BLOCK]
        size = int(length[pairs[rows]].max())
        (a, in_a), (b, in_b) = (stack(prints, pairs[rows, side], size) for side in (0, 1))
        enough = np.maximum(LEAST_BITS, LEAST_OVERLAP * num_bits[pairs[rows]].max(axis=1))
        for delay in range(-min(MOST_DELAY, size - 1), min(MOST_DELAY, size - 1) + 1):
            here = slice(max(0, delay), size + min(0, delay))
            there = slice(max(0, -delay), size + min(0, -delay))
            common = in_a[:, here] & in_b[:, there]
            compared = np.bitwise_count(common).sum(axis=1, dtype=np.int64)
            unlike = np.bitwise_count((a[:, here] ^ b[:, there]) & common).sum(axis=1, dtype=np.int64)
            share = np.where(compared >= enough, unlike / np.maximum(compared, 1), 1.0)
            shares[rows] = np.minimum(shares[rows], share)
    return shares


def stack(prints: Sequence[Fingerprint], chosen: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """[B, size] bits and which of them count, of the chosen clips, zeros behind."""
    bits, valid = np.zeros((2, len(chosen), size), np.uint32)
    for row, i in enumerate(chosen):
        bits[row, : len(prints[i].bits)] = prints[i].bits
        valid[row, : len(prints[i].valid)] = prints[i].valid
    return bits, valid


def correlation(one: Tensor, other: Tensor) -> float:
    """The largest normalised cross-correlation of two clips' beginnings, whatever its sign.

    At delays that ``near_duplicates`` allows; 1 for a clip and a scaled or delayed copy, 0 for silence.
    """
    one, other = (clip[: SECONDS * SAMPLE_RATE].double() for clip in (one, other))
    one, other = one - one.mean(), other - other.mean()
    size = 1 << (len(one) + len(other) - 1).bit_length()
    spectrum = torch.fft.rfft(one, size) * torch.fft.rfft(other, size).conj()
    # Between the samples, too: half a sample of delay would turn 8 kHz by a quarter of its period.
    cross = FINER * torch.fft.irfft(spectrum, FINER * size)
    reach = FINER * (MOST_DELAY + SMOOTH) * HOP_SAMPLES
    best = torch.cat([cross[: reach + 1], cross[-reach:]]).abs().max()
    return float(best / (one.norm() * other.norm()).clamp(min=1e-12))
