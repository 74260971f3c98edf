"""The documents' examples work as they stand."""

import re
import sys

import pytest
import torch

from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.methods import METHODS, apply_method
from ipet.tuning import count_parameters

from helpers import ROOT, load_script, write_wav

DATASET, METHOD = re.findall(r"```python\n(.*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)


def written(code, path):
    path.write_text(code)
    return load_script(path, path.stem)


def test_the_example_of_a_dataset_writes_lists(tmp_path):
    load_script(ROOT / "data/prepare.py", "prepare_for_docs")  # makes preparation importable
    root = tmp_path / "UrbanSound8K"
    rows = ["slice_file_name,fsID,fold,classID,class"]
    for target, name in ((0, "air_conditioner"), (3, "dog_bark")):
        for fold in (1, 2, 3):
            rows.append(f"{100 + fold}-{target}-0-0.wav,{100 + fold},{fold},{target},{name}")
            write_wav(root / f"audio/fold{fold}/{100 + fold}-{target}-0-0.wav", 0.2, seed=10 * target + fold)
    (root / "metadata").mkdir()
    (root / "metadata/UrbanSound8K.csv").write_text("\n".join(rows) + "\n")
    lists = written(DATASET, tmp_path / "urbansound8k.py").prepare_urbansound8k(root)
    assert [label.display_name for label in lists.labels] == ["air_conditioner", "dog_bark"]
    assert sorted(lists.clips) == [f"{kind}_{k}" for kind in ("eval", "train") for k in (1, 2, 3)]
    assert len(lists.clips["train_1"]) == 4 and len(lists.clips["eval_1"]) == 2
    (root / "audio/fold2/102-3-0-0.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of its 6 clips are not in .*102-3-0-0\.wav"):
        sys.modules["urbansound8k"].prepare_urbansound8k(root)


def test_the_example_of_a_method_trains_norms_alone(tmp_path):
    try:
        written(METHOD, tmp_path / "norms.py")
        torch.manual_seed(0)
        backbone = apply_method(build_ast(64, size="tiny"), "norms")
    finally:
        METHODS.pop("norms", None)
    # Two norms of width 48 in each of two layers, a scale and a shift each.
    assert count_parameters(backbone)[0] == 2 * 2 * 2 * 48
    assert backbone.frozen and backbone.tuning == {"method": "norms"}
