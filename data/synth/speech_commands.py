"""A set in the layout of Speech Commands v0.02: its 35 words by generated voices, in noise and in rooms.

Training, validation and test speakers are different people with different settings of the larynx. A
clip depends on the seed, its word, its list and its take alone: a larger set holds the clips of a
smaller one, bit for bit.
"""

from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.random import Generator

from .acoustics import (
    background,
    beats,
    buzz,
    draw_scene,
    drift,
    filtered,
    formants,
    place,
    record,
    ring,
    silence,
    times,
)
from .speech import COMMANDS_VARIANTS, Voice, espeak_paths, say
from .writing import Plan, check_size, wav_bytes

SAMPLE_RATE = 16_000
WORDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go",
    "happy", "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila",
    "six", "stop", "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)  # fmt: skip
ACCENTS = (
    "en-us", "en-gb", "en-029", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp",
    "en-us-nyc",
)  # fmt: skip
LISTS = ("train", "valid", "test")
HELD_OUT = {"valid": "validation_list.txt", "test": "testing_list.txt"}
VALID_VARIANTS = ("aunty", "f4", "john")
TEST_VARIANTS = ("Nguyen", "f2", "f5", "grandpa", "m7", "m8", "pedro")
VARIANTS = {
    "train": tuple(name for name in COMMANDS_VARIANTS if name not in VALID_VARIANTS + TEST_VARIANTS),
    "valid": VALID_VARIANTS,
    "test": TEST_VARIANTS,
}
TAKES = {  # of each word in each list
    "tiny": {"train": 3, "valid": 1, "test": 1},
    "demo": {"train": 24, "valid": 4, "test": 10},
    "large": {"train": 240, "valid": 24, "test": 48},
}
SPEAKERS_A_TAKE = 3  # each says a third of the words
ENDINGS = (".", "!", "?", ",")  # each a melody of its own
BACKGROUND_SECONDS = 20.0


class Take(NamedTuple):
    """A word said once; what seeds its generator."""

    seed: int
    word: int  # of WORDS
    part: int  # of LISTS
    number: int

    @property
    def speaker(self) -> int:
        """Which speaker of the list says it."""
        return SPEAKERS_A_TAKE * self.number + self.word % SPEAKERS_A_TAKE

    @property
    def path(self) -> str:
        """WORD/SPEAKER_nohash_0.wav."""
        identity = crc32((1_000_000 * self.part + self.speaker).to_bytes(4, "big"))  # one to one on 4 bytes
        return f"{WORDS[self.word]}/{identity:08x}_nohash_0.wav"


class Noise(NamedTuple):
    """A recording of ``_background_noise_``."""

    seed: int
    kind: int  # of NOISES


def speaker_voice(seed: int, part: int, speaker: int) -> Voice:
    """The voice of a speaker of a list."""
    rng = np.random.default_rng([seed, 1, part, speaker])
    variants = VARIANTS[LISTS[part]]
    return Voice(
        language=ACCENTS[rng.integers(len(ACCENTS))],
        variant=variants[speaker % len(variants)],
        pitch=int(rng.integers(20, 81)),
        range=int(rng.integers(20, 81)),
        rate=int(rng.integers(110, 221)),
        formant=float(rng.uniform(0.85, 1.18)),
    )


# ---------------------------------------------------------------------------- what else is heard


def white_noise(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] noise, the same at every frequency."""
    return rng.standard_normal(round(seconds * sample_rate))


def pink_noise(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] noise, the same in every octave."""
    return background(rng, round(seconds * sample_rate), sample_rate, 0.5)


def doing_the_dishes(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] plates and glasses that strike one another over splashing water."""
    waveform = 0.03 * filtered(rng.standard_normal(round(seconds * sample_rate)), 800, 6000, sample_rate)
    for start in beats(rng, rng.uniform(0.2, 0.6), 0.9, seconds):
        modes = rng.uniform(900, 2500) * np.array([1, 1.6, 2.3, 2.9])
        plate = ring(modes, rng.uniform(0.2, 1, 4), rng.uniform(0.01, 0.08, 4), sample_rate)
        place(waveform, rng.lognormal(-1, 0.7) * plate, start, sample_rate)
    return waveform


def running_tap(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] a jet of water, high noise that hardly changes."""
    t = times(seconds, sample_rate)
    jet = filtered(rng.standard_normal(len(t)), rng.uniform(500, 1500), rng.uniform(4000, 7500), sample_rate)
    return jet * drift(rng, 0.8, 1, 0.2, t)


def exercise_bike(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] the whirr of a wheel that two feet push in turn."""
    t = times(seconds, sample_rate)
    push = 0.6 + 0.4 * np.cos(2 * np.pi * rng.uniform(1.5, 3) * t + rng.uniform(0, 6))
    whirr = filtered(rng.standard_normal(len(t)), rng.uniform(200, 500), rng.uniform(900, 2500), sample_rate)
    return push * (whirr + buzz(rng.uniform(40, 90) * drift(rng, 0.9, 1.1, 0.5, t), sample_rate))


def dude_miaowing(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] a man who plays a cat: long vowels that rise, fall and open."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, rng.uniform(0.8, 2), 0.5, seconds):
        t = times(rng.uniform(0.4, 0.9), sample_rate)
        bend = np.sin(np.pi * t / t[-1])
        source = buzz(rng.uniform(180, 320) * (1 + 0.4 * bend), sample_rate)
        closed, open_ = (
            formants(source, f, [1, 0.5, 0.2], sample_rate) for f in ([320, 2200, 2900], [750, 1300, 2600])
        )
        place(waveform, bend * ((1 - bend) * closed + bend * open_), start, sample_rate)
    return waveform + 1e-3 * rng.standard_normal(len(waveform))


NOISES = (doing_the_dishes, dude_miaowing, exercise_bike, pink_noise, running_tap, white_noise)


# ------------------------------------------------------------------------------------------ clips


def command(take: Take) -> np.ndarray:
    """[T] one word, somewhere in a clip of at most 1 s."""
    rng = np.random.default_rng([take.seed, 0, take.word, take.part, take.number])
    voice = speaker_voice(take.seed, take.part, take.speaker)
    voice = voice._replace(
        pitch=int(np.clip(voice.pitch + rng.integers(-8, 9), 0, 99)),
        rate=int(voice.rate * rng.uniform(0.9, 1.15)),
    )
    spoken = say(WORDS[take.word] + ENDINGS[rng.integers(len(ENDINGS))], voice, SAMPLE_RATE)
    seconds = (
        1.0 if rng.random() < 0.9 else rng.uniform(0.6, 1.0)
    )  # in the release, too, one in ten is shorter
    seconds = max(seconds, min(1.0, len(spoken) / SAMPLE_RATE))
    start = rng.uniform(0, max(0.0, seconds - len(spoken) / SAMPLE_RATE))

    def sound(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
        waveform = silence(seconds, sample_rate)
        place(waveform, spoken, start, sample_rate)
        waveform /= waveform.std()
        noise = NOISES[rng.integers(len(NOISES))](rng, seconds, sample_rate)
        return waveform + 10 ** (-rng.uniform(3, 25) / 20) * noise / noise.std()

    return record(sound, rng, seconds, SAMPLE_RATE, draw_scene(rng)._replace(snr_db=rng.uniform(5, 25)))


def render(clip: Take | Noise) -> bytes:
    """The bytes of a clip's file."""
    if isinstance(clip, Take):
        return wav_bytes(command(clip), SAMPLE_RATE)
    rng = np.random.default_rng([clip.seed, 2, clip.kind])
    noise = NOISES[clip.kind](rng, BACKGROUND_SECONDS, SAMPLE_RATE)
    return wav_bytes(0.5 * noise / np.abs(noise).max(), SAMPLE_RATE)


def plan(size: str, seed: int) -> Plan:
    """The 35 words of a size, the noises, and the two lists of what does not train."""
    check_size(size)
    espeak_paths()  # a set that cannot be spoken is not begun
    takes = [
        Take(seed, word, part, number)
        for word in range(len(WORDS))
        for part, name in enumerate(LISTS)
        for number in range(TAKES[size][name])
    ]
    noises = {
        f"_background_noise_/{noise.__name__}.wav": Noise(seed, kind) for kind, noise in enumerate(NOISES)
    }
    tables = {
        filename: "".join(f"{take.path}\n" for take in takes if LISTS[take.part] == name).encode()
        for name, filename in HELD_OUT.items()
    }
    return Plan({take.path: take for take in takes} | noises, render, tables)
