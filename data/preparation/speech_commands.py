"""Speech Commands v0.02: 105,829 clips of 1 s, 35 words, official validation and test lists."""

from pathlib import Path

from preparation.checking import check_classes, check_on_disk
from preparation.lists import Clip, Label, Lists, Row
from preparation.reading import check_root, clip_bytes, read_text


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


def prepare_speech_commands(root: Path) -> Lists:
    """Lists of Speech Commands v0.02: ``train``, ``valid`` and ``test``.

    Validation and test are the release's own two lists; every other clip of a word trains.

    Args:
        root: the extracted folder: 35 folders of words and the two lists.

    Raises:
        FileNotFoundError: ``root`` is not such a folder, or listed clips are not on disk.
        ValueError: the lists name an unknown word, or a clip twice.

    Source: https://arxiv.org/abs/1804.03209 (Warden 2018).
    """
    held_out = {"valid": root / "validation_list.txt", "test": root / "testing_list.txt"}
    check_root(
        root,
        [path.name for path in held_out.values()],
        "Speech Commands, the folder that speech_commands_v0.02.tar.gz was extracted into",
    )
    words = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] not in "._")
    if not words:
        raise FileNotFoundError(f"{root}: holds no folder of a word, such as right/")
    mids = {word: f"/m/spcmd{index:02d}" for index, word in enumerate(words)}

    split_of = read_held_out(held_out, mids, root)
    num_bytes = clip_bytes(root, words)
    for split, path in held_out.items():
        wavs = [wav for wav in split_of if split_of[wav] == split]
        check_on_disk(wavs, num_bytes, root, path)
    check_on_disk(num_bytes, num_bytes, root, root)

    lists: dict[str, list[Clip]] = {"train": [], "valid": [], "test": []}
    for wav in sorted(num_bytes):
        lists[split_of.get(wav, "train")].append(Clip(wav, mids[wav.partition("/")[0]]))
    labels = [Label(mids[word], word) for word in words]
    table = [
        Row("words", len(words), 35),
        Row("train", len(lists["train"]), 84_843),
        Row("valid", len(lists["valid"]), 9_981),
        Row("test", len(lists["test"]), 11_005),
        Row("clips", len(num_bytes), 105_829),
    ]
    return Lists(labels, lists, table, check_classes(labels, lists, root), experiment="w2v_speechcommands")
