"""passport.json: what it holds, the flags that it becomes again, and a run made again from it."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from ipet import passport
from ipet.__main__ import main
from ipet.experiment import settings_of
from ipet.passport import hashes, list_files, plain, read_passport
from ipet.rerun import OWN, check_cache, flags_of
from ipet.summary import planned_cells

from helpers import EXPERIMENTS, ROOT, run_here, tiny, write_lists


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two folds and an epoch on noise."""
    folder = tmp_path_factory.mktemp("passport")
    lists = write_lists(folder / "lists", train_1=6, eval_1=4, train_2=5, eval_2=3)
    flags = ["-frame_length", 32, "-epoch", 1, "-batch_size", 4, "-fold", 2, "-norm_mean=-1e-05"]
    return run_here("ast_esc50", *tiny(lists, folder / "runs", *flags))


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# What it holds --------------------------------------------------------------------------------------


def test_a_passport_holds_what_a_run_was_made_from_and_what_came_out(run):
    found = read_passport(run / "passport.json")
    arguments = json.loads((run / "arguments.json").read_text())
    assert found["experiment"] == "ast_esc50" and found["seeds"] == [1234]
    assert found["cells"] == ["seed_1234/fold_1", "seed_1234/fold_2"]
    assert found["lists_sha256"] == arguments["lists_sha256"]
    assert found["arguments"].items() < arguments.items() and found["arguments"]["norm_mean"] == -1e-05
    lists = Path(arguments["path_list"])
    names = ("labels.csv", "train_1.json", "train_2.json", "eval_1.json", "eval_2.json")
    assert found["lists"] == {name: sha256(lists / name) for name in names}
    assert found["sources"]["model.py"] == sha256(ROOT / "ast_esc50/model.py")
    [start] = found["starts"]
    assert start["packages"]["torch"] == "2.11.0" and start["device"] == "cpu" and start["threads"] >= 1
    assert start["hardware"]["memory_bytes"] > 2**30 and start["hardware"]["cpu"]
    assert len(start["ipet_sha256"]) == 64
    summary = json.loads((run / "summary.json").read_text())
    values = {name: part["values"] for name, part in summary["protocols"].items()}
    assert found["results"]["protocols"] == values and found["results"]["metric"] == "accuracy"
    for cell, files in found["results"]["cells"].items():
        for name in ("last/adapter_model.safetensors", "best/adapter_model.safetensors", "predictions.npz"):
            assert files["sha256"][name] == sha256(run / cell / name)
        adapter = json.loads((run / cell / "last/adapter_config.json").read_text())
        assert files["backbone_sha256"] == adapter["backbone"]["sha256"] == found["backbone"]["sha256"]


def test_a_passport_names_no_folder_of_the_machine_beside_its_arguments(run):
    found = read_passport(run / "passport.json")
    assert "path_list" in found.pop("arguments")
    text = json.dumps(found)
    assert str(run.parents[3]) not in text and str(ROOT) not in text and str(Path.home()) not in text


def test_a_finished_cell_is_hashed_once(run, tmp_path, monkeypatch):
    again = shutil.copytree(run, tmp_path / "again")
    results = passport_results(again)
    read = []
    monkeypatch.setattr(passport, "hashes", lambda files: read.append(set(files)) or hashes(files))
    passport.write_passport(again, *results)
    cells = [names for names in read if "result.json" in names]
    assert cells == [{"result.json"}] * 2  # the adapters of a fine-tuning are large
    assert (again / "passport.json").read_bytes() == (run / "passport.json").read_bytes()
    result = again / "seed_1234/fold_1/result.json"
    result.write_text(result.read_text() + "\n")  # trained once more
    (again / "seed_1234/fold_1/predictions.npz").write_bytes(b"others")
    passport.write_passport(again, *results)
    files = read_passport(again / "passport.json")["results"]["cells"]["seed_1234/fold_1"]["sha256"]
    assert files["predictions.npz"] == hashlib.sha256(b"others").hexdigest()


def passport_results(folder):
    from ipet.summary import read_results, summarise

    results = read_results(folder)
    return results, summarise(results)


def test_the_lists_are_those_that_the_cells_read():
    folds = {"path_list": "/l", "fold": 5}
    assert list(list_files(folds, ["seed_1/fold_2"])) == ["labels.csv", "train_2.json", "eval_2.json"]
    nested = list(list_files(folds, ["seed_1/fold_5_nested"]))
    assert nested == ["labels.csv", "train_5.json", "eval_1.json", "eval_5.json"]  # 1 is held out of 5
    trials = {"path_list": "/l", "fold": 0, "path_trial": "/t/o.txt", "more_trials": ["/t/e.txt"]}
    trials |= {"add_musan_rir": True, "path_noise_list": "/n"}
    files = list_files(trials, ["seed_1"])
    assert files["o.txt"] == Path("/t/o.txt") and files["e.txt"] == Path("/t/e.txt")
    assert files["musan/noise.json"] == Path("/n/musan/noise.json") and "train.json" in files


def test_several_paths_of_an_argument_are_json_values():
    assert json.dumps(plain((Path("/a"), Path("/b")))) == '["/a", "/b"]'


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p.update(schema=2), "schema 2; this version reads 1"),
        (lambda p: p.pop("lists"), "damaged: 'lists' is nothing; expected dict"),
        (lambda p: p.update(arguments=[]), "damaged: 'arguments' is list; expected dict"),
        (lambda p: p.update(cells=["../../x"]), "damaged (ValueError"),
        (lambda p: p["results"]["protocols"].update(last={"seed_1": "high"}), "damaged (ValueError"),
        (lambda p: p["results"].update(cells={"seed_1": 3}), "damaged (TypeError"),
        (lambda p: p["results"].update(metric=["accuracy"]), "damaged (TypeError: metric is list"),
        (lambda p: p.update(starts=[1]), "damaged (TypeError"),
        (lambda p: p.update(sources={"../../x": "0"}), "damaged (ValueError: '../../x' is no source's name)"),
        (lambda p: p.update(sources={"/etc/hosts": "0"}), "damaged (ValueError: '/etc/hosts' is no source's"),
    ],
)
def test_a_damaged_passport_is_one_line_that_names_it(run, tmp_path, capsys, change, said):
    found = read_passport(run / "passport.json")
    change(found)
    path = tmp_path / "passport.json"
    path.write_text(json.dumps(found))
    for command in (["rerun", str(path)], ["compare", str(run), str(path)]):
        assert main(command) == 1
        err = capsys.readouterr().err
        assert err.startswith(f"error: {path}: ") and said in err and err.count("\n") == 1


# Arguments and flags --------------------------------------------------------------------------------

COMMON = [
    [],
    [
        "-seed",
        "3",
        "1",
        "-precision",
        "bf16",
        "-lr",
        "5e-4",
        "-weight_decay",
        "0",
        "-logger",
        "tensorboard,neptune",
    ],
    ["-adapter", "False", "-adapter_hidden_dim", "7"],
    ["-adapter", "False", "-embedding_prompt", "False", "-usable_gpu", "0,1"],
    ["-method", "lora", "-lora_rank", "4", "-head_lr", "1e-2"],
    ["-method", "prefix", "-budget", "1.5M", "-shots", "4", "-class_weights", "True", "-patience", "3"],
    ["-authors", "True", "-adapter_position", "parallel", "-adapter_init", "zero", "-logger="],
    ["-method", "finetune", "-path_list", "lists", "-on_bad_audio", "skip", "-checkpoint_every", "3m"],
    [
        "-path_data",
        "data",
        "-path_cache",
        "cache",
        "-tags",
        "mine",
        "-project",
        "P",
        "-whole_periods",
        "False",
    ],
]
ONLY = {
    "ast": [["-norm_mean=-1e-05", "-pretrained", "ast_small", "-freqm", "0", "-winfunc", "hamming"]],
    "w2v": [["-model_type", "wavlm"], ["-model_type", "hubert", "-pretrained", "p", "-keep_features", "1.5"]],
    "voxceleb": [["-path_trial", "t.txt", "-more_trials", "e.txt", "h.txt", "-as_norm", "9"]],
    "folds": [["-protocol", "nested", "last"]],
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_arguments_of_every_experiment_become_flags_that_give_them_again(name):
    folds = "folds" if name.endswith(("esc50", "gtzan")) else ""
    further = [
        flags for kind, several in ONLY.items() if kind in (*name.split("_"), folds) for flags in several
    ]

    def resolve(flags):
        return settings_of(ROOT / name, flags)

    for flags in [*COMMON, *further]:
        resolved = resolve(flags)
        arguments = {key: plain(value) for key, value in resolved.items()}
        arguments["rand_seed"] = arguments["rand_seed"] or [1234]  # as the launcher records them
        arguments["protocol"] = arguments["protocol"] or ["last"]
        again = resolve(flags_of(json.loads(json.dumps(arguments)), resolve, Path("p")))
        again["rand_seed"], again["protocol"] = again["rand_seed"] or (1234,), again["protocol"] or ("last",)
        got = {key: plain(value) for key, value in again.items() if key not in OWN}
        assert got == {key: value for key, value in arguments.items() if key not in OWN}, flags


@pytest.mark.parametrize(
    "further", [[], ["-norm_mean=-4.2677393"], ["-fold", "1", "-classification_loss", "cce"]]
)
def test_defaults_that_the_lists_give_are_told_from_what_was_given(tmp_path, further):
    lists = write_lists(tmp_path, train_1=2, eval_1=2, train_2=2, eval_2=2)
    (lists / "stats.json").write_text('{"mean": -3.5, "std": 2.5}')

    def resolve(flags):
        return settings_of(ROOT / "ast_custom", flags)

    arguments = {key: plain(value) for key, value in resolve(["-path_list", str(lists), *further]).items()}
    again = resolve(flags_of(arguments, resolve, Path("p")))
    got = {key: plain(value) for key, value in again.items() if key not in OWN}
    assert got == {key: value for key, value in arguments.items() if key not in OWN}


def test_a_tuple_among_the_flags_is_spelt_as_its_flag_reads_it():
    """A new flag of several values has to be of one word, and among COMMAS, or of several words."""
    settings = settings_of(ROOT / "w2v_voxceleb", []) | settings_of(ROOT / "ast_esc50", [])
    several = {key for key, value in settings.items() if isinstance(value, tuple)}
    assert several == {"logger", "rand_seed", "protocol", "more_trials"}  # and usable_gpu, None by default


# Once more ------------------------------------------------------------------------------------------


def test_a_run_made_again_from_its_passport_is_the_same_bit_for_bit(run, capfd):
    assert main(["rerun", str(run / "passport.json")]) == 0
    out, err = capfd.readouterr()
    assert out.endswith("\nbit for bit the same: 2 of 2 cells\n") and "error" not in err
    assert "arguments    the same" in out and "environment  the same" in out and "note:" not in out
    again = run.with_name("a_again")
    for name in ("last/adapter_model.safetensors", "metrics.jsonl", "predictions.npz"):
        for cell in ("seed_1234/fold_1", "seed_1234/fold_2"):
            assert (again / cell / name).read_bytes() == (run / cell / name).read_bytes()


@pytest.fixture
def here(monkeypatch):
    """Let rerun start main.py in this process; returns the command lines."""
    started = []

    def start(command, experiment, starts):
        started.append(command)
        run_here(experiment.name, *command[command.index("main.py") + 1 :])
        return 0

    monkeypatch.setattr("ipet.rerun.run", start)
    return started


def test_another_number_is_not_the_same_and_the_passport_alone_suffices(run, tmp_path, here, capsys):
    found = read_passport(run / "passport.json")
    found["lists"]["train_2.json"] = found["sources"]["model.py"] = "0" * 64
    found["starts"][-1]["packages"]["torch"], found["starts"][-1]["device"] = "2.9.0", "cuda:0"
    (tmp_path / "passport.json").write_text(json.dumps(found))
    flags = ["-path_run", str(tmp_path / "elsewhere"), "-name", "b", "--", "-lr", "0.01", "-fold", "1"]
    assert main(["rerun", str(tmp_path / "passport.json"), *flags]) == 1
    out = capsys.readouterr().out
    for note in (
        "packages.torch was 2.9.0 and is 2.11.0",
        "device was cuda and is cpu",
        "ast_esc50/model.py has changed",
    ):
        assert f"note: {note}\n" in out
    assert out.endswith("not the same: 2 of 2 cells: seed_1234/fold_1, seed_1234/fold_2\n")
    assert re.search(r"^  lr +0\.001 \| 0\.01$", out, re.MULTILINE)
    assert (tmp_path / "elsewhere/IPET/t/ast_esc50/b/passport.json").is_file()
    assert "in A alone: seed_1234/fold_2" in out and len(here) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda p: p.update(experiment="../ast_esc50"),
            "experiment '../ast_esc50' is none of this repository",
        ),
        (lambda p: p.update(experiment="tests"), "experiment 'tests' is none of this repository"),
        (lambda p: p["arguments"].update(shell="rm"), "argument 'shell' is no flag of its experiment"),
        (lambda p: p["arguments"].update(name="../../x"), "'../../x_again' cannot be a folder's name"),
        (lambda p: p["arguments"].update(tags=".."), "'..' cannot be a folder's name"),
        (lambda p: p["arguments"].update(lr="--help"), "'--help' is not a number above 0"),
        (lambda p: p["arguments"].update(lr={"a": 1}), "is not a number above 0"),
        (lambda p: p["arguments"].update(rand_seed=[1, "-resume"]), "-rand_seed was [1, '-resume']"),
        (lambda p: p["arguments"].update(protocol=["-h"]), "does not take its arguments"),
        (
            lambda p: p["arguments"].update(path_cache="/nowhere/of/mine"),
            "kept decoded recordings in /nowhere/of/mine, which is no such folder here",
        ),
        (lambda p: p["results"].update(cells={}), "no cell of this run is finished"),
        (lambda p: p["arguments"].update(path_list="/nowhere"), "the run's lists, /nowhere, are not there"),
    ],
)
def test_of_a_passport_from_elsewhere_only_known_flags_are_used(
    run, tmp_path, capsys, monkeypatch, change, said
):
    monkeypatch.setattr("ipet.rerun.run", lambda *_: pytest.fail("main.py was started"))
    found = read_passport(run / "passport.json")
    change(found)
    path = tmp_path / "passport.json"
    path.write_text(json.dumps(found))
    assert main(["rerun", str(path)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {path}: ") and said in err and err.count("\n") == 1


def test_a_cache_that_is_there_or_given_is_used(tmp_path):
    check_cache(Path("p"), None, [])
    check_cache(Path("p"), "/nowhere", ["-path_cache=/here"])
    with pytest.raises(ValueError, match="goes behind --: -- -path_cache DIR"):
        check_cache(Path("p"), str(tmp_path), [])
    (tmp_path / "ipet_000000_00000000.index").touch()
    check_cache(Path("p"), str(tmp_path), [])


def test_where_main_py_fails_nothing_is_compared(run, monkeypatch, capsys):
    monkeypatch.setattr("ipet.rerun.run", lambda *_: 75)
    assert main(["rerun", str(run / "passport.json")]) == 1
    out, err = capsys.readouterr()
    assert err == "error: main.py ended with exit status 75; nothing was compared\n"
    assert "bit for bit" not in out


def test_an_interrupted_rerun_says_how_it_goes_on(run, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ipet.rerun.run", interrupted)
    assert main(["rerun", str(run / "passport.json")]) == 130
    assert capsys.readouterr().err == "error: interrupted; the same command goes on with -- -resume\n"


def test_lists_that_lie_elsewhere_here_are_given_behind_two_dashes(run, tmp_path, here, capsys):
    found = read_passport(run / "passport.json")
    lists = shutil.copytree(found["arguments"]["path_list"], tmp_path / "lists")
    found["arguments"] |= {"path_list": "/nowhere", "path_data": "/nowhere"}
    path = tmp_path / "passport.json"
    path.write_text(json.dumps(found))
    flags = ["-path_run", str(tmp_path / "runs"), "--", "-path_list", str(lists), "-path_data", str(lists)]
    assert main(["rerun", str(path), *flags]) == 0
    assert capsys.readouterr().out.endswith("bit for bit the same: 2 of 2 cells\n")


def test_the_planned_cells_of_a_passport_are_those_that_a_rerun_trains(run):
    found = read_passport(run / "passport.json")
    arguments = found["arguments"]
    assert found["cells"] == planned_cells(arguments["rand_seed"], arguments["fold"], arguments["protocol"])
