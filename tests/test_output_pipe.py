"""A command whose reader goes, as ``head`` does, ends quietly with status 141, and its files are whole."""

import json
import os
import subprocess
import sys

import pytest

from ipet.interruption import Stopped, StopRequest
from ipet.output_pipe import READER_GONE, State

from helpers import ROOT, result, tiny, write_lists, write_run, write_wav

GUARD = "import sys; from ipet.output_pipe import guard_output; guard_output({finish}); "


def without_reader(*command, cwd=ROOT, both=False):
    """Run a command whose output nobody reads; ``both``: nor its errors. Returns status and errors."""
    read, write = os.pipe()
    os.close(read)
    errors = write if both else subprocess.PIPE
    words = [sys.executable, *map(str, command)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(words, cwd=cwd, stdout=write, stderr=errors, text=True, timeout=240, env=env)
    os.close(write)
    return done.returncode, done.stderr or ""


COMMANDS = {
    "the list of commands": (["-m", "ipet", "-h"], "."),
    "a version": (["-m", "ipet", "--version"], "."),
    "help of a command": (["-m", "ipet", "report", "-h"], "."),
    "help of a command that ends at once": (["-m", "ipet", "predict", "-h"], "."),
    "help of an experiment": (["main.py", "-h"], "ast_esc50"),
    "help of prepare": (["data/prepare.py", "-h"], "."),
    "help of synthesize": (["data/synthesize.py", "-h"], "."),
    "help of the demo": (["demo.py", "-h"], "."),
}


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("name", COMMANDS)
def test_command_without_a_reader_ends_quietly(name, both):
    # B13
    words, folder = COMMANDS[name]
    assert without_reader(*words, cwd=ROOT / folder, both=both) == (READER_GONE, "")


def test_lists_are_written_though_nobody_reads_the_output(tmp_path):
    # B13: prepare.py ... | head
    for name in "ab":
        for i in range(6):
            write_wav(tmp_path / f"data/{name}/{i}.wav", seed=hash((name, i)) % 1000)
    command = ["data/prepare.py", "folder", tmp_path / "data", "-out", tmp_path / "lists"]
    assert without_reader(*command) == (READER_GONE, "")
    assert json.loads((tmp_path / "lists/train.json").read_text())["data"]


def test_report_is_written_though_nobody_reads_the_output(tmp_path):
    # B13
    write_run(tmp_path / "runs/IPET/t/one", "ast_gtzan", {"seed_7": result(0.5, 0.8)})
    command = ["-m", "ipet", "report", tmp_path / "runs", "-out", tmp_path / "out"]
    status, told = without_reader(*command)
    assert status == READER_GONE and "Traceback" not in told and "Broken pipe" not in told
    assert (tmp_path / "out/table.md").is_file()


def test_training_is_saved_before_it_ends_for_want_of_a_reader(tmp_path):
    # B13: main.py ... | head
    lists = write_lists(tmp_path / "lists", train=4, valid=3, test=3)
    flags = tiny(lists, tmp_path, "-frame_length", 40, "-embedding_prompt_num", 3)
    status, told = without_reader("main.py", *flags, "-epoch", 2, cwd=ROOT / "w2v_speechcommands")
    assert status == READER_GONE
    assert told.count("\n") == 1 and "stopped by SIGPIPE; all is saved: add -resume to go on" in told
    assert list((tmp_path / "IPET/t").rglob("arguments.json"))


def test_reader_that_goes_in_a_training_ends_it_like_a_signal():
    # B13
    before = list(State.listeners)
    with StopRequest() as stop:
        State.listeners[-1]()
        assert Stopped(stop.number).status == READER_GONE
    assert State.listeners == before


@pytest.mark.parametrize(
    "finish, body, completed",
    [
        (False, "print('x' * 100_000)", False),
        (False, "print('x', flush=True)", False),
        (False, "print('x')", True),  # it is buffered until the end
        (True, "print('x' * 100_000)", True),
        (True, "print('x', flush=True); print('y', flush=True)", True),
        (False, "print('x', file=sys.stderr)", False),
        (False, "__import__('subprocess').run(['echo', 'x'])", True),
    ],
)
def test_command_ends_at_once_or_completes_its_work(tmp_path, finish, body, completed):
    # B13
    code = f"{GUARD.format(finish=finish)} {body}; open({str(tmp_path / 'done')!r}, 'w')"
    status, _ = without_reader("-c", code, both=True)
    assert (tmp_path / "done").exists() == completed
    assert status == (0 if "subprocess" in body else READER_GONE)


@pytest.mark.parametrize("flags", [[], ["-u"]])
def test_output_of_a_guarded_command_is_that_of_any(flags):
    code = (
        GUARD.format(finish=False)
        + "print('gr\\u00fc\\u00dfe'); print(1, end=''); print('e', file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, *flags, "-c", code], capture_output=True, cwd=ROOT, env=environment
    )
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, "gr\u00fc\u00dfe\n1", b"e\n")


def test_exit_status_and_traceback_of_a_guarded_command_stay():
    done = subprocess.run(
        [sys.executable, "-c", GUARD.format(finish=True) + "print('a'); raise ValueError('b')"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 1 and done.stdout == "a\n" and done.stderr.endswith("ValueError: b\n")
