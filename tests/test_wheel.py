"""The wheel, away from the repository: it brings the small backbones, and predicts with a saved adapter."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from helpers import ROOT, run_here, tiny, write_lists

PARTS = ("pyproject.toml", "README.md", "LICENSE", "ipet", "pretrained_models")
PREDICT = """
import importlib.metadata, sys
import ipet
print(ipet.__file__)
[command] = importlib.metadata.distribution("ipet").entry_points.select(name="ipet")
sys.exit(command.load()(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what the wheel unpacks to."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"  # a build writes beside them
    sources.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, sources / part)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, sources]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_it_predicts_with_a_saved_adapter(installed, tmp_path):
    lists = write_lists(tmp_path / "lists", train_1=8, eval_1=4)
    flags = ["-frame_length", 64, "-batch_size", 4, "-fold", 1, "-epoch", 1, "-pretrained", "ast_small"]
    run = run_here("ast_esc50", *tiny(lists, tmp_path / "runs", *flags, "-size", "small"))
    adapter, clip = run / "seed_1234/fold_1/last", lists / "wav/eval_1_0.wav"
    ended = subprocess.run(
        [sys.executable, "-c", PREDICT, "predict", adapter, clip, "-top", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    place, answer = ended.stdout.splitlines()[0], ended.stdout.splitlines()[-1]
    assert place.startswith(str(installed)) and "class " in answer


def test_it_holds_every_package_and_template(installed):
    for path in [*(ROOT / "ipet").rglob("*.py"), *(ROOT / "ipet/templates").iterdir()]:
        assert (installed / path.relative_to(ROOT)).is_file(), path
