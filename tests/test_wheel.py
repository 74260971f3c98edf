"""The wheel, away from the repository: it brings the small backbones, and predicts with a saved adapter."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from helpers import ROOT, long, run_here, tiny, write_lists

PARTS = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "ipet", "pretrained_models")
PREDICT = """
import importlib.metadata, sys
import ipet
print(ipet.__file__)
[command] = importlib.metadata.distribution("ipet").entry_points.select(name="ipet")
sys.exit(command.load()(sys.argv[1:]))
"""
LOAD = """
import sys
import ipet
model = ipet.load(sys.argv[1])
print(ipet.__file__, model.predict(sys.argv[2], top=1)[0].name)
"""
# In place of pip, which asks an index for what a build needs.
SDIST = "import sys, setuptools.build_meta as build; build.build_sdist(sys.argv[1])"
EXPERIMENTS = {"ast_small": "ast_esc50", "wav2vec2_small": "w2v_esc50"}


def build_wheel(sources, folder):
    """The wheel of a folder of sources, built by what is installed here."""
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, sources]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of what is packed: a build writes beside its sources."""
    folder = tmp_path_factory.mktemp("sources")
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, folder / part)
    return folder


@pytest.fixture(scope="module")
def wheel(sources, tmp_path_factory):
    return build_wheel(sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel):
    """A folder with what the wheel unpacks to."""
    zipfile.ZipFile(wheel).extractall(wheel.parent / "site")
    return wheel.parent / "site"


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    """Of each small backbone an adapter that a run has saved, and a clip."""
    folder = tmp_path_factory.mktemp("adapters")
    lists = write_lists(folder / "lists", train_1=8, eval_1=4)
    for backbone, name in EXPERIMENTS.items():
        flags = ["-frame_length", 64, "-batch_size", 4, "-fold", 1, "-epoch", 1, "-pretrained", backbone]
        run = run_here(name, *tiny(lists, folder / name, *flags, "-size", "small"))
        shutil.copytree(run / "seed_1234/fold_1/last", folder / backbone)
    shutil.copy(lists / "wav/eval_1_0.wav", folder / "clip.wav")
    return folder


def test_it_predicts_with_a_saved_adapter(installed, adapters, tmp_path):
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            PREDICT,
            "predict",
            adapters / "ast_small",
            adapters / "clip.wav",
            "-top",
            "1",
        ],
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


def test_it_says_what_it_is(installed):
    [described] = importlib.metadata.distributions(path=[str(installed)])
    said = described.metadata
    assert said["License-Expression"] == "MIT" and said.get_all("License-File") == ["LICENSE"]
    [licence] = installed.rglob("LICENSE")
    assert licence.read_text() == (ROOT / "LICENSE").read_text()
    assert said["Description-Content-Type"] == "text/markdown"
    # importlib_metadata, which mlflow imports, replaces the finder and keeps the description in a header.
    assert "# IPET" in described.read_text("METADATA")
    for field in ("Author", "Keywords", "Project-URL", "Requires-Python", "Summary"):
        assert said[field], field
    tested = re.search(r"Python 3\.(\d+) to 3\.(\d+)", (ROOT / "requirements.txt").read_text())
    cited = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert said["Version"] == cited[1]
    versions = [f"Programming Language :: Python :: 3.{i}" for i in range(int(tested[1]), int(tested[2]) + 1)]
    assert [c for c in said.get_all("Classifier") if "3." in c] == versions


@long
def test_an_sdist_builds_the_same_wheel(sources, wheel, tmp_path):
    subprocess.run([sys.executable, "-c", SDIST, tmp_path], cwd=sources, check=True, capture_output=True)
    [archive] = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
        assert not [name for name in file.getnames() if "/tests" in name]  # of which it would take a part
    again = build_wheel(tmp_path / archive.name.removesuffix(".tar.gz"), tmp_path)
    assert again.name == wheel.name
    one, other = (
        {
            info.filename: info.CRC
            for info in zipfile.ZipFile(path).infolist()
            if "RECORD" not in info.filename
        }
        for path in (wheel, again)
    )
    assert one == other


def test_a_clone_named_as_the_package_does_not_hide_it(tmp_path):  # D13
    """Next to a clone ``ipet/``, a script imports the package that is installed in editable mode from it."""
    clone, site = tmp_path / "ipet", tmp_path / "site"
    shutil.copytree(ROOT / "ipet", clone / "ipet", ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, clone / part)
    build = "import sys, setuptools.build_meta as build; build.build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, tmp_path], cwd=clone, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    (tmp_path / "user.py").write_text(
        "import site, sys\nsite.addsitedir(sys.argv[1])\nimport ipet\nprint(ipet.__file__)\nipet.__version__"
    )
    command = [sys.executable, "-S", "-E", "user.py", site]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(str(clone / "ipet/__init__.py"))


@pytest.mark.skipif(
    not os.environ.get("IPET_TORTURE"),
    reason="downloads torch and the rest, some GB, from the package index; IPET_TORTURE=1 includes it",
)
def test_an_empty_environment_needs_nothing_but_the_wheel(wheel, adapters, tmp_path):
    place, home = tmp_path / "elsewhere", tmp_path / "home"
    place.mkdir()
    home.mkdir()
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    programs = tmp_path / "venv/bin"
    subprocess.run([programs / "pip", "install", "--quiet", "--no-cache-dir", wheel], check=True, cwd=place)
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(home), "OMP_NUM_THREADS": "1"}

    def run(*command, status=0):
        ended = subprocess.run(
            [programs / command[0], *map(str, command[1:])],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == status, ended.stdout + ended.stderr
        return ended.stderr if status else ended.stdout

    assert run("ipet", "--version").startswith("ipet ")
    assert "predict" in run("ipet", "-h")
    clip = adapters / "clip.wav"
    for backbone in EXPERIMENTS:
        adapter = adapters / backbone
        assert "class " in run("ipet", "predict", adapter, clip, "-top", 1)
        run("ipet", "embed", adapter, clip, "-out", f"{backbone}.npz")
        [embedding] = np.load(place / f"{backbone}.npz")["embeddings"]
        assert embedding.ndim == 1 and np.isfinite(embedding).all()
        where, answer = run("python", "-c", LOAD, adapter, clip).split(" ", 1)
        assert where.startswith(str(tmp_path / "venv")) and answer.startswith("class ")
        assert "pip install" in run("ipet", "export", adapter, "exported", "-format", "onnx", status=1)
    first = run("ipet", "predict", adapters / "ast_small", clip, "-jsonl", "-").splitlines()[0]
    assert json.loads(first)["path"] == str(clip)
    shutil.rmtree(tmp_path / "venv")
