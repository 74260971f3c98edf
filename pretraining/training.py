"""What the recipes share: optimiser and schedule, the average of the weights, the state to go on from."""

import argparse
import copy
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ipet.checkpoint import load_training, save_training
from ipet.schedule import cosine, warm_up

HELD_OUT = 20  # every 20th clip of a part is evaluated on


def split(num_clips: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the clips to train on, and of those held out."""
    held_out = np.arange(num_clips) % HELD_OUT == 0
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    warmup = min(warmup, steps // 10 + 1)
    return peak * warm_up(step, warmup) * cosine(step, steps, warmup)


class Training:
    """AdamW with a warm-up and a cosine; an exponential average of the weights; a file to go on from.

    Goes on from ``out/training_state.pt`` where a run of the same settings was stopped.

    Args:
        model: to train.
        out: the folder of the run.
        about: what the run is made from, as JSON can say it; the hyper-parameters are
            ``steps``, ``lr``, ``weight_decay``, ``warmup`` and ``average``.

    ``model`` is trained; ``average``, what is kept in the end.

    Raises:
        ValueError: ``out`` holds the state of a run of other settings.
    """

    def __init__(self, model: nn.Module, out: Path, about: dict):
        self.model, self.out, self.about = model, out, about
        self.average = copy.deepcopy(model).requires_grad_(False)
        decayed = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": about["weight_decay"]},
            {"params": others, "weight_decay": 0},
        ]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
        self.state_file = out / "training_state.pt"
        self.first, self.seconds = 0, 0.0
        if self.state_file.is_file():
            self.restore()
        out.mkdir(parents=True, exist_ok=True)
        self.started = time.perf_counter() - self.seconds

    def restore(self) -> None:
        """Take up the state of a run that was stopped."""
        state = load_training(self.state_file)
        if state["about"] != self.about:
            raise ValueError(
                f"{self.state_file}: is of other settings, {state['about']}; expected {self.about}; "
                "delete it to start anew"
            )
        for name in ("model", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        torch.set_rng_state(state["rng"])
        self.first, self.seconds = state["step"], state["seconds"]

    def steps(self) -> tqdm:
        """The numbers of the steps that are left, under a progress bar."""
        steps = self.about["steps"]
        return tqdm(range(self.first, steps), initial=self.first, total=steps, unit="step")

    def step(self, number: int, loss: Tensor) -> None:
        """Change the weights by the gradient of a loss, and the average by the weights."""
        rate = learning_rate(number, self.about["steps"], self.about["lr"], self.about["warmup"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        # Young averages follow fast: the first weights are random.
        share = min(self.about["average"], (number + 1) / (number + 10))
        for kept, weight in zip(self.average.parameters(), self.model.parameters()):
            kept.lerp_(weight.detach(), 1 - share)

    def report(self, number: int, metrics: dict[str, float]) -> dict[str, float]:
        """Print and log what was measured after a step, and write the state to go on from."""
        self.seconds = time.perf_counter() - self.started
        row = {"step": number + 1, "seconds": round(self.seconds, 1)}
        row |= {name: round(value, 4) for name, value in metrics.items()}
        tqdm.write(json.dumps(row))
        with open(self.out / "metrics.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")
        states = {name: getattr(self, name).state_dict() for name in ("model", "average", "optimizer")}
        states |= {"rng": torch.get_rng_state(), "step": number + 1, "seconds": self.seconds}
        save_training(self.state_file, {"about": self.about, **states})
        return row


def recipe_parser(doc: str, steps: int) -> argparse.ArgumentParser:
    """The flags that the recipes share."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="what pretraining.corpus wrote")
    parser.add_argument("out", type=Path, help="folder of the weights")
    parser.add_argument("-steps", type=int, default=steps, help=f"default: {steps}")
    parser.add_argument("-seed", type=int, default=0)
    parser.add_argument("-size", default="small", choices=("small", "tiny"))
    parser.add_argument("-every", type=int, default=250, help="steps between evaluations and checkpoints")
    return parser
