"""Every method on every backbone in every precision, on a GPU that is not there: devices and types."""

import pytest
import torch
from fake_cuda import fake_autocast, fake_cuda, to_fake_cuda

from ipet.backbones import audio_spectrogram_transformer, wav2vec2
from ipet.features import LogMel, Waveform
from ipet.heads import Classifier, LinearHead, SpeakerHead
from ipet.methods import METHODS, apply_method
from ipet.precision import PRECISIONS, hold_frozen

from saving import SETTINGS

KINDS = ("ast", "wav2vec2", "hubert", "wavlm")


def build(kind, method, head=LinearHead):
    """A tiny model on the CPU; prompts, adapters and the rest as ``method`` inserts them."""
    if kind == "ast":
        backbone = audio_spectrogram_transformer.build_ast(64, size="tiny")
        front_end = LogMel(128, 64, mean=-6.0, std=5.0)
    else:
        backbone = wav2vec2.build_wav2vec2("tiny", model_type=kind)
        front_end = Waveform(64)
    apply_method(backbone, method, **SETTINGS)
    return Classifier(front_end, backbone, head(backbone.width, 4))


def run(model, precision, training=False):
    """One forward pass of two clips; the outputs."""
    model = to_fake_cuda(model).train(training)
    num_samples = torch.full((2,), model.front_end.num_samples, device="cuda")
    waveform = torch.empty(2, model.front_end.num_samples, device="cuda")
    with torch.set_grad_enabled(training), fake_autocast(precision):
        return model(waveform, num_samples)


CASES = [(kind, method) for kind in KINDS for method in METHODS if kind == "ast" or method != "input_prompt"]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("kind", "method"), CASES)
def test_a_model_computes_on_a_gpu(kind, method, precision):
    model = build(kind, method)
    if precision != "fp32":
        hold_frozen(model, precision)
    with fake_cuda():
        out = run(model, precision)
    assert out.device.type == "cuda" and out.shape == (2, 4)
    assert out.dtype in (torch.float32, PRECISIONS[precision])


def test_a_model_in_training_mode_computes_on_a_gpu():  # a backward pass needs a real GPU
    model = build("ast", "ipet", SpeakerHead)  # LayerDrop of the others looks at a random number
    with fake_cuda():
        assert run(model, "bf16", training=True).device.type == "cuda"


def test_a_parameter_left_on_the_cpu_fails():
    model = build("ast", "ipet")
    with fake_cuda():
        to_fake_cuda(model)
        model.head.fc.weight = torch.nn.Parameter(torch.empty(model.head.fc.weight.shape))
        waveform = torch.empty(2, model.front_end.num_samples, device="cuda")
        with pytest.raises(RuntimeError, match="device"):
            model.eval()(waveform, torch.full((2,), waveform.shape[1], device="cuda"))


def test_a_wrong_type_fails():
    model = build("wav2vec2", "ipet")
    with fake_cuda():
        to_fake_cuda(model)
        head = next(module for module in model.head.modules() if isinstance(module, torch.nn.Linear))
        head.weight = torch.nn.Parameter(head.weight.detach().half())
        waveform = torch.empty(2, model.front_end.num_samples, device="cuda")
        with pytest.raises(RuntimeError, match="dtype"):
            model.eval()(waveform, torch.full((2,), waveform.shape[1], device="cuda"))
