"""python3 -m ipet predict, embed, verify: a saved adapter on files, some or very many."""

import csv
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ipet.audio import ClipError
from ipet.audio_formats import RECORDINGS, scan_recordings, shown
from ipet.checkpoint import save_arrays, tell, write_json
from ipet.files import AUDIO, readable_size
from ipet.heads import SpeakerHead
from ipet.inference import TunedModel, Window
from ipet.input_report import InputReport
from ipet.levels import LevelMeter
from ipet.prediction_table import COLUMNS, Table, new_file
from ipet.recording_reader import Reader, leave_out, report_levels
from ipet.scoring import score_trials
from ipet.trials import TRIALS, read_trial_rows, trial_files
from ipet.verification_metrics import eer, min_dcf


def predict(
    model: TunedModel,
    paths: list[Path],
    kind: str = "clips",
    top: int = 5,
    hop: float | None = None,
    threshold: float | None = None,
    csv_file: Path | None = None,
    jsonl_file: str | None = None,
    report: InputReport | None = None,
    report_file: str | None = None,
) -> int:
    """Classify recordings; return the exit status, 1 where one could not be used.

    Args:
        paths: files, and folders of them.
        kind: ``clips``, the most probable classes of each; ``timeline``, those of every window; ``events``,
            from when to when a class was heard.
        top: how many classes of a clip or window.
        hop, threshold: see ``TunedModel.timeline`` and ``events``.
        csv_file, jsonl_file: see ``Table``; a CSV's recordings are not heard again.
        report: Account of the recordings, if ``paths`` come from ``scan_recordings``; otherwise they are
            scanned here.
        report_file: Where to write the report as JSON; ``-`` is the standard output.
    """
    if report is None:
        report = input_report("predict", paths)
        paths = scan_recordings(paths, report)
    table = Table(COLUMNS[kind], csv_file, jsonl_file)
    known = [path for path in paths if str(path) in table.done]
    for path in known:
        report.skip(RECORDINGS, shown(path), f"already in {csv_file}")
    paths = [path for path in paths if str(path) not in table.done]
    bar = tqdm(total=len(paths), unit="file", disable=None, leave=False)
    heard = failed = 0
    try:
        if kind == "clips":
            reader = Reader(
                paths, report, model.cut, model.model.front_end, "-timeline and -events use all of it"
            )
            for logits in model.run(reader):
                path, part = reader.read.popleft()
                labels = model.ranked(model.answer(logits), top)
                table.add([(str(path), rank, *label) for rank, label in enumerate(labels, 1)], part)
                heard += 1
                bar.update(heard + reader.failed - bar.n)
            bar.update(len(paths) - bar.n)
            failed = reader.failed
        for path in paths if kind != "clips" else ():
            try:
                table.add(long_rows(model, path, kind, top, hop, threshold, report))
                heard += 1
            except (ClipError, OSError) as error:
                failed += 1
                leave_out(path, error, report)
            bar.update()
    finally:
        bar.close()
        table.close()
    finish_report(report, report_file)
    if csv_file is not None and "-" not in (jsonl_file, report_file):
        before = f", {len(table.done):,} were there" if table.done else ""
        print(f"{heard:,} recordings heard{before}: {csv_file}")
    return int(failed > 0)


def input_report(command: str, paths: Sequence[Path]) -> InputReport:
    """Return an empty report that is named after the only path, or after the command."""
    return InputReport(shown(paths[0]) if len(paths) == 1 else command)


def finish_report(report: InputReport, file: str | None) -> None:
    """Print the warnings of a report, and write all of it as JSON."""
    report.print_warnings()
    if file == "-":
        print(json.dumps(report.as_dict(), indent=2, ensure_ascii=False))
    elif file is not None:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        write_json(file, report.as_dict())


def long_rows(
    model: TunedModel,
    path: Path,
    kind: str,
    top: int,
    hop: float | None,
    threshold: float | None,
    report: InputReport,
) -> list[tuple]:
    """Return the rows of one recording of any length.

    Raises:
        FileNotFoundError, ClipError: See ``read_audio``.
    """
    meter = LevelMeter()
    timeline = model.timeline(path, hop, meter)
    if kind == "events":
        found = model.events(timeline, threshold)
        rows = [(str(path), e.onset, e.offset, e.name, e.probability) for e in found]
    else:
        rows = [(str(path), *row) for window in timeline for row in window_rows(model, window, top)]
    report_levels(path, meter.levels.mixed_db, meter.levels, report)
    return rows


def window_rows(model: TunedModel, window: Window, top: int) -> list[tuple]:
    """A window's most probable classes, with its place."""
    return [(window.start, window.end, *label) for label in model.ranked(window.probabilities, top)]


def embed(
    model: TunedModel,
    paths: list[Path],
    out: Path,
    report: InputReport | None = None,
    report_file: str | None = None,
) -> int:
    """Write the embeddings of recordings; return the exit status.

    Args:
        report, report_file: See ``predict``.
        out: ``.npz``, with ``paths`` [N] and ``embeddings`` [N, E]; or ``.parquet``, a row a recording.

    Raises:
        ValueError: another ending, no pyarrow for Parquet, or no recording that could be used.
    """
    check_format(out)
    if report is None:
        report = input_report("embed", paths)
        paths = scan_recordings(paths, report)
    reader = Reader(paths, report, model.cut, model.model.front_end)
    rows = [
        output.mean(dim=0).numpy()
        for output in tqdm(
            model.run(reader, embed=True), total=len(reader.paths), unit="file", disable=None, leave=False
        )
    ]
    names = [str(path) for path, _ in reader.read]
    finish_report(report, report_file)
    if not rows:
        raise ValueError("no recording could be used; nothing was written")
    if out.suffix == ".npz":
        save_arrays(out, {"paths": np.array(names), "embeddings": np.stack(rows)})
    else:
        write_parquet(out, names, rows)
    if report_file != "-":
        print(f"{len(rows)} embeddings of {len(rows[0])} values in {out}")
    return int(reader.failed > 0)


def check_format(out: Path) -> None:
    """Raise ValueError where embeddings cannot be written into a file of that ending."""
    if out.suffix not in (".npz", ".parquet"):
        raise ValueError(f"{out}: ends with {out.suffix!r}; expected .npz or .parquet")
    if out.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ValueError(f"{out}: Parquet needs the package: python3 -m pip install pyarrow")


def write_parquet(out: Path, names: list[str], rows: list[np.ndarray]) -> None:
    """The columns ``path`` and ``embedding``."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"path": names, "embedding": [row.tolist() for row in rows]})
    out.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, out)


def check_two(paths: list[Path]) -> None:
    """Raise ValueError or OSError where paths are not those of two files that can be compared."""
    if len(paths) != 2:
        raise ValueError(f"{len(paths)} recordings; expected two to compare, or -trials FILE")
    for path in paths:
        readable_size(path, AUDIO)


def verify(
    model: TunedModel,
    paths: list[Path],
    trials: Path | None,
    root: Path,
    scoring: str | None,
    csv_file: Path | None,
    json_file: str | None = None,
) -> int:
    """Print how alike the voices of two recordings are, or score a list of trials; the exit status.

    Args:
        paths: the two recordings.
        trials: ``1 one.wav other.wav`` (one speaker) or ``0 ...`` (two) a line, in place of ``paths``.
        root: Folder of the recordings, see ``trial_files``.
        scoring: ``mean_distance`` or ``cosine``; None: the scoring of the adapter's training.
        csv_file: for every trial's score.
        json_file: where to write what is told as JSON; ``-`` is the standard output, in the text's place.

    Raises:
        ValueError: neither two recordings nor trials; a trial's recording that cannot be used.
    """
    scoring = scoring or model.scoring
    report = InputReport("verify" if trials is None else str(trials))
    if trials is None:
        check_two(paths)
        if not isinstance(model.model.head, SpeakerHead):
            print("note: this adapter was not trained to tell voices apart", file=sys.stderr)
        report.use(RECORDINGS, len(paths))
        reader = Reader(paths, report, model.cut, model.model.front_end)
        voices = list(reader)
        if reader.failed:
            return 1
        score = model.similarity(*voices, scoring) + 0.0  # no -0.0
        report.print_warnings()
        told = {"scoring": scoring, "score": score, "input": report.as_dict()}
        tell(told, f"{score:.4f}", json_file, indent=None)
        return 0
    rows = read_trial_rows(trials)
    files = trial_files(trials, dict.fromkeys(name for row in rows for name in row[1:]), root)
    names = list(dict.fromkeys(files.values()))
    report.use("trials", len(rows))
    report.use(RECORDINGS, len(names))
    reader = Reader(names, report, model.cut, model.model.front_end)
    bar = tqdm(model.run(reader, embed=True), total=len(names), unit="file", disable=None, leave=False)
    embeddings = list(bar)
    if reader.failed:
        raise ValueError(f"{trials}: {reader.failed} of its {len(names)} recordings cannot be used")
    index = {file: i for i, file in enumerate(names)}
    pairs = np.array([[index[files[a]], index[files[b]]] for _, a, b in rows])
    targets = np.array([TRIALS[kind] for kind, *_ in rows])
    scores = score_trials(torch.stack(embeddings), pairs, scoring)
    if csv_file is not None:
        with new_file(csv_file) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["one", "other", "target", "score"])
            writer.writerows([a, b, int(t), f"{s:.6f}"] for (_, a, b), t, s in zip(rows, targets, scores))
    report.print_warnings()
    told = {"scoring": scoring, "trials": len(rows), "recordings": len(names), "input": report.as_dict()}
    text = f"{len(rows):,} trials of {len(names):,} recordings"
    if targets.any() and not targets.all():
        told |= {"EER": float(eer(scores, targets)), "minDCF": float(min_dcf(scores, targets))}
        text += f"\nEER {100 * told['EER']:.2f} %, minDCF {told['minDCF']:.4f}"
    tell(told, text, json_file, indent=None)
    return 0
