"""More epochs for a run: ``-resume`` with a larger ``-epoch``.

Each finished training continues from its last state, optimiser included. Its former result is set aside as
``result_<epochs>_epochs.json``, which makes the training unfinished: after any interruption from then on, the
same command continues it.
"""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from ipet.recipe import Recipe, learning_rate

STATES = "training_state*.pt"


def is_extension(before: Mapping, arguments: Mapping) -> bool:
    """Return whether a run's arguments ask for more epochs than it has been given so far."""
    epochs = before.get("epoch"), arguments.get("epoch")
    return all(type(number) is int for number in epochs) and epochs[0] < epochs[1]


def set_results_aside(folder: Path, epochs: int) -> int:
    """Rename the results of a run's finished trainings, so that they are continued; return their number.

    Args:
        folder: Folder of the run.
        epochs: Number of epochs that they were trained for.

    Raises:
        ValueError: A finished training has no state to continue from; nothing has been renamed.
    """
    finished = sorted(folder.glob("seed_*/**/result.json"))
    for path in finished:
        if not any(path.parent.glob(STATES)):
            raise ValueError(
                f"{path.parent}: finished, and its training_state.pt is gone: more epochs cannot continue "
                f"it; repeat the command with -epoch {epochs}, or begin another -name"
            )
    for path in finished:
        further = path.parent / "more_trials"
        if further.is_dir():  # scores of the former last epoch; -more_trials computes the new ones
            further.rename(free_name(path.parent / f"more_trials_{epochs}_epochs"))
        path.rename(free_name(path.with_name(f"result_{epochs}_epochs.json")))
    return len(finished)


def free_name(path: Path) -> Path:
    """Return a path, with a number if something lies there already."""
    names = (path.with_name(f"{path.stem}_{number}{path.suffix}") for number in itertools.count(2))
    return path if not path.exists() else next(name for name in names if not name.exists())


def describe_extension(folder: Path, starts: Sequence[Mapping], recipe: Recipe) -> dict | None:
    """Return what more epochs mean for a run's learning rate, as JSON values; None without more epochs.

    The step schedule does not depend on the number of epochs: the run ends as if it had been given all of
    them at once. The cosine schedule does, and its rate rises again.

    Args:
        folder: Folder of the run.
        starts: Its earlier starts, see ``logbook.read_starts``.
        recipe: Recipe of this start.
    """
    used = starts[-1].get("recipe") if starts else None
    before = used.get("epochs") if isinstance(used, Mapping) else None
    if type(before) is not int or not 0 < before < recipe.epochs or not any(folder.rglob(STATES)):
        return None
    former = Recipe(
        epochs=before,
        batch_size=recipe.batch_size,
        lr=recipe.lr,
        gamma=recipe.gamma,
        decay_start=recipe.decay_start,
        decay_end=recipe.decay_end,
        schedule=recipe.schedule,
        warmup=min(recipe.warmup, 0.5 * before),
    )
    return {
        "from_epoch": before,
        "to_epoch": recipe.epochs,
        "schedule": recipe.schedule,
        # At the first steps of these epochs.
        "lr_of_last_epoch": learning_rate(former, before - 1, 1),
        "lr_of_next_epoch": learning_rate(recipe, before, 1),
    }


def extension_note(extension: Mapping) -> str:
    """Return a line about more epochs for the terminal."""
    rates = f"lr {extension['lr_of_last_epoch']:.3g} in epoch {extension['from_epoch']}, "
    rates += f"{extension['lr_of_next_epoch']:.3g} in the next"
    said = {
        "step": "as in a run of all these epochs",
        "cosine": "the curve is drawn over all epochs anew, so the rate rises again",
    }
    return (
        f"note: {extension['to_epoch']} epochs instead of {extension['from_epoch']}; {rates} "
        f"({said[extension['schedule']]})"
    )
