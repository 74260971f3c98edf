"""An experiment starts as in the original code: requirements installed, the package not, no preparation."""

import json
import os
import shlex
import subprocess
import sys
import sysconfig

import pytest

from ipet.experiment import run_folder
from ipet.logbook import open_run

from helpers import ALL_EXPERIMENTS, EXPERIMENTS, ROOT, experiment, run_here, write_wav

STARTED = ["-name", "exp", "-tags", "tags"]
EXAMPLES = {
    "esc50": "/data/ESC-50-master",
    "fsd50k": "/data/FSD50K",
    "gtzan": "/data/GTZAN",
    "speechcommands": "/data/speech_commands_v0.02",
    "voxceleb": "/data/voxceleb1",
}


def start_bare(name, *flags):
    """Run ``main.py`` without site-packages: neither ipet nor torch can be imported from there."""
    command = [sys.executable, "-S", "-E", "main.py", *map(str, flags)]
    return subprocess.run(command, cwd=ROOT / name, capture_output=True, text=True)


@pytest.mark.parametrize("name", ALL_EXPERIMENTS)
def test_a_start_without_data_names_the_commands_before_a_library_is_loaded(name):  # D1, D12
    ended = start_bare(name, *STARTED)
    assert ended.returncode == 2 and ended.stdout == ""
    error, *lines = ended.stderr.splitlines()
    if name.endswith("_custom"):
        assert error.startswith(f"error: {ROOT}/data/own/labels.csv: no such label table")
        assert lines[0] == "  python3 ../data/prepare.py folder /data/drums"
        where = ["-path_list", "../data/drums", "-path_data", "/data/drums"]
    else:
        dataset = name.partition("_")[2]
        assert error.startswith("error: -path_data is missing: the folder of ")
        script = "\n".join(lines)
        assert EXAMPLES[dataset] in script.partition("python3 main.py")[0] or "/data/ESC-50.zip" in script
        assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
        where = ["-path_data", EXAMPLES[dataset]]
    if name == "w2v_voxceleb":
        assert "musan.tar.gz" in script and "rirs_noises.zip" in script
        where += ["-path_musan", "/data/musan", "-path_rir", "/data/RIRS_NOISES"]
    assert shlex.split(lines[-1]) == ["python3", "main.py", *STARTED, *where]
    with experiment(name) as load:
        load("arguments").get_args([*STARTED, *where])


def test_a_start_without_data_takes_little_processor_time():  # D12
    """A start takes about 0.13 s; the least of three is compared, as other processes slow some of them."""
    seconds = []
    for _ in range(3):
        command = [sys.executable, "main.py", *STARTED]
        process = subprocess.Popen(command, cwd=ROOT / "ast_esc50", stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 2
        seconds.append(used.ru_utime + used.ru_stime)
    assert min(seconds) < 0.5


def test_a_wrong_folder_is_told_with_what_was_found_and_the_flags_are_kept(tmp_path):  # D12
    ended = start_bare("ast_gtzan", *STARTED, "-lr", "1e-3", "-path_data", tmp_path)
    assert ended.returncode == 2
    error, *lines = ended.stderr.splitlines()
    assert (
        error
        == f"error: -path_data {tmp_path}: holds no recordings of GTZAN; expected genres_original/ in it"
    )
    assert lines[-1] == "  python3 main.py -name exp -tags tags -lr 1e-3 -path_data /data/GTZAN"


def test_an_experiment_trains_on_an_unpacked_release_without_preparation(tmp_path):  # D1, D5
    """Only what requirements.txt brings can be imported; a recording is missing, another one is no audio."""
    clips = {k: json.loads((ROOT / f"data/esc50/eval_{k}.json").read_text())["data"] for k in range(1, 6)}
    there = [clip["wav"] for k in clips for clip in clips[k][k % 2 :: 2]]
    write_wav(tmp_path / "one.wav", 0.1)
    (tmp_path / "ESC-50-master/audio").mkdir(parents=True)
    for wav in there:
        os.link(tmp_path / "one.wav", tmp_path / "ESC-50-master" / wav)
    broken = tmp_path / "ESC-50-master" / there[0]
    broken.unlink()
    broken.write_bytes(b"no audio" * 20)
    flags = [
        *STARTED,
        "-path_data",
        tmp_path,
        "-path_run",
        tmp_path / "runs",
        "-pretrained",
        "random",
        "-size",
    ]
    flags += ["tiny", "-frame_length", 32, "-freqm", 0, "-timem", 0, "-epoch", 1, "-fold", 1, "-shots", 1]
    ended = subprocess.run(
        [sys.executable, "-S", "main.py", *map(str, flags), "-logger="],
        cwd=ROOT / "ast_esc50",
        env={**os.environ, "PYTHONPATH": sysconfig.get_paths()["purelib"]},  # whose .pth files are not read
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    run = tmp_path / "runs/IPET/tags/ast_esc50/exp"
    assert f"note: ESC-50: recordings in {tmp_path / 'ESC-50-master/audio'}\n" in ended.stdout
    assert "1,001 of 2,000 recordings" not in ended.stdout  # a reason each
    assert "1,000 of 2,000 recordings left out: not there" in ended.stdout
    assert f"1 of 2,000 recordings left out: cannot be read ({there[0]}" in ended.stdout
    [report] = json.loads((run / "inputs.json").read_text())
    assert report["supplied"] == {"recordings": 2000} and report["used"] == {"recordings": 999}
    assert len(json.loads((run / "skipped_clips.json").read_text())) == 1001
    assert (run / "seed_1234/fold_1/result.json").is_file()


def test_nearly_no_recording_is_an_error(tmp_path):
    write_wav(tmp_path / "audio/1-100032-A-0.wav", 0.1)
    flags = [*STARTED, "-path_data", tmp_path, "-path_run", tmp_path / "runs", "-pretrained", "random"]
    with pytest.raises(
        ValueError, match=r"1[0-9]{3} of the 1600 clips of a list cannot be used.*90% is left"
    ):
        run_here("ast_esc50", *flags)
    assert not list(tmp_path.rglob("seed_*"))


# Folders of runs ---------------------------------------------------------------------------------------


def test_experiments_never_share_a_run_folder():  # D6
    def settings(name, *flags):
        with experiment(name) as load:
            return vars(load("arguments").get_args(["-name", "exp", "-path_list", "/lists/esc50", *flags]))

    tagged = {run_folder(settings(name, "-tags", "tags"), name) for name in ALL_EXPERIMENTS}
    plain = {run_folder(settings(name), name) for name in ALL_EXPERIMENTS}
    assert len(tagged) == len(plain) == len(ALL_EXPERIMENTS) and not tagged & plain
    assert ROOT / "runs/IPET/tags/ast_esc50/exp" in tagged
    assert {ROOT / f"runs/IPET/{name}/exp" for name in EXPERIMENTS} <= plain


def test_the_same_name_and_tags_begin_a_run_in_every_experiment(tmp_path):  # D6
    for name in ALL_EXPERIMENTS:
        folder = run_folder({"path_run": tmp_path, "project": "IPET", "tags": "tags", "name": "exp"}, name)
        assert not open_run(folder, {"experiment": name}, ROOT / name, resume=False)
        (folder / "seed_1").mkdir()
        (folder / "seed_1/result.json").write_text("{}")
