"""``make gpu``: its checks run here on the CPU; without a GPU it ends with one line."""

import json

import pytest
import torch

from benchmarks import gpu
from benchmarks.ways import SETTINGS

from helpers import long

SMALL = ["-device", "cpu", "-size", "tiny", "-compile_backend", "eager", "-rounds", "1"]
TINY = SETTINGS["w2v_speechcommands"]._replace(flags=("-pretrained", "random", "-size", "tiny"), batch_size=2)


@long
def test_every_check_passes_on_the_cpu_and_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(SETTINGS, "w2v_gtzan", TINY)
    flags = ["-kinds", "wavlm", "-methods", "ipet", "lora", "-precisions", "fp32", "bf16"]
    assert gpu.main([*SMALL, *flags, "-settings", "w2v_gtzan", "-out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "gpu_report.json").read_text())
    parts = {
        "forward, backward",
        "mixed precision",
        "checkpointing",
        "compile",
        "DDP",
        "library",
        "throughput",
    }
    assert {row["part"] for row in report["checks"]} == {*parts, "throughput"}
    assert all(row["passed"] for row in report["checks"])
    text = (tmp_path / "gpu_report.md").read_text()
    assert "failed: 0" in text and "| w2v_gtzan, bf16 | yes |" in text and "clips/s" in text
    assert "passed  DDP: wavlm" not in capsys.readouterr().out


def test_a_check_that_fails_is_reported_and_the_others_run(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "check_ddp", lambda device, size: "not run")
    monkeypatch.setattr(gpu, "hold_frozen", lambda model, precision: model.head.fc.weight.data.mul_(2))
    flags = [*SMALL, "-kinds", "ast", "-methods", "linear", "-precisions", "fp32", "-settings"]
    assert gpu.main([*flags, "-out", str(tmp_path)]) == 1
    rows = json.loads((tmp_path / "gpu_report.json").read_text())["checks"]
    assert [row["case"] for row in rows if not row["passed"]] == ["ast, linear, fp32"]
    assert "relative error" in rows[0]["result"] and len(rows) == 5
    assert "| ast, linear, fp32 | **no** |" in (tmp_path / "gpu_report.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_ends_with_one_line_and_status_2(tmp_path, capsys):
    assert gpu.main(["-out", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("error: no GPU that torch can use")
    assert not list(tmp_path.iterdir())
