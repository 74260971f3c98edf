"""Generated clips in the layout of FSD50K: one to three sounds a clip, with the labels' ancestors.

The sounds are those of ``sounds``, under names and in a small hierarchy in the manner of the AudioSet
ontology; the machine identifiers are made up. Every clip has its own place, length and order of events.

Source of the layout: https://zenodo.org/records/4060432 (Fonseca et al. 2022).
"""

import csv
import io
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from . import sounds
from .acoustics import Sound, place, record, silence
from .writing import Plan, check_size, wav_bytes

SAMPLE_RATE = 44_100
PARENTS = {  # of a label; the rest are roots
    "Bark": "Domestic_animals",
    "Meow": "Domestic_animals",
    "Domestic_animals": "Animal",
    "Frog": "Wild_animals",
    "Crow": "Bird",
    "Chirp_and_tweet": "Bird",
    "Bird": "Wild_animals",
    "Cricket": "Insect",
    "Insect": "Wild_animals",
    "Wild_animals": "Animal",
    "Rain": "Water",
    "Waves_and_surf": "Water",
    "Drip": "Water",
    "Water": "Natural_sounds",
    "Wind": "Natural_sounds",
    "Thunder": "Natural_sounds",
    "Fire": "Natural_sounds",
    "Applause": "Human_sounds",
    "Footsteps": "Human_sounds",
    "Knock": "Domestic_sounds",
    "Typing": "Domestic_sounds",
    "Vacuum_cleaner": "Domestic_sounds",
    "Shatter": "Domestic_sounds",
    "Tick": "Mechanisms",
    "Chainsaw": "Mechanisms",
    "Alarm_clock": "Alarm",
    "Siren": "Alarm",
    "Vehicle_horn": "Alarm",
    "Church_bell": "Bell",
    "Helicopter": "Vehicle",
    "Idling": "Vehicle",
}
LEAVES: dict[str, Sound] = {
    "Bark": sounds.dog,
    "Meow": sounds.cat,
    "Frog": sounds.frog,
    "Crow": sounds.crow,
    "Chirp_and_tweet": sounds.chirping_birds,
    "Cricket": sounds.crickets,
    "Rain": sounds.rain,
    "Waves_and_surf": sounds.sea_waves,
    "Drip": sounds.water_drops,
    "Wind": sounds.wind,
    "Thunder": sounds.thunderstorm,
    "Fire": sounds.crackling_fire,
    "Applause": sounds.clapping,
    "Footsteps": sounds.footsteps,
    "Knock": sounds.door_wood_knock,
    "Typing": sounds.keyboard_typing,
    "Vacuum_cleaner": sounds.vacuum_cleaner,
    "Shatter": sounds.glass_breaking,
    "Tick": sounds.clock_tick,
    "Chainsaw": sounds.chainsaw,
    "Alarm_clock": sounds.clock_alarm,
    "Siren": sounds.siren,
    "Vehicle_horn": sounds.car_horn,
    "Church_bell": sounds.church_bells,
    "Helicopter": sounds.helicopter,
    "Idling": sounds.engine,
}
ALSO = {"Thunder": ("Rain",)}  # heard in it, too
VOCABULARY = sorted({*LEAVES, *PARENTS.values()})
SPLITS = {"train": "dev", "val": "dev", "test": "eval"}  # and the archive that each is in
FIRST = {"train": 100_000, "val": 300_000, "test": 500_000}  # number of the first clip
SIZES = {  # clips of train, val, test, and their shortest and longest in seconds
    "tiny": ((52, 26, 26), (0.5, 1.5)),
    "demo": ((780, 156, 312), (1.0, 8.0)),
    "large": ((7_800, 780, 1_560), (0.5, 20.0)),
}


class Mixture(NamedTuple):
    """One clip: what seeds its generator, how long it is, and the leaves that are heard."""

    number: int
    seconds: float
    leaves: tuple[str, ...]


def mid(label: str) -> str:
    """A made-up machine identifier."""
    return f"/m/generated_{label.lower()}"


def with_ancestors(leaves: tuple[str, ...]) -> list[str]:
    """The labels of a clip: what is heard, and every ancestor of it."""
    labels = []
    for label in [*leaves, *(more for leaf in leaves for more in ALSO.get(leaf, ()))]:
        while label and label not in labels:
            labels.append(label)
            label = PARENTS.get(label)
    return labels


def draw(rng: Generator, number: int, lengths: tuple[float, float], leaf: str) -> Mixture:
    """A mixture of ``leaf`` and up to two other sounds."""
    others = rng.permutation([name for name in LEAVES if name != leaf])
    count = rng.choice([0, 1, 2], p=[0.45, 0.35, 0.2])
    low, high = np.log(lengths)
    seconds = round(float(np.exp(rng.uniform(low, high))), 2)
    return Mixture(number, seconds, (leaf, *map(str, others[:count])))


def render(mixture: Mixture, seed: int) -> bytes:
    """The bytes of a clip's file."""

    def sound(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
        waveform = silence(seconds, sample_rate)
        for leaf in mixture.leaves:
            alone = len(mixture.leaves) == 1
            length = seconds if alone else max(min(1.0, seconds), seconds * rng.uniform(0.4, 1))
            part = LEAVES[leaf](rng, length, sample_rate)
            gain = 10 ** (rng.uniform(-8, 0) / 20) / (part.std() + 1e-12)
            place(waveform, gain * part, rng.uniform(0, seconds - length), sample_rate)
        return waveform

    rng = np.random.default_rng([seed, mixture.number])
    return wav_bytes(record(sound, rng, mixture.seconds, SAMPLE_RATE), SAMPLE_RATE)


def table(rows: list[list]) -> bytes:
    """Rows as the bytes of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def plan(size: str, seed: int) -> Plan:
    """The files of a set; an unknown size is a ValueError."""
    check_size(size)
    counts, lengths = SIZES[size]
    truth = {"dev": [["fname", "labels", "mids", "split"]], "eval": [["fname", "labels", "mids"]]}
    clips = {}
    for (split, archive), count in zip(SPLITS.items(), counts, strict=True):
        for n in range(count):
            number = FIRST[split] + n
            leaf = list(LEAVES)[n % len(LEAVES)]  # every class comes as often as any other
            rng = np.random.default_rng([seed, number, 1])
            mixture = draw(rng, number, lengths, leaf)
            clips[f"FSD50K.{archive}_audio/{number}.wav"] = mixture
            labels = with_ancestors(mixture.leaves)
            row = [number, ",".join(labels), ",".join(map(mid, labels))]
            truth[archive].append([*row, split] if archive == "dev" else row)
    tables = {f"{archive}.csv": table(rows) for archive, rows in truth.items()}
    tables["vocabulary.csv"] = table([[i, label, mid(label)] for i, label in enumerate(VOCABULARY)])
    tables = {f"FSD50K.ground_truth/{name}": content for name, content in tables.items()}
    return Plan(clips, partial(render, seed=seed), tables)
