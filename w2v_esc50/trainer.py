"""One label a clip; the protocol has folds and no validation list."""

from ipet.classification import ClassificationTrainer


class Trainer(ClassificationTrainer):
    """Epochs are compared by accuracy."""

    metric = "accuracy"
