"""Write the lists that this repository ships, from tables of file names, splits and labels.

The tables are facts of the published data sets: ``esc50.csv``, ``gtzan.csv``, ``fsd50k.csv``,
``fsd50k_vocabulary.csv``, ``speechcommands_validation.txt``, ``speechcommands_testing.txt``,
``voxceleb1_trials.txt``, ``voxceleb1_test_utterances.txt`` and ``voxceleb1_train_speakers.txt``.

    python3 data/build_lists.py FACTS

The training lists of Speech Commands and VoxCeleb1 are not among them: they are what remains of an unpacked
release, and ``main.py`` or ``prepare.py`` writes them.
"""

import argparse
import csv
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent))  # preparation, where this file is not run but loaded
sys.path.append(str(Path(__file__).resolve().parents[1]))  # ipet, where it is not installed

from preparation.lists import Clip, Label, Lists, fold_lists
from preparation.output import write_files

HERE = Path(__file__).resolve().parent


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line]


def esc50(facts: Path) -> Lists:
    """Return the lists of ESC-50's five official folds."""
    rows = read_table(facts / "esc50.csv")
    names = {int(row["target"]): row["category"] for row in rows}
    labels = [Label(f"/m/07rwj{target:02d}", names[target]) for target in sorted(names)]
    folds = {
        Clip(f"audio/{row['filename']}", f"/m/07rwj{int(row['target']):02d}"): int(row["fold"])
        for row in rows
    }
    return Lists(labels, fold_lists(folds), [])


def gtzan(facts: Path) -> Lists:
    """Return the lists of the ten folds that the published experiments on GTZAN used."""
    rows = read_table(facts / "gtzan.csv")
    genres = sorted({row["genre"] for row in rows})
    labels = [Label(f"/m/gtzan{index:02d}", genre) for index, genre in enumerate(genres)]
    mids = {label.display_name: label.mid for label in labels}
    folds = {Clip(f"genres_original/{row['file']}", mids[row["genre"]]): int(row["fold"]) for row in rows}
    return Lists(labels, fold_lists(folds), [])


def fsd50k(facts: Path) -> Lists:
    """Return the official training, validation and test lists of FSD50K."""
    labels = [Label(row["mid"], row["label"]) for row in read_table(facts / "fsd50k_vocabulary.csv")]
    lists: dict[str, list[Clip]] = {"train": [], "valid": [], "test": []}
    names = {"train": "train", "val": "valid", "test": "test"}
    for row in read_table(facts / "fsd50k.csv"):
        folder = "FSD50K.eval_audio" if row["split"] == "test" else "FSD50K.dev_audio"
        lists[names[row["split"]]].append(Clip(f"{folder}/{row['fname']}.wav", row["mids"]))
    return Lists(labels, {name: sorted(clips) for name, clips in lists.items()}, [])


def speech_commands(facts: Path) -> Lists:
    """Return the official validation and test lists of Speech Commands V2, 35 words."""
    held_out = {
        "valid": sorted(read_lines(facts / "speechcommands_validation.txt")),
        "test": sorted(read_lines(facts / "speechcommands_testing.txt")),
    }
    words = sorted({wav.partition("/")[0] for wavs in held_out.values() for wav in wavs})
    labels = [Label(f"/m/spcmd{index:02d}", word) for index, word in enumerate(words)]
    mids = {label.display_name: label.mid for label in labels}
    lists = {
        name: [Clip(wav, mids[wav.partition("/")[0]]) for wav in wavs] for name, wavs in held_out.items()
    }
    return Lists(labels, lists, [])


def voxceleb1(facts: Path) -> Lists:
    """Return VoxCeleb1's training speakers, test utterances and trials (Vox1-O as first published)."""
    labels = [
        Label(speaker, speaker) for speaker in sorted(read_lines(facts / "voxceleb1_train_speakers.txt"))
    ]
    utterances = sorted(read_lines(facts / "voxceleb1_test_utterances.txt"))
    test = [Clip(f"test/wav/{utterance}", utterance.partition("/")[0]) for utterance in utterances]
    trials = (facts / "voxceleb1_trials.txt").read_text(encoding="utf-8").strip() + "\n"
    return Lists(labels, {"test": test}, [], texts={"trials.txt": trials})


SHIPPED = {
    "esc50": esc50,
    "fsd50k": fsd50k,
    "gtzan": gtzan,
    "speechcommands": speech_commands,
    "voxceleb": voxceleb1,
}


def main(argv: list[str] | None = None) -> int:
    """Write every shipped list, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("facts", type=Path, metavar="FACTS", help="folder of the tables")
    parser.add_argument("-out", type=Path, default=HERE, metavar="DIR", help="where the folders of lists go")
    args = parser.parse_args(argv)
    for name, build in SHIPPED.items():
        texts = build(args.facts).files()
        write_files(args.out / name, texts)
        print(f"{name}: {len(texts)} files, {sum(map(len, texts.values())):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
