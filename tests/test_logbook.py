"""A run's folder: its rows, its loggers, and what may change when it goes on."""

import errno
import json
import os
import sys
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ipet.logbook import (
    PACKAGES,
    VOLATILE,
    Logbook,
    NoLogbook,
    environment,
    git_commit,
    lock_run,
    open_run,
    read_rows,
    record_start,
    version_of,
)


def write_rows(folder, *steps, last_step=0, loggers=()):
    logbook = Logbook(folder, loggers, last_step=last_step)
    for step in steps:
        logbook.log("step", epoch=1 + (step - 1) // 2, step=step, loss=1 / step)
    logbook.close()


def steps_of(folder):
    return [row["step"] for row in read_rows(folder / "metrics.jsonl")]


def scalars(folder, name):
    """(step, value) of each event that TensorBoard would show."""
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


# Links --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".lock", "seed_1/last", "metrics.jsonl"])
def test_a_link_out_of_a_run_s_folder_is_refused_before_anything_is_written(tmp_path, name):
    precious = tmp_path / "precious"
    precious.write_text("of mine")
    link = tmp_path / "run" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(precious)
    with pytest.raises(ValueError, match=f"{name}: a link that leads out of the run's folder"):
        lock_run(tmp_path / "run")
    assert precious.read_text() == "of mine"


def test_a_link_within_a_run_and_a_run_behind_a_link_are_its_own(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/best").mkdir()
    (tmp_path / "disk/last").symlink_to("best")
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    lock_run(tmp_path / "run").release()


# Rows ---------------------------------------------------------------------------------------------


def test_a_row_is_one_json_object_a_line(tmp_path):
    logbook = Logbook(tmp_path / "fold_1", ())
    logbook.log("step", epoch=1, step=1, loss=0.5, lr=0.001)
    logbook.log("epoch", epoch=1, step=1, eval_accuracy=0.25)
    logbook.close()
    lines = (tmp_path / "fold_1" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"kind": "step", "epoch": 1, "step": 1, "loss": 0.5, "lr": 0.001},
        {"kind": "epoch", "epoch": 1, "step": 1, "eval_accuracy": 0.25},
    ]


def test_a_row_can_be_read_as_soon_as_it_is_logged(tmp_path):
    logbook = Logbook(tmp_path, ())
    logbook.log("step", epoch=1, step=1, loss=0.5)
    assert steps_of(tmp_path) == [1]
    logbook.close()


def test_rows_outlive_a_power_cut_from_when_they_are_synced(tmp_path, monkeypatch):
    """What is asked of the disk is all that a test can see."""
    logbook, synced = Logbook(tmp_path, ()), []
    logbook.log("step", epoch=1, step=1, loss=0.5)
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    logbook.sync()
    assert synced == [(tmp_path / "metrics.jsonl").stat().st_ino]
    logbook.close()


def test_a_new_run_begins_with_no_rows(tmp_path):
    write_rows(tmp_path, 1, 2, 3)
    write_rows(tmp_path, 1)
    assert steps_of(tmp_path) == [1]


def test_a_continued_run_drops_the_rows_of_the_epoch_that_was_cut_off(tmp_path):
    write_rows(tmp_path, 1, 2, 3, 4, 5)
    write_rows(tmp_path, 5, 6, last_step=4)
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5, 6]
    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [row["loss"] for row in rows] == [1 / step for step in range(1, 7)]


def test_a_last_line_that_was_half_written_is_dropped(tmp_path):
    write_rows(tmp_path, 1, 2)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"kind": "step", "epoch": 2, "st')
    assert steps_of(tmp_path) == [1, 2]
    write_rows(tmp_path, 3, last_step=2)
    assert steps_of(tmp_path) == [1, 2, 3]


def test_no_file_has_no_rows(tmp_path):
    assert read_rows(tmp_path / "metrics.jsonl") == []


def test_the_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logbook = NoLogbook()
    logbook.log("step", epoch=1, step=1, loss=0.5)
    logbook.close()
    assert list(tmp_path.iterdir()) == []


# Loggers ------------------------------------------------------------------------------------------


def test_tensorboard_holds_the_same_numbers(tmp_path):
    logbook = Logbook(tmp_path, ("tensorboard",))
    logbook.log("step", epoch=1, step=1, loss=0.5, lr=0.25)
    logbook.log("step", epoch=1, step=2, loss=0.75, lr=0.25)
    logbook.log("epoch", epoch=1, step=2, eval_accuracy=0.125)
    logbook.close()
    assert scalars(tmp_path, "step/loss") == [(1, 0.5), (2, 0.75)]
    assert scalars(tmp_path, "step/lr") == [(1, 0.25), (2, 0.25)]
    assert scalars(tmp_path, "epoch/eval_accuracy") == [(2, 0.125)]


def test_a_continued_run_s_events_replace_those_of_the_epoch_that_was_cut_off(tmp_path):
    write_rows(tmp_path, 1, 2, 4, 8, loggers=("tensorboard",))
    time.sleep(1.1)  # TensorBoard orders files by their names, in which seconds stand
    write_rows(tmp_path, 4, last_step=2, loggers=("tensorboard",))
    assert scalars(tmp_path, "step/loss") == [(1, 1.0), (2, 0.5), (4, 0.25)]


def test_no_logger_is_asked_for_and_none_writes(tmp_path):
    write_rows(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_neptune_is_used_offline_unless_the_environment_says_otherwise(tmp_path, monkeypatch):
    class Neptune:
        """Stands in for the package and for its run."""

        def __init__(self):
            self.begun, self.logged, self.fields, self.stopped = [], [], {}, 0

        def init_run(self, **settings):
            self.begun.append(settings)
            return self

        def __getitem__(self, name):
            self.name = name
            return self

        def append(self, value, step):
            self.logged.append((self.name, value, step))

        def add(self, values):
            self.fields[self.name] = values

        def __setitem__(self, name, value):
            self.fields[name] = value

        def fetch(self):
            return "RUN-1"

        def stop(self):
            self.stopped += 1

    neptune = Neptune()
    monkeypatch.setitem(sys.modules, "neptune", neptune)
    monkeypatch.delenv("NEPTUNE_MODE", raising=False)
    monkeypatch.setenv("NEPTUNE_DATA_DIRECTORY", "")  # put back after the test
    cell = tmp_path / "IPET/t/a/seed_1"
    write_rows(cell, 1, 2, loggers=("neptune",))
    assert neptune.logged == [("step/loss", 1.0, 1), ("step/loss", 0.5, 2)]
    write_rows(cell, 2, last_step=1, loggers=("neptune",))  # written anew
    assert neptune.logged[2:] == [("step/loss", 1.0, 1), ("step/loss", 0.5, 2)]
    monkeypatch.setenv("NEPTUNE_MODE", "sync")
    write_rows(cell, 1, loggers=("neptune",))
    write_rows(cell, 2, last_step=1, loggers=("neptune",))  # the server has the first row
    assert neptune.logged[4:] == [("step/loss", 1.0, 1), ("step/loss", 0.5, 2)]
    said = [{k: v for k, v in begun.items() if k in ("mode", "with_id")} for begun in neptune.begun]
    assert said == [{"mode": "offline"}] * 2 + [{"mode": "sync"}, {"mode": "sync", "with_id": "RUN-1"}]
    assert not any(value for begun in neptune.begun for key, value in begun.items() if "capture" in key)
    assert neptune.stopped == 4
    assert os.environ["NEPTUNE_DATA_DIRECTORY"] == str(cell / "neptune")


# A run's folder -----------------------------------------------------------------------------------

ARGUMENTS = {"lr": 0.001, "epoch": 30, "name": "a", "num_workers": 4, "usable_gpu": [0, 1], "resume": False}
ARGUMENTS |= {"rand_seed": [1], "protocol": ["last"], "cells": ["seed_1"]}


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """An experiment's folder, outside git."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "experiment"
    folder.mkdir()
    for name in ("main.py", "model.py", "notes.txt"):
        (folder / name).write_text(f"# {name}\n")
    return folder


def test_a_new_run_keeps_its_arguments_its_sources_and_its_environment(tmp_path, sources):
    folder = tmp_path / "runs" / "IPET" / "t" / "a"
    assert open_run(folder, ARGUMENTS, sources, resume=False) is False
    assert json.loads((folder / "arguments.json").read_text()) == ARGUMENTS
    assert sorted(path.name for path in (folder / "sources").iterdir()) == ["main.py", "model.py"]
    assert (folder / "sources" / "model.py").read_text() == "# model.py\n"


def test_every_start_adds_what_it_ran_with(tmp_path, sources):
    record_start(tmp_path, sources, {"device": "cpu"})
    record_start(tmp_path, sources, {"device": "cuda:0"})
    starts = json.loads((tmp_path / "environment.json").read_text())
    assert [start["device"] for start in starts] == ["cpu", "cuda:0"]
    assert starts[0]["packages"].keys() == set(PACKAGES)


def begin(folder, arguments, sources):
    """A run with a finished epoch, which is worth keeping."""
    open_run(folder, arguments, sources, resume=False)
    (folder / "fold_1").mkdir()
    (folder / "fold_1" / "training_state.pt").touch()


def test_a_run_without_a_finished_epoch_is_begun_anew(tmp_path, sources):
    open_run(tmp_path / "a", {**ARGUMENTS, "lr": 1.0}, sources, resume=False)
    (sources / "model.py").write_text("# mended\n")
    assert open_run(tmp_path / "a", ARGUMENTS, sources, resume=False) is False
    assert json.loads((tmp_path / "a" / "arguments.json").read_text()) == ARGUMENTS
    assert (tmp_path / "a" / "sources" / "model.py").read_text() == "# mended\n"


@pytest.mark.parametrize("record", ["[]", "3", '{"cells": 7}', '{"rand_seed": "one"}'])
def test_a_record_of_something_else_is_refused(tmp_path, sources, record):
    open_run(tmp_path / "a", ARGUMENTS, sources, resume=False)
    (tmp_path / "a" / "training_state.pt").write_bytes(b"")
    (tmp_path / "a" / "arguments.json").write_text(record)
    with pytest.raises(ValueError, match=r"a/arguments\.json: holds no arguments of a run"):
        open_run(tmp_path / "a", ARGUMENTS, sources, resume=True)


def test_an_existing_run_is_not_overwritten(tmp_path, sources):
    begin(tmp_path / "a", ARGUMENTS, sources)
    with pytest.raises(FileExistsError) as caught:
        open_run(tmp_path / "a", {**ARGUMENTS, "lr": 1.0}, sources, resume=False)
    assert str(caught.value) == (
        f"{tmp_path}/a: this run exists; add -resume to go on with it, or choose another -name"
    )
    assert json.loads((tmp_path / "a" / "arguments.json").read_text()) == ARGUMENTS


def test_results_are_a_run_s_even_without_its_states(tmp_path, sources):
    """Else other arguments would stand over what these gave."""
    begin(tmp_path / "a", ARGUMENTS, sources)
    (tmp_path / "a/fold_1/training_state.pt").rename(tmp_path / "a/fold_1/result.json")
    with pytest.raises(FileExistsError, match="this run exists; add -resume"):
        open_run(tmp_path / "a", {**ARGUMENTS, "lr": 1.0}, sources, resume=False)
    assert json.loads((tmp_path / "a" / "arguments.json").read_text()) == ARGUMENTS


def test_trainings_without_their_arguments_are_not_trained_over(tmp_path, sources):
    begin(tmp_path / "a", ARGUMENTS, sources)
    (tmp_path / "a/arguments.json").unlink()
    for resume in (False, True):
        with pytest.raises(FileNotFoundError, match=r"a/arguments\.json: no such file"):
            open_run(tmp_path / "a", ARGUMENTS, sources, resume)


@pytest.mark.parametrize("content", ["{}", "[1]", "3"])
def test_starts_that_are_none_are_refused(tmp_path, sources, content):
    (tmp_path / "environment.json").write_text(content)
    with pytest.raises(ValueError, match=r"environment\.json: holds no starts of a run"):
        record_start(tmp_path, sources, {})


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", none)
    with pytest.raises(
        OSError, match=r"cannot lock a file \(No locks available\); choose another -path_run: "
    ):
        lock_run(tmp_path / "run")


def test_a_run_goes_on_with_the_same_arguments(tmp_path, sources):
    begin(tmp_path / "a", ARGUMENTS, sources)
    (sources / "model.py").write_text("# changed\n")
    assert open_run(tmp_path / "a", {**ARGUMENTS, "resume": True}, sources, resume=True) is True
    # the sources are those it began with
    assert (tmp_path / "a" / "sources" / "model.py").read_text() == "# model.py\n"
    assert json.loads((tmp_path / "a" / "arguments.json").read_text()) == ARGUMENTS


def test_cells_are_added_to_a_run_and_the_last_protocol_asked_for_is_reported(tmp_path, sources):
    begin(tmp_path / "a", ARGUMENTS, sources)
    more = {"rand_seed": [2], "protocol": ["nested"], "cells": ["seed_2"]}
    open_run(tmp_path / "a", ARGUMENTS | more, sources, resume=True)
    kept = json.loads((tmp_path / "a" / "arguments.json").read_text())
    assert kept == ARGUMENTS | {"rand_seed": [1, 2], "protocol": ["nested"], "cells": ["seed_1", "seed_2"]}


def test_a_run_of_another_experiment_is_told_as_that(tmp_path, sources):
    begin(tmp_path / "a", ARGUMENTS | {"experiment": "ast_esc50"}, sources)
    with pytest.raises(ValueError, match="this run is of ast_esc50, not of w2v_esc50; choose another -name"):
        open_run(tmp_path / "a", ARGUMENTS | {"experiment": "w2v_esc50"}, sources, resume=True)


def test_resume_of_no_run_begins_it(tmp_path, sources):
    assert open_run(tmp_path / "a", ARGUMENTS, sources, resume=True) is False
    assert json.loads((tmp_path / "a" / "arguments.json").read_text()) == ARGUMENTS


def test_a_run_does_not_go_on_with_other_arguments_and_every_one_is_named(tmp_path, sources):
    begin(tmp_path / "a", ARGUMENTS, sources)
    changed = {**ARGUMENTS, "lr": 0.01, "epoch": 40, "gamma": 0.5, "num_workers": 0}
    with pytest.raises(ValueError, match="goes on") as caught:
        open_run(tmp_path / "a", changed, sources, resume=True)
    assert str(caught.value) == (
        f"{tmp_path}/a: a run goes on with the arguments it began with: "
        "-gamma was None and is 0.5; -lr was 0.001 and is 0.01"  # more epochs are no change
    )


def test_a_run_of_an_earlier_version_goes_on_without_what_that_version_had_not(tmp_path, sources):
    begin(tmp_path / "a", ARGUMENTS, sources)
    later = {**ARGUMENTS, "lr_schedule": None, "warmup_epoch": 0.0, "head_bias": "published"}
    assert open_run(tmp_path / "a", later, sources, resume=True) is True
    with pytest.raises(ValueError, match=r"-warmup_epoch was None and is 0\.5"):
        open_run(tmp_path / "a", later | {"warmup_epoch": 0.5}, sources, resume=True)
    with pytest.raises(ValueError, match=r"-head_bias was None and is 'prior'"):
        open_run(tmp_path / "a", later | {"head_bias": "prior"}, sources, resume=True)


@pytest.mark.parametrize("name", sorted(VOLATILE))
def test_a_run_goes_on_with_other_hardware_and_other_places(tmp_path, sources, name):
    begin(tmp_path / "a", {**ARGUMENTS, name: "before"}, sources)
    assert open_run(tmp_path / "a", {**ARGUMENTS, name: "now"}, sources, resume=True) is True


def test_the_environment_says_what_ran_with_what(sources, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/main.py", "-name", "a"])
    found = environment(sources)
    assert found["command"] == ["main.py", "-name", "a"]
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["packages"]["torch"] == version_of("torch")
    assert found["git"] is None  # no checkout
    assert version_of("no-such-package") is None


def test_a_commit_is_none_where_there_is_no_git(sources, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_commit(sources) is None
