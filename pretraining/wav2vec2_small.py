"""Pretrain wav2vec2_small: masked prediction of clusters, on generated speech, sounds and music.

    python3 -m pretraining.corpus corpus -size large
    python3 -m pretraining.wav2vec2_small corpus pretrained_models/wav2vec2_small

HuBERT's objective, without a label: every 20 ms a token; half of the tokens are masked, in spans of
200 ms, and for these the network says to which cluster the sound that it did not hear belongs. With half
the weight it says so also for the tokens that it heard, which it learns first. There are two codebooks:
clusters of MFCCs and their deltas, that is of phones; and of log-mels averaged over 0.4 s, that is of
voices and timbres. What is heard has a random level and, in a third of the clips, another clip behind it,
whose clusters are not asked for (WavLM).

With ``-teacher DIR`` the first codebook is of the features of a layer of an earlier run, HuBERT's second
iteration. Source: HuBERT (Hsu et al. 2021), WavLM (Chen et al. 2022).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from scipy.fft import dct
from scipy.ndimage import uniform_filter1d
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm
from transformers import Wav2Vec2Config, Wav2Vec2Model

from ipet.attention import choose_attention
from ipet.backbones.wav2vec2 import SIZES, Wav2Vec2, build_wav2vec2, save_backbone
from ipet.checkpoint import save_arrays, write_json
from ipet.dropout import replace_dropout
from ipet.features import LogMel
from ipet.output_pipe import guard_output
from pretraining.clusters import fit_codebooks
from pretraining.corpus import NUM_SAMPLES, Corpus
from pretraining.training import Training, recipe_parser, split

HOP, FIELD = 320, 400  # samples between tokens, and that a token hears
NUM_TOKENS = (NUM_SAMPLES - FIELD) // HOP + 1
NUM_MELS, NUM_CEPSTRA = 40, 13
CLUSTERS = {"phones": 128, "timbres": 128}
TEACHER_LAYER = 4
SPAN, MASKED = 10, 0.065  # tokens of a masked span, and the share of tokens where one begins: half in all
CROP = 32_000  # samples of a training clip
PARTS = {"sentences": 0.5, "words": 0.25, "sounds": 0.15, "styles": 0.1}  # of a batch
SETTINGS = {"batch_size": 20, "lr": 7e-4, "weight_decay": 0.01, "warmup": 600, "average": 0.999}
SETTINGS["heard"] = 0.5  # weight of the loss on the tokens that were not masked
CONFIG = {
    "layerdrop": 0.0,
    "hidden_dropout": 0.05,
    "attention_dropout": 0.05,
    "feat_proj_dropout": 0.05,
}


# ------------------------------------------------------------------------------------------- targets


class Features:
    """What is clustered, for every token of a batch of clips.

    Args:
        teacher: a folder with an earlier backbone, or None.
    """

    def __init__(self, teacher: Path | None = None):
        self.log_mel = LogMel(NUM_MELS, NUM_TOKENS, mean=0, std=0.5, hop_ms=20)  # (x - 0) / (2 * 0.5) = x
        self.teacher = build_wav2vec2(pretrained=str(teacher)).model.eval() if teacher else None

    @torch.no_grad()
    def __call__(self, waveform: Tensor) -> dict[str, np.ndarray]:
        """[B, N] samples in [-1, 1] -> a codebook's [B, T, F]."""
        fbank = self.log_mel.log_mel(waveform).numpy()  # [B, T, M]
        if self.teacher is not None:
            states = self.teacher(waveform, output_hidden_states=True).hidden_states
            phones = states[TEACHER_LAYER].numpy()
        else:
            mfcc = dct(fbank, axis=-1, norm="ortho")[..., :NUM_CEPSTRA]
            # Relative to the clip's peak: of a random level, nothing absolute can be told.
            mfcc[..., 0] = 0.3 * (mfcc[..., 0] - mfcc[..., 0].max(axis=1, keepdims=True))
            phones = np.concatenate([mfcc, np.gradient(mfcc, axis=1)], axis=-1)
        timbres = uniform_filter1d(fbank - fbank.mean(-1, keepdims=True), 2 * SPAN + 1, axis=1)
        return {"phones": phones, "timbres": timbres}


class Part:
    """A part of the corpus with its clusters, computed once.

    Args:
        folder: of the part; ``targets_<tag>.npz``, [N, T] of each codebook, is written there if missing.
        features, codebooks: what is clustered, and the fitted clusters.
        tag: of the targets.
    """

    def __init__(self, folder: Path, features: Features, codebooks: dict[str, MiniBatchKMeans], tag: str):
        self.corpus = Corpus(folder)
        self.num_tokens = np.maximum(1, (self.corpus.lengths - FIELD) // HOP + 1)
        self.train, self.evaluation = split(len(self.corpus.lengths))
        path = folder / f"targets_{tag}.npz"
        if not path.is_file():
            save_arrays(path, self.cluster(features, codebooks))
        with np.load(path) as arrays:
            self.targets = {name: arrays[name] for name in CLUSTERS}

    def cluster(self, features: Features, codebooks: dict[str, MiniBatchKMeans]) -> dict[str, np.ndarray]:
        """[N, T] uint8 clusters of every clip's tokens, for each codebook."""
        num_clips = len(self.corpus.lengths)
        targets = {name: np.zeros((num_clips, NUM_TOKENS), np.uint8) for name in CLUSTERS}
        for start in tqdm(range(0, num_clips, 32), desc="clusters"):
            rows = slice(start, start + 32)
            for name, x in features(self.waveforms(rows)).items():
                flat = x.reshape(-1, x.shape[-1]).astype(np.float32)
                targets[name][rows] = codebooks[name].predict(flat).reshape(x.shape[:2])
        return targets

    def waveforms(self, rows) -> Tensor:
        """[B, N] samples in [-1, 1]."""
        return torch.from_numpy(self.corpus.waveforms[rows].astype(np.float32) / 32768)

    def cut(self, rng: Generator | None, index: int) -> tuple[Tensor, dict[str, np.ndarray], int]:
        """[CROP] samples, a codebook's [T] clusters, and how many tokens hold sound; None: the first ones."""
        length, tokens = int(self.num_tokens[index]), (CROP - FIELD) // HOP + 1
        start = int(rng.integers(max(1, length - tokens + 1))) if rng is not None else 0
        waveform = self.waveforms(index)[start * HOP : start * HOP + CROP]
        targets = {name: of[index, start : start + tokens] for name, of in self.targets.items()}
        return waveform, targets, min(tokens, length - start)


def sampled_tokens(folders: list[Path], features: Features) -> Iterator[dict[str, np.ndarray]]:
    """What is clustered of 200 clips of every part, without the silence behind them."""
    for folder in folders:
        corpus = Corpus(folder)
        for index in range(min(200, len(corpus.lengths))):
            tokens = max(1, (corpus.lengths[index] - FIELD) // HOP + 1)
            samples = torch.from_numpy(corpus.waveforms[index].astype(np.float32) / 32768)
            yield {name: x[0, :tokens] for name, x in features(samples[None]).items()}


# ------------------------------------------------------------------------------------------ training


class Pretraining(nn.Module):
    """wav2vec 2.0, and a linear layer over the clusters of each codebook."""

    def __init__(self, config: dict):
        super().__init__()
        self.model = Wav2Vec2Model(Wav2Vec2Config(**config))
        width = self.model.config.hidden_size
        self.heads = nn.ModuleDict({name: nn.Linear(width, num) for name, num in CLUSTERS.items()})

    def forward(self, waveform: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """[B, N] samples, [B, T] True where a token is masked -> a codebook's [B, T, K] logits."""
        x = self.model(waveform, mask_time_indices=mask).last_hidden_state
        return {name: head(x) for name, head in self.heads.items()}


class Batch:
    """Clips of all parts, as they are heard, and what is asked for."""

    def __init__(self, parts: dict[str, Part], rng: Generator, size: int):
        shares = np.array([PARTS[name] for name in parts])
        names = rng.choice(list(parts), size, p=shares / shares.sum())
        clips = [parts[name].cut(rng, rng.choice(parts[name].train)) for name in names]
        self.waveform, self.targets, self.heard = stacked(clips)
        for i in np.flatnonzero(rng.random(size) < 0.33):
            other = self.waveform[i - 1]
            ratio = self.waveform[i].std() / (other.std() + 1e-6) * 10 ** (-rng.uniform(0, 20) / 20)
            self.waveform[i] = self.waveform[i] + ratio * other
        peaks = self.waveform.abs().amax(dim=1, keepdim=True) + 1e-6
        levels = 10 ** (torch.from_numpy(rng.uniform(-25, 0, (size, 1))).float() / 20)
        self.waveform = self.waveform * levels / peaks
        self.mask = draw_mask(rng, self.heard)


def stacked(clips) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Cuts -> [B, N] samples, [B, T] clusters of each codebook, [B, T] True where there is sound."""
    waveforms, targets, lengths = zip(*clips)
    of_name = {
        name: torch.from_numpy(np.stack([t[name] for t in targets]).astype(np.int64)) for name in CLUSTERS
    }
    tokens = (CROP - FIELD) // HOP + 1
    return torch.stack(waveforms), of_name, torch.arange(tokens) < torch.tensor(lengths)[:, None]


def draw_mask(rng: Generator, heard: Tensor) -> Tensor:
    """[B, T] -> [B, T] True where a token is masked: spans, of which a clip has at least one."""
    starts = rng.random(heard.shape) < MASKED
    starts[np.arange(len(starts)), rng.integers(0, heard.sum(1).numpy())] = True
    mask = np.zeros(starts.shape, bool)
    for shift in range(SPAN):
        mask[:, shift:] |= starts[:, : starts.shape[1] - shift]
    return torch.from_numpy(mask)


def losses(logits: dict[str, Tensor], targets: dict[str, Tensor], asked: Tensor) -> dict[str, Tensor]:
    """Mean cross-entropy of each codebook over the tokens that are asked for."""
    return {name: F.cross_entropy(logits[name][asked].float(), targets[name][asked]) for name in CLUSTERS}


@torch.no_grad()
def evaluate(model: Pretraining, parts: dict[str, Part]) -> dict[str, float]:
    """Accuracy of each codebook on the masked tokens of held-out clips, part by part."""
    training, metrics = model.training, {}
    model.train()  # or transformers masks nothing
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    for part_name, part in parts.items():
        rng = np.random.default_rng(0)
        hits: dict[str, list[Tensor]] = {name: [] for name in CLUSTERS}
        for rows in np.array_split(part.evaluation[:200], max(1, len(part.evaluation[:200]) // 20)):
            waveform, targets, heard = stacked([part.cut(None, i) for i in rows])
            mask = draw_mask(rng, heard)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(waveform, mask)
            for name in CLUSTERS:
                right = logits[name].argmax(-1) == targets[name]
                hits[name].append(right[mask & heard])
        metrics |= {f"{part_name}_{name}": torch.cat(h).float().mean().item() for name, h in hits.items()}
    model.train(training)
    return metrics


def pretrain(
    corpus: Path, out: Path, steps: int, seed: int, size: str, every: int, teacher: Path | None
) -> None:
    """Train for ``steps`` and write the backbone, its configuration and what training said.

    Goes on from ``out/training_state.pt`` where a run of the same settings was stopped.
    """
    folders = [corpus / name for name in PARTS if (corpus / name).is_dir()]
    features = Features(teacher)
    tag = f"{'second' if teacher else 'first'}_{seed}"
    missing = not all((folder / f"targets_{tag}.npz").is_file() for folder in folders)
    sampled = sampled_tokens(folders, features)
    codebooks = fit_codebooks(sampled, CLUSTERS, max_iter=30, seed=seed) if missing else {}
    parts = {folder.name: Part(folder, features, codebooks, tag) for folder in folders}

    torch.manual_seed(seed)
    about = {"seed": seed, "steps": steps, "size": size, **SETTINGS, "targets": tag}
    about["clips"] = {name: len(part.train) for name, part in parts.items()}
    model = Pretraining(SIZES[size] | CONFIG)
    choose_attention(model, "cpu", torch.bfloat16)
    replace_dropout(model)
    training = Training(model.train(), out, about)
    for step in training.steps():
        batch = Batch(parts, np.random.default_rng([seed, step]), SETTINGS["batch_size"])
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(batch.waveform, batch.mask)
        loss = losses(logits, batch.targets, batch.mask & batch.heard)
        of_heard = losses(logits, batch.targets, ~batch.mask & batch.heard)
        training.step(step, sum(loss.values()) + SETTINGS["heard"] * sum(of_heard.values()))
        if (step + 1) % every == 0 or step + 1 == steps:
            measured = {f"loss_{name}": value.item() for name, value in loss.items()}
            final = training.report(step, measured | evaluate(training.average, parts))
    # Whoever tunes it masks nothing: spans of 200 ms would hide a third of a word from a small network.
    training.average.model.config.mask_time_prob = 0.0
    save_backbone(Wav2Vec2(training.average.model), out)
    write_json(out / "training.json", {**about, "final": final})
    training.state_file.unlink()


def main() -> None:
    """Read the command line."""
    guard_output()
    parser = recipe_parser(__doc__, steps=6500)
    parser.add_argument("-teacher", type=Path, default=None, help="folder of an earlier run's weights")
    pretrain(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
