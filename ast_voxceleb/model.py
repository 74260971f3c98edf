"""Log-mels, AST with a tuning method, a speaker embedding of 128."""

from ipet.arguments import ast_values
from ipet.heads import SpeakerHead
from ipet.models import ast_classifier


def build_model(args, num_speakers):
    """A classifier of the training speakers, whose embedding trials are scored by."""
    return ast_classifier(num_speakers, head=SpeakerHead, **ast_values(args))
