"""Inserted parameters are on the layer's device and in a type in which they can be trained. Finding B5."""

import copy

import pytest
import torch
import transformers
from fake_device import fake_gpu, to_fake
from test_library import SPEECH, WHISPER, build, each_model, logits, moved
from torch import nn

import ipet
from ipet.library import tuned_state
from ipet.tuning import tuned_layers

HALVES = [torch.bfloat16, torch.float16]
SETTINGS = {"num_prompts": 2, "bottleneck": 16, "num_prefixes": 1, "position": "houlsby"}


@each_model
def test_parameters_are_inserted_on_the_device_of_the_layer(name):
    model, _ = build(name)
    ipet.tune(model.to("meta"), **SETTINGS)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert {b.device.type for b in model.buffers()} <= {"meta"}


@each_model
def test_a_model_on_a_gpu_is_tuned_and_computes_there(name):
    model, x = build(name)
    with fake_gpu():
        ipet.tune(to_fake(model), **SETTINGS)
        assert {p.device.type for p in model.parameters()} == {"cuda"}
        assert logits(model, torch.empty(x.shape, device="cuda")).device.type == "cuda"


@pytest.mark.parametrize("half", HALVES)
@each_model
def test_a_half_precision_model_computes_forward_and_backward(name, half):
    model, x = build(name)
    ipet.tune(model.to(half), **SETTINGS)
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {half}
    with torch.no_grad():
        assert logits(model, x.to(half)).isfinite().all()
    logits(moved(model).train(), x.to(half)).float().square().sum().backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.values())
    assert all(p.grad.abs().sum() > 0 for n, p in trained.items() if p.numel() > 1)


@each_model
def test_a_half_precision_model_comes_near_the_full_one(name):
    full, x = build(name)
    half = copy.deepcopy(full).to(torch.bfloat16)
    torch.manual_seed(1)
    ipet.tune(full, 2, 4)
    torch.manual_seed(1)
    ipet.tune(half, 2, 4)
    with torch.no_grad():
        expected = logits(full, x)
        torch.testing.assert_close(logits(half, x.bfloat16()).float(), expected, rtol=0.1, atol=0.1)


def test_the_type_of_what_is_inserted_can_be_chosen():
    model, x = build("wav2vec 2.0")
    ipet.tune(model.bfloat16(), **SETTINGS, dtype=torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    logits(model.train(), x.bfloat16()).float().sum().backward()


def test_a_double_precision_model_is_tuned_in_double_precision():
    model, x = build("HuBERT")
    ipet.tune(model.double(), **SETTINGS)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert logits(model, x.double()).dtype == torch.float64


@pytest.mark.parametrize("half", HALVES)
def test_adam_trains_a_half_precision_model_with_small_steps(half):
    """In float16 Adam's epsilon is 0, and in bfloat16 a step of 1e-4 is lost."""
    model, x = build("wav2vec 2.0")
    ipet.tune(model.to(half), 2, 4, dropout=0.0)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    before = {n: t.detach().clone() for n, t in tuned_state(model).items()}
    target = torch.tensor([0, 2])
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits(model, x.to(half)).float(), target).backward()
        optimizer.step()
    for name, tensor in tuned_state(model).items():
        assert tensor.isfinite().all() and not torch.equal(tensor, before[name])


@pytest.mark.parametrize("half", HALVES)
def test_an_adapter_of_a_half_precision_model_is_saved_and_loaded(half, tmp_path):
    model, x = build("HuBERT")
    moved(ipet.tune(model.to(half), **SETTINGS))
    ipet.save_tuned(model, tmp_path)
    fresh = ipet.load_tuned(build("HuBERT")[0].to(half), tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(logits(fresh, x.to(half)), logits(model, x.to(half)))


def test_a_head_that_shares_its_weight_with_an_embedding_keeps_its_type():
    config = transformers.WhisperConfig(**{**WHISPER, "decoder_start_token_id": 1})
    model = transformers.WhisperForConditionalGeneration(config).bfloat16().eval()
    ipet.tune(model, 2, 4)
    tokens = torch.tensor([[1, 2, 3]] * 2)
    out = model(torch.randn(2, 16, 100, dtype=torch.bfloat16), decoder_input_ids=tokens).logits
    assert out.dtype == torch.bfloat16


def test_layers_on_several_devices_get_their_parameters_and_inputs_on_their_own():
    """As ``device_map`` places them."""
    model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SPEECH))
    with fake_gpu():
        to_fake(to_fake(model, "cuda:0").encoder.layers[1], "cuda:1")
        ipet.tune(model, **SETTINGS)
        layers = tuned_layers(model)
        for i, layer in enumerate(layers):
            assert {str(p.device) for p in layer.parameters()} == {f"cuda:{i}"}
        x = torch.randn(2, 5, 48, device="cuda:0")
        mask = torch.ones(2, 1, 5, 5, dtype=torch.bool, device="cuda:0")
        assert layers[1](layers[0](x, attention_mask=mask), attention_mask=mask).device == torch.device(
            "cuda:1"
        )


@pytest.mark.parametrize("name", ["wav2vec 2.0", "HuBERT", "Whisper"])
def test_a_model_with_offloaded_weights_is_tuned(name):
    """accelerate keeps such weights on ``meta`` until a module is called."""
    accelerate = pytest.importorskip("accelerate")
    model, x = build(name)
    torch.manual_seed(1)
    with torch.no_grad():
        expected = logits(ipet.tune(copy.deepcopy(model), 2, 4), x)
        offloaded = accelerate.cpu_offload(model, execution_device="cpu")
        torch.manual_seed(1)
        ipet.tune(offloaded, 2, 4)
        assert all(layer.prompt.device.type == "cpu" for layer in tuned_layers(offloaded))
        torch.testing.assert_close(logits(offloaded, x), expected)
