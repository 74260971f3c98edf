"""Account for user input: what was supplied, what was used, and what was left out and why."""

import sys
from collections import Counter
from typing import TextIO

MAX_EXAMPLES = 5  # items named per reason; the count is always exact


class InputReport:
    """The inputs of one command: counts per kind of item, and the reasons for every item left out.

    Every reader of user input (folders, tables, lists, checkpoints, flags) takes a report and adds to it,
    so that nothing is dropped silently. A kind is a plural noun: ``recordings``, ``columns``, ``rows``.

    Args:
        source: Path or flag that the input came from; it starts every warning.
    """

    def __init__(self, source: str):
        self.source = source
        self.used: Counter[str] = Counter()
        self.left_out: dict[tuple[str, str, str], list[str]] = {}
        self.doubts: dict[tuple[str, str, str], list[str]] = {}
        self.requested: set[tuple[str, str, str]] = set()
        self.failed: set[tuple[str, str, str]] = set()
        self.printed: set[str] = set()

    def use(self, kind: str, count: int = 1) -> None:
        """Count items that were used."""
        self.used[kind] += count

    def leave_out(self, kind: str, item: str, reason: str, remedy: str = "", requested: bool = False) -> None:
        """Record an item that was not used.

        Args:
            kind: Plural noun of the items, such as ``recordings``.
            item: Name of this item, as the user wrote it.
            reason: Why it was left out. Items with the same reason are counted together.
            remedy: Flag, command or package that changes it.
            requested: Whether a flag asked for it: the item is counted, and no warning is printed.
        """
        self.left_out.setdefault((kind, reason, remedy), []).append(item)
        if requested:
            self.requested.add((kind, reason, remedy))

    def fail(self, kind: str, item: str, reason: str) -> None:
        """Record an item that was counted as used and then could not be used; its error is printed already.

        Args:
            kind, item, reason: See ``leave_out``.
        """
        self.used[kind] -= 1
        self.leave_out(kind, item, reason)
        self.failed.add((kind, reason, ""))

    def skip(self, kind: str, item: str, reason: str) -> None:
        """Record an item that was counted as used and then was not needed; no warning is printed.

        Args:
            kind, item, reason: See ``leave_out``.
        """
        self.used[kind] -= 1
        self.leave_out(kind, item, reason, requested=True)

    def doubt(self, kind: str, item: str, reason: str, remedy: str = "") -> None:
        """Record an item that was used as it is, although it is probably a mistake.

        Args:
            kind, item, reason, remedy: See ``leave_out``. The items are not counted as left out.
        """
        self.doubts.setdefault((kind, reason, remedy), []).append(item)

    def num_left_out(self, kind: str) -> int:
        """Return the number of items of a kind that were left out."""
        return sum(len(items) for (of, _, _), items in self.left_out.items() if of == kind)

    def num_supplied(self, kind: str) -> int:
        """Return the number of items of a kind that were found: used or left out."""
        return self.used[kind] + self.num_left_out(kind)

    def warnings(self) -> list[str]:
        """Return one line per reason: the source, the counts, examples and the remedy."""
        lines = []
        for key, items in self.left_out.items():
            counts = f"{len(items):,} of {self.num_supplied(key[0]):,} {key[0]} left out"
            if key not in self.requested | self.failed:
                lines.append(f"{self.source}: {counts}: {self._details(key, items)}")
        for kind in dict.fromkeys(kind for kind, _, _ in self.left_out):
            failed = sum(len(self.left_out[key]) for key in self.failed if key[0] == kind)
            if failed:
                counts = f"{failed:,} of {self.num_supplied(kind):,} {kind} left out"
                lines.append(f"{self.source}: {counts}: they cannot be used, as their errors say")
        for key, items in self.doubts.items():
            lines.append(f"{self.source}: {len(items):,} {key[0]}: {self._details(key, items)}")
        return lines

    @staticmethod
    def _details(key: tuple[str, str, str], items: list[str]) -> str:
        """Return the reason, examples and the remedy."""
        _, reason, remedy = key
        more = f" and {len(items) - MAX_EXAMPLES:,} more" if len(items) > MAX_EXAMPLES else ""
        end = f"; {remedy}" if remedy else ""
        return f"{reason} ({', '.join(items[:MAX_EXAMPLES])}{more}){end}"

    def print_warnings(self, file: TextIO | None = None) -> None:
        """Print the warnings that were not printed yet, to the standard error by default."""
        for line in [line for line in self.warnings() if line not in self.printed]:
            self.printed.add(line)
            print(f"warning: {line}", file=file or sys.stderr)

    def as_dict(self) -> dict:
        """Return the report for JSON output; ``left_out`` has one entry per reason."""
        kinds = dict.fromkeys([*self.used, *(kind for kind, _, _ in self.left_out)])
        return {
            "source": self.source,
            "supplied": {kind: self.num_supplied(kind) for kind in kinds},
            "used": {kind: self.used[kind] for kind in kinds},
            "left_out": [
                {
                    "kind": kind,
                    "reason": reason,
                    "remedy": remedy,
                    "count": len(items),
                    "examples": items[:MAX_EXAMPLES],
                }
                for (kind, reason, remedy), items in self.left_out.items()
            ],
            "doubts": [
                {"kind": kind, "reason": reason, "remedy": remedy, "count": len(items), "items": items}
                for (kind, reason, remedy), items in self.doubts.items()
            ],
        }
