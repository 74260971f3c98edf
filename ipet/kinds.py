"""Backbones by their kinds, which ``-model_type`` and saved adapters name, and the modules that build them.

Light on purpose: flags read it, and a module, with timm or transformers, is imported once it is needed.
A new backbone is one module with ``build`` and ``rebuild``, and its line in ``BACKBONES``.
"""

import importlib
from types import ModuleType
from typing import NamedTuple


class Backbone(NamedTuple):
    """A kind of backbone.

    Args:
        module: that builds it, by its full name.
        published: the weights that are taken where ``-pretrained`` is not given.
        hears: ``log_mel`` or ``waveform``, the kind of its front end.
    """

    module: str
    published: str
    hears: str = "waveform"


BACKBONES = {
    "ast": Backbone(
        "ipet.backbones.audio_spectrogram_transformer", "MIT/ast-finetuned-audioset-10-10-0.4593", "log_mel"
    ),
    "wav2vec2": Backbone("ipet.backbones.wav2vec2", "facebook/wav2vec2-base"),
    "hubert": Backbone("ipet.backbones.wav2vec2", "facebook/hubert-base-ls960"),
    "wavlm": Backbone("ipet.backbones.wav2vec2", "microsoft/wavlm-base"),
}


def kinds_that_hear(front_end: str) -> dict[str, str]:
    """The kinds of a front end, and the published weights of each."""
    return {kind: backbone.published for kind, backbone in BACKBONES.items() if backbone.hears == front_end}


def module_of(kind: str) -> ModuleType:
    """The module that builds a kind of backbone.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in tuple(BACKBONES):  # of a stranger's config, it may be anything
        raise ValueError(f"the backbone's kind is {kind!r}; accepted: {', '.join(BACKBONES)}")
    return importlib.import_module(BACKBONES[kind].module)
