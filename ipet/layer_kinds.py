"""Layers of more models than the experiments have, for ``ipet.tune``: the same equations, other names.

pre-norm                                wav2vec 2.0, HuBERT, WavLM and UniSpeech large, AST of transformers,
u = x + MHA(LN1(x)), P as in ViT        Whisper's encoder
y = u + FFN(LN2(u)) + s A(u)
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ipet.attention import check_request, full_mask, report_weights, split_heads
from ipet.tuning import PostNormLayer, TunedLayer, Tuning, WavLMLayer, tunes

MODELS = "transformers.models"

# Theirs is wav2vec 2.0's layer.
tunes(
    f"{MODELS}.unispeech.modeling_unispeech.UniSpeechEncoderLayer",
    f"{MODELS}.unispeech_sat.modeling_unispeech_sat.UniSpeechSatEncoderLayer",
    f"{MODELS}.data2vec.modeling_data2vec_audio.Data2VecAudioEncoderLayer",
    f"{MODELS}.sew.modeling_sew.SEWEncoderLayer",
)(PostNormLayer)


@tunes(
    f"{MODELS}.wav2vec2.modeling_wav2vec2.Wav2Vec2EncoderLayerStableLayerNorm",
    f"{MODELS}.hubert.modeling_hubert.HubertEncoderLayerStableLayerNorm",
    f"{MODELS}.unispeech.modeling_unispeech.UniSpeechEncoderLayerStableLayerNorm",
    f"{MODELS}.unispeech_sat.modeling_unispeech_sat.UniSpeechSatEncoderLayerStableLayerNorm",
)
class StableLayer(PostNormLayer):
    """A layer of wav2vec 2.0's large models and their kin, pre-norm ("stable layer norm")."""

    def forward(self, x: Tensor, attention_mask: Tensor | None = None, **kwargs) -> Tensor:
        """[B, T, D], mask [B, 1, T, T] or None -> [B, T, D]."""
        f = self.layer
        h = f.dropout(self.attend(f.layer_norm(x), attention_mask, **kwargs))  # h = MHA(LN1(x))
        u = x + self.adapted(h)
        g = f.feed_forward(f.final_layer_norm(u))  # g = FFN(LN2(u))
        y = u + g + self.adapt(u, g)
        own = getattr(f, "adapter_layer", None)  # of a language (MMS)
        return y if own is None else y + own(y)

    def project(self, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """[1, n, D] -> K(LN1(P)), V(LN1(P)), each [1, H, n, D / H]."""
        return super().project(self.layer.layer_norm(prompt))


@tunes(f"{MODELS}.wavlm.modeling_wavlm.WavLMEncoderLayerStableLayerNorm")
class StableWavLMLayer(WavLMLayer, StableLayer):
    """A layer of WavLM large: pre-norm, with the bias of distances."""


@tunes(f"{MODELS}.audio_spectrogram_transformer.modeling_audio_spectrogram_transformer.ASTLayer")
class SpectrogramLayer(TunedLayer):
    """A layer of transformers' own AST."""

    norm_name = "layernorm_before"

    def __init__(self, layer: nn.Module, tuning: Tuning):
        super().__init__(layer, layer.layernorm_before.normalized_shape[0], tuning)

    @property
    def attention(self) -> nn.Module:
        """The library's."""
        return self.layer.attention

    @property
    def num_heads(self) -> int:
        """H."""
        return self.attention.num_attention_heads

    def forward(self, x: Tensor, attention_mask: Tensor | None = None, **kwargs) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        f = self.layer
        h = f.dropout(self.attend(f.layernorm_before(x), attention_mask, **kwargs))  # h = MHA(LN1(x))
        u = x + self.adapted(h)
        g = f.dropout(f.mlp(f.layernorm_after(u)))  # g = FFN(LN2(u))
        return u + g + self.adapt(u, g)

    def attend(self, x: Tensor, mask: Tensor | None, **kwargs) -> Tensor:
        """[B, T, D] -> [B, T, D]: attention over the prompts and x."""
        a = self.attention
        prepended = self.prepended()
        if prepended is None:
            return a(x, mask, **kwargs)[0]
        check_request(a, **kwargs)
        mask = full_mask(mask)
        q, k, v = (split_heads(project(x), self.num_heads) for project in (a.q_proj, a.k_proj, a.v_proj))
        dropout = a.attention_dropout if a.training else 0.0
        h = a.o_proj(self.compute_attention(q, k, v, prepended, dropout, mask))
        report_weights(a, h, q, k, prepended, mask)
        return h

    def project(self, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """[1, n, D] -> K(LN1(P)), V(LN1(P)), each [1, H, n, D / H]."""
        p = self.layer.layernorm_before(prompt)
        return tuple(
            split_heads(project(p), self.num_heads)
            for project in (self.attention.k_proj, self.attention.v_proj)
        )


@tunes(f"{MODELS}.whisper.modeling_whisper.WhisperEncoderLayer")
class WhisperLayer(PostNormLayer):
    """A layer of Whisper's encoder, pre-norm."""

    norm_name = "self_attn_layer_norm"

    def __init__(self, layer: nn.Module, tuning: Tuning):
        TunedLayer.__init__(self, layer, layer.embed_dim, tuning)

    @property
    def attention(self) -> nn.Module:
        """The library's."""
        return self.layer.self_attn

    def forward(self, x: Tensor, attention_mask: Tensor | None = None, **kwargs) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        f = self.layer
        h = self.dropped(self.attend(f.self_attn_layer_norm(x), attention_mask, **kwargs), f.dropout)
        u = x + self.adapted(h)
        g = self.dropped(f.activation_fn(f.fc1(f.final_layer_norm(u))), f.activation_dropout)
        g = self.dropped(f.fc2(g), f.dropout)  # g = FFN(LN2(u))
        y = u + g + self.adapt(u, g)
        if y.dtype == torch.float16:  # as the library: an infinite state would spoil all that follows
            y = y.clamp(-torch.finfo(y.dtype).max + 1000, torch.finfo(y.dtype).max - 1000)
        return y

    def dropped(self, x: Tensor, probability: float) -> Tensor:
        """Dropout, while the frozen layer is in training mode."""
        return F.dropout(x, probability, self.layer.training)

    def project(self, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """[1, n, D] -> K(LN1(P)), V(LN1(P)), each [1, H, n, D / H]."""
        return super().project(self.layer.self_attn_layer_norm(prompt))
