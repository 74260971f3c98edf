"""Input prompt: a learnt border around AST's log-mels, shared by all clips (Bahng et al. 2022).

    E   [M, T]   zero but for the w mels and frames next to each of the four sides
    x'  =  x + E

E starts as zero, and is added to the normalised log-mels. (Bahng et al. add theirs to an image.)
"""

import torch
from torch import Tensor, nn

from ipet.methods.registry import register
from ipet.tuning import freeze


class Border(nn.Module):
    """x + E.

    Args:
        num_mels: M.
        num_frames: T.
        border: w, how wide it is on every side.
    """

    def __init__(self, num_mels: int, num_frames: int, border: int):
        super().__init__()
        self.mels = nn.Parameter(torch.zeros(2, border, num_frames))  # the lowest and the highest
        self.frames = nn.Parameter(torch.zeros(2, num_mels - 2 * border, border))  # the first and the last
        self.trainable_name = "input_prompt"

    def forward(self, x: Tensor) -> Tensor:
        """[B, 1, M, T] -> [B, 1, M, T].

        Raises:
            ValueError: other than T frames.
        """
        if x.shape[-1] != self.mels.shape[-1]:
            raise ValueError(
                f"log-mels of {x.shape[-1]} frames, and the border is for {self.mels.shape[-1]}; expected "
                "clips of one length"
            )
        (lowest, highest), (first, last) = self.mels, self.frames
        inner = first.new_zeros(len(first), x.shape[-1] - first.shape[1] - last.shape[1])
        between = torch.cat([first, inner, last], dim=1)  # [M - 2 w, T]
        return x + torch.cat([lowest, between, highest])


def widest(backbone: nn.Module) -> int:
    """The widest border that leaves something of the input as it is.

    Raises:
        ValueError: the backbone's input is not a spectrogram.
    """
    settings = backbone.settings
    if settings["kind"] != "ast":
        raise ValueError(
            f"method 'input_prompt' puts a border around a spectrogram, and {settings['kind']} hears the "
            "waveform itself; accepted: AST, or one of the other methods"
        )
    return (min(settings["num_mels"], settings["num_frames"]) - 1) // 2


@register("input_prompt", sizes=("border",), largest=widest)
def input_prompt(backbone: nn.Module, border: int) -> None:
    """A border of learnt values, added to the log-mels before they become patches.

    Raises:
        ValueError: the backbone is not AST, or the border is too wide for its input.
    """
    num_mels, num_frames = backbone.settings.get("num_mels"), backbone.settings.get("num_frames")
    if border > widest(backbone):
        raise ValueError(
            f"a border of {border} on every side is too wide for {num_mels} mels and {num_frames} frames; "
            f"expected at most {widest(backbone)}"
        )
    freeze(backbone)
    backbone.vit.patch_embed = nn.Sequential(Border(num_mels, num_frames, border), backbone.vit.patch_embed)
