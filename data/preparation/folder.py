"""A user's own recordings: class folders or a table, into folds or training, validation and test lists."""

import re
from pathlib import Path

from ipet.input_report import InputReport
from ipet.segments import lies_outside
from preparation.checking import check_classes
from preparation.contents import duplicates as same_content
from preparation.contents import lengths, unusable
from preparation.labels import LabelRules
from preparation.layout import SPLITS
from preparation.lists import Clip, Label, Lists, Row, fold_lists, listing
from preparation.parts import given_places, redraw
from preparation.recordings import Found, Recording, from_folders, from_table
from preparation.splits import check_enough, place_recordings


def label_classes(names: list[str]) -> list[Label]:
    """Return a label for each class: its name, and ``/m/`` with the name in lower case and underscores."""
    labels: list[Label] = []
    for name in names:
        slug = re.sub(r"\W+", "_", name.lower()).strip("_") or "class"
        taken = {label.mid for label in labels}
        candidates = (f"/m/{slug}{suffix}" for suffix in ["", *(f"_{n}" for n in range(2, len(names) + 2))])
        labels.append(Label(next(mid for mid in candidates if mid not in taken), name))
    return labels


def shared(places: dict[str, set]) -> str:
    """Return what is in several lists, and in which."""
    crossing = {name: of for name, of in places.items() if len(of) > 1}
    return listing(f"{name} ({', '.join(map(str, sorted(of)))})" for name, of in crossing.items())


def check_leaks(recordings: list[Recording], places: list, grouped: str, keep: bool, root: Path) -> list[str]:
    """Raise where lists share a group, a recording, or recordings of the same content; return notes.

    Args:
        recordings: The clips.
        places: The list of each clip.
        grouped: Column or expression of the groups; empty: there are no groups.
        keep: Flag to note shared recordings and equal content instead.
        root: The data root.
    """
    groups: dict[str, set] = {}
    lists_of: dict[str, set] = {}
    classes: dict[str, set] = {}
    for one, place in zip(recordings, places):
        groups.setdefault(one.group, set()).add(place)
        lists_of.setdefault(one.wav, set()).add(place)
        classes.setdefault(one.wav, set()).add((one.start, one.end, one.classes))
    if grouped and shared(groups):
        ignored = "" if grouped.startswith("-group") else f"; -columns ignore={grouped} allows it"
        raise ValueError(
            f"{root}: lists share groups, which must not leak between them: {shared(groups)}{ignored}"
        )
    alike = same_content(root, lists_of)
    torn = [" = ".join(same) for same in alike if len({frozenset(classes[wav]) for wav in same}) > 1]
    notes = [f"the same content has different labels: {listing(torn)}"] if torn else []
    leaks = []
    if shared(lists_of):
        leaks.append((f"lists share segments of one recording: {shared(lists_of)}", "give them one split"))
    copies = {" = ".join(same): set().union(*(lists_of[wav] for wav in same)) for same in alike}
    if shared(copies):
        leaks.append((f"lists share recordings of the same content: {shared(copies)}", "delete the copies"))
    for leak, remedy in leaks if not keep else ():
        raise ValueError(f"{root}: {leak}; {remedy}, or accept them with -duplicates keep")
    return notes + [leak for leak, _ in leaks]


def check_times(recordings: list[Recording], root: Path, source: Path) -> None:
    """Raise ValueError where an event is outside its recording: it is then of another file."""
    segments = [one for one in recordings if one.is_segment]
    length = lengths(root, {one.wav for one in segments})
    outside = [
        f"{one.name} of {length[one.wav]:.2f} s"
        for one in segments
        if lies_outside(one.start, one.end, length[one.wav])
    ]
    if outside:
        raise ValueError(
            f"{source}: {len(outside):,} of {len(segments):,} events are outside their recordings: "
            f"{listing(outside)}; start and end are in seconds; -columns ignore=START ignore=END leaves the "
            "times out"
        )


def read_folder(
    root: Path,
    csv: Path | None,
    group: str | None,
    rules: LabelRules,
    layout: str,
    columns: tuple[tuple[str, str], ...],
    merge_rows: bool,
    report: InputReport,
) -> Found:
    """Return the clips of class folders or of a table; see ``from_folders`` and ``from_table``.

    Raises:
        ValueError: A flag is of the other kind of input, a recording cannot be opened, an event lies outside
            its recording.
    """
    if csv and layout:
        raise ValueError("-layout is for class folders, not for a table (-csv)")
    if not csv and (columns or merge_rows or rules.separator):
        flags = {"-columns": columns, "-merge_rows": merge_rows, "-label_separator": rules.separator}
        raise ValueError(
            f"{next(f for f, value in flags.items() if value)} is for a table (-csv), not for folders"
        )
    if csv:
        found = from_table(root, csv, group, rules, columns, merge_rows, report)
    else:
        found = from_folders(root, group, rules, layout, report)
    wavs = list(dict.fromkeys(one.wav for one in found.recordings))
    broken = unusable(root, wavs)
    if broken:
        reasons = listing(f"{wav} ({reason})" for wav, reason in broken.items())
        raise ValueError(f"{root}: {len(broken):,} of {len(wavs):,} recordings cannot be opened: {reasons}")
    check_times(found.recordings, root, csv or root)
    return found


def place_clips(
    found: Found,
    source: Path,
    root: Path,
    folds: int | None,
    split: tuple[float, ...] | None,
    seed: int,
) -> tuple[list, int]:
    """Return the list or the fold of each clip, and the number of folds; 0: there are none."""
    recordings, grouped = found.recordings, found.grouped
    if any(one.part for one in recordings):
        if folds or split:
            given = "-folds" if folds else "-split"
            raise ValueError(
                f"{source}: has a split, which is used as it is; leave out {given}, or "
                f"{redraw(found.divided)}"
            )
        return given_places(recordings, source, found.notes, found.divided)
    segments = any(one.is_segment for one in recordings)
    if segments and not grouped:
        recordings = [one._replace(group=one.wav) for one in recordings]
    try:
        check_enough(recordings, bool(grouped), folds or len(SPLITS), root)
    except ValueError as error:
        if grouped.startswith("-group") or not grouped:
            raise
        raise ValueError(f"{error}; -columns ignore={grouped} does not keep them together") from None
    places = place_recordings(recordings, bool(grouped or segments), folds, split or (0.7, 0.15, 0.15), seed)
    if folds and len(set(places)) < folds:
        raise ValueError(f"{root}: the groups are too uneven for {folds} folds; expected fewer folds")
    return places, folds or 0


def prepare_folder(
    root: Path,
    csv: Path | None = None,
    group: str | None = None,
    folds: int | None = None,
    split: tuple[float, ...] | None = None,
    seed: int = 1234,
    duplicates: str = "refuse",
    columns: tuple[tuple[str, str], ...] = (),
    layout: str = "",
    label_separator: str = "",
    fix_labels: bool = False,
    missing_labels: str = "refuse",
    no_label: tuple[str, ...] = (),
    merge_rows: bool = False,
) -> Lists:
    """Return lists of a user's own recordings, with equal shares of every class.

    Args:
        root: One folder for each class, or where the paths of ``csv`` start.
        csv: Table with a path and a label in each row, and perhaps times, a split and groups.
        group: Column of ``csv``, or regular expression with one group, of clips that stay in one list.
        folds: Number of folds; otherwise ``train``, ``valid`` and ``test``.
        split: Shares of these three; 0.7, 0.15 and 0.15 if not given.
        seed: Seed of the draw.
        duplicates: ``refuse`` or ``keep`` the same content in several lists.
        columns: Pairs of a role and a column of ``csv``.
        layout: Meaning of the folders, of ``layout.LAYOUTS``; empty: by their names.
        label_separator, fix_labels, missing_labels, no_label: Fields of ``LabelRules``.
        merge_rows: Flag to unite the labels of several rows of one clip.

    Raises:
        FileNotFoundError: Recordings are missing.
        ValueError: See ``read_folder`` and ``place_clips``; a class has too few clips; a group or the same
            content is in several lists.
    """
    if folds and split:
        raise ValueError("-folds and -split exclude each other: folds have no validation list")
    rules = LabelRules(label_separator, fix_labels, missing_labels, tuple(no_label))
    report = InputReport(str(csv or root))
    found = read_folder(root, csv, group, rules, layout, tuple(columns), merge_rows, report)
    recordings, grouped, notes = found.recordings, found.grouped, found.notes
    places, num_folds = place_clips(found, csv or root, root, folds, split, seed)
    notes += check_leaks(recordings, places, grouped, duplicates == "keep", root)

    labels = label_classes(sorted({name for one in recordings for name in one.classes}))
    if not labels:
        raise ValueError(f"{csv or root}: no clip has a class; expected two classes or more")
    unlabelled = sum(not one.classes for one in recordings)
    if len(labels) < 2 and not unlabelled:
        where = "" if csv else f": is {root} a folder too high or too low?"
        notes.append(f"all are of the class {labels[0].display_name!r}; a training needs two{where}")
    mids = {label.display_name: label.mid for label in labels}
    clips = [
        Clip(one.wav, ",".join(sorted(mids[name] for name in one.classes)), one.start, one.end)
        for one in recordings
    ]
    if num_folds:
        lists = fold_lists(dict(zip(clips, places)))
        lists = {name: of for name, of in lists.items() if not name.endswith("_0")}
    else:
        lists = {name: sorted(clip for clip, p in zip(clips, places) if p == name) for name in SPLITS}
    notes += check_classes(labels, lists, root)

    table = [Row("classes", len(labels))] + [Row("groups", len({one.group for one in recordings}))] * bool(
        grouped
    )
    shown = [name for name in lists if not (num_folds > 1 and name.startswith("train"))]
    table += [*(Row(name, len(lists[name])) for name in shown), Row("clips", len(clips))]
    table += [Row("no class", unlabelled)] * bool(unlabelled)
    files = len({one.wav for one in recordings})
    table += [Row("recordings", files)] * (files < len(clips))
    return Lists(labels, lists, table, notes, report=report)
