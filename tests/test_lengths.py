"""Batches of clips of like length: little is filled up, and nothing else changes."""

from collections import Counter

import numpy as np
import pytest
import torch

from ipet.checkpoint import load_training
from ipet.datasets import POOL, EpochBatches, RankShare, by_length
from ipet.trainer import Trainer

from helpers import adapter, run_here, stopped_behind_the_third_step, tiny, write_lists

FLAGS = ["-variable_length", "-frame_length", 60, "-epoch", 1, "-batch_size", 2, "-lr", "1e-2"]


def filled(batches, lengths):
    """The share of batches' samples that fill up the shorter clips."""
    whole = sum(len(batch) * lengths[batch].max() for batch in batches)
    return 1 - sum(lengths[batch].sum() for batch in batches) / whole


def test_little_is_filled_up_and_every_clip_comes_once_in_batches_of_one_size():
    lengths = np.random.default_rng(0).integers(16_000, 160_001, 500)  # 1 to 10 s
    mixed, alike = EpochBatches(500, 16, 3), EpochBatches(500, 16, 3, lengths=lengths)
    assert filled(list(mixed.global_batches()), lengths) > 0.35
    batches = list(alike.global_batches())
    assert filled(batches[:-1], lengths) < 0.05
    assert [len(batch) for batch in batches] == [16] * 31 + [4] and len(alike) == 32
    assert Counter(np.concatenate(batches).tolist()) == Counter(range(500))


def test_the_order_is_one_of_chance_that_seed_and_epoch_fix():
    lengths = np.random.default_rng(0).integers(16_000, 160_001, 500)
    orders = {}
    for seed, epoch in ((0, 1), (0, 2), (1, 1), (0, 1)):
        batches = EpochBatches(500, 8, seed, lengths=lengths)
        batches.epoch = epoch
        orders.setdefault((seed, epoch), []).append(np.concatenate(list(batches.global_batches())).tolist())
    assert orders[0, 1][0] == orders[0, 1][1]
    assert len({tuple(order[0]) for order in orders.values()}) == 3
    means = [lengths[batch].mean() for batch in batches.global_batches()]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.3  # the lengths of batches have no order
    together = [set(map(frozenset, np.split(np.array(o[0])[:496], 62))) for o in orders.values()]
    assert len(together[0] & together[1]) < 3  # clips meet others in the next epoch


def test_what_does_not_fill_a_batch_is_of_any_length():
    rng, lengths = np.random.default_rng(0), np.arange(1_000)
    ends = [by_length(rng.permutation(1_000), lengths, 16, rng)[-1] for _ in range(200)]
    assert {len(end) for end in ends} == {1_000 % 16}
    assert np.mean(ends) == pytest.approx(500, abs=30)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize(("n", "size"), [(1, 4), (3, 4), (8, 4), (2 * POOL + 3, 2), (100, 7)])
def test_steps_are_the_same_for_any_number_of_processes_and_behind_a_stop(n, size, world):
    lengths = np.random.default_rng(n).integers(1, 9, n)  # many are alike
    ranks = [EpochBatches(n, size, 5, rank, min(world, size), lengths=lengths) for rank in range(world)]
    alone = list(EpochBatches(n, size, 5, lengths=lengths))
    shares = [list(batches) for batches in ranks]
    for step, batch in enumerate(alone):
        assert {key for share in shares for key in share[step]} == set(batch)
        assert [key[1] for key in batch] == ranks[0].global_batch(step).tolist()
        assert len({len(share[step]) for share in shares}) == 1
    ranks[0].first = len(alone) // 2
    assert list(ranks[0]) == shares[0][len(alone) // 2 :]


def test_evaluation_hears_the_longest_clips_first_and_shares_them_out_alike():
    lengths = np.array([3, 9, 3, 7, 1])
    assert list(RankShare(5, lengths=lengths)) == [1, 3, 0, 2, 4]
    assert [list(RankShare(5, rank, 2, lengths)) for rank in (0, 1)] == [[1, 0, 4], [3, 2]]


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("lists"), train=10, valid=5, test=7)


def test_outputs_are_in_the_lists_order_and_those_of_the_clips_in_any_batches(lists, tmp_path, monkeypatch):
    outputs, kept = [], Trainer.predict

    def both(self, clips):
        alike = kept(self, clips)
        self.known_lengths = {clips: None}
        outputs.append((alike, kept(self, clips)))
        self.known_lengths = {}
        return alike

    monkeypatch.setattr(Trainer, "predict", both)
    run_here("w2v_speechcommands", *tiny(lists, tmp_path, *FLAGS, "-eval_batch_size", 3))
    assert [len(a) for a, _ in outputs][:2] == [5, 7]
    for alike, mixed in outputs:
        np.testing.assert_allclose(alike, mixed, rtol=1e-4, atol=1e-5)


def test_a_run_that_was_stopped_in_an_epoch_ends_bit_for_bit_as_if_it_had_not(lists, tmp_path, monkeypatch):
    flags = tiny(lists, tmp_path, *FLAGS, "-mixup", 0.5)
    whole = run_here("w2v_speechcommands", *flags, "-name", "whole") / "seed_1234"
    with stopped_behind_the_third_step(monkeypatch):
        run_here("w2v_speechcommands", *flags, "-checkpoint_every", 1)
    folder = tmp_path / "IPET/t/w2v_speechcommands/a/seed_1234"
    state = load_training(folder / "training_state.pt")
    assert state["step"] < 5 and state["lengths"].tolist() == [4_800, 6_400, 8_000, 9_600, 9_600] * 2
    # Whoever reads the lengths otherwise now goes on in the order in which the run began.
    monkeypatch.setattr(Trainer, "lengths", lambda self, clips: np.zeros(len(clips), int))
    run_here("w2v_speechcommands", *flags, "-resume", "-num_workers", 1)
    for name, tensor in adapter(whole / "last").items():
        assert torch.equal(adapter(folder / "last")[name], tensor)
