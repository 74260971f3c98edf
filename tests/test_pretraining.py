"""The pretraining corpus: what it holds, what it must not hold, and that its bytes stay the same."""

import json

import numpy as np
import pytest

from data.synth import fsd50k, gtzan, speech, speech_commands
from data.synth import sounds as downstream_sounds
from pretraining import corpus, grammar, sounds, styles, words
from pretraining import speech as pretraining_speech

ESC50 = (
    "dog", "rooster", "pig", "cow", "frog", "cat", "hen", "insects", "sheep", "crow", "rain",
    "sea_waves", "crackling_fire", "crickets", "chirping_birds", "water_drops", "wind",
    "pouring_water", "toilet_flush", "thunderstorm", "crying_baby", "sneezing", "clapping",
    "breathing", "coughing", "footsteps", "laughing", "brushing_teeth", "snoring",
    "drinking_sipping", "door_wood_knock", "mouse_click", "keyboard_typing", "door_wood_creaks",
    "can_opening", "washing_machine", "vacuum_cleaner", "clock_alarm", "clock_tick",
    "glass_breaking", "helicopter", "chainsaw", "siren", "car_horn", "engine", "train",
    "church_bells", "airplane", "fireworks", "hand_saw",
)  # fmt: skip
GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
DRUMS = ("kick", "snare", "tom", "hi-hats", "cymbals", "rim", "cowbell", "clap", "hand drum", "shaker")
SPEECH_COMMANDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four",
    "go", "happy", "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right",
    "seven", "sheila", "six", "stop", "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)  # fmt: skip


def plain(names):
    return {name.split("/")[-1].replace("_", " ").lower() for name in names}


# ----------------------------------------------------------------------------- nothing of a task is heard


@pytest.mark.parametrize("part", (sounds, styles))
def test_no_class_of_a_task_is_a_label(part):
    assert len(ESC50) == 50
    for forbidden in (ESC50, GENRES, gtzan.GENRES, DRUMS, fsd50k.VOCABULARY):
        assert not plain(forbidden) & plain(part.LABELS)


def test_no_sound_of_a_task_is_a_function_of_pretraining():
    task = {sound.__name__ for sound in downstream_sounds.CLASSES.values()}
    assert task == {sound.__name__ for sound in fsd50k.LEAVES.values()} <= set(ESC50)
    assert not task & {kind.sound.__name__ for kind in sounds.CLASSES.values()}


def test_no_word_of_speech_commands_is_ever_said():
    assert words.FORBIDDEN == set(SPEECH_COMMANDS) == set(speech_commands.WORDS)
    assert not words.FORBIDDEN & {*words.WORDS, *words.FUNCTION_WORDS}
    rng = np.random.default_rng(0)
    for language in ("en-us", "en-gb", *words.LANGUAGES):
        for _ in range(40):
            said = words.draw_sentence(rng, language, num_words=8).lower()
            assert not words.FORBIDDEN & {word.strip(".,?") for word in said.split()}


def test_no_voice_of_a_task_is_heard():
    downstream = {
        *speech.COMMANDS_VARIANTS,
        *speech.VOXCELEB_TRAIN_VARIANTS,
        *speech.VOXCELEB_TEST_VARIANTS,
        *speech.MUSAN_VARIANTS,
    }
    assert not downstream & set(speech.PRETRAINING_VARIANTS)
    for seed in range(200):
        voice = pretraining_speech.draw_voice(np.random.default_rng(seed))
        assert voice.variant in speech.PRETRAINING_VARIANTS
    assert {voice for voices in speech_commands.VARIANTS.values() for voice in voices} <= downstream


# ------------------------------------------------------------------------------------------------- sounds


def test_the_ontology_is_broad_and_every_label_has_one_meaning():
    assert len(sounds.CLASSES) >= 60
    assert len(sounds.LABELS) == len(set(sounds.LABELS))
    assert {word for kind in sounds.CLASSES.values() for word in kind.words} <= set(grammar.LABELS)


@pytest.mark.parametrize("name", sounds.CLASSES)
def test_a_class_sounds_at_every_length_and_is_its_seed(name):
    sound = sounds.CLASSES[name].sound
    for seconds in (1.04, 5.12):
        waveform = sound(np.random.default_rng(3), seconds, 16_000)
        assert waveform.shape == (round(seconds * 16_000),)
        assert np.isfinite(waveform).all()
        assert waveform.std() > 1e-6
        assert np.array_equal(sound(np.random.default_rng(3), seconds, 16_000), waveform)


def composed(rng, *values):
    """A composed sound [T] and its labels; the factors of ``values`` are fixed, the others drawn."""

    class Drawer:
        def choice(self, options, *args, **kwargs):
            fixed = [value for value in values if value in list(options)] if np.ndim(options) else []
            return fixed[0] if fixed else rng.choice(options, *args, **kwargs)

        def __getattr__(self, name):
            return getattr(rng, name)

    return grammar.sentence(Drawer(), 5.12, 16_000)


@pytest.mark.parametrize("value", grammar.LABELS)
def test_every_value_of_every_factor_can_be_composed(value):
    excitation = () if value in grammar.EXCITATIONS else ("harmonics",)
    waveform, labels = composed(np.random.default_rng(0), value, *excitation)
    assert value in labels
    assert np.isfinite(waveform).all() and waveform.std() > 1e-9


def test_low_and_high_bands_are_low_and_high():
    def centroid(band):
        waveform, _ = composed(np.random.default_rng(0), band, "noise", "fixed")
        power = np.abs(np.fft.rfft(waveform)) ** 2
        return (np.fft.rfftfreq(len(waveform), 1 / 16_000) * power).sum() / power.sum()

    assert centroid("low band") < 700 < centroid("mid band") < 2500 < centroid("high band")


def test_regular_events_come_one_interval_apart():
    onsets, interval = grammar.events(np.random.default_rng(0), "regular fast", 5.0)
    assert np.diff(onsets) == pytest.approx(interval, rel=0.06)
    assert 6 <= 1 / interval <= 18


def test_ages_count_from_the_latest_event():
    t = np.array([0.0, 0.5, 1.0, 1.5, 2.5])
    assert grammar.since(np.array([0.5, 2.0]), t) == pytest.approx([-0.5, 0, 0.5, 1, 0.5])


def test_a_stack_is_the_sum_of_its_harmonics():
    phase = np.arange(64) / 64  # falls on tabulated points: 2048 / 64
    want = 0.5 * np.sin(2 * np.pi * phase) - 2 * np.sin(6 * np.pi * phase)
    assert grammar.stack(phase, [0.5, 0, -2]) == pytest.approx(want, abs=1e-9)


def test_a_resonance_passes_its_centre_alone_and_rings_after_the_blow():
    blow = np.zeros(16_000)
    blow[4000] = 1
    rung = grammar.shaped(blow, lambda f: grammar.resonance(f, 440, 50), 16_000)
    assert np.abs(np.fft.rfft(rung)).argmax() == 440
    # causal up to the ripple of cutting the response at 8 kHz
    assert np.square(rung[:3990]).sum() < 1e-3 * np.square(rung[4000:]).sum()


def test_clips_are_of_one_to_five_seconds_within_range_and_labelled():
    for seed in range(60):
        waveform, labels = sounds.make(np.random.default_rng(seed))
        assert 16_000 <= len(waveform) <= corpus.NUM_SAMPLES
        assert 0.05 < np.abs(waveform).max() <= 1
        assert labels <= set(sounds.LABELS)
        named = plain(labels) & set(sounds.CLASSES)
        if named:  # a class brings its parent and its words
            (name,) = named
            kind = sounds.CLASSES[name]
            assert plain(labels) == {name, kind.parent, *kind.words}
        else:  # a composition has a value of at least four of the five factors
            assert sum(bool(plain(labels) & set(factor)) for factor in grammar.FACTORS) >= 4


# ------------------------------------------------------------------------------------------------- corpus


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_part_is_the_same_whatever_the_number_of_processes(tmp_path):
    one = corpus.write_part(tmp_path / "one", "sounds", num_clips=20, seed=1, processes=1)
    two = corpus.write_part(tmp_path / "two", "sounds", num_clips=20, seed=1, processes=2)
    assert contents(one) == contents(two)


def test_a_larger_corpus_begins_with_the_smaller_and_another_seed_differs(tmp_path):
    small, large, other = (
        corpus.Corpus(corpus.write_part(tmp_path / str(n), "sounds", clips, seed, processes=1))
        for n, (clips, seed) in enumerate([(3, 1), (5, 1), (3, 2)])
    )
    for field in ("waveforms", "lengths", "labels"):
        assert np.array_equal(getattr(small, field), getattr(large, field)[:3])
    assert not np.array_equal(small.waveforms, other.waveforms)


def test_the_files_of_a_part_say_what_its_clips_are(tmp_path):
    part = corpus.Corpus(corpus.write_part(tmp_path, "sounds", num_clips=12, seed=0, processes=1))
    assert part.waveforms.shape == (12, 81_920) and part.waveforms.dtype == np.int16
    assert part.labels.shape == (12, len(part.names)) and part.labels.any(axis=1).all()
    assert part.names == list(sounds.LABELS)
    for samples, length in zip(part.waveforms, part.lengths):
        assert samples[:length].any() and not samples[length:].any()
    waveform, labels = corpus.make_clip(4, "sounds", seed=0)
    assert np.array_equal(part.waveforms[4, : part.lengths[4]], waveform)
    assert np.array_equal(part.labels[4], labels)


def test_a_part_is_not_overwritten_by_another(tmp_path):
    folder = corpus.write_part(tmp_path, "sounds", num_clips=2, seed=0, processes=1)
    before = contents(folder)
    assert corpus.write_part(tmp_path, "sounds", num_clips=2, seed=0) == folder  # the same: kept
    with pytest.raises(FileExistsError, match="was not made from"):
        corpus.write_part(tmp_path, "sounds", num_clips=2, seed=5)
    assert contents(folder) == before


def test_a_clip_that_fails_leaves_no_part_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(sounds, "make", lambda rng: (np.zeros(16_000), {"sound/gong"}))
    with pytest.raises(ValueError, match="part sounds, clip 0: silent"):
        corpus.make_clip(0, "sounds", 0)
    monkeypatch.setattr(sounds, "make", lambda rng: (np.ones(16_000), {"sound/rain"}))
    with pytest.raises(ValueError, match="'sound/rain'"):
        corpus.write_part(tmp_path, "sounds", num_clips=1, seed=0, processes=1)
    assert not list(tmp_path.iterdir())


def test_the_command_line_says_what_was_written_and_what_is_missing(tmp_path, capsys):
    assert corpus.main([str(tmp_path), "-size", "tiny", "-parts", "sounds"]) == 0
    assert "sounds: 40 clips" in capsys.readouterr().out
    assert json.loads((tmp_path / "sounds" / "corpus.json").read_text())["seed"] == 0
    assert corpus.main([str(tmp_path), "-size", "large", "-parts", "sounds"]) == 1
    assert "delete it or choose another folder" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r"python3 -m pretraining\.corpus .* -parts styles"):
        corpus.Corpus(tmp_path / "styles")
