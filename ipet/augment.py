"""Training-time augmentation. Every draw comes from the clip's own seed: the same clip in the same
epoch is augmented alike whatever the number of processes, workers, or restarts."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

MIXUP_BETA = (10.0, 10.0)  # the shares of two mixed clips, as in AST


def mix(waveform: Tensor, other: Tensor, weight: float) -> Tensor:
    """Mix two clips and subtract the mean of the result.

    Args:
        waveform: [T] samples at 16 kHz, already cut to the length that the backbone sees.
        other: [U] samples, cut likewise; what is still longer or shorter is cut or padded with zeros to T.
        weight: Share of ``waveform``, from 0 to 1.

    Returns:
        [T] samples.

    Raises:
        ValueError: ``weight`` lies outside [0, 1].

    Source: mixup (Zhang et al. 2018), on waveforms as in AST (Gong et al. 2021).
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"mixup's weight is {weight}; it must lie in [0, 1]")
    other = F.pad(other, (0, max(0, len(waveform) - len(other))))[: len(waveform)]
    mixed = weight * waveform + (1 - weight) * other
    return mixed - mixed.mean()


class SpecAugment(nn.Module):
    """One band of mels and one stretch of frames set to zero in every clip.

    Args:
        max_mels, max_frames: the widths are uniform below these; 0 switches a mask off. Starts are
            rounded down. In a clip of n of T frames the stretch is n / T as wide.

    Source: SpecAugment (Park et al. 2019), widths and starts as in torchaudio's maskings.
    """

    def __init__(self, max_mels: int, max_frames: int):
        super().__init__()
        self.max_mels, self.max_frames = max_mels, max_frames

    def forward(self, fbank: Tensor, seeds: Tensor, own: Tensor | None = None) -> Tensor:
        """[B, T, M], [B], [B] frames of the clips (None: all T) -> [B, T, M]."""
        draws = np.stack([np.random.default_rng([1, s]).random(4) for s in seeds.tolist()])  # [B, 4]
        draws = torch.from_numpy(draws)  # float64, which Apple silicon lacks: masks are made on the CPU
        own = own if own is None else torch.tensor(own.tolist())
        _, num_frames, num_mels = fbank.shape
        frames = stretch(draws[:, 0], draws[:, 1], self.max_frames, num_frames, own)  # [B, T]
        mels = stretch(draws[:, 2], draws[:, 3], self.max_mels, num_mels)  # [B, M]
        frames, mels = frames.to(fbank.device), mels.to(fbank.device)
        return fbank.masked_fill(frames[:, :, None] | mels[:, None, :], 0.0)


def stretch(width: Tensor, start: Tensor, max_width: int, length: int, own: Tensor | None = None) -> Tensor:
    """Masks of one stretch each, from [B] draws in [0, 1) -> [B, length], True inside.

    With [B] lengths of their own, none above ``length``, in proportion to these and within them.
    """
    width = width * min(max_width, length)
    position = torch.arange(length, device=width.device)
    if own is not None:
        width, length = width * own / length, own
    first = (start * (length - width)).long()
    return (position >= first[:, None]) & (position < (first + width.long())[:, None])


class NoiseAndRoll(nn.Module):
    """Uniform noise in [0, 1) times one factor in [0, 0.1), and a roll by -10 to 9 frames.

    Source: AST's training on Speech Commands (Gong et al. 2021).
    """

    def __init__(self, max_level: float = 0.1, max_roll: int = 10):
        super().__init__()
        self.max_level, self.max_roll = max_level, max_roll

    def forward(self, fbank: Tensor, seeds: Tensor, own: Tensor | None = None) -> Tensor:
        """[B, T, M], [B], [B] frames of the clips (None: all T), which alone change -> [B, T, M]."""
        lengths = [fbank.shape[1]] * len(fbank) if own is None else own.tolist()
        return torch.stack(
            [
                torch.cat([self.augment(x[:n], seed), x[n:]])
                for x, seed, n in zip(fbank, seeds.tolist(), lengths)
            ]
        )

    def augment(self, fbank: Tensor, seed: int) -> Tensor:
        """[T, M] -> [T, M]."""
        rng = np.random.default_rng([2, seed])
        level, roll = rng.random() * self.max_level, int(rng.integers(-self.max_roll, self.max_roll))
        generator = torch.Generator(fbank.device).manual_seed(int(rng.integers(2**62)))
        noise = torch.rand(fbank.shape, generator=generator, device=fbank.device)
        return (fbank + level * noise).roll(roll, dims=0)
