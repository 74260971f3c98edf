"""One label a clip or several, as the lists have them."""

from ipet.classification import OwnTrainer as Trainer

__all__ = ["Trainer"]
