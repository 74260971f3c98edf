"""What lists ask of a training: frames of a clip, clips of a step, and the commands themselves."""

import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ipet.devices import best_device
from ipet.logbook import physical_memory

FEWEST_FRAMES, MOST_FRAMES = 64, 1024  # of 10 ms; AST was pretrained on 1,024
COVERED = 95  # % of the clips that are heard whole
PATCH = 16  # frames of AST's patches: lengths are multiples
USED = 0.8  # share of the memory at hand that a training may fill
LEAST_STEPS = 8  # an epoch
SHORT = "-epoch 12 -lr 2e-3 -head_lr 1e-2 -adapter_scalar 4"
COSINE = "-mixup 0 -lr_schedule cosine -warmup_epoch 0.5"  # which ast_custom and w2v_custom have anyway
OWN_BATCH = 16  # theirs
UNKNOWN_MEMORY = 4 << 30  # bytes, where the system does not tell
REPOSITORY = Path(__file__).resolve().parents[1]
HAS_FOLDS = {
    "esc50": True,
    "gtzan": True,
    "fsd50k": False,
    "speechcommands": False,
}  # by an experiment's data
CONTENTS = {"sounds": "ast", "music": "ast", "speech": "w2v"}  # the kind of backbone that knows them


class Backbone(NamedTuple):
    """Weights that a training may start from, and what a step of IPET on them takes.

    Peak memory is taken to be ``fixed`` + frames x clips of a step x ``frame``: peaks of processes that took
    two steps in fp32 on a CPU, in which most of ``fixed`` is torch. In bf16 a step takes about two thirds.
    """

    name: str  # also of the run
    kind: str  # ast or w2v, as an experiment's name begins
    fixed: float  # bytes
    frame: float  # bytes of a frame of 10 ms
    batch_size: int
    flags: str = ""  # of main.py; none: the experiment's published settings


BACKBONES = (
    Backbone("ast_small", "ast", 0.85e9, 32e3, 16, f"-pretrained ast_small -freqm 0 -timem 0 {SHORT}"),
    Backbone(
        "wav2vec2_small",
        "w2v",
        0.85e9,
        0.15e6,
        16,
        f"-pretrained wav2vec2_small {SHORT} -frozen_dropout False",
    ),
    Backbone("published_ast", "ast", 1.5e9, 0.9e6, 48),
    Backbone("published_wav2vec2", "w2v", 1.3e9, 1.15e6, 48),
)
PATCHOUT = "-patchout 0.5"  # which ast_small's memory was measured with
WASTED = 0.25  # share of padding from on which clips are better heard at their own lengths
SEGMENTED = ("gtzan", "voxceleb")  # data whose clips are heard in segments of one length


def percentile(seconds: Sequence[float]) -> float:
    """The 95th percentile of some clips' lengths: one of them."""
    return sorted(seconds)[math.ceil(COVERED / 100 * len(seconds)) - 1]


def frame_length(seconds: Sequence[float]) -> int:
    """Frames of 10 ms that cover the 95th percentile of some clips' lengths, from 64 to 1,024.

    A multiple of 16, the length of a patch.
    """
    frames = PATCH * math.ceil(round(100 * percentile(seconds), 3) / PATCH)
    return min(max(frames, FEWEST_FRAMES), MOST_FRAMES)


def padding(seconds: Sequence[float]) -> float:
    """The share of padding if some clips all became as long as the 95th percentile, at most 10.24 s.

    Clips of one length have none, however long a backbone's input is.
    """
    longest = min(percentile(seconds), MOST_FRAMES / 100)
    return 1 - sum(min(s, longest) for s in seconds) / (longest * len(seconds))


def has_own_lengths(experiment: str, share: float) -> bool:
    """Whether an experiment should hear every clip at its own length: not where it hears segments."""
    return share >= WASTED and experiment.partition("_")[2] not in SEGMENTED


def peak_bytes(backbone: Backbone, num_frames: int, num_clips: int) -> float:
    """The memory that a training step of so many clips is taken to need; see ``Backbone``."""
    return backbone.fixed + backbone.frame * num_frames * num_clips


def fitting_clips(backbone: Backbone, num_frames: int, memory: float) -> int:
    """Clips of a step that fit into the memory at hand; 0 where not even one does."""
    return max(0, int((USED * memory - backbone.fixed) / (backbone.frame * num_frames)))


def memory_at_hand() -> tuple[int, str]:
    """Bytes that a training may use, and of what: the GPU's free memory, or else RAM."""
    if best_device() == "cuda":
        return torch.cuda.mem_get_info()[0], "GPU memory"
    found = [physical_memory() or UNKNOWN_MEMORY]
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
        limit, used = (Path(f"/sys/fs/cgroup/memory.{name}").read_text() for name in ("max", "current"))
        found += [int(limit) - int(used)] if limit.strip().isdigit() else []
    except OSError:
        pass  # not Linux, or no control groups
    return min(found), "RAM"


def batch_flags(
    backbone: Backbone, num_frames: int, num_training: int, memory: float, most: int | None = None
) -> list[str]:
    """``-batch_size``, and ``-micro_batch_size`` where it would not fit into the memory at once.

    Args:
        num_training: clips of the smallest training list; an epoch of fewer than 8 steps learns little.
        most: clips of a step; the backbone's if not given.
    """
    size = min(most or backbone.batch_size, max(4, num_training // LEAST_STEPS))
    fitting = max(1, fitting_clips(backbone, num_frames, memory))
    micro = [] if fitting >= size else ["-micro_batch_size", str(fitting)]
    return ["-batch_size", str(size), *micro]


def experiment_of(backbone: Backbone, name: str, num_folds: int, trials: bool) -> str:
    """The experiment that a backbone is trained by on some lists.

    Args:
        name: of the lists' folder. Lists of a dataset have its experiment, and one's own ``ast_custom`` or
            ``w2v_custom``.
        num_folds: 0 where there are train, valid and test lists.
        trials: speakers are verified.
    """
    own = HAS_FOLDS.get(name) != (num_folds > 0)
    return f"{backbone.kind}_{'voxceleb' if trials else 'custom' if own else name}"


def training_command(
    backbone: Backbone,
    lists: Path,
    root: Path,
    num_folds: int,
    several: bool,
    trials: bool,
    num_frames: int,
    norm: tuple[float, float] | None,
    batch: Sequence[str],
    precision: str,
    own_lengths: bool = False,
) -> str:
    """The command that trains on some lists, for a shell that is where this process is.

    Args:
        lists, root: the folder of the lists, and where their paths start.
        num_folds: 0 where there are train, valid and test lists.
        several: a clip may have several labels.
        trials: speakers are verified.
        num_frames: of ``-frame_length``.
        norm: mean and standard deviation of the training log-mels, which AST takes.
        batch: what ``batch_flags`` returned.
        precision: ``fp32`` or ``bf16``.
        own_lengths: every clip is heard at its own length, and whole: no patches are left out.
    """
    experiment = experiment_of(backbone, lists.name, num_folds, trials)
    own = experiment.endswith("_custom")  # folds and loss are those of the lists
    words = ["-name", backbone.name, "-tags", lists.name, "-path_list", str(lists)]
    words += ["-path_data", str(root)] if root != lists else []
    words += ["-fold", str(num_folds)] if num_folds and not own else []
    words += ["-frame_length", str(num_frames)]
    if norm and backbone.kind == "ast":
        words += ["-norm_mean", f"{norm[0]:.4f}", "-norm_std", f"{norm[1]:.4f}"]
    words += [*batch, "-precision", precision, *backbone.flags.split()]
    if backbone.flags:
        words += PATCHOUT.split() if backbone.kind == "ast" and not own_lengths else []
        words += COSINE.split() if not own else []
    if several or (backbone.flags and not own):
        words += ["-classification_loss", "bce" if several else "cce"]
    words += ["-head_bias", "prior"] if several and backbone.flags else []
    words += ["-variable_length", "True"] if own_lengths else []
    words += ["-nb_seg", "2"] if trials and backbone.flags else []
    words += ["-add_musan_rir", "False"] if trials else []
    return (
        f"(cd {shlex.quote(path_from_here(REPOSITORY / experiment))} && python3 main.py {shlex.join(words)})"
    )


def path_from_here(path: Path) -> str:
    """A path as seen from this process's folder."""
    try:
        return os.path.relpath(path)
    except ValueError:  # another drive of Windows
        return str(path)
