"""The method: identities, the fast form against the plain one, parameter counts, what is trained."""

import copy
import math

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from benchmarks.textbook import make_plain
from ipet.backbones import audio_spectrogram_transformer as ast_module
from ipet.backbones import wav2vec2 as speech_module
from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.heads import Classifier, LinearHead
from ipet.methods import apply_method
from ipet.precision import autocast
from ipet.tuning import (
    POSITIONS,
    Tuning,
    count_parameters,
    freeze,
    prompts_computed,
    train_mode,
    trainable_parameters,
    tune,
    tuned_layers,
)

from helpers import EXPERIMENTS, experiment

# The paper's claim: what is trained, prompts + adapters + head.
TRAINABLE = {
    "ast_esc50": (50, 676_274),  # 12 (4 768) + 12 (2 768 32 + 32 + 768) + 768 (2 + 50) + 50
    "ast_fsd50k": (200, 1_049_672),
    "ast_gtzan": (10, 1_272_586),
    "ast_speechcommands": (35, 2_435_363),
    "ast_voxceleb": (1_211, 1_481_403),  # head: 128 (768 + 1) + 2 128 + 1211 (128 + 1)
    "w2v_esc50": (50, 3_629_618),
    "w2v_fsd50k": (200, 2_679_752),
    "w2v_gtzan": (10, 2_387_722),
    "w2v_speechcommands": (35, 1_836_323),  # 12 (64 768) + 12 (2 768 64 + 64 + 768) + 1536 (2 + 35) + 35
    "w2v_voxceleb": (1_211, 3_313_083),
}


def tiny_ast():
    torch.manual_seed(0)
    return build_ast(64, size="tiny").eval(), torch.randn(3, 64, 128)


def tiny_wav2vec2(model_type="wav2vec2"):
    torch.manual_seed(0)
    return build_wav2vec2("tiny", model_type=model_type).eval(), 0.1 * torch.randn(3, 8_000)


def tiny_hubert():
    return tiny_wav2vec2("hubert")


def tiny_wavlm():
    return tiny_wav2vec2("wavlm")


BACKBONES = [tiny_ast, tiny_wav2vec2, tiny_hubert, tiny_wavlm]
PLAIN = [tiny_ast, tiny_wav2vec2, tiny_hubert]  # whose attention has no bias of distances


def test_every_experiment_is_listed():
    assert set(TRAINABLE) == set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_trainable_parameters_are_those_of_the_paper(name, monkeypatch):
    num_classes, expected = TRAINABLE[name]
    with experiment(name) as load, torch.device("meta"):
        args = load("arguments").get_args(["-name", "x", "-pretrained", "random"])
        for module in (ast_module, speech_module):  # shapes alone: no time for 90 million random numbers
            monkeypatch.setattr(module, "fingerprint", lambda tensors: "none")
        model = load("model").build_model(args, num_classes)
    assert count_parameters(model)[0] == expected
    assert sum(p.numel() for p in trainable_parameters(model).values()) == expected


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_new_adapter_changes_nothing(backbone, position):
    model, x = backbone()
    before = freeze(model)(x)  # PyTorch may round a linear layer otherwise where its weight wants a gradient
    tune(model, Tuning(bottleneck=8, position=position))
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("backbone", PLAIN)
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


@pytest.mark.parametrize("method", ["finetune", "lora", "ipet"])
def test_ast_computes_what_its_embedding_is_made_of(method):
    """The last layer's outputs at the patches are not computed; the library computes them all."""
    model, x = tiny_ast()
    model = fill(apply_method(model, method, num_prompts=3, bottleneck=4, rank=2), std=0.1).double()
    y = model.vit.forward_features(x.double().transpose(1, 2).unsqueeze(1))  # [B, 2 + f t, D]
    whole = y[:, :2].mean(dim=1)
    outputs = [model(x.double()), whole]
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    named = trainable_parameters(model)
    grads = [torch.autograd.grad(output.pow(3).sum(), list(named.values())) for output in outputs]
    assert all(grad.abs().max() > 0 for grad in grads[0])
    torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-11)


def test_ast_spares_the_last_layers_patches():
    model, x = tiny_ast()
    shapes = []
    model.vit.blocks[-1].mlp.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    model(x)
    assert shapes == [(3, 2, model.width)]


@pytest.mark.parametrize("frozen_dropout", [True, False])
def test_patchout_leaves_patches_out_in_training_alone(frozen_dropout):
    torch.manual_seed(0)
    backbone = tune(build_ast(64, size="tiny", patchout=0.75), Tuning(num_prompts=3, bottleneck=4))
    model, x = Classifier(nn.Identity(), backbone, LinearHead(backbone.width, 2)), torch.randn(3, 64, 128)
    heard = []
    backbone.vit.blocks[0].register_forward_hook(lambda module, args, output: heard.append(args[0]))
    train_mode(model, frozen_dropout)
    first, second = backbone(x), backbone(x)
    model.eval()
    backbone(x)
    assert [tokens.shape[1] for tokens in heard] == [2 + 15, 2 + 15, 2 + 60]  # of 12 x 5 patches
    assert torch.equal(heard[0][:, :2], heard[2][:, :2]) and not torch.equal(first, second)
    for kept, whole in zip(heard[0][:, 2:], heard[2][:, 2:]):  # each patch once, with its own position
        found = (kept[:, None] == whole).all(dim=-1)
        assert found.sum(1).eq(1).all() and found.sum(0).le(1).all()


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_of_patches_that_leaves_none_is_refused(share):
    with pytest.raises(ValueError, match=rf"the share of patches to leave out is {share:g}; it must lie in"):
        build_ast(64, size="tiny", patchout=share)


def fill(model, std=0.5):
    """Give what was inserted values at which nothing is silent."""
    for parameter in trainable_parameters(model).values():
        nn.init.normal_(parameter, std=std)
    return model


def plain_layer(self, x, attention_mask=None, position_bias=None, **kwargs):
    """Every position of the adapter, with the prompts concatenated, dropout off."""
    f, n, s = self.layer, self.prompt.shape[1], 0.1
    z = torch.cat([self.prompt.expand(len(x), -1, -1), x], dim=1)
    norm1, norm2, ffn = nn.Identity(), nn.Identity(), None
    if hasattr(f, "attn"):  # pre-norm: LN1 before the attention, LN2 before the feed-forward
        h, ffn = f.attn(f.norm1(z)), lambda u: f.mlp(f.norm2(u))
    else:
        h, norm1, ffn, norm2 = f.attention(z)[0], f.layer_norm, f.feed_forward, f.final_layer_norm

    def a(module, t):
        return s * (
            torch.relu(t @ module.down.weight.T + module.down.bias) @ module.up.weight.T + module.up.bias
        )

    u = z + h + (a(self.attention_adapter, h) if self.position == "houlsby" else 0)
    v = norm1(u)
    g = ffn(v)
    y = norm2(v + g + a(self.adapter, u if self.position == "parallel" else g))
    return y[:, n:]


@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("backbone", PLAIN)
def test_every_position_of_the_adapter_is_its_equation(backbone, position):
    model, x = backbone()
    fill(tune(model, Tuning(num_prompts=3, bottleneck=8, position=position))).double()
    out = model(x.double())
    for layer in tuned_layers(model):
        layer.forward = plain_layer.__get__(layer)
    torch.testing.assert_close(out, model(x.double()), rtol=1e-12, atol=1e-12)


def test_the_positions_are_three_different_functions():
    outputs = []
    for position in POSITIONS:
        model, x = tiny_wav2vec2()
        tune(model, Tuning(bottleneck=8, position=position))
        for layer in tuned_layers(model):
            for adapter in (layer.adapter, layer.attention_adapter):
                if adapter is not None:
                    nn.init.constant_(adapter.up.bias, 0.5)
                    adapter.up.weight.data[0] = 1.0
        outputs.append(model(x))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert (outputs[i] - outputs[j]).abs().max() > 1e-3


def test_two_adapters_a_layer_have_two_names():
    model, _ = tiny_ast()
    tune(model, Tuning(bottleneck=4, position="houlsby"))
    named = trainable_parameters(model)
    parts = ("down.weight", "down.bias", "up.weight", "up.bias")
    places = ("attention", "feed_forward")
    assert set(named) == {
        f"adapters.{i}.{place}.{part}" for i in (0, 1) for place in places for part in parts
    }
    assert named["adapters.1.attention.down.weight"] is tuned_layers(model)[1].attention_adapter.down.weight


@pytest.mark.parametrize("backbone", PLAIN)
def test_prefixes_equal_to_the_prompts_keys_and_values_are_these_prompts(backbone):
    prompted, x = backbone()
    prefixed = copy.deepcopy(prompted)
    tune(prompted, Tuning(num_prompts=5))
    tune(prefixed, Tuning(num_prefixes=5))
    for prompts, prefixes in zip(tuned_layers(prompted), tuned_layers(prefixed)):
        keys, values = (t.transpose(1, 2).flatten(2) for t in prompts.project(prompts.prompt))
        prefixes.prefix.data = torch.cat([keys, values])
    torch.testing.assert_close(prefixed(x), prompted(x))
    assert list(trainable_parameters(prefixed)) == ["prefixes.0", "prefixes.1"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_prompts_are_projected_once_for_all_batches(backbone, precision, monkeypatch):
    model, x = backbone()
    fill(tune(model, Tuning(num_prompts=3, num_prefixes=2, bottleneck=4)).eval())
    layers, calls = tuned_layers(model), []
    for layer in layers:
        project = layer.project
        monkeypatch.setattr(layer, "project", lambda p, project=project: calls.append(1) or project(p))
    with torch.inference_mode(), autocast("cpu", precision):
        wanted, again = model(x), model(2 * x)
        assert len(calls) == 2 * len(layers)
        with prompts_computed(model):
            assert torch.equal(model(x), wanted) and torch.equal(model(2 * x), again)
        assert len(calls) == 3 * len(layers)
        fill(model, std=0.6)
        assert not torch.equal(model(x), wanted)  # outside the block prompts are what they are now
        assert len(calls) == 4 * len(layers)


def test_without_prompts_nothing_is_computed_before():
    model, x = tiny_wav2vec2()
    tune(model, Tuning(bottleneck=4)).eval()
    with torch.no_grad(), prompts_computed(model):
        assert tuned_layers(model)[0].prepended() is None
        model(x)


def test_prompts_and_prefixes_go_together():
    model, _ = tiny_wav2vec2()
    tune(model, Tuning(num_prompts=2, num_prefixes=3))
    layer = tuned_layers(model)[0]
    keys, values = layer.prepended()
    assert keys.shape == values.shape == (1, 2, 5, 24)
    assert torch.equal(keys[:, :, 2:], layer.prefix[0].unflatten(-1, (2, 24)).transpose(0, 1)[None])
    assert torch.equal(values[:, :, 2:], layer.prefix[1].unflatten(-1, (2, 24)).transpose(0, 1)[None])


def plain_wavlm(self, x, position_bias):
    """WavLM's layer with the prompts concatenated: the bias is that of the tokens, 0 towards prompts."""
    f, a, (batch, tokens, width) = self.layer, self.layer.attention, x.shape
    n, heads = (0 if self.prompt is None else self.prompt.shape[1]), a.num_heads
    z = x if n == 0 else torch.cat([self.prompt.expand(batch, -1, -1), x], dim=1)

    def project(linear, t):
        return (t @ linear.weight.T + linear.bias).view(batch, t.shape[1], heads, -1).transpose(1, 2)

    scores = project(a.q_proj, x) @ project(a.k_proj, z).transpose(2, 3) / math.sqrt(width / heads)
    gates = x.view(batch, tokens, heads, -1).transpose(1, 2) @ a.gru_rel_pos_linear.weight.T
    gates = (gates + a.gru_rel_pos_linear.bias).view(batch, heads, tokens, 2, 4).sum(-1).sigmoid()
    gate = gates[..., :1] * (gates[..., 1:] * a.gru_rel_pos_const - 1) + 2
    scores[..., n:] += gate * position_bias
    h = (scores.softmax(-1) @ project(a.v_proj, z)).transpose(1, 2).reshape(x.shape)
    u = x + h @ a.out_proj.weight.T + a.out_proj.bias
    v = f.layer_norm(u)
    return f.final_layer_norm(v + f.feed_forward(v) + (self.adapter(u) if self.adapter is not None else 0))


@pytest.mark.parametrize("tuning", [Tuning(3, 8, init="normal"), Tuning(bottleneck=8)])
def test_wavlm_with_prompts_is_its_equations(tuning):
    model, _ = tiny_wavlm()
    for parameter in model.parameters():  # at their own values biases and gates are next to nothing
        nn.init.normal_(parameter, std=0.5)
    fill(tune(model, tuning)).double()
    x = torch.randn(2, 7, 48, dtype=torch.float64)
    distance = torch.arange(7)[None] - torch.arange(7)[:, None]
    a = tuned_layers(model)[0].layer.attention
    # 320 buckets, half of them for what comes later; distances below 80 have one each
    bias = a.rel_attn_embed.weight[distance.abs() + 160 * (distance > 0)].permute(2, 0, 1)  # [H, T, T]
    passed = None
    for layer in tuned_layers(model):
        got, passed = layer(x, position_bias=passed)
        torch.testing.assert_close(got, plain_wavlm(layer, x, bias), rtol=1e-10, atol=1e-10)
    assert torch.equal(passed, bias.repeat(2, 1, 1))  # the first layer's, handed on


def test_wavlms_fast_form_equals_the_librarys_where_there_are_no_prompts():
    model, x = tiny_wavlm()
    library = copy.deepcopy(tune(model, Tuning(bottleneck=8))).double()
    for layer in tuned_layers(model):
        for name in ("q_proj", "k_proj", "v_proj"):  # what is wrapped is not read by its weight alone
            setattr(layer.layer.attention, name, nn.Sequential(getattr(layer.layer.attention, name)))
    torch.testing.assert_close(model.double()(x.double()), library(x.double()), rtol=1e-10, atol=1e-10)


def test_wavlms_padding_is_not_seen():
    model, _ = tiny_wavlm()
    fill(tune(model, Tuning(num_prompts=3)))
    layer, tokens = tuned_layers(model)[0], torch.randn(2, 6, 48)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]] * 2)
    padded = layer(tokens, attention_mask=mask)[0][:, :4]
    torch.testing.assert_close(padded, layer(tokens[:, :4])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tuning", [Tuning(num_prompts=3), Tuning(num_prefixes=3)], ids=["prompt", "prefix"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_mixed_precision_comes_near_the_full_one(backbone, tuning):
    model, _ = backbone()
    fill(tune(model, tuning), std=0.1)
    layer, tokens = tuned_layers(model)[0], torch.randn(2, 6, 48)

    def output():
        out = layer(tokens)
        return out[0] if backbone is tiny_wavlm else out

    full = output()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = output()
    torch.testing.assert_close(mixed.float(), full, rtol=0.02, atol=0.02)
    mixed.float().pow(3).sum().backward()
    for parameter in (layer.prompt, layer.prefix):
        assert parameter is None or parameter.grad.abs().sum() > 0


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


@pytest.mark.parametrize("backbone", [tiny_wav2vec2, tiny_hubert, tiny_wavlm])
def test_a_frozen_wav2vec2_keeps_no_graph_of_its_convolutions(backbone):
    model, x = backbone()
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
        ({"num_prefixes": -3}, "-3 prefixes"),
        ({"bottleneck": -2}, "bottleneck of -2"),
        ({"dropout": 1.0}, r"dropout is 1.0; it must lie in \[0, 1\)"),
        ({"init": "ones"}, "'ones'; accepted: zero, normal"),
        ({"position": "behind"}, "'behind'; accepted: parallel, sequential, houlsby"),
        (
            {"residual": True, "position": "sequential"},
            "with residual is parallel; found position 'sequential'",
        ),
        ({"residual": True, "position": "houlsby"}, "with residual is parallel; found position 'houlsby'"),
    ],
)
def test_impossible_tunings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Tuning(**wrong)
