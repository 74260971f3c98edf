"""VoxCeleb1: speakers to train on, utterances to verify, and the official trial lists."""

import re
from pathlib import Path
from typing import NamedTuple

from preparation.checking import check_classes, check_on_disk
from preparation.lists import Clip, Label, Lists, Row, listing
from preparation.reading import check_root, clip_bytes, read_text, subfolders

SITE = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb"
ROOT = "VoxCeleb1, with vox1_dev_wav.zip unpacked into dev/ and vox1_test_wav.zip into test/"
NOISE = (
    "w2v_voxceleb mixes in MUSAN and room responses: add -path_musan DIR and -path_rir DIR, prepared as "
    "musan and rirs, or -add_musan_rir False"
)
# 1 is the same speaker, 0 another one: a line that says otherwise does not match.
TRIAL = re.compile(
    r"^(?:1[ \t]+([^\s/]+)/\S+[ \t]+\1/\S+|0[ \t]+([^\s/]+)/\S+[ \t]+(?!\2/)\S+)[ \t]*$", re.MULTILINE
)


class TrialList(NamedTuple):
    """One of the official lists."""

    filename: str  # on the site
    num_trials: int


SHIPPED_TRIALS = Path(__file__).resolve().parents[1] / "voxceleb/trials.txt"  # Vox1-O
TRIALS = {  # under the names that ours get
    "trials_o": TrialList("veri_test.txt", 37_720),
    "trials_o_cleaned": TrialList("veri_test2.txt", 37_611),
    "trials_e": TrialList("list_test_all.txt", 581_480),
    "trials_e_cleaned": TrialList("list_test_all2.txt", 579_818),
    "trials_h": TrialList("list_test_hard.txt", 552_536),
    "trials_h_cleaned": TrialList("list_test_hard2.txt", 550_894),
}


def read_trials(path: Path, utterances: set[str]) -> tuple[str, set[str]]:
    """The text of a trial list, a trial a line, and the utterances that it names.

    Raises:
        ValueError: a line is no trial or contradicts its speakers; utterances are not on disk.
    """
    text = read_text(path).strip() + "\n"
    fields = text.split()
    # The whole text at once: a list has up to 581,480 lines.
    if len(TRIAL.findall(text)) != text.count("\n") or len(fields) != 3 * text.count("\n"):
        lines = enumerate(text.splitlines(), start=1)
        line, found = next((n, line) for n, line in lines if not TRIAL.match(line) or len(line.split()) != 3)
        raise ValueError(
            f"{path}, line {line}: found {found[:100]!r}; expected 1 SPEAKER/VIDEO/UTTERANCE.wav and another "
            "of the same speaker, or 0 and two speakers'"
        )
    named = {*fields[1::3], *fields[2::3]}
    unknown = sorted(named - utterances)
    if unknown:
        raise ValueError(
            f"{path}: {len(unknown):,} of its {len(named):,} utterances are neither in dev/wav/ nor in "
            f"test/wav/: {listing(unknown)}"
        )
    return text, named


def fits(path: Path, root: Path) -> bool:
    """Return whether a trial list is there and the first recordings that it names are in ``test/wav/``."""
    if not path.is_file():
        return False
    with open(path, encoding="utf-8") as file:
        lines = [next(file, "").split() for _ in range(100)]
    return all((root / "test/wav" / name).is_file() for line in lines for name in line[1:])


def read_speakers(root: Path, part: str) -> list[Clip]:
    """The utterances of ``dev`` or ``test``, labelled with their speakers.

    Raises:
        ValueError: there is none, one is an empty file or lies elsewhere than in its video's folder.
    """
    top = f"{part}/wav"
    speakers = subfolders(root / top)
    num_bytes = clip_bytes(root, [f"{top}/{speaker}" for speaker in speakers], nested=True)
    check_on_disk(num_bytes, num_bytes, root, root / top)
    astray = sorted(wav for wav in num_bytes if wav.count("/") != 4)
    if astray:
        raise ValueError(f"{root}: found {listing(astray)}; expected {top}/SPEAKER/VIDEO/UTTERANCE.wav")
    clips = [Clip(wav, wav.split("/")[2]) for wav in sorted(num_bytes)]
    silent = sorted(set(speakers) - {clip.labels for clip in clips})
    if silent or not clips:
        raise ValueError(f"{root / top}: no utterance of {listing(silent) or 'any speaker'}")
    return clips


def prepare_voxceleb1(root: Path, trials: Path | None = None) -> Lists:
    """Lists of VoxCeleb1: ``train``, ``test``, and the trial lists that are there.

    The label table holds the training speakers alone; those of ``test`` are none of them.

    Args:
        root: holds ``dev/wav/`` and ``test/wav/``, each speaker/video/utterance.wav.
        trials: the folder of the trial lists; ``root`` if not given. Vox1-O is shipped, too.

    Raises:
        FileNotFoundError: ``root`` is not such a folder, or there is no ``veri_test.txt``.
        ValueError: a speaker is in both parts, or a trial list does not fit the recordings.

    Source: Nagrani et al. 2017; lists E and H: Chung et al. 2018.
    """
    check_root(root, ["dev/wav/", "test/wav/"], ROOT)
    trials = trials or root
    shipped = SHIPPED_TRIALS if fits(SHIPPED_TRIALS, root) else None
    if not shipped and not (trials / TRIALS["trials_o"].filename).is_file():
        raise FileNotFoundError(
            f"{trials}: has no {TRIALS['trials_o'].filename}, the trials Vox1-O. The archives of recordings "
            f"do not hold it: fetch it from {SITE} into that folder, or name its folder with -trials"
        )
    train, test = read_speakers(root, "dev"), read_speakers(root, "test")
    speakers = sorted({clip.labels for clip in train})
    both = sorted(set(speakers) & {clip.labels for clip in test})
    if both:
        raise ValueError(
            f"{root}: {len(both):,} speakers are in dev/wav/ and in test/wav/: {listing(both)}; "
            "no one may be trained on and tested"
        )

    labels = [Label(speaker, speaker) for speaker in speakers]
    check_classes(labels, {"train": train}, root)
    table = [
        Row("training speakers", len(speakers), 1_211),
        Row("train", len(train), 148_642),
        Row("test speakers", len({clip.labels for clip in test}), 40),
        Row("test", len(test), 4_874),
    ]
    utterances = {clip.wav.split("/", 2)[2] for clip in [*train, *test]}
    texts = {}
    for name, (filename, official) in TRIALS.items():
        path = trials / filename
        if name == "trials_o" and shipped and not path.is_file():
            path = shipped
        if path.is_file():
            texts[f"{name}.txt"], named = read_trials(path, utterances)
            table.append(Row(name, texts[f"{name}.txt"].count("\n"), official))
            if name == "trials_o":
                texts["trials.txt"] = texts["trials_o.txt"]  # what experiments score if not told otherwise
                table.append(Row("  its utterances", len(named), 4_708))
    lists = {"train": train, "test": test}
    return Lists(labels, lists, table, [NOISE], texts, experiment="w2v_voxceleb")
