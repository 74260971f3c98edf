"""Log-mel filterbanks as Kaldi computes them, for a batch at once, on the batch's device."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.compliance.kaldi import get_mel_banks

from ipet.audio import SAMPLE_RATE

WINDOWS = {
    "hanning": lambda n: torch.hann_window(n, periodic=False),
    "hamming": lambda n: torch.hamming_window(n, periodic=False, alpha=0.54, beta=0.46),
    "povey": lambda n: torch.hann_window(n, periodic=False) ** 0.85,
    "rectangular": torch.ones,
}
PREEMPHASIS = 0.97  # Kaldi's default
LOW_HZ = 20.0  # Kaldi's default
HOP_SAMPLES = 160  # of a frame of 10 ms, by which clip lengths are given
FLOOR = torch.finfo(torch.float32).eps  # of the energies, before the logarithm


class Padded(NamedTuple):
    """A batch of clips of their own lengths, and how much of each is the clip's: what a backbone hears."""

    x: Tensor  # [B, T, ...] log-mels or samples
    length: Tensor  # [B] frames or samples; what lies behind them is no clip's


def covered_samples(num_frames: int, window_ms: float, hop_ms: float) -> int:
    """Samples that a number of frames covers."""
    window, hop = int(SAMPLE_RATE * window_ms / 1000), int(SAMPLE_RATE * hop_ms / 1000)
    return window + (num_frames - 1) * hop


def segment_rows(length: int, size: int, num_segments: int, whole_periods: bool = True) -> Tensor:
    """Where evenly spaced segments of a clip lie; a clip shorter than one is repeated periodically.

    Args:
        length: n, frames or samples of the clip.
        size: of a segment, T.
        num_segments: S; the first starts with the clip, the last ends with it.
        whole_periods: a short clip is repeated for whole periods, at least T, over which its segments
            are spaced (VoxCeleb); otherwise it is cut at T, so that they are all alike (GTZAN).

    Returns:
        [S, T] row numbers in [0, n).
    """
    tiled = length if length >= size else length * (size // length + 1) if whole_periods else size
    starts = torch.from_numpy(np.linspace(0, tiled - size, num_segments)).long()  # rounded down
    return (starts[:, None] + torch.arange(size)) % length


def check_segments(num_segments: int, variable_length: bool) -> None:
    """Raise ValueError where clips of their own lengths are to be cut into segments of one length."""
    if variable_length and num_segments > 1:
        raise ValueError(
            f"{num_segments} segments of clips of variable length; expected 1: such a clip is heard whole"
        )


class LogMel(nn.Module):
    """Normalised log-mels of fixed length: (log mel(|STFT|^2) - mean) / (2 std).

    Args:
        num_mels: M, triangular filters between 20 Hz and 8 kHz.
        num_frames: T; a longer clip is cut, a shorter one padded with zeros.
        mean, std: of the log-mels of the training list.
        window_ms, hop_ms: length and distance of the frames.
        window: ``hanning``, ``hamming``, ``povey`` or ``rectangular``.
        masks, noise: training only: ([B, T, M], [B] seeds) -> [B, T, M], before and after the
            normalisation.
        num_segments: S; above 1, evaluation takes S evenly spaced segments of T frames of a whole clip.
        whole_periods: see ``segment_rows``.
        variable_length: a clip keeps its own number of frames, of which T is the maximum; masks and noise
            then also take these [B] numbers.

    Raises:
        ValueError: an unknown window, a window or hop shorter than a sample, a standard deviation
            that is not positive; several segments of variable length.

    Source: Kaldi's compute-fbank-feats without dither, as AST uses it (Gong et al. 2021).
    """

    def __init__(
        self,
        num_mels: int,
        num_frames: int,
        mean: float,
        std: float,
        window_ms: float = 25.0,
        hop_ms: float = 10.0,
        window: str = "hanning",
        masks: nn.Module | None = None,
        noise: nn.Module | None = None,
        num_segments: int = 1,
        whole_periods: bool = True,
        variable_length: bool = False,
    ):
        super().__init__()
        check_segments(num_segments, variable_length)
        if window not in WINDOWS:
            raise ValueError(f"window is {window!r}; accepted: {', '.join(WINDOWS)}")
        if not std > 0:
            raise ValueError(f"the log-mels' standard deviation is {std}; it must be above 0")
        self.num_mels, self.num_frames, self.mean, self.std = num_mels, num_frames, mean, std
        self.masks, self.noise = masks, noise
        self.num_segments, self.whole_periods = num_segments, whole_periods
        self.variable_length = variable_length
        self.window_samples = int(SAMPLE_RATE * window_ms / 1000)
        self.hop_samples = int(SAMPLE_RATE * hop_ms / 1000)
        if self.window_samples < 2 or self.hop_samples < 1:
            raise ValueError(
                f"a window of {window_ms} ms and a hop of {hop_ms} ms are {self.window_samples} and "
                f"{self.hop_samples} samples; expected at least 2 and 1"
            )
        self.fft_size = 1 << (self.window_samples - 1).bit_length()
        banks, _ = get_mel_banks(
            num_mels, self.fft_size, SAMPLE_RATE, LOW_HZ, SAMPLE_RATE / 2, 100.0, -500.0, 1.0
        )
        # Rebuilt from the settings, hence in no checkpoint. The Nyquist bin has no filter.
        self.register_buffer("banks", F.pad(banks, (0, 1)).T.contiguous(), persistent=False)
        self.register_buffer("window", WINDOWS[window](self.window_samples), persistent=False)

        self.num_samples = covered_samples(num_frames, window_ms, hop_ms)
        self.settings = {
            "kind": "log_mel",
            "num_mels": num_mels,
            "num_frames": num_frames,
            "mean": mean,
            "std": std,
            "window_ms": window_ms,
            "hop_ms": hop_ms,
            "window": window,
            "num_segments": num_segments,
            "whole_periods": whole_periods,
            **({"variable_length": True} if variable_length else {}),
        }

    def count_frames(self, num_samples: Tensor) -> Tensor:
        """[B] samples -> [B] whole frames, as Kaldi cuts them (``snip_edges``)."""
        frames = (num_samples - self.window_samples) // self.hop_samples + 1
        return frames.clamp(min=0, max=self.num_frames)

    def log_mel(self, waveform: Tensor) -> Tensor:
        """[B, N] samples in [-1, 1] -> [B, 1 + (N - window) // hop, M] log-mel energies."""
        frames = waveform.unfold(-1, self.window_samples, self.hop_samples)
        frames = frames - frames.mean(dim=-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)  # the first stands before itself
        frames = frames.sub_(before, alpha=PREEMPHASIS) * self.window
        # Padded here, and squared by parts: rfft's own padding and abs() take twice as long on a CPU.
        spectrum = torch.fft.rfft(F.pad(frames, (0, self.fft_size - self.window_samples)))
        real, imag = torch.view_as_real(spectrum).unbind(dim=-1)
        power = real.square().addcmul_(imag, imag)
        return (power @ self.banks).clamp_(min=FLOOR).log_()

    def fixed_length(self, waveform: Tensor, num_samples: Tensor) -> Tensor:
        """[B, N] and [B] true lengths -> [B, T, M] log-mels, zeros behind each clip's last frame."""
        waveform = waveform[:, : self.num_samples]
        missing = max(0, self.window_samples - waveform.shape[1])
        fbank = self.log_mel(F.pad(waveform, (0, missing)))
        fbank = F.pad(fbank, (0, 0, 0, self.num_frames - fbank.shape[1]))
        valid = torch.arange(self.num_frames, device=fbank.device) < self.count_frames(num_samples)[:, None]
        return fbank * valid[..., None]

    def segments(self, waveform: Tensor, num_samples: Tensor) -> Tensor:
        """[B, N] whole clips, [B] true lengths -> [B S, T, M] log-mels, a clip's segments together."""
        segments = []
        for clip, length in zip(waveform, num_samples.tolist()):
            clip = F.pad(clip[:length], (0, max(0, self.window_samples - length)))
            fbank = self.log_mel(clip[None])[0]  # [F, M]
            rows = segment_rows(len(fbank), self.num_frames, self.num_segments, self.whole_periods)
            segments.append(fbank[rows.to(fbank.device)])  # [S, T, M]
        return torch.cat(segments)

    def forward(self, waveform: Tensor, num_samples: Tensor, seeds: Tensor | None = None) -> Tensor | Padded:
        """[B, N] samples, [B] true lengths, [B] augmentation seeds (None: off) -> [B, T, M].

        Without seeds, that is in evaluation, [B S, T, M] where there are several segments. Of variable
        length ``Padded``: the same, and [B] frames.
        """
        own = (self.count_frames(num_samples),) if self.variable_length else ()
        with torch.autocast(waveform.device.type, enabled=False):  # bf16 is too coarse for log-mels
            several = seeds is None and self.num_segments > 1
            fbank = (self.segments if several else self.fixed_length)(waveform.float(), num_samples)
            if self.masks is not None and seeds is not None:
                fbank = self.masks(fbank, seeds, *own)
            # Pad and mask first, normalise second: the pretrained model met both as -mean / (2 std).
            fbank = (fbank - self.mean) / (2 * self.std)
            if self.noise is not None and seeds is not None:
                fbank = self.noise(fbank, seeds, *own)
            return Padded(fbank, *own) if own else fbank


class Waveform(nn.Module):
    """The front end of a backbone that hears samples.

    Args:
        num_frames: of 10 ms, the length of a segment.
        num_segments: S; above 1, evaluation takes S evenly spaced segments of a whole clip.
        whole_periods: see ``segment_rows``.
        variable_length: a clip keeps its own length, of which ``num_frames`` is the maximum.

    Raises:
        ValueError: several segments of variable length.
    """

    def __init__(
        self,
        num_frames: int,
        num_segments: int = 1,
        whole_periods: bool = True,
        variable_length: bool = False,
    ):
        super().__init__()
        check_segments(num_segments, variable_length)
        self.num_samples, self.num_segments = num_frames * HOP_SAMPLES, num_segments
        self.whole_periods, self.variable_length = whole_periods, variable_length
        self.settings = {
            "kind": "waveform",
            "num_frames": num_frames,
            "num_segments": num_segments,
            "whole_periods": whole_periods,
            **({"variable_length": True} if variable_length else {}),
        }

    def segments(self, waveform: Tensor, num_samples: Tensor) -> Tensor:
        """[B, N] whole clips, [B] true lengths -> [B S, T], a clip's segments together."""
        rows = [
            segment_rows(length, self.num_samples, self.num_segments, self.whole_periods)
            for length in num_samples.tolist()
        ]
        return torch.cat([clip[row.to(clip.device)] for clip, row in zip(waveform, rows)])

    def forward(self, waveform: Tensor, num_samples: Tensor, seeds: Tensor | None = None) -> Tensor | Padded:
        """[B, N] -> [B, N]; without seeds, in evaluation, [B S, T] where there are several segments.

        [B, C, T] features of samples (``KeptFeatures``) stay as they are. Of variable length ``Padded``.
        """
        if self.variable_length:
            return Padded(waveform, num_samples)
        several = seeds is None and self.num_segments > 1 and waveform.ndim == 2
        return self.segments(waveform, num_samples) if several else waveform
