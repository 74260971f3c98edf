"""Published lists with the paths of another machine become lists of this one."""

import json

import pytest

from ipet.lists import read_clips, read_labels

from helpers import ROOT, load_script, write_wav

prepare = load_script(ROOT / "data" / "prepare.py", "prepare_lists_script")
TABLE = 'index,mid,display_name\n1,/m/07rwj01,"Cat, purring"\n0,/m/07rwj00,Dog\n'
THERE = "/data/sls/scratch/somebody/esc50/data/ESC-50-master/audio_16k"


@pytest.fixture
def published(tmp_path):
    """The recordings' folder, and that of lists of two folds which have them elsewhere."""
    root, lists = tmp_path / "recordings", tmp_path / "published"
    lists.mkdir()
    (lists / "esc_class_labels_indices.csv").write_text(TABLE)
    (lists / "notes.json").write_text('{"seed": 1}')  # no list
    for fold in (1, 2):
        for part in ("train", "eval"):
            data = []
            for i in range(4):
                name = f"{part}-{fold}-{i}.wav"
                write_wav(root / "audio_16k" / name, 0.05, seed=10 * fold + i)
                write_wav(root / "audio" / name, 0.05, seed=10 * fold + i)  # of the same name
                data.append({"wav": f"{THERE}/{name}", "labels": f"/m/07rwj0{i % 2}"})
            (lists / f"esc_{part}_data_{fold}.json").write_text(json.dumps({"data": data}))
    return root, lists


def run(capsys, root, lists, out):
    """Exit status, what was printed and what was complained about."""
    status = prepare.main(["lists", str(root), "-lists", str(lists), "-out", str(out)])
    return status, *capsys.readouterr()


def test_their_paths_become_those_of_the_recordings_here(published, tmp_path, capsys):
    root, lists = published
    status, printed, complaint = run(capsys, root, lists, tmp_path / "out")
    assert (status, complaint) == (0, "")
    assert ["eval_2", "4"] in [line.split() for line in printed.splitlines()]
    labels = read_labels(tmp_path / "out/labels.csv")
    assert labels.names == ("Dog", "Cat, purring")  # by their indices
    clips = read_clips(tmp_path / "out/train_2.json", root, labels)
    assert [clip.path for clip in clips] == [root / f"audio_16k/train-2-{i}.wav" for i in range(4)]
    assert [clip.classes for clip in clips] == [(0,), (1,), (0,), (1,)]


@pytest.mark.parametrize("path", ["C:\\sounds\\audio\\one.wav", "../audio/one.wav", "audio/one.wav"])
def test_paths_of_any_system_are_read(tmp_path, capsys, path):
    for part in ("train", "valid", "test"):
        (tmp_path / "lists").mkdir(exist_ok=True)
        clip = {"wav": path, "labels": "/m/07rwj00"}
        (tmp_path / f"lists/{part}.json").write_text(json.dumps({"data": [clip]}))
    (tmp_path / "lists/labels.csv").write_text("index,mid,display_name\n0,/m/07rwj00,Dog\n")
    write_wav(tmp_path / "recordings/deep/audio/one.wav", 0.05)
    assert run(capsys, tmp_path / "recordings", tmp_path / "lists", tmp_path / "out")[0] == 0
    assert '"deep/audio/one.wav"' in (tmp_path / "out/test.json").read_text()


def test_trials_come_along_and_their_speakers_need_no_label(tmp_path, capsys):
    root, lists = tmp_path / "voices", tmp_path / "lists"
    lists.mkdir()
    for part, speaker in (("train", "id1"), ("test", "id2")):
        write_wav(root / f"wav/{speaker}/video/00001.wav", 0.05, seed=len(part))
        clip = {"wav": f"/there/{speaker}/video/00001.wav", "labels": speaker}
        (lists / f"{part}.json").write_text(json.dumps({"data": [clip]}))
    (lists / "labels.csv").write_text("index,mid,display_name\n0,id1,id1\n")
    trial = "1 id2/video/00001.wav id2/video/00001.wav\n"
    (lists / "veri_test2.txt").write_text(trial)
    assert run(capsys, root, lists, tmp_path / "out")[0] == 0
    assert (tmp_path / "out/trials.txt").read_text() == trial
    assert '"wav/id2/video/00001.wav"' in (tmp_path / "out/test.json").read_text()


def spoil(name, old, new):
    def change(root, lists):
        path = lists / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def ambiguous(root, lists):
    (root / "copies").mkdir()
    (root / "audio_16k/eval-1-0.wav").rename(root / "copies/eval-1-0.wav")


UNUSABLE = {
    "a recording that is nowhere": (
        lambda root, lists: [path.unlink() for path in root.rglob("eval-1-0.wav")],
        "1 of 16 recordings are not in",
    ),
    "a recording that could be two files": (
        ambiguous,
        "eval-1-0.wav could be any of audio/eval-1-0.wav, copies/",
    ),
    "an empty file": (lambda r, lists: (r / "audio_16k/eval-1-0.wav").write_bytes(b""), "are empty files"),
    "a label of no table": (
        spoil("esc_eval_data_1.json", "07rwj01", "bird"),
        "/m/bird: not in the label table",
    ),
    "not JSON": (spoil("esc_eval_data_1.json", "]", ""), "esc_eval_data_1.json: not JSON"),
    "a clip without a path": (spoil("esc_eval_data_1.json", '"wav"', '"path"'), "data[0] is"),
    "a name that tells nothing": (
        lambda r, lists: (lists / "esc_eval_data_1.json").rename(lists / "fold_1.json"),
        "fold_1.json: its name tells 0 parts of a set; expected one of train,",
    ),
    "two of one name": (
        lambda r, lists: (lists / "esc_eval_data_1.json").rename(lists / "test_2.json"),
        "esc_eval_data_2.json, test_2.json are all eval_2",
    ),
    "no table": (
        lambda r, lists: (lists / "esc_class_labels_indices.csv").unlink(),
        "found none; expected one .csv with index, mid, display_name",
    ),
    "indices that leave a gap": (
        spoil("esc_class_labels_indices.csv", "1,/m", "2,/m"),
        "its indices are 2, 0",
    ),
    "no list": (
        lambda r, lists: [path.unlink() for path in lists.glob("esc*.json")],
        "holds no list of clips; expected .json files with 'data'",
    ),
}


@pytest.mark.parametrize(("change", "said"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_used_is_named_and_nothing_is_written(published, tmp_path, capsys, change, said):
    change(*published)
    status, _, complaint = run(capsys, *published, tmp_path / "out")
    assert status == 1 and said in complaint and complaint.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_folder_of_the_lists_has_to_be_named(tmp_path, capsys):
    assert prepare.main(["lists", str(tmp_path)]) == 1
    assert "-lists is missing" in capsys.readouterr().err
