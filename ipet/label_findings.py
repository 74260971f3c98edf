"""Faults of class names as the audit reports them."""

from collections.abc import Iterator, Mapping

from ipet.label_names import (
    clean_name,
    difference,
    hidden_characters,
    is_missing,
    spelling_groups,
    split_names,
    textual_list,
)


def name_faults(clips: Mapping[str, int]) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield the severity, the code, the text and the examples of each kind of fault.

    Args:
        clips: Number of clips of each class, by its name.
    """

    def counted(name: str) -> str:
        """Return a name with its number of clips."""
        return f"{name!r} ({clips[name]:,} clips)"

    groups = spelling_groups(clips)
    alike = [f"{' = '.join(map(counted, group))}: {difference(group)}" for group in groups]
    yield "check", "spelling", "classes whose names differ in spelling alone", alike
    known = {name for group in groups for name in group}
    hidden = [
        f"{counted(name)}: {', '.join(hidden_characters(name)) or 'several blanks or letters in parts (NFD)'}"
        for name in clips
        if name not in known and name != clean_name(name)
    ]
    yield "check", "hidden_characters", "class names with characters that cannot be seen", hidden
    missing = [counted(name) for name in clips if is_missing(name)]
    yield "check", "missing_label", "class names that mark a missing value", missing
    lists = [counted(name) for name in clips if textual_list(name) is not None]
    yield "check", "textual_list", "class names that are lists written as text", lists
    text = "class names of the parts of a split: training and evaluation are probably mixed"
    yield "mend", "split_as_class", text, list(map(counted, split_names(clips)))
