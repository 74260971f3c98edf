"""Signals are remembered until a training can be saved; checkpoints come when they are due."""

import argparse
import os
import signal
import time

import pytest

from ipet.arguments import interval
from ipet.checkpoint import load_latest_training, save_training
from ipet.interruption import RESUME_STATUS, Stopped, StopRequest, Timer, end_with_parent, ends
from ipet.parsing import read_interval


def test_the_first_signal_is_remembered_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert stop.number is None
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_ctrl_c_again_ends_at_once_but_a_launchers_copy_does_not(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        now[0] += 0.5
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.number == signal.SIGINT
        now[0] += 5
        os.kill(os.getpid(), signal.SIGTERM)  # not impatience
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_inside_a_block_a_signal_raises_where_it_comes():
    with StopRequest() as stop:
        with stop.at_once():
            pass
        with pytest.raises(Stopped, match="stopped by SIGUSR1"), stop.at_once():
            os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(Stopped), stop.at_once():  # asked for earlier
            pytest.fail("the block was entered")


def test_what_takes_exceptions_for_damage_does_not_take_a_signal_for_it(tmp_path, monkeypatch):
    """Or a whole state would be set aside, and the run go on from an earlier one."""
    save_training(tmp_path / "state.pt", {"step": 1})
    monkeypatch.setattr("torch.load", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    with StopRequest() as stop, pytest.raises(Stopped), stop.at_once():
        load_latest_training(tmp_path / "state.pt")


def test_a_terminal_s_end_ends_a_run_unless_it_is_ignored_as_nohup_has_it():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.number is None and signal.SIGHUP not in ends()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.number == signal.SIGHUP and signal.SIGHUP in ends()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "number, status", [(signal.SIGINT, 130), (signal.SIGTERM, RESUME_STATUS), (signal.SIGUSR1, RESUME_STATUS)]
)
def test_the_exit_status_says_that_the_run_can_go_on(number, status):
    assert Stopped(number).status == status


def test_a_checkpoint_is_due_behind_every_so_many_steps():
    timer = Timer("3")
    assert [step for step in range(1, 10) if timer.is_due(step)] == [3, 6, 9]
    assert [step for step in range(1, 10) if timer.falls_on(step)] == [3, 6, 9]


def test_a_checkpoint_is_due_after_so_many_minutes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    timer = Timer("0.5m")
    due = []
    for second in range(100):
        now[0] = second
        if timer.is_due(7):
            due.append(second)
            timer.saved()
    assert due == [30, 60, 90] and not timer.falls_on(7)


@pytest.mark.parametrize("text", ["0", "-3", "1.5", "0m", "m", "", "infm", "10s", "nanm"])
def test_what_is_no_interval_is_refused(text):
    with pytest.raises(
        ValueError, match="is no interval; expected steps such as 500, or minutes such as 10m"
    ):
        Timer(text)
    with pytest.raises(argparse.ArgumentTypeError, match="is no interval; expected steps such as 500"):
        interval(text)


@pytest.mark.parametrize(("text", "read"), [("500", (500, None)), ("0.5m", (None, 30)), ("10m", (None, 600))])
def test_the_flag_takes_the_intervals_that_a_training_takes(text, read):
    assert interval(text) == text and read_interval(text) == read
    timer = Timer(text)
    assert (timer.steps, timer.seconds) == read


def test_a_process_whose_parent_has_ended_already_ends_too():
    """Between its start and its asking for the signal; another one is its parent then."""
    for parent, ended in ((os.getpid(), False), (os.getpid() + 1, True)):
        child = os.fork()
        if child == 0:
            end_with_parent(signal.SIGKILL, parent)
            os._exit(0)
        assert (os.waitpid(child, 0)[1] == signal.SIGKILL) == ended
