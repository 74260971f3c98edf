"""Text of strangers' files, before it is printed or names a folder.

An escape sequence can rewrite a terminal, and ``../`` leaves the folder that one writes into.
"""

import itertools
import re
from collections.abc import Collection

# Control characters, the two separators of Unicode that end a line, and halves of surrogate pairs, which
# are no text: C0 and DEL, C1, U+2028, U+2029.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def control_character(text: str) -> str | None:
    """The first character that has no place in a path or a name, as Python spells it: ``\\x1b``; or None."""
    found = CONTROL.search(text)
    return None if found is None else spelt(found[0])


def escaped(text: str) -> str:
    """The same in one line, with control characters spelt out."""
    return CONTROL.sub(lambda match: spelt(match[0]), text)


def spelt(character: str) -> str:
    """A character as Python spells it: ``\\n``, ``\\x1b``."""
    return repr(character)[1:-1]


def folder_name(text: str, taken: Collection[str] = ()) -> str:
    """A name of one folder, of letters, digits and ``_.-``, that is none of ``taken``."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip(".")[:100] or "run"
    further = (f"{name}_{number}" for number in itertools.count(2))
    return next(candidate for candidate in itertools.chain([name], further) if candidate not in taken)
