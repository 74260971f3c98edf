"""What the documents say: their commands, flags, links and pictures, found in their Markdown."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from helpers import ROOT

DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "examples/*.md", "pretrained_models/*/*.md", "data/**/*.md")
    for path in ROOT.glob(pattern)
    if "demo_data" not in path.parts
)
PROGRAM = re.compile(  # what a line that is a command may begin with, behind ( and $
    r"(\(|\$ )*(cd|cp|curl|docker|export|git|hf|ipet(?= [a-z])|ls|make|mkdir|pip|python3?|sbatch|scontrol"
    r"|source|srun|tensorboard|torchrun|[A-Za-z_]+=\S*)(\s|$)"
)
HINT = re.compile(  # what a line may hold that ought to be one
    r"python3 (-m [\w.]+ \S|\S+\.py)|main\.py -|torchrun |sbatch |^make [a-z]+$|\bipet (predict|report) "
)


class Command(NamedTuple):
    """One command of a document."""

    document: Path
    line: int  # from 1
    words: list[str]
    folder: str | None  # of the repository, that ``cd`` led to in the same line or block; None: unknown
    named: bool  # its name in a sentence, which needs no arguments

    @property
    def where(self) -> str:
        """For a message."""
        return f"{self.document.relative_to(ROOT)}, line {self.line}: {shlex.join(self.words)}"


class Block(NamedTuple):
    """Lines that are set apart: fenced, or indented behind an empty line."""

    line: int  # of the first one
    language: str
    lines: list[str]


def blocks(text: str) -> tuple[list[Block], list[tuple[int, str]]]:
    """The blocks of a document, and the paragraphs between them with the lines they begin at."""
    found, paragraphs, paragraph = [], [], []
    lines = text.splitlines()
    i = 0
    while i < len(lines):
        line, blank = lines[i], not i or not lines[i - 1].strip()
        fence = re.match(r"\s*```(\w*)$", line)
        if fence:
            end = next(k for k in range(i + 1, len(lines)) if lines[k].strip() == "```")
            found.append(Block(i + 2, fence[1], lines[i + 1 : end]))
            i = end + 1
            continue
        if line.startswith("    ") and blank and not within_list(lines, i):
            end = i
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            found.append(Block(i + 1, "", [x[4:] for x in lines[i:end]]))
            i = end
            continue
        if line.strip():
            paragraph.append(line)
            if i + 1 == len(lines) or not lines[i + 1].strip():
                paragraphs.append((i + 2 - len(paragraph), "\n".join(paragraph)))
                paragraph = []
        i += 1
    return found, paragraphs


def within_list(lines: list[str], i: int) -> bool:
    """Whether an indented line goes on with an item of a list above it."""
    above = next((x for x in reversed(lines[:i]) if x.strip() and not x.startswith("    ")), "")
    return bool(re.match(r"\s*([-*]|\d+\.) ", above))


def spans(paragraph: str) -> list[str]:
    """The inline code of a paragraph, each in one line."""
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", paragraph)]


def commands(path: Path) -> list[Command]:
    """The commands of a document, in its blocks and in its sentences.

    Raises:
        ValueError: a line that looks like a command is none that is known.
    """
    found: list[Command] = []
    apart, paragraphs = blocks(path.read_text())
    for block in apart:
        if block.language in ("", "bash", "sh", "console"):
            found += commands_of_block(path, block)
    for line, paragraph in paragraphs:
        for span in spans(paragraph):
            if re.match(
                r"([A-Z_]+=\S+ |cd \S+ && )?(python3|make|torchrun|ipet|sbatch|tensorboard) \S", span
            ):
                found += split(path, line, span, {}, None, named=True)[0]
    return found


def commands_of_block(path: Path, block: Block) -> list[Command]:
    """The commands among a block's lines; in a block of bash every line is one."""
    found, variables, functions, folder = [], {}, {}, None
    lines = iter(enumerate(block.lines, block.line))
    for number, line in lines:
        while line.rstrip().endswith("\\"):
            line = line.rstrip()[:-1] + next(lines)[1]
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        function = re.match(r"(\w+)\(\) \{", line)
        if function:
            body, inner = "", ""
            while inner != "}":
                body += inner.removesuffix("\\") + ("" if inner.endswith("\\") else "\n")
                inner = next(lines)[1].strip()
            functions[function[1]] = body.strip()
            continue
        name = line.split()[0]
        if name in functions:
            line = called(functions[name], shlex.split(substituted(line, variables))[1:])
        elif block.language != "bash" and not PROGRAM.match(line):
            if HINT.search(line) and not line.startswith(("writes ", "/", "|")):
                raise ValueError(f"{path.relative_to(ROOT)}, line {number}: is this a command? {line}")
            continue
        more, folder = split(path, number, line, variables, folder)
        found += more
    return found


def called(body: str, words: list[str]) -> str:
    """The line of a shell function, with its arguments in place."""
    body = re.sub(r'"?\$\{@:(\d+)\}"?', lambda m: shlex.join(words[int(m[1]) - 1 :]), body)
    return re.sub(r"\$(\d)", lambda m: words[int(m[1]) - 1], body)


def substituted(line: str, variables: dict[str, str]) -> str:
    """A line with the variables that were set above it."""
    return re.sub(r"\$(\w+)", lambda m: variables.get(m[1], m[0]), line)


def split(
    path: Path, number: int, line: str, variables: dict[str, str], folder: str | None, named: bool = False
) -> tuple[list[Command], str | None]:
    """The commands of one line, and the folder that its ``cd`` leads to; parentheses keep that inside."""
    found: list[Command] = []
    assigned = re.match(r"(\w+)=(\"[^\"]*\"|\$\(.*\)|\S*)(\s+#.*)?$", line)
    if assigned and assigned[2].startswith("$("):  # what a command says stays the variable's name
        return split(path, number, assigned[2][2:-1], variables, folder)[0], folder
    if assigned:
        variables[assigned[1]] = assigned[2].strip('"')
        return found, folder
    lexer = shlex.shlex(substituted(line, variables), posix=True, punctuation_chars="();&|<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words, outside, inside = [], folder, folder
    for word in [*lexer, ";"]:
        if set(word) <= set("();&|<>"):
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # of the environment
                del words[0]
            if words and words[0] == "cd":
                inside = moved(inside, words[1])
                found.append(Command(path, number, words, inside, named))
            elif words:
                found.append(Command(path, number, words, inside, named))
            words = []
            if ")" in word:
                inside = outside
        else:
            words.append(word)
    return found, inside


def moved(folder: str | None, to: str) -> str | None:
    """Where ``cd`` leads, as a folder of the repository."""
    if to == "..":
        return None
    return to.split("/")[-1] if to.startswith("$HOME") else to
