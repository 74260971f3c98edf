"""Heads and losses: the authors' numbers, the initialisation, and the parts as a whole."""

import math

import pytest
import torch
from torch import nn

from ipet.classification import LOSSES
from ipet.heads import Classifier, LinearHead, SpeakerHead

from parity import det, draw, load, needs_parity, relative


def fill(head, prefix):
    """Give a head its deterministic weights."""
    with torch.no_grad():
        for name, tensor in head.named_parameters():
            tensor.copy_(draw(f"{prefix}.{name}", tuple(tensor.shape), "heads"))
    return head


@needs_parity
@pytest.mark.parametrize(("width", "num_classes"), [(768, 50), (1536, 35)])
def test_class_logits_are_the_authors(width, num_classes):
    head = fill(LinearHead(width, num_classes), "head")
    logits = head(det("head_input", [4, width], 0.3, 1.0))
    assert relative(logits, load("heads.npz")[f"cls_{width}_{num_classes}_logits"]) < 5e-6


@needs_parity
@pytest.mark.parametrize("width", [768, 1536])
def test_speaker_embeddings_and_logits_are_the_authors(width):
    head = fill(SpeakerHead(width, 1211), "vhead")
    x, data = det("head_input", [4, width], 0.3, 1.0), load("heads.npz")
    assert relative(head.embed(x), data[f"ver_{width}_1211_embedding"]) < 5e-6
    assert relative(head(x), data[f"ver_{width}_1211_logits"]) < 5e-6


@needs_parity
@pytest.mark.parametrize("loss", ["cce", "bce"])
@pytest.mark.parametrize("kind", ["hard", "soft", "multi"])
def test_losses_are_the_authors(loss, kind):
    data = load("heads.npz")
    logits, target = torch.from_numpy(data["loss_logits"]), torch.from_numpy(data[f"loss_{kind}"])
    losses = LOSSES[loss](logits, target)
    assert losses.shape == (12,)  # one a clip
    assert losses.mean().item() == pytest.approx(float(data[f"loss_train_{loss}_{kind}"]), abs=1e-5)


def test_cross_entropy_keeps_the_shares_of_a_mixed_clip():
    logits, target = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[0.25, 0.75]])
    # softmax: 3/4 and 1/4
    want = -(0.25 * math.log(3 / 4) + 0.75 * math.log(1 / 4))
    assert LOSSES["cce"](logits, target).tolist() == pytest.approx([want])


def test_binary_cross_entropy_is_the_mean_over_the_classes():
    logits, target = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[1.0, 1.0]])
    # sigmoid: 3/4 and 1/2
    want = -(math.log(3 / 4) + math.log(1 / 2)) / 2
    assert LOSSES["bce"](logits, target).tolist() == pytest.approx([want])


@pytest.mark.parametrize(("width", "num_classes"), [(768, 50), (1536, 35)])
def test_a_new_linear_head_is_xavier_uniform_with_a_bias_of_1e_4(width, num_classes):
    torch.manual_seed(0)
    head = LinearHead(width, num_classes)
    check_linear(head.fc)
    assert head.norm.eps == 1e-5
    assert sum(p.numel() for p in head.parameters()) == width * (2 + num_classes) + num_classes


def test_a_new_speaker_head_is_xavier_uniform_with_biases_of_1e_4():
    torch.manual_seed(0)
    head = SpeakerHead(768, 1211)
    check_linear(head.embed)
    check_linear(head.fc)
    # embed: 128 (768 + 1); norm: 256; fc: 1211 (128 + 1)
    assert sum(p.numel() for p in head.parameters()) == 128 * 769 + 256 + 1211 * 129


def check_linear(layer):
    bound = math.sqrt(6 / (layer.in_features + layer.out_features))
    weight = layer.weight.detach()
    assert weight.abs().max() <= bound
    assert weight.abs().max() > 0.999 * bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)  # uniform in +-bound
    assert torch.equal(layer.bias.detach(), torch.full_like(layer.bias, 1e-4))


class Recorder(nn.Module):
    """A front end that keeps what it was given and returns each clip's mean."""

    def forward(self, waveform, num_samples, seeds=None):
        self.given = waveform, num_samples, seeds
        return waveform.mean(dim=1, keepdim=True)


def test_a_classifier_is_head_of_backbone_of_front_end():
    front_end, backbone, head = Recorder(), nn.Linear(1, 3), nn.Linear(3, 2)
    model = Classifier(front_end, backbone, head)
    waveform, num_samples, seeds = torch.randn(4, 7), torch.full((4,), 7), torch.arange(4)
    logits = model(waveform, num_samples, seeds)
    assert torch.equal(logits, head(backbone(waveform.mean(dim=1, keepdim=True))))
    assert all(got is given for got, given in zip(front_end.given, (waveform, num_samples, seeds)))
    model(waveform, num_samples)
    assert front_end.given[2] is None  # augmentation off
