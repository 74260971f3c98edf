"""Which device is chosen, and what systems other than Linux lack."""

import importlib
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from data.synth import speech
from ipet import cache, checkpoint, experiment, interruption, logbook, memory, proposals
from ipet.beginning import choose_device, choose_precision
from ipet.datasets import Cut, TrainClips
from ipet.devices import BF16_UNITS, best_device, fast_precision, precision_note, warn_of_precision
from ipet.lists import Clip, Labels

from helpers import run_here, tiny, write_lists


@pytest.fixture
def machine(monkeypatch):
    """Let torch see a GPU, Apple's or none."""

    def have(kind, bf16=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: kind == "cuda")
        monkeypatch.setattr(torch.cuda, "device_count", lambda: int(kind == "cuda"))
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: kind == "mps")
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": bf16})

    return have


@pytest.mark.parametrize("kind", ["cuda", "mps", "cpu"])
@pytest.mark.parametrize("bf16", [False, True])
def test_the_device_is_the_best_there_is(machine, kind, bf16):
    machine(kind, bf16)
    assert best_device() == kind == choose_device(reproducible=False).type
    assert fast_precision() == ("bf16" if bf16 and kind != "mps" else "fp32")
    assert choose_precision("auto", torch.device(kind)) == ("bf16" if bf16 and kind == "cuda" else "fp32")


def test_several_processes_on_apple_silicon_compute_on_the_cpu(machine, monkeypatch):
    machine("mps")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert choose_device(reproducible=False).type == "cpu"


def test_memory_that_the_system_does_not_tell_is_taken_for_little(machine, monkeypatch):
    machine("cpu")
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError))
    assert logbook.physical_memory() == 0
    assert proposals.memory_at_hand() == (proposals.UNKNOWN_MEMORY, "RAM")


def test_modules_load_where_posix_ones_are_missing(monkeypatch):
    """As on Windows: no fcntl, no resource."""
    modules = (cache, checkpoint, memory)
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "fcntl", None)
        patched.setitem(sys.modules, "resource", None)
        found = [
            importlib.util.find_spec(module.__name__).loader.get_code(module.__name__) for module in modules
        ]
        for module, code in zip(modules, found):
            namespace = {"__name__": module.__name__, "__file__": module.__file__}
            exec(code, namespace)
            assert (namespace.get("fcntl"), namespace.get("resource")) == (None, None)
    monkeypatch.setattr(memory, "resource", None)
    assert memory.peak_memory(torch.device("cpu")) == 0


def test_a_cache_is_locked_without_fcntl_too(monkeypatch, tmp_path):
    monkeypatch.setattr(cache, "fcntl", None)
    with cache.locked(tmp_path):
        assert (tmp_path / "lock").exists()


def test_a_file_is_closed_before_windows_replaces_it(monkeypatch, tmp_path):
    opened, replace = [], os.replace

    def remember(*words):
        opened.append(open(*words))  # noqa: SIM115, what is tested closes it
        return opened[-1]

    def replace_closed(*paths):
        assert opened[-1].closed
        replace(*paths)

    monkeypatch.setattr(checkpoint, "fcntl", None)
    monkeypatch.setattr(checkpoint, "open", remember, raising=False)
    monkeypatch.setattr(os, "replace", replace_closed)
    checkpoint.write_atomically(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_what_a_started_reader_is_given_can_be_pickled():
    """Readers are not forked but spawned on Windows and macOS."""
    clips = [Clip(Path("a.wav"), (0,), "list, clip 0")]
    given = TrainClips(clips, Labels(Path("labels.csv"), ("/m/a",), ("a",)), Cut(400))
    assert pickle.loads(pickle.dumps(given)).clips == clips
    assert pickle.loads(pickle.dumps(interruption.begin_reader)) is interruption.begin_reader


def test_a_training_is_started_and_stopped_without_posix(monkeypatch):
    monkeypatch.setattr(experiment, "POSIX", False)
    monkeypatch.setattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 512, raising=False)
    assert experiment.apart() == {"creationflags": 512}
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"])
    experiment.stop(process)
    assert process.returncode == -signal.SIGKILL


def test_generated_speech_says_that_it_needs_fork(monkeypatch):
    pytest.importorskip("espeakng_loader")
    monkeypatch.delattr(os, "fork")
    with pytest.raises(ImportError, match="expected Linux or macOS"):
        speech.espeak_paths()


# Precision that does not pay. B11 --------------------------------------------------------------------


@pytest.mark.parametrize("units", [*BF16_UNITS, None])
def test_bf16_on_a_cpu_is_noted_unless_it_has_units_for_it(monkeypatch, units):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, units: True})
    note = precision_note("bf16", "cpu")
    if units is None:
        assert "has no bf16 units" in note and "-precision fp32 is faster here" in note
    else:
        assert note is None
    assert precision_note("fp32", "cpu") is None


def test_bf16_on_a_gpu_without_units_is_noted_with_fp16(machine):
    machine("cuda", bf16=False)
    assert "-precision fp16 is faster here" in precision_note("bf16", "cuda")
    machine("cuda", bf16=True)
    assert precision_note("bf16", "cuda") is None
    assert precision_note("fp16", "cuda") is None


def test_auto_never_needs_a_note(machine):
    for kind in ("cuda", "mps", "cpu"):
        for bf16 in (False, True):
            machine(kind, bf16)
            assert precision_note(choose_precision("auto", torch.device(kind)), kind) is None


def test_a_training_says_before_it_begins_that_bf16_is_emulated(machine, tmp_path, capsys):
    machine("cpu", bf16=False)
    lists = write_lists(tmp_path / "lists", train=4, eval=2)
    flags = tiny(lists, tmp_path, "-frame_length", 40, "-epoch", 1, "-precision", "bf16")
    with pytest.raises((ValueError, OSError, SystemExit)):
        run_here("w2v_speechcommands", *flags, "-batch_size", 4, "-path_list", tmp_path / "none")
    assert "note: -precision bf16: this processor has no bf16 units" in capsys.readouterr().out


def test_predict_says_once_that_bf16_is_emulated(machine, capsys):
    machine("cpu", bf16=False)
    warn_of_precision.cache_clear()
    warn_of_precision("bf16", "cpu")
    warn_of_precision("bf16", "cpu")
    assert capsys.readouterr().err.count("has no bf16 units") == 1
