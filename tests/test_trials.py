"""Lists of trials: their lines, and the recordings that their names mean."""

import itertools
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ipet.__main__ import main
from ipet.backbones.audio_spectrogram_transformer import build_ast, save_backbone
from ipet.lists import read_clips
from ipet.trials import UtteranceNames, read_clip_trials, read_trials, trial_files

from helpers import long, run_here, tiny, write_lists, write_wav

A, B, C = "id10270/5r0dWxy17C8/00001.wav", "id10270/x6uYqmx31kE/00001.wav", "id10300/ize_eiCFEg0/00003.wav"


def write_trials(folder, *lines):
    path = folder / "trials.txt"
    path.write_text("".join(line + "\n" for line in lines))
    return path


def test_trials_are_pairs_of_indices_and_what_they_are(tmp_path):
    path = write_trials(tmp_path, f"1 {A} {B}", f"0 {B} {C}", f"0 {A} {C}")
    pairs, targets = read_trials(path, {A: 7, B: 3, C: 5})
    assert pairs.tolist() == [[7, 3], [3, 5], [7, 5]]
    assert targets.tolist() == [True, False, False]
    assert (pairs.dtype, targets.dtype) == (np.int64, np.bool_)


def test_trials_may_say_target_and_nontarget_have_blank_lines_windows_line_ends_and_longer_paths(tmp_path):
    path = tmp_path / "trials.txt"
    path.write_bytes(f"target {A}\twav/{B}\r\n\r\nnontarget /data/test/wav/{B} {C}".encode())
    pairs, targets = read_trials(path, {A: 0, B: 1, C: 2})
    assert pairs.tolist() == [[0, 1], [1, 2]]
    assert targets.tolist() == [True, False]


def test_unknown_utterances_are_counted_and_the_first_is_named_with_its_line(tmp_path):
    path = write_trials(tmp_path, f"1 {A} {A}", "", f"1 {A} {B}", f"0 {B} {C}")
    with pytest.raises(ValueError) as caught:
        read_trials(path, {A: 0})
    assert str(caught.value) == (
        f"{path}: line 3 names utterance {B}, which is not in the list of clips "
        f"(the closest: {A}); 2 of the 3 utterances are unknown, 1 are known"
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([f"1 {A} {B}", f"0 {A}"], f"line 2 is '0 {A}'; expected '1 utterance utterance' (one speaker)"),
        ([f"1 {A} {B} 0.7"], f"line 1 is '1 {A} {B} 0.7'"),
        ([f"{A} {B} 1"], f"line 1 is '{A} {B} 1'"),
        ([f"yes {A} {B}"], f"line 1 is 'yes {A} {B}'"),
        (["", " "], "holds no trial; expected '1 utterance utterance' or '0 ...' a line"),
        ([f"1 {A} {B}"], "1 of the 1 trials are targets; expected targets and nontargets"),
        ([f"0 {A} {C}"], "0 of the 1 trials are targets; expected targets and nontargets"),
    ],
)
def test_a_wrong_list_of_trials_is_refused(tmp_path, lines, message):
    path = write_trials(tmp_path, *lines)
    with pytest.raises(ValueError, match=re.escape(f"{path}: {message}")):
        read_trials(path, {A: 0, B: 1, C: 2})


def test_trials_that_are_not_text_are_refused(tmp_path):
    (tmp_path / "trials.txt").write_bytes(b"RIFF\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8 text"):
        read_trials(tmp_path / "trials.txt", {})


def test_a_missing_list_of_trials_is_named_with_what_writes_it(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        read_trials(tmp_path / "trials.txt", {})
    assert str(caught.value) == (
        f"{tmp_path}/trials.txt: no such list of trials; python3 data/prepare.py voxceleb1 writes it, or "
        "-path_trial names another"
    )


@long
def test_a_hundred_thousand_trials_are_read_in_a_moment(tmp_path):
    names = [f"id1{i % 1251:04d}/video{i % 7}/{i:05d}.wav" for i in range(20_000)]
    drawn = np.random.default_rng(0).integers(20_000, size=(100_000, 2))
    path = write_trials(tmp_path, *(f"{i % 2} {names[a]} {names[b]}" for i, (a, b) in enumerate(drawn)))
    start = time.perf_counter()
    pairs, _ = read_trials(path, {name: i for i, name in enumerate(names)})
    assert time.perf_counter() - start < 30  # 0.3 s on an idle machine; a search for each takes minutes
    np.testing.assert_array_equal(pairs, drawn)


def test_a_control_character_in_trials_is_refused_and_not_printed(tmp_path):
    path = write_trials(tmp_path, f"1 {A} {B}", f"0 {A} \x1b]0;{B}")
    with pytest.raises(ValueError, match=r"trials\.txt: line 2 holds the control character \\x1b"):
        read_trials(path, {A: 0, B: 1})


# Names (A8) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "name"),
    [
        ("dee/000.wav", "dee/000.wav"),  # flat
        ("000.wav", "000.wav"),
        ("000.wav", "./000.wav"),
        ("a/b/c/d/e/000.wav", "a/b/c/d/e/000.wav"),  # deep
        ("a/b/c/d/e/000.wav", "e/000.wav"),
        ("/data/dee/000.wav", "/data/dee/000.wav"),
        ("/data/dee/000.wav", "dee/000.wav"),
        ("dee/000.wav", "/data/dee/000.wav"),
        ("dee/000.wav", "/elsewhere/dee/000.wav"),
        ("test/wav/id1/video/000.wav", "id1/video/000.wav"),  # VoxCeleb's
        ("test/wav/id1/video/000.wav", "/old/place/id1/video/000.wav"),
        ("test/wav/id1/video/000.wav", "id1\\video\\000.wav"),
        ("a//b/./000.wav", "a/b/000.wav"),
        ("-x/1 2.wav", "-x/1 2.wav"),
        ("test/wav/id1/video/000.m4a", "id1/video/000.wav"),  # converted
        ("dee/000.flac", "/elsewhere/dee/000"),
        ("dee/000.flac", "dee\\000.wav"),
    ],
)
def test_a_trial_name_means_the_clip_of_that_name_at_any_folder_depth(listed, name):
    others = {"x/y/z/other.wav": 0, "u/000.flac": 1, listed: 2}
    assert UtteranceNames(others, "/data").find(name) == [listed]


def test_a_suffix_tells_two_recordings_apart_where_they_have_one_stem():
    known = UtteranceNames({"dee/000.wav": 0, "dee/000.flac": 1}, "/data")
    assert known.find("old/dee/000.flac") == ["dee/000.flac"]
    assert known.find("dee/000.mp3") == ["dee/000.wav", "dee/000.flac"]  # ambiguous


def test_an_exactly_listed_name_means_its_clip_where_other_clips_end_alike():
    names = {"old/dee/000.wav": 0, "dee/000.wav": 1, "x/old/dee/000.wav": 2}
    known = UtteranceNames(names, "/data")
    for name in names:
        assert known.find(name) == [name]
    assert known.find("/data/old/dee/000.wav") == ["old/dee/000.wav"]  # the same file


def test_equal_last_three_parts_of_two_clips_are_told_apart_by_their_whole_names():
    names = {"session1/id1/video/1.wav": 0, "session2/id1/video/1.wav": 1}
    known = UtteranceNames(names)
    assert [known.find(name) for name in names] == [[name] for name in names]
    assert known.find("id1/video/1.wav") == list(names)


def test_an_ambiguous_name_is_refused_with_its_line_and_the_candidates(tmp_path):
    path = write_trials(tmp_path, "1 s1/a.wav s1/a.wav", "0 a.wav s1/a.wav")
    with pytest.raises(ValueError) as caught:
        read_trials(path, {"s1/a.wav": 0, "s2/a.wav": 1})
    assert str(caught.value) == (
        f"{path}: line 2 names utterance a.wav, which may be s1/a.wav, s2/a.wav; expected a name as the list "
        "of clips has it"
    )


def test_an_unknown_name_is_refused_with_clips_of_its_file_name(tmp_path):
    path = write_trials(tmp_path, "1 s1/a.wav s1/a.wav", "0 s3/a.wav s1/a.wav")
    with pytest.raises(
        ValueError, match=r"line 2 names utterance s3/a\.wav.*the closest: s1/a\.wav, s2/a\.wav"
    ):
        read_trials(path, {"s1/a.wav": 0, "s2/a.wav": 1})


def test_names_with_spaces_are_read_between_tabs(tmp_path):
    path = write_trials(tmp_path, "1\tann lee/1.wav\tann lee/2.wav", "0\tann lee/1.wav\tbob/1.wav")
    pairs, _ = read_trials(path, {"ann lee/1.wav": 0, "ann lee/2.wav": 1, "bob/1.wav": 2})
    assert pairs.tolist() == [[0, 1], [0, 2]]


def test_a_file_that_is_in_no_list_is_not_taken_for_a_listed_clip_that_ends_alike(tmp_path):
    wav(tmp_path / "data/dee/1.wav"), wav(tmp_path / "data/old/dee/1.wav"), wav(tmp_path / "data/eve/1.wav")
    known = UtteranceNames({"old/dee/1.wav": 0, "eve/1.wav": 1}, tmp_path / "data")
    assert known.find("dee/1.wav") == [] and known.find("eve/1.wav") == ["eve/1.wav"]


# The same recordings in training and in verify (A8) -------------------------------------------------


def wav(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(1600), 16_000)
    return path


LAYOUTS = {  # names in the list, and in the trials
    "flat": (["dee/0.wav", "dee/1.wav", "eve/0.wav"], None),
    "bare": (["0.wav", "1.wav", "2.wav"], None),
    "deep": (["a/b/c/d/dee/v/0.wav", "a/b/c/d/dee/w/0.wav", "a/b/c/d/eve/v/0.wav"], None),
    "deep, by their ends": (
        ["test/wav/id1/v/0.wav", "test/wav/id1/w/0.wav", "test/wav/id2/v/0.wav"],
        ["id1/v/0.wav", "id1/w/0.wav", "id2/v/0.wav"],
    ),
    "one name in different folders": (["s1/x/id/v/0.wav", "s2/x/id/v/0.wav", "s3/y/id/v/0.wav"], None),
    "one ends with the other": (["id/v/0.wav", "s/id/v/0.wav", "s/s/id/v/0.wav"], None),
    "not normalised": (
        ["./dee//0.wav", "dee/1.wav", "eve/../eve/0.wav"],
        ["dee/0.wav", "dee/1.wav", "eve/0.wav"],
    ),
}


@pytest.mark.parametrize("absolute", ["relative", "absolute list", "absolute trials"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_and_verify_resolve_a_trial_to_the_same_recordings(tmp_path, layout, absolute):
    root = tmp_path / "data"
    listed, named = LAYOUTS[layout]
    named = named or listed
    for name in listed:
        wav(root / name)
    if absolute == "absolute list":
        listed = [f"{root}/{name}" for name in listed]
    if absolute == "absolute trials":
        named = [str(root / name) for name in named]
        if layout == "deep, by their ends":
            named = [f"{root}/test/wav/{Path(name).relative_to(root)}" for name in named]
    clips = {"data": [{"wav": name, "labels": "x"} for name in listed]}
    (tmp_path / "test.json").write_text(json.dumps(clips))
    trials = write_trials(tmp_path, f"1 {named[0]} {named[1]}", f"0 {named[2]} {named[0]}")
    known = read_clips(tmp_path / "test.json", root, None)
    pairs, _ = read_clip_trials(trials, known, root)
    files = trial_files(trials, named, root)
    trained = [[known[i].path for i in pair] for pair in pairs]
    verified = [[files[named[0]], files[named[1]]], [files[named[2]], files[named[0]]]]
    assert trained == verified
    assert [path.resolve() for path in trained[0]] == [(root / name).resolve() for name in listed[:2]]


SPEAKERS = ("ann", "bob", "cid"), ("dee", "eve")  # to train on, of the trials
FORMS = {  # path of an utterance below the data folder, and how trials name it
    "flat": ("{}/{}.wav", "{}/{}.wav"),
    "three parts": ("{}/video/{}.wav", "{}/video/{}.wav"),
    "deep, by their ends": ("test/wav/{}/video/{}.wav", "{}/video/{}.wav"),
    "deep, absolute": ("a/b/c/d/{}/{}.wav", "ROOT/a/b/c/d/{}/{}.wav"),
    "with Windows separators": ("{}/{}.wav", "{}\\{}.wav"),
    "with another suffix": ("{}/{}.flac", "{}/{}.wav"),
    "one name in every folder": ("{}/{}/x.wav", "{}/{}/x.wav"),
}
QUICK = ("flat", "with Windows separators")  # the others with the long tests


@pytest.mark.parametrize("form", [f if f in QUICK else pytest.param(f, marks=long) for f in FORMS])
def test_training_reports_the_eer_that_verify_gives_for_its_adapter(tmp_path, form, capsys):
    lists, root = write_lists(tmp_path / "lists"), tmp_path / "data"
    path, name = (text.replace("ROOT", str(root)) for text in FORMS[form])
    for n, (part, speakers) in enumerate(zip(("train", "test"), SPEAKERS)):
        wavs = [(path.format(s, k), s) for s in speakers for k in range(3)]
        for i, (file, _) in enumerate(wavs):
            write_wav(root / file, 0.5, seed=100 * n + i)
        data = [{"wav": file, "labels": speaker} for file, speaker in wavs]
        (lists / f"{part}.json").write_text(json.dumps({"data": data}))
    rows = [f"{i},{speaker},{speaker}" for i, speaker in enumerate(SPEAKERS[0])]
    (lists / "labels.csv").write_text("\n".join(["index,mid,display_name", *rows]) + "\n")
    tested = [(speaker, k) for speaker in SPEAKERS[1] for k in range(3)]
    pairs = itertools.combinations(tested, 2)
    lines = [f"{int(a[0] == b[0])} {name.format(*a)} {name.format(*b)}" for a, b in pairs]
    trials = write_trials(lists, *lines)
    torch.manual_seed(0)
    save_backbone(build_ast(30, size="tiny"), tmp_path / "backbone")
    flags = ["-path_data", root, "-path_trial", trials, "-frame_length", 30, "-epoch", 1, "-batch_size", 4]
    flags = tiny(lists, tmp_path / "runs", *flags, "-pretrained", tmp_path / "backbone")
    folder = run_here("ast_voxceleb", *flags) / "seed_1234"
    trained = json.loads((folder / "result.json").read_text())["history"][-1]["eval_EER"]
    capsys.readouterr()
    flags = ["-trials", str(trials), "-path_data", str(root), "-json", "-"]
    assert main(["verify", str(folder / "last"), *flags]) == 0
    assert json.loads(capsys.readouterr().out)["EER"] == pytest.approx(trained, abs=1e-9)


def test_verify_refuses_a_trial_that_could_be_two_recordings(tmp_path):
    wav(tmp_path / "s1/a.wav"), wav(tmp_path / "s2/a.wav")
    trials = write_trials(tmp_path, "1 s1/a.wav s1/a.wav", "0 a.wav s1/a.wav")
    with pytest.raises(ValueError, match=r"line 2 names utterance a\.wav, which may be s1/a\.wav, s2/a\.wav"):
        trial_files(trials, ["s1/a.wav", "a.wav"], tmp_path)


def test_verify_names_the_line_of_a_recording_that_is_not_there(tmp_path):
    wav(tmp_path / "s1/a.wav")
    trials = write_trials(tmp_path, "1 s1/a.wav s1/a.wav", "0 s1/a.wav s2/b.wav")
    with pytest.raises(ValueError, match=r"line 2 names utterance s2/b\.wav, which is not in the folder "):
        trial_files(trials, ["s1/a.wav", "s2/b.wav"], tmp_path)
