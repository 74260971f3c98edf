"""Speaker verification: trained to classify speakers, judged by trials of other speakers."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ipet import distributed
from ipet.checkpoint import load_trainable_state, trainable_state, write_json
from ipet.classification import ClassificationTrainer
from ipet.datasets import Batch, Datasets
from ipet.intervals import error_rate_intervals
from ipet.plots import plot_det, plot_scores
from ipet.scoring import as_norm, score_trials
from ipet.verification_metrics import det_curve, error_rates, trial_speakers

NO_SCORES = ("targets", "speakers")  # arrays of predictions.npz besides scores
MORE_TRIALS = "more_trials"  # the folder of what further trial lists gave


class VerificationTrainer(ClassificationTrainer):
    """Epochs are compared by the equal error rate of the trials.

    Args:
        scoring: of a trial, see ``scoring.score_trials``.
        top: over how many of an utterance's nearest training speakers scores are also normalised; 0: not.
    """

    metric = "EER"
    higher_is_better = False

    def __init__(self, *args, scoring: str = "mean_distance", top: int = 0, **kwargs):
        super().__init__(*args, **kwargs)
        self.scoring, self.top = scoring, top

    def output(self, batch: Batch) -> Tensor:
        """[B S, D] speaker embeddings of segments."""
        return self.model.speaker_embedding(batch.waveform, batch.num_samples)

    def without_hearing(self, name: str) -> float | None:
        """None: a constant score has an equal error rate of one half whatever the trials are."""
        return None

    def calibrate(self, outputs: np.ndarray) -> dict:
        """Return nothing: validation speakers have no class whose probability could be calibrated."""
        return {}

    def calibration_errors(self, outputs: np.ndarray, calibration: dict) -> dict:
        """Return nothing, see ``calibrate``."""
        return {}

    def measure(self, name: str, outputs: np.ndarray) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """[N, S, D] embeddings of the trials' utterances -> EER, minDCF(0.01, 1, 1), minDCF(0.01, 10, 1)."""
        pairs, targets = self.datasets.trials_of(name)
        embeddings = torch.from_numpy(outputs).to(self.device)
        scores = score_trials(embeddings, pairs, self.scoring)
        values = error_rates(scores, targets)
        labels = [clip.label for clip in self.datasets.evaluation[name].clips]
        kept = {"scores": scores, "targets": targets, "speakers": trial_speakers(pairs, targets, labels)}
        if self.top:
            cohort = torch.from_numpy(self.predict(self.datasets.cohort)).to(self.device)
            kept["as_norm"] = as_norm(scores, pairs, embeddings, cohort, self.scoring, self.top)
            values |= {f"{n}_as_norm": v for n, v in error_rates(kept["as_norm"], targets).items()}
        return values, kept

    @property
    def original_list(self) -> None:
        """None: the original's metrics of trials are those of ``measure``."""
        return None

    def intervals(self, predictions: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
        """Return the intervals of EER, minDCF and minDCF10 over speakers."""
        return error_rate_intervals(*(predictions[name] for name in ("scores", "targets", "speakers")))

    def score(self, name: str, datasets: Datasets) -> None:
        """Score another trial list with the last and the best epoch of a finished training.

        Writes ``more_trials/<name>.json`` and, of the last epoch, ``<name>_det.png`` and
        ``<name>_scores.png`` beside it.

        Args:
            datasets: those of the training, with other trials.
        """
        if not self.history:
            self.restore(self.folder / "training_state.pt")
        self.datasets = datasets
        last = trainable_state(self.model)
        load_trainable_state(self.model, self.best, "the best epoch")
        result = {"best_epoch": self.error_rates_of_trials()}
        load_trainable_state(self.model, last, "the last epoch")
        result["last"] = self.error_rates_of_trials()
        if distributed.is_main():
            found = self.intervals(self.predictions)
            result |= {"interval": {"last": found.pop(self.metric)}, "detail_intervals": {"last": found}}
            self.draw(self.folder / MORE_TRIALS, f"{name}_", self.predictions)
            write_json(self.folder / MORE_TRIALS / f"{name}.json", result)
            shown = {key.removeprefix("eval_"): value for key, value in result["last"].items()}
            rates = "  ".join(f"{key} {value:.4f}" for key, value in shown.items())
            print(f"{self.title}{name}, last epoch: {rates}", flush=True)

    def error_rates_of_trials(self) -> dict[str, float]:
        """Return the error rates of the reported list as ``eval_EER`` ..., also where that is a test list."""
        values = self.evaluate(self.datasets.reported)
        return {f"eval_{name.partition('_')[2]}": value for name, value in values.items()}

    def write_more(self, predictions: dict[str, np.ndarray]) -> None:
        """The detection error trade-off, and a histogram of the scores."""
        self.draw(self.folder, "", predictions)

    def recordings(self, row: int) -> list[Path]:
        """The two utterances of a trial."""
        clips = self.datasets.evaluation[self.datasets.reported].clips
        return [clips[i].path for i in self.datasets.trials.pairs[row]]

    def draw(self, folder: Path, prefix: str, predictions: dict[str, np.ndarray]) -> None:
        """Draw ``<prefix>det.png`` and ``<prefix>scores.png`` into ``folder``."""
        targets = predictions["targets"]
        kinds = {name: scores for name, scores in predictions.items() if name not in NO_SCORES}
        curves = {name.replace("scores", self.scoring): det_curve(s, targets) for name, s in kinds.items()}
        plot_det(folder / f"{prefix}det.png", curves)
        plot_scores(folder / f"{prefix}scores.png", kinds["scores"], targets)
