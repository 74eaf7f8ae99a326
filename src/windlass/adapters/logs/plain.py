"""What text looks like to a person: without terminal escapes, and (for looking up values) without what only spaces it.

Colours and cursor movements would hide a secret from every rule, so they go before anything is looked at. Looking up
known values also ignores white space, quotes, backslashes and invisible characters: `s e c r e t`, a value wrapped at
76 columns and one in JSON are the same value.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

_ESCAPES: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|[\]PX^_][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS and the like: titles, links
    r"|[ -/]*[0-~]?)"
)
_EIGHT_BIT: Final = re.compile(
    r"\x9b[0-?]*[ -/]*[@-~]|[\x9d\x90][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?|[\x9b\x9d\x90]"
)
_SPACING: Final = "\t\n\x0b\x0c\r \"'`\\" + "".join(map(chr, [*range(9), *range(14, 32), 127]))
_INVISIBLE: Final = "\xa0\xad\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u2060\ufeff"
_DELETED: Final = {ord(c): None for c in _SPACING + _INVISIBLE}
_ASCII_DELETED: Final = {ord(c): None for c in _SPACING}
_IGNORED: Final = re.compile(f"[{re.escape(_SPACING + _INVISIBLE)}]+")
_WRAPPED: Final = re.compile(rf"(?:\\+[nr]|[{re.escape(_SPACING + _INVISIBLE)}])+")


def without_escapes(text: str) -> str:
    """`text` without terminal escape sequences; no match goes over the end of a line."""
    if "\x1b" in text:
        text = _ESCAPES.sub("", text)
    if not text.isascii() and ("\x9b" in text or "\x9d" in text or "\x90" in text):
        text = _EIGHT_BIT.sub("", text)
    return text


def squeezed(text: str) -> str:
    """`text` without the characters that are ignored."""
    return text.translate(_ASCII_DELETED if text.isascii() else _DELETED)


def nearly_squeezed_lines(text: str) -> str:
    """Almost `squeezed_lines` and much faster: to see whether it is worth while."""
    return squeezed(text.replace("\\n", "").replace("\\r", ""))


def squeezed_lines(text: str) -> str:
    """`text` without what is ignored and without escaped line ends, as a wrapped value in JSON needs it."""
    return _WRAPPED.sub("", text)


class Places:
    """Where the characters of a squeezed text stood in the text it was made from."""

    def __init__(self, text: str, *, is_wrapped: bool = False) -> None:
        self._begins = [0]
        self._shifts = [0]
        shift = 0
        for gap in (_WRAPPED if is_wrapped else _IGNORED).finditer(text):
            self._begins.append(gap.start() - shift)
            shift += gap.end() - gap.start()
            self._shifts.append(shift)

    def original(self, at: int) -> int:
        """The place of the squeezed text's character `at`."""
        return at + self._shifts[bisect_right(self._begins, at) - 1]
