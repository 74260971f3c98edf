"""What every command promises: an example that is understood, one line for an error, no network."""

import re
import shlex
import socket

import pytest

from ipet import __main__
from ipet.arguments import Parser

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


WRONG = {  # behind each command: what is not there
    "-m ipet report": ["nowhere"],
    "-m ipet compare": ["nowhere", "elsewhere"],
    "-m ipet rerun": ["nowhere/passport.json"],
    "-m ipet sweep": ["ast_nothing", "-grid", "lr=1e-3,1e-4"],
    "-m ipet predict": ["nowhere/at/all", "a.wav"],
    "-m ipet embed": ["nowhere/at/all", "a.wav", "-out", "a.npz"],
    "-m ipet verify": ["nowhere/at/all", "a.wav", "b.wav"],
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
