"""Runs as pages of HTML: what they say, that strangers' text stays text, and the recordings beside them."""

import hashlib
import json
import shutil
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from ipet.__main__ import main
from ipet.audio import read_audio
from ipet.mistakes import confused_pairs, hardest_trials, surest_mistakes
from ipet.page import Figure
from ipet.plots import as_is
from ipet.printable import folder_name

from helpers import one_hot, result, write_lists, write_run, write_wav

pytest.importorskip("matplotlib", reason="the figures need matplotlib")
pytest.importorskip("jinja2", reason="the pages need jinja2")

VOID = {"meta", "img"}  # elements without an end
HOSTILE = "</td><script>alert('$x$')</script>\"'&\x1b[2J\ud800"


class Reader(HTMLParser):
    """A page's elements, its text and its tables; an element that is not closed in its turn fails."""

    def __init__(self, path):
        super().__init__()
        self.open, self.found, self.text, self.rows = [], [], "", []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.rows and ("td" in self.open or "th" in self.open):
            self.rows[-1][-1] += data

    def all(self, tag, name):
        return [attributes[name] for found, attributes in self.found if found == tag]

    def row(self, name):
        """The values of the only row that begins so."""
        [row] = [row[1:] for row in self.rows if row[0] == name]
        return row


def read_page(path):
    """A page that can be opened without a network: what it names lies in it, or beside it."""
    page = Reader(path)
    assert page.found[0] == ("html", {"lang": "en"})
    names = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(set(names)) == len(names)
    for tag, attributes in page.found:
        assert tag not in ("script", "link", "iframe") and not any(
            name.startswith("on") for name in attributes
        )
        if tag == "img":
            assert attributes["alt"]
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
        for place in (attributes[name] for name in ("src", "href") if name in attributes):
            if place.startswith("#"):
                assert place[1:] in names
            elif not place.startswith("data:image/png;base64,"):
                beside = (path.parent / place).resolve()
                assert not place.startswith("/") and ":" not in place and beside.is_file()
    levels = [int(tag[1]) for tag, _ in page.found if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1 and set(levels[1:]) == {2}
    return page


@pytest.fixture
def undrawn(monkeypatch):
    """No figure of a run is drawn."""

    def figure(alt, caption, *_):
        return Figure("data:image/png;base64,", alt, caption)

    monkeypatch.setattr("ipet.run_page.drawn", figure)


@pytest.fixture
def folds(tmp_path):
    """One of two folds is finished: of the clips cat, dog, cat, dog the first is heard as a dog."""
    lists = write_lists(tmp_path / "lists", num_classes=2, eval_1=4)
    write_wav(lists / "wav/eval_1_0.wav", seconds=11, seed=1)
    predictions = {"scores": one_hot(1, 1, 0, 1), "targets": one_hot(0, 1, 0, 1).astype(np.uint8)}
    cell = result(0.5, 0.8, 0.75, tuning={"method": "ipet", "bottleneck": 32}, skipped_steps=2)
    places = {"path_list": str(lists), "path_data": str(lists), "pretrained": "ast_small"}
    folder, cells = tmp_path / "runs/first", {"seed_7/fold_1": cell}
    write_run(folder, "ast_esc50", cells, predictions=predictions, fold=2, **places)
    sha256 = {
        name: hashlib.sha256((lists / name).read_bytes()).hexdigest()
        for name in ("labels.csv", "eval_1.json")
    }
    start = {"started": "2026-11-01T10:00:00", "packages": {"torch": "2.11.0"}, "lists": sha256}
    (folder / "environment.json").write_text(json.dumps([start]))
    return folder


def pages_of(tmp_path, *flags, run="runs"):
    """The exit status, and the page."""
    status = main(["report", str(tmp_path / run), "-html", str(tmp_path / "page"), *map(str, flags)])
    return status, read_page(tmp_path / "page/index.html")


# A run ----------------------------------------------------------------------------------------------


def test_a_page_of_a_run_tells_all_of_it(folds, tmp_path, capsys):
    status, page = pages_of(tmp_path)
    assert status == 0 and f"page: {tmp_path / 'page/index.html'}" in capsys.readouterr().out
    assert "ast_esc50: first" in page.text and "1 of 2 cells are not finished: seed_7/fold_2" in page.text
    assert page.row("seed_7/fold_1") == ["75.00", "80.00", "80.00"]  # last, best, common epoch
    assert "the authors' protocol, optimistic" in page.text and "AST's protocol" in page.text
    # heard as a cat: the third clip; as dogs: the other three, two of which are dogs
    assert ["cat", "dog", "1", "50.0", "wav/eval_1_0.wav"] in page.rows
    assert ["cat", "2", "50.0", "100.0", "66.7"] in page.rows
    assert ["dog", "2", "100.0", "66.7", "80.0"] in page.rows
    assert page.row("trainable parameters") == ["1,250"] and page.row("method") == ["ipet: bottleneck 32"]
    assert page.row("-pretrained") == ["ast_small"] and page.row("packages.torch") == ["2.11.0"]
    assert "seed_7/fold_1: 2 steps without a finite loss and gradient changed nothing." in page.text
    assert "There is no passport.json" in page.text
    figures = page.all("img", "src")
    assert len(figures) == 2 and all(len(figure) > 5_000 for figure in figures)  # drawn, and inside
    assert "2 classes: 3 of 4 clips on the diagonal" in page.all("img", "alt")[1]


def test_the_clips_are_beginnings_of_the_right_recordings(folds, undrawn, tmp_path):
    _, page = pages_of(tmp_path)
    [src] = page.all("audio", "src")
    assert src == "clips/001.flac"
    excerpt, rate = soundfile.read(tmp_path / "page" / src)
    whole = read_audio(tmp_path / "lists/wav/eval_1_0.wav").numpy()
    assert rate == 16_000 and excerpt.shape == (160_000,)
    np.testing.assert_allclose(excerpt, whole[:160_000], atol=1 / 32_768)
    assert soundfile.info(tmp_path / "page" / src).subtype == "PCM_16"


def test_two_seeds_that_mistake_a_clip_play_it_once(folds, undrawn, tmp_path):
    other = folds / "seed_8/fold_1"
    other.parent.mkdir()
    (folds / "seed_7/fold_1").rename(other)
    shutil.copytree(other, folds / "seed_7/fold_1")
    _, page = pages_of(tmp_path)
    assert ["cat", "dog", "2", "50.0", "wav/eval_1_0.wav"] in page.rows
    assert page.all("audio", "src") == ["clips/001.flac"]


def test_fewer_clips_leave_none_of_an_earlier_page(folds, undrawn, tmp_path):
    pages_of(tmp_path)
    _, page = pages_of(tmp_path, "-clips", 0)
    assert "no clips to play: -clips 0 asks for none" in page.text and "wav/eval_1_0.wav" in page.text
    assert not page.all("audio", "src") and not list((tmp_path / "page/clips").iterdir())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda lists: (lists / "wav/eval_1_0.wav").unlink(),
            "no clips to play: recordings cannot be read.",
        ),
        (lambda lists: (lists / "eval_1.json").unlink(), "eval_1.json: the list is no longer there"),
        (
            lambda lists: (lists / "labels.csv").open("a").write("2,/m/02,cow\n"),
            "is another one than in training",
        ),
    ],
)
def test_without_recordings_the_page_says_why(folds, undrawn, tmp_path, spoil, said):
    spoil(tmp_path / "lists")
    status, page = pages_of(tmp_path)
    assert status == 0 and said in page.text and not page.all("audio", "src")


def test_a_list_whose_hash_nobody_knows_must_have_the_same_classes(folds, undrawn, tmp_path):
    (folds / "environment.json").unlink()
    assert pages_of(tmp_path)[1].all("audio", "src")
    path = tmp_path / "lists/eval_1.json"
    clips = json.loads(path.read_text())["data"]
    path.write_text(json.dumps({"data": clips[1:] + clips[:1]}))
    assert "the list is another one than in training" in pages_of(tmp_path)[1].text


def test_the_text_of_strangers_stays_text(folds, tmp_path):
    lists = tmp_path / "lists"
    (lists / "wav/eval_1_0.wav").rename(lists / "wav/<b>&.wav")
    text = (lists / "eval_1.json").read_text().replace("wav/eval_1_0.wav", "wav/<b>&.wav")
    (lists / "eval_1.json").write_text(text)
    (folds / "environment.json").unlink()
    labels = [{"mid": "/m/0", "name": HOSTILE}, {"mid": "/m/1", "name": "$\\frac"}]
    [description] = (folds / "seed_7/fold_1/last").glob("*.json")
    description.write_text(json.dumps({"labels": labels}))
    arguments = json.loads((folds / "arguments.json").read_text())
    link = {"href": "javascript:alert(1)", "text": "x", "file": "//evil.example/x"}
    arguments |= {"tags": HOSTILE, "name": link, "experiment": f"../../{HOSTILE}", "method": link}
    (folds / "arguments.json").write_text(json.dumps(arguments))
    status, page = pages_of(tmp_path)  # which refuses scripts and other places
    assert status == 0 and not {"b", "a"} & {tag for tag, a in page.found if "#" not in a.get("href", "")}
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\ud800", "\\ud800")
    assert page.row("-tags") == [shown] and [shown, "2", "50.0", "100.0", "66.7"] in page.rows
    assert page.all("audio", "aria-label") == ["wav/<b>&.wav"]


def test_what_is_damaged_is_told_on_the_page(folds, undrawn, tmp_path, capsys):
    (folds / "seed_7/fold_1/predictions.npz").write_bytes(b"PK")
    (folds / "environment.json").write_text("[")
    (folds / "passport.json").write_text("{}")
    (tmp_path / "runs/first_again").mkdir()
    (tmp_path / "runs/first_again/arguments.json").write_text("{")
    status, page = pages_of(tmp_path)
    told = capsys.readouterr().err.splitlines()
    assert status == 1 and len(told) == 4
    for name in ("predictions.npz", "environment.json", "passport.json", "first_again/arguments.json"):
        assert f"{name}: " in page.text and sum(name in line for line in told) == 1
    assert page.row("seed_7/fold_1") == ["75.00", "80.00", "80.00"]


def test_a_run_without_a_finished_cell_has_a_page(folds, undrawn, tmp_path):
    (folds / "seed_7/fold_1/result.json").unlink()
    status, page = pages_of(tmp_path)
    assert status == 0 and "No cell is finished" in page.text and page.row("-pretrained") == ["ast_small"]


def test_a_page_of_several_labels(undrawn, tmp_path):
    tests = {"test_at_best_epoch": {"test_mAP": 0.44}, "test_at_last_epoch": {"test_mAP": 0.41}}
    calibration = {"temperature": 1.25, "error_before": 0.08, "error": 0.03, "thresholds": [0.5] * 3}
    cell = result(0.3, 0.5, metric="mAP", watched="valid", calibration=calibration, **tests)
    scores = np.array([[0.9, 0.1, 0.0], [0.8, 0.9, 0.5], [0.7, 0.2, 0.1]], dtype=np.float32)
    targets = np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0]], dtype=np.uint8)
    predictions = {"scores": scores, "targets": targets}
    write_run(tmp_path / "runs/a", "w2v_fsd50k", {"seed_7": cell}, ("bark", "meow", "moo"), predictions)
    _, page = pages_of(tmp_path)
    assert ["seed_7", "50.00", "44.00", "41.00"] in page.rows  # valid, test at the chosen, at the last epoch
    assert ["seed_7", "1.250", "8.00", "3.00"] in page.rows
    # meow: of the scores 0.9, 0.2, 0.1 the second is one: 1/2
    assert ["meow", "1", "0.500"] in page.rows
    # surest first: 0.7 where it should be 0.2, then 0.9 where it should be 0.8
    wrong = [row[:2] for row in page.rows if row[0] in ("bark", "meow") and len(row) == 3 and row[1] != "1"]
    assert wrong[:2] == [["bark", "meow"], ["meow", "bark, moo"]]


def test_a_page_of_trials_plays_both_voices(tmp_path):
    lists = write_lists(tmp_path / "lists", train=2)
    names = [f"id{i // 2}/v/{i}.wav" for i in range(4)]
    for i, name in enumerate(names):
        write_wav(lists / name, seed=i)
    clips = [{"wav": name, "labels": "/m/00"} for name in names]
    (lists / "test.json").write_text(json.dumps({"data": clips}))
    trials = [(1, 0, 1), (1, 2, 3), (0, 0, 2), (0, 1, 3)]
    (lists / "trials.txt").write_text("".join(f"{t} {names[a]} {names[b]}\n" for t, a, b in trials))
    predictions = {"scores": np.array([0.9, 0.2, 0.6, 0.1]), "targets": np.array([1, 1, 0, 0])}
    places = {"path_list": str(lists), "path_trial": str(lists / "trials.txt")}
    cell = result(0.1, 0.06, metric="EER", higher_is_better=False)
    folder = write_run(tmp_path / "runs/a", "ast_voxceleb", {"seed_7": cell}, (), predictions, **places)
    more = folder / "seed_7/more_trials/trials_e.json"
    more.parent.mkdir()
    more.write_text(json.dumps({"last": {"eval_EER": 0.07, "eval_minDCF": 0.5}}))
    _, page = pages_of(tmp_path)
    hard = [row for row in page.rows if row[0] in ("one speaker", "two speakers")]
    assert hard[0] == ["one speaker", "0.200", names[2] + names[3]]
    assert hard[2] == ["two speakers", "0.600", names[0] + names[2]]
    assert len(page.all("audio", "src")) == 8 and len(set(page.all("audio", "src"))) == 4
    assert page.row("seed_7/more_trials/trials_e.json") == ["7.00", "50.00"]
    assert len(page.all("img", "src")) == 3


def test_without_jinja2_it_is_named(folds, undrawn, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["report", str(folds), "-html", str(tmp_path / "page")]) == 1
    assert capsys.readouterr().err == "error: jinja2 is not installed: python3 -m pip install jinja2\n"


# Several runs ---------------------------------------------------------------------------------------


def test_a_page_compares_runs_on_the_same_clips(undrawn, tmp_path, capsys):
    targets = one_hot(*[0, 1] * 20).astype(np.uint8)
    for name, wrong, size in (("a", 4, 100), ("b", 10, 5_000), ("c", 10, 900)):
        answers = [1 - i % 2 if i < wrong else i % 2 for i in range(40)]
        predictions = {"scores": one_hot(*answers), "targets": targets}
        cell = result(1 - wrong / 40, tuning={"method": name}, trainable_parameters=size)
        cells = {"seed_7/fold_1": cell}
        write_run(tmp_path / "runs" / name, "ast_esc50", cells, predictions=predictions, fold=1, lr=wrong)
    (tmp_path / "runs/c/seed_7/fold_1/predictions.npz").write_bytes(b"")
    (tmp_path / "runs/d").mkdir()
    (tmp_path / "runs/d/arguments.json").write_text("{")
    status, page = pages_of(tmp_path)
    err = capsys.readouterr().err
    assert status == 1 and err.count("\n") == 2
    for damaged in ("runs/c/seed_7/fold_1/predictions.npz", "runs/d/arguments.json"):
        assert str(tmp_path / damaged) in page.text and str(tmp_path / damaged) in err
    links = [href for href in page.all("a", "href") if not href.startswith("#")]
    assert links == [f"ast_esc50_{name}/index.html" for name in "abc"]
    for link in links:
        assert "../index.html" in read_page(tmp_path / "page" / link).all("a", "href")
    [behind] = [row for row in page.rows if row[0] == "b" and row[1].startswith("-")]
    low, high = map(float, behind[2].split(" to "))
    assert behind[1] == "-15.00" and low < -15 < high < 0 and behind[3] == "40 clips, 1 cell"
    assert page.row("-lr") == ["4", "10", "10"]
    assert "b 5,000" in page.all("img", "alt")[0]


# Parts ----------------------------------------------------------------------------------------------


def test_the_most_confused_pairs_worked_out_by_hand():
    scores = np.array([[1, 3, 0], [2, 9, 0], [0, 1, 2], [5, 0, 0]], dtype=float)
    cells = {"one": (scores, one_hot(0, 0, 1, 2, num_classes=3))}
    matrix = np.array([[0, 2, 0], [0, 0, 1], [1, 0, 0]])
    pairs = confused_pairs(matrix, cells, 2)
    assert [pair[:4] for pair in pairs] == [(0, 1, 2, 1.0), (1, 2, 1, 1.0)]
    assert pairs[0].rows == [("one", 1), ("one", 0)]  # 9 - 2 before 3 - 1


def test_a_clip_without_a_class_is_no_mistake_and_trials_are_of_both_kinds():
    cells = {"one": (np.array([[0.9, 0.1], [0.8, 0.1]]), np.array([[0, 0], [0, 1]]))}
    assert [mistake.row for mistake in surest_mistakes(cells, 5)] == [("one", 1)]
    trials = {"one": (np.array([0.1, 0.5, 0.9, 0.2]), np.array([1, 1, 0, 0]))}
    assert [trial.row[1] for trial in hardest_trials(trials, 2)] == [0, 2]


def test_names_of_folders_and_in_figures():
    assert folder_name("../../etc/passwd") == "_.._etc_passwd"
    assert folder_name("a/b", ["a_b", "a_b_2"]) == "a_b_3" and folder_name("..") == "run"
    assert as_is("$x$\n" + "y" * 99) == "\\$x\\$\\n" + "y" * 52 + "..."
