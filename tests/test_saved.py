"""A saved adapter's folder: PEFT's names, adapters of the first version, migration that may stop anywhere."""

import json
import os
import shutil

import pytest
import torch

import ipet
from ipet.__main__ import main
from ipet.checkpoint import trainable_state
from ipet.description import CONFIG, FORMER_CONFIG, FORMER_WEIGHTS, WEIGHTS
from ipet.passport import ADAPTERS, cell_files, read_passport
from ipet.saved import migrate, read_saved, save_adapter

from saving import save_backbone, save_first_schema, tuned_model

NOISE = 0.1 * torch.randn(10_240, generator=torch.Generator().manual_seed(0))
OLD, NEW = {FORMER_CONFIG, FORMER_WEIGHTS}, {CONFIG, WEIGHTS}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Backbones, by their kind."""
    folder = tmp_path_factory.mktemp("backbones")
    for kind in ("ast", "wavlm"):
        save_backbone(kind, folder / kind)
    return folder


@pytest.fixture
def first(folders, tmp_path):
    """A run's adapter of schema 1, bitfit on AST; its folder and its description."""
    model, description = tuned_model(folders / "ast", "bitfit")
    save_first_schema(tmp_path / "last", model, description)
    return tmp_path / "last", description


def test_a_config_says_what_pefts_readers_look_for(folders, tmp_path):
    model, description = tuned_model(folders / "ast", "ipet")
    save_adapter(tmp_path, trainable_state(model), description)
    assert {path.name for path in tmp_path.iterdir()} == NEW
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config == {
        **{"peft_type": "IPET", "schema": 2, "kind": "run", "task_type": None, "inference_mode": True},
        **{"base_model_name_or_path": str(folders / "ast"), "revision": None},
        **description,
    }


def test_peft_says_that_the_method_is_not_its_own(folders, tmp_path):
    peft = pytest.importorskip("peft")
    model, description = tuned_model(folders / "ast", "ipet")
    save_adapter(tmp_path, trainable_state(model), description)
    with pytest.raises((KeyError, ValueError), match="IPET"):
        peft.PeftConfig.from_pretrained(str(tmp_path))


@pytest.mark.parametrize("kind", ["ast", "wavlm"])
@pytest.mark.parametrize("method", ["ipet", "bitfit", "finetune"])
def test_an_adapter_of_the_first_version_is_read_and_migrated(kind, method, folders, tmp_path, capsys):
    model, description = tuned_model(folders / kind, method)
    folder = tmp_path / "runs/a/last"
    save_first_schema(folder, model, description)
    before = ipet.load(folder, "cpu")
    assert {path.name for path in folder.iterdir()} == OLD  # reading changes nothing
    assert before.description["schema"] == 2
    length = before.model.front_end.num_samples
    with torch.no_grad():
        want = model(NOISE[None, :length] - NOISE[:length].mean(), torch.tensor([length])).softmax(-1)[0]
    torch.testing.assert_close(torch.from_numpy(next(before.probabilities([NOISE]))).float(), want)

    assert main(["migrate", str(tmp_path / "runs")]) == 0
    assert capsys.readouterr().out == "1 of 1 saved adapters rewritten\n"
    assert {path.name for path in folder.iterdir()} == NEW
    assert ipet.load(folder, "cpu").predict(NOISE) == before.predict(NOISE)
    as_now = tmp_path / "now"
    save_adapter(as_now, trainable_state(model), description)
    assert all((folder / name).read_bytes() == (as_now / name).read_bytes() for name in NEW)
    assert main(["migrate", str(folder), str(as_now)]) == 0
    assert capsys.readouterr().out == "0 of 2 saved adapters rewritten\n"


@pytest.mark.parametrize("stop", range(6))
def test_a_migration_that_stops_leaves_a_folder_that_reads_and_ends_when_it_is_repeated(
    first, stop, monkeypatch
):
    """Of each of two files a sync and a renaming, then two removals."""
    folder, _ = first
    want = read_saved(folder)
    left = [stop]

    def counted(change):
        def changed(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return change(*args, **kwargs)

        return changed

    with monkeypatch.context() as patch:
        for name in ("fsync", "replace"):
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(type(folder), "unlink", counted(type(folder).unlink))
        with pytest.raises(KeyboardInterrupt):
            migrate(folder)
    found = read_saved(folder)
    assert found.description == want.description and found.tensors.keys() == want.tensors.keys()
    migrate(folder)
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == NEW
    found = read_saved(folder)
    assert found.description == want.description
    torch.testing.assert_close(found.tensors, want.tensors, rtol=0, atol=0)


def test_what_is_damaged_or_of_a_later_version_is_not_migrated(first, tmp_path, capsys):
    folder, description = first
    for config, said in (
        ({"schema": 3, **description}, "schema 3; this version reads 1 and 2"),
        ({"schema": 1, **description, "labels": []}, "labels are []; expected a list with a class"),
    ):
        (folder / FORMER_CONFIG).write_text(json.dumps(config))
        assert main(["migrate", str(tmp_path)]) == 1
        assert capsys.readouterr().err == f"error: {folder / FORMER_CONFIG}: {said}\n"
        assert {path.name for path in folder.iterdir()} == OLD
    (tmp_path / "none").mkdir()
    assert main(["migrate", str(tmp_path / "none")]) == 1
    assert f"none: no {CONFIG} or {FORMER_CONFIG} there, or below" in capsys.readouterr().err


def test_a_passport_of_the_first_version_tells_of_the_same_files(first, tmp_path):
    """Hashes stand under today's names, whatever the files are called."""
    folder, description = first
    shutil.copytree(folder, tmp_path / "best")
    files = cell_files(tmp_path)
    assert files["backbone_sha256"] == description["backbone"]["sha256"]
    one, other = (files["sha256"][name] for name in ADAPTERS)
    assert one == other is not None
    cell = {"sha256": {"last/adapter.safetensors": one, "best/adapter.safetensors": other}}
    nothing = {name: {} for name in ("arguments", "lists", "backbone", "sources")}
    passport = {
        **{
            "schema": 1,
            "experiment": "ast_esc50",
            "seeds": [1],
            "cells": ["seed_1"],
            "starts": [],
            **nothing,
        },
        **{"lists_sha256": None, "git": None},
        "results": {"metric": None, "protocol": None, "protocols": {}, "cells": {"seed_1": cell}},
    }
    (tmp_path / "passport.json").write_text(json.dumps(passport))
    read = read_passport(tmp_path / "passport.json")["results"]["cells"]["seed_1"]["sha256"]
    assert read == dict.fromkeys(ADAPTERS, one)
