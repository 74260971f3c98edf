"""Twenty-six of ESC-50's classes, each a few lines of acoustics with random pitch, tempo and decay.

Noises, tones, calls and blows, all of them below 8 kHz, so that they survive resampling to 16 kHz.
``CLASSES`` has them under ESC-50's own numbers; a function's name is ESC-50's name of the class.
"""

import numpy as np
from numpy.random import Generator
from scipy.signal import fftconvolve

from .acoustics import (
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
    ring,
    silence,
    sparse,
    swept,
    times,
)

# ------------------------------------------------------------- weather, water, fire, animals, people


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


def dog(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Barks, alone or in pairs: a voice that leaps up and falls within a tenth of a second or two."""
    waveform = silence(seconds, sample_rate)
    height, length = rng.uniform(180, 600), rng.uniform(0.09, 0.25)
    throat = rng.uniform(0.8, 1.25) * np.array([700, 1500, 2800])
    t = times(length, sample_rate)
    for start in beats(rng, rng.uniform(0.5, 1.6), 0.5, seconds):
        for bark in range(rng.integers(1, 3)):
            pitch = height * rng.uniform(0.9, 1.1) * contour(t, 0.7, 1.2, 1, 0.6)
            voice = buzz(pitch, sample_rate) + rng.uniform(0.05, 0.3) * rng.standard_normal(len(t))
            voice = formants(voice, throat, [1, 0.7, 0.3], sample_rate, width=0.5)
            place(waveform, voice * arch(t, 0.012, 0.6 * length), start + 1.3 * bark * length, sample_rate)
    return waveform


def cat(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Meows: half a second or more of a voice that rises and falls while the mouth opens and closes."""
    waveform = silence(seconds, sample_rate)
    height = rng.uniform(350, 800)
    for start in beats(rng, rng.uniform(1.2, 2.8), 0.4, seconds):
        t = times(rng.uniform(0.4, 1.1), sample_rate)
        pitch = height * contour(t, rng.uniform(0.7, 0.9), rng.uniform(1.1, 1.4), 1, rng.uniform(0.6, 0.9))
        voice = buzz(pitch * (1 + 0.01 * np.sin(2 * np.pi * rng.uniform(5, 9) * t)), sample_rate)
        mouth = contour(t, 0, 1, 0.8, 0)  # closed, open, closed
        closed, opened = (
            formants(voice, rng.uniform(0.9, 1.1) * np.array(f), [1, 0.5], sample_rate, width=0.4)
            for f in ([600, 2600], [1300, 2300])
        )
        place(waveform, ((1 - mouth) * closed + mouth * opened) * arch(t, 0.06, 0.2), start, sample_rate)
    return waveform


def frog(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Croaks: trains of pulses, thirty to ninety a second, each of which rings the throat sac."""
    waveform = silence(seconds, sample_rate)
    for _ in range(rng.integers(1, 4)):
        sac, pulse_rate = rng.uniform(350, 1400), rng.uniform(30, 90)
        pulse = ring([sac, rng.uniform(1.9, 2.6) * sac], [1, 0.5], [0.25 / pulse_rate] * 2, sample_rate)
        croak = silence(rng.uniform(0.15, 0.6), sample_rate)
        length = len(croak) / sample_rate
        for onset in np.arange(0, length, 1 / pulse_rate):
            place(croak, pulse * np.sin(np.pi * onset / length) ** 0.5, onset, sample_rate)
        strength = rng.uniform(0.2, 1)
        for start in beats(rng, length + rng.uniform(0.15, 1.2), 0.3, seconds):
            place(waveform, strength * croak, start, sample_rate)
    return waveform


def crow(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Caws in groups: a hoarse voice, whose pulses are uneven, through a wide beak."""
    waveform = silence(seconds, sample_rate)
    height, length = rng.uniform(280, 520), rng.uniform(0.2, 0.45)
    throat = rng.uniform(0.85, 1.2) * np.array([1100, 1800, 3200])
    t = times(length, sample_rate)
    for first in beats(rng, rng.uniform(1.6, 3.2), 0.3, seconds):
        for caw in range(rng.integers(1, 5)):
            rough = drift(rng, 0.8, 1.2, 0.006, t)
            voice = buzz(height * contour(t, 0.9, 1.1, 0.85) * rough, sample_rate)
            voice = voice + 0.15 * rng.standard_normal(len(t))
            voice = formants(voice, throat, [1, 0.8, 0.4], sample_rate, width=0.5)
            place(waveform, voice * arch(t, 0.03, 0.1), first + 1.5 * caw * length, sample_rate)
    return waveform


def thunderstorm(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Rain, and one or two rolls of thunder: a crack, then a rumble that swells, wanders and dies."""
    waveform = rng.uniform(0.02, 0.15) * rain(rng, seconds, sample_rate)
    for start in beats(rng, rng.uniform(0.7, 1.2) * seconds, 0.3, seconds):
        t = times(rng.uniform(1.5, 4), sample_rate)
        rumble = filtered(rng.standard_normal(len(t)), 25, rng.uniform(90, 250), sample_rate)
        rumble *= np.exp(-t / rng.uniform(0.6, 1.5)) * drift(rng, 0.2, 1, 0.15, t) * arch(t, 0.1, 0.3)
        crack = burst(rng, rng.uniform(0.02, 0.12), 200, rng.uniform(1000, 5000), sample_rate)
        place(waveform, rumble, start, sample_rate)
        place(waveform, rng.uniform(0, 0.8) * crack, start, sample_rate)
    return waveform


def clapping(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """One to twelve pairs of hands, each with its own pace and hollow."""
    waveform = silence(seconds, sample_rate)
    for _ in range(rng.integers(1, 13)):
        hollow, decay = rng.uniform(600, 2200), rng.uniform(0.004, 0.012)
        strength = rng.uniform(0.2, 1)
        for start in beats(rng, rng.uniform(0.18, 0.4), 0.15, seconds):
            clap = burst(rng, decay, hollow, 2 * hollow, sample_rate)
            place(waveform, strength * rng.uniform(0.6, 1) * clap, start, sample_rate)
    return waveform


# ------------------------------------------------------------------------ houses, streets, machines


def keyboard_typing(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """Runs of keys with pauses: a click going down, the thud of the board, a weaker click coming up."""
    waveform = silence(seconds, sample_rate)
    click_hz, board_hz = rng.uniform(2000, 4500), rng.uniform(150, 400)
    pace, time = rng.uniform(0.09, 0.25), rng.uniform(0, 0.5)
    while time < seconds:
        strength = rng.uniform(0.4, 1)
        down, up = (burst(rng, d, click_hz, 1.6 * click_hz, sample_rate) for d in (0.004, 0.002))
        thud = ring([board_hz, 2.7 * board_hz], [1, 0.6], [0.012, 0.006], sample_rate)
        place(waveform, strength * down, time, sample_rate)
        place(waveform, 0.6 * strength * thud, time, sample_rate)
        place(waveform, 0.4 * strength * up, time + rng.uniform(0.05, 0.11), sample_rate)
        time += pace * rng.lognormal(0, 0.4) + (rng.random() < 0.12) * rng.uniform(0.3, 1)
    return waveform


def vacuum_cleaner(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """The rush of air, the whine of a fan with its harmonics, both changing as the floor is swept."""
    t = times(seconds, sample_rate)
    floor = drift(rng, 0.85, 1, rng.uniform(0.5, 1.5), t)
    fan = rng.uniform(250, 650) * floor
    whine = sum(a * swept(k * fan, sample_rate) for k, a in [(1, 1), (2, 0.4)])
    air = filtered(rng.standard_normal(len(t)), rng.uniform(150, 500), rng.uniform(2000, 6000), sample_rate)
    return (air + rng.uniform(0.1, 0.5) * whine) * floor**2


def clock_alarm(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A digital alarm: two to four equal beeps, a pause, and again, without end."""
    pitch, beep, count = rng.uniform(900, 3200), rng.uniform(0.04, 0.12), rng.integers(2, 5)
    t = times(seconds, sample_rate)
    heard_from = rng.uniform(0, 2 * beep * (count - 1))  # before the last beep: no clip is all pause
    cycle = (t + heard_from) % (2 * beep * count + rng.uniform(0.2, 0.7))
    on = (cycle < 2 * beep * count) & (cycle % (2 * beep) < beep)
    tone = np.tanh(rng.uniform(1, 6) * np.sin(2 * np.pi * pitch * t))
    return filtered(on * tone, 0.5 * pitch, min(3 * pitch, 7500), sample_rate)


def glass_breaking(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A blow, then shards: dozens of small struck plates, dense at first, that fall and bounce."""
    waveform = silence(seconds, sample_rate)
    start = rng.uniform(0, 0.4 * seconds)
    place(waveform, 2 * burst(rng, rng.uniform(0.01, 0.04), 500, 6000, sample_rate), start, sample_rate)
    spread = rng.uniform(0.15, 0.6)
    for _ in range(rng.integers(25, 70)):
        modes = rng.uniform(1800, 5000) * np.array([1, 1.37, 1.52])
        shard = ring(modes, rng.uniform(0.2, 1, 3), rng.uniform(0.01, 0.06, 3), sample_rate)
        place(waveform, rng.uniform(0.05, 0.8) * shard, start + rng.exponential(spread), sample_rate)
    return waveform


def chainsaw(rng: Generator, seconds: float, sample_rate: int) -> np.ndarray:
    """A two-stroke engine that is revved again and again, harsh, with the rattle of its chain."""
    t = times(seconds, sample_rate)
    rev = drift(rng, 0.45, 1, rng.uniform(0.3, 1), t)
    firings = rng.uniform(90, 170) * rev
    motor = np.tanh(rng.uniform(2, 5) * buzz(firings, sample_rate) * 3)
    chain = filtered(rng.standard_normal(len(t)), 1500, 6500, sample_rate)
    chain *= 0.5 + 0.5 * swept(4 * firings, sample_rate)
    return (
        filtered(motor, 80, rng.uniform(2500, 5000), sample_rate) * rev + rng.uniform(0.1, 0.5) * rev * chain
    )


CLASSES: dict[int, Sound] = {
    0: dog,
    4: frog,
    5: cat,
    9: crow,
    10: rain,
    11: sea_waves,
    12: crackling_fire,
    13: crickets,
    14: chirping_birds,
    15: water_drops,
    16: wind,
    19: thunderstorm,
    22: clapping,
    25: footsteps,
    30: door_wood_knock,
    32: keyboard_typing,
    36: vacuum_cleaner,
    37: clock_alarm,
    38: clock_tick,
    39: glass_breaking,
    40: helicopter,
    41: chainsaw,
    42: siren,
    43: car_horn,
    44: engine,
    46: church_bells,
}
