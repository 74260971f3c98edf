"""Classification: the losses, the logits of every clip, accuracy or mean average precision."""

import csv
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ipet.calibration import (
    best_thresholds,
    calibration_error,
    clip_scores,
    fit_temperature,
    original_predictions,
    probabilities,
)
from ipet.checkpoint import write_atomically
from ipet.datasets import Datasets
from ipet.intervals import mean_average_precision_interval, wilson_interval
from ipet.lists import check_labelled
from ipet.metrics import accuracy, average_precision, d_prime, mean_auc, mean_average_precision
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


def ranking_metrics(scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return mAP, mAUC and d' of [N, C] scores and targets, of clips with one label or several."""
    auc = mean_auc(scores, targets)
    return {"mAP": mean_average_precision(scores, targets), "mAUC": auc, "d_prime": d_prime(auc)}


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
        self.epoch_sum: tuple[np.ndarray | None, int] = None, 0  # [N, C] of the epochs' predictions, how many
        self.next_sum = self.epoch_sum  # with those of an epoch that is not saved yet
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
        """Return the loss, accuracy where a clip has one label, mAP, mAUC and d'; see ``clip_scores``.

        Args:
            name: Name of the evaluation list.
            outputs: [N, S, C] logits of its segments.
        """
        targets = self.datasets.evaluation[name].targets()
        num_segments = outputs.shape[1]
        logits = torch.from_numpy(outputs).flatten(0, 1)  # [N S, C]
        repeated = torch.from_numpy(targets).repeat_interleave(num_segments, dim=0)
        loss = LOSSES[self.loss](logits, repeated).mean()
        scores = clip_scores(outputs, self.loss)
        values = {"accuracy": accuracy(scores, targets)} if self.metric == "accuracy" else {}
        values |= ranking_metrics(scores, targets)
        kept = {"scores": scores.astype(np.float32), "targets": targets.astype(np.uint8)}
        return {"loss": loss.item(), **values}, kept

    # The original's metrics -------------------------------------------------------------------

    @property
    def original_list(self) -> str | None:
        """The list that the original code evaluates after each epoch: the test list; None: not here."""
        if "test" not in self.datasets.evaluation:
            return "eval"
        return "test" if self.recipe.test_every_epoch else None

    def original_metrics(self) -> dict[str, float]:
        """Return the metrics that the original code logs after an epoch, as ``original_<name>``.

        Sigmoids are averaged over a clip's segments; ``cum_acc``, ``cum_mAP`` and ``cum_mAUC`` are of the
        running mean of these predictions over the evaluated epochs.
        """
        name = self.original_list
        if name is None:
            return {}
        outputs = (
            self.outputs if name == self.datasets.watched else self.predict(self.datasets.evaluation[name])
        )
        targets, predictions = self.datasets.evaluation[name].targets(), original_predictions(outputs)
        total, count = self.epoch_sum
        self.next_sum = predictions if total is None else total + predictions, count + 1
        values = {"acc": accuracy(predictions, targets), **ranking_metrics(predictions, targets)}
        mean = self.next_sum[0] / self.next_sum[1]
        values |= {
            "cum_acc": accuracy(mean, targets),
            "cum_mAP": mean_average_precision(mean, targets),
            "cum_mAUC": mean_auc(mean, targets),
        }
        return {f"original_{name}": value for name, value in values.items()}

    def commit_epoch(self) -> None:
        """Count the predictions of the epoch that has ended."""
        self.epoch_sum = self.next_sum

    def task_state(self) -> dict:
        """Return the sum of the epochs' predictions, which a resumed training goes on with."""
        total, count = self.epoch_sum
        return {} if total is None else {"epoch_sum": torch.from_numpy(total), "num_epochs": count}

    def restore_task_state(self, path: Path, state: dict) -> None:
        """Restore ``task_state``.

        Raises:
            ValueError: It is not of this list.
        """
        if not state:
            return
        total, count = state.get("epoch_sum"), state.get("num_epochs")
        expected = [
            len(self.datasets.evaluation[self.original_list or "test"]),
            len(self.datasets.train.labels),
        ]
        if not isinstance(total, Tensor) or list(total.shape) != expected or not isinstance(count, int):
            raise ValueError(f"{path}: damaged: 'task' has no sum of predictions of shape {expected}")
        self.epoch_sum = self.next_sum = total.numpy(), count

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

    def intervals(self, predictions: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
        """Return Wilson's interval of the accuracy, or that of the mAP over clips."""
        scores, targets = predictions["scores"], predictions["targets"]
        if self.metric == "accuracy":
            return {"accuracy": wilson_interval(accuracy(scores, targets), len(scores))}
        return {"mAP": mean_average_precision_interval(scores, targets)}


class OwnTrainer(ClassificationTrainer):
    """Trainer for a user's own set: mAP where a clip has several classes or none, otherwise accuracy."""

    def __init__(self, model: nn.Module, datasets: Datasets, *args, **kwargs):
        self.metric, self.higher_is_better = self.task_metric(datasets)
        super().__init__(model, datasets, *args, **kwargs)

    @classmethod
    def task_metric(cls, datasets: Datasets) -> tuple[str, bool]:
        """Return the metric that these lists are evaluated by, and whether higher values are better."""
        several = any(len(clip.classes) != 1 for clips in datasets.lists for clip in clips.clips)
        return ("mAP" if several else "accuracy"), True
