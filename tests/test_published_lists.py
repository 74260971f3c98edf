"""Published lists, in the formats and under the names of the original code, are read without edits."""  # D4

import json
from pathlib import Path

import pytest

from ipet.doctor import doctor
from ipet.published_lists import is_published, part_of, read_published
from ipet.recording_search import find_recordings
from ipet.releases import is_lenient
from ipet.starting_lists import starting_lists

from helpers import ROOT, experiment, load_script, run_here, write_wav

prepare = load_script(ROOT / "data" / "prepare.py", "prepare_for_published_lists")
THERE = "/data/somebody/audio"
CLASSES = {
    "esc50": [(f"/m/07rwj{i:02d}", name) for i, name in enumerate(("dog", "rooster", "pig"))],
    "gtzan": [(f"/m/gtzan{i:02d}", name) for i, name in enumerate(("pop", "metal", "blues"))],  # not ours
    "fsd50k": [("/m/0mkg", "Accordion"), ("/m/04szw", "Musical_instrument"), ("/m/026fgl", "Wind_chime")],
    "speechcommands": [(f"/m/spcmd{i:02d}", word) for i, word in enumerate(("right", "bed", "zero"))],
    "voxceleb": [(f"id1000{i}", f"id1000{i}") for i in (1, 2, 3)],
}


def recording(name, mid, said, i):
    """The path of clip ``i`` of a class, below the folder of a release."""
    return {
        "esc50": f"audio/{i % 2 + 1}-{1000 + i}-A-{mid[-2:].lstrip('0') or '0'}.wav",
        "gtzan": f"genres_original/{said}/{said}.{i:05d}.wav",
        "fsd50k": f"FSD50K.{'eval' if i > 3 else 'dev'}_audio/{100 + i}.wav",
        "speechcommands": f"{said}/{i:08x}_nohash_0.wav",
        "voxceleb": f"dev/wav/{said}/video/{i:05d}.wav",
    }[name]


LISTS = {  # parts of clips by the names under which the lists are published
    "esc50": {f"esc_{part}_data_{k}": (part, k) for part in ("train", "eval") for k in (1, 2)},
    "gtzan": {f"gtzan_{part}_data_{k}": (part, k) for part in ("train", "eval") for k in (1, 2)},
    "fsd50k": {"fsd50k_tr_full": (0, 2), "fsd50k_val_full": (2, 4), "fsd50k_eval_full": (4, 6)},
    "speechcommands": {
        "speechcommands_train_data": (0, 2),
        "speechcommands_valid_data": (2, 4),
        "speechcommands_eval_data": (4, 6),
    },
    "voxceleb": {"vox1_train_data": (0, 6)},
}
TABLES = {
    "esc50": "esc",
    "gtzan": "gtzan",
    "fsd50k": "fsd50k",
    "speechcommands": "speechcommands",
    "voxceleb": "vox1",
}


def write_list(path, clips):
    path.write_text(json.dumps({"data": clips}, indent=1))


def publish(tmp_path, name, clips=6):
    """The folder of published lists, and that of the recordings."""
    lists, root = tmp_path / "published", tmp_path / "release"
    lists.mkdir()
    found = []
    for c, (mid, said) in enumerate(CLASSES[name]):
        for i in range(clips):
            number = i if name != "fsd50k" else i + 10 * c
            wav = recording(name, mid, said, number)
            if name == "fsd50k":
                wav = f"FSD50K.{'eval' if i > 3 else 'dev'}_audio/{number}.wav"
            write_wav(root / wav, 0.05, seed=i)
            found.append((i, {"wav": f"{THERE}/{wav}", "labels": mid}))
    for stem, (part, k) in LISTS[name].items():
        if isinstance(part, str):
            chosen = [clip for i, clip in found if (i % 2 + 1 == k) == (part == "eval")]
        else:
            chosen = [clip for i, clip in found if part <= i < k]
        write_list(lists / f"{stem}.json", chosen)
    if name == "esc50":
        write_list(lists / "esc_all_data.json", [clip for _, clip in found])
    rows = [f"{i},{mid},{said}" for i, (mid, said) in enumerate(CLASSES[name])]
    table = lists / f"{TABLES[name]}_class_labels_indices.csv"
    table.write_text("\n".join(["index,mid,display_name", *rows]) + "\n")
    if name == "voxceleb":
        (lists / "vox1_trials").mkdir()
        for speaker in ("id10270", "id10271"):
            for i in (1, 2):
                write_wav(root / f"test/wav/{speaker}/video/{i:05d}.wav", 0.05, seed=i)
        trials = [
            "1 id10270/video/00001.wav id10270/video/00002.wav",
            "0 id10270/video/00001.wav id10271/video/00002.wav",
        ]
        (lists / "vox1_trials/veri_test.txt").write_text("\n".join(trials) + "\n")
        (lists / "vox1_trials/list_test_hard.txt").write_text("\n".join(trials[::-1]) + "\n")
    return lists, root


def datasets_of(name, lists, root, fold=None):
    """What ``main.py`` builds of some lists."""
    from ipet.splits import Cell

    flags = ["-name", "a", "-path_list", str(lists), "-path_data", str(root)]
    flags += ["-fold", "2"] if fold else []
    with experiment(f"ast_{name}") as load:
        args = load("arguments").get_args(flags)
        return load("dataset").build_datasets(args, Cell(1234, fold))


@pytest.mark.parametrize("name", CLASSES)
def test_lists_as_published_train_without_edits(tmp_path, name):
    lists, root = publish(tmp_path, name)
    assert is_published(lists)
    found = starting_lists(lists, root, tmp_path / "fallback")
    assert is_lenient(found.folder) and not is_published(found.folder)
    fold = 1 if name in ("esc50", "gtzan") else None
    datasets = datasets_of(name, found.folder, root, fold)
    assert datasets.train.labels.names == tuple(said for _, said in CLASSES[name])  # of their table
    assert all(clip.path.is_file() for part in datasets.lists for clip in part.clips)
    for clip in datasets.train.clips:
        [index] = clip.classes
        if name in ("gtzan", "speechcommands", "voxceleb"):
            assert datasets.train.labels.names[index] in clip.path.parts
    if name == "voxceleb":
        assert datasets.trials.targets.tolist() == [True, False]
        assert (found.folder / "list_test_hard.txt").is_file()
    if name == "esc50":
        [report] = found.reports
        assert "esc_all_data.json" in report.warnings()[0] and report.num_left_out("lists") == 1


TINY = ["-pretrained", "random", "-size", "tiny", "-frame_length", 32, "-batch_size", 4, "-epoch", 1]
TINY += ["-num_workers", 0, "-logger="]


@pytest.mark.parametrize("backbone", ["ast", "w2v"])
@pytest.mark.parametrize("name", CLASSES)
def test_an_experiment_trains_on_published_lists(tmp_path, name, backbone):
    lists, root = publish(tmp_path, name)
    flags = ["-name", "exp", "-tags", "tags", "-path_list", lists, "-path_data", root, "-path_run", tmp_path]
    flags += ["-fold", 2] if name in ("esc50", "gtzan") else []
    flags += ["-freqm", 0, "-timem", 0] if backbone == "ast" else []
    flags += ["-add_musan_rir", False] if (backbone, name) == ("w2v", "voxceleb") else []
    run = run_here(f"{backbone}_{name}", *flags, *TINY)
    summary = json.loads((run / "summary.json").read_text())
    assert len(list(run.rglob("result.json"))) == (2 if "-fold" in flags else 1) and summary["protocols"]
    assert not (lists / "labels.csv").exists()  # nothing is written next to them


def test_lists_published_on_this_machine_need_no_root(tmp_path):
    lists, root = publish(tmp_path, "esc50")
    for path in lists.glob("*.json"):
        path.write_text(path.read_text().replace(THERE, str(root)))
    found = starting_lists(lists, lists, tmp_path / "fallback")
    clips = json.loads((found.folder / "train_1.json").read_text())["data"]
    assert all(Path(clip["wav"]).is_file() for clip in clips)


def test_recordings_that_are_not_there_are_counted_and_named(tmp_path):
    lists, root = publish(tmp_path, "esc50")
    (root / "audio/1-1000-A-1.wav").unlink()
    found = starting_lists(lists, root, tmp_path / "fallback")
    said = [line for report in found.reports for line in report.warnings() if " recordings left out" in line]
    assert len(said) == 1 and "1 of 18 recordings left out: not in" in said[0]
    assert f"{THERE}/audio/1-1000-A-1.wav" in said[0]
    for path in root.rglob("*.wav"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"18 of its 18 recordings are not in .*-path_data names"):
        starting_lists(lists, root, tmp_path / "fallback")


def test_the_doctor_examines_published_lists(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ipet.doctor.REPOSITORY", tmp_path)
    lists, root = publish(tmp_path, "gtzan")
    doctor(lists, root, "-")
    printed = capsys.readouterr()
    assert json.loads(printed.out)["unusable"] == {} and "published lists with the label table" in printed.err
    assert list((tmp_path / "runs/.lists").glob("published_*/train_1.json"))


def test_the_same_start_writes_the_same_lists(tmp_path):
    lists, root = publish(tmp_path, "gtzan")
    first = starting_lists(lists, root, tmp_path / "fallback").folder
    texts = {path.name: path.read_text() for path in first.iterdir()}
    assert starting_lists(lists, root, tmp_path / "fallback").folder == first
    assert {path.name: path.read_text() for path in first.iterdir()} == texts


# Label tables ------------------------------------------------------------------------------------------


def test_a_list_never_gets_the_names_of_another_table(tmp_path):
    """Their /m/gtzan00 is pop; ours is blues."""
    lists, root = publish(tmp_path, "gtzan")
    ours = (ROOT / "data/gtzan/labels.csv").read_text()
    (lists / "labels.csv").write_text(ours)
    with pytest.raises(ValueError, match=r"its label tables disagree: 3 classes in .*, 10 in labels\.csv"):
        starting_lists(lists, root, tmp_path / "fallback")
    (lists / "gtzan_class_labels_indices.csv").unlink()  # ours alone
    with pytest.raises(ValueError, match=r"pop/pop\.00000\.wav has /m/gtzan00, which is blues there"):
        starting_lists(lists, root, tmp_path / "fallback")
    assert prepare.main(["lists", str(root), "-lists", str(lists), "-out", str(tmp_path / "out")]) == 1
    with pytest.raises(ValueError, match="which is blues there"):  # a table that a flag names
        files = {"train_1": lists / "gtzan_train_data_1.json"}
        read_published(lists, files, ROOT / "data/gtzan/labels.csv")


def test_equal_tables_in_one_folder_agree(tmp_path):
    lists, root = publish(tmp_path, "gtzan")
    table = lists / "gtzan_class_labels_indices.csv"
    (lists / "labels.csv").write_text(table.read_text())
    assert read_published(lists).table == table
    starting_lists(lists, root, tmp_path / "fallback")


def test_a_label_of_no_table_is_refused(tmp_path):
    lists, _ = publish(tmp_path, "speechcommands")
    path = lists / "speechcommands_train_data.json"
    path.write_text(path.read_text().replace("spcmd02", "spcmd34"))
    with pytest.raises(ValueError, match="/m/spcmd34: not in the label table"):
        read_published(lists)


def test_esc50_labels_that_contradict_the_names_of_the_recordings_are_refused(tmp_path):
    """The number in the name of a recording of ESC-50 is its class."""
    lists, root = publish(tmp_path, "esc50")
    other = [f"{i},/m/07rwj{i:02d},{name}" for i, name in enumerate(("rooster", "pig", "dog"))]
    (lists / "esc_class_labels_indices.csv").write_text("\n".join(["index,mid,display_name", *other]) + "\n")
    with pytest.raises(ValueError, match=r"A-0\.wav has /m/07rwj00, which is rooster there"):
        starting_lists(lists, root, tmp_path / "fallback")


def test_lists_with_our_names_and_their_own_table_are_read_with_their_table(tmp_path):
    lists, root = publish(tmp_path, "gtzan")
    for path in lists.glob("*.json"):
        path.rename(path.with_name(path.name.removeprefix("gtzan_").replace("_data", "")))
    assert (lists / "train_1.json").is_file() and is_published(lists)
    found = starting_lists(lists, root, tmp_path / "fallback")
    names = datasets_of("gtzan", found.folder, root, 1).train.labels.names
    assert names == tuple(said for _, said in CLASSES["gtzan"])


# Names and places --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stem", "part", "fold"),
    [
        ("esc_train_data_1", "train", "1"),
        ("train1", "train", "1"),
        ("gtzan_eval_data_10", "eval", "10"),
        ("fold3_train", "train", "3"),
        ("train_fold_2", "train", "2"),
        ("train_esc50", "train", ""),
        ("vox1_train", "train", ""),
        ("dev_vox1", "valid", ""),
        ("fsd50k_tr_full", "train", ""),
        ("speechcommands_valid_data", "valid", ""),
    ],
)
def test_names_of_lists_tell_part_and_fold(stem, part, fold):
    assert part_of(stem) == ([part], fold)


def test_voxcelebs_dev_is_trained_on_and_any_other_sets_validates(tmp_path):
    lists, _ = publish(tmp_path, "voxceleb")
    (lists / "vox1_train_data.json").rename(lists / "vox1_dev.json")
    assert list(read_published(lists).lists) == ["train"]
    other = tmp_path / "other"
    other.mkdir()
    lists, _ = publish(other, "fsd50k")
    (lists / "fsd50k_val_full.json").rename(lists / "fsd50k_dev_full.json")
    assert sorted(read_published(lists).lists) == ["test", "train", "valid"]


def test_trials_of_a_missing_recording_are_left_out_and_counted(tmp_path):
    lists, root = publish(tmp_path, "voxceleb")
    trials = lists / "vox1_trials/veri_test.txt"
    more = (
        "1 id10271/video/00001.wav id10271/video/00002.wav\n0 id10271/video/00001.wav id10270/video/00001.wav"
    )
    trials.write_text(trials.read_text() + more + "\n")
    (root / "test/wav/id10270/video/00002.wav").unlink()
    found = starting_lists(lists, root, tmp_path / "fallback")
    [report] = found.reports
    assert report.num_left_out("trials") == 2  # one of them in the list that is not scored
    assert datasets_of("voxceleb", found.folder, root).trials.targets.tolist() == [False, True, False]


def test_recordings_are_found_in_another_case(tmp_path):
    lists, root = publish(tmp_path, "esc50")
    (root / "audio").rename(root / "AUDIO")
    for path in root.rglob("*.wav"):
        path.rename(path.with_name(path.name.upper()))
    folder = starting_lists(lists, root, tmp_path / "fallback").folder
    assert len(datasets_of("esc50", folder, root, 1).train.clips) == 9


def test_several_trial_lists_without_vox1_o_are_ambiguous(tmp_path):
    lists, _ = publish(tmp_path, "voxceleb")
    (lists / "vox1_trials/veri_test.txt").rename(lists / "vox1_trials/list_test_all.txt")
    with pytest.raises(ValueError, match=r"holds 2 trial lists .*name the one to score trials\.txt"):
        read_published(lists)


def test_a_recording_is_the_one_whose_path_ends_alike_for_the_most_parts():
    there = ["dev/wav/id1/v/00001.wav", "dev/wav/id2/v/00001.wav", "test/wav/id1/w/00001.wav"]
    listed = ["/x/id2/v/00001.wav", "C:\\x\\id1\\w\\00001.wav", "/x/id2/v/00002.wav"]
    assert find_recordings(listed, there) == {listed[0]: there[1], listed[1]: there[2]}
    copies = ["audio/1.wav", "audio_16k/1.wav"]
    assert find_recordings(["/x/audio_16k/1.wav"], copies) == {"/x/audio_16k/1.wav": copies[1]}
    with pytest.raises(ValueError, match="could be any of"):
        find_recordings(["/x/1.wav"], copies)


def test_a_missing_recording_is_not_taken_from_another_folder():
    listed = ["/x/bed/a_nohash_0.wav", "/x/right/a_nohash_0.wav", "/x/right/b_nohash_0.wav"]
    there = ["bed/a_nohash_0.wav", "zero/b_nohash_0.wav"]
    assert find_recordings(listed, there) == {listed[0]: there[0]}


def test_recordings_of_few_names_are_found_by_their_folders():
    there = [f"wav/id{i // 100:05d}/v{i % 100 // 10}/{i % 10:05d}.wav" for i in range(20_000)]
    assert len(find_recordings([f"/x/{wav}" for wav in there], there)) == 20_000
