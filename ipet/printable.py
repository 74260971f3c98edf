"""Text of strangers' files, before it is printed: an escape sequence can rewrite a terminal."""

import re

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
