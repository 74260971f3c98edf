"""Pretrain ast_small: many labels at once, on generated sounds, music and speech.

    python3 -m pretraining.corpus corpus -size large
    python3 -m pretraining.ast_small corpus pretrained_models/ast_small

A batch is drawn from its step's own seed: clips of all parts, half of them mixed with another one
(labels united), at random levels and through random filters, cut to 1.28, 2.56 or 5.12 s. Half of the
patches are left out of every step (PaSST), which makes it cheaper and the features more robust. What is
written is the exponential average of the weights.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ipet.backbones.audio_spectrogram_transformer import (
    PATCH,
    PREFIX,
    AudioSpectrogramTransformer,
    save_backbone,
)
from ipet.checkpoint import write_json
from ipet.features import LogMel
from ipet.metrics import classes_with_both, mean_auc, mean_average_precision
from pretraining.corpus import Corpus
from pretraining.training import Training, recipe_parser, split

NUM_FRAMES, NUM_MELS = 512, 128
LENGTHS = (128, 256, 512)  # frames of a batch, with these shares of the steps:
SHARES = (0.25, 0.4, 0.35)
TOKENS = 160  # patches that a step keeps at most
WATCHED = 128  # held-out clips of a part that are heard while it trains; all of them in the end
PARTS = {"sounds": 0.5, "styles": 0.15, "words": 0.25, "sentences": 0.1}  # of a batch
SETTINGS = {"batch_size": 64, "lr": 1e-3, "weight_decay": 0.05, "warmup": 300, "average": 0.999}


class LogMels:
    """A part of the corpus as log-mels, computed once.

    Args:
        folder: of the part; ``log_mels.npy``, [N, 512, 128] float16, is written there if missing.
        names: every label of the corpus, in the order of the head's outputs.
    """

    def __init__(self, folder: Path, names: list[str]):
        corpus = Corpus(folder)
        columns = [names.index(name) for name in corpus.names]
        self.targets = np.zeros((len(corpus.labels), len(names)), np.float32)
        self.targets[:, columns] = corpus.labels
        self.num_frames = np.clip((corpus.lengths - 400) // 160 + 1, 1, NUM_FRAMES)
        path = folder / "log_mels.npy"
        if not path.is_file():
            compute_log_mels(corpus.waveforms, path)
        self.fbank = np.load(path, mmap_mode="r")
        self.train, self.evaluation = split(len(self.fbank))

    def cut(self, rng: Generator, index: int, num_frames: int, tiled: bool) -> np.ndarray:
        """[T, M] frames from a random start; a shorter clip is repeated, or followed by zeros."""
        length = int(self.num_frames[index])
        start = rng.integers(max(1, length - num_frames + 1)) if length > num_frames else 0
        rows = start + np.arange(num_frames)
        fbank = np.asarray(self.fbank[index, rows % length], np.float32)
        return fbank if tiled else fbank * (rows < length)[:, None]


def compute_log_mels(waveforms: np.ndarray, path: Path) -> None:
    """Write [N, 512, 128] float16 log-mels of [N, T] int16 samples."""
    front_end = LogMel(NUM_MELS, NUM_FRAMES, mean=0, std=0.5)  # (x - 0) / (2 * 0.5) = x
    temporary = path.with_name(f".{path.name}")
    out = open_memmap(temporary, "w+", np.float16, (len(waveforms), NUM_FRAMES, NUM_MELS))
    for start in tqdm(range(0, len(waveforms), 64), desc=f"log-mels of {path.parent.name}"):
        batch = torch.from_numpy(waveforms[start : start + 64].astype(np.float32) / 32768)
        out[start : start + 64] = front_end(batch, torch.full((len(batch),), batch.shape[1])).numpy()
    out.flush()
    temporary.replace(path)


def mixed(rng: Generator, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[T, M], [T, M] log-mels -> those of the sum of a clip and a quieter or equally loud other."""
    gain_db = rng.uniform(-12, 0) + 10 * (a.max() - b.max()) / np.log(10)
    return np.logaddexp(a, b + gain_db * np.log(10) / 10)


def colour(rng: Generator) -> np.ndarray:
    """[M] gains of a random smooth filter and a random level, as an addition to log-mels."""
    knots = rng.normal(0, 0.7, 6)
    return rng.uniform(-2, 1) + np.interp(np.linspace(0, 5, NUM_MELS), np.arange(6), knots)


def draw_batch(
    parts: dict[str, LogMels], rng: Generator, batch_size: int, num_frames: int
) -> tuple[Tensor, Tensor]:
    """Log-mels [B, T, M] and targets [B, C] of a step."""
    shares = np.array([PARTS[name] for name in parts])
    inputs, targets = [], []
    for name in rng.choice(list(parts), batch_size, p=shares / shares.sum()):
        part = parts[name]
        index, tiled = rng.choice(part.train), rng.random() < 0.5
        fbank, target = part.cut(rng, index, num_frames, tiled), part.targets[index]
        if rng.random() < 0.5:
            other = parts[rng.choice(list(parts), p=shares / shares.sum())]
            index = rng.choice(other.train)
            fbank = mixed(rng, fbank, other.cut(rng, index, num_frames, tiled=True))
            target = np.maximum(target, other.targets[index])
        inputs.append(fbank + colour(rng))
        targets.append(target)
    return torch.from_numpy(np.stack(inputs).astype(np.float32)), torch.from_numpy(np.stack(targets))


def masked(rng: Generator, fbank: Tensor, mean: float) -> Tensor:
    """SpecAugment on a batch: up to 16 mels and an eighth of the frames become the mean."""
    fbank = fbank.clone()
    for clip in fbank:
        mels, frames = rng.integers(17), rng.integers(fbank.shape[1] // 8 + 1)
        mel, frame = rng.integers(NUM_MELS - mels + 1), rng.integers(fbank.shape[1] - frames + 1)
        clip[:, mel : mel + mels] = mean
        clip[frame : frame + frames] = mean
    return fbank


class Pretraining(nn.Module):
    """AST over a part of its position table and of its patches, and a linear layer over the labels."""

    def __init__(self, num_labels: int, size: str = "small"):
        super().__init__()
        self.backbone = AudioSpectrogramTransformer(NUM_FRAMES, NUM_MELS, size=size)
        self.norm = nn.LayerNorm(self.backbone.width)
        self.head = nn.Linear(self.backbone.width, num_labels)
        nn.init.constant_(self.head.bias, -3)  # labels are rare

    def forward(self, x: Tensor, offset: int, kept: Tensor | None = None) -> Tensor:
        """[B, T, M] normalised log-mels -> [B, C] logits.

        Args:
            offset: where in the position table's 50 columns the input begins.
            kept: the patches that are heard; None: all.
        """
        vit, (rows, _) = self.backbone.vit, self.backbone.grid
        x = vit.patch_embed(x.transpose(1, 2).unsqueeze(1))  # [B, f t, D]
        columns = x.shape[1] // rows
        position = vit.pos_embed[:, PREFIX:].unflatten(1, self.backbone.grid)  # [1, f, 50, D]
        x = x + position[:, :, offset : offset + columns].flatten(1, 2)
        if kept is not None:
            x = x[:, kept]
        tokens = torch.cat([vit.cls_token, vit.dist_token], 1) + vit.pos_embed[:, :PREFIX]
        x = vit.norm(vit.blocks(torch.cat([tokens.expand(len(x), -1, -1), x], 1)))
        return self.head(self.norm((x[:, 0] + x[:, 1]) / 2))


@torch.no_grad()
def evaluate(
    model: Pretraining, parts: dict[str, LogMels], mean: float, std: float, most: int
) -> dict[str, float]:
    """mAP and mean AUC of each part's own labels, on at most so many whole held-out clips of it."""
    model.eval()
    metrics = {}
    for name, part in parts.items():
        logits = []
        held_out = part.evaluation[:most]
        for rows in np.array_split(held_out, max(1, len(held_out) // 32)):
            fbank = np.stack([part.cut(None, i, NUM_FRAMES, tiled=False) for i in rows])
            with torch.autocast("cpu", torch.bfloat16):
                logits.append(model((torch.from_numpy(fbank) - mean) / (2 * std), 0).float().numpy())
        logits, targets = np.concatenate(logits), part.targets[held_out]
        own = classes_with_both(targets)
        metrics[f"{name}_mAP"] = mean_average_precision(logits[:, own], targets[:, own])
        metrics[f"{name}_AUC"] = mean_auc(logits[:, own], targets[:, own])
    model.train()
    return metrics


def pretrain(corpus: Path, out: Path, steps: int, seed: int, size: str, every: int) -> None:
    """Train for ``steps`` and write the backbone, its configuration and what training said.

    Goes on from ``out/training_state.pt`` where a run of the same settings was stopped.
    """
    folders = [corpus / name for name in PARTS if (corpus / name).is_dir()]
    names = sorted({name for folder in folders for name in Corpus(folder).names})
    parts = {folder.name: LogMels(folder, names) for folder in folders}
    sample = np.concatenate([part.fbank[:500:2].astype(np.float64) for part in parts.values()])
    mean, std = float(sample.mean()), float(sample.std())

    torch.manual_seed(seed)
    about = {"seed": seed, "steps": steps, "size": size, **SETTINGS, "labels": len(names)}
    about["clips"] = {name: len(part.train) for name, part in parts.items()}
    training = Training(Pretraining(len(names), size), out, about)
    rows, columns = training.model.backbone.grid
    for step in training.steps():
        rng = np.random.default_rng([seed, step])
        num_frames = int(rng.choice(LENGTHS, p=SHARES))
        fbank, targets = draw_batch(parts, rng, SETTINGS["batch_size"], num_frames)
        x = (masked(rng, fbank, mean) - mean) / (2 * std)
        heard = (num_frames - PATCH) // 10 + 1
        kept = rng.permutation(rows * heard)[: min(TOKENS, rows * heard // 2)]
        with torch.autocast("cpu", torch.bfloat16):
            offset = int(rng.integers(columns - heard + 1))
            logits = training.model(x, offset, torch.from_numpy(np.sort(kept)))
        loss = F.binary_cross_entropy_with_logits(logits.float(), targets)
        training.step(step, loss)
        if (step + 1) % every == 0 or step + 1 == steps:
            most = 10**6 if step + 1 == steps else WATCHED
            metrics = evaluate(training.average, parts, mean, std, most)
            final = training.report(step, {"loss": loss.item(), **metrics})
    save_backbone(training.average.backbone, out)
    write_json(out / "training.json", {**about, "norm_mean": mean, "norm_std": std, "final": final})
    training.state_file.unlink()


def main() -> None:
    """Read the command line."""
    parser = recipe_parser(__doc__, steps=4000)
    pretrain(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
