"""Generated clips in the layout of ESC-50: 5 s each, one class a clip, 5 folds.

Each class is a function of ``sounds``. Two clips are cut from one source, that is from one place: its room,
its microphone and its background; as in ESC-50 a source lies in one fold alone, so that what is evaluated
was recorded elsewhere. Backgrounds are as loud as the sounds or louder, up to ten times in amplitude, so that
even a backbone that knows sounds has something to learn. A clip depends on the seed and its own name alone: a
larger set holds a smaller one's clips, bit for bit.

Source of the layout: https://github.com/karolpiczak/ESC-50 (Piczak 2015).
"""

import csv
import io
from functools import partial
from typing import NamedTuple

import numpy as np

from .acoustics import draw_scene, record
from .sounds import CLASSES
from .writing import Plan, check_size, wav_bytes

COLUMNS = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
ESC10 = {0, 1, 10, 11, 12, 20, 21, 38, 40, 41}  # targets of the ten-class subset
FOLDS, SECONDS, SAMPLE_RATE = 5, 5.0, 44_100
TAKES = "AB"  # cuts of a source
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
    scene = draw_scene(np.random.default_rng([seed, take.source]))
    scene = scene._replace(snr_db=0.8 * scene.snr_db - 20)  # of -20 to 0 dB: see the module
    rng = np.random.default_rng([seed, *take])
    return wav_bytes(record(CLASSES[take.target], rng, SECONDS, SAMPLE_RATE, scene), SAMPLE_RATE)


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
