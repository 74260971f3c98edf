"""python3 -m ipet inspect: what a saved adapter does in each layer, on a list of clips.

The list is heard once by the tuned and by the frozen network, and once without each part: of a layer its
prompts, its adapter, both; of all layers the same. What is heard is scored as in evaluation.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ipet.calibration import clip_scores
from ipet.checkpoint import tell, write_atomically, write_json
from ipet.classification import LOSSES
from ipet.datasets import EvaluationClips, RankShare, evaluation_loader
from ipet.heads import SpeakerHead
from ipet.inference import BATCH, TunedModel, new_backbone
from ipet.insight import LinearCKA, Part, kinds_of, pooled_states, watched, without
from ipet.inspection_table import as_csv, as_text, draw
from ipet.intervals import WEIGHTED, ClipBootstrap, SpeakerBootstrap, difference_interval
from ipet.lists import Labels, check_labelled, read_clips, read_labels
from ipet.precision import autocast
from ipet.scoring import score_trials
from ipet.trials import read_clip_trials
from ipet.tuning import library_layers, prompts_computed
from ipet.verification_metrics import trial_speakers

HELD = 1 << 29  # bytes of outputs at once; the list is heard again for what exceeds them
MOST = 1000  # resamples of the bootstrap
RESAMPLES = {"accuracy": MOST, "EER": MOST, "mAP": 200}  # one of mAP takes longer
NOTHING = {  # methods without a part that a layer could be without
    "linear": "nothing in the layers is trained: there is nothing to switch off",
}
CHANGED = "what it trains is in the backbone itself: no layer's part can be switched off, all of it can"
FILES = ("inspect.txt", "inspect.csv", "inspect.json")

Condition = tuple[int | None, str]  # layer from 0, or None for all; what is switched off there


class Task(NamedTuple):
    """What a list is heard for.

    ``targets`` [N, C], or [T] of the trials whose utterances are ``pairs`` [T, 2], of ``speakers`` [T, 2];
    ``loss`` is a name of ``LOSSES``, or None for trials.
    """

    metric: str
    clips: EvaluationClips
    targets: np.ndarray
    pairs: np.ndarray | None
    loss: str | None
    speakers: np.ndarray | None = None

    def draw(self) -> ClipBootstrap | SpeakerBootstrap:
        """Return the resampling of the clips, or of the trials' speakers."""
        return ClipBootstrap(len(self.targets)) if self.speakers is None else SpeakerBootstrap(self.speakers)


class Scored(NamedTuple):
    """What the outputs for a list are worth: scores as ``WEIGHTED`` takes them; losses [N], or None."""

    scores: np.ndarray
    losses: np.ndarray | None


# The list -----------------------------------------------------------------------------------------


def read_task(
    model: TunedModel, path: Path, root: Path | None, trials: Path | None, num_clips: int | None, seed: int
) -> Task:
    """What a list, or the trials of its utterances, ask of a model.

    Args:
        path: of the list; ``labels.csv`` lies beside it.
        root: where its paths start; its folder if not given.
        trials: of a speaker model, and of no other.
        num_clips: take a random part of the list, or the trials of so many utterances; None: all.
        seed: of that draw.

    Raises:
        ValueError: the labels are not those of the adapter; trials without speakers, or the other way round.
        FileNotFoundError, ValueError: see ``read_clips``, ``read_labels`` and ``read_clip_trials``.
    """
    speakers = isinstance(model.model.head, SpeakerHead)
    if speakers != (trials is not None):
        said = (
            "verifies speakers: expected -trials FILE" if speakers else "tells classes: expected no -trials"
        )
        raise ValueError(f"{path}: the adapter {said}")
    root = path.parent if root is None else root
    rng = np.random.default_rng(seed)
    if speakers:
        return read_trials_task(model, path, root, trials, num_clips, rng)
    labels = read_labels(path.parent / "labels.csv")
    check_labels(labels, model.description["labels"])
    clips = read_clips(path, root, labels)
    if num_clips is not None and num_clips < len(clips):
        clips = [clips[i] for i in np.sort(rng.choice(len(clips), num_clips, replace=False))]
    clips = EvaluationClips(clips, labels, model.cut)
    several = not any(name.endswith("_accuracy") for name in model.description["metrics"])
    if not several:
        check_labelled(clips.clips)
    return Task("mAP" if several else "accuracy", clips, clips.targets(), None, model.loss)


def read_trials_task(
    model: TunedModel,
    path: Path,
    root: Path,
    trials: Path,
    num_clips: int | None,
    rng: np.random.Generator,
) -> Task:
    """The trials of a list's utterances; see ``read_task``."""
    known = read_clips(path, root, None)
    pairs, targets = read_clip_trials(trials, known, root)
    if num_clips is not None:
        chosen = few_utterances(pairs, num_clips, rng)
        pairs, targets = pairs[chosen], targets[chosen]
        if not len(targets) or targets.all() or not targets.any():
            raise ValueError(
                f"{trials}: -clips {num_clips} leaves {targets.sum()} targets among {len(targets)} trials; "
                "expected targets and nontargets: more clips, or another -seed"
            )
    used, pairs = np.unique(pairs, return_inverse=True)
    names = [label["name"] for label in model.description["labels"]]
    labels = Labels(path, tuple(label["mid"] for label in model.description["labels"]), tuple(names))
    clips = EvaluationClips([known[i] for i in used], labels, model.cut)
    pairs = pairs.reshape(-1, 2)
    speakers = trial_speakers(pairs, targets, [clip.label for clip in clips.clips])
    return Task("EER", clips, targets, pairs, None, speakers)


def few_utterances(pairs: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """[T, 2] -> the trials, in order, among at most so many utterances that a random order names."""
    used: set[int] = set()
    for i in rng.permutation(len(pairs)):
        more = used | set(pairs[i].tolist())
        if len(more) <= most:
            used = more
    return np.flatnonzero(np.isin(pairs, list(used)).all(axis=1))


def check_labels(labels: Labels, expected: Sequence[Mapping]) -> None:
    """Raise ValueError where a table's labels are not the adapter's, in their order."""
    mids = tuple(label["mid"] for label in expected)
    if len(labels) != len(mids):
        raise ValueError(
            f"{labels.path}: has {len(labels)} labels, the adapter {len(mids)}; expected the same"
        )
    for i, (found, own) in enumerate(zip(labels.mids, mids)):
        if found != own:
            raise ValueError(
                f"{labels.path}: label {i} is {found[:80]!r}, the adapter's is {own[:80]!r}; expected the "
                "table that it was trained with"
            )


# Hearing it ---------------------------------------------------------------------------------------


def conditions_of(backbone: nn.Module, method: str) -> dict[Condition, list[Part] | None]:
    """What is switched off, one thing after another: its parts; None: the frozen network is heard."""
    kinds = kinds_of(backbone)
    if not kinds:
        return {} if method in NOTHING else {(None, "frozen"): None}
    names = {kind: [kind] for kind in kinds} | ({"both": kinds} if len(kinds) > 1 else {})
    layers = range(len(library_layers(backbone)))
    found: dict = {(i, name): [(i, k) for k in several] for i in layers for name, several in names.items()}
    return found | {(None, n): [(i, k) for i in layers for k in several] for n, several in names.items()}


class Hearing:
    """A list, heard by a tuned network in several conditions.

    Args:
        model: the tuned one.
        frozen: the backbone without what was trained.
        task: what is heard.
        seen: called after each batch in each condition, with its number of clips.
    """

    def __init__(self, model: TunedModel, frozen: nn.Module, task: Task, seen: Callable[[int], object]):
        self.model, self.frozen, self.task, self.seen = model, frozen, task, seen
        self.at_once = 1  # conditions whose outputs are held together

    def outputs(
        self, conditions: Mapping[Condition, list[Part] | None]
    ) -> Iterator[tuple[Condition, np.ndarray]]:
        """[N, S, C] logits, or [N, S, E] embeddings, of each condition.

        The list is heard once for as many of them as memory is meant for.
        """
        waiting = list(conditions.items())
        while waiting:
            group, waiting = dict(waiting[: self.at_once]), waiting[self.at_once :]
            held: dict[Condition, np.ndarray] = {}
            for index, condition, output in self.batches(group):
                self.put(held, index, condition, output)
            yield from held.items()

    def put(self, held: dict, index: np.ndarray, condition: Condition, output: np.ndarray) -> None:
        """Enter a batch's outputs [B, S, C] at their places in the list's [N, S, C]."""
        if condition not in held:
            held[condition] = np.empty((len(self.task.clips), *output.shape[1:]), np.float32)
        held[condition][index] = output

    @torch.inference_mode()
    def batches(
        self, conditions: Mapping[Condition, list[Part] | None]
    ) -> Iterator[tuple[np.ndarray, Condition, np.ndarray]]:
        """Places in the list [B], the condition, outputs [B, S, C], batch by batch."""
        classifier = self.model.model
        with ExitStack() as stack:
            with autocast(self.model.device.type, self.model.precision):
                stack.enter_context(prompts_computed(classifier))
            for clips in self.loader():
                clips = clips.to(self.model.device)
                with autocast(self.model.device.type, self.model.precision):
                    x = classifier.front_end(clips.waveform, clips.num_samples)
                for condition, parts in conditions.items():
                    with autocast(self.model.device.type, self.model.precision):
                        output = self.answer(x, parts)
                    output = output.float().cpu().unflatten(0, (len(clips.index), -1)).numpy()
                    yield clips.index.numpy(), condition, output
                    self.seen(len(clips.index))

    def loader(self):
        """Batches of the list, in its order; of one clip each where padding would be heard."""
        share, front_end = RankShare(len(self.task.clips)), self.model.model.front_end
        size = 1 if front_end.variable_length else max(1, BATCH // front_end.num_segments)
        return evaluation_loader(self.task.clips, share, size, num_workers=0, pin=False)

    def answer(self, x, parts: list[Part] | None) -> Tensor:
        """The front end's output -> [B S, C] logits or [B S, E] embeddings, without some parts."""
        backbone, head = self.model.model.backbone, self.model.model.head
        if parts is None:
            embedding = self.frozen(x)
        else:
            with without(backbone, parts):
                embedding = backbone(x)
        return head(embedding) if self.task.pairs is None else head.speaker_embedding(embedding)

    def scored(self, outputs: np.ndarray) -> Scored:
        """What [N, S, C] outputs are worth."""
        task = self.task
        if task.pairs is not None:
            embeddings = torch.from_numpy(outputs).to(self.model.device)
            return Scored(score_trials(embeddings, task.pairs, self.model.scoring), None)
        logits = torch.from_numpy(outputs).flatten(0, 1)  # [N S, C]
        targets = torch.from_numpy(task.targets).repeat_interleave(outputs.shape[1], dim=0)
        losses = LOSSES[task.loss](logits, targets).unflatten(0, (len(outputs), -1)).mean(dim=1)
        return Scored(clip_scores(outputs, task.loss), losses.numpy())

    def look(self) -> tuple[Scored, list[dict]]:
        """Hear the list with everything on; what it is worth, and what each layer's parts did meanwhile.

        ``cka``: the similarity of the layer's states to those of the frozen network.
        """
        backbone = self.model.model.backbone
        layers = range(len(library_layers(backbone)))
        similar = [LinearCKA() for _ in layers]
        on: Condition = (None, "")
        held: dict[Condition, np.ndarray] = {}
        with ExitStack() as stack:
            tuned = stack.enter_context(pooled_states(backbone))
            frozen = stack.enter_context(pooled_states(self.frozen))
            watches = stack.enter_context(watched(backbone))
            for index, condition, output in self.batches({on: [], (None, "frozen"): None}):
                if condition == on:
                    self.put(held, index, on, output)
                    continue
                for i in layers:
                    similar[i].add(frozen[i], tuned[i])
        self.at_once = max(1, HELD // held[on].nbytes)
        found = [watch.results() for watch in watches] or [{} for _ in layers]
        return self.scored(held[on]), [{**row, "cka": cka.value} for row, cka in zip(found, similar)]


# What it is worth ---------------------------------------------------------------------------------


def change(task: Task, before: Scored, after: Scored) -> dict:
    """The metric and the loss of ``after``, what they changed by, and the 95 % intervals of these changes.

    The intervals are those of the bootstrap over clips, or over the speakers of trials, the same for both.
    """
    one, other = (WEIGHTED[task.metric](scored.scores, task.targets) for scored in (after, before))
    every, draw = np.ones(len(task.targets), dtype=int), task.draw()
    difference, low, high = difference_interval(lambda w: one(w) - other(w), [draw], RESAMPLES[task.metric])
    found = {"value": one(every), "change": difference, "low": low, "high": high}
    if after.losses is None:
        return found
    worse = after.losses.astype(np.float64) - before.losses
    _, low, high = difference_interval(lambda w: float(w @ worse / w.sum()), [draw], MOST)
    losses = {"loss": float(after.losses.mean()), "loss_change": float(worse.mean())}
    return {**found, **losses, "loss_low": low, "loss_high": high}


def frozen_backbone(model: TunedModel, pretrained: str | None, source: Path) -> nn.Module:
    """The backbone as it was before training: the loaded one, or of a fine-tuned model one more."""
    frozen = model.bare
    if frozen is None:
        frozen = new_backbone(model.description["backbone"], pretrained, source).to(model.device)
    return frozen.eval().requires_grad_(False)


def measure(model: TunedModel, frozen: nn.Module, task: Task) -> dict:
    """All that ``inspect`` tells, as JSON values, under a progress bar.

    ``layers``: of each layer from the input on what ``LayerWatch.results`` and ``LinearCKA`` say, and
    ``without``: by what is switched off, ``change``; ``all``: the same of all layers.
    """
    method = model.description["tuning"]["method"]
    conditions = conditions_of(model.model.backbone, method)
    total = len(task.clips) * (2 + len(conditions))
    with tqdm(total=total, unit="clip", disable=None, leave=False) as bar:
        hearing = Hearing(model, frozen, task, bar.update)
        before, layers = hearing.look()
        layers = [{"layer": i, **row, "without": {}} for i, row in enumerate(layers, start=1)]
        whole: dict = {"without": {}}
        for (i, name), outputs in hearing.outputs(conditions):
            row = whole if i is None else layers[i]
            row["without"][name] = change(task, before, hearing.scored(outputs))
    note = NOTHING.get(method, CHANGED if not kinds_of(model.model.backbone) else None)
    every = np.ones(len(task.targets), dtype=int)
    return {
        "method": method,
        "note": note,
        "clips": len(task.clips),
        "trials": None if task.pairs is None else len(task.pairs),
        "metric": task.metric,
        "higher_is_better": task.metric != "EER",
        "value": WEIGHTED[task.metric](before.scores, task.targets)(every),
        "loss": None if before.losses is None else float(before.losses.mean()),
        "layers": layers,
        "all": whole,
    }


def inspect(
    model: TunedModel,
    adapter: Path,
    path: Path,
    root: Path | None = None,
    trials: Path | None = None,
    num_clips: int | None = None,
    seed: int = 1234,
    pretrained: str | None = None,
    csv_file: Path | None = None,
    json_file: str | None = None,
    out: Path | None = None,
) -> int:
    """Print what each layer's prompts and adapter do; the exit status.

    Args:
        adapter: where the model was loaded from, to name it.
        path, root, trials, num_clips, seed: see ``read_task``.
        pretrained: see ``ipet.load``.
        csv_file: a row a layer, and one of all of them.
        json_file: everything; ``-``: print that instead of the table.
        out: folder for the table, the CSV file, the JSON file and the plots.

    Raises: see ``read_task``; ValueError where ``path`` is a folder.
    """
    if path.is_dir():
        raise ValueError(f"{path}: a folder; expected one list of clips, such as eval_1.json of lists")
    task = read_task(model, path, root, trials, num_clips, seed)
    frozen = frozen_backbone(model, pretrained, adapter)
    found = {"adapter": str(adapter), "list": str(path), **measure(model, frozen, task)}
    text, rows = as_text(found), as_csv(found)
    tell(found, text, json_file)
    if csv_file is not None:
        write_atomically(csv_file, rows.encode())
    if out is not None:
        for name, content in zip(FILES, (f"{text}\n", rows)):
            write_atomically(out / name, content.encode())
        write_json(out / FILES[-1], found)
        draw(found, out)
    return 0
