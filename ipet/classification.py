"""Classification: the losses, the logits of every clip, accuracy or mean average precision."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ipet.metrics import accuracy, d_prime, mean_auc, mean_average_precision
from ipet.trainer import Trainer

LOSSES = {
    # Soft targets go in as they are: mixup's shares are kept.
    "cce": lambda logits, target: F.cross_entropy(logits, target, reduction="none"),
    "bce": lambda logits, target: F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(
        dim=1
    ),
}


class ClassificationTrainer(Trainer):
    """One label a clip (``metric = "accuracy"``) or several (``metric = "mAP"``).

    Args:
        loss: ``cce``, cross-entropy of soft targets, or ``bce``, binary cross-entropy of each class.

    Raises:
        ValueError: an unknown loss.
    """

    metric = "accuracy"

    def __init__(self, *args, loss: str, **kwargs):
        if loss not in LOSSES:
            raise ValueError(f"the classification loss is {loss!r}; accepted: {', '.join(LOSSES)}")
        self.loss = loss
        super().__init__(*args, **kwargs)

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """[B, C] logits, [B, C] targets -> [B]."""
        return LOSSES[self.loss](logits, target)

    def without_hearing(self, name: str) -> float | None:
        """Accuracy of always answering the training list's most frequent class."""
        if self.metric != "accuracy":
            return None
        frequent = self.datasets.train.targets().sum(axis=0).argmax()
        return float(self.datasets.evaluation[name].targets()[:, frequent].mean())

    def measure(self, logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """[N, C], [N, C] -> accuracy; or mAP, mAUC and d'."""
        if self.metric == "accuracy":
            return {"accuracy": accuracy(logits, targets)}
        scores = torch.from_numpy(logits).double().sigmoid().numpy()
        auc = mean_auc(scores, targets)
        return {"mAP": mean_average_precision(scores, targets), "mAUC": auc, "d_prime": d_prime(auc)}
