"""What is trained on top of the backbone, and the whole: front end, backbone, head."""

from torch import Tensor, nn

BIAS = 1e-4  # the authors' initial bias of every head


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A Linear layer with Xavier-uniform weights and bias 1e-4."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.constant_(layer.bias, BIAS)
    return layer


class LinearHead(nn.Module):
    """Class logits: Linear(LN(e)).

    Args:
        width: E, of the backbone's embedding.
        num_classes: C.
    """

    def __init__(self, width: int, num_classes: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc = linear(width, num_classes)

    def forward(self, embedding: Tensor) -> Tensor:
        """[B, E] -> [B, C] logits."""
        return self.fc(self.norm(embedding))


class SpeakerHead(nn.Module):
    """Speaker logits through a small embedding, which alone is used for verification.

    Args:
        width: E, of the backbone's embedding.
        num_speakers: C.
        speaker_width: of the speaker embedding.
    """

    def __init__(self, width: int, num_speakers: int, speaker_width: int = 128):
        super().__init__()
        self.embed = linear(width, speaker_width)
        self.norm = nn.LayerNorm(speaker_width)
        self.fc = linear(speaker_width, num_speakers)

    def forward(self, embedding: Tensor) -> Tensor:
        """[B, E] -> [B, C] logits."""
        return self.fc(self.norm(self.embed(embedding)))

    def speaker_embedding(self, embedding: Tensor) -> Tensor:
        """[B, E] -> [B, D]: what two recordings are compared by."""
        return self.embed(embedding)


class Classifier(nn.Module):
    """Waveform to logits.

    Args:
        front_end: ([B, N] waveform, [B] true lengths, [B] seeds or None) -> the backbone's input.
        backbone: the front end's output -> [B, E].
        head: [B, E] -> [B, C].
    """

    def __init__(self, front_end: nn.Module, backbone: nn.Module, head: nn.Module):
        super().__init__()
        self.front_end, self.backbone, self.head = front_end, backbone, head

    def forward(self, waveform: Tensor, num_samples: Tensor, seeds: Tensor | None = None) -> Tensor:
        """[B, N] samples, [B] true lengths, [B] augmentation seeds (None: off) -> [B, C] logits.

        In evaluation [B S, C], where the front end takes S segments of a clip.
        """
        return self.head(self.backbone(self.front_end(waveform, num_samples, seeds)))

    def speaker_embedding(self, waveform: Tensor, num_samples: Tensor) -> Tensor:
        """[B, N] samples, [B] true lengths -> [B S, D], the embedding of a ``SpeakerHead``."""
        return self.head.speaker_embedding(self.backbone(self.front_end(waveform, num_samples)))
