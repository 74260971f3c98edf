"""The waveform, wav2vec 2.0 with prompts and adapters, linear head."""

from ipet.arguments import tuning_values, wav2vec2_values
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.features import Waveform
from ipet.heads import Classifier, LinearHead
from ipet.tuning import Tuning, tune


def build_model(args, num_classes):
    """The model of this experiment, for any number of classes."""
    backbone = tune(build_wav2vec2(**wav2vec2_values(args)), Tuning(**tuning_values(args)))
    return Classifier(Waveform(), backbone, LinearHead(backbone.width, num_classes))
