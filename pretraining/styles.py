"""Music to pretrain on: styles that are none of GTZAN's ten genres, on instruments of their own.

A clip's labels are its style and what a listener could name: metre, mode, tempo, density, swing, the
families of its instruments, whether it has drums, whether one player is alone.
"""

import numpy as np
from numpy.random import Generator

from data.synth.music import (
    SCALES,
    Drum,
    Instrument,
    Kit,
    Part,
    Score,
    Style,
    compose,
    record_score,
)

SAMPLE_RATE = 16_000
SECONDS = 5.12
HELD = (50.0, 60.0)  # s: a note that does not decay

# fmt: off
INSTRUMENTS = {
    "harpsichord": Instrument("plucked", slope=(0.3, 0.7), decay=(0.5, 1.0), pluck=(0.05, 0.15),
        breath=(0, 0.02)),
    "harp": Instrument("plucked", slope=(1.3, 2.0), decay=(0.6, 1.5), pluck=(0.3, 0.5), bright=(0.1, 0.5)),
    "nylon_guitar": Instrument("plucked", slope=(1.0, 1.6), decay=(0.3, 0.8), pluck=(0.15, 0.3),
        body=(120, 260)),
    "banjo_lute": Instrument("plucked", slope=(0.5, 0.9), decay=(0.1, 0.3), pluck=(0.05, 0.15),
        body=(400, 900)),
    "sitar": Instrument("plucked", slope=(0.2, 0.5), decay=(0.6, 1.5), pluck=(0.1, 0.3), detune=(2, 8),
        body=(1500, 3500)),
    "violin": Instrument("bowed", slope=(0.8, 1.2), attack=(0.03, 0.1), decay=HELD, vibrato=(8, 30),
        breath=(0.02, 0.08), body=(700, 1500), bright=(0, 0.3)),
    "cello": Instrument("bowed", slope=(0.9, 1.4), attack=(0.05, 0.15), decay=HELD, vibrato=(5, 25),
        breath=(0.02, 0.06), body=(180, 450), bright=(0, 0.2)),
    "consort": Instrument("bowed", slope=(1.0, 1.5), attack=(0.08, 0.25), decay=HELD, vibrato=(2, 10),
        detune=(4, 12), body=(300, 900), bright=(0, 0.2)),
    "recorder": Instrument("flute", slope=(1.8, 2.8), attack=(0.02, 0.06), decay=HELD, breath=(0.05, 0.25),
        vibrato=(0, 15), even=(0.2, 0.6)),
    "pan_pipes": Instrument("flute", slope=(1.6, 2.4), attack=(0.03, 0.08), decay=HELD, breath=(0.3, 0.8),
        even=(0.05, 0.2)),
    "clarinet": Instrument("reed", slope=(0.8, 1.3), attack=(0.02, 0.06), decay=HELD, even=(0.0, 0.15),
        breath=(0.01, 0.05)),
    "oboe": Instrument("reed", slope=(0.4, 0.8), attack=(0.02, 0.05), decay=HELD, vibrato=(3, 15),
        body=(1000, 1600)),
    "accordion": Instrument("reed", slope=(0.5, 0.9), attack=(0.02, 0.06), decay=HELD, detune=(8, 20)),
    "bugle": Instrument("brass", slope=(0.5, 0.9), attack=(0.02, 0.05), decay=HELD, body=(900, 1600),
        bright=(0.8, 1.5), fade=(0.5, 1.5)),
    "french_horn": Instrument("brass", slope=(1.2, 1.8), attack=(0.04, 0.1), decay=HELD, body=(300, 600),
        bright=(0.1, 0.5)),
    "tuba": Instrument("brass", slope=(1.1, 1.6), attack=(0.03, 0.06), decay=(0.4, 1.0), body=(150, 300)),
    "pipe_organ": Instrument("organ", slope=(0.9, 1.4), attack=(0.02, 0.06), decay=HELD, bright=(0, 0),
        detune=(1, 4)),
    "harmonium": Instrument("organ", slope=(0.5, 0.8), attack=(0.05, 0.15), decay=HELD, detune=(3, 9),
        breath=(0.01, 0.04)),
    "celesta": Instrument("mallet", decay=(0.5, 1.0), partials=(1, 3.0, 4.2, 6.8)),
    "musical_comb": Instrument("mallet", decay=(0.3, 0.8), partials=(1, 5.9, 13.0)),
    "marimba": Instrument("mallet", decay=(0.1, 0.3), partials=(1, 3.93, 9.2)),
    "vibraphone_bar": Instrument("mallet", decay=(1.0, 2.5), partials=(1, 4.0, 10.1), detune=(0, 0),
        vibrato=(2, 8)),
    "bronze_bar": Instrument("mallet", decay=(0.6, 1.5), partials=(1, 2.76, 5.4, 8.93), detune=(0, 0)),
    "kettle_gong": Instrument("mallet", decay=(1.5, 3.0), partials=(1, 1.48, 2.02, 2.56, 3.4)),
    "glass_pad": Instrument("synth", slope=(1.5, 2.5), attack=(0.4, 1.2), decay=HELD, detune=(5, 15),
        bright=(0, 0)),
    "warm_pad": Instrument("synth", slope=(0.9, 1.4), attack=(0.3, 1.0), decay=HELD, detune=(6, 18),
        bright=(0, 0)),
    "square_chip": Instrument("synth", slope=(0.95, 1.05), attack=(0.001, 0.003), decay=HELD, even=(0, 0),
        bright=(1, 1), fade=(5, 9)),
    "pulse_chip": Instrument("synth", slope=(0.5, 0.8), attack=(0.001, 0.003), decay=(0.2, 0.6),
        pluck=(0.12, 0.26), bright=(1, 1.5), fade=(5, 9)),
    "acid": Instrument("synth", slope=(0.6, 0.9), attack=(0.002, 0.004), decay=(0.1, 0.3), bright=(1, 3),
        fade=(0.03, 0.15), drive=(1, 4)),
    "stab": Instrument("synth", slope=(0.6, 1.0), attack=(0.002, 0.006), decay=(0.1, 0.3), detune=(8, 20)),
    "upright": Instrument("bass", slope=(1.4, 2.0), decay=(0.25, 0.6), pluck=(0.2, 0.4), body=(90, 160)),
    "sub_bass": Instrument("bass", slope=(2.0, 3.0), attack=(0.004, 0.01), decay=(0.3, 0.8)),
    "reese": Instrument("bass", slope=(0.8, 1.2), attack=(0.01, 0.03), decay=HELD, detune=(15, 30),
        bright=(0, 0.3)),
}
DRUMS = {
    "pounding": Drum(pitch=(42, 58), fall=(4, 8), decay=(0.12, 0.3), noise=(0, 0.1), rattle=(0.005, 0.02)),
    "field_drum": Drum(pitch=(170, 240), fall=(1, 1.2), decay=(0.03, 0.07), noise=(1, 2), band=(1500, 6500),
        rattle=(0.06, 0.14)),
    "bass_drum": Drum(pitch=(55, 80), fall=(1.1, 1.6), decay=(0.2, 0.5), modes=(1, 1.6, 2.1),
        noise=(0.1, 0.3), band=(100, 900)),
    "crash_plates": Drum(noise=(1, 1), band=(2500, 8000), rattle=(0.3, 0.8)),
    "digital_hat": Drum(noise=(1, 1), band=(6500, 7800), rattle=(0.01, 0.04)),
    "open_hiss": Drum(noise=(1, 1), band=(5000, 7900), rattle=(0.08, 0.2)),
    "hand_claps": Drum(noise=(1, 1), band=(900, 2600), rattle=(0.03, 0.08), strokes=5),
    "break_snare": Drum(pitch=(200, 300), fall=(1.2, 1.6), decay=(0.04, 0.08), noise=(1, 2),
        band=(1200, 7500), rattle=(0.05, 0.1)),
    "cross_stick": Drum(pitch=(900, 1500), decay=(0.008, 0.02), modes=(1, 1.7), noise=(0.1, 0.4),
        rattle=(0.005, 0.01)),
    "maracas": Drum(noise=(1, 1), band=(4000, 7800), rattle=(0.015, 0.05), strokes=3),
    "tambourine": Drum(pitch=(3500, 5000), decay=(0.05, 0.1), modes=(1, 1.23, 1.51), noise=(0.6, 1.2),
        band=(4000, 7900), rattle=(0.05, 0.12), strokes=2),
    "surdo": Drum(pitch=(50, 75), fall=(1.2, 2), decay=(0.25, 0.5), noise=(0, 0.1)),
    "conga": Drum(pitch=(160, 330), fall=(1.05, 1.3), decay=(0.08, 0.2), modes=(1, 1.6), noise=(0.1, 0.4),
        rattle=(0.01, 0.03)),
    "bongo": Drum(pitch=(330, 600), fall=(1.05, 1.2), decay=(0.04, 0.1), modes=(1, 1.6, 2.2),
        noise=(0.1, 0.4), rattle=(0.005, 0.02)),
    "djembe": Drum(pitch=(75, 120), fall=(1.1, 1.5), decay=(0.1, 0.25), noise=(0.1, 0.4),
        rattle=(0.01, 0.03)),
    "agogo": Drum(pitch=(600, 1300), decay=(0.06, 0.2), modes=(1, 1.48, 2.9), noise=(0, 0.05)),
    "frame_drum": Drum(pitch=(90, 150), decay=(0.12, 0.3), modes=(1, 1.6, 2.3), noise=(0.1, 0.3),
        band=(300, 3000)),
    "tabla": Drum(pitch=(250, 420), fall=(0.8, 1.0), decay=(0.1, 0.3), modes=(1, 2, 3), noise=(0.05, 0.2),
        rattle=(0.005, 0.02)),
    "bayan": Drum(pitch=(80, 130), fall=(0.6, 1.4), decay=(0.15, 0.35), noise=(0.05, 0.2),
        rattle=(0.01, 0.03)),
    "kettledrum": Drum(pitch=(70, 130), decay=(0.3, 0.7), modes=(1, 1.5, 1.99, 2.44), noise=(0.05, 0.2),
        band=(100, 1500)),
    "log": Drum(pitch=(350, 900), decay=(0.02, 0.06), modes=(1, 2.6), noise=(0.05, 0.2),
        rattle=(0.004, 0.01)),
}

STYLES = {
    "waltz": Style(
        tempo=(130, 195), scales=("major", "minor"), progressions=("1 1 5 1", "1 6 2 5", "1 4 5 5"), beats=3,
        steps=2, chord_beats=(3, 6), drummed=0.3,
        parts=(
            Part("accordion harpsichord consort", ("- . x . x .", "- . x - x -"), 4, (-10, -4)),
            Part("upright cello tuba", ("1 . - . . .", "1 . - . . . 5 . - . . ."), 2, (-8, -2)),
            Part(
                "violin clarinet accordion celesta",
                ("~ . . . ~ .", "~ . ~ * ~ .", "~ . . . . . ~ . ~ . ~ ."), 5, (-6, 0),
            ),
        ),
        kits=(
            Kit({"field_drum": "..xxx.", "bass_drum": "X....."}, (-14, -6)),
        ),
    ),
    "march": Style(
        tempo=(104, 126), progressions=("1 1 4 5", "1 5 5 1", "1 4 1 5"), beats=2, chord_beats=(2, 4),
        parts=(
            Part("tuba", ("1 . - . 5 . - .",), 2, (-8, -2)),
            Part("french_horn clarinet", ("- . x - - . x -",), 4, (-12, -6)),
            Part("bugle recorder clarinet", ("~ . . ~ ~ . ~ .", "~ . ~ . ~ . . *"), 5, (-6, 0)),
        ),
        kits=(
            Kit({"field_drum": "X.xxX.x.", "bass_drum": "X...X..."}, (-6, 2)),
            Kit({"field_drum": "XxxxX.xx", "bass_drum": "X...X...", "crash_plates": "X......."}, (-6, 2)),
        ),
    ),
    "tango": Style(
        tempo=(108, 132), scales=("harmonic minor",), progressions=("1 5 1 4", "1 4 5 1", "1 1 4 5"), steps=2,
        chord_beats=(4, 8), omit=(0, 0.06),
        parts=(
            Part("harpsichord consort", ("x - x - x - x -", "x . - x x - x -"), 3, (-8, -2)),
            Part("upright cello", ("1 - . - 5 - . -", "1 - - 1 5 - 5 -"), 2, (-8, -2)),
            Part("accordion violin", ("~ . . ~ ~ . - .", "- ~ ~ ~ ~ . . .", "~ . . . - ~ ~ ~"), 5, (-4, 0)),
        ),
    ),
    "polka": Style(
        tempo=(112, 150), progressions=("1 5 1 1", "1 1 5 5", "1 4 5 1"), beats=2, chord_beats=(2, 4),
        drummed=0.5,
        parts=(
            Part("tuba upright", ("1 - . . 5 - . .",), 2, (-6, -1)),
            Part("accordion harmonium", ("- . x - - . x -",), 4, (-8, -3)),
            Part("clarinet accordion recorder", ("~ ~ ~ . ~ . ~ .", "~ . ~ ~ ~ ~ ~ ."), 5, (-6, 0)),
        ),
        kits=(
            Kit({"field_drum": "..X...X.", "bass_drum": "X...X..."}, (-12, -4)),
        ),
    ),
    "ambient": Style(
        tempo=(50, 70), scales=("lydian", "dorian", "major"), progressions=("1 4", "1 6", "1 2", "1 3 4 2"),
        steps=2, chord_beats=(8,), loose_ms=(10, 40),
        parts=(
            Part("glass_pad warm_pad", ("x . . . . . . .",), 4, (-4, 0), voicing="1359"),
            Part("warm_pad reese", ("1 . . . . . . .",), 2, (-12, -4), presence=0.7),
            Part(
                "vibraphone_bar harp celesta", ("* . . . * . * .", "* . * . . . . *"), 5, (-16, -6),
                presence=0.7,
            ),
        ),
    ),
    "techno": Style(
        tempo=(122, 142), scales=("minor", "phrygian"), progressions=("1", "1 6", "1 2"),
        chord_beats=(16, 32), loose_ms=(0, 1), omit=(0, 0.04),
        parts=(
            Part("acid sub_bass", ("1 . 1 1 - 1 1 .", "- . 1 . - . 1 .", "1 1 8 1 1 1 3 1"), 2, (-8, -2)),
            Part(
                "stab acid", ("- . . x - . . . - . x . - . . .", "x - . x - . x - . x - . x - . ."), 4,
                (-12, -5), presence=0.7,
            ),
            Part("warm_pad", ("x . . . . . . . . . . . . . . .",), 4, (-18, -10), presence=0.4),
        ),
        kits=(
            Kit(
                {
                    "pounding": "X...X...X...X...",
                    "digital_hat": "..x...x...x...x.",
                    "hand_claps": "....X.......X...",
                },
                (-2, 4),
            ),
            Kit(
                {
                    "pounding": "X...X...X...X..o",
                    "open_hiss": "..X...X...X...X.",
                    "digital_hat": "xoxoxoxoxoxoxoxo",
                },
                (-2, 4),
            ),
        ),
    ),
    "breakbeat": Style(
        tempo=(160, 178), scales=("minor", "dorian"), progressions=("1 6", "1 4", "1 7"), chord_beats=(8, 16),
        loose_ms=(0, 3), omit=(0, 0.05),
        parts=(
            Part(
                "reese sub_bass", ("1 . . . . . . . . . 1 . . . 3 .", "1 . . . . . 5 . . . . . 1 . . ."), 2,
                (-5, 0),
            ),
            Part("warm_pad glass_pad", ("x . . . . . . . . . . . . . . .",), 4, (-12, -5), presence=0.7),
            Part("pulse_chip stab", ("* . . * . . * . * . . * . . * .",), 5, (-14, -6), presence=0.4),
        ),
        kits=(
            Kit(
                {
                    "pounding": "X.........X.....",
                    "break_snare": "....X..o.o..X..o",
                    "digital_hat": "x.x.x.x.x.x.x.x.",
                },
                (0, 5),
            ),
            Kit(
                {
                    "pounding": "X.X.......XX....",
                    "break_snare": "....X..x.x..X..x",
                    "open_hiss": "..x...x...x...x.",
                },
                (0, 5),
            ),
        ),
    ),
    "bossa": Style(
        tempo=(118, 145), scales=("major", "dorian"), progressions=("1 2 5 1", "1 6 2 5", "2 5 1 1"), steps=2,
        chord_beats=(4, 8),
        parts=(
            Part(
                "nylon_guitar", ("x - x - . x - . x - . x - . x -", "x . - x . - x . - x . - x . - ."), 3,
                (-5, 0), voicing="1357",
            ),
            Part("upright", ("1 . . 5 5 . . 1",), 2, (-8, -3)),
            Part(
                "recorder vibraphone_bar", ("~ . . ~ . ~ . .", "- . ~ . . ~ . *"), 5, (-8, -2), presence=0.8,
            ),
        ),
        kits=(
            Kit(
                {
                    "cross_stick": "X..X..X...X..X..",
                    "maracas": "xxxxxxxxxxxxxxxx",
                    "surdo": "x..xx..xx..xx..x",
                },
                (-14, -6),
            ),
        ),
    ),
    "samba": Style(
        tempo=(96, 116), scales=("major", "minor"), progressions=("1 6 2 5", "1 5 1 5", "1 4 5 1"),
        chord_beats=(4, 8),
        parts=(
            Part(
                "nylon_guitar banjo_lute",
                ("x . x x . x . x x . x . x x . x", "- x . x - . x . - x . x - x . ."), 4, (-8, -2),
            ),
            Part("recorder clarinet", ("~ . ~ ~ . ~ . ~ . ~ . * ~ . . .",), 5, (-6, -1), presence=0.5),
        ),
        kits=(
            Kit(
                {"surdo": "x...X...x...X...", "tambourine": "XxxXxxXxXxxXxxXx", "agogo": "X.X..X.X.X..X.X."},
                (0, 4),
            ),
            Kit(
                {"surdo": "x...X.o.x...X.oo", "maracas": "XxxXXxxXXxxXXxxX", "conga": "..x.xx....x.xxx."},
                (0, 4),
            ),
        ),
    ),
    "chorale": Style(
        tempo=(60, 88), scales=("major", "harmonic minor"),
        progressions=("1 4 5 1 6 2 5 1", "1 5 6 3 4 1 4 5", "1 6 4 5 3 6 2 5"), steps=2, chord_beats=(1, 2),
        omit=(0, 0.02),
        parts=(
            Part(
                "pipe_organ consort french_horn", ("x . x . x . x .", "x . x . x . . ."), 3, (-3, 0),
                voicing="1358",
            ),
            Part("pipe_organ consort", ("1 . 1 . 1 . 1 .",), 2, (-6, -2)),
            Part("oboe pipe_organ violin", ("~ . ~ . ~ ~ ~ .",), 5, (-8, -3), presence=0.5),
        ),
    ),
    "gamelan": Style(
        tempo=(90, 150), scales=("pelog",), progressions=("1", "1 2"), steps=2, chord_beats=(16,),
        loose_ms=(4, 14), drummed=0.4,
        parts=(
            Part("bronze_bar", ("~ ~ ~ ~ ~ ~ ~ ~", "~ ~ * ~ ~ ~ * ~"), 5, (-4, 0)),
            Part("bronze_bar vibraphone_bar", ("~ . . . ~ . . .", "~ . ~ . ~ . ~ ."), 4, (-6, -1)),
            Part("kettle_gong", ("1 . . . . . . . 4 . . . . . . .",), 2, (-8, -2)),
        ),
        kits=(
            Kit({"frame_drum": "X..xX.xx"}, (-14, -6)),
        ),
    ),
    "music_box": Style(
        tempo=(80, 130), progressions=("1 5 1 4", "1 4 5 1", "1 6 4 5"), beats=3, steps=2, chord_beats=(3, 6),
        loose_ms=(1, 6), omit=(0, 0.04),
        parts=(
            Part("musical_comb celesta", ("~ . ~ . ~ .", "~ . . ~ ~ ."), 6, (-3, 0)),
            Part("musical_comb celesta", ("1 3 5 3 5 3", "1 5 3 5 8 5"), 5, (-10, -4)),
        ),
    ),
    "jig": Style(
        tempo=(105, 135), scales=("major", "dorian"), progressions=("1 1 4 5", "1 7 1 5", "1 4 1 7"), beats=2,
        steps=3, chord_beats=(2, 4), drummed=0.6,
        parts=(
            Part(
                "violin recorder accordion banjo_lute", ("~ ~ ~ ~ ~ ~", "~ . ~ ~ ~ ~", "~ . ~ ~ . ~"), 5,
                (-6, 0),
            ),
            Part("harp banjo_lute harmonium", ("x . . x . .", "x . x x . x"), 3, (-12, -5), presence=0.7),
        ),
        kits=(
            Kit({"frame_drum": "XoxXox"}, (-12, -4)),
        ),
    ),
    "fanfare": Style(
        tempo=(90, 125), scales=("major", "mixolydian"), progressions=("1 4", "1 5 1 4", "1 7 4 1"),
        chord_beats=(2, 4), drummed=0.6,
        parts=(
            Part(
                "bugle",
                (
                    "1 . . 1 1 1 1 . 5 . . . . . . .",
                    "5 . 5 5 8 . . . 5 . 5 5 8 . . .",
                    "1 . 3 . 5 . . 5 8 . . . . . . .",
                ),
                4, (-6, 0),
            ),
            Part(
                "french_horn bugle", ("x . . x x x x . x . . . . . . .", "x . . . . . . . x . . . . . . ."),
                4, (-7, -2),
            ),
            Part("tuba", ("1 . . . . . . . 5 . . . . . . .",), 2, (-8, -3)),
        ),
        kits=(
            Kit({"kettledrum": "X.....xxX......."}, (-8, -1)),
        ),
    ),
    "raga": Style(
        tempo=(60, 110), scales=("harmonic minor", "lydian", "phrygian"), progressions=("1",),
        chord_beats=(64,), loose_ms=(5, 25), drummed=0.6,
        parts=(
            Part("harmonium", ("x . . . . . . . . . . . . . . .",), 3, (-14, -6), voicing="158"),
            Part("sitar", ("~ . . ~ ~ . ~ .", "~ . ~ ~ ~ ~ ~ .", "~ . . . ~ . * *"), 4, (-6, 0)),
        ),
        kits=(
            Kit({"tabla": "XoxxX.xxXoxx..xo", "bayan": "X.....x.X......."}, (-8, 0)),
        ),
    ),
    "minimalism": Style(
        tempo=(110, 150), scales=("major", "dorian", "lydian"), progressions=("1 6", "1 4", "1 3 6 4"),
        beats=3, chord_beats=(12, 24), loose_ms=(0, 5), omit=(0, 0.02),
        parts=(
            Part("marimba harp celesta", ("1 3 5 8 5 3 1 5 3 8 5 3", "1 5 3 5 8 5 3 5 1 3 5 3"), 5, (-3, 0)),
            Part("marimba clarinet vibraphone_bar", ("8 5 3 5 8 5", "5 . 3 . 1 . 3 ."), 4, (-6, -1)),
            Part("cello clarinet warm_pad", ("1 . . . . . . . . . . .",), 3, (-12, -5), presence=0.6),
        ),
    ),
    "chiptune": Style(
        tempo=(125, 175), scales=("major", "minor"), progressions=("1 5 6 4", "1 6 4 5", "1 7 6 5"),
        chord_beats=(4, 8), loose_ms=(0, 0.5), omit=(0, 0.05), drummed=0.7,
        parts=(
            Part("square_chip pulse_chip", ("~ . ~ . ~ ~ . ~", "~ ~ . ~ . ~ ~ ."), 5, (-6, 0)),
            Part("pulse_chip square_chip", ("1 3 5 8", "1 5 3 5"), 4, (-12, -5)),
            Part("square_chip", ("1 . 1 . 8 . 1 .", "1 . . 1 1 . 8 ."), 2, (-8, -2)),
        ),
        kits=(
            Kit({"digital_hat": "x.x.x.x.", "break_snare": "..X...X.", "pounding": "X...X..."}, (-12, -4)),
        ),
    ),
    "drum_circle": Style(
        tempo=(95, 135), scales=("minor pentatonic",), progressions=("1",), loose_ms=(4, 16),
        omit=(0.05, 0.25),
        parts=(
            Part("marimba", ("* . * * . * . *",), 3, (-12, -5), presence=0.3),
        ),
        kits=(
            Kit(
                {"djembe": "X.....X.X...X...", "conga": "..xx.x..x.xx.x.x", "agogo": "X..X..X...X.X..."},
                (-6, 2),
            ),
            Kit(
                {"djembe": "X..X..X.X..X..X.", "bongo": "xoxxoxxoxxoxxxox", "maracas": "x.x.x.x.x.x.x.x."},
                (-6, 2),
            ),
            Kit(
                {
                    "log": "X.xX.xX.xX.xX.x.",
                    "frame_drum": "X.......X...X...",
                    "tambourine": "....x.......x...",
                },
                (-6, 2),
            ),
        ),
    ),
    "lullaby": Style(
        tempo=(56, 84), progressions=("1 4 1 5", "1 1 5 1"), beats=3, steps=2, chord_beats=(3, 6),
        omit=(0, 0.1),
        parts=(
            Part("harp celesta nylon_guitar", ("1 . 5 . 3 .", "1 5 3 5 8 5"), 4, (-8, -2)),
            Part("recorder oboe violin", ("~ . . . ~ .", "~ . . . . .", "~ . ~ . ~ ."), 5, (-4, 0)),
        ),
    ),
    "hornpipe": Style(
        tempo=(130, 180), scales=("major", "mixolydian"), progressions=("1 4 1 5", "1 5 4 5"), steps=2,
        chord_beats=(2, 4), swing=(0.6, 0.67), drummed=0.3,
        parts=(
            Part(
                "violin accordion recorder", ("~ ~ ~ ~ ~ ~ ~ .", "~ ~ ~ . ~ ~ ~ ~", "~ . ~ ~ ~ * ~ ~"), 5,
                (-6, 0),
            ),
            Part("banjo_lute harmonium harp", ("x . - . x . - .", "x . x - x . x -"), 4, (-10, -4)),
            Part("cello upright", ("1 . - . 5 . - .", "1 . . . 1 . 5 ."), 2, (-8, -3), presence=0.8),
        ),
        kits=(
            Kit({"frame_drum": "X.xoX.xo"}, (-14, -6)),
        ),
    ),
}
for solo, names, octave in (  # one player alone: a family at a time
    ("plucked", "harpsichord harp nylon_guitar banjo_lute sitar", 4),
    ("bowed", "violin cello", 4),
    ("flute", "recorder pan_pipes", 5),
    ("reed", "clarinet oboe accordion", 4),
    ("brass", "bugle french_horn tuba", 3),
    ("mallet", "celesta marimba vibraphone_bar bronze_bar", 5),
):
    STYLES[f"{solo}_solo"] = Style((60, 150), scales=("major", "minor", "dorian", "harmonic minor",
        "whole tone"), swing=(0.5, 0.6),
        parts=(Part(names, ("~ . ~ . ~ ~ ~ .", "~ . . . ~ . ~ *", "~ ~ ~ ~ * ~ * ~", "~ . . . . . ~ ."),
            octave),),
        progressions=("1",), beats=4, loose_ms=(5, 25))
# fmt: on

FAMILIES = tuple(dict.fromkeys(instrument.family for instrument in INSTRUMENTS.values()))
ATTRIBUTES = (
    *("metre of two or four", "metre of three", "swing"),
    *("major third", "minor third"),
    *("slow", "medium tempo", "fast", "sparse", "dense"),
    *("one player", "drums", "no drums"),
    *(f"{family} family" for family in FAMILIES),
)
LABELS = tuple(f"music/{name}" for name in (*STYLES, *ATTRIBUTES))


def heard(start: np.ndarray, velocity: np.ndarray, seconds: float) -> int:
    """The number of notes, or strokes, that begin within the clip."""
    return int(((start >= 0) & (start < seconds) & (velocity > 0)).sum())


def attributes(style: Style, score: Score) -> set[str]:
    """What a listener could name of a piece, among ``ATTRIBUTES``."""
    counts = [heard(part.start, part.velocity, score.seconds) for part in (*score.tracks, *score.strokes)]
    rate = sum(counts) / score.seconds
    drummed = any(counts[len(score.tracks) :])
    found = {
        "slow" if score.tempo < 85 else "medium tempo" if score.tempo < 125 else "fast",
        "drums" if drummed else "no drums",
    }
    for track, count in zip(score.tracks, counts):
        if count:
            found |= {f"{track.instrument.family} family"}
            found |= {"major third" if 4 in SCALES[score.scale] else "minor third"}
    if len(style.parts) > 1:  # a player alone marks no bars
        found.add("metre of three" if 3 in (style.beats, style.steps) else "metre of two or four")
    found |= {
        name
        for name, holds in {
            "swing": score.swing > 0.57,
            "sparse": rate < 4,
            "dense": rate > 14,
            "one player": sum(count > 0 for count in counts) == 1,
        }.items()
        if holds
    }
    return found


def make(rng: Generator) -> tuple[np.ndarray, set[str]]:
    """One clip: [T] samples at 16 kHz and its labels, of any style with equal probability."""
    name = list(STYLES)[rng.integers(len(STYLES))]
    score = compose(STYLES[name], rng, SECONDS, INSTRUMENTS, DRUMS)
    waveform = record_score(score, rng, SAMPLE_RATE)
    return waveform, {f"music/{label}" for label in {name, *attributes(STYLES[name], score)}}
