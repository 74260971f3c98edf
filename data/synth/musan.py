"""A set in the layout of MUSAN: plain music, noises and read speech, to mix into other recordings."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from .acoustics import place, record, silence
from .backgrounds import NOISES, broken_chords
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
