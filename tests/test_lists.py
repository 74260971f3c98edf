"""Lists of clips and tables of labels: what is read, and the letter to whoever wrote them wrong."""

import json
import os
import re
from pathlib import Path

import pytest

from ipet.audio import ClipError, read_audio
from ipet.lists import (
    Clip,
    check_disjoint,
    multi_hot,
    read_clips,
    read_labels,
)
from ipet.parsing import list_folder

TABLE = "index,mid,display_name\n0,/m/dog,Dog\n1,/m/cat,Cat\n2,/m/owl,Owl\n"


@pytest.fixture
def labels(tmp_path):
    (tmp_path / "labels.csv").write_text(TABLE)
    return read_labels(tmp_path / "labels.csv")


def write_list(folder, *entries, name="train.json"):
    path = folder / name
    path.write_text(json.dumps({"data": entries}))
    return path


def clip_file(folder, name):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF")  # only its size is looked at
    return path


def refused(path, folder, labels, error=ValueError):
    with pytest.raises(error) as caught:
        read_clips(path, folder, labels)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Label tables -------------------------------------------------------------------------------------


def test_a_label_table_is_read_in_the_order_of_its_indices(labels, tmp_path):
    assert len(labels) == 3
    assert labels.mids == ("/m/dog", "/m/cat", "/m/owl")
    assert labels.names == ("Dog", "Cat", "Owl")
    assert labels.path == tmp_path / "labels.csv"


def test_a_display_name_may_hold_a_comma(tmp_path):
    (tmp_path / "labels.csv").write_text('index,mid,display_name\n0,/m/a,"Rain, heavy"\n')
    assert read_labels(tmp_path / "labels.csv").names == ("Rain, heavy",)


def test_a_missing_label_table_is_named_with_what_it_should_hold(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        read_labels(tmp_path / "labels.csv")
    assert str(caught.value) == (
        f"{tmp_path}/labels.csv: no such label table; expected a CSV with index, mid, display_name: "
        "python3 data/prepare.py writes it, or -path_list names another folder"
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            "index,display_name\n0,Dog\n",
            "column 'mid' is missing; found ['index', 'display_name'], "
            "expected ['index', 'mid', 'display_name']",
        ),
        (
            "",
            "column 'index' is missing; found None, expected ['index', 'mid', 'display_name']",
        ),
        ("index,mid,display_name\n", "names no label; expected one a line"),
        ("index,mid,display_name\n0,a,A\n2,b,B\n", "line 3 has index '2', expected 1"),
        ("index,mid,display_name\n1,a,A\n", "line 2 has index '1', expected 0"),
        ("index,mid,display_name\n0,a,A\n1,b,B\n2,a,C\n", "label 'a' comes 2 times; expected once"),
    ],
)
def test_a_wrong_label_table_is_refused(tmp_path, table, message):
    path = tmp_path / "labels.csv"
    path.write_text(table)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_labels(path)
    assert str(caught.value) == f"{path}: {message}"


# Lists of clips -----------------------------------------------------------------------------------


def test_a_list_s_relative_paths_start_at_its_root(tmp_path, labels):
    file = clip_file(tmp_path / "recordings", "a/1.wav")
    path = write_list(tmp_path, {"wav": "a/1.wav", "labels": "/m/cat"})
    assert read_clips(path, tmp_path / "recordings", labels) == [
        Clip(file, (1,), f"{path}: clip 0", "a/1.wav", "/m/cat")
    ]


def test_a_list_s_absolute_paths_are_taken_as_they_are(tmp_path, labels):
    file = clip_file(tmp_path / "elsewhere", "1.wav")
    path = write_list(tmp_path, {"wav": str(file), "labels": "/m/owl"})
    assert read_clips(path, tmp_path / "recordings", labels) == [
        Clip(file, (2,), f"{path}: clip 0", str(file), "/m/owl")
    ]


def test_a_clip_may_have_several_labels(tmp_path, labels):
    clip_file(tmp_path, "1.wav")
    path = write_list(tmp_path, {"wav": "1.wav", "labels": "/m/owl,/m/dog"})
    [clip] = read_clips(path, tmp_path, labels)
    assert clip.classes == (2, 0)
    assert multi_hot(clip.classes, len(labels)).tolist() == [1, 0, 1]


def test_clips_keep_the_order_of_the_list(tmp_path, labels):
    for name in ("b.wav", "a.wav", "c.wav"):
        clip_file(tmp_path, name)
    entries = [{"wav": name, "labels": "/m/dog"} for name in ("b.wav", "a.wav", "c.wav")]
    clips = read_clips(write_list(tmp_path, *entries), tmp_path, labels)
    assert [clip.path.name for clip in clips] == ["b.wav", "a.wav", "c.wav"]
    assert [clip.where.split()[-1] for clip in clips] == ["0", "1", "2"]


def test_a_missing_list_is_named(tmp_path, labels):
    path = tmp_path / "train.json"
    assert refused(path, tmp_path, labels, FileNotFoundError) == f"{path}: no such list of clips"


def test_a_list_that_is_not_json_is_refused_with_the_place(tmp_path, labels):
    path = tmp_path / "train.json"
    path.write_text('{"data": [}')
    assert refused(path, tmp_path, labels).startswith(f"{path}: not JSON: Expecting value: line 1 column 11")


def test_a_list_that_is_not_text_is_refused(tmp_path, labels):
    path = tmp_path / "train.json"
    path.write_bytes(b"\xff\xfe\x00")
    assert refused(path, tmp_path, labels).startswith(f"{path}: not JSON: ")


@pytest.mark.parametrize("content", ["[]", "{}", '{"data": []}', '{"data": {}}', '{"clips": [1]}', "3"])
def test_a_list_without_clips_is_refused_with_what_was_expected(tmp_path, labels, content):
    path = tmp_path / "train.json"
    path.write_text(content)
    message = refused(path, tmp_path, labels)
    assert message == f'{path}: expected {{"data": [{{"wav": ..., "labels": ...}}, ...]}} with a clip'


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"labels": "/m/dog"}, "wav"),
        ({"wav": "1.wav"}, "labels"),
        ({"wav": "", "labels": "/m/dog"}, "wav"),
        ({"wav": "1.wav", "labels": 3}, "labels"),
        ({"wav": ["1.wav"], "labels": "/m/dog"}, "wav"),
        ("1.wav", "wav"),
        (None, "wav"),
    ],
)
def test_a_clip_without_a_key_is_refused_with_its_number_and_what_was_found(tmp_path, labels, entry, key):
    clip_file(tmp_path, "1.wav")
    path = write_list(tmp_path, {"wav": "1.wav", "labels": "/m/dog"}, entry)
    message = refused(path, tmp_path, labels)
    assert message == f"{path}: clip 1 lacks '{key}'; found {json.dumps(entry)}"


@pytest.mark.parametrize("given", ["/m/fox", "/m/dog,/m/fox", "/m/fox,/m/dog"])
def test_an_unknown_label_is_refused_with_the_table(tmp_path, labels, given):
    clip_file(tmp_path, "1.wav")
    path = write_list(tmp_path, {"wav": "1.wav", "labels": given})
    assert refused(path, tmp_path, labels) == (
        f"{path}: clip 0 (1.wav) has label '/m/fox', which is not among the 3 labels of {labels.path}"
    )


def test_a_clip_that_is_not_there_is_refused_with_a_hint(tmp_path, labels):
    clip_file(tmp_path, "1.wav")
    entries = [{"wav": name, "labels": "/m/dog"} for name in ("1.wav", "2.wav")]
    path = write_list(tmp_path, *entries)
    assert refused(path, tmp_path, labels, FileNotFoundError) == (
        f"{path}: clip 1: {tmp_path}/2.wav: no such file; is -path_data the folder that the list's "
        "paths start from?"
    )


def test_an_empty_clip_is_refused_before_training(tmp_path, labels):
    (tmp_path / "1.wav").write_bytes(b"")
    path = write_list(tmp_path, {"wav": "1.wav", "labels": "/m/dog"})
    assert refused(path, tmp_path, labels) == (
        f"{path}: clip 0: {tmp_path}/1.wav: the file is empty (0 bytes); expected audio"
    )


def test_a_clip_that_comes_twice_is_refused_with_both_places(tmp_path, labels):
    for name in "ab":
        clip_file(tmp_path, f"wav/{name}.wav")
    wavs = ["wav/a.wav", "wav/b.wav", "wav/../wav/./a.wav"]
    path = write_list(tmp_path, *({"wav": wav, "labels": "/m/dog"} for wav in wavs))
    assert refused(path, tmp_path, labels) == (
        f"{path}: clips 0 and 2 are both {tmp_path}/wav/a.wav; expected each once"
    )


@pytest.mark.parametrize("wav", ["../1.wav", "wav/../../1.wav", "./../1.wav", "..", "../../etc/passwd"])
def test_a_relative_path_stays_in_its_root(tmp_path, labels, wav):
    root = tmp_path / "root"
    clip_file(tmp_path, "1.wav")
    clip_file(root, "wav/2.wav")
    path = write_list(tmp_path, {"wav": wav, "labels": "/m/dog"})
    assert refused(path, root, labels) == (
        f"{path}: clip 0: {wav} leaves {root}, the folder that the list's paths start from; expected a path "
        "inside it, or an absolute one"
    )


def test_a_link_in_the_root_may_lead_anywhere_and_dots_in_names_are_names(tmp_path, labels):
    file = clip_file(tmp_path / "disk", "1.wav")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/wav").symlink_to(file.parent)
    names = ["wav/1.wav", "..wav", "a../b..wav", "a/../c.wav"]
    for name in names[1:]:
        clip_file(tmp_path / "root", name)
    path = write_list(tmp_path, *({"wav": name, "labels": "/m/dog"} for name in names))
    clips = read_clips(path, tmp_path / "root", labels)
    assert clips[0].path.samefile(file) and clips[3].path == tmp_path / "root/c.wav"


CONTROLS = {
    "NUL": ("\0", "\\x00"),
    "a line's end": ("\n", "\\n"),
    "an escape sequence": ("\x1b[31m", "\\x1b"),
    "C1": ("\x9b", "\\x9b"),
    "a separator of lines": ("\u2028", "\\u2028"),
    "half a pair": ("\ud800", "\\ud800"),
}


@pytest.mark.parametrize("key", ["wav", "labels"])
@pytest.mark.parametrize(("character", "spelt"), CONTROLS.values(), ids=CONTROLS)
def test_a_control_character_in_a_list_is_refused_and_not_printed(tmp_path, labels, key, character, spelt):
    path = write_list(tmp_path, {"wav": "1.wav", "labels": "/m/dog", key: f"a{character}b"})
    said = refused(path, tmp_path, labels)
    assert said == f"{path}: clip 0: '{key}' holds the control character {spelt}; expected text in one line"


def test_a_control_character_in_a_table_is_refused_and_not_printed(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("index,mid,display_name\n0,/m/a,\x1b[2Jdog\n")
    with pytest.raises(ValueError, match=r"line 2: display_name holds the control character \\x1b"):
        read_labels(table)


def test_a_field_of_a_table_that_never_ends_is_refused_with_its_line(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(f"index,mid,display_name\n0,/m/a,Dog\n1,/m/b,{'b' * 200_000}\n")
    with pytest.raises(ValueError) as caught:
        read_labels(path)
    assert str(caught.value) == (
        f"{path}: line 3: field larger than field limit (131072); expected index, mid, display_name"
    )


@pytest.mark.parametrize("name", ["a" * 300, "here"])
def test_a_file_that_cannot_be_looked_at_is_refused_with_the_clip(tmp_path, labels, name):
    (tmp_path / "here").symlink_to(tmp_path / "here")  # in a circle
    path = write_list(tmp_path, {"wav": name, "labels": "/m/dog"})
    said = refused(path, tmp_path, labels)
    assert said.startswith(f"{path}: clip 0: {tmp_path}/{name}"[:230])
    assert said.endswith("; expected a file that can be read")


@pytest.mark.parametrize(
    "kind", ["nothing", "a folder", "a link to nowhere", "a circle", "a long name", "locked"]
)
def test_a_list_says_of_a_file_what_its_reader_says(tmp_path, labels, monkeypatch, kind):
    name = "a" * 300 if kind == "a long name" else "1.wav"
    file = tmp_path / name
    if kind == "a folder":
        file.mkdir()
    elif kind == "locked":
        clip_file(tmp_path, name)
        monkeypatch.setattr(os, "access", lambda path, *a, **k: path != file)
    elif kind != "nothing" and kind != "a long name":
        file.symlink_to(file if kind == "a circle" else tmp_path / "gone")
    with pytest.raises((ClipError, FileNotFoundError)) as read:
        read_audio(file)
    with pytest.raises((ValueError, FileNotFoundError)) as listed:
        read_clips(write_list(tmp_path, {"wav": name, "labels": "/m/dog"}), tmp_path, labels)
    missing = isinstance(read.value, FileNotFoundError)
    assert isinstance(listed.value, FileNotFoundError) == missing
    assert f"clip 0: {str(read.value).partition(';')[0]}" in str(listed.value)


@pytest.mark.parametrize(("words", "folder"), [("-epoch 3", "own"), ("-path_list a -x -path_list=b", "b")])
def test_the_folder_of_the_lists_is_the_last_one_that_is_given(words, folder):
    assert list_folder(words.split(), Path("own")) == Path(folder)


def test_a_link_to_nowhere_in_a_list_is_named(tmp_path, labels):
    (tmp_path / "1.wav").symlink_to(tmp_path / "gone.wav")
    path = write_list(tmp_path, {"wav": "1.wav", "labels": "/m/dog"})
    assert f"clip 0: {tmp_path}/1.wav: a link to nowhere" in refused(
        path, tmp_path, labels, FileNotFoundError
    )


# Training and evaluation --------------------------------------------------------------------------


def test_disjoint_lists_pass_and_shared_clips_are_counted(tmp_path, labels):
    for name in "abcd":
        clip_file(tmp_path, f"{name}.wav")

    def clips(name, files):
        entries = [{"wav": f"{file}.wav", "labels": "/m/dog"} for file in files]
        return read_clips(write_list(tmp_path, *entries, name=name), tmp_path, labels)

    train = clips("train.json", "ab")
    check_disjoint(train, clips("eval.json", "cd"))
    with pytest.raises(ValueError, match="disjoint") as caught:
        check_disjoint(train, clips("eval.json", "dba"))
    assert str(caught.value) == (
        f"{tmp_path}/eval.json: clip 1: {tmp_path}/b.wav is also {tmp_path}/train.json: clip 1: "
        "2 clips are in both lists; training, validation and test must be disjoint"
    )


def test_a_target_is_one_at_its_classes_and_zero_elsewhere():
    assert multi_hot([3], 5).tolist() == [0, 0, 0, 1, 0]
    assert multi_hot([], 2).tolist() == [0, 0]


def test_a_table_from_a_spreadsheet_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"\xef\xbb\xbfindex,mid,display_name\r\n0,/m/a,Caf\xc3\xa9\r\n")
    assert read_labels(tmp_path / "labels.csv").names == ("Café",)


@pytest.mark.parametrize(("row", "column"), [("0", "mid"), ("0,,x", "mid"), ("0,/m/a,", "display_name")])
def test_a_row_with_a_hole_is_refused(tmp_path, row, column):
    (tmp_path / "labels.csv").write_text(f"index,mid,display_name\n{row}\n")
    with pytest.raises(ValueError, match=f"line 2 has no {column}; expected index, mid, display_name"):
        read_labels(tmp_path / "labels.csv")


def test_a_table_in_another_encoding_is_named(tmp_path):
    (tmp_path / "labels.csv").write_bytes("index,mid,display_name\n0,/m/a,Café\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"labels\.csv: not UTF-8 text"):
        read_labels(tmp_path / "labels.csv")


def test_a_file_is_the_same_however_its_path_is_written(tmp_path, labels):
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "a.wav").write_bytes(b"RIFF")
    for name, wav in (("train", "wav/a.wav"), ("eval", "wav/../wav/a.wav")):
        (tmp_path / f"{name}.json").write_text(f'{{"data": [{{"wav": "{wav}", "labels": "/m/dog"}}]}}')
    lists = [read_clips(tmp_path / f"{name}.json", tmp_path, labels) for name in ("train", "eval")]
    with pytest.raises(ValueError, match="1 clips are in both lists"):
        check_disjoint(*lists)
    with pytest.raises(ValueError, match="1 clips are in both lists"):
        check_disjoint([], *lists)  # every pair of lists, validation and test too


def test_clips_are_read_without_labels_where_none_are_asked_for(tmp_path):
    file = clip_file(tmp_path, "1.wav")
    path = write_list(tmp_path, {"wav": "1.wav", "labels": "id10270"})
    assert read_clips(path, tmp_path, None) == [Clip(file, (), f"{path}: clip 0", "1.wav", "id10270")]


def test_a_missing_clip_s_letter_names_the_flag_of_its_root(tmp_path):
    path = write_list(tmp_path, {"wav": "1.wav", "labels": "music"})
    with pytest.raises(FileNotFoundError, match="is -path_musan the folder that the list's paths start from"):
        read_clips(path, tmp_path, None, "-path_musan")
