"""What the recipes share: optimisers and schedule, the average of the weights, the state to go on from."""

import argparse
import copy
import json
import re
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ipet.checkpoint import load_training, save_training
from ipet.schedule import cosine, warm_up

HELD_OUT = 20  # every 20th clip of a part is evaluated on
LAYER = re.compile(r"\.(blocks|layers)\.\d+\.")  # in the names of a transformer layer's parameters
STATES = ("model", "average", "adamw", "muon")  # of a training, to go on from
MUON = 2.0  # its learning rate over AdamW's


def split(num_clips: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the clips to train on, and of those held out."""
    held_out = np.arange(num_clips) % HELD_OUT == 0
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    warmup = min(warmup, steps // 10 + 1)
    return peak * warm_up(step, warmup) * cosine(step, steps, warmup)


class Training:
    """Muon and AdamW with a warm-up and a cosine; the weights' exponential average; a file to go on from.

    Muon has the matrices of the transformer layers, AdamW the rest. Goes on from
    ``out/training_state.pt`` where a run of the same settings was stopped.

    Args:
        model: to train.
        out: the folder of the run.
        about: what the run is made from, as JSON can say it; the hyper-parameters are
            ``steps``, ``lr`` (of AdamW), ``weight_decay``, ``warmup`` and ``average``.

    ``model`` is trained; ``average``, what is kept in the end.

    Raises:
        ValueError: ``out`` holds the state of a run of other settings, or of other optimisers.

    Source: Muon (Jordan et al. 2024), its rates in AdamW's scale (Liu et al. 2025).
    """

    def __init__(self, model: nn.Module, out: Path, about: dict):
        self.model, self.out, self.about = model, out, about
        self.average = copy.deepcopy(model).requires_grad_(False)
        decay = about["weight_decay"]
        hidden = {name: p for name, p in model.named_parameters() if p.ndim == 2 and LAYER.search(name)}
        others = [p for name, p in model.named_parameters() if name not in hidden]
        groups = [
            {"params": [p for p in others if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0},
        ]
        self.adamw = torch.optim.AdamW(groups, betas=(0.9, 0.98))
        self.muon = torch.optim.Muon(hidden.values(), weight_decay=decay, adjust_lr_fn="match_rms_adamw")
        self.state_file = out / "training_state.pt"
        self.first, self.seconds = 0, 0.0
        if self.state_file.is_file():
            self.restore()
        out.mkdir(parents=True, exist_ok=True)
        self.started = time.perf_counter() - self.seconds

    def restore(self) -> None:
        """Take up the state of a run that was stopped."""
        state = load_training(self.state_file)
        missing = [name for name in STATES if name not in state]
        if missing:
            raise ValueError(
                f"{self.state_file}: holds no state of {', '.join(missing)}; expected {', '.join(STATES)}; "
                "an earlier version of this recipe wrote it: delete it to start anew"
            )
        if state["about"] != self.about:
            raise ValueError(
                f"{self.state_file}: is of other settings, {state['about']}; expected {self.about}; "
                "delete it to start anew"
            )
        for name in STATES:
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
        self.model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, times in ((self.adamw, 1), (self.muon, MUON)):
            for group in optimizer.param_groups:
                group["lr"] = times * rate
            optimizer.step()
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
        states = {name: getattr(self, name).state_dict() for name in STATES}
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
