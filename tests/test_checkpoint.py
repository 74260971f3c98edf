"""Files that hold tensors: written whole or not at all, and read without running code."""

import copy
import errno
import hashlib
import json
import os
import pickle
import re
import struct
import zipfile

import pytest
import safetensors.torch
import torch
from torch import nn

from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.checkpoint import (
    CHECKSUM,
    fingerprint,
    load_exactly,
    load_latest_training,
    load_trainable_state,
    load_training,
    name_some,
    read_tensors,
    save_next_training,
    save_training,
    trainable_state,
    write_atomically,
    write_json,
)
from ipet.features import LogMel
from ipet.heads import Classifier, LinearHead
from ipet.saved import load_adapter, save_adapter
from ipet.tuning import Tuning, tune

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([0.5, -0.5])}


def assert_same_tensors(got, want):
    assert got.keys() == want.keys()
    for name in want:
        assert torch.equal(got[name], want[name]), name


def refused(read, path, *details):
    """The message with which a file is refused: one line, its path and the details in it."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    for detail in details:
        assert detail in message
    return message


# Atomic writes ------------------------------------------------------------------------------------


def test_a_write_makes_the_folders_above_it_and_replaces_what_was_there(tmp_path):
    path = tmp_path / "runs" / "a" / "result.json"
    write_atomically(path, b"old and longer")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["result.json"]


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "adapter_config.json"
    write_atomically(path, b"old")

    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["adapter_config.json"]


def test_a_stop_between_two_bytes_leaves_nothing_either(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "adapter_config.json", b"new")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_what_is_written_may_be_read_by_whom_the_umask_lets(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_json(tmp_path / "a.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == mode


def test_json_is_written_to_be_read_by_people(tmp_path):
    write_json(tmp_path / "a.json", {"name": "Säge", "values": [1, 2.5]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "name": "Säge",\n  "values": [\n    1,\n    2.5\n  ]\n}\n'


# Reading tensors ----------------------------------------------------------------------------------


def test_safetensors_are_read(tmp_path):
    safetensors.torch.save_file(TENSORS, tmp_path / "a.safetensors")
    assert_same_tensors(read_tensors(tmp_path / "a.safetensors"), TENSORS)


@pytest.mark.parametrize("name", ["a.pth", "a.bin", "a.pt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_old_and_new_are_read(tmp_path, name, zipped):
    torch.save(TENSORS, tmp_path / name, _use_new_zipfile_serialization=zipped)
    assert_same_tensors(read_tensors(tmp_path / name), TENSORS)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: {f"module.{name}": t for name, t in tensors.items()},
        lambda tensors: {"model": tensors, "epoch": 3},
        lambda tensors: {"state_dict": tensors, "optimizer": {"lr": 0.1}},
        lambda tensors: {"model": {"state_dict": tensors}},
        lambda tensors: {"state_dict": {f"module.{name}": t for name, t in tensors.items()}},
    ],
    ids=["module.", "model", "state_dict", "model and state_dict", "state_dict and module."],
)
def test_what_training_scripts_wrap_around_tensors_is_taken_off(tmp_path, wrap):
    torch.save(wrap(TENSORS), tmp_path / "a.pth")
    assert_same_tensors(read_tensors(tmp_path / "a.pth"), TENSORS)


def test_a_part_that_is_called_module_keeps_its_name(tmp_path):
    tensors = {"module.weight": torch.ones(1), "head.weight": torch.ones(1)}
    torch.save(tensors, tmp_path / "a.pth")
    assert_same_tensors(read_tensors(tmp_path / "a.pth"), tensors)


def test_a_missing_file_of_tensors_is_named(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        read_tensors(tmp_path / "a.pth")
    assert str(caught.value) == f"{tmp_path}/a.pth: no such file"


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("damage", ["half", "empty", "text"])
def test_a_damaged_file_is_refused(tmp_path, name, damage):
    path = tmp_path / name
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path)
    data = path.read_bytes()
    path.write_bytes(
        {"half": data[: len(data) // 2], "empty": b"", "text": b"version https://git-lfs"}[damage]
    )
    refused(
        read_tensors, path, "damaged, or no file of tensors alone", "expected safetensors, or a torch pickle"
    )


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ([torch.ones(1)], "list"),
        ({"a": 1}, "'a': int"),
        ({0: torch.ones(1)}, "0: Tensor"),
        (torch.ones(1), "Tensor"),
    ],
)
def test_a_file_of_something_else_is_refused_with_what_it_holds(tmp_path, content, kind):
    torch.save(content, tmp_path / "a.pth")
    refused(read_tensors, tmp_path / "a.pth", "expected a dictionary of tensors", f"found {kind}")


class Trap:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    "write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))]
)
@pytest.mark.parametrize("read", [read_tensors, load_training])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(tmp_path, write, read):
    path, made = tmp_path / "a.pth", tmp_path / "made"
    write({"a": torch.ones(1), "b": Trap(made)}, path)
    with pytest.raises(ValueError, match=re.escape(f"{path}: damaged, or no ")) as caught:
        read(path)
    assert "weights_only" not in str(caught.value)  # torch's text tells how to run the code
    assert not made.exists()
    pickle.loads(pickle.dumps(Trap(made))).close()  # the trap itself works
    assert made.exists()


# Files that claim more than they hold ----------------------------------------------------------------

UNREAL = {
    "expanded": lambda: {"a": torch.ones(1).expand(10**6, 10**6)},
    "overlapping": lambda: {"a": torch.ones(2).as_strided((10**5, 2), (0, 1))},
    "sparse": lambda: {"a": torch.zeros(3, 3).to_sparse()},
    "of the meta device": lambda: {"a": torch.empty(10**9, 10**5, device="meta")},
}


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("make", UNREAL.values(), ids=UNREAL)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_tensor_that_the_file_does_not_hold_is_refused_by_its_name(tmp_path, make, zipped):
    torch.save(make(), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    refused(read_tensors, tmp_path / "a.pth", "'a' has shape", "expected tensors as they are")


def test_many_tensors_of_the_same_bytes_are_refused_and_two_are_not(tmp_path):
    one = torch.ones(50_000)
    torch.save({"a": one, "b": one}, tmp_path / "tied.pth")
    assert read_tensors(tmp_path / "tied.pth").keys() == {"a", "b"}
    torch.save({f"{i}": one for i in range(100)}, tmp_path / "a.pth")
    refused(read_tensors, tmp_path / "a.pth", "its tensors have 20,000,000 bytes")


def repack(path, compression, change):
    """Write a torch archive again, with other records."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(name, change(name, data))


@pytest.mark.parametrize("read", [read_tensors, load_training])
def test_an_archive_that_would_unpack_to_more_than_it_is_is_refused_unread(tmp_path, read):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(1_000)}, path)
    repack(path, zipfile.ZIP_DEFLATED, lambda name, data: bytes(10**7) if "/data/" in name else data)
    if read is load_training:
        data = path.read_bytes()
        path.write_bytes(data + CHECKSUM + hashlib.sha256(data).digest())
        refused(read, path, "damaged, or no training state (ValueError)")
    else:
        refused(read, path, "bytes would unpack to 10,000,", "which packs nothing")


def test_an_archive_whose_pickle_claims_longer_records_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.zeros(1_000)}, path)
    long = b"J" + struct.pack("<i", 10**9)  # the pickle's number 1000 becomes 10^9
    repack(
        path,
        zipfile.ZIP_STORED,
        lambda name, data: data.replace(b"M\xe8\x03", long) if name.endswith("data.pkl") else data,
    )
    refused(read_tensors, path, "damaged, or no file of tensors alone")


HEADERS = {
    "more than there is": {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
    "a product that overflows": {"a": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 4]}},
    "a shape of other bytes": {"a": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4]}},
    "bytes of another tensor": {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in ("a", "b")
    },
    "a negative length": {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
    "an unknown type": {"a": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_forged_header_of_safetensors_is_refused(tmp_path, header):
    path, text = tmp_path / "a.safetensors", json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"abcd")
    refused(read_tensors, path, "damaged, or no file of tensors alone", "(SafetensorError)")


@pytest.mark.parametrize("length", [2**62, 2**32, 99])
def test_a_header_longer_than_its_file_is_refused(tmp_path, length):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    refused(read_tensors, path, "damaged, or no file of tensors alone", "(SafetensorError)")


# Loading exactly ----------------------------------------------------------------------------------


def test_tensors_are_copied_where_names_and_shapes_agree():
    target = {name: torch.zeros_like(t) for name, t in TENSORS.items()}
    load_exactly(target, TENSORS, "a.pth")
    assert_same_tensors(target, TENSORS)


def test_missing_and_unexpected_tensors_are_counted_and_named():
    target = {"a": torch.zeros(1), "b": torch.zeros(1), "c": torch.zeros(1)}
    with pytest.raises(ValueError, match="missing") as caught:
        load_exactly(target, {"a": torch.ones(1), "d": torch.ones(1)}, "a.pth")
    assert str(caught.value) == "a.pth: 2 (b, c) missing, 1 (d) unexpected"
    with pytest.raises(ValueError, match=r"a.pth: none missing, 1 \(d\) unexpected"):
        load_exactly({"a": torch.zeros(1)}, {"a": torch.ones(1), "d": torch.ones(1)}, "a.pth")
    assert target["a"].item() == 0  # nothing was copied


def test_another_shape_is_refused_and_nothing_is_copied():
    target = {name: torch.zeros_like(t) for name, t in TENSORS.items()}
    tensors = {"a.bias": torch.ones(2), "a.weight": torch.ones(3, 2)}
    with pytest.raises(ValueError, match="shape") as caught:
        load_exactly(target, tensors, "a.pth")
    assert str(caught.value) == "a.pth: a.weight has shape [3, 2], this model's is [2, 3]"
    assert all(not t.any() for t in target.values())


def test_some_names_stand_for_many():
    assert name_some([]) == "none"
    assert name_some("ab") == "2 (a, b)"
    assert name_some("abcdef") == "6 (a, b, c, d, ...)"


# Adapters -----------------------------------------------------------------------------------------

FROZEN = build_ast(64, size="tiny")
TRAINED_ON = {"backbone": {"sha256": FROZEN.sha256}}


def tuned_model(seed, num_classes=3, **tuning):
    """The same frozen tiny AST with another adapter and head for every seed."""
    torch.manual_seed(seed)
    tuning = Tuning(**{"num_prompts": 2, "bottleneck": 4, "init": "normal", **tuning})
    backbone = tune(copy.deepcopy(FROZEN), tuning)
    return Classifier(LogMel(128, 64, -4.0, 4.0), backbone, LinearHead(backbone.width, num_classes)).eval()


def logits(model):
    waveform = torch.randn(2, 10_480, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return model(0.1 * waveform, torch.tensor([10_480, 6_000]))


def test_a_saved_adapter_gives_another_model_the_same_logits(tmp_path):
    trained, fresh = tuned_model(1), tuned_model(2)
    description = {"labels": ["a", "b", "c"], "tuning": trained.backbone.tuning.settings, **TRAINED_ON}
    save_adapter(tmp_path / "best", trainable_state(trained), description)
    assert sorted(os.listdir(tmp_path / "best")) == ["adapter_config.json", "adapter_model.safetensors"]
    assert not torch.equal(logits(fresh), logits(trained))
    assert load_adapter(tmp_path / "best", fresh).items() >= {"schema": 2, **description}.items()
    assert torch.equal(logits(fresh), logits(trained))


def test_an_adapter_holds_what_is_trained_under_names_of_our_own():
    state = trainable_state(tuned_model(1))
    inserted = ("down.weight", "down.bias", "up.weight", "up.bias")
    layers = [
        name for i in range(2) for name in (f"prompts.{i}", *(f"adapters.{i}.{part}" for part in inserted))
    ]
    head = ["head.norm.weight", "head.norm.bias", "head.fc.weight", "head.fc.bias"]
    assert sorted(state) == sorted(layers + head)


def test_a_trainable_state_is_a_copy():
    model = tuned_model(1)
    state = trainable_state(model)
    before = {name: t.clone() for name, t in state.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert_same_tensors(state, before)
    load_trainable_state(model, state, "memory")
    assert_same_tensors(trainable_state(model), before)


@pytest.mark.parametrize(
    ("model", "difference"),
    [
        ({"bottleneck": 8}, "adapters.0.down.bias has shape [4], this model's is [8]"),
        ({"num_prompts": 3}, "prompts.0 has shape [1, 2, 48], this model's is [1, 3, 48]"),
        ({"num_classes": 5}, "head.fc.bias has shape [3], this model's is [5]"),
        ({"num_prompts": 0}, "none missing, 2 (prompts.0, prompts.1) unexpected"),
        (
            {"bottleneck": 0},
            "none missing, 8 (adapters.0.down.bias, adapters.0.down.weight, adapters.0.up.bias, "
            "adapters.0.up.weight, ...) unexpected",
        ),
    ],
    ids=["bottleneck", "prompts", "classes", "no prompts", "no adapters"],
)
def test_an_adapter_of_another_model_is_refused_with_the_difference(tmp_path, model, difference):
    save_adapter(tmp_path, trainable_state(tuned_model(1)), TRAINED_ON)
    other = tuned_model(2, **model)
    before = trainable_state(other)
    with pytest.raises(ValueError, match=r"missing|shape") as caught:
        load_adapter(tmp_path, other)
    assert str(caught.value) == f"{tmp_path}/adapter_model.safetensors: {difference}"
    assert_same_tensors(trainable_state(other), before)


@pytest.mark.parametrize("schema", [3, None, "1"])
def test_an_adapter_of_an_unknown_schema_is_refused(tmp_path, schema):
    model = tuned_model(1)
    save_adapter(tmp_path, trainable_state(model), {})
    (tmp_path / "adapter_config.json").write_text(json.dumps({"schema": schema} if schema else {}))
    with pytest.raises(ValueError, match="schema") as caught:
        load_adapter(tmp_path, model)
    assert (
        str(caught.value) == f"{tmp_path}/adapter_config.json: schema {schema!r}; this version reads 1 and 2"
    )


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_half_an_adapter_is_missing_a_file(tmp_path, name):
    model = tuned_model(1)
    save_adapter(tmp_path, trainable_state(model), {})
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_adapter(tmp_path, model)
    assert str(caught.value) == f"{tmp_path}/{name}: no such file"


def test_a_fingerprint_notices_a_value_a_shape_and_a_kind_but_no_name():
    def layer(*shape, dtype=torch.float32):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(*shape)).to(dtype).state_dict()

    first = fingerprint(layer(4, 3))
    assert re.fullmatch("[0-9a-f]{64}", first)
    assert fingerprint(layer(4, 3)) == first
    changed = layer(4, 3)
    changed["0.bias"][2] += 1e-6
    renamed = {name.replace("0.", "1."): tensor for name, tensor in layer(4, 3).items()}
    assert fingerprint(dict(reversed(renamed.items()))) == first
    others = [changed, layer(4, 3, dtype=torch.float64), layer(3, 4)]
    assert len({first, *map(fingerprint, others)}) == 4


def test_an_adapter_does_not_load_into_another_frozen_backbone(tmp_path):
    save_adapter(tmp_path, trainable_state(tuned_model(1)), {"backbone": {"sha256": "0" * 64}})
    other = tuned_model(2)
    before = trainable_state(other)
    with pytest.raises(ValueError, match=r"trained on the backbone with SHA-256 0{12}\.\.\., this one has"):
        load_adapter(tmp_path, other)
    assert_same_tensors(trainable_state(other), before)


# Training states ----------------------------------------------------------------------------------


def test_a_training_state_comes_back_as_it_was(tmp_path):
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {"epoch": 3, "seconds": 1.5, "history": [{"loss": 0.5}], "trainable": dict(TENSORS)}
    save_training(tmp_path / "state.pt", {**state, "optimizer": optimizer.state_dict()})
    assert os.listdir(tmp_path) == ["state.pt"]
    loaded = load_training(tmp_path / "state.pt")
    moments, want = loaded.pop("optimizer")["state"], optimizer.state_dict()["state"]
    for i in want:
        assert_same_tensors(moments[i], want[i])
    assert_same_tensors(loaded.pop("trainable"), state.pop("trainable"))
    assert loaded == state


def test_a_training_state_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_training(path, {"epoch": 1})

    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left on device"):
        save_training(path, {"epoch": 2})
    assert load_training(path) == {"epoch": 1}


def test_half_a_training_state_is_refused(tmp_path):
    path = tmp_path / "state.pt"
    save_training(path, {"trainable": TENSORS})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=re.escape(f"{path}: damaged, or no training state")):
        load_training(path)


def test_a_damaged_state_does_not_take_the_whole_ones_place(tmp_path, monkeypatch):
    """It is damaged, the one before is gone on from, and the next write fails: that one is still there."""
    path = tmp_path / "training_state.pt"
    for step in (1, 2):
        save_next_training(path, {"step": step})
    path.write_bytes(path.read_bytes()[:-1])
    state, note = load_latest_training(path)
    assert state == {"step": 1} and "going on from training_state_before.pt, which is whole" in note

    def fail(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(os, "fsync", fail)
        save_next_training(path, {"step": 3})
    assert load_latest_training(path) == ({"step": 1}, None)


def test_a_state_that_cannot_be_read_is_not_taken_for_a_damaged_one(tmp_path, monkeypatch):
    path = tmp_path / "training_state.pt"
    for step in (1, 2):
        save_next_training(path, {"step": step})

    def fail(self):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))

    with monkeypatch.context() as patched, pytest.raises(OSError, match=r"Input/output error: .*_state.pt"):
        patched.setattr("pathlib.Path.read_bytes", fail)
        load_latest_training(path)
    assert load_latest_training(path) == ({"step": 2}, None)
