"""Generated music in the layout of GTZAN: ten genres from rhythm, harmony, timbre and tempo.

The ranges of the genres overlap: a piano may play in seven of them, and most have the same tempos. What
tells them apart is how rhythm, harmony, timbre and tempo go together.
"""

import zlib
from typing import NamedTuple

import numpy as np

from .music import Drum, Instrument, Kit, Part, Style, compose, record_score
from .writing import Plan, check_size, wav_bytes

SAMPLE_RATE = 22_050
HELD = (50.0, 60.0)  # s: a note that does not decay


class Size(NamedTuple):
    """How much is generated."""

    clips: int  # of each genre; ten folds need ten
    seconds: float


SIZES = {"tiny": Size(10, 3), "demo": Size(40, 10), "large": Size(100, 30)}  # large: GTZAN's own

# fmt: off
INSTRUMENTS = {
    "piano": Instrument("keys", slope=(1.1, 1.7), decay=(0.4, 1.1), detune=(0.5, 3), pluck=(0.1, 0.15),
        bright=(0.3, 1.2)),
    "electric_piano": Instrument("keys", slope=(1.8, 2.8), decay=(0.4, 1.0), bright=(0.3, 2),
        fade=(0.03, 0.15)),
    "clavinet": Instrument("keys", slope=(0.4, 0.8), decay=(0.15, 0.4), pluck=(0.05, 0.12)),
    "drawbar_organ": Instrument("organ", slope=(0.8, 1.6), attack=(0.004, 0.01), decay=HELD, bright=(0, 0.2),
        vibrato=(0, 15)),
    "acoustic_guitar": Instrument("guitar", slope=(0.8, 1.3), decay=(0.25, 0.7), pluck=(0.1, 0.3),
        body=(90, 220), breath=(0, 0.03)),
    "clean_guitar": Instrument("guitar", slope=(0.9, 1.5), decay=(0.25, 0.7), pluck=(0.1, 0.25)),
    "pedal_steel": Instrument("guitar", slope=(1.2, 1.9), attack=(0.02, 0.08), decay=(1, 3),
        vibrato=(8, 25)),
    "overdriven_guitar": Instrument("guitar", slope=(0.8, 1.3), decay=(0.8, 2), pluck=(0.1, 0.3),
        drive=(2, 6), vibrato=(0, 12)),
    "distorted_guitar": Instrument("guitar", slope=(0.6, 1.1), decay=(1, 3), pluck=(0.1, 0.3), drive=(6, 20),
        body=(1200, 2800)),
    "five_string": Instrument("guitar", slope=(0.5, 0.9), decay=(0.12, 0.3), pluck=(0.08, 0.2),
        body=(300, 700)),
    "fiddle": Instrument("strings", slope=(0.6, 1.1), attack=(0.02, 0.06), decay=HELD, vibrato=(3, 20),
        breath=(0.02, 0.1), body=(800, 1600), bright=(0, 0.3)),
    "viola": Instrument("strings", slope=(0.9, 1.3), attack=(0.04, 0.12), decay=HELD, vibrato=(8, 25),
        breath=(0.02, 0.06), body=(350, 800), bright=(0, 0.3)),
    "string_section": Instrument("strings", slope=(0.9, 1.4), attack=(0.06, 0.2), decay=HELD, detune=(6, 14),
        vibrato=(3, 10), body=(400, 1200), bright=(0, 0.2)),
    "flute": Instrument("wind", slope=(1.8, 2.6), attack=(0.03, 0.07), decay=HELD, vibrato=(5, 20),
        breath=(0.05, 0.2)),
    "bassoon": Instrument("wind", slope=(0.7, 1.1), attack=(0.02, 0.05), decay=HELD, body=(400, 600)),
    "harmonica": Instrument("wind", slope=(0.4, 0.8), attack=(0.02, 0.06), decay=HELD, vibrato=(5, 30),
        breath=(0.02, 0.1), body=(1200, 2200)),
    "saxophone": Instrument("wind", slope=(0.6, 1.0), attack=(0.02, 0.05), decay=HELD, vibrato=(5, 20),
        breath=(0.03, 0.15), body=(600, 1400)),
    "trumpet": Instrument("wind", slope=(0.6, 1.0), attack=(0.02, 0.05), decay=HELD, vibrato=(0, 12),
        body=(1000, 2000), bright=(0.5, 1.2)),
    "horn_section": Instrument("wind", slope=(0.6, 1.0), attack=(0.02, 0.05), decay=(0.6, 2), detune=(5, 12),
        body=(500, 1200)),
    "synth_lead": Instrument("synth", slope=(0.7, 1.1), attack=(0.004, 0.02), decay=HELD, detune=(4, 12),
        vibrato=(0, 15), bright=(0, 1)),
    "synth_pad": Instrument("synth", slope=(1.0, 1.6), attack=(0.1, 0.5), decay=HELD, detune=(6, 16),
        bright=(0, 0.2)),
    "double_bass": Instrument("bass", slope=(1.3, 1.9), decay=(0.3, 0.6), pluck=(0.2, 0.4), body=(80, 150)),
    "electric_bass": Instrument("bass", slope=(1.1, 1.7), decay=(0.4, 1.0), pluck=(0.1, 0.25)),
    "synth_bass": Instrument("bass", slope=(0.8, 1.3), decay=(0.2, 0.8), fade=(0.03, 0.15)),
    "boom_bass": Instrument("bass", slope=(2, 3), decay=(0.5, 1.2), bright=(0, 0.2)),
}
DRUMS = {
    "kick": Drum(pitch=(48, 75), fall=(2, 4), decay=(0.07, 0.2), noise=(0.05, 0.3), rattle=(0.005, 0.015)),
    "boom": Drum(pitch=(40, 55), fall=(2, 4), decay=(0.25, 0.5), noise=(0, 0.05)),
    "snare": Drum(pitch=(160, 230), fall=(1.1, 1.4), decay=(0.05, 0.12), noise=(0.8, 2), band=(1000, 8000),
        rattle=(0.06, 0.15)),
    "hat": Drum(noise=(1, 1), band=(5500, 10_000), rattle=(0.015, 0.05)),
    "open_hat": Drum(noise=(1, 1), band=(5000, 10_000), rattle=(0.1, 0.25)),
    "ride": Drum(pitch=(2800, 4200), decay=(0.2, 0.5), modes=(1, 1.34, 1.79, 2.3), noise=(0.5, 1),
        band=(4000, 10_000), rattle=(0.1, 0.3)),
    "crash": Drum(noise=(1, 1), band=(3000, 10_000), rattle=(0.3, 0.7)),
    "tom": Drum(pitch=(80, 160), fall=(1.2, 1.6), decay=(0.15, 0.3), noise=(0.1, 0.3), rattle=(0.01, 0.03)),
    "rim": Drum(pitch=(700, 1100), decay=(0.01, 0.025), modes=(1, 1.9), noise=(0.2, 0.6),
        rattle=(0.005, 0.015)),
    "brush": Drum(noise=(1, 1), band=(1500, 6000), rattle=(0.06, 0.15)),
    "clap": Drum(noise=(1, 1), band=(900, 3500), rattle=(0.04, 0.1), strokes=4),
    "shaker": Drum(noise=(1, 1), band=(4000, 9500), rattle=(0.02, 0.06), strokes=2),
}

GENRES = {
    "blues": Style(
        tempo=(62, 130), scales=("mixolydian", "mixolydian", "minor"),
        progressions=("1 1 1 1 4 4 1 1 5 4 1 5", "1 4 1 1 4 4 1 1 5 4 1 1", "1 1 4 1 5 4"),
        melody=("blues", "minor pentatonic"), steps=2, chord_beats=(4, 8), swing=(0.56, 0.67), parallel=True,
        drummed=0.85,
        parts=(
            Part(
                "piano drawbar_organ clean_guitar acoustic_guitar",
                ("x - x x - x x -", "x . - x . . - x", "- - x - - - x -"), 3, (-10, -3), presence=0.9,
                voicing="1357",
            ),
            Part(
                "double_bass electric_bass", ("1 . 3 . 5 . 6 .", "1 . 1 . 5 . 5 .", "1 1 5 5 6 6 5 5"), 2,
                (-7, -2),
            ),
            Part(
                "harmonica overdriven_guitar clean_guitar saxophone",
                ("~ . ~ ~ ~ . . .", "- ~ ~ . ~ ~ - .", "~ . . . - . ~ ~"), 5, (-5, 0), presence=0.85,
            ),
        ),
        kits=(
            Kit({"kick": "X...X...", "snare": "..X...X.", "hat": "XxXxXxXx"}, (-8, 0)),
            Kit({"kick": "X..oX...", "snare": "..X...X.", "ride": "XxXxXxXx"}, (-8, 0)),
            Kit({"brush": "xxXxxxXx", "kick": "x...x..."}, (-12, -5)),
        ),
    ),
    "classical": Style(
        tempo=(58, 150), scales=("major", "harmonic minor", "minor"),
        progressions=("1 5 1 4 2 5 1 1", "1 2 5 1 6 4 5 1", "1 4 7 3 6 2 5 1", "1 5 6 5"), steps=2,
        chord_beats=(2, 4), loose_ms=(5, 30), omit=(0, 0.05),
        parts=(
            Part(
                "piano string_section",
                ("1 5 3 5 1 5 3 5", "1 3 5 8 5 3 1 3", "x . . . x . . .", "x . x . x . x ."), 4, (-9, -3),
                presence=0.85,
            ),
            Part(
                "double_bass bassoon viola string_section", ("1 . . . 1 . . .", "1 . 3 . 5 . 1 ."), 3,
                (-10, -4), presence=0.7,
            ),
            Part(
                "viola flute piano string_section fiddle bassoon",
                ("~ . ~ ~ ~ . ~ .", "~ . . ~ ~ ~ ~ ~", "~ . . . ~ . . ~", "~ ~ ~ ~ ~ ~ ~ ~"), 5, (-4, 0),
            ),
        ),
    ),
    "country": Style(
        tempo=(84, 150), scales=("major", "major", "mixolydian"),
        progressions=("1 1 4 4 1 5 1 1", "1 4 1 5", "1 5 4 1", "1 4 5 5"),
        melody=("major pentatonic", "major"), steps=2, chord_beats=(4, 8), swing=(0.5, 0.58), drummed=0.75,
        parts=(
            Part(
                "acoustic_guitar five_string clean_guitar",
                ("1 . x . 5 . x .", "1 . x x 5 . x x", "x . x x . x x x"), 3, (-7, -1),
            ),
            Part(
                "electric_bass double_bass", ("1 . . . 5 . . .", "1 . 5 . 1 . 5 ."), 2, (-8, -3),
                presence=0.9,
            ),
            Part(
                "pedal_steel fiddle harmonica five_string clean_guitar",
                ("~ . . . ~ . ~ .", "~ ~ ~ . ~ . ~ ~", "~ . ~ . . . - ."), 5, (-6, 0), presence=0.85,
            ),
        ),
        kits=(
            Kit({"kick": "X...X...", "snare": "..X...X.", "hat": "x.xxx.xx"}, (-12, -3)),
            Kit({"snare": "xxXxxxXx", "kick": "X...X..."}, (-12, -3)),
            Kit({"brush": "xxXxxxXx", "rim": "..X...X.", "kick": "X...X..."}, (-12, -4)),
        ),
    ),
    "disco": Style(
        tempo=(108, 132), scales=("minor", "dorian", "major"),
        progressions=("1 4", "1 6 7 1", "1 7 6 5", "2 5 1 6"), chord_beats=(4, 8), loose_ms=(0, 5),
        omit=(0, 0.06),
        parts=(
            Part(
                "electric_bass synth_bass", ("1 . 8 . 1 . 8 .", "1 . 8 . 1 8 . 8", "1 . . 1 . 8 5 8"), 2,
                (-6, 0),
            ),
            Part(
                "clean_guitar clavinet electric_piano",
                ("- x x - - x x -", "x - x x - x x -", "- . x . - . x ."), 4, (-10, -4), presence=0.85,
                voicing="1357",
            ),
            Part(
                "string_section synth_pad horn_section",
                ("x . . . . . . .", "~ . ~ . ~ . . . - . . . . . . .", "~ ~ ~ ~ ~ . . . - . . . ~ ~ ~ ."), 5,
                (-8, -2), presence=0.85,
            ),
            Part("synth_lead saxophone trumpet", ("~ . . ~ . . ~ .",), 5, (-10, -3), presence=0.4),
        ),
        kits=(
            Kit(
                {"kick": "X...X...X...X...", "snare": "....X.......X...", "open_hat": "..X...X...X...X."},
                (-3, 4),
            ),
            Kit({"kick": "X...X...X...X...", "clap": "....X.......X...", "hat": "x.XxX.xxx.XxX.xx"}, (-3, 4)),
            Kit(
                {
                    "kick": "X...X...X...X...",
                    "snare": "....X.......X..o",
                    "hat": "xxxxxxxxxxxxxxxx",
                    "open_hat": "..X...X...X...X.",
                },
                (-3, 4),
            ),
        ),
    ),
    "hiphop": Style(
        tempo=(76, 108), scales=("minor", "dorian", "phrygian"), progressions=("1", "1 6", "1 4", "1 7"),
        melody=("minor pentatonic", "minor"), chord_beats=(8, 16), swing=(0.5, 0.6), loose_ms=(2, 18),
        parts=(
            Part(
                "boom_bass synth_bass electric_bass",
                (
                    "1 . . . . . 1 . . . 1 . . . . .",
                    "1 . . 1 . . . . - . 5 . . . . .",
                    "1 . . . . . . . 1 . 3 . . . . .",
                ),
                2, (-5, 1),
            ),
            Part(
                "electric_piano piano clavinet string_section",
                (
                    "x . . . . . . . x . . . - . . .",
                    "- . x . . . x . - . x . . . . .",
                    "* . * . * . . * . . * . * . . .",
                ),
                4, (-11, -4), presence=0.8, voicing="1357",
            ),
            Part(
                "synth_lead flute trumpet piano",
                ("* . . * . . * . * . . . * . . .", "~ . . ~ . . ~ . . . - . . . . ."), 5, (-12, -5),
                presence=0.5,
            ),
        ),
        kits=(
            Kit(
                {"kick": "X......o..X.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."}, (-2, 5),
            ),
            Kit({"boom": "X.....X...X..o..", "clap": "....X.......X...", "hat": "xxx.x.xxx.x.xxxx"}, (-2, 5)),
            Kit(
                {
                    "kick": "X.X....X..X..o..",
                    "snare": "....X..o....X...",
                    "hat": "x.x.x.x.x.x.x.xx",
                    "open_hat": "......x.........",
                },
                (-2, 5),
            ),
        ),
    ),
    "jazz": Style(
        tempo=(90, 210), scales=("major", "dorian", "mixolydian"),
        progressions=("2 5 1 6", "1 6 2 5", "3 6 2 5 1 4", "1 4 3 6 2 5"),
        melody=("major", "dorian", "blues"), steps=2, chord_beats=(2, 4), swing=(0.56, 0.67),
        loose_ms=(4, 20), drummed=0.8,
        parts=(
            Part(
                "piano clean_guitar electric_piano drawbar_organ",
                ("x . . x - . . .", "- x . . . x . -", "x . - . . x . -", "- . . x - . x -"), 4, (-10, -4),
                presence=0.9, voicing="1379",
            ),
            Part(
                "double_bass double_bass electric_bass",
                ("1 . 3 . 5 . 6 .", "1 . 2 . 3 . 5 .", "1 . 5 . 8 . 6 ."), 2, (-6, -1),
            ),
            Part(
                "saxophone trumpet piano clean_guitar flute",
                ("~ ~ ~ ~ ~ . ~ ~", "~ . ~ ~ - ~ ~ ~", "~ . . ~ ~ ~ * *", "- ~ ~ ~ ~ . - ."), 5, (-5, 0),
                presence=0.9,
            ),
        ),
        kits=(
            Kit({"ride": "X.XxX.Xx", "hat": "..X...X.", "kick": "o...o..."}, (-12, -4)),
            Kit({"ride": "X.XxX.Xx", "snare": "...o..o.", "kick": "o....o.."}, (-12, -4)),
            Kit({"brush": "X.XxX.Xx", "hat": "..X...X."}, (-12, -4)),
        ),
    ),
    "metal": Style(
        tempo=(90, 190), scales=("minor", "phrygian", "harmonic minor"),
        progressions=("1 1 2 1", "1 6 7 1", "1 3 2 1", "1 6 4 5"), chord_beats=(2, 4, 8), parallel=True,
        loose_ms=(0, 6), omit=(0, 0.06),
        parts=(
            Part(
                "distorted_guitar distorted_guitar overdriven_guitar",
                ("x x x x x x x x", "x . x x x . x x", "x - x - x x x -", "x . . . . . . ."), 2, (-2, 1),
                voicing="158",
            ),
            Part(
                "electric_bass", ("1 1 1 1 1 1 1 1", "1 . 1 1 1 . 1 1", "1 . 1 . 1 . 1 ."), 2, (-10, -3),
                presence=0.9,
            ),
            Part(
                "overdriven_guitar distorted_guitar synth_pad",
                ("~ ~ ~ ~ ~ ~ ~ ~", "~ . . . ~ . ~ ~", "~ . . . . . . ."), 4, (-10, -3), presence=0.45,
            ),
        ),
        kits=(
            Kit(
                {"kick": "XXXXXXXXXXXXXXXX", "snare": "....X.......X...", "crash": "X..............."},
                (-4, 3),
            ),
            Kit(
                {"kick": "X.XXX.XXX.XXX.XX", "snare": "....X.......X...", "ride": "X...X...X...X..."},
                (-4, 3),
            ),
            Kit(
                {"kick": "X.X...X.X.X...X.", "snare": "....X.......X..o", "open_hat": "X...X...X...X..."},
                (-4, 3),
            ),
        ),
    ),
    "pop": Style(
        tempo=(88, 134), scales=("major", "major", "minor"),
        progressions=("1 5 6 4", "6 4 1 5", "1 6 4 5", "4 1 5 6"), melody=("major", "major pentatonic"),
        steps=2, loose_ms=(0, 8), drummed=0.9,
        parts=(
            Part(
                "piano acoustic_guitar synth_pad clean_guitar electric_piano",
                ("x . x . x . x x", "x . . x . . x .", "x . . . . . . .", "x x x x x x x x"), 4, (-8, -2),
            ),
            Part(
                "electric_bass synth_bass", ("1 . . 1 1 . . .", "1 1 1 1 1 1 1 1", "1 . . . 1 . . 1"), 2,
                (-7, -1),
            ),
            Part(
                "synth_lead piano string_section flute",
                ("~ . ~ ~ . ~ ~ .", "~ ~ . ~ . . - .", "~ . . ~ ~ . . ."), 5, (-6, 0), presence=0.8,
            ),
        ),
        kits=(
            Kit({"kick": "X..oX...", "snare": "..X...X.", "hat": "xxxxxxxx"}, (-6, 2)),
            Kit({"kick": "X.X.X.X.", "clap": "..X...X.", "hat": ".x.x.x.x"}, (-6, 2)),
            Kit({"kick": "X..X.X..", "snare": "..X...X.", "shaker": "xxxxxxxx"}, (-6, 2)),
        ),
    ),
    "reggae": Style(
        tempo=(66, 98), scales=("minor", "major", "dorian"), progressions=("1 4", "1 7", "1 2", "1 5 4 1"),
        melody=("minor pentatonic", "major pentatonic"), chord_beats=(4, 8), swing=(0.5, 0.6), drummed=0.9,
        parts=(
            Part("clean_guitar piano drawbar_organ", ("- . x - - . x -", "- . x x - . x -"), 4, (-7, -1)),
            Part(
                "electric_bass boom_bass",
                (
                    "1 . . . - . 1 . 3 . 5 . - . . .",
                    "- . . . 1 . 1 . 5 . . . 3 . 1 .",
                    "1 . 1 . . . 5 . - . . . 5 . 3 .",
                ),
                2, (-4, 1),
            ),
            Part(
                "drawbar_organ clavinet", ("- x - x - x - x", "- . x . - . x x"), 4, (-13, -6), presence=0.6,
            ),
            Part(
                "horn_section trumpet saxophone flute",
                ("~ . ~ ~ . . - . - . . . . . . .", "~ . . ~ . . ~ . . . - . ~ . . ."), 5, (-9, -3),
                presence=0.5,
            ),
        ),
        kits=(
            Kit({"kick": "........X.......", "rim": "........X.....o.", "hat": "x.x.x.x.x.x.x.xx"}, (-6, 2)),
            Kit(
                {"kick": "X...X...X...X...", "snare": "........X.......", "hat": "..x...x...x...x."}, (-6, 2),
            ),
            Kit(
                {
                    "kick": "........X.......",
                    "snare": "........X......o",
                    "shaker": "xxxxxxxxxxxxxxxx",
                    "tom": ".............oo.",
                },
                (-6, 2),
            ),
        ),
    ),
    "rock": Style(
        tempo=(92, 156), scales=("mixolydian", "minor", "major"),
        progressions=("1 4 5 4", "1 7 4 1", "1 6 7 1", "1 5 4 4"),
        melody=("minor pentatonic", "blues", "major pentatonic"), steps=2, chord_beats=(2, 4, 8),
        parallel=True,
        parts=(
            Part(
                "overdriven_guitar distorted_guitar clean_guitar acoustic_guitar",
                ("x . x x . x x .", "x x x x x x x x", "x . . x . . x .", "x - x - x x - x"), 3, (-6, 0),
                voicing="158",
            ),
            Part("electric_bass", ("1 1 1 1 1 1 1 1", "1 . 1 1 . 1 1 .", "1 . . 1 1 . 5 ."), 2, (-8, -2)),
            Part(
                "overdriven_guitar drawbar_organ piano harmonica",
                ("~ . ~ ~ ~ . . .", "~ ~ ~ . ~ . ~ .", "~ . . . . . ~ ~"), 5, (-8, -2), presence=0.65,
            ),
        ),
        kits=(
            Kit({"kick": "X...Xo..", "snare": "..X...X.", "hat": "XxXxXxXx"}, (-5, 3)),
            Kit({"kick": "X..X.X..", "snare": "..X...X.", "ride": "X.X.X.X."}, (-5, 3)),
            Kit(
                {"kick": "X...X..o", "snare": "..X...X.", "crash": "X.......", "open_hat": "X.X.X.X."},
                (-5, 3),
            ),
        ),
    ),
}
# fmt: on


class Excerpt(NamedTuple):
    """One clip: what seeds its generator."""

    genre: str
    number: int
    seconds: float
    seed: int


def wav_file(excerpt: Excerpt) -> bytes:
    """The bytes of one excerpt; they depend on no other."""
    rng = np.random.default_rng([excerpt.seed, zlib.crc32(excerpt.genre.encode()), excerpt.number])
    score = compose(GENRES[excerpt.genre], rng, excerpt.seconds, INSTRUMENTS, DRUMS)
    return wav_bytes(record_score(score, rng, SAMPLE_RATE), SAMPLE_RATE)


def plan(size: str, seed: int) -> Plan:
    """The files of a set: ``genres_original/<genre>/<genre>.<number>.wav``, 22.05 kHz mono.

    Raises:
        ValueError: ``size`` is not one of ``SIZES``.
    """
    check_size(size)
    num_clips, seconds = SIZES[size]
    excerpts = [Excerpt(genre, i, seconds, seed) for genre in GENRES for i in range(num_clips)]
    paths = [f"genres_original/{clip.genre}/{clip.genre}.{clip.number:05d}.wav" for clip in excerpts]
    return Plan(dict(zip(paths, excerpts)), wav_file, {})
