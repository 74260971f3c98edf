"""Pretrain ast_small: many labels at once, and clusters, on generated sounds, music and speech.

    python3 -m pretraining.corpus corpus -size large
    python3 -m pretraining.ast_small corpus pretrained_models/ast_small

A batch is drawn from its step's own seed: clips of all parts, many of them mixed with another one
(labels united), at random levels and through random filters, cut to 1.28, 2.56 or 5.12 s. Patches do not
overlap, and half of them are left out of every step (PaSST): both make it cheaper.

The class and the distillation token name the labels. Every patch names the cluster of its 160 ms, in two
codebooks: of the fine structure of the spectrum (phones), and of its mean over 0.48 s (timbres); the first
clip's where two are mixed. A quarter of the time is masked there, and has to be told from what is around
it (HuBERT's objective). What is written is the exponential average of the weights.

Source: PaSST (Koutini et al. 2022), HuBERT (Hsu et al. 2021).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.random import Generator
from scipy.fft import dctn
from scipy.ndimage import uniform_filter1d
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from ipet.attention import choose_attention
from ipet.backbones.audio_spectrogram_transformer import (
    PATCH,
    PREFIX,
    AudioSpectrogramTransformer,
    save_backbone,
)
from ipet.checkpoint import write_json
from ipet.features import LogMel
from ipet.metrics import classes_with_both, mean_auc, mean_average_precision
from ipet.output_pipe import guard_output
from pretraining.clusters import fit_codebooks
from pretraining.corpus import Corpus
from pretraining.training import Training, recipe_parser, split

NUM_FRAMES, NUM_MELS = 512, 128
STRIDE = (PATCH, PATCH)
LENGTHS = (128, 256, 512)  # frames of a batch, with these shares of the steps:
SHARES = (0.3, 0.45, 0.25)
KEPT = 0.5  # share of the patches that a step hears
MASKED = 0.25  # share of the time that it does not hear, in spans of
SPAN = 3  # columns of patches, of which
ASKED = 2  # patches a column stay
WATCHED = 128  # held-out clips of a part that are heard while it trains; all of them in the end
PARTS = {"sounds": 0.5, "styles": 0.15, "words": 0.25, "sentences": 0.1}  # of a batch
MIXED = {"sounds": 0.5, "styles": 0.5, "words": 0.2, "sentences": 0.5}  # share of clips with another one
CLUSTERS = {"phones": 256, "timbres": 128}
SETTINGS = {"batch_size": 64, "lr": 1e-3, "weight_decay": 0.05, "warmup": 300, "average": 0.999}
WEIGHTS = {"labels": 0.3, "phones_heard": 0.5, "timbres_heard": 0.5}  # of the losses; others: 1


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


# ------------------------------------------------------------------------------------------ targets


def column_features(fbank: np.ndarray) -> dict[str, np.ndarray]:
    """What is clustered of [B, T, M] log-mels: a codebook's [B, T / 16, F], for every 160 ms.

    ``phones`` is the smooth part of the column's own spectrogram, its level relative to the clip's peak;
    ``timbres``, the mean spectrum of it and its two neighbours, without its level.
    """
    columns = fbank.reshape(len(fbank), -1, PATCH, NUM_MELS)
    phones = dctn(columns, axes=(2, 3), norm="ortho")[:, :, :4, :16].reshape(*columns.shape[:2], -1)
    phones[..., 0] = 0.3 * (phones[..., 0] - phones[..., 0].max(axis=1, keepdims=True))
    spectrum = columns.mean(axis=2)
    timbres = uniform_filter1d(spectrum - spectrum.mean(-1, keepdims=True), 3, axis=1)
    return {"phones": phones, "timbres": timbres}


def sampled_columns(parts: dict[str, LogMels]) -> Iterator[dict[str, np.ndarray]]:
    """What is clustered of 400 training clips of every part, as ``column_features`` has it."""
    for part in parts.values():
        for index in part.train[:400]:
            columns = part.num_frames[index] // PATCH
            fbank = np.asarray(part.fbank[index, : max(1, columns) * PATCH], np.float32)
            yield {name: x[0] for name, x in column_features(fbank[None]).items()}


def nearest(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """[..., F], [K, F] -> [...] numbers of the nearest centres."""
    return ((centres**2).sum(1) - 2 * x.astype(np.float32) @ centres.T).argmin(-1)


# ------------------------------------------------------------------------------------------ batches


class Batch(NamedTuple):
    """What a step hears, and what it is asked."""

    fbank: Tensor  # [B, T, M] log-mels
    labels: Tensor  # [B, C]
    clusters: dict[str, Tensor]  # [B, T / 16] of each codebook
    offset: int  # of its first column in the position table
    kept: Tensor  # [K] patches that are heard or asked for; frequency is their slow axis
    masked: Tensor  # [K] True where it is not heard


class Batches:
    """The batch of every step, drawn from the step's own seed.

    Args:
        parts: of the corpus.
        codebooks: [K, F] centres of each.
        mean: of the log-mels.
        seed: of the training.
    """

    def __init__(self, parts: dict[str, LogMels], codebooks: dict[str, np.ndarray], mean: float, seed: int):
        self.parts, self.codebooks, self.mean, self.seed = parts, codebooks, mean, seed
        shares = np.array([PARTS[name] for name in parts])
        self.shares = shares / shares.sum()

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, counted from zero."""
        rng = np.random.default_rng([self.seed, step])
        num_frames = int(rng.choice(LENGTHS, p=SHARES))
        clean, heard, labels = zip(*(self.clip(rng, num_frames) for _ in range(SETTINGS["batch_size"])))
        features = column_features(np.stack(clean))
        clusters = {name: torch.from_numpy(nearest(x, self.codebooks[name])) for name, x in features.items()}
        fbank = masked(rng, torch.from_numpy(np.stack(heard).astype(np.float32)), self.mean)
        rows, columns = NUM_MELS // PATCH, num_frames // PATCH
        offset = int(rng.integers(NUM_FRAMES // PATCH - columns + 1))
        return Batch(fbank, torch.from_numpy(np.stack(labels)), clusters, offset, *draw(rng, rows, columns))

    def clip(self, rng: Generator, num_frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """[T, M] log-mels of a random clip, the same as it is heard, and its [C] labels."""
        names = list(self.parts)
        name = str(rng.choice(names, p=self.shares))
        part = self.parts[name]
        index = rng.choice(part.train)
        clean, labels = part.cut(rng, index, num_frames, rng.random() < 0.5), part.targets[index]
        heard = clean
        if rng.random() < MIXED[name]:
            other = self.parts[rng.choice(names, p=self.shares)]
            index = rng.choice(other.train)
            heard = mixed(rng, clean, other.cut(rng, index, num_frames, tiled=True))
            labels = np.maximum(labels, other.targets[index])
        return clean, heard + colour(rng), labels


def draw(rng: Generator, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Which patches of a grid a step takes: [K] their numbers, and [K] True where they are masked."""
    hidden = np.zeros(columns, bool)
    while hidden.sum() < round(MASKED * columns):
        start = rng.integers(columns - SPAN + 1)
        hidden[start : start + SPAN] = True
    order = rng.random((rows, columns))
    rank = order.argsort(axis=0).argsort(axis=0)  # within a column
    kept = np.where(hidden, rank < ASKED, order < KEPT).ravel()
    return torch.from_numpy(np.flatnonzero(kept)), torch.from_numpy(np.tile(hidden, rows)[kept])


def masked(rng: Generator, fbank: Tensor, mean: float) -> Tensor:
    """SpecAugment on a batch: up to 16 mels and an eighth of the frames become the mean."""
    fbank = fbank.clone()
    for clip in fbank:
        mels, frames = rng.integers(17), rng.integers(fbank.shape[1] // 8 + 1)
        mel, frame = rng.integers(NUM_MELS - mels + 1), rng.integers(fbank.shape[1] - frames + 1)
        clip[:, mel : mel + mels] = mean
        clip[frame : frame + frames] = mean
    return fbank


# ------------------------------------------------------------------------------------------ training


class Pretraining(nn.Module):
    """AST over a part of its position table and of its patches, and linear layers over what is asked."""

    def __init__(self, num_labels: int, size: str = "small"):
        super().__init__()
        self.backbone = AudioSpectrogramTransformer(NUM_FRAMES, NUM_MELS, STRIDE, size)
        width = self.backbone.width
        self.mask = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_labels)
        nn.init.constant_(self.head.bias, -3)  # labels are rare
        self.clusters = nn.ModuleDict({name: nn.Linear(width, num) for name, num in CLUSTERS.items()})

    def forward(
        self, x: Tensor, offset: int = 0, kept: Tensor | None = None, masked: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """[B, T, M] normalised log-mels -> [B, C] logits of the labels, [B, K, D] states of the patches.

        Args:
            offset: where in the position table's columns the input begins.
            kept: [K] patches that are taken; None: all.
            masked: [K] True where a patch is not heard; None: nowhere.
        """
        vit, (rows, _) = self.backbone.vit, self.backbone.grid
        x = vit.patch_embed(x.transpose(1, 2).unsqueeze(1))  # [B, f t, D]
        columns = x.shape[1] // rows
        position = vit.pos_embed[:, PREFIX:].unflatten(1, self.backbone.grid)  # [1, f, 32, D]
        position = position[:, :, offset : offset + columns].flatten(1, 2)
        if kept is not None:
            x, position = x[:, kept], position[:, kept]
        if masked is not None:
            x = torch.where(masked[:, None], self.mask.to(x.dtype), x)
        tokens = torch.cat([vit.cls_token, vit.dist_token], 1) + vit.pos_embed[:, :PREFIX]
        x = vit.norm(vit.blocks(torch.cat([tokens.expand(len(x), -1, -1), x + position], 1)))
        return self.head(self.norm((x[:, 0] + x[:, 1]) / 2)), x[:, PREFIX:]


def losses(model: Pretraining, batch: Batch, mean: float, std: float) -> dict[str, Tensor]:
    """Of the labels, summed over them; of each codebook, and of the patches of it that were heard."""
    logits, states = model((batch.fbank - mean) / (2 * std), batch.offset, batch.kept, batch.masked)
    terms = {"labels": F.binary_cross_entropy_with_logits(logits.float(), batch.labels) * logits.shape[1]}
    columns = batch.kept % (batch.fbank.shape[1] // PATCH)
    for name, of_columns in batch.clusters.items():
        asked, targets = model.clusters[name](states).float(), of_columns[:, columns]  # [B, K, N], [B, K]
        for kind, where in ((name, batch.masked), (f"{name}_heard", ~batch.masked)):
            terms[kind] = F.cross_entropy(asked[:, where].flatten(0, 1), targets[:, where].flatten())
    return terms


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
                logits.append(model((torch.from_numpy(fbank) - mean) / (2 * std))[0].float().numpy())
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
    about = {"seed": seed, "steps": steps, "size": size, **SETTINGS, "weights": WEIGHTS, "labels": len(names)}
    about["clips"] = {name: len(part.train) for name, part in parts.items()}
    model = Pretraining(len(names), size)
    choose_attention(model, "cpu", torch.bfloat16)
    training = Training(model, out, about)
    codebooks = fit_codebooks(sampled_columns(parts), CLUSTERS, max_iter=50, seed=seed)
    centres = {name: kmeans.cluster_centers_.astype(np.float32) for name, kmeans in codebooks.items()}
    batches = Batches(parts, centres, mean, seed)
    for step in training.steps():
        batch = batches[step]
        with torch.autocast("cpu", torch.bfloat16):
            terms = losses(training.model, batch, mean, std)
        training.step(step, sum(WEIGHTS.get(name, 1) * term for name, term in terms.items()))
        if (step + 1) % every == 0 or step + 1 == steps:
            most = 10**6 if step + 1 == steps else WATCHED
            metrics = evaluate(training.average, parts, mean, std, most)
            final = training.report(step, {name: term.item() for name, term in terms.items()} | metrics)
    save_backbone(training.average.backbone, out)
    write_json(out / "training.json", {**about, "norm_mean": mean, "norm_std": std, "final": final})
    training.state_file.unlink()


def main() -> None:
    """Read the command line."""
    guard_output()
    parser = recipe_parser(__doc__, steps=6500)
    pretrain(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
