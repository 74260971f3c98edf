"""Lists as batches: every draw from (seed, epoch, clip), and every clip once, however many processes."""

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ipet.audio import ClipError
from ipet.augment import mix
from ipet.datasets import (
    Cut,
    Datasets,
    EpochBatches,
    EvaluationClips,
    RankShare,
    TrainClips,
    check_recordings,
    collate,
    evaluation_loader,
    single,
    train_loader,
)
from ipet.distributed import gather_by_index
from ipet.lists import Clip, Labels
from ipet.splits import log_mel_cuts, waveform_cuts

LENGTHS = (400, 900, 600, 1_200, 300, 800)


@pytest.fixture
def labels(tmp_path):
    return Labels(tmp_path / "labels.csv", ("a", "b", "c"), ("A", "B", "C"))


@pytest.fixture
def clips(tmp_path):
    """Six clips of noise and of different lengths; clip i has class i mod 3."""
    made = []
    for i, length in enumerate(LENGTHS):
        path = tmp_path / f"{i}.wav"
        samples = np.random.default_rng(i).uniform(-0.5, 0.5, length).astype(np.float32)
        soundfile.write(path, samples, 16_000, subtype="FLOAT")
        made.append(Clip(path, (i % 3,), f"train.json: clip {i}"))
    return made


def assert_same_batches(got, want):
    assert len(got) == len(want)
    for a, b in zip(got, want):
        assert all(torch.equal(x, y) for x, y in zip(a, b))


# Cuts ---------------------------------------------------------------------------------------------


def test_a_cut_takes_a_part_and_leaves_a_short_clip_short():
    clip = torch.arange(10.0)
    assert Cut(4)(clip).tolist() == [0, 1, 2, 3]
    assert Cut(4, crop="centre")(clip).tolist() == [3, 4, 5, 6]
    assert Cut(12)(clip).tolist() == clip.tolist()
    assert Cut(12, repeat=True)(clip).tolist() == [*clip.tolist(), 0, 1]


def test_a_cut_removes_the_mean_of_the_whole_clip_first():
    clip = torch.tensor([1.0, 2.0, 6.0])  # mean 3
    assert Cut(2, zero_mean=True)(clip).tolist() == [-2, -1]
    assert Cut(5, zero_mean=True, repeat=True)(clip).tolist() == [-2, -1, 3, -2, -1]


def test_a_random_cut_is_drawn_from_the_generator_it_is_given():
    clip, cut = torch.arange(100.0), Cut(10, crop="random")
    first, again = (cut(clip, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(first, clip[int(first[0]) :][:10])
    starts = {int(cut(clip, np.random.default_rng(seed))[0]) for seed in range(50)}
    assert len(starts) > 20


def test_a_cut_s_settings_rebuild_it():
    cut = Cut(7, crop="centre", repeat=True, zero_mean=True)
    assert Cut(**cut.settings) == cut


# Clips --------------------------------------------------------------------------------------------


def test_an_evaluation_clip_is_its_cut_with_its_target_and_its_place(clips, labels):
    evaluation = EvaluationClips(clips, labels, Cut(500, crop="centre"))
    item = evaluation[1]
    samples, _ = soundfile.read(clips[1].path, dtype="float32")
    assert torch.equal(item.waveform, torch.from_numpy(samples[200:700]))  # 900 - 500 = 400 to spare
    assert item.target.tolist() == [0, 1, 0]
    assert (item.num_samples, item.index, item.seed) == (500, 1, 0)
    assert all(torch.equal(a, b) for a, b in zip(item, evaluation[1]))


def test_targets_of_a_list_are_one_row_a_clip(clips, labels):
    several = [Clip(clip.path, (i % 3, 2), clip.where) for i, clip in enumerate(clips[:3])]
    targets = EvaluationClips(several, labels, Cut(500)).targets()
    assert targets.tolist() == [[1, 0, 1], [0, 1, 1], [0, 0, 1]]


def test_a_training_clip_depends_on_seed_epoch_and_index_alone(clips, labels):
    def read(order, seed=0, global_seed=0):
        np.random.seed(global_seed)
        torch.manual_seed(global_seed)
        train = TrainClips(clips, labels, Cut(250, crop="random"), mixup=0.5, seed=seed)
        items = {key: train[key] for key in order}
        return [items[key] for key in sorted(items)]

    keys = [(epoch, index) for epoch in (1, 2) for index in range(6)]
    first = read(keys)
    assert_same_batches(read(keys[::-1], global_seed=5), first)
    for other in (read([(epoch + 2, index) for epoch, index in keys]), read(keys, seed=1)):
        assert all(not torch.equal(a.waveform, b.waveform) for a, b in zip(other, first))
        assert all(a.seed != b.seed for a, b in zip(other, first))
    assert len({item.seed.item() for item in first}) == len(keys)  # augmentation, anew for each clip


def test_mixing_keeps_targets_that_sum_to_one(clips, labels):
    train = TrainClips(clips, labels, Cut(10_000), mixup=1.0)
    targets = torch.stack([train[epoch, index].target for epoch in range(20) for index in range(6)])
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(120))
    shares = targets.amax(dim=1)
    assert ((shares > 0.5) & (shares < 1)).float().mean() > 0.5  # two classes, near halves
    # the clip's own length is kept, whichever it is mixed with
    assert [train[1, i].num_samples.item() for i in range(6)] == list(LENGTHS)


def test_clips_are_mixed_as_often_as_the_probability_says(clips, labels):
    def share(mixup):
        train = TrainClips(clips, labels, Cut(100), mixup)
        mixed = [train[epoch, 0].target.max() < 1 for epoch in range(300)]
        return np.mean(mixed)

    assert share(0.0) == 0.0
    # one clip of three has the same class: its mixture shows in the samples, not in the target
    assert share(1.0) == pytest.approx(2 / 3, abs=0.08)
    assert share(0.3) == pytest.approx(0.3 * 2 / 3, abs=0.08)


def test_a_clip_mixed_with_itself_is_itself_but_for_its_mean(clips, labels):
    train = TrainClips(clips[:1], labels, Cut(10_000), mixup=1.0)
    samples = torch.from_numpy(soundfile.read(clips[0].path, dtype="float32")[0])
    item = train[1, 0]
    torch.testing.assert_close(item.waveform, samples - samples.mean())
    torch.testing.assert_close(item.target, torch.tensor([1.0, 0.0, 0.0]))


class Sines:
    """Recordings in memory: recording i is a sine of (i + 1) cycles in 64 samples, of a given length."""

    def __init__(self, lengths):
        self.lengths = lengths

    def length(self, path):
        return self.lengths[int(path.name)]

    def read(self, path, start=0, num_samples=None):
        phase = (
            2 * torch.pi * (int(path.name) + 1) / 64 * torch.arange(self.length(path), dtype=torch.float64)
        )
        return torch.sin(phase).float()


def sines(lengths, labels, cut, **more):
    """A training list of ``Sines``, each of a class of its own."""
    clips = [Clip(Path(str(i)), (i,), f"train.json: clip {i}") for i in range(len(lengths))]
    train = TrainClips(clips, labels, cut, **more)
    train.recordings = Sines(lengths)
    return train


def amplitudes(waveform, num_classes):
    """[T] samples -> [C] amplitude of each class's sine; T is a multiple of 64, the longest period."""
    spectrum = torch.fft.rfft(waveform.double())[:: len(waveform) // 64].abs() / (len(waveform) / 2)
    return spectrum[1 : num_classes + 1]


@pytest.mark.parametrize("repeat", [True, False])
def test_mixup_keeps_both_clips_in_the_crop(labels, repeat):
    # A1: of a 30 s clip mixed with a 2 s one a 10.24 s crop held nothing of the second in 9 of 10 mixtures
    lengths, size = (3_000 * 64, 200 * 64), 1_024 * 64  # 30 s, 2 s and 10.24 s at 6.4 kHz
    train = sines(lengths, labels, Cut(size, "random", repeat=repeat), mixup=1.0, seed=3)
    num_mixed = 0
    for epoch in range(60):
        item = train[epoch, 0]
        assert item.num_samples == size
        if item.target[1] > 0:
            num_mixed += 1
            # repeated, both fill the crop and the label's share is the sound's; padded, both begin together
            sound = item.waveform if repeat else item.waveform[: lengths[1]]
            torch.testing.assert_close(amplitudes(sound, 3).float(), item.target, atol=0.02, rtol=0)
    assert num_mixed > 20


@pytest.mark.parametrize(
    "cuts",
    [
        waveform_cuts(64),
        waveform_cuts(64, variable_length=True),
        log_mel_cuts(64, 25.0, 10.0, "random"),
        log_mel_cuts(64, 25.0, 10.0, "first"),
    ],
)
def test_mixup_of_clips_of_very_different_lengths_keeps_both(labels, cuts):
    # A1: the lengths of FSD50K's clips, from 0.3 to 30 s, that is from half a crop of 0.64 s to 47 of them
    labels = Labels(labels.path, tuple("abcdefgh"), tuple("ABCDEFGH"))
    lengths = [round(16_000 * s) for s in (0.3, 0.5, 1.0, 2.5, 4.0, 8.0, 15.0, 30.0)]
    train = sines(lengths, labels, cuts.train, mixup=1.0)
    num_mixed = 0
    for epoch in range(12):
        for index in range(8):
            waveform, num_samples, target, *_ = train[epoch, index]
            if target.max() == 1:
                continue
            num_mixed += 1
            own = min(cuts.train.num_samples, lengths[index])
            assert num_samples == (cuts.train.num_samples if cuts.train.repeat else own)
            other = int(target.clone().index_fill_(0, torch.tensor(index), 0).argmax())
            # what the first 0.3 s hold; repeated clips of 0.3 s have a seam, hence the tolerance
            found = amplitudes(waveform[: 64 * (4_800 // 64)], 8)
            assert found[[index, other]].tolist() == pytest.approx(target[[index, other]].tolist(), abs=0.15)
            if cuts.train.repeat or cuts.train.repeat_mixed:  # to the end of the crop
                found = amplitudes(waveform[-64 * (4_800 // 64) :], 8)
                assert found[[index, other]].min() > 0.1
    assert num_mixed > 60


def test_mixup_of_first_crops_takes_both_clips_from_their_first_samples(labels):
    # A1: AST's mixture, cut from whole clips that were mixed, is the same but for its mean
    lengths, size = (6_400, 12_800), 1_280
    for index, other in ((0, 1), (1, 0)):
        train = sines(lengths, labels, Cut(size, "first", zero_mean=True), mixup=1.0)
        epoch = next(e for e in range(50) if train[e, index].target[other] > 0)
        item = train[epoch, index]
        whole = mix(*(train.recordings.read(Path(str(i))) for i in (index, other)), item.target[index].item())
        want = whole[:size] - whole[:size].mean()
        torch.testing.assert_close(item.waveform, want, atol=1e-6, rtol=0)


def test_second_clip_of_a_mixture_is_cut_from_anywhere_in_its_recording():
    # A1: also where the first clip is the shorter one
    cut, ramp = Cut(500, "random").for_mixing(100), torch.arange(1_000.0)
    starts = [int(cut(ramp, np.random.default_rng(seed))[0]) for seed in range(60)]
    assert cut.num_samples == 100 and min(starts) < 100 and max(starts) > 800


@pytest.mark.parametrize("mixup", [-0.1, 1.1])
def test_a_mixup_probability_outside_0_to_1_is_refused(clips, labels, mixup):
    with pytest.raises(ValueError, match=rf"probability is {mixup}; it must lie in \[0, 1\]"):
        TrainClips(clips, labels, Cut(100), mixup)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_clip_that_cannot_be_used_is_named_by_list_number_and_path(clips, labels, num_workers):
    clips[2].path.write_text("not audio")
    loader = evaluation_loader(
        EvaluationClips(clips, labels, Cut(100)), RankShare(6), 2, num_workers, pin=False
    )
    message = ""
    try:
        list(loader)
    except ClipError as error:
        message = str(error)
        error.__traceback__ = None  # holds the loader, whose worker would end seconds later
    assert message.startswith(f"train.json: clip 2: {clips[2].path}: not readable as audio")
    assert "\n" not in message


def test_a_clip_that_has_gone_is_named_too(clips, labels):
    clips[2].path.unlink()
    with pytest.raises(ClipError) as caught:
        EvaluationClips(clips, labels, Cut(100))[2]
    assert str(caught.value) == f"train.json: clip 2: {clips[2].path}: no such file"


def test_the_watched_list_is_never_the_test_list_where_there_is_a_validation_list(clips, labels):
    train = TrainClips(clips, labels, Cut(100))
    evaluation = EvaluationClips(clips, labels, Cut(100))
    assert Datasets(train, {"test": evaluation, "valid": evaluation}).watched == "valid"
    assert Datasets(train, {"eval": evaluation}).watched == "eval"


# Batches ------------------------------------------------------------------------------------------


def test_clips_of_different_lengths_are_padded_with_zeros_behind():
    items = [
        single(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 0.0]), 4, seed=7),
        single(torch.tensor([5.0]), torch.tensor([0.0, 1.0]), 9, seed=8),
    ]
    batch = collate(items)
    assert batch.waveform.tolist() == [[1, 2, 3], [5, 0, 0]]
    assert batch.num_samples.tolist() == [3, 1]
    assert batch.target.tolist() == [[1, 0], [0, 1]]
    assert batch.index.tolist() == [4, 9]
    assert batch.seed.tolist() == [7, 8]


def test_a_worker_reads_the_batches_that_the_main_process_would(clips, labels):
    train = TrainClips(clips, labels, Cut(250, crop="random"), mixup=0.5)

    def epochs(num_workers):
        batches = EpochBatches(6, 4, seed=3)
        loader = train_loader(train, batches, num_workers, pin=False)
        read = []
        for batches.epoch in (1, 2):
            read += list(loader)
        return read

    here = epochs(0)
    assert [len(batch.index) for batch in here] == [4, 2, 4, 2]
    assert_same_batches(epochs(1), here)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize(("num_clips", "batch_size"), [(24, 8), (23, 6), (7, 5), (1, 4), (5, 9)])
def test_every_clip_weighs_once_an_epoch_over_all_ranks(num_clips, batch_size, world_size):
    ranks = [EpochBatches(num_clips, batch_size, 3, rank, world_size) for rank in range(world_size)]
    shares = [list(batches) for batches in ranks]
    [num_steps] = {len(share) for share in shares}  # all ranks take the same steps
    assert num_steps == len(ranks[0]) == -(-num_clips // batch_size)
    seen = Counter()
    for step in range(num_steps):
        weights = [batches.weights(step) for batches in ranks]
        [length] = {len(share[step]) for share in shares}  # of equal length
        assert all(w.shape == (length,) for w in weights)
        assert sum(w.sum().item() for w in weights) == pytest.approx(world_size)
        # the clips of a step weigh alike, so that the mean over the ranks is the mean over the clips
        size = min(batch_size, num_clips - step * batch_size)
        real = [key for share, w in zip(shares, weights) for key, weight in zip(share[step], w) if weight > 0]
        assert len(real) == size
        weights = torch.cat(weights)
        torch.testing.assert_close(weights[weights > 0], torch.full((size,), world_size / size))
        seen.update(real)
    assert seen == Counter((1, index) for index in range(num_clips))


def test_a_step_s_clips_are_the_same_for_any_number_of_processes():
    def steps(world_size):
        ranks = [EpochBatches(23, 6, 3, rank, world_size) for rank in range(world_size)]
        for batches in ranks:
            batches.epoch = 2
        shares = [list(batches) for batches in ranks]
        return [
            {
                key
                for batches, share in zip(ranks, shares)
                for key, w in zip(share[step], batches.weights(step))
                if w > 0
            }
            for step in range(4)
        ]

    alone = steps(1)
    assert [len(step) for step in alone] == [6, 6, 6, 5]
    assert steps(2) == alone
    assert steps(3) == alone


def test_the_weighted_mean_over_ranks_is_the_mean_over_the_global_batch():
    losses = torch.arange(7.0)  # of seven clips, one batch
    total = 0.0
    for rank in range(3):
        batches = EpochBatches(7, 7, seed=3, rank=rank, world_size=3)
        [share] = batches
        total += (losses[[index for _, index in share]] * batches.weights(0)).sum()
    assert total.item() / 3 == pytest.approx(3.0)  # (0 + ... + 6) / 7


def test_the_order_differs_between_epochs_and_seeds():
    def order(seed, epoch):
        batches = EpochBatches(50, 8, seed)
        batches.epoch = epoch
        keys = [key for batch in batches for key in batch]
        assert {key[0] for key in keys} == {epoch}
        return [index for _, index in keys]

    orders = [order(0, 1), order(0, 2), order(1, 1), list(range(50))]
    assert len({tuple(o) for o in orders}) == 4
    assert order(0, 1) == orders[0]


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("num_clips", [1, 4, 7])
def test_the_ranks_share_a_list_without_overlap(num_clips, world_size):
    shares = [RankShare(num_clips, rank, world_size) for rank in range(world_size)]
    assert sorted(index for share in shares for index in share) == list(range(num_clips))
    assert [len(share) for share in shares] == [len(list(share)) for share in shares]
    assert RankShare(7, 1, 3).indices == range(1, 7, 3)  # clips 1 and 4


def test_an_evaluation_loader_keeps_the_order_of_the_list(clips, labels):
    evaluation = EvaluationClips(clips, labels, Cut(100))
    loader = evaluation_loader(evaluation, RankShare(6, 1, 2), 2, num_workers=0, pin=False)
    assert [batch.index.tolist() for batch in loader] == [[1, 3], [5]]


# Gathering ----------------------------------------------------------------------------------------


def test_rows_are_gathered_in_the_order_of_the_list():
    values = torch.tensor([[2.0, 20.0], [0.0, 0.5], [1.0, 10.0]])
    gathered = gather_by_index(torch.tensor([2, 0, 1]), values, 3)
    assert gathered.tolist() == [[0, 0.5], [1, 10], [2, 20]]


@pytest.mark.parametrize(
    ("indices", "found"),
    [
        ([0, 1], "1 missing, 0 repeated"),
        ([0, 1, 1], "1 missing, 1 repeated"),
        ([0, 1, 2, 2, 2], "0 missing, 1 repeated"),
        ([], "3 missing, 0 repeated"),
    ],
)
def test_a_missing_or_a_repeated_row_is_an_error(indices, found):
    indices = torch.tensor(indices, dtype=torch.long)
    with pytest.raises(RuntimeError, match=f"3 clips were to be evaluated once each; counted {found}"):
        gather_by_index(indices, torch.zeros(len(indices), 2), 3)


def test_a_row_beyond_the_list_is_an_error():
    with pytest.raises(RuntimeError, match="3 clips were to be evaluated once each"):
        gather_by_index(torch.tensor([0, 1, 2, 3]), torch.zeros(4, 2), 3)


def test_a_cut_of_an_unknown_kind_is_refused_before_any_clip_is_read():
    with pytest.raises(ValueError, match="crop is 'last'; accepted: first, centre, random"):
        Cut(100, crop="last")


def test_the_first_recording_that_cannot_be_used_is_told_without_a_look_at_all_others(monkeypatch):
    opened, clips = [], [Clip(Path(f"{i}.wav"), (), f"clip {i}") for i in range(5_000)]

    def look(path):
        opened.append(path)
        time.sleep(0.002)
        if path.name == "0.wav":
            raise ClipError("0.wav: not readable")

    monkeypatch.setattr("ipet.datasets.open_header", look)
    with pytest.raises(ClipError, match=r"clip 0: 0\.wav: not readable"):
        check_recordings(clips)
    assert len(opened) < len(clips)
