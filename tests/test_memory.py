"""Less memory for the same training: batches in parts, and activations computed again."""

import copy

import pytest
import torch
from test_runs import TWO_PROCESSES, adapter
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.datasets import Batch
from ipet.dropout import replace_dropout
from ipet.heads import Classifier, LinearHead
from ipet.memory import checkpoint_activations
from ipet.methods import apply_method
from ipet.trainer import seed_everything
from ipet.tuning import train_mode, trainable_parameters

from helpers import long, rows, run_here, run_there, tiny, write_lists

SETTINGS = {"num_prompts": 3, "bottleneck": 4, "rank": 2}
KINDS = ("ast", "wav2vec2", "hubert", "wavlm")


def classifier(kind, method):
    torch.manual_seed(0)
    if kind == "ast":
        backbone = build_ast(64, size="tiny", patchout=0.2)
    else:
        backbone = build_wav2vec2("tiny", model_type=kind)
    model = Classifier(
        nn.Identity(), apply_method(backbone, method, **SETTINGS), LinearHead(backbone.width, 2)
    )
    replace_dropout(model)
    train_mode(model, frozen_dropout=True)
    return model


def step(model, x):
    """Logits and gradients of one training step, and the bytes that wait for its backward pass."""
    kept = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    seed_everything(1)
    weights = {p.data_ptr() for p in model.parameters()}
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = model.head(model.backbone(x))
    kept = sum(size for pointer, size in kept.items() if pointer not in weights)
    grads = torch.autograd.grad(
        logits.pow(2).sum(), list(trainable_parameters(model).values()), allow_unused=True
    )
    return [logits, *grads], kept


@pytest.mark.parametrize("method", ["ipet", "lora", "finetune"])
@pytest.mark.parametrize("kind", KINDS)
def test_activations_are_computed_again_with_the_same_dropout(kind, method):
    model = classifier(kind, method)
    x = torch.randn(2, 64, 128) if kind == "ast" else 0.1 * torch.randn(2, 16_000)
    model_again = copy.deepcopy(model)
    checkpoint_activations(model_again)
    (wanted, kept), (got, kept_again) = step(model, x), step(model_again, x)
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted):
        assert (a is None) == (b is None) and (a is None or torch.equal(a, b))
    if method == "ipet":
        assert kept_again < 0.5 * kept


def test_nothing_is_computed_again_where_no_gradient_is_asked_for(monkeypatch):
    model = classifier("ast", "ipet").eval()
    checkpoint_activations(model)
    monkeypatch.setattr("ipet.memory.checkpoint", None)
    with torch.inference_mode():
        model.backbone(torch.randn(1, 64, 128))


def test_a_batch_is_split_in_order():
    batch = Batch(*(torch.arange(5.0) + 10 * i for i in range(6)))
    parts = batch.split(2)
    assert [part.index.tolist() for part in parts] == [[30, 31], [32, 33], [34]]
    for i, tensor in enumerate(batch):
        assert torch.equal(torch.cat([part[i] for part in parts]), tensor)


W2V = [
    "-frame_length",
    40,
    "-epoch",
    1,
    "-batch_size",
    8,
    "-embedding_prompt_num",
    3,
    "-frozen_dropout",
    "False",
]
W2V += ["-adapter_dropout", 0, "-lr", "1e-2", "-mixup", "0.5"]


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("lists"), train=13, valid=5, test=7)


@pytest.fixture(scope="module")
def whole(lists, tmp_path_factory):
    """A run with whole batches of 8 and 5 clips."""
    return run_here("w2v_speechcommands", *tiny(lists, tmp_path_factory.mktemp("whole"), *W2V))


def assert_same_run(folder, whole):
    for name, tensor in adapter(whole / "seed_1234/last").items():
        torch.testing.assert_close(adapter(folder / "seed_1234/last")[name], tensor, rtol=1e-3, atol=2e-5)
    losses = [[row["loss"] for row in rows(path / "seed_1234", "step")] for path in (folder, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_batch_in_parts_trains_as_the_whole_does(lists, whole, tmp_path):
    flags = tiny(lists, tmp_path, *W2V, "-micro_batch_size", 3, "-checkpoint_activations")
    assert_same_run(run_here("w2v_speechcommands", *flags), whole)


@long
def test_two_processes_wait_for_each_other_once_a_step(lists, whole, tmp_path):
    flags = tiny(lists, tmp_path, *W2V, "-micro_batch_size", 3, "-checkpoint_activations")
    status, _, err = run_there("w2v_speechcommands", *flags, launcher=TWO_PROCESSES)
    assert status == 0, err
    assert_same_run(tmp_path / "IPET/t/w2v_speechcommands/a", whole)
