"""Classification: the losses, the logits of every clip, accuracy or mean average precision."""

import csv
import io

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ipet.calibration import best_thresholds, calibration_error, fit_temperature, probabilities
from ipet.checkpoint import write_atomically
from ipet.datasets import Datasets
from ipet.lists import check_labelled
from ipet.metrics import (
    accuracy,
    average_precision,
    d_prime,
    mean_auc,
    mean_average_precision,
    mean_average_precision_interval,
    wilson_interval,
)
from ipet.trainer import Trainer

LOSSES = {
    # Soft targets go in as they are: mixup's shares are kept.
    "cce": lambda logits, target: F.cross_entropy(logits, target, reduction="none"),
    "bce": lambda logits, target: F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(
        dim=1
    ),
}


def inverse_frequency(targets: np.ndarray, over_clips: bool) -> np.ndarray:
    """[N, C] multi-hot -> [C] float32 weights, inverse to the classes' clips; a class without any gets 0.

    Args:
        over_clips: the mean over clips of their classes' weights is 1; otherwise that over classes.
    """
    counts = targets.sum(axis=0)
    weights = np.divide(1, counts, out=np.zeros(len(counts)), where=counts > 0)
    mean = (counts * weights).sum() / counts.sum() if over_clips else weights.mean()
    return (weights / mean).astype(np.float32)


def prior_bias(targets: np.ndarray, loss: str) -> np.ndarray:
    """[N, C] targets -> [C] logits of the classes' frequencies; half a clip is added to those without any.

    With ``bce`` log-odds, log(p / (1 - p)); with ``cce`` log p.
    """
    frequency = targets.sum(axis=0).clip(0.5, len(targets) - 0.5) / len(targets)
    odds = frequency / (1 - frequency) if loss == "bce" else frequency
    return np.log(odds).astype(np.float32)


def clip_scores(outputs: np.ndarray) -> np.ndarray:
    """[N, S, C] logits of segments -> [N, C], what a clip's classes are ranked by.

    Of one segment the logits, as sigmoids of large ones would be equal; of several the mean of their
    sigmoids, whatever the loss.
    """
    return outputs[:, 0] if outputs.shape[1] == 1 else probabilities(outputs.astype(np.float64), "bce")


class ClassificationTrainer(Trainer):
    """One label a clip (``metric = "accuracy"``) or several (``metric = "mAP"``).

    Args:
        loss: ``cce``, cross-entropy of soft targets, or ``bce``, binary cross-entropy of each class.
        class_weights: in training, classes weigh inversely to their number of training clips, w [C]: with
            ``cce`` a clip by its class, with ``bce`` a class's term; evaluation losses are not weighted.
        prior: the head's bias begins where its answers are the classes' frequencies among the training clips
            (Lin et al. 2017, for one class against many). With ``bce`` and the published bias every class
            begins at 0.5, and all that is trained first learns to say no to everything.

    Raises:
        ValueError: an unknown loss; a clip without a class where each has one.
    """

    metric = "accuracy"

    def __init__(
        self,
        model: nn.Module,
        datasets: Datasets,
        *args,
        loss: str,
        class_weights: bool = False,
        prior: bool = False,
        **kwargs,
    ):
        if loss not in LOSSES:
            raise ValueError(f"the classification loss is {loss!r}; accepted: {', '.join(LOSSES)}")
        if self.metric == "accuracy":
            for clips in datasets.lists:
                check_labelled(clips.clips)
        self.loss, self.weights = loss, None
        super().__init__(model, datasets, *args, **kwargs)
        if class_weights:
            weights = inverse_frequency(self.datasets.train.targets(), over_clips=loss == "cce")
            self.weights = torch.from_numpy(weights).to(self.device)
        if prior:
            bias = prior_bias(self.datasets.train.targets(), loss)
            with torch.no_grad():
                self.model.head.fc.bias.copy_(torch.from_numpy(bias))

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """[B, C] logits, [B, C] targets -> [B]."""
        if self.weights is None:
            return LOSSES[self.loss](logits, target)
        if self.loss == "cce":
            return LOSSES["cce"](logits, target) * (target @ self.weights)
        terms = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return (terms * self.weights).mean(dim=1)

    def without_hearing(self, name: str) -> float | None:
        """Accuracy of always answering the training list's most frequent class."""
        if self.metric != "accuracy":
            return None
        frequent = self.datasets.train.targets().sum(axis=0).argmax()
        return float(self.datasets.evaluation[name].targets()[:, frequent].mean())

    def measure(self, name: str, outputs: np.ndarray) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """[N, S, C] logits -> the loss, and accuracy or mAP, mAUC and d'; segments' scores are averaged."""
        targets = self.datasets.evaluation[name].targets()
        num_segments = outputs.shape[1]
        logits = torch.from_numpy(outputs).flatten(0, 1)  # [N S, C]
        repeated = torch.from_numpy(targets).repeat_interleave(num_segments, dim=0)
        loss = LOSSES[self.loss](logits, repeated).mean()
        scores = clip_scores(outputs)
        if self.metric == "accuracy":
            values = {"accuracy": accuracy(scores, targets)}
        else:
            auc = mean_auc(scores, targets)
            values = {"mAP": mean_average_precision(scores, targets), "mAUC": auc, "d_prime": d_prime(auc)}
        kept = {"scores": scores, "targets": targets.astype(np.uint8)}
        return {"loss": loss.item(), **values}, kept

    def calibrate(self, outputs: np.ndarray) -> dict:
        """The temperature that fits the validation list; of clips of several classes also thresholds."""
        targets = self.datasets.evaluation["valid"].targets()
        temperature = fit_temperature(outputs, targets, self.loss)
        calibration = {"temperature": temperature}
        if self.metric == "mAP":
            predicted = probabilities(outputs, self.loss, temperature)
            calibration["thresholds"] = best_thresholds(predicted, targets).tolist()
        return calibration

    def calibration_errors(self, outputs: np.ndarray, calibration: dict) -> dict:
        """The expected calibration error on the test list, as trained and with the temperature."""
        targets = self.datasets.evaluation["test"].targets()
        return {
            name: calibration_error(probabilities(outputs, self.loss, temperature), targets, self.loss)
            for name, temperature in (("error_before", 1.0), ("error", calibration["temperature"]))
        }

    def write_more(self, predictions: dict[str, np.ndarray]) -> None:
        """The average precision of every class, where a clip may have several."""
        if self.metric != "mAP":
            return
        labels, targets = self.datasets.train.labels, predictions["targets"]
        precisions = average_precision(predictions["scores"], targets)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["mid", "display_name", "clips", "average_precision"])
        writer.writerows(zip(labels.mids, labels.names, targets.sum(axis=0), precisions))
        write_atomically(self.folder / "per_class_ap.csv", text.getvalue().encode())

    def interval(self, predictions: dict[str, np.ndarray]) -> tuple[float, float] | None:
        """Wilson's for accuracy, the bootstrap's over clips for mAP."""
        scores, targets = predictions["scores"], predictions["targets"]
        if self.metric == "accuracy":
            return wilson_interval(accuracy(scores, targets), len(scores))
        return mean_average_precision_interval(scores, targets)


class OwnTrainer(ClassificationTrainer):
    """Trainer for a user's own set: mAP where a clip has several classes or none, otherwise accuracy."""

    def __init__(self, model: nn.Module, datasets: Datasets, *args, **kwargs):
        several = any(len(clip.classes) != 1 for clips in datasets.lists for clip in clips.clips)
        self.metric = "mAP" if several else "accuracy"
        super().__init__(model, datasets, *args, **kwargs)
