"""The method as its equations read, prompts concatenated and dropped: what the fast form is compared with."""

import torch
from torch import nn

from ipet.tuning import PostNormLayer, PreNormLayer, tuned_layers


def plain_pre_norm(self, x, num_outputs=None):
    """z = [P ; x]; u = z + MHA(LN1(z)); y = u + FFN(LN2(u)) + s A(u); the first n tokens of y are dropped."""
    f, n = self.layer, 0 if self.prompt is None else self.prompt.shape[1]
    z = x if self.prompt is None else torch.cat([self.prompt.expand(len(x), -1, -1), x], dim=1)
    u = z + f.attn(f.norm1(z))
    y = u + f.mlp(f.norm2(u)) + (self.adapter(u) if self.adapter is not None else 0)
    return y[:, n:][:, :num_outputs]


def plain_post_norm(self, x, attention_mask=None, **kwargs):
    """z = [P ; x]; u = z + MHA(z); v = LN1(u); y = LN2(v + FFN(v) + s A(u)); n tokens are dropped."""
    f, n = self.layer, 0 if self.prompt is None else self.prompt.shape[1]
    z = x if self.prompt is None else torch.cat([self.prompt.expand(len(x), -1, -1), x], dim=1)
    u = z + f.attention(z)[0]
    v = f.layer_norm(u)
    y = f.final_layer_norm(v + f.feed_forward(v) + (self.adapter(u) if self.adapter is not None else 0))
    return y[:, n:]


def make_plain(model: nn.Module) -> nn.Module:
    """Replace every tuned layer's fast form by the plain one, in place."""
    for layer in tuned_layers(model):
        form = {PreNormLayer: plain_pre_norm, PostNormLayer: plain_post_norm}[type(layer)]
        layer.forward = form.__get__(layer)
    return model
