"""IPET in a loop of one's own: tune, train what requires a gradient, save, load into a fresh model.

python3 examples/plain_torch.py [-epochs 10] [-out adapter]
"""

from pathlib import Path

import torch
from tones import KINDS, Tones, get_args
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import Wav2Vec2ForSequenceClassification

import ipet

WEIGHTS = Path(__file__).resolve().parents[1] / "pretrained_models" / "wav2vec2_small"


def pretrained() -> Wav2Vec2ForSequenceClassification:
    """The frozen part is that of the file, whenever it is loaded; the head is new."""
    return Wav2Vec2ForSequenceClassification.from_pretrained(WEIGHTS, num_labels=len(KINDS), dtype="float32")


def accuracy(model: torch.nn.Module, loader: DataLoader) -> float:
    """Of the clips of a loader."""
    model.eval()
    with torch.inference_mode():
        right = [(model(b["input_values"]).logits.argmax(-1) == b["labels"]).float().mean() for b in loader]
    return torch.stack(right).mean().item()


def main() -> None:
    """Train, and compare a fresh model that the adapter was loaded into."""
    args = get_args(__doc__)
    torch.manual_seed(0)

    model = ipet.tune(pretrained(), num_prompts=8, bottleneck=32, scale=4.0)
    trained = [p for p in model.parameters() if p.requires_grad]
    print(f"{sum(p.numel() for p in trained):,} of {sum(p.numel() for p in model.parameters()):,} parameters")
    optimizer = torch.optim.Adam(trained, lr=1e-3)
    train = DataLoader(Tones(args.clips, seed=1), batch_size=12, shuffle=True)
    test = DataLoader(Tones(args.clips // 2, seed=2), batch_size=12)
    for epoch in range(1, args.epochs + 1):
        model.train()
        for batch in train:
            loss = F.cross_entropy(model(batch["input_values"]).logits, batch["labels"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}  loss {loss.item():.3f}  accuracy {accuracy(model, test):.3f}")

    ipet.save_tuned(model, args.out)
    fresh = ipet.load_tuned(pretrained(), args.out)
    print(f"a fresh model with {args.out}: accuracy {accuracy(fresh, test):.3f}")


if __name__ == "__main__":
    main()
