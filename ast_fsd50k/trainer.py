"""Several labels a clip; the epoch is chosen on the validation list and the test list reported."""

from ipet.classification import ClassificationTrainer


class Trainer(ClassificationTrainer):
    """Epochs are compared by mean average precision over the classes."""

    metric = "mAP"
