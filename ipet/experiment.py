"""An experiment's folder: what its files say, and its main.py in a process of its own."""

import importlib.util
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ipet.interruption import end_with_parent

POSIX = os.name == "posix"
PATIENCE_SECONDS = 30.0  # for a training that is asked to end


def settings_of(experiment: Path, flags: Sequence[str]) -> dict:
    """What main.py would make of ``flags``: every setting by its name."""
    return vars(load_module(experiment / "arguments.py").get_args(["-name", "trial", *flags]))


def run_folder(settings: Mapping, experiment: str) -> Path:
    """Return the folder of a run: ``<path_run>/<project>/<tags>/<experiment>/<name>``.

    The level ``<experiment>`` is left out where ``-tags`` is the experiment's name, its default; runs of
    different experiments never share a folder.

    Args:
        settings: Resolved flags of the experiment.
        experiment: Name of its directory.
    """
    folder = Path(settings["path_run"]) / settings["project"] / settings["tags"]
    return (folder if settings["tags"] == experiment else folder / experiment) / settings["name"]


def load_module(path: Path):
    """A file of an experiment, as a module of its own."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def apart() -> dict:
    """Keywords of ``Popen`` for a training that Ctrl-C leaves to this process, which then asks it to end."""
    if not POSIX:
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True, "preexec_fn": begin_training}


def begin_training() -> None:
    """In a new process: end when the one that started it is killed, and heed its SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with_parent()


def stop(process: subprocess.Popen) -> None:
    """Have a training end: as by Ctrl-C, then less politely."""
    for number in (signal.SIGINT, signal.SIGTERM) if POSIX else ():
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL) if POSIX else process.kill()
        process.wait()
