"""What is heard behind other sounds: plain music, machines, clatter, patter, signals. No class of any set.

Each is a function ``(rng, seconds, sample_rate) -> [T]``, as in ``sounds``.
"""

from functools import lru_cache

import numpy as np
from numpy.random import Generator

from .acoustics import (
    Sound,
    background,
    beats,
    burst,
    buzz,
    drift,
    filtered,
    place,
    ring,
    silence,
    sparse,
    swept,
    times,
)


def broken_chords(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] notes of four chords in turn, plucked or held, over their roots."""
    waveform = silence(seconds, sample_rate)
    tonic = 220 * 2 ** rng.uniform(-0.5, 0.5)
    third = rng.integers(3, 5)  # minor or major
    roots = [0, *rng.choice([-5, -3, 2, 5, 7], 3)]
    beat = 60 / rng.uniform(60, 150)
    partials = np.arange(1, 9)
    strength, decays = partials ** -rng.uniform(0.5, 2), rng.uniform(0.1, 0.6) / np.sqrt(partials)
    order = rng.permutation([0, third, 7, 12])

    @lru_cache
    def note(semitones: int) -> np.ndarray:
        return ring(tonic * 2 ** (semitones / 12) * partials, strength, decays, sample_rate)

    for number, start in enumerate(np.arange(0, seconds, beat / 2)):
        root = roots[number // 8 % 4]
        for semitones in [order[number % 4], *([-12] if number % 4 == 0 else [])]:
            place(waveform, rng.uniform(0.6, 1) * note(root + semitones), start, sample_rate)
    return waveform


def steady_noise(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] a fan, a street, a crowd far away: coloured noise that comes and goes."""
    t = times(seconds, sample_rate)
    return background(rng, len(t), sample_rate, rng.uniform(0, 1)) * drift(rng, 0.5, 1, 1, t)


def hum(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] a transformer or a motor, and what air makes of it."""
    t = times(seconds, sample_rate)
    tone = buzz(rng.uniform(45, 130) * drift(rng, 0.99, 1.01, 1, t), sample_rate)
    air = filtered(rng.standard_normal(len(t)), 200, rng.uniform(1_000, 5_000), sample_rate)
    return tone / tone.std() + rng.uniform(0.1, 0.8) * air


def clatter(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] knocks and clinks of things that are put down."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, rng.uniform(0.3, 2), 0.9, seconds):
        low = rng.uniform(150, 2_500)
        knock = burst(rng, rng.uniform(0.005, 0.08), low, low * rng.uniform(1.3, 2.8), sample_rate)
        place(waveform, rng.lognormal(0, 0.6) * knock, start, sample_rate)
    return waveform


def patter(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] rain, typing or paper: many small blows."""
    blows = sparse(rng, np.exp(rng.uniform(np.log(8), np.log(800))), seconds, sample_rate)
    return filtered(blows, rng.uniform(300, 1_500), rng.uniform(3_000, 7_500), sample_rate)


def signals(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] a device that beeps, or glides from tone to tone."""
    t = times(seconds, sample_rate)
    period = rng.uniform(0.2, 1.5)
    glide = rng.uniform(0, 0.5) * np.sin(2 * np.pi * t / period)
    return swept(rng.uniform(500, 3_000) * (1 + glide), sample_rate) * (
        t % period < rng.uniform(0.3, 1) * period
    )


NOISES: tuple[Sound, ...] = (steady_noise, hum, clatter, patter, signals)
