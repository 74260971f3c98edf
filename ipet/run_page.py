"""The page of one run: what was run, what came out, what it got wrong and how that sounds, what it cost."""

import itertools
import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np

from ipet import plots
from ipet.checkpoint import read_json, write_json
from ipet.compare import flat, title_of
from ipet.epoch_losses import loss_curves
from ipet.excerpts import SECONDS, evaluated_clips, trial_clips, write_excerpt
from ipet.mistakes import Row, confused_pairs, hardest_trials, surest_mistakes
from ipet.page import Figure, Page, Section, Sound, Table, Text, drawn
from ipet.passport import read_passport
from ipet.report import (
    DAMAGE,
    OPTIMISTIC,
    Run,
    class_names,
    confusion,
    curves_of,
    mean_precisions,
    read_predictions,
    told,
)
from ipet.segments import Segment, source_name
from ipet.summary import (
    TITLES,
    cell_order,
    detail_shown,
    in_percent,
    interval_shown,
    notes_of,
    original_rows,
    original_title,
)
from ipet.verification_metrics import det_curve

MOST_PAIRS = 15  # of classes, clips or trials in a table of mistakes
CLIPS_A_PAIR = 2
MOST_SKIPPED = 20  # clips that are named
Blocks = list[Text | Figure | Table]


def run_page(run: Run, folder: Path, num_clips: int, errors: list[str]) -> Page:
    """The page of a run; excerpts of at most so many recordings are written to ``folder``, ``clips/``.

    What is damaged or missing is told on the page; what is damaged is left to ``errors``, too.
    """
    own = [error for error in errors if any(f"{run.folder}{end}" in error for end in "/:")]
    page = Page(f"{run.experiment}: {run.label}", told=own)
    known = len(page.told)
    if run.missing:
        page.told.insert(
            0, f"{len(run.missing)} of {len(run.planned)} cells are not finished: " + listed(run.missing)
        )
        known += 1

    def add(title: str, build: Callable[..., Blocks], *values) -> None:
        """A section, or why there is none."""
        try:
            page.sections.append(Section(title, build(*values)))
        except DAMAGE as error:
            if told(run.folder, error) not in page.told:
                page.told.append(told(run.folder, error))

    if run.summary:
        page.lead = lead(run.summary)
        add("Results", result_blocks, run)
        add("Curves", curve_blocks, run)
        cells = read_cells(run, page.told)
        excerpts = Excerpts(run, cells, folder, num_clips)
        if cells and run.summary["metric"] in DETAILS:
            add(*DETAILS[run.summary["metric"]], run, cells, excerpts)
        excerpts.remove_others()
        add("Calibration", calibration_blocks, run)
        add("Cost", cost_blocks, run)
    else:
        page.lead = "No cell is finished: there are no results yet."
    add("What was run", argument_blocks, run)
    add("Left out of training", skipped_blocks, run)
    add("Environment", environment_blocks, run)
    add("Passport", passport_blocks, run)
    errors += page.told[known:]
    return page


def lead(summary: Mapping) -> str:
    """The reported number in one line."""
    reported = summary["protocols"][summary["protocol"]]
    interval = reported["interval"]
    said = f", 95 % {in_percent(interval[0])} to {in_percent(interval[1])}" if interval else ""
    return f"{summary['metric']} {in_percent(reported['mean'])} %{said} ({title_of(summary['protocol'])})"


def listed(names: Sequence[str], most: int = MOST_SKIPPED) -> str:
    """``a, b and 3 others``."""
    more = f" and {len(names) - most} others" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(number: int, what: str) -> str:
    """``1 cell``, ``2,000 cells``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def said(value) -> str:
    """A JSON value in a line."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# Results ------------------------------------------------------------------------------------------


def result_blocks(run: Run) -> Blocks:
    """The protocols side by side, with what each of them chose on."""
    summary = run.summary
    by_protocol, cells = summary["protocols"], summary["cells"]
    titles = [TITLES[name] for name in by_protocol]
    values = list(by_protocol.values())
    rows = [[cell, *(in_percent(p["values"].get(cell)) for p in values)] for cell in cells]
    if len(cells) > 1:
        rows += [[name, *(in_percent(p[name]) for p in values)] for name in ("mean", "std")]
    intervals = [p["interval"] for p in values]
    if any(intervals):
        ends = ["-" if i is None else f"{in_percent(i[0])} to {in_percent(i[1])}" for i in intervals]
        rows.append(["95 % interval", *ends])
    blocks: Blocks = [Table(f"{summary['metric']} (%) by protocol", ["cell", *titles], rows, titles)]
    blocks += map(Text, notes_of(summary))
    reported = OPTIMISTIC.get(summary["protocol"]) or title_of(summary["protocol"])
    blocks.append(Text(f"Reported is {reported}."))
    if summary["details"]:
        shown = [
            [name, " ".join([detail_shown(name, value), *interval_shown(name, summary)])]
            for name, value in summary["details"].items()
        ]
        blocks.append(
            Table("Further metrics under the reported protocol", ["metric", "mean"], shown, ["mean"])
        )
    if summary["original"]:
        title = original_title(summary)
        head = ["metric", "last epoch", "best epoch"]
        blocks.append(Table(title[0].upper() + title[1:], head, original_rows(summary), head[1:]))
    if summary["without_hearing"] is not None:
        constant = in_percent(summary["without_hearing"])
        blocks.append(Text(f"Always answering the most frequent training class gives {constant} %."))
    return blocks


def curve_blocks(run: Run) -> Blocks:
    """The watched metric and the training loss of every cell over the epochs."""
    curves, name = curves_of(run)
    blocks: Blocks = [curve_figure(curves, name)]
    losses = loss_curves(run.folder, run.results)
    return [*blocks, curve_figure(losses, "training loss")] if all(losses.values()) else blocks


def curve_figure(curves: Mapping[str, Sequence[tuple[int, float]]], name: str) -> Figure:
    """Values over the epochs, a line a cell."""
    ends = [points[-1][1] for points in curves.values()]
    values = f"{min(ends):.4g}" + (f" to {max(ends):.4g}" if len(ends) > 1 else "")
    alt = f"{name} over the epochs, a line a cell; behind the last epoch {values}."
    return drawn(alt, f"{name} over the epochs", plots.plot_curves, curves, name)


def read_cells(run: Run, problems: list[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scores and targets of the reported cells; those that cannot be read are told."""
    cells = {}
    for cell in run.reported:
        path = run.folder / cell / "predictions.npz"
        try:
            scores, targets = read_predictions(path)
            if scores.shape != targets.shape or not len(scores):
                raise ValueError(
                    f"{path}: scores of shape {list(scores.shape)}, targets {list(targets.shape)}"
                )
            cells[cell] = scores, targets
        except DAMAGE as error:
            problems.append(told(path, error))
    return cells


def names_for(run: Run, num_classes: int) -> list[str]:
    """The names of the classes, or their numbers where no file has them."""
    try:
        names = class_names(run)
    except DAMAGE:
        names = []
    return names if len(names) == num_classes else [f"class {i}" for i in range(num_classes)]


def what_is_scored(run: Run, cells: Mapping) -> str:
    """Which epoch's answers ``predictions.npz`` holds, and of how many clips or trials."""
    rows = sum(len(targets) for _, targets in cells.values())
    tested = run.summary["protocol"] in ("nested", "test_at_best_epoch")
    when = "the test list at the chosen epoch" if tested else "the last epoch"
    what = "trial" if run.summary["metric"] == "EER" else "clip"
    return f"Answers of {when}: {counted(rows, what)} of {counted(len(cells), 'cell')}."


# Mistakes -----------------------------------------------------------------------------------------


EXCERPTS = "excerpts.json"  # next to them: their names, so that no other file is replaced or deleted


def recorded_excerpts(folder: Path) -> set[str]:
    """Return the names of the excerpts that an earlier page recorded in a folder."""
    try:
        names = read_json(folder / EXCERPTS)
    except (OSError, ValueError):
        return set()
    names = names if isinstance(names, list) else []
    return {name for name in names if isinstance(name, str) and re.fullmatch(r"[0-9]{3,}\.flac", name)}


class Excerpts:
    """The recordings of a run's predictions, written beside its page as they are asked for.

    Args:
        run: whose arguments tell where lists and data lie.
        cells: scores and targets of the reported cells.
        folder: of the page.
        num_clips: at most so many are written.
    """

    def __init__(self, run: Run, cells: Mapping, folder: Path, num_clips: int):
        self.run, self.cells, self.folder, self.num_clips = run, cells, folder / "clips", num_clips
        self.recordings: dict[str, list[tuple[Path | Segment, ...]]] = {}  # of each cell's rows
        self.written: dict[Path | Segment, Sound] = {}
        self.earlier = recorded_excerpts(self.folder)
        self.why = {} if num_clips else {"-clips 0 asks for none": None}  # reasons, each once

    def __call__(self, row: Row) -> list[Sound | str]:
        """What is heard in a row of the predictions: players, or the files' names."""
        return [self.sound(path) for path in self.of_row(row)] or ["-"]

    def first(self, rows: Sequence[Row], most: int) -> list[Sound | str]:
        """What is heard in the first rows, of so many recordings: seeds of a fold have the same ones."""
        heard: dict[Sound | str, None] = {}
        for row in rows:
            heard |= dict.fromkeys(self(row))
            if len(heard) >= most:
                break
        return list(heard)

    def of_row(self, row: Row) -> Sequence[Path | Segment]:
        """The recordings of a row; none where they cannot be told."""
        cell, index = row
        if cell not in self.recordings:
            try:
                self.recordings[cell] = self.of_cell(cell)
            except DAMAGE as error:
                self.why[str(error)] = None
                self.recordings[cell] = []
        return self.recordings[cell][index] if self.recordings[cell] else ()

    def of_cell(self, cell: str) -> list[tuple[Path | Segment, ...]]:
        """The recordings of every row of a cell."""
        arguments, folder = self.run.arguments, Path(self.run.arguments["path_list"])
        starts, skipped = self.run.folder / "environment.json", self.run.folder / "skipped_clips.json"
        sha256 = read_json(starts)[-1].get("lists", {}) if starts.is_file() else {}
        targets = self.cells[cell][1]
        if self.run.summary["metric"] == "EER":
            return trial_clips(folder, self.root, Path(arguments["path_trial"]), targets, sha256)
        bad = {Path(path) for path in read_json(skipped)} if skipped.is_file() else ()
        return evaluated_clips(folder, self.root, cell_order(cell)[1], targets, sha256, bad)

    @property
    def root(self) -> Path:
        """The folder that the lists' paths start from."""
        return Path(self.run.arguments.get("path_data") or self.run.arguments["path_list"])

    def sound(self, path: Path | Segment) -> Sound | str:
        """A recording, written beside the page if it is there and the limit is not reached."""
        name = source_name(path, self.root)
        if path in self.written:
            return self.written[path]
        if len(self.written) >= self.num_clips:
            return name
        if not self.root.is_dir():
            self.why[f"{self.root}: the data's folder is no longer there"] = None
            return name
        file = self.next_name()
        try:
            write_excerpt(self.folder / file, path)
        except DAMAGE as error:
            self.why["recordings cannot be read"] = None
            return f"{name} ({str(error).rpartition(': ')[2]})"
        self.written[path] = Sound(f"clips/{file}", name)
        self.record()
        return self.written[path]

    def next_name(self) -> str:
        """Return the name of the next excerpt: one that an earlier page had, or no file has."""
        taken = {Path(sound.file).name for sound in self.written.values()}
        names = (f"{number:03d}.flac" for number in itertools.count(1))
        return next(
            name
            for name in names
            if name not in taken and (name in self.earlier or not (self.folder / name).exists())
        )

    def record(self) -> None:
        """Record which files of the folder are excerpts, so that these alone are replaced or deleted."""
        now = {Path(sound.file).name for sound in self.written.values()}
        write_json(self.folder / EXCERPTS, sorted(now | self.earlier))

    def note(self) -> Text:
        """What the clips are, or why there are none."""
        why = "; ".join(self.why)
        if not self.written:
            return Text(f"There are no clips to play: {why or 'no answer was wrong'}.")
        heard = f"the first {SECONDS} s, 16 kHz, mono; at most {self.num_clips} recordings (-clips)"
        missing = f" Not all that should be here is: {why}." if why else ""
        return Text(f"Clips are excerpts as the model hears them: {heard}.{missing}")

    def remove_others(self) -> None:
        """Delete excerpts that an earlier page recorded in the same folder."""
        now = {Path(sound.file).name for sound in self.written.values()}
        for name in self.earlier - now:
            (self.folder / name).unlink(missing_ok=True)
        recorded, self.earlier = bool(self.earlier), set()
        if now:
            self.record()
        elif recorded:
            (self.folder / EXCERPTS).unlink(missing_ok=True)


def class_blocks(run: Run, cells: Mapping, excerpts: Excerpts) -> Blocks:
    """Of one label a clip: the confusion, the pairs that were confused most often, every class."""
    num_classes = next(iter(cells.values()))[0].shape[1]
    names = names_for(run, num_classes)
    matrix = confusion(cells.values(), num_classes)
    pairs = confused_pairs(matrix, cells, MOST_PAIRS)
    right = int(np.trace(matrix))
    alt = f"Confusion matrix of {num_classes} classes: {right:,} of {matrix.sum():,} clips on the diagonal."
    caption = "Share of a class's clips (row) that was answered as each class (column), in percent"
    blocks: Blocks = [
        Text(what_is_scored(run, cells)),
        drawn(alt, caption, plots.plot_confusion, matrix, names),
    ]
    if pairs:
        rows = []
        for pair in pairs:
            heard = excerpts.first(pair.rows, CLIPS_A_PAIR)
            counts = f"{pair.clips:,}", f"{100 * pair.share:.1f}"
            rows.append([names[pair.true], names[pair.answered], *counts, heard])
        head = ["class", "answered as", "clips", "% of the class", "the surest of them"]
        caption = "The pairs of classes that are confused most often"
        blocks.append(Table(caption, head, rows, ("clips", "% of the class")))
    blocks.append(excerpts.note())
    totals, answered, hits = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    rows = []
    for c in sorted(range(num_classes), key=lambda c: hits[c] / totals[c] if totals[c] else 2):
        recall, precision = share(hits[c], totals[c]), share(hits[c], answered[c])
        rows.append(
            [names[c], f"{totals[c]:,}", recall, precision, share(2 * hits[c], totals[c] + answered[c])]
        )
    head = ["class", "clips", "recall (%)", "precision (%)", "F1 (%)"]
    return [*blocks, Table("Every class, the least recalled first", head, rows, head[1:])]


def share(part: int, whole: int) -> str:
    """In percent; a dash of nothing."""
    return f"{100 * part / whole:.1f}" if whole else "-"


def several_blocks(run: Run, cells: Mapping, excerpts: Excerpts) -> Blocks:
    """Of several labels a clip: the average precision of every class, the surest mistakes."""
    names = names_for(run, next(iter(cells.values()))[0].shape[1])
    means, clips = mean_precisions(list(cells.values()))
    alt = (
        f"Average precision of {len(names)} classes as bars, the best first; the table below has the values."
    )
    figure = drawn(alt, "Every class", plots.plot_per_class, means, names, "average precision")
    blocks: Blocks = [Text(what_is_scored(run, cells)), figure]
    mistakes = surest_mistakes(cells, MOST_PAIRS)
    if mistakes:
        rows = [[names[m.answered], listed([names[c] for c in m.true]), excerpts(m.row)] for m in mistakes]
        head = ["answered first", "classes of the clip", "clip"]
        blocks.append(Table("Clips whose first answer is wrong, the surest first", head, rows))
    blocks.append(excerpts.note())
    order = np.argsort(means, kind="stable")  # NaN last
    rows = [[names[c], f"{clips[c]:,}", "-" if np.isnan(means[c]) else f"{means[c]:.3f}"] for c in order]
    head = ["class", "clips", "average precision"]
    return [*blocks, Table("Every class, the worst first", head, rows, head[1:])]


def trial_blocks(run: Run, cells: Mapping, excerpts: Excerpts) -> Blocks:
    """Of trials: the detection error trade-off, the scores, the hardest trials, further lists."""
    blocks: Blocks = [Text(what_is_scored(run, cells))]
    curves = {cell: det_curve(*trials) for cell, trials in cells.items()}
    equal = ", ".join(f"{100 * plots.equal_error(*curve):.2f} %" for curve in curves.values())
    alt = f"Misses over false alarms on normal-deviate axes, a line a cell; equal error rates {equal}."
    blocks.append(drawn(alt, "Detection error trade-off", plots.plot_det, curves))
    first, (scores, targets) = next(iter(cells.items()))
    medians = [np.median(scores[targets.astype(bool) == kind]) for kind in (True, False)]
    alt = f"Histograms of scores: the median of targets is {medians[0]:.3g}, of nontargets {medians[1]:.3g}."
    blocks.append(drawn(alt, f"Scores of {first}", plots.plot_scores, scores, targets))
    rows = [
        ["one speaker" if trial.target else "two speakers", f"{trial.score:.3f}", excerpts(trial.row)]
        for trial in hardest_trials({first: cells[first]}, MOST_PAIRS // 2 * 2)
    ]
    caption = f"The hardest trials of {first}: the lowest scores of one speaker, the highest of two"
    blocks += [Table(caption, ["truth", "score", "utterances"], rows, ["score"]), excerpts.note()]
    more = sorted(path for cell in run.reported for path in (run.folder / cell).glob("more_trials/*.json"))
    lists = [(str(path.relative_to(run.folder)), read_json(path)["last"]) for path in more]
    if lists:
        rows = [[name, *(in_percent(v.get(f"eval_{m}")) for m in ("EER", "minDCF"))] for name, v in lists]
        head = ["list", "EER (%)", "minDCF x 100"]
        blocks.append(Table("Further trial lists, last epoch", head, rows, head[1:]))
    return blocks


DETAILS = {
    "accuracy": ("Confusion", class_blocks),
    "mAP": ("Classes", several_blocks),
    "EER": ("Trials", trial_blocks),
}


# What it took -------------------------------------------------------------------------------------


def calibration_blocks(run: Run) -> Blocks:
    """How far confidence and truth are apart, without and with the temperature, where it was fitted."""
    rows = []
    for cell, result in run.results.items():
        found = result.get("calibration") or {}
        values = [found.get(name) for name in ("temperature", "error_before", "error")]
        if any(value is not None for value in values):
            temperature = "-" if values[0] is None else f"{values[0]:.3f}"
            rows.append([cell, temperature, *map(in_percent, values[1:])])
    head = ["cell", "temperature", "error as trained (%)", "error with it (%)"]
    caption = "Expected calibration error on the test list; the temperature is of the validation list"
    return [Table(caption, head, rows, head[1:])] if rows else []


def cost_blocks(run: Run) -> Blocks:
    """Parameters, time, memory, file, multiply-accumulates."""
    summary = run.summary
    trainable, total = summary["trainable_parameters"], summary["all_parameters"]
    rows = [
        ["trainable parameters", f"{trainable:,}"],
        ["all parameters", f"{total:,}"],
        ["share that is trained", f"{share(trainable, total)} %"],
        ["training time, all cells", str(timedelta(seconds=round(summary["seconds"])))],
        ["peak memory", f"{summary['peak_memory_bytes'] / 2**20:,.0f} MiB"],
    ]
    if summary.get("checkpoint_bytes") is not None:
        rows.append(["file of a saved adapter", f"{summary['checkpoint_bytes'] / 2**20:.3g} MiB"])
    if summary.get("macs") is not None:
        rows.append(["multiply-accumulates of a clip", f"{summary['macs'] / 1e9:.3g} G"])
    return [Table("What the run took", ["", "value"], rows, ["value"])]


def argument_blocks(run: Run) -> Blocks:
    """Data, method and backbone, then every argument."""
    tuning = (run.summary or {}).get("tuning") or {}
    settings = ", ".join(f"{name} {said(value)}" for name, value in tuning.items() if name != "method")
    rows = [
        ["experiment", run.experiment],
        ["data", run.data],
        ["method", run.method + (f": {settings}" if settings else "")],
        ["backbone", said(run.arguments.get("pretrained"))],
        ["cells", f"{len(run.planned) - len(run.missing)} of {len(run.planned)} finished"],
        ["folder", str(run.folder)],
    ]
    arguments = [[f"-{name}", said(value)] for name, value in sorted(run.arguments.items())]
    return [
        Table("In short", ["", "value"], rows),
        Table("Arguments, as they were resolved", ["argument", "value"], arguments),
    ]


def skipped_blocks(run: Run) -> Blocks:
    """Steps without a finite gradient, and recordings that could not be used."""
    steps = {cell: result.get("skipped_steps") for cell, result in run.results.items()}
    blocks: Blocks = [
        Text(f"{cell}: {count:,} steps without a finite loss and gradient changed nothing.")
        for cell, count in steps.items()
        if count
    ]
    path = run.folder / "skipped_clips.json"
    if path.is_file():
        skipped = list(read_json(path).items())
        rows = [[name, str(reason)] for name, reason in skipped[:MOST_SKIPPED]]
        caption = f"Recordings that could not be used: {len(skipped):,}, the first {len(rows)}"
        blocks.append(Table(caption, ["recording", "why"], rows))
    return blocks or [Text("Nothing: every step and every recording of the lists was used.")]


def environment_blocks(run: Run) -> Blocks:
    """Versions, hardware and command of the last start."""
    path = run.folder / "environment.json"
    if not path.is_file():
        return [Text("There is no environment.json: versions and hardware are not known.")]
    starts = read_json(path)
    last = {name: value for name, value in starts[-1].items() if name != "lists"}  # the passport has them
    rows = [["started", said(starts[-1].get("started"))]]
    rows += [["command", " ".join(map(str, starts[-1].get("command", [])))]]
    rows += [[name, said(value)] for name, value in flat(last).items()]
    times = f", the last of {len(starts)}" if len(starts) > 1 else ""
    return [Table(f"The start{times}", ["", "value"], rows)]


def passport_blocks(run: Run) -> Blocks:
    """The hashes of what the run was made from."""
    path = run.folder / "passport.json"
    if not path.is_file():
        return [Text("There is no passport.json: it is written when the run has ended.")]
    passport = read_passport(path)
    rows = [["lists, as they are learnt from", said(passport["lists_sha256"])]]
    rows += [["frozen backbone", said(passport["backbone"].get("sha256"))]]
    rows += [[name, said(value)] for part in ("lists", "sources") for name, value in passport[part].items()]
    again = f"python3 -m ipet rerun {shlex.quote(str(path))}"
    return [Table("SHA-256", ["of", "value"], rows), Text(f"To make this run again: {again}")]
