"""Clips of their own lengths: what a clip becomes does not depend on the others in its batch."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from ipet import attention
from ipet.augment import NoiseAndRoll, SpecAugment
from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import (
    SIZES,
    Wav2Vec2,
    build_wav2vec2,
    count_tokens,
    least_samples,
    new_config,
    new_model,
)
from ipet.checkpoint import trainable_state
from ipet.export import export
from ipet.features import LogMel, Padded, Waveform
from ipet.heads import Classifier, LinearHead
from ipet.memory import checkpoint_activations
from ipet.methods import apply_method
from ipet.multitask import MultiTask
from ipet.splits import waveform_cuts
from ipet.tuning import trainable_parameters

METHODS = {
    "ipet": {"num_prompts": 3, "bottleneck": 16},
    "prompt": {"num_prompts": 3},
    "adapter": {"bottleneck": 16},
    "lora": {"rank": 2},
    "linear": {},
}
LENGTHS = (6_400, 9_000, 12_345, 2_000, 6_400)  # samples; AST below hears 10,480 at most
KINDS = ("ast", "wav2vec2", "wav2vec2, layer norm", "wavlm")
MOST = {"ast": 64, "w2v": 65}  # frames


def backbone_of(kind):
    torch.manual_seed(0)
    if kind == "ast":
        return build_ast(MOST["ast"], size="tiny")
    if "layer norm" in kind:  # as wav2vec 2.0's large models have it
        return Wav2Vec2(new_model(new_config("wav2vec2", SIZES["tiny"] | {"feat_extract_norm": "layer"})))
    return build_wav2vec2("tiny", model_type=kind)


def model_of(kind, method="ipet", num_classes=3):
    """A model of clips of their own lengths, with trained values drawn, in float64."""
    backbone = apply_method(backbone_of(kind), method, **METHODS[method])
    front_end = (
        LogMel(128, MOST["ast"], -4.0, 3.0, variable_length=True)
        if kind == "ast"
        else Waveform(MOST["w2v"], variable_length=True)
    )
    model = Classifier(front_end, backbone, LinearHead(backbone.width, num_classes))
    torch.manual_seed(1)
    for parameter in trainable_parameters(model).values():
        nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


def clips_of(lengths=LENGTHS):
    return [
        0.1 * torch.randn(n, generator=torch.Generator().manual_seed(i)).double()
        for i, n in enumerate(lengths)
    ]


def batch_of(clips):
    return pad_sequence(clips, batch_first=True), torch.tensor([len(clip) for clip in clips])


def gradients(model, losses):
    model.zero_grad()
    torch.stack(losses).sum().backward()
    return {name: p.grad.clone() for name, p in trainable_parameters(model).items()}


# Padded equals unpadded -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_in_a_batch_is_the_clip_alone(kind, method):
    model, clips = model_of(kind, method), clips_of()
    weight = torch.randn(len(clips), 3, dtype=torch.float64)
    together = model(*batch_of(clips))
    alone = torch.cat([model(*batch_of([clip])) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)
    assert (alone.std(dim=0) > 1e-3).all()  # they are not all alike
    got, want = (gradients(model, [(x * weight).sum()]) for x in (together, alone))
    assert all(gradient.abs().max() > 0 for gradient in want.values())
    torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_what_lies_behind_a_clip_is_not_heard(kind):
    model = model_of(kind)
    waveform, lengths = batch_of(clips_of())
    behind = torch.arange(waveform.shape[1]) >= lengths[:, None]
    noise = torch.where(behind, torch.randn_like(waveform), waveform)
    torch.testing.assert_close(model(noise, lengths), model(waveform, lengths), rtol=1e-9, atol=1e-9)
    longer = F.pad(waveform, (0, 3_000))  # as in a part of a batch, whose longest clip is in another one
    torch.testing.assert_close(model(longer, lengths), model(waveform, lengths), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["ast", "wav2vec2", "wavlm"])
@torch.no_grad()
def test_a_clip_of_the_maximum_length_is_heard_as_without_the_flag(kind):
    model = model_of(kind)
    size = model.front_end.num_samples
    waveform, lengths = batch_of(clips_of((size, size)))
    heard = model.front_end(waveform, lengths)
    assert isinstance(heard, Padded)
    torch.testing.assert_close(model.backbone(heard), model.backbone(heard.x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["ast", "wav2vec2", "wavlm"])
@pytest.mark.parametrize(
    "length", [1, 399, 400, 719]
)  # AST's window is 400; of 719 samples one token is made
@torch.no_grad()
def test_a_clip_too_short_for_a_patch_or_a_token_gets_zeros(kind, length):
    model = model_of(kind)
    clips = clips_of((length, 9_000))
    together = model(*batch_of(clips))
    assert together.isfinite().all()
    torch.testing.assert_close(together[:1], model(*batch_of(clips[:1])), rtol=1e-9, atol=1e-9)
    filled = batch_of([F.pad(clips[0], (0, 160))])  # up to one patch, ten tokens: no more than it gets anyway
    if kind != "ast":
        torch.testing.assert_close(together[:1], model(*filled), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_tasks_share_a_batch_of_clips_of_their_own_lengths():
    models = {name: model_of("ast", "ipet", n) for name, n in (("sounds", 5), ("words", 3))}
    tasks = MultiTask(model_of("ast"), {name: trainable_state(model) for name, model in models.items()})
    clips, names = clips_of(), ["words", "sounds", "words", "sounds", "words"]
    for clip, name, answer in zip(clips, names, tasks(*batch_of(clips), names)):
        torch.testing.assert_close(answer, models[name](*batch_of([clip])), rtol=1e-6, atol=1e-8)


# No mask where there is nothing to mask ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["ipet", "linear"])
@pytest.mark.parametrize("kind", ["ast", "wav2vec2"])
@torch.no_grad()
def test_clips_of_one_length_are_heard_without_a_mask(kind, method, monkeypatch):
    masks = []
    sdpa = F.scaled_dot_product_attention

    def spy(*args, attn_mask=None, **kwargs):
        masks.append(attn_mask)
        return sdpa(*args, attn_mask=attn_mask, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    model = model_of(kind, method)
    waveform, lengths = batch_of(clips_of())
    model(waveform, lengths)
    assert len(masks) == 2 and all(mask is not None for mask in masks)  # of each layer
    masks.clear()
    model(waveform[:, :6_400], lengths.clamp(min=6_400, max=6_400))
    model.front_end.variable_length = False
    model(waveform, lengths)
    assert masks == [None] * 4


@pytest.mark.parametrize("method", ["ipet", "linear"])
@pytest.mark.parametrize("kind", ["ast", "wav2vec2", "wavlm"])
def test_both_ways_of_attention_and_activations_computed_again_know_the_mask(kind, method, monkeypatch):
    model, batch = model_of(kind, method), batch_of(clips_of())
    want = model(*batch)
    gradient = gradients(model, [want.sum()])
    monkeypatch.setattr(attention, "products_are_faster", lambda device, dtype: True)
    attention.choose_attention(model, "cpu", torch.bfloat16)
    checkpoint_activations(model)
    got = model(*batch)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradients(model, [got.sum()]), gradient, rtol=1e-7, atol=1e-9)


@torch.no_grad()
def test_wavlm_gives_torch_a_mask_and_a_bias_of_one_type():
    model = model_of("wavlm", "adapter")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model(*batch_of(clips_of())).isfinite().all()


# Lengths ----------------------------------------------------------------------------------------------


def test_the_patches_of_a_clip_are_the_fewest_that_cover_it():
    ast = build_ast(64, size="tiny")  # patches of 16 frames, 10 apart: 5, which cover 56 of 64
    for num_frames, columns in (
        (0, 1),
        (1, 1),
        (16, 1),
        (17, 2),
        (26, 2),
        (27, 3),
        (56, 5),
        (57, 5),
        (64, 5),
    ):
        fbank, position, masked = ast.fit(torch.zeros(2, 64, 128), torch.full((2,), num_frames))
        assert fbank.shape == (2, 16 + 10 * (columns - 1), 128)
        assert position.shape[1] == 2 + 12 * columns and not masked
    _, _, masked = ast.fit(torch.zeros(2, 64, 128), torch.tensor([16, 27]))
    seen = masked["attn_mask"][:, 0, 0, 2:].unflatten(1, (12, 3))
    assert masked["attn_mask"][..., :2].all()
    assert seen[0, 5].tolist() == [True, False, False] and seen[1].all()


def test_a_clip_has_the_first_positions_of_every_row():
    ast = build_ast(64, size="tiny")
    _, position, _ = ast.fit(torch.zeros(1, 64, 128), torch.tensor([26]))
    want = ast.vit.pos_embed[:, 2:].unflatten(1, ast.grid)[:, :, :2]
    assert torch.equal(position[:, 2:].unflatten(1, (12, 2)), want)
    assert torch.equal(position[:, :2], ast.vit.pos_embed[:, :2])


@pytest.mark.parametrize(("prob", "tokens"), [(0.0, 2), (0.05, 10)])
def test_the_least_length_of_wav2vec_has_a_deviation_and_room_for_a_time_mask(prob, tokens):
    config = new_config("wav2vec2", {"mask_time_prob": prob})
    least = least_samples(config)
    assert least == 400 + 320 * (tokens - 1)
    assert count_tokens(config, least) == tokens and count_tokens(config, least - 1) == tokens - 1


def test_time_masks_hide_the_same_share_of_a_clip_of_any_length():
    backbone = build_wav2vec2("tiny").train()
    own = torch.arange(200) < torch.tensor([[24], [200]])
    np.random.seed(0)  # transformers draws from it
    hidden = torch.stack([backbone.time_masks(own) & own for _ in range(500)]).float().mean(dim=0)
    # mask_time_prob 0.05 in masks of 10: of 200 tokens one mask, of 24 one in 12 of 100 steps
    assert (hidden.sum(dim=1) / own.sum(dim=1)).tolist() == pytest.approx([0.05, 0.05], abs=0.015)
    assert backbone.eval().time_masks(own) is None


# Augmentation -----------------------------------------------------------------------------------------


def test_masks_and_noise_keep_to_the_clip_whatever_its_batch():
    settings = {"masks": SpecAugment(10, 40), "noise": NoiseAndRoll(), "variable_length": True}
    front_end = LogMel(128, 100, -4.0, 3.0, **settings)
    clips = [clip.float() for clip in clips_of((16_240, 4_400, 8_240))]  # 100, 26 and 50 frames
    seeds = torch.tensor([3, 5, 7])
    together = front_end(*batch_of(clips), seeds)
    assert together.length.tolist() == [100, 26, 50]
    for i, clip in enumerate(clips):
        alone = front_end(*batch_of([clip]), seeds[i : i + 1])
        torch.testing.assert_close(together.x[i], alone.x[0])
        assert (together.x[i, together.length[i] :] == 4.0 / 6.0).all()  # zeros, normalised


def test_a_shorter_clip_has_shorter_masks():
    own = torch.tensor([100, 25]).repeat(2_000)
    hidden = SpecAugment(0, 40)(torch.ones(4_000, 100, 4), torch.arange(4_000), own) == 0
    widths = hidden[..., 0].sum(dim=1)
    assert 18 < widths[::2].float().mean() < 21 and 4 < widths[1::2].float().mean() < 5.5
    assert not hidden[1::2, 25:].any() and hidden[1::2, 20:25].any()


# What cannot have it ----------------------------------------------------------------------------------


def test_a_short_clip_is_not_repeated():
    cuts, rng = waveform_cuts(100, variable_length=True), np.random.default_rng(0)
    assert [len(cut(torch.ones(5_000), rng)) for cut in cuts] == [5_000, 5_000]
    assert [len(cut(torch.ones(50_000), rng)) for cut in cuts] == [16_000, 16_000]


@pytest.mark.parametrize(
    "build", [lambda **more: Waveform(50, **more), lambda **more: LogMel(128, 50, 0.0, 1.0, **more)]
)
def test_segments_have_one_length(build):
    with pytest.raises(ValueError, match="5 segments of clips of variable length; expected 1"):
        build(num_segments=5, variable_length=True)
    assert build(variable_length=True).settings["variable_length"] is True
    assert "variable_length" not in build().settings  # as in every adapter before


def test_an_exported_file_hears_one_length(tmp_path):
    model = SimpleNamespace(of_windows=Waveform(50, variable_length=True))
    with pytest.raises(ValueError, match="trained with -variable_length True, and the file's clips have one"):
        export(model, tmp_path)


def test_a_border_has_one_length():
    backbone = apply_method(build_ast(64, size="tiny"), "input_prompt", border=3)
    with pytest.raises(ValueError, match="log-mels of 26 frames, and the border is for 64; expected clips"):
        backbone(Padded(torch.zeros(1, 64, 128), torch.tensor([26])))
