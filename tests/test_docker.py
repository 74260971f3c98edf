"""The Dockerfile, which no test can build: what it copies is there, and suffices for the image's commands."""

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

import ipet

from helpers import ALL_EXPERIMENTS, ROOT

TEXT = (ROOT / "Dockerfile").read_text()
KNOWN = {"ARG", "CMD", "COPY", "ENV", "FROM", "RUN", "USER", "VOLUME", "WORKDIR"}


def instructions():
    """``[(instruction, the rest of its line)]``, without comments, lines that go on joined."""
    lines = "\n".join(line for line in TEXT.splitlines() if not line.startswith("#"))
    return [tuple(line.split(None, 1)) for line in lines.replace("\\\n", " ").splitlines() if line.strip()]


def said(name):
    return [rest for instruction, rest in instructions() if instruction == name]


def sent(path):
    """Whether ``.dockerignore`` lets a file go to the builder; ``**/`` is of any depth."""
    parents = ["/".join(path.split("/")[:i]) for i in range(1, path.count("/") + 2)]
    goes = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!")
            deep = pattern.startswith("**/")
            if any(
                fnmatch.fnmatchcase(part.rsplit("/", 1)[-1] if deep else part, pattern.removeprefix("**/"))
                and (deep or part.count("/") == pattern.count("/"))
                for part in parents
            ):
                goes = line.startswith("!")
    return goes


@pytest.fixture(scope="module")
def tracked():
    """What git knows of."""
    git = shutil.which("git")
    listed = (
        subprocess.run([git or "git", "ls-files"], cwd=ROOT, capture_output=True, text=True) if git else None
    )
    if listed is None or listed.returncode:
        pytest.skip("needs git and a repository, to know what is tracked")
    return listed.stdout.splitlines()


def test_its_instructions_are_known_and_begin_with_a_pinned_base():
    assert {instruction for instruction, _ in instructions()} <= KNOWN
    [base] = said("FROM")
    [argument] = said("ARG")
    assert base == "python:${PYTHON}-slim" and re.fullmatch(r"PYTHON=3\.1[0-3]", argument)
    assert "latest" not in TEXT


def test_it_installs_what_is_pinned_before_the_code_is_copied():
    steps = [(name, rest) for name, rest in instructions() if name in ("COPY", "RUN")]
    place = steps.index(("RUN", "python -m pip install -r requirements.txt"))
    assert steps[place - 1] == ("COPY", "requirements.txt ./")
    assert steps[place + 1 :] == [
        ("COPY", "--chown=ipet . ."),
        ("RUN", "python -m pip install --no-deps -e ."),
    ]
    pinned = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line[:1].isalpha()]
    assert all("==" in line for line in pinned)


def test_what_runs_is_not_root():
    assert said("USER") == ["ipet"] and "useradd --create-home --uid 1000 ipet" in TEXT
    names = [name for name, _ in instructions()]
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in ("RUN", "COPY"))


def test_what_it_copies_is_tracked_and_goes_to_the_builder(tracked):
    for copied in said("COPY"):
        *sources, _ = [word for word in shlex.split(copied) if not word.startswith("--")]
        for source in sources:
            assert source == "." or (source in tracked and sent(source)), source
    goes = [path for path in tracked if sent(path)]
    for path in tracked:
        top = path.split("/")[0]
        needed = top in (*ALL_EXPERIMENTS, "ipet", "data", "benchmarks") and not path.endswith(".md")
        needed |= path in ("pyproject.toml", "setup.py", "requirements.txt", "README.md", "LICENSE")
        assert path in goes or not needed, path
    assert not [path for path in goes if path.startswith(("tests/", "docs/", "."))]
    for path in (
        ".git/config",
        ".venv/bin/python",
        "runs/IPET/a",
        "data/esc50/train_9.json",  # shipped are train_1.json to train_5.json
        "data/voxceleb/train.json",
        "ipet/__pycache__/a.pyc",
    ):
        assert not sent(path), path
    for path in ("data/labels.py", "pretrained_models/other/model.safetensors"):
        assert sent(path) == (path == "data/labels.py")


def test_the_files_of_the_image_are_enough_for_its_commands(tracked, tmp_path):
    for path in filter(sent, tracked):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def output(*command, folder=tmp_path):
        ended = subprocess.run(
            [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert output("-m", "ipet", "--version") == f"ipet {ipet.__version__}\n"
    assert "-pretrained" in output("main.py", "-h", folder=tmp_path / "ast_esc50")
    assert "voxceleb1" in output("data/prepare.py", "-h")
    found = "from ipet.checkpoint import published_file as f; print(f('ast_small', ''))"
    assert output("-c", found).startswith(str(tmp_path / "pretrained_models"))


def test_its_tag_is_the_version_of_the_code():
    assert set(re.findall(r"ipet:(\d[\w.]*)", TEXT)) == {ipet.__version__}
