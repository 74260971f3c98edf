"""Speech to learn from: single words and sentences of voices that no task has.

Two parts of the corpus. ``words`` names the phonemes of a word, how many syllables it has, how high the
voice is and its family of languages; ``sentences`` the last two and the tempo. The voices are those of
``PRETRAINING_VARIANTS``, in some fifty languages and accents; the words are in ``pretraining.words``.
"""

import numpy as np
from numpy.random import Generator

from data.synth.acoustics import place, record, silence
from data.synth.speech import PRETRAINING_VARIANTS, Voice, phonemes, say
from pretraining.words import ENGLISH, LANGUAGES, draw_sentence, draw_word, group

SAMPLE_RATE = 16_000
MAX_SECONDS = 5.12
VOWELS = "a e i o u y ə ɐ ɑ ɒ æ ɔ ɛ ɜ ɪ ʊ ʌ aɪ aʊ eɪ oʊ əʊ".split()
CONSONANTS = "b d dʒ f h j k l m n p r s t tʃ ts v w x z ð ŋ ɡ ɹ ɾ ʁ ʃ ʒ θ".split()
PHONEMES = frozenset(VOWELS + CONSONANTS)  # others are too rare to learn
MARKS = str.maketrans("", "", "ˈˌː:")  # of stress and length
GROUPS = ("english", "germanic", "other", "romance", "slavic")
HIGH, LOW = 65, 35  # of espeak's pitches
FAST, SLOW = 200, 140  # words a minute

VOICES = ("speech", "speech/high voice", "speech/low voice", *(f"speech/{name}" for name in GROUPS))
LABELS: dict[str, tuple[str, ...]] = {
    "words": (
        *VOICES,
        *(f"speech/phoneme {name}" for name in VOWELS + CONSONANTS),
        *(f"speech/{count}" for count in ("one syllable", "two syllables", "more syllables")),
    ),
    "sentences": (*VOICES, "speech/fast", "speech/slow"),
}


def draw_voice(rng: Generator) -> Voice:
    """A voice of pretraining; two of five speak English."""
    language = rng.choice(ENGLISH) if rng.random() < 0.4 else rng.choice(list(LANGUAGES))
    return Voice(
        str(language),
        str(rng.choice(PRETRAINING_VARIANTS)),
        pitch=int(rng.integers(5, 96)),
        range=int(rng.integers(15, 90)),
        rate=int(rng.integers(105, 250)),
        formant=float(rng.uniform(0.85, 1.18)),
    )


def labels_of(voice: Voice) -> set[str]:
    """What is true of everything that a voice says."""
    height = {"speech/high voice"} if voice.pitch > HIGH else set()
    depth = {"speech/low voice"} if voice.pitch < LOW else set()
    return {"speech", f"speech/{group(voice.language)}"} | height | depth


def spoken(rng: Generator, speech: np.ndarray, seconds: float) -> np.ndarray:
    """[T] speech at a random place of a clip, in a random scene."""

    def sound(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
        waveform = silence(seconds, sample_rate)
        place(waveform, speech, rng.uniform(0, max(0, seconds - len(speech) / sample_rate)), sample_rate)
        return waveform

    return record(sound, rng, seconds, SAMPLE_RATE)


def make_word(rng: Generator) -> tuple[np.ndarray, set[str]]:
    """One word in a clip of 1 to 2 s: [T] samples in [-1, 1] at 16 kHz, labels that hold."""
    voice = draw_voice(rng)
    word = draw_word(rng, voice.language)
    heard = [name.translate(MARKS) for name in phonemes(word, voice.language)]
    speech = say(word, voice, SAMPLE_RATE)
    seconds = min(MAX_SECONDS, max(rng.uniform(1, 2), len(speech) / SAMPLE_RATE))
    labels = labels_of(voice) | {f"speech/phoneme {name}" for name in heard if name in PHONEMES}
    syllables = sum(name in VOWELS for name in heard)
    if syllables:
        labels.add(f"speech/{('one syllable', 'two syllables', 'more syllables')[min(syllables, 3) - 1]}")
    return spoken(rng, speech, seconds), labels


def make_sentence(rng: Generator) -> tuple[np.ndarray, set[str]]:
    """Some words in a clip of up to 5.12 s: [T] samples in [-1, 1] at 16 kHz, labels that hold."""
    voice = draw_voice(rng)
    speech = say(draw_sentence(rng, voice.language, rng.integers(4, 14)), voice, SAMPLE_RATE)
    speech = speech[: int(MAX_SECONDS * SAMPLE_RATE)]
    seconds = max(1.0, min(MAX_SECONDS, len(speech) / SAMPLE_RATE + rng.uniform(0, 0.4)))
    fast = {"speech/fast"} if voice.rate > FAST else set()
    slow = {"speech/slow"} if voice.rate < SLOW else set()
    return spoken(rng, speech, seconds), labels_of(voice) | fast | slow


MAKE = {"words": make_word, "sentences": make_sentence}
