"""The method: identities, the fast form against the plain one, parameter counts, what is trained."""

import copy
import math

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from benchmarks.textbook import make_plain
from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.heads import Classifier, LinearHead
from ipet.tuning import Tuning, count_parameters, train_mode, trainable_parameters, tune, tuned_layers

from helpers import EXPERIMENTS, experiment

# The paper's claim: what is trained, prompts + adapters + head.
TRAINABLE = {
    "ast_esc50": (50, 676_274),  # 12 (4 768) + 12 (2 768 32 + 32 + 768) + 768 (2 + 50) + 50
    "w2v_speechcommands": (35, 1_836_323),  # 12 (64 768) + 12 (2 768 64 + 64 + 768) + 1536 (2 + 35) + 35
}


def tiny_ast():
    torch.manual_seed(0)
    return build_ast(64, size="tiny").eval(), torch.randn(3, 64, 128)


def tiny_wav2vec2():
    torch.manual_seed(0)
    return build_wav2vec2("tiny").eval(), 0.1 * torch.randn(3, 8_000)


BACKBONES = [tiny_ast, tiny_wav2vec2]


def test_every_experiment_is_listed():
    assert set(TRAINABLE) == set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_trainable_parameters_are_those_of_the_paper(name):
    num_classes, expected = TRAINABLE[name]
    with experiment(name) as load, torch.device("meta"):
        args = load("arguments").get_args(["-name", "x", "-pretrained", "random"])
        module = load("model")
        for build in ("build_ast", "build_wav2vec2"):
            if hasattr(module, build):
                setattr(module, build, without_weights(getattr(module, build)))
        model = module.build_model(args, num_classes)
    assert count_parameters(model)[0] == expected
    assert sum(p.numel() for p in trainable_parameters(model).values()) == expected


def without_weights(build):
    """The backbone's shapes alone: no time and memory for 90 million random numbers."""

    def build_on_meta(**values):
        import importlib

        module = importlib.import_module(build.__module__)
        kept, module.fingerprint = module.fingerprint, lambda tensors: "none"
        try:
            return build(**values)
        finally:
            module.fingerprint = kept

    return build_on_meta


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_new_adapter_changes_nothing(backbone):
    model, x = backbone()
    before = model(x)
    tune(model, Tuning(bottleneck=8))
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_fast_form_equals_the_plain_one(backbone, residual):
    model, x = backbone()
    fast = tune(model, Tuning(num_prompts=5, bottleneck=8, residual=residual, init="normal")).double()
    for parameter in trainable_parameters(fast).values():
        nn.init.normal_(parameter, std=0.5)
    plain = make_plain(copy.deepcopy(fast))
    outputs = [model(x.double()) for model in (fast, plain)]
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(outputs[0])
    for output in outputs:
        (output * weight).sum().backward()
    grads = [{n: p.grad for n, p in trainable_parameters(model).items()} for model in (fast, plain)]
    assert len(grads[0]) == 2 * (1 + 4)
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-11)


def test_under_an_attention_mask_every_token_still_sees_the_prompts():
    model, _ = tiny_wav2vec2()
    tune(model, Tuning(num_prompts=3))
    layer, tokens = tuned_layers(model)[0], torch.randn(2, 6, 48)
    mask = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    mask[:, :, :, 4:] = False  # the last two tokens are padding
    padded = layer(tokens, attention_mask=mask)[:, :4]
    torch.testing.assert_close(padded, layer(tokens[:, :4]), rtol=1e-5, atol=1e-6)
    additive = torch.zeros(2, 1, 6, 6).masked_fill(~mask, float("-inf"))
    torch.testing.assert_close(layer(tokens, attention_mask=additive)[:, :4], padded, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_only_what_was_inserted_is_trained(backbone):
    model, x = backbone()
    tune(model, Tuning(num_prompts=2, bottleneck=4))
    names = [f"prompts.{i}" for i in range(2)]
    names += [
        f"adapters.{i}.{part}"
        for i in range(2)
        for part in ("down.weight", "down.bias", "up.weight", "up.bias")
    ]
    assert sorted(trainable_parameters(model)) == sorted(names)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    train_mode(Classifier(nn.Identity(), model, nn.Identity()), frozen_dropout=True)
    model(x).square().sum().backward()
    optimizer.step()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed and all(".prompt" in name or ".adapter." in name for name in changed)


def test_nothing_to_insert_is_full_fine_tuning():
    model, _ = tiny_ast()
    tune(model, Tuning())
    assert all(p.requires_grad for p in model.parameters()) and not tuned_layers(model)


def test_a_frozen_wav2vec2_keeps_no_graph_of_its_convolutions():
    model, x = tiny_wav2vec2()
    tune(model, Tuning(num_prompts=2)).train()
    seen = []
    model.model.feature_extractor.register_forward_hook(
        lambda m, i, output: seen.append(output.requires_grad)
    )
    model(x)
    assert seen == [False]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_with_frozen_dropout_off_only_adapters_are_random(backbone):
    model, x = backbone()
    tune(model, Tuning(num_prompts=2, bottleneck=8, dropout=0.5, init="normal"))
    classifier = Classifier(nn.Identity(), model, LinearHead(model.width, 3))
    train_mode(classifier, frozen_dropout=False)
    assert not torch.equal(model(x), model(x))
    for layer in tuned_layers(model):
        layer.adapter.dropout.p = 0.0
    assert torch.equal(model(x), model(x))


def test_prompts_start_xavier_uniform_as_one_tensor():
    model, _ = tiny_ast()
    tune(model, Tuning(num_prompts=4))
    bound = math.sqrt(6 / (4 * 48 + 48))  # fan-in n D, fan-out D
    prompts = torch.cat([layer.prompt.flatten() for layer in tuned_layers(model)])
    assert prompts.abs().max() <= bound
    assert prompts.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.15)


def test_the_authors_initialisation_is_normal():
    model, _ = tiny_ast()
    tune(model, Tuning(bottleneck=48, init="normal"))
    for layer in tuned_layers(model):
        for part in (layer.adapter.down, layer.adapter.up):
            assert part.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert not part.bias.any()


def test_any_vision_transformer_of_timm_can_be_tuned():
    vit = VisionTransformer(
        img_size=32, patch_size=16, embed_dim=16, depth=3, num_heads=2, init_values=0.1, num_classes=2
    )
    x = torch.randn(2, 3, 32, 32)
    before = vit.eval()(x)
    tune(vit, Tuning(bottleneck=4))
    assert torch.equal(vit(x), before) and len(tuned_layers(vit)) == 3


def test_a_model_without_known_layers_is_refused():
    with pytest.raises(
        TypeError, match=r"Linear holds no layer to tune; known kinds: timm.*Wav2Vec2EncoderLayer"
    ):
        tune(nn.Linear(2, 2), Tuning(num_prompts=1))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"num_prompts": -1}, "-1 prompts"),
        ({"bottleneck": -2}, "bottleneck of -2"),
        ({"dropout": 1.0}, r"dropout is 1.0; it must lie in \[0, 1\)"),
        ({"init": "ones"}, "'ones'; accepted: zero, normal"),
    ],
)
def test_impossible_tunings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Tuning(**wrong)
