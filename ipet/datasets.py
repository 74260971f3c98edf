"""Lists turned into batches of waveforms and targets."""

import copy
import itertools
import math
import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from ipet.audio import CROPS, ClipError, Recordings, crop_or_tile, open_whole, read_audio
from ipet.augment import MIXUP_BETA, mix
from ipet.interruption import begin_reader
from ipet.lists import Clip, Labels, multi_hot
from ipet.shared_memory import ByValue, check_semaphores, hand_over

MOST_LEFT_OUT = 0.1  # share of a list whose recordings may be unusable
HEADER_READERS = 8  # threads
POOL = 32  # batches whose clips are sorted by length together: few enough that epochs differ


class Batch(NamedTuple):
    """Clips on their way to the model; ``seed`` is drawn anew for each clip and epoch."""

    waveform: Tensor  # [B, N], zeros behind a shorter clip's last sample
    num_samples: Tensor  # [B]
    target: Tensor  # [B, C]
    index: Tensor  # [B], position in the list
    seed: Tensor  # [B]
    fixed: Tensor  # [B] True: it sounds the same in every epoch

    def to(self, device: torch.device) -> "Batch":
        """The same batch with what is computed with on a device; seeds and indices are read here."""
        moved = (t.to(device, non_blocking=True) for t in (self.waveform, self.num_samples, self.target))
        return Batch(*moved, self.index, self.seed, self.fixed)

    def split(self, size: int) -> list["Batch"]:
        """The batch in parts of at most so many clips, in order."""
        return [Batch(*part) for part in zip(*(tensor.split(size) for tensor in self))]


def single(waveform: Tensor, target: Tensor, index: int, seed: int = 0, fixed: bool = True) -> Batch:
    """One clip of [T] samples, before ``collate`` stacks it with others."""
    numbers = (torch.tensor(value) for value in (index, seed, fixed))
    return Batch(waveform, torch.tensor(len(waveform)), target, *numbers)


@dataclass(frozen=True)
class Cut:
    """A rule that brings a clip to the length that the backbone sees.

    Args:
        num_samples: Number of samples after the cut.
        crop: Part taken of a longer clip: ``first``, ``centre`` or ``random``.
        repeat: Repeat a shorter clip periodically. Otherwise it stays short.
        zero_mean: Subtract the mean of the whole clip first.
        whole: Keep the whole clip, because the front end takes segments of it.
        repeat_mixed: In mixup, repeat a second clip that is shorter than the first one; otherwise it is
            padded with zeros. Only training uses it.
    """

    num_samples: int
    crop: str = "first"
    repeat: bool = False
    zero_mean: bool = False
    whole: bool = False
    repeat_mixed: bool = False

    def __post_init__(self):
        if self.crop not in CROPS:
            raise ValueError(f"crop is {self.crop!r}; accepted: {', '.join(CROPS)}")

    @property
    def settings(self) -> dict:
        """The arguments that evaluation depends on, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "repeat_mixed"}

    def is_fixed(self, length: int) -> bool:
        """Whether a clip of so many samples is always cut alike."""
        return self.whole or self.crop != "random" or length <= self.num_samples

    def __call__(self, waveform: Tensor, rng: np.random.Generator | None = None) -> Tensor:
        """[T] -> [num_samples], or fewer where a short clip is not repeated; [T] where it stays whole."""
        if self.zero_mean:
            waveform = waveform - waveform.mean()
        if self.whole:
            return waveform
        length = self.num_samples if self.repeat else min(self.num_samples, len(waveform))
        return crop_or_tile(waveform, length, self.crop, rng)

    def for_mixing(self, num_samples: int) -> "Cut":
        """Return the cut of the second clip of a mixture, whose first clip has ``num_samples`` after its own.

        The second clip is cut directly to that length, so that a random crop reaches all of it and its
        sound lies where the first clip's does.
        """
        return replace(self, num_samples=num_samples, repeat=self.repeat or self.repeat_mixed, whole=False)


class Clips(Dataset):
    """The clips of a list, read and cut on demand.

    Args:
        clips: what ``read_clips`` returned.
        labels: the table behind their classes.
        cut: how they become one length.

    ``recordings``, an attribute, reads the samples: files, or a decoded cache.
    """

    def __init__(self, clips: Sequence[Clip], labels: Labels, cut: Cut):
        self.clips, self.labels, self.cut = clips, labels, cut
        self.recordings = Recordings()

    def __len__(self) -> int:
        return len(self.clips)

    def without(self, paths: Container[Path], most: float = MOST_LEFT_OUT) -> "Clips":
        """Return the same list without the clips of some recordings.

        Args:
            paths: Recordings to leave out.
            most: Largest share of the list that may be left out.

        Raises:
            ValueError: More is left out.
        """
        other = copy.copy(self)
        other.clips = [clip for clip in self.clips if clip.path not in paths]
        left_out = [clip for clip in self.clips if clip.path in paths]
        if len(left_out) > most * len(self.clips):
            at_most = "a tenth" if most == MOST_LEFT_OUT else f"{most:.0%}"
            raise ValueError(
                f"{len(left_out)} of the {len(self.clips)} clips of a list cannot be used, the first is "
                f"{left_out[0].where}; {at_most} is left out at most"
            )
        return other

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """[T] samples and [C] target of a clip.

        Raises:
            ClipError: the clip cannot be used; the message names list, clip and path.
        """
        clip = self.clips[index]
        try:
            waveform = self.recordings.read(clip.path, *clip.span)
        except (ClipError, FileNotFoundError) as error:
            raise ClipError(f"{clip.where}: {error}") from None
        return waveform, multi_hot(clip.classes, len(self.labels))

    def length(self, index: int) -> int:
        """Samples of a clip behind its cut, as its recording's header tells.

        Raises:
            ClipError: see ``read``.
        """
        clip = self.clips[index]
        try:
            first, number = clip.span
            left = max(0, self.recordings.length(clip.path) - first)
            return min(left if number is None else min(number, left), self.cut.num_samples)
        except (ClipError, FileNotFoundError) as error:
            raise ClipError(f"{clip.where}: {error}") from None

    def lengths(self) -> np.ndarray:
        """[N] samples of all clips behind their cut."""
        with ThreadPoolExecutor(HEADER_READERS) as pool:
            return np.fromiter(pool.map(self.length, range(len(self))), np.int64, len(self))

    def targets(self) -> np.ndarray:
        """[N, C] targets of all clips."""
        return np.stack([multi_hot(clip.classes, len(self.labels)).numpy() for clip in self.clips])


def with_no_class(targets: np.ndarray) -> np.ndarray:
    """Append a column for the clips of no class: [N, C] -> [N, C + 1], or [N, C] where every clip has one."""
    none = (targets.sum(axis=1, keepdims=True) == 0).astype(targets.dtype)
    return np.concatenate([targets, none], axis=1) if none.any() else targets


def check_recordings(clips: Iterable[Clip]) -> None:
    """Open every recording's header; raises ClipError for the first unusable one."""
    for clip, said in look_at(clips, open_header, HEADER_READERS):
        if said is not None:
            raise ClipError(f"{clip.where}: {said}")


def unusable(
    clips: Iterable[Clip], sound: Container[Path] = (), look: Callable[[Path], object] | None = None
) -> dict[Path, str]:
    """Return the recordings that cannot be used, and why.

    Args:
        clips: Clips whose recordings are looked at.
        sound: Recordings that are known to be usable.
        look: See ``look_at``; default: decode the whole recording.
    """
    doubtful = (clip for clip in clips if clip.path not in sound)
    looked_at = look_at(doubtful, look or read_audio, num_workers=os.cpu_count() or 1)
    return {clip.path: f"{clip.where}: {said}" for clip, said in looked_at if said is not None}


def open_header(path: Path) -> None:
    """Raise ClipError or OSError where a recording's header or length is not sound."""
    with open_whole(path):
        pass


def look_at(
    clips: Iterable[Clip], look: Callable[[Path], object], num_workers: int
) -> Iterator[tuple[Clip, str | None]]:
    """Each distinct recording once, under a progress bar, and what ``look`` says is wrong with it, or None.

    Args:
        look: raises ClipError or OSError for a path that cannot be used.
        num_workers: threads that look.
    """

    def reason(clip: Clip) -> str | None:
        """What is wrong with a clip's recording."""
        try:
            look(clip.path)
        except (ClipError, OSError) as error:
            return str(error)
        return None

    distinct = list({clip.path: clip for clip in clips}.values())
    with ThreadPoolExecutor(num_workers) as pool:
        reasons = pool.map(reason, distinct)
        try:
            yield from zip(
                distinct, tqdm(reasons, "recordings", len(distinct), leave=False, disable=None, unit="clip")
            )
        finally:  # who asks no further, or was interrupted, does not wait for the rest of a million
            pool.shutdown(cancel_futures=True)


class EvaluationClips(Clips):
    """The clips of a validation or test list, always cut alike."""

    def __getitem__(self, index: int) -> Batch:
        waveform, target = self.read(index)
        waveform = self.cut(waveform)
        return single(waveform, target, index)


class TrainClips(Clips):
    """The clips of a training list, cut, mixed and corrupted at random.

    Every draw depends on the seed, the epoch and the clip alone, so that a resumed run repeats it.

    Args:
        clips, labels, cut: See ``Clips``.
        mixup: Probability that a clip is mixed with another one of the list.
        seed: Seed of all draws.
        corrupt: Function that adds noise or reverberation to the cut clip; None adds nothing.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        labels: Labels,
        cut: Cut,
        mixup: float = 0.0,
        seed: int = 0,
        corrupt: Callable[[Tensor, np.random.Generator], Tensor] | None = None,
    ):
        super().__init__(clips, labels, cut)
        if not 0 <= mixup <= 1:
            raise ValueError(f"mixup's probability is {mixup}; it must lie in [0, 1]")
        self.mixup, self.seed, self.corrupt = mixup, seed, corrupt

    def rarity(self) -> np.ndarray:
        """[N] the probability of each clip when clips are drawn by how rare their classes are.

        It is proportional to the sum over the clip's classes of 1 / (their number of clips). Where each
        clip has one class, all classes are equally probable; clips of no class count as one more class.
        """
        targets = with_no_class(self.targets())
        weight = (targets / np.maximum(targets.sum(axis=0), 1)).sum(axis=1)
        return weight / weight.sum()

    def few(self, shots: int, seed: int) -> "TrainClips":
        """The same with few clips: the first ones, in an order that the seed draws, that a class still lacks.

        Args:
            shots: clips of each class; a class may have more where clips have several classes. Of the clips
                of no class as many are taken, or all where there are fewer.

        Raises:
            ValueError: a class has fewer.
        """
        targets = with_no_class(self.targets()).astype(bool)
        counts = targets[:, : len(self.labels)].sum(axis=0)
        if counts.min() < shots:
            scarce = self.labels.names[int(counts.argmin())]
            raise ValueError(
                f"-shots {shots}: the class {scarce!r} has {counts.min()} training clips; expected at least "
                f"{shots} of each class"
            )
        lacking, chosen = np.full(targets.shape[1], shots), []
        for i in np.random.default_rng([seed, shots]).permutation(len(self)):
            if (lacking[targets[i]] > 0).any():
                chosen.append(int(i))
                lacking -= targets[i]
        other = copy.copy(self)
        other.clips = [self.clips[i] for i in sorted(chosen)]
        return other

    def __getitem__(self, drawn: tuple[int, ...]) -> Batch:
        """Return the clip (epoch, index), or (epoch, index, n) where the epoch has drawn it n times before.

        Both clips of a mixture are cut before they are mixed: mixed first, a crop of a long clip could hold
        nothing of a short one, whose label would stay.
        """
        index = drawn[1]
        rng = np.random.default_rng([self.seed, *drawn])
        waveform, target = self.read(index)
        mixed = rng.random() < self.mixup
        fixed = self.corrupt is None and not mixed and self.cut.is_fixed(len(waveform))
        if mixed:
            other, other_target = self.read(int(rng.integers(len(self))))
            weight = rng.beta(*MIXUP_BETA)
            waveform = self.cut(waveform, rng)
            waveform = mix(waveform, self.cut.for_mixing(len(waveform))(other, rng), weight)
            target = weight * target + (1 - weight) * other_target
        else:
            waveform = self.cut(waveform, rng)
        if self.corrupt is not None:
            waveform = self.corrupt(waveform, rng)
        return single(waveform, target, index, seed=int(rng.integers(2**62)), fixed=fixed)


class Trials(NamedTuple):
    """Pairs of clips of a list, and which are of one speaker."""

    pairs: np.ndarray  # [N, 2] positions in the list
    targets: np.ndarray  # [N] True: the same speaker


class Datasets(NamedTuple):
    """The lists that a model is trained and evaluated on.

    ``evaluation`` holds ``eval`` where the protocol has no validation list, or ``valid`` and ``test``.
    Speaker verification compares the clips of ``eval`` or ``test`` by ``trials``, those of ``valid`` by
    ``valid_trials``; ``cohort`` normalises the scores, where that is asked for.
    """

    train: TrainClips
    evaluation: dict[str, EvaluationClips]
    trials: Trials | None = None
    cohort: EvaluationClips | None = None
    valid_trials: Trials | None = None

    def without(
        self, paths: Container[Path], most: float = MOST_LEFT_OUT, trials_too: bool = False
    ) -> "Datasets":
        """Return the same lists without the clips of some recordings.

        Args:
            paths: Recordings to leave out.
            most: Largest share of a list that may be left out.
            trials_too: Leave out the trials of these recordings, too.

        Raises:
            ValueError: More is left out; or a noise or a room; or an utterance of a trial, unless
                ``trials_too``.
        """
        noises = [] if self.train.corrupt is None else self.train.corrupt.paths
        broken = next((path for path in noises if path in paths), None)
        if broken is not None:
            raise ValueError(f"{broken} cannot be used, and only clips are left out: mend it, or its list")
        if self.trials is not None and trials_too:
            return self.without_trials_of(paths).without(paths, most)
        if self.trials is not None:
            for clip in (clip for clips in self.evaluation.values() for clip in clips.clips):
                if clip.path in paths:
                    raise ValueError(f"{clip.where} cannot be used, and trials need every utterance")
        return self._replace(
            train=self.train.without(paths, most),
            evaluation={name: clips.without(paths, most) for name, clips in self.evaluation.items()},
            cohort=None if self.cohort is None else self.cohort.without(paths, most),
        )

    def without_trials_of(self, paths: Container[Path]) -> "Datasets":
        """Return the same lists without the trials, and the evaluated clips, of some recordings.

        Raises:
            ValueError: No trial of one speaker, or none of two, is left.
        """
        evaluation, left = dict(self.evaluation), {}
        for name in self.evaluation:
            clips, before = self.evaluation[name], self.trials_of(name)
            kept = np.array([clip.path not in paths for clip in clips.clips])
            place = np.cumsum(kept) - 1
            complete = kept[before.pairs].all(axis=1)
            trials = Trials(place[before.pairs[complete]], before.targets[complete])
            if trials.targets.all() or not trials.targets.any():
                raise ValueError(
                    f"{complete.sum()} of the {len(complete)} trials are left without the recordings that "
                    "cannot be used; expected targets and nontargets"
                )
            evaluation[name] = copy.copy(clips)
            evaluation[name].clips = [clip for clip, keep in zip(clips.clips, kept) if keep]
            left["valid_trials" if name == "valid" else "trials"] = trials
        return self._replace(evaluation=evaluation, **left)

    @property
    def watched(self) -> str:
        """The list evaluated after every epoch: never the test list where there is a validation list."""
        return "valid" if "valid" in self.evaluation else "eval"

    @property
    def reported(self) -> str:
        """The list whose numbers are a run's result: the test list, or the only evaluation list."""
        return "test" if "test" in self.evaluation else "eval"

    def trials_of(self, name: str) -> Trials | None:
        """Return the trials of the evaluation list of that name."""
        return self.valid_trials if name == "valid" else self.trials

    @property
    def lists(self) -> list[Clips]:
        """All of them."""
        cohort = [] if self.cohort is None else [self.cohort]
        return [self.train, *self.evaluation.values(), *cohort]

    @property
    def paths(self) -> list[Path]:
        """Every recording that may be read, also those added to clips, each once."""
        paths = dict.fromkeys(clip.path for clips in self.lists for clip in clips.clips)
        added = [] if self.train.corrupt is None else self.train.corrupt.paths
        return [*paths, *(path for path in added if path not in paths)]

    def read_from(self, recordings) -> None:
        """Let every list read its samples from ``recordings``, such as a decoded cache."""
        for clips in self.lists:
            clips.recordings = recordings
        if self.train.corrupt is not None:
            self.train.corrupt.recordings = recordings


def collate(items: list[Batch]) -> Batch:
    """Return one batch of clips of [T_i] samples, with zeros after the shorter ones."""
    waveforms, *rest = zip(*items)
    return Batch(pad_sequence(list(waveforms), batch_first=True), *map(torch.stack, rest))


def collate_for_loader(items: list[Batch]) -> Batch | ByValue:
    """Return one batch as a loader's worker, or the process itself, should hand it over."""
    return hand_over(collate(items))


class EpochBatches(Sampler):
    """Batches of clips in an order that the seed and the epoch fix, shared out to the ranks.

    Rank r of R takes clips r, r + R, r + 2 R, ... of every global batch. Where a batch does not
    divide, the ranks with fewer clips repeat one of its clips at the end with weight 0
    (``weights``), so that all take the same steps and the mean is over the global batch's clips.

    Args:
        num_clips: of the list; each comes once an epoch.
        batch_size: of a global batch.
        seed: of the order.
        rank, world_size: whose share.
        probabilities: [N] of the clips, if as many are to be drawn with replacement instead.
        lengths: [N] samples of the clips, if a batch is to hold clips of like length; see ``by_length``.
    """

    def __init__(
        self,
        num_clips: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        probabilities: np.ndarray | None = None,
        lengths: np.ndarray | None = None,
    ):
        self.lengths = lengths
        self.num_clips, self.batch_size, self.seed = num_clips, batch_size, seed
        self.rank, self.world_size, self.probabilities = rank, world_size, probabilities
        self.epoch, self.first = 1, 0  # the next pass: of which epoch, and from which batch on

    def __len__(self) -> int:
        return math.ceil(self.num_clips / self.batch_size)

    def global_batches(self) -> Iterator[np.ndarray]:
        """The epoch's batches, over all ranks."""
        rng = np.random.default_rng([self.seed, self.epoch])
        if self.probabilities is None:
            order = rng.permutation(self.num_clips)
        else:
            order = rng.choice(self.num_clips, self.num_clips, p=self.probabilities)
        if self.lengths is not None:
            yield from by_length(order, self.lengths, self.batch_size, rng)
            return
        for start in range(0, self.num_clips, self.batch_size):
            yield order[start : start + self.batch_size]

    def global_batch(self, step: int) -> np.ndarray:
        """The clips of batch ``step`` (from 0) of the epoch, over all ranks."""
        return next(itertools.islice(self.global_batches(), step, None))

    def __iter__(self) -> Iterator[list[tuple[int, ...]]]:
        """Lists of (epoch, index), or (epoch, index, n) of a clip that was drawn n times before."""
        times = Counter()
        for i, batch in enumerate(self.global_batches()):
            drawn = []
            for index in batch.tolist():
                drawn.append((self.epoch, index, times[index]) if times[index] else (self.epoch, index))
                times[index] += 1
            share = drawn[self.rank :: self.world_size]
            if len(share) < math.ceil(len(batch) / self.world_size):
                share.append(drawn[0])
            if i >= self.first:
                yield share

    def weights(self, step: int) -> Tensor:
        """[b] the weights of this rank's clips in batch ``step`` (from 0); over all ranks they sum to R.

        So the mean over ranks of the weighted sums is the mean over the global batch.
        """
        size = min(self.batch_size, self.num_clips - step * self.batch_size)
        real = len(range(self.rank, size, self.world_size))
        weights = torch.zeros(math.ceil(size / self.world_size))
        weights[:real] = self.world_size / size
        return weights


def by_length(
    order: np.ndarray, lengths: np.ndarray, batch_size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Batches of clips of like length, so that little is filled up.

    The clips come in pools of ``POOL`` batches, as the epoch's order has them. A pool is sorted by length and
    cut into batches, and the batches of all pools are shuffled. What does not fill a batch, the end of the
    order, is the last batch, of clips of any length.

    Args:
        order: of the epoch, indices of clips.
        lengths: [N] of all clips.
        batch_size: of a global batch.
        rng: shuffles the batches.
    """
    whole = len(order) - len(order) % batch_size
    batches: list[np.ndarray] = []
    for start in range(0, whole, POOL * batch_size):
        pool = order[start : min(start + POOL * batch_size, whole)]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += list(pool.reshape(-1, batch_size))
    shuffled = [batches[i] for i in rng.permutation(len(batches))]
    return [*shuffled, order[whole:]] if whole < len(order) else shuffled


class RankShare(Sampler):
    """Every clip of a list once, clip r, r + R, r + 2 R, ... to rank r of R.

    Args:
        num_clips: of the list.
        rank, world_size: whose share.
        lengths: [N] samples of the clips, if they are to come by length, the longest first; otherwise they
            come in the list's order.
    """

    def __init__(self, num_clips: int, rank: int = 0, world_size: int = 1, lengths: np.ndarray | None = None):
        order = range(num_clips) if lengths is None else np.argsort(-lengths, kind="stable").tolist()
        self.indices = order[rank::world_size]

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def untouched() -> torch.Generator:
    """A generator for a loader's own draw, so that readers do not shift the stream of dropout."""
    return torch.Generator().manual_seed(0)


def train_loader(clips: TrainClips, batches: EpochBatches, num_workers: int, pin: bool) -> DataLoader:
    """Batches of this rank's share of an epoch."""
    check_semaphores(num_workers)
    return DataLoader(
        clips,
        batch_sampler=batches,
        collate_fn=collate_for_loader,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=pin,
        generator=untouched(),
        worker_init_fn=begin_reader,
    )


def evaluation_loader(
    clips: EvaluationClips, share: RankShare, batch_size: int, num_workers: int, pin: bool
) -> DataLoader:
    """Batches of this rank's share of a list, in the share's order."""
    check_semaphores(num_workers)
    return DataLoader(
        clips,
        batch_size,
        sampler=share,
        collate_fn=collate_for_loader,
        num_workers=num_workers,
        pin_memory=pin,
        generator=untouched(),
        worker_init_fn=begin_reader,
    )
