"""A user's table of recordings: its encoding, its separator, its header, and what each column means."""

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

from ipet.input_report import InputReport
from ipet.label_names import is_missing
from preparation.lists import listing

# What the columns of a table may be called, in the spelling of ``header_key``.
ROLES = {
    "path": "path file filename file_name filepath file_path full_path fname wav wav_file wav_path wavfile "
    "audio audio_file audio_path audio_filename audio_file_name audiofile audiopath recording recording_path "
    "clip clip_path clip_name slice_file_name sound sound_file sound_path soundfile begin_file begin_path",
    "label": "label labels class classes class_name classname category categories target targets tag tags "
    "species sound_class event_label event_labels primary_label label_name annotation annotations",
    "split": "split splits subset subsets set partition partitions usage fold folds fold_id fold_number "
    "fold_nr "
    "cv cv_fold data_split dataset_split split_name train_test train_test_split train_val_test part",
    "group": "group groups group_id speaker speakers speaker_id speakerid speaker_name spk spk_id spkid "
    "client_id subject subject_id participant participant_id patient patient_id singer recordist actor "
    "actor_id person person_id talker talker_id performer artist donor_id user_id userid reader_id",
    "start": "start begin from onset start_time begin_time onset_time t_start t0 tmin min_t time_start "
    "starttime",
    "end": "end stop to until end_time stop_time offset_time t_end t1 tmax max_t time_end endtime",
    "duration": "duration dur event_duration segment_duration",
}
ROLES = {role: tuple(names.split()) for role, names in ROLES.items()}
GIVEN_ROLES = (*ROLES, "ignore")
TIMES = ("start", "end", "duration")
UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0}
UNITS |= {"ms": 0.001, "msec": 0.001, "millisecond": 0.001, "milliseconds": 0.001}
UNREAD_UNITS = ("sample", "samples", "frame", "frames", "smp")
BINARY = {
    b"PK\x03\x04": "an Excel or OpenDocument workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
}
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
AUDIO_NAME = re.compile(
    r"\.(wav|wave|flac|ogg|oga|opus|mp3|m4a|aac|aif|aiff|aifc|wma|au|caf|w64|webm)$", re.I
)


class Table(NamedTuple):
    """The records of a table."""

    path: Path
    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]  # the line of the file, from 1, and the values by column
    notes: list[str]


def header_key(name: str) -> str:
    """Return the name of a column in lower case, with ``_`` for everything but letters and digits."""
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")


def read_text(path: Path) -> str:
    """Return the text of a table in UTF-8 or UTF-16, with or without a byte-order mark.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not text in one of these encodings.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a CSV with the columns path and label")
    content = path.read_bytes()
    kind = next((kind for start, kind in BINARY.items() if content.startswith(start)), None)
    if kind:
        raise ValueError(f"{path}: is {kind}; expected text: export it as CSV (UTF-8)")
    encoding = "utf-8-sig"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif content[1:2] == b"\0" or content[:1] == b"\0":  # no byte-order mark, and the first letter is Latin
        encoding = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: is not {'UTF-16' if 'utf-16' in encoding else 'UTF-8'} text "
            f"({error.reason} at byte {error.start:,}); save it as UTF-8, or convert it: "
            "iconv -f WINDOWS-1252 -t UTF-8 OLD.csv > NEW.csv"
        ) from None
    if "\n" not in text:
        text = text.replace("\r", "\n")  # of a Mac's spreadsheet
    if text.lstrip()[:1] in ("{", "["):
        raise ValueError(
            f"{path}: is JSON; expected a CSV (lists of clips are read by data/prepare.py lists)"
        )
    return text


def records(text: str, separator: str, path: Path) -> list[tuple[int, list[str]]]:
    """Return the non-empty records of a table, each with the number of its first line.

    Raises:
        ValueError: The text is not CSV.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    found, line = [], 1
    try:
        for values in reader:
            if any(value.strip() for value in values):
                found.append((line, values))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {max(line, reader.line_num)}: {error}") from None
    return found


def knows(name: str, role: str) -> bool:
    """Return whether the name of a column is one of a role's names; times may end in a unit."""
    key = header_key(name)
    if key in ROLES[role]:
        return True
    base, _, unit = key.rpartition("_")
    return role in TIMES and base in ROLES[role] and unit in (*UNITS, *UNREAD_UNITS)


def find_separator(text: str, path: Path) -> str:
    """Return the character that separates the values of a table.

    It is the one that splits the header into known names, or else the one that gives every record the same
    number of values.

    Raises:
        ValueError: None does, or several do.
    """
    head = text.lstrip("\ufeff")[:100_000]
    fitting, even = [], []
    for separator in SEPARATORS:
        try:
            rows = records(head, separator, path)[:1_000]
        except ValueError:
            continue
        if len(rows) > 1 and len(head) == 100_000:
            rows = rows[:-1]  # the last one may be cut
        if rows and len(rows[0][1]) > 1:
            roles = [role for role in ROLES if any(knows(name, role) for name in rows[0][1])]
            fitting += [(len(roles), separator)] if "path" in roles else []
            even += [separator] if len({len(values) for _, values in rows}) == 1 else []
    if fitting:
        best = max(fitting)[0]
        candidates = [separator for count, separator in fitting if count == best]
    else:
        candidates = even
    if len(candidates) > 1:
        names = " or ".join(SEPARATORS[separator] for separator in candidates)
        raise ValueError(f"{path}: may be separated by {names}; expected a first line path,label")
    return candidates[0] if candidates else ","


def read_table(path: Path) -> Table:
    """Read a table with any common encoding and separator, with or without a header.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not a table, a column is there twice, a row has more values than columns.
    """
    text, notes = read_text(path), []
    told = re.match(r'\ufeff?"?sep=(.)"?\r?\n', text)  # Excel's own first line
    separator = told[1] if told else find_separator(text, path)
    rows = records("\n" + text[told.end() :] if told else text, separator, path)
    if not rows:
        raise ValueError(f"{path}: lists no clip")
    line, head = rows[0]
    columns = [name.strip().strip("\ufeff") for name in head]
    if separator != ",":
        notes.append(f"{path.name} is separated by {SEPARATORS.get(separator, repr(separator))}")
    if any(AUDIO_NAME.search(value.strip()) for value in head):
        if len(head) != 2:
            raise ValueError(
                f"{path}: its first line {', '.join(head)[:200]!r} names no columns; expected a first line "
                "such as path,label,fold"
            )
        columns = ["path", "label"] if AUDIO_NAME.search(head[0].strip()) else ["label", "path"]
        notes.append(f"{path.name} has no header: its columns are taken as {' and '.join(columns)}")
    else:
        rows = rows[1:]
    if not rows:
        raise ValueError(f"{path}: lists no clip")
    twice = [name for name in dict.fromkeys(columns) if name and columns.count(name) > 1]
    if twice:
        raise ValueError(f"{path}: has the column {listing(twice)} twice; expected each name once")
    found = []
    for line, values in rows:
        if any(value.strip() for value in values[len(columns) :]):
            raise ValueError(
                f"{path}, line {line}: has {len(values)} values for {len(columns)} columns; a value that "
                'holds commas stands in quotes: "a,b"'
            )
        values += [""] * (len(columns) - len(values))
        for number, (name, value) in enumerate(zip(columns, values), start=1):
            if not name and value.strip():
                columns[number - 1] = f"(unnamed column {number})"
        found.append((line, values))
    table = [(line, dict(zip(columns, values))) for line, values in found]
    return Table(path, [name for name in columns if name], table, notes)


# What the columns mean ----------------------------------------------------------------------------


def column_remedy(name: str = "NAME") -> str:
    """Return the flags that use or ignore a column."""
    roles = "|".join(ROLES)
    return f"-columns {roles}={name} uses it, -group {name} keeps its values apart, -columns ignore={name}"


def choose(table: Table, role: str, candidates: list[str]) -> str | None:
    """Return the column of a role among those whose names would do.

    Raises:
        ValueError: Several would do, and none is called as the role itself.
    """
    plain = [name for name in candidates if header_key(name) == role]
    if len(plain) == 1 and role in ("path", "label"):
        return plain[0]
    if role == "label" and len(candidates) == 2:  # class names beside their numbers, as in ESC-50
        pairs = {tuple(row[name] for name in candidates) for _, row in table.rows}
        columns = [{pair[i] for pair in pairs} for i in (0, 1)]
        words = [name for name, of in zip(candidates, columns) if not all(value.isdigit() for value in of)]
        if len(pairs) == len(columns[0]) == len(columns[1]) and len(words) == 1:
            return words[0]
    if len(candidates) > 1:
        options = " or ".join(f"{role}={name}" for name in candidates)
        ignored = "" if role in ("path", "label") else f" or -columns ignore={candidates[-1]}"
        raise ValueError(
            f"{table.path}: the columns {listing(candidates)} could each be the {role}; choose by -columns "
            f"{options}{ignored}"
        )
    return candidates[0] if candidates else None


def assign_roles(table: Table, given: tuple[tuple[str, str], ...], group: str | None) -> dict[str, str]:
    """Return the column of each role that the table has.

    Args:
        table: The table.
        given: Pairs of a role and a column, by the user; the role ``ignore`` may come more than once.
        group: Column of the groups, by the user.

    Raises:
        ValueError: A column that the user named does not exist, a role has several candidates, or there is
            no path or no label.
    """
    asked = [*given, *([("group", group)] if group else [])]
    roles: dict[str, str] = {}
    for role, name in asked:
        matching = [column for column in table.columns if column == name]
        matching = matching or [column for column in table.columns if header_key(column) == header_key(name)]
        if len(matching) != 1:
            raise ValueError(
                f"{table.path}: has no column {name}; its columns are {', '.join(table.columns)}"
            )
        if role != "ignore":
            if roles.get(role, matching[0]) != matching[0]:
                raise ValueError(f"{table.path}: -columns names {role} twice; expected one column")
            roles[role] = matching[0]
    taken = {name.casefold() for _, name in asked} | {name.casefold() for name in roles.values()}
    for role in ROLES:
        if role not in roles and role != "group":
            candidates = [n for n in table.columns if n.casefold() not in taken and knows(n, role)]
            name = choose(table, role, candidates)
            roles |= {role: name} if name else {}
    find_offset(table, roles, taken)
    missing = [role for role in ("path", "label") if role not in roles]
    if missing:
        first = f"its columns are {', '.join(table.columns)[:300]}"
        raise ValueError(
            f"{table.path}: has no column {' and no column '.join(missing)}; "
            f"{first}{one_hot_hint(table, roles)}"
            f"; name one by -columns {' '.join(f'{role}=NAME' for role in missing)}"
        )
    if "duration" in roles and "start" not in roles:
        del roles["duration"]  # of the whole recording
    return roles


def find_offset(table: Table, roles: dict[str, str], taken: set[str]) -> None:
    """Enter a column ``offset``: the end of an onset, or the start of a duration.

    Raises:
        ValueError: There is neither.
    """
    names = [
        n
        for n in table.columns
        if re.fullmatch(r"offset(_\w+)?", header_key(n)) and n.casefold() not in taken
    ]
    if len(names) != 1 or names[0] in roles.values():
        return
    if "start" in roles and "end" not in roles:
        roles["end"] = names[0]
    elif "start" not in roles and "duration" in roles:
        roles["start"] = names[0]
    elif "start" not in roles:
        raise ValueError(
            f"{table.path}: the column {names[0]} could be a start or an end; say which by -columns "
            f"start={names[0]} or end={names[0]}, or leave it out by -columns ignore={names[0]}"
        )


def one_hot_hint(table: Table, roles: dict[str, str]) -> str:
    """Return a remark on columns that hold 0 and 1 alone, one column a class."""
    others = [name for name in table.columns if name not in roles.values()]
    flags = [n for n in others if {row[n].strip() for _, row in table.rows} <= {"0", "1", "0.0", "1.0"}]
    if "label" in roles or len(flags) < 2:
        return ""
    return f"; the columns {listing(flags)} hold 0 and 1: write the names of the classes into one column, a;b"


def ignored_columns(given: tuple[tuple[str, str], ...]) -> set[str]:
    """Return the columns that the user wants ignored, in the spelling of ``header_key``."""
    return {header_key(name) for role, name in given if role == "ignore"}


def account_for_columns(
    table: Table, roles: dict[str, str], given: tuple[tuple[str, str], ...], report: InputReport
) -> None:
    """Count the columns that are used, and report every other one with the flag that would use it."""
    ignored = ignored_columns(given)
    for name in table.columns:
        if name in roles.values():
            report.use("columns")
        elif header_key(name) in ignored:
            report.leave_out("columns", name, "ignored by -columns", requested=True)
        elif any(knows(name, role) for role in TIMES):
            report.leave_out("columns", name, "a time without a start or an end", column_remedy())
        else:
            report.leave_out("columns", name, "not used", column_remedy())


def unit_of(table: Table, column: str) -> float:
    """Return the seconds of one unit of a column of times.

    Raises:
        ValueError: It counts samples or frames, whose rate is unknown.
    """
    unit = header_key(column).rpartition("_")[2]
    if unit in UNREAD_UNITS:
        raise ValueError(
            f"{table.path}: the column {column} counts {unit}; expected seconds or milliseconds (start_s, "
            f"start_ms), or leave it out by -columns ignore={column}"
        )
    return UNITS.get(unit, 1.0)


def seconds(text: str, unit: float, where: str, column: str) -> float | None:
    """Return the seconds of a cell such as ``0.25``, ``0,25`` or ``1:02.5``; None for an empty one.

    Raises:
        ValueError: The cell is not a time of at least 0.
    """
    text = text.strip()
    if is_missing(text):
        return None
    clock = re.fullmatch(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)", text)
    if clock and unit == 1.0:
        hours, minutes, rest = clock.groups()
        return 3600 * int(hours or 0) + 60 * int(minutes) + float(rest.replace(",", "."))
    if re.fullmatch(r"\+?(\d+[.,]?\d*|[.,]\d+)(e[-+]?\d+)?", text, re.I):
        return float(text.replace(",", ".")) * unit
    raise ValueError(
        f"{where}: {column} is {text[:80]!r}; expected seconds such as 0.25, or leave the column out by "
        f"-columns ignore={column}"
    )


def span(
    row: dict[str, str], roles: dict[str, str], units: dict[str, float], where: str
) -> tuple[float, float]:
    """Return start and end of a row's event in seconds; 0 and infinity where the row has no times.

    Raises:
        ValueError: A cell is no time, or the event does not end after its start.
    """
    told = {r: seconds(row[roles[r]], units[r], where, roles[r]) for r in TIMES if r in roles}
    start, end = told.get("start") or 0.0, told.get("end")
    if end is None and told.get("duration") is not None:
        end = start + told["duration"]
    end = float("inf") if end is None else end
    if end <= start:
        raise ValueError(
            f"{where}: the event ends at {end:g} s and starts at {start:g} s; expected a later end"
        )
    return round(start, 6), round(end, 6)
