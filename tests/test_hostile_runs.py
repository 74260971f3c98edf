"""A run's folder from a stranger: whatever its files hold, a result or one line that names the file."""

import copy
import json
import os
import random

import pytest
import torch

from ipet import trainer
from ipet.__main__ import main
from ipet.checkpoint import load_training, save_training
from ipet.results import RESULT, RESULT_TOO, STATE, STATE_TOO
from ipet.trainer import Trainer

from helpers import (
    command_here,
    result,
    run_here,
    stopped_behind_the_third_step,
    tiny,
    write_lists,
    write_run,
)

HOSTILE = (
    *(None, True, -1, 0, 1.5, 3, 10**17, 10**400, 1e300, float("nan"), float("inf")),
    *("", "x" * 1_000, "../../x", "eval", [], [[]], [None], [{}], {}, {"a": {}}, {"a": 10**400}),
)
OTHERS = (torch.zeros(0), torch.zeros(3), {"a": torch.zeros(3)}, {3: torch.zeros(3)})  # no JSON
GONE = object()


def changed(content, path, value):
    """A copy of nested dictionaries and lists with another value at a place, or without it."""
    content = copy.deepcopy(content)
    *above, last = path
    holder = content
    for key in above:
        holder = holder[key]
    if value is GONE:
        del holder[last]
    else:
        holder[last] = value
    return content


def some(place, number, values=HOSTILE):
    """Nothing, and some hostile values, others for each place; all of them in the long tests."""
    if os.environ.get("IPET_TORTURE"):
        return GONE, *values
    return GONE, *random.Random(str(place)).sample(values, number)


def places(content, depth=3):
    """The paths of all values in nested dictionaries and lists, down to a depth."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        yield (key,)
        if depth > 1 and isinstance(value, dict | list):
            yield from ((key, *further) for further in places(value, depth - 1))


@pytest.mark.parametrize("watched", ["eval", "valid"])
def test_a_hostile_result_is_told_in_one_line_by_report_and_compare(tmp_path, capsys, watched):
    more = {"tuning": {"method": "ipet"}, "calibration": {"temperature": 1.5}, "skipped_steps": 0}
    if watched == "valid":
        more |= {name: {"test_accuracy": 0.5, "test_loss": 1.0} for name in TESTED}
    sound = result(0.5, 0.6, watched=watched, interval={"last": [0.4, 0.7]}, **more)
    one, two = ("seed_1", "seed_2") if watched == "valid" else ("seed_1/fold_1", "seed_1/fold_2")
    run = write_run(tmp_path / "run", "ast_esc50", {one: sound, two: sound}, fold=2, rand_seed=[1, 2])
    write_run(tmp_path / "other", "ast_esc50", {one: sound, two: sound}, fold=2, rand_seed=[1, 2])
    path = run / two / "result.json"
    told = 0
    contents = [changed(sound, place, value) for place in places(sound) for value in some(place, 12)]
    for content in [*HOSTILE, *contents]:
        path.write_text(json.dumps(content))
        for words in (["report", str(run)], ["compare", str(run), str(tmp_path / "other")]):
            status = main(words)  # anything but ValueError and OSError would come through
            errors = capsys.readouterr().err.splitlines()
            # Without them there is no comparing of steps and clips, which compare says beside.
            errors = [line for line in errors if "metrics.jsonl: no such" not in line]
            errors = [line for line in errors if "predictions.npz: no such" not in line]
            assert len(errors) <= 1 and status >= len(errors), (content, errors)
            assert all(f"error: {path}: damaged" in line and "expected" in line for line in errors), errors
            told += len(errors)
    assert told > len(contents)
    path.write_text("[" * 100_000)
    assert main(["report", str(run)]) == 1 and f"error: {path}: not JSON" in capsys.readouterr().err


TESTED = ("test_at_best_epoch", "test_at_last_epoch")


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("lists"), train=8, valid=4, test=4)


FLAGS = ["-variable_length", "-frame_length", 60, "-epoch", 2, "-batch_size", 4, "-resume"]


def test_a_hostile_training_state_is_told_in_one_line(lists, tmp_path, monkeypatch, capsys):
    flags = tiny(lists, tmp_path, *FLAGS, "-checkpoint_every", 1)
    with stopped_behind_the_third_step(monkeypatch):
        run_here("w2v_speechcommands", *flags)
    path = tmp_path / "IPET/t/w2v_speechcommands/a/seed_1234/training_state.pt"
    (path.parent / "training_state_before.pt").unlink()
    sound = load_training(path)
    assert set(STATE) <= set(sound) <= {*STATE, *STATE_TOO} and sound["epoch"] == 1
    trainings = []
    with monkeypatch.context() as patched, pytest.raises(AttributeError):
        patched.setattr(Trainer, "fit", lambda self, resume: trainings.append(self).nothing)
        run_here("w2v_speechcommands", *flags)
    [training] = trainings
    refused, held = 0, {}
    monkeypatch.setattr(trainer, "load_latest_training", lambda path: (held["state"], None))
    small = {key: value for key, value in sound.items() if key not in ("now", "last", "best", "optimizer")}
    moments = [
        ("optimizer", "state", 0, "exp_avg"),
        ("optimizer", "state", 0, "step"),
        ("optimizer", "state", 0),
    ]
    tensors = [(kind, next(iter(sound[kind]))) for kind in ("now", "last", "best")]
    whole = [(kind,) for kind in ("now", "last", "best", "optimizer")]
    groups = [("optimizer", *key) for key in places(sound["optimizer"]["param_groups"], 2)]
    groups = [("optimizer", "param_groups", *key[1:]) for key in groups]
    for place in [*places(small), *whole, *tensors, *moments, *groups, ("optimizer", "state")]:
        for value in some(place, 8, (*HOSTILE, *OTHERS)):
            held["state"] = changed(sound, place, value)
            try:
                training.restore(path)
            except ValueError as error:
                refused += 1
                said = str(error)
                assert said.startswith(f"{path}") and "\n" not in said and len(said) < 600, (place, said)
    assert refused > 200
    for content in (*HOSTILE[1:], *OTHERS):  # None is what is found where there is no file
        held["state"] = content
        with pytest.raises(ValueError, match=r"training_state\.pt: damaged: it "):
            training.restore(path)
    monkeypatch.undo()
    save_training(path, changed(sound, ("epoch",), GONE))
    with pytest.raises(SystemExit):
        command_here("w2v_speechcommands", *flags)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"error: {path}: damaged: it has no 'epoch'; expected a whole number"), said
    save_training(path, sound)
    run_here("w2v_speechcommands", *flags)


def test_a_hostile_result_ends_a_run_that_goes_on_before_it_trains(lists, tmp_path, capsys):
    flags = tiny(lists, tmp_path, *FLAGS, "-epoch", 1)
    path = run_here("w2v_speechcommands", *flags) / "seed_1234/result.json"
    path.write_text("{}")
    with pytest.raises(SystemExit):
        command_here("w2v_speechcommands", *flags, "-seed", 1234, 5)
    said = capsys.readouterr().err
    assert said == f"error: {path}: damaged: it has no 'metric'; expected a word\n"
    assert not (path.parents[1] / "seed_5").exists()


def test_every_kind_says_what_it_expects():
    kinds = [*RESULT.values(), *RESULT_TOO.values(), *STATE.values(), *STATE_TOO.values()]
    assert all(kind.expected and not kind.fits(object()) for kind in kinds)
