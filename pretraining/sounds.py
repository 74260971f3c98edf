"""Sounds to learn from: some eighty classes that no task has, and a grammar's thousands of sounds.

A class is a function ``(rng, seconds, sample_rate) -> [T]`` of a few lines of acoustics with wide random
parameters. ``@sound`` files it under its parent and gives it the words of the grammar that surely hold:

    @sound("electricity", "noise", "irregular")
    def tesla_coil(rng, seconds, sample_rate): ...

``make`` draws a clip and its labels: the class, its parent and those words; or the words of a sound that
``pretraining.grammar`` composes. Neither the classes of ESC-50, nor drums, nor genres are among them.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy.signal import lfilter

from data.synth.acoustics import (
    Sound,
    arch,
    beats,
    burst,
    buzz,
    contour,
    drift,
    filtered,
    formants,
    place,
    record,
    resonator,
    ring,
    silence,
    sparse,
    swept,
    times,
)
from pretraining import grammar
from pretraining.grammar import cycles, gently, harmonics, hiss, pulses, shaped, since, stack

SAMPLE_RATE = 16_000
MAX_SECONDS = 5.12
STEP = 0.08  # lengths are multiples of it: 1,280 samples, which fast Fourier transforms like
COMPOSED = 0.4  # share of the clips that the grammar composes


class Class(NamedTuple):
    """How a class sounds, and what is true of it."""

    sound: Sound
    parent: str
    words: tuple[str, ...]  # of the grammar


CLASSES: dict[str, Class] = {}


def sound(parent: str, *words: str) -> Callable[[Sound], Sound]:
    """Register a function as the class of its name."""

    def register(function: Sound) -> Sound:
        CLASSES[function.__name__.replace("_", " ")] = Class(function, parent, words)
        return function

    return register


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


# ------------------------------------------------------------------------------------- instruments


class Instrument(NamedTuple):
    """What tells an instrument from others, at any pitch."""

    low_hz: float
    high_hz: float
    rolloff: float  # harmonic k is k^-rolloff strong
    even: float = 1.0  # strength of the even harmonics
    attack: float = 0.005  # seconds
    decay: float = 0.0  # seconds; 0: held for as long as the note lasts
    vibrato: float = 0.0  # semitones
    breath: float = 0.0  # noise, as a share of the tone
    formant_hz: float = 0.0  # of its body; 0: none
    voices: int = 1  # notes at once
    slide: float = 0.0  # semitones from which a note is reached


def note(
    rng: Generator,
    instrument: Instrument,
    frequency: float,
    amplitudes: np.ndarray,
    seconds: float,
    rate: int,
) -> np.ndarray:
    """[T] one note."""
    t = times(seconds, rate)
    wobble = instrument.vibrato * gently(t - 0.15, 0.2) * np.sin(2 * np.pi * rng.uniform(4.5, 7) * t)
    bend = instrument.slide * rng.choice([-1, 1]) * np.exp(-t / 0.06)
    phase = (
        cycles(frequency * 2 ** ((wobble + bend) / 12), t) if wobble.any() or bend.any() else frequency * t
    )
    attack = instrument.attack * rng.uniform(0.5, 2)
    if instrument.decay:
        # High harmonics die first: a bright tone that decays fast over a dull one that stays.
        decay = instrument.decay * (400 / frequency) ** 0.5
        dull = stack(phase, amplitudes / np.arange(1, len(amplitudes) + 1))
        tone = stack(phase, amplitudes) * np.exp(-4 * t / decay) + dull * np.exp(-t / decay)
        return tone * gently(t, attack) * gently(t[-1] - t, 0.01)
    breath = instrument.breath * filtered(hiss(rng, t), frequency, min(8 * frequency, 7000), rate)
    return (stack(phase, amplitudes) + breath) * arch(t, attack, min(0.08, seconds / 4))


def melody(instrument: Instrument) -> Sound:
    """Notes of a random scale, at a random pace, one or several at once."""

    def play(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
        waveform = silence(seconds, sample_rate)
        scale = np.sort(rng.choice(12, rng.integers(4, 8), replace=False))
        low, high = np.log2([instrument.low_hz, instrument.high_hz])
        root = 2 ** rng.uniform(low, max(low, high - 1))
        timbre = rng.uniform(0.4, 1.6, 60)
        pace, degree = log_uniform(rng, 0.15, 0.9), rng.integers(len(scale))
        length = pace * rng.uniform(0.7, 1) if not instrument.decay else min(1.2, 3 * instrument.decay)
        for start in beats(rng, pace, rng.uniform(0, 0.2), seconds):
            if rng.random() < 0.15:  # a rest
                continue
            degree = max(0, degree + rng.integers(-2, 3))
            for voice in range(rng.integers(1, instrument.voices + 1)):
                octave, index = divmod(degree + 2 * voice, len(scale))
                frequency = min(root * 2 ** (octave + scale[index] / 12), instrument.high_hz)
                k = np.arange(1, 1 + int(min(40, 7200 / frequency)))
                amplitudes = timbre[: len(k)] * k**-instrument.rolloff
                amplitudes[1::2] *= instrument.even
                if instrument.formant_hz:
                    octaves = np.log2(k * frequency / instrument.formant_hz)
                    amplitudes *= 0.2 + np.exp(-(octaves**2))
                tone = note(rng, instrument, frequency, amplitudes, max(length, 0.08), sample_rate)
                place(waveform, rng.uniform(0.5, 1) * tone, start, sample_rate)
        if not waveform.any():  # nothing but rests
            tone = note(rng, instrument, root, timbre[:3], min(1.0, seconds), sample_rate)
            place(waveform, tone, 0, sample_rate)
        return waveform

    return play


INSTRUMENTS: dict[str, tuple[str, Instrument]] = {
    "harp": ("plucked string", Instrument(100, 1600, 1.2, attack=0.004, decay=0.6, voices=3)),
    "ukulele": (
        "plucked string",
        Instrument(260, 900, 0.9, attack=0.002, decay=0.22, formant_hz=600, voices=4),
    ),
    "sitar": (
        "plucked string",
        Instrument(120, 700, 0.3, attack=0.002, decay=0.8, formant_hz=2500, slide=1.5),
    ),
    "harpsichord": ("plucked string", Instrument(110, 1400, 0.2, attack=0.001, decay=0.35, voices=4)),
    "mandolin": ("plucked string", Instrument(200, 1300, 0.6, attack=0.001, decay=0.15, formant_hz=1800)),
    "koto": ("plucked string", Instrument(130, 1000, 0.7, even=0.5, decay=0.45, slide=0.6)),
    "violin": ("bowed string", Instrument(200, 2000, 0.8, attack=0.07, vibrato=0.4, formant_hz=2400)),
    "cello": ("bowed string", Instrument(70, 500, 0.8, attack=0.1, vibrato=0.3, formant_hz=600)),
    "erhu": (
        "bowed string",
        Instrument(290, 1200, 0.5, attack=0.05, vibrato=0.6, formant_hz=1200, slide=1.5),
    ),
    "flute": ("pipe", Instrument(260, 2000, 2.2, attack=0.06, vibrato=0.2, breath=0.25)),
    "pan pipes": ("pipe", Instrument(300, 1500, 2.5, even=0.2, attack=0.04, breath=0.9)),
    "ocarina": ("pipe", Instrument(400, 1800, 3.5, even=0.3, attack=0.03, breath=0.06, slide=0.5)),
    "pipe organ": ("pipe", Instrument(80, 1200, 0.6, attack=0.05, voices=4)),
    "trumpet": ("brass", Instrument(180, 1000, 0.4, attack=0.03, formant_hz=1300, slide=0.3)),
    "tuba": ("brass", Instrument(45, 240, 1.0, attack=0.06, formant_hz=250)),
    "french horn": ("brass", Instrument(90, 600, 1.3, attack=0.06, formant_hz=450)),
    "clarinet": ("reed", Instrument(150, 1500, 0.7, even=0.08, attack=0.03)),
    "oboe": ("reed", Instrument(250, 1400, 0.2, attack=0.03, vibrato=0.25, formant_hz=1200)),
    "bassoon": ("reed", Instrument(60, 500, 0.4, attack=0.03, formant_hz=480)),
    "harmonica": ("reed", Instrument(260, 1600, 0.5, attack=0.03, vibrato=0.2, breath=0.1, voices=3)),
    "accordion": ("reed", Instrument(130, 1200, 0.3, even=0.7, attack=0.04, voices=4)),
    "kazoo": (
        "reed",
        Instrument(120, 500, 0.1, attack=0.02, vibrato=0.3, breath=0.2, formant_hz=900, slide=2),
    ),
    "kalimba": ("struck bar", Instrument(200, 1100, 2.8, attack=0.002, decay=0.4)),
    "music synthesizer": ("electronic", Instrument(80, 1500, 1.0, attack=0.002, slide=12)),
}
for _name, (_parent, _instrument) in INSTRUMENTS.items():
    _length = "decaying" if _instrument.decay else "steady"
    CLASSES[_name] = Class(melody(_instrument), _parent, ("harmonics", "stepped", _length))


def struck(
    rng: Generator, ratios: np.ndarray, frequency: float, decay: float, sample_rate: int
) -> np.ndarray:
    """[T] a bar, plate or bowl: inharmonic modes, of which high ones die first."""
    frequencies = frequency * np.asarray(ratios) * rng.uniform(0.99, 1.01, len(ratios))
    frequencies = frequencies[frequencies < 0.45 * sample_rate]
    strengths = rng.uniform(0.3, 1, len(frequencies))
    return ring(frequencies, strengths, decay / np.sqrt(np.arange(1, len(frequencies) + 1)), sample_rate)


def strikes(
    rng: Generator, ratios, pitches: np.ndarray, decay: float, pace: float, seconds: float, sample_rate: int
) -> np.ndarray:
    """[T] blows on bodies of the given pitches [N], one of them at a time, about ``pace`` seconds apart."""
    waveform = silence(seconds, sample_rate)
    bodies = [struck(rng, ratios, pitch, decay, sample_rate) for pitch in pitches]
    for start in beats(rng, pace, rng.uniform(0, 0.5), seconds):
        place(waveform, rng.uniform(0.3, 1) * bodies[rng.integers(len(bodies))], start, sample_rate)
    return waveform


@sound("struck bar", "partials", "decaying")
def glockenspiel(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Steel bars, high and clear: modes of a free bar."""
    pitches = rng.uniform(800, 1100) * 2 ** (rng.choice(20, 4) / 12)
    pace = log_uniform(rng, 0.15, 0.7)
    return strikes(rng, [1, 2.756, 5.404], pitches, rng.uniform(0.2, 0.5), pace, seconds, sample_rate)


@sound("struck bar", "partials", "decaying")
def marimba(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Wooden bars tuned to a double octave, short and warm."""
    pitches = rng.uniform(130, 300) * 2 ** (rng.choice(20, 5) / 12)
    pace = log_uniform(rng, 0.1, 0.6)
    return strikes(rng, [1, 3.93, 9.2], pitches, rng.uniform(0.06, 0.18), pace, seconds, sample_rate)


@sound("struck metal", "partials", "decaying")
def steel_drum(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A pan's notes: octave and twelfth that swell after the fundamental."""
    pitches = rng.uniform(200, 350) * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 12, 14], 4) / 12)
    pace, decay = log_uniform(rng, 0.12, 0.6), rng.uniform(0.12, 0.3)
    return np.tanh(strikes(rng, [1, 2, 3.01, 4.03, 5.1], pitches, decay, pace, seconds, sample_rate))


@sound("struck metal", "partials", "decaying", "low band")
def gong(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A bronze plate: many low modes, and a shimmer that blooms late."""
    waveform = silence(seconds, sample_rate)
    ratios = np.sort(rng.uniform(1, 9, 10))
    body = struck(rng, ratios, rng.uniform(60, 160), rng.uniform(0.6, 1), sample_rate)
    t = times(len(body) / sample_rate, sample_rate)
    shimmer = filtered(hiss(rng, t), 800, 3000, sample_rate) * (t / 0.3) * np.exp(-t / 0.4)
    for start in beats(rng, rng.uniform(1.5, 4), 0.2, seconds):
        place(waveform, body / body.std() + rng.uniform(0.1, 0.6) * shimmer, start, sample_rate)
    return waveform


@sound("struck metal", "partials", "steady", "continuous", "slow tremolo")
def singing_bowl(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A rubbed bowl: pairs of modes that beat slowly."""
    t = times(seconds, sample_rate)
    base = rng.uniform(180, 600)
    waveform = np.zeros(len(t))
    for ratio, strength in zip((1, 2.77, 5.1), (1, rng.uniform(0.2, 0.7), rng.uniform(0, 0.3))):
        beating = rng.uniform(1, 5)
        waveform += strength * (stack(base * ratio * t, [1]) + stack((base * ratio + beating) * t, [0.8]))
    return waveform * (0.4 + 0.6 * gently(t, rng.uniform(0.1, 2)))


@sound("struck metal", "partials", "decaying", "random dense", "high band")
def wind_chimes(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Small tubes that a breeze knocks together at random."""
    waveform = silence(seconds, sample_rate)
    pitches = rng.uniform(900, 2200) * np.cumprod(rng.uniform(1.05, 1.25, 6))
    tubes = [struck(rng, [1, 2.76], p, rng.uniform(0.1, 0.4), sample_rate) for p in pitches]
    for start in rng.uniform(0, seconds, max(3, rng.poisson(rng.uniform(3, 10) * seconds))):
        place(waveform, rng.lognormal(-0.5, 0.6) * tubes[rng.integers(6)], start, sample_rate)
    return waveform


@sound("struck metal", "partials", "decaying", "high band")
def triangle(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A bent steel rod: dense high modes that ring on."""
    ratios = np.sort(rng.uniform(1, 3.5, 7))
    pace = log_uniform(rng, 0.3, 2)
    pitches = [rng.uniform(1500, 2800)]
    return strikes(rng, ratios, pitches, rng.uniform(0.3, 0.8), pace, seconds, sample_rate)


@sound("struck wood", "partials", "decaying", "impulse")
def wood_block(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A hollow block, hit in a steady pattern: two or three short modes."""
    pitches = rng.uniform(500, 1200) * np.array([1, rng.uniform(1.1, 1.5)])
    ratios, pace = [1, rng.uniform(1.4, 1.9), rng.uniform(2.3, 3)], log_uniform(rng, 0.12, 0.6)
    return strikes(rng, ratios, pitches, rng.uniform(0.01, 0.03), pace, seconds, sample_rate)


@sound("struck wood", "impulse", "decaying")
def castanets(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Rolls and single clicks of two hard shells."""
    waveform = silence(seconds, sample_rate)
    click = struck(rng, [1, 1.6, 2.3], rng.uniform(1100, 2300), rng.uniform(0.004, 0.012), sample_rate)
    for start in beats(rng, rng.uniform(0.25, 0.8), 0.1, seconds):
        for hit in range(rng.choice([1, 1, 2, 4, 8])):
            place(waveform, rng.uniform(0.5, 1) * click, start + hit * rng.uniform(0.045, 0.07), sample_rate)
    return waveform


@sound("struck wood", "pulse train", "decaying")
def guiro(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A stick drawn over the ridges of a gourd: a run of clicks that speeds up."""
    t = times(seconds, sample_rate)
    onsets = beats(rng, rng.uniform(0.3, 1.2), 0.1, seconds)
    ages = since(onsets, t)
    length = rng.uniform(0.12, 0.4)
    ridges = cycles(rng.uniform(40, 120) * (1 + np.clip(ages / length, 0, 1)), t)
    scrape = pulses(ridges) * (ages > 0) * (ages < length)
    centre, decay = rng.uniform(1500, 3500), rng.uniform(0.002, 0.005)
    return resonator(scrape, centre, decay, sample_rate) + resonator(scrape, 1.7 * centre, decay, sample_rate)


@sound("struck wood", "pulse train", "regular fast", "resonant")
def ratchet(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A cog that lifts a tongue: loud clicks at a turning hand's speed."""
    t = times(seconds, sample_rate)
    speed = rng.uniform(12, 35) * drift(rng, 0.7, 1.2, 0.5, t)
    clicks = pulses(cycles(speed, t)) * (drift(rng, -0.5, 1, 0.7, t) > -0.1)
    clicks[len(clicks) // 2] = 1
    centres = rng.uniform(600, 4500, 3)
    return sum(resonator(clicks, centre, rng.uniform(0.003, 0.01), sample_rate) for centre in centres)


@sound("pipe", "harmonics", "continuous", "formants")
def didgeridoo(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A drone at 60 to 90 Hz whose formants the mouth moves in rhythm."""
    t = times(seconds, sample_rate)
    base = rng.uniform(55, 95)
    source = buzz(base * drift(rng, 0.99, 1.01, 0.3, t), sample_rate)
    mouth = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(1, 4) * t + rng.uniform(0, 6))
    closed = formants(source, [base * 3, 400], [1, 0.5], sample_rate)
    opened = formants(source, rng.uniform([600, 1200], [900, 2200]), [1, 0.8], sample_rate)
    return closed * (1.2 - mouth) + opened * mouth


@sound("pipe", "tone", "up")
def slide_whistle(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A whistle whose piston glides up and down."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, rng.uniform(0.7, 2), 0.3, seconds):
        t = times(rng.uniform(0.4, 1.2), sample_rate)
        low, octaves = rng.uniform(350, 900), rng.uniform(0.7, 1.6)
        glide = contour(t, *rng.permutation([0, octaves, 0.2 * octaves]))
        tone = swept(low * 2**glide, sample_rate) + 0.05 * hiss(rng, t)
        place(waveform, tone * arch(t, 0.03, 0.05), start, sample_rate)
    return waveform


@sound("reed", "harmonics", "continuous", "stepped", "steady")
def bagpipe(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A chanter over drones an octave and two below, without a pause."""
    t = times(seconds, sample_rate)
    tonic = rng.uniform(400, 520)
    scale = tonic * np.array([8 / 9, 1, 9 / 8, 5 / 4, 4 / 3, 3 / 2, 5 / 3, 16 / 9, 2])
    steps = scale[rng.integers(0, 9, 64)][(t * rng.uniform(2, 7)).astype(int)]
    chanter = stack(cycles(steps, t), harmonics(rng, 1040, sample_rate, 0.3))
    drones = stack(tonic / 2 * t, harmonics(rng, 260, sample_rate, 0.8))
    drones += stack(tonic / 4.01 * t, harmonics(rng, 130, sample_rate, 0.8))
    return chanter + rng.uniform(0.2, 0.7) * drones


@sound("electronic", "tone", "vibrato", "continuous")
def theremin(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A near-sine that glides between notes with a wide vibrato."""
    t = times(seconds, sample_rate)
    octaves = drift(rng, 0, 1.5, rng.uniform(0.3, 0.9), t)
    octaves = octaves + rng.uniform(0.02, 0.06) * np.sin(2 * np.pi * rng.uniform(5, 7.5) * t)
    phase = cycles(rng.uniform(150, 600) * 2**octaves, t)
    return stack(phase, [1, rng.uniform(0.05, 0.4), rng.uniform(0, 0.2)]) * drift(rng, 0.3, 1, 0.5, t)


@sound("electronic", "down", "chirp")
def laser_zap(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Tones that fall several octaves in a fraction of a second."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, log_uniform(rng, 0.15, 1.2), 0.5, seconds):
        t = times(rng.uniform(0.1, 0.5), sample_rate)
        frequency = rng.uniform(80, 300) + rng.uniform(2000, 6000) * np.exp(-t / rng.uniform(0.03, 0.15))
        zap = np.tanh(rng.uniform(0.5, 6) * swept(frequency, sample_rate))
        place(waveform, zap * arch(t, 0.002, 0.05), start, sample_rate)
    return waveform


@sound("electronic", "harmonics", "stepped", "up")
def arcade_game(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Square-wave arpeggios that jump up, as an early game chip played them."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, rng.uniform(0.4, 1.5), 0.5, seconds):
        t = times(rng.uniform(0.15, 0.6), sample_rate)
        steps = np.cumsum(rng.choice([3, 4, 5, 7], 24))
        semitones = steps[(t * rng.uniform(10, 30)).astype(int)] % 30
        phase = cycles(rng.uniform(200, 600) * 2 ** (semitones / 12), t)
        place(
            waveform, np.sign(phase % 1 - rng.uniform(0.15, 0.5)) * arch(t, 0.002, 0.02), start, sample_rate
        )
    return waveform


# ------------------------------------------------------------------------------------ calls of the wild


def call(
    rng: Generator, frequency: np.ndarray, centres: list[float], roughness: float, sample_rate: int
) -> np.ndarray:
    """[T] a throat: pulses of a moving pitch [T], rough with noise, through formants."""
    source = buzz(frequency, sample_rate) + roughness * 0.3 * rng.standard_normal(len(frequency))
    return formants(source, centres, rng.uniform(0.4, 1, len(centres)), sample_rate, width=0.5)


@sound("wild call", "tone", "low band", "steady")
def owl_hoot(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Soft low hoots in groups, of which the last is drawn out."""
    waveform = silence(seconds, sample_rate)
    pitch = rng.uniform(230, 480)
    start = rng.uniform(0, 0.3 * seconds)
    while start < seconds:
        for hoot in range(count := rng.integers(2, 5)):
            t = times(rng.uniform(0.12, 0.25) * (2 if hoot == count - 1 else 1), sample_rate)
            tone = stack(cycles(pitch * contour(t, 0.95, 1.02, 0.93), t), [1, 0.1, 0.04])
            place(waveform, tone * arch(t, 0.04, 0.06), start, sample_rate)
            start += t[-1] + rng.uniform(0.06, 0.2)
        start += rng.uniform(0.6, 1.5)
    return waveform


@sound("wild call", "harmonics", "low band", "random walk")
def whale_moan(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Long glides at the bottom of a deep, echoing space."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, rng.uniform(1, 2.5), 0.3, seconds):
        t = times(rng.uniform(0.8, 2.2), sample_rate)
        frequency = rng.uniform(70, 300) * contour(t, *rng.uniform(0.7, 2, 4))
        moan = stack(cycles(frequency, t), [1, rng.uniform(0, 0.6), rng.uniform(0, 0.4)])
        for echo in range(3):
            place(waveform, 0.5**echo * moan * arch(t, 0.2, 0.4), start + 0.31 * echo, sample_rate)
    return waveform


@sound("wild call", "impulse", "regular fast", "decaying", "resonant")
def woodpecker(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Rolls of ten to twenty blows a second on a dead trunk, fading."""
    waveform = silence(seconds, sample_rate)
    trunk = struck(rng, [1, 1.8, 2.9, 4.1], rng.uniform(350, 1100), rng.uniform(0.006, 0.02), sample_rate)
    for start in beats(rng, rng.uniform(1.2, 3), 0.3, seconds):
        blows = rng.integers(6, 20)
        rate = rng.uniform(11, 22)
        for blow in range(blows):
            place(waveform, (1 - 0.7 * blow / blows) * trunk, start + blow / rate, sample_rate)
    return waveform


@sound("wild call", "harmonics", "swelling")
def wolf_howl(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A voice that climbs, holds, and sinks; sometimes a pack."""
    waveform = silence(seconds, sample_rate)
    for _ in range(rng.integers(1, 4)):
        t = times(rng.uniform(0.6, 0.95) * min(seconds, 4), sample_rate)
        climb = contour(t, 0.55, 0.95, 1, rng.uniform(0.95, 1.05), 0.7)
        phase = cycles(rng.uniform(350, 800) * climb * drift(rng, 0.99, 1.01, 0.1, t), t)
        howl = stack(phase, [1, rng.uniform(0.1, 0.6), rng.uniform(0, 0.3), 0.05])
        place(waveform, howl * arch(t, 0.3, 0.4), rng.uniform(0, 0.4) * seconds, sample_rate)
    return waveform


@sound("wild call", "harmonics", "formants", "up")
def elephant_trumpet(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A blast through a long nose, bright and rough."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, rng.uniform(1.2, 3), 0.3, seconds):
        t = times(rng.uniform(0.5, 1.2), sample_rate)
        frequency = rng.uniform(280, 520) * contour(t, 0.7, 1.2, 1.3, 0.9) * drift(rng, 0.95, 1.05, 0.02, t)
        blast = call(rng, frequency, [700, 1500, 3000], rng.uniform(0.3, 1), sample_rate)
        place(waveform, np.tanh(2 * blast) * arch(t, 0.04, 0.2), start, sample_rate)
    return waveform


@sound("wild call", "pulse train", "chirp", "high band")
def dolphin(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Trains of clicks that speed up, and whistles that rise and fall."""
    t = times(seconds, sample_rate)
    clicks = pulses(cycles(drift(rng, 8, 120, 0.5, t), t)) * (drift(rng, -1, 1, 0.4, t) > -0.2)
    clicks[len(clicks) // 3] = 1
    waveform = 5 * resonator(clicks, rng.uniform(3500, 6500), 0.001, sample_rate)
    for start in beats(rng, rng.uniform(0.5, 1.5), 0.5, seconds):
        t = times(rng.uniform(0.2, 0.7), sample_rate)
        whistle = swept(rng.uniform(2500, 4500) * contour(t, *rng.uniform(0.8, 1.6, 4)), sample_rate)
        place(waveform, whistle * arch(t, 0.03, 0.05), start, sample_rate)
    return waveform


@sound("wild call", "harmonics", "formants", "regular slow")
def donkey_bray(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A creaking breath in, a bellow out, again and again."""
    waveform = silence(seconds, sample_rate)
    pace = rng.uniform(0.8, 1.4)
    low, high = rng.uniform(120, 220), rng.uniform(500, 800)
    for start in beats(rng, pace, 0.1, seconds):
        for offset, pitch, rough in ((0, high, 1.5), (0.45 * pace, low, 0.6)):
            t = times(0.4 * pace, sample_rate)
            frequency = pitch * contour(t, 0.9, 1.1, 0.85)
            breath = call(rng, frequency, [600, 1100, 2600], rough, sample_rate)
            place(waveform, breath * arch(t, 0.05, 0.1), start + offset, sample_rate)
    return waveform


@sound("wild call", "noise", "high band", "swelling")
def snake_hiss(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Breath between fangs: long soft bursts of high noise."""
    waveform = silence(seconds, sample_rate)
    low = rng.uniform(2500, 4000)
    for start in beats(rng, rng.uniform(1, 2.5), 0.3, seconds):
        t = times(rng.uniform(0.6, 1.8), sample_rate)
        breath = filtered(hiss(rng, t), low, 7500, sample_rate) * drift(rng, 0.5, 1, 0.1, t)
        place(waveform, breath * arch(t, 0.3, 0.3), start, sample_rate)
    return waveform


@sound("wild call", "harmonics", "formants", "low band", "fast tremolo")
def lion_roar(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A growl at 30 to 70 pulses a second that opens into a roar."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, rng.uniform(1.5, 3), 0.3, seconds):
        t = times(rng.uniform(0.8, 1.8), sample_rate)
        frequency = rng.uniform(80, 160) * contour(t, 0.8, 1.2, 0.7)
        roar = call(rng, frequency, [250, 550, 1000], rng.uniform(1.5, 4), sample_rate)
        flutter = 1 + 0.8 * np.sin(2 * np.pi * rng.uniform(18, 40) * t)
        place(waveform, roar * flutter * arch(t, 0.2, 0.5), start, sample_rate)
    return waveform


@sound("wild call", "harmonics", "up", "accelerating")
def gibbon_whoop(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Whoops that rise an octave, faster and faster."""
    waveform = silence(seconds, sample_rate)
    start, pace = rng.uniform(0, 0.3), rng.uniform(0.5, 0.9)
    low = rng.uniform(400, 700)
    while start < seconds:
        t = times(0.8 * pace, sample_rate)
        phase = cycles(low * 2 ** (rng.uniform(0.7, 1.1) * (t / t[-1]) ** 2), t)
        place(waveform, stack(phase, [1, 0.3, 0.1]) * arch(t, 0.04, 0.04), start, sample_rate)
        start, pace = start + pace, max(0.12, pace * rng.uniform(0.82, 0.92))
    return waveform


# ------------------------------------------------------------------------------- signals and telephony


@sound("telephony", "tone", "gated", "fixed")
def morse_code(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A keyed tone: dots, dashes of three dots, gaps of one or three."""
    waveform = silence(seconds, sample_rate)
    dot, frequency = rng.uniform(0.04, 0.12), rng.uniform(350, 1100)
    start = rng.uniform(0, 2 * dot)
    while start < seconds:
        t = times(dot * rng.choice([1, 3]), sample_rate)
        place(waveform, stack(frequency * t, [1]) * arch(t, 0.004, 0.004), start, sample_rate)
        start += t[-1] + dot * rng.choice([1, 1, 1, 3])
    return waveform


@sound("telephony", "tone", "steady", "fixed", "mid band")
def dial_tone(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Two steady tones, without end or in the long pulses of ringing and busy lines."""
    t = times(seconds, sample_rate)
    low, high = [(350, 440), (440, 480), (480, 620), (425, 425), (400, 450)][rng.integers(5)]
    on, off = [(9, 0), (0.5, 0.5), (0.25, 0.25), (0.9, 0.6)][rng.integers(4)]
    line = (t + rng.uniform(0, on)) % (on + off) < on
    tones = (stack(low * t, [1, 0.03]) + stack(high * t, [1, 0.03])) * line
    return tones + rng.uniform(0, 0.05) * filtered(hiss(rng, t), 300, 3400, sample_rate)


@sound("telephony", "tone", "stepped", "gated")
def touch_tones(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Dialled digits: one of four low tones with one of four high ones."""
    waveform = silence(seconds, sample_rate)
    length, rows, columns = rng.uniform(0.06, 0.2), (697, 770, 852, 941), (1209, 1336, 1477, 1633)
    for start in beats(rng, length + rng.uniform(0.05, 0.3), rng.uniform(0, 0.6), seconds):
        t = times(length, sample_rate)
        digit = stack(rows[rng.integers(4)] * t, [1]) + stack(columns[rng.integers(4)] * t, [1])
        place(waveform, digit * arch(t, 0.003, 0.003), start, sample_rate)
    return waveform


@sound("telephony", "noise", "stepped", "continuous", "mid band")
def modem(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A handshake: answer tone, fast keying between two tones, and the roar of data."""
    t = times(seconds, sample_rate)
    bits = rng.integers(0, 2, 4096)[(t * rng.choice([50, 110, 300])).astype(int) % 4096]
    keyed = stack(cycles(rng.uniform(900, 1400) + rng.uniform(150, 1000) * bits, t), [1])
    roar = filtered(hiss(rng, t), 600, 2800, sample_rate)
    answer = stack(rng.choice([1300, 2100, 2250]) * t, [1])
    stage = (drift(rng, 0, 3, rng.uniform(0.4, 1.2), t)).astype(int)
    return np.choose(np.minimum(stage, 2), [answer, keyed, roar])


@sound("telephony", "tone", "decaying", "regular slow")
def sonar_ping(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A ping into the deep and its fading echoes."""
    t = times(seconds, sample_rate)
    ages = since(beats(rng, rng.uniform(1.2, 3), 0, seconds), t)
    ping = gently(ages, 0.01) * np.exp(-np.maximum(ages, 0) / rng.uniform(0.1, 0.5))
    tone = stack(cycles(rng.uniform(600, 2500) * (1 + 0.02 * np.exp(-np.maximum(ages, 0))), t), [1])
    echo = round(rng.uniform(0.2, 0.5) * sample_rate)
    waveform = ping * tone
    waveform[echo:] += rng.uniform(0.1, 0.5) * waveform[:-echo]
    return waveform


@sound("telephony", "noise", "random walk", "irregular", "continuous")
def radio_tuning(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Static between stations, with heterodyne whistles that sweep through zero."""
    t = times(seconds, sample_rate)
    detune = drift(rng, -1, 1, rng.uniform(0.3, 1), t)
    whistle = stack(cycles(200 + 3000 * np.abs(detune), t), [1, 0.2]) * np.exp(-4 * detune**2)
    static = filtered(hiss(rng, t), 200, 5000, sample_rate) * drift(rng, 0.2, 1, 0.15, t)
    crashes = filtered(sparse(rng, rng.uniform(5, 40), seconds, sample_rate), 200, 5000, sample_rate)
    return static + rng.uniform(0.5, 2) * whistle + 0.5 * crashes


@sound("telephony", "partials", "decaying", "once")
def typewriter_bell(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """The small bell at the end of a line, and the carriage's ratchet back."""
    waveform = silence(seconds, sample_rate)
    bell = struck(rng, [1, 2.4, 4.6], rng.uniform(1400, 2300), rng.uniform(0.15, 0.5), sample_rate)
    teeth = struck(rng, [1, 1.7], rng.uniform(1000, 3000), 0.004, sample_rate)
    start = rng.uniform(0, 0.4) * seconds
    place(waveform, bell, start, sample_rate)
    for tooth in range(rng.integers(15, 50)):
        place(waveform, rng.uniform(0.1, 0.4) * teeth, start + 0.5 + 0.013 * tooth, sample_rate)
    return waveform


@sound("telephony", "tone", "random walk", "continuous")
def metal_detector(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A buzzing tone whose pitch and level leap up over finds."""
    t = times(seconds, sample_rate)
    find = np.clip(drift(rng, -1, 1, rng.uniform(0.2, 0.6), t), 0, 1)
    phase = cycles(rng.uniform(80, 250) * (1 + rng.uniform(2, 6) * find), t)
    return stack(phase, [1, 0.5, 0.6, 0.3, 0.3]) * (0.15 + find)


@sound("telephony", "partials", "fast tremolo", "decaying")
def bicycle_bell(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A thumb's push that hammers a small cup a dozen times."""
    waveform = silence(seconds, sample_rate)
    cup = struck(rng, [1, 2.7, 4.3], rng.uniform(1200, 2200), rng.uniform(0.1, 0.4), sample_rate)
    for start in beats(rng, rng.uniform(0.8, 2.5), 0.5, seconds):
        for tap in range(rng.integers(5, 14)):
            place(waveform, rng.uniform(0.4, 1) * cup, start + tap / rng.uniform(18, 26), sample_rate)
    return waveform


# ------------------------------------------------------------------------------- motors and workshops


def motor(
    rng: Generator, speed: np.ndarray | float, t: np.ndarray, rolloff: float, grit: float
) -> np.ndarray:
    """[T] a rotor of ``speed`` turns a second: harmonics with sidebands, and noise that it modulates."""
    phase = cycles(speed, t)
    sample_rate = round(1 / (t[1] - t[0]))
    hum = stack(phase, harmonics(rng, np.max(speed), sample_rate, rolloff))
    noise = filtered(hiss(rng, t), rng.uniform(200, 800), rng.uniform(2000, 6000), sample_rate)
    return hum / hum.std() + grit * noise * (1 + 0.5 * stack(phase, [1]))


@sound("appliance", "noise", "continuous", "steady", "low band")
def fan(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Blades through air: soft low noise with a faint tone of the passing blades."""
    t = times(seconds, sample_rate)
    blades = rng.uniform(30, 120) * drift(rng, 0.99, 1.01, 1, t)
    air = filtered(hiss(rng, t), 50, rng.uniform(400, 1200), sample_rate)
    return air * (1 + rng.uniform(0, 0.3) * stack(cycles(rng.uniform(1, 8), t), [1])) + rng.uniform(
        0.05, 0.4
    ) * stack(cycles(blades, t), [1, 0.5, 0.2])


@sound("appliance", "harmonics", "continuous", "steady", "fixed", "low band")
def refrigerator_hum(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A compressor at mains speed with a rattle in its casing."""
    t = times(seconds, sample_rate)
    speed = rng.choice([50, 60]) * rng.uniform(0.93, 0.99) / rng.choice([1, 2])
    hum = stack(speed * t, rng.uniform(0.1, 1, 10) * np.arange(1, 11) ** -0.7)
    rattle = filtered(pulses(speed * t) * rng.uniform(0, 1, len(t)), 400, 2500, sample_rate)
    return hum + rng.uniform(0, 0.3) * rattle


@sound("electricity", "harmonics", "continuous", "steady", "fixed", "low band")
def transformer_hum(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Twice the mains frequency and its multiples, exactly steady."""
    t = times(seconds, sample_rate)
    hum = stack(rng.choice([100, 120]) * t, rng.uniform(0, 1, 12) * np.arange(1, 13) ** -rng.uniform(0.3, 1))
    return hum + rng.uniform(0, 0.1) * hiss(rng, t)


@sound("appliance", "pulse train", "regular fast", "resonant")
def sewing_machine(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Needle and hook in turn, as fast as the pedal is down."""
    t = times(seconds, sample_rate)
    speed = 16 * np.clip(drift(rng, -0.2, 1.2, rng.uniform(0.5, 1.2), t), 0.05, 1) * rng.uniform(0.5, 1)
    phase = cycles(speed, t)
    stitches = pulses(phase) + rng.uniform(0.3, 0.8) * pulses(phase + rng.uniform(0.3, 0.6))
    metal = sum(
        resonator(stitches, f, rng.uniform(0.004, 0.02), sample_rate) for f in rng.uniform(300, 4000, 3)
    )
    return metal / metal.std() + 0.3 * motor(rng, 8 * speed, t, 1.0, 0.3)


@sound("workshop", "harmonics", "continuous", "random walk")
def drill(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """An electric drill: gears that whine up, labour, and stop."""
    t = times(seconds, sample_rate)
    pressed = np.clip(3 * drift(rng, -0.3, 1, rng.uniform(0.5, 1.5), t), 0.02, 1)
    speed = rng.uniform(250, 700) * (0.3 + 0.7 * pressed) * drift(rng, 0.95, 1, 0.15, t)
    return motor(rng, speed, t, rng.uniform(0.3, 1), rng.uniform(0.2, 1)) * pressed


@sound("workshop", "partials", "continuous", "high band")
def lathe(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A spindle's low turn with a tool that squeals in metal."""
    t = times(seconds, sample_rate)
    turn = rng.uniform(8, 30)
    squeal = drift(rng, 0, 1, 0.2, t) ** 2 * (1 + 0.6 * stack(turn * t, [1]))
    pitch = cycles(rng.uniform(1500, 3500) * drift(rng, 0.99, 1.01, 0.1, t), t)
    tool = stack(pitch, [1, 0.4]) + stack(1.37 * pitch, [0.5])
    return motor(rng, 4 * turn, t, 0.8, 0.5) + rng.uniform(1, 3) * squeal * tool


@sound("pressure", "harmonics", "up", "once")
def hydraulic_lift(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A pump whose pitch climbs with its load, then a valve's hiss."""
    t = times(seconds, sample_rate)
    stop = rng.uniform(0.5, 0.85) * seconds
    pump = motor(
        rng, rng.uniform(90, 220) * (1 + rng.uniform(0.2, 0.8) * np.minimum(t / stop, 1)), t, 0.5, 0.4
    )
    valve = filtered(hiss(rng, t), 1500, 6000, sample_rate) * np.exp(-np.maximum(t - stop, 0) / 0.25)
    return np.where(t < stop, pump, rng.uniform(0.5, 2) * valve)


@sound("appliance", "harmonics", "continuous", "random walk")
def quadcopter(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Four small rotors, each at its own changing speed."""
    t = times(seconds, sample_rate)
    lift = rng.uniform(140, 260) * drift(rng, 0.85, 1.15, rng.uniform(0.3, 1), t)
    amplitudes = harmonics(rng, 400, sample_rate, 0.6)[:14]
    rotors = sum(stack(cycles(lift * drift(rng, 0.95, 1.05, 0.2, t), t), amplitudes) for _ in range(4))
    return rotors * drift(rng, 0.3, 1, 1, t) + 0.3 * filtered(hiss(rng, t), 500, 5000, sample_rate)


@sound("appliance", "pulse train", "continuous", "steady")
def electric_shaver(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Blades that buzz at 50 to 120 strokes a second and catch on stubble."""
    t = times(seconds, sample_rate)
    buzzing = shaped(
        pulses(cycles(rng.uniform(50, 120) * drift(rng, 0.96, 1, 0.2, t), t)),
        grammar.band(rng, "resonant"),
        sample_rate,
    )
    stubble = filtered(sparse(rng, rng.uniform(50, 300), seconds, sample_rate), 2000, 7000, sample_rate)
    return buzzing / buzzing.std() + rng.uniform(0.2, 0.8) * stubble * drift(rng, 0, 1, 0.3, t)


@sound("appliance", "noise", "harmonics", "continuous")
def blender(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A howling motor in a jar of chunks."""
    t = times(seconds, sample_rate)
    speed = rng.uniform(120, 320) * drift(rng, 0.85, 1.05, 0.3, t) * (0.4 + 0.6 * gently(t, 0.4))
    chunks = filtered(sparse(rng, rng.uniform(10, 60), seconds, sample_rate), 200, 1800, sample_rate)
    return motor(rng, speed, t, 0.2, rng.uniform(0.8, 2)) + chunks


@sound("workshop", "impulse", "regular fast", "resonant", "low band")
def jackhammer(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Blows of a chisel on concrete ten to twenty-five times a second."""
    t = times(seconds, sample_rate)
    blows = pulses(cycles(rng.uniform(10, 25) * drift(rng, 0.95, 1.05, 0.3, t), t))
    steel = sum(
        resonator(blows, f, rng.uniform(0.004, 0.015), sample_rate) for f in rng.uniform(700, 4500, 3)
    )
    thud = resonator(blows, rng.uniform(60, 160), 0.02, sample_rate)
    rubble = filtered(hiss(rng, t), 500, 5000, sample_rate)
    envelope = lfilter([1], [1, -np.exp(-60 / sample_rate)], blows)
    return steel / steel.std() + thud / thud.std() + rng.uniform(0.3, 1) * rubble * envelope


@sound("workshop", "partials", "decaying", "regular medium")
def hammer_on_metal(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Blows on an anvil: bright modes, and a bounce after each."""
    waveform = silence(seconds, sample_rate)
    anvil = struck(
        rng, np.sort(rng.uniform(1, 6, 6)), rng.uniform(500, 1500), rng.uniform(0.04, 0.3), sample_rate
    )
    for start in beats(rng, rng.uniform(0.3, 1), 0.1, seconds):
        for bounce in range(rng.integers(1, 4)):
            place(waveform, 0.35**bounce * anvil, start + 0.09 * bounce, sample_rate)
    return waveform


@sound("electricity", "noise", "irregular", "continuous", "broad band")
def welding(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """An arc's frying buzz at twice the mains frequency, with spatters."""
    t = times(seconds, sample_rate)
    arc = (
        hiss(rng, t)
        * (0.3 + np.abs(np.sin(np.pi * rng.choice([100, 120]) * t)))
        * drift(rng, 0.1, 1, 0.05, t)
    )
    spatter = sparse(rng, rng.uniform(20, 120), seconds, sample_rate)
    spatter = filtered(spatter, 1500, 7000, sample_rate)
    return filtered(arc, 150, 7000, sample_rate) + rng.uniform(0.3, 1) * spatter


@sound("workshop", "noise", "regular medium", "high band")
def sanding(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Strokes of paper on wood, to and fro, each way with its own colour."""
    t = times(seconds, sample_rate)
    stroke = cycles(rng.uniform(1.2, 4) * drift(rng, 0.8, 1.2, 0.6, t), t)
    speed = np.abs(np.sin(2 * np.pi * stroke)) ** rng.uniform(0.7, 2)
    to, fro = (filtered(hiss(rng, t), rng.uniform(800, 3000), 7000, sample_rate) for _ in range(2))
    return speed * np.where(np.sin(2 * np.pi * stroke) > 0, to, rng.uniform(0.4, 1) * fro)


@sound("workshop", "noise", "random sparse", "decaying")
def stapler(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A crunch through paper, and the spring's return."""
    waveform = silence(seconds, sample_rate)
    spring = struck(rng, [1, 1.5, 2.2], rng.uniform(900, 2500), 0.01, sample_rate)
    for start in beats(rng, rng.uniform(0.5, 1.8), 0.4, seconds):
        place(waveform, burst(rng, rng.uniform(0.006, 0.02), 600, 6000, sample_rate), start, sample_rate)
        place(waveform, spring * rng.uniform(0.3, 1), start + rng.uniform(0.08, 0.2), sample_rate)
    return waveform


@sound("office", "partials", "once")
def cash_register(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Keys, a bell, and a drawer that slides and slams."""
    waveform = silence(seconds, sample_rate)
    start = rng.uniform(0, 0.25) * seconds
    for _ in range(rng.integers(1, 4)):
        place(waveform, burst(rng, 0.012, 300, 3500, sample_rate), start, sample_rate)
        start += rng.uniform(0.1, 0.2)
    bell = struck(rng, [1, 2.3, 3.9], rng.uniform(1300, 2600), rng.uniform(0.15, 0.35), sample_rate)
    t = times(rng.uniform(0.2, 0.4), sample_rate)
    place(waveform, rng.uniform(1, 2) * bell, start, sample_rate)
    place(
        waveform,
        0.3 * filtered(hiss(rng, t), 300, 2000, sample_rate) * arch(t, 0.1, 0.02),
        start,
        sample_rate,
    )
    place(waveform, 2 * burst(rng, 0.04, 80, 1200, sample_rate), start + t[-1], sample_rate)
    return waveform


# ---------------------------------------------------------------------------- pressure and electricity


@sound("pressure", "noise", "high band", "gated")
def spray_can(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Puffs of a nozzle, sometimes after the ball rattles in its can."""
    waveform = silence(seconds, sample_rate)
    low = rng.uniform(1500, 3500)
    for start in beats(rng, rng.uniform(0.4, 1.6), 0.4, seconds):
        t = times(rng.uniform(0.15, 0.8), sample_rate)
        place(
            waveform, filtered(hiss(rng, t), low, 7500, sample_rate) * arch(t, 0.01, 0.03), start, sample_rate
        )
    ball = struck(rng, [1, 1.6, 2.7], rng.uniform(1500, 3000), 0.01, sample_rate)
    for shake in range(rng.integers(0, 10)):
        place(waveform, 3 * ball, shake / rng.uniform(7, 10), sample_rate)
    return waveform


@sound("pressure", "noise", "continuous", "high band", "steady")
def steam_hiss(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A leak under pressure: steady noise with a faint whistle at its edge."""
    t = times(seconds, sample_rate)
    jet = filtered(hiss(rng, t), rng.uniform(1000, 3500), 7500, sample_rate) * drift(rng, 0.7, 1, 0.5, t)
    edge = stack(cycles(rng.uniform(2000, 5500) * drift(rng, 0.98, 1.02, 0.05, t), t), [1])
    return jet * gently(t, rng.uniform(0.05, 1)) + rng.uniform(0, 0.3) * edge


@sound("pressure", "noise", "decaying", "broad band")
def air_brake(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A lorry's valve: a sharp burst whose pitch sinks as the pressure falls."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, rng.uniform(1.2, 3), 0.4, seconds):
        t = times(rng.uniform(0.4, 1.3), sample_rate)
        dark, light = (filtered(hiss(rng, t), *edges, sample_rate) for edges in ((300, 1500), (1500, 7000)))
        fade = np.exp(-t / rng.uniform(0.1, 0.35))
        place(waveform, (light * fade + dark * np.sqrt(fade) * 0.5) * gently(t, 0.004), start, sample_rate)
    return waveform


@sound("pressure", "harmonics", "random walk", "high band")
def balloon_squeal(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Air squeezed past stretched rubber: a reed whose pitch lurches."""
    t = times(seconds, sample_rate)
    frequency = rng.uniform(700, 1500) * 2 ** drift(rng, -0.5, 0.7, rng.uniform(0.08, 0.3), t)
    squeal = stack(cycles(frequency, t), harmonics(rng, frequency.max(), sample_rate, 0.4))
    return squeal * np.clip(drift(rng, -0.3, 1, 0.25, t), 0, 1) + 0.05 * hiss(rng, t)


@sound("pressure", "noise", "continuous", "low band", "irregular")
def blowtorch(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A roaring flame: turbulent noise about a few hundred hertz."""
    t = times(seconds, sample_rate)
    roar = filtered(hiss(rng, t), rng.uniform(100, 250), rng.uniform(600, 1500), sample_rate)
    jet = filtered(hiss(rng, t), 2000, 7000, sample_rate)
    return roar * drift(rng, 0.6, 1, 0.04, t) + rng.uniform(0.1, 0.5) * jet * drift(rng, 0.7, 1, 0.3, t)


@sound("electricity", "sparse impulses", "random sparse", "broad band")
def electric_spark(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Snaps of a discharge, each with a short buzz behind it."""
    waveform = silence(seconds, sample_rate)
    for start in rng.uniform(0, 0.95 * seconds, max(1, rng.poisson(rng.uniform(1, 5) * seconds))):
        t = times(rng.uniform(0.02, 0.15), sample_rate)
        tail = pulses(t * rng.uniform(100, 500)) * hiss(rng, t)
        snap = filtered(tail, 1500, 7500, sample_rate) * np.exp(-t / 0.03)
        snap[:20] += rng.uniform(3, 10) * rng.standard_normal(20)
        place(waveform, snap, start, sample_rate)
    return waveform


@sound("electricity", "sparse impulses", "random dense", "impulse")
def geiger_counter(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Clicks of equal loudness at the times of a Poisson process."""
    rate = log_uniform(rng, 4, 80)
    clicks = silence(seconds, sample_rate)
    clicks[rng.integers(0, len(clicks), max(2, rng.poisson(rate * seconds)))] = 1
    return resonator(clicks, rng.uniform(1000, 5000), rng.uniform(0.0005, 0.002), sample_rate)


@sound("electricity", "pulse train", "irregular", "harmonics")
def tesla_coil(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Streamers fired at an audible rate: a ragged, bright buzz in bursts."""
    t = times(seconds, sample_rate)
    fired = pulses(cycles(rng.uniform(60, 400) * drift(rng, 0.98, 1.02, 0.2, t), t))
    fired *= rng.uniform(0.2, 1, len(t)) * (drift(rng, -0.5, 1, rng.uniform(0.1, 0.5), t) > -0.1)
    fired[len(t) // 2] = 1
    return filtered(lfilter([1], [1, -0.6], fired * hiss(rng, t)), 800, 7500, sample_rate)


# ----------------------------------------------------------------------------- paper, film and office


@sound("office", "noise", "stepped", "regular medium")
def printer(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A dot-matrix head: buzzing passes at the pins' rates, and the paper's feed between."""
    waveform = silence(seconds, sample_rate)
    start, pins = 0.0, rng.uniform(150, 700)
    while start < seconds:
        t = times(rng.uniform(0.15, 0.6), sample_rate)
        head = stack(pins * rng.choice([1, 1, 1.25, 1.5]) * t, [1, 0.8, 0.7, 0.6, 0.5]) * rng.uniform(0.5, 1)
        head = head + 0.5 * filtered(hiss(rng, t), 1000, 6000, sample_rate)
        place(waveform, head * arch(t, 0.01, 0.01), start, sample_rate)
        place(waveform, burst(rng, 0.02, 200, 2500, sample_rate), start + t[-1], sample_rate)
        start += t[-1] + rng.uniform(0.03, 0.2)
    return waveform


@sound("cloth and paper", "pulse train", "up", "high band")
def zipper(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Teeth that close faster and faster: a buzz that rises."""
    waveform = silence(seconds, sample_rate)
    centre = rng.uniform(2000, 5000)
    for start in beats(rng, rng.uniform(0.6, 2), 0.4, seconds):
        t = times(rng.uniform(0.2, 0.8), sample_rate)
        course = t / t[-1] if rng.random() < 0.7 else 1 - t / t[-1]
        teeth = pulses(cycles(rng.uniform(40, 120) * (1 + 3 * course), t)) * rng.uniform(0.4, 1, len(t))
        place(
            waveform, resonator(teeth, centre, 0.002, sample_rate) * arch(t, 0.05, 0.03), start, sample_rate
        )
    return waveform


@sound("workshop", "noise", "down", "resonant")
def tape_measure(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A steel tape drawn out, ringing, and its snap back with a clack."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, rng.uniform(1, 2.5), 0.3, seconds):
        t = times(rng.uniform(0.25, 0.8), sample_rate)
        tape = shaped(hiss(rng, t), grammar.band(rng, "resonant"), sample_rate)
        place(waveform, tape / tape.std() * np.linspace(0.3, 1, len(t)), start, sample_rate)
        place(waveform, 5 * burst(rng, 0.01, 500, 5000, sample_rate), start + t[-1], sample_rate)
    return waveform


@sound("cloth and paper", "noise", "irregular", "high band")
def paper_tearing(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Fibres that part one by one along a rip of changing speed."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, rng.uniform(0.6, 2), 0.4, seconds):
        t = times(rng.uniform(0.25, 1.2), sample_rate)
        rip = sparse(rng, rng.uniform(400, 2500), len(t) / sample_rate, sample_rate)
        rip = filtered(rip, rng.uniform(600, 2000), 7500, sample_rate)
        place(waveform, rip * drift(rng, 0.2, 1, 0.06, t) * arch(t, 0.05, 0.05), start, sample_rate)
    return waveform


@sound("cloth and paper", "sparse impulses", "random sparse", "impulse")
def bubble_wrap(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Pops of small cushions, between rustles of foil."""
    waveform = silence(seconds, sample_rate)
    for start in rng.uniform(0, 0.97 * seconds, max(2, rng.poisson(rng.uniform(1.5, 7) * seconds))):
        pop = struck(rng, [1, 1.9], rng.uniform(500, 1400), rng.uniform(0.002, 0.006), sample_rate)
        place(waveform, rng.lognormal(0, 0.5) * pop, start, sample_rate)
    t = times(seconds, sample_rate)
    foil = filtered(sparse(rng, 300, seconds, sample_rate), 3000, 7500, sample_rate)
    return waveform + rng.uniform(0.02, 0.1) * foil * np.clip(drift(rng, -0.5, 1, 0.2, t), 0, 1)


@sound("cloth and paper", "noise", "swelling", "random sparse")
def page_turning(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A sheet that is lifted, swings over, and lands."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, rng.uniform(0.8, 2), 0.4, seconds):
        t = times(rng.uniform(0.25, 0.6), sample_rate)
        swing = filtered(hiss(rng, t), rng.uniform(800, 2000), 6500, sample_rate) * (t / t[-1]) ** 2
        crinkle = filtered(sparse(rng, 120, len(t) / sample_rate, sample_rate), 2000, 7000, sample_rate)
        place(waveform, (swing + 0.4 * crinkle) * arch(t, 0.05, 0.02), start, sample_rate)
        place(waveform, 0.7 * burst(rng, 0.02, 150, 1500, sample_rate), start + t[-1], sample_rate)
    return waveform


@sound("office", "impulse", "random sparse", "decaying")
def camera_shutter(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Mirror up, curtain, mirror down, and the winder's whirr."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, log_uniform(rng, 0.25, 1.8), 0.4, seconds):
        for delay in (0, rng.uniform(0.03, 0.06), rng.uniform(0.08, 0.15)):
            slap = burst(rng, rng.uniform(0.003, 0.01), 500, 6500, sample_rate)
            place(waveform, rng.uniform(0.5, 1) * slap, start + delay, sample_rate)
        t = times(0.2, sample_rate)
        winder = stack(rng.uniform(200, 500) * t, [1, 0.6, 0.5, 0.3]) * arch(t, 0.01, 0.02)
        place(waveform, 0.3 * rng.integers(2) * winder, start + 0.16, sample_rate)
    return waveform


@sound("office", "harmonics", "up", "continuous", "high band")
def tape_rewind(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Reels that speed up, and voices squeezed to a chatter."""
    t = times(seconds, sample_rate)
    speed = contour(t, 0.4, rng.uniform(0.7, 1), 1.2)
    chatter = stack(cycles(rng.uniform(1200, 2500) * speed * drift(rng, 0.6, 1.4, 0.03, t), t), [1, 0.5, 0.3])
    chatter *= drift(rng, 0, 1, 0.04, t) ** 2
    return rng.uniform(0.4, 1.5) * chatter + 0.5 * motor(rng, rng.uniform(100, 250) * speed, t, 0.8, 0.4)


@sound("cloth and paper", "noise", "regular medium", "high band")
def scissors(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Blades that slide open and snip shut."""
    waveform = silence(seconds, sample_rate)
    ratios, pitch = np.sort(rng.uniform(1, 2.5, 4)), rng.uniform(2200, 3200)
    click = struck(rng, ratios, pitch, rng.uniform(0.005, 0.02), sample_rate)
    for start in beats(rng, rng.uniform(0.25, 0.9), 0.2, seconds):
        t = times(rng.uniform(0.08, 0.2), sample_rate)
        slide = filtered(hiss(rng, t), 3000, 7500, sample_rate) * (t / t[-1])
        place(waveform, 0.4 * slide, start, sample_rate)
        place(waveform, rng.uniform(0.5, 1.5) * click, start + t[-1], sample_rate)
    return waveform


@sound("cloth and paper", "noise", "once", "irregular")
def velcro(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Thousands of hooks let go: coarse crackling noise that speeds up."""
    waveform = silence(seconds, sample_rate)
    t = times(min(rng.uniform(0.4, 1.2), 0.8 * seconds), sample_rate)
    hooks = sparse(rng, rng.uniform(200, 700), len(t) / sample_rate, sample_rate) * (0.3 + t / t[-1])
    rip = filtered(hooks, rng.uniform(300, 900), rng.uniform(3000, 7000), sample_rate)
    place(waveform, rip * arch(t, 0.03, 0.01), rng.uniform(0, seconds - t[-1]), sample_rate)
    return waveform


@sound("office", "noise", "regular slow", "fixed")
def record_run_out(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A needle in the last groove: surface noise and one click a turn."""
    t = times(seconds, sample_rate)
    turn = rng.choice([33.3, 45, 78]) / 60
    scratch = pulses(turn * t + rng.uniform(0.1, 0.9))
    dust = np.concatenate([sparse(rng, 25, 1 / turn, sample_rate)] * 8)[: len(t)]  # the same on every turn
    dust = np.pad(dust, (0, len(t) - len(dust)))
    clicks = filtered(4 * scratch + dust, 400, 6000, sample_rate)
    return clicks + rng.uniform(0.1, 0.4) * filtered(hiss(rng, t), 40, 3000, sample_rate)


# ------------------------------------------------------------------------------- rolling and the ground


@sound("rolling", "partials", "accelerating", "fast tremolo")
def coin_spin(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A coin that wobbles faster and faster as it falls flat, and is still."""
    t = times(seconds, sample_rate)
    stop = rng.uniform(0.6, 0.95) * seconds
    wobble = np.minimum(rng.uniform(8, 14) / np.maximum(stop - t, 0.02) ** 0.4, 70)
    knocks = pulses(cycles(wobble, t)) * (t < stop)
    modes = rng.uniform(2000, 3200) * np.array([1, 1.6, 2.3])
    coin = sum(resonator(knocks, f, rng.uniform(0.01, 0.06), sample_rate) for f in modes if f < 7500)
    return coin / coin.std() + 0.2 * filtered(hiss(rng, t), 1500, 6000, sample_rate) * (t < stop)


@sound("rolling", "noise", "continuous", "sparse impulses")
def marbles_rolling(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Glass on wood: a low rumble, small bumps, and clinks of one on another."""
    t = times(seconds, sample_rate)
    roll = filtered(sparse(rng, rng.uniform(200, 700), seconds, sample_rate), 150, 1500, sample_rate)
    waveform = roll * drift(rng, 0.1, 1, 0.3, t)
    clink = struck(rng, [1, 1.7], rng.uniform(2500, 4000), rng.uniform(0.003, 0.01), sample_rate)
    for start in rng.uniform(0, seconds, rng.poisson(rng.uniform(1, 6) * seconds)):
        place(waveform, rng.uniform(1, 5) * clink, start, sample_rate)
    return waveform


@sound("rolling", "impulse", "once", "accelerating")
def dice(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Dice that clatter in the hand, then tumble to rest on a table."""
    waveform = silence(seconds, sample_rate)
    die = struck(rng, [1, 1.5, 2.4], rng.uniform(1200, 2600), rng.uniform(0.003, 0.008), sample_rate)
    thrown = rng.uniform(0.3, 0.6) * seconds
    for start in np.arange(rng.uniform(0, 0.1), thrown - 0.2, rng.uniform(0.06, 0.12)):
        place(waveform, rng.uniform(0.2, 0.6) * die, start + rng.uniform(0, 0.03), sample_rate)
    for _ in range(rng.integers(2, 6)):
        gap, start = rng.uniform(0.1, 0.25), thrown + rng.uniform(0, 0.15)
        while gap > 0.01:
            place(waveform, 6 * gap * burst(rng, 0.006, 300, 4000, sample_rate), start, sample_rate)
            start, gap = start + gap, gap * rng.uniform(0.5, 0.75)
    return waveform


@sound("rolling", "impulse", "accelerating", "decaying", "low band")
def bouncing_ball(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Bounces whose gaps and strength shrink by the same factor each."""
    waveform = silence(seconds, sample_rate)
    ball = struck(rng, [1, 1.9, 3.2], rng.uniform(80, 350), rng.uniform(0.015, 0.05), sample_rate)
    restitution, start, gap = rng.uniform(0.7, 0.92), rng.uniform(0, 0.3), rng.uniform(0.4, 0.9)
    strength = 1.0
    while start < seconds:
        place(waveform, strength * ball, start, sample_rate)
        start, gap, strength = start + gap, gap * restitution, strength * restitution
        if gap < 0.02:  # at rest: another throw
            start, gap, strength = start + rng.uniform(0.3, 1), rng.uniform(0.4, 0.9), 1.0
    return waveform


@sound("rolling", "impulse", "regular medium", "mid band")
def table_tennis(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Bat and table in turn: a light, hollow ball's tock."""
    waveform = silence(seconds, sample_rate)
    pitch, decay = rng.uniform(800, 1400), rng.uniform(0.005, 0.015)
    bat, table = (struck(rng, [1, 2.1], pitch * r, decay, sample_rate) for r in (1, rng.uniform(1.15, 1.5)))
    for hit, start in enumerate(beats(rng, rng.uniform(0.25, 0.6), 0.25, seconds)):
        place(waveform, rng.uniform(0.5, 1) * (bat if hit % 2 else table), start, sample_rate)
    return waveform


@sound("rolling", "noise", "continuous", "low band")
def skateboard(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Hard wheels on asphalt, with the double knock of slab joints."""
    t = times(seconds, sample_rate)
    speed = drift(rng, 0.4, 1, 0.8, t)
    rumble = filtered(hiss(rng, t), 120, rng.uniform(800, 2000), sample_rate) * speed
    phase = cycles(rng.uniform(1, 4) * speed, t)
    joints = pulses(phase) + pulses(phase + 0.25)
    return rumble + rng.uniform(2, 8) * resonator(joints, rng.uniform(150, 500), 0.012, sample_rate)


@sound("bubbling", "sparse impulses", "continuous", "high band", "irregular")
def fizzing(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Thousands of tiny bubbles that burst, fewer and fewer."""
    t = times(seconds, sample_rate)
    foam = filtered(sparse(rng, log_uniform(rng, 400, 4000), seconds, sample_rate), 2500, 7500, sample_rate)
    return foam * (0.2 + np.exp(-t / rng.uniform(0.8, 6)))


def bubbles(rng: Generator, rate: float, low_hz: float, high_hz: float, seconds: float, sample_rate: int):
    """[T] bubbles at random times, each a short tone that may rise; a few shapes stand for all."""
    waveform = silence(seconds, sample_rate)
    shapes = []
    for _ in range(10):
        decay = rng.uniform(0.006, 0.04)
        t = times(5 * decay, sample_rate)
        frequency = log_uniform(rng, low_hz, high_hz) * (1 + rng.uniform(0, 8) * t)
        shapes.append(swept(frequency, sample_rate) * np.exp(-t / decay) * gently(t, 0.002))
    for start in rng.uniform(0, seconds, max(3, rng.poisson(rate * seconds))):
        place(waveform, rng.lognormal(-0.7, 0.6) * shapes[rng.integers(10)], start, sample_rate)
    return waveform


@sound("bubbling", "random dense", "continuous", "mid band")
def boiling(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A pot at a rolling boil: a dense crowd of bubbles over a rumble."""
    t = times(seconds, sample_rate)
    pot = bubbles(rng, rng.uniform(25, 70), 300, 1500, seconds, sample_rate)
    return pot / pot.std() + rng.uniform(0.1, 0.5) * filtered(hiss(rng, t), 80, 600, sample_rate)


@sound("bubbling", "low band", "random walk")
def underwater_bubbles(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A diver's breath: swarms of large bubbles, and the regulator's hiss between."""
    t = times(seconds, sample_rate)
    breath = cycles(rng.uniform(0.3, 0.8), t) + rng.uniform()
    out = np.clip(np.sin(2 * np.pi * breath), 0, 1)
    swarm = bubbles(rng, rng.uniform(15, 40), 120, 700, seconds, sample_rate)
    regulator = filtered(hiss(rng, t), 1000, 4000, sample_rate) * np.clip(-np.sin(2 * np.pi * breath), 0, 1)
    return swarm / swarm.std() * (0.1 + out) + rng.uniform(0.1, 0.6) * regulator


@sound("ground", "sparse impulses", "irregular", "mid band")
def crunching_snow(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Something heavy dragged through crusted snow: squeaking, dull crunches without a pause."""
    t = times(seconds, sample_rate)
    crust = filtered(sparse(rng, rng.uniform(150, 600), seconds, sample_rate), 400, 2500, sample_rate)
    squeak = stack(cycles(rng.uniform(500, 1100) * drift(rng, 0.8, 1.2, 0.05, t), t), [1, 0.5, 0.3])
    press = drift(rng, 0, 1, rng.uniform(0.15, 0.4), t) ** 2
    return press * (crust + rng.uniform(0, 0.5) * squeak)


@sound("ground", "sparse impulses", "random dense", "decaying")
def gravel_slide(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Pebbles that tumble down a slope: many small stones, some large."""
    t = times(seconds, sample_rate)
    slide = np.exp(-t / rng.uniform(0.8, 4)) * gently(t, rng.uniform(0.05, 0.8))
    waveform = np.zeros(len(t))
    for rate, centre in zip(
        rng.uniform([100, 30, 5], [400, 120, 20]), rng.uniform([3000, 1300, 400], [6000, 2600, 900])
    ):
        stones = resonator(
            sparse(rng, rate, seconds, sample_rate), centre, rng.uniform(0.001, 0.005), sample_rate
        )
        waveform += stones / stones.std()
    return waveform * slide


@sound("ground", "noise", "high band", "irregular")
def dry_leaves(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A rake or a hand through leaves: swishes of crackling."""
    t = times(seconds, sample_rate)
    swish = np.abs(stack(cycles(rng.uniform(0.4, 1.8) * drift(rng, 0.6, 1.4, 0.5, t), t), [1])) ** 1.5
    crackle = filtered(sparse(rng, rng.uniform(300, 1500), seconds, sample_rate), 1500, 7500, sample_rate)
    return swish * (crackle + rng.uniform(0.2, 0.8) * filtered(hiss(rng, t), 2000, 7000, sample_rate))


@sound("ground", "noise", "low band", "decaying")
def rock_fall(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Boulders: heavy blows with rubble behind each, over a trembling ground."""
    waveform = silence(seconds, sample_rate)
    for start in rng.uniform(0, 0.9 * seconds, max(2, rng.poisson(rng.uniform(1, 4) * seconds))):
        place(waveform, 3 * burst(rng, rng.uniform(0.03, 0.12), 50, 500, sample_rate), start, sample_rate)
        place(waveform, burst(rng, rng.uniform(0.05, 0.3), 300, 4000, sample_rate), start, sample_rate)
    t = times(seconds, sample_rate)
    return waveform + rng.uniform(0.1, 0.5) * filtered(hiss(rng, t), 30, 150, sample_rate)


# ------------------------------------------------------------------------------------------------- clips

PARENTS: tuple[str, ...] = tuple(sorted({kind.parent for kind in CLASSES.values()}))
LABELS: tuple[str, ...] = tuple(f"sound/{name}" for name in (*CLASSES, *PARENTS, *grammar.LABELS))


def make(rng: Generator) -> tuple[np.ndarray, set[str]]:
    """A clip [T] of 1 to 5.12 s at 16 kHz in [-1, 1], and its labels."""
    longest = round(MAX_SECONDS / STEP)
    steps = longest if rng.random() < 0.6 else rng.integers(13, longest + 1)
    if rng.random() < COMPOSED:
        words: set[str] = set()

        def source(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
            waveform, drawn = grammar.sentence(rng, seconds, sample_rate)
            words.update(drawn)
            return waveform

        waveform = record(source, rng, steps * STEP, SAMPLE_RATE)
        return waveform, {f"sound/{word}" for word in words}
    name = rng.choice(list(CLASSES))
    kind = CLASSES[name]
    waveform = record(kind.sound, rng, steps * STEP, SAMPLE_RATE)
    return waveform, {f"sound/{word}" for word in (name, kind.parent, *kind.words)}
