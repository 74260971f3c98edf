"""The programs in examples/ train, save, and a fresh model with what they saved answers alike."""

import re
import sys

import pytest

from helpers import ROOT, load_script

EXAMPLES = {"plain_torch": "torch", "transformers_trainer": "accelerate", "lightning_loop": "lightning"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_trains_saves_and_loads(name, tmp_path, monkeypatch, capsys):
    pytest.importorskip(EXAMPLES[name], reason=f"{EXAMPLES[name]} is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    module = load_script(ROOT / "examples" / f"{name}.py", name)
    monkeypatch.setattr(
        sys, "argv", [name, "-epochs", "1", "-clips", "12", "-out", str(tmp_path / "adapter")]
    )
    module.main()
    trained, fresh = re.findall(r"accuracy (\d\.\d{3})", capsys.readouterr().out)
    assert trained == fresh
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size < 2**20
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]  # and nothing else


def test_the_readme_of_the_examples_names_them_all():
    text = (ROOT / "examples" / "README.md").read_text()
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} - {"tones"} == set(EXAMPLES)
    assert all(f"[{name}.py]({name}.py)" in text for name in EXAMPLES)
