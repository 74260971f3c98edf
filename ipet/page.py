"""A page of HTML that stands alone: style and figures are inside it, and it asks no network for anything.

Names of classes and files, arguments and messages are strangers' text: the template escapes all of it.
"""

import base64
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import ipet
from ipet.checkpoint import write_atomically
from ipet.printable import escaped

TEMPLATES = Path(__file__).parent / "templates"


class Text(NamedTuple):
    """A paragraph."""

    text: str
    kind: str = "text"


class Figure(NamedTuple):
    """A picture, inside the page; ``alt`` says what it shows to who cannot see it."""

    uri: str
    alt: str
    caption: str
    kind: str = "figure"


class Table(NamedTuple):
    """Rows under a head; the first column names them.

    Args:
        rows: strings, ``Link``, or lists of strings and ``Sound``.
        numbers: the columns that are set to the right.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence]
    numbers: Collection[str] = ()
    kind: str = "table"

    @property
    def lists(self) -> set[str]:
        """The columns that hold several things in a row."""
        return {name for row in self.rows for name, value in zip(self.head, row) if isinstance(value, list)}


@dataclass(frozen=True)
class Link:
    """A file beside the page."""

    href: str
    text: str


@dataclass(frozen=True)
class Sound:
    """A recording beside the page, to be played."""

    file: str
    name: str


class Section(NamedTuple):
    """A heading and what stands under it."""

    title: str
    blocks: list[Text | Figure | Table]


@dataclass
class Page:
    """A page.

    Args:
        title: its heading.
        lead: the result in one line, or nothing.
        back: where the page that leads to this one lies, if one does.
        told: what is missing or damaged.
        sections: those without a block are left out.
    """

    title: str
    lead: str = ""
    back: str = ""
    told: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)


def write_page(path: Path, page: Page) -> None:
    """Write a page, atomically; see ``render``."""
    write_atomically(path, render(page).encode())


def render(page: Page) -> str:
    """A page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: escaped(value) if type(value) is str else value,  # not the template's own
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # By their types: a dictionary of somebody's arguments.json may have the same keys.
    environment.tests |= {"link": lambda part: type(part) is Link, "sound": lambda part: type(part) is Sound}
    shown = replace(page, sections=[section for section in page.sections if section.blocks])
    return environment.get_template("page.html").render(page=shown, version=ipet.__version__)


def drawn(alt: str, caption: str, draw: Callable, *values) -> Figure:
    """The figure that ``draw(path, *values)`` writes as PNG to a path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        draw(path, *values)
        encoded = base64.b64encode(path.read_bytes()).decode()
    return Figure(f"data:image/png;base64,{encoded}", alt, caption)
