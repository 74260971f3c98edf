"""Training speakers are classified; the speakers of the trials are verified."""

from ipet.verification import VerificationTrainer


class Trainer(VerificationTrainer):
    """Epochs are compared by equal error rate."""

    metric = "EER"
