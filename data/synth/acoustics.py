"""Building blocks of synthetic sound: noises, struck bodies, glides, patterns in time, rooms, levels.

A sound is a function ``(rng, seconds, sample_rate) -> [T]``: everything random comes from ``rng``, so
that a clip is its seed. Times are seconds, frequencies Hz, waveforms float64 ``[T]``.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.random import Generator
from scipy.interpolate import PchipInterpolator
from scipy.signal import butter, lfilter, sosfilt

Sound = Callable[[Generator, float, int], np.ndarray]  # rng, seconds, sample_rate -> [T]


def silence(seconds: float, sample_rate: int) -> np.ndarray:
    """[T] zeros."""
    return np.zeros(round(seconds * sample_rate))


def times(seconds: float, sample_rate: int) -> np.ndarray:
    """[T] times of the samples: 0, 1 / sample_rate, ..."""
    return np.arange(round(seconds * sample_rate)) / sample_rate


def filtered(noise: np.ndarray, low_hz: float, high_hz: float, sample_rate: int) -> np.ndarray:
    """[T] -> [T]: the band from ``low_hz`` to ``high_hz``, at unit RMS."""
    sos = butter(1, [low_hz, high_hz], "bandpass", fs=sample_rate, output="sos")
    band = sosfilt(sos, noise)
    return band / (band.std() + 1e-12)


def drift(rng: Generator, low: float, high: float, every: float, t: np.ndarray) -> np.ndarray:
    """[T] curve that wanders between ``low`` and ``high``, with a new goal ``every`` seconds."""
    knots = np.arange(0, t[-1] + 2 * every, every)
    return np.interp(t, knots - rng.uniform(0, every), rng.uniform(low, high, len(knots)))


def sparse(rng: Generator, rate: float, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] impulses at random times, ``rate`` a second, most weak and a few strong."""
    train = silence(seconds, sample_rate)
    times = rng.integers(len(train), size=max(1, rng.poisson(rate * seconds)))
    np.add.at(train, times, rng.lognormal(0, 1, len(times)) * rng.choice([-1, 1], len(times)))
    return train


def beats(rng: Generator, interval: float, jitter: float, seconds: float) -> np.ndarray:
    """[N] times from a random start, ``interval`` seconds apart, give or take ``jitter`` of it."""
    first = rng.uniform(0, min(interval, seconds / 2))  # so that no clip is without a sound
    times = np.arange(first, seconds, interval)
    return times + interval * jitter * rng.uniform(-0.5, 0.5, len(times)) * (times > first)


def resonator(source: np.ndarray, frequency: float, decay: float, sample_rate: int) -> np.ndarray:
    """[T] -> [T]: a mode of ``frequency`` Hz, struck by the source, dies with time constant ``decay``."""
    theta = 2 * np.pi * frequency / sample_rate
    radius = np.exp(-1 / (decay * sample_rate))
    return lfilter([0, radius * np.sin(theta)], [1, -2 * radius * np.cos(theta), radius**2], source)


def ring(
    frequencies: Sequence[float],
    amplitudes: Sequence[float],
    decays: Sequence[float],
    sample_rate: int,
) -> np.ndarray:
    """A struck body: sum_k a_k exp(-t / d_k) sin(2 pi f_k t), until the longest mode is gone."""
    struck = np.zeros(round(5 * np.max(decays) * sample_rate))
    struck[0] = 1
    modes = zip(frequencies, amplitudes, decays, strict=True)
    return sum(a * resonator(struck, f, d, sample_rate) for f, a, d in modes)


def burst(rng: Generator, decay: float, low_hz: float, high_hz: float, sample_rate: int) -> np.ndarray:
    """Filtered noise that dies away with time constant ``decay``."""
    t = times(6 * decay, sample_rate)
    noise = filtered(rng.standard_normal(len(t)), low_hz, high_hz, sample_rate)
    return noise * np.exp(-t / decay)


def place(waveform: np.ndarray, sound: np.ndarray, seconds: float, sample_rate: int) -> None:
    """Add ``sound`` to ``waveform`` from ``seconds`` on; what passes its end is lost."""
    start = max(0, round(seconds * sample_rate))
    stop = min(len(waveform), start + len(sound))
    waveform[start:stop] += sound[: max(0, stop - start)]


def swept(frequency: np.ndarray, sample_rate: int) -> np.ndarray:
    """[T] frequencies in Hz -> [T] sine of that frequency."""
    return np.sin(2 * np.pi * np.cumsum(frequency) / sample_rate)


def buzz(frequency: np.ndarray, sample_rate: int) -> np.ndarray:
    """[T] frequencies in Hz -> [T] pulses, all harmonics up to 8 kHz alike: a voice's or a reed's source."""
    top = min(8000, 0.45 * sample_rate)
    harmonics = max(1, int(top / frequency.max()))
    half = np.pi * np.cumsum(frequency) / sample_rate
    # sum_{k=1}^{n} cos(k x) = (sin((n + 1/2) x) / sin(x / 2) - 1) / 2; 0 / 0 at its peaks is 2 n + 1
    below = np.sin(half)
    peak = np.abs(below) < 1e-6
    ratio = np.sin((2 * harmonics + 1) * half) / np.where(peak, 1, below)
    return (np.where(peak, 2 * harmonics + 1, ratio) - 1) / (2 * harmonics)


def formants(
    source: np.ndarray,
    centres: Sequence[float],
    amplitudes: Sequence[float],
    sample_rate: int,
    width: float = 0.2,
) -> np.ndarray:
    """[T] -> [T]: what a throat or a tube lets through, bands of ``width`` times their centres."""
    bands = zip(centres, amplitudes, strict=True)
    return sum(a * filtered(source, f * (1 - width / 2), f * (1 + width / 2), sample_rate) for f, a in bands)


def arch(t: np.ndarray, attack: float, release: float) -> np.ndarray:
    """[T] times from 0 -> [T] envelope that rises in ``attack`` s and falls over the last ``release`` s."""
    return np.clip(np.minimum(t / attack, (t[-1] - t) / release), 0, 1)


def contour(t: np.ndarray, *values: float) -> np.ndarray:
    """[T] times -> [T] curve through ``values``, evenly spaced over ``t`` and smoothly joined."""
    knots = np.linspace(t[0], t[-1], len(values))
    return PchipInterpolator(knots, values)(t)


def background(rng: Generator, num_samples: int, sample_rate: int, colour: float) -> np.ndarray:
    """[T] noise at unit RMS whose amplitude falls as f^-colour: 0 is white, 1 brown."""
    bins = num_samples // 2 + 1
    frequency = np.maximum(np.fft.rfftfreq(num_samples, 1 / sample_rate), 20)
    spectrum = (rng.standard_normal(bins) + 1j * rng.standard_normal(bins)) * frequency**-colour
    noise = scipy.fft.irfft(spectrum, num_samples)
    return noise / noise.std()


class Scene(NamedTuple):
    """Where, and through what, a clip is recorded."""

    reverberation: float  # seconds until an echo is 60 dB down; 0 is outdoors
    wet_db: float  # energy of the echoes over that of the direct sound
    tilt: float  # the microphone's: amplitude f^tilt
    colour: float  # of the background
    snr_db: float  # sound over background


def draw_scene(rng: Generator) -> Scene:
    """A street or a room, a microphone, a background."""
    indoors = rng.random() < 0.6
    reverberation = float(np.exp(rng.uniform(np.log(0.1), np.log(1.2)))) * indoors
    return Scene(
        reverberation,
        wet_db=rng.uniform(-15, 3),
        tilt=rng.uniform(-0.3, 0.3),
        colour=rng.uniform(0, 1),
        snr_db=rng.uniform(0, 25),
    )


def transmit(waveform: np.ndarray, scene: Scene, rng: Generator, sample_rate: int) -> np.ndarray:
    """[T] -> [T]: the sound with the echoes of the scene's room, through its microphone."""
    t = times(max(scene.reverberation, 0.01), sample_rate)
    tail = rng.standard_normal(len(t)) * np.exp(-6.9 * t / t[-1])  # e^-6.9: 60 dB
    tail *= 10 ** (scene.wet_db / 20) * (scene.reverberation > 0) / np.sqrt((tail**2).sum())
    tail[0] = 1  # the direct sound
    num_samples = scipy.fft.next_fast_len(len(waveform) + len(tail), real=True)
    frequency = np.maximum(np.fft.rfftfreq(num_samples, 1 / sample_rate), 50) / 1000
    spectrum = scipy.fft.rfft(waveform, num_samples) * scipy.fft.rfft(tail, num_samples)
    return scipy.fft.irfft(spectrum * frequency**scene.tilt, num_samples)[: len(waveform)]


def record(
    sound: Sound, rng: Generator, seconds: float, sample_rate: int, scene: Scene | None = None
) -> np.ndarray:
    """A clip of a sound: [T] samples in [-1, 1], in a scene (by default a random one) and at a random level.

    Echoes, background and level are drawn alike for every sound, so that none of them tells what it is.
    """
    scene = scene or draw_scene(rng)
    waveform = transmit(sound(rng, seconds, sample_rate), scene, rng, sample_rate)
    noise = background(rng, len(waveform), sample_rate, scene.colour)
    waveform = waveform / (waveform.std() + 1e-12) + 10 ** (-scene.snr_db / 20) * noise
    peak_db = rng.uniform(-20, -1)
    return 10 ** (peak_db / 20) * waveform / np.abs(waveform).max()
