"""Every method: what it trains and how much, a silent start, saving and loading, and budgets."""

import copy
import sys

import pytest
import torch
from torch import nn

from ipet.backbones import audio_spectrogram_transformer, wav2vec2
from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.checkpoint import load_trainable_state, trainable_state
from ipet.heads import Classifier, LinearHead
from ipet.methods import METHODS, apply_method, solve_budget
from ipet.tuning import count_parameters, freeze, train_mode, trainable_parameters, tuned_layers

# One setting for all: each method takes what it needs.
SETTINGS = {
    "num_prompts": 3,
    "bottleneck": 4,
    "scale": 0.1,
    "dropout": 0.1,
    "residual": False,
    "init": "zero",
    "position": "parallel",
    "rank": 2,
    "num_prefixes": 5,
    "border": 6,
}
L, D, FF, T, M = 2, 48, 192, 64, 128  # layers, width, feed-forward of AST, frames, mels of the tiny ones


def tiny(kind):
    """A tiny backbone in evaluation mode, and an input."""
    torch.manual_seed(0)
    if kind == "ast":
        return build_ast(T, size="tiny").eval(), torch.randn(3, T, M)
    return build_wav2vec2("tiny", model_type=kind).eval(), 0.1 * torch.randn(3, 8_000)


KINDS = ("ast", "wav2vec2", "hubert", "wavlm")
PAIRS = [(kind, name) for kind in KINDS for name in METHODS if (name == "input_prompt") <= (kind == "ast")]
SILENT = ("adapter", "lora", "input_prompt", "linear", "bitfit", "finetune", "finetune_transformer")
COUNTS = {  # of the tiny AST and the tiny wav2vec 2.0, closed forms
    "ipet": 2 * (L * 3 * D + L * (2 * D * 4 + 4 + D),),
    "prompt": 2 * (L * 3 * D,),
    "adapter": 2 * (L * (2 * D * 4 + 4 + D),),
    "prefix": 2 * (L * 2 * 5 * D,),
    "lora": (L * 2 * (D + 3 * D), L * 2 * 2 * (D + D)),  # fused q, k, v; q and v
    "input_prompt": (2 * 6 * M + 2 * 6 * (T - 2 * 6),),
    "linear": (0, 0),
    # norm1, q k v, proj, norm2, fc1, fc2; wav2vec 2.0 has a feed-forward of 2 D
    "bitfit": (L * (D + 3 * D + D + D + FF + D), L * (4 * D + D + 2 * D + D + D)),
}


@pytest.mark.parametrize("kind, method", PAIRS)
def test_only_what_the_method_names_is_trained(kind, method):
    backbone, x = tiny(kind)
    apply_method(backbone, method, **{**SETTINGS, "init": "normal"})
    model = Classifier(nn.Identity(), backbone, LinearHead(backbone.width, 4))
    part = {
        "ipet": ("prompt", "adapter"),
        "prompt": ("prompt",),
        "adapter": ("adapter",),
        "prefix": ("prefix",),
        "lora": ("lora_A", "lora_B"),
        "input_prompt": ("patch_embed.0.",),
        "linear": (),
        "bitfit": ("bias",),
        "finetune": ("",),
        "finetune_transformer": ("",),
    }[method]
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(2):  # LoRA's A and an adapter's way down move once the way up is not zero
        model.zero_grad()
        model.head(backbone(x)).pow(3).sum().backward()
        torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01).step()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    expected = {n for n in before if n.startswith("head.") or (part and any(word in n for word in part))}
    if method == "bitfit":
        layers = ("vit.blocks.", "encoder.layers.")
        expected = {n for n in expected if n.startswith("head.") or any(layer in n for layer in layers)}
    if method == "finetune_transformer":
        first = ("vit.patch_embed.", "feature_extractor.")
        expected = {n for n in expected if not any(part in n for part in first)}
    if method.startswith("finetune"):
        expected -= {"backbone.model.masked_spec_embed"}  # of the time masks, which are off here
    # A key's bias shifts all scores of a query alike: its gradient is zero, or rounding.
    assert changed - expected == set()
    assert all(name.endswith("k_proj.bias") for name in expected - changed), expected - changed
    assert backbone.frozen == (not method.startswith("finetune"))
    assert {id(p) for p in trainable_parameters(model).values()} == {
        id(p) for p in model.parameters() if p.requires_grad
    }


@pytest.mark.parametrize("kind, method", [p for p in PAIRS if p[0] in KINDS[:2] and p[1] in COUNTS])
def test_as_many_parameters_are_trained_as_the_closed_form_says(kind, method):
    backbone, _ = tiny(kind)
    apply_method(backbone, method, **SETTINGS)
    assert count_parameters(backbone)[0] == COUNTS[method][kind != "ast"]


def test_houlsbys_adapters_are_twice_as_many():
    backbone, _ = tiny("ast")
    apply_method(backbone, "adapter", bottleneck=4, position="houlsby")
    assert count_parameters(backbone)[0] == 2 * COUNTS["adapter"][0]


@pytest.mark.parametrize("kind, method", [pair for pair in PAIRS if pair[1] in SILENT])
def test_a_method_that_promises_it_starts_silent(kind, method):
    backbone, x = tiny(kind)
    before = freeze(backbone)(x)  # a linear layer may round otherwise where its weight wants a gradient
    apply_method(backbone, method, **SETTINGS)
    if (kind, method) == ("wavlm", "lora"):  # another form of the same attention
        torch.testing.assert_close(backbone(x), before, rtol=1e-4, atol=1e-5)
    else:
        assert torch.equal(backbone(x), before)


@pytest.mark.parametrize("kind, method", PAIRS)
def test_what_is_trained_is_saved_and_loaded(kind, method):
    trained, x = tiny(kind)
    fresh, again = copy.deepcopy(trained), copy.deepcopy(trained)
    apply_method(trained, method, **SETTINGS)
    for parameter in trainable_parameters(trained).values():
        nn.init.normal_(parameter, std=0.1)
    state = trainable_state(trained)
    apply_method(fresh, method, **SETTINGS)
    load_trainable_state(fresh, state, "the trained one")
    assert torch.equal(fresh(x), trained(x))
    if method != "linear":
        assert not torch.allclose(trained(x), again(x), atol=1e-4)
    assert torch.equal(copy.deepcopy(trained)(x), trained(x))


def test_names_of_what_is_trained_are_our_own():
    names = {}
    for method in ("lora", "input_prompt"):
        backbone, _ = tiny("ast")
        names[method] = list(trainable_parameters(apply_method(backbone, method, **SETTINGS)))
    assert names["lora"] == [f"lora.{i}.qkv.{part}.weight" for i in (0, 1) for part in ("down", "up")]
    assert names["input_prompt"] == ["input_prompt.mels", "input_prompt.frames"]
    backbone, _ = tiny("wavlm")
    assert set(trainable_parameters(apply_method(backbone, "lora", rank=2))) == {
        f"lora.{i}.{target}_proj.{part}.weight" for i in (0, 1) for target in "qv" for part in ("down", "up")
    }


@pytest.mark.parametrize("kind, method", [pair for pair in PAIRS if not pair[1].startswith("finetune")])
def test_frozen_dropout_off_keeps_all_but_what_was_inserted_out_of_training_mode(kind, method):
    backbone, x = tiny(kind)
    apply_method(backbone, method, **{**SETTINGS, "dropout": 0.5, "init": "normal"})
    model = Classifier(nn.Identity(), backbone, LinearHead(backbone.width, 4))
    train_mode(model, frozen_dropout=False)
    assert torch.equal(backbone(x), backbone(x)) == (method not in ("ipet", "adapter"))
    for layer in tuned_layers(backbone):
        assert not layer.layer.training and (layer.adapter is None or layer.adapter.training)
    assert model.head.training
    train_mode(model, frozen_dropout=True)
    assert all(module.training for module in model.modules())


def test_fine_tuning_is_in_training_mode_whatever_frozen_dropout_says():
    backbone, _ = tiny("wav2vec2")
    apply_method(backbone, "finetune")
    model = Classifier(nn.Identity(), backbone, LinearHead(backbone.width, 4))
    train_mode(model, frozen_dropout=False)
    assert all(module.training for module in model.modules())
    convolutions = backbone.model.feature_extractor
    assert all(p.requires_grad for p in convolutions.parameters())
    seen = []
    convolutions.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    backbone(0.1 * torch.randn(2, 8_000))
    assert seen == [True]


@pytest.mark.parametrize("kind, method", [pair for pair in PAIRS if pair[1] != "finetune"])
def test_nothing_frozen_keeps_a_graph_that_is_not_needed(kind, method):
    backbone, x = tiny(kind)
    apply_method(backbone, method, **SETTINGS)
    before = backbone.vit.patch_embed if kind == "ast" else backbone.model.feature_projection
    seen = []
    before.register_forward_hook(
        lambda module, inputs, output: seen.append((output if kind == "ast" else output[0]).requires_grad)
    )
    out = backbone.train()(x)
    assert seen == [method == "input_prompt" or (method == "finetune_transformer" and kind != "ast")]
    assert out.requires_grad == (method != "linear")


@pytest.mark.parametrize("kind", KINDS)
def test_lora_trains_in_mixed_precision(kind):
    backbone, x = tiny(kind)
    apply_method(backbone, "lora", rank=2)
    with torch.autocast("cpu", torch.bfloat16):
        out = backbone(x)
    out.float().pow(3).sum().backward()
    grads = {name: p.grad for name, p in trainable_parameters(backbone).items()}
    assert all(grad.dtype == torch.float32 and grad.isfinite().all() for grad in grads.values())
    assert all(grad.any() == name.endswith("up.weight") for name, grad in grads.items())  # B is zero


@pytest.mark.parametrize("kind", ("wav2vec2", "wavlm"))
def test_lora_adds_two_b_a_to_queries_and_values(kind):
    tuned, x = tiny(kind)
    plain = copy.deepcopy(tuned)
    named = trainable_parameters(apply_method(tuned, "lora", rank=2))
    for parameter in named.values():
        nn.init.normal_(parameter, std=0.3)
    for i, layer in enumerate(plain.model.encoder.layers):
        for target in ("q_proj", "v_proj"):
            update = named[f"lora.{i}.{target}.up.weight"] @ named[f"lora.{i}.{target}.down.weight"]
            getattr(layer.attention, target).weight.data += 2 * update
    torch.testing.assert_close(tuned.double()(x.double()), plain.double()(x.double()), rtol=1e-5, atol=1e-6)


def test_lora_without_peft_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    backbone, _ = tiny("ast")
    with pytest.raises(ValueError, match=r"'lora' needs the package: python3 -m pip install peft"):
        apply_method(backbone, "lora", rank=2)
    assert all(p.requires_grad for p in backbone.parameters())


def test_the_input_prompt_is_a_border_of_the_log_mels():
    backbone, x = tiny("ast")
    frozen = copy.deepcopy(backbone)
    apply_method(backbone, "input_prompt", border=6)
    for parameter in trainable_parameters(backbone).values():
        nn.init.normal_(parameter)
    border = backbone.vit.patch_embed[0](torch.zeros(1, 1, M, T))[0, 0].T  # [T, M]
    assert not border[6:-6, 6:-6].any()
    assert int((border != 0).sum()) == COUNTS["input_prompt"][0]
    torch.testing.assert_close(backbone(x), frozen(x + border))
    named = trainable_parameters(backbone)
    assert torch.equal(border[:, :6].T, named["input_prompt.mels"][0])  # the lowest mels, at every frame
    assert torch.equal(border[-6:, 6:-6].T, named["input_prompt.frames"][1])  # the last frames


@pytest.mark.parametrize("border, accepted", [(31, True), (32, False)])
def test_a_border_leaves_some_of_the_input_as_it_is(border, accepted):
    backbone, x = tiny("ast")  # 64 frames: 31 on both sides leave 2
    if accepted:
        assert torch.equal(backbone(x), apply_method(backbone, "input_prompt", border=border)(x))
    else:
        with pytest.raises(ValueError, match=r"32 on every side is too wide for 128 mels and 64 .* most 31"):
            apply_method(backbone, "input_prompt", border=border)


# What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [apply_method, lambda *a, **k: solve_budget(*a, 10**6, 100, **k)])
def test_a_waveform_has_no_border(call):
    backbone, _ = tiny("hubert")
    with pytest.raises(ValueError, match=r"around a spectrogram, and hubert hears .*; accepted: AST, or"):
        call(backbone, "input_prompt", border=2)


def test_mistakes_are_told():
    backbone, _ = tiny("ast")
    with pytest.raises(ValueError, match=r"the method is 'adaptor'; accepted: .*adapter"):
        apply_method(backbone, "adaptor")
    with pytest.raises(TypeError, match=r"no method has a setting 'bottelneck'; accepted: .*bottleneck"):
        apply_method(backbone, "adapter", bottelneck=4)
    with pytest.raises(TypeError, match="'lora' needs the setting rank"):
        apply_method(backbone, "lora", bottleneck=4)
    with pytest.raises(ValueError, match="'ipet': num_prompts is 0; expected 1 or more"):
        apply_method(backbone, "ipet", num_prompts=0, bottleneck=4)
    assert not hasattr(backbone, "tuning")
    apply_method(backbone, "prompt", num_prompts=2)
    with pytest.raises(ValueError, match=r"tuned already .*expected a fresh one"):
        apply_method(backbone, "adapter", bottleneck=4)


def test_the_backbone_says_how_it_was_tuned():
    tuned = {method: apply_method(tiny("ast")[0], method, **SETTINGS).tuning for method in METHODS}
    assert tuned["finetune"] == {"method": "finetune"}
    assert tuned["prompt"] == {"method": "prompt", "num_prompts": 3}
    assert tuned["lora"] == {"method": "lora", "rank": 2}
    adapters = {name: SETTINGS[name] for name in SETTINGS.keys() - {"rank", "num_prefixes", "border"}}
    assert tuned["ipet"] == {"method": "ipet", **adapters}
    assert apply_method(tiny("ast")[0], "adapter", bottleneck=4).tuning["scale"] == 0.1  # defaults, too


# Budgets ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base():
    """The base-size backbones, shapes alone."""
    patch = pytest.MonkeyPatch()
    for module in (audio_spectrogram_transformer, wav2vec2):
        patch.setattr(module, "fingerprint", lambda tensors: "shapes alone")
    with torch.device("meta"):
        built = {"ast": build_ast(512), "wavlm": build_wav2vec2(model_type="wavlm")}
    patch.undo()
    return built


HEAD = 40_000
UNIT = {  # parameters that one more of a size costs at base size; AST, the others
    "prompt": ({"num_prompts": 12 * 768},) * 2,
    "adapter": ({"bottleneck": 12 * (2 * 768 + 1)},) * 2,
    "prefix": ({"num_prefixes": 12 * 2 * 768},) * 2,
    "lora": ({"rank": 12 * 4 * 768}, {"rank": 12 * 2 * 2 * 768}),
    "ipet": ({"num_prompts": 12 * 768},) * 2,  # the smaller of the two units
}


def trained(backbone, method, settings):
    with torch.device("meta"):
        return HEAD + count_parameters(apply_method(copy.deepcopy(backbone), method, **settings))[0]


@pytest.mark.parametrize("budget", [100_000, 2_000_000])
@pytest.mark.parametrize("method", UNIT)
@pytest.mark.parametrize("kind", ("ast", "wavlm"))
def test_a_budget_is_used_up_but_for_less_than_one_unit(base, kind, method, budget):
    settings = solve_budget(
        base[kind], method, budget, HEAD, **{**SETTINGS, "num_prompts": 4, "bottleneck": 32}
    )
    [unit] = UNIT[method][kind != "ast"].values()
    assert budget - unit < trained(base[kind], method, settings) <= budget
    unsized = SETTINGS.keys() - set(METHODS[method].sizes) - {"num_prompts", "bottleneck"}
    assert {name: settings[name] for name in unsized} == {name: SETTINGS[name] for name in unsized}


@pytest.mark.parametrize("ratio", [(4, 32), (64, 64), (7, 3)])
def test_ipets_two_sizes_keep_their_ratio(base, ratio):
    settings = solve_budget(base["ast"], "ipet", 5_000_000, HEAD, num_prompts=ratio[0], bottleneck=ratio[1])
    n, r = settings["num_prompts"], settings["bottleneck"]
    scale = r / ratio[1] if ratio[1] > ratio[0] else n / ratio[0]
    assert abs(n - scale * ratio[0]) <= 3 and abs(r - scale * ratio[1]) <= 3


def test_the_papers_sizes_are_found_from_the_papers_number(base):
    # ESC-50: 12 (4 768) + 12 (2 768 32 + 32 + 768) + 768 (2 + 50) + 50 = 676,274
    settings = solve_budget(base["ast"], "ipet", 676_274, 768 * (2 + 50) + 50, num_prompts=8, bottleneck=64)
    assert (settings["num_prompts"], settings["bottleneck"]) == (4, 32)


def test_a_borders_budget_ends_where_the_input_does(base):
    # 2 w M + 2 w (T - 2 w) with M = 128, T = 512: w = 16 is 4,096 + 15,360, w = 17 is 20,604
    assert solve_budget(base["ast"], "input_prompt", HEAD + 20_000, HEAD)["border"] == 16
    assert solve_budget(base["ast"], "input_prompt", 10**9, HEAD)["border"] == 63


def test_a_budget_below_the_smallest_size_says_what_the_least_is(base):
    # 12 (2 768 1 + 1 + 768) + 40,000
    with pytest.raises(ValueError, match=r"at least 67,660 parameters, 40,000 .* head; the budget is 67,659"):
        solve_budget(base["ast"], "adapter", 67_659, HEAD)
    assert solve_budget(base["ast"], "adapter", 67_660, HEAD)["bottleneck"] == 1


def test_a_method_without_a_size_has_no_budget(base):
    for method in ("finetune", "finetune_transformer", "linear", "bitfit"):
        with pytest.raises(ValueError, match=f"{method!r} has no size .*; accepted: .*lora"):
            solve_budget(base["ast"], method, 10**6, HEAD)
    with pytest.raises(
        TypeError, match="'ipet' needs num_prompts and bottleneck, whose ratio is kept; no bot"
    ):
        solve_budget(base["ast"], "ipet", 10**6, HEAD, num_prompts=4)


@pytest.mark.parametrize("kind", ("ast", "wavlm"))
def test_solving_touches_neither_the_backbone_nor_the_random_numbers(kind):
    backbone, x = tiny(kind)
    before, random = backbone(x), torch.get_rng_state()
    for method in ("ipet", "lora"):
        solve_budget(backbone, method, 20_000, 100, num_prompts=2, bottleneck=2)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(backbone(x), before)
    assert all(p.requires_grad and p.device.type == "cpu" for p in backbone.parameters())
    assert not hasattr(backbone, "tuning") and not tuned_layers(backbone)
