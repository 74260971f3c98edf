"""Put the two small backbones, which lie next to the package in the repository, inside a built package.

Everything else is in ``pyproject.toml``. Packages mapped to other folders there would make setuptools
install an editable package by an import hook, which Python asks after every folder of ``sys.path``: a folder
of a user that is named ``ipet``, such as a clone of this repository, would hide the package.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BACKBONES = ("ast_small", "wav2vec2_small")


class BuildWithBackbones(build_py):
    """Copy ``pretrained_models/`` into ``ipet/`` of the build."""

    def run(self) -> None:
        """Build the package."""
        super().run()
        if self.editable_mode:  # the repository's own are used
            return
        for name in BACKBONES:
            place = Path(self.build_lib, "ipet", "pretrained_models", name)
            place.mkdir(parents=True, exist_ok=True)
            for path in sorted(Path("pretrained_models", name).iterdir()):
                if path.suffix in (".json", ".md", ".safetensors"):
                    shutil.copyfile(path, place / path.name)


setup(cmdclass={"build_py": BuildWithBackbones})
