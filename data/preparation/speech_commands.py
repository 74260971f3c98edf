"""Speech Commands v0.02: 105,829 clips of 1 s, 35 words, official validation and test lists."""

from pathlib import Path

from preparation.checking import check_classes, check_on_disk
from preparation.lists import Clip, Label, Lists, Row
from preparation.reading import check_root, clip_bytes, read_text

HELD_OUT = {"valid": "validation_list.txt", "test": "testing_list.txt"}  # the release's own lists


def read_held_out(held_out: dict[str, Path], mids: dict[str, str], root: Path) -> dict[str, str]:
    """The clips of the validation and the test list -> ``valid`` or ``test``.

    Raises:
        ValueError: a line is no clip of a known word, or a clip comes twice.
    """
    split_of: dict[str, str] = {}
    for split, path in held_out.items():
        for line, wav in enumerate(read_text(path).splitlines(), start=1):
            wav = wav.strip()
            if not wav:
                continue
            where = f"{path}, line {line}"
            word, slash, filename = wav.partition("/")
            if not slash or not filename or "/" in filename:
                raise ValueError(f"{where}: found {wav!r}; expected WORD/FILE.wav")
            if word not in mids:
                raise ValueError(
                    f"{where}: {wav} is of the unknown word {word!r}; {root} has no folder of "
                    f"that name among its {len(mids)} words"
                )
            if wav in split_of:
                also = "listed twice" if split_of[wav] == split else "also in validation_list.txt"
                raise ValueError(f"{where}: {wav} is {also}; clips must not leak between lists")
            split_of[wav] = split
    return split_of


def find_parts(root: Path) -> tuple[Path, Path]:
    """Return the folder of the two lists, and the folder of the words.

    Both are ``root`` in the authors' archive. Kaggle's archive holds ``train/`` with the lists and
    ``train/audio/`` with the words; any of these three folders may be given.
    """
    for folder in (root, root / "train", root.parent):
        if all((folder / name).is_file() for name in HELD_OUT.values()):
            words = folder / "audio" if (folder / "audio").is_dir() else folder
            if words.is_relative_to(root):
                return folder, words
    return root, root


def unlabelled_note(root: Path) -> list[str]:
    """Return a note on the recordings of Kaggle's test set, which have no labels."""
    folder = root / "test" / "audio"
    number = sum(path.suffix == ".wav" for path in folder.iterdir()) if folder.is_dir() else 0
    return [f"{number:,} recordings in {folder} have no labels and are left out"] if number else []


def prepare_speech_commands(root: Path) -> Lists:
    """Lists of Speech Commands v0.02: ``train``, ``valid`` and ``test``.

    Validation and test are the release's own two lists; every other clip of a word trains.

    Args:
        root: the extracted folder: 35 folders of words and the two lists; or Kaggle's, see ``find_parts``.

    Raises:
        FileNotFoundError: ``root`` is not such a folder, or listed clips are not on disk.
        ValueError: the lists name an unknown word, or a clip twice.

    Source: https://arxiv.org/abs/1804.03209 (Warden 2018).
    """
    folder, of_words = find_parts(root)
    held_out = {split: folder / name for split, name in HELD_OUT.items()}
    check_root(
        folder,
        [path.name for path in held_out.values()],
        "Speech Commands, the folder that speech_commands_v0.02.tar.gz was extracted into",
    )
    words = sorted(e.name for e in of_words.iterdir() if e.is_dir() and e.name[0] not in "._")
    if not words:
        raise FileNotFoundError(f"{of_words}: holds no folder of a word, such as right/")
    mids = {word: f"/m/spcmd{index:02d}" for index, word in enumerate(words)}

    split_of = read_held_out(held_out, mids, of_words)
    num_bytes = clip_bytes(of_words, words)
    for split, path in held_out.items():
        wavs = [wav for wav in split_of if split_of[wav] == split]
        check_on_disk(wavs, num_bytes, of_words, path)
    check_on_disk(num_bytes, num_bytes, of_words, of_words)

    lists: dict[str, list[Clip]] = {"train": [], "valid": [], "test": []}
    for wav in sorted(num_bytes):
        path = (of_words / wav).relative_to(root).as_posix()
        lists[split_of.get(wav, "train")].append(Clip(path, mids[wav.partition("/")[0]]))
    labels = [Label(mids[word], word) for word in words]
    table = [
        Row("words", len(words), 35),
        Row("train", len(lists["train"]), 84_843),
        Row("valid", len(lists["valid"]), 9_981),
        Row("test", len(lists["test"]), 11_005),
        Row("clips", len(num_bytes), 105_829),
    ]
    notes = check_classes(labels, lists, root) + unlabelled_note(root)
    return Lists(labels, lists, table, notes, experiment="w2v_speechcommands")
