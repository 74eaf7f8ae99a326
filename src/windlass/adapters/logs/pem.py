"""Private keys in PEM, over as many lines as they take: from their first line to their last, or as far as they go.

A header alone is no key: source code that only names it stays readable. A key that never ends is taken out up to
64 KiB. Kept simple on purpose: a line belongs to a key when it is one piece of base64, holds a long piece, is a PEM
header field, or is blank.
"""

from __future__ import annotations

import re
from typing import Final

from windlass.adapters.logs.hits import Hit

RULE = "private-key"
LONGEST = 64 * 1024
_BEGIN: Final = re.compile(r"-----BEGIN[ A-Z0-9_-]{0,60}PRIVATE KEY(?: BLOCK)?-----")
_END: Final = re.compile(r"-----END[ A-Z0-9_-]{0,60}PRIVATE KEY(?: BLOCK)?-----")
_BODY: Final = re.compile(r"[A-Za-z0-9+/=]{16}")
_LONG: Final = re.compile(r"[A-Za-z0-9+/=]{40}")
_ONE_PIECE: Final = re.compile(r"[^A-Za-z0-9+/=\n]*[A-Za-z0-9+/=]+[^A-Za-z0-9+/=\n]*\n?")
_FIELD: Final = re.compile(r"\W*(?:Proc-Type|DEK-Info|Comment|Version|Hash|Charset)\s*:")


def find(text: str, *, is_closing: bool) -> tuple[list[Hit], int]:
    """(keys in `text`, where a key begins that may go on behind it). The latter is the text's length when none does."""
    hits: list[Hit] = []
    at = 0
    while "PRIVATE KEY" in text:
        begin = _BEGIN.search(text, at)
        if begin is None:
            break
        end, is_open, has_body = _end(text, begin.end(), begin.start() + LONGEST)
        if is_open and not is_closing:
            return hits, begin.start()
        if has_body:
            hits.append(Hit(begin.start(), end, RULE, text[begin.start() : end]))
        at = max(end, begin.end()) if has_body else begin.end()
    return hits, len(text)


def _end(text: str, at: int, limit: int) -> tuple[int, bool, bool]:
    """(where the key ends, whether it may go on behind the text, whether it has a body)."""
    line_end = _line_end(text, at)
    rest = text[at:line_end]
    last = _END.search(rest)
    if last is not None:
        return at + last.end(), False, _BODY.search(rest, 0, last.start()) is not None
    has_body = _BODY.search(rest) is not None
    if not has_body and re.search(r"[A-Za-z0-9]", rest):
        return at, False, False
    while line_end < min(len(text), limit):
        start, line_end = line_end, _line_end(text, line_end)
        line = text[start:line_end]
        last = _END.search(line)
        if last is not None:
            return start + last.end(), False, has_body or _BODY.search(line, 0, last.start()) is not None
        if not (line.isspace() or _ONE_PIECE.fullmatch(line) or _LONG.search(line) or _FIELD.match(line)):
            return start, False, has_body
        has_body = has_body or _BODY.search(line) is not None
    return min(line_end, limit), line_end < limit, has_body


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1
