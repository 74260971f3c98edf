"""FSD50K, GTZAN, VoxCeleb1, MUSAN and room responses: lists of fabricated releases, and what is refused."""

import csv
import json
import random
import shlex
import shutil
import sys
import time
from pathlib import Path

import pytest

from ipet.lists import check_disjoint, read_clips, read_labels
from ipet.trials import read_trials

from helpers import experiment, load_script
from releases import (
    make_esc50,
    make_fsd50k,
    make_gtzan,
    make_musan,
    make_rirs,
    make_speech_commands,
    make_voxceleb1,
)

ROOT = Path(__file__).resolve().parents[1]
MAKERS = {
    "esc50": make_esc50,
    "fsd50k": make_fsd50k,
    "gtzan": make_gtzan,
    "speech_commands": make_speech_commands,
    "voxceleb1": make_voxceleb1,
    "musan": make_musan,
    "rirs": make_rirs,
}

prepare = load_script(ROOT / "data" / "prepare.py", "prepare_releases")
voxceleb1 = sys.modules["preparation.voxceleb1"]


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """Every release on disk, made once; a test that spoils one copies it first."""
    base = tmp_path_factory.mktemp("releases")
    return {name: make(base / name) for name, make in MAKERS.items()}


@pytest.fixture
def spoil(releases, tmp_path):
    """A copy of a release, to be spoilt."""
    return lambda name: Path(shutil.copytree(releases[name], tmp_path / name))


def run(capsys, *argv):
    """Exit status, what was printed and what was complained about."""
    status = prepare.main([str(argument) for argument in argv])
    return status, *capsys.readouterr()


def prepared(capsys, tmp_path, name, root, *flags):
    """The folder of the lists, and what was printed."""
    out = tmp_path / "lists" / name
    status, printed, error = run(capsys, name, root, "-out", out, *flags)
    assert (status, error) == (0, "")
    return out, printed


def complaint(capsys, tmp_path, name, root, *flags):
    """The one line of a refusal, after which nothing has been written."""
    out = tmp_path / "lists"
    status, printed, error = run(capsys, name, root, "-out", out, *flags)
    assert (status, printed) == (1, "")
    assert not out.exists()
    assert error.startswith(f"prepare.py {name}: ") and error.count("\n") == 1, error
    return error


def clips_of(path):
    return json.loads(path.read_text())["data"]


def wavs_of(path):
    return [clip["wav"] for clip in clips_of(path)]


def edit(path, change):
    path.write_text(change(path.read_text()))


# ----------------------------------------------------------------------------- all of them alike


@pytest.mark.parametrize("name", ["esc50", "fsd50k", "gtzan", "speech_commands"])
def test_what_is_written_is_what_the_experiments_read(capsys, tmp_path, releases, name):
    out, _ = prepared(capsys, tmp_path, name, releases[name])
    labels = read_labels(out / "labels.csv")
    for path in sorted(out.glob("train*.json")):
        held_out = [out / path.name.replace("train", other) for other in ("eval", "valid", "test")]
        lists = [read_clips(p, releases[name], labels) for p in (path, *held_out) if p.is_file()]
        assert len(lists) in (2, 3)
        check_disjoint(*lists)


@pytest.mark.parametrize("name", MAKERS)
def test_a_second_run_writes_the_same_bytes(capsys, tmp_path, releases, name):
    first, _ = prepared(capsys, tmp_path / "a", name, releases[name])
    second, _ = prepared(capsys, tmp_path / "b", name, releases[name])
    contents = {path.name: path.read_bytes() for path in first.iterdir()}
    assert contents == {path.name: path.read_bytes() for path in second.iterdir()}


@pytest.mark.parametrize("name", MAKERS)
def test_a_folder_above_the_root_is_refused_with_the_root_as_a_hint(capsys, tmp_path, releases, name):
    root = tmp_path / "above" / "root"
    root.parent.mkdir()
    root.symlink_to(releases[name])
    error = complaint(capsys, tmp_path, name, root.parent)
    assert f"{root.parent}: has no " in error
    assert error.endswith(f"did you mean {root}?\n")


@pytest.mark.parametrize("name", MAKERS)
def test_a_default_folder_is_where_an_experiment_looks(capsys, tmp_path, releases, monkeypatch, name):
    monkeypatch.setattr(prepare, "HERE", tmp_path)
    status, printed, _ = run(capsys, name, releases[name])
    assert status == 0
    assert (tmp_path / prepare.DATASETS[name].folder / "labels.csv").is_file()
    assert "-path_list" not in printed and "-path_noise_list" not in printed


# ----------------------------------------------------------------------------------------- FSD50K


def test_fsd50k_keeps_the_official_split_and_every_label(capsys, tmp_path, releases):
    out, printed = prepared(capsys, tmp_path, "fsd50k", releases["fsd50k"])
    assert (out / "labels.csv").read_text().splitlines() == [
        "index,mid,display_name",
        "0,/m/0mkg,Accordion",
        "1,/m/04szw,Musical_instrument",
        "2,/m/026fgl,Wind_chime",
    ]
    with open(releases["fsd50k"] / "FSD50K.ground_truth/dev.csv") as file:
        dev = list(csv.DictReader(file))
    for name, split in (("train", "train"), ("valid", "val")):
        expected = {f"FSD50K.dev_audio/{r['fname']}.wav": r["mids"] for r in dev if r["split"] == split}
        assert {clip["wav"]: clip["labels"] for clip in clips_of(out / f"{name}.json")} == expected
    test = clips_of(out / "test.json")
    assert test[0] == {"wav": "FSD50K.eval_audio/37199.wav", "labels": "/m/0mkg,/m/04szw"}
    assert len(test) == 4
    for line in ("classes         3       200", "train           8    36,796", "valid           3     4,170"):
        assert line in printed
    assert "test            4    10,231" in printed
    assert "cd ast_fsd50k" in printed or "/ast_fsd50k &&" in printed


def test_the_official_fsd50k_splits_add_up(releases):
    table = prepare.prepare_fsd50k(releases["fsd50k"]).table
    official = {row.name: row.official for row in table}
    assert official["train"] + official["valid"] + official["test"] == official["clips"] == 51_197


def test_a_partial_download_of_fsd50k_is_counted_and_named(capsys, tmp_path, spoil):
    root = spoil("fsd50k")
    for fname in (64_760, 64_773, 64_786, 64_799):
        (root / f"FSD50K.dev_audio/{fname}.wav").unlink()
    assert (
        f"dev.csv: 4 of its 11 clips are not in {root}: FSD50K.dev_audio/64760.wav, "
        "FSD50K.dev_audio/64773.wav, FSD50K.dev_audio/64786.wav and 1 more\n"
    ) in complaint(capsys, tmp_path, "fsd50k", root)


def test_an_fsd50k_clip_of_both_sets_is_refused_as_a_leak(capsys, tmp_path, spoil):
    root = spoil("fsd50k")
    edit(root / "FSD50K.ground_truth/eval.csv", lambda text: text.replace("37199", "64760"))
    error = complaint(capsys, tmp_path, "fsd50k", root)
    assert "eval.csv: 1 clips are also in dev.csv, such as 64760.wav; clips must not leak" in error


@pytest.mark.parametrize(
    "table, old, new, expected",
    [
        (
            "dev",
            ",train",
            ",trial",
            "FSD50K.dev_audio/64760.wav is 'trial'; expected train or val",
        ),
        ("dev", "64773,", "64760,", "dev.csv, line 3: 64760 is listed twice"),
        ("dev", "64760,", "../64760,", "fname '../64760' is a path; expected a file of FSD50K.dev_audio/"),
        ("eval", "/m/0mkg", "/m/0nope", "37199 has label '/m/0nope', which is not among the 3 of"),
        ("eval", "fname,labels,mids", "fname;labels;mids", "separated by ';'? expected ','"),
        ("vocabulary", "1,Musical", "7,Musical", "vocabulary.csv, line 2: index is 7; expected 1"),
        ("vocabulary", "Wind_chime", "Accordion", "line 3: Accordion (/m/026fgl) comes twice"),
        ("vocabulary", ",", ";", "vocabulary.csv, line 1: has no label and no mid; is it separated by ';'?"),
    ],
)
def test_an_fsd50k_table_that_errs_is_refused(capsys, tmp_path, spoil, table, old, new, expected):
    root = spoil("fsd50k")
    edit(root / f"FSD50K.ground_truth/{table}.csv", lambda text: text.replace(old, new))
    assert expected in complaint(capsys, tmp_path, "fsd50k", root)


def test_an_fsd50k_class_that_training_never_hears_is_refused(capsys, tmp_path, spoil):
    root = spoil("fsd50k")
    with open(root / "FSD50K.ground_truth/vocabulary.csv", "a") as file:
        file.write("3,Zipper,/m/01s0vc\n")
    assert "train.json has no clip of Zipper" in complaint(capsys, tmp_path, "fsd50k", root)


# ------------------------------------------------------------------------------------------ GTZAN


def test_gtzan_has_ten_folds_with_every_genre_in_equal_shares(capsys, tmp_path, releases):
    out, _ = prepared(capsys, tmp_path, "gtzan", releases["gtzan"])
    evaluated = []
    for k in range(1, 11):
        train, held_out = wavs_of(out / f"train_{k}.json"), wavs_of(out / f"eval_{k}.json")
        genres = [wav.split("/")[1] for wav in held_out]
        assert genres.count("blues") == 1 and genres.count("jazz") <= 2  # of 11, one cannot be opened
        assert set(train).isdisjoint(held_out) and len(train) + len(held_out) == 20
        evaluated += held_out
    assert len(evaluated) == len(set(evaluated)) == 20
    assert not (out / "eval_11.json").exists()


def test_gtzan_leaves_out_what_cannot_be_opened_and_says_so(capsys, tmp_path, releases):
    out, printed = prepared(capsys, tmp_path, "gtzan", releases["gtzan"])
    assert "Note: 1 of 21 recordings cannot be opened and are left out: " in printed
    assert "genres_original/jazz/jazz.00054.wav (not readable as audio" in printed
    assert "jazz.00054" not in "".join(path.read_text() for path in out.iterdir())
    assert "recordings        21     1,000  differs" in printed
    assert "(Sturm 2013)" in printed
    assert "Note: the folds were drawn, since these are not the recordings of the release" in printed


def test_another_seed_draws_other_gtzan_folds_of_the_same_recordings(capsys, tmp_path, releases):
    folds = {}
    for seed in (1234, 7):
        out, _ = prepared(capsys, tmp_path / str(seed), "gtzan", releases["gtzan"], "-seed", seed)
        folds[seed] = [frozenset(wavs_of(out / f"eval_{k}.json")) for k in range(1, 11)]
    assert frozenset().union(*folds[7]) == frozenset().union(*folds[1234])
    assert set(folds[7]) != set(folds[1234])
    default, _ = prepared(capsys, tmp_path, "gtzan", releases["gtzan"])
    assert [frozenset(wavs_of(default / f"eval_{k}.json")) for k in range(1, 11)] == folds[1234]


def test_a_genre_with_fewer_sound_recordings_than_folds_is_refused(capsys, tmp_path, spoil):
    root = spoil("gtzan")
    (root / "genres_original/jazz/jazz.00003.wav").write_bytes(b"")
    error = complaint(capsys, tmp_path, "gtzan", root)
    assert error.endswith("10 folds need at least 10 sound recordings of a genre; jazz has 9\n")


def test_the_au_files_of_the_first_gtzan_are_read(capsys, tmp_path, spoil):
    import soundfile

    root = spoil("gtzan")
    (root / "genres_original").rename(root / "genres")
    for path in sorted(root.glob("genres/*/*.wav")):
        if path.name != "jazz.00054.wav":
            soundfile.write(path.with_suffix(".au"), *soundfile.read(path))
        path.unlink()
    out, _ = prepared(capsys, tmp_path, "gtzan", root)
    assert wavs_of(out / "train_1.json")[0].startswith("genres/blues/blues.0000")
    assert all(wav.endswith(".au") for wav in wavs_of(out / "train_1.json"))


# -------------------------------------------------------------------------------------- VoxCeleb1


def test_voxceleb1_trains_on_the_speakers_of_dev_and_keeps_the_trials(capsys, tmp_path, releases):
    root = releases["voxceleb1"]
    out, printed = prepared(capsys, tmp_path, "voxceleb1", root)
    labels = read_labels(out / "labels.csv")
    assert labels.mids == labels.names == ("id10001", "id10002", "id10003", "id10004")
    train = read_clips(out / "train.json", root, labels)
    assert [clip.classes for clip in train] == [(i,) for i in range(4) for _ in range(3)]
    test = clips_of(out / "test.json")
    assert test[0] == {"wav": "test/wav/id10270/1zcIwhmdeo4/00001.wav", "labels": "id10270"}
    assert (out / "trials_o.txt").read_bytes() == (root / "veri_test.txt").read_bytes()
    assert (out / "trials.txt").read_bytes() == (root / "veri_test.txt").read_bytes()
    assert (out / "trials_o_cleaned.txt").read_bytes() == (root / "veri_test2.txt").read_bytes()
    assert not list(out.glob("trials_[eh]*"))
    assert "trials_o                 15    37,720  differs" in printed
    assert "train                    12   148,642  differs" in printed
    assert "add -path_musan DIR and -path_rir DIR" in printed

    index = {clip["wav"]: i for i, clip in enumerate(test)}
    pairs, targets = read_trials(out / "trials.txt", index)
    assert (len(pairs), targets.sum()) == (15, 6)


def test_trial_lists_elsewhere_are_found_and_may_name_training_speakers(capsys, tmp_path, spoil):
    root, trials = spoil("voxceleb1"), tmp_path / "meta"
    trials.mkdir()
    (root / "veri_test.txt").rename(trials / "veri_test.txt")
    hard = "1 id10001/1zcIwhmdeo4/00001.wav id10001/7gWzIy6yIIk/00001.wav"
    (trials / "list_test_hard2.txt").write_text(hard + "\r\n")  # saved on Windows, and without E
    out, _ = prepared(capsys, tmp_path, "voxceleb1", root, "-trials", trials)
    assert (out / "trials_h_cleaned.txt").read_text() == hard + "\n"
    assert sorted(path.name for path in out.glob("trials*")) == [
        "trials.txt",
        "trials_h_cleaned.txt",
        "trials_o.txt",
    ]


def test_missing_trials_are_refused_with_the_place_they_come_from(capsys, tmp_path, spoil):
    root = spoil("voxceleb1")
    (root / "veri_test.txt").unlink()
    error = complaint(capsys, tmp_path, "voxceleb1", root)
    assert (
        f"{root}: has no veri_test.txt, the trials Vox1-O. The archives of recordings do not hold it" in error
    )
    assert "vgg/data/voxceleb" in error and "-trials" in error


@pytest.mark.parametrize(
    "line",
    [
        "2 id10270/1zcIwhmdeo4/00001.wav id10270/1zcIwhmdeo4/00002.wav",
        "0 id10270/1zcIwhmdeo4/00001.wav id10270/1zcIwhmdeo4/00002.wav",  # one speaker
        "1 id10270/1zcIwhmdeo4/00001.wav id10271/1zcIwhmdeo4/00002.wav",  # two
        "1 id10270/1zcIwhmdeo4/00001.wav",
        "1 id10270/1zcIwhmdeo4/00001.wav id10270/1zcIwhmdeo4/00002.wav id10270/1zcIwhmdeo4/00002.wav",
        "1 id10270 id10270",
        "",
    ],
)
def test_a_line_that_is_no_trial_is_refused(capsys, tmp_path, spoil, line):
    root = spoil("voxceleb1")
    edit(root / "veri_test.txt", lambda text: text.replace("\n", f"\n{line}\n", 1))
    error = complaint(capsys, tmp_path, "voxceleb1", root)
    assert (
        f"{root}/veri_test.txt, line 2: found {line[:100]!r}; expected 1 SPEAKER/VIDEO/UTTERANCE.wav" in error
    )


def test_trials_of_utterances_that_are_not_on_disk_are_counted_and_named(capsys, tmp_path, spoil):
    root = spoil("voxceleb1")
    shutil.rmtree(root / "test/wav/id10270/7gWzIy6yIIk")
    error = complaint(capsys, tmp_path, "voxceleb1", root)
    assert (
        f"{root}/veri_test.txt: 1 of its 6 utterances are neither in dev/wav/ nor in test/wav/: "
        "id10270/7gWzIy6yIIk/00001.wav\n"
    ) in error


def test_a_speaker_of_both_parts_is_refused_as_a_leak(capsys, tmp_path, spoil):
    root = spoil("voxceleb1")
    shutil.copytree(root / "test/wav/id10270", root / "dev/wav/id10270")
    error = complaint(capsys, tmp_path, "voxceleb1", root)
    assert "1 speakers are in dev/wav/ and in test/wav/: id10270; no one may be" in error


def test_an_empty_speaker_and_an_utterance_outside_a_video_are_refused(capsys, tmp_path, spoil):
    root = spoil("voxceleb1")
    (root / "dev/wav/id10099").mkdir()
    assert "dev/wav: no utterance of id10099" in complaint(capsys, tmp_path, "voxceleb1", root)
    shutil.copy(root / "dev/wav/id10001/1zcIwhmdeo4/00001.wav", root / "dev/wav/id10099/00001.wav")
    error = complaint(capsys, tmp_path, "voxceleb1", root)
    assert "found dev/wav/id10099/00001.wav; expected dev/wav/SPEAKER/VIDEO/UTTERANCE.wav" in error


def test_a_list_of_a_hundred_thousand_trials_is_read_in_a_moment(tmp_path):
    rng = random.Random(0)
    spoken = [f"id1{s:04d}/7gWzIy6yIIk/{u:05d}.wav" for s in range(500) for u in range(10)]
    pairs = [(rng.choice(spoken), rng.choice(spoken)) for _ in range(100_000)]
    path = tmp_path / "list_test_all.txt"
    path.write_text("".join(f"{int(a[:7] == b[:7])} {a} {b}\n" for a, b in pairs))
    start = time.perf_counter()
    text, named = voxceleb1.read_trials(path, set(spoken))
    assert time.perf_counter() - start < 2  # 0.2 s on one idle core
    assert text == path.read_text() and named == {name for pair in pairs for name in pair}


# ----------------------------------------------------------------------- MUSAN and room responses


def test_musan_has_a_list_of_each_kind(capsys, tmp_path, releases):
    out, printed = prepared(capsys, tmp_path, "musan", releases["musan"])
    for kind, source in (("music", "fma"), ("noise", "free-sound"), ("speech", "librivox")):
        assert clips_of(out / f"{kind}.json") == [
            {"wav": f"{kind}/{source}/{kind}-{source}-{i:04d}.wav", "labels": f"/m/{kind}"} for i in range(2)
        ]
    assert read_labels(out / "labels.csv").names == ("music", "noise", "speech")
    assert "speech             2       426  differs" in printed
    assert printed.splitlines()[-1].strip() == (
        f"-add_musan_rir True -path_musan {releases['musan']} -path_noise_list {out.parent}"
    )


def test_the_official_musan_kinds_add_up(releases):
    *kinds, (_, _, total) = prepare.prepare_musan(releases["musan"]).table
    assert sum(row.official for row in kinds) == total == 2_016


def test_musan_without_noise_is_refused(capsys, tmp_path, spoil):
    root = spoil("musan")
    shutil.rmtree(root / "noise/free-sound")
    assert complaint(capsys, tmp_path, "musan", root).endswith("noise.json would be empty\n")


def test_lists_of_noise_in_a_folder_of_another_name_are_pointed_out(capsys, tmp_path, releases):
    out = tmp_path / "noises"
    _, printed, _ = run(capsys, "musan", releases["musan"], "-out", out)
    assert "Note: experiments look for these lists in a folder musan/." in printed


def test_rirs_are_the_simulated_responses_of_three_sizes(capsys, tmp_path, releases):
    out, printed = prepared(capsys, tmp_path, "rirs", releases["rirs"])
    assert clips_of(out / "simulated.json") == [
        {"wav": f"simulated_rirs/{size}/Room001/Room001-00001.wav", "labels": f"/m/{size}"}
        for size in ("largeroom", "mediumroom", "smallroom")
    ]
    assert "responses          3    60,000  differs" in printed
    assert f"-path_rir {releases['rirs']}" in printed.splitlines()[-1]


def test_a_size_of_rooms_without_responses_is_refused(capsys, tmp_path, spoil):
    root = spoil("rirs")
    shutil.rmtree(root / "simulated_rirs/largeroom/Room001")
    assert "simulated.json has no clip of largeroom" in complaint(capsys, tmp_path, "rirs", root)
    shutil.rmtree(root / "simulated_rirs/largeroom")
    assert "has no simulated_rirs/largeroom/" in complaint(capsys, tmp_path, "rirs", root)


def test_musan_and_responses_are_found_by_the_training_that_mixes_them_in(capsys, tmp_path, releases):
    from ipet.audio import Recordings
    from ipet.corruption import Corruption

    musan, _ = prepared(capsys, tmp_path, "musan", releases["musan"])
    rirs, _ = prepared(capsys, tmp_path, "rirs", releases["rirs"])
    Corruption.from_lists(musan, releases["musan"], rirs, releases["rirs"], Recordings())


@pytest.mark.parametrize("name", MAKERS)
def test_official_counts_are_said_to_be_so_and_one_clip_less_is_not(releases, name):
    describe = sys.modules["preparation.output"].describe
    table = prepare.DATASETS[name].prepare(releases[name]).table
    whole = [row._replace(found=row.found if row.official is None else row.official) for row in table]
    assert describe(whole).endswith("All counts are those of the official release.")
    official = max(i for i, row in enumerate(whole) if row.official)
    whole[official] = whole[official]._replace(found=whole[official].official - 1)
    assert describe(whole).count("differs\n") == 1


@pytest.mark.parametrize("flags", [(), ("-stats",)])
@pytest.mark.parametrize("name", ["esc50", "fsd50k", "gtzan", "speech_commands", "voxceleb1"])
def test_the_closing_command_is_one_that_its_experiment_takes(capsys, tmp_path, releases, name, flags):
    out, printed = prepared(capsys, tmp_path, name, releases[name], *flags)
    _, folder, _, python, main, *words = shlex.split(printed.splitlines()[-1])
    assert (python, main) == ("python3", "main.py")
    with experiment(Path(folder).name) as load:
        args = load("arguments").get_args(words)
    assert (args.path_list, args.path_data) == (out, releases[name])
    if flags:
        stats = json.loads((out / "stats.json").read_text())
        assert args.norm_mean == pytest.approx(stats["mean"], abs=1e-6)
        assert args.norm_std == pytest.approx(stats["std"], abs=1e-6)
