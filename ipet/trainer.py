"""The epoch loop: precision, processes, schedule, the best and the last epoch, going on after a stop."""

import contextlib
import math
import random
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from ipet import distributed
from ipet.checkpoint import (
    check_shapes,
    load_latest_training,
    load_trainable_state,
    name_some,
    save_arrays,
    save_next_training,
    trainable_state,
    write_json,
)
from ipet.datasets import (
    Batch,
    Clips,
    Datasets,
    EpochBatches,
    EvaluationClips,
    RankShare,
    collate,
    evaluation_loader,
    train_loader,
)
from ipet.description import CONFIG, WEIGHTS
from ipet.interruption import Stopped, StopRequest, Timer
from ipet.list_digests import datasets_sha256
from ipet.logbook import Logbook, NoLogbook
from ipet.memory import peak_memory
from ipet.names import own_names
from ipet.recipe import Recipe, learning_rate
from ipet.results import check_extent_of, check_history, check_optimizer, check_state
from ipet.saved import add_to_description, remove_adapter, save_adapter
from ipet.segments import Segment
from ipet.showing import show
from ipet.tuning import count_parameters, prompts_computed, train_mode, trainable_parameters
from ipet.updates import Updates

CHOSEN = {
    "valid": "the best epoch on the validation list",
    "eval": "the best epoch on what is evaluated (the authors' protocol; optimistic)",
}
STEPS_PER_ROW = 10  # losses are fetched from the device together, this many steps at a time
MOST_SKIPPED = 20  # steps in a row without a finite gradient: that is no odd clip
MOST_NAMED = 8  # clips of such a step, in a message


def seed_everything(*seeds: int) -> None:
    """Seed Python, NumPy and torch; the same numbers give the same stream."""
    state = np.random.SeedSequence(seeds).generate_state(3)
    random.seed(int(state[0]))
    np.random.seed(state[1])  # transformers draws wav2vec 2.0's time masks from it
    torch.manual_seed(int(state[2]))


class Trainer:
    """Trains a model and keeps its best and its last epoch.

    A task's subclass says what ``losses`` are and what ``measure`` reports; ``metric`` names the
    value by which epochs are compared, ``higher_is_better`` which of two is.

    Args:
        model: a ``Classifier``.
        datasets: its lists.
        recipe: how to train.
        device: where.
        folder: what is written, goes here.
        describe: what ``adapter_config.json`` says beside the metrics.
        title: begins the progress bar.
    """

    metric: str
    higher_is_better = True

    def __init__(
        self,
        model: nn.Module,
        datasets: Datasets,
        recipe: Recipe,
        device: torch.device,
        folder: str | Path,
        describe: dict | None = None,
        title: str = "",
    ):
        self.model = model.to(device)
        self.datasets, self.recipe, self.device = datasets, recipe, device
        self.folder, self.describe, self.title = Path(folder), describe or {}, title
        self.updates = Updates(self.model, recipe, device, self.losses)
        if recipe.patience is not None and datasets.watched != "valid":
            raise ValueError(
                f"-patience {recipe.patience} ends a training by its validation list, and there is none; "
                "expected a set with a validation list, or no -patience"
            )
        self.batches = EpochBatches(
            len(datasets.train),
            recipe.batch_size,
            recipe.seed,
            distributed.rank(),
            distributed.world_size(),
            datasets.train.rarity() if recipe.balanced else None,
            self.lengths(datasets.train),
        )
        pin = device.type == "cuda"
        self.loader = train_loader(datasets.train, self.batches, recipe.num_workers, pin)
        self.epoch, self.step, self.seconds = 0, 0, 0.0
        self.epoch_losses: list[float] = []  # of the steps of an epoch that is not evaluated yet
        self.skipped, self.skipped_in_a_row = 0, 0  # steps without a finite gradient
        self.history: list[dict] = []
        self.last: dict[str, Tensor] = {}  # what was trained, behind the last whole epoch
        self.best: dict[str, Tensor] = {}
        self.known_lengths: dict[Clips, np.ndarray | None] = {}  # of evaluation lists
        self.stop, self.timer = StopRequest(), Timer(recipe.checkpoint_every)
        self.logbook: Logbook | NoLogbook = NoLogbook()  # the main process has one while it trains
        self.started = time.perf_counter()  # of what ``seconds`` does not count yet
        self.outputs: np.ndarray | None = None  # [N, S, E], of the last evaluation
        self.best_outputs: np.ndarray | None = None  # of the validation list, best epoch
        self.predictions: dict[str, np.ndarray] | None = None  # what is kept of them
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def lengths(self, clips: Clips) -> np.ndarray | None:
        """[N] samples of a list's clips, as the main process finds them, where batches are made by length."""
        if not getattr(self.model.front_end, "variable_length", False):
            return None
        return distributed.from_main(clips.lengths)

    # What a task says -----------------------------------------------------------------------

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """[B, C], [B, C] -> [B], one loss a clip."""
        raise NotImplementedError

    def output(self, batch: Batch) -> Tensor:
        """[B S, E] of a batch of evaluation clips: what ``measure`` gets; logits unless a task says else."""
        return self.model(batch.waveform, batch.num_samples)

    def measure(self, name: str, outputs: np.ndarray) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """[N, S, E] outputs of the evaluation list of that name -> what they are worth.

        Returns:
            Named values, ``self.metric`` among them; and the arrays ``scores`` and ``targets`` that
            are kept for plots.
        """
        raise NotImplementedError

    def intervals(self, predictions: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
        """Return the 95 % intervals of the metric, and of others, over the clips or speakers."""
        return {}

    def original_metrics(self) -> dict[str, float]:
        """Return the metrics that the original code logs after an epoch; called after ``evaluate``."""
        return {}

    def task_state(self) -> dict:
        """Return what a task adds to a checkpoint."""
        return {}

    def restore_task_state(self, path: Path, state: dict) -> None:
        """Restore what ``task_state`` returned."""

    def commit_epoch(self) -> None:
        """Take over what ``original_metrics`` left, when its epoch is counted."""

    def without_hearing(self, name: str) -> float | None:
        """The metric of the best constant answer on the evaluation list of that name, if it has one."""
        return None

    def calibrate(self, outputs: np.ndarray) -> dict:
        """[N, S, E] outputs of the validation list -> what the adapter says of how sure it is."""
        return {}

    def calibration_errors(self, outputs: np.ndarray, calibration: dict) -> dict:
        """[N, S, E] outputs of the test list -> how far its answers are from what they should be."""
        return {}

    def write_more(self, predictions: dict[str, np.ndarray]) -> None:
        """Write what a task keeps beside ``predictions.npz``; in the main process alone."""

    def recordings(self, row: int) -> list[Path | Segment]:
        """Return the recording or segment behind a row of the predictions."""
        evaluation = self.datasets.evaluation
        return [evaluation["test" if "test" in evaluation else "eval"].clips[row].source]

    # Training -------------------------------------------------------------------------------

    def fit(self, resume: bool = False) -> dict:
        """Train to the last epoch and return the result; ``resume`` goes on from the last saved step.

        Raises:
            Stopped: a signal asked for it; all is saved.
        """
        if resume:
            self.restore(self.folder / "training_state.pt")
        if distributed.is_main():
            sizes = dict(zip(("trainable_parameters", "all_parameters"), count_parameters(self.model)))
            parameters = {"seed": self.recipe.seed, **sizes}
            recipe = self.recipe
            self.logbook = Logbook(
                self.folder, recipe.loggers, self.step, self.epoch, parameters, recipe.log_every
            )
        self.started = time.perf_counter()
        self.timer.saved()
        try:
            with self.stop:
                while self.epoch < self.recipe.epochs and not self.is_stale():
                    self.run_epoch()
            if self.stop.number is not None:
                raise Stopped(self.stop.number)
            result = self.finish()
        except BaseException:
            with contextlib.suppress(OSError):  # what ended the training is what is told
                self.logbook.close()
            raise
        self.logbook.close()
        return result

    def is_stale(self) -> bool:
        """Whether as many epochs as the recipe's patience have been no better than an earlier one."""
        patience = self.recipe.patience
        if patience is None or not self.history:
            return False
        return self.history[-1]["epoch"] - self.best_epoch() >= patience

    def run_epoch(self) -> None:
        """Train one epoch, or the rest of one, evaluate it if it is its turn, and save what it left."""
        train_loss = self.train_epoch()
        ended = self.epoch + 1
        evaluated = ended % self.recipe.eval_every == 0 or ended == self.recipe.epochs
        metrics = self.evaluate_epoch() if evaluated else {}
        self.epoch, self.epoch_losses = ended, []
        self.commit_epoch()
        self.count_seconds()
        row = {"train_loss": train_loss, "lr": self.learning_rate(self.step - 1), **metrics}
        if evaluated:
            self.history.append({"epoch": self.epoch, "seconds": self.seconds, **row})
        self.logbook.log("epoch", self.epoch, self.step, **row)
        if distributed.is_main():
            shown = [name for name in row if name != "lr" and not name.startswith("original_")]
            text = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name in shown)
            tqdm.write(f"{self.title}epoch {self.epoch}/{self.recipe.epochs}  {text}  {self.seconds:.0f} s")
        self.save()
        distributed.barrier()

    def train_epoch(self) -> float:
        """What is left of a pass over the training list; returns the mean loss over its clips."""
        epoch, pending = self.epoch + 1, []
        train_mode(self.model, self.recipe.frozen_dropout)
        self.batches.epoch, self.batches.first = epoch, len(self.epoch_losses)
        with self.progress_bar() as bar:
            for i, batch in enumerate(self.batches_as_read(pending), self.batches.first):
                # Every step has its own stream, so that going on behind one needs no random state.
                seed_everything(self.recipe.seed, epoch, i, distributed.rank())
                pending.append(self.train_step(batch.to(self.device), self.batches.weights(i)))
                self.step += 1
                bar.update(min(self.recipe.batch_size, bar.total - bar.n))
                whole = len(pending) == STEPS_PER_ROW or i + 1 == len(self.loader)
                if whole or self.timer.falls_on(self.step):
                    measured, stop, due = self.fetch(pending)
                    self.log_steps(measured)
                    lr = self.learning_rate(self.step - 1)
                    bar.set_postfix(loss=f"{measured[-1][0]:.4f}", lr=f"{lr:.2g}", refresh=False)
                    pending.clear()
                    if stop or due:
                        self.save_state()
                    if stop:
                        distributed.barrier()  # a process that ends earlier would end the one that writes
                        raise Stopped(self.stop.number or signal.SIGTERM)
        sizes = np.array([len(batch) for batch in self.batches.global_batches()])
        taken = np.isfinite(self.epoch_losses)
        if not taken.any():
            raise FloatingPointError(
                f"none of the {len(taken)} steps of epoch {epoch} had a finite loss and gradient; a lower "
                "-lr, -precision fp32 or a look at the clips, which metrics.jsonl lists, may help"
            )
        return float(np.average(np.array(self.epoch_losses)[taken], weights=sizes[taken]))

    def batches_as_read(self, pending: list[Tensor]) -> Iterator[Batch]:
        """Yield the loader's batches. A signal is heeded while one process waits for its workers.

        A worker may be stuck on a disk for ever. Of several processes none may leave the others alone; their
        launcher kills those that do not end.

        Args:
            pending: What the steps since the last row returned; it is logged and saved before the end.
        """
        alone = distributed.world_size() == 1 and self.recipe.num_workers > 0
        batches = iter(self.loader)
        while True:
            try:
                with self.stop.at_once() if alone else contextlib.nullcontext():
                    batch = next(batches, None)
            except Stopped:
                if pending:
                    self.log_steps(self.fetch(pending)[0])
                self.save_state()
                raise
            if batch is None:
                return
            yield batch

    def evaluate_epoch(self) -> dict[str, float]:
        """The metrics of the watched list; a signal meanwhile leaves the trained steps saved."""
        try:
            with self.stop.at_once():
                return self.evaluate(self.datasets.watched) | self.original_metrics()
        except (Exception, Stopped):
            if self.stop.number is None:
                raise
            self.save_state()
            raise Stopped(self.stop.number) from None

    def count_seconds(self) -> None:
        """Add to the training's time what has passed since the last call."""
        now = time.perf_counter()
        self.seconds, self.started = self.seconds + now - self.started, now

    def learning_rate(self, step: int) -> float:
        """Of a step, counted from 0 over all epochs."""
        return learning_rate(self.recipe, step, len(self.loader))

    def progress_bar(self) -> tqdm:
        """Clips done, clips/s, time left, loss and learning rate; on the main process's terminal."""
        return tqdm(
            total=len(self.datasets.train),
            unit="clip",
            desc=f"{self.title}epoch {self.epoch + 1}/{self.recipe.epochs}",
            initial=min(len(self.epoch_losses) * self.recipe.batch_size, len(self.datasets.train)),
            leave=False,
            disable=None if distributed.is_main() else True,  # None: off where no terminal watches
        )

    def train_step(self, batch: Batch, weights: Tensor) -> Tensor:
        """One update, see ``Updates``: [2], this rank's share of the loss and the gradient's norm."""
        return self.updates(self.datasets.train, batch, weights, self.learning_rate(self.step))

    def fetch(self, measured: list[Tensor]) -> tuple[list[tuple[float, float]], bool, bool]:
        """What the processes agree on behind some steps.

        Args:
            measured: of each step, what ``train_step`` returned.

        Returns:
            The steps' global losses and gradients' norms: weights sum to the number of ranks
            (``EpochBatches.weights``), and all have the same gradient; whether one of the processes was
            asked to end; whether a checkpoint is due.
        """
        asked = self.stop.number is not None
        due = distributed.is_main() and self.timer.is_due(self.step)
        means = torch.stack(measured).flatten() / distributed.world_size()
        flags = torch.tensor([asked, due], dtype=means.dtype, device=means.device)
        *values, asked, due = distributed.sum_over_ranks(torch.cat([means, flags])).tolist()
        return list(zip(values[::2], values[1::2])), asked > 0, due > 0

    def log_steps(self, measured: list[tuple[float, float]]) -> None:
        """Log the last steps: loss, learning rate and gradient's norm, or that a step changed nothing.

        Raises:
            FloatingPointError: a loss or gradient is not finite, and is not to be skipped, or too many
                in a row are not.
        """
        for step, (loss, norm) in enumerate(measured, self.step - len(measured) + 1):
            position, lr = len(self.epoch_losses), self.learning_rate(step - 1)
            finite = math.isfinite(loss) and math.isfinite(norm)
            # An infinite norm in fp16 is the scaler's search for its scale, which does not take many steps.
            search = self.recipe.precision == "fp16" and math.isfinite(loss)
            self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1
            hopeless = self.skipped_in_a_row >= MOST_SKIPPED
            self.epoch_losses.append(loss if finite or search else math.nan)
            if finite or (search and not hopeless):
                values = {"grad_norm": norm} if finite else {}
                self.logbook.log("step", self.epoch + 1, step, loss=loss, lr=lr, **values)
                continue
            clips = [self.datasets.train.clips[i] for i in self.batches.global_batch(position)]
            self.skipped += 1
            said = (
                f"step {step} (epoch {self.epoch + 1}): the loss is {loss:g}, the gradient's norm {norm:g}; "
                f"expected finite ones; its clips: {name_some([clip.where for clip in clips], MOST_NAMED)}"
            )
            if self.recipe.on_nonfinite == "stop" or hopeless:
                in_a_row = f", as were the {self.skipped_in_a_row - 1} before" * (self.skipped_in_a_row > 1)
                raise FloatingPointError(
                    f"{said}; the update was left out{in_a_row}; a lower -lr, -precision fp32 or a look at "
                    "these clips may help, or -on_nonfinite skip"
                )
            self.logbook.log(
                "step", self.epoch + 1, step, lr=lr, skipped=[str(clip.source) for clip in clips]
            )
            if distributed.is_main():
                tqdm.write(f"note: {said}; skipped")

    # Evaluation -----------------------------------------------------------------------------

    @torch.inference_mode()
    def predict(self, clips: EvaluationClips) -> np.ndarray:
        """[N, S, E] outputs of a list, each clip once, in every process; S segments a clip.

        Raises:
            FloatingPointError: an output is NaN or infinite.
        """
        self.model.eval()
        if clips not in self.known_lengths:
            self.known_lengths[clips] = self.lengths(clips)
        lengths = self.known_lengths[clips]
        share = RankShare(len(clips), distributed.rank(), distributed.world_size(), lengths)
        recipe, pin = self.recipe, self.device.type == "cuda"
        num_segments = self.model.front_end.num_segments
        batch_size = max(1, recipe.eval_batch_size // num_segments)
        indices, outputs = [torch.empty(0, dtype=torch.long)], [torch.empty(0)]
        with self.updates.autocast(), prompts_computed(self.model):
            for batch in evaluation_loader(clips, share, batch_size, recipe.num_workers, pin):
                output = self.output(self.updates.with_features(clips, batch.to(self.device), num_segments))
                indices.append(batch.index)
                outputs.append(output.float().cpu().unflatten(0, (len(batch.index), num_segments)))
        found = torch.cat(outputs[1:]) if len(outputs) > 1 else outputs[0]
        gathered = distributed.gather_by_index(torch.cat(indices), found, len(clips))
        broken = np.flatnonzero(~np.isfinite(gathered).all(axis=(1, 2)))
        if len(broken):
            raise FloatingPointError(
                f"behind step {self.step} the outputs of {len(broken)} of {len(clips)} evaluated clips are "
                f"not finite, the first is {clips.clips[broken[0]].where}; a lower -lr may help"
            )
        return gathered

    def evaluate(self, name: str) -> dict[str, float]:
        """The metrics of the evaluation list of that name."""
        self.outputs = self.predict(self.datasets.evaluation[name])
        values, self.predictions = self.measure(name, self.outputs)
        return {f"{name}_{key}": value for key, value in values.items()}

    # Keeping --------------------------------------------------------------------------------

    @property
    def watched_metric(self) -> str:
        """The value by which epochs are compared, as ``history`` names it."""
        return f"{self.datasets.watched}_{self.metric}"

    def best_epoch(self) -> int:
        """The first evaluated epoch with the best watched value."""
        best = max if self.higher_is_better else min
        return best(self.history, key=lambda row: row[self.watched_metric])["epoch"]

    def is_evaluated(self) -> bool:
        """Whether the last whole epoch was evaluated."""
        return bool(self.history) and self.history[-1]["epoch"] == self.epoch

    def save(self) -> None:
        """Keep the epoch that has just ended: the training's state, and from it the last and best adapter.

        Of an epoch that was not evaluated the state alone.
        """
        self.last = trainable_state(self.model)
        if self.is_evaluated() and self.best_epoch() == self.epoch:
            self.best = self.last
            self.best_outputs = self.outputs if self.datasets.watched == "valid" else None
        self.save_state()
        if distributed.is_main() and self.is_evaluated():
            self.save_adapters()

    def save_state(self) -> None:
        """Write what is needed to go on behind the last step, in one file, in the main process.

        Raises:
            OSError: it cannot be written, or the folder is gone; what was written before is as it was.
        """
        self.count_seconds()
        if distributed.is_main():
            if not self.folder.is_dir():  # nor its lock, metrics and arguments
                raise FileNotFoundError(
                    f"{self.folder}: this folder of the run is gone; nothing is saved there"
                )
            training = {
                "epoch": self.epoch,
                "step": self.step,
                "epoch_losses": self.epoch_losses,
                "skipped": self.skipped,
                "skipped_in_a_row": self.skipped_in_a_row,
                "seconds": self.seconds,
                "history": self.history,
                "now": trainable_state(self.model) if self.epoch_losses else self.last,
                "last": self.last,
                "best": self.best,
                "backbone": getattr(self.model.backbone, "sha256", None),
                "optimizer": self.updates.optimizer.state_dict(),
                "scaler": self.updates.scaler.state_dict(),
                "task": self.task_state(),
            }
            if self.batches.lengths is not None:  # a cache's may be others than a header's, of an MP3
                training["lengths"] = torch.from_numpy(self.batches.lengths)
            self.logbook.sync()
            save_next_training(self.folder / "training_state.pt", training)
        self.timer.saved()

    def save_adapters(self) -> None:
        """Write ``last/``, the last epoch that was evaluated, and, where it is new, ``best/``."""
        rows = {row["epoch"]: row for row in self.history}
        best = self.best_epoch()
        description = {**self.describe, "metrics": self.history[-1], "chosen": "the last epoch"}
        if self.is_evaluated():
            save_adapter(self.folder / "last", self.last, description)
        if best == self.epoch or not (self.folder / "best" / CONFIG).is_file():
            description |= {"metrics": rows[best], "chosen": CHOSEN[self.datasets.watched]}
            save_adapter(self.folder / "best", self.best, description)

    def restore(self, path: Path) -> None:
        """Take up what ``save_state`` wrote last, if it did.

        Raises:
            ValueError: the file and the one before it are damaged, or the frozen backbone is not the one
                it was.
        """
        training, note = distributed.from_main(lambda: load_latest_training(path))
        if note and distributed.is_main():
            print(f"note: {note}", flush=True)
        if training is None:
            return
        check_state(path, training)
        if training["history"]:
            check_history(path, training["history"], self.watched_metric)
        own = getattr(self.model.backbone, "sha256", None)
        if training["backbone"] != own:
            raise ValueError(
                f"{path}: began with the frozen backbone {str(training['backbone'])[:12]}..., this one is "
                f"{str(own)[:12]}... (SHA-256); expected the same -pretrained weights"
            )
        for name in ("now", "last", "best"):  # before schema 2 fine-tuned tensors had the libraries' names
            training[name] = own_names(training[name], str(path))
            if training[name]:  # nothing is last before the first whole epoch, nor best
                check_shapes(trainable_parameters(self.model), training[name], f"{path}, {name!r}")
        check_extent_of(path, training, len(self.batches), self.recipe.epochs, self.batches.num_clips)
        load_trainable_state(self.model, training["now"], str(path))
        check_optimizer(path, self.updates.optimizer, training["optimizer"])
        self.updates.optimizer.load_state_dict(training["optimizer"])
        try:
            self.updates.scaler.load_state_dict(training["scaler"])
        except (RuntimeError, KeyError) as error:  # of fp16 alone
            raise ValueError(f"{path}: damaged: its 'scaler' ({error}); expected the state of one") from None
        for name in ("epoch", "step", "epoch_losses", "skipped", "seconds", "history", "last", "best"):
            setattr(self, name, training[name])
        self.restore_task_state(path, training.get("task", {}))  # none: of an earlier version
        lengths = training.get("lengths")  # none: it began without batches of like length
        self.batches.lengths = None if lengths is None else lengths.numpy()
        self.skipped_in_a_row = training.get("skipped_in_a_row", 0)  # not in an earlier version's
        if distributed.is_main() and self.history:
            remove_adapter(self.folder / "best")  # may be of an epoch that was cut off
            self.save_adapters()

    def finish(self) -> dict:
        """Evaluate what is evaluated once, at the epoch chosen on validation data; write the result."""
        best = self.best_epoch()
        evaluated = "test" if "test" in self.datasets.evaluation else "eval"
        result = {
            "evaluated_sha256": datasets_sha256(self.datasets)[evaluated],  # of predictions.npz
            "metric": self.metric,
            "higher_is_better": self.higher_is_better,
            "watched": self.datasets.watched,
            "best_epoch": best,
        }
        if "test" in self.datasets.evaluation:
            last = trainable_state(self.model)
            result["test_at_last_epoch"] = result["test_at_best_epoch"] = self.evaluate("test")
            load_trainable_state(self.model, self.best, "the best epoch")
            outputs = self.best_outputs
            if outputs is None:  # of an epoch before the run went on
                outputs = self.predict(self.datasets.evaluation["valid"])
            calibration = self.calibrate(outputs)
            if best != self.epoch:
                result["test_at_best_epoch"] = self.evaluate("test")
            result["calibration"] = calibration | self.calibration_errors(self.outputs, calibration)
            if distributed.is_main():
                add_to_description(self.folder / "best", calibration=calibration)
            load_trainable_state(self.model, last, "the last epoch")
        elif self.predictions is None:  # going on behind the last epoch
            self.evaluate("eval")
        trainable, total = count_parameters(self.model)
        result |= {
            "without_hearing": self.without_hearing("test" if "test" in self.datasets.evaluation else "eval"),
            "history": self.history,
            "skipped_steps": self.skipped,
            "tuning": self.model.backbone.tuning,
            "trainable_parameters": trainable,
            "all_parameters": total,
            "seconds": self.seconds,
            "peak_memory_bytes": peak_memory(self.device),
        }
        if distributed.is_main():
            protocol = "test_at_best_epoch" if "test" in self.datasets.evaluation else "last"
            intervals = self.intervals(self.predictions)
            result |= {
                "interval": {protocol: intervals.pop(self.metric, None)},
                "detail_intervals": {protocol: intervals},
                "macs": self.count_macs(),
                "checkpoint_bytes": (self.folder / "best" / WEIGHTS).stat().st_size,
            }
            save_arrays(self.folder / "predictions.npz", self.predictions)
            self.write_more(self.predictions)
            write_json(self.folder / "result.json", result)  # last: it says that the cell is finished
            names = self.datasets.train.labels.names
            self.logbook.show(self.step, partial(show, result, self.predictions, names, self.recordings))
        return result

    @torch.no_grad()  # the counter's hooks do not work in inference mode
    def count_macs(self) -> int:
        """Multiply-accumulates of evaluating one clip: the first of the evaluation list."""
        self.model.eval()
        clips = self.datasets.evaluation[self.datasets.watched]
        batch = collate([clips[0]]).to(self.device)
        with self.updates.autocast(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            self.output(batch)
        return counter.get_total_flops() // 2
