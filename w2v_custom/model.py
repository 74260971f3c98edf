"""The waveform, wav2vec 2.0 with a tuning method, linear head."""

from ipet.arguments import wav2vec2_values
from ipet.models import wav2vec2_classifier


def build_model(args, num_classes):
    """The model of this experiment, for any number of classes."""
    return wav2vec2_classifier(num_classes, **wav2vec2_values(args))
