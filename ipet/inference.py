"""A saved adapter in use: from recordings to labels, embeddings and the likeness of voices.

    model = ipet.load("runs/IPET/ast_esc50/first/seed_1234/fold_1/last")
    model.predict("dog.wav")                  # [Label(name="dog", probability=0.97), ...]
    model.sibling("drums/last")               # another task on the same backbone, at once

The folder alone suffices: it names the backbone, and holds labels, front end and cut. The frozen backbone
must be the one that it was trained on, which its fingerprint tells.
"""

import contextlib
import copy
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ipet.audio import SAMPLE_RATE, read_audio, stream_audio
from ipet.calibration import probabilities
from ipet.checkpoint import check_shapes, fetch, load_trainable_state
from ipet.datasets import Cut, collate, single
from ipet.description import CONFIG, FORMER_CONFIG, FORMER_WEIGHTS, WEIGHTS
from ipet.devices import best_device, warn_of_precision
from ipet.features import LogMel, Waveform
from ipet.heads import Classifier, LinearHead, SpeakerHead
from ipet.kinds import module_of
from ipet.levels import LevelMeter
from ipet.methods import apply_method, skeleton
from ipet.precision import autocast
from ipet.saved import check_backbone, read_saved
from ipet.scoring import score_trials
from ipet.tuning import prompts_computed, trainable_parameters

Audio = str | Path | np.ndarray | Tensor  # a recording's file, or its [T] samples at 16 kHz
BATCH = 16  # segments at once
WORKERS = 4  # batches at once on a CPU, at most; their activations take memory


class Label(NamedTuple):
    """A class, and how probable the model takes it to be."""

    name: str
    probability: float


class Window(NamedTuple):
    """A stretch of a recording, in seconds, and the [C] probabilities of the classes there."""

    start: float
    end: float
    probabilities: np.ndarray


class Event(NamedTuple):
    """A class that was heard without a gap, from when to when in seconds, and its highest probability."""

    name: str
    onset: float
    offset: float
    probability: float


class TunedModel:
    """A frozen backbone with what was trained for a task.

    Args:
        model: in evaluation mode, on its device.
        cut: how a clip becomes the length that the backbone hears.
        description: what ``adapter_config.json`` says.

    Attributes: ``labels`` names the classes; ``several``, whether a clip may have more than one;
    ``temperature`` and ``thresholds`` [C], fitted on the validation list where there was one, say how sure
    an answer is, and from which probability on a class should be said.
    """

    def __init__(self, model: Classifier, cut: Cut, description: dict):
        self.model, self.cut, self.description = model, cut, description
        self.labels = tuple(label["name"] for label in description["labels"])
        self.loss = description["loss"]
        self.several = self.loss == "bce"
        self.scoring = description.get("scoring", "mean_distance")
        calibration = description.get("calibration", {})
        self.temperature = float(calibration.get("temperature", 1.0))
        self.thresholds = np.array(calibration.get("thresholds", [0.5] * len(self.labels)))
        self.device = next(model.parameters()).device
        self.precision = "fp32"
        self.bare: nn.Module | None = None  # the frozen backbone as it is without the adapter
        self.of_windows = copy.copy(model.front_end)  # a window of a long recording is one segment
        self.of_windows.num_segments = 1
        fills = isinstance(model.front_end, Waveform) and not model.front_end.variable_length
        self.window_cut = replace(cut, whole=False, repeat=cut.repeat or fills)

    def sibling(self, folder: str | Path) -> "TunedModel":
        """Another task's adapter, on this model's frozen backbone: it is neither read nor held again.

        Raises:
            ValueError: this model's backbone is fine-tuned itself; the adapter is of another backbone, or of
                another number of frames.
            FileNotFoundError: no such folder.
        """
        if self.bare is None:
            raise ValueError(
                "the model's backbone is fine-tuned: no other task has the same; load that alone"
            )
        return load(folder, self.device, precision=self.precision, bare=self.bare)

    def read(self, audio: Audio) -> Tensor:
        """[T] samples at 16 kHz.

        Raises:
            ValueError: an array that is not one-dimensional, empty or not finite.
            FileNotFoundError, ClipError: see ``read_audio``.
        """
        if isinstance(audio, str | Path):
            return read_audio(audio)
        waveform = torch.as_tensor(audio, dtype=torch.float32)
        if waveform.ndim != 1 or not len(waveform) or not waveform.isfinite().all():
            raise ValueError(
                f"an array of shape {list(waveform.shape)}; expected [T] finite samples at {SAMPLE_RATE} Hz"
            )
        return waveform

    def run(self, waveforms: Iterable[Tensor], embed: bool = False, whole: bool = True) -> Iterator[Tensor]:
        """The outputs of every clip of [T_i] samples, [S, C] logits or [S, E] embeddings, in order.

        Args:
            embed: embeddings; logits otherwise.
            whole: clips are heard as in evaluation, in S segments; otherwise as one, their first.
        """
        front_end, cut = (self.model.front_end, self.cut) if whole else (self.of_windows, self.window_cut)
        # A cut of its own, so that a batch does not hold its whole recordings.
        cuts = (cut(waveform).clone() for waveform in waveforms)
        with contextlib.ExitStack() as stack:
            with autocast(self.device.type, self.precision):
                stack.enter_context(prompts_computed(self.model))
            batches = batched(cuts, max(1, BATCH // front_end.num_segments))
            for outputs in side_by_side(partial(self.compute, front_end, embed=embed), batches, self.device):
                yield from outputs

    @torch.inference_mode()
    def compute(self, front_end: nn.Module, waveforms: list[Tensor], embed: bool) -> Tensor:
        """A batch of clips -> [B, S, C] logits or [B, S, E] embeddings, on the CPU."""
        clips = collate([single(waveform, torch.empty(0), 0) for waveform in waveforms]).to(self.device)
        with autocast(self.device.type, self.precision):
            x = self.model.backbone(front_end(clips.waveform, clips.num_samples))
            if not embed:
                x = self.model.head(x)
            elif isinstance(self.model.head, SpeakerHead):
                x = self.model.head.speaker_embedding(x)
        return x.float().cpu().unflatten(0, (len(clips.index), -1))

    def probabilities(self, recordings: Iterable[Audio]) -> Iterator[np.ndarray]:
        """The [C] probabilities of every recording, in order, computed some at a time.

        Of segments the mean is taken. Where a clip has one class they sum to 1.
        """
        for logits in self.run(map(self.read, recordings)):
            yield self.answer(logits)

    def answer(self, logits: Tensor) -> np.ndarray:
        """[S, C] logits of a clip's segments -> [C] probabilities, their mean."""
        return probabilities(logits.numpy(), self.loss, self.temperature)

    def predict(self, audio: Audio, top: int = 5) -> list[Label]:
        """The most probable classes of a recording, the first one first."""
        [values] = self.probabilities([audio])
        return self.ranked(values, top)

    def ranked(self, values: np.ndarray, top: int) -> list[Label]:
        """[C] probabilities -> the largest ones and their classes."""
        order = np.argsort(-values, kind="stable")[:top]
        return [Label(self.labels[i], float(values[i])) for i in order]

    def embed(self, audio: Audio) -> np.ndarray:
        """[E], the mean of the segments' embeddings: what the head is given, or a speaker's embedding."""
        [embedding] = self.run([self.read(audio)], embed=True)
        return embedding.mean(dim=0).numpy()

    def similarity(self, one: Audio, other: Audio, scoring: str | None = None) -> float:
        """Return how alike two voices are, higher is more alike.

        Args:
            scoring: ``mean_distance`` or ``cosine``; the scoring of the adapter's training by default.
        """
        embeddings = torch.stack(list(self.run(map(self.read, (one, other)), embed=True)))  # [2, S, E]
        return float(score_trials(embeddings, np.array([[0, 1]]), scoring or self.scoring)[0])

    def timeline(
        self, path: str | Path, hop: float | None = None, meter: LevelMeter | None = None
    ) -> Iterator[Window]:
        """The classes of a recording of any length, window by window, decoded as it is needed.

        Args:
            path: of the recording.
            hop: seconds between two windows; None: half a window, which is as long as a training clip.
            meter: Measures the channels before they are mixed.

        Raises:
            ValueError: ``hop`` is not above 0, or longer than a window: something would go unheard.
        """
        size = self.model.front_end.num_samples
        step = size // 2 if hop is None else round(hop * SAMPLE_RATE)
        if not 1 <= step <= size:
            longest = size / SAMPLE_RATE
            raise ValueError(f"windows {hop:g} s apart; expected more than 0 and at most {longest:g}")
        places: list[tuple[int, int]] = []

        def heard() -> Iterator[Tensor]:
            """The windows' samples; where each lies is noted on the way."""
            for start, waveform in windows(stream_audio(path, meter=meter), size, step):
                places.append((start, start + len(waveform)))
                yield waveform

        for logits in self.run(heard(), whole=False):
            start, end = places.pop(0)
            yield Window(start / SAMPLE_RATE, end / SAMPLE_RATE, self.answer(logits))

    def events(self, timeline: Iterable[Window], threshold: float | None = None) -> list[Event]:
        """What was heard when: windows in a row in which a class reaches a probability, its own if not given.

        Where a clip has one class alone, it has to be the most probable one, too.
        """
        events: list[Event] = []
        begun: dict[int, Event] = {}
        for window in timeline:
            heard = window.probabilities >= (self.thresholds if threshold is None else threshold)
            if not self.several:
                heard &= np.arange(len(heard)) == window.probabilities.argmax()
            for i in [i for i in begun if not heard[i]]:
                events.append(begun.pop(i))
            for i in np.flatnonzero(heard).tolist():
                before = begun.get(i, Event(self.labels[i], window.start, window.end, 0.0))
                highest = max(before.probability, float(window.probabilities[i]))
                begun[i] = before._replace(offset=window.end, probability=highest)
        return sorted([*events, *begun.values()], key=lambda event: (event.onset, event.name))


def batched(items: Iterable, size: int) -> Iterator[list]:
    """Lists of ``size`` items, the last one maybe shorter."""
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def side_by_side(compute: Callable, batches: Iterable, device: torch.device) -> Iterator:
    """What ``compute`` makes of each batch, in order.

    On a CPU several batches are computed at a time, by a thread each: then none waits for what one thread
    does alone, such as to decode. A batch that comes alone is computed by all threads.

    An exception of the batches, such as of one that cannot be read, comes behind what those before it gave.
    """
    failures: list[Exception] = []
    yield from computed(compute, until_failure(batches, failures), device)
    if failures:
        raise failures[0]


def until_failure(items: Iterable, failures: list[Exception]) -> Iterator:
    """The items up to an exception of theirs, which is left in ``failures``."""
    try:
        yield from items
    except Exception as error:
        failures.append(error)


def computed(compute: Callable, batches: Iterator, device: torch.device) -> Iterator:
    """See ``side_by_side``."""
    first, threads = list(itertools.islice(batches, 2)), torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or len(first) < 2:
        yield from map(compute, itertools.chain(first, batches))
        return
    workers = min(threads, WORKERS)
    pending: deque = deque()

    def begin() -> None:
        """A worker's share of the threads."""
        torch.get_num_threads()  # a new thread's first use of torch would set it to the others' number
        torch.set_num_threads(threads // workers)

    def next_outputs() -> object:
        """Those of the batch that was begun first."""
        outputs = pending.popleft().result()
        torch.set_num_threads(threads)  # what a worker sets for itself, new threads elsewhere begin with
        return outputs

    try:
        with ThreadPoolExecutor(workers, "batch", begin) as pool:
            for batch in itertools.chain(first, batches):
                pending.append(pool.submit(compute, batch))
                if len(pending) > workers:
                    yield next_outputs()
            while pending:
                yield next_outputs()
    finally:
        torch.set_num_threads(threads)


def windows(blocks: Iterable[Tensor], size: int, step: int) -> Iterator[tuple[int, Tensor]]:
    """Windows of a stream of samples, ``step`` apart: where each starts, and its [size] samples.

    The last one ends with the recording, and may be shorter.
    """
    start, covered, held = 0, 0, torch.empty(0)
    for block in blocks:
        held = torch.cat([held, block])
        while len(held) >= size:
            yield start, held[:size].clone()
            covered = start + size
            held, start = held[step:], start + step
    if start + len(held) > covered:
        yield start, held


def load(
    folder: str | Path,
    device: str | torch.device | None = None,
    pretrained: str | None = None,
    precision: str = "fp32",
    bare: nn.Module | None = None,
) -> TunedModel:
    """A model from the folder of a saved adapter; see ``ipet.saved``.

    Args:
        folder: ``last/`` or ``best/`` of a run, a copy of it, or a hub id ``owner/name``, maybe with ``@``
            and a revision.
        device: where it computes; a GPU, if there is one, if not given.
        pretrained: the backbone's weights, where they are not to be had under the name that
            the adapter holds; see the ``build`` of its kind's module.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        bare: the frozen backbone of a loaded model, whose weights are used again; see ``sibling``.

    Raises:
        FileNotFoundError: no such folder, or no such weights.
        ValueError: files that do not belong together, or another backbone, with the reason.
    """
    name, folder = str(folder), Path(folder).expanduser()
    if not folder.exists():
        files = (CONFIG, WEIGHTS, FORMER_CONFIG, FORMER_WEIGHTS)
        folder = fetch(name, files, "a saved adapter's folder, or a hub id")
    description, tensors, path, weights = read_saved(folder)
    device = device or best_device()
    warn_of_precision(precision, torch.device(device).type)
    with described(path):
        if bare is None:
            backbone = new_backbone(description["backbone"], pretrained, path).to(device)
        else:
            check_same(bare.settings, description["backbone"], path)
            backbone = bare
        with torch.device("meta"):  # sizes that the tensors do not have take no memory
            sketch = tuned(skeleton(backbone), nn.Identity(), description, tensors)
        check_shapes(trainable_parameters(sketch), tensors, str(weights))
        front_end = dict(description["front_end"])
        kind = {"log_mel": LogMel, "waveform": Waveform}[front_end.pop("kind")]
        model = tuned(on_same_weights(backbone), kind(**front_end), description, tensors)
        held = {p.data_ptr() for p in backbone.parameters()}
        changed = [p for p in model.backbone.parameters() if p.requires_grad and p.data_ptr() in held]
        for parameter in changed:  # by the adapter, a fine-tuned one: the other tasks keep theirs
            parameter.data = parameter.data.clone()
        cut = Cut(**description["cut"])
    check_backbone(description, model, path)
    load_trainable_state(model, tensors, str(weights))
    ready = TunedModel(model.eval().requires_grad_(False).to(device), cut, description)
    ready.precision, ready.bare = precision, backbone if bare is not None or not changed else None
    return ready


def check_same(found: dict, expected: dict, path: Path) -> None:
    """Raise ValueError where a loaded backbone is not of the kind and the sizes that a description names."""
    for name, value in found.items():
        if expected.get(name) != value:
            raise ValueError(
                f"{path}: its backbone has {name} {expected.get(name)!r}, the loaded one {value!r}; expected "
                "adapters of one backbone"
            )


def on_same_weights(backbone: nn.Module) -> nn.Module:
    """A copy of a backbone whose parameters are others, of the same memory."""
    memo = {id(p): nn.Parameter(p.data) for p in backbone.parameters()}
    memo |= {id(b): b for b in backbone.buffers()}
    return copy.deepcopy(backbone, memo)


def tuned(backbone: nn.Module, front_end: nn.Module, description: dict, tensors: dict) -> Classifier:
    """The model that a description tells of, its adapter and its head still as they begin."""
    tuning = dict(description["tuning"])
    apply_method(backbone, tuning.pop("method"), **tuning)
    head = SpeakerHead if "head.embed.weight" in tensors else LinearHead
    return Classifier(front_end, backbone, head(backbone.width, len(description["labels"])))


@contextlib.contextmanager
def described(path: Path) -> Iterator[None]:
    """What is missing or odd in a description is a ValueError that names it."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{path}: does not describe an adapter of this version ({type(error).__name__}: {error})"
        ) from None
    except ValueError as error:  # what a setting's own check said, or another file's
        said = str(error)
        raise ValueError(said if str(path.parent) in said else f"{path}: {said}") from None


def new_backbone(settings: dict, pretrained: str | None, path: Path) -> torch.nn.Module:
    """The frozen backbone that a description names, or the one at ``pretrained``.

    Raises:
        ValueError: it had random weights, which nobody has any more, or is of an unknown kind.
    """
    pretrained = pretrained or pinned_name(settings)
    if pretrained == "random":
        raise ValueError(
            f"{path}: its backbone had random weights, which are not kept; expected pretrained ones"
        )
    return module_of(settings["kind"]).rebuild(settings, pretrained)


def pinned_name(settings: dict) -> str:
    """Where a backbone's weights are: of a hub's repository the commit that it was trained on."""
    name, revision = settings["pretrained"], settings.get("revision")
    return f"{name}@{revision}" if revision and name.count("/") == 1 and "@" not in name else name
