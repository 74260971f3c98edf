"""Generated clips in the layout of ESC-50: 5 s each, one class a clip, 5 folds.

Each class is a function of ``sounds``. Two clips are cut from one source, that is from one place: its room,
its microphone and what goes on in its background, music, machines or things put down; as in ESC-50 a source
lies in one fold alone, so that what is evaluated was recorded elsewhere. A background says nothing about the
class and may be the louder of the two: even a backbone that knows sounds has to learn which is asked for. A
clip depends on the seed and its own name alone: a larger set holds a smaller one's clips, bit for bit.

Source of the layout: https://github.com/karolpiczak/ESC-50 (Piczak 2015).
"""

import csv
import io
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from .acoustics import draw_scene, record
from .backgrounds import broken_chords, clatter, hum, patter, signals
from .sounds import CLASSES
from .writing import Plan, check_size, wav_bytes

COLUMNS = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
ESC10 = {0, 1, 10, 11, 12, 20, 21, 38, 40, 41}  # targets of the ten-class subset
FOLDS, SECONDS, SAMPLE_RATE = 5, 5.0, 44_100
TAKES = "AB"  # cuts of a source
BACKGROUNDS = (hum, clatter, patter, signals, broken_chords)
SNR_DB = (-15, 5)  # of the sound over its background
HISS_DB = 20  # of both over the noise of their recording
SIZES = {  # targets, clips of each in each fold
    "tiny": ([0, 10, 16, 38, 42], 2),
    "demo": (list(CLASSES), 10),
    "large": (list(CLASSES), 40),
}


class Take(NamedTuple):
    """One clip: what seeds its generator, and names it."""

    target: int
    fold: int
    take: int

    @property
    def source(self) -> int:
        """Number of the recording that it is cut from."""
        return int(f"9{self.target:02d}{self.fold}{self.take // len(TAKES):03d}")

    @property
    def letter(self) -> str:
        """Which cut of its source it is."""
        return TAKES[self.take % len(TAKES)]

    @property
    def filename(self) -> str:
        """Its official form: fold, source, letter and target."""
        return f"{self.fold}-{self.source}-{self.letter}-{self.target}.wav"


def render(take: Take, seed: int) -> bytes:
    """The bytes of a clip's file."""
    there = np.random.default_rng([seed, take.source])
    scene = draw_scene(there)._replace(snr_db=HISS_DB)
    background = BACKGROUNDS[there.integers(len(BACKGROUNDS))](there, SECONDS, SAMPLE_RATE)
    gain = 10 ** (-there.uniform(*SNR_DB) / 20) / (background.std() + 1e-12)

    def heard(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
        sound = CLASSES[take.target](rng, seconds, sample_rate)
        moment = rng.integers(len(background))  # of a place where the same goes on and on
        return sound / (sound.std() + 1e-12) + gain * np.roll(background, moment)

    rng = np.random.default_rng([seed, *take])
    return wav_bytes(record(heard, rng, SECONDS, SAMPLE_RATE, scene), SAMPLE_RATE)


def meta_table(takes: list[Take]) -> bytes:
    """The bytes of ``meta/esc50.csv``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for take in takes:
        category, esc10 = CLASSES[take.target].__name__, take.target in ESC10
        writer.writerow([take.filename, take.fold, take.target, category, esc10, take.source, take.letter])
    return text.getvalue().encode()


def plan(size: str, seed: int) -> Plan:
    """The files of a set.

    Raises:
        ValueError: an unknown size.
    """
    check_size(size)
    targets, num_takes = SIZES[size]
    takes = [Take(t, fold, n) for t in targets for fold in range(1, FOLDS + 1) for n in range(num_takes)]
    takes.sort(key=lambda take: take.filename)
    clips = {f"audio/{take.filename}": take for take in takes}
    return Plan(clips, partial(render, seed=seed), {"meta/esc50.csv": meta_table(takes)})
