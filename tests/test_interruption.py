"""Signals are remembered until a training can be saved; checkpoints come when they are due."""

import os
import signal
import time

import pytest

from ipet.interruption import RESUME_STATUS, Stopped, StopRequest, Timer


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
