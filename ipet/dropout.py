"""Dropout whose random numbers cost little on a CPU.

PyTorch draws them there one by one from a Mersenne Twister, which took a fifth of a training step of a small
wav2vec 2.0. Here SFC64 draws 64 bits at a time, of which every element takes 16.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEPS = 2**16  # an element is dropped with the nearest multiple of one in so many


def dropout(x: Tensor, p: float) -> Tensor:
    """Elements are zero with probability p, and 1 / (1 - p) times what they were otherwise.

    A CPU's mask is seeded from torch's generator, so that ``torch.manual_seed`` repeats it.
    """
    if p == 0:
        return x
    if x.device.type != "cpu" or p == 1:
        return F.dropout(x, p)
    bits = np.random.SFC64(int(torch.randint(2**62, ()))).random_raw(-(-x.numel() // 4))
    kept = torch.from_numpy(bits.view(np.uint16)[: x.numel()] >= round(STEPS * p)).view(x.shape)
    return (x * kept.to(x.dtype)).mul_(1 / (1 - p))


class Dropout(nn.Dropout):
    """``nn.Dropout`` by ``dropout``."""

    def forward(self, x: Tensor) -> Tensor:
        """[...] -> [...]."""
        return dropout(x, self.p) if self.training else x


def replace_dropout(model: nn.Module) -> None:
    """Put ``Dropout`` in the place of every ``nn.Dropout``, in place."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))
