"""``predict`` on many short clips, over the bare forward passes; and its memory on an hour of sound.

Clips of noise are written as WAV files and heard as ``python3 -m ipet predict ADAPTER FOLDER --csv FILE``
hears them: decoded, resampled, cut, log-mels, backbone, head, probabilities, rows. The bare passes are
backbone and head over the same batches, ready in memory as the front end made them. Both ways run in turn
(A B A B ...), the ratio in every round is taken, and its median shown. Small size, random weights, IPET.

Memory: recordings of five minutes and of an hour under ``-timeline``, the peak of the resident set in each.
"""

import argparse
import csv
import itertools
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from benchmarks import medians_and_ratio, seconds_in_turn
from benchmarks.reading import write_clips
from benchmarks.steps import MIB, resident
from benchmarks.ways import SETTINGS, build, noise_datasets
from ipet.audio import SAMPLE_RATE
from ipet.commands import predict
from ipet.inference import BATCH, TunedModel, batched
from ipet.precision import autocast
from ipet.tuning import prompts_computed

SECONDS = 1  # of a clip
FRAMES = 112  # that the backbone hears of it, a multiple of AST's patches
RATES = (16_000, 44_100)  # Hz, of the clips
MEMORY = {"16 kHz, mono": (16_000, 1), "44.1 kHz, stereo": (44_100, 2)}
MINUTES = (5, 60)


def tuned(setting: str, precision: str, device: torch.device) -> TunedModel:
    """A setting's model as ``ipet.load`` gives one."""
    given = SETTINGS[setting]
    built = build(given, "ipet", precision, device, "-frame_length", str(FRAMES))
    clips = noise_datasets(built.args, 1, SECONDS, given.num_classes).evaluation["eval"]
    labels = [{"name": name} for name in clips.labels.names]
    model = built.model.eval().requires_grad_(False)
    found = TunedModel(model, clips.cut, {"labels": labels, "loss": built.args.classification_loss})
    found.precision = precision
    return found


@torch.inference_mode()
def ready(model: TunedModel, paths: list[Path]) -> list[Tensor]:
    """What the front end makes of each batch of clips."""
    cut = [model.cut(model.read(path)) for path in paths]
    batches = [torch.stack(batch).to(model.device) for batch in batched(cut, BATCH)]
    return [model.model.front_end(x, torch.full((len(x),), x.shape[1], device=x.device)) for x in batches]


@torch.inference_mode()
def bare(model: TunedModel, inputs: list[Tensor]) -> Tensor:
    """[N, C] logits: backbone and head alone, batch after batch."""
    with autocast(model.device.type, model.precision), prompts_computed(model.model):
        return torch.cat([model.model.head(model.model.backbone(x)).float().cpu() for x in inputs])


class Predict:
    """``predict`` on a folder, into a new CSV file whenever it is called."""

    def __init__(self, model: TunedModel, folder: Path, scratch: Path):
        self.model, self.folder, self.scratch = model, folder, scratch
        self.numbers = itertools.count()

    def __call__(self) -> list[str]:
        """The first class of every clip, in order."""
        out = self.scratch / f"heard_{next(self.numbers)}.csv"
        predict(self.model, [self.folder], csv_file=out)
        with open(out, newline="", encoding="utf-8") as file:
            return [row["label"] for row in csv.DictReader(file) if row["rank"] == "1"]


def compare(
    setting: str, rate: int, num_clips: int, rounds: int, precision: str, device: torch.device
) -> dict:
    """Seconds of both ways, and their ratio.

    Raises:
        AssertionError: they do not say the same of a clip.
    """
    model = tuned(setting, precision, device)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "clips")
        folder.mkdir()
        paths = sorted(write_clips(folder, num_clips, SECONDS, rate, ".wav"))
        command, passes = Predict(model, folder, Path(scratch)), partial(bare, model, ready(model, paths))
        alone = [model.labels[i] for i in passes().argmax(dim=1).tolist()]
        differ = sum(a != b for a, b in zip(command(), alone, strict=True))
        assert differ <= 0.01 * num_clips, f"{differ} of {num_clips} clips have another first class"
        seconds = seconds_in_turn({"predict": command, "bare": passes}, rounds, device)
    return medians_and_ratio(seconds, over="predict", under="bare")


def write_long(path: Path, minutes: int, rate: int, num_channels: int) -> None:
    """Quiet 16-bit noise, a second of it again and again."""
    second = 0.1 * np.random.default_rng(0).standard_normal((rate, num_channels))
    with soundfile.SoundFile(path, "w", rate, num_channels, "PCM_16") as file:
        for _ in range(60 * minutes):
            file.write(second)


def peak_mib(model: TunedModel, path: Path, scratch: Path) -> float:
    """MiB of this process at most while ``predict -timeline`` hears a recording, window behind window."""
    Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the peak so far
    hop = model.model.front_end.num_samples / SAMPLE_RATE
    predict(model, [path], "timeline", hop=hop, csv_file=scratch / f"{path.stem}.csv")
    return resident("VmHWM") / MIB


def memory(setting: str, kind: str, device: torch.device) -> dict[str, float]:
    """MiB at most of recordings of some lengths, the shortest heard twice: the first time warms up."""
    model = tuned(setting, "fp32", device)
    peaks = {}
    for minutes in (MINUTES[0], *MINUTES):
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "long.wav")
            write_long(path, minutes, *MEMORY[kind])
            peaks[f"{minutes} min"] = peak_mib(model, path, Path(scratch))
    return peaks


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The part's own."""
    add = parser.add_argument
    both = ["ast_esc50, small", "w2v_speechcommands, small"]
    add("-only", choices=SETTINGS, nargs="+", default=both, help="some settings")
    add("-precision", choices=("fp32", "bf16"), default="fp32")
    add("-clips", type=int, default=1_000, help="heard in a round")
    add("-rounds", type=int, default=3, help="timed rounds")
    add("-memory", choices=MEMORY, nargs="*", default=list(MEMORY), help="of long recordings of these kinds")


def run(args: argparse.Namespace, device: torch.device) -> dict:
    """Print a row a setting and rate, and one a kind of long recording."""
    print(f"{args.clips:,} clips of {SECONDS} s, {FRAMES} frames, {args.precision}; seconds")
    print(f"{'setting':<28}{'kHz':>6}{'predict':>9}{'bare':>8}{'ratio':>7}   (min - max)")
    results = {}
    for setting, rate in itertools.product(args.only, RATES):
        r = compare(setting, rate, args.clips, args.rounds, args.precision, device)
        results[f"{setting}, {rate}"] = r
        print(
            f"{setting:<28}{rate / 1000:>6g}{r['predict']:>9.2f}{r['bare']:>8.2f}{r['ratio']:>7.2f}   "
            f"({r['ratio_min']:.2f} - {r['ratio_max']:.2f})",
            flush=True,
        )
    for kind in args.memory if Path("/proc/self/clear_refs").exists() else ():
        results[kind] = peaks = memory(args.only[0], kind, device)
        shown = ", ".join(f"{name} {peak:.0f}" for name, peak in peaks.items())
        print(f"peak of the resident set, MiB, {kind}: {shown}", flush=True)
    return results
