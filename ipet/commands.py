"""python3 -m ipet predict, embed, verify: a saved adapter on files, some or very many."""

import csv
import importlib.util
import io
import json
import math
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ipet.audio import SAMPLE_RATE, SILENT_DB, ClipError, is_silent
from ipet.audio_formats import RECORDINGS
from ipet.checkpoint import save_arrays, tell, write_atomically
from ipet.files import AUDIO, readable_size
from ipet.heads import SpeakerHead
from ipet.inference import TunedModel, Window
from ipet.input_report import InputReport
from ipet.printable import escaped
from ipet.scoring import score_trials
from ipet.trials import TRIALS, read_trial_rows, trial_files
from ipet.verification_metrics import eer, min_dcf

OTHER_DEVICE = 0.05  # that a probability may differ by on another device, or in another precision
READERS, AHEAD = 4, 16  # threads that decode (libsndfile lets others run), and files decoded ahead
COLUMNS = {
    "clips": ("path", "rank", "label", "probability"),
    "timeline": ("path", "start", "end", "label", "probability"),
    "events": ("path", "onset", "offset", "label", "probability"),
}


class Reader:
    """Recordings decoded ahead by threads, in order; those that cannot be used are reported and left out.

    Args:
        read: Function of a path that returns [T] samples.
        paths: Paths of the recordings.
        report: Account of the input, in which the recordings are counted as used.
        most_seconds: Length of a recording from which on only a part of it is heard.

    Attributes:
        read_paths: Paths of the recordings that were handed on.
        failed: Number of the recordings that were not.
        longer: Number of recordings of which only a part is heard.
    """

    def __init__(
        self,
        read: Callable[[Path], Tensor],
        paths: Iterable[Path],
        report: InputReport | None = None,
        most_seconds: float = math.inf,
    ):
        self.read, self.paths = read, list(paths)
        self.report, self.most_seconds = report or InputReport(""), most_seconds
        self.read_paths: deque[Path] = deque()
        self.failed = self.longer = 0

    def __iter__(self) -> Iterator[Tensor]:
        pending: deque = deque()
        rest = iter(self.paths)
        with ThreadPoolExecutor(READERS) as pool:
            while True:
                for path in rest:
                    pending.append((path, pool.submit(self.read, path)))
                    if len(pending) >= AHEAD:
                        break
                if not pending:
                    return
                path, waveform = pending.popleft()
                try:
                    waveform = waveform.result()
                except (ClipError, OSError) as error:
                    self.failed += 1
                    leave_out(self.report, path, error)
                    continue
                if is_silent(waveform):
                    reason = f"silent, below {SILENT_DB} dB of full scale; the answer says nothing"
                    tqdm.write(f"warning: {escaped(str(path))}: {reason}", file=sys.stderr)
                    self.report.doubt(RECORDINGS, str(path), reason)
                self.longer += len(waveform) > self.most_seconds * SAMPLE_RATE
                self.read_paths.append(path)
                yield waveform


def leave_out(report: InputReport, path: Path, error: Exception) -> None:
    """Report a recording that cannot be used."""
    tqdm.write(f"error: {escaped(str(error))}", file=sys.stderr)
    report.use(RECORDINGS, -1)
    report.leave_out(RECORDINGS, str(path), str(error).removeprefix(f"{path}: "))


def part_heard(model: TunedModel) -> tuple[float, str]:
    """Return from which length in seconds on a model hears a part of a clip, and which part."""
    front_end = model.model.front_end
    seconds = front_end.num_samples / SAMPLE_RATE
    if front_end.num_segments > 1:
        return front_end.num_segments * seconds, f"{front_end.num_segments} segments of {seconds:g} s"
    part = {"first": "the first", "centre": "the middle"}.get(model.cut.crop, "the first")
    return seconds, f"{part} {seconds:g} s"


class Table:
    """Rows as text on the screen, as CSV or as JSON lines; a CSV file that exists is gone on with.

    Args:
        columns: names of the values of a row; the first is the recording's path.
        csv_file, jsonl_file: where to write; ``-`` is the standard output. Without both, text.

    ``done``, an attribute, holds the paths that the CSV file has already. It stays as it is until a row is
    added; of its last recording, which is heard again, another answer is refused.

    Raises:
        ValueError: the CSV file has other columns.
    """

    def __init__(self, columns: tuple[str, ...], csv_file: Path | None, jsonl_file: str | None):
        self.columns, self.done = columns, set()
        self.text = csv_file is None and jsonl_file is None
        self.csv = self.jsonl = self.path = None
        self.kept: list[list[str]] = []
        if csv_file is not None:
            self.path = csv_file
            self.kept, self.last = whole_rows(csv_file, columns)
            self.done = {row[0] for row in self.kept}
            if not self.kept and not self.last:
                self.begin()
        if jsonl_file is not None:
            self.jsonl = sys.stdout if jsonl_file == "-" else new_file(Path(jsonl_file))

    def begin(self) -> None:
        """Open the CSV file behind the rows that are kept, which are in it at any time."""
        if self.kept:
            buffer = io.StringIO()
            csv.writer(buffer, lineterminator="\n").writerows([self.columns, *self.kept])
            write_atomically(self.path, buffer.getvalue().encode("utf-8", "surrogateescape"))
        self.csv = new_file(self.path, "a" if self.kept else "w")
        self.writer = csv.writer(self.csv, lineterminator="\n")
        if not self.kept:
            self.writer.writerow(self.columns)
            self.csv.flush()

    def check(self, rows: list[tuple]) -> None:
        """Raise ValueError where the file holds another answer to the recording that is heard again."""
        if not rows or not self.last or rows[0][0] != self.last[0][0]:
            return
        alike = zip(self.last, rows)
        close = all(abs(number(before[-1]) - now[-1]) <= OTHER_DEVICE for before, now in alike)
        before, now = ({row[-2] for row in some} for some in (self.last, rows))
        whole = len(rows) if "rank" in self.columns and self.kept else None
        same = whole in (None, sum(row[0] == self.kept[0][0] for row in self.kept))
        if not (same and close and len(self.last) <= len(rows) and 2 * len(before & now) >= len(before)):
            shown = [" ".join(map(str, map(rounded, row[1:]))) for row in (self.last[0], rows[0])]
            raise ValueError(
                f"{self.path}: of {self.last[0][0]} it has {len(self.last)} rows from {shown[0]!r} on, and "
                f"now they are {len(rows)} from {shown[1]!r} on; expected the adapter and the flags that it "
                "was begun with, or another file"
            )

    def add(self, rows: list[tuple]) -> None:
        """Write the rows of one recording.

        Raises:
            ValueError: see ``check``.
        """
        if self.path is not None and self.csv is None:
            self.check(rows)
            self.begin()
        if self.csv is not None:
            self.writer.writerows([[rounded(value) for value in row] for row in rows])
            self.csv.flush()
        if self.jsonl is not None:
            for row in rows:
                values = dict(zip(self.columns, map(rounded, row)))
                self.jsonl.write(json.dumps(values, ensure_ascii=not is_text(row[0])) + "\n")
            self.jsonl.flush()
        if self.text and rows:
            tqdm.write(escaped(rows[0][0]))  # a path of a folder that anybody may have packed
            for _, *place, label, probability in rows:
                # A clip's place is its rank, which the order shows; a window's, seconds.
                seconds = f"{place[0]:9.2f} -{place[1]:9.2f} s  " if len(place) == 2 else "  "
                tqdm.write(f"{seconds}{100 * probability:6.1f} %  {label}")

    def close(self) -> None:
        """Close the files."""
        for file in (self.csv, self.jsonl):
            if file is not None and file is not sys.stdout:
                file.close()


def new_file(path: Path, mode: str = "w") -> TextIO:
    """A file of text to write, whose lines end as they are given; its folder is made if need be.

    Names of files that are no text are written as the bytes that they are.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, mode, encoding="utf-8", errors="surrogateescape", newline="")


def is_text(name: str) -> bool:
    """Whether a file's name can be written as text: Linux takes any bytes for one."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def number(text: str) -> float:
    """What a field of a CSV file says; NaN where it is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def rounded(value):
    """Seconds and probabilities with four digits behind the point."""
    return round(value, 4) if isinstance(value, float) else value


def whole_rows(path: Path, columns: tuple[str, ...]) -> tuple[list[list[str]], list[list[str]]]:
    """The rows of a CSV file, and apart the last recording's, of which some may be missing; none without it.

    Raises:
        ValueError: it has other columns, or a row of fewer or more.
    """
    if not path.is_file() or not path.stat().st_size:
        return [], []
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    whole = text[: text.rfind("\n") + 1]  # without a row that was cut off
    head, *rows = [row for row in csv.reader(io.StringIO(whole or text)) if row] or [[]]
    if not whole and ",".join(columns).startswith(text):
        return [], []
    if tuple(head) != columns:
        raise ValueError(
            f"{path}: has the columns {', '.join(head)}; expected {', '.join(columns)}, or no file"
        )
    torn = next((row for row in rows if len(row) != len(columns)), None)
    if torn is not None:
        raise ValueError(
            f"{path}: has a row of {len(torn)} fields, {torn[0]!r}; expected {len(columns)} in each"
        )
    last = rows[-1][0] if rows else None
    return [row for row in rows if row[0] != last], [row for row in rows if row[0] == last]


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
) -> int:
    """Print the classes of recordings; return the exit status, 1 where a recording could not be used.

    Args:
        paths: Recordings.
        kind: ``clips``, the most probable classes of each; ``timeline``, those of every window; ``events``,
            from when to when a class was heard.
        top: how many classes of a clip or window.
        hop, threshold: see ``TunedModel.timeline`` and ``events``.
        csv_file, jsonl_file: see ``Table``; a CSV's recordings are not heard again.
        report: Account of the input, in which the recordings are counted as used.
    """
    report = report or InputReport("")
    table = Table(COLUMNS[kind], csv_file, jsonl_file)
    paths = [path for path in paths if str(path) not in table.done]
    most_seconds, part = part_heard(model)
    bar = tqdm(total=len(paths), unit="file", disable=None, leave=False)
    heard = failed = 0
    try:
        if kind == "clips":
            reader = Reader(model.read, paths, report, most_seconds)
            for logits in model.run(reader):
                path = str(reader.read_paths.popleft())
                labels = model.ranked(model.answer(logits), top)
                table.add([(path, rank, *label) for rank, label in enumerate(labels, 1)])
                heard += 1
                bar.update(heard + reader.failed - bar.n)
            bar.update(len(paths) - bar.n)
            failed = reader.failed
            if reader.longer:
                longer = f"{reader.longer:,} recordings longer than {most_seconds:g} s"
                text = f"note: of {longer} {part} were heard; -timeline hears all of a recording"
                tqdm.write(text, file=sys.stderr)
        for path in paths if kind != "clips" else ():
            try:
                table.add(long_rows(model, path, kind, top, hop, threshold))
                heard += 1
            except (ClipError, OSError) as error:
                failed += 1
                leave_out(report, path, error)
            bar.update()
    finally:
        bar.close()
        table.close()
    if csv_file is not None and jsonl_file != "-":
        before = f", {len(table.done):,} were there" if table.done else ""
        print(f"{heard:,} recordings heard{before}: {csv_file}")
    return int(failed > 0)


def long_rows(
    model: TunedModel, path: Path, kind: str, top: int, hop: float | None, threshold: float | None
) -> list[tuple]:
    """The rows of one recording of any length."""
    timeline = model.timeline(path, hop)
    if kind == "events":
        found = model.events(timeline, threshold)
        return [(str(path), e.onset, e.offset, e.name, e.probability) for e in found]
    return [(str(path), *row) for window in timeline for row in window_rows(model, window, top)]


def window_rows(model: TunedModel, window: Window, top: int) -> list[tuple]:
    """A window's most probable classes, with its place."""
    return [(window.start, window.end, *label) for label in model.ranked(window.probabilities, top)]


def embed(model: TunedModel, paths: list[Path], out: Path, report: InputReport | None = None) -> int:
    """Write the embeddings of recordings; return the exit status.

    Args:
        paths: Recordings.
        report: Account of the input, in which the recordings are counted as used.
        out: ``.npz``, with ``paths`` [N] and ``embeddings`` [N, E]; or ``.parquet``, a row a recording.

    Raises:
        ValueError: another ending, no pyarrow for Parquet, or no recording that could be used.
    """
    check_format(out)
    reader = Reader(model.read, paths, report)
    rows = [
        output.mean(dim=0).numpy()
        for output in tqdm(
            model.run(reader, embed=True), total=len(reader.paths), unit="file", disable=None, leave=False
        )
    ]
    names = [str(path) for path in reader.read_paths]
    if not rows:
        raise ValueError("no recording could be used; nothing was written")
    if out.suffix == ".npz":
        save_arrays(out, {"paths": np.array(names), "embeddings": np.stack(rows)})
    else:
        write_parquet(out, names, rows)
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
    if trials is None:
        check_two(paths)
        if not isinstance(model.model.head, SpeakerHead):
            print("note: this adapter was not trained to tell voices apart", file=sys.stderr)
        reader = Reader(model.read, paths)
        waveforms = list(reader)
        if reader.failed:
            return 1
        score = model.similarity(*waveforms, scoring) + 0.0  # no -0.0
        tell({"scoring": scoring, "score": score}, f"{score:.4f}", json_file, indent=None)
        return 0
    rows = read_trial_rows(trials)
    files = trial_files(trials, dict.fromkeys(name for row in rows for name in row[1:]), root)
    names = list(dict.fromkeys(files.values()))
    reader = Reader(model.read, names)
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
    told = {"scoring": scoring, "trials": len(rows), "recordings": len(names)}
    text = f"{len(rows):,} trials of {len(names):,} recordings"
    if targets.any() and not targets.all():
        told |= {"EER": float(eer(scores, targets)), "minDCF": float(min_dcf(scores, targets))}
        text += f"\nEER {100 * told['EER']:.2f} %, minDCF {told['minDCF']:.4f}"
    tell(told, text, json_file, indent=None)
    return 0
