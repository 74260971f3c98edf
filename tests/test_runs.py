"""Whole runs, as users start them: what is written, going on after a kill, several processes, bad input."""

import json
import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from benchmarks import ways
from ipet.audio import ClipError
from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.checkpoint import load_training, save_training, trainable_state
from ipet.datasets import EpochBatches
from ipet.interruption import Stopped
from ipet.launch import choose_gpus
from ipet.lists import Clip
from ipet.logbook import NoLogbook
from ipet.recipe import Recipe
from ipet.saved import load_adapter
from ipet.splits import Cell
from ipet.trainer import MOST_SKIPPED, Trainer, seed_everything

from helpers import (
    adapter,
    command_here,
    experiment,
    long,
    rows,
    run_here,
    run_there,
    start,
    stopped_behind_the_third_step,
    tiny,
    wait_for_a_write,
    wait_for_another_state,
    write_lists,
    write_wav,
)
from parity import SHARED
from saving import formerly, libraries_name

AST = ["-frame_length", 64, "-epoch", 2, "-batch_size", 4]
W2V = ["-frame_length", 40, "-epoch", 2, "-batch_size", 4]
TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """Two folds of noise; neither list divides by the batch or by two."""
    return write_lists(tmp_path_factory.mktemp("folds"), train_1=13, eval_1=7, train_2=11, eval_2=9)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("splits"), train=13, valid=5, test=7)


def assert_same_tensors(got, want):
    assert got.keys() == want.keys()
    for name, tensor in want.items():
        assert torch.equal(got[name], tensor), name


# What a run leaves ----------------------------------------------------------------------------------


def test_a_run_with_folds_leaves_what_the_readme_promises(folds, tmp_path):
    flags = [*tiny(folds, tmp_path, *AST, "-fold", 2), "-logger", "tensorboard"]
    folder = run_here("ast_esc50", *flags)
    assert folder == tmp_path / "IPET/t/ast_esc50/a"
    assert json.loads((folder / "arguments.json").read_text())["frame_length"] == 64
    assert json.loads((folder / "environment.json").read_text())[0]["packages"]["torch"] == "2.11.0"
    assert (folder / "sources/model.py").read_text().startswith('"""Log-mels, AST')
    for fold, num_clips in ((1, 13), (2, 11)):
        path = folder / f"seed_1234/fold_{fold}"
        steps, epochs = rows(path, "step"), rows(path, "epoch")
        assert [row["step"] for row in steps] == list(range(1, 2 * -(-num_clips // 4) + 1))
        assert [row["epoch"] for row in epochs] == [1, 2]
        assert np.isfinite([row["loss"] for row in steps]).all()
        assert list(path.glob("tensorboard/events*"))
        # 4 prompts and an adapter of 32 in each of 2 layers of width 48, and a head for 4 classes
        assert (
            sum(t.numel() for t in adapter(path / "last").values())
            == 2 * (4 * 48 + 2 * 48 * 32 + 32 + 48) + 2 * 48 + 48 * 4 + 4
        )
    summary = json.loads((folder / "summary.json").read_text())
    assert list(summary["protocols"]) == ["last", "best_epoch", "common_epoch"]
    # Class 0 leads the training lists of 13 and 11 clips; 2 of 7 and 3 of 9 evaluation clips are of it.
    assert summary["without_hearing"] == pytest.approx((2 / 7 + 3 / 9) / 2)
    assert "common epoch [2]" in (folder / "summary.txt").read_text()


def test_a_run_with_lists_chooses_on_validation_and_reports_the_test(splits, tmp_path):
    folder = run_here("w2v_speechcommands", *tiny(splits, tmp_path, *W2V, "-embedding_prompt_num", 3))
    result = json.loads((folder / "seed_1234/result.json").read_text())
    valid = [row["valid_accuracy"] for row in result["history"]]
    assert result["best_epoch"] == 1 + int(np.argmax(valid))
    assert not any("test" in key for row in result["history"] for key in row)
    summary = json.loads((folder / "summary.json").read_text())
    tested = summary["protocols"]["test_at_best_epoch"]
    assert tested["values"] == {"seed_1234": result["test_at_best_epoch"]["test_accuracy"]}
    low, high = tested["interval"]
    assert 0 <= low <= tested["mean"] <= high <= 1
    kept = np.load(folder / "seed_1234/predictions.npz")
    right = (kept["scores"].argmax(1) == kept["targets"].argmax(1)).mean()
    assert right == pytest.approx(tested["mean"])
    assert result["checkpoint_bytes"] == (folder / "seed_1234/best/adapter_model.safetensors").stat().st_size
    assert result["macs"] > 0


def test_a_saved_adapter_gives_the_same_logits_again(splits, tmp_path):
    flags = tiny(splits, tmp_path, *W2V, "-embedding_prompt_num", 3)
    folder = run_here("w2v_speechcommands", *flags)
    with experiment("w2v_speechcommands") as load:
        args = load("arguments").get_args([str(flag) for flag in flags])
        datasets = load("dataset").build_datasets(args, Cell(1234))
        seed_everything(1234)  # the same random backbone
        model = load("model").build_model(args, 4)
    description = load_adapter(folder / "seed_1234/best", model.eval())
    assert description["backbone"]["sha256"] == model.backbone.sha256
    assert [label["name"] for label in description["labels"]] == ["class 0", "class 1", "class 2", "class 3"]
    clips = [datasets.evaluation["valid"][i] for i in range(5)]
    with torch.inference_mode():
        logits = torch.cat([model(clip.waveform[None], clip.num_samples[None]) for clip in clips])
    targets = torch.stack([clip.target for clip in clips])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    assert loss.item() == pytest.approx(description["metrics"]["valid_loss"], rel=1e-5)
    right = (logits.argmax(1) == targets.argmax(1)).float().mean()
    assert right.item() == pytest.approx(description["metrics"]["valid_accuracy"])


@pytest.mark.parametrize(
    "flags",
    [
        ["-precision", "bf16"],
        ["-embedding_prompt", "False", "-adapter", "False", "-lr", "1e-5"],  # full fine-tuning
        ["-authors", "True", "-classification_loss", "bce", "-mixup", "1", "-add_noise", "True"],
        ["-num_workers", "1", "-train_crop", "random"],
        ["-patchout", "0.5"],
    ],
    ids=["bf16", "fine-tuning", "authors", "workers", "patchout"],
)
def test_every_way_of_training_runs(folds, tmp_path, flags):
    folder = run_here("ast_esc50", *tiny(folds, tmp_path, *AST, "-fold", 1, *flags))
    losses = [row["loss"] for row in rows(folder / "seed_1234/fold_1", "step")]
    assert len(losses) == 8 and np.isfinite(losses).all()


@pytest.mark.parametrize("method", ["ipet", "linear", "finetune"])
def test_the_head_has_a_learning_rate_of_its_own(tmp_path, method):
    """Adam's first step moves everything by its learning rate, whatever the gradient."""
    lists = write_lists(tmp_path / "lists", train_1=4, eval_1=4)
    flags = ["-frame_length", 32, "-epoch", 1, "-batch_size", 4, "-fold", 1, "-method", method]
    flags += ["-lr", "1e-3", "-head_lr", "0.05", "-weight_decay", 0]
    last = adapter(run_here("ast_esc50", *tiny(lists, tmp_path, *flags)) / "seed_1234/fold_1/last")
    assert torch.allclose((last["head.fc.bias"] - 1e-4).abs(), torch.tensor(0.05), rtol=1e-3)
    assert torch.allclose((last["head.norm.weight"] - 1).abs(), torch.tensor(0.05), rtol=1e-3)
    if method == "ipet":
        assert torch.allclose(last["adapters.1.up.bias"].abs(), torch.tensor(1e-3), rtol=1e-3)
    if method == "finetune":
        seed_everything(1234)
        before = build_ast(32, size="tiny").state_dict()
        [moved] = [k for k in before if k.endswith("1.mlp.fc2.bias")]
        change = (last["backbone.layers.1.feed_forward.down.bias"] - before[moved]).abs()
        assert torch.allclose(change, torch.tensor(1e-3), rtol=1e-3)


def test_a_saved_optimizer_holds_what_torch_knows_and_no_more(splits, tmp_path):
    """What this version adds to a group would be missing in a file that an earlier one wrote."""
    folder = run_here("w2v_speechcommands", *tiny(splits, tmp_path, *W2V, "-epoch", 1, "-head_lr", "0.01"))
    groups = load_training(folder / "seed_1234/training_state.pt")["optimizer"]["param_groups"]
    [plain] = torch.optim.Adam([torch.zeros(1)]).param_groups
    assert len(groups) == 2 and all(group.keys() == plain.keys() for group in groups)


def test_a_tiny_list_can_be_learnt(tmp_path):
    lists = write_lists(tmp_path / "lists", train_1=16, eval_1=16)  # four tones
    flags = ["-frame_length", 32, "-epoch", 80, "-batch_size", 8, "-lr", "2e-2", "-gamma", 1, "-fold", 1]
    flags += ["-freqm", 0, "-timem", 0, "-norm_mean", -8, "-norm_std", 3]
    epochs = rows(run_here("ast_esc50", *tiny(lists, tmp_path, *flags)) / "seed_1234/fold_1", "epoch")
    assert epochs[-1]["train_loss"] < 0.1 < 1 < epochs[0]["train_loss"]
    assert epochs[-1]["eval_accuracy"] >= 0.9  # chance is 0.25


# Seeds and protocols --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three_folds(tmp_path_factory):
    """Three folds that share out the same clips, as ``data/prepare.py`` writes them."""
    lists = write_lists(tmp_path_factory.mktemp("three"), eval_1=4, eval_2=5, eval_3=6)
    clips = {k: json.loads((lists / f"eval_{k}.json").read_text())["data"] for k in (1, 2, 3)}
    for k in clips:
        others = [clip for fold, part in clips.items() if fold != k for clip in part]
        (lists / f"train_{k}.json").write_text(json.dumps({"data": others}))
    return lists


def test_seeds_and_protocols_are_added_to_a_run_and_finished_cells_are_kept(three_folds, tmp_path):
    flags = [*tiny(three_folds, tmp_path, *AST, "-fold", 3), "-epoch", 2]
    folder = run_here("ast_esc50", *flags, "-seed", 1)
    results = {path: path.read_bytes() for path in folder.rglob("result.json")}
    assert {str(path.parent.relative_to(folder)) for path in results} == {
        f"seed_1/fold_{k}" for k in (1, 2, 3)
    }
    run_here("ast_esc50", *flags, "-resume", "-seed", 1, 2)
    run_here("ast_esc50", *flags, "-resume", "-seed", 1, "-protocol", "nested", "last")
    (folder / "seed_2/fold_3/result.json").unlink()
    results.pop(folder / "seed_2/fold_3/result.json", None)
    run_here("ast_esc50", *flags, "-resume")  # goes on with the cells that were asked for, and no other
    assert not (folder / "seed_1234").exists() and not (folder / "seed_2/fold_1_nested").exists()
    for path, content in results.items():
        assert path.read_bytes() == content
    summary = json.loads((folder / "summary.json").read_text())
    assert list(summary["protocols"]) == ["last", "best_epoch", "common_epoch", "nested"]
    assert len(summary["protocols"]["last"]["values"]) == 6 and summary["protocol"] == "nested"
    assert list(summary["protocols"]["nested"]["values"]) == [f"seed_1/fold_{k}" for k in (1, 2, 3)]
    arguments = json.loads((folder / "arguments.json").read_text())
    assert (arguments["rand_seed"], arguments["protocol"]) == ([1, 2], ["nested", "last"])
    assert len(arguments["cells"]) == 9
    lines = (folder / "summary.txt").read_text().splitlines()
    assert "nested [3]" in lines[0] and any(line.startswith("95 %") for line in lines)


def test_a_nested_cell_holds_out_the_next_fold(three_folds, tmp_path):
    flags = tiny(three_folds, tmp_path, *AST, "-fold", 3, "-protocol", "nested")
    with experiment("ast_esc50") as load:
        args = load("arguments").get_args([str(flag) for flag in flags])
        train, lists = load("dataset").build_datasets(args, Cell(1234, 3, nested=True))[:2]
    names = {name: {clip.path.name for clip in clips.clips} for name, clips in lists.items()}
    assert names["valid"] == {f"eval_1_{i}.wav" for i in range(4)}  # the fold behind the last is the first
    assert names["test"] == {f"eval_3_{i}.wav" for i in range(6)}
    assert {clip.path.name for clip in train.clips} == {f"eval_2_{i}.wav" for i in range(5)}


def test_a_cache_gives_the_same_training_as_the_files(splits, tmp_path):
    """16-bit clips at 16 kHz come back bit for bit."""
    losses = []
    for more in ([], ["-path_cache", tmp_path / "cache"]):
        flags = tiny(splits, tmp_path / str(len(more)), *W2V, "-embedding_prompt_num", 3, *more)
        losses.append(rows(run_here("w2v_speechcommands", *flags) / "seed_1234", "step"))
    assert losses[0] == losses[1]
    assert list((tmp_path / "cache").iterdir())


# Going on -------------------------------------------------------------------------------------------


def test_an_existing_run_is_neither_overwritten_nor_changed(splits, tmp_path):
    flags = tiny(splits, tmp_path, *W2V, "-embedding_prompt_num", 3)
    folder = run_here("w2v_speechcommands", *flags)
    before = (folder / "seed_1234/result.json").read_bytes()
    with pytest.raises(
        FileExistsError, match="this run exists; add -resume to go on with it, or choose another -name"
    ):
        run_here("w2v_speechcommands", *flags)
    with pytest.raises(
        ValueError, match=r"goes on with the arguments it began with: -lr was 0.001 and is 0.5"
    ):
        run_here("w2v_speechcommands", *flags, "-resume", "-lr", 0.5)
    run_here("w2v_speechcommands", *flags, "-resume", "-num_workers", 1)  # finished: prints its table again
    assert (folder / "seed_1234/result.json").read_bytes() == before
    assert len(json.loads((folder / "environment.json").read_text())) == 2


def assert_same_cell(got, want):
    """The same training, bit for bit; every step once."""
    for epoch in ("last", "best"):
        assert_same_tensors(adapter(got / epoch), adapter(want / epoch))
    for kind in ("step", "epoch"):
        assert rows(got, kind) == rows(want, kind)
    results = [json.loads((path / "result.json").read_text()) for path in (got, want)]
    for result in results:
        for row in result["history"]:
            row.pop("seconds")
    assert results[0]["history"] == results[1]["history"]
    assert results[0].get("test_at_best_epoch") == results[1].get("test_at_best_epoch")


def run_in_one_thread(name, *flags):
    """As ``run_here``, with the sums of a process that ``start`` starts, in their order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run_here(name, *flags)
    finally:
        torch.set_num_threads(threads)


KILLS = int(os.environ.get("IPET_KILLS", 2))  # in a test; the long form has more of them


def kill_and_go_on(name, flags, runs, kills, rng, record_property):
    """Kill a run so many times, each time behind another checkpoint, and let it go on to its end."""
    seen, done, writing = {}, 0, 0
    while done < kills:
        process = start(name, *flags, "-resume")
        if not wait_for_another_state(process, runs, seen):
            pytest.fail(f"ended behind {done} kills of {kills}: {process.communicate()[1][-2_000:]}")
        if done % 2:  # in a step, between two, while adapters or metrics are written
            time.sleep(rng.uniform(0, 0.15))
        else:
            wait_for_a_write(process, runs)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done += process.returncode == -signal.SIGKILL
        writing += any(runs.rglob("*.unfinished"))
    run_in_one_thread(name, *flags, "-resume")
    assert not list(runs.rglob("*.unfinished"))  # what the kills left behind
    record_property("SIGKILLs", done)
    record_property("of them while a file was written", writing)


@long
def test_killed_across_folds_and_resumed_ends_bit_for_bit(folds, tmp_path, record_property):
    """Readers, checkpoints by time; the last kill may come in any fold."""
    flags = tiny(folds, tmp_path / "killed", *AST, "-fold", 2, "-epoch", max(2, KILLS))
    flags += ["-num_workers", 1, "-checkpoint_every", "0.0001m"]
    run_in_one_thread("ast_esc50", *flags, "-path_run", tmp_path / "whole")
    kill_and_go_on("ast_esc50", flags, tmp_path / "killed", KILLS, random.Random(0), record_property)
    whole, killed = (tmp_path / run / "IPET/t/ast_esc50/a" for run in ("whole", "killed"))
    for cell in ("seed_1234/fold_1", "seed_1234/fold_2"):
        assert_same_cell(killed / cell, whole / cell)
    protocols = [json.loads((run / "summary.json").read_text())["protocols"] for run in (killed, whole)]
    assert protocols[0] == protocols[1]


@long
def test_the_number_of_readers_does_not_change_the_training(splits, tmp_path):
    """Dropout is on: a reader that drew from its stream would show."""
    losses = []
    for workers in (0, 2):
        flags = tiny(splits, tmp_path / str(workers), *W2V, "-embedding_prompt_num", 3)
        losses.append(
            rows(run_here("w2v_speechcommands", *flags, "-num_workers", workers) / "seed_1234", "step")
        )
    assert losses[0] == losses[1]


def test_a_run_does_not_go_on_with_another_frozen_backbone(splits, tmp_path):
    for seed in (0, 1):
        torch.manual_seed(seed)
        build_wav2vec2("tiny").model.save_pretrained(tmp_path / f"weights_{seed}")
    flags = [*tiny(splits, tmp_path / "runs", *W2V, "-embedding_prompt_num", 3), "-resume"]
    (tmp_path / "weights").symlink_to(tmp_path / "weights_0")
    folder = run_here("w2v_speechcommands", *flags, "-pretrained", tmp_path / "weights")
    (folder / "seed_1234/result.json").unlink()
    (tmp_path / "weights").unlink()
    (tmp_path / "weights").symlink_to(tmp_path / "weights_1")
    with pytest.raises(ValueError, match=r"began with the frozen backbone \w{12}\.\.\., this one is"):
        run_here("w2v_speechcommands", *flags, "-pretrained", tmp_path / "weights")


def test_the_best_adapter_is_of_the_epoch_that_the_result_names(splits, tmp_path):
    flags = [*tiny(splits, tmp_path, *W2V, "-method", "bitfit"), "-resume"]
    folder = run_here("w2v_speechcommands", *flags)
    want = adapter(folder / "seed_1234/best")
    assert "backbone.layers.1.attention.query.bias" in want
    # As if a kill had come between the files of an epoch that is repeated, of the version before schema 2.
    for name in ("best", "last"):
        formerly(folder / "seed_1234" / name)
    (folder / "seed_1234/best" / "adapter.safetensors").write_bytes(
        (folder / "seed_1234/last" / "adapter.safetensors").read_bytes()
    )
    training = load_training(folder / "seed_1234/training_state.pt")
    for name in ("now", "last", "best"):
        training[name] = {libraries_name(n): tensor for n, tensor in training[name].items()}
    assert "backbone.model.encoder.layers.1.attention.q_proj.bias" in training["best"]
    save_training(folder / "seed_1234/training_state.pt", training)
    (folder / "seed_1234/result.json").unlink()
    run_here("w2v_speechcommands", *flags)
    assert_same_tensors(adapter(folder / "seed_1234/best"), want)
    assert not list((folder / "seed_1234").rglob("adapter.*"))
    best = json.loads((folder / "seed_1234/result.json").read_text())["best_epoch"]
    assert (
        json.loads((folder / "seed_1234/best" / "adapter_config.json").read_text())["metrics"]["epoch"]
        == best
    )


STEPS = ["-epoch", 2, "-batch_size", 1, "-embedding_prompt_num", 3]  # and 24 a list
STEPS += ["-lr_schedule", "cosine", "-warmup_epoch", 1.5]


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("steps"), train=24, valid=5, test=7)


@pytest.fixture(scope="module")
def never_stopped(steps, tmp_path_factory):
    """A run with dropout, mixup and random crops that nothing has stopped."""
    runs = tmp_path_factory.mktemp("runs")
    return run_in_one_thread("w2v_speechcommands", *tiny(steps, runs, *W2V, *STEPS)) / "seed_1234"


def test_killed_at_any_moment_and_resumed_ends_bit_for_bit(steps, never_stopped, tmp_path, record_property):
    flags = [*tiny(steps, tmp_path, *W2V, *STEPS), "-checkpoint_every", "2"]
    kill_and_go_on("w2v_speechcommands", flags, tmp_path, KILLS // 2, random.Random(1), record_property)
    assert_same_cell(tmp_path / "IPET/t/w2v_speechcommands/a/seed_1234", never_stopped)


@long
def test_signals_end_a_run_that_goes_on_bit_for_bit(steps, never_stopped, tmp_path, record_property):
    """They reach the reader, too, as from a terminal or a scheduler."""
    flags = [*tiny(steps, tmp_path, *W2V, *STEPS), "-resume", "-num_workers", 1]
    seen, numbers = {}, [(signal.SIGTERM, 75), (signal.SIGINT, 130)]
    if os.environ.get("IPET_TORTURE"):
        numbers += [(signal.SIGUSR1, 75), *numbers]
    for number, expected in numbers:
        process = start("w2v_speechcommands", *flags, "-checkpoint_every", "3", own_group=True)
        assert wait_for_another_state(process, tmp_path, seen)
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=60)
        name = signal.Signals(number).name
        assert process.returncode == expected, err
        assert err.splitlines() == [f"error: stopped by {name}; all is saved: add -resume to go on"]
        step = load_training(tmp_path / "IPET/t/w2v_speechcommands/a/seed_1234/training_state.pt")["step"]
        assert step < 48
        seen.update((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("training_state.pt"))
    run_in_one_thread("w2v_speechcommands", *flags)
    assert_same_cell(tmp_path / "IPET/t/w2v_speechcommands/a/seed_1234", never_stopped)
    record_property("signals", len(numbers))


@long
def test_one_process_then_two_then_one_train_as_one(steps, tmp_path, monkeypatch):
    """Without dropout, which has a stream a process: each stopped in midst of an epoch."""
    flags = tiny(steps, tmp_path, *W2V, *STEPS, *EXACT, "-batch_size", 2)
    whole = run_here("w2v_speechcommands", *flags, "-name", "whole") / "seed_1234"
    more = ["-resume", "-checkpoint_every", 3]
    with stopped_behind_the_third_step(monkeypatch):
        run_here("w2v_speechcommands", *flags, *more)
    folder = tmp_path / "IPET/t/w2v_speechcommands/a/seed_1234"
    seen = {path: path.stat().st_mtime_ns for path in folder.rglob("training_state.pt")}
    process = start("w2v_speechcommands", *flags, *more, "-nproc", 2)
    assert wait_for_another_state(process, folder, seen)
    process.send_signal(signal.SIGUSR1)  # as SLURM's: the launcher hands it on
    _, err = process.communicate(timeout=180)
    assert process.returncode == 75 and "add -resume to go on" in err
    assert 3 < load_training(folder / "training_state.pt")["step"] < 24
    run_here("w2v_speechcommands", *flags, *more)
    for name, tensor in adapter(whole / "last").items():
        torch.testing.assert_close(adapter(folder / "last")[name], tensor, rtol=1e-3, atol=2e-5)
    assert [row["step"] for row in rows(folder, "step")] == list(range(1, 25))
    losses = [[row["loss"] for row in rows(path, "step")] for path in (folder, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_signal_in_evaluation_leaves_the_epochs_steps_saved(steps, never_stopped, tmp_path, monkeypatch):
    flags = [*tiny(steps, tmp_path, *W2V, *STEPS), "-resume"]
    with monkeypatch.context() as patched, pytest.raises(Stopped, match="stopped by SIGTERM"):
        patched.setattr(Trainer, "predict", lambda self, clips: os.kill(os.getpid(), signal.SIGTERM))
        run_in_one_thread("w2v_speechcommands", *flags)
    folder = tmp_path / "IPET/t/w2v_speechcommands/a/seed_1234"
    state = load_training(folder / "training_state.pt")
    assert (state["epoch"], state["step"], len(state["epoch_losses"])) == (0, 24, 24)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    run_in_one_thread("w2v_speechcommands", *flags)
    assert_same_cell(folder, never_stopped)


def test_a_damaged_state_falls_back_to_the_one_before(steps, never_stopped, tmp_path, capsys):
    flags = [*tiny(steps, tmp_path, *W2V, *STEPS), "-checkpoint_every", 7]
    run_in_one_thread("w2v_speechcommands", *flags)
    folder = tmp_path / "IPET/t/w2v_speechcommands/a/seed_1234"
    (folder / "result.json").unlink()
    path = folder / "training_state.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1  # one bit
    path.write_bytes(data)
    capsys.readouterr()
    run_in_one_thread("w2v_speechcommands", *flags, "-resume")
    out = capsys.readouterr().out
    assert "training_state.pt: damaged" in out and "going on from training_state_before.pt" in out
    assert_same_cell(folder, never_stopped)


@long
def test_torchruns_restart_goes_on(steps, tmp_path, record_property):
    """A process dies behind its first checkpoint; torchrun starts the same command once more."""
    flags = tiny(steps, tmp_path, *W2V, *STEPS, "-checkpoint_every", 4)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "1", "--max_restarts", "1"]
    process = start("w2v_speechcommands", *flags, launcher=launcher)
    assert wait_for_another_state(process, tmp_path, {})
    [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    _, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert len(rows(tmp_path / "IPET/t/w2v_speechcommands/a/seed_1234", "step")) == 48
    record_property("restarts by torchrun", 1)


@long
def test_a_second_process_is_kept_out_of_a_run_until_the_first_one_ends(steps, tmp_path):
    flags = [*tiny(steps, tmp_path, *W2V, *STEPS), "-epoch", 500]
    process = start("w2v_speechcommands", *flags, "-checkpoint_every", 5)
    assert wait_for_another_state(process, tmp_path, {})
    with pytest.raises(
        ValueError, match=r"another process works on this run, since \d{4}-.* choose another -name"
    ):
        run_here("w2v_speechcommands", *flags, "-resume")
    process.kill()
    process.communicate()
    with pytest.raises(
        ValueError, match="goes on with the arguments it began with: -lr"
    ):  # let in, then refused
        run_here("w2v_speechcommands", *flags, "-resume", "-lr", 0.5)


# Several processes ----------------------------------------------------------------------------------

EXACT = ["-frozen_dropout", "False", "-adapter_dropout", 0]


@pytest.mark.parametrize(
    "name, processes, launcher",
    [("ast_esc50", 2, TWO_PROCESSES), pytest.param("w2v_speechcommands", 4, (), marks=long)],
)
def test_several_processes_train_and_evaluate_as_one(
    folds, splits, tmp_path, record_property, name, processes, launcher
):
    """Neither list divides by their number, nor do the last batches; every clip is evaluated once."""
    if name == "ast_esc50":
        flags = tiny(folds, tmp_path / "two", *AST, *EXACT, "-fold", 1, "-mixup", 0.5, "-add_noise", "True")
    else:
        flags = tiny(splits, tmp_path / "two", *W2V, *EXACT, "-embedding_prompt_num", 3)
    own = [] if launcher else ["-nproc", processes]
    status, out, err = run_there(name, *flags, *own, launcher=launcher)
    assert status == 0, err
    assert out.count("epoch 2/2") == 1  # told once
    one = run_here(name, *flags, "-path_run", tmp_path / "one")
    two = tmp_path / f"two/IPET/t/{name}/a"
    cell = "seed_1234/fold_1" if name == "ast_esc50" else "seed_1234"
    for kind in ("step", "epoch"):
        got, want = rows(two / cell, kind), rows(one / cell, kind)
        assert len(got) == len(want) == {"step": 8, "epoch": 2}[kind]
        for ours, theirs in zip(got, want):
            assert ours == pytest.approx(theirs, abs=1e-5)
    results = [json.loads((run / cell / "result.json").read_text()) for run in (two, one)]
    for key in ("test_at_best_epoch", "test_at_last_epoch"):
        assert results[0].get(key, {}) == pytest.approx(results[1].get(key, {}), abs=1e-5)
    kept = [np.load(run / cell / "predictions.npz") for run in (two, one)]
    assert np.array_equal(kept[0]["targets"], kept[1]["targets"])  # every clip, in its place
    np.testing.assert_allclose(kept[0]["scores"], kept[1]["scores"], rtol=1e-3, atol=1e-4)
    record_property("runs of several processes equal to one's", 1)


@long
@pytest.mark.parametrize(
    "more",
    [
        [],
        pytest.param(["-method", "finetune", "-frozen_dropout", "False"], marks=long),
        pytest.param(["-method", "lora"], marks=long),
    ],
    ids=["IPET", "fine-tuning", "LoRA"],
)
def test_layer_drop_leaves_no_process_waiting(splits, tmp_path, more):
    flags = tiny(splits, tmp_path, *W2V, *more)
    status, out, err = run_there("w2v_speechcommands", *flags, launcher=TWO_PROCESSES)
    assert status == 0, err
    assert "epoch 2/2" in out


# Bad input ------------------------------------------------------------------------------------------


def spoil(lists, case):
    """Break clip 3 of the training list; returns what the error must say."""
    path = lists / "train_1.json"
    data = json.loads(path.read_text())
    entry = data["data"][3]
    wav = lists / entry["wav"]
    said = [f"{path}: clip 3", str(wav)]
    if case == "NaN samples":  # its header is sound: found when the clip is decoded
        soundfile.write(wav, np.full(6_400, np.nan), 16_000, subtype="FLOAT")
        said.append("NaN")
    elif case == "label not in the table":
        entry["labels"] = "/m/99"
        said = [f"{path}: clip 3", "'/m/99'", "4 labels of", "labels.csv"]
    path.write_text(json.dumps(data))
    return said


def one_line(err):
    [told] = [line for line in err.splitlines() if line.strip()]
    assert told.startswith("error: ")
    return told


@long
def test_a_reader_that_meets_bad_input_ends_with_its_run(tmp_path):
    """What other input is refused for: tests/test_malformed.py."""
    lists = write_lists(tmp_path / "lists", train_1=9, eval_1=4)
    said = spoil(lists, "NaN samples")
    status, _, err = run_there("ast_esc50", *tiny(lists, tmp_path, *AST, "-fold", 1), "-num_workers", 1)
    assert status == 1
    told = one_line(err)
    for words in said:
        assert words in told


SPOILT = {"train": {3: b"", 7: b"no audio"}, "valid": {1: None}}  # clips of these lists; None: no file


@pytest.fixture
def spoilt(tmp_path):
    """Lists with recordings that cannot be used, and the same lists without them."""
    lists = write_lists(tmp_path / "lists", train=31, valid=11, test=7)
    soundfile.write(lists / "wav/train_12.wav", np.full(6_400, np.nan), 16_000, subtype="FLOAT")
    for name, clips in SPOILT.items():
        for i, data in clips.items():
            path = lists / f"wav/{name}_{i}.wav"
            path.unlink()
            if data is not None:
                path.write_bytes(data)
    bad = {f"wav/train_{i}.wav" for i in (3, 7, 12)} | {"wav/valid_1.wav"}
    (tmp_path / "mended").mkdir()
    for path in lists.iterdir():
        if path.suffix == ".json":
            kept = [clip for clip in json.loads(path.read_text())["data"] if clip["wav"] not in bad]
            (tmp_path / "mended" / path.name).write_text(json.dumps({"data": kept}))
    shutil.copy(lists / "labels.csv", tmp_path / "mended")
    return lists, tmp_path / "mended", bad


@pytest.mark.parametrize("cached", [False, True])
def test_recordings_that_cannot_be_used_are_left_out_and_listed(spoilt, tmp_path, capsys, cached):
    """The training is that on lists that never held them."""
    lists, mended, bad = spoilt
    more = [*W2V, "-embedding_prompt_num", 3, "-path_data", lists]
    more += ["-path_cache", tmp_path / "cache"] if cached else []
    flags = [*tiny(lists, tmp_path, *more), "-on_bad_audio", "skip"]
    folder = run_here("w2v_speechcommands", *flags)
    skipped = json.loads((folder / "skipped_clips.json").read_text())
    assert {str(Path(path).relative_to(lists)) for path in skipped} == bad
    said = skipped[str(lists / "wav/train_12.wav")]
    assert "train.json: clip 12" in said and "NaN" in said
    assert "note: 4 recordings cannot be used and are left out" in capsys.readouterr().out
    other = run_here("w2v_speechcommands", *tiny(mended, tmp_path, *more), "-name", "mended")
    for kind in ("step", "epoch"):
        assert rows(folder / "seed_1234", kind) == rows(other / "seed_1234", kind)
    run_here("w2v_speechcommands", *flags, "-resume")
    write_wav(lists / "wav/train_3.wav", seed=3)  # mended: another list, on which a run does not go on
    with pytest.raises(ValueError, match="the lists, their labels or trials are others"):
        run_here("w2v_speechcommands", *flags, "-resume")


def test_a_list_of_which_much_cannot_be_used_is_refused(spoilt, tmp_path):
    lists, _, _ = spoilt
    (lists / "wav/valid_4.wav").write_bytes(b"")
    flags = tiny(lists, tmp_path, *W2V, "-embedding_prompt_num", 3, "-on_bad_audio", "skip")
    with pytest.raises(ValueError, match=r"2 of the 11 clips of a list cannot be used, the first is .*valid"):
        run_here("w2v_speechcommands", *flags)
    assert not (tmp_path / "IPET").exists()


@long
def test_a_bad_list_stops_all_processes_and_is_told_once(tmp_path):
    lists = write_lists(tmp_path / "lists", train_1=9, eval_1=4)
    said = spoil(lists, "label not in the table")
    status, _, err = run_there("ast_esc50", *tiny(lists, tmp_path / "runs", *AST, "-fold", 1), "-nproc", 2)
    assert status == 1
    [told] = [line for line in err.splitlines() if line.strip()]
    assert "error: " in told
    for words in said:
        assert words in told


def test_a_broken_recording_of_the_test_list_is_told_before_training(tmp_path):
    lists = write_lists(tmp_path / "lists", train=9, valid=4, test=4)
    (lists / "wav/test_2.wav").write_bytes(b"RIFF1234")
    with pytest.raises(ClipError, match=r"test\.json: clip 2: .*test_2\.wav: not readable"):
        run_here("w2v_speechcommands", *tiny(lists, tmp_path / "runs", *W2V))
    assert not (tmp_path / "runs").exists()


def test_a_loss_that_is_not_finite_stops_the_run(folds, tmp_path):
    said = r"step 2 \(epoch 1\): the loss is (nan|inf).* its clips: 4 \(.*train_1.json: clip \d+.*left out"
    with pytest.raises(FloatingPointError, match=said):
        run_here("ast_esc50", *tiny(folds, tmp_path, *AST, "-fold", 1, "-lr", "1e38", "-epoch", 3))
    [row] = rows(tmp_path / "IPET/t/ast_esc50/a/seed_1234/fold_1", "step")
    assert np.isfinite(row["grad_norm"]) and row["step"] == 1


@pytest.fixture(scope="module")
def too_loud(tmp_path_factory):
    """Lists of which a training clip has samples that are finite, their energy not."""
    lists = write_lists(tmp_path_factory.mktemp("loud"), train_1=13, eval_1=7)
    noise = np.random.default_rng(0).standard_normal(6_400) * 1e30
    soundfile.write(lists / "wav/train_1_5.wav", noise, 16_000, subtype="FLOAT")
    return lists


@pytest.mark.parametrize(
    "launcher", [None, pytest.param(TWO_PROCESSES, marks=long)], ids=["one process", "two processes"]
)
def test_a_step_without_a_finite_gradient_is_skipped_and_its_clips_are_listed(too_loud, tmp_path, launcher):
    flags = tiny(too_loud, tmp_path, *AST, "-fold", 1, "-on_nonfinite", "skip", *EXACT)
    if launcher is None:
        run_here("ast_esc50", *flags)
    else:
        status, _, err = run_there("ast_esc50", *flags, launcher=launcher)
        assert status == 0, err
    folder = tmp_path / "IPET/t/ast_esc50/a/seed_1234/fold_1"
    skipped = [row for row in rows(folder, "step") if "skipped" in row]
    assert [row["epoch"] for row in skipped] == [1, 2]  # one step an epoch
    for row in skipped:
        assert "loss" not in row and str(too_loud / "wav/train_1_5.wav") in row["skipped"]
    others = [row for row in rows(folder, "step") if "skipped" not in row]
    assert len(others) == 6 and np.isfinite([[row["loss"], row["grad_norm"]] for row in others]).all()
    result = json.loads((folder / "result.json").read_text())
    assert (
        result["skipped_steps"] == 2 and np.isfinite([row["train_loss"] for row in result["history"]]).all()
    )
    assert all(tensor.isfinite().all() for tensor in adapter(folder / "last").values())


def test_an_epoch_without_a_finite_step_ends_the_run(too_loud, tmp_path):
    flags = [*tiny(too_loud, tmp_path, *AST, "-fold", 1), "-epoch", 1, "-batch_size", 13]
    with pytest.raises(FloatingPointError, match="none of the 1 steps of epoch 1 had a finite loss"):
        run_here("ast_esc50", *flags, "-on_nonfinite", "skip")


@pytest.mark.parametrize("method", ["ipet", "finetune"])
def test_a_skipped_step_leaves_weights_and_optimiser_as_they_were(method, tmp_path):
    setting = ways.Setting("ast_esc50", 2, 3, ("-pretrained", "random", "-size", "tiny"))
    after = []
    for spoilt in (False, True):
        built = ways.build(setting, method, "fp32", torch.device("cpu"), "-adapter_dropout", "0")
        datasets = ways.noise_datasets(built.args, 2, 1, 3)
        training = ways.trainer_of(built, datasets, tmp_path, torch.device("cpu"))
        shares = torch.full((2,), 0.5)
        training.train_step(built.batch, shares)
        if spoilt:
            _, norm = training.train_step(built.batch._replace(waveform=1e30 * built.batch.waveform), shares)
            assert not norm.isfinite()
        training.train_step(built.batch, shares)
        after.append(trainable_state(training.model))
    assert_same_tensors(*after)


def test_too_many_steps_in_a_row_are_not_skipped(folds, tmp_path, monkeypatch):
    monkeypatch.setattr("ipet.trainer.MOST_SKIPPED", 3)
    flags = tiny(folds, tmp_path, *AST, "-fold", 1, "-lr", "1e38", "-epoch", 3, "-on_nonfinite", "skip")
    flags += ["-checkpoint_every", 1, "-resume"]
    with stopped_behind_the_third_step(monkeypatch):
        run_here("ast_esc50", *flags)
    with pytest.raises(FloatingPointError, match=r"step 4 .*left out, as were the 2 before"):
        run_here("ast_esc50", *flags)


def test_a_search_for_the_scale_of_fp16_that_finds_none_ends_the_run():
    training = Trainer.__new__(Trainer)
    training.recipe = Recipe(1, 1, 1e-3, precision="fp16", on_nonfinite="skip")
    training.epoch, training.loader, training.logbook = 0, range(2 * MOST_SKIPPED), NoLogbook()
    training.batches = EpochBatches(2 * MOST_SKIPPED, 1)
    clips = [Clip(Path(f"{i}.wav"), (0,), f"clip {i}") for i in range(2 * MOST_SKIPPED)]
    training.datasets = SimpleNamespace(train=SimpleNamespace(clips=clips))
    training.epoch_losses, training.skipped, training.skipped_in_a_row = [], 0, 0
    training.step = MOST_SKIPPED
    training.log_steps([(1.0, np.inf)] * (MOST_SKIPPED - 1) + [(0.5, 2.0)])  # found
    assert training.skipped == 0 and training.epoch_losses == [1.0] * (MOST_SKIPPED - 1) + [0.5]
    training.step = 2 * MOST_SKIPPED
    with pytest.raises(
        FloatingPointError, match=r"step 40 .*the gradient's norm inf; .*as were the 19 before"
    ):
        training.log_steps([(1.0, np.inf)] * MOST_SKIPPED)


def test_an_evaluation_that_is_not_finite_stops_the_run(folds, tmp_path):
    # One step an epoch: the update that breaks the weights is the epoch's last.
    flags = ["-fold", 1, "-lr", "1e38", "-epoch", 1, "-batch_size", 16]
    with pytest.raises(
        FloatingPointError,
        match=r"the outputs of 7 of 7 evaluated clips are not finite, the first is .*eval_1",
    ):
        run_here("ast_esc50", *tiny(folds, tmp_path, *AST, *flags))
    assert not list(tmp_path.rglob("adapter_model.safetensors"))


def test_a_mistake_before_the_first_epoch_does_not_use_up_the_name(folds, tmp_path):
    flags = [*tiny(folds, tmp_path, *AST, "-fold", 1), "-epoch", 1]
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        run_here("ast_esc50", *flags, "-pretrained", tmp_path / "none.pth")
    folder = run_here("ast_esc50", *flags)
    assert json.loads((folder / "arguments.json").read_text())["pretrained"] == "random"


def test_a_run_does_not_go_on_with_other_lists(tmp_path):
    lists = write_lists(tmp_path / "lists", train_1=6, eval_1=4)
    flags = [*tiny(lists, tmp_path / "runs", *AST, "-fold", 1), "-resume"]
    run_here("ast_esc50", *flags)
    data = json.loads((lists / "train_1.json").read_text())
    data["data"][0]["labels"] = "/m/03"
    (lists / "train_1.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="the lists, their labels or trials are others"):
        run_here("ast_esc50", *flags)


def test_more_processes_than_clips_in_a_batch_are_refused(splits, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    with pytest.raises(SystemExit):
        command_here("w2v_speechcommands", *tiny(splits, tmp_path, *W2V, "-batch_size", 1, "-nproc", 2))
    assert "-batch_size 1 is shared by 2 processes" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("frames", "tokens"),
    [(1, 0), (10, 4)],  # 1,600 samples: 319, 159, 79, 39, 19, 9, 4 after the seven layers
)
def test_an_input_too_short_for_wav2vec2_is_refused(splits, tmp_path, frames, tokens):
    flags = tiny(splits, tmp_path, *W2V, "-frame_length", frames)
    with pytest.raises(ValueError, match=f"{frames} frames become {tokens} tokens.*at least 10"):
        run_here("w2v_speechcommands", *flags)


@pytest.mark.parametrize(
    ("allowed", "flag", "visible"),
    [("2,3", "0,1", "2,3"), ("2,3", "1", "3"), ("2,3", "2", None), ("", "0", None)],
)
def test_usable_gpus_are_of_those_the_scheduler_gave(monkeypatch, capsys, allowed, flag, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    monkeypatch.delenv("RANK", raising=False)
    numbers = tuple(map(int, flag.split(",")))
    if visible is None:
        with pytest.raises(SystemExit):
            choose_gpus(numbers)
        assert "GPUs are there, counted from 0" in capsys.readouterr().err
    else:
        choose_gpus(numbers)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == visible


def test_under_torchrun_the_gpus_are_not_chosen_here(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("IPET_LAUNCHED", raising=False)
    with pytest.raises(SystemExit):
        choose_gpus((0,))
    assert "for torchrun set CUDA_VISIBLE_DEVICES" in capsys.readouterr().err


# Real recordings ------------------------------------------------------------------------------------

REAL = SHARED / "real_audio"
needs_recordings = pytest.mark.skipif(
    not REAL.is_dir(), reason="the recordings (shared/real_audio) are missing"
)


@needs_recordings
def test_ast_esc50_trains_on_five_folds_of_real_drums(tmp_path):
    flags = ["-frame_length", 64, "-epoch", 1, "-lr", "5e-3"]
    folder = run_here("ast_esc50", *tiny(REAL / "D1_drums", tmp_path, *flags))
    summary = json.loads((folder / "summary.json").read_text())
    assert len(summary["protocols"]["last"]["values"]) == 5
    assert all(0 < value < 1 for value in summary["protocols"]["last"]["values"].values())
    losses = [[row["loss"] for row in rows(folder / f"seed_1234/fold_{k}", "step")] for k in range(1, 6)]
    for loss in losses:  # 12 classes: ln 12 = 2.48 is what guessing costs
        assert np.mean(loss[-3:]) < np.mean(loss[:3])


@needs_recordings
def test_w2v_speechcommands_trains_on_real_syllables(tmp_path):
    flags = ["-epoch", 1, "-embedding_prompt_num", 8]
    folder = run_here("w2v_speechcommands", *tiny(REAL / "D2_keywords", tmp_path, *flags))
    losses = [row["loss"] for row in rows(folder / "seed_1234", "step")]
    assert len(losses) == 24  # 1,476 clips in batches of 64
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    result = json.loads((folder / "seed_1234/result.json").read_text())
    assert 0 < result["test_at_best_epoch"]["test_accuracy"] < 1
