"""The lists in ``data/``: complete, as ``prepare.py`` writes them, and found next to any unpacked release."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ipet import releases
from ipet import starting_lists as module
from ipet.lists import read_clips, read_labels
from ipet.releases import DataNotFound, data_root, find_root, release_of
from ipet.starting_lists import starting_lists
from ipet.trials import read_trials

from helpers import ROOT, load_script, long, write_wav
from releases import make_esc50

DATA = ROOT / "data"
FACTS = ROOT.parent / "shared" / "metadata"
needs_facts = pytest.mark.skipif(not FACTS.is_dir(), reason="needs the tables of names and splits")

prepare = load_script(DATA / "prepare.py", "prepare_for_shipped_lists")
gtzan = sys.modules["preparation.gtzan"]


def clips_of(path):
    return json.loads(path.read_text())["data"]


def wavs_of(path):
    return [clip["wav"] for clip in clips_of(path)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A short recording, of which releases are made by hard links."""
    path = tmp_path_factory.mktemp("sound") / "one.wav"
    write_wav(path, 0.05)
    return path


def place(sound, root, wavs):
    """Put a recording at each of some paths."""
    for folder in {os.path.dirname(wav) for wav in wavs}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for i, wav in enumerate(wavs):
        if i % 1000 == 0:  # file systems bound the number of links to a file
            source = shutil.copy(sound, root / wav)
        else:
            os.link(source, f"{root}/{wav}")
    return root


# What is shipped -----------------------------------------------------------------------------------


COUNTS = {
    "esc50": (50, {**{f"train_{k}": 1600 for k in range(1, 6)}, **{f"eval_{k}": 400 for k in range(1, 6)}}),
    "gtzan": (10, {**{f"train_{k}": 900 for k in range(1, 11)}, **{f"eval_{k}": 100 for k in range(1, 11)}}),
    "fsd50k": (200, {"train": 36_796, "valid": 4_170, "test": 10_231}),
    "speechcommands": (35, {"valid": 9_981, "test": 11_005}),
    "voxceleb": (1_211, {"test": 4_874}),
}


@pytest.mark.parametrize("name", COUNTS)
def test_shipped_lists_have_the_counts_of_the_release(name):  # D5
    num_classes, lists = COUNTS[name]
    labels = read_labels(DATA / name / "labels.csv")
    assert len(labels) == num_classes
    for part, count in lists.items():
        clips = clips_of(DATA / name / f"{part}.json")
        assert len(clips) == len({clip["wav"] for clip in clips}) == count
        if name != "voxceleb":
            assert {mid for clip in clips for mid in clip["labels"].split(",")} <= set(labels.mids)


def test_shipped_trials_name_shipped_utterances():
    index = {wav: i for i, wav in enumerate(wavs_of(DATA / "voxceleb/test.json"))}
    pairs, targets = read_trials(DATA / "voxceleb/trials.txt", index)
    assert len(pairs) == 37_720 and targets.sum() == 18_860 and len(set(pairs.ravel().tolist())) == 4_715


def test_shipped_folds_share_no_clip_and_hold_equal_shares():
    for name, folds, genre_of in (("esc50", 5, lambda c: c["labels"]), ("gtzan", 10, lambda c: c["labels"])):
        evaluated = [clips_of(DATA / name / f"eval_{k}.json") for k in range(1, folds + 1)]
        every = [clip["wav"] for clips in evaluated for clip in clips]
        assert len(every) == len(set(every))
        for clips in evaluated:
            assert set(Counter(map(genre_of, clips)).values()) == {8 if name == "esc50" else 10}


def test_shipped_lists_take_less_than_ten_megabytes():
    shipped = [
        p for name in COUNTS for p in (DATA / name).iterdir() if p.name not in ("train.json", "stats.json")
    ]
    shipped.append(DATA / "fsd50k/train.json")
    assert sum(path.stat().st_size for path in shipped) < 9.5e6


@needs_facts
def test_the_script_writes_the_shipped_lists(tmp_path, capsys):
    build = load_script(DATA / "build_lists.py", "build_lists")
    assert build.main([str(FACTS), "-out", str(tmp_path)]) == 0
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*") if path.is_file())
    assert len(written) == 42
    for path in written:
        assert (tmp_path / path).read_bytes() == (DATA / path).read_bytes(), path


# prepare.py on a release with the official names ------------------------------------------------------


def release_tables(root, name):
    """The tables that a release of the shipped lists has."""
    labels = read_labels(DATA / name / "labels.csv")
    names = dict(zip(labels.mids, labels.names))
    if name == "esc50":
        rows = [["filename", "fold", "target", "category"]]
        for fold in range(1, 6):
            for clip in clips_of(DATA / f"esc50/eval_{fold}.json"):
                target = labels.mids.index(clip["labels"])
                rows.append([os.path.basename(clip["wav"]), fold, target, names[clip["labels"]]])
        tables = {"meta/esc50.csv": rows}
    elif name == "fsd50k":
        rows = {part: [["fname", "labels", "mids", "split"]] for part in ("dev", "eval")}
        for part, file, split in (("dev", "train", "train"), ("dev", "valid", "val"), ("eval", "test", "")):
            for clip in clips_of(DATA / f"fsd50k/{file}.json"):
                said = ",".join(names[mid] for mid in clip["labels"].split(","))
                name_of_clip = os.path.basename(clip["wav"]).removesuffix(".wav")
                rows[part].append([name_of_clip, said, clip["labels"], split])
        vocabulary = [[i, labels.names[i], mid] for i, mid in enumerate(labels.mids)]
        truth = {part: rows[part] for part in rows} | {"vocabulary": vocabulary}
        tables = {f"FSD50K.ground_truth/{part}.csv": rows for part, rows in truth.items()}
    elif name == "speechcommands":
        tables = {
            "validation_list.txt": [[wav] for wav in wavs_of(DATA / "speechcommands/valid.json")],
            "testing_list.txt": [[wav] for wav in wavs_of(DATA / "speechcommands/test.json")],
        }
    else:
        tables = {}
    for path, rows in tables.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        with open(root / path, "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


def training_of(name):
    """A few clips of the training list that is not shipped, one of every class at least."""
    labels = read_labels(DATA / name / "labels.csv")
    if name == "speechcommands":
        return [f"{word}/{i:08x}_nohash_0.wav" for word in labels.names for i in range(2)]
    if name == "voxceleb":
        return [f"dev/wav/{speaker}/1zcIwhmdeo4/00001.wav" for speaker in labels.names]
    return []


SETS = {
    "esc50": "esc50",
    "fsd50k": "fsd50k",
    "gtzan": "gtzan",
    "speechcommands": "speech_commands",
    "voxceleb": "voxceleb1",
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[long] * (name == "fsd50k")) for name in SETS])
def test_preparing_a_release_with_the_official_names_gives_the_shipped_lists(name, sound, tmp_path, capsys):
    """Every listed recording is a hard link to the same short one."""  # D5
    shipped = [p for p in (DATA / name).iterdir() if p.name not in ("stats.json", RELEASE_TRAIN.get(name))]
    wavs = {clip["wav"] for path in shipped if path.suffix == ".json" for clip in clips_of(path)}
    place(sound, tmp_path / "release", sorted([*wavs, *training_of(name)]))
    release_tables(tmp_path / "release", name)
    assert prepare.main([SETS[name], str(tmp_path / "release"), "-out", str(tmp_path / "out")]) == 0
    for path in shipped:
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name
    capsys.readouterr()


RELEASE_TRAIN = {"speechcommands": "train.json", "voxceleb": "train.json"}  # what a start writes


def test_folds_of_gtzan_do_not_depend_on_a_recording_that_cannot_be_read():  # D5
    published = gtzan.published_folds()
    wavs = sorted({wav for k in range(1, 11) for wav in wavs_of(DATA / f"gtzan/eval_{k}.json")})
    for found in (wavs, wavs[:500] + wavs[501:]):
        folds, note = gtzan.choose_folds(found, None)
        assert note == "" and folds == [published[Path(wav).stem] for wav in found]
    drawn, note = gtzan.choose_folds([wav.replace("blues.", "b.") for wav in wavs], None)
    assert "these are not the recordings of the release" in note and Counter(drawn) == dict.fromkeys(
        range(1, 11), 100
    )


def test_preparing_another_set_leaves_the_shipped_lists_alone(tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in (DATA / "esc50").iterdir()}
    assert prepare.main(["esc50", str(make_esc50(tmp_path / "mine"))]) == 1
    error = capsys.readouterr().err
    assert "its lists are not those of the whole release" in error and f"-out {DATA / 'mine'}" in error
    assert {path.name: path.read_bytes() for path in (DATA / "esc50").iterdir()} == before


# Where the recordings lie ----------------------------------------------------------------------------

LAYOUTS = [
    ("esc50", "audio/1-100032-A-0.wav", "", "audio/1-100032-A-0.wav"),
    ("esc50", "audio/1-100032-A-0.wav", "audio", "audio/1-100032-A-0.wav"),
    ("esc50", "audio/1-100032-A-0.wav", "", "audio_16k/1-100032-A-0.wav"),
    ("esc50", "audio/1-100032-A-0.wav", "..", "audio/1-100032-A-0.wav"),
    ("gtzan", "genres_original/blues/blues.00000.wav", "", "genres_original/blues/blues.00000.wav"),
    (
        "gtzan",
        "genres_original/blues/blues.00000.wav",
        "genres_original",
        "genres_original/blues/blues.00000.wav",
    ),
    ("gtzan", "genres_original/blues/blues.00000.wav", "", "Data/genres_original/blues/blues.00000.wav"),
    ("gtzan", "genres_original/blues/blues.00000.wav", "", "genres/blues/blues.00000.au"),
    ("fsd50k", "FSD50K.dev_audio/64760.wav", "", "FSD50K.dev_audio/64760.wav"),
    ("fsd50k", "FSD50K.dev_audio/64760.wav", "FSD50K.eval_audio", "FSD50K.dev_audio/64760.wav"),
    ("fsd50k", "FSD50K.dev_audio/64760.wav", "..", "FSD50K.dev_audio/64760.wav"),
    ("speechcommands", "right/a_nohash_0.wav", "", "right/a_nohash_0.wav"),
    ("speechcommands", "right/a_nohash_0.wav", "..", "right/a_nohash_0.wav"),
    ("voxceleb", "dev/wav/id10001/v/00001.wav", "", "dev/wav/id10001/v/00001.wav"),
    ("voxceleb", "dev/wav/id10001/v/00001.wav", "dev", "dev/wav/id10001/v/00001.wav"),
    ("voxceleb", "dev/wav/id10001/v/00001.wav", "test/wav", "dev/wav/id10001/v/00001.wav"),
    ("voxceleb", "dev/wav/id10001/v/00001.wav", "", "wav/id10001/v/00001.wav"),
    ("voxceleb", "dev/wav/id10001/v/00001.wav", "wav", "wav/id10001/v/00001.wav"),
    ("voxceleb", "dev/wav/id10001/v/00001.wav", "", "vox1_dev_wav/wav/id10001/v/00001.wav"),
    # in another case
    ("esc50", "audio/1-100032-A-0.wav", "", "Audio/1-100032-A-0.WAV"),
    ("gtzan", "genres_original/blues/blues.00000.wav", "", "Genres_Original/Blues/Blues.00000.wav"),
    ("fsd50k", "FSD50K.dev_audio/64760.wav", "", "fsd50k.dev_audio/64760.wav"),
    ("speechcommands", "right/a_nohash_0.wav", "", "RIGHT/A_NOHASH_0.WAV"),
    ("voxceleb", "dev/wav/id10001/v/00001.wav", "", "DEV/WAV/ID10001/V/00001.WAV"),
    # further above and below
    ("esc50", "audio/1-100032-A-0.wav", "../..", "audio/1-100032-A-0.wav"),
    ("esc50", "audio/1-100032-A-0.wav", "meta", "audio/1-100032-A-0.wav"),
    ("speechcommands", "right/a_nohash_0.wav", "../..", "right/a_nohash_0.wav"),
    ("fsd50k", "FSD50K.dev_audio/64760.wav", "FSD50K.ground_truth", "FSD50K.dev_audio/64760.wav"),
    ("voxceleb", "dev/wav/id10001/v/00001.wav", "dev/wav/id10001", "dev/wav/id10001/v/00001.wav"),
    # converted
    ("esc50", "audio/1-100032-A-0.wav", "", "audio/1-100032-A-0.flac"),
    ("voxceleb", "dev/wav/id10001/v/00001.wav", "", "dev/wav/id10001/v/00001.flac"),
]
OTHER_PART = {"fsd50k": "FSD50K.eval_audio/37199.wav", "voxceleb": "test/wav/id10270/v/00001.wav"}


@pytest.mark.parametrize(("name", "wav", "given", "there"), LAYOUTS)
def test_recordings_are_found_in_a_release_above_it_and_in_its_folders(
    sound, tmp_path, name, wav, given, there
):
    release = tmp_path / "data" / "release"
    other = OTHER_PART.get(name, "")
    if name == "voxceleb" and there.startswith("wav/"):
        other = "wav/id10270/v/00001.wav"
    (release / given).mkdir(parents=True, exist_ok=True)
    place(sound, release, [there, *([other] if other else [])])
    root = find_root(name, (release / given).resolve())
    assert root.path / root.locate(wav) == release / there


def test_a_folder_without_recordings_of_the_release_is_refused(tmp_path):
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio/mine.wav").write_bytes(b"")
    with pytest.raises(DataNotFound, match=r"holds no recordings of ESC-50; expected audio/ in it"):
        find_root("esc50", tmp_path)
    with pytest.raises(DataNotFound, match="does not exist; expected the folder of GTZAN"):
        find_root("gtzan", tmp_path / "nowhere")


def test_folders_named_like_classes_do_not_hide_a_release(sound, tmp_path):
    place(sound, tmp_path, ["house/photos/a.wav", "tree/b.wav"])
    words = read_labels(DATA / "speechcommands/labels.csv").names
    place(sound, tmp_path / "speech_commands_v0.02", [f"{word}/a_nohash_0.wav" for word in words])
    place(sound, tmp_path / "__MACOSX/speech_commands_v0.02", [f"{word}/._a_nohash_0.wav" for word in words])
    assert find_root("speechcommands", tmp_path).path == tmp_path / "speech_commands_v0.02"
    assert find_root("speechcommands", tmp_path / "speech_commands_v0.02/right").path.name.startswith(
        "speech"
    )


def test_two_copies_of_a_release_are_ambiguous(sound, tmp_path):
    for copy in ("one", "two"):
        place(sound, tmp_path / copy, ["audio/1-100032-A-0.wav"])
    with pytest.raises(ValueError, match="2 folders could be ESC-50"):
        find_root("esc50", tmp_path)


def test_lists_of_ones_own_start_where_path_data_says(tmp_path):
    assert release_of(tmp_path / "esc50") is None
    assert release_of(DATA / "esc50") == "esc50"
    assert data_root(tmp_path, tmp_path / "sounds") == tmp_path / "sounds"


def test_clips_of_a_shipped_list_are_read_from_any_layout(sound, tmp_path):
    place(sound, tmp_path, [f"audio_16k/{os.path.basename(w)}" for w in wavs_of(DATA / "esc50/eval_1.json")])
    clips = read_clips(DATA / "esc50/eval_1.json", tmp_path, read_labels(DATA / "esc50/labels.csv"))
    assert len(clips) == 400 and clips[0].path.parent == tmp_path / "audio_16k"


# The two long training lists ---------------------------------------------------------------------------


@pytest.fixture
def shipped_copy(tmp_path, monkeypatch):
    """The lists of data/ in another folder, which a test may write to."""
    for name in ("speechcommands", "voxceleb"):
        skip = shutil.ignore_patterns("train.json")
        shutil.copytree(DATA / name, tmp_path / "data" / name, ignore=skip)
    monkeypatch.setattr(releases, "DATA", tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("name", ["speechcommands", "voxceleb"])
def test_the_training_list_is_what_remains_of_a_release(sound, tmp_path, shipped_copy, monkeypatch, name):
    train = sorted(training_of(name))
    held_out = wavs_of(shipped_copy / name / "test.json")[:10]
    root = place(sound, tmp_path / "release", [*train, *held_out])
    whole = {name: releases.RELEASES[name]._replace(num_train=len(train))}
    monkeypatch.setattr(releases, "RELEASES", {**releases.RELEASES, **whole})
    monkeypatch.setattr("ipet.starting_lists.RELEASES", releases.RELEASES)
    found = starting_lists(shipped_copy / name, root, tmp_path / "fallback")
    assert found.folder == shipped_copy / name and wavs_of(found.folder / "train.json") == train
    assert f"wrote {found.folder / 'train.json'}: {len(train):,} clips" in found.notes[1]
    before = (found.folder / "train.json").stat().st_mtime_ns
    assert len(starting_lists(shipped_copy / name, root, tmp_path / "fallback").notes) == 1  # it is there
    assert (found.folder / "train.json").stat().st_mtime_ns == before


def test_the_training_list_of_an_incomplete_release_stays_out_of_data(sound, tmp_path, shipped_copy):
    root = place(
        sound, tmp_path / "release", [*training_of("speechcommands"), "_noise_/a.wav", "banana/b.wav"]
    )
    found = starting_lists(shipped_copy / "speechcommands", root, tmp_path / "fallback")
    assert found.folder.parent == tmp_path / "fallback" and release_of(found.folder) == "speechcommands"
    assert not (shipped_copy / "speechcommands/train.json").exists()
    assert "70 clips of the official 84,843" in found.notes[1]
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "labels.csv",
        "origin.json",
        "test.json",
        "train.json",
        "valid.json",
    ]
    [report] = found.reports
    assert report.num_left_out("folders") == 2 and "banana" in report.warnings()[0]
    labels = read_labels(found.folder / "labels.csv")
    assert len(read_clips(found.folder / "train.json", root, labels)) == 70


@pytest.mark.parametrize("extension", [".wav", ".WAV", ".flac"])
def test_training_recordings_are_listed_whatever_their_spelling(sound, tmp_path, shipped_copy, extension):
    wavs = sorted(training_of("speechcommands"))
    held_out = wavs_of(shipped_copy / "speechcommands/test.json")[0]
    spelled = [wav.removesuffix(".wav") + extension for wav in (*wavs, held_out)]
    if extension == ".WAV":
        spelled = [wav.upper() for wav in spelled]
    root = place(sound, tmp_path / "release", spelled)
    found = starting_lists(shipped_copy / "speechcommands", root, tmp_path / "fallback")
    clips = read_clips(found.folder / "train.json", root, read_labels(found.folder / "labels.csv"))
    assert sorted(clip.path.relative_to(root).as_posix() for clip in clips) == sorted(spelled[:-1])


def test_classes_without_a_training_recording_are_counted_and_named(sound, tmp_path, shipped_copy):
    wavs = [wav for wav in training_of("speechcommands") if not wav.startswith(("zero/", "bed/"))]
    held_out = [wav for wav in wavs_of(shipped_copy / "speechcommands/test.json") if wav.startswith("bed/")]
    root = place(sound, tmp_path / "release", [*wavs, *held_out])
    [report] = starting_lists(shipped_copy / "speechcommands", root, tmp_path / "fallback").reports
    assert "2 of 35 classes left out: no recording of it is there to train on (bed, zero)" in "".join(
        report.warnings()
    )


def test_processes_that_start_at_once_read_whole_lists(sound, tmp_path):
    root = place(sound, tmp_path / "release", training_of("speechcommands"))
    (tmp_path / "data/speechcommands").mkdir(parents=True)
    shutil.copy(DATA / "speechcommands/labels.csv", tmp_path / "data/speechcommands")
    code = (
        "import sys, json; from pathlib import Path; from ipet import releases, starting_lists as module\n"
        "top, root = map(Path, sys.argv[1:])\n"
        "releases.DATA = top / 'data'\n"
        "whole = releases.RELEASES['speechcommands']._replace(num_train=70)\n"
        "releases.RELEASES['speechcommands'] = whole\n"
        "for _ in range(4):\n"
        "    (top / 'data/speechcommands/train.json').unlink(missing_ok=True)\n"
        "    folder = module.starting_lists(top / 'data/speechcommands', root, top / 'fallback').folder\n"
        "    try:\n"
        "        text = (folder / 'train.json').read_text()\n"
        "    except FileNotFoundError:  # which another one has just removed\n"
        "        continue\n"
        "    assert len(json.loads(text)['data']) == 70\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(root)]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [(process.communicate()[1], process.returncode) for process in started] == [("", 0)] * 3
    assert not list((tmp_path / "data/speechcommands").glob(".*"))


def test_a_data_folder_that_cannot_be_written_is_left_for_the_runs_folder(
    sound, tmp_path, shipped_copy, monkeypatch
):
    train = training_of("speechcommands")
    root = place(sound, tmp_path / "release", train)
    whole = {"speechcommands": releases.RELEASES["speechcommands"]._replace(num_train=len(train))}
    monkeypatch.setattr(module, "RELEASES", {**releases.RELEASES, **whole})
    write = module.write

    def refuse(path, text):
        if path.parent.parent == shipped_copy:
            raise PermissionError(13, "Permission denied", str(path))
        write(path, text)

    monkeypatch.setattr(module, "write", refuse)
    found = starting_lists(shipped_copy / "speechcommands", root, tmp_path / "fallback")
    assert found.folder.parent == tmp_path / "fallback"
    assert len(wavs_of(found.folder / "train.json")) == len(train)


def test_lists_put_among_the_shipped_ones_are_told_as_left_out(sound, tmp_path, monkeypatch):  # D4
    shutil.copytree(DATA / "esc50", tmp_path / "data/esc50")
    monkeypatch.setattr(releases, "DATA", tmp_path / "data")
    root = place(sound, tmp_path / "release", ["audio/1-100032-A-0.wav"])
    assert starting_lists(tmp_path / "data/esc50", root, tmp_path).reports == []
    for name in ("esc_all_data.json", "esc_train_data_1.json"):
        shutil.copy(DATA / "esc50/train_1.json", tmp_path / "data/esc50" / name)
    [report] = starting_lists(tmp_path / "data/esc50", root, tmp_path).reports
    [line] = report.warnings()
    assert "2 of 13 lists left out: not one of the shipped lists (esc_all_data.json, esc_train_data_1" in line
    assert "-path_list" in line


def test_a_foreign_table_next_to_the_shipped_one_is_refused(tmp_path, monkeypatch):  # D4
    shutil.copytree(DATA / "gtzan", tmp_path / "data/gtzan")
    monkeypatch.setattr(releases, "DATA", tmp_path / "data")
    names = ["pop", *(n for n in read_labels(DATA / "gtzan/labels.csv").names if n != "pop")]
    rows = [f"{i},/m/gtzan{i:02d},{name}" for i, name in enumerate(names)]
    text = "\n".join(["index,mid,display_name", *rows]) + "\n"
    (tmp_path / "data/gtzan/gtzan_class_labels_indices.csv").write_text(text)
    with pytest.raises(ValueError, match="its label tables disagree: class 0 is /m/gtzan00 pop"):
        starting_lists(tmp_path / "data/gtzan", tmp_path, tmp_path)


def test_a_foreign_list_among_the_shipped_ones_is_refused(sound, tmp_path, monkeypatch):  # D4
    shutil.copytree(DATA / "gtzan", tmp_path / "data/gtzan")
    monkeypatch.setattr(releases, "DATA", tmp_path / "data")
    path = tmp_path / "data/gtzan/train_1.json"
    clips = clips_of(path)
    for clip in clips:  # the ids of another table
        clip["labels"] = f"/m/gtzan{(int(clip['labels'][-2:]) + 1) % 10:02d}"
    path.write_text(json.dumps({"data": clips}))
    with pytest.raises(ValueError, match=r"train_1\.json: its labels are not those of .*labels\.csv"):
        starting_lists(tmp_path / "data/gtzan", tmp_path, tmp_path)
