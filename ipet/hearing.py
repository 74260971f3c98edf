"""What a page asks of saved adapters: what a recording holds, when, and whether two voices are one.

Plain functions of models and files; ``serve_page`` shows what they return.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ipet.audio import SAMPLE_RATE, ClipError, Recordings, stream_audio
from ipet.checkpoint import read_json
from ipet.features import HOP_SAMPLES, LOW_HZ, LogMel
from ipet.files import run_of
from ipet.heads import SpeakerHead
from ipet.inference import Event, TunedModel, Window, load
from ipet.levels import LevelMeter, check_audible
from ipet.printable import escaped
from ipet.recording_reader import level_db
from ipet.report import DAMAGE, read_predictions, shortest_ends
from ipet.verification_metrics import det_curve, eer

COLUMNS = 1_200  # of a spectrogram at most, a frame each
TICKS_HZ = (100, 300, 1_000, 2_000, 4_000, 8_000)
CURVES = 6  # classes of a timeline, those that reach the highest probabilities
ROUNDING = 1e-9  # of rates that are equal
SCORING = "mean_distance"  # of a trial, where the run does not say


class Said(NamedTuple):
    """A class of a recording.

    ``threshold``: from which probability on it counts as heard; None where a clip has one class alone.
    """

    name: str
    probability: float
    threshold: float | None


@dataclass(frozen=True)
class Heard:
    """What a recording holds.

    Args:
        seconds: of the recording.
        heard: of it that the answer is of, those that evaluation would hear.
        segments: in how many evenly spaced places they lie.
        middle: of one place, whether it is the middle; otherwise the beginning.
        labels: the most probable classes, the first one first.
        log_mel: [T, M] dB, of all of it.
        ticks: where a frequency lies in it, from 0 to M, by its name.
    """

    seconds: float
    heard: float
    segments: int
    middle: bool
    labels: list[Said]
    log_mel: np.ndarray
    ticks: dict[str, float]


@dataclass(frozen=True)
class Timeline:
    """What a long recording holds from when to when.

    Args:
        middles: [W] seconds of its windows.
        curves: [W] probabilities, of the classes that reach the highest.
        events: see ``TunedModel.events``.
        window: seconds of a window.
        seconds: of the recording.
    """

    middles: np.ndarray
    curves: dict[str, np.ndarray]
    events: list[Event]
    window: float
    seconds: float


class Threshold(NamedTuple):
    """The score from which on two voices count as one, and what it is known from."""

    score: float
    eer: float  # of the trials
    num_trials: int


@dataclass
class Adapter:
    """A saved adapter that is ready.

    Args:
        name: what tells it from the others.
        folder: as it was given, a path or a hub id.
        model: on its backbone, which others may share.
        run: the folder of the run that it lies in; None where it lies elsewhere.
        scoring: of trials, as its run has it.
        threshold: of its run's trials, if it is of voices and lies in its run.
    """

    name: str
    folder: str
    model: TunedModel
    run: Path | None = None
    scoring: str = SCORING
    threshold: Threshold | None = None

    @property
    def of_voices(self) -> bool:
        """Whether it tells voices apart; it tells what a recording holds otherwise."""
        return isinstance(self.model.model.head, SpeakerHead)


# Adapters -------------------------------------------------------------------------------------------


def load_adapters(
    folders: Sequence[str],
    device: str | None = None,
    pretrained: str | None = None,
    precision: str = "fp32",
) -> list[Adapter]:
    """Saved adapters, each frozen backbone read and held once for all that were trained on it.

    Args:
        folders, device, pretrained, precision: see ``inference.load``; a folder that comes twice counts once.

    Raises:
        FileNotFoundError, ValueError: see ``inference.load``.
    """
    folders = list(dict.fromkeys(folders))
    paths = [Path(folder).expanduser() for folder in folders]
    names = [(run_of(path) or path).name for path in paths]
    names = names if len(set(names)) == len(names) else shortest_ends(paths)
    found: list[Adapter] = []
    for name, folder, path in zip(names, folders, paths):
        model = on_a_held_backbone([a.model for a in found], folder)
        adapter = Adapter(escaped(name), folder, model or load(folder, device, pretrained, precision))
        adapter.run = run_of(path)
        if adapter.of_voices and adapter.run is not None:
            with contextlib.suppress(*DAMAGE):
                kept = read_json(adapter.run / "arguments.json").get("scoring") or SCORING
                adapter.scoring = adapter.model.description.get("scoring", kept)  # earlier adapters lack it
                adapter.threshold = threshold_of(path)
        found.append(adapter)
    return found


def on_a_held_backbone(models: Sequence[TunedModel], folder: str) -> TunedModel | None:
    """An adapter on the backbone of one of the models, or None: it needs another, or cannot be read."""
    for bare in {id(m.bare): m for m in models if m.bare is not None}.values():
        with contextlib.suppress(ValueError):
            return bare.sibling(folder)
    return None


def threshold_of(folder: Path) -> Threshold | None:
    """Where misses and false alarms of the run's trials are equal; its last epoch's scores alone are kept."""
    if folder.name != "last":
        return None
    scores, targets = read_predictions(folder.parent / "predictions.npz")
    false_alarm, miss = det_curve(scores, targets)
    accepted = np.unique(scores)[::-1]  # a point of the curve each, behind "accept nothing"
    crossing = int(np.argmax(miss[1:] <= false_alarm[1:] + ROUNDING))
    return Threshold(float(accepted[crossing]), eer(scores, targets), len(scores))


# A recording ----------------------------------------------------------------------------------------


def hear(model: TunedModel, path: str | Path, most_seconds: float, top: int = 5) -> Heard:
    """What a recording holds, as ``predict`` tells it, and what it looks like.

    Args:
        most_seconds: a longer recording is refused.
        top: how many classes.

    Raises:
        ValueError: it is too long or silent.
        FileNotFoundError, ClipError: see ``read_audio``.
    """
    waveform = read_sound(path, most_seconds)
    [values] = model.probabilities([waveform])
    of_class = dict(zip(model.labels, model.thresholds.tolist())) if model.several else {}
    labels = [Said(*label, of_class.get(label.name)) for label in model.ranked(values, top)]
    seconds = len(waveform) / SAMPLE_RATE
    segments = model.model.front_end.num_segments
    log_mel, ticks = picture(model, waveform)
    heard = min(seconds, segments * window_seconds(model))
    return Heard(seconds, heard, segments, model.cut.crop != "first", labels, log_mel, ticks)


def read_sound(path: str | Path, most_seconds: float) -> Tensor:
    """[T] samples at 16 kHz; see ``hear`` for its errors."""
    seconds = Recordings().length(path) / SAMPLE_RATE
    if seconds > most_seconds:
        raise ClipError(f"{path}: {seconds / 60:,.1f} minutes; at most {most_seconds / 60:g} are heard here")
    meter = LevelMeter()
    # At its own rate, all of it may be very large.
    waveform = torch.cat(list(stream_audio(path, meter=meter)))
    check_audible(path, level_db(waveform), meter.levels)
    return waveform


def window_seconds(model: TunedModel) -> float:
    """How much of a recording the model hears at once."""
    return model.model.front_end.num_samples / SAMPLE_RATE


@torch.inference_mode()
def picture(model: TunedModel, waveform: Tensor) -> tuple[np.ndarray, dict[str, float]]:
    """[N] samples -> [T, M] log-mels in dB, with the adapter's filters if it has some; and where Hz lie."""
    settings = model.model.front_end.settings
    num_mels = settings.get("num_mels", 128)
    hop = max(HOP_SAMPLES, -(-len(waveform) // COLUMNS))
    window = {name: settings[name] for name in ("window", "window_ms") if name in settings}
    front_end = LogMel(num_mels, 1, mean=0.0, std=1.0, hop_ms=(hop + 0.5) * 1_000 / SAMPLE_RATE, **window)
    waveform = F.pad(waveform, (0, max(0, front_end.window_samples - len(waveform))))
    log_mel = front_end.log_mel(waveform[None])[0].numpy()  # [T, M]
    low, high, *places = (1_127 * np.log1p(hz / 700) for hz in (LOW_HZ, SAMPLE_RATE / 2, *TICKS_HZ))
    rows = [float(num_mels * (place - low) / (high - low)) for place in places]
    return 10 / np.log(10) * log_mel, dict(zip((f"{hz:,}" for hz in TICKS_HZ), rows))


def is_long(model: TunedModel, heard: Heard) -> bool:
    """Whether a recording is longer than what the model hears at once, so that there is a timeline."""
    return heard.seconds > window_seconds(model)


def timeline(model: TunedModel, windows: Sequence[Window]) -> Timeline:
    """Which classes a recording's windows hold, from when to when."""
    values = np.stack([window.probabilities for window in windows])  # [W, C]
    highest = np.argsort(-values.max(axis=0), kind="stable")[:CURVES]
    curves = {model.labels[c]: values[:, c] for c in highest}
    middles = np.array([(window.start + window.end) / 2 for window in windows])
    return Timeline(middles, curves, model.events(windows), window_seconds(model), windows[-1].end)


# Two voices -----------------------------------------------------------------------------------------


class Alike(NamedTuple):
    """How alike two voices are.

    ``same``: whether they count as one; None where no threshold is known.
    """

    score: float
    lowest: float  # that the scoring can give
    highest: float
    same: bool | None


BOUNDS = {"mean_distance": (-2.0, 0.0), "cosine": (-1.0, 1.0)}  # of vectors of length 1


def compare(adapter: Adapter, one: str | Path, other: str | Path, most_seconds: float) -> Alike:
    """How alike the voices of two recordings are, scored as the trials of the adapter's run.

    Raises: see ``hear``; ValueError also where the adapter is not of voices.
    """
    if not adapter.of_voices:
        raise ValueError(f"{adapter.name} tells no voices apart; expected an adapter of speaker verification")
    voices = [read_sound(path, most_seconds) for path in (one, other)]
    score = adapter.model.similarity(*voices, adapter.scoring)
    same = None if adapter.threshold is None else score >= adapter.threshold.score
    return Alike(score, *BOUNDS[adapter.scoring], same)
