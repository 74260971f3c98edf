"""A grammar of sound: what sounds, through which band, how loud, at what pitch, and when.

    sound = band * (amplitude(age) excitation(phase)),    phase = integral of pitch(age)

where ``age`` [T] is the time since the latest event of the pattern. Each of the five factors takes one
of a few values; a value is a label, and their combinations are thousands of different sounds.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator
from scipy import fft

from data.synth.acoustics import drift, sparse, times

PERIOD = 2048  # samples of a tabulated cycle


# ------------------------------------------------------------------------------------------ blocks


def since(onsets: np.ndarray, t: np.ndarray) -> np.ndarray:
    """[T] seconds since the latest of the onsets [N], in order; negative before the first."""
    latest = np.searchsorted(onsets, t, side="right") - 1
    return t - onsets[np.maximum(latest, 0)]


def cycles(frequency: np.ndarray | float, t: np.ndarray) -> np.ndarray:
    """[T] phase in cycles of a frequency in Hz, a number or a curve [T]."""
    if np.ndim(frequency) == 0:
        return frequency * t
    return np.cumsum(frequency) * (t[1] - t[0])


def stack(phase: np.ndarray, amplitudes: Sequence[float]) -> np.ndarray:
    """[T] cycles -> [T]: sum_k a_k sin(2 pi k phase), read from one tabulated cycle."""
    spectrum = np.zeros(PERIOD // 2 + 1, complex)
    spectrum[1 : len(amplitudes) + 1] = -0.5j * PERIOD * np.asarray(amplitudes)
    return np.fft.irfft(spectrum)[(phase * PERIOD).astype(np.int64) & (PERIOD - 1)]


def harmonics(rng: Generator, highest_hz: float, sample_rate: int, rolloff: float = 1.0) -> np.ndarray:
    """[K] random amplitudes about k^-rolloff, all below the Nyquist frequency of ``highest_hz``."""
    k = np.arange(1, 1 + int(np.clip(0.45 * sample_rate / highest_hz, 1, 60)))
    return k**-rolloff * rng.uniform(0.3, 1, len(k))


def pulses(phase: np.ndarray) -> np.ndarray:
    """[T] cycles -> [T]: one impulse wherever a cycle is completed."""
    return np.diff(np.floor(phase), prepend=np.floor(phase[0]))


def resonance(f: np.ndarray, centre_hz: float, q: float) -> np.ndarray:
    """[F] complex response of a causal resonator, 1 at its centre."""
    ratio = f / centre_hz
    return 1j * ratio / (q * (1 - ratio**2) + 1j * ratio)


def shaped(
    waveform: np.ndarray, response: Callable[[np.ndarray], np.ndarray], sample_rate: int
) -> np.ndarray:
    """[T] -> [T] through a filter, given as its response to frequencies [F] in Hz."""
    f = np.fft.rfftfreq(len(waveform), 1 / sample_rate)
    return fft.irfft(fft.rfft(waveform) * response(f), len(waveform))


def hiss(rng: Generator, t: np.ndarray) -> np.ndarray:
    """[T] white noise."""
    return rng.standard_normal(len(t))


def gently(ages: np.ndarray, attack: float) -> np.ndarray:
    """[T] rise from 0 to 1 within ``attack`` seconds of an event; 0 before the first."""
    return np.clip(ages / attack, 0, 1)


# ----------------------------------------------------------------------------------------- factors
# Each takes what it needs of: rng, t [T], ages [T], length (of an event, s), frequency [T], sample_rate.

PATTERNS = {  # events a second, and how far from strict time
    "once": None,
    "regular slow": (0.6, 2.0, 0.05),
    "regular medium": (2.0, 6.0, 0.05),
    "regular fast": (6.0, 18.0, 0.05),
    "accelerating": None,
    "random sparse": (0.8, 3.0, None),
    "random dense": (6.0, 30.0, None),
    "continuous": None,
}
MOTIONS = ("fixed", "up", "down", "vibrato", "stepped", "random walk")
EXCITATIONS = ("impulse", "sparse impulses", "pulse train", "noise", "tone", "harmonics", "partials", "chirp")
BANDS = ("low band", "mid band", "high band", "broad band", "resonant", "formants", "comb")
AMPLITUDES = ("steady", "decaying", "swelling", "slow tremolo", "fast tremolo", "gated", "irregular")
FACTORS: tuple[tuple[str, ...], ...] = (tuple(PATTERNS), MOTIONS, EXCITATIONS, BANDS, AMPLITUDES)
LABELS: tuple[str, ...] = tuple(label for factor in FACTORS for label in factor)


def events(rng: Generator, pattern: str, seconds: float) -> tuple[np.ndarray, float]:
    """Onsets [N] in order and the shortest time between two, for one of ``PATTERNS``."""
    if pattern == "continuous":
        return np.zeros(1), seconds
    if pattern == "once":
        start = rng.uniform(0, 0.5 * seconds)
        return np.array([start]), (seconds - start) * rng.uniform(0.3, 1)
    if pattern == "accelerating":
        intervals = rng.uniform(0.25, 0.5) * rng.uniform(0.78, 0.92) ** np.arange(60)
        onsets = rng.uniform(0, 0.2) + np.cumsum(np.maximum(intervals, 0.02))
        onsets = onsets[onsets < seconds]
        return (onsets if rng.random() < 0.7 else np.sort(seconds - onsets)), 0.1
    slowest, fastest, jitter = PATTERNS[pattern]
    rate = np.exp(rng.uniform(np.log(slowest), np.log(fastest)))
    if jitter is None:
        onsets = rng.uniform(0, 0.95 * seconds, max(2, rng.poisson(rate * seconds)))
    else:
        onsets = np.arange(rng.uniform(0, min(1 / rate, 0.3 * seconds)), seconds, 1 / rate)
        onsets = np.maximum(0, onsets + jitter / rate * rng.uniform(-0.5, 0.5, len(onsets)))
    return np.sort(onsets), 1 / rate


def pitch(rng: Generator, motion: str, ages: np.ndarray, length: float, t: np.ndarray) -> np.ndarray:
    """[T] octaves above the sound's own pitch."""
    course = np.clip(ages / length, 0, 1)  # of an event, from 0 to 1
    span = rng.uniform(0.3, 2)
    match motion:
        case "up":
            return span * course ** rng.uniform(0.5, 2)
        case "down":
            return span * (1 - course ** rng.uniform(0.5, 2))
        case "vibrato":
            return rng.uniform(0.03, 0.25) * np.sin(2 * np.pi * rng.uniform(4, 9) * t)
        case "stepped":
            steps = rng.uniform(0, span, 64)
            return steps[(t * rng.uniform(2, 10)).astype(int) % 64]
        case "random walk":
            return drift(rng, 0, span, rng.uniform(0.08, 0.4), t)
    return np.zeros(len(t))


def excite(
    rng: Generator, excitation: str, onsets: np.ndarray, frequency: np.ndarray, moving: bool, t: np.ndarray
) -> np.ndarray:
    """[T] of one of ``EXCITATIONS``."""
    sample_rate = round(1 / (t[1] - t[0]))
    highest = frequency.max()
    match excitation:
        case "impulse":
            train = np.zeros(len(t))
            train[np.minimum((onsets * sample_rate).astype(int), len(t) - 1)] = rng.uniform(
                0.5, 1, len(onsets)
            )
            return train
        case "sparse impulses":
            return sparse(
                rng, np.exp(rng.uniform(np.log(15), np.log(300))), len(t) / sample_rate, sample_rate
            )
        case "pulse train":
            return pulses(cycles(frequency * rng.uniform(0.05, 0.2), t))
        case "noise" if moving:  # a band that moves: slow noise on a carrier
            width = rng.uniform(20, 200)
            slow = shaped(hiss(rng, t), lambda f: 1 / (1 + 1j * f / width), sample_rate)
            return slow * stack(cycles(frequency, t), [1])
        case "noise":
            return hiss(rng, t)
        case "tone":
            return stack(cycles(frequency, t), [1, *rng.uniform(0, 0.05, 1)])
        case "harmonics":
            return stack(cycles(frequency, t), harmonics(rng, highest, sample_rate, rng.uniform(0.2, 1.5)))
        case "partials":
            ratios = np.sort(rng.uniform(1.1, 7, rng.integers(3, 6)))
            ratios = np.concatenate([[1], ratios[ratios * highest < 0.45 * sample_rate]])
            phase = cycles(frequency, t)
            return sum(rng.uniform(0.2, 1) * stack(ratio * phase + rng.uniform(), [1]) for ratio in ratios)
        case "chirp":
            sweep = (rng.uniform(3, 25) * t + rng.uniform()) % 1
            octaves = rng.uniform(1, 2) * (sweep if rng.random() < 0.5 else 1 - sweep)
            return stack(cycles(np.minimum(frequency * 2**octaves, 0.45 * sample_rate), t), [1])
    raise ValueError(f"excitation {excitation!r}; expected one of {EXCITATIONS}")


def band(rng: Generator, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The response of one of ``BANDS``."""
    centre = {"low band": (80, 400), "mid band": (500, 1800), "high band": (2500, 6500)}.get(name)
    if centre:
        centre_hz, q = np.exp(rng.uniform(*np.log(centre))), rng.uniform(0.7, 2)
        return lambda f: resonance(f, centre_hz, q) ** 2
    match name:
        case "resonant":
            centres = np.exp(rng.uniform(np.log(150), np.log(5000), rng.integers(1, 5)))
            qs = rng.uniform(15, 120, len(centres))
            return lambda f: 0.01 + sum(resonance(f, c, q) for c, q in zip(centres, qs))
        case "formants":
            centres = rng.uniform([250, 800, 2200], [900, 2300, 3500])
            return lambda f: 0.02 + sum(resonance(f, c, q) for c, q in zip(centres, (5, 9, 14)))
        case "comb":
            delay, gain = 1 / np.exp(rng.uniform(np.log(60), np.log(900))), rng.uniform(0.6, 0.95)
            return lambda f: 1 / (1 - gain * np.exp(-2j * np.pi * f * delay))
    tilt = rng.uniform(-0.3, 0.3)
    return lambda f: np.maximum(f, 50.0) ** tilt


def loudness(rng: Generator, amplitude: str, ages: np.ndarray, length: float, t: np.ndarray) -> np.ndarray:
    """[T] envelope of one of ``AMPLITUDES``."""
    held = gently(ages, 0.005) * gently(length - ages, 0.01)
    match amplitude:
        case "decaying":
            return gently(ages, 0.002) * np.exp(-np.maximum(ages, 0) / (length * rng.uniform(0.08, 0.4)))
        case "swelling":
            return gently(ages, length) ** rng.uniform(1, 3) * held
        case "slow tremolo":
            return held * (1 + rng.uniform(0.6, 1) * np.sin(2 * np.pi * rng.uniform(1.5, 5) * t))
        case "fast tremolo":
            return held * (1 + rng.uniform(0.6, 1) * np.sin(2 * np.pi * rng.uniform(9, 45) * t))
        case "gated":
            return held * ((rng.uniform(3, 25) * t) % 1 < rng.uniform(0.2, 0.7))
        case "irregular":
            return held * drift(rng, 0, 1, rng.uniform(0.03, 0.3), t) ** 2
    return held


def sentence(rng: Generator, seconds: float, sample_rate: int) -> tuple[np.ndarray, set[str]]:
    """A sound [T] of random factors, and their values."""
    t = times(seconds, sample_rate)
    excitation, name = rng.choice(EXCITATIONS), rng.choice(BANDS)
    pattern, amplitude, motion = rng.choice(list(PATTERNS)), rng.choice(AMPLITUDES), rng.choice(MOTIONS)
    labels = {excitation, name}
    if excitation == "impulse":  # has neither a pitch to move nor a length to shape
        pattern, amplitude, motion = ("once" if pattern == "continuous" else pattern), "decaying", "fixed"
        name = name if name in ("resonant", "comb", "low band") else "resonant"
        labels = {excitation, name, "decaying"}
    elif excitation == "sparse impulses":
        motion = "fixed"
    else:
        labels.add(motion)

    onsets, interval = events(rng, pattern, seconds)
    if len(onsets) == 1 and pattern != "continuous":
        pattern = "once"  # a short clip of a slow pattern
    labels |= {pattern, amplitude}
    ages = since(onsets, t)
    length = interval * (1 if pattern == "continuous" else rng.uniform(0.3, 0.95))
    octaves = pitch(rng, motion, ages, length, t)
    base = np.exp(rng.uniform(np.log(90), np.log(1800)))
    frequency = np.clip(base * 2**octaves, 40, 0.4 * sample_rate)
    waveform = excite(rng, excitation, onsets, frequency, motion != "fixed", t)
    if excitation != "impulse":
        waveform = waveform * loudness(rng, amplitude, ages, length, t)
    return shaped(waveform, band(rng, name), sample_rate), {str(label) for label in labels}
