"""What loggers are told of a training that is over: results, figures, and clips to listen to."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ipet.audio import ClipError
from ipet.excerpts import write_excerpt
from ipet.metrics import average_precision, confusion
from ipet.mistakes import confused_pairs, hardest_trials, surest_mistakes
from ipet.plots import plot_confusion, plot_det, plot_per_class
from ipet.verification_metrics import det_curve

MOST_CLASSES = 100  # of which a confusion can be looked at as a figure
MOST_PAIRS = 15  # of classes in a table
CLIPS = 3  # that were answered wrongly, and as many that were answered rightly
CELL = "this"  # what the functions of ``mistakes`` call the one cell
Clips = list[tuple[str, str, int]]  # name, what it says of itself, row of the predictions


def show(
    result: Mapping,
    predictions: Mapping[str, np.ndarray],
    names: Sequence[str],
    recordings: Callable[[int], Sequence[Path]],
    tell: Callable,
) -> None:
    """Tell what came out.

    Args:
        result: a cell's ``result.json``.
        predictions: its ``scores`` and ``targets``: [N, C] twice, or [N] twice of trials.
        names: [C] of the classes.
        recordings: what was heard for a row of the predictions.
        tell: what of a ``Logger`` is called, and with what but the step.
    """
    last, best = ends_of(result)
    values = {f"result/last/{name}": value for name, value in last.items()}
    values |= {f"result/best/{name}": value for name, value in best.items()}
    values |= {"result/best_epoch": result["best_epoch"], "result/seconds": result["seconds"]}
    tell("result", values)
    rows = [(name, *(f"{end[name]:.6g}" if name in end else "-" for end in (last, best))) for name in last]
    tell("table", "results", ("metric", "last epoch", f"best epoch ({result['best_epoch']})"), rows)
    cells = {CELL: (predictions["scores"], predictions["targets"])}
    with TemporaryDirectory() as folder:
        clips = SHOWN[result["metric"]](cells, names, Path(folder), tell)
        tell_clips(clips, recordings, Path(folder), tell)


def ends_of(result: Mapping) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics of the last and of the best epoch, those of the test list among them where there is one."""
    rows = {row["epoch"]: row for row in result["history"]}
    last, best = result["history"][-1], rows[result["best_epoch"]]
    return tuple(
        {name: value for name, value in row.items() if name not in ("epoch", "seconds", "lr")}
        | result.get(f"test_at_{end}_epoch", {})
        for row, end in ((last, "last"), (best, "best"))
    )


def tell_clips(
    clips: Clips, recordings: Callable[[int], Sequence[Path]], folder: Path, tell: Callable
) -> None:
    """The beginnings of recordings, and why there are none where they cannot be read."""
    why = {}
    for name, said, row in clips:
        heard = recordings(row)
        for i, recording in enumerate(heard, start=1):
            path = folder / f"{name}{f'_{i}' * (len(heard) > 1)}.wav"
            try:
                write_excerpt(path, recording)
            except (OSError, ClipError) as error:
                why[str(error)] = None
                continue
            tell("sound", f"clips/{path.stem}", path, said)
    if why:
        raise ClipError(f"{len(why)} clips cannot be heard, the first: {next(iter(why))}")


# By the metric ------------------------------------------------------------------------------------


def show_confusion(cells: Mapping, names: Sequence[str], folder: Path, tell: Callable) -> Clips:
    """Of one label a clip: the confusion, and the pairs of classes that were confused most often."""
    matrix = confusion(cells.values(), len(names))
    if len(names) <= MOST_CLASSES:
        tell("picture", "confusion", plot_confusion(folder / "confusion.png", matrix, names))
    pairs = confused_pairs(matrix, cells, MOST_PAIRS)
    rows = [(names[p.true], names[p.answered], p.clips, f"{100 * p.share:.1f}") for p in pairs]
    if rows:
        tell("table", "confused", ("class", "answered as", "clips", "% of the class"), rows)
    return answered(cells, names)


def show_precisions(cells: Mapping, names: Sequence[str], folder: Path, tell: Callable) -> Clips:
    """Of several labels a clip: the average precision of every class."""
    scores, targets = cells[CELL]
    values = average_precision(scores, targets)
    tell(
        "picture",
        "per_class",
        plot_per_class(folder / "per_class.png", values, names, "average precision"),
    )
    order = np.argsort(values, kind="stable")  # NaN, of classes without clips, comes last
    rows = [
        (names[c], int(targets[:, c].sum()), "-" if np.isnan(values[c]) else f"{values[c]:.4f}")
        for c in order
    ]
    tell("table", "per_class", ("class", "clips", "average precision"), rows)
    return answered(cells, names)


def show_trials(cells: Mapping, names: Sequence[str], folder: Path, tell: Callable) -> Clips:
    """Of trials: the detection error trade-off; and the hardest ones, each of two utterances."""
    tell("picture", "det", plot_det(folder / "det.png", {"scores": det_curve(*cells[CELL])}))
    return [
        (f"hardest_{i}", f"{'one speaker' if t.target else 'two speakers'} scored {t.score:.3f}", t.row[1])
        for i, t in enumerate(hardest_trials(cells, CLIPS), start=1)
    ]


SHOWN = {"accuracy": show_confusion, "mAP": show_precisions, "EER": show_trials}


def answered(cells: Mapping, names: Sequence[str]) -> Clips:
    """The surest wrong answers and the surest right ones."""

    def said(true: Sequence[int], answer: int) -> str:
        """What a clip says of itself."""
        return f"true {' and '.join(names[c] for c in true)}, answered {names[answer]}"

    wrong = surest_mistakes(cells, CLIPS)
    clips = [(f"wrong_{i}", said(m.true, m.answered), m.row[1]) for i, m in enumerate(wrong, start=1)]
    scores, targets = cells[CELL]
    answers, rows = scores.argmax(axis=1), np.arange(len(scores))
    right = np.flatnonzero(targets[rows, answers])
    runner_up = np.where(targets > 0, -np.inf, scores).max(axis=1)  # of the classes that it has not
    order = right[np.argsort(-(scores[rows, answers] - runner_up)[right], kind="stable")][:CLIPS]
    return clips + [
        (f"right_{i}", said(np.flatnonzero(targets[row]).tolist(), int(answers[row])), int(row))
        for i, row in enumerate(order, start=1)
    ]
