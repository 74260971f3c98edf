"""A set in the layout of MUSAN: plain music, noises and read speech, to mix into other recordings."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from .acoustics import (
    background,
    beats,
    burst,
    buzz,
    drift,
    filtered,
    place,
    record,
    ring,
    silence,
    sparse,
    swept,
    times,
)
from .speech import MUSAN_VARIANTS, Voice, espeak_paths, say
from .voxceleb1 import LANGUAGES, draw_text
from .writing import Plan, check_size, wav_bytes

SAMPLE_RATE = 16_000
SOURCES = {"music": "fma", "noise": "free-sound", "speech": "librivox"}
KINDS = tuple(SOURCES)
SIZES = {  # recordings of each kind, and the seconds of the longest
    "tiny": (4, 4),
    "demo": (40, 20),
    "large": (300, 60),
}
WORDS_A_SECOND = 4  # at the fastest


class Recording(NamedTuple):
    """One file; what seeds its generator."""

    seed: int
    kind: int  # of KINDS
    number: int
    seconds: int  # at most

    @property
    def path(self) -> str:
        """KIND/SOURCE/KIND-SOURCE-NUMBER.wav."""
        kind = KINDS[self.kind]
        return f"{kind}/{SOURCES[kind]}/{kind}-{SOURCES[kind]}-{self.number:04d}.wav"


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
    for number, start in enumerate(np.arange(0, seconds, beat / 2)):
        root = roots[number // 8 % 4]
        for semitones in [order[number % 4], *([-12] if number % 4 == 0 else [])]:
            pitch = tonic * 2 ** ((root + semitones) / 12)
            note = ring(pitch * partials, strength, decays, sample_rate)
            place(waveform, rng.uniform(0.6, 1) * note, start, sample_rate)
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


NOISES = (steady_noise, hum, clatter, patter, signals)


def reading(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] somebody reads aloud."""
    language = LANGUAGES[rng.integers(len(LANGUAGES))]
    voice = Voice(
        language=language,
        variant=MUSAN_VARIANTS[rng.integers(len(MUSAN_VARIANTS))],
        pitch=int(rng.integers(20, 81)),
        range=int(rng.integers(20, 81)),
        rate=int(rng.integers(130, 201)),
        formant=float(rng.uniform(0.85, 1.18)),
    )
    waveform = silence(seconds, sample_rate)
    place(
        waveform,
        say(draw_text(rng, language, round(WORDS_A_SECOND * seconds)), voice, sample_rate),
        0,
        sample_rate,
    )
    return waveform


def render(recording: Recording) -> bytes:
    """The bytes of a recording's file."""
    rng = np.random.default_rng(recording)
    kind = KINDS[recording.kind]
    sound = {"music": broken_chords, "noise": NOISES[recording.number % len(NOISES)], "speech": reading}[kind]
    seconds = rng.integers(max(2, recording.seconds // 2), recording.seconds + 1)
    return wav_bytes(record(sound, rng, float(seconds), SAMPLE_RATE), SAMPLE_RATE)


def plan(size: str, seed: int) -> Plan:
    """The recordings of a size, of every kind as many."""
    check_size(size)
    espeak_paths()  # a set that cannot be spoken is not begun
    count, seconds = SIZES[size]
    clips = [Recording(seed, kind, number, seconds) for kind in range(len(KINDS)) for number in range(count)]
    return Plan({clip.path: clip for clip in clips}, render, {})
