"""One label a clip; the scores of its segments are averaged."""

from ipet.classification import ClassificationTrainer


class Trainer(ClassificationTrainer):
    """Epochs are compared by accuracy."""

    metric = "accuracy"
