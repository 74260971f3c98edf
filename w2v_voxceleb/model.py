"""The waveform, wav2vec 2.0 with a tuning method, a speaker embedding of 128."""

from ipet.arguments import wav2vec2_values
from ipet.heads import SpeakerHead
from ipet.models import wav2vec2_classifier


def build_model(args, num_speakers):
    """A classifier of the training speakers, whose embedding trials are scored by."""
    return wav2vec2_classifier(num_speakers, head=SpeakerHead, **wav2vec2_values(args))
