"""What transformers offers for its own models works for tuned ones, or is refused by name. Finding B8."""

import pytest
import torch
import transformers
from test_library import MODELS, SPEECH, build, logits, moved

import ipet
from ipet.attention import full_mask
from ipet.library import tuned_state
from ipet.tuning import tuned_layers

SPEECH_MODELS = [name for name in MODELS if name not in ("ViT", "DeiT")]


@pytest.mark.parametrize("name", SPEECH_MODELS)
def test_save_pretrained_of_a_tuned_model_is_refused_with_the_alternative(name, tmp_path):
    model, _ = build(name)
    ipet.tune(model, 2, 4)
    with pytest.raises(ValueError, match=r"save_pretrained: .* expected ipet\.save_tuned\(model, folder\)"):
        model.save_pretrained(tmp_path)
    inner = getattr(model, model.base_model_prefix, None) or model.encoder
    with pytest.raises(ValueError, match=r"save_pretrained: .* expected ipet\.save_tuned"):
        inner.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))
    assert model.state_dict()


def test_trainers_checkpoints_are_written_and_resumed_from(tmp_path):
    pytest.importorskip("accelerate")
    model, x = build("wav2vec 2.0")
    moved(ipet.tune(model, 2, 4))
    clips = [{"input_values": clip, "labels": i} for i, clip in enumerate(x)]
    settings = transformers.TrainingArguments(
        str(tmp_path), max_steps=1, save_steps=1, save_strategy="steps", report_to="none", use_cpu=True
    )
    transformers.Trainer(model, settings, train_dataset=clips).train()
    [checkpoint] = tmp_path.glob("checkpoint-*")
    wanted = {n: t.clone() for n, t in tuned_state(model).items()}
    again = ipet.tune(build("wav2vec 2.0")[0], 2, 4)
    transformers.Trainer(again, settings, train_dataset=clips).train(resume_from_checkpoint=str(checkpoint))
    for name, tensor in tuned_state(again).items():
        assert torch.equal(tensor, wanted[name])


@pytest.mark.parametrize("name", SPEECH_MODELS)
def test_attention_weights_are_those_over_prompts_and_tokens(name):
    model, x = build(name)
    model.set_attn_implementation("eager")
    moved(ipet.tune(model, num_prompts=2, bottleneck=4, num_prefixes=1))
    with torch.no_grad():
        expected = logits(model, x)
        out = model(x, output_attentions=True)
    weights = getattr(out, "attentions", None)
    assert len(weights) == 2
    for layer in weights:
        assert layer.shape[-1] == layer.shape[-2] + 3
        torch.testing.assert_close(layer.sum(-1), torch.ones_like(layer[..., 0]))
    torch.testing.assert_close(out.logits, expected)


@pytest.mark.parametrize("name", [name for name in SPEECH_MODELS if not name.startswith("WavLM")])
def test_attention_weights_without_prompts_are_the_librarys(name):
    plain, x = build(name)
    plain.set_attn_implementation("eager")
    tuned, _ = build(name)
    tuned.set_attn_implementation("eager")
    ipet.tune(tuned, num_prompts=0, bottleneck=4)
    with torch.no_grad():
        expected, found = (model(x, output_attentions=True).attentions for model in (plain, tuned))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", [name for name in SPEECH_MODELS if not name.startswith("WavLM")])
def test_attention_weights_are_refused_where_the_implementation_returns_none(name):
    model, x = build(name)
    model.set_attn_implementation("sdpa")
    ipet.tune(model, 2, 4)
    with pytest.raises(ValueError, match=r"output_attentions=True: .*'sdpa'.*set_attn_implementation"):
        model(x, output_attentions=True)


def test_flex_attention_is_refused_by_tune():
    config = transformers.HubertConfig(**SPEECH)
    model = transformers.HubertForSequenceClassification._from_config(
        config, attn_implementation="flex_attention"
    )
    with pytest.raises(ValueError, match=r"attn_implementation is 'flex_attention'.*\"sdpa\""):
        ipet.tune(model, 2, 4)
    assert not tuned_layers(model) and all(p.requires_grad for p in model.classifier.parameters())
    ipet.tune(model, num_prompts=0, bottleneck=4)  # an adapter has no place in the attention


def test_flex_attentions_mask_is_refused_by_name():
    """The implementation can be changed after ``tune``, too."""
    from torch.nn.attention.flex_attention import create_block_mask

    mask = create_block_mask(lambda b, h, q, k: q >= k, 1, 1, 128, 128, device="cpu")
    model, _ = build("wav2vec 2.0")
    [layer, _] = tuned_layers(ipet.tune(model, 2, 4))
    with pytest.raises(ValueError, match=r"mask is BlockMask.*model\.set_attn_implementation\(\"sdpa\"\)"):
        layer(torch.randn(1, 128, 48), attention_mask=mask)


@pytest.mark.parametrize("dtype", [torch.bool, torch.long, torch.int32])
@pytest.mark.parametrize("name", ["wav2vec 2.0", "HuBERT large", "AST", "Whisper"])
def test_flash_attentions_mask_of_two_axes_hides_padding(name, dtype):
    model, _ = build(name)
    layer = tuned_layers(moved(ipet.tune(model, 2, 4)))[0]
    x = torch.randn(6, 6, 48)  # as many clips as tokens: a wrong broadcast would have a fitting shape
    mask = torch.ones(6, 6, dtype=dtype)
    mask[:, 4:] = 0
    with torch.no_grad():
        found, expected = layer(x, mask)[:, :4], layer(x[:, :4], None)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"a tensor of shape \[2, 3, 4\]"):
        full_mask(torch.ones(2, 3, 4))
