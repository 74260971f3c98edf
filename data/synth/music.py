"""Generated music: a style is drawn into a score, and the score is played by synthesised instruments.

A `Style` is a row of ranges and short texts. `compose` draws its key, tempo, progression, instruments
and figures into a `Score`; `perform` plays a score. A figure is one bar or several, in equal steps:

    .  the note goes on        1 ... 9  a degree of the scale, counted from the chord's root
    -  the note ends           ~  a note of the melody, which walks over the scale
    x  the whole chord         *  such a note, or none
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from scipy.ndimage import uniform_filter1d

from .acoustics import Scene, filtered, place, record, times

Range = tuple[float, float]

CYCLE = 2048  # samples of a tabulated cycle
SINE = np.sin(2 * np.pi * np.arange(CYCLE) / CYCLE)
SCALES = {  # semitones above the tonic
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "major pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
    "whole tone": (0, 2, 4, 6, 8, 10),
    "pelog": (0, 1, 3, 7, 8),
}


# ------------------------------------------------------------------------------------- what is played


class Instrument(NamedTuple):
    """A pitched instrument, as ranges that its timbre is drawn from."""

    family: str
    slope: Range = (1.0, 1.6)  # its harmonic k has the amplitude k^-slope
    attack: Range = (0.003, 0.01)  # s
    decay: Range = (0.3, 1.0)  # s to 1/e; a large number is a held note
    even: Range = (0.7, 1.0)  # strength of its even harmonics: low in a closed pipe
    pluck: Range = (0.0, 0.0)  # share of the string at which it is plucked; 0 is no string
    bright: Range = (0.2, 1.0)  # strength of the bright beginning of a note
    fade: Range = (0.05, 0.3)  # s in which the beginning turns mellow
    partials: tuple[float, ...] = ()  # ratios of a bell or bar, in place of harmonics
    vibrato: Range = (0.0, 0.0)  # cents
    detune: Range = (0.0, 0.0)  # cents between two strings, pipes or oscillators
    breath: Range = (0.0, 0.0)  # noise over tone
    body: Range = (0.0, 0.0)  # Hz of a resonance; 0 is none
    drive: Range = (0.0, 0.0)  # distortion; 0 is clean


class Drum(NamedTuple):
    """A struck instrument: a tone that falls in pitch, modes above it, and a burst of noise."""

    pitch: Range = (0.0, 0.0)  # Hz; 0 is noise alone
    fall: Range = (1.0, 1.0)  # pitch at the stroke over pitch at rest
    decay: Range = (0.05, 0.2)  # s, of the tone
    modes: tuple[float, ...] = (1.0,)  # ratios
    noise: Range = (0.0, 0.1)  # over the tone
    band: tuple[float, float] = (1000.0, 7000.0)  # Hz, of the noise
    rattle: Range = (0.02, 0.1)  # s, decay of the noise
    strokes: int = 1  # hands of a clap, beads of a rattle


class Part(NamedTuple):
    """What one player has: one of some instruments, one of some figures."""

    instruments: str  # names, separated by spaces; one is drawn
    figures: tuple[str, ...]
    octave: int = 4
    level_db: Range = (-6.0, 0.0)
    presence: float = 1.0  # probability that it takes part at all
    voicing: str = "135"  # degrees of an "x"


class Kit(NamedTuple):
    """A drummer's pattern: a drum's name -> its strokes, X loud, x soft, o perhaps."""

    strokes: dict[str, str]
    level_db: Range = (-6.0, 2.0)


@dataclass(frozen=True)
class Style:
    """A kind of music: a row of ranges and choices."""

    tempo: Range  # beats a minute
    parts: tuple[Part, ...]
    progressions: tuple[str, ...]  # degrees of the chords' roots
    scales: tuple[str, ...] = ("major",)
    kits: tuple[Kit, ...] = ()
    melody: tuple[str, ...] = ()  # scales of the melody; by default those of the chords
    beats: int = 4  # in a bar
    steps: int = 4  # in a beat, of figures and patterns
    chord_beats: tuple[float, ...] = (4,)  # that a chord lasts
    swing: Range = (0.5, 0.5)  # the share of a beat that its first half takes
    parallel: bool = False  # chords are shifted as they are, and do not keep to the scale
    loose_ms: Range = (2.0, 10.0)  # by which players miss the beat
    omit: Range = (0.0, 0.12)  # of the notes
    drummed: float = 1.0  # probability that the kit takes part


class Track(NamedTuple):
    """The notes of one part, in order of time: N of them, of V voices."""

    name: str
    instrument: Instrument
    start: np.ndarray  # [N] s
    length: np.ndarray  # [N] s
    hz: np.ndarray  # [V, N]
    velocity: np.ndarray  # [N]
    level_db: float


class Strokes(NamedTuple):
    """The strokes of one drum."""

    drum: Drum
    start: np.ndarray  # [N] s
    velocity: np.ndarray  # [N]


class Score(NamedTuple):
    """A piece, before it is played."""

    seconds: float
    tempo: float
    swing: float
    scale: str
    tracks: list[Track]
    strokes: list[Strokes]
    drums_db: float


# ------------------------------------------------------------------------------------- instruments


def cycle(amplitudes: np.ndarray, rng: Generator) -> np.ndarray:
    """[K] amplitudes of harmonics -> [CYCLE] samples of one cycle at unit RMS, in random phases."""
    spectrum = np.zeros(CYCLE // 2 + 1, complex)
    spectrum[1 : len(amplitudes) + 1] = amplitudes * np.exp(2j * np.pi * rng.random(len(amplitudes)))
    table = np.fft.irfft(spectrum)
    return table / table.std()


def layers(instrument: Instrument, rng: Generator, highest_hz: float, sample_rate: int) -> list[tuple]:
    """What a note is the sum of: (ratio to its pitch, cycle, level, decay in seconds)."""
    decay, detune = rng.uniform(*instrument.decay), 2 ** (rng.uniform(*instrument.detune) / 1200)
    bright, fade = rng.uniform(*instrument.bright), rng.uniform(*instrument.fade)
    if instrument.partials:
        ratios = np.array(instrument.partials)
        heard = ratios[ratios * highest_hz < 0.45 * sample_rate]
        levels = rng.uniform(0.3, 1, len(heard)) * heard ** -(1 - 0.5 * bright)
        return [(ratio, SINE, level, decay / ratio**0.7) for ratio, level in zip(heard, levels)]
    k = np.arange(1, 1 + int(np.clip(0.45 * sample_rate / highest_hz, 1, 48)))
    amplitudes = k ** -rng.uniform(*instrument.slope) * rng.uniform(0.6, 1, len(k))
    amplitudes[1::2] *= rng.uniform(*instrument.even)
    if instrument.pluck[1]:
        amplitudes *= np.abs(np.sin(np.pi * k * rng.uniform(*instrument.pluck)))
    mellow = cycle(amplitudes / k, rng) if bright > 0 else cycle(amplitudes, rng)
    found = [(1.0, mellow, 1.0, decay), (1.0, cycle(amplitudes, rng), bright, min(fade, decay))]
    if detune > 1:
        found.append((detune, mellow, 0.8, decay))
    return [layer for layer in found if layer[2] > 0]


def play_track(track: Track, rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] samples of a part; a voice has one string, so that a note ends where the next begins."""
    instrument, t = track.instrument, times(seconds, sample_rate)
    note = np.maximum(np.searchsorted(track.start, t, side="right") - 1, 0)  # [T]
    age = t - track.start[note]
    release = np.clip(1 + (track.length[note] - age) / 0.05, 0, 1)
    rise = np.clip(age / rng.uniform(*instrument.attack), 0, 1)  # 0 before the first note
    loudness = track.velocity[note] * rise * release
    age = np.maximum(age, 0)

    hz = track.hz[:, note]  # [V, T]
    if instrument.vibrato[1]:
        cents = rng.uniform(*instrument.vibrato) * np.minimum(age / 0.3, 1)
        hz = hz * 2 ** (cents * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * t) / 1200)
    phase = CYCLE * (np.cumsum(hz, axis=1) / sample_rate + rng.random((len(hz), 1)))
    tone = np.zeros(len(t))
    for ratio, table, level, decay in layers(instrument, rng, track.hz.max(), sample_rate):
        samples = table[(ratio * phase).astype(np.int32) & (CYCLE - 1)].sum(axis=0)
        # Smoothed over 3 ms: an envelope that jumps clicks.
        tone += level * samples * uniform_filter1d(loudness * np.exp(-age / decay), sample_rate // 300)
    if instrument.breath[1]:
        air = filtered(rng.standard_normal(len(t)), 800, 5000, sample_rate)
        puff = loudness * (0.3 + np.exp(-age / 0.05))  # strongest where a note begins
        tone += rng.uniform(*instrument.breath) * tone.std() * puff * air
    if instrument.body[1]:
        band = rng.uniform(*instrument.body)
        tone += 1.5 * tone.std() * filtered(tone, 0.8 * band, 1.25 * band, sample_rate)
    return np.tanh(rng.uniform(*instrument.drive) * loudest(tone)) if instrument.drive[1] else tone


def strike(drum: Drum, rng: Generator, sample_rate: int) -> np.ndarray:
    """One stroke: [T] samples, at a peak near 1."""
    decay, rattle = rng.uniform(*drum.decay), rng.uniform(*drum.rattle)
    t = times(min(1.5, 5 * max(decay * (drum.pitch[1] > 0), rattle)), sample_rate)
    sound = np.zeros(len(t))
    if drum.pitch[1]:
        pitch = rng.uniform(*drum.pitch) * (1 + (rng.uniform(*drum.fall) - 1) * np.exp(-t / 0.03))
        phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
        for mode in drum.modes:
            if mode * pitch[-1] < 0.45 * sample_rate:
                sound += rng.uniform(0.4, 1) * np.exp(-t * mode**0.5 / decay) * np.sin(mode * phase)
        sound /= np.abs(sound).max() + 1e-9
    high = min(drum.band[1], 0.45 * sample_rate)
    noise = filtered(rng.standard_normal(len(t)), min(drum.band[0], 0.7 * high), high, sample_rate) / 3
    for _ in range(drum.strokes):
        late = rng.uniform(0, 0.03) if drum.strokes > 1 else 0
        weight = rng.uniform(*drum.noise) * (t >= late)
        sound += weight * noise * np.exp(-np.maximum(t - late, 0) / rattle)
    return sound * np.minimum(1, t / 0.001) / (np.abs(sound).max() + 1e-9)


# ------------------------------------------------------------------------------------- composing


def degree_to_semitones(scale: Sequence[int], degree: np.ndarray) -> np.ndarray:
    """Degrees of a scale from 0, of any octave -> semitones above its tonic."""
    return np.array(scale)[degree % len(scale)] + 12 * (degree // len(scale))


def walk(rng: Generator, num_notes: int, low: int = -3, high: int = 8) -> np.ndarray:
    """[N] degrees: a melody that mostly steps, sometimes leaps, and turns back at its bounds."""
    steps = rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 4], num_notes)
    height = rng.integers(0, 5) + np.cumsum(steps) - low
    width = high - low
    return low + np.abs((height + width) % (2 * width) - width)


def step_times(style: Style, tempo: float, swing: float, steps: np.ndarray) -> np.ndarray:
    """Numbers of steps -> seconds, with the second half of each beat as late as it swings."""
    beat, share = np.divmod(steps / style.steps, 1)
    swung = np.where(share < 0.5, 2 * share * swing, swing + (2 * share - 1) * (1 - swing))
    return (beat + swung) * 60 / tempo


class Frame(NamedTuple):
    """What the players of a piece share."""

    tempo: float
    swing: float
    tonic: int  # MIDI note, in octave 0
    scale: str
    melody: str
    roots: list[int]  # degrees from 0, one for each chord in turn
    chord_steps: int
    num_steps: int
    start: float  # s at which the clip is cut from the piece
    seconds: float  # of the clip
    omit: float
    loose: float  # s


def write_track(part: Part, style: Style, frame: Frame, instruments: dict, rng: Generator) -> Track | None:
    """The notes of one part, or None where it has none."""
    name = str(rng.choice(part.instruments.split()))
    figure = part.figures[rng.integers(len(part.figures))].replace(" ", "")
    symbols = np.array(list(figure))[np.arange(frame.num_steps) % len(figure)]
    omitted = rng.random(len(symbols)) < np.where(symbols == "*", 0.5, frame.omit)
    omitted[:: style.beats * style.steps] = False  # every bar is begun
    onsets = np.flatnonzero((symbols != ".") & ~omitted)  # a rest is an onset without loudness
    if not (symbols[onsets] != "-").any():
        return None

    symbols = symbols[onsets]
    roots = np.array(frame.roots)[onsets // frame.chord_steps % len(frame.roots)]  # [N]
    chord = np.array([int(degree) - 1 for degree in part.voicing])[:, None]  # [V, 1]
    tones = np.array([int(symbol) - 1 if symbol.isdigit() else 0 for symbol in symbols])
    degrees = np.where(symbols == "x", chord, tones) if "x" in symbols else tones[None]  # [V, N]
    scale = SCALES[frame.scale]
    if style.parallel:
        semitones = degree_to_semitones(scale, roots) + degree_to_semitones(scale, degrees)
    else:
        semitones = degree_to_semitones(scale, roots + degrees)
    tune = degree_to_semitones(SCALES[frame.melody], walk(rng, len(onsets)))
    semitones = np.where(np.isin(symbols, ["~", "*"]), tune, semitones)
    if len(semitones) > 1:
        semitones = semitones - 12 * (semitones >= 14)  # chords stay near their octave

    start = step_times(style, frame.tempo, frame.swing, onsets) - frame.start
    start = start + np.abs(rng.normal(0, frame.loose, len(start)))
    start = np.maximum.accumulate(start)  # [N]
    on_beat = onsets % style.steps == 0
    velocity = (symbols != "-") * np.where(on_beat, 1, 0.8) * rng.uniform(0.6, 1, len(onsets))
    length = np.diff(start, append=frame.seconds) * rng.uniform(0.55, 1)
    hz = 440 * 2 ** ((frame.tonic + 12 * part.octave + semitones - 69) / 12)
    return Track(name, instruments[name], start, length, hz, velocity, rng.uniform(*part.level_db))


def write_strokes(pattern: str, drum: Drum, style: Style, frame: Frame, rng: Generator) -> Strokes:
    """The strokes of one drum."""
    pattern = pattern.replace(" ", "")
    symbols = np.array(list(pattern))[np.arange(frame.num_steps) % len(pattern)]
    strength = {"X": 1.0, "x": 0.5, "o": 0.5}
    loud = np.array([strength.get(symbol, 0) for symbol in symbols])
    loud *= np.where(symbols == "o", rng.random(len(loud)) < 0.4, rng.random(len(loud)) > frame.omit / 3)
    hits = np.flatnonzero(loud)
    start = step_times(style, frame.tempo, frame.swing, hits) - frame.start
    start = start + rng.normal(0, frame.loose / 2, len(hits))
    return Strokes(drum, start, loud[hits] * rng.uniform(0.7, 1, len(hits)))


def compose(
    style: Style, rng: Generator, seconds: float, instruments: dict[str, Instrument], drums: dict[str, Drum]
) -> Score:
    """Draw a piece of a style, cut to ``seconds`` from a random place of a bar."""
    tempo, swing = rng.uniform(*style.tempo), rng.uniform(*style.swing)
    scale = str(rng.choice(style.scales))
    melody = str(rng.choice(style.melody)) if style.melody else scale
    progression = style.progressions[rng.integers(len(style.progressions))]
    roots = [int(degree) - 1 for degree in progression.split()]
    roots = roots[(turn := int(rng.integers(len(roots)))) :] + roots[:turn]
    bar = 60 / tempo * style.beats
    start = rng.uniform(0, bar)
    frame = Frame(
        tempo,
        swing,
        tonic=12 + int(rng.integers(-6, 6, endpoint=True)),  # any key, C in the middle
        scale=scale,
        melody=melody,
        roots=roots,
        chord_steps=int(rng.choice(style.chord_beats) * style.steps),
        num_steps=int((seconds + start) / 60 * tempo * style.steps) + 1,
        start=start,
        seconds=seconds,
        omit=rng.uniform(*style.omit),
        loose=rng.uniform(*style.loose_ms) / 1000,
    )
    tracks = []
    for part in style.parts:
        if rng.random() < part.presence and (track := write_track(part, style, frame, instruments, rng)):
            tracks.append(track)
    strokes, drums_db = [], 0.0
    if style.kits and rng.random() < style.drummed:
        kit = style.kits[rng.integers(len(style.kits))]
        drums_db = rng.uniform(*kit.level_db)
        strokes = [write_strokes(p, drums[name], style, frame, rng) for name, p in kit.strokes.items()]
    return Score(seconds, tempo, swing, scale, tracks, strokes, drums_db)


# ------------------------------------------------------------------------------------- performing


def loudest(waveform: np.ndarray) -> np.ndarray:
    """[T] -> [T] at a peak of 1; silence stays."""
    return waveform / (np.abs(waveform).max() + 1e-9)


def perform(score: Score, rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] samples of a score, before any room; ``seconds`` is the score's own length or less."""
    mix = np.zeros(round(seconds * sample_rate))
    for track in score.tracks:
        mix += 10 ** (track.level_db / 20) * loudest(play_track(track, rng, seconds, sample_rate))
    drums = np.zeros(len(mix))
    for strokes in score.strokes:
        sound = strike(strokes.drum, rng, sample_rate)
        level = rng.uniform(0.6, 1)
        for start, velocity in zip(strokes.start, strokes.velocity):
            if start >= 0:
                place(drums, level * velocity * sound, start, sample_rate)
    return mix + 10 ** (score.drums_db / 20) * loudest(drums)


def draw_hall(rng: Generator) -> Scene:
    """A studio or a hall, a master, and little noise of tape or audience."""
    return Scene(
        reverberation=float(np.exp(rng.uniform(np.log(0.1), np.log(2)))) * (rng.random() < 0.8),
        wet_db=rng.uniform(-20, -2),
        tilt=rng.uniform(-0.35, 0.35),
        colour=rng.uniform(0, 1),
        snr_db=rng.uniform(15, 45),
    )


def record_score(score: Score, rng: Generator, sample_rate: int) -> np.ndarray:
    """[T] samples in [-1, 1] of a score, in a random hall and at a random level."""
    return record(partial(perform, score), rng, score.seconds, sample_rate, draw_hall(rng))
