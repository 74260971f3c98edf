"""What frozen convolutions make of a clip is computed once, where it is the same each time."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.datasets import Cut, TrainClips
from ipet.features import Waveform
from ipet.heads import Classifier, LinearHead
from ipet.kept import KeptFeatures
from ipet.lists import read_clips, read_labels
from ipet.methods import apply_method

from helpers import experiment, rows, run_here, run_there, tiny, write_lists

FEATURES = 16 * 24 * 4  # bytes of the tiny one's channels and tokens of half a second, in fp32


def keeping(kind="wav2vec2", num_bytes=2**20, num_segments=1):
    """A model, and a copy whose convolutions are remembered and counted."""
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        backbone = apply_method(build_wav2vec2("tiny", model_type=kind), "ipet", num_prompts=2, bottleneck=4)
        models.append(Classifier(Waveform(50, num_segments), backbone, LinearHead(backbone.width, 3)).eval())
    model, other = models
    kept = KeptFeatures(other, num_bytes)
    heard: list[int] = []
    convolve = kept.convolve

    def counted(waveform: Tensor) -> Tensor:
        heard.append(len(waveform))
        return convolve(waveform)

    kept.convolve = counted
    return model, other, kept, heard


def batch_of(*index, fixed=True, num_samples=8_000):
    waveform = torch.stack([torch.sin(torch.arange(num_samples) / (5 + i)) for i in index])
    lengths = torch.full((len(index),), num_samples)
    return waveform, lengths, torch.tensor(index), torch.full((len(index),), fixed)


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm"])
def test_a_clip_is_convolved_once_and_gives_the_same_logits(kind):
    model, other, kept, heard = keeping(kind)
    for batch in (batch_of(0, 1, 2), batch_of(2, 3), batch_of(3, 0)):
        features = kept("train", *batch, several=False)
        torch.testing.assert_close(other(features, batch[1]), model(*batch[:2]))
    assert heard == [3, 1]
    torch.testing.assert_close(other(*batch[:2]), model(*batch[:2]))  # samples are still heard


def test_segments_of_a_clip_are_kept_together():
    model, other, kept, heard = keeping(num_segments=3)
    for batch in (batch_of(0, 1, num_samples=11_000), batch_of(1, 0, num_samples=11_000)):
        features = kept("eval", *batch, several=True)
        torch.testing.assert_close(other(features, batch[1]), model(*batch[:2]))
    assert heard == [6]


def test_what_sounds_different_each_time_is_never_kept():
    model, other, kept, heard = keeping()
    for shift in (0, 1):
        waveform, *rest = batch_of(0, 1, fixed=False)
        features = kept("train", waveform + 0.1 * shift, *rest, several=False)
        torch.testing.assert_close(other(features, rest[0]), model(waveform + 0.1 * shift, rest[0]))
    assert heard == [2, 2] and not kept.kept["train"]


def test_lists_are_told_apart():
    _, _, kept, heard = keeping()
    kept("train", *batch_of(0), several=False)
    kept("eval", *batch_of(0), several=False)
    assert heard == [1, 1]


def test_no_more_is_kept_than_there_is_memory_for():
    _, _, kept, heard = keeping(num_bytes=2 * FEATURES + 1)
    for _ in range(2):
        kept("train", *batch_of(0, 1, 2), several=False)
    assert heard == [3, 1]
    assert (
        sum(features.untyped_storage().nbytes() for features in kept.kept["train"].values()) == 2 * FEATURES
    )
    assert kept.left == 1


def test_only_convolutions_without_gradients_are_left_out():
    _, other, kept, _ = keeping()
    features = kept("train", *batch_of(0, 1), several=False)
    other(features, None).sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in other.parameters())


def test_a_clip_knows_whether_it_is_always_cut_alike(tmp_path):
    lists = write_lists(tmp_path, train=5)  # of 0.3 to 0.7 s
    labels = read_labels(lists / "labels.csv")
    clips = read_clips(lists / "train.json", lists, labels)

    def fixed(cut, **more):
        items = TrainClips(clips, labels, cut, **more)
        return [bool(items[1, i].fixed) for i in range(len(items))]

    assert fixed(Cut(8_000, "random", repeat=True)) == [True, True, True, False, False]
    assert fixed(Cut(8_000, "first")) == [True] * 5
    assert fixed(Cut(8_000, "first"), mixup=1.0) == [False] * 5
    assert fixed(Cut(8_000, "first"), corrupt=lambda waveform, rng: waveform) == [False] * 5


FLAGS = ["-frame_length", 50, "-epoch", 2, "-batch_size", 8, "-embedding_prompt_num", 3, "-lr", "1e-2"]
FLAGS += ["-frozen_dropout", "False", "-adapter_dropout", 0]  # a batch in parts draws others


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("lists"), train=13, valid=5, test=7)


@pytest.fixture(scope="module")
def plain(lists, tmp_path_factory):
    return run_here("w2v_speechcommands", *tiny(lists, tmp_path_factory.mktemp("plain"), *FLAGS))


def values(folder):
    epochs = rows(folder / "seed_1234", "epoch")
    return [[row[name] for name in ("train_loss", "valid_loss", "valid_accuracy")] for row in epochs]


@pytest.mark.parametrize("more", [[], ["-micro_batch_size", 3], ["-num_workers", 2]])
def test_a_run_that_keeps_features_is_the_run_that_does_not(lists, plain, tmp_path, more):
    folder = run_here("w2v_speechcommands", *tiny(lists, tmp_path, *FLAGS, "-keep_features", 1, *more))
    np.testing.assert_allclose(values(folder), values(plain), rtol=1e-4)


def test_fine_tuning_has_nothing_to_keep(capsys):
    with experiment("w2v_speechcommands") as load, pytest.raises(SystemExit):
        load("arguments").get_args(["-name", "a", "-method", "finetune", "-keep_features", "1"])
    assert "-keep_features 1 is for frozen convolutions" in capsys.readouterr().err


def test_clips_of_their_own_lengths_are_not_kept(capsys):
    with experiment("w2v_speechcommands") as load, pytest.raises(SystemExit):
        load("arguments").get_args(["-name", "a", "-variable_length", "-keep_features", "1"])
    assert "-keep_features 1 is for one; leave one of the two out" in capsys.readouterr().err


def test_ast_has_no_such_flag():
    status, _, err = run_there("ast_esc50", "-name", "a", "-keep_features", 1)
    assert status == 2 and "unknown argument '-keep_features'" in err
