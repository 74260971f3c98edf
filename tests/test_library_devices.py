"""ipet.tune on models of any device and precision, in training loops of transformers (findings B4 to B8)."""

import copy

import pytest
import torch
from fake_cuda import fake_cuda, to_fake_cuda
from test_library import MODELS, build, speech
from torch import nn
from torch.nn.attention.flex_attention import create_block_mask

import ipet
from ipet.library import frozen_fingerprint
from ipet.tuning import tuned_layers

HUBERT_NORM = speech("Hubert", conv_pos_batch_norm=True)


def inserted(model):
    """The parameters that were inserted into a model's layers."""
    return [
        p for layer in tuned_layers(model) for n, p in layer.named_parameters() if not n.startswith("layer.")
    ]


def step(model, x):
    """One forward and backward pass; the gradients of what is trained, by name."""
    out = model(x)
    logits = getattr(out, "logits", out)
    logits = sum(logits) if isinstance(logits, tuple) else logits
    logits.float().square().sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


# B4: running statistics ----------------------------------------------------------------------------


def test_frozen_batch_norms_keep_their_statistics_and_the_adapter_loads(tmp_path):
    model, x = HUBERT_NORM()
    fresh = copy.deepcopy(model)
    ipet.tune(model)
    before = frozen_fingerprint(model)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    for _ in range(3):
        model.train()
        step(model, x)
        optimizer.step()
    assert frozen_fingerprint(model) == before
    ipet.save_tuned(model, tmp_path)
    again = ipet.load_tuned(fresh, tmp_path)
    torch.testing.assert_close(again.eval()(x).logits, model.eval()(x).logits)


def test_batch_norms_of_a_trained_part_follow_the_clips():
    model, x = HUBERT_NORM()
    model.classifier = nn.Sequential(nn.Linear(model.config.classifier_proj_size, 3), nn.BatchNorm1d(3))
    ipet.tune(model)
    model.train()
    step(model, x)
    assert model.classifier[1].running_mean.abs().sum() > 0


@pytest.mark.parametrize("norm", [nn.BatchNorm1d(4), nn.InstanceNorm1d(4, track_running_stats=True)])
def test_every_frozen_norm_with_statistics_keeps_them(norm):
    from ipet.tuning import freeze

    module = freeze(nn.Sequential(norm)).train()
    want = copy.deepcopy(norm.running_mean)
    module(torch.randn(3, 4, 5) + 7)
    assert torch.equal(norm.running_mean, want)


# B5: device and type -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_what_is_inserted_has_the_type_of_its_layer_and_trains(name):
    model, x = build(name)
    model.bfloat16()
    ipet.tune(model, num_prefixes=2)
    assert all(p.dtype == torch.bfloat16 for p in inserted(model))
    gradients = step(model.train(), x.bfloat16())
    assert gradients and all(g is not None and g.isfinite().all() for g in gradients.values())


@pytest.mark.parametrize("name", MODELS)
def test_what_is_inserted_lies_on_the_device_of_its_layer(name):
    model, x = build(name)
    with fake_cuda():
        ipet.tune(to_fake_cuda(model), num_prefixes=2)
        assert all(p.device.type == "cuda" for p in inserted(model))
        out = model.eval()(torch.empty(x.shape, device="cuda"))
        assert getattr(out, "logits", out)[0].device.type == "cuda"


def test_an_adapter_loads_into_a_model_in_bf16(tmp_path):
    model, x = build("wav2vec 2.0")
    fresh = copy.deepcopy(model)
    ipet.save_tuned(ipet.tune(model.bfloat16()), tmp_path)
    again = ipet.load_tuned(fresh.bfloat16(), tmp_path)
    x = x.bfloat16()
    torch.testing.assert_close(again.eval()(x).logits, model.eval()(x).logits)


# B7: gradient checkpointing ------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("ViT", "DeiT")])
@pytest.mark.parametrize("options", [None, {"use_reentrant": False}, {"use_reentrant": True}])
def test_gradient_checkpointing_of_transformers_gives_the_same_gradients(name, options):
    torch.manual_seed(0)
    model, x = build(name)
    if not model.supports_gradient_checkpointing:
        pytest.skip(f"transformers' {name} has no gradient checkpointing")
    ipet.tune(model, dropout=0.0)
    for module in model.modules():  # no random numbers
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for key, off in (("mask_time_prob", 0.0), ("layerdrop", 0.0), ("apply_spec_augment", False)):
        if hasattr(model.config, key):
            setattr(model.config, key, off)
    other = copy.deepcopy(model)
    want = step(model.eval(), x)
    other.gradient_checkpointing_enable(options)
    other.train()
    for module in other.modules():
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    found = step(other, x)
    assert found.keys() == want.keys()
    for key, gradient in found.items():
        assert gradient is not None, f"{key} has no gradient"
        torch.testing.assert_close(gradient, want[key], rtol=1e-3, atol=1e-5)


# B8: what a tuned layer cannot do ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wav2vec 2.0", "WavLM", "Whisper", "HuBERT large"])
def test_attention_weights_are_refused_by_name(name):
    model, x = build(name)
    ipet.tune(model)
    with pytest.raises(ValueError, match="output_attentions: a tuned layer computes no attention weights"):
        model(x, output_attentions=True)


def test_masks_of_flex_attention_are_refused_with_what_to_use():
    model, _ = build("wav2vec 2.0")
    layer = tuned_layers(ipet.tune(model))[0]
    blocks = create_block_mask(lambda b, h, q, k: q >= k, None, None, 9, 9, device="cpu")
    with pytest.raises(ValueError, match=r'BlockMask.*attn_implementation="sdpa" or "eager"'):
        layer(torch.randn(2, 9, 48), attention_mask=blocks)


def test_a_mask_of_flash_attention_is_refused():
    model, _ = build("wav2vec 2.0")
    layer = tuned_layers(ipet.tune(model))[0]
    with pytest.raises(ValueError, match=r"attention_mask is \[2, 9\]"):
        layer(torch.randn(2, 9, 48), attention_mask=torch.ones(2, 9, dtype=torch.bool))
