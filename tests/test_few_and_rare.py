"""Few training clips, rare classes, and an end when nothing gets better."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from ipet.classification import ClassificationTrainer, inverse_frequency, prior_bias
from ipet.datasets import Cut, EpochBatches, TrainClips
from ipet.lists import Clip, Labels
from ipet.trainer import Trainer

from helpers import rows, run_here, tiny, write_lists, write_wav

NAMES = ("dog", "rain", "bell")
W2V = ["-frame_length", 40, "-batch_size", 4]


def train_clips(*classes):
    """A list whose clips have these classes."""
    clips = [Clip(Path(f"{i}.wav"), tuple(c), f"clip {i}") for i, c in enumerate(classes)]
    return TrainClips(clips, Labels(Path("labels.csv"), NAMES, NAMES), Cut(100))


def chosen(clips):
    return [int(clip.path.stem) for clip in clips.clips]


# Few ------------------------------------------------------------------------------------------------


def test_every_class_has_its_shots_others_for_another_seed():
    clips = train_clips(*[[i % 3] for i in range(60)])
    few = clips.few(4, seed=1)
    assert [sum(clip.classes == (c,) for clip in few.clips) for c in range(3)] == [4, 4, 4]
    assert chosen(few) == sorted(chosen(few)) == chosen(clips.few(4, seed=1))
    assert chosen(few) != chosen(clips.few(4, seed=2)) and len(clips) == 60
    assert chosen(clips.few(20, seed=1)) == list(range(60))


def test_a_clip_of_several_classes_counts_for_each():
    clips = train_clips(*[[0, 1], [0, 2], [1, 2]] * 10)
    few = clips.few(3, seed=0)
    counts = few.targets().sum(axis=0)
    assert (counts >= 3).all() and len(few) <= 3 * 3


def test_a_class_with_fewer_clips_is_named():
    with pytest.raises(ValueError, match=r"-shots 2: the class .bell. has 1 training clips; expected"):
        train_clips([0], [0], [1], [1], [2]).few(2, seed=0)


def test_a_run_trains_on_its_shots(tmp_path):
    lists = write_lists(tmp_path / "lists", train=16, valid=4, test=4)
    flags = tiny(lists, tmp_path / "runs", *W2V, "-epoch", 1, "-shots", 2, "-seed", 1, 2)
    folder = run_here("w2v_speechcommands", *flags)
    for seed in (1, 2):
        assert len(rows(folder / f"seed_{seed}", "step")) == 2  # of 4 clips each: 2 of each of 4 classes


def test_every_seed_finds_its_shots_in_the_cache_and_a_seed_is_added_later(tmp_path):
    """Each draws others; the lists that they are drawn from are the run's."""
    lists = write_lists(tmp_path / "lists", train=40, valid=4, test=4)
    flags = tiny(lists, tmp_path / "runs", *W2V, "-epoch", 1, "-shots", 1, "-path_cache", tmp_path / "cache")
    run_here("w2v_speechcommands", *flags, "-seed", 1, 2)
    folder = run_here("w2v_speechcommands", *flags, "-resume", "-seed", 3)
    assert all((folder / f"seed_{seed}/result.json").is_file() for seed in (1, 2, 3))


def test_shots_are_drawn_from_what_can_be_used(tmp_path):
    """Every second clip of class 0 cannot; each seed has two of it all the same."""
    lists = write_lists(tmp_path / "lists", train=44, valid=4, test=4)
    bad = [lists / f"wav/train_{i}.wav" for i in (0, 8, 16, 24)]
    for path in bad:
        path.write_bytes(b"no audio")
    flags = tiny(lists, tmp_path / "runs", *W2V, "-epoch", 1, "-shots", 2, "-on_bad_audio", "skip")
    folder = run_here("w2v_speechcommands", *flags, "-seed", 1, 2, 3)
    assert len(json.loads((folder / "skipped_clips.json").read_text())) == 4
    for seed in (1, 2, 3):
        assert len(rows(folder / f"seed_{seed}", "step")) == 2  # of 4 clips each


# Rare -----------------------------------------------------------------------------------------------


def test_classes_are_drawn_alike_however_rare_they_are():
    clips = train_clips(*[[0]] * 90, *[[1]] * 9, [2])
    rarity = clips.rarity()
    assert rarity.sum() == pytest.approx(1) and rarity[99] == pytest.approx(1 / 3)
    batches = EpochBatches(100, 10, seed=3, probabilities=rarity)
    drawn = []
    for batches.epoch in range(1, 31):
        epoch = np.concatenate(list(batches.global_batches()))
        assert len(epoch) == 100
        drawn += [clips.clips[i].classes[0] for i in epoch]
    assert np.bincount(drawn) / len(drawn) == pytest.approx([1 / 3] * 3, abs=0.03)


def drawn_in(batches):
    """What an epoch draws, as the training list is asked for it."""
    return [drawn for batch in batches for drawn in batch]


def test_a_rare_clip_has_another_crop_and_seed_each_time_that_an_epoch_draws_it(tmp_path):
    write_wav(tmp_path / "0.wav", 1.0)
    clips = train_clips([0], *[[1]] * 9)
    clips.clips[0] = Clip(tmp_path / "0.wav", (0,), "clip 0")
    clips.cut = Cut(1_000, crop="random")
    rarity = clips.rarity()
    drawn = drawn_in(EpochBatches(40, 10, 5, probabilities=np.repeat(rarity, 4) / 4))
    assert len(set(drawn)) == 40  # no draw twice
    mine = [(1, 0), (1, 0, 1), (1, 0, 2)]
    items = [clips[key] for key in mine]
    assert len({item.seed.item() for item in items}) == 3
    assert len({tuple(item.waveform[:5].tolist()) for item in items}) == 3
    assert clips[1, 0].seed == clips[1, 0].seed != clips[2, 0].seed


@pytest.mark.parametrize("lengths", [None, np.arange(23)[::-1].copy()])
def test_the_draws_of_a_clip_are_the_same_for_any_number_of_processes_and_behind_a_stop(lengths):
    rarity = train_clips(*[[int(i > 0)] for i in range(23)]).rarity()
    alone = list(EpochBatches(23, 6, 5, 0, 1, rarity, lengths))
    assert sum(len(key) == 3 for batch in alone for key in batch) > 5
    ranks = [EpochBatches(23, 6, 5, rank, 3, rarity, lengths) for rank in range(3)]
    for step, batch in enumerate(alone):
        assert {key for share in map(list, ranks) for key in share[step]} == set(batch)
    later = EpochBatches(23, 6, 5, 0, 1, rarity, lengths)
    later.first = 2
    assert list(later) == alone[2:]


def test_the_processes_share_out_what_is_drawn():
    rarity = train_clips(*[[i % 3] for i in range(13)]).rarity()
    whole = np.concatenate(list(EpochBatches(13, 4, 5, probabilities=rarity).global_batches()))
    shares = [list(EpochBatches(13, 4, 5, rank, 2, rarity)) for rank in range(2)]
    for step in range(4):
        batch = whole[4 * step : 4 * step + 4].tolist()
        for rank in range(2):
            own = [index for _, index, *_ in shares[rank][step]]
            assert own[: len(batch[rank::2])] == batch[rank::2]


@pytest.mark.parametrize("over_clips", [True, False])
def test_weights_are_inverse_to_the_number_of_clips(over_clips):
    targets = train_clips([0], [0], [0], [1]).targets()
    weights = inverse_frequency(targets, over_clips)
    assert weights[1] == pytest.approx(3 * weights[0]) and weights[2] == 0
    mean = (targets.sum(axis=0) * weights).sum() / 4 if over_clips else weights.mean()
    assert mean == pytest.approx(1)


def test_the_loss_of_a_rare_class_weighs_more():
    trainer = ClassificationTrainer.__new__(ClassificationTrainer)
    trainer.weights = torch.tensor([0.5, 2.0, 1.0])
    logits, target = torch.randn(4, 3), F.one_hot(torch.tensor([0, 1, 1, 2]), 3).float()
    trainer.loss = "cce"
    plain = F.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(trainer.losses(logits, target), plain * torch.tensor([0.5, 2, 2, 1]))
    trainer.loss = "bce"
    terms = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    torch.testing.assert_close(trainer.losses(logits, target), (terms * trainer.weights).mean(dim=1))


@pytest.mark.parametrize("flag", ["-class_weights", "-balanced_sampler"])
def test_a_run_minds_rare_classes(tmp_path, flag):
    lists = write_lists(tmp_path / "lists", train=13, valid=5, test=7)
    flags = tiny(lists, tmp_path / "runs", *W2V, "-epoch", 1)
    losses = []
    for name, more in (("plain", []), ("minded", [flag, "True"])):
        folder = run_here("w2v_speechcommands", *flags, *more, "-name", name)
        losses.append([row["loss"] for row in rows(folder / "seed_1234", "step")])
    assert len(losses[0]) == len(losses[1]) == 4 and losses[0] != losses[1]


def test_a_prior_bias_answers_with_the_classes_frequencies():
    targets = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 1, 0]], dtype=np.float32)
    # 4, 2 and 0 of 4 clips; half a clip less, or more, where none or all have a class
    heard = 1 / (1 + np.exp(-prior_bias(targets, "bce")))
    np.testing.assert_allclose(heard, [3.5 / 4, 2 / 4, 0.5 / 4], rtol=1e-6)
    one_each = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 2]]
    bias = prior_bias(one_each, "cce")
    np.testing.assert_allclose(np.exp(bias) / np.exp(bias).sum(), [0.6, 0.2, 0.2], rtol=1e-6)


def test_a_head_begins_with_the_prior_where_it_is_asked_to(tmp_path):
    lists = write_lists(tmp_path / "lists", train=13, valid=5, test=7)
    flags = tiny(lists, tmp_path / "runs", *W2V, "-epoch", 1, "-lr", 1e-9, "-classification_loss", "bce")
    folder = run_here("w2v_speechcommands", *flags, "-head_bias", "prior")
    tensors = load_file(folder / "seed_1234/last/adapter_model.safetensors")
    bias = next(tensor for name, tensor in tensors.items() if name.endswith("fc.bias"))
    counts = np.array([4, 3, 3, 3])  # of 13 clips
    np.testing.assert_allclose(bias, np.log(counts / (13 - counts)), atol=1e-5)


# Evaluations ----------------------------------------------------------------------------------------


def test_every_second_epoch_and_the_last_are_evaluated(tmp_path, monkeypatch):
    lists = write_lists(tmp_path / "lists", train_1=8, eval_1=4)
    flags = ["-frame_length", 64, "-batch_size", 4, "-fold", 1, "-epoch", 5]
    folders = []
    for name, every in (("each", 1), ("second", 2)):
        more = tiny(lists, tmp_path / "runs", *flags, "-eval_every", every, "-name", name)
        if every == 2:  # stopped behind an epoch without an evaluation, which is the training's state alone
            with monkeypatch.context() as patch:
                patch.setattr(Trainer, "save", stopping_behind(3))
                with pytest.raises(KeyboardInterrupt):
                    run_here("ast_esc50", *more)
            cell = tmp_path / f"runs/IPET/t/ast_esc50/{name}/seed_1234/fold_1"
            assert json.loads((cell / "last/adapter_config.json").read_text())["metrics"]["epoch"] == 2
        folders.append(run_here("ast_esc50", *more, "-resume", "True") / "seed_1234/fold_1")
    each, second = (rows(folder, "epoch") for folder in folders)
    assert [row["epoch"] for row in second] == [1, 2, 3, 4, 5]
    assert [row["epoch"] for row in second if "eval_accuracy" in row] == [2, 4, 5]
    for one, other in zip(each, second):  # an evaluation changes nothing
        assert one["train_loss"] == other["train_loss"]
        assert other.get("eval_loss", one["eval_loss"]) == one["eval_loss"]
    result = json.loads((folders[1] / "result.json").read_text())
    assert [row["epoch"] for row in result["history"]] == [2, 4, 5] and result["best_epoch"] in (2, 4, 5)
    summary = json.loads((tmp_path / "runs/IPET/t/ast_esc50/second/summary.json").read_text())["protocols"]
    assert summary["last"]["values"] == {"seed_1234/fold_1": each[-1]["eval_accuracy"]}
    assert summary["common_epoch"]["values"] == summary["best_epoch"]["values"]
    best = json.loads((folders[1] / "best/adapter_config.json").read_text())["metrics"]
    assert best["epoch"] == result["best_epoch"]


def stopping_behind(epoch):
    """``Trainer.save``, and then Ctrl-C where it was that epoch's."""
    save = Trainer.save

    def stop(trainer):
        save(trainer)
        if trainer.epoch == epoch:
            raise KeyboardInterrupt

    return stop


# Patience -------------------------------------------------------------------------------------------


def test_a_training_ends_when_the_validation_list_gets_no_better(tmp_path):
    lists = write_lists(tmp_path / "lists", train=8, valid=5, test=4)
    flags = tiny(lists, tmp_path / "runs", *W2V, "-lr", 1e-9, "-head_lr", 1e-9, "-epoch", 20, "-patience", 3)
    result = json.loads((run_here("w2v_speechcommands", *flags) / "seed_1234/result.json").read_text())
    assert len(result["history"]) == result["best_epoch"] + 3 < 20


def test_without_a_validation_list_there_is_nothing_to_wait_for(tmp_path):
    lists = write_lists(tmp_path / "lists", train_1=8, eval_1=4)
    flags = ["-frame_length", 64, "-epoch", 2, "-batch_size", 4, "-fold", 1, "-patience", 1]
    with pytest.raises(ValueError, match="-patience 1 ends a training by its validation list, and there is"):
        run_here("ast_esc50", *tiny(lists, tmp_path / "runs", *flags))
