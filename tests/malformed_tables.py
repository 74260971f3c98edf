"""Tables and folders of recordings that are odd or ambiguous: rows of the table in malformed.py."""

from helpers import write_wav
from spoiling import Row

HEAD = "path,label"
CLASSES = "ab"


def table(header=HEAD, row="w/{i}.wav,{c}", encoding="utf-8"):
    """A maker of own.csv: twelve rows in which {i} is the number of a recording and {c} its class."""

    def make(folder):
        lines = [row.format(i=i, c=CLASSES[i % 2], third=i % 3, half=i // 2) for i in range(12)]
        for i in range(12):
            write_wav(folder / f"w/{i}.wav", 0.2, seed=i)
        (folder / "own.csv").write_bytes("\n".join([header, *lines, ""]).encode(encoding))

    return make


def labels(*texts):
    """A maker of own.csv whose labels take turns."""

    def make(folder):
        table()(folder)
        lines = [f"w/{i}.wav,{texts[i % len(texts)]}" for i in range(12)]
        (folder / "own.csv").write_text("\n".join([HEAD, *lines, ""]), encoding="utf-8")

    return make


def folders(*names):
    """A maker of folders with six recordings each."""

    def make(folder):
        for k, name in enumerate(names):
            for i in range(6):
                write_wav(folder / name / f"{i}.wav", 0.05, seed=10 * k + i)

    return make


OWN = [
    Row("no table", lambda folder: None, "own.csv: no such file; expected a CSV with the columns path and"),
    Row("an Excel workbook", lambda f: (f / "own.csv").write_bytes(b"PK\x03\x04"), "own.csv: is an Excel or"),
    Row("JSON", lambda f: (f / "own.csv").write_text('{"a": 1}'), "own.csv: is JSON; expected a CSV"),
    Row("Latin-1", table(HEAD, "w/{i}.wav,\xe4{c}", "latin-1"), "line 2: is not UTF-8 text"),
    Row("UTF-16", table(encoding="utf-16"), "fine: 12 clips"),
    Row("semicolons", table("path;label", "w/{i}.wav;{c}"), "fine: 12 clips"),
    Row("no header", table("w/0.wav,a", "w/{i}.wav,{c}"), "warning: ... 1 of 13 rows left out: the same as"),
    Row("backslashes", table(row="w\\{i}.wav,{c}"), "fine: 12 clips"),
    Row("names without suffix", table(row="w/{i},{c}"), "fine: 12 clips"),
    Row("recordings that are not there", table(row="v/{i}.wav,{c}"), "12 of its 12 recordings are not in"),
    Row(
        "a column that nothing uses", table("path,label,x", "w/{i}.wav,{c},1"), "warning: ... 1 of 3 columns"
    ),
    Row("times of events", table("path,label,start,end", "w/{i}.wav,{c},0,0.1"), "fine: 12 clips"),
    Row(
        "times outside the recordings",
        table("path,label,start,end", "w/{i}.wav,{c},3,4"),
        "12 of 12 events are outside their recordings: w/0.wav [3 to 4 s] of 0.20 s",
    ),
    Row(
        "an end before its start",
        table("path,label,start,end", "w/{i}.wav,{c},0.1,0"),
        "line 2: the event ends at 0 s and starts at 0.1 s; expected a later end",
    ),
    Row(
        "times in samples",
        table("path,label,start_sample,end_sample", "w/{i}.wav,{c},0,9"),
        "the column start_sample counts sample; expected seconds or milliseconds",
    ),
    Row("folds", table("path,label,fold", "w/{i}.wav,{c},{half}"), "fine: 12 clips"),
    Row(
        "a split of other names",
        table("path,label,split", "w/{i}.wav,{c},{third}x"),
        "the column split holds '0x', '1x', '2x'; expected train, valid and test",
    ),
    Row(
        "two columns of a split",
        table("path,label,fold,subset", "w/{i}.wav,{c},{third},train"),
        "the columns fold, subset could each be the split; choose by -columns split=fold",
    ),
    Row("speakers", table("path,label,speaker", "w/{i}.wav,{c},s{half}"), "fine: 12 clips"),
    Row(
        "commas in labels",
        labels('"Speech, male"', "Music"),
        "6 of 12 labels hold commas, such as 'Speech, male' ... -label_separator none keeps them whole",
    ),
    Row(
        "a label in two cases",
        labels("Dog", "dog", "cat"),
        "warning: ... 2 class names: differ in upper and lower case alone ('Dog' (rows 2, 5, 8, 11), 'dog'",
    ),
    Row(
        "a zero-width space in a label", labels("a", "a\u200b", "b"), "warning: ... differ in invisible char"
    ),
    Row("lists as text", labels("\"['a', 'b']\"", "a"), "6 of 12 labels are lists that were written as text"),
    Row(
        "missing labels",
        labels("a", "b", "NaN", ""),
        "6 of 12 labels are missing, 3 empty: 'NaN', '' (rows 4-5, 8-9, 12-13); -missing_labels drop leaves",
    ),
    Row(
        "folders: a split and one more",
        folders("train/a", "train/b", "val/a", "val/b", "test/a", "test/b", "noise"),
        "test, train, val are parts of a split, and 6 recordings are next to them (noise); -layout parts",
    ),
    Row("folders: a split alone", folders("train/a", "train/b", "dev/a", "dev/b"), "fine: 24 clips"),
    Row(
        "folders: a split without classes",
        folders("train", "val", "test"),
        "test, train, val are parts of a split and hold no class folders with the labels; -layout",
    ),
    Row("folders: numbers", folders("1/a", "2/a"), "1, 2 may be classes or folds; -layout classes"),
    Row(
        "folders: two cases",
        folders("Dog", "dog", "cat"),
        "warning: ... differ in upper and lower case alone",
    ),
    Row("folders: none", lambda folder: (folder / "a.wav").touch(), "holds no folder; expected one a class"),
]
