"""The benchmarks compare the same work."""

import numpy as np
import pytest
import torch

from benchmarks import ways
from benchmarks.__main__ import compare, matrix_rate, multiply_accumulates

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
    monkeypatch.setattr("benchmarks.__main__.SETTINGS", TINY)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "setting, way", [(s, w) for s in TINY for w in ways.WAYS if (s, w) != ("ast", "kept")]
)
def test_every_way_learns_its_batch(setting, way):
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
