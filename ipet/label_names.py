"""Faults in class names: missing values, invisible characters, and several spellings of one name."""

import ast
import itertools
import re
import unicodedata
from collections.abc import Iterable

# Words that tables write where a value is missing, after ``casefold``.
MISSING = {"", "nan", "none", "null", "nil", "na", "n/a", "n.a.", "#n/a", "<na>", "nat", "missing"}
DASHES = re.compile(r"[-\u2010-\u2015\u2212?.*_/]+")
# Zero-width characters, directional marks, the byte-order mark, the soft hyphen and variation selectors.
INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
ODD_BLANKS = re.compile(r"[^\S ]")  # white space other than the blank, such as the no-break space
# Cyrillic and Greek letters, after ``casefold``, and the Latin letters that they or their capitals look like.
LOOK_ALIKES = str.maketrans(
    "авекмнорстухіјѕһԁԛԝαβεηικμνορτυχ",
    "abekmhopctyxijshdqwabehikmvoptyx",
)
SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015]+")
PART_WORDS = {
    "train": ("train", "training", "trn", "tr"),
    "valid": ("valid", "validation", "validate", "val", "dev", "devel", "development"),
    "test": ("test", "testing", "tst", "eval", "evaluation", "holdout"),
}
FILLERS = {
    "set",
    "sets",
    "data",
    "dataset",
    "split",
    "subset",
    "audio",
    "wav",
    "wavs",
    "clips",
    "files",
    "samples",
}
FILLERS |= {"folder", "recordings", "sounds", "part", "the", "clean", "other"}
FOLD_WORDS = ("fold", "cv")  # that mean nothing else
FOLD_PREFIXES = ("fold", "folds", "cv", "split", "part", "partition", "set", "subset", "k", "f", "group", "")


def is_missing(name: str) -> bool:
    """Return whether a cell is empty or holds a marker of a missing value, such as ``nan`` or ``?``."""
    text = clean_name(name).casefold()
    return text in MISSING or bool(DASHES.fullmatch(text))


def clean_name(name: str) -> str:
    """Return a name in Unicode's NFC form, without invisible characters and with single blanks."""
    return " ".join(unicodedata.normalize("NFC", INVISIBLE.sub("", name)).split())


def hidden_characters(name: str) -> list[str]:
    """Return the code points of a name that cannot be seen, such as ``U+200B``."""
    found = [*INVISIBLE.findall(name), *ODD_BLANKS.findall(name)]
    return list(dict.fromkeys(f"U+{ord(character):04X}" for character in found))


def spelling_key(name: str) -> str:
    """Return what names share that differ only in case, blanks, separators, Unicode form or look-alikes."""
    text = unicodedata.normalize("NFKC", clean_name(name)).casefold()
    text = SEPARATORS.sub("", text.translate(LOOK_ALIKES)) or text
    return plain_number(text)


def spelling_groups(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of distinct names that differ only in their spelling; see ``spelling_key``."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(spelling_key(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def without_look_alikes(name: str) -> str:
    """Return a name with Latin letters for those of other alphabets that look like them."""
    upper = {ord(chr(k).upper()): chr(v).upper() for k, v in LOOK_ALIKES.items()}
    return name.translate(LOOK_ALIKES | upper)


def plain_number(name: str) -> str:
    """Return a whole number without leading zeros and decimals; any other name as it is."""
    number = re.fullmatch(r"0*(\d+)(?:\.0*)?", name.strip())
    return number[1] if number else name


DIFFERENCES = (
    ("invisible characters or blanks", lambda name: " ".join(INVISIBLE.sub("", name).split())),
    ("Unicode normal forms", lambda name: unicodedata.normalize("NFKC", name)),
    ("upper and lower case", str.casefold),
    ("separators", lambda name: SEPARATORS.sub("", name)),
    ("look-alike characters", without_look_alikes),
    ("the way a number is written", plain_number),
)


def difference(names: Iterable[str]) -> str:
    """Return in words how names of one spelling group differ: the fewest kinds that explain it."""
    distinct = set(names)
    for number in range(1, len(DIFFERENCES) + 1):
        for chosen in itertools.combinations(DIFFERENCES, number):
            reduced = distinct
            for _, step in chosen:
                reduced = set(map(step, reduced))
            if len(reduced) == 1:
                return " and ".join(what for what, _ in chosen)
    return "spelling"


def textual_list(cell: str) -> list[str] | None:
    """Return the items of a list written as text, such as ``['dog', 'cat']``; None for other text."""
    text = cell.strip()
    if len(text) < 2 or text[0] + text[-1] not in ("[]", "()", "{}"):
        return None
    quoted = re.findall(r"'([^']*)'|\"([^\"]*)\"", text[1:-1])
    if re.search(r"(['\"])\s+\1", text):  # NumPy writes no commas, and Python would join ['dog' 'cat']
        return [one or other for one, other in quoted]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        return [str(item) for item in (sorted(value, key=str) if isinstance(value, set) else value)]
    if quoted:
        return [one or other for one, other in quoted]
    if text[0] == "[":
        return [part.strip() for part in text[1:-1].split(",") if part.strip()]
    return None


# Parts of a split ---------------------------------------------------------------------------------


def words_of(name: str) -> list[str]:
    """Return the words and numbers of a name in lower case: ``TrainSet_2`` -> train, set, 2."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = re.findall(r"[a-z]+|[0-9]+", spaced.lower())
    found = []
    for word in words:
        match = re.fullmatch(r"(\w+?)(set|data|split|files|audio|wav)", word)
        known = match and any(match[1] in of for of in PART_WORDS.values())
        found += [match[1], match[2]] if known else [word]
    return found


def part_of(name: str) -> str:
    """Return ``train``, ``valid`` or ``test`` for a name that means nothing else; otherwise nothing."""
    words = [word for word in words_of(name) if word not in FILLERS]
    kinds = [part for part, known in PART_WORDS.items() if words and words[0] in known]
    return kinds[0] if len(words) == 1 and kinds else ""


def may_be_part(name: str) -> str:
    """Return the part that a name begins or ends with, such as ``train`` of ``train_2``; or nothing."""
    words = words_of(name)
    for word in (words[:1] + words[-1:]) if words else ():
        for part, known in PART_WORDS.items():
            if word in known:
                return part
    return ""


def fold_of(name: str) -> tuple[str, int] | None:
    """Return the prefix and the number of a name such as ``fold_03``, ``cv1`` or ``7``; otherwise None."""
    match = re.fullmatch(r"([a-z]*)[\s_.-]*0*(\d{1,3})", name.strip().casefold())
    if match and match[1] in FOLD_PREFIXES:
        return match[1].rstrip("s") if match[1] == "folds" else match[1], int(match[2])
    return None


def fold_folders(names: Iterable[str]) -> dict[str, int]:
    """Return the names of one prefix, with their numbers, if there are at least two."""
    by_prefix: dict[str, dict[str, int]] = {}
    for name in names:
        found = fold_of(name)
        if found:
            by_prefix.setdefault(found[0], {})[name] = found[1]
    largest = max(by_prefix.values(), key=len, default={})
    return largest if len(largest) > 1 else {}


def split_names(names: Iterable[str]) -> list[str]:
    """Return the names that are parts of a split, such as train and val, or fold1 and fold2.

    One such name alone may be a class (a train), and so may numbers (digits).
    """
    names = list(names)
    parts = [name for name in names if part_of(name)]
    if len({part_of(name) for name in parts}) > 1:
        return parts
    folds = fold_folders(name for name in names if (fold_of(name) or ("",))[0] in FOLD_WORDS)
    return list(folds)
