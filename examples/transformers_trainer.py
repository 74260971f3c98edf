"""IPET with transformers' Trainer, which trains what requires a gradient.

python3 examples/transformers_trainer.py [-epochs 10] [-out adapter]
"""

import tempfile

import torch
from plain_torch import pretrained
from tones import Tones, get_args
from transformers import Trainer, TrainingArguments

import ipet


def accuracy(prediction) -> dict[str, float]:
    """Of the logits of all clips."""
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}


def main() -> None:
    """Train, and compare a fresh model that the adapter was loaded into."""
    args = get_args(__doc__)
    torch.manual_seed(0)

    model = ipet.tune(pretrained(), num_prompts=8, bottleneck=32, scale=4.0)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            num_train_epochs=args.epochs,
            per_device_train_batch_size=12,
            learning_rate=1e-3,
            gradient_checkpointing=True,  # of the tuned layers, as of transformers' own
            save_strategy="no",  # it would save the frozen weights, too
            report_to="none",
        )
        data = {"train_dataset": Tones(args.clips, seed=1), "eval_dataset": Tones(args.clips // 2, seed=2)}
        trainer = Trainer(model, settings, **data, compute_metrics=accuracy)
        trainer.train()
        print(f"accuracy {trainer.evaluate()['eval_accuracy']:.3f}")

        ipet.save_tuned(model, args.out)
        fresh = ipet.load_tuned(pretrained(), args.out)
        found = Trainer(fresh, settings, **data, compute_metrics=accuracy).evaluate()
        print(f"a fresh model with {args.out}: accuracy {found['eval_accuracy']:.3f}")


if __name__ == "__main__":
    main()
