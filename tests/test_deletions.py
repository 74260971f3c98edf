"""Code deletes only files that it created itself: those that it recorded, or whose names are its own."""

import ast
import json
import sys
from collections import Counter

import pytest

import demo
from ipet.cache import build_cache
from ipet.checkpoint import remove_unfinished
from ipet.description import FORMER_CONFIG, FORMER_WEIGHTS
from ipet.extension import set_results_aside
from ipet.logbook import record_start
from ipet.run_page import EXCERPTS, Excerpts
from ipet.saved import remove_adapter, write_saved

from helpers import ROOT, write_wav

sys.path.append(str(ROOT / "data"))

import synthesize
from synth.writing import RECEIPT

# Every call that deletes or moves files, and what it may touch: only what this program has written, and
# recorded as its own or under a name that nobody else would choose.
REGISTERED = {
    "data/preparation/output.py": (2, "its temporary files, and the lists that it writes"),
    "data/synth/writing.py": (5, "its temporary file, and the files that a receipt records"),
    "demo.py": (1, "runs that the demo has recorded"),
    "ipet/cache.py": (1, "its shards and indices, by their full names"),
    "ipet/checkpoint.py": (5, "its temporary files, and a run's training states"),
    "ipet/extension.py": (2, "a run's results, which are renamed to free names"),
    "ipet/logbook.py": (1, "error_rank*.log of the run"),
    "ipet/loggers/neptune.py": (1, "offline runs of a cell, which are written anew"),
    "ipet/loggers/tensorboard.py": (1, "event files of a cell, which are written anew"),
    "ipet/loggers/wandb.py": (2, "offline runs of a cell, which are written anew, and its cache"),
    "ipet/run_page.py": (2, "excerpts that an earlier page has recorded, and this record"),
    "ipet/saved.py": (3, "an adapter's files, those of schema 1 if they are one"),
    "ipet/serve.py": (1, "a sound that it wrote into its folder of uploads"),
    "ipet/serve_gate.py": (2, "uploads that it has recorded, and the folder that it created"),
    "ipet/starting_lists.py": (2, "its temporary file, and the lists that it writes"),
    "pretraining/ast_small.py": (2, "its temporary file and its state"),
    "pretraining/corpus.py": (2, "its temporary folder"),
    "pretraining/wav2vec2_small.py": (1, "its state"),
    "tests/torture.py": (1, "its own report"),
}
DELETING = {"unlink", "rmtree", "rmdir", "removedirs", "rename", "renames", "move"}


def deletions(path):
    """Return how many calls of a module delete or move files."""
    found = 0
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, name = ast.unparse(node.func.value), node.func.attr
            replaces = name == "replace" and (owner == "os" or len(node.args) == 1)  # of text there are two
            removes = name == "remove" and owner == "os"  # others are of lists
            found += name in DELETING or removes or (replaces and not node.keywords)
    return found


def test_every_deletion_is_registered_with_its_reason():
    folders = ("ipet", "data", "pretraining", "benchmarks", "examples", "ast_*", "w2v_*")
    paths = [path for folder in folders for path in ROOT.glob(f"{folder}/**/*.py")]
    found = Counter(
        {
            str(p.relative_to(ROOT)): deletions(p)
            for p in [*paths, ROOT / "demo.py", ROOT / "tests/torture.py"]
        }
    )
    assert dict(+found) == {name: number for name, (number, _) in REGISTERED.items()}


def test_saving_an_adapter_leaves_files_of_others(tmp_path):
    for name in (FORMER_CONFIG, FORMER_WEIGHTS, "notes.txt"):
        (tmp_path / name).write_text('{"of": "another program"}')
    write_saved(tmp_path, {}, {})
    remove_adapter(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [FORMER_CONFIG, FORMER_WEIGHTS, "notes.txt"]
    )


def test_demo_deletes_the_runs_that_it_recorded(tmp_path):
    for name in ("ipet", "linear", "mine", "ipet_2"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    with pytest.raises(SystemExit, match=r"runs/ipet: a run that no demo recorded; expected another -out"):
        demo.clear(tmp_path / "runs", ["ipet", "linear"])
    (tmp_path / "runs" / demo.SIGN).write_text("The demo deletes these runs:\nipet\nlinear\n../..\nmine\n")
    demo.clear(tmp_path / "runs", ["ipet"])
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["ipet_2", demo.SIGN, "mine"]
    assert (tmp_path / "runs" / demo.SIGN).read_text().splitlines()[1:] == ["ipet"]


def test_generating_a_set_anew_leaves_files_of_others(tmp_path, capsys):
    folder = tmp_path / "set"
    command = ["esc50", str(folder), "-size", "tiny", "-processes", "1", "-refresh"]
    assert synthesize.main(command) == 0
    (folder / "audio/mine.wav").write_bytes(b"mine")
    receipt = json.loads((folder / RECEIPT).read_text())
    (folder / RECEIPT).write_text(json.dumps({**receipt, "code": "of another version"}))
    assert synthesize.main(command) == 1
    assert "holds files that were not made here" in capsys.readouterr().err
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["mine.wav"]
    for files in ('["audio/mine.wav", "../a.wav"]', '["/audio/mine.wav"]', "7"):
        (folder / RECEIPT).write_text(f'{{"files": {files}}}')
        assert synthesize.main(command) == 1 and (folder / "audio/mine.wav").is_file()


def test_cache_leaves_files_of_others(tmp_path):
    write_wav(tmp_path / "a.wav")
    others = [tmp_path / "cache" / name for name in ("ipet_notes.index", "ipet_of_mine.int16.txt")]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    build_cache(tmp_path / "cache", [tmp_path / "a.wav"], 1, progress=False)
    assert all(path.read_text() == "mine" for path in others)


def test_unfinished_files_of_others_stay(tmp_path):
    for name in (".novel.unfinished", ".novel.chapter_2.unfinished", "a.json.0a1b2c3d.unfinished"):
        (tmp_path / name).write_text("mine")
    (tmp_path / ".a.json.0a1b2c3d.unfinished").write_text("ours")
    assert remove_unfinished(tmp_path) == 1 and len(list(tmp_path.iterdir())) == 3


def test_only_logs_of_errors_of_ranks_are_deleted(tmp_path):
    for name in ("error_rank0.log", "error_rank0_for_the_report.log"):
        (tmp_path / name).write_text("Traceback")
    record_start(tmp_path, ROOT / "ast_esc50", {})
    assert not (tmp_path / "error_rank0.log").exists()
    assert (tmp_path / "error_rank0_for_the_report.log").exists()


def test_results_that_are_set_aside_twice_are_kept(tmp_path):
    cell = tmp_path / "seed_1"
    for i in range(2):
        (cell / "more_trials").mkdir(parents=True)
        (cell / "more_trials/e.json").write_text(str(i))
        (cell / "result.json").write_text(str(i))
        (cell / "training_state.pt").touch()
        set_results_aside(tmp_path, 3)
    assert [(cell / name).read_text() for name in ("result_3_epochs.json", "result_3_epochs_2.json")] == [
        "0",
        "1",
    ]
    for i, name in enumerate(("more_trials_3_epochs", "more_trials_3_epochs_2")):
        assert (cell / name / "e.json").read_text() == str(i)


def test_page_replaces_and_deletes_its_own_excerpts_alone(tmp_path, monkeypatch):
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "001.flac").write_text("mine")
    monkeypatch.setattr("ipet.run_page.write_excerpt", lambda path, source: path.write_text(source.name))
    monkeypatch.setattr(Excerpts, "root", tmp_path)

    def page(*names):
        excerpts = Excerpts(None, {}, tmp_path, 5)
        files = [excerpts.sound(tmp_path / name).file for name in names]
        excerpts.remove_others()
        return files

    assert page("a", "b") == ["clips/002.flac", "clips/003.flac"]
    (clips / "004.flac").write_text("mine, too")
    assert page("c") == ["clips/002.flac"]
    assert sorted(path.name for path in clips.iterdir()) == ["001.flac", "002.flac", "004.flac", EXCERPTS]
    assert (clips / "001.flac").read_text() == "mine" and (clips / "002.flac").read_text() == "c"
    (clips / EXCERPTS).write_text('["../a.wav", "001.flac/..", 7]')
    (tmp_path / "a.wav").touch()
    page()
    assert (tmp_path / "a.wav").exists() and (clips / "001.flac").exists()
