"""The doctor finds the faults put into recordings and no others; its commands are right."""

import functools
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from torch.profiler import ProfilerActivity, profile

from ipet import __main__, fingerprint, proposals
from ipet.audio import read_audio
from ipet.diagnosis import Patient, read_lists
from ipet.doctor import doctor
from ipet.examination import examine_all

from helpers import experiment, load_script, run_here
from parity import SHARED

ROOT = Path(__file__).resolve().parents[1]
REAL = SHARED / "real_audio"
RATE = 16_000


@functools.cache
def sound(seed, seconds=1.0, low=300, high=4000):
    """[T] samples: bursts of noise, each of a band and a length of its own; another seed sounds alike."""
    rng = np.random.default_rng(seed)
    samples = 0.002 * rng.standard_normal(int(seconds * RATE))
    for start in np.sort(rng.uniform(0, 0.8 * seconds, 5)):
        t = np.arange(len(samples)) / RATE - start
        tone = np.sin(2 * np.pi * rng.uniform(low, high) * t + 3 * np.sin(2 * np.pi * rng.uniform(5, 60) * t))
        samples += 0.15 * tone * np.exp(-t.clip(0) / rng.uniform(0.03, 0.2)) * (t > 0)
    return samples.astype(np.float32)


def write(path, samples, rate=RATE, subtype=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if subtype is None:  # one rounding, whatever the format
        samples = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    soundfile.write(path, samples, rate, subtype=subtype)


def lists_of(root, **lists):
    """Lists of ``path: class`` and their table of the classes kick, snare and tom; returns the folder."""
    names = ("kick", "snare", "tom")
    rows = [f"{i},/m/{name},{name}" for i, name in enumerate(names)]
    root.mkdir(exist_ok=True)
    (root / "labels.csv").write_text("\n".join(["index,mid,display_name", *rows]) + "\n")
    for name, clips in lists.items():
        data = [{"wav": wav, "labels": ",".join(f"/m/{n}" for n in names.split("+"))} for wav, names in clips]
        (root / f"{name}.json").write_text(json.dumps({"data": data}))
    return root


def sounds(root, name, number=6, first=0):
    """Recordings of kick, snare and tom in turn, each another sound."""
    clips = [(f"wav/{name}_{i}.wav", ("kick", "snare", "tom")[i % 3]) for i in range(number)]
    for i, (wav, _) in enumerate(clips):
        write(root / wav, sound(first + i))
    return clips


@pytest.fixture
def healthy(tmp_path):
    """Lists without a fault."""
    root = tmp_path / "set"
    root.mkdir()
    names = {name: sounds(root, name, first=100 * k) for k, name in enumerate(("train", "valid", "test"))}
    return lists_of(root, **names)


def add(root, name, wav, label):
    """One more clip of a list."""
    path = root / f"{name}.json"
    content = json.loads(path.read_text())
    content["data"].append({"wav": wav, "labels": label and f"/m/{label}"})
    path.write_text(json.dumps(content))


def examined(capsys, root, *further):
    """The exit status and the JSON of a run."""
    status = __main__.main(["doctor", str(root), *further, "-json", "-"])
    content = json.loads(capsys.readouterr().out)
    return status, content, {finding["code"]: finding for finding in content["findings"]}


# --------------------------------------------------------------------------------------------- faults


def test_nothing_is_found_in_healthy_lists(capsys, healthy):
    status, content, found = examined(capsys, healthy)
    assert (status, content["status"]) == (0, 0)
    assert set(found) == {"few"}  # two training clips of a class
    assert content["lists"]["train"] == {
        "clips": 6,
        "hours": pytest.approx(6 / 3600),
        "classes": 3,
        "unusable": 0,
        "no_class": 0,
    }
    assert content["classes"]["kick"] == {"train": 2, "valid": 2, "test": 2}
    assert content["recordings"]["sample_rates"] == {"16000": 18}
    assert content["recordings"]["kinds"] == {"WAV PCM_16": 18}


def break_file(root):
    (root / "wav/odd.wav").write_text("no audio")


def lose(root):
    pass


def cut_short(root):
    write(root / "wav/odd.wav", sound(7))
    (root / "wav/odd.wav").write_bytes((root / "wav/odd.wav").read_bytes()[:9000])


def clip(root):
    write(root / "wav/odd.wav", np.clip(20 * sound(7), -1, 1))


FAULTS = {  # what is written as wav/odd.wav, one more kick to train on
    "unusable": break_file,
    "unusable, lost": lose,
    "unusable, cut": cut_short,
    "silent": lambda root: write(root / "wav/odd.wav", 1e-3 * sound(7), subtype="FLOAT"),
    "constant": lambda root: write(root / "wav/odd.wav", np.zeros(8000)),
    "clipped": clip,
    "offset": lambda root: write(root / "wav/odd.wav", 0.1 + sound(7)),
    "short": lambda root: write(root / "wav/odd.wav", sound(7, 0.3)[3000:3300]),
    "low_rate": lambda root: write(root / "wav/odd.wav", sound(7)[::2], 8000),
    "high_rate": lambda root: write(root / "wav/odd.wav", soxr.resample(sound(7), RATE, 44_100), 44_100),
    "scale": lambda root: write(root / "wav/odd.wav", 32_768 * sound(7), subtype="FLOAT"),  # A10
    "cancelled": lambda root: write(root / "wav/odd.wav", np.stack([sound(7), -sound(7)], axis=1)),  # A10
    "empty_channel": lambda root: write(root / "wav/odd.wav", np.stack([sound(7), 0 * sound(7)], axis=1)),
    "channels": lambda root: write(root / "wav/odd.wav", np.stack([sound(7), 0.5 * sound(8)], axis=1)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_recording_with_a_fault_is_named_and_no_other(capsys, healthy, fault):
    FAULTS[fault](healthy)
    add(healthy, "train", "wav/odd.wav", "kick")
    status, content, found = examined(capsys, healthy)
    code = fault.partition(",")[0]
    of_several = {"channels"} if code in ("cancelled", "empty_channel") else set()
    assert set(found) - {"few"} == {code} | of_several
    [example] = found[code]["examples"]
    assert example.startswith("wav/odd.wav")
    assert status == content["status"] == int(code in ("unusable", "cancelled", "scale"))
    assert list(content["unusable"]) == ["wav/odd.wav"] * (code == "unusable")


def propose_norm(capsys, root):
    _, content, _ = examined(capsys, root)
    return content["proposals"]["norm_mean"], content["proposals"]["norm_std"]


@pytest.mark.parametrize("fault", ["scale", "cancelled"])
def test_a_proposed_normalisation_is_that_of_sound_recordings(capsys, healthy, fault):  # A10
    want = propose_norm(capsys, healthy)
    FAULTS[fault](healthy)
    add(healthy, "train", "wav/odd.wav", "kick")
    assert propose_norm(capsys, healthy) == want


def test_recordings_are_counted_as_found_used_and_left_out_with_reasons(capsys, healthy):  # C
    break_file(healthy)
    add(healthy, "train", "wav/odd.wav", "kick")
    write(healthy / "wav/beside.aiff", sound(900))
    status, content, _ = examined(capsys, healthy)
    report = content["input"]
    assert report["supplied"] == {"recordings": 20} and report["used"] == {"recordings": 18}
    reasons = {tuple(entry["examples"]): entry["reason"] for entry in report["left_out"]}
    assert reasons[("wav/beside.aiff",)] == "in none of the lists"
    assert reasons[("wav/odd.wav",)].startswith("not readable as audio")
    assert doctor(healthy) == status == 1
    printed = capsys.readouterr().out
    assert "Input: 20 recordings found, 18 used, 2 left out" in printed
    assert "1 of 20 recordings left out: in none of the lists (wav/beside.aiff)" in printed


def test_an_unusable_recording_is_told_with_its_reason(capsys, healthy):
    cut_short(healthy)
    add(healthy, "train", "wav/odd.wav", "kick")
    assert doctor(healthy) == 1
    printed = capsys.readouterr().out
    assert (
        "recordings that cannot be used: 1\n    wav/odd.wav: truncated, its header promises 32000" in printed
    )
    assert printed.splitlines()[-1] == "To be mended: unusable."


def test_the_same_samples_in_two_lists_are_leakage_in_whatever_format(capsys, healthy):
    write(healthy / "wav/copy.flac", sound(0))  # of wav/train_0.wav
    add(healthy, "test", "wav/copy.flac", "kick")
    status, content, found = examined(capsys, healthy)
    assert status == 1 and set(found) == {"leakage", "few"}
    assert found["leakage"]["examples"] == ["wav/train_0.wav (train, kick) = wav/copy.flac (test, kick)"]
    assert content["copies"] == [["wav/train_0.wav", "wav/copy.flac"]]


def test_one_recording_in_two_lists_is_leakage(capsys, healthy):
    add(healthy, "valid", "wav/train_1.wav", "snare")
    status, _, found = examined(capsys, healthy)
    assert status == 1 and found["leakage"]["examples"] == ["wav/train_1.wav (valid, snare)"]


def test_a_copy_that_was_coded_again_is_leakage_too(capsys, healthy):
    late = np.concatenate([np.zeros(700, np.float32), 0.4 * sound(0)])
    write(healthy / "wav/copy.mp3", soxr.resample(late, RATE, 44_100), 44_100)
    add(healthy, "test", "wav/copy.mp3", "kick")
    status, _, found = examined(capsys, healthy)
    assert status == 1 and set(found) == {"near_leakage", "few", "high_rate"}
    assert "wav/train_0.wav (train, kick) ~ wav/copy.mp3 (test, kick)" in found["near_leakage"]["examples"][0]


@pytest.mark.parametrize("gain, code", [(1, "contradiction"), (0.5, "near_contradiction")])
def test_the_same_audio_with_another_label_is_a_contradiction(capsys, healthy, gain, code):
    write(healthy / "wav/copy.wav", gain * read_audio(healthy / "wav/train_0.wav").numpy())
    add(healthy, "train", "wav/copy.wav", "tom")
    status, _, found = examined(capsys, healthy)
    assert status == 1 and code in found
    assert "wav/train_0.wav (train, kick)" in found[code]["examples"][0]
    assert "wav/copy.wav (train, tom)" in found[code]["examples"][0]


def test_a_copy_in_one_list_is_told_and_harmless(capsys, healthy):
    write(healthy / "wav/copy.wav", sound(0))
    write(healthy / "wav/softer.wav", 0.5 * sound(1))
    add(healthy, "train", "wav/copy.wav", "kick")
    add(healthy, "train", "wav/softer.wav", "snare")
    status, _, found = examined(capsys, healthy)
    assert status == 0 and set(found) == {"copies", "near_copies", "few"}


def test_silence_is_no_copy_of_other_silence(capsys, healthy):
    for name in ("train", "test"):
        write(healthy / f"wav/quiet_{name}.wav", np.zeros(8000))
        add(healthy, name, f"wav/quiet_{name}.wav", "kick")
    status, _, found = examined(capsys, healthy)
    assert status == 0 and len(found["constant"]["examples"]) == 2 and "leakage" not in found


def test_folds_leak_where_copies_lie_in_two_of_them(capsys, tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    one, two = sounds(root, "one"), sounds(root, "two", first=50)
    write(root / "wav/two_0.wav", 0.5 * sound(0))
    lists_of(root, train_1=two, eval_1=one, train_2=one, eval_2=two)
    status, content, found = examined(capsys, root)
    assert status == 1 and set(found) == {"near_leakage", "few"}
    [example] = found["near_leakage"]["examples"]
    assert example.startswith("wav/two_0.wav (eval_2, kick) ~ wav/one_0.wav (eval_1, kick)")
    assert content["proposals"]["commands"]["ast_small"].startswith("(cd ast_custom && ")


def test_classes_are_counted_and_their_gaps_told(capsys, tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    train, test = sounds(root, "train", 12), sounds(root, "test", 3, first=50)
    train = [(wav, "kick" if i else "tom") for i, (wav, _) in enumerate(train)]  # 11 kicks, 1 tom, no snare
    lists_of(root, train=train, test=test[:2])  # a kick and a snare
    status, _, found = examined(capsys, root)
    assert status == 1
    assert found["untrained"]["examples"] == ["snare in test"]
    assert found["single_list"]["examples"] == ["tom in train"]
    assert found["few"]["examples"] == ["tom: 1"]
    assert "11 times" in found["uneven"]["text"] and found["uneven"]["examples"] == ["kick: 11", "tom: 1"]


# ---------------------------------------------------------------------------------------- fingerprint


def recoded(samples, path, rate=RATE, gain=0.5, delay_ms=0):
    """The samples as they come back from a file of another rate or coding."""
    samples = np.concatenate([np.zeros(int(delay_ms * RATE / 1000), np.float32), gain * samples])
    write(path, soxr.resample(samples, RATE, rate), rate)
    return read_audio(path)


COPIES = {
    "gain": ("a.wav", RATE, 0.1, 0),
    "resampled": ("a.wav", 44_100, 0.5, 0),
    "delayed": ("a.wav", RATE, 1, 57),
    "delayed by 0.11 s": ("a.wav", RATE, 1, 110),
    "resampled and delayed": ("a.wav", 22_050, 0.5, 13),
    "MP3": ("a.mp3", 44_100, 0.7, 31),
    "MP3 of low quality": ("a.mp3", RATE, 0.7, 0),
    "OGG": ("a.ogg", 32_000, 0.7, 8),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_changed_copy_is_found_among_sounds_of_its_kind(tmp_path, name):
    file, *change = COPIES[name]
    originals = [sound(i) for i in range(30)]
    clips = [*map(torch.from_numpy, originals), recoded(originals[4], tmp_path / file, *change)]
    [pair] = near(clips)
    assert (pair.one, pair.other) == (4, 30) and pair.alike > 0.9


def near(clips):
    """The pairs of clips that sound the same."""
    coarse = fingerprint.coarse_log_mel()
    return fingerprint.near_duplicates([fingerprint.fingerprint(c, coarse) for c in clips], clips.__getitem__)


def test_noises_of_one_colour_are_different():
    rng = np.random.default_rng(0)
    assert not near([torch.from_numpy(rng.standard_normal(RATE).astype(np.float32)) for _ in range(40)])


def test_generated_clips_of_one_class_are_different(tmp_path):
    load_script(ROOT / "data/synthesize.py", "synthesize_for_doctor").main(
        ["esc50", str(tmp_path), "-size", "tiny"]
    )
    paths = sorted(tmp_path.rglob("*.wav"))
    assert len(paths) > 20 and not near([read_audio(path) for path in paths])


def test_the_share_of_differing_bits_is_counted_at_the_best_delay():
    every = np.full(20, 2**31 - 1, np.uint32)
    bits = np.random.default_rng(0).integers(0, 2**31, 20, dtype=np.uint32)
    wrong = bits.copy()
    wrong[5] ^= 0b111
    late = np.concatenate([bits[:1], wrong])  # a frame later, 3 of 20 x 31 bits turned
    summary = np.zeros(2, np.float32)
    prints = [
        fingerprint.Fingerprint(bits, every, summary),
        fingerprint.Fingerprint(late, np.append(every, every[:1]), summary),
    ]
    assert fingerprint.differing(prints, np.array([[0, 1]])).tolist() == [3 / (20 * 31)]


def test_pairs_are_found_whatever_the_size_of_a_block(monkeypatch):
    clips = [torch.from_numpy(sound(i)) for i in range(12)]
    clips += [0.5 * clips[3], 0.25 * clips[7]]
    at_once = near(clips)
    monkeypatch.setattr(fingerprint, "BLOCK", 5)
    assert [p[:2] for p in near(clips)] == [p[:2] for p in at_once] == [(3, 12), (7, 13)]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL}: the real recordings are not there")
@pytest.mark.parametrize("folder, name", [("D1_drums", "eval_3"), ("D2_keywords", "valid")])
def test_real_recordings_of_different_classes_are_different(folder, name):
    lists = read_lists(REAL / folder / f"{name}.json", None)
    patient = Patient(lists, *examine_all(lists.clips[name]))
    assert len(patient.sound) > 100 and not [f for f in patient.findings() if f.gravity == "mend"]
    assert not [pair for pair in patient.near if patient.disagree([*pair.one, *pair.other])]


# ------------------------------------------------------------------------------------------ proposals


@pytest.mark.parametrize(
    "seconds, frames",
    [
        ([1.0] * 20, 112),
        ([0.1] * 20, 64),
        ([0.5] * 19 + [9.0], 64),
        ([0.5] * 18 + [2.56] * 2, 256),
        ([60.0], 1024),
    ],
)
def test_frames_cover_95_percent_of_the_clips(seconds, frames):
    # 1 s is 100 frames, the next multiple of 16 is 112; of 20 clips 19 are 95 %.
    assert proposals.frame_length(seconds) == frames


def test_log_mels_are_normalised_as_prepare_does(capsys, healthy):
    load_script(ROOT / "data/prepare.py", "prepare_for_doctor")
    from preparation.stats import log_mel_stats

    stats = log_mel_stats(healthy, [f"wav/train_{i}.wav" for i in range(6)])
    _, content, _ = examined(capsys, healthy)
    assert content["proposals"]["norm_mean"] == pytest.approx(stats["mean"], abs=1e-6)
    assert content["proposals"]["norm_std"] == pytest.approx(stats["std"], abs=1e-6)


def test_a_batch_that_does_not_fit_is_cut_into_parts():
    backbone = proposals.Backbone("a", "ast", fixed=1e9, frame=1e6, batch_size=16)
    # 80 % of 3 GB less 1 GB are 1.4 GB, in which 14 clips of 100 frames of 1 MB fit.
    assert proposals.fitting_clips(backbone, 100, 3e9) == 14
    assert proposals.batch_flags(backbone, 100, 1000, 3e9) == ["-batch_size", "16", "-micro_batch_size", "14"]
    assert proposals.batch_flags(backbone, 100, 1000, 9e9) == ["-batch_size", "16"]
    assert proposals.batch_flags(backbone, 100, 80, 9e9) == ["-batch_size", "10"]  # 8 steps an epoch


@pytest.mark.parametrize(
    "seconds, share",
    [
        ([0.1] * 20, 0.0),  # short, but of one length
        ([1.0] * 10 + [3.0] * 10, 1 / 3),  # of 3 s each, 20 s of 60 are padding
        ([1.0] * 19 + [60.0], 0.0),  # 95 % are as long as 1 s, to which the last one is cut
        ([5.12] * 10 + [60.0] * 10, 0.25),  # a backbone hears 10.24 s at most
    ],
)
def test_padding_is_what_clips_of_one_length_would_be_filled_up_with(seconds, share):
    assert proposals.padding(seconds) == pytest.approx(share)
    assert proposals.has_own_lengths("ast_custom", share) == (share >= 0.25)
    assert not proposals.has_own_lengths("ast_gtzan", share)  # of 10 segments
    assert not proposals.has_own_lengths("w2v_voxceleb", share)


def test_clips_of_many_lengths_are_proposed_to_be_heard_at_their_own(capsys, healthy, tmp_path):
    for i in range(6):
        for k, name in enumerate(("train", "valid", "test")):
            write(healthy / f"wav/{name}_{i}.wav", sound(100 * k + i, seconds=0.3 + 0.2 * i))
    assert __main__.main(["doctor", str(healthy)]) == 0
    printed = capsys.readouterr().out
    # of 1.3 s each, 6 x 1.3 - (0.3 + 0.5 + ... + 1.3) s = 3.0 s of 7.8 s are padding
    assert "\n-variable_length True (of clips brought to one length 38 % would be padding; " in printed
    for command in commands_of(printed):
        folder, given = understood(command)
        assert given.variable_length and not getattr(given, "patchout", 0)
        if given.name.endswith("_small"):  # it runs
            more = ["-epoch", "1", "-path_run", tmp_path]
            run = run_here(folder, *shlex.split(command.partition("main.py ")[2][:-1]), *more)
            assert (run / "seed_1234/result.json").is_file()


def test_clips_of_one_length_are_not(capsys, healthy):
    _, content, _ = examined(capsys, healthy)
    assert content["proposals"]["padding"] == 0 and not content["proposals"]["variable_length"]
    assert "variable_length" not in str(content["proposals"]["commands"])


def understood(command):
    """The experiment of a printed command, and what it makes of the flags."""
    folder, flags = re.fullmatch(r"\(cd (\w+) && python3 main.py (.*)\)", command).groups()
    with experiment(folder) as load:
        return folder, load("arguments").get_args(shlex.split(flags))


@pytest.mark.parametrize("kind", ["split", "folds"])
@pytest.mark.parametrize("label", ["kick", "kick+snare"])
def test_the_commands_are_understood_by_their_experiments(capsys, healthy, kind, label):
    clips = [(f"wav/train_{i}.wav", label if i == 0 else "tom") for i in range(6)]
    others = [(f"wav/test_{i}.wav", "tom") for i in range(6)]
    if kind == "folds":
        (healthy / "train.json").unlink()
        lists_of(healthy, train_1=clips, eval_1=others, train_2=others, eval_2=clips)
    else:
        lists_of(healthy, train=clips)
    _, content, _ = examined(capsys, healthy)
    commands = content["proposals"]["commands"]
    assert list(commands) == [backbone.name for backbone in proposals.BACKBONES]
    for name, command in commands.items():
        folder, given = understood(command)
        assert folder == ("w2v_custom" if "wav2vec2" in name else "ast_custom")
        assert given.precision == content["proposals"]["precision"]
        assert (given.lr_schedule, given.warmup_epoch, given.mixup) == ("cosine", 0.5, 0)
        assert given.path_list == healthy and given.frame_length == content["proposals"]["frame_length"]
        assert given.fold == (2 if kind == "folds" else 0)
        assert (given.pretrained == name) == name.endswith("_small")
        assert given.classification_loss == ("bce" if "+" in label else "cce")


@pytest.mark.parametrize("kind, name", [("split", "speechcommands"), ("folds", "gtzan"), ("split", "gtzan")])
def test_lists_of_a_dataset_have_its_experiment(capsys, healthy, kind, name):
    root = healthy.rename(healthy.parent / name)
    if kind == "folds":
        for split, fold in (("train", "train_1"), ("test", "eval_1")):
            (root / f"{split}.json").rename(root / f"{fold}.json")
        (root / "valid.json").unlink()
    _, content, _ = examined(capsys, root)
    for command in content["proposals"]["commands"].values():
        folder, given = understood(command)
        assert folder[4:] == (name if (kind, name) != ("split", "gtzan") else "custom")  # GTZAN has folds
        assert given.fold == (kind == "folds")


@pytest.mark.parametrize("content, kind", [("speech", "wav2vec2"), ("music", "ast"), ("sounds", "ast")])
def test_what_was_recorded_chooses_the_backbone(capsys, healthy, content, kind):
    assert __main__.main(["doctor", str(healthy), "-content", content]) == 0
    shown = commands_of(capsys.readouterr().out)
    assert len(shown) == 2 and all(kind in understood(command)[1].name for command in shown)


def test_a_command_finds_its_experiment_from_anywhere(capsys, healthy, monkeypatch):
    monkeypatch.chdir(healthy)
    _, content, _ = examined(capsys, healthy)
    folder = shlex.split(content["proposals"]["commands"]["ast_small"].removeprefix("(cd "))[0]
    assert Path(folder).resolve() == ROOT / "ast_custom"


def commands_of(printed):
    """The commands of a report, each in one line."""
    found = re.findall(r"^\(cd .*?\)$", printed.replace(" \\\n   ", ""), re.MULTILINE)
    return [" ".join(command.split()) for command in found]


def test_the_estimate_of_memory_holds_what_a_small_step_takes():
    backbone = proposals.BACKBONES[0]
    with experiment("ast_esc50") as load:
        flags = ["-name", "a", "-frame_length", "128", *backbone.flags.split(), *proposals.PATCHOUT.split()]
        model = load("model").build_model(load("arguments").get_args(flags), 3).train()

    def peak(num_clips):
        """Bytes of tensors that lived at once in a forward and a backward pass."""
        batch = 0.1 * torch.randn(num_clips, 20_000), torch.full((num_clips,), 20_000)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
            model(*batch, torch.arange(num_clips)).sum().backward()
            model.zero_grad(set_to_none=True)
        changes = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
        changes.sort(key=lambda event: event.start_ns())
        return np.cumsum([event.nbytes() for event in changes]).max()

    peak(2)
    measured = (peak(12) - peak(4)) / 8
    estimated = proposals.peak_bytes(backbone, 128, 1) - backbone.fixed
    assert measured < estimated < 3 * measured


# -------------------------------------------------------------------------------------- command line


def test_one_list_is_enough_and_paths_may_start_elsewhere(capsys, healthy, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    for file in ("labels.csv", "train.json"):
        (lists / file).write_text((healthy / file).read_text())
    status, content, _ = examined(capsys, lists / "train.json", "-path_data", str(healthy))
    assert status == 0 and list(content["lists"]) == ["train"] and not content["proposals"]["commands"]


def test_all_of_it_is_written_beside_the_text(capsys, healthy, tmp_path):
    assert __main__.main(["doctor", str(healthy), "-json", str(tmp_path / "all.json")]) == 0
    printed = capsys.readouterr().out
    assert json.loads((tmp_path / "all.json").read_text())["recordings"]["number"] == 18
    assert "18 recordings, 0.01 hours, 3 classes" in printed and "Nothing must be mended." in printed
    commands = json.loads((tmp_path / "all.json").read_text())["proposals"]["commands"]
    assert commands_of(printed) == list(commands.values())  # they end the report, and can be pasted
    assert printed.rstrip().endswith(")") and "-precision " in printed


@pytest.mark.parametrize(
    "spoil, expected",
    [
        (lambda root: root.rename(root.parent / "gone"), "no such folder or list"),
        (lambda root: (root / "train.json").unlink(), "holds neither train_1.json nor train.json"),
        (lambda root: (root / "train.json").unlink(), "or name one list; python3 data/prepare.py folder /"),
        (lambda root: (root / "labels.csv").unlink(), "no such label table"),
        (lambda root: (root / "wav").rename(root / "elsewhere"), "none of the 18 recordings is there"),
        (lambda root: (root / "train.json").rename(root / "train_1.json"), "has no eval_1.json"),
        (lambda root: add(root, "test", "wav/test_0.wav", "gong"), "label '/m/gong', which is not among"),
    ],
)
def test_wrong_input_is_one_line(capsys, healthy, spoil, expected):
    spoil(healthy)
    assert __main__.main(["doctor", str(healthy)]) == 1
    printed, error = capsys.readouterr()
    assert printed == "" and error.startswith("error: ") and error.count("\n") == 1 and expected in error


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["doctor", "-h"])
    assert "python3 -m ipet doctor data/drums -path_data /data/drums" in capsys.readouterr().out
