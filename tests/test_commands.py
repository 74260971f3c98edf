"""What every command promises: an example that is understood, one line for an error, no network."""

import os
import re
import shlex
import socket
from pathlib import Path

import pytest

from ipet import __main__
from ipet.parsing import Parser

from helpers import ROOT, load_script

SCRIPTS = {
    f"data/{name}.py": load_script(ROOT / f"data/{name}.py", f"{name}_for_commands")
    for name in ("prepare", "synthesize")
}
BEGINNING = {**{f"-m ipet {name}": [name] for name in __main__.COMMANDS}, **{path: [] for path in SCRIPTS}}


def call(command, words):
    """The command with these words behind it: its exit status."""
    run = SCRIPTS[command].main if command in SCRIPTS else __main__.main
    try:
        return run([*BEGINNING[command], *words])
    except SystemExit as error:
        return error.code


class Understood(Exception):
    """A command line has been parsed; what comes next would be work."""


@pytest.mark.parametrize("command", BEGINNING)
def test_the_help_of_a_command_has_an_example_that_it_understands(command, monkeypatch, capsys):
    assert call(command, ["-h"]) == 0
    said = capsys.readouterr().out.replace("\\\n", "")
    examples = re.findall(rf"^  python3 {command} (.*)$", said, re.MULTILINE)
    assert examples
    parse = Parser.parse_args

    def parse_alone(self, args=None, namespace=None):
        raise Understood(parse(self, args, namespace))

    monkeypatch.setattr(Parser, "parse_args", parse_alone)
    for example in examples:
        with pytest.raises(Understood):
            call(command, shlex.split(example))


def test_the_help_of_all_commands_names_each_and_has_an_example(capsys):
    assert __main__.main(["-h"]) == 0
    said = capsys.readouterr().out
    assert (
        all(f"\n  {name} " in said for name in __main__.COMMANDS) and "\nexample:\n  python3 -m ipet " in said
    )


THERE = str(ROOT / "LICENSE")  # a file, whatever is in it
WRONG = {  # behind each command: what is not there
    "-m ipet report": ["nowhere"],
    "-m ipet compare": ["nowhere", "elsewhere"],
    "-m ipet rerun": ["nowhere/passport.json"],
    "-m ipet reproduce": ["ast_nothing"],
    "-m ipet sweep": ["ast_nothing", "-grid", "lr=1e-3,1e-4"],
    "-m ipet predict": ["nowhere/at/all", THERE],
    "-m ipet embed": ["nowhere/at/all", THERE, "-out", "a.npz"],
    "-m ipet verify": ["nowhere/at/all", THERE, THERE],
    "-m ipet inspect": ["nowhere/at/all", "eval_1.json"],
    "-m ipet migrate": ["nowhere"],
    "-m ipet serve": ["nowhere", "-port", "0"],
    "-m ipet push": ["nowhere", "somebody/sounds"],
    "-m ipet export": ["nowhere/at/all", "exported"],
    "-m ipet doctor": ["nowhere"],
    "data/prepare.py": ["folder", "nowhere"],
    "data/synthesize.py": ["esc50", "out", "-size", "huge"],
}


@pytest.mark.parametrize("command", BEGINNING)
@pytest.mark.parametrize("words", ["what is not there", "a flag that is not known"])
def test_an_error_is_one_line_and_an_exit_status_without_a_network(
    command, words, monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", None)
    assert call(command, WRONG[command] if words.startswith("what") else ["-teeth", "3"]) in (1, 2)
    said, error = capsys.readouterr()
    assert said == "" and error.count("\n") == 1 and re.match(r"(error|\w+\.py \w+): .{20}", error), error
    assert not list(tmp_path.iterdir())


EARLY = {  # what is wrong, seen before a model is loaded: the command's words, and what is said
    "predict, no file": ("predict A nowhere.wav", "nowhere.wav: no such file or folder"),
    "predict, an empty folder": (
        "predict A empty",
        "empty: holds no recording, by the suffixes of audio, such as .flac",
    ),
    "predict, a second file": ("predict A a.wav b.wav", "b.wav: no such file or folder"),
    "predict, a CSV that is a folder": ("predict A a.wav -csv empty", "empty: a folder; expected a file"),
    "predict, JSON lines below a file": (
        "predict A a.wav -jsonl a.wav/b/c",
        "a.wav/b/c: {0}/a.wav is no fold",
    ),
    "predict, a folder of others": (
        "predict A a.wav -csv locked/x/a.csv",
        "the folder {0}/locked may not be",
    ),
    "predict, a file of others": ("predict A a.wav -csv fixed.csv", "fixed.csv: may not be written"),
    "embed, no file": ("embed A nowhere.wav -out a.npz", "nowhere.wav: no such file or folder"),
    "embed, a folder of others": ("embed A a.wav -out locked/a.npz", "the folder {0}/locked may not be"),
    "embed, another ending": (
        "embed A a.wav -out a.txt",
        "a.txt: ends with '.txt'; expected .npz or .parquet",
    ),
    "verify, no file": ("verify A a.wav nowhere.wav", "nowhere.wav: no such file"),
    "verify, a folder": ("verify A a.wav empty", "empty: not a file"),
    "verify, one file": ("verify A a.wav", "1 recordings; expected two to compare, or -trials FILE"),
    "verify, no trials": ("verify A -trials nowhere.txt", "nowhere.txt: no such list of trials"),
    "verify, other trials": ("verify A -trials a.wav", "a.wav: "),
    "verify, a folder of others": ("verify A a.wav a.wav -csv locked/a.csv", "the folder {0}/locked may not"),
}


@pytest.mark.parametrize("case", EARLY)
def test_what_a_command_cannot_read_or_write_is_told_before_a_model_is_loaded(
    case, monkeypatch, capsys, tmp_path
):
    words, said = EARLY[case]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ipet.inference.load", None)  # whoever calls it gets a traceback
    shut = {"locked", "fixed.csv"}  # root may write everywhere
    may = os.access
    monkeypatch.setattr(
        os, "access", lambda path, *a, **k: Path(path).name not in shut and may(path, *a, **k)
    )
    for name in ("empty", "locked"):
        (tmp_path / name).mkdir()
    for name in ("a.wav", "fixed.csv"):
        (tmp_path / name).write_bytes(b"\xff")
    before = sorted(tmp_path.rglob("*"))
    assert __main__.main(words.split()) == 1
    out, error = capsys.readouterr()
    assert out == "" and error.count("\n") == 1 and said.format(tmp_path) in error, error
    assert sorted(tmp_path.rglob("*")) == before
