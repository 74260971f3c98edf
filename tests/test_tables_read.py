"""Finding C: whatever a user's folders and tables hold is used, or refused, or counted with its reason."""

import json
import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from ipet.lists import read_clips, read_labels

from helpers import load_script, write_wav

ROOT = Path(__file__).resolve().parents[1]

prepare = load_script(ROOT / "data" / "prepare.py", "prepare_tables_script")


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """A data root with w/00.wav ... w/11.wav, of 1 s and distinct content."""
    root = tmp_path_factory.mktemp("recordings")
    for i in range(12):
        write_wav(root / f"w/{i:02d}.wav", 1.0, seed=i)
    return root


class Prepared:
    """One call of ``prepare.py folder``: what it printed and wrote.

    Args:
        capsys: Pytest's capture.
        out: Folder of the lists.
        root: The data root.
        flags: Further flags.
    """

    def __init__(self, capsys, out, root, *flags):
        self.out, self.root = out, root
        argv = ["folder", root, "-out", out, *flags]
        self.status = prepare.main([str(argument) for argument in argv])
        self.printed, self.error = capsys.readouterr()

    @property
    def lists(self):
        """The entries of every list, by its name."""
        assert self.status == 0, self.error
        paths = [path for path in sorted(self.out.glob("*.json")) if path.name != "input_report.json"]
        return {path.stem: json.loads(path.read_text(encoding="utf-8"))["data"] for path in paths}

    @property
    def entries(self):
        """The entries of all lists; of folds those that are evaluated."""
        lists = self.lists
        evaluated = {name: of for name, of in lists.items() if name.startswith("eval")}
        return [clip for clips in (evaluated or lists).values() for clip in clips]

    @property
    def names(self):
        """The names of the classes."""
        assert self.status == 0, self.error
        return read_labels(self.out / "labels.csv").names

    @property
    def report(self):
        """The input report."""
        return json.loads((self.out / "input_report.json").read_text(encoding="utf-8"))

    def left_out(self, kind):
        """The reasons and counts of items of a kind that were left out."""
        return {entry["reason"]: entry["count"] for entry in self.report["left_out"] if entry["kind"] == kind}

    def refusal(self):
        """The one line of an error, after which nothing has been written."""
        assert self.status == 1 and not self.out.exists(), self.printed
        assert self.error.count("\n") == 1 and self.printed == ""
        return self.error


@pytest.fixture
def read(capsys, tmp_path, recordings):
    """Prepare a table of the session's recordings."""
    calls = iter(range(100))

    def prepare_table(header, rows, *flags, root=recordings, encoding="utf-8", newline="\n"):
        path = tmp_path / "own.csv"
        lines = rows if isinstance(rows, list) else [rows.format(i=f"{i:02d}", n=i) for i in range(12)]
        path.write_bytes(newline.join([*([header] if header else []), *lines, ""]).encode(encoding))
        return Prepared(capsys, tmp_path / f"lists_{next(calls)}", root, "-csv", path, *flags)

    return prepare_table


@pytest.fixture
def read_folder(capsys, tmp_path):
    """Prepare a folder that holds recordings by their relative paths."""
    calls = iter(range(100))

    def prepare_folders(paths, *flags):
        root = tmp_path / f"root_{next(calls)}"
        for i, name in enumerate(paths):
            write_wav(root / name, 0.05, seed=i)
        return Prepared(capsys, root.parent / f"{root.name}_lists", root, *flags)

    return prepare_folders


def labelled(*labels, number=12):
    """Rows of a path and a label; labels take turns."""
    return [f"w/{i:02d}.wav,{labels[i % len(labels)]}" for i in range(number)]


def below(name, number=6):
    """Paths of recordings in a folder."""
    return [f"{name}/{i}.wav" for i in range(number)]


# Columns --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "times"),
    [
        ("start,end", "0.25,0.75"),
        ("onset,offset", "0.25,0.75"),
        ("begin,stop", "0.25,0.75"),
        ("Start Time,End Time", "0.25,0.75"),
        ("Begin Time (s),End Time (s)", "0.25,0.75"),
        ("start_ms,end_ms", "250,750"),
        ("t_start,t_end", "0.25,0.75"),
        ("start,duration", "0.25,0.5"),
        ("offset,duration", "0.25,0.5"),
        ("tmin,tmax", '"0,25","0,75"'),
        ("start,end", "0:00.25,00:00:00.75"),
        ("from,to", "0.25,0.75"),
    ],
)
def test_times_of_events_become_segments(read, header, times):  # C
    done = read(f"path,{header},label", [f"w/{i:02d}.wav,{times},{'ab'[i % 2]}" for i in range(12)])
    assert {(clip["start"], clip["end"]) for clip in done.entries} == {(0.25, 0.75)}
    assert len(done.entries) == 12 and done.error == ""


def test_events_of_one_recording_stay_in_one_list_and_are_all_used(read):  # C
    rows = [f"w/{i // 2:02d}.wav,{i % 2 / 2},{i % 2 / 2 + 0.5},{'ab'[i % 2]}" for i in range(24)]
    done = read("path,start,end,label", rows)
    wavs = [{clip["wav"] for clip in clips} for clips in done.lists.values()]
    assert sum(map(len, wavs)) == len(set().union(*wavs)) == 12
    assert len(done.entries) == 24 and done.report["used"]["rows"] == 24
    labels = read_labels(done.out / "labels.csv")
    clips = read_clips(done.out / "train.json", done.root, labels)
    assert {clip.span for clip in clips} == {(0, 8_000), (8_000, 8_000)}


@pytest.mark.parametrize(
    ("header", "times", "said"),
    [
        ("start,end", "0.75,0.25", "the event ends at 0.25 s and starts at 0.75 s"),
        ("start,end", "0.5,1.5", "are outside their recordings"),
        ("start,end", "2,3", "are outside their recordings"),
        ("start,end", "soon,0.5", "start is 'soon'; expected seconds"),
        ("start,end", "-1,0.5", "start is '-1'; expected seconds"),
        ("start_sample,end_sample", "0,8000", "counts sample; expected seconds or milliseconds"),
        ("begin,start,end", "0,0,1", "could each be the start; choose by -columns start=begin or"),
        ("offset", "0.5", "could be a start or an end; say which by -columns start=offset"),
    ],
)
def test_times_that_cannot_be_used_are_refused(read, header, times, said):  # C
    done = read(f"path,{header},label", [f"w/{i:02d}.wav,{times},{'ab'[i % 2]}" for i in range(12)])
    assert said in done.refusal()


def test_an_empty_time_is_the_whole_recording(read):  # C
    done = read("path,start,end,label", labelled("a", "b")[:0] + [f"w/{i:02d}.wav,,,a" for i in range(12)])
    assert all("start" not in clip and "end" not in clip for clip in done.entries)


@pytest.mark.parametrize(
    ("column", "parts"),
    [
        ("split", ("train", "valid", "test")),
        ("subset", ("training", "validation", "testing")),
        ("set", ("TRAIN", "VAL", "TEST")),
        ("partition", ("train", "dev", "eval")),
        ("part", ("train_set", "val_set", "test_set")),
        ("Data Split", (" train ", "Validation", "Test")),
        ("usage", ("trn", "devel", "holdout")),
    ],
)
def test_a_split_under_any_usual_name_is_used(read, column, parts):  # C
    rows = [f"w/{i:02d}.wav,{'ab'[i % 2]},{parts[i % 6 // 2]}" for i in range(12)]
    done = read(f"path,label,{column}", rows)
    assert {name: sorted(clip["wav"] for clip in clips) for name, clips in done.lists.items()} == {
        name: [f"w/{i:02d}.wav" for i in range(12) if i % 6 // 2 == k]
        for k, name in enumerate(("train", "valid", "test"))
    }


@pytest.mark.parametrize("column", ["fold", "Fold", "folds", "cv_fold", "fold_id"])
@pytest.mark.parametrize("values", ["123", "012", ("fold1", "fold2", "fold3"), ("1.0", "2.0", "3.0")])
def test_a_column_of_folds_is_used(read, column, values):  # C
    rows = [f"w/{i:02d}.wav,{'ab'[i % 2]},{values[i % 6 // 2]}" for i in range(12)]
    done = read(f"path,label,{column}", rows)
    for k in (1, 2, 3):
        wavs = [clip["wav"] for clip in done.lists[f"eval_{k}"]]
        assert sorted(wavs) == [f"w/{i:02d}.wav" for i in range(12) if i % 6 // 2 == k - 1]


def test_a_split_without_a_validation_list_is_one_fold(read):  # C
    rows = [f"w/{i:02d}.wav,{'ab'[i % 2]},{('train', 'train', 'test')[i % 6 // 2]}" for i in range(12)]
    done = read("path,label,split", rows)
    assert {name: len(of) for name, of in done.lists.items()} == {"eval_1": 4, "train_1": 8}
    assert "the split has no valid list: it is written as one fold" in done.printed


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("train", "val", "other"), "the column split holds 'other'; expected train, valid and test"),
        (("train", "val", ""), "4 clips have no split"),
        (("train", "val", "dev"), "could each be the valid list"),
        (("train", "train", "train"), "the split has train alone"),
        (("A", "B", "C"), "the column split holds 'A', 'B', 'C'"),
    ],
)
def test_a_split_of_unclear_parts_is_refused_with_the_flag(read, values, said):  # C
    rows = [f"w/{i:02d}.wav,{'ab'[i % 2]},{values[i % 6 // 2]}" for i in range(12)]
    assert said in (error := read("path,label,split", rows).refusal())
    assert "-columns ignore=split" in error
    assert read("path,label,split", rows, "-columns", "ignore=split").status == 0


def test_two_columns_of_a_split_are_refused(read):  # C
    rows = [f"w/{i:02d}.wav,{'ab'[i % 2]},{i % 3},train" for i in range(12)]
    assert "could each be the split; choose by -columns split=fold or split=split" in (
        read("path,label,fold,split", rows).refusal()
    )


@pytest.mark.parametrize("column", ["speaker", "Speaker ID", "client_id", "spk", "subject", "patient_id"])
def test_speakers_are_kept_apart(read, column):  # C
    rows = [f"w/{i:02d}.wav,{'ab'[i % 2]},s{i // 2}" for i in range(12)]
    done = read(f"path,label,{column}", rows)
    speakers = [{int(clip["wav"][2:4]) // 2 for clip in clips} for clips in done.lists.values()]
    assert sum(map(len, speakers)) == len(set().union(*speakers)) == 6
    assert f"stay in one list; -columns ignore={column} does not" in done.printed


def test_the_coarsest_of_several_columns_of_speakers_is_used(read):  # C
    rows = [f"w/{i:02d}.wav,{'ab'[i % 2]},n{i // 2},s{i // 2},u{i}" for i in range(12)]
    done = read("path,label,speaker_name,speaker_id,user_id", rows)
    assert done.report["used"]["columns"] == 3
    speakers = [{int(clip["wav"][2:4]) // 2 for clip in clips} for clips in done.lists.values()]
    assert sum(map(len, speakers)) == 6
    crossed = [f"w/{i:02d}.wav,{'ab'[i % 2]},s{i // 2},p{i % 3}" for i in range(12)]
    assert "could each be the group" in read("path,label,speaker,person", crossed).refusal()


def test_the_speaker_as_the_label_is_no_group(read):  # C
    rows = [f"w/{i:02d}.wav,{'ab'[i % 2]},{'AB'[i % 2]}" for i in range(12)]
    assert set(read("path,label,speaker", rows).lists) == {"train", "valid", "test"}


def test_a_split_that_parts_a_speaker_is_refused(read):  # C
    rows = [f"w/{i:02d}.wav,{'ab'[i % 2]},{('train', 'val', 'test')[i % 3]},s{i % 4}" for i in range(12)]
    assert "-columns ignore=speaker allows it" in read("path,label,split,speaker", rows).refusal()


def test_unused_columns_are_counted_with_the_flag_that_uses_them(read):  # C
    rows = [f"w/{i:02d}.wav,{'ab'[i % 2]},sunny,{i}" for i in range(12)]
    done = read("path,label,weather,freesound_id", rows)
    assert (
        "warning: " in done.error
        and "2 of 4 columns left out: not used (weather, freesound_id)" in done.error
    )
    assert "-columns" in done.error and "ignore=NAME" in done.error
    assert done.left_out("columns") == {"not used": 2} and done.report["supplied"]["columns"] == 4
    quiet = read("path,label,weather,freesound_id", rows, "-columns", "ignore=weather", "ignore=freesound_id")
    assert quiet.error == "" and quiet.left_out("columns") == {"ignored by -columns": 2}


def test_a_column_can_be_named(read):  # C
    rows = [f"w/{i:02d}.wav,{'ab'[i % 2]},x" for i in range(12)]
    done = read("where,what,label", rows, "-columns", "path=where", "label=what")
    assert done.names == ("a", "b") and done.left_out("columns") == {"not used": 1}
    assert "has no column whom" in read("path,label,x", rows, "-columns", "group=whom").refusal()


@pytest.mark.parametrize("text", ["label", "lable=x", "=x", "label="])
def test_a_role_that_does_not_exist_is_refused(capsys, tmp_path, text):
    with pytest.raises(SystemExit):
        prepare.main(["folder", str(tmp_path), "-columns", text])
    assert "is not ROLE=COLUMN" in capsys.readouterr().err


# Labels ---------------------------------------------------------------------------------------------


def test_commas_in_a_label_are_decided_by_a_flag(read):  # C
    rows = labelled('"Speech, male"', '"Speech, female"', "Music")
    error = read("path,label", rows).refusal()
    assert "8 of 12 labels hold commas, such as 'Speech, male' (rows 2-3, 5-6, 8-9, 11-12)" in error
    whole = read("path,label", rows, "-label_separator", "none")
    assert whole.names == ("Music", "Speech, female", "Speech, male")
    assert all("," not in clip["labels"] for clip in whole.entries)
    several = read("path,label", rows, "-label_separator", ",")
    assert several.names == ("Music", "Speech", "female", "male")


@pytest.mark.parametrize("flags", [(), ("-label_separator", ";")])
def test_a_comma_beside_semicolons_stays_in_its_label(read, flags):  # C
    done = read("path,label", labelled('"Speech, male"', '"Music;Speech, male"', "Music"), *flags)
    assert done.names == ("Music", "Speech, male")
    assert ("hold a comma, which is taken as part of a name" in done.error) == (not flags)


@pytest.mark.parametrize(
    ("separator", "cell"), [("+", "a+b"), ("/", "a/b"), (" ", "a b"), ("|", "a|b"), (" and ", "a and b")]
)
def test_the_separator_of_labels_can_be_chosen(read, separator, cell):  # C
    done = read("path,label", labelled(cell, "a"), "-label_separator", separator)
    assert done.names == ("a", "b")
    assert Counter(clip["labels"] for clip in done.entries) == {"/m/a,/m/b": 6, "/m/a": 6}


SPELLINGS = {
    "case": ("Dog", "dog", "upper and lower case"),
    "all capitals": ("DOG", "dog", "upper and lower case"),
    "normal forms": ("Caf\u00e9", unicodedata.normalize("NFD", "Caf\u00e9"), "Unicode normal forms"),
    "ligature": ("\ufb01nch", "finch", "Unicode normal forms"),
    "zero width": ("dog", "d\u200bog", "invisible characters or blanks"),
    "byte-order mark": ("dog", "\ufeffdog", "invisible characters or blanks"),
    "no-break space": ("big dog", "big\u00a0dog", "invisible characters or blanks"),
    "trailing no-break space": ("dog", "dog\u00a0", "invisible characters or blanks"),
    "double blank": ("big dog", "big  dog", "invisible characters or blanks"),
    "soft hyphen": ("bulldog", "bull\u00addog", "invisible characters or blanks"),
    "separators": ("hi-hat", "hi_hat", "separators"),
    "joined": ("hi hat", "hihat", "separators"),
    "two kinds": ("Hi-Hat", "hi hat", "upper and lower case and separators"),
    "Cyrillic": ("cat", "c\u0430t", "look-alike characters"),
    "Cyrillic capital": ("Adam", "\u0410dam", "look-alike characters"),
    "numbers": ("1", "01", "the way a number is written"),
    "decimals": ("1", "1.0", "the way a number is written"),
}


@pytest.mark.parametrize("kind", SPELLINGS)
def test_spellings_of_one_name_are_warned_of_with_their_rows_and_merged_by_a_flag(read, kind):  # C
    one, other, what = SPELLINGS[kind]
    rows = labelled(one, one, other, "zebra")
    done = read("path,label", rows)
    assert len(done.names) == 3 and f"2 class names: differ in {what} alone" in done.error
    assert "(rows 4, 8, 12)" in done.error and "-fix_labels merges them into" in done.error
    doubt = done.report["doubts"][0]
    assert doubt["count"] == 2 and "-fix_labels" in doubt["remedy"]
    fixed = read("path,label", rows, "-fix_labels")
    assert len(fixed.names) == 2 and one in fixed.names and fixed.error == ""
    assert Counter(clip["labels"] for clip in fixed.entries).most_common(1)[0][1] == 9
    assert "-fix_labels: " in fixed.printed and "became the class" in fixed.printed


def test_a_blank_at_the_end_of_a_label_is_no_class(read):  # C
    assert read("path,label", labelled("dog", "dog ", " dog", "\tdog")).names == ("dog",)


def test_one_name_with_a_hidden_character_is_warned_of(read):  # C
    done = read("path,label", labelled("d\u200bog", "cat"))
    assert "hold U+200B" in done.error and "-fix_labels removes them" in done.error
    assert read("path,label", labelled("d\u200bog", "cat"), "-fix_labels").names == ("cat", "dog")


@pytest.mark.parametrize(
    "cells",
    [
        ("\"['a','b']\"", "\"['a']\""),
        ('"[""a"", ""b""]"', '"[""a""]"'),
        ("\"('a', 'b')\"", "\"('a',)\""),
        ("\"['a' 'b']\"", "['a']"),
        ('"[a, b]"', "[a]"),
        ("\"{'a', 'b'}\"", "{'a'}"),
    ],
)
def test_lists_that_were_written_as_text_are_refused_and_read_by_a_flag(read, cells):  # C
    error = read("path,label", labelled(*cells)).refusal()
    assert "12 of 12 labels are lists that were written as text" in error and "(rows 2-13)" in error
    fixed = read("path,label", labelled(*cells), "-fix_labels")
    assert fixed.names == ("a", "b")
    assert Counter(clip["labels"] for clip in fixed.entries) == {"/m/a,/m/b": 6, "/m/a": 6}


def test_an_empty_list_written_as_text_is_a_missing_label(read):  # C
    rows = labelled("\"['a','b']\"", "[]")
    assert "6 of 12 labels are missing" in read("path,label", rows, "-fix_labels").refusal()
    done = read("path,label", rows, "-fix_labels", "-missing_labels", "none")
    assert Counter(clip["labels"] for clip in done.entries) == {"/m/a,/m/b": 6, "": 6}


@pytest.mark.parametrize(
    "word", ["", "nan", "NaN", "NA", "N/A", "n/a", "none", "None", "null", "#N/A", "-", "?", "<NA>", " "]
)
def test_a_missing_label_is_refused_with_its_rows_until_a_flag_decides(read, word):  # C
    rows = labelled("a", "b", word)
    error = read("path,label", rows).refusal()
    assert "4 of 12 labels are missing" in error and "(rows 4, 7, 10, 13)" in error
    dropped = read("path,label", rows, "-missing_labels", "drop")
    assert (
        len(dropped.entries) == 8 and "4 of 12 rows left out: the label is empty or a marker" in dropped.error
    )
    assert dropped.report["used"]["rows"] == 8 and dropped.report["supplied"]["rows"] == 12
    none = read("path,label", rows, "-missing_labels", "none")
    assert len(none.entries) == 12 and Counter(c["labels"] for c in none.entries)[""] == 4
    assert "no class" in none.printed
    if word.strip():
        kept = read("path,label", rows, "-missing_labels", "class")
        assert set(kept.names) == {"a", "b", word}


def test_clips_of_no_class_are_in_every_list(read):  # C
    done = read("path,label", labelled("a", "", "b;a"), "-missing_labels", "none")
    assert all("" in {clip["labels"] for clip in clips} for clips in done.lists.values())
    labels = read_labels(done.out / "labels.csv")
    assert any(clip.classes == () for clip in read_clips(done.out / "train.json", done.root, labels))


def test_a_label_can_mean_no_class(read):  # C
    rows = labelled("a", "background", "b")
    done = read("path,label", rows, "-no_label", "background")
    assert done.names == ("a", "b") and Counter(c["labels"] for c in done.entries)[""] == 4
    assert "no such label; found a, b" in read("path,label", labelled("a", "b"), "-no_label", "c").refusal()
    both = labelled("a", "a;background")
    assert "which -no_label says means none" in read("path,label", both, "-no_label", "background").refusal()


def test_rows_of_one_clip_are_refused_or_united(read):  # C
    rows = [*labelled("a", "b"), "w/00.wav,c", "w/03.wav,c", "w/05.wav,c"]
    assert "line 14: w/00.wav is listed twice" in read("path,label", rows).refusal()
    done = read("path,label", rows, "-merge_rows")
    assert {c["wav"]: c["labels"] for c in done.entries}["w/00.wav"] == "/m/a,/m/c"
    again = read("path,label", [*labelled("a", "b"), "w/00.wav,a"])
    assert (
        again.left_out("rows") == {"the same as an earlier row": 1} and "1 of 13 rows left out" in again.error
    )


# Dialects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_tables_of_every_usual_dialect_are_read(read, separator, encoding, newline):  # C
    rows = [row.replace(",", separator) for row in labelled("M\u00f6we", "cat")]
    done = read(f"path{separator}label", rows, encoding=encoding, newline=newline)
    assert done.names == ("M\u00f6we", "cat") and done.error == ""


def test_the_first_line_of_excel_is_not_a_header(read):  # C
    done = read("sep=;", ["path;label", *(row.replace(",", ";") for row in labelled("a", "b"))])
    assert done.names == ("a", "b")


def test_a_table_without_a_header_is_read_whole(read):  # C
    done = read("", labelled("a", "b"))
    assert (
        len(done.entries) == 12 and "has no header: its columns are taken as path and label" in done.printed
    )
    other = read("", [",".join(reversed(row.split(","))) for row in labelled("a", "b")])
    assert len(other.entries) == 12 and other.names == ("a", "b")
    assert "names no columns" in read("", [f"{row},1" for row in labelled("a", "b")]).refusal()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,label\nw/00.wav,M\u00f6we\n".encode("latin-1"), "line 2: is not UTF-8 text"),
        (b"PK\x03\x04xl", "is an Excel or OpenDocument workbook; expected text: export it as CSV"),
        (b'{"path": "w/00.wav", "label": "a"}\n', "is JSON; expected a CSV"),
        (b'[{"path": "w/00.wav", "label": "a"}]\n', "is JSON; expected a CSV"),
        (b"", "lists no clip"),
        (b"path,label\n", "lists no clip"),
        (b"path,path,label\na,b,c\n", "has the column path twice"),
        (b'path,label\nw/00.wav,"a\n', "line 2"),
        (b"path,dog,cat\nw/00.wav,0,1\n", "hold 0 and 1: write the names of the classes into one column"),
    ],
)
def test_what_is_no_table_of_labels_is_refused(capsys, tmp_path, recordings, content, said):  # C
    path = tmp_path / "own.csv"
    path.write_bytes(content)
    assert said in Prepared(capsys, tmp_path / "lists", recordings, "-csv", path).refusal()


# Paths ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "how"),
    [
        ("w\\{i}.wav", "backslashes read as slashes"),
        (".\\w\\{i}.wav", "backslashes read as slashes"),
        ("w/{i}", "suffix added"),
        ("{i}.wav", "found in another folder of the data root"),
        ("{i}", "found in another folder of the data root"),
        ("C:\\Users\\me\\sounds\\w\\{i}.wav", "found by the end of an absolute path"),
        ("/home/other/w/{i}.wav", "found by the end of an absolute path"),
        ("W/{i}.WAV", "found in another folder of the data root"),
        ("./w/{i}.wav", None),
        (" w/{i}.wav ", None),
        ("{root}/w/{i}.wav", None),
    ],
)
def test_paths_are_found_and_said_how(read, recordings, written, how):  # C
    rows = [f"{written.format(i=f'{i:02d}', root=recordings)},{'ab'[i % 2]}" for i in range(12)]
    done = read("path,label", rows)
    assert sorted(clip["wav"] for clip in done.entries) == [f"w/{i:02d}.wav" for i in range(12)]
    assert done.report["used"]["recordings"] == 12
    assert f"12 of 12 paths: {how}, such as" in done.printed if how else "paths:" not in done.printed


def test_names_in_parts_of_unicode_are_found(capsys, tmp_path):  # C
    root = tmp_path / "root"
    for i in range(6):
        write_wav(root / unicodedata.normalize("NFD", f"caf\u00e9{i}.wav"), 0.05, seed=i)
    path = tmp_path / "own.csv"
    path.write_text("path,label\n" + "".join(f"caf\u00e9{i}.wav,{'ab'[i % 2]}\n" for i in range(6)))
    assert len(Prepared(capsys, tmp_path / "lists", root, "-csv", path).entries) == 6


def test_a_name_that_could_be_several_recordings_is_refused(capsys, tmp_path):  # C
    for i, name in enumerate(("x/1.wav", "y/1.wav")):
        write_wav(tmp_path / "root" / name, 0.05, seed=i)
    path = tmp_path / "own.csv"
    path.write_text("path,label\n1.wav,a\n")
    error = Prepared(capsys, tmp_path / "lists", tmp_path / "root", "-csv", path).refusal()
    assert "line 2: 1.wav could be any of x/1.wav, y/1.wav" in error and "write its folder, too" in error


def test_missing_recordings_are_counted_and_named(read):  # C
    rows = [*labelled("a", "b"), "w/98.wav,a", "w/99.wav,b"]
    assert "2 of its 14 recordings are not in" in (error := read("path,label", rows).refusal())
    assert "w/98.wav, w/99.wav" in error


def test_recordings_that_a_table_does_not_name_are_counted(read):  # C
    done = read("path,label", labelled("a", "b", number=8))
    assert "4 of 12 recordings left out" in done.error and "not named in the table" in done.error
    assert done.report["supplied"]["recordings"] == 12 and done.report["used"]["recordings"] == 8


# Folders --------------------------------------------------------------------------------------------

PARTS = [f"{part}/{name}/{i}.wav" for part in ("train", "val", "test") for name in "ab" for i in range(2)]


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "dev", "eval"), ("train_set", "valid", "Test")]
)
def test_folders_of_a_split_are_its_lists(read_folder, names):  # C
    to = dict(zip(("train", "val", "test"), names))
    done = read_folder([f"{to[path.split('/')[0]]}/{path.partition('/')[2]}" for path in PARTS])
    assert done.names == ("a", "b")
    assert {name: {c["wav"].split("/")[0] for c in of} for name, of in done.lists.items()} == {
        "train": {names[0]},
        "valid": {names[1]},
        "test": {names[2]},
    }
    assert "are taken as parts of a split" in done.printed


@pytest.mark.parametrize("beside", ["background_noise", "extra", "unlabelled/more", "_noise_"])
def test_a_folder_beside_those_of_a_split_is_refused_until_a_flag_decides(read_folder, beside):  # C
    paths = [*PARTS, *below(beside, 3)]
    top = beside.split("/")[0]
    error = read_folder(paths).refusal()
    assert f"3 recordings are next to them ({top})" in error
    assert "-layout parts" in error and "-layout pooled" in error and "-layout classes" in error
    parts = read_folder(paths, "-layout", "parts")
    assert parts.names == ("a", "b") and parts.report["supplied"]["recordings"] == 15
    assert "3 of 15 recordings left out: in no folder of the split" in parts.error
    pooled = read_folder(paths, "-layout", "pooled", "-folds", "2")
    assert pooled.names == ("a", "b") and set(pooled.lists) == {"train_1", "eval_1", "train_2", "eval_2"}
    classes = read_folder(paths, "-layout", "classes")
    assert set(classes.names) == {"train", "val", "test", top}


def test_folds_as_folders_are_used_and_numbers_alone_are_refused(read_folder):  # C
    def folds(prefix):
        return [f"{prefix}{k}/{name}/{i}.wav" for k in (1, 2, 3) for name in "ab" for i in range(2)]

    for prefix in ("fold", "Fold_", "cv-", "fold_0"):
        done = read_folder(folds(prefix))
        assert done.names == ("a", "b") and sorted(done.lists)[:3] == ["eval_1", "eval_2", "eval_3"]
        assert {clip["wav"].split("/")[0] for clip in done.lists["eval_2"]} == {f"{prefix}2"}
    for prefix in ("", "set", "part_", "group"):
        error = read_folder(folds(prefix)).refusal()
        assert (
            "may be classes or folds; -layout classes takes every folder as a class, -layout parts" in error
        )
        assert read_folder(folds(prefix), "-layout", "parts").names == ("a", "b")
        assert len(read_folder(folds(prefix), "-layout", "classes").names) == 3


def test_folds_without_class_folders_are_refused(read_folder):  # C
    error = read_folder([f"fold{k}/{i}.wav" for k in (1, 2, 3) for i in range(3)]).refusal()
    assert "are parts of a split and hold no class folders" in error and "-csv FILE" in error


def test_a_split_inside_the_class_folders_is_used(read_folder):  # C
    paths = [f"{name}/{part}/{i}.wav" for part in ("train", "val", "test") for name in "ab" for i in range(2)]
    done = read_folder(paths)
    assert {name: {c["wav"].split("/")[1] for c in of} for name, of in done.lists.items()} == {
        "train": {"train"},
        "valid": {"val"},
        "test": {"test"},
    }


def test_a_split_between_two_levels_of_folders_is_refused(read_folder):  # C
    paths = [
        f"site{s}/{part}/{name}/{i}.wav"
        for s in "xy"
        for part in ("train", "val", "test")
        for name in "ab"
        for i in range(2)
    ]
    error = read_folder(paths).refusal()
    assert "parts of a split between sitex, sitey and a, b, and either may be the classes" in error
    assert read_folder(paths, "-layout", "parts").names == ("sitex", "sitey")


@pytest.mark.parametrize("names", [("train", "bus", "car"), ("test tone", "noise", "speech")])
def test_a_class_that_is_called_like_a_part_is_a_class(read_folder, names):  # C
    assert set(read_folder([path for name in names for path in below(name)]).names) == set(names)


def test_one_part_with_class_folders_is_refused(read_folder):  # C
    error = read_folder([*below("train/a"), *below("train/b"), *below("other")]).refusal()
    assert "the folder train may be a part of a split or a class next to other" in error
    assert "holds the one folder audio" in read_folder([*below("audio/a"), *below("audio/b")]).refusal()


def test_background_folders_can_be_of_no_class(read_folder):  # C
    paths = [*below("dog"), *below("cat"), *below("_background_noise_")]
    assert (
        "the folder _background_noise_ is a class; -no_label _background_noise_ makes"
        in read_folder(paths).printed
    )
    done = read_folder(paths, "-no_label", "_background_noise_")
    assert done.names == ("cat", "dog") and Counter(c["labels"] for c in done.entries)[""] == 6


def test_class_folders_that_differ_in_spelling_are_warned_of(read_folder):  # C
    paths = [*below("Dog", 7), *below("dog", 6), *below("cat")]
    done = read_folder(paths)
    assert "differ in upper and lower case alone ('Dog' (7 recordings in Dog/)" in done.error
    assert set(read_folder(paths, "-fix_labels").names) == {"Dog", "cat"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("-label_separator", ";"), "-label_separator is for a table (-csv), not for folders"),
        (("-columns", "label=x"), "-columns is for a table (-csv), not for folders"),
        (("-merge_rows",), "-merge_rows is for a table (-csv), not for folders"),
    ],
)
def test_flags_of_tables_are_refused_for_folders(read_folder, flags, said):  # C
    assert said in read_folder([*below("a"), *below("b")], *flags).refusal()


def test_every_file_of_a_folder_is_counted(read_folder, capsys, tmp_path):  # C
    done = read_folder([*below("a"), *below("b"), "stray.wav"])
    (done.root / "a/notes.txt").write_text("x")
    (done.root / "a/.hidden.wav").write_bytes(b"")
    done = Prepared(capsys, tmp_path / "again", done.root)
    assert done.report["supplied"]["recordings"] == 13 and done.report["used"]["recordings"] == 12
    assert done.left_out("recordings") == {"next to the class folders": 1}
    assert done.left_out("other files") == {"not audio by their suffix": 1} and "hidden files" in done.error


# Speech Commands ------------------------------------------------------------------------------------


def kaggle(top, inner="train"):
    """Speech Commands as Kaggle packs it: words and lists in train/, test recordings without labels."""
    for n, word in enumerate(("yes", "no", "_background_noise_")):
        for i in range(6):
            write_wav(top / f"{inner}/audio/{word}/{i}.wav", 0.05, seed=10 * n + i)
    for name, k in (("validation_list.txt", 4), ("testing_list.txt", 5)):
        (top / inner / name).write_text("".join(f"{word}/{k}.wav\n" for word in ("yes", "no")))
    for i in range(3):
        write_wav(top / f"test/audio/clip_{i}.wav", 0.05, seed=90 + i)
    return top


@pytest.mark.parametrize("given", ["", "train", "train/audio"])
def test_kaggles_speech_commands_are_prepared_from_any_of_its_folders(capsys, tmp_path, given):  # C
    top = kaggle(tmp_path / "kaggle")
    root = top / given
    out = tmp_path / "lists"
    error = Prepared(capsys, out, root).refusal()
    [command] = [line for line in error.split("; ") if "prepare.py speech_commands" in line]
    folder = command.split("speech_commands ")[1].strip()
    assert prepare.main(["speech_commands", folder, "-out", str(out)]) == 0
    printed, _ = capsys.readouterr()
    lists = {
        name: json.loads((out / f"{name}.json").read_text())["data"] for name in ("train", "valid", "test")
    }
    assert {name: len(of) for name, of in lists.items()} == {"train": 8, "valid": 2, "test": 2}
    assert read_labels(out / "labels.csv").names == ("no", "yes")
    for name in lists:
        read_clips(out / f"{name}.json", folder, read_labels(out / "labels.csv"))
    if not given:
        assert "3 recordings in" in printed and "have no labels and are left out" in printed


def test_the_report_stands_beside_the_lists_and_is_no_list(read, capsys):  # C
    done = read("path,label", labelled("a", "b"))
    assert set(done.report) == {"source", "supplied", "used", "left_out", "doubts"}
    assert done.report["used"] == {"columns": 2, "rows": 12, "recordings": 12}
    from ipet.diagnosis import names_of_lists

    assert sorted(names_of_lists(done.out)[0]) == ["test", "train", "valid"]
    shutil.rmtree(done.out)
