"""IPET in a LightningModule.

python3 examples/lightning_loop.py [-epochs 10] [-out adapter]
"""

import lightning
import torch
from plain_torch import accuracy, pretrained
from tones import Tones, get_args
from torch.nn import functional as F
from torch.utils.data import DataLoader

import ipet


class Tuned(lightning.LightningModule):
    """wav2vec 2.0 with prompts and adapters; Adam sees these and the head alone."""

    def __init__(self):
        super().__init__()
        self.model = ipet.tune(pretrained(), num_prompts=8, bottleneck=32, scale=4.0)

    def training_step(self, batch: dict, number: int) -> torch.Tensor:
        """The loss of a batch."""
        return F.cross_entropy(self.model(batch["input_values"]).logits, batch["labels"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=1e-3)


def main() -> None:
    """Train, and compare a fresh model that the adapter was loaded into."""
    args = get_args(__doc__)
    torch.manual_seed(0)

    tuned = Tuned()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=args.epochs, accelerator="cpu", devices=1, **quiet)
    # Lightning keeps the mode that a module is in; the pretrained one is loaded in evaluation mode.
    trainer.fit(tuned.train(), DataLoader(Tones(args.clips, seed=1), batch_size=12, shuffle=True))
    test = DataLoader(Tones(args.clips // 2, seed=2), batch_size=12)
    print(f"accuracy {accuracy(tuned.model, test):.3f}")

    ipet.save_tuned(tuned.model, args.out)
    fresh = ipet.load_tuned(pretrained(), args.out)
    print(f"a fresh model with {args.out}: accuracy {accuracy(fresh, test):.3f}")


if __name__ == "__main__":
    main()
