"""What makes the inputs of tests/malformed.py: each function makes one, or returns what makes one."""

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import safetensors.torch
import soundfile
import torch

from helpers import write_wav
from saving import formerly


class Row(NamedTuple):
    """An input."""

    name: str  # what it is
    make: Callable | list  # makes it of a sound one; or the words of a command line
    outcome: str
    file: str = "wav/train_1_3.wav"  # of a recording
    when: str = "before training"  # or when it is decoded


RATE = 16_000
HOUR = 3_600 * RATE
JSON, TENSORS = "adapter_config.json", "adapter_model.safetensors"


def noise(path, *, seconds=0.4, rate=RATE, channels=1, **kind):
    """Write quiet noise."""
    samples = 0.1 * np.random.default_rng(0).standard_normal((int(seconds * rate), channels))
    soundfile.write(path, samples, rate, **kind)


def written(**how):
    """A maker of noise."""
    return lambda path: noise(path, **how)


def samples(values, rate=RATE, **kind):
    """A maker of a recording of these samples."""
    return lambda path: soundfile.write(path, np.asarray(values), rate, **kind)


def data(content):
    """A maker of a file of these bytes."""
    return lambda path: path.write_bytes(content)


def cut(share, **how):
    """A maker of the first part of a recording's bytes."""

    def make(path):
        noise(path, **how)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return make


def forged(place, layout, value):
    """A maker of a WAV with another number in its header."""

    def make(path):
        noise(path)
        content = bytearray(path.read_bytes())
        struct.pack_into(layout, content, place, value)
        path.write_bytes(content)

    return make


def claiming(num_samples):
    """A maker of a FLAC whose header says that it holds so many samples: 36 bits of bytes 18 to 26."""

    def make(path):
        noise(path, format="FLAC")
        content = bytearray(path.read_bytes())
        packed = int.from_bytes(content[18:26], "big") >> 36 << 36 | num_samples
        content[18:26] = packed.to_bytes(8, "big")
        path.write_bytes(content)

    return make


def link(target):
    """A maker of a link."""
    return lambda path: path.symlink_to(target)


def hour(path):
    """Silence of an hour, of which the disk holds the header alone."""
    noise(path)
    head = bytearray(path.read_bytes()[:44])
    struct.pack_into("<I", head, 4, 36 + 2 * HOUR)
    struct.pack_into("<I", head, 40, 2 * HOUR)
    path.write_bytes(head)
    os.truncate(path, len(head) + 2 * HOUR)


def locked(path):
    """A recording that nobody may read."""
    noise(path)
    path.chmod(0)


def odd(value):
    """A maker of a recording with one sample that is no number, or infinite."""
    return samples(np.r_[np.zeros(500), value, np.zeros(500)], subtype="FLOAT")


def entry(**values):
    """A maker of a training list whose clip 3 says something else; None: nothing under that key."""

    def make(folder):
        path = folder / "train_1.json"
        content = json.loads(path.read_text())
        clip = content["data"][3] | values
        content["data"][3] = {key: value for key, value in clip.items() if value is not None}
        path.write_text(json.dumps(content))

    return make


def clip(value):
    """A maker of a training list whose clip 3 is something else."""

    def make(folder):
        path = folder / "train_1.json"
        content = json.loads(path.read_text())
        content["data"][3] = value
        path.write_text(json.dumps(content))

    return make


def text(content, name="train_1.json"):
    """A maker of a file of the lists' folder."""
    content = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(content)


def gone(name):
    """A maker of a folder without one of its files."""
    return lambda folder: (folder / name).unlink()


def absolute(folder):
    """Clip 3 by its absolute path."""
    entry(wav=str(folder / "wav/train_1_3.wav"))(folder)


def absolute_twice(folder):
    """Clip 3 is clip 2 by its absolute path."""
    entry(wav=str(folder / "wav/train_1_2.wav"))(folder)


def outside(folder):
    """Clip 3 by an absolute path outside the data's folder."""
    write_wav(folder.parent / "elsewhere.wav")
    entry(wav=str(folder.parent / "elsewhere.wav"))(folder)


def linked(folder):
    """The recordings' folder is a link."""
    (folder / "wav").replace(folder.parent / "disk")
    (folder / "wav").symlink_to(folder.parent / "disk")


def leaving(folder):
    """Clip 3 by a relative path to a recording outside the data's folder."""
    write_wav(folder.parent / "elsewhere.wav")
    entry(wav="../elsewhere.wav")(folder)


def trials(*lines):
    """A maker of a list of trials."""
    return text("".join(f"{line}\n" for line in lines), "trials.txt")


def said(part, **values):
    """A maker of an ``adapter_config.json`` that says something else; a part of None is the whole."""

    def make(folder):
        path = folder / "adapter_config.json"
        description = json.loads(path.read_text())
        (description if part is None else description[part]).update(values)
        path.write_text(json.dumps(description))

    return make


def tensors(change):
    """A maker of an ``adapter_model.safetensors`` of other tensors."""

    def make(folder):
        path = folder / "adapter_model.safetensors"
        found = safetensors.torch.load(path.read_bytes())
        change(found)
        safetensors.torch.save_file(found, path)

    return make


def header(length=None, **values):
    """A maker of an ``adapter_model.safetensors`` with a header of this tensor, or of a false length."""

    def make(folder):
        head = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **values}}).encode()
        size = struct.pack("<Q", len(head) if length is None else length)
        (folder / "adapter_model.safetensors").write_bytes(size + head + bytes(4))

    return make


def earlier(make=lambda folder: None, then=lambda folder: None):
    """A maker of an adapter of schema 1; ``make`` edits it as one of today, ``then`` its own files."""

    def made(folder):
        make(folder)
        formerly(folder)
        then(folder)

    return made


class Trap:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def trap(folder, name):
    """Write a pickle that runs code."""
    (folder / name).write_bytes(pickle.dumps({"a": Trap(folder / "TRAPPED")}, protocol=2))


def half(name):
    """A maker of the first half of a file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-200])


def saved(make):
    """A maker of ``weights.pth``."""
    return lambda folder: torch.save(make(), folder / "weights.pth")


def bomb(folder):
    """Zeros, packed a thousandfold."""
    torch.save({"pos_embed": torch.zeros(9)}, folder / "weights.pth")
    with zipfile.ZipFile(folder / "weights.pth") as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(folder / "weights.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in records.items():
            archive.writestr(name, bytes(10**7) if "/data/" in name else content)


def cut_weights(folder):
    """The first half of a file of weights."""
    torch.save({"pos_embed": torch.zeros(999)}, folder / "weights.pth")
    half("weights.pth")(folder)
