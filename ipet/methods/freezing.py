"""Methods that insert nothing, and differ in what is frozen."""

from torch import nn

from ipet.methods.registry import register
from ipet.tuning import freeze, library_layers


@register("finetune")
def finetune(backbone: nn.Module) -> None:
    """Everything is trained, wav2vec 2.0's convolutions too."""
    backbone.frozen = False


@register("finetune_transformer")
def finetune_transformer(backbone: nn.Module) -> None:
    """Everything is trained but the convolutions that the waveform or the spectrogram meets first.

    So wav2vec 2.0 is usually fine-tuned (Baevski et al. 2020; ``freeze_feature_encoder`` of transformers).
    """
    freeze(backbone.convolutions)
    backbone.frozen = False


@register("linear")
def linear(backbone: nn.Module) -> None:
    """The head alone is trained (linear probing); the backbone's forward pass keeps no graph."""
    freeze(backbone)


@register("bitfit")
def bitfit(backbone: nn.Module) -> None:
    """Every bias of the transformer's layers, those of its norms too (Ben Zaken et al. 2022).

    What lies before the first layer and behind the last one is frozen.
    """
    freeze(backbone)
    for layer in library_layers(backbone):
        for name, parameter in layer.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
