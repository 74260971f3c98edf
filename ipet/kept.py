"""What a frozen, deterministic beginning of the network makes of a clip: computed once, then remembered."""

from functools import partial

import torch
from torch import Tensor, nn


class KeptFeatures:
    """The outputs of wav2vec 2.0's frozen convolutions, for the clips that sound the same in every epoch.

    The convolutions have neither dropout nor anything that is trained; of a clip that is neither cropped at
    random nor changed otherwise they make the same, epoch after epoch.

    Args:
        model: a ``Classifier``; its backbone's ``convolutions`` let what is kept pass from now on.
        num_bytes: of this process's memory; where they are used up, further clips are computed each time.
    """

    def __init__(self, model: nn.Module, num_bytes: int):
        self.front_end, self.convolutions = model.front_end, model.backbone.convolutions
        self.convolve = self.convolutions.forward
        self.convolutions.forward = partial(pass_features, self.convolve)
        self.left = num_bytes
        self.kept: dict[object, dict[int, Tensor]] = {}  # of a list: its clips' [S, C, T]

    @torch.no_grad()
    def __call__(
        self,
        clips: object,
        waveform: Tensor,
        num_samples: Tensor,
        index: Tensor,
        fixed: Tensor,
        several: bool,
    ) -> Tensor:
        """The features of a batch of clips, those that are known from memory.

        Args:
            clips: the list that they are of.
            waveform, num_samples: [B, N], [B].
            index: [B] positions in the list.
            fixed: [B] True: the clip sounds the same each time.
            several: the front end takes its S segments of a clip; otherwise S is 1.

        Returns:
            [B S, C, T], which the model takes in place of the waveform.
        """
        known = self.kept.setdefault(clips, {})
        index, fixed = index.tolist(), fixed.tolist()
        found = [known.get(i) if same else None for i, same in zip(index, fixed)]
        missing = [row for row, features in enumerate(found) if features is None]
        if missing:
            heard = waveform[missing]
            if several:
                heard = self.front_end(heard, num_samples[missing])
            computed = self.convolve(heard).unflatten(0, (len(missing), -1))
            for row, features in zip(missing, computed):
                found[row] = features
                if fixed[row] and features.nbytes <= self.left:
                    known[index[row]] = features.to("cpu", copy=True)  # not a view of its whole batch
                    self.left -= features.nbytes
        return torch.cat([features.to(waveform.device, non_blocking=True) for features in found])


def pass_features(convolve, x: Tensor) -> Tensor:
    """[B, N] samples -> [B, C, T]; what is [B, C, T] already stays."""
    return x if x.ndim == 3 else convolve(x)
