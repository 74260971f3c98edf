"""How a model is trained: sizes, rates, precision, and the optimiser they make."""

from dataclasses import dataclass

import torch
from torch import nn

from ipet.schedule import SCHEDULES, cosine, step_decay, warm_up
from ipet.tuning import trainable_parameters

BETAS = (0.95, 0.999)  # AST's training recipe


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Args:
        epochs: how many.
        batch_size: of a global batch, over all processes.
        lr: learning rate of the first epoch.
        head_lr: that of the head; None: ``lr``.
        prompt_lr: that of prompts and prefixes; None: ``lr``.
        gamma: the learning rate's factor after each epoch from ``decay_start`` to before ``decay_end``.
        schedule: ``step``, that of ``gamma``; or ``cosine``, down to 0 at the last step.
        warmup: epochs, also parts of one, in which the learning rate rises to ``lr``.
        weight_decay: L2, in Adam.
        amsgrad: Use the AMSGrad variant of Adam.
        precision: ``fp32``, ``bf16`` or ``fp16`` (autocast).
        frozen_dropout: see ``tuning.train_mode``.
        seed: of everything random.
        eval_batch_size: clips a process evaluates at once.
        micro_batch_size: clips a process computes at once in training, of those that its share of a
            batch holds; None: all. The gradients are the same.
        checkpoint_activations: see ``memory.checkpoint_activations``.
        keep_features: bytes for what is kept in ``KeptFeatures``; 0: none.
        checkpoint_every: see ``interruption.Timer``.
        on_nonfinite: what a step whose loss or gradient is not finite does: ``stop``, or ``skip``.
        balanced: clips are drawn, with replacement, by how rare their classes are; see ``TrainClips.rarity``.
        eval_every: epochs from one evaluation to the next; the last epoch is always evaluated.
        patience: epochs that may be no better on the validation list before the training ends; None: all.
        test_every_epoch: Whether the test list is evaluated after each epoch, too, for the metrics of the
            original code; nothing is chosen on it.
        num_workers: processes that read clips, for each training process.
        loggers, log_every: see ``Logbook``.

    Raises:
        ValueError: an unknown schedule, or a warm-up that does not end before the training.
    """

    epochs: int
    batch_size: int
    lr: float
    gamma: float = 0.85
    decay_start: int = 5
    decay_end: int = 26
    weight_decay: float = 5e-7
    precision: str = "fp32"
    frozen_dropout: bool = True
    seed: int = 1234
    eval_batch_size: int = 32
    num_workers: int = 0
    loggers: tuple[str, ...] = ("tensorboard",)
    head_lr: float | None = None
    prompt_lr: float | None = None
    schedule: str = "step"
    warmup: float = 0.0
    micro_batch_size: int | None = None
    checkpoint_activations: bool = False
    keep_features: int = 0
    checkpoint_every: str = "10m"
    on_nonfinite: str = "stop"
    balanced: bool = False
    eval_every: int = 1
    patience: int | None = None
    amsgrad: bool = False
    log_every: int = 1
    test_every_epoch: bool = False

    def __post_init__(self):
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule is {self.schedule!r}; accepted: {', '.join(SCHEDULES)}")
        if not 0 <= self.warmup < self.epochs:
            raise ValueError(
                f"the warm-up takes {self.warmup:g} of {self.epochs} epochs; it must end before the training"
            )


def learning_rate(recipe: Recipe, step: int, epoch_steps: int) -> float:
    """Of a step, counted from 0 over all epochs of ``epoch_steps`` steps."""
    warmup = round(recipe.warmup * epoch_steps)
    if recipe.schedule == "cosine":
        factor = cosine(step, recipe.epochs * epoch_steps, warmup)
    else:
        factor = step_decay(step // epoch_steps + 1, recipe.gamma, recipe.decay_start, recipe.decay_end)
    return recipe.lr * factor * warm_up(step, warmup)


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict]:
    """What is trained, for the optimiser; head and prompts apart where they have learning rates of their own.

    A new head has all to learn, a pretrained backbone little.
    """
    own = {"head.": recipe.head_lr, "prompts.": recipe.prompt_lr, "prefixes.": recipe.prompt_lr}
    groups: dict[float | None, list[nn.Parameter]] = {None: []}
    for name, parameter in trainable_parameters(model).items():
        lr = next((lr for beginning, lr in own.items() if name.startswith(beginning)), None)
        groups.setdefault(lr, []).append(parameter)
    rates = [{"params": params, **({} if lr is None else {"lr": lr})} for lr, params in groups.items()]
    return [group for group in rates if group["params"]]  # -method linear trains the head alone


def new_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Adam:
    """Adam over what is trained."""
    return torch.optim.Adam(
        parameter_groups(model, recipe),
        lr=recipe.lr,
        betas=BETAS,
        weight_decay=recipe.weight_decay,
        amsgrad=recipe.amsgrad,
        fused=True,
    )
