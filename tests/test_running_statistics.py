"""Running statistics of frozen normalisation layers stay as they were pretrained. Finding B4."""

import pytest
import torch
import transformers
from test_library import SPEECH, build, vit
from torch import nn

import ipet
from ipet.backbones.wav2vec2 import Wav2Vec2, new_config, new_model
from ipet.heads import Classifier, LinearHead
from ipet.library import frozen_fingerprint
from ipet.methods import METHODS, apply_method
from ipet.running_statistics import has_running_statistics
from ipet.tuning import train_mode

NORMS = {
    "batch 1d": lambda: nn.BatchNorm1d(3),
    "batch 2d": lambda: nn.Sequential(nn.Unflatten(1, (3, 1, 1)), nn.BatchNorm2d(3), nn.Flatten()),
    "without affine": lambda: nn.BatchNorm1d(3, affine=False),
    "sync": lambda: nn.SyncBatchNorm(3),
    "instance": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.InstanceNorm1d(1, track_running_stats=True), nn.Flatten()
    ),
}


def hubert():
    """HuBERT whose convolution of positions has a batch norm, as mHuBERT's."""
    torch.manual_seed(0)
    config = transformers.HubertConfig(**SPEECH, conv_pos_batch_norm=True)
    return transformers.HubertForSequenceClassification(config)


def statistics(model):
    return {n: b.clone() for n, b in model.named_buffers() if "running" in n or "num_batches" in n}


def trained_steps(model, x, steps=2):
    """Train a few steps; returns the model."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(steps):
        out = model.train()(x)
        getattr(out, "logits", out).square().sum().backward()
        optimizer.step()
    return model


def test_statistics_of_a_tuned_hubert_stay_in_training_and_its_adapter_loads(tmp_path):
    model = ipet.tune(hubert(), 2, 4)
    before, frozen = statistics(model), frozen_fingerprint(model)
    assert before
    x = torch.randn(2, 8_000)
    trained_steps(model, x)
    torch.testing.assert_close(statistics(model), before, rtol=0, atol=0)
    assert frozen_fingerprint(model) == frozen
    ipet.save_tuned(model, tmp_path)
    fresh = ipet.load_tuned(hubert(), tmp_path)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(x).logits, model.eval()(x).logits)


@pytest.mark.parametrize("kind", NORMS)
def test_no_frozen_norm_of_any_kind_updates_its_statistics(kind):
    model = nn.Sequential(vit()[0], NORMS[kind](), nn.Dropout(0.5))
    before = statistics(model)
    trained_steps(ipet.tune(model, 2, 4), vit()[1])
    torch.testing.assert_close(statistics(model), before, rtol=0, atol=0)
    assert model.training and model[2].training  # dropout follows train()


def test_statistics_of_a_trained_part_are_trained():
    model = nn.Sequential(vit()[0], nn.BatchNorm1d(3))
    trained_steps(ipet.tune(model, 2, 4, train=["1"]), vit()[1])
    assert model[1].num_batches_tracked == 2


def test_a_frozen_norm_computes_in_training_what_it_computes_in_evaluation():
    model = ipet.tune(nn.Sequential(vit()[0], nn.BatchNorm1d(3)), 2, 4, dropout=0.0)
    x = vit()[1]
    with torch.no_grad():
        torch.testing.assert_close(model.train()(x), model.eval()(x))


@pytest.mark.parametrize("frozen_dropout", [True, False])
@pytest.mark.parametrize("method", [m for m in METHODS if m != "input_prompt"])
def test_statistics_of_an_experiments_backbone_stay_for_every_method(method, frozen_dropout):
    """A saved adapter holds parameters alone, also of fine-tuning."""
    config = new_config("hubert", {**SPEECH, "conv_pos_batch_norm": True})
    backbone = Wav2Vec2(new_model(config))
    settings = {"num_prompts": 2, "bottleneck": 4, "rank": 2, "num_prefixes": 2}
    model = Classifier(
        nn.Identity(), apply_method(backbone, method, **settings), LinearHead(backbone.width, 2)
    )
    before = statistics(model)
    train_mode(model, frozen_dropout)
    model.head(model.backbone(0.1 * torch.randn(2, 8_000))).sum().backward()
    torch.testing.assert_close(statistics(model), before, rtol=0, atol=0)
    assert any(has_running_statistics(module) for module in model.modules())


def test_a_model_without_running_statistics_gets_no_hooks():
    model, _ = build("wav2vec 2.0")
    ipet.tune(model)
    assert not any(has_running_statistics(module) for module in model.modules())
