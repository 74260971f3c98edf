"""Generated music: what a score says is what is heard; ten genres as GTZAN; other styles to pretrain on."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from data.synth import gtzan
from data.synth.music import (
    SCALES,
    Frame,
    Instrument,
    Kit,
    Part,
    Strokes,
    Style,
    Track,
    compose,
    cycle,
    degree_to_semitones,
    perform,
    play_track,
    record_score,
    step_times,
    strike,
    walk,
    write_strokes,
    write_track,
)
from data.synth.writing import write_set
from pretraining import styles

from helpers import ROOT, load_script

RATE = 16_000
TABLES = {"gtzan": (gtzan.GENRES, gtzan), "pretraining": (styles.STYLES, styles)}
ROWS = [(table, name) for table, (rows, _) in TABLES.items() for name in rows]
SINE = Instrument("test", slope=(30, 30), decay=(50, 50), bright=(0, 0))  # harmonic k has k^-30
PLAIN = Style((120, 120), (), ("1",), steps=2, loose_ms=(0, 0), omit=(0, 0))
FRAME = Frame(  # C major, 120 beats a minute, chords C and F of a bar each
    tempo=120,
    swing=0.5,
    tonic=12,
    scale="major",
    melody="major",
    roots=[0, 3],
    chord_steps=8,
    num_steps=16,
    start=0,
    seconds=4,
    omit=0,
    loose=0,
)


def notes(figure, voicing="135", style=PLAIN, frame=FRAME, seed=0):
    part = Part("sine", (figure,), 4, voicing=voicing)
    return write_track(part, style, frame, {"sine": SINE}, np.random.default_rng(seed))


def semitones_above_middle_c(track):
    return np.round(12 * np.log2(track.hz / 261.6256)).astype(int)


def peak_hz(waveform, sample_rate=RATE):
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return spectrum.argmax() * sample_rate / len(waveform)


# ------------------------------------------------------------------------------------------ scores


def test_degrees_of_a_scale_repeat_an_octave_higher():
    # C D E F G A B | C ... and downwards: the degree below the tonic is B, 1 semitone below
    degrees = degree_to_semitones(SCALES["major"], np.array([0, 2, 4, 7, 9, -1, -7]))
    assert degrees.tolist() == [0, 4, 7, 12, 16, -1, -12]
    assert degree_to_semitones(SCALES["minor pentatonic"], np.array([0, 1, 5])).tolist() == [0, 3, 12]


def test_swing_delays_the_second_half_of_every_beat():
    # At 60 beats a minute a beat is 1 s; of its two halves the first takes two thirds.
    eighths = step_times(PLAIN, 60, 2 / 3, np.arange(4))
    assert eighths == pytest.approx([0, 2 / 3, 1, 5 / 3])
    sixteenths = step_times(replace(PLAIN, steps=4), 60, 2 / 3, np.arange(5))
    assert sixteenths == pytest.approx([0, 1 / 3, 2 / 3, 5 / 6, 1])
    assert step_times(PLAIN, 60, 0.5, np.arange(3)) == pytest.approx([0, 0.5, 1])


def test_a_bass_figure_follows_the_roots_of_the_chords():
    # Eight steps of 0.25 s are a bar. Root and fifth of C: 0, 7; of F: 5, 12. A dot begins no note.
    track = notes("1 . . . 5 . . .")
    assert track.start == pytest.approx([0, 1, 2, 3])
    assert semitones_above_middle_c(track).tolist() == [[0, 7, 5, 12]]


def test_a_chord_is_stacked_upon_its_root_within_the_scale():
    # C E G and F A C; with a seventh the F chord has the E of the scale
    track = notes("x . . . . . . .")
    assert semitones_above_middle_c(track).tolist() == [[0, 5], [4, 9], [7, 12]]
    seventh = notes("x . . . . . . .", voicing="1357")
    assert semitones_above_middle_c(seventh)[:, 1].tolist() == [5, 9, 12, 16 - 12]  # near its octave


def test_parallel_chords_keep_their_shape_and_leave_the_scale():
    # In the mixolydian scale of C the seventh on C is minor, 10; on F it is E, or in parallel E flat, 15.
    frame = FRAME._replace(scale="mixolydian")
    diatonic = notes("7 . . . . . . .", style=PLAIN, frame=frame)
    parallel = notes("7 . . . . . . .", style=replace(PLAIN, parallel=True), frame=frame)
    assert semitones_above_middle_c(diatonic).tolist() == [[10, 16]]
    assert semitones_above_middle_c(parallel).tolist() == [[10, 15]]


def test_a_rest_ends_a_note_and_is_silent():
    track = notes("1 . - . . . . .")
    assert track.start == pytest.approx([0, 0.5, 2, 2.5])
    assert (track.velocity > 0).tolist() == [True, False, True, False]
    waveform = play_track(track, np.random.default_rng(0), 4, RATE)
    loudness = np.sqrt((waveform.reshape(8, -1) ** 2).mean(1))  # of every half second
    assert (loudness[[0, 4]] > 0.3).all()
    assert (loudness[[1, 2, 3, 5, 6, 7]] < 0.02).all()  # but for the 3 ms in which an envelope is smoothed


def test_a_part_without_a_note_is_left_out():
    assert notes("- . . .") is None


def test_perhaps_is_about_half_of_the_notes_and_never_the_first_of_a_bar_is_missing():
    frame = FRAME._replace(num_steps=800, seconds=200, omit=0.12)
    perhaps = notes("~ " + "* " * 7, frame=frame)  # 100 bars of one sure note and seven perhaps
    bars = np.isin(np.arange(0, 200, 2), perhaps.start)
    assert bars.all()
    assert 0.4 < (len(perhaps.start) - 100) / 700 < 0.6


def test_a_melody_stays_in_its_scale_and_its_bounds_and_mostly_steps():
    tune = walk(np.random.default_rng(0), 2000)
    assert (tune.min(), tune.max()) == (-3, 8)
    assert (np.abs(np.diff(tune)) <= 2).mean() > 0.6
    track = notes("~ ~ ~ ~", frame=FRAME._replace(num_steps=200))
    assert set(semitones_above_middle_c(track).ravel() % 12) <= set(SCALES["major"])


def test_a_drum_pattern_has_loud_and_soft_strokes_at_their_steps():
    strokes = write_strokes("X..x ....", gtzan.DRUMS["kick"], PLAIN, FRAME, np.random.default_rng(0))
    assert strokes.start == pytest.approx([0, 0.75, 2, 2.75])
    assert (strokes.velocity[::2] >= 0.7).all()
    assert (strokes.velocity[1::2] <= 0.5).all()


def test_a_clip_is_cut_from_anywhere_in_a_bar_and_lasts_as_long_as_asked():
    style = replace(PLAIN, parts=(Part("sine", ("1 . . . . . . .",)),))
    starts = [
        compose(style, np.random.default_rng(seed), 5, {"sine": SINE}, {}).tracks[0].start
        for seed in range(20)
    ]
    firsts = np.array([start[0] for start in starts])  # a bar is 2 s
    assert (firsts >= -2).all()
    assert (firsts <= 0).all()
    assert firsts.std() > 0.3
    assert all(start[-1] + 2 >= 5 - 1e-9 for start in starts)


# ------------------------------------------------------------------------------------------ sounds


def test_a_track_sounds_at_the_pitches_of_its_notes():
    track = Track(
        "sine",
        SINE,
        np.array([0.0, 1.0]),
        np.ones(2),
        np.array([[220.0, 330.0], [440.0, 550.0]]),
        np.ones(2),
        0,
    )
    waveform = play_track(track, np.random.default_rng(0), 2, RATE)
    for second, pitches in ((0, (220, 440)), (1, (330, 550))):
        spectrum = np.abs(np.fft.rfft(waveform[second * RATE : (second + 1) * RATE] * np.hanning(RATE)))
        assert sorted(np.argsort(spectrum)[::-1][:6] // 10 * 10)[0] == pytest.approx(min(pitches), abs=10)
        for pitch in pitches:  # bins of 1 Hz
            assert spectrum[pitch] > 100 * np.median(spectrum)


def test_a_note_is_held_or_dies_away_with_its_instrument():
    track = notes("1 . . . . . . . . . . . . . . .")
    energies = []
    for decay in (50, 0.3):
        played = track._replace(instrument=SINE._replace(decay=(decay, decay)))
        waveform = play_track(played, np.random.default_rng(0), 1, RATE)
        energies.append(
            (waveform[RATE // 2 : RATE // 2 + 1600] ** 2).mean() / (waveform[1600:3200] ** 2).mean()
        )
    # from 0.15 s to 0.55 s, exp(-0.4 / 0.3) in amplitude, squared in energy
    assert energies == pytest.approx([1, np.exp(-2 * 0.4 / 0.3)], rel=0.05)


def test_notes_begin_and_end_without_a_click():
    track = notes("1 - 1 - 1 - 1 -")
    waveform = play_track(track, np.random.default_rng(0), 4, RATE)
    high = np.abs(np.fft.rfft(waveform))[5000 * 4 :].max()  # above 5 kHz, of a tone of 262 Hz
    assert high < 1e-3 * np.abs(np.fft.rfft(waveform)).max()


def test_a_cycle_is_one_period_of_its_harmonics_at_unit_level():
    table = cycle(np.array([1.0, 0.0, 0.5]), np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(table))
    assert table.std() == pytest.approx(1)
    assert spectrum[3] / spectrum[1] == pytest.approx(0.5)
    assert np.delete(spectrum, [1, 3]).max() < 1e-9 * spectrum[1]


@pytest.mark.parametrize("module", [gtzan, styles])
def test_every_instrument_plays_its_pitch_and_every_drum_is_short_and_at_full_level(module):
    for name, instrument in module.INSTRUMENTS.items():
        hz = np.array([[110.0 if instrument.family == "bass" else 440.0]])
        track = Track(name, instrument, np.zeros(1), np.full(1, 2.0), hz, np.ones(1), 0)
        waveform = play_track(track, np.random.default_rng(0), 2, RATE)
        assert np.isfinite(waveform).all(), name
        spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))  # bins of 0.5 Hz
        pitch = int(2 * hz[0, 0])
        assert spectrum[pitch - 14 : pitch + 15].max() > 0.02 * spectrum.max(), name
    for name, drum in module.DRUMS.items():
        for rate in (RATE, 22_050):
            stroke = strike(drum, np.random.default_rng(0), rate)
            assert 0.9 < np.abs(stroke).max() <= 1, name
            assert 0.01 < len(stroke) / rate <= 1.5, name
            assert np.abs(stroke[-10:]).max() < 0.05, name  # it has died away


def test_the_level_of_drums_and_tracks_is_that_of_the_score():
    style = replace(
        PLAIN,
        parts=(Part("sine", ("1 . . .",), level_db=(-6, -6)),),
        kits=(Kit({"kick": "X..."}, (-20, -20)),),
    )
    score = compose(style, np.random.default_rng(0), 3, {"sine": SINE}, gtzan.DRUMS)
    played = [
        perform(part, np.random.default_rng(0), 3, RATE)
        for part in (score._replace(strokes=[]), score._replace(tracks=[]))
    ]
    peaks_db = [20 * np.log10(np.abs(waveform).max()) for waveform in played]
    assert peaks_db == pytest.approx([-6, -20])


# ------------------------------------------------------------------------------------------ tables


@pytest.mark.parametrize("table, name", ROWS)
def test_a_row_names_what_there_is_and_its_figures_fill_their_bars(table, name):
    rows, module = TABLES[table]
    style = rows[name]
    bar = style.beats * style.steps
    assert style.scales and set(style.scales) | set(style.melody) <= set(SCALES)
    for part in style.parts:
        assert set(part.instruments.split()) <= set(module.INSTRUMENTS)
        for figure in part.figures:
            figure = figure.replace(" ", "")
            assert set(figure) <= set(".-x~*12345678"), figure
            assert np.lcm(len(figure), bar) <= 2 * bar, figure  # it ends with a bar, or with every second
    for kit in style.kits:
        assert set(kit.strokes) <= set(module.DRUMS)
        for pattern in kit.strokes.values():
            assert set(pattern) <= set(".Xxo"), pattern
            assert np.lcm(len(pattern), bar) <= 2 * bar, pattern
    for progression in style.progressions:
        assert set(progression.split()) <= set("1234567")


def test_no_instrument_or_drum_of_a_table_is_never_played():
    for rows, module in TABLES.values():
        named = {name for style in rows.values() for part in style.parts for name in part.instruments.split()}
        struck = {name for style in rows.values() for kit in style.kits for name in kit.strokes}
        assert (named, struck) == (set(module.INSTRUMENTS), set(module.DRUMS))


def test_the_styles_to_pretrain_on_share_no_name_instrument_drum_or_pattern_with_the_genres():
    assert len(styles.STYLES) >= 12
    assert not set(styles.STYLES) & set(gtzan.GENRES)
    for label in styles.LABELS:
        assert not any(genre in label for genre in gtzan.GENRES), label
    for ours, theirs in ((styles.INSTRUMENTS, gtzan.INSTRUMENTS), (styles.DRUMS, gtzan.DRUMS)):
        assert not set(ours) & set(theirs)
        assert not set(ours.values()) & set(theirs.values())  # nor under another name
    patterns = [
        {tuple(sorted(kit.strokes.values())) for style in rows.values() for kit in style.kits}
        for rows, _ in TABLES.values()
    ]
    assert not patterns[0] & patterns[1]


# ------------------------------------------------------------------------------------------ clips


@pytest.mark.parametrize("table, name", ROWS)
def test_every_style_is_finite_audible_and_never_clips(table, name):
    rows, module = TABLES[table]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        score = compose(rows[name], rng, 3, module.INSTRUMENTS, module.DRUMS)
        dry = perform(score, rng, 3, RATE)
        assert dry.shape == (3 * RATE,)
        loudness = np.sqrt((dry.reshape(30, -1) ** 2).mean(1))  # of every tenth of a second
        assert (loudness > 0.003 * loudness.max()).mean() > 0.3  # there is music, not one blow
        waveform = record_score(score, rng, RATE)
        assert np.isfinite(waveform).all()
        assert 0.09 < np.abs(waveform).max() < 1  # -20 dB is 0.1


def band_levels(waveform, sample_rate):
    """[T] -> [48]: mean and deviation over time of the log energy of 24 bands up to 8 kHz."""
    frames = waveform[: len(waveform) // 512 * 512].reshape(-1, 512)
    power = np.abs(np.fft.rfft(frames * np.hanning(512), 2048)) ** 2  # [F, 1025]
    edges = np.geomspace(60, 8000, 25) * 2048 / sample_rate
    bands = [power[:, int(a) : int(b) + 1].mean(1) for a, b in pairwise(edges)]
    levels = np.log10(np.stack(bands) + 1e-9)  # [24, F]
    return np.concatenate([levels.mean(1) - levels.mean(), levels.std(1)])


def accuracy_of_nearest_mean(features, targets, fold):
    """Share of clips whose fold's nearest class mean, over the other folds, is their own."""
    features = (features - features.mean(0)) / features.std(0)
    hits = 0
    for k in np.unique(fold):
        means = np.stack([features[(fold != k) & (targets == c)].mean(0) for c in np.unique(targets)])
        distances = np.linalg.norm(features[fold == k][:, None] - means, axis=-1)
        hits += (distances.argmin(1) == targets[fold == k]).sum()
    return hits / len(targets)


@pytest.fixture(scope="module")
def tiny_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("gtzan")
    write_set(root, {"set": "gtzan", "size": "tiny", "seed": 0}, gtzan.plan("tiny", 0), processes=2)
    return root


def test_the_tiny_set_is_prepared_like_the_official_one(tiny_set):
    prepare = load_script(ROOT / "data" / "prepare.py", "prepare_gtzan_synth")
    lists = prepare.prepare_gtzan(tiny_set)
    assert [label.display_name for label in lists.labels] == list(gtzan.GENRES)
    # ten clips of ten genres in ten folds: one clip of each genre in each
    assert {name: len(clips) for name, clips in lists.clips.items()} == {
        f"{split}_{k}": num for k in range(1, 11) for split, num in (("train", 90), ("eval", 10))
    }
    info = soundfile.info(tiny_set / "genres_original/jazz/jazz.00003.wav")
    assert (info.format, info.subtype, info.channels) == ("WAV", "PCM_16", 1)
    assert (info.samplerate, info.frames) == (22_050, 3 * 22_050)


def test_the_genres_are_those_of_the_release():
    from preparation.gtzan import GENRES

    assert list(gtzan.GENRES) == GENRES


def test_a_clip_depends_on_its_seed_and_name_alone(tiny_set):
    plan, other = gtzan.plan("tiny", 0), gtzan.plan("tiny", 1)
    for path in list(plan.clips)[::23]:  # written before by another process, in another order
        assert plan.render(plan.clips[path]) == (tiny_set / path).read_bytes()
        assert other.render(other.clips[path]) != (tiny_set / path).read_bytes()


def test_the_larger_sets_have_more_and_longer_clips():
    shapes = {}
    for size in ("demo", "large"):
        clips = gtzan.plan(size, 0).clips
        shapes[size] = (len(clips), {clip.seconds for clip in clips.values()})
    assert shapes == {"demo": (400, {10}), "large": (1000, {30})}  # large is the release's shape
    with pytest.raises(ValueError, match="size is 'huge'; expected tiny, demo or large"):
        gtzan.plan("huge", 0)


def test_genres_can_be_told_apart_by_spectrum_but_not_at_once_and_not_by_loudness(tiny_set):
    paths = sorted(tiny_set.rglob("*.wav"))
    clips = [soundfile.read(path)[0] for path in paths]
    targets, fold = np.repeat(np.arange(10), 10), np.tile(np.arange(10), 10)
    spectrum = np.stack([band_levels(clip, 22_050) for clip in clips])
    loudness = np.array([[np.log10(clip.std())] for clip in clips])
    # Chance is 0.1.
    assert 0.25 < accuracy_of_nearest_mean(spectrum, targets, fold) < 0.8
    assert accuracy_of_nearest_mean(loudness, targets, fold) < 0.3


# ------------------------------------------------------------------------------------------ pretraining


def test_a_clip_to_pretrain_on_is_its_seed():
    waveform, labels = styles.make(np.random.default_rng([0, 7]))
    again, same = styles.make(np.random.default_rng([0, 7]))
    other, _ = styles.make(np.random.default_rng([0, 8]))
    assert waveform.shape == (round(5.12 * 16_000),)
    assert labels == same
    assert np.array_equal(waveform, again)
    assert not np.array_equal(waveform, other)


def test_every_label_is_drawn_and_none_always():
    counts = dict.fromkeys(styles.LABELS, 0)
    names = list(styles.STYLES)
    num_clips = 20 * len(names)
    for i in range(num_clips):
        style = styles.STYLES[names[i % len(names)]]
        score = compose(style, np.random.default_rng(i), 5.12, styles.INSTRUMENTS, styles.DRUMS)
        for label in {names[i % len(names)], *styles.attributes(style, score)}:
            counts[f"music/{label}"] += 1  # a KeyError is a label that is not of the list
    assert all(0 < count < num_clips for count in counts.values()), counts


def test_attributes_say_what_the_score_holds():
    style = styles.STYLES["waltz"]
    score = compose(style, np.random.default_rng(0), 5.12, styles.INSTRUMENTS, styles.DRUMS)
    track = score.tracks[0]._replace(instrument=styles.INSTRUMENTS["tuba"])
    score = score._replace(tempo=140, swing=0.5, scale="minor", tracks=[track], strokes=[])
    # one note each second
    track = track._replace(start=np.arange(5.0), velocity=np.ones(5))
    assert styles.attributes(style, score._replace(tracks=[track])) == {
        *("metre of three", "minor third", "fast", "sparse", "one player", "no drums", "brass family")
    }
    # twenty strokes a second beside it, in a swung march
    roll = Strokes(styles.DRUMS["field_drum"], np.arange(100) / 20, np.ones(100))
    score = score._replace(tempo=100, swing=0.65, scale="lydian", tracks=[track], strokes=[roll])
    assert styles.attributes(styles.STYLES["march"], score) == {
        *("metre of two or four", "swing", "major third", "medium tempo", "dense", "drums", "brass family")
    }
    # what begins after the clip is not heard in it
    late = [track._replace(start=track.start + 6)]
    assert "brass family" not in styles.attributes(style, score._replace(tracks=late))
