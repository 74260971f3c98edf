"""Generated speech, and the sets that need it: bytes, voices, layouts; rooms of known echoes."""

import io
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import soundfile

from data.synth import musan, rirs, speech, speech_commands, voxceleb1
from data.synth.speech import Voice, phonemes, say
from data.synth.writing import Plan, write_set

from helpers import ROOT, load_script, long

try:
    import espeakng_loader
except ImportError:
    espeakng_loader = None

speaks = pytest.mark.skipif(espeakng_loader is None, reason="espeakng-loader is not installed")
UTTERANCES = [
    ("hello there", Voice()),
    ("guten Morgen", Voice("de", "f2", pitch=70)),
    ("seven", Voice("en-gb", "klatt2", rate=120)),
    ("mañana", Voice("es", "steph", formant=1.1)),
]
SETS = {"speech_commands": speech_commands, "voxceleb1": voxceleb1, "musan": musan, "rirs": rirs}


def spoken(utterance):
    return say(*utterance).tobytes()


def pitch_hz(waveform, rate=16_000):
    """The median of the frames' autocorrelation peaks from 60 to 500 Hz."""
    peaks = []
    for start in range(0, len(waveform) - 1024, 512):
        frame = waveform[start : start + 1024] - waveform[start : start + 1024].mean()
        lags = np.correlate(frame, frame, "full")[1023:]
        lag = rate // 500 + np.argmax(lags[rate // 500 : rate // 60])
        if lags[lag] > 0.6 * lags[0] > 0:
            peaks.append(rate / lag)
    return np.median(peaks)


def rendered(plan):
    return {path: plan.render(clip) for path, clip in plan.clips.items()}


def read(content):
    return soundfile.read(io.BytesIO(content))


def prepared(name, root):
    """The lists that ``data/prepare.py`` makes of a folder."""
    return load_script(ROOT / "data" / "prepare.py", "prepare").DATASETS[name].prepare(root)


# ------------------------------------------------------------------------------------------ speech


@speaks
def test_an_utterance_depends_on_its_text_and_voice_alone():
    # eSpeak NG itself gives other samples the second time, and others again after another voice.
    first = [spoken(utterance) for utterance in UTTERANCES]
    assert len(set(first)) == len(UTTERANCES)
    assert [spoken(utterance) for utterance in reversed(UTTERANCES)] == first[::-1]
    assert [spoken(UTTERANCES[0]) for _ in range(3)] == 3 * first[:1]


@speaks
@pytest.mark.parametrize("method", ("fork", pytest.param("spawn", marks=long)))
def test_other_processes_say_the_same(method):
    here = [spoken(utterance) for utterance in UTTERANCES]  # and the forked ones inherit this one's eSpeak
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
        assert list(pool.map(spoken, UTTERANCES)) == here
    assert [spoken(utterance) for utterance in UTTERANCES] == here


@speaks
def test_threads_do_not_take_each_others_answers():
    want = {utterance: spoken(utterance) for utterance in UTTERANCES}
    got = []

    def keep_asking(utterance):
        got.extend((utterance, spoken(utterance)) for _ in range(5))

    threads = [threading.Thread(target=keep_asking, args=[utterance]) for utterance in UTTERANCES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 20
    assert all(samples == want[utterance] for utterance, samples in got)


@speaks
def test_an_espeak_that_ended_is_started_again():
    want = spoken(UTTERANCES[0])
    running = speech.espeak()
    running.process.kill()
    with pytest.raises(RuntimeError, match=r"eSpeak NG ended with status -9 at .*'text': 'a'"):
        running.ask({"text": "a", "language": "en-us"})
    assert spoken(UTTERANCES[0]) == want


@speaks
def test_a_shorter_vocal_tract_raises_the_pitch_as_much_and_keeps_the_tempo():
    text = "many meadows are wide open in summer"
    low, high = (say(text, Voice(pitch=50, range=0, formant=f)) for f in (0.9, 1.17))
    assert pitch_hz(high) / pitch_hz(low) == pytest.approx(1.17 / 0.9, rel=0.06)
    assert len(high) / len(low) == pytest.approx(1, abs=0.1)
    assert len(say(text, Voice(rate=100))) > 1.5 * len(say(text, Voice(rate=200)))


@speaks
def test_what_is_said_has_neither_silence_around_it_nor_samples_out_of_range():
    for utterance in UTTERANCES:
        waveform = say(*utterance)
        assert 0.05 < np.abs(waveform).max() <= 1
        for end in (waveform[:160], waveform[-160:]):  # 10 ms
            assert np.abs(end).max() > 5e-4
    at_8_khz = say(*UTTERANCES[0], sample_rate=8_000)
    assert len(at_8_khz) == pytest.approx(len(say(*UTTERANCES[0])) / 2, rel=0.01)


@speaks
def test_phonemes_are_those_of_the_language():
    assert phonemes("summer") == ["s", "ˈʌ", "m", "ɚ"]
    assert phonemes("Sommer", "de") == ["z", "ˈɔ", "m", "ɜ"]
    assert phonemes("summer, summer! summer.") == 3 * phonemes("summer")  # clause after clause


@speaks
@pytest.mark.parametrize(
    "text, voice, message",
    [
        ("a", Voice("klingonisch"), "no voice 'klingonisch'"),
        ("a", Voice(variant="nobody"), "no variant 'nobody'"),
        ("...", Voice(), r"'\.\.\.' has no sound in Voice"),
        ("a", Voice(pitch=100), "pitch is 100; expected a number from 0 to 99"),
        ("a", Voice(formant=2), "formant is 2; expected a number from 0.7 to 1.4"),
    ],
)
def test_a_voice_that_is_not_there_is_named(text, voice, message):
    with pytest.raises(ValueError, match=message):
        say(text, voice)


def test_without_espeak_the_message_says_what_to_install_and_nothing_is_written(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(speech, "_espeak", None)
    with pytest.raises(ImportError, match="python3 -m pip install espeakng-loader"):
        say("a", Voice())
    script = load_script(ROOT / "data" / "synthesize.py", "synthesize")
    for name in ("speech_commands", "voxceleb1", "musan"):
        assert script.main([name, str(tmp_path / name), "-size", "tiny"]) == 1
        assert "python3 -m pip install espeakng-loader" in capsys.readouterr().err
    assert script.main(["rirs", str(tmp_path / "rirs"), "-size", "tiny", "-processes", "1"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["rirs"]


VARIANTS = {
    "pretraining": speech.PRETRAINING_VARIANTS,
    "commands": speech.COMMANDS_VARIANTS,
    "VoxCeleb, training": speech.VOXCELEB_TRAIN_VARIANTS,
    "VoxCeleb, test": speech.VOXCELEB_TEST_VARIANTS,
    "MUSAN": speech.MUSAN_VARIANTS,
}


def test_nobody_speaks_in_two_sets():
    everybody = [variant for variants in VARIANTS.values() for variant in variants]
    assert len(everybody) == len(set(everybody)) == 81
    assert len(VARIANTS["pretraining"]) >= 35


@speaks
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_and_language_speaks(name):
    languages = {*speech_commands.ACCENTS, *voxceleb1.LANGUAGES}
    voices = [*(Voice("en-us", variant) for variant in VARIANTS[name]), *(Voice(it) for it in languages)]
    heard = {say("mama", voice).tobytes() for voice in voices}
    # Each of its own; but en-us-nyc has the vowels of en-us in this word.
    assert len(heard) >= len(VARIANTS[name]) + 0.8 * len(languages)


# -------------------------------------------------------------------------------------------- sets


@speaks
@pytest.mark.parametrize("name", SETS)
def test_a_clip_is_its_seed_and_its_place_whatever_the_size_and_the_processes(name, tmp_path):
    tiny, other = SETS[name].plan("tiny", 0), SETS[name].plan("tiny", 1)
    assert tiny.clips.keys() == other.clips.keys()
    some = list(tiny.clips)[:: max(1, len(tiny.clips) // 5)]
    for number, processes in enumerate((1, 3)):
        clips = {path: tiny.clips[path] for path in (some, some[::-1])[number]}
        write_set(tmp_path / str(number), {}, Plan(clips, tiny.render, {}), processes)
    for path in some:
        content = (tmp_path / "0" / path).read_bytes()
        assert content == (tmp_path / "1" / path).read_bytes()
        assert content != other.render(other.clips[path])
    if name != "musan":  # where a recording of a larger set is longer
        assert tiny.clips.items() <= SETS[name].plan("demo", 0).clips.items()


@speaks
def test_speech_commands_has_the_official_words_files_and_lists(tmp_path):
    plan = speech_commands.plan("tiny", 0)
    some = {path: clip for path, clip in plan.clips.items() if path.split("/")[0] in ("bed", "yes")}
    some["_background_noise_/running_tap.wav"] = plan.clips["_background_noise_/running_tap.wav"]
    tables = {
        path: b"".join(line for line in table.splitlines(keepends=True) if line.strip().decode() in some)
        for path, table in plan.tables.items()
    }
    write_set(tmp_path, {}, Plan(some, plan.render, tables), 1)
    lists = prepared("speech_commands", tmp_path)
    assert [label.display_name for label in lists.labels] == ["bed", "yes"]
    assert {name: len(clips) for name, clips in lists.clips.items()} == {"train": 6, "valid": 2, "test": 2}
    for path in some:
        info = soundfile.info(tmp_path / path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        assert path.startswith("_") or info.frames <= 16_000

    assert len(speech_commands.WORDS) == 35
    demo = speech_commands.plan("demo", 0)
    assert len(demo.clips) == 35 * (24 + 4 + 10) + 6
    speakers = {}
    for path, clip in demo.clips.items():
        if isinstance(clip, speech_commands.Take):
            speakers.setdefault(clip.part, set()).add(path.split("/")[1].split("_")[0])
    assert [len(speakers[part]) for part in range(3)] == [3 * 24, 3 * 4, 3 * 10]
    assert not any(speakers[a] & speakers[b] for a, b in ((0, 1), (0, 2), (1, 2)))
    voices = [set(variants) for variants in speech_commands.VARIANTS.values()]
    assert set.union(*voices) == set(speech.COMMANDS_VARIANTS)
    assert sum(map(len, voices)) == len(speech.COMMANDS_VARIANTS)


@speaks
def test_voxceleb1_has_the_official_tree_and_trials_across_videos(tmp_path):
    plan = voxceleb1.plan("tiny", 0)
    some = dict(plan.clips.items())
    for path in some:
        write = tmp_path / path
        write.parent.mkdir(parents=True, exist_ok=True)
        write.write_bytes(bytes(1_000))  # prepare looks at names and sizes
    (tmp_path / "veri_test.txt").write_bytes(plan.tables["veri_test.txt"])
    lists = prepared("voxceleb1", tmp_path)
    assert len(lists.labels) == 6
    assert {name: len(clips) for name, clips in lists.clips.items()} == {"train": 24, "test": 12}

    for size in ("tiny", "demo"):
        plan = voxceleb1.plan(size, 0)
        trials = [line.split() for line in plan.tables["veri_test.txt"].decode().splitlines()]
        assert len(trials) == len(set(map(tuple, trials))) == voxceleb1.SIZES[size].trials
        assert sum(target == "1" for target, *_ in trials) == len(trials) / 2
        for target, *pair in trials:
            (one, video), (other, second_video) = (path.split("/")[:2] for path in pair)
            assert (target == "1") == (one == other)
            assert video != second_video
            assert all(f"test/wav/{path}" in plan.clips for path in pair)


@speaks
def test_a_speaker_keeps_a_voice_and_a_video_its_recording():
    clips = list(voxceleb1.plan("tiny", 0).clips.values())
    videos = {}
    for clip in clips:
        videos.setdefault(clip[:4], []).append(voxceleb1.draw_video(clip))
    assert all(len(set(same)) == 1 for same in videos.values())
    assert len({same[0].scene for same in videos.values()}) == len(videos) == 18
    for key, same in videos.items():
        voice, speaker = same[0].voice, voxceleb1.draw_speaker(*key[:3])
        assert (voice.language, voice.variant, voice.formant) == (
            speaker.language,
            speaker.variant,
            speaker.formant,
        )
    demo = voxceleb1.SIZES["demo"].speakers
    speakers = [
        voxceleb1.draw_speaker(0, part, n) for part in (0, 1) for n in range(demo[voxceleb1.PARTS[part]])
    ]
    assert len(set(speakers)) == len(speakers) == 56
    waveform, rate = read(voxceleb1.render(clips[0]))
    assert rate == 16_000
    assert 4 <= len(waveform) / rate <= 8


@speaks
def test_musan_has_music_noise_and_speech(tmp_path):
    plan = musan.plan("tiny", 0)
    write_set(tmp_path, {}, plan, 1)
    lists = prepared("musan", tmp_path)
    assert {name: len(clips) for name, clips in lists.clips.items()} == {"music": 4, "noise": 4, "speech": 4}
    for clips in lists.clips.values():
        for clip in clips:
            waveform, rate = soundfile.read(tmp_path / clip.wav)
            assert rate == 16_000
            assert 2 <= len(waveform) / rate <= 4
            assert 0.05 < np.abs(waveform).max() <= 1


def test_rirs_has_three_sizes_of_rooms_and_responses_that_die_away(tmp_path):
    plan = rirs.plan("tiny", 0)
    write_set(tmp_path, {}, plan, 1)
    lists = prepared("rirs", tmp_path)
    assert len(lists.clips["simulated"]) == len(plan.clips) == 3 * 2
    for content in rendered(plan).values():
        response, rate = read(content)
        assert rate == 16_000
        half = len(response) // 2
        assert (response[half:] ** 2).sum() < 0.1 * (response[:half] ** 2).sum()


def test_the_first_echoes_of_a_box_are_where_geometry_puts_them():
    # 10 x 8 x 6 m; from (2, 4, 3) to (5, 4, 3) it is 3 m. The wall at x = 0 mirrors the source to x = -2, 7 m
    # away; floor, ceiling (3 m each) and both sides (4 m) mirror it to sqrt(3^2 + 6^2) and sqrt(3^2 + 8^2) m.
    room, source, microphone = np.array([10, 8, 6.0]), np.array([2, 4, 3.0]), np.array([5, 4, 3.0])
    seconds, amplitude = rirs.image_echoes(room, source, microphone, reflection=0.5)
    first = np.argsort(seconds)[:6]
    metres = [3, 45**0.5, 45**0.5, 7, 73**0.5, 73**0.5]
    np.testing.assert_allclose(343 * seconds[first], metres)
    np.testing.assert_allclose(amplitude[first], [1 / 3, *(0.5 / m for m in metres[1:])])


def test_a_response_dies_away_in_eyrings_time():
    # 6 x 5 x 3 m: V = 90, S = 126, alpha = 1 - 0.8^2 = 0.36;
    # T60 = 24 ln 10 / 343 * 90 / (-126 ln 0.64) = 0.161 * 90 / 56.2 = 0.258 s
    room = np.array([6, 5, 3.0])
    slopes = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        source, microphone = rng.uniform(0.1 * room, 0.9 * room, (2, 3))
        response = rirs.impulse_response(rng, room, source, microphone, reflection=0.8)
        left_db = 10 * np.log10(np.cumsum((response**2)[::-1])[::-1] / (response**2).sum())
        start, stop = np.argmax(left_db < -5), np.argmax(left_db < -25)
        slopes.append(3 * (stop - start) / rirs.SAMPLE_RATE)
    assert np.mean(slopes) == pytest.approx(0.258, rel=0.2)
