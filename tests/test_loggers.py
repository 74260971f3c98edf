"""What each logger gets of a run, read back; that none harms a run, and that none asks another machine."""

import ast
import importlib.util
import json
import multiprocessing
import os
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ipet import arguments, parsing
from ipet.checkpoint import read_json
from ipet.logbook import Logbook, read_rows
from ipet.loggers import LOGGERS, Logger, check_loggers, is_installed, place_of
from ipet.plots import plot_confusion
from ipet.showing import show

from helpers import (
    ROOT,
    load_script,
    long,
    processes_of,
    run_here,
    seconds_until_gone,
    tiny,
    write_lists,
    write_wav,
)

OFFLINE = [name for name, logger in LOGGERS.items() if all(map(is_installed, logger.packages))]
CELLS = ("seed_1", "seed_2")
CLASSES = [f"class {i}" for i in range(4)]


def needs(name):
    missing = [package for package in LOGGERS[name].packages if not is_installed(package)]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


each = pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in LOGGERS])


# A run with every logger that is installed, where no network is ------------------------------------

ALONE = """
import fcntl, os, socket, struct, sys
flags = struct.pack("16sh14x", b"lo", 0x41)  # up and running: there is this interface alone
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, flags)
sys.argv = ["main.py", *sys.argv[1:]]
sys.path.insert(0, "")
import runpy
try:
    runpy.run_path("main.py", run_name="__main__")
finally:
    for _ in range(2):
        print("COUNTERS", repr(open("/proc/net/snmp").read() + open("/proc/net/snmp6").read()), flush=True)
        for kind, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
            try:
                socket.socket(kind, socket.SOCK_DGRAM).connect((address, 53))  # now one is asked
            except OSError:
                pass
"""


def alone():
    """What starts a process in a network of its own, without any other machine; nothing where it may not."""
    command = ["unshare", "-rn"]
    may = shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if may and sys.platform == "linux" else []


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two seeds, its folder, what it said, and all that it left in the user's home."""
    place = tmp_path_factory.mktemp("finished")
    lists = write_lists(place / "lists", train=9, valid=5, test=8)
    flags = ["-epoch", 2, "-seed", 1, 2, "-batch_size", 4, "-frame_length", 40, "-embedding_prompt_num", 2]
    flags += ["-description", "two seeds"]
    command = [*alone(), sys.executable, "-c", ALONE] if alone() else [sys.executable, "main.py"]
    home = place / "home"
    home.mkdir()
    env = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("WANDB", "MLFLOW", "TRACKIO", "NEPTUNE", "HF_"))
    }
    env |= {"HOME": str(home), "HF_TOKEN": "hf_of_nobody", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *map(str, tiny(lists, place, *flags, "-logger", *OFFLINE))],
        cwd=ROOT / "w2v_speechcommands",
        env={**env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "note" not in done.stdout, done.stdout
    return place / "IPET/t/w2v_speechcommands/a", done.stdout, home


def points_of(folder, cell):
    """(step, value) of each number in ``metrics.jsonl``, by the name that loggers know it by."""
    points = {}
    for row in read_rows(folder / cell / "metrics.jsonl"):
        for name, value in row.items():
            if name not in ("kind", "epoch", "step"):
                points.setdefault(f"{row['kind']}/{name}", []).append((row["step"], value))
    return points


def only_curves(points):
    return {name: values for name, values in points.items() if name.startswith(("step/", "epoch/"))}


# Reading back -------------------------------------------------------------------------------------


def events(folder, cell):
    found = EventAccumulator(str(folder / cell / "tensorboard"), {"images": 0, "audio": 0, "tensors": 0})
    found.Reload()
    return found


def tensorboard_points(folder, cell):
    found = events(folder, cell)
    return {name: [(e.step, e.value) for e in found.Scalars(name)] for name in found.Tags()["scalars"]}


def trackio_rows(folder, cell):
    """(step, values) of each row, by trackio's table of them."""
    [path] = (folder / "trackio").glob("*.db")
    with sqlite3.connect(path) as store:
        name = place_of(folder / cell, {}, 0).name
        found = store.execute("SELECT step, metrics FROM metrics WHERE run_name = ? ORDER BY id", [name])
        return [(step, json.loads(values)) for step, values in found]


def trackio_points(folder, cell):
    points = {}
    for step, values in trackio_rows(folder, cell):
        for name, value in values.items():
            if isinstance(value, int | float):
                points.setdefault(name, []).append((step, value))
    return points


def wandb_records(folder, cell):
    """The records of the one offline run, a log in LevelDB's format of wandb's own messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    [path] = (folder / cell / "wandb").glob("offline-run-*/run-*.wandb")
    data, position, pending, records = path.read_bytes(), 7, b"", []
    while position + 7 <= len(data):
        left = 32_768 - position % 32_768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        if kind == 0:
            break
        pending += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(Record.FromString(pending))
            pending = b""
    return records


def wandb_rows(folder, cell):
    rows = []
    for record in wandb_records(folder, cell):
        if record.HasField("history"):
            values = {}
            for item in record.history.item:
                name, *inner = item.nested_key or [item.key]
                if inner:
                    values.setdefault(name, {})[inner[0]] = json.loads(item.value_json)
                else:
                    values[name] = json.loads(item.value_json)
            rows.append((record.history.step.num or values["_step"], values))
    return rows


def wandb_points(folder, cell):
    points = {}
    for step, values in wandb_rows(folder, cell):
        for name, value in values.items():
            if isinstance(value, int | float):
                points.setdefault(name, []).append((step, value))
    return points


def mlflow_run(folder, cell):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow/mlflow.db'}")
    name = place_of(folder / cell, {}, 0).name
    [experiment] = [e for e in client.search_experiments() if e.name != "Default"]
    [run] = [r for r in client.search_runs([experiment.experiment_id]) if r.info.run_name == name]
    return client, run


def mlflow_points(folder, cell):
    client, run = mlflow_run(folder, cell)
    return {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def neptune_entries(folder, cell):
    """The operations of the one offline run, as neptune's client queued them."""
    [kept] = (folder / cell / "neptune/offline").glob("run__*")
    text, position, entries = (kept / "data-1.log").read_text(), 0, []
    while text[position:].strip("\n\0 "):
        entry, position = json.JSONDecoder().raw_decode(text, position)
        entries.append(entry["obj"])
        position += len(text[position:]) - len(text[position:].lstrip())
    return entries


def neptune_points(folder, cell):
    points = {}
    for entry in neptune_entries(folder, cell):
        name = "/".join(entry.get("path", []))
        if entry["type"] == "LogFloats":
            points.setdefault(name, []).extend((p["step"], p["value"]) for p in entry["values"])
        elif name.startswith("result/"):
            points.setdefault(name, []).append((None, entry["value"]))
    return points


POINTS = {
    "tensorboard": tensorboard_points,
    "trackio": trackio_points,
    "wandb": wandb_points,
    "mlflow": mlflow_points,
    "neptune": neptune_points,
}


def same_points(got, want):
    assert got.keys() == want.keys()
    for name, values in want.items():
        assert [step for step, _ in got[name]] == [step for step, _ in values], name
        np.testing.assert_allclose([v for _, v in got[name]], [v for _, v in values], rtol=1e-6)


@each
@pytest.mark.parametrize("cell", CELLS)
def test_a_logger_has_the_numbers_of_metrics_jsonl(finished, name, cell):
    folder, _, _ = finished
    same_points(only_curves(POINTS[name](folder, cell)), points_of(folder, cell))


def results_of(folder, cell):
    """What ``result.json`` says of the last and the best epoch."""
    result = read_json(folder / cell / "result.json")
    best = result["history"][result["best_epoch"] - 1]
    return {
        "result/last/valid_accuracy": result["history"][-1]["valid_accuracy"],
        "result/best/valid_accuracy": best["valid_accuracy"],
        "result/last/test_accuracy": result["test_at_last_epoch"]["test_accuracy"],
        "result/best/test_accuracy": result["test_at_best_epoch"]["test_accuracy"],
        "result/best_epoch": result["best_epoch"],
    }


def summary_of(name, folder, cell):
    if name == "wandb":
        found = {}
        for record in wandb_records(folder, cell):
            for item in record.summary.update:
                found[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        return found
    return {key: values[-1][1] for key, values in POINTS[name](folder, cell).items()}


@each
def test_a_logger_has_the_results_of_the_last_and_the_best_epoch(finished, name):
    folder, _, _ = finished
    for cell in CELLS:
        found = summary_of(name, folder, cell)
        want = results_of(folder, cell)
        assert {key: found[key] for key in want} == pytest.approx(want)


def read_wav(path):
    samples, rate = soundfile.read(path)
    return len(samples), rate


def test_tensorboard_has_arguments_confusion_tables_and_clips(finished):
    folder, _, _ = finished
    found = events(folder, "seed_1")
    tags = found.Tags()
    said = found.Tensors("arguments/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| batch_size | 4 |" in said and "| seed | 1 |" in said
    table = found.Tensors("results/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| metric | last epoch | best epoch (" in table and "| test_accuracy |" in table
    assert tags["images"] == ["confusion"]
    [image] = found.Images("confusion")
    assert image.encoded_image_string.startswith(b"\x89PNG") and image.width > 300
    assert 1 <= len(tags["audio"]) <= 6
    kinds = {
        re.fullmatch(r"clips/(wrong|right)_\d/true_class_\d_answered_class_\d", t)[1] for t in tags["audio"]
    }
    predictions = np.load(folder / "seed_1/predictions.npz")
    right = predictions["scores"].argmax(1) == predictions["targets"].argmax(1)
    assert kinds == {name for name, there in (("right", right.any()), ("wrong", not right.all())) if there}
    for tag in tags["audio"]:
        [clip] = found.Audio(tag)
        assert clip.sample_rate == 16_000 and 0.3 * 16_000 <= clip.length_frames <= 0.7 * 16_000
        true, answered = map(int, re.findall(r"class_(\d)", tag))
        assert (true == answered) == ("right_" in tag)


@needs("trackio")
def test_trackio_has_arguments_confusion_tables_and_clips_and_groups_the_seeds(finished):
    folder, _, _ = finished
    shown = {key: v for _, values in trackio_rows(folder, "seed_2") for key, v in values.items()}
    assert shown["confusion"]["_type"] == "trackio.image"
    assert (folder / "trackio/media" / shown["confusion"]["file_path"]).read_bytes().startswith(b"\x89PNG")
    assert {row["metric"] for row in shown["results"]["_value"]} > {"train_loss", "test_accuracy"}
    clips = {key: value for key, value in shown.items() if key.startswith("clips/")}
    assert 1 <= len(clips) <= 6
    for clip in clips.values():
        assert re.fullmatch(r"true class \d, answered class \d", clip["caption"])
        assert read_wav(folder / "trackio/media" / clip["file_path"])[1] == 16_000
    [path] = (folder / "trackio").glob("*.db")
    with sqlite3.connect(path) as store:
        configs = dict(store.execute("SELECT run_name, config FROM configs").fetchall())
    assert configs.keys() == {"t/w2v_speechcommands/a/seed_1", "t/w2v_speechcommands/a/seed_2"}
    for config in map(json.loads, configs.values()):
        assert (
            config["batch_size"] == 4
            and config["_Group"] == "t/w2v_speechcommands/a"
            and config["_Username"] is None
        )


@needs("wandb")
def test_wandb_has_arguments_confusion_tables_and_clips_and_groups_the_seeds(finished):
    folder, _, _ = finished
    records = wandb_records(folder, "seed_1")
    [run] = [record.run for record in records if record.HasField("run")][:1]
    assert (run.project, run.run_group, run.display_name) == (
        "IPET",
        "t/w2v_speechcommands/a",
        "t/w2v_speechcommands/a/seed_1",
    )
    assert run.run_id == read_json(folder / "seed_1/loggers.json")["wandb"]
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["batch_size"] == 4 and config["seed"] == 1
    shown = {key: value for _, values in wandb_rows(folder, "seed_1") for key, value in values.items()}
    [files] = (folder / "seed_1/wandb").glob("offline-run-*/files")
    assert (files / shown["confusion"]["path"]).read_bytes().startswith(b"\x89PNG")
    table = read_json(files / shown["results"]["path"])
    assert table["columns"][:2] == ["metric", "last epoch"] and len(table["data"]) > 3
    clips = {key: value for key, value in shown.items() if key.startswith("clips/")}
    assert 1 <= len(clips) <= 6
    for clip in clips.values():
        assert clip["_type"] == "audio-file" and re.fullmatch(
            r"true class \d, answered class \d", clip["caption"]
        )
        assert read_wav(files / clip["path"])[1] == 16_000


@needs("mlflow")
def test_mlflow_has_arguments_confusion_tables_and_clips_and_groups_the_seeds(finished):
    folder, _, _ = finished
    client, run = mlflow_run(folder, "seed_1")
    assert run.info.status == "FINISHED" and run.data.tags["group"] == "t/w2v_speechcommands/a"
    assert run.data.params["batch_size"] == "4" and run.data.params["seed"] == "1"
    top = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert top >= {"confusion.png", "results.md", "clips"}
    clips = [file.path for file in client.list_artifacts(run.info.run_id, "clips")]
    assert 1 <= len(clips) <= 6
    artifacts = folder / "mlflow/artifacts" / run.info.run_id / "artifacts"
    for clip in clips:
        assert re.fullmatch(r"clips/(wrong|right)_\d_true_class_\d_answered_class_\d\.wav", clip)
        assert read_wav(artifacts / clip)[1] == 16_000
    assert "| test_accuracy |" in (artifacts / "results.md").read_text()


@pytest.mark.skipif(not alone(), reason="a network of its own needs Linux and the right to have one")
def test_no_logger_asks_another_machine(finished):
    """Counted by the system: what a way to another machine was wanted for, also by programs beside Python."""
    _, said, _ = finished
    counted = []
    for tables in map(ast.literal_eval, re.findall(r"COUNTERS (.*)", said)):
        head, values = re.findall(r"^Ip: (.*)$", tables, re.MULTILINE)
        counted.append(int(dict(zip(head.split(), values.split()))["OutNoRoutes"]))
        counted.append(int(re.search(r"^Ip6OutNoRoutes\s+(\d+)", tables, re.MULTILINE)[1]))
    assert counted[:2] == [0, 0]
    assert counted[2] == 1  # one that was asked is counted


def test_loggers_leave_nothing_outside_the_run(finished):
    *_, home = finished
    left = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    assert {path for path in left if re.search("wandb|mlflow|trackio|gradio|neptune", path)} == set()
    assert not [
        path for name in ("wandb", "mlruns", "mlflow.db", ".neptune") for path in ROOT.glob(f"*/{name}")
    ]


@needs("neptune")
@pytest.mark.parametrize("cell", CELLS)
def test_neptune_has_project_tags_name_description_arguments_and_sources(finished, cell):  # D2
    folder, _, _ = finished
    entries = neptune_entries(folder, cell)
    fields = {"/".join(entry["path"]): entry.get("value") for entry in entries if "path" in entry}
    assert fields["sys/name"] == f"a/{cell}" and fields["sys/description"] == "two seeds"
    assert (fields["project"], fields["tags"]) == ("IPET", "t")
    added = {"/".join(e["path"]): e["values"] for e in entries if e["type"] == "AddStrings"}
    assert added == {"sys/tags": ["t"], "sys/group_tags": ["t/w2v_speechcommands/a"]}
    assert fields["arguments/batch_size"] == 4 and fields["arguments/seed"] == int(cell[-1])
    assert fields["arguments/experiment"] == "w2v_speechcommands"
    [sources] = [entry["file_globs"] for entry in entries if entry["type"] == "UploadFileSet"]
    assert sorted(sources) == [str(path) for path in sorted((folder / "sources").glob("*.py"))]


@needs("neptune")
def test_neptune_has_tables_and_copies_of_the_confusion_and_the_clips(finished):
    folder, _, _ = finished
    entries = neptune_entries(folder, "seed_1")
    [kept] = (folder / "seed_1/neptune/offline").glob("run__*")
    files = {
        "/".join(e["path"]): kept / "upload_path" / e["tmp_file_name"]
        for e in entries
        if "tmp_file_name" in e
    }
    assert files["confusion"].read_bytes().startswith(b"\x89PNG")
    clips = {name: path for name, path in files.items() if name.startswith("clips/")}
    assert 1 <= len(clips) <= 6
    for name, path in clips.items():
        assert re.fullmatch(r"clips/(wrong|right)_\d/true_class_\d_answered_class_\d", name)
        assert read_wav(path)[1] == 16_000
    [table] = [e["value"] for e in entries if e.get("path") == ["results"]]
    assert "| test_accuracy |" in table


@needs("neptune")
def test_a_server_s_project_comes_from_the_environment_and_neptune_is_resumed_by_its_id(
    tmp_path, monkeypatch
):
    """D2: no server is asked: what neptune's client would be told is recorded."""
    import neptune

    asked = []

    class Run(dict):
        def __missing__(self, name):
            return self

        def add(self, values):
            self["added"] = values

        def fetch(self):
            return "IPET-7"

        def stop(self):
            pass

    monkeypatch.setattr(neptune, "init_run", lambda **settings: asked.append(settings) or Run())
    monkeypatch.setenv("NEPTUNE_MODE", "async")
    monkeypatch.setenv("NEPTUNE_PROJECT", "me/sounds")
    cell = tmp_path / "IPET/t/a/seed_1"
    cell.mkdir(parents=True)
    (tmp_path / "IPET/t/a/arguments.json").write_text("{}")
    for last_step in (0, 5):
        Logbook(cell, ("neptune",), last_step=last_step).close()
    assert [settings["project"] for settings in asked] == ["me/sounds"] * 2
    assert asked[0]["tags"] == ["t"] and "with_id" not in asked[0]
    assert asked[1]["with_id"] == "IPET-7" and "tags" not in asked[1]


@needs("neptune")
def test_neptune_prints_nothing_offline(finished):
    _, said, _ = finished
    assert "neptune" not in said.lower().replace("notice", "")


def test_a_broken_logger_costs_one_line(tmp_path, capsys, monkeypatch):  # D2
    (tmp_path / "neptune").mkdir()
    (tmp_path / "neptune/__init__.py").write_text("raise ImportError('cannot import name of pkg_resources')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "neptune"]:
        monkeypatch.delitem(sys.modules, name)
    check_loggers(("neptune",))
    logbook = Logbook(tmp_path / "IPET/t/a/seed_1", ("neptune",))
    logbook.log("step", 1, 1, loss=0.5)
    logbook.close()
    [line] = [line for line in capsys.readouterr().out.splitlines() if line]
    assert line.startswith("note: -logger neptune failed and is left out from here on (ImportError: cannot")


# Going on -----------------------------------------------------------------------------------------


def in_child(work):
    """Call a function in a process of its own; the signal that ended it, or 0."""
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(timeout=120)
    return process.exitcode


@pytest.fixture(scope="module")
def gone_on(tmp_path_factory):
    """A cell that was killed behind its eighth step, its state of the fifth, and went on to the twelfth."""
    folder = tmp_path_factory.mktemp("gone_on") / "IPET/t/a"
    cell = folder / "seed_1"
    cell.mkdir(parents=True)
    (folder / "arguments.json").write_text('{"batch_size": 4}')

    def log(logbook, steps, scale=1.0):
        for step in steps:
            logbook.log("step", 1, step, loss=scale / step, lr=0.5)
            if step == 5:
                logbook.sync()

    def begin():
        os.chdir(folder)
        log(Logbook(cell, tuple(OFFLINE)), range(1, 9))
        (folder / "processes.json").write_text(json.dumps(processes_of(os.getpid())))
        os.kill(os.getpid(), signal.SIGKILL)

    def go_on():
        os.chdir(folder)
        logbook = Logbook(cell, tuple(OFFLINE), last_step=5)
        log(logbook, range(6, 13), scale=2.0)
        logbook.log("epoch", 1, 12, train_loss=0.25)
        logbook.close()

    ids = []
    assert in_child(begin) == -signal.SIGKILL
    seconds_until_gone({int(pid): began for pid, began in read_json(folder / "processes.json").items()})
    ids.append(read_json(cell / "loggers.json") if (cell / "loggers.json").is_file() else {})
    assert in_child(go_on) == 0
    ids.append(read_json(cell / "loggers.json") if (cell / "loggers.json").is_file() else {})
    return folder, ids


@long
@each
def test_a_killed_run_that_goes_on_has_every_point_once(gone_on, name):
    folder, ids = gone_on
    want = points_of(folder, "seed_1")
    assert [step for step, _ in want["step/loss"]] == list(range(1, 13))
    same_points(only_curves(POINTS[name](folder, "seed_1")), want)
    if name in ("wandb", "mlflow"):
        assert ids[0][name] == ids[1][name]


def test_a_logger_that_is_added_when_a_run_goes_on_gets_all_of_it(tmp_path):
    logbook = Logbook(tmp_path, ())
    for step in range(1, 6):
        logbook.log("step", 1, step, loss=1 / step)
    logbook.close()
    Logbook(tmp_path, ("tensorboard",), last_step=4).close()
    assert [step for step, _ in tensorboard_points(tmp_path, "")["step/loss"]] == [1, 2, 3, 4]


# Failing ------------------------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch):
    """A logger ``broken`` that raises in the method of that name; returns what it was told."""
    told = []

    class Broken(Logger):
        fails_in = "scalars"

        def __init__(self, place):
            self.tell("__init__")

        def tell(self, what, *_):
            told.append(what)
            if what == Broken.fails_in:
                raise OSError(28, "No space left on device")

        def __getattribute__(self, name):
            if name in ("scalars", "flush", "result", "picture", "table", "sound", "close"):
                return lambda *values: Broken.tell(self, name)
            return super().__getattribute__(name)

    monkeypatch.setitem(LOGGERS, "broken", Broken)
    return Broken, told


@pytest.mark.parametrize("what", ["__init__", "scalars", "flush", "result", "picture", "close"])
def test_a_logger_that_fails_is_told_no_more_and_the_others_are(tmp_path, capsys, failing, what):
    broken, told = failing
    broken.fails_in = what
    logbook = Logbook(tmp_path, ("broken", "tensorboard"))
    for step in (1, 2, 3):
        logbook.log("step", 1, step, loss=1 / step)
    logbook.sync()

    def tell_all(tell):
        tell("result", {"result/last/eval_accuracy": 0.5})
        tell("picture", "confusion", plot_confusion(tmp_path / "c.png", np.eye(2, dtype=int), ["a", "b"]))

    logbook.show(3, tell_all)
    logbook.close()
    assert told.count(what) <= 1 + (what == "close") and set(told[told.index(what) + 1 :]) <= {"close"}
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    found = tensorboard_points(tmp_path, "")
    assert len(found["step/loss"]) == 3 and found["result/last/eval_accuracy"] == [(3, 0.5)]
    [note] = [line for line in capsys.readouterr().out.splitlines() if line]
    assert note.startswith("note: -logger broken failed and is left out from here on (OSError: [Errno 28]")
    assert f"{tmp_path}/metrics.jsonl has every row" in note


def test_a_run_whose_logger_cannot_begin_ends_as_any_other(tmp_path, capsys, failing):
    """In the main process alone: another one, which has no loggers, would wait for it."""
    broken, _ = failing
    broken.fails_in = "__init__"
    lists = write_lists(tmp_path / "lists", train=4, valid=2, test=2)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parsing, "LOGGERS", ("broken",))
        flags = ["-epoch", 1, "-batch_size", 4, "-frame_length", 40, "-logger", "broken"]
        folder = run_here("w2v_speechcommands", *tiny(lists, tmp_path, *flags))
    assert read_json(folder / "seed_1234/result.json")["best_epoch"] == 1
    assert capsys.readouterr().out.count("note: -logger broken failed") == 1


def test_what_tensorboard_s_thread_meets_ends_no_run(tmp_path, capsys, monkeypatch):
    def full(self, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("threading.excepthook", lambda error: None)
    logbook = Logbook(tmp_path, ("tensorboard",))
    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    for step in range(1, 30):
        logbook.log("step", 1, step, loss=1 / step)
    logbook.sync()
    logbook.close()
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 29
    assert capsys.readouterr().out.count("note: -logger tensorboard failed") == 1


# What is missing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "install"),
    [("neptune", "neptune-client"), ("trackio", "trackio"), ("wandb", "wandb"), ("mlflow", "mlflow-skinny")],
)
def test_a_missing_package_is_told_before_the_run_with_what_to_do(monkeypatch, name, install):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=f"-logger {name} needs the package: python3 -m pip install {install};"
    ):
        check_loggers(("tensorboard", name))
    check_loggers(("tensorboard",))


def test_a_folder_of_a_package_s_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "wandb_files").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.util.find_spec("wandb_files") is not None and not is_installed("wandb_files")


def test_the_flag_knows_every_logger():
    assert set(LOGGERS) == set(arguments.LOGGERS)


# What is shown ------------------------------------------------------------------------------------


def shown_of(metric, predictions, names, tmp_path, most=99):
    """What ``show`` tells: names of tables, figures and clips, with what the clips say."""
    for i in range(most):
        write_wav(tmp_path / f"{i}.wav", 0.1, seed=i)
    row = {"epoch": 1, "seconds": 1.0, "lr": 0.1, f"eval_{metric}": 0.5}
    result = {"metric": metric, "history": [row], "best_epoch": 1, "seconds": 1.0}
    told = []

    def tell(what, name, *values):
        told.append((what, name if isinstance(name, str) else "", values))

    show(result, predictions, names, lambda i: [tmp_path / f"{i}.wav"] * (2 if metric == "EER" else 1), tell)
    return told


def test_of_one_label_a_clip_the_surest_mistakes_and_right_answers_are_heard(tmp_path):
    # Clips 0 and 1 are right, 1 more surely; clip 2 is wrong.
    scores = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    told = shown_of(
        "accuracy", {"scores": scores, "targets": np.eye(2)[[0, 1, 1]]}, ["dog", "cat"], tmp_path, 3
    )
    sounds = [(name, values[1]) for what, name, values in told if what == "sound"]
    assert sounds == [
        ("clips/wrong_1", "true cat, answered dog"),
        ("clips/right_1", "true cat, answered cat"),
        ("clips/right_2", "true dog, answered dog"),
    ]
    assert ("picture", "confusion") in [entry[:2] for entry in told]
    [table] = [values for what, name, values in told if name == "confused"]
    assert table[1] == [("cat", "dog", 1, "50.0")]


def test_of_several_labels_every_class_has_its_precision(tmp_path):
    targets = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0]])
    scores = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.7, 0.1, 0.0]])
    told = shown_of("mAP", {"scores": scores, "targets": targets}, ["a", "b", "c"], tmp_path, 3)
    [table] = [values for what, name, values in told if what == "table" and name == "per_class"]
    # a: hits at ranks 1 and 3: (1 + 2/3) / 2; b: clip 1 first, then a tie of clips 0 and 2: (1 + 2/3) / 2
    assert sorted(table[1]) == [("a", 2, "0.8333"), ("b", 2, "0.8333"), ("c", 0, "-")]
    assert [values[1] for what, _, values in told if what == "sound"] == [
        "true b, answered a",
        "true a and b, answered a",  # its only other class scored 0
        "true a, answered a",
    ]


def test_of_trials_there_are_the_trade_off_and_both_utterances_of_the_hardest(tmp_path):
    predictions = {"scores": np.array([0.9, 0.2, 0.6, 0.1]), "targets": np.array([1, 1, 0, 0])}
    told = shown_of("EER", predictions, ["x"], tmp_path, 4)
    assert [name for what, name, _ in told if what == "picture"] == ["det"]
    assert [(name, values[1]) for what, name, values in told if what == "sound"][:2] == [
        ("clips/hardest_1_1", "one speaker scored 0.200"),
        ("clips/hardest_1_2", "one speaker scored 0.200"),
    ]
    assert sum(what == "sound" for what, *_ in told) == 6


def test_many_classes_have_no_figure_that_nobody_could_read(tmp_path):
    names = [f"{i}" for i in range(101)]
    predictions = {"scores": np.eye(101), "targets": np.eye(101)}
    assert "picture" not in [what for what, *_ in shown_of("accuracy", predictions, names, tmp_path)]


def test_clips_that_are_gone_cost_a_note(tmp_path, capsys):
    logbook = Logbook(tmp_path, ("tensorboard",))
    row = {"epoch": 1, "seconds": 1.0, "eval_accuracy": 1.0}
    result = {"metric": "accuracy", "history": [row], "best_epoch": 1, "seconds": 1.0}
    predictions = {"scores": np.eye(2), "targets": np.eye(2)}
    gone = [tmp_path / "gone.wav"]
    logbook.show(1, lambda tell: show(result, predictions, ["a", "b"], lambda row: gone, tell))
    logbook.close()
    assert "note: not all that came out is in the loggers: ClipError: 1 clips cannot be heard" in (
        capsys.readouterr().out
    )
    assert events(tmp_path, "").Tags()["images"] == ["confusion"]


# A logger of one's own ----------------------------------------------------------------------------


def test_the_example_of_a_logger_writes_what_it_is_told(tmp_path, monkeypatch):
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/loggers.md").read_text(), re.DOTALL)
    (tmp_path / "csv_logger.py").write_text(code)
    own = load_script(tmp_path / "csv_logger.py", "csv_logger")
    monkeypatch.setitem(LOGGERS, "csv", own.Csv)
    logbook = Logbook(tmp_path / "cell", ("csv",))
    logbook.log("step", 1, 1, loss=0.5, lr=0.25)
    logbook.log("epoch", 1, 1, eval_accuracy=1.0)
    logbook.show(1, lambda tell: tell("result", {"result/best/eval_accuracy": 1.0}))
    logbook.close()
    want = "step,name,value\n1,step/loss,0.5\n1,step/lr,0.25\n1,epoch/eval_accuracy,1.0\n"
    want += "1,result/best/eval_accuracy,1.0\n"
    assert (tmp_path / "cell/curves.csv").read_text() == want
