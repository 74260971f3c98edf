"""python3 -m ipet doctor: examine lists and their recordings, and propose how to train on them."""

import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np

from ipet.audio_formats import RECORDINGS, recordings_below
from ipet.checkpoint import EMBEDDED, write_json
from ipet.devices import best_device, fast_precision
from ipet.diagnosis import GRAVITIES, Finding, Lists, Patient, class_counts, read_lists
from ipet.examination import examine_all
from ipet.input_report import InputReport
from ipet.levels import ONE_CHANNEL, RESCALE
from ipet.moments import Moments, merge
from ipet.parsing import REPOSITORY
from ipet.proposals import (
    BACKBONES,
    CONTENTS,
    OWN_BATCH,
    WASTED,
    batch_flags,
    experiment_of,
    fitting_clips,
    frame_length,
    has_own_lengths,
    memory_at_hand,
    padding,
    training_command,
)
from ipet.published_lists import is_published
from ipet.releases import release_of
from ipet.segments import Segment
from ipet.starting_lists import starting_lists

SHOWN, CLASSES_SHOWN = 3, 32
TAKES = "-group of data/prepare.py keeps takes of one source, such as a kit or a speaker, in one list"
HELP = {  # what mends a finding, by its code
    "unusable": "repair or delete them and prepare the lists again, or train with -on_bad_audio skip",
    "leakage": f"delete the copies; {TAKES}",
    "near_leakage": TAKES,
    "contradiction": "correct the labels, or give one recording all of them (a;b), and prepare again",
    "near_contradiction": "listen to them: correct the labels, or delete one of each, and prepare again",
    "cancelled": ONE_CHANNEL,
    "scale": RESCALE,
    "empty_channel": ONE_CHANNEL,
    "segment_leakage": "give all segments of a recording one list, as data/prepare.py folder does",
    "spelling": "-fix_labels of data/prepare.py folder merges them",
    "hidden_characters": "-fix_labels of data/prepare.py folder removes them",
    "missing_label": "-missing_labels of data/prepare.py folder leaves them out, or makes clips of no class",
    "textual_list": "-fix_labels of data/prepare.py folder reads them as several labels",
    "split_as_class": "prepare the lists again: -layout parts of data/prepare.py folder takes them as lists",
    "untrained": "record some to train on, or leave the class out",
}
WIDTH = 100  # characters of a printed command's line


# Proposals ----------------------------------------------------------------------------------------


def propose(patient: Patient, content: str | None = None) -> dict:
    """Frames, normalisation, clips of a step and commands; empty where there is nothing to train on.

    Args:
        content: of ``CONTENTS``, what was recorded; None: backbones of both kinds are proposed.
    """
    lists, sound = patient.lists, patient.sound
    clips = {clip.source: clip for name in lists.training for clip in lists.clips[name]}
    clips = {source: clip for source, clip in clips.items() if source in sound}
    if not clips:
        return {}
    seconds = [sound[path].seconds for path in clips]
    sane = [path for path in clips if not sound[path].levels.doubts()] or list(clips)
    total = reduce(merge, (sound[path].moments for path in sorted(sane)), Moments())
    num_frames, share = frame_length(seconds), padding(seconds)
    norm = (total.mean, total.std) if total.squares else None
    memory, kind = memory_at_hand()
    smallest = min(len(lists.clips[name]) for name in lists.training)
    several = any(len(clip.classes) != 1 for clip in clips.values())
    backbones = [b for b in BACKBONES if content is None or b.kind == CONTENTS[content]]
    precision = fast_precision()
    proposal = {
        "frame_length": num_frames,
        "heard_whole": {
            frames: float(np.mean([100 * s <= frames for s in seconds]))
            for frames in (*(f for f in (128, 256, 512) if f < num_frames), num_frames)
        },
        "norm_mean": norm and norm[0],
        "norm_std": norm and norm[1],
        "memory_bytes": memory,
        "memory": kind,
        "clips_that_fit": {b.name: fitting_clips(b, num_frames, memory) for b in backbones},
        "padding": share,
        "variable_length": False,
        "device": best_device(),
        "precision": precision,
        "commands": {},
    }
    if lists.apart:
        for backbone in backbones:
            own = experiment_of(backbone, lists.folder.name, lists.num_folds, lists.trials)
            most = OWN_BATCH if own.endswith("_custom") else None
            own_lengths = has_own_lengths(own, share)
            proposal["variable_length"] |= own_lengths
            if own_lengths and backbone.flags and backbone.kind == "ast":  # without -patchout 0.5
                backbone = backbone._replace(frame=2 * backbone.frame)
            batch = batch_flags(backbone, num_frames, smallest, memory, most)
            proposal["commands"][backbone.name] = training_command(
                backbone,
                lists.folder,
                lists.root,
                lists.num_folds,
                several,
                lists.trials,
                num_frames,
                norm,
                batch,
                precision,
                own_lengths,
            )
    return proposal


# Input --------------------------------------------------------------------------------------------


def account(patient: Patient) -> InputReport:
    """Return which recordings were used, and which were not and why: those that no list has, too."""
    lists = patient.lists
    report = InputReport(str(lists.root))
    for source in patient.places:
        kind = "segments" if isinstance(source, Segment) else RECORDINGS
        report.use(kind)
        if source in patient.broken:
            report.fail(kind, lists.short(source), patient.broken[source])
    if not lists.apart:  # of a single list, the others are elsewhere
        return report
    listed = {clip.path for clips in lists.clips.values() for clip in clips}
    beside = InputReport(report.source)
    for path in sorted(recordings_below(lists.root, beside)):
        if path not in listed:
            remedy = "prepare the lists again to use them"
            report.leave_out(RECORDINGS, lists.short(path), "in none of the lists", remedy)
    for (kind, reason, remedy), items in beside.left_out.items():
        for item in items if kind == RECORDINGS else ():
            report.leave_out(kind, item, reason, remedy)
    return report


def input_text(report: InputReport) -> str:
    """Return the counts of a report, and its warnings."""
    counts = [
        f"Input: {number:,} {kind} found, {report.used[kind]:,} used, {report.num_left_out(kind):,} left out"
        for kind, number in report.as_dict()["supplied"].items()
    ]
    return "\n".join([*counts, *(f"- {line}" for line in report.warnings())])


# What is printed and written ----------------------------------------------------------------------


def summarise(patient: Patient) -> dict:
    """Counts, lengths and formats, as JSON values."""
    lists, sound = patient.lists, patient.sound
    counts = class_counts(lists)
    of_lists = {
        name: {
            "clips": len(clips),
            "hours": sum(sound[c.source].seconds for c in clips if c.source in sound) / 3600,
            "classes": int(np.count_nonzero(counts[name])),
            "unusable": sum(clip.source in patient.broken for clip in clips),
            "no_class": sum(not clip.classes for clip in clips) if lists.has_classes(name) else 0,
        }
        for name, clips in lists.clips.items()
    }
    found = list(sound.values())
    seconds = np.array([e.seconds for e in found] or [0.0])
    low, median, high, top = np.quantile(seconds, [0, 0.5, 0.95, 1]).tolist()
    return {
        "lists": of_lists,
        "recordings": {
            "number": len(patient.places),
            "usable": len(found),
            "hours": float(seconds.sum() / 3600),
            "sample_rates": dict(Counter(e.sample_rate for e in found).most_common()),
            "channels": dict(Counter(e.num_channels for e in found).most_common()),
            "kinds": dict(Counter(e.kind for e in found).most_common()),
            "seconds": {"min": low, "median": median, "95 %": high, "max": top},
        },
        "classes": {
            name: {of: int(counts[of][c]) for of in counts} for c, name in enumerate(lists.labels.names)
        },
    }


def aligned(rows: Sequence[Sequence]) -> str:
    """Rows as text, the first column to the left and the others to the right."""
    rows = [[f"{value:,}" if isinstance(value, int) else str(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)


def listed(numbers: dict, unit: str = "") -> str:
    """``16,000 Hz (737), 8,000 Hz (2)``."""
    return ", ".join(
        f"{k:,}{unit} ({n:,})" if isinstance(k, int) else f"{k} ({n:,})" for k, n in numbers.items()
    )


def class_table(lists: Lists, classes: dict) -> list[list]:
    """Clips of each class, of the evaluation lists of folds or of every list; of many the first and last."""
    shown = [of for of in lists.clips if not (lists.num_folds and of.startswith("train_"))]
    rows = sorted(
        ([name, *(of[s] for s in shown)] for name, of in classes.items()), key=lambda r: -sum(r[1:])
    )
    more = len(rows) - CLASSES_SHOWN
    if more > 0:
        rows = [
            *rows[: CLASSES_SHOWN // 4],
            [f"({more} others)", *[""] * len(shown)],
            *rows[more + CLASSES_SHOWN // 4 :],
        ]
    return [["class", *shown], *rows]


def written(
    patient: Patient, summary: dict, findings: list[Finding], proposal: dict, report: InputReport
) -> str:
    """Return all that was found as text."""
    lists, all_of = patient.lists, summary["recordings"]
    none = any(of["no_class"] for of in summary["lists"].values())
    rows = [["list", "clips", "hours", "classes", "unusable", *["no class"] * none]]
    for name, of in summary["lists"].items():
        counts = [of["clips"], f"{of['hours']:.2f}", of["classes"], of["unusable"]]
        rows.append([name, *counts, *[of["no_class"]] * none])
    segments = " and segments" if any(isinstance(place, Segment) for place in patient.places) else ""
    parts = [
        f"{lists.folder}: {all_of['number']:,} recordings{segments}, {all_of['hours']:.2f} hours, "
        f"{len(lists.labels)} classes",
        aligned(rows),
        aligned(class_table(lists, summary["classes"])),
    ]
    spread = ", ".join(f"{name} {value:.2f}" for name, value in all_of["seconds"].items())
    parts.append(
        f"rates     {listed(all_of['sample_rates'], ' Hz')}\nchannels  {listed(all_of['channels'])}\n"
        f"files     {listed(all_of['kinds'])}\nseconds   {spread}"
    )
    parts.append(input_text(report))
    for gravity, title in GRAVITIES.items():
        chosen = [finding for finding in findings if finding.gravity == gravity]
        parts += [f"{title}\n" + "\n".join(map(one_finding, chosen))] if chosen else []
    if not findings:
        parts.append("Nothing was found to be wrong.")
    if proposal:
        parts.append(proposals_text(proposal))
    return "\n\n".join(parts)


def proposals_text(proposal: dict) -> str:
    """Length, normalisation, precision and memory, a line each."""
    heard = [f"{100 * share:.0f} % with {frames}" for frames, share in proposal["heard_whole"].items()]
    lines = ["Proposals", f"-frame_length {proposal['frame_length']} (clips heard whole: {', '.join(heard)})"]
    if proposal["norm_std"]:
        lines.append(f"-norm_mean {proposal['norm_mean']:.4f} -norm_std {proposal['norm_std']:.4f} (AST's)")
    if proposal["variable_length"]:
        padded, least = (f"{100 * share:.0f} %" for share in (proposal["padding"], WASTED))
        lines.append(
            f"-variable_length True (of clips brought to one length {padded} would be padding; proposed from "
            f"{least} on)"
        )
    known = "is fast in it" if proposal["precision"] == "bf16" else "is not known to be fast in bf16"
    lines.append(f"-precision {proposal['precision']} (this machine's {proposal['device']} {known})")
    fits = ", ".join(f"{number:,} from {name}" for name, number in proposal["clips_that_fit"].items())
    lines.append(
        f"{proposal['memory_bytes'] / 2**30:.1f} GiB of {proposal['memory']} hold clips of a step: {fits}"
    )
    return "\n".join(lines)


def commands_text(commands: dict[str, str], begin: str) -> str:
    """The commands that train, those that need no download first.

    Args:
        begin: of the sentence before them.
    """
    small = [wrapped(command) for name, command in commands.items() if name in EMBEDDED]
    published = [wrapped(command) for name, command in commands.items() if name not in EMBEDDED]
    known = "; ast_small knows sounds and music, wav2vec2_small speech" if len(small) > 1 else ""
    return "\n\n".join(
        [
            f"{begin} from a small backbone that ships with this repository{known}:",
            *small,
            "or from published weights, which the first run downloads:",
            *published,
        ]
    )


def wrapped(command: str) -> str:
    """A command over several lines, if no quoted path forbids it."""
    if "'" in command:
        return command
    lines = [""]
    for words in re.split(r" (?=-[a-z])", command):
        if len(lines[-1]) + len(words) > WIDTH:
            lines.append("   ")
        lines[-1] += f" {words}" if lines[-1] else words
    return " \\\n".join(lines)


def one_finding(finding: Finding) -> str:
    """A finding's sentence, and the first of its examples."""
    more = len(finding.examples) - SHOWN
    lines = [
        f"- {finding.text}: {len(finding.examples):,}",
        *map(one_example, finding.examples[:SHOWN]),
    ]
    lines += [f"    and {more:,} more"] if more > 0 else []
    return "\n".join([*lines, *([f"    What helps: {HELP[finding.code]}."] if finding.code in HELP else [])])


def one_example(example: str) -> str:
    """An example's line; where it is long, a line for each of the recordings that sound the same."""
    return "    " + (re.sub(" ([=~]) ", r"\n      \1 ", example) if len(example) > WIDTH else example)


def use_starting_lists(path: Path, root: Path | None) -> tuple[Path, Path | None]:
    """Return the folder of lists and the root to examine; shipped and published lists are completed first."""
    if not path.is_dir() or (release_of(path) is None and not is_published(path)):
        return path, root
    root = root or path
    found = starting_lists(path, root, REPOSITORY / "runs/.lists")
    for line in [*found.notes, *(line for report in found.reports for line in report.warnings())]:
        print(f"note: {line}", file=sys.stderr)
    return found.folder, root


def doctor(
    path: Path, root: Path | None = None, json_file: str | None = None, content: str | None = None
) -> int:
    """Examine lists and their recordings, print what was found and proposed; the exit status.

    Args:
        path: a folder of lists, or one list.
        root: where the lists' paths start; their folder if not given.
        json_file: where to write all of it; ``-`` is the standard output, in the text's place.
        content: see ``propose``.

    Returns:
        1 where something must be mended, otherwise 0.

    Raises: see ``read_lists``.
    """
    path, root = use_starting_lists(path, root)
    lists = read_lists(path, root)
    sound, broken = examine_all(clip for clips in lists.clips.values() for clip in clips)
    patient = Patient(lists, sound, broken)
    report = account(patient)
    summary, findings, proposal = summarise(patient), patient.findings(), propose(patient, content)
    grave = list(dict.fromkeys(f.code for f in findings if f.gravity == "mend"))
    if json_file is not None:
        content = {
            **summary,
            "input": report.as_dict(),
            "unusable": {lists.short(path): reason for path, reason in broken.items()},
            "copies": [[lists.short(path) for path in group] for group in patient.copies],
            "near_copies": [[lists.short(a[0]), lists.short(b[0]), alike] for a, b, alike in patient.near],
            "findings": [finding._asdict() for finding in findings],
            "proposals": proposal,
            "status": int(bool(grave)),
        }
        if json_file == "-":
            print(json.dumps(content, indent=2, ensure_ascii=False))
            return int(bool(grave))
        write_json(json_file, content)
    print(written(patient, summary, findings, proposal, report))
    commands = proposal.get("commands")
    if grave:
        if commands:
            print(f"\n{commands_text(commands, 'When it is mended, train')}")
        print(f"\nTo be mended: {', '.join(grave)}.")
    else:
        print(
            f"\nNothing must be mended. {commands_text(commands, 'Next, train') if commands else ''}".rstrip()
        )
    return int(bool(grave))
