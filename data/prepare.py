"""Write the clip lists and the label table of a dataset.

A clip list is ``{"data": [{"wav": "audio/1-100032-A-0.wav", "labels": "/m/07rwj00"}, ...]}`` with
paths relative to the data root; a label table has the columns ``index,mid,display_name``.

    python3 data/prepare.py esc50 ~/ESC-50-master

A new dataset is one module of ``preparation/``, with a function ``root -> Lists``, and one line of
``DATASETS``.
"""

import argparse
import json
import math
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).resolve().parent))  # preparation, where this file is not run but loaded
sys.path.append(str(Path(__file__).resolve().parents[1]))  # ipet, where it is not installed

from preparation.elsewhere import prepare_lists
from preparation.esc50 import prepare_esc50
from preparation.folder import prepare_folder
from preparation.fsd50k import prepare_fsd50k
from preparation.gtzan import prepare_gtzan
from preparation.labels import MISSING_CHOICES
from preparation.layout import LAYOUTS
from preparation.lists import Lists
from preparation.musan import prepare_musan
from preparation.output import describe, keeps_shipped, leftovers, write_files
from preparation.rirs import prepare_rirs
from preparation.speech_commands import prepare_speech_commands
from preparation.table import GIVEN_ROLES
from preparation.voxceleb1 import prepare_voxceleb1

from ipet.openmp import limit_spinning
from ipet.output_pipe import guard_output
from ipet.parsing import Parser, count, number, size
from ipet.printable import escaped
from ipet.releases import RELEASES

HERE = Path(__file__).resolve().parent
REPORT = "input_report.json"  # next to the lists: what was supplied, used and left out


class Dataset(NamedTuple):
    """How a dataset is prepared, and where its lists go."""

    prepare: Callable[..., Lists]
    folder: str = ""  # of data/; that of one's own recordings has their folder's name
    flags: tuple[str, ...] = ()  # that its function takes, under these names


DATASETS = {
    "esc50": Dataset(prepare_esc50, "esc50"),
    "fsd50k": Dataset(prepare_fsd50k, "fsd50k"),
    "gtzan": Dataset(prepare_gtzan, "gtzan", ("seed",)),
    "speech_commands": Dataset(prepare_speech_commands, "speechcommands"),
    "voxceleb1": Dataset(prepare_voxceleb1, "voxceleb", ("trials",)),
    "musan": Dataset(prepare_musan, "musan"),
    "rirs": Dataset(prepare_rirs, "rirs"),
    "lists": Dataset(prepare_lists, flags=("lists",)),
    "folder": Dataset(
        prepare_folder,
        flags=(
            *("csv", "group", "folds", "split", "seed", "duplicates", "columns", "layout", "label_separator"),
            *("fix_labels", "missing_labels", "no_label", "merge_rows"),
        ),
    ),
}
SHIPPED = ("esc50", "fsd50k", "gtzan", "speech_commands", "voxceleb1")  # whose lists data/ holds
EXAMPLES = """examples:
  python3 data/prepare.py esc50 ~/ESC-50-master
  python3 data/prepare.py voxceleb1 /data/voxceleb1 -trials ~/Downloads
  python3 data/prepare.py lists /data/ESC-50-master -lists ~/published/esc50 -out data/esc50
  python3 data/prepare.py folder ~/drums -folds 5 -group '(kit\\d+)_' -stats
  python3 data/prepare.py folder ~/birds -csv ~/birds/birds.csv -group recordist -split 0.8,0.1,0.1
  python3 data/prepare.py folder ~/calls -csv ~/calls/events.txt -columns label=Species ignore=Notes
"""


def absolute(text: str) -> Path:
    """A path that stays right after the closing command's cd."""
    return Path(os.path.abspath(os.path.expanduser(text)))


def shares(text: str) -> tuple[float, ...]:
    """``0.7,0.15,0.15`` -> (0.7, 0.15, 0.15)."""
    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(value > 0 for value in values) or not math.isclose(sum(values), 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not three shares above 0 of sum 1, as 0.7,0.15,0.15")
    return values


def column_role(text: str) -> tuple[str, str]:
    """Parse ``label=species`` -> ("label", "species")."""
    role, sign, name = text.partition("=")
    if not sign or role not in GIVEN_ROLES or not name:
        raise argparse.ArgumentTypeError(
            f"{text[:80]!r} is not ROLE=COLUMN such as label=species, with a role of {', '.join(GIVEN_ROLES)}"
        )
    return role, name


def add_reading_flags(group) -> None:
    """Add the flags that say how a user's folders and tables are read."""
    add = group.add_argument
    add(
        "-columns",
        type=column_role,
        nargs="+",
        metavar="ROLE=COLUMN",
        help=f"folder: what a column of -csv is ({', '.join(GIVEN_ROLES)}); the usual names are known",
    )
    add(
        "-layout",
        choices=LAYOUTS,
        help="folder: what the folders are: classes; parts (train, valid, test or folds, with class "
        "folders in them); or pooled, parts whose recordings are drawn into new lists (default: found out)",
    )
    add(
        "-label_separator",
        metavar="TEXT",
        help="folder: what separates several labels of a cell, or none (default: ; and |; a comma is an "
        "error)",
    )
    add(
        "-fix_labels",
        action="store_const",
        const=True,
        help="folder: merge names that differ only in case, blanks, separators, Unicode form or "
        "look-alikes, and read labels such as ['a', 'b']",
    )
    add(
        "-missing_labels",
        choices=MISSING_CHOICES,
        help="folder: for cells that are empty, nan, None, N/A, - or ?: refuse, drop the row, keep the "
        "word as a class, or none: a clip of no class (default: refuse)",
    )
    add(
        "-no_label",
        nargs="+",
        metavar="LABEL",
        help="folder: labels or class folders, such as background, whose clips have no class",
    )
    add(
        "-merge_rows",
        action="store_const",
        const=True,
        help="folder: unite the labels of several rows of one clip (default: refuse them)",
    )


def get_args(argv: list[str] | None = None) -> tuple[argparse.Namespace, dict]:
    """What to prepare, from where and into which folder; and what the dataset's function takes."""
    parser = Parser(
        description="Write a dataset's clip lists and label table.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", choices=DATASETS, metavar="NAME", help=" or ".join(DATASETS))
    add("path", type=absolute, metavar="PATH", help="the dataset's folder, as it was unpacked")
    add("-out", type=absolute, metavar="DIR", help="where the lists go (default: a folder of data/)")
    add("-stats", action="store_true", help="mean and deviation of the training lists' log-mels: stats.json")
    add("-frames", type=size, metavar="N", help="of -stats: the first N frames of a clip (default: all)")
    add("-workers", type=size, metavar="N", help="of -stats: threads (default: one a core)")
    own = parser.add_argument_group("gtzan, voxceleb1, lists and folder")
    add = own.add_argument
    add(
        "-seed",
        type=count,
        metavar="N",
        help="gtzan, folder: of random lists (default: gtzan's published, 1234)",
    )
    add("-trials", type=absolute, metavar="DIR", help="voxceleb1: folder of the trial lists (default: PATH)")
    add(
        "-lists",
        type=absolute,
        metavar="DIR",
        help="lists: of another machine, with its paths; the recordings are looked for in PATH",
    )
    add(
        "-csv",
        type=absolute,
        metavar="FILE",
        help="folder: a table (CSV, TSV) with the columns path and label (a;b); start and end (seconds of an "
        "event), split or fold, and speaker are used where they are there",
    )
    add(
        "-group",
        metavar="COLUMN",
        help="folder: what stays in one list: a column of -csv, or '(kit\\d+)_' of the paths",
    )
    add("-folds", type=number(int, 2), metavar="K", help="folder: folds instead of train, valid and test")
    add("-split", type=shares, metavar="A,B,C", help="folder: shares of these (default: 0.7,0.15,0.15)")
    add("-duplicates", choices=("refuse", "keep"), help="folder: the same content in two lists (refuse)")
    add_reading_flags(own)
    args = parser.parse_args(argv)

    takes = DATASETS[args.name].flags
    given = {flag.dest: getattr(args, flag.dest) for flag in own._group_actions}
    given = {flag: value for flag, value in given.items() if value is not None}
    for flag in given:
        if flag not in takes:
            others = " and ".join(name for name, dataset in DATASETS.items() if flag in dataset.flags)
            parser.error(f"-{flag} is for {others}, not for {args.name}")
    if not args.stats and (args.frames or args.workers):
        parser.error("-frames and -workers are for -stats, which is missing")
    return args, given


def lists_folder(name: str, root: Path) -> Path:
    """The folder of data/ that a dataset's lists go to.

    Raises:
        ValueError: one's own recordings are in a folder of a name that is taken there.
    """
    folder = DATASETS[name].folder or root.name
    taken = {dataset.folder for dataset in DATASETS.values()} | {"preparation", "synth"}
    if folder in taken and not DATASETS[name].folder:
        raise ValueError(f"{root}: data/{folder} is not for lists of one's own; name a folder with -out")
    return HERE / folder


def without_shipped(folder: Path, lists: Lists, texts: dict[str, str], root: Path) -> dict[str, str]:
    """Return the files to write into a folder of shipped lists, which stay as they are.

    Args:
        folder: Folder of ``data/``.
        lists: Lists that were prepared; they get a note where recordings are lacking.
        texts: Their files, by name.
        root: Release that they were prepared from.

    Raises:
        ValueError: The prepared lists are not those of the release.
    """
    if not (folder / "labels.csv").is_file():
        return texts
    num_train = RELEASES[folder.name].num_train
    own = [name for name in texts if name == "stats.json" or name.startswith("trials_")]
    own += ["train.json"] if num_train else []
    same, lacking = keeps_shipped(folder, {name: text for name, text in texts.items() if name not in own})
    if not same or (num_train and len(lists.clips["train"]) != num_train):
        raise ValueError(
            f"{root}: its lists are not those of the whole release, which {folder} holds; name another "
            f"folder: -out {HERE / root.name}"
        )
    if lacking:
        lists.notes.append(
            f"{folder} keeps its lists of the whole release; {lacking:,} recordings are not here or cannot "
            "be read, and a training leaves them out"
        )
    return {name: text for name, text in texts.items() if name in own or not (folder / name).is_file()}


def next_command(name: str, lists: Lists, root: Path, folder: Path, norm: list[str]) -> str:
    """The command that comes next: it trains on what was written, or examines it; or what to add to one."""
    if lists.mixed_in_by:
        words = ["-add_musan_rir", "True", lists.mixed_in_by, str(root)]
        return shlex.join(words + ["-path_noise_list", str(folder.parent)] * (folder.parent != HERE))
    if not lists.experiment:
        return shlex.join(["python3", "-m", "ipet", "doctor", str(folder), "-path_data", str(root)])
    # wav2vec 2.0 hears samples: only AST normalises log-mels.
    experiment = lists.experiment.replace("w2v_", "ast_") if norm else lists.experiment
    words = ["python3", "main.py", "-name", "first", "-path_data", str(root)]
    if folder != HERE / experiment.partition("_")[2]:
        words += ["-path_list", str(folder)]
    where = os.path.relpath(HERE.parent / experiment)
    return f"cd {shlex.quote(where)} && {shlex.join([*words, *lists.flags, *norm])}"


def main(argv: list[str] | None = None) -> int:
    """Write a dataset's lists, print what was found, and return the exit status."""
    if argv is None:
        guard_output(finish=True)
    args, given = get_args(argv)
    root, norm = args.path, []
    try:
        folder = args.out or lists_folder(args.name, root)
        lists = DATASETS[args.name].prepare(root, **given)
        texts = lists.files()
        if lists.report is not None:
            texts[REPORT] = json.dumps(lists.report.as_dict(), indent=2, ensure_ascii=False) + "\n"
        if args.stats:
            limit_spinning()
            from preparation.stats import (
                log_mel_stats,
                norm_flags,
                stats_file,
            )  # slow to import: it brings torch

            if not lists.training_clips():
                raise ValueError("has no training list that -stats could be of")
            workers = args.workers or os.cpu_count()
            stats = log_mel_stats(root, lists.training_clips(), num_frames=args.frames, workers=workers)
            texts["stats.json"], norm = stats_file(stats), norm_flags(stats)
        names = list(texts)
        if folder == HERE / DATASETS[args.name].folder and args.name in SHIPPED:
            texts = without_shipped(folder, lists, texts, root)
        write_files(folder, texts)
    except (OSError, ValueError) as error:
        print(f"prepare.py {args.name}: {escaped(str(error))}", file=sys.stderr)
        return 1

    if lists.mixed_in_by and folder.name != DATASETS[args.name].folder:
        lists.notes.append(f"experiments look for these lists in a folder {DATASETS[args.name].folder}/")
    print(f"{args.name}: {root}\n\n{describe(lists.table)}")
    for note in lists.notes + leftovers(folder, names):
        print(f"Note: {escaped(note)}.")
    if lists.report is not None:
        for line in lists.report.warnings():
            print(f"warning: {escaped(line)}", file=sys.stderr)
    if norm:
        print(f"\nLog-mels of {stats['num_clips']:,} training clips, {stats['num_frames']:,} frames:")
        print(f"  {shlex.join(norm)}")
    what = "Training on VoxCeleb mixes them in with:" if lists.mixed_in_by else "Next:"
    written = f"Wrote {len(texts)} files to {folder}." if texts else f"{folder} holds the same lists already."
    print(f"\n{written} {what}\n")
    print(f"  {next_command(args.name, lists, root, folder, norm)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
