"""The benchmarks compare the same work."""

import argparse
import contextlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from benchmarks import __main__ as benchmarks
from benchmarks import busy, determinism, evaluation, growth, predicting, prompts, startup, variable, ways
from benchmarks.steps import compare, matrix_rate, multiply_accumulates
from ipet import openmp

from helpers import long

CPU = torch.device("cpu")
TINY = {
    "ast": ways.Setting(
        "ast_esc50", 2, 5, ("-pretrained", "random", "-size", "tiny", "-frame_length", "64", "-freqm", "8")
    ),
    "w2v": ways.Setting("w2v_speechcommands", 2, 5, ("-pretrained", "random", "-size", "tiny")),
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Small settings; the textbook's process group is gone afterwards."""
    monkeypatch.setattr(ways, "SETTINGS", TINY)
    for part in ("steps", "prompts", "evaluation", "tasks", "predicting"):
        monkeypatch.setattr(f"benchmarks.{part}.SETTINGS", TINY)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "setting, way", [(s, w) for s in TINY for w in ways.WAYS if (s, w) != ("ast", "kept")]
)
def test_every_way_learns_its_batch(setting, way):
    if way == "compiled" and not os.environ.get("IPET_TORTURE"):
        pytest.skip("compiling takes half a minute; IPET_TORTURE=1 includes it")
    assert ways.fits(way, setting)
    step = ways.step_of(setting, way, "bf16", CPU)
    losses = [step().item() for _ in range(6)]
    assert np.isfinite(losses).all() and min(losses[3:]) < losses[0]


def test_ast_has_no_convolutions_to_keep_the_output_of():
    assert not ways.fits("kept", "ast")


def test_the_textbook_and_ipet_have_the_same_losses(monkeypatch):
    """Of AST, where only adapters have dropout: filterbanks, masks, prompts, gradients and updates agree."""
    quiet = TINY["ast"]._replace(flags=(*TINY["ast"].flags, "-adapter_dropout", "0"))
    monkeypatch.setitem(TINY, "ast", quiet)
    losses = []
    for way in ("ipet", "textbook"):
        step = ways.step_of("ast", way, "fp32", CPU)
        losses.append([step().item() for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and losses[0][2] != losses[0][0]


def test_the_next_setting_is_not_built_for_the_textbooks_processes():
    measured = compare("ast", {"ipet": "fp32", "textbook": "fp32"}, 1, CPU)
    assert measured["ipet"]["ratio"] == 1 and measured["textbook"]["seconds"] > 0
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("setting", TINY)
def test_the_limit_is_that_of_the_setting(setting):
    """More work than a forward pass of the layers' matrices, and a rate above zero."""
    macs, rate = multiply_accumulates(setting, CPU), matrix_rate(setting, "fp32", CPU)
    assert macs > 1e6 and 1e6 < rate < 1e15


def test_every_part_has_a_name_and_flags_of_its_own():
    parts = benchmarks.get_parts([])
    assert list(parts) == list(benchmarks.PARTS) and parts["steps"].rounds == 5
    assert benchmarks.get_parts(["steps", "-rounds", "2", "-only", "ast"])["steps"].rounds == 2
    both = benchmarks.get_parts(["steps", "scoring", "-json", "a.json"])
    assert list(both) == ["steps", "scoring"] and both["scoring"].json.name == "a.json"
    with pytest.raises(SystemExit, match="unknown part 'step'; accepted: startup, reading, steps"):
        benchmarks.get_parts(["step"])


def test_prompts_are_timed_in_both_forms(capsys):
    args = benchmarks.get_parts(["prompts", "-rounds", "1"])["prompts"]
    args.only = ["w2v"]
    results = prompts.run(args, CPU)
    assert results["w2v, ipet, 0"]["growth"] == 0 and len(results) == 2 * len(prompts.COUNTS)
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("setting, segments, seconds", [("w2v", 3, 2), ("ast", 1, 0.5)])
def test_evaluation_and_the_loop_hear_the_same(setting, segments, seconds, monkeypatch):
    """``compare`` itself refuses outputs that differ."""
    monkeypatch.setitem(evaluation.SEGMENTS, setting, segments)
    monkeypatch.setitem(evaluation.SECONDS, setting, seconds)
    measured = evaluation.compare(setting, 5, 1, CPU)
    assert measured["ours"] > 0 and measured["ratio"] > 0
    monkeypatch.setattr(evaluation, "one_by_one", lambda model, waveforms: torch.zeros(5, segments, 5))
    with pytest.raises(AssertionError, match="not close"):
        evaluation.compare(setting, 5, 1, CPU)


@pytest.mark.parametrize("setting, rate", [("ast", 44_100), ("w2v", 16_000)])
def test_predict_and_the_bare_passes_say_the_same(setting, rate, monkeypatch):
    """``compare`` itself refuses answers that differ."""
    measured = predicting.compare(setting, rate, 20, 1, "fp32", CPU)
    assert measured["predict"] > 0 and measured["ratio"] > 0
    bare = predicting.bare
    monkeypatch.setattr(predicting, "bare", lambda model, inputs: bare(model, inputs).roll(1, dims=1))
    with pytest.raises(AssertionError, match="20 of 20 clips have another first class"):
        predicting.compare(setting, rate, 20, 1, "fp32", CPU)


@pytest.mark.parametrize("setting", TINY)
def test_batches_of_like_length_fill_up_less(setting, monkeypatch):
    """``compare`` itself refuses evaluated outputs that differ."""
    flags = (*TINY[setting].flags, "-variable_length", "-frame_length", "64")
    monkeypatch.setattr(variable, "SETTINGS", {setting: TINY[setting]._replace(flags=flags)})
    for measured in variable.compare(setting, 8, 1, CPU).values():
        assert measured["padded_alike"] < measured["padded_any"] and measured["ratio"] > 0


@long
def test_memory_and_open_files_do_not_grow_with_the_epochs(record_property):
    """A reader comes and goes in every epoch; the first quarter is what libraries set up."""
    epochs = int(os.environ.get("IPET_EPOCHS", 8))
    flags = ["growth", "-clips", "8", "-epochs", str(epochs), "-num_workers", "1"]
    held = growth.run(benchmarks.get_parts(flags)["growth"], CPU)
    assert list(held) == list(range(1, epochs + 1)) and held[1]["mib"] > 50
    assert {held[epoch]["files"] for epoch in range(epochs // 4, epochs + 1)} == {held[epochs // 4]["files"]}
    grown = held[epochs]["mib"] - held[epochs // 4]["mib"]
    record_property("epochs", epochs)
    record_property("MiB more behind the last than behind a quarter (most)", round(grown, 1))
    assert grown < 16


def test_deterministic_algorithms_are_asked_for_in_every_other_step(monkeypatch):
    asked, step_of = [], determinism.step_of

    def watched(*words):
        step = step_of(*words)
        return lambda: (asked.append(torch.are_deterministic_algorithms_enabled()), step())

    monkeypatch.setattr(determinism, "step_of", watched)
    measured = determinism.compare("w2v", "fp32", 2, CPU)
    assert asked == [False, True] * 3 and not torch.are_deterministic_algorithms_enabled()
    assert measured["ratio_min"] <= measured["ratio"] <= measured["ratio_max"]


def test_a_command_that_fails_is_no_time():
    with pytest.raises(subprocess.CalledProcessError):
        startup.start(".", ["-c", "import no_such_module"])


def test_busy_machine_is_measured_for_every_way_of_waiting(monkeypatch, capsys):
    # B10
    asked = []
    monkeypatch.setattr(
        busy, "seconds_of_step", lambda way, steps: asked.append(way) or 2.0 + len(asked) // 5
    )
    monkeypatch.setattr(busy, "neighbours", lambda way, number: contextlib.nullcontext())
    found = busy.run(argparse.Namespace(rounds=1, steps=1, neighbours=1), CPU)
    assert asked == [*busy.WAYS, *busy.WAYS] and set(found) == set(busy.WAYS)
    assert found["passive"] == {"idle": 2.0, "busy": 3.0, "idle_over_default": 1.0, "busy_over_fair": 0.75}
    assert "over fair" in capsys.readouterr().out


def test_ways_of_waiting_are_set_in_a_process_of_their_own(monkeypatch):
    # B10
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(openmp, "reason_to_sleep", lambda: "others")
    assert busy.environment_of("default").keys().isdisjoint({*openmp.POLICIES, "OMP_NUM_THREADS"})
    assert busy.environment_of("ours")["OMP_WAIT_POLICY"] == "passive"
    assert busy.environment_of("bounded")["GOMP_SPINCOUNT"] == "10000" and sys.modules["torch"] is torch
