"""Ways to train on one batch: IPET, its rivals in this repository, the textbook form, PEFT's LoRA.

A way is built once and called once a step: front end, backbone, head, loss, gradients, optimiser, in training
mode with the experiment's published settings, on noise and with random weights.
"""

import functools
import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torchaudio.compliance.kaldi import fbank
from transformers import ASTConfig, ASTModel

from benchmarks.textbook import make_plain
from ipet.arguments import log_mel_cut_values, waveform_cut_values
from ipet.audio import SAMPLE_RATE
from ipet.beginning import recipe_of, task_of
from ipet.datasets import Batch, Datasets, EvaluationClips, TrainClips
from ipet.heads import LinearHead
from ipet.lists import Clip, Labels
from ipet.precision import autocast
from ipet.recipe import BETAS
from ipet.splits import log_mel_cuts, waveform_cuts
from ipet.trainer import Trainer
from ipet.tuning import train_mode, tuned_layers

ROOT = Path(__file__).resolve().parents[1]
RANK = 8  # of LoRA, on queries and values


class Setting(NamedTuple):
    """What is trained on."""

    experiment: str
    batch_size: int
    num_classes: int
    flags: tuple[str, ...] = ("-pretrained", "random")


SETTINGS = {
    "w2v_speechcommands": Setting("w2v_speechcommands", 8, 35),
    "w2v_gtzan": Setting("w2v_gtzan", 4, 10),
    "ast_esc50": Setting("ast_esc50", 2, 50),
    "ast_fsd50k": Setting("ast_fsd50k", 1, 200),
    "w2v_speechcommands, small": Setting(
        "w2v_speechcommands", 16, 35, ("-pretrained", "random", "-size", "small")
    ),
    "ast_esc50, small": Setting("ast_esc50", 8, 50, ("-pretrained", "random", "-size", "small")),
}


class Built(NamedTuple):
    """An experiment's model and what it is trained with."""

    args: object
    model: nn.Module
    trainer: type
    batch: Batch


def build(setting: Setting, method: str, precision: str, device: torch.device, *more: str) -> Built:
    """An experiment's model, and a batch of noise of the length that it hears."""
    flags = ["-name", "benchmark", "-method", method, "-precision", precision, *setting.flags, *more]
    flags += [
        "-batch_size",
        str(setting.batch_size),
        *(["-lora_rank", str(RANK)] if method == "lora" else []),
    ]
    for name in ("arguments", "model", "trainer"):
        sys.modules.pop(name, None)
    sys.path.insert(0, str(ROOT / setting.experiment))
    try:
        arguments, model, trainer = map(importlib.import_module, ("arguments", "model", "trainer"))
    finally:
        sys.path.pop(0)
    args = arguments.get_args(flags)
    torch.manual_seed(0)
    built = model.build_model(args, setting.num_classes).to(device)
    size, num_samples = setting.batch_size, built.front_end.num_samples
    target = F.one_hot(torch.arange(size) % setting.num_classes, setting.num_classes).float()
    batch = Batch(
        waveform=0.1 * torch.randn(size, num_samples),
        num_samples=torch.full((size,), num_samples),
        target=target,
        index=torch.arange(size),
        seed=torch.arange(size),
        fixed=torch.ones(size, dtype=torch.bool),
    )
    return Built(args, built, trainer.Trainer, batch.to(device))


class Noise:
    """Recordings of noise, of any path, in memory.

    Args:
        num_samples: of each.
    """

    def __init__(self, num_samples: int):
        self.num_samples = num_samples

    @functools.cache  # noqa: B019 - as long as the benchmark
    def read(self, path: Path, start: int = 0, num_samples: int | None = None) -> Tensor:
        """[T] samples at 16 kHz, the same for the same path."""
        return 0.1 * torch.from_numpy(
            np.random.default_rng(int(path.name)).standard_normal(self.num_samples, np.float32)
        )


def noise_datasets(args, num_clips: int, seconds: float, num_classes: int) -> Datasets:
    """As many clips of noise to train on, and to evaluate, cut as the experiment's."""
    if "winlen" in args:
        cuts = log_mel_cuts(**log_mel_cut_values(args))
    else:
        cuts = waveform_cuts(**waveform_cut_values(args))
    names = tuple(map(str, range(num_classes)))
    labels = Labels(Path("noise"), names, names)
    clips = [Clip(Path(str(i)), (i % num_classes,), f"noise {i}") for i in range(2 * num_clips)]
    datasets = Datasets(
        TrainClips(clips[:num_clips], labels, cuts.train),
        {"eval": EvaluationClips(clips[num_clips:], labels, cuts.evaluation)},
    )
    datasets.read_from(Noise(round(seconds * SAMPLE_RATE)))
    return datasets


def trainer_of(built: Built, datasets: Datasets, folder: str | Path, device: torch.device) -> Trainer:
    """This repository's trainer."""
    recipe = recipe_of(built.args, device)
    return built.trainer(built.model, datasets, recipe, device, folder, **task_of(built.args))


def ours(
    setting: Setting, method: str, precision: str, device: torch.device, *more: str, compiled: bool = False
) -> Callable[[], Tensor]:
    """A step of this repository's trainer; ``compiled``: its layers by torch.compile."""
    built = build(setting, method, precision, device, *more)
    args, model, _, batch = built
    datasets = noise_datasets(args, setting.batch_size, 1, setting.num_classes)  # counted, never read
    with tempfile.TemporaryDirectory() as scratch:
        training = trainer_of(built, datasets, scratch, device)
    train_mode(model, args.frozen_dropout)
    for layer in tuned_layers(model) if compiled else ():
        layer.compile(dynamic=False)
    weights = torch.full((setting.batch_size,), 1 / setting.batch_size)
    return lambda: training.train_step(batch, weights)[0]


class ClipByClip(nn.Module):
    """Log-mels by torchaudio's Kaldi filterbank, one call a clip, then the front end's own augmentation."""

    def __init__(self, front_end: nn.Module):
        super().__init__()
        self.front_end = front_end

    def forward(self, waveform: Tensor, num_samples: Tensor, seeds: Tensor) -> Tensor:
        """[B, N] samples, [B] true lengths, [B] augmentation seeds -> [B, T, M]."""
        mels = [
            fbank(
                clip[None] - clip.mean(),
                num_mel_bins=self.front_end.num_mels,
                sample_frequency=16_000,
                window_type="hanning",
                htk_compat=True,
                use_energy=False,
                dither=0.0,
            )
            for clip in waveform
        ]
        x = self.front_end.masks(torch.stack(mels), seeds)
        return (x - self.front_end.mean) / (2 * self.front_end.std)


def plain_step(forward, parameters, batch: Batch, loss: str, precision: str) -> Callable[[], Tensor]:
    """A step as a script would write it."""
    optimizer = torch.optim.Adam(parameters, lr=1e-3, betas=BETAS, weight_decay=5e-7)
    measure = F.cross_entropy if loss == "cce" else F.binary_cross_entropy_with_logits

    def step() -> Tensor:
        with autocast(batch.waveform.device.type, precision):
            logits = forward(batch.waveform, batch.num_samples, batch.seed)
            value = measure(logits.float(), batch.target)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def textbook(
    setting: Setting, method: str, precision: str, device: torch.device, *more: str
) -> Callable[[], Tensor]:
    """The method as its equations read.

    Prompts are concatenated and every token goes through the whole layer, gradients flow into the frozen
    convolutions, filterbanks are computed clip by clip, and DistributedDataParallel looks for unused
    parameters.
    """
    args, model, _, batch = build(setting, method, precision, device, *more)
    make_plain(model)
    if hasattr(model.front_end, "masks"):
        model.front_end = ClipByClip(model.front_end)
    for module in model.modules():
        if hasattr(module, "_requires_grad"):  # of transformers' convolutions
            module._requires_grad = True
    if not dist.is_initialized():
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    train_mode(model, args.frozen_dropout)
    parallel = DistributedDataParallel(model, find_unused_parameters=True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    return plain_step(parallel, parameters, batch, args.classification_loss, precision)


class Pooled(nn.Module):
    """A front end, a model of transformers' with PEFT's LoRA, the mean over its tokens, a head."""

    def __init__(self, front_end: nn.Module, backbone: nn.Module, num_classes: int):
        super().__init__()
        self.front_end, self.backbone = front_end, backbone
        self.head = LinearHead(backbone.config.hidden_size, num_classes)

    def forward(self, waveform: Tensor, num_samples: Tensor, seeds: Tensor) -> Tensor:
        """[B, N] samples, [B] true lengths, [B] augmentation seeds -> [B, C] logits."""
        tokens = self.backbone(self.front_end(waveform, num_samples, seeds)).last_hidden_state
        return self.head(tokens.mean(dim=1))


def peft_lora(setting: Setting, precision: str, device: torch.device) -> Callable[[], Tensor]:
    """transformers' own model of the same size, with PEFT's LoRA on queries and values."""
    args, model, _, batch = build(setting, "linear", precision, device)
    backbone = model.backbone
    if hasattr(backbone, "vit"):
        vit, settings = backbone.vit, backbone.settings
        config = ASTConfig(
            hidden_size=vit.embed_dim,
            num_hidden_layers=len(vit.blocks),
            num_attention_heads=vit.blocks[0].attn.num_heads,
            intermediate_size=4 * vit.embed_dim,
            max_length=settings["num_frames"],
            num_mel_bins=settings["num_mels"],
        )
        library = ASTModel(config)
    else:
        library = backbone.model
    names = {name.split(".")[-1] for name, _ in library.named_modules()}
    targets = ["q_proj", "v_proj"] if "q_proj" in names else ["query", "value"]
    lora = get_peft_model(library, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=targets))
    tuned = Pooled(model.front_end, lora, setting.num_classes).to(device).train()
    parameters = [p for p in tuned.parameters() if p.requires_grad]
    return plain_step(tuned, parameters, batch, args.classification_loss, precision)


def step_of(setting: str, way: str, precision: str, device: torch.device) -> Callable[[], Tensor]:
    """One of ``WAYS`` in one of ``SETTINGS``, ready to be called."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if way == "textbook":
        return textbook(SETTINGS[setting], "ipet", precision, device)
    if way == "peft_lora":
        return peft_lora(SETTINGS[setting], precision, device)
    if way == "compiled":
        return ours(SETTINGS[setting], "ipet", precision, device, compiled=True)
    if way == "kept":
        return ours(SETTINGS[setting], "ipet", precision, device, "-keep_features", "1")
    return ours(SETTINGS[setting], way, precision, device)


def fits(way: str, setting: str) -> bool:
    """Whether a setting has that way: AST has no convolutions whose output could be kept."""
    return way != "kept" or SETTINGS[setting].experiment.startswith("w2v")


# The textbook's last: it starts a process group, which would make those built behind it parallel, too.
WAYS = ("ipet", "compiled", "kept", "linear", "finetune", "lora", "peft_lora", "textbook")
