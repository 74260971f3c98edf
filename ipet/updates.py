"""One update of what is trained: forward and backward pass in parts, precision, processes, optimiser."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ipet import distributed
from ipet.attention import choose_attention
from ipet.datasets import Batch, Clips
from ipet.dropout import replace_dropout
from ipet.kept import KeptFeatures
from ipet.memory import checkpoint_activations
from ipet.precision import PRECISIONS, autocast, hold_frozen
from ipet.recipe import Recipe, new_optimizer


class Updates:
    """Changes a model, step by step, by the gradient of a loss.

    Args:
        model: a ``Classifier`` on ``device``; it is made ready for training, in place.
        recipe: how to train.
        device: where.
        losses: ([B, C] logits, [B, C] targets) -> [B].
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        device: torch.device,
        losses: Callable[[Tensor, Tensor], Tensor],
    ):
        self.model, self.recipe, self.device, self.losses = model, recipe, device, losses
        choose_attention(model, device.type, PRECISIONS[recipe.precision])
        hold_frozen(model, recipe.precision)
        replace_dropout(model)
        if recipe.checkpoint_activations:
            checkpoint_activations(model)
        self.kept = KeptFeatures(model, recipe.keep_features) if recipe.keep_features else None
        self.optimizer = new_optimizer(model, recipe)
        # Of the step's learning rate. Not kept in the groups: those come back from a file with -resume.
        self.lr_shares = [group["lr"] / recipe.lr for group in self.optimizer.param_groups]
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        drops_layers = getattr(model.backbone, "drops_layers", False) and (
            recipe.frozen_dropout or not model.backbone.frozen
        )
        self.parallel = distributed.parallelise(model, device, drops_layers)

    def autocast(self) -> torch.autocast:
        """Mixed precision, where the recipe asks for it."""
        return autocast(self.device.type, self.recipe.precision)

    def with_features(self, clips: Clips, batch: Batch, num_segments: int = 1) -> Batch:
        """A batch of a list as it is, or with what is kept of its clips in the waveforms' place."""
        if self.kept is None:
            return batch
        with self.autocast():
            features = self.kept(
                clips, batch.waveform, batch.num_samples, batch.index, batch.fixed, num_segments > 1
            )
        return batch._replace(waveform=features)

    def __call__(self, clips: Clips, batch: Batch, weights: Tensor, lr: float) -> Tensor:
        """Take one step; a gradient that is not finite changes nothing.

        Args:
            clips: the list that the batch is of.
            batch: this process's share of a global batch.
            weights: [B] of its clips in the loss.
            lr: learning rate of the step.

        Returns:
            [2], this rank's share of the loss, and the gradient's norm, on the device.
        """
        for group, share in zip(self.optimizer.param_groups, self.lr_shares):
            group["lr"] = lr * share
        self.optimizer.zero_grad(set_to_none=True)
        size = self.recipe.micro_batch_size or len(weights)
        parts = list(zip(batch.split(size), weights.to(self.device).split(size)))
        losses = []
        for i, (part, shares) in enumerate(parts):
            part = self.with_features(clips, part)
            with distributed.hold_gradients(self.parallel, hold=i + 1 < len(parts)):
                with self.autocast():
                    logits = self.parallel(part.waveform, part.num_samples, part.seed)
                    loss = (self.losses(logits.float(), part.target) * shares).sum()
                self.scaler.scale(loss).backward()
            losses.append(loss.detach())
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for group in self.optimizer.param_groups for p in group["params"]]
        norm = nn.utils.get_total_norm([gradient for gradient in gradients if gradient is not None])
        if not self.scaler.is_enabled():  # it looks for infinities itself, and the optimiser heeds it alike
            self.optimizer.grad_scale, self.optimizer.found_inf = None, (~norm.isfinite()).float()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return torch.stack([torch.stack(losses).sum(), norm])
