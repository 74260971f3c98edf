"""Every command that a document shows exists, and its flags are understood; some are run as they stand."""

import argparse
import contextlib
import importlib
import re
import sys
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser as torchrun_parser

from ipet import __main__
from ipet.arguments import Parser

from documented import DOCUMENTS, Command, blocks, commands, spans
from helpers import ALL_EXPERIMENTS, ROOT, experiment, load_script

FILES = {  # scripts of the repository, and the function of theirs that reads a command line
    "data/prepare.py": "get_args",
    "data/synthesize.py": "get_args",
    "demo.py": "get_args",
}
PARSED_BY_MAIN = ("pretraining.ast_small", "pretraining.corpus", "pretraining.handmade", "tests.fuzz")
PARSED_BY_MAIN += ("pretraining.wav2vec2_small",)
# Programs of others; what is the repository's among their arguments is checked in ``check_others``.
OTHERS = {
    "[",
    "cp",
    "curl",
    "docker",
    "exit",
    "export",
    "git",
    "head",
    "hf",
    "ls",
    "mkdir",
    "scontrol",
    "source",
}
OTHERS |= {"tensorboard", "wandb", "mlflow"}
PLACES = {  # what stands for a name of the reader's
    "EXPERIMENT": "ast_esc50",
    "ADAPTER": "adapter",
    "$ADAPTER": "adapter",
    "PART": "scoring",
    "N": "3",
}
LEFT_OUT = {"...", "FLAGS"}  # stand for further arguments
FOREIGN = {"--signal", "--requeue", "--gpus", "-k", "--no-deps", "-h", "-9"}  # of pytest, pip, SLURM ...
FOREIGN |= {"--build-arg", "--ipc", "--shm-size", "--user", "-t", "-e", "-v"}  # of Docker


class Understood(Exception):
    """A command line has been parsed; what comes next would be work."""


@contextlib.contextmanager
def parsing_alone(monkeypatch):
    """Inside the block a parsed command line raises ``Understood``."""
    with monkeypatch.context() as patched:
        for kind in (argparse.ArgumentParser, Parser):
            parse = kind.parse_args

            def parse_alone(self, args=None, namespace=None, parse=parse):
                raise Understood(parse(self, args, namespace))

            patched.setattr(kind, "parse_args", parse_alone)
        yield


@pytest.fixture(scope="module")
def scripts():
    """The repository's scripts as modules."""
    return {path: load_script(ROOT / path, f"{Path(path).stem}_for_documents") for path in FILES}


def check(command: Command, scripts, monkeypatch) -> None:
    """Raise ValueError, or SystemExit of a parser, where a command cannot be given as it stands."""
    words = [PLACES.get(word, word) for word in command.words if word not in LEFT_OUT]
    if words[0] in ("srun", "time", "nohup"):
        words = words[1:]
    program, arguments = words[0], words[1:]
    if program in ("python3", ".venv/bin/python"):
        check_python(command, arguments, scripts, monkeypatch)
    elif program == "ipet":
        check_ipet(command, arguments, monkeypatch)
    elif program == "torchrun":
        own = torchrun_parser().parse_args(arguments if "main.py" in arguments else [*arguments, "main.py"])
        if "main.py" in arguments:
            check_main(command, own.training_script_args)
    elif program == "make":
        check_make(arguments)
    elif program == "sbatch":
        if f"`{arguments[0]}`" not in command.document.read_text():
            raise ValueError(f"no script {arguments[0]} is shown")
    elif program == "cd":
        if command.folder is not None and not (ROOT / command.folder).is_dir():
            raise ValueError(f"no folder {command.folder}")
    elif program in OTHERS:
        check_others(program, arguments)
    else:
        raise ValueError(f"{program} is not a command that this test knows")


def check_python(command: Command, arguments: list[str], scripts, monkeypatch) -> None:
    """``python3 FILE ...`` or ``python3 -m MODULE ...``."""
    if arguments == ["--version"]:
        return
    name, *rest = arguments[1:] if arguments[0] == "-m" else arguments
    if arguments[0] != "-m":
        if name == "main.py":
            check_main(command, rest)
        elif name in FILES:
            getattr(scripts[name], FILES[name])(rest)
        elif not (ROOT / name).is_file() or any(word.startswith("-") for word in rest):
            raise ValueError(f"no file {name}, or flags that nobody checks")
    elif name == "ipet":
        check_ipet(command, rest, monkeypatch)
    elif name == "benchmarks":
        importlib.import_module("benchmarks.__main__").get_parts(rest)
    elif name == "tests.torture":
        parts = importlib.import_module("tests.torture").PARTS
        if not set(rest) <= set(parts):
            raise ValueError(f"torture has the parts {', '.join(parts)}")
    elif name == "pretraining.probe":
        if rest:
            check_main(command._replace(folder=rest[0], named=True), rest[1:])
    elif name in PARSED_BY_MAIN:
        if rest or not command.named:
            with parsing_alone(monkeypatch), pytest.raises(Understood), monkeypatch.context() as patched:
                patched.setattr(sys, "argv", [name, *rest])
                importlib.import_module(name).main()
    elif name == "pytest":
        missing = [word for word in rest if word.startswith("tests/") and not (ROOT / word).is_file()]
        if missing:
            raise ValueError(f"no file {missing[0]}")
    elif name == "pip":
        for word in rest:
            if word.endswith(".txt") and not (ROOT / word).is_file():
                raise ValueError(f"no file {word}")
    elif importlib.util.find_spec(name) is None:
        raise ValueError(f"no module {name}")


def check_main(command: Command, arguments: list[str]) -> None:
    """``main.py`` of the experiment that ``cd`` led to; of one of them where nothing says which."""
    folder = command.folder or "ast_esc50"
    if folder not in ALL_EXPERIMENTS:
        raise ValueError(f"{folder} is no experiment")
    if (command.named or "..." in command.words) and "-name" not in arguments:
        arguments = ["-name", "x", *arguments]
    with experiment(folder) as load:
        load("arguments").get_args(arguments)


def check_ipet(command: Command, arguments: list[str], monkeypatch) -> None:
    """A command of ``python3 -m ipet``, and the flags of ``main.py`` behind ``--``."""
    if not arguments or arguments[0] in ("-h", "--version", "COMMAND"):
        return
    if arguments[0] not in __main__.COMMANDS:
        raise ValueError(f"ipet has no command {arguments[0]}")
    if (command.named and len(arguments) == 1) or arguments[1:] == ["-out", "DIR"]:
        return  # its name, in a sentence
    if command.named and arguments[-1].startswith("-"):  # a flag without its value
        if arguments[-1] not in flags_of(lambda: __main__.COMMANDS[arguments[0]]([]), monkeypatch):
            raise ValueError(f"{arguments[0]} has no flag {arguments[-1]}")
        return
    if command.named and arguments[0] == "report" and arguments[1].startswith("-"):
        arguments = ["report", "runs", *arguments[1:]]
    with parsing_alone(monkeypatch), pytest.raises(Understood):
        __main__.COMMANDS[arguments[0]](arguments[1:])
    if "--" in arguments:
        further = arguments[arguments.index("--") + 1 :]
        folder = arguments[1] if arguments[0] == "sweep" else None
        check_main(command._replace(folder=folder, named=True), further)


def check_make(arguments: list[str]) -> None:
    """A target of the Makefile, and variables that it lets one set."""
    text = (ROOT / "Makefile").read_text()
    for word in arguments:
        name, sign, _ = word.partition("=")
        if not re.search(rf"^{name} \?=" if sign else rf"^{name}:", text, re.MULTILINE):
            raise ValueError(f"the Makefile has no {word}")


def check_others(program: str, arguments: list[str]) -> None:
    """Of a program that is not ours: files that must be in the repository."""
    if program == "cp" and not (ROOT / arguments[-1]).parent.is_dir():
        raise ValueError(f"no folder for {arguments[-1]}")
    if program == "source" and not arguments[0].endswith(".venv/bin/activate"):
        raise ValueError(f"source {arguments[0]}")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_document_is_understood(document, scripts, monkeypatch, capsys):
    for command in commands(document):
        try:
            check(command, scripts, monkeypatch)
        except (ValueError, SystemExit, pytest.fail.Exception) as error:
            said = capsys.readouterr().err
            pytest.fail(f"{command.where}: {said or error}")


def test_documents_have_commands_and_a_wrong_one_is_told(tmp_path, scripts, monkeypatch, capsys):
    assert sum(len(commands(document)) for document in DOCUMENTS) > 150
    shown = [
        "python3 -m ipet predict adapter a.wav -tops 3",
        "python3 -m ipet listen adapter",
        "python3 data/prepare.py esc51 /data",
        "cd ast_esc51 && python3 main.py -name x",
        "(cd ast_esc50 && python3 main.py -name x -epochs 3)",
        "python3 demos.py",
        "make tea",
        "make demo COLOUR=red",
        "torchrun --processes 3 main.py -name x",
        "python3 -m pytest tests/test_nothing.py",
    ]
    for line in shown:
        document = ROOT / "docs" / "index.md"
        wrong = commands_of(document, line)
        with pytest.raises((ValueError, SystemExit, pytest.fail.Exception)):
            for command in wrong:
                check(command, scripts, monkeypatch)


def commands_of(document, line):
    """The commands of one line, as if it stood in a document."""
    from documented import split

    return split(document, 1, line, {}, None)[0]


# Flags in sentences --------------------------------------------------------------------------------


def flags_of(call, monkeypatch) -> set[str]:
    """The flags of the parser that a function makes first."""
    with monkeypatch.context() as patched:

        def capture(self, args=None, namespace=None):
            raise Understood(self)

        patched.setattr(argparse.ArgumentParser, "parse_known_args", capture)
        try:
            call()
        except Understood as understood:
            [parser] = understood.args
            return {flag for action in parser._actions for flag in action.option_strings}
    raise AssertionError("it parses nothing")


@pytest.fixture(scope="module")
def known_flags(scripts):
    """Every flag of every program."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        known = {flag for action in torchrun_parser()._actions for flag in action.option_strings}
        for name in ("ast_esc50", "ast_voxceleb", "w2v_esc50", "w2v_voxceleb"):
            with experiment(name) as load:
                known |= flags_of(lambda: load("arguments").get_args([]), monkeypatch)
        for path, function in FILES.items():
            known |= flags_of(lambda: getattr(scripts[path], function)([]), monkeypatch)  # noqa: B023
        for command in __main__.COMMANDS.values():
            known |= flags_of(lambda: command([]), monkeypatch)  # noqa: B023
        for part in importlib.import_module("benchmarks.__main__").PARTS.values():
            parser = argparse.ArgumentParser()
            part.add_flags(parser)
            known |= {flag for action in parser._actions for flag in action.option_strings}
    return known | FOREIGN | {"--", "-json", "-seconds"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_flag_that_a_sentence_names_exists(document, known_flags):
    for line, paragraph in blocks(document.read_text())[1]:
        for span in spans(paragraph):
            if re.match(r"--?[a-zA-Z]", span):
                words = re.sub(r"\$\(.*?\)", "", span).split()
                flags = [word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z_]", word)]
                unknown = [flag for flag in flags if flag not in known_flags]
                assert not unknown, f"{document.relative_to(ROOT)}, line {line}: {unknown[0]} in `{span}`"
