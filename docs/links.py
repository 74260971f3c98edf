"""For mkdocs: a link to a file of the repository outside docs/ becomes its name, for it is on no page."""

import re

OUTWARD = re.compile(r"\[([^\]]+)\]\(\.\./[^)\s]+\)")


def on_page_markdown(markdown: str, **_) -> str:
    """A page's Markdown, with links that stay inside docs/ alone."""
    return OUTWARD.sub(r"\1", markdown)
