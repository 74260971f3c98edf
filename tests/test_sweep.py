"""Sweeps: which trials run, what they are chosen by, going on after a kill, and the patch at the end.

Most of them run a toy experiment, whose main.py trains nothing and writes a run's files.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from ipet import sweep as sweeps
from ipet import sweep_trial
from ipet.__main__ import main
from ipet.arguments import REPOSITORY
from ipet.patch import with_defaults
from ipet.study import describe
from ipet.sweep_trial import GRACE_SECONDS, is_dead, progress

from helpers import ALL_EXPERIMENTS, ROOT, load_script, long, write_lists

optuna = pytest.importorskip("optuna", reason="sweeps need optuna")

ARGUMENTS = '''"""A toy."""

from ipet.arguments import ast_arguments


def get_args(argv=None):
    return ast_arguments(
        argv,
        path_list=LISTS, fold=FOLDS,
        frame_length=8, classification_loss="cce",  # a word, "quoted"
        embedding_prompt_num=2, adapter_hidden_dim=4,
        epoch=3, batch_size=4, lr=0.5, lr_finetune=0.25,
    )
'''
TRAINER = """class Trainer:
    metric = "accuracy"
"""
# The better on validation, the worse on test clips; the second epoch is the best.
MAIN = """import json, os, sys, time
from arguments import get_args
from ipet.experiment import run_folder

flags = get_args()
folder = run_folder(vars(flags), os.path.basename(os.getcwd()))
with open(flags.path_list / "starts.txt", "a") as file:
    file.write(f"{flags.name} {flags.lr} {flags.adapter_hidden_dim}\\n")
if flags.lr > 10 and not (flags.path_list / "mended").exists():
    print("epoch 1\\nerror: the loss is nan\\nbye", file=sys.stderr)
    sys.exit(1)
watched = os.environ.get("TOY_WATCHED", "valid")
metric, higher = os.environ.get("TOY_METRIC", "accuracy"), os.environ.get("TOY_METRIC") != "EER"
for fold in range(1, flags.fold + 1) if flags.fold else [0]:
    cell = folder / "seed_1234" / (f"fold_{fold}_nested" if fold else "")
    cell.mkdir(parents=True, exist_ok=True)
    history = []
    with open(cell / "metrics.jsonl", "w") as file:
        for epoch in range(1, flags.epoch + 1):
            time.sleep(float(os.environ.get("TOY_SECONDS", 0)))
            value = flags.lr * (1.0 if epoch == 2 else 0.5) + 0.001 * flags.adapter_hidden_dim + 0.1 * fold
            history.append({"epoch": epoch, f"{watched}_loss": 1.0, f"{watched}_{metric}": value})
            print(json.dumps({"kind": "step", "epoch": epoch, "step": epoch, "loss": 1.0}), file=file)
            print(json.dumps({"kind": "epoch", "step": epoch, **history[-1]}), file=file, flush=True)
    result = {"metric": metric, "watched": watched, "best_epoch": 2, "history": history}
    result["test_at_best_epoch"] = {f"test_{metric}": 1 - history[1][f"{watched}_{metric}"]}
    result["test_at_last_epoch"] = result["test_at_best_epoch"]
    result |= {"higher_is_better": higher, "seconds": 1.0, "peak_memory_bytes": 1}
    result |= {"trainable_parameters": 1, "all_parameters": 2}
    (cell / "result.json").write_text(json.dumps(result))
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(sweep_trial, "POLL_SECONDS", 0.02)


@pytest.fixture
def toy(tmp_path):
    """The folder of an experiment with train, valid and test lists."""
    return write_toy(tmp_path / "repository")


def write_toy(repository, folds=0):
    folder, lists = repository / "toy", repository / "lists"
    folder.mkdir(parents=True)
    lists.mkdir()
    (lists / "valid.json").write_text("{}")
    text = ARGUMENTS.replace("LISTS", repr(str(lists))).replace("FOLDS", str(folds))
    (folder / "arguments.py").write_text(text)
    (folder / "trainer.py").write_text(TRAINER)
    (folder / "main.py").write_text(MAIN)
    return folder


def sweep(toy, *flags):
    """Run the command in this process; runs are written beside the experiment."""
    return main(["sweep", str(toy), "-path_run", str(toy.parent / "runs"), *map(str, flags)])


def sweep_there(toy, *flags, **environment):
    """Start the command in a process of its own."""
    command = [sys.executable, "-m", "ipet", "sweep", str(toy), "-path_run", str(toy.parent / "runs")]
    return subprocess.Popen(
        [*command, *map(str, flags)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def study_folder(toy, name="toy"):
    return toy.parent / "runs/sweeps" / name


def trials(toy, name="toy"):
    return json.loads((study_folder(toy, name) / "sweep.json").read_text())["trials"]


def starts(toy):
    """Name, learning rate and bottleneck of every training that was started."""
    path = toy.parent / "lists/starts.txt"
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


# Which trials, and what chooses ---------------------------------------------------------------------


def test_every_point_of_a_grid_is_tried_once_and_validation_data_choose(toy, capsys):
    assert sweep(toy, "-grid", "lr=0.2,0.7,0.4", "adapter_hidden_dim=8,16") == 0
    got = [(t["settings"]["lr"], t["settings"]["adapter_hidden_dim"], t["accuracy"]) for t in trials(toy)]
    # lr at the second epoch, and a thousandth of the bottleneck
    want = [("0.2", "8", 0.208), ("0.2", "16", 0.216), ("0.7", "8", 0.708), ("0.7", "16", 0.716)]
    want += [("0.4", "8", 0.408), ("0.4", "16", 0.416)]
    assert [(lr, dim) for lr, dim, _ in got] == [(lr, dim) for lr, dim, _ in want]
    assert [value for *_, value in got] == pytest.approx([value for *_, value in want])
    assert [name for name, *_ in starts(toy)] == [f"trial_{i}" for i in range(6)]
    out = capsys.readouterr().out
    assert "study toy: 6 trials complete, 0 pruned, 0 failed" in out
    # On the test list trial 0 is the best one, with 1 - 0.208.
    assert "best: trial 3 (trial_3, accuracy 71.60 % on validation data)\n  lr = 0.7\n" in out


def test_folds_are_chosen_by_their_nested_cells(tmp_path):
    toy = write_toy(tmp_path / "repository", folds=3)
    assert sweep(toy, "-grid", "lr=0.2,0.3") == 0
    folder = study_folder(toy) / "trial_1/seed_1234"
    assert sorted(path.name for path in folder.iterdir()) == [f"fold_{k}_nested" for k in (1, 2, 3)]
    # lr, a thousandth of the bottleneck of 4, and on average 0.2 of the folds
    assert [t["accuracy"] for t in trials(toy)] == pytest.approx([0.404, 0.504])


def write_epochs(path, *values):
    path.mkdir(parents=True)
    lines = [json.dumps({"kind": "step", "epoch": 1, "step": 1, "loss": 1.0})]
    lines += [json.dumps({"kind": "epoch", "epoch": i, "valid_accuracy": v}) for i, v in enumerate(values, 1)]
    (path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"kind": "epoch", "epo')


def test_the_steps_of_folds_go_on_and_their_values_are_the_mean_of_the_best_so_far(toy, tmp_path):
    task = describe(toy, {"lr": ["1"]}, {}, [], tmp_path / "study")
    run = tmp_path / "run"
    assert progress(run, task) == []
    write_epochs(run / "seed_1/fold_1_nested", 0.2, 0.6, 0.4)
    assert progress(run, task) == [(1, 0.2), (2, 0.6), (3, 0.6)]
    write_epochs(run / "seed_1/fold_2_nested", 0.1, 0.3)
    steps = progress(run, task)
    assert [step for step, _ in steps] == [1, 2, 3, 4, 5]
    # (0.6 + 0.1) / 2, (0.6 + 0.3) / 2
    assert [value for _, value in steps] == pytest.approx([0.2, 0.6, 0.6, 0.35, 0.45])
    task.higher_is_better = False
    assert progress(run, task)[-1][1] == pytest.approx((0.2 + 0.1) / 2)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_study_in_two_parts_draws_what_it_draws_in_one(toy, sampler):
    axes = ["-range", "lr=1e-3:1:log", "adapter_hidden_dim=4:64", "-grid", "freqm=0,24", "-sampler", sampler]
    assert sweep(toy, *axes, "-trials", 4, "-study", "whole") == 0
    assert sweep(toy, *axes, "-trials", 2, "-study", "parts") == 0
    assert sweep(toy, *axes, "-trials", 4, "-study", "parts") == 0
    whole, parts = ([t["settings"] for t in trials(toy, name)] for name in ("whole", "parts"))
    assert whole == parts
    assert len({s["lr"] for s in whole}) == 4  # a sampler that began anew would repeat the first two
    for settings in whole:
        assert 1e-3 <= settings["lr"] <= 1 and 4 <= settings["adapter_hidden_dim"] <= 64
        assert type(settings["adapter_hidden_dim"]) is int and settings["freqm"] in ("0", "24")


def test_a_trial_below_the_median_is_ended(toy, capsys, monkeypatch):
    monkeypatch.setenv("TOY_SECONDS", "0.2")
    flags = ["-grid", "lr=0.7,0.8,0.9,0.1", "-prune", "median", "--", "-epoch", 5]
    assert sweep(toy, *flags) == 0
    assert [t["state"] for t in trials(toy)] == ["complete", "complete", "complete", "pruned"]
    cell = study_folder(toy) / "trial_3/seed_1234"
    assert len((cell / "metrics.jsonl").read_text().splitlines()) < 2 * 5
    assert not (cell / "result.json").exists()
    out = capsys.readouterr().out
    # lr / 2 and 0.004 at the first epoch; the others have 0.354 and more
    assert "trial 3: pruned: accuracy 5.40 % at step 1 is below the median" in out
    assert "3 trials complete, 1 pruned, 0 failed" in out
    assert sweep(toy, *flags) == 0 and len(starts(toy)) == 4  # a pruned trial is done


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_trial_is_judged_by_its_value_at_a_step_not_by_an_easy_first_fold(toy, tmp_path, higher_is_better):
    task = describe(toy, {"lr": ["1"]}, {}, ["-epoch", "1"], tmp_path / "study")
    task.higher_is_better, sign = higher_is_better, 1 if higher_is_better else -1
    study = optuna.create_study(
        direction="maximize" if higher_is_better else "minimize", pruner=sweeps.pruner(task)
    )
    for values in (*3 * [(0.90, 0.80)], (0.91, 0.50)):
        trial = study.ask()
        judged = []
        for step, value in enumerate(values, 1):
            trial.report(sign * value, step)
            judged.append(trial.should_prune())
        study.tell(trial, sign * values[-1])
    assert judged == [False, True]


@pytest.mark.parametrize("flag", ["epoch", "eval_every", "patience"])
def test_trials_whose_steps_differ_are_not_pruned_by_each_other(toy, capsys, flag):
    assert sweep(toy, "-grid", f"{flag}=1,2", "-prune", "median") == 1
    assert f"-{flag}" in capsys.readouterr().err and not starts(toy)


# Failures, and going on -----------------------------------------------------------------------------


def test_a_failing_trial_says_why_and_the_sweep_goes_on(toy, capsys):
    assert sweep(toy, "-grid", "lr=13,0.5") == 0
    out = capsys.readouterr().out
    log = study_folder(toy) / "trial_0.log"
    assert f"trial 0: failed: error: the loss is nan (exit status 1; more in {log})" in out
    assert "1 trials complete, 0 pruned, 1 failed" in out
    assert "best: trial 1" in out
    assert sweep(toy, "-grid", "lr=13,0.5") == 0 and len(starts(toy)) == 2  # not again by itself
    (toy.parent / "lists/mended").touch()
    assert sweep(toy, "-grid", "lr=13,0.5", "-retry") == 0
    assert [name for name, *_ in starts(toy)] == ["trial_0", "trial_1", "trial_0"]  # in the same run
    assert "2 trials complete, 0 pruned, 0 failed" in capsys.readouterr().out
    assert [t["state"] for t in trials(toy)] == ["complete", "complete"]


def test_a_sweep_of_failures_fails(toy, capsys):
    assert sweep(toy, "-grid", "lr=13,14") == 1
    assert "0 trials complete, 0 pruned, 2 failed" in capsys.readouterr().out


@long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "asked to end"])
def test_a_sweep_that_was_ended_goes_on_with_what_is_missing(toy, capsys, number):
    grid = ["-grid", "lr=0.1,0.2,0.3"]
    process = sweep_there(toy, *grid, TOY_SECONDS="0.5")
    second = study_folder(toy) / "trial_1/seed_1234/metrics.jsonl"
    wait_until(lambda: second.exists() and "epoch" in second.read_text())
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if number == signal.SIGTERM:
        assert process.returncode == 130
        assert err == "error: interrupted; the same command goes on\n"
    if sys.platform == "linux":  # its training has ended too: nothing more is written
        time.sleep(0.2)
        before = second.read_text()
        time.sleep(0.8)
        assert second.read_text() == before and not (second.parent / "result.json").exists()
    assert sweep(toy, *grid) == 0
    out = capsys.readouterr().out
    assert ("trial 1: its process has ended; it is run again" in out) == (number == signal.SIGKILL)
    assert "3 trials complete, 0 pruned, 0 failed" in out
    assert [(name, lr) for name, lr, _ in starts(toy)] == [
        *(("trial_0", "0.1"), ("trial_1", "0.2")),
        *(("trial_1", "0.2"), ("trial_3", "0.3")),  # number 2 is the second attempt
    ]
    assert [t["accuracy"] for t in trials(toy)] == pytest.approx([0.104, 0.204, 0.304])


@long
def test_several_processes_share_a_study(toy):
    grid = ["-grid", "lr=0.1,0.2,0.3,0.4,0.5,0.6"]
    processes = [sweep_there(toy, *grid, TOY_SECONDS="0.1") for _ in range(2)]
    outs = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outs
    assert sorted(lr for _, lr, _ in starts(toy)) == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]
    assert all("on validation data" in out for out, _ in outs)  # both took part
    assert sweep(toy, *grid) == 0 and len(trials(toy)) == 6


def test_a_worker_is_dead_without_its_process_or_a_sign_of_life():
    def running(host, pid, seconds_ago):
        worker = {"worker": [host, pid, time.time() - seconds_ago]}
        return optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, user_attrs=worker)

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = socket.gethostname()
    assert is_dead(running(here, ended.pid, 1))
    assert not is_dead(running(here, os.getppid(), 1))
    assert is_dead(running(here, os.getppid(), GRACE_SECONDS + 1))  # a number given anew
    assert not is_dead(running("elsewhere", ended.pid, 1))
    assert is_dead(running("elsewhere", ended.pid, GRACE_SECONDS + 1))


def test_a_trial_that_another_process_took_over_is_given_up(toy, capsys, monkeypatch):
    """As after a night's sleep of the machine: the others have counted it as dead."""
    monkeypatch.setenv("TOY_SECONDS", "0.2")
    monkeypatch.setattr(sweep_trial, "SIGN_SECONDS", 0)
    sign, signs = sweep_trial.sign, []

    def sign_late(trial):
        signs.append(trial)
        if len(signs) == 3:
            trial.study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        sign(trial)

    monkeypatch.setattr(sweep_trial, "sign", sign_late)
    sweep(toy, "-grid", "lr=0.1,0.2")
    out = capsys.readouterr().out
    assert "trial 0: given up: another process has taken it over" in out
    assert not (study_folder(toy) / "trial_0/seed_1234/result.json").exists()
    assert "best: trial 1" in out


def test_a_trial_that_was_taken_over_and_has_ended_is_given_up(toy, capsys, monkeypatch):
    value_of_run, taken = sweeps.value_of_run, []

    def value_late(folder, task):
        if not taken:
            taken.append(optuna.load_study(study_name="toy", storage=sweeps.open_storage(str(journal))))
            taken[0].tell(0, state=optuna.trial.TrialState.FAIL)
        return value_of_run(folder, task)

    journal = study_folder(toy) / "sweep.journal"
    monkeypatch.setattr(sweeps, "value_of_run", value_late)
    assert sweep(toy, "-grid", "lr=0.1,0.2") == 0
    out = capsys.readouterr().out
    assert "trial 0: given up: another process has taken it over" in out and "best: trial 1" in out


@long
def test_a_training_that_a_signal_ended_with_all_saved_goes_on(toy, capsys):
    main_py = (toy / "main.py").read_text()
    once = 'if flags.lr > 10 and not (flags.path_list / "mended").exists():'
    assert once in main_py
    stop = main_py.replace(once, f'{once}\n    (flags.path_list / "mended").touch()')
    (toy / "main.py").write_text(stop.replace("sys.exit(1)", "sys.exit(75)"))
    assert sweep(toy, "-grid", "lr=11") == 0
    assert "trial 0: stopped: error: the loss is nan; it goes on later" in capsys.readouterr().out
    assert [name for name, *_ in starts(toy)] == ["trial_0", "trial_0"]
    (toy.parent / "lists/mended").unlink()
    (toy / "main.py").write_text(main_py.replace("sys.exit(1)", "sys.exit(75)"))
    assert sweep(toy, "-grid", "lr=12", "-study", "never") == 1  # not for ever
    assert [name for name, *_ in starts(toy)][2:] == ["trial_0"] * (1 + sweep_trial.MOST_STOPS)


def test_a_path_of_weights_is_told_as_it_is_from_here(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "ast_small").mkdir()
    for given, told in (("weights", str(tmp_path / "weights")), ("ast_small", None), ("MIT/ast", None)):
        task = describe(toy, {"lr": ["1"]}, {}, ["-pretrained", given], tmp_path / "study")
        command = sweep_trial.command({}, task, tmp_path / "study/trial_0")
        last = len(command) - command[::-1].index("-pretrained")
        assert command[last] == (told or given)


@pytest.mark.parametrize("kind", ["a file", "a database"])
def test_the_storage_is_a_file_or_a_database(toy, tmp_path, kind):
    path = tmp_path / "elsewhere" / "study"
    path.parent.mkdir()
    storage = str(path) if kind == "a file" else f"sqlite:///{path}"
    assert sweep(toy, "-grid", "lr=0.1", "-storage", storage) == 0
    assert sweep(toy, "-grid", "lr=0.1", "-storage", storage) == 0
    assert path.is_file() and len(starts(toy)) == 1


# What is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-grid", "lrr=1"], "'lrr' is no flag of toy; did you mean 'lr'?"),
        (["-grid", "rand_seed=1,2"], "-rand_seed cannot be chosen by a sweep"),
        (["-range", "winfunc=a:b", "-trials", 1], "invalid choice"),
        (["-grid", "lr=1e-3,fast"], "'fast' is not a number above 0"),
        (["-grid", "lr=0.1", "--", "-epcoh", 3], "unknown argument '-epcoh'; did you mean '-epoch'?"),
        (["-range", "lr=1:0.1", "-trials", 1], "expected the lower bound first"),
        (["-range", "freqm=0:8:log", "-trials", 1], "expected the lower bound first, both above 0"),
        (["-range", "lr=1:2:lin", "-trials", 1], "is no NAME=LOW:HIGH or NAME=LOW:HIGH:log"),
        (["-range", "lr=0.1:1"], "-sampler tpe needs -trials N"),
        (["-range", "lr=0.1:1", "-sampler", "grid"], "-range has no points for -sampler grid"),
        (["-grid", "lr=1", "-range", "lr=0.1:1", "-trials", 1], "each name once, found lr, lr"),
        (["-grid", "lr"], "'lr' is no NAME=A,B of different values"),
        ([], "nothing to choose"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_runs(toy, capsys, flags, said):
    try:
        status = sweep(toy, *flags)
    except SystemExit as end:
        status = end.code
    assert status in (1, 2)
    err = capsys.readouterr().err
    assert said in err and err.startswith("error: ")
    assert starts(toy) == [] and not (toy.parent / "runs").exists()


def test_help_comes_at_once_and_a_missing_package_says_how_to_get_it(toy, capsys, monkeypatch):
    script = "import sys; from ipet.__main__ import main; main(['-h']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True).returncode == 0
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert sweep(toy, "-grid", "lr=0.1") == 1
    assert capsys.readouterr().err == "error: optuna is not installed: python3 -m pip install optuna\n"


def test_an_unknown_experiment_is_refused_with_the_nearest_one(capsys):
    with pytest.raises(SystemExit):
        main(["sweep", "ast_esc5", "-grid", "lr=1"])
    assert "ast_esc5: no experiment; did you mean 'ast_esc50'?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["sweep", "nothing", "-grid", "lr=0.1"])
    assert "nothing: no experiment; accepted: ast_custom, ast_esc50, " in capsys.readouterr().err


def test_without_validation_data_nothing_is_chosen(toy, capsys, monkeypatch):
    monkeypatch.setenv("TOY_WATCHED", "eval")
    monkeypatch.setenv("TOY_SECONDS", "0.3")
    assert sweep(toy, "-grid", "lr=0.1,0.2") == 1
    err = capsys.readouterr().err
    assert (
        "metrics.jsonl: compares epochs on evaluation clips; a sweep chooses on validation data alone" in err
    )
    assert len(starts(toy)) == 1  # at its first epoch
    (toy.parent / "lists/valid.json").unlink()
    assert sweep(toy, "-grid", "lr=0.1", "-study", "other") == 1
    assert "toy has no folds, and" in capsys.readouterr().err
    assert len(starts(toy)) == 1


@pytest.mark.parametrize("name", ["ast_voxceleb", "w2v_voxceleb"])
def test_speaker_verification_is_swept_on_trials_among_held_out_training_speakers(name, tmp_path):
    # D9
    lists = write_lists(tmp_path, num_classes=35)
    task = describe(ROOT / name, {"lr": ["0.1"]}, {}, ["-path_list", str(lists)], tmp_path / "study")
    assert (task.metric, task.higher_is_better) == ("EER", False)
    assert task.settings["valid_speakers"] == 3 and task.further[-2:] == ["-valid_speakers", "3"]
    flags = ["-path_list", str(lists), "-valid_speakers", "5"]
    task = describe(ROOT / name, {"lr": ["0.1"]}, {}, flags, tmp_path / "study")
    assert task.settings["valid_speakers"] == 5
    with pytest.raises(ValueError, match="-valid_speakers cannot be chosen by a sweep"):
        describe(ROOT / name, {"valid_speakers": ["2", "3"]}, {}, flags, tmp_path / "study")


# The metric -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folds", [False, True], ids=["valid list", "folds"])
@pytest.mark.parametrize("name", ["ast_custom", "w2v_custom"])
@pytest.mark.parametrize("several", [False, True], ids=["one label", "several labels"])
def test_a_study_is_about_the_metric_that_the_lists_are_evaluated_by(tmp_path, name, several, folds):
    # B3
    parts = {"train_1": 9, "eval_1": 6, "train_2": 9, "eval_2": 6, "train_3": 9, "eval_3": 6}
    parts = parts if folds else {"train": 6, "valid": 4, "test": 4}
    lists = write_lists(tmp_path / "lists", **parts)
    if folds:  # the clips of the other folds, as folds have them
        entries = [json.loads((lists / f"eval_{k}.json").read_text())["data"] for k in (1, 2, 3)]
        for k in range(3):
            rest = [clip for i, part in enumerate(entries) if i != k for clip in part]
            (lists / f"train_{k + 1}.json").write_text(json.dumps({"data": rest}))
    if several:
        path = lists / ("train_1.json" if folds else "test.json")
        data = json.loads(path.read_text())
        data["data"][0]["labels"] = "/m/00,/m/01"
        path.write_text(json.dumps(data))
    further = ["-path_list", str(lists)]
    task = describe(ROOT / name, {"lr": ["0.1"]}, {}, further, tmp_path / "study")
    assert (task.metric, task.higher_is_better) == ("mAP" if several else "accuracy", True)


def test_a_sweep_goes_on_with_the_metric_of_its_runs_where_the_class_names_another(toy, capsys, monkeypatch):
    # B3: a trainer that decides by its lists, and says so nowhere but in its results
    monkeypatch.setenv("TOY_METRIC", "mAP")
    (toy / "trainer.py").write_text("class Trainer:\n    pass\n")
    assert sweep(toy, "-grid", "lr=0.2,0.7") == 0
    assert [t["mAP"] for t in trials(toy)] == pytest.approx([0.204, 0.704])
    assert "best: trial 1 (trial_1, mAP 70.40 % on validation data)" in capsys.readouterr().out
    assert sweep(toy, "-grid", "lr=0.2,0.7") == 0  # nothing is left to run, the metric is known
    assert "best: trial 1 (trial_1, mAP 70.40 %" in capsys.readouterr().out


def test_a_sweep_does_not_look_for_the_worst_value_of_a_metric(toy, capsys, monkeypatch):
    # B3
    monkeypatch.setenv("TOY_METRIC", "EER")
    assert sweep(toy, "-grid", "lr=0.2,0.7") == 1
    err = capsys.readouterr().err
    assert "EER is better when lower, the study looks for higher values; declare higher_is_better" in err
    assert err.count("\n") == 1 and len(starts(toy)) == 1


def test_a_study_goes_on_only_as_it_began(toy, capsys):
    assert sweep(toy, "-grid", "lr=0.1", "--", "-epoch", 2) == 0
    assert sweep(toy, "-grid", "lr=0.1,0.2", "--", "-epoch", 3) == 1
    err = capsys.readouterr().err
    assert "study 'toy' goes on as it began: grid was {'lr': ['0.1']} and is {'lr': ['0.1', '0.2']}" in err
    assert "-epoch was '2' and is '3'" in err
    assert sweep(toy, "-grid", "lr=0.1", "--", "-epoch", 2, "-num_workers", 3) == 0  # of a machine


# The patch ------------------------------------------------------------------------------------------


def test_a_study_goes_on_with_its_own_lists_alone(toy, capsys):
    lists = toy.parent / "lists"
    (lists / "train.json").write_text('{"data": [{"wav": "/here/a.wav", "labels": "/m/dog"}]}')
    assert sweep(toy, "-grid", "lr=0.1") == 0
    (lists / "train.json").write_text('{"data": [{"wav": "/there/a.wav", "labels": "/m/dog"}]}')
    (lists / "stats.json").write_text('{"mean": 1}')
    assert sweep(toy, "-grid", "lr=0.1") == 0  # the same recordings elsewhere
    for other in ('{"data": [{"wav": "a.wav", "labels": "/m/cat"}]}', '{"data": [{"wav": "b.wav"}]}'):
        (lists / "train.json").write_text(other)
        capsys.readouterr()
        assert sweep(toy, "-grid", "lr=0.1") == 1
        error = capsys.readouterr().err
        assert f"{lists} holds other lists than those it began with; another -study NAME" in error
    assert len(starts(toy)) == 1


def apply(tool, repository, patch):
    command = {"patch": ["patch", "-p1", "-i", patch], "git": ["git", "apply", patch]}[tool]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True)


@pytest.mark.parametrize("tool", ["patch", "git"])
def test_the_patch_makes_the_chosen_settings_the_defaults(toy, capsys, tool):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    grid = ["lr=0.1,7e-1", "freqm=12,24", "classification_loss=bce", "add_noise=true"]
    assert sweep(toy, "-grid", *grid) == 0
    patch = study_folder(toy) / "arguments.diff"
    assert patch.read_text() in capsys.readouterr().out
    applied = apply(tool, toy.parent, patch)
    assert applied.returncode == 0, applied.stderr
    text = (toy / "arguments.py").read_text()
    assert 'classification_loss="bce",  # a word, "quoted"\n' in text
    assert (
        "        freqm=12, add_noise=True,\n        epoch=3, batch_size=4, lr=7e-1, lr_finetune=0.25,\n"
        in text
    )
    defaults = vars(load_script(toy / "arguments.py", "patched").get_args(["-name", "a"]))
    assert (defaults["lr"], defaults["freqm"], defaults["add_noise"]) == (0.7, 12, True)
    sweep(toy, "-grid", *grid)  # of the patched file: nothing is left to change
    assert "these are the defaults of arguments.py already" in capsys.readouterr().out


def test_the_learning_rate_of_fine_tuning_has_a_default_of_its_own(toy):
    assert sweep(toy, "-grid", "lr=0.75", "--", "-method", "finetune") == 0
    patch = (study_folder(toy) / "arguments.diff").read_text()
    assert "+        epoch=3, batch_size=4, lr=0.5, lr_finetune=0.75,\n" in patch


@pytest.mark.parametrize("name", ALL_EXPERIMENTS)
def test_the_arguments_of_every_experiment_can_be_patched(name, tmp_path):
    source = (REPOSITORY / name / "arguments.py").read_text()
    changed = with_defaults(source, {"lr": "0.125", "adapter_hidden_dim": "7", "method": '"lora"'})
    assert len(changed.splitlines()) == len(source.splitlines()) + 1  # method, on a line of its own
    (tmp_path / "arguments.py").write_text(changed)
    before = vars(load_script(REPOSITORY / name / "arguments.py", "before").get_args(["-name", "a"]))
    after = vars(load_script(tmp_path / "arguments.py", "after").get_args(["-name", "a"]))
    assert after == before | {"lr": 0.125, "adapter_hidden_dim": 7, "method": "lora"}


def test_what_cannot_be_patched_is_told_as_flags(toy, capsys):
    text = (toy / "arguments.py").read_text()
    own = text.replace('classification_loss="cce",', '**{"classification_loss": "cce"},')
    (toy / "arguments.py").write_text(own)
    assert sweep(toy, "-grid", "classification_loss=cce,bce") == 0
    out = capsys.readouterr().out
    assert "arguments.py cannot be patched" in out and "as flags: -classification_loss " in out
    assert not (study_folder(toy) / "arguments.diff").exists()


def test_a_call_on_one_line_can_be_patched():
    source = "def get_args(argv=None):\n    return ast_arguments(argv, fold=5, lr=1e-3)\n"
    want = "def get_args(argv=None):\n    return ast_arguments(argv, fold=5, mixup=0.5, lr=2e-3)\n"
    assert with_defaults(source, {"lr": "2e-3", "mixup": "0.5"}) == want
    with pytest.raises(ValueError, match="returns no call with settings"):
        with_defaults("def get_args(argv=None):\n    return parse(argv)\n", {"lr": "1"})


# A real one -----------------------------------------------------------------------------------------


@long
def test_ast_esc50_is_swept_on_three_folds(tmp_path, capsys):
    lists = write_lists(tmp_path / "lists", **{f"eval_{k}": 4 for k in (1, 2, 3)})
    clips = {k: json.loads((lists / f"eval_{k}.json").read_text())["data"] for k in (1, 2, 3)}
    for k in clips:
        train = [clip for other in clips if other != k for clip in clips[other]]
        (lists / f"train_{k}.json").write_text(json.dumps({"data": train}))
    flags = ["-fold", 3, "-pretrained", "random", "-size", "tiny", "-precision", "fp32", "-frame_length", 32]
    flags += ["-epoch", 1, "-batch_size", 4, "-path_list", lists]
    command = ["sweep", "ast_esc50", "-grid", "lr=1e-3,1e-2", "-path_run", tmp_path, "--", *flags]
    assert main(list(map(str, command))) == 0
    assert "2 trials complete, 0 pruned, 0 failed" in capsys.readouterr().out
    study = json.loads((tmp_path / "sweeps/ast_esc50/sweep.json").read_text())
    for trial in study["trials"]:
        cells = sorted((tmp_path / "sweeps/ast_esc50" / trial["run"]).glob("seed_*/*/result.json"))
        results = [json.loads(path.read_text()) for path in cells]
        assert [result["watched"] for result in results] == ["valid"] * 3
        chosen = [result["history"][0]["valid_accuracy"] for result in results]
        assert trial["accuracy"] == pytest.approx(sum(chosen) / 3)
