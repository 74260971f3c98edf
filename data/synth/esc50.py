"""Make a small set of synthetic sounds in the layout of ESC-50.

It lets every command of the ESC-50 experiments run before the real recordings are downloaded:

    python3 data/synth/esc50.py demo_data/esc50
    python3 data/prepare.py esc50 demo_data/esc50

Each class is one function, ``(rng, seconds, sample_rate) -> [T]``: a few lines of acoustics with
random pitch, tempo and decay. ``record`` then puts the sound before a background of random
level and colour and at a random distance, so that neither loudness nor the noise floor tells the
classes apart. Frequencies stay below 8 kHz and survive resampling to 16 kHz.

A clip depends on the seed and its own target, fold and take alone: a larger set holds the
clips of a smaller one, bit for bit.
"""

import argparse
import csv
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.random import Generator
from scipy.signal import butter, fftconvolve, sosfilt
from tqdm import tqdm

Sound = Callable[[Generator, float, int], np.ndarray]  # rng, seconds, sample_rate -> [T]

COLUMNS = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
ESC10 = {0, 1, 10, 11, 12, 20, 21, 38, 40, 41}  # targets of the ten-class subset
TAKES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MIN_SAMPLE_RATE = 16_000
RECEIPT = "synthetic.json"  # marks a folder as made here, and says with what parameters


# -------------------------------------------------------------------------------- building blocks


def silence(seconds: float, sample_rate: int) -> np.ndarray:
    """[T] zeros."""
    return np.zeros(round(seconds * sample_rate))


def filtered(noise: np.ndarray, low_hz: float, high_hz: float, sample_rate: int) -> np.ndarray:
    """[T] -> [T]: the band from ``low_hz`` to ``high_hz``, at unit RMS."""
    sos = butter(1, [low_hz, high_hz], "bandpass", fs=sample_rate, output="sos")
    band = sosfilt(sos, noise)
    return band / (band.std() + 1e-12)


def drift(rng: Generator, low: float, high: float, every: float, t: np.ndarray) -> np.ndarray:
    """[T] curve that wanders between ``low`` and ``high``, with a new goal ``every`` seconds."""
    knots = np.arange(0, t[-1] + 2 * every, every)
    return np.interp(t, knots - rng.uniform(0, every), rng.uniform(low, high, len(knots)))


def sparse(rng: Generator, rate: float, seconds: float, sample_rate: int) -> np.ndarray:
    """[T] impulses at random times, ``rate`` a second, most weak and a few strong."""
    train = silence(seconds, sample_rate)
    times = rng.integers(len(train), size=max(1, rng.poisson(rate * seconds)))
    np.add.at(train, times, rng.lognormal(0, 1, len(times)) * rng.choice([-1, 1], len(times)))
    return train


def beats(rng: Generator, interval: float, jitter: float, seconds: float) -> np.ndarray:
    """[N] times from a random start, ``interval`` seconds apart, give or take ``jitter`` of it."""
    first = rng.uniform(0, min(interval, seconds / 2))  # so that no clip is without a sound
    times = np.arange(first, seconds, interval)
    return times + interval * jitter * rng.uniform(-0.5, 0.5, len(times)) * (times > first)


def ring(
    frequencies: Sequence[float],
    amplitudes: Sequence[float],
    decays: Sequence[float],
    sample_rate: int,
) -> np.ndarray:
    """A struck body: sum_k a_k exp(-t / d_k) sin(2 pi f_k t), until the longest mode is gone."""
    t = np.arange(round(5 * np.max(decays) * sample_rate)) / sample_rate
    modes = zip(frequencies, amplitudes, decays, strict=True)
    return sum(a * np.exp(-t / d) * np.sin(2 * np.pi * f * t) for f, a, d in modes)


def burst(rng: Generator, decay: float, low_hz: float, high_hz: float, sample_rate: int) -> np.ndarray:
    """Filtered noise that dies away with time constant ``decay``."""
    t = np.arange(round(6 * decay * sample_rate)) / sample_rate
    noise = filtered(rng.standard_normal(len(t)), low_hz, high_hz, sample_rate)
    return noise * np.exp(-t / decay)


def place(waveform: np.ndarray, sound: np.ndarray, seconds: float, sample_rate: int) -> None:
    """Add ``sound`` to ``waveform`` from ``seconds`` on; what passes its end is lost."""
    start = max(0, round(seconds * sample_rate))
    stop = min(len(waveform), start + len(sound))
    waveform[start:stop] += sound[: max(0, stop - start)]


def swept(frequency: np.ndarray, sample_rate: int) -> np.ndarray:
    """[T] frequencies in Hz -> [T] sine of that frequency."""
    return np.sin(2 * np.pi * np.cumsum(frequency) / sample_rate)


# ---------------------------------------------------------------------------------------- classes


def rain(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A steady hiss of distant drops, and a patter of near ones."""
    hiss = rng.standard_normal(round(seconds * sample_rate))
    hiss = filtered(hiss, rng.uniform(400, 1500), rng.uniform(5000, 7500), sample_rate)
    drops = sparse(rng, rng.uniform(40, 300), seconds, sample_rate)
    drops = filtered(drops, rng.uniform(1200, 2500), rng.uniform(4000, 7500), sample_rate)
    return hiss + rng.uniform(0.3, 1.5) * drops


def sea_waves(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Noise that swells and falls once a wave, brightest where the wave breaks."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    noise = rng.standard_normal(len(t))
    phase = t / rng.uniform(2.5, 6) + rng.uniform()
    swell = np.exp(-rng.uniform(2, 5) * (phase % 1)) * np.minimum(1, 8 * (phase % 1))
    swell = 0.15 + swell / swell.max()
    rumble = filtered(noise, 60, rng.uniform(300, 700), sample_rate)
    surf = filtered(noise, rng.uniform(400, 900), rng.uniform(3000, 6000), sample_rate)
    return swell * rumble + rng.uniform(0.6, 1.2) * swell**2 * surf


def crackling_fire(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A low roar of flames, and snaps of wood: rare, short, of very different strength."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    roar = filtered(rng.standard_normal(len(t)), 40, rng.uniform(150, 400), sample_rate)
    roar *= drift(rng, 0.4, 1, 0.3, t)
    snap = burst(rng, rng.uniform(0.001, 0.004), rng.uniform(900, 2000), 7500, sample_rate)
    snaps = fftconvolve(sparse(rng, rng.uniform(5, 30), seconds, sample_rate), snap)[: len(t)]
    return rng.uniform(0.05, 0.3) * roar + snaps


def crickets(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """One or more insects: a pure tone of 3 to 6 kHz in trains of short pulses."""
    waveform = silence(seconds, sample_rate)
    for _ in range(rng.integers(1, 4)):
        pulses, pulse_rate = rng.integers(3, 9), rng.uniform(20, 60)
        t = np.arange(round(pulses / pulse_rate * sample_rate)) / sample_rate
        chirp = np.sin(np.pi * pulse_rate * t) ** 2 * np.sin(2 * np.pi * rng.uniform(3e3, 6e3) * t)
        interval = pulses / pulse_rate * rng.uniform(1.3, 4)
        strength = rng.uniform(0.2, 1)
        for start in beats(rng, interval, 0.1, seconds):
            place(waveform, strength * chirp, start, sample_rate)
    return waveform


def chirping_birds(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A bird's phrase: notes that glide between 1.5 and 7 kHz, repeated with pauses."""
    waveform = silence(seconds, sample_rate)
    notes, pause = [], rng.uniform(0.02, 0.1)
    for _ in range(rng.integers(2, 7)):
        t = np.linspace(0, 1, round(rng.uniform(0.03, 0.2) * sample_rate))
        low, high = rng.uniform(1500, 4500), rng.uniform(2500, 7000)
        trill = rng.uniform(0, 400) * np.sin(2 * np.pi * rng.uniform(1, 6) * t)
        note = np.hanning(len(t)) * swept(low + (high - low) * t + trill, sample_rate)
        notes += [rng.uniform(0.4, 1) * note, silence(pause, sample_rate)]
    phrase = np.concatenate(notes)
    interval = len(phrase) / sample_rate + rng.uniform(0.2, 1.5)
    for start in beats(rng, interval, 0.3, seconds):
        place(waveform, rng.uniform(0.5, 1) * phrase, start, sample_rate)
    return waveform


def footsteps(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A walk: the thump of the heel, and the scrape of the sole a tenth of a second later."""
    waveform = silence(seconds, sample_rate)
    thump_hz, crunch_hz = rng.uniform(70, 200), rng.uniform(800, 2500)
    roll = rng.uniform(0.06, 0.14)  # seconds from heel to sole
    for start in beats(rng, rng.uniform(0.35, 0.8), 0.1, seconds):
        heel = ring([thump_hz, 2.3 * thump_hz], [1, 0.5], [0.03, 0.015], sample_rate)
        click = burst(rng, 0.006, crunch_hz, 3 * crunch_hz, sample_rate)
        scrape = burst(rng, rng.uniform(0.02, 0.05), crunch_hz, 2.5 * crunch_hz, sample_rate)
        strength = rng.uniform(0.6, 1)
        place(waveform, strength * heel, start, sample_rate)
        place(waveform, 0.25 * strength * click, start, sample_rate)
        place(waveform, 0.15 * strength * scrape, start + roll, sample_rate)
    return waveform


def door_wood_knock(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Bursts of two to six knocks on a panel whose modes die in hundredths of a second."""
    waveform = silence(seconds, sample_rate)
    modes = rng.uniform(110, 220) * np.array([1, 1.7, 2.6, 3.9, 5.5])
    decays = rng.uniform(0.015, 0.05) / np.arange(1, 6) ** 0.5
    interval, strength = rng.uniform(0.12, 0.28), rng.uniform(0.3, 1, 5)
    for first in beats(rng, rng.uniform(1.6, 4), 0.2, seconds):
        for knock in range(rng.integers(2, 7)):
            amplitudes = strength * rng.uniform(0.7, 1.3, 5)
            start = first + interval * (knock + rng.uniform(-0.08, 0.08))
            place(waveform, ring(modes, amplitudes, decays, sample_rate), start, sample_rate)
    return waveform


def clock_tick(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """An escapement: tick and tock in turn, strictly in time, each a few milliseconds long."""
    waveform = silence(seconds, sample_rate)
    tick_hz, decay = rng.uniform(1800, 4500), rng.uniform(0.002, 0.008)
    sounds = [
        ring(pitch * np.array([1, 1.43, 1.71]), [1, 0.6, 0.4], [decay] * 3, sample_rate)
        for pitch in (tick_hz, tick_hz * rng.uniform(0.75, 0.97))
    ]
    for beat, start in enumerate(beats(rng, rng.choice([0.2, 0.25, 0.5, 1]), 0, seconds)):
        place(waveform, sounds[beat % 2], start, sample_rate)
    return waveform


def siren(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A horn that wails (slowly), yelps (fast), or steps between two tones."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    low = rng.uniform(400, 750)
    high = low * rng.uniform(1.3, 2.4)
    wail, yelp, two_tone = (rng.uniform(0.15, 0.5), 1), (rng.uniform(2, 4), 1), (0.8, 30)
    rate, step = [wail, yelp, two_tone][rng.integers(3)]
    cycle = np.sin(2 * np.pi * (rate * t + rng.uniform()))
    height = 0.5 + 0.5 * np.tanh(step * cycle) / np.tanh(step)
    tone = swept(low + (high - low) * height, sample_rate)
    return np.tanh(rng.uniform(0.5, 4) * tone) * drift(rng, 0.5, 1, 1, t)


def church_bells(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Bells with the partials of a founder: hum, prime, minor third, fifth, octave and above."""
    waveform = silence(seconds, sample_rate)
    ratios = np.array([0.5, 1, 1.2, 1.5, 2, 2.67, 3.01, 4.17])
    for _ in range(rng.integers(1, 4)):
        prime = rng.uniform(180, 550)
        partials = prime * ratios * rng.uniform(0.99, 1.01, len(ratios))
        strength = rng.uniform(0.3, 1, len(ratios))
        decays = rng.uniform(0.4, 0.9) / np.sqrt(ratios)
        bell = ring(partials, strength, decays, sample_rate)
        for start in beats(rng, rng.uniform(0.9, 2.5), 0.1, seconds):
            place(waveform, rng.uniform(0.5, 1) * bell, start, sample_rate)
    return waveform


def engine(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """An idling motor: one pulse for each firing, four uneven cylinders, and the noise of air."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    firings = np.cumsum(rng.uniform(18, 60) * drift(rng, 0.9, 1.1, 0.4, t)) / sample_rate
    cylinder = rng.uniform(0.6, 1, 4)[firings.astype(int) % 4]
    pulses = cylinder * np.exp(-rng.uniform(5, 12) * (firings % 1))
    tone = filtered(pulses, 30, rng.uniform(300, 1200), sample_rate)
    air = filtered(rng.standard_normal(len(t)), 200, rng.uniform(1500, 4000), sample_rate)
    return tone + rng.uniform(0.1, 0.6) * pulses * air


def wind(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Gusts: a narrow band of noise whose centre and strength rise and fall together."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    gust = drift(rng, 0, 1, rng.uniform(0.5, 1.5), t)
    centre = rng.uniform(120, 350) * (1 + rng.uniform(0.5, 2.5) * gust)
    phase = 2 * np.pi * np.cumsum(centre) / sample_rate
    width = rng.uniform(40, 160)
    cosine, sine = (filtered(rng.standard_normal(len(t)), 1, width, sample_rate) for _ in range(2))
    howl = (0.15 + gust) * (cosine * np.cos(phase) + sine * np.sin(phase))
    return howl + rng.uniform(0.1, 0.5) * filtered(rng.standard_normal(len(t)), 30, 200, sample_rate)


def water_drops(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Drops into a basin: each closes a bubble, whose tone rises as it shrinks and dies away."""
    waveform = silence(seconds, sample_rate)
    for start in beats(rng, rng.uniform(0.15, 1.2), 0.8, seconds):
        decay = rng.uniform(0.01, 0.04)
        t = np.arange(round(6 * decay * sample_rate)) / sample_rate
        frequency = rng.uniform(500, 1800) * (1 + rng.uniform(2, 10) * np.minimum(t, 0.1))
        drop = np.minimum(1, t / 0.002) * np.exp(-t / decay) * swept(frequency, sample_rate)
        place(waveform, rng.uniform(0.3, 1) * drop, start, sample_rate)
    return waveform


def helicopter(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Rotor blades that chop low noise eight to twenty times a second, below a turbine's whine."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    blade = rng.uniform(8, 20) * t + rng.uniform()
    chop = np.exp(-rng.uniform(3, 7) * (blade % 1))
    thump = filtered(rng.standard_normal(len(t)), 40, rng.uniform(150, 600), sample_rate)
    air = filtered(rng.standard_normal(len(t)), 500, 3000, sample_rate)
    whine = swept(rng.uniform(900, 3000) * drift(rng, 0.99, 1.01, 1, t), sample_rate)
    distance = drift(rng, 0.6, 1, 2, t)  # it flies by
    return distance * (chop * (thump + 0.3 * air) + rng.uniform(0, 0.08) * whine)


def car_horn(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """One to four honks of two reeds a third apart, rich in harmonics."""
    waveform = silence(seconds, sample_rate)
    low = rng.uniform(300, 480)
    sharpness = rng.uniform(2, 8)
    start = rng.uniform(0, seconds / 3)
    for _ in range(rng.integers(1, 5)):
        length = rng.uniform(0.15, 1.2)
        t = np.arange(round(length * sample_rate)) / sample_rate
        reeds = (np.sin(2 * np.pi * f * t) for f in (low, 1.26 * low))
        honk = sum(np.tanh(sharpness * reed + 0.5) for reed in reeds)
        honk = filtered(honk, 250, 6000, sample_rate)
        place(waveform, honk * np.minimum(1, 50 * np.minimum(t, length - t)), start, sample_rate)
        start += length + rng.uniform(0.08, 0.6)
    return waveform


# By ESC-50's own numbers; a function's name is ESC-50's name of the class. ``-classes n`` takes
# the first n, so the first ten are of every kind: noises, tones and blows.
SOUNDS: dict[int, Sound] = {
    10: rain,
    11: sea_waves,
    12: crackling_fire,
    13: crickets,
    14: chirping_birds,
    25: footsteps,
    30: door_wood_knock,
    38: clock_tick,
    42: siren,
    46: church_bells,
    44: engine,
    16: wind,
    15: water_drops,
    40: helicopter,
    43: car_horn,
}


# ------------------------------------------------------------------------------------------ clips


def background(rng: Generator, num_samples: int, sample_rate: int) -> np.ndarray:
    """[T] noise of a random colour, from white to brown, at unit RMS."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    frequency = np.maximum(np.fft.rfftfreq(num_samples, 1 / sample_rate), 20)
    noise = np.fft.irfft(spectrum * frequency ** -rng.uniform(0, 1), num_samples)
    return noise / noise.std()


def record(sound: Sound, rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A clip of a sound: [T] samples in [-1, 1], before a background and at a distance."""
    waveform = sound(rng, seconds, sample_rate)
    snr_db = rng.uniform(0, 25)
    noise = background(rng, len(waveform), sample_rate)
    waveform = waveform / waveform.std() + 10 ** (-snr_db / 20) * noise
    peak_db = rng.uniform(-20, -1)
    return 10 ** (peak_db / 20) * waveform / np.abs(waveform).max()


class Parameters(NamedTuple):
    """What a set is made from; the same parameters make the same bytes."""

    classes: int = 10
    clips_per_fold: int = 4
    folds: int = 5
    seconds: float = 5.0
    sample_rate: int = 44_100
    seed: int = 0


class Take(NamedTuple):
    """One clip of a set: what seeds its generator, and names it."""

    target: int
    fold: int
    take: int

    @property
    def source(self) -> str:
        """The recording that it is cut from; as in ESC-50, one source lies in one fold alone."""
        return f"9{self.target:02d}{self.fold:02d}{self.take // len(TAKES):02d}"

    @property
    def letter(self) -> str:
        """Which cut of its source it is: A, B, ..."""
        return TAKES[self.take % len(TAKES)]

    @property
    def filename(self) -> str:
        """Its official form: fold, source, letter and target."""
        return f"{self.fold}-{self.source}-{self.letter}-{self.target}.wav"


def takes(parameters: Parameters) -> list[Take]:
    """Every clip of a set, in the order of ``meta/esc50.csv``."""
    all_takes = (
        Take(target, fold, take)
        for target in list(SOUNDS)[: parameters.classes]
        for fold in range(1, parameters.folds + 1)
        for take in range(parameters.clips_per_fold)
    )
    return sorted(all_takes, key=lambda take: take.filename)


def wav_file(take: Take, parameters: Parameters) -> bytes:
    """The bytes of a 16-bit mono WAV file; they depend on the take and on no other clip."""
    rng = np.random.default_rng([parameters.seed, *take])
    sound = SOUNDS[take.target]
    waveform = record(sound, rng, parameters.seconds, parameters.sample_rate)
    samples = np.round(32767 * waveform).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, samples, parameters.sample_rate, subtype="PCM_16", format="WAV")
    return file.getvalue()


def meta_table(all_takes: list[Take]) -> bytes:
    """The bytes of ``meta/esc50.csv``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for take in all_takes:
        category, esc10 = SOUNDS[take.target].__name__, take.target in ESC10
        writer.writerow([take.filename, take.fold, take.target, category, esc10, take.source, take.letter])
    return text.getvalue().encode()


# ----------------------------------------------------------------------------------------- writing


def check_parameters(parameters: Parameters) -> None:
    """Raise unless every parameter is within its range."""
    ranges = {
        "classes": (1, len(SOUNDS)),
        "clips_per_fold": (1, 100 * len(TAKES)),
        "folds": (2, 99),
        "seconds": (1, 60),
        "sample_rate": (MIN_SAMPLE_RATE, 192_000),
        "seed": (0, 2**32 - 1),
    }
    for name, (low, high) in ranges.items():
        value = getattr(parameters, name)
        if not low <= value <= high:
            raise ValueError(f"-{name} is {value}; expected a number from {low} to {high}")


def check_folder(folder: Path, parameters: Parameters) -> None:
    """Raise unless ``folder`` is new, empty, or holds a set of the same parameters."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: is a file; expected a new or empty folder")
    if (folder / RECEIPT).is_file():
        if (folder / RECEIPT).read_bytes() != receipt(parameters):
            raise FileExistsError(
                f"{folder}: holds a synthetic set of other parameters (see {RECEIPT} in it); "
                "delete it or choose another folder"
            )
    elif any(folder.iterdir()):
        raise FileExistsError(
            f"{folder}: holds files that were not made here; expected a new or empty folder"
        )


def receipt(parameters: Parameters) -> bytes:
    """The bytes of the file that says what a set was made from."""
    return json.dumps(parameters._asdict(), indent=1).encode() + b"\n"


def replace_file(path: Path, content: bytes) -> None:
    """Write a file that is never seen half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_set(folder: Path, parameters: Parameters) -> int:
    """Write a set and return its number of clips.

    A second run with the same parameters writes the same bytes again.

    Raises:
        ValueError: a parameter lies outside its range.
        OSError: ``folder`` holds anything but a set of the same parameters.
    """
    check_parameters(parameters)
    check_folder(folder, parameters)
    # The receipt comes first and the table last: an interrupted run can be repeated, and is not
    # taken for a whole set before.
    replace_file(folder / RECEIPT, receipt(parameters))
    all_takes = takes(parameters)
    for take in tqdm(all_takes, desc="synthesising", unit="clip", leave=False, disable=None):
        replace_file(folder / "audio" / take.filename, wav_file(take, parameters))
    replace_file(folder / "meta" / "esc50.csv", meta_table(all_takes))
    return len(all_takes)


def get_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Where to write, and the parameters of the set."""
    defaults = Parameters()
    parser = argparse.ArgumentParser(
        description="Make a small set of synthetic sounds in the layout of ESC-50.",
        epilog="example:\n  python3 data/synth/esc50.py demo_data/esc50 -classes 10",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", metavar="PATH", help="a new or empty folder")
    texts = {
        "classes": f"the first of {len(SOUNDS)} classes",
        "clips_per_fold": "clips of each class in each fold",
        "folds": "folds of the cross-validation",
        "seconds": "length of a clip",
        "sample_rate": "samples a second",
        "seed": "the same seed makes the same bytes",
    }
    for name, text in texts.items():
        default = getattr(defaults, name)
        parser.add_argument(
            f"-{name}",
            type=type(default),
            default=default,
            metavar="N",
            help=f"{text} (default: {default})",
        )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Write the set and return the exit status."""
    args = vars(get_args(argv))
    folder = Path(args.pop("path"))
    parameters = Parameters(**args)
    try:
        num_clips = write_set(folder, parameters)
    except (OSError, ValueError) as error:
        print(f"esc50.py: {error}", file=sys.stderr)
        return 1
    print(
        f"Wrote {num_clips} clips of {parameters.classes} classes in {parameters.folds} folds "
        f"to {folder}. Next:\n"
    )
    prepare = Path(os.path.relpath(__file__)).parent.parent / "prepare.py"
    print(f"  {shlex.join(['python3', str(prepare), 'esc50', str(folder)])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
