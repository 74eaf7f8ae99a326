"""Lines of a reduced text with their list marks and quote marks.

Keeps the rule that every line says by its own beginning what it is in. Refuses nothing; it only lays out.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Place:
    first: str
    rest: str
    is_new: bool = True


class Page:
    """Blocks one under another, a blank line between them unless they are tight."""

    def __init__(self) -> None:
        self.is_tight = False
        self._lines: list[str] = []
        self._places: list[_Place] = []
        self._mark = ""
        self._glued = False
        self._has_gap = False

    def enter(self, mark: str, *, is_repeated: bool = False) -> None:
        """Into a list item or a quotation; `is_repeated` marks stand before every line."""
        self._places.append(_Place(first=mark, rest=mark if is_repeated else " " * len(mark)))

    def leave(self) -> None:
        """Out of the innermost one."""
        if self._places:
            self._places.pop()
        self._glued = True

    def begin_part(self) -> None:
        """A list, table or quotation follows: a blank line before it, unless it stands in another one."""
        self._glued = False
        self._has_gap = not self._places

    def mark(self, mark: str) -> None:
        """What the next block's first line begins with (a heading's signs)."""
        self._mark, self.is_tight = mark, False

    def add(self, text: str, *, is_verbatim: bool = False) -> None:
        """One block; an empty one leaves no trace."""
        text = self._mark + text if text.strip() else ""
        self._mark = ""
        if not text:
            return
        is_first = any(place.is_new for place in self._places)
        if self._lines and (self._has_gap or not (self.is_tight or (is_first and self._glued))):
            self._lines.append(self._prefix(is_quiet=True).rstrip())
        for line in text.split("\n"):
            self._lines.append(self._prefix() + (line if is_verbatim else line.rstrip()))
        self._glued = self._has_gap = False

    def text(self) -> str:
        """Everything."""
        return "\n".join(self._lines)

    def _prefix(self, *, is_quiet: bool = False) -> str:
        """The marks of the next line. A blank line before a new item (`is_quiet`) uses up no mark."""
        out: list[str] = []
        for place in self._places:
            if place.is_new and is_quiet:
                return "".join(out)
            out.append(place.first if place.is_new else place.rest)
            place.is_new = False if not is_quiet else place.is_new
        return "".join(out)
