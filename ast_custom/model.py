"""Log-mels, AST with a tuning method, linear head."""

from ipet.arguments import ast_values
from ipet.models import ast_classifier


def build_model(args, num_classes):
    """The model of this experiment, for any number of classes."""
    return ast_classifier(num_classes, **ast_values(args))
