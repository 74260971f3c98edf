"""One's own recordings: class folders or a table, into folds or training, validation and test lists."""

import re
from pathlib import Path

from preparation.checking import check_classes
from preparation.contents import duplicates as same_content
from preparation.contents import unusable
from preparation.lists import Clip, Label, Lists, Row, fold_lists, listing
from preparation.recordings import SPLITS, Recording, from_folders, from_table
from preparation.splits import check_enough, place_recordings


def label_classes(names: list[str]) -> list[Label]:
    """A label for each class: its name, and ``/m/`` with the name in lower case and underscores."""
    labels: list[Label] = []
    for name in names:
        slug = re.sub(r"\W+", "_", name.lower()).strip("_") or "class"
        taken = {label.mid for label in labels}
        candidates = (f"/m/{slug}{suffix}" for suffix in ["", *(f"_{n}" for n in range(2, len(names) + 2))])
        labels.append(Label(next(mid for mid in candidates if mid not in taken), name))
    return labels


def shared(places: dict[str, set]) -> str:
    """What is in several lists, and in which."""
    crossing = {name: of for name, of in places.items() if len(of) > 1}
    return listing(f"{name} ({', '.join(map(str, sorted(of)))})" for name, of in crossing.items())


def check_leaks(
    recordings: list[Recording], place_of: dict[str, str | int], grouped: bool, keep: bool, root: Path
) -> list[str]:
    """Raise where lists share a group, or recordings of the same content; note the latter to ``keep``.

    Copies in one list with different labels are noted, too: one of them is wrong.
    """
    groups: dict[str, set] = {}
    for recording in recordings if grouped else []:
        groups.setdefault(recording.group, set()).add(place_of[recording.wav])
    if shared(groups):
        raise ValueError(f"{root}: lists share groups, which must not leak between them: {shared(groups)}")
    alike = same_content(root, place_of)
    classes = {recording.wav: recording.classes for recording in recordings}
    torn = [" = ".join(same) for same in alike if len({classes[wav] for wav in same}) > 1]
    notes = [f"the same content has different labels: {listing(torn)}"] if torn else []
    copies = {" = ".join(same): {place_of[wav] for wav in same} for same in alike}
    if not shared(copies):
        return notes
    leak = f"lists share recordings of the same content: {shared(copies)}"
    if keep:
        return [*notes, leak]
    raise ValueError(f"{root}: {leak}; delete the copies, or accept them with -duplicates keep")


def prepare_folder(
    root: Path,
    csv: Path | None = None,
    group: str | None = None,
    folds: int | None = None,
    split: tuple[float, ...] | None = None,
    seed: int = 1234,
    duplicates: str = "refuse",
) -> Lists:
    """Lists of one's own recordings, with equal shares of every class.

    Args:
        root: one folder a class, or where the paths of ``csv`` start.
        csv: a table with the columns ``path``, ``label`` (several with ; or ,) and perhaps ``split``.
        group: what stays together: a column of ``csv``, or a regular expression with one group.
        folds: how many; otherwise ``train``, ``valid`` and ``test``.
        split: the shares of these three; 0.7, 0.15 and 0.15 if not given.
        seed: of the draw.
        duplicates: ``refuse`` or ``keep`` the same content in several lists.

    Raises:
        FileNotFoundError: recordings are missing.
        ValueError: see ``from_folders`` and ``from_table``; a recording cannot be opened, a class has too
            few, a group or the same content is in several lists.
    """
    if folds and split:
        raise ValueError("-folds and -split exclude each other: folds have no validation list")
    recordings, notes = (from_table(root, csv, group), []) if csv else from_folders(root, group)
    wavs = [recording.wav for recording in recordings]
    broken = unusable(root, wavs)
    if broken:
        reasons = listing(f"{wav} ({reason})" for wav, reason in broken.items())
        raise ValueError(f"{root}: {len(broken):,} of {len(wavs):,} recordings cannot be opened: {reasons}")

    if recordings[0].split and (folds or split):
        given = "-folds" if folds else "-split"
        raise ValueError(
            f"{csv}: has a column split, which is used as it is; leave out {given}, or rename it"
        )
    if recordings[0].split:
        places = [recording.split for recording in recordings]
    else:
        check_enough(recordings, bool(group), folds or len(SPLITS), root)
        places = place_recordings(recordings, bool(group), folds, split or (0.7, 0.15, 0.15), seed)
    if folds and len(set(places)) < folds:
        raise ValueError(f"{root}: the groups are too uneven for {folds} folds; expected fewer folds")
    place_of = dict(zip(wavs, places))
    notes += check_leaks(recordings, place_of, bool(group), duplicates == "keep", root)

    labels = label_classes(sorted({name for recording in recordings for name in recording.classes}))
    if len(labels) < 2:
        where = "" if csv else f": is {root} a folder too high or too low?"
        notes.append(f"all are of the class {labels[0].display_name!r}; a training needs two{where}")
    mids = {label.display_name: label.mid for label in labels}
    clips = {r.wav: Clip(r.wav, ",".join(sorted(mids[name] for name in r.classes))) for r in recordings}
    if folds:
        lists = fold_lists({clips[wav]: place_of[wav] for wav in wavs})
    else:
        lists = {name: sorted(clips[wav] for wav in wavs if place_of[wav] == name) for name in SPLITS}
    notes += check_classes(labels, lists, root)

    table = [Row("classes", len(labels))] + [Row("groups", len({r.group for r in recordings}))] * bool(group)
    shown = [name for name in lists if not (folds and name.startswith("train"))]
    table += [*(Row(name, len(lists[name])) for name in shown), Row("clips", len(wavs))]
    return Lists(labels, lists, table, notes)
