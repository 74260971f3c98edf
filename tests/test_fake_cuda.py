"""Every method on every backbone in every precision on a GPU that is not there: devices and types fit."""

import copy
import functools

import pytest
import torch
from fake_device import NoDoubles, fake_autocast, fake_gpu, to_fake
from torch import nn
from torch._subclasses import FakeTensorMode

from ipet.attention import choose_attention
from ipet.augment import NoiseAndRoll, SpecAugment
from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.classification import LOSSES
from ipet.dropout import replace_dropout
from ipet.features import LogMel, Waveform
from ipet.heads import Classifier, LinearHead, SpeakerHead
from ipet.kinds import BACKBONES
from ipet.methods import METHODS, apply_method
from ipet.precision import PRECISIONS, hold_frozen
from ipet.tuning import prompts_computed, train_mode, tuned_layers

SETTINGS = {"num_prompts": 3, "bottleneck": 4, "rank": 2, "num_prefixes": 3, "border": 2}
CASES = [
    (kind, method, precision)
    for kind in BACKBONES
    for method in METHODS
    for precision in PRECISIONS
    if kind == "ast" or method != "input_prompt"  # a border of a spectrogram
]


@functools.cache
def backbone_of(kind):
    """A tiny backbone, which is copied; building one takes longer."""
    torch.manual_seed(0)
    backbone = build_ast(64, size="tiny") if kind == "ast" else build_wav2vec2("tiny", model_type=kind)
    if kind in ("wav2vec2", "hubert"):  # whose layers are alike: half of the time
        backbone.model.encoder.layers = backbone.model.encoder.layers[:1]
    return backbone


def classifier(kind, method, head=LinearHead, **settings):
    """A model as the trainer has it, on the CPU."""
    backbone = copy.deepcopy(backbone_of(kind))
    front_end = LogMel(128, 64, mean=-4.0, std=4.0) if kind == "ast" else Waveform(40)
    backbone = apply_method(backbone, method, **{**SETTINGS, **settings})
    return Classifier(front_end, backbone, head(backbone.width, 3))


def on_gpu(model, precision):
    """Prepare a model for training on the fake GPU, as ``Trainer`` and ``Updates`` do."""
    to_fake(model)
    choose_attention(model, "cuda", PRECISIONS[precision])
    hold_frozen(model, precision)
    replace_dropout(model)
    return model


def clips():
    return torch.empty(2, 10_640, device="cuda"), torch.empty(2, dtype=torch.long, device="cuda")


def compute(model, precision):
    """Forward pass in training with losses, then evaluation; returns the logits of both."""
    target = torch.empty(2, 3, device="cuda")
    train_mode(model, frozen_dropout=True)
    if hasattr(model.backbone, "model"):
        model.backbone.model.config.layerdrop = 0.0  # a random number, which a fake tensor does not have
    with fake_autocast(PRECISIONS[precision]):
        trained = model(*clips())
        for loss in LOSSES.values():
            loss(trained.float(), target)
    model.eval()
    with torch.inference_mode(), fake_autocast(PRECISIONS[precision]), prompts_computed(model):
        return trained, model(*clips())


@pytest.mark.parametrize(("kind", "method", "precision"), CASES)
def test_a_method_computes_on_a_gpu(kind, method, precision):
    model = classifier(kind, method)
    with fake_gpu(doubles=precision != "fp32"):  # half precision computes the same operations
        for logits in compute(on_gpu(model, precision), precision):
            assert (logits.device.type, logits.dtype) == ("cuda", PRECISIONS[precision])
            assert logits.shape == (2, 3)


@pytest.mark.parametrize("kind", BACKBONES)
def test_speaker_embeddings_are_computed_on_a_gpu(kind):
    model = classifier(kind, "ipet", SpeakerHead)
    with fake_gpu():
        model = on_gpu(model, "bf16").eval()
        with torch.inference_mode(), fake_autocast(torch.bfloat16):
            assert model.speaker_embedding(*clips()).shape == (2, 128)


@pytest.mark.parametrize("position", ["sequential", "houlsby"])
def test_adapters_of_every_position_compute_on_a_gpu(position):
    model = classifier("wav2vec2", "adapter", position=position)
    with fake_gpu():
        compute(on_gpu(model, "bf16"), "bf16")


# Faults that were planted ---------------------------------------------------------------------------


def leave_prompt_on_cpu(model):
    layer = tuned_layers(model)[-1]
    layer.prompt = nn.Parameter(torch.empty(layer.prompt.shape, device="cpu"))


def leave_adapter_on_cpu(model):
    to_fake(tuned_layers(model)[0].adapter, "cpu")


def hold_a_tensor_that_is_not_registered(model):
    tuned_layers(model)[-1].adapt = lambda u, g: g + REAL


def compute_in_double(model):
    adapt = tuned_layers(model)[-1].adapt
    tuned_layers(model)[-1].adapt = lambda u, g: adapt(u.double(), g)


def give_an_adapter_another_type(model):
    tuned_layers(model)[0].adapter.to(torch.float16)


def give_the_head_another_type(model):
    model.head.fc.to(torch.bfloat16)


REAL = torch.zeros(48)
FAULTS = [leave_prompt_on_cpu, leave_adapter_on_cpu, hold_a_tensor_that_is_not_registered]
FAULTS += [compute_in_double, give_an_adapter_another_type, give_the_head_another_type]


@pytest.mark.parametrize("plant", FAULTS)
@pytest.mark.parametrize("kind", BACKBONES)
def test_a_planted_fault_is_found(kind, plant):
    model = classifier(kind, "ipet")
    FakeTensorMode.cache_clear()  # of operations under the mixed precision of other tests
    with fake_gpu(), pytest.raises(Exception) as error:
        model = on_gpu(model, "fp32")
        plant(model)
        compute(model, "fp32")
    assert not isinstance(error.value, (AttributeError, NameError))


# No float64 on the device. B6 -----------------------------------------------------------------------


@pytest.mark.parametrize("own", [None, torch.tensor([60, 30])])
def test_augmentation_moves_no_float64_to_the_device(own):
    x, seeds = torch.empty(2, 60, 128, device="meta"), torch.tensor([1, 2])
    with NoDoubles():
        assert SpecAugment(48, 20)(x, seeds, own).device.type == "meta"
        with pytest.raises(AssertionError, match="float64 on meta"):
            torch.zeros(1, dtype=torch.float64).to("meta")


def test_noise_is_float32():
    x = torch.randn(2, 60, 128)
    assert NoiseAndRoll()(x, torch.tensor([1, 2])).dtype == torch.float32
