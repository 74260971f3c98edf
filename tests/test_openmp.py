"""How threads wait is chosen by the machine's load, before torch is loaded, and a user's choice is kept."""

import subprocess
import sys

import pytest

from ipet import openmp

from helpers import ROOT, tiny, write_lists

STAT = """cpu  999 0 0 0 0 0 0 0 0 0
cpu0 {0} 0 0 1000 7 0 0 0 5 5
cpu1 10 {1} 20 1000 7 3 2 {2} 5 5
cpu7 5000 0 0 0 0 0 0 0 0 0
intr 1 2 3
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of two cores; a function that sets how many of them others use, and a container's quota."""
    monkeypatch.setattr(openmp, "STAT", tmp_path / "stat")
    monkeypatch.setattr(openmp, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr("os.sysconf", lambda _: 100)
    monkeypatch.setattr("os.times", lambda: (now[0] * own[0], 0.0))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    now, own = [0.0], [0.0]

    def set_up(busy=0.0, quota=None, by_this_process=0.0):
        own[0] = by_this_process
        if quota:
            (tmp_path / "cpu.max").write_text(quota)

        def write():
            ticks = int(100 * now[0] * (busy + by_this_process))
            (tmp_path / "stat").write_text(
                STAT.format(ticks // 2, ticks // 4, ticks - ticks // 2 - ticks // 4)
            )

        def sleep(seconds):
            now[0] += seconds
            write()

        monkeypatch.setattr("time.sleep", sleep)
        monkeypatch.setattr("time.monotonic", lambda: now[0])
        write()

    return set_up


@pytest.mark.parametrize(
    "busy, own, found",
    [
        (0.0, 0.0, {"GOMP_SPINCOUNT": "10000"}),
        (0.3, 0.0, {"GOMP_SPINCOUNT": "10000"}),  # a daemon
        (0.0, 1.0, {"GOMP_SPINCOUNT": "10000"}),  # this process itself
        (0.6, 0.0, {"OMP_WAIT_POLICY": "passive"}),
        (2.0, 0.0, {"OMP_WAIT_POLICY": "passive"}),
    ],
)
def test_threads_sleep_only_where_others_use_the_cores(machine, capsys, busy, own, found):
    # B10
    machine(busy, by_this_process=own)
    environment = {}
    openmp.limit_spinning(environment)
    assert environment == found
    told = capsys.readouterr()
    assert told.out == ""
    if "OMP_WAIT_POLICY" in found:
        assert told.err == (
            f"note: other programs use {busy:.1f} of 2 cores: threads sleep while they wait "
            "(OMP_WAIT_POLICY=passive); OMP_WAIT_POLICY=active has them spin\n"
        )
    else:
        assert told.err == ""


@pytest.mark.parametrize(
    "quota, sleeps", [("100000 100000", True), ("max 100000", False), ("400000 100000", False), ("?", False)]
)
def test_threads_sleep_in_a_container_of_fewer_cores_than_threads(machine, capsys, quota, sleeps):
    # B10
    machine(quota=quota)
    environment = {}
    openmp.limit_spinning(environment)
    assert ("OMP_WAIT_POLICY" in environment) == sleeps
    assert ("this container may use 1 of 2 cores" in capsys.readouterr().err) == sleeps


@pytest.mark.parametrize(
    "environment",
    [
        {"OMP_WAIT_POLICY": "active"},
        {"GOMP_SPINCOUNT": "7"},
        {"KMP_BLOCKTIME": "0"},
        {"OMP_NUM_THREADS": "1"},  # nobody to wait for
    ],
)
def test_choice_of_the_user_is_kept(machine, capsys, environment):
    # B10
    machine(busy=2.0)
    before = dict(environment)
    openmp.limit_spinning(environment)
    assert environment == before and capsys.readouterr() == ("", "")


def test_nothing_is_measured_once_torch_is_loaded(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", object())
    machine(busy=2.0)
    environment = {}
    openmp.limit_spinning(environment)
    assert environment == {}


def test_unreadable_load_counts_as_idle(machine, tmp_path):
    machine(busy=2.0)
    openmp.STAT.write_text("cpu0 what\n")
    assert openmp.busy_ticks() == 0
    openmp.STAT.unlink()
    assert openmp.busy_ticks() == 0


BEFORE_TORCH = """
import os, runpy, sys
from ipet import openmp
chosen = []
def limit_spinning(*_):
    chosen.append("torch" in sys.modules)
openmp.limit_spinning = limit_spinning
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            assert chosen == [False], chosen
            print("chosen before torch")
            sys.stdout.flush()
            os._exit(0)
sys.meta_path.insert(0, Stop())
sys.path.insert(0, os.getcwd())
sys.argv = {argv}
{run}
"""


@pytest.mark.parametrize("name", ["an experiment", "a command"])
def test_commands_choose_before_torch_is_loaded(name, tmp_path):
    # B10: libgomp reads the variables when it is loaded
    folder, argv, run = (
        ".",
        ["ipet", "predict", "A", "LICENSE"],
        "runpy.run_module('ipet', run_name='__main__')",
    )
    if name == "an experiment":
        lists = write_lists(tmp_path / "lists", train=4, valid=3, test=3)
        folder, argv = "w2v_speechcommands", ["main.py", *map(str, tiny(lists, tmp_path))]
        run = "runpy.run_path('main.py', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_TORCH.format(argv=argv, run=run)],
        capture_output=True,
        text=True,
        cwd=ROOT / folder,
    )
    assert done.stdout.endswith("chosen before torch\n"), done.stderr
