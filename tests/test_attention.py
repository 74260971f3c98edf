"""Attention by two matrix products is attention by the fused kernel."""

import pytest
import torch
from torch.nn import functional as F

from ipet import attention as attention_module
from ipet.attention import attention, by_products, choose_attention
from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.tuning import Tuning, tune

CLIPS, HEADS, TOKENS, PROMPTS, WIDTH = 2, 3, 5, 4, 8


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def masks():
    seen = torch.ones(CLIPS, 1, TOKENS, TOKENS, dtype=torch.bool)
    seen[1, :, :, 3:] = False  # the second clip is shorter
    return {"none": None, "boolean": seen, "added": draw(CLIPS, HEADS, TOKENS, TOKENS)}


@pytest.fixture
def say(monkeypatch):
    """``say(True)``: two products are faster, whatever the machine; ``say(False)``: the fused kernel is."""

    def say(products):
        monkeypatch.setattr(attention_module, "products_are_faster", lambda device, dtype: products)

    return say


@pytest.mark.parametrize("kind", masks())
def test_both_ways_are_the_same_function(kind):
    q, k, v = draw(3, CLIPS, HEADS, TOKENS, WIDTH)
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=masks()[kind])
    torch.testing.assert_close(by_products(q, k, v, masks()[kind], 0.0), wanted)


@pytest.mark.parametrize("kind", masks())
def test_prompts_are_seen_by_every_query_in_both_ways(kind, say):
    q, k, v = draw(3, CLIPS, HEADS, TOKENS, WIDTH)
    prompts = draw(2, 1, HEADS, PROMPTS, WIDTH).unbind()
    outputs = []
    for products in (False, True):
        say(products)
        outputs.append(attention(q, k, v, prompts, drop=0.0, mask=masks()[kind]))
    torch.testing.assert_close(*outputs)


def test_dropped_weights_leave_the_mean_as_it_was():
    v = torch.ones(1, 1, 4_000, 1)  # every output is the sum of the weights: 1 on average
    q = k = torch.zeros(1, 1, 4_000, 2)
    dropped = by_products(q, k, v, None, 0.25)
    assert dropped.mean().item() == pytest.approx(1, abs=1e-3) and dropped.std() > 0


@pytest.mark.parametrize("tuning", [Tuning(), Tuning(bottleneck=4), Tuning(num_prompts=4, bottleneck=4)])
@pytest.mark.parametrize("kind", ["ast", "wav2vec2"])
@torch.no_grad()
def test_a_backbone_hears_the_same_in_both_ways(kind, tuning, say):
    torch.manual_seed(0)
    backbone = build_ast(64, size="tiny") if kind == "ast" else build_wav2vec2("tiny")
    backbone = tune(backbone, tuning).eval().double()
    x = draw(2, 64, 128) if kind == "ast" else draw(2, 4_000)
    outputs = []
    for products in (True, False):
        say(products)
        choose_attention(backbone, "cpu", torch.bfloat16)
        outputs.append(backbone(x))
    torch.testing.assert_close(*outputs)


@pytest.mark.parametrize("products", [True, False])
def test_the_library_is_told_which_way(products, say):
    say(products)
    ast, speech = build_ast(64, size="tiny"), build_wav2vec2("tiny")
    for backbone in (ast, speech):
        choose_attention(backbone, "cpu", torch.bfloat16)
    assert {block.attn.fused_attn for block in ast.vit.blocks} == {not products}
    assert speech.model.config._attn_implementation == ("eager" if products else "sdpa")


def test_fp32_and_gpus_keep_the_fused_kernel():
    faster = attention_module.products_are_faster
    assert not faster("cpu", torch.float32)
    assert not faster("cuda", torch.bfloat16)
