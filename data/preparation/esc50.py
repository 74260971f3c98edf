"""ESC-50: 2,000 clips of 5 s in 50 classes and 5 official folds."""

from collections import Counter
from pathlib import Path

from preparation.checking import check_classes, check_on_disk
from preparation.lists import Clip, Label, Lists, Row, fold_lists, listing
from preparation.reading import check_root, clip_bytes, read_csv, whole_number


def read_esc50(path: Path) -> tuple[dict[int, str], dict[str, Clip], dict[str, int], dict[str, set[int]]]:
    """``meta/esc50.csv``: names by target, clips and folds by file, and the folds of each recording.

    Raises:
        ValueError: the table contradicts itself.
    """
    names: dict[int, str] = {}  # of each target
    clips: dict[str, Clip] = {}
    fold_of: dict[str, int] = {}
    folds_of_source: dict[str, set[int]] = {}
    for line, row in read_csv(path, ["filename", "fold", "target", "category"]):
        where = f"{path}, line {line}"
        filename, category = row["filename"], row["category"]
        fold = whole_number(row["fold"], "fold", where)
        target = whole_number(row["target"], "target", where)
        if names.setdefault(target, category) != category:
            raise ValueError(
                f"{where}: target {target} is called {category!r} here and {names[target]!r} above"
            )
        if "/" in filename or "\\" in filename:
            raise ValueError(f"{where}: filename {filename!r} is a path; expected a file of audio/")
        if filename in clips:
            raise ValueError(f"{where}: {filename} is listed twice")
        clips[filename] = Clip(f"audio/{filename}", f"/m/07rwj{target:02d}")
        fold_of[filename] = fold
        folds_of_source.setdefault(row.get("src_file") or filename, set()).add(fold)
    for category, count in Counter(names.values()).items():
        if count > 1:
            targets = [target for target in sorted(names) if names[target] == category]
            raise ValueError(f"{path}: {category!r} has {count} targets, {listing(targets)}")
    return names, clips, fold_of, folds_of_source


def prepare_esc50(root: Path) -> Lists:
    """Lists of ESC-50: ``train_<k>`` holds all folds but k, ``eval_<k>`` holds fold k.

    Args:
        root: the release's folder, with ``meta/esc50.csv`` and ``audio/``.

    Raises:
        FileNotFoundError: ``root`` is not such a folder, or listed clips are not on disk.
        ValueError: ``meta/esc50.csv`` contradicts itself.

    Source: https://github.com/karolpiczak/ESC-50 (Piczak 2015).
    """
    path = root / "meta" / "esc50.csv"
    check_root(root, ["meta/esc50.csv", "audio/"], "ESC-50, e.g. .../ESC-50-master")

    names, clips, fold_of, folds_of_source = read_esc50(path)
    folds = sorted(set(fold_of.values()))
    if len(folds) < 2:
        raise ValueError(f"{path}: found {len(folds)} fold; cross-validation needs at least 2")
    check_on_disk((clip.wav for clip in clips.values()), clip_bytes(root, ["audio"]), root, path)

    lists = fold_lists({clip: fold_of[name] for name, clip in clips.items()})
    labels = [Label(f"/m/07rwj{target:02d}", names[target]) for target in sorted(names)]
    table = [Row("classes", len(labels), 50)]
    table += [
        Row(f"fold {k}", len(lists.get(f"eval_{k}", [])), 400 if 1 <= k <= 5 else 0)
        for k in sorted({*folds, 1, 2, 3, 4, 5})
    ]
    table += [Row("clips", len(clips), 2000)]

    notes = check_classes(labels, lists, root)
    shared = sorted(source for source, folds in folds_of_source.items() if len(folds) > 1)
    if shared:
        notes.append(
            f"one recording (src_file) has clips in several folds, so that training hears parts of "
            f"what is evaluated: {listing(shared)}"
        )
    return Lists(labels, lists, table, notes, experiment="ast_esc50")
