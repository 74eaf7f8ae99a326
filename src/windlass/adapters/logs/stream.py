"""A stream of bytes made clean, line by line, whatever pieces it comes in.

The unit is a line; a line above 32 KiB is several units, each looked at together with 4 KiB on either side. Units are
given out only when nothing that is still to come could change what is taken out of them: not while a known value may
have begun in them, not while a private key has not ended. So the output is the same for every cutting of the input,
and no secret slips through between two pieces. When looking fails, the line is left out, never let through.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType

from windlass.adapters.logs import pem
from windlass.adapters.logs.hits import Hit, merged
from windlass.adapters.logs.known import KnownValues
from windlass.adapters.logs.plain import without_escapes
from windlass.adapters.logs.rules import Rules
from windlass.ports import CleanLine

UNIT_BYTES = 32 * 1024
AROUND = 4 * 1024
CONTEXT_BYTES = 4 * AROUND
SHORT_BEGINNING = 8
NOTICE = "«windlass: this line could not be checked for secrets and is left out»"
FAILED = "unchecked-line"

log = logging.getLogger("windlass.redaction")

Sides = Mapping[int, tuple[str, str]]

_NOTHING: Mapping[str, int] = MappingProxyType({})


class Search:
    """Known values, keys and rules together, and how what they find is named. May be shared between threads."""

    def __init__(self, known: KnownValues, rules: Rules, key: bytes) -> None:
        self.known = known
        self.rules = rules
        self._key = key

    def mark(self, hit: Hit) -> str:
        """`«secret:RULE:hmac8»`: equal secrets have equal marks, and nothing can be learned from one."""
        tag = hmac.new(self._key, hit.secret.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:8]
        return f"«secret:{hit.rule}:{tag}»"

    def hits(self, units: Sequence[str], starts: Sequence[int], text: str, sides: Sides) -> list[Hit]:
        """Known values, and what the rules find in `units`; in a part of a long line also with its `sides`."""
        found = [*self.known.find(text), *self.rules.find(units, starts, text)]
        for number, (before, behind) in sides.items():
            window = before + units[number] + behind
            first, last = len(before), len(before) + len(units[number])
            shift = starts[number] - first
            found += [
                Hit(max(hit.start, first) + shift, min(hit.end, last) + shift, hit.rule, hit.secret)
                for hit in self.rules.find([window], [0], window)
                if hit.start < last and hit.end > first
            ]
        return found


class CleaningStream:
    """Fills ports.RedactionStream. Not to be shared between threads."""

    def __init__(self, search: Search, before: bytes = b"") -> None:
        self._search = search
        self._pending = bytearray()
        self._before = bytes(before[-CONTEXT_BYTES:])

    def add(self, data: bytes) -> Sequence[CleanLine]:
        """Take more in; what is decided by now."""
        self._pending += data
        return self._give(is_closing=False, shortest=1)

    def release(self) -> Sequence[CleanLine]:
        """Whole lines that were held back for a few characters only."""
        return self._give(is_closing=False, shortest=SHORT_BEGINNING)

    def close(self) -> Sequence[CleanLine]:
        """Everything that is left."""
        return self._give(is_closing=True, shortest=1)

    def _give(self, *, is_closing: bool, shortest: int) -> list[CleanLine]:
        ends = _unit_ends(self._pending, is_closing=is_closing)
        if not ends:
            return []
        begins = [0, *ends[:-1]]
        raw = [bytes(self._pending[a:b]) for a, b in zip(begins, ends, strict=True)]
        try:
            out = self._clean(raw, is_closing=is_closing, shortest=shortest)
        except Exception as error:
            log.exception("text could not be checked for secrets", extra={"kind": type(error).__name__})
            out = [self._clean_alone(unit) for unit in raw]
        taken = sum(line.raw_bytes for line in out)
        if taken:
            self._before = (self._before + bytes(self._pending[:taken]))[-CONTEXT_BYTES:]
            del self._pending[:taken]
        return out

    def _clean(self, raw: Sequence[bytes], *, is_closing: bool, shortest: int) -> list[CleanLine]:
        search = self._search
        units = _texts(raw)
        starts = list(accumulate(map(len, units[:-1]), initial=0))
        text = "".join(units)
        size = len(text)
        keys, open_at = pem.find(text, is_closing=is_closing)
        hits = merged([*keys, *search.hits(units, starts, text, self._sides(raw))])
        limit = size if is_closing else min(open_at, search.known.held(text, shortest=shortest))
        count = _settled(starts, size, limit, hits)
        return self._lines(raw, units, starts, count, hits)

    def _sides(self, raw: Sequence[bytes]) -> Sides:
        """What stands before and behind the units that are parts of long lines."""
        sides: dict[int, tuple[str, str]] = {}
        gone, at = self._before, 0
        for number, unit in enumerate(raw):
            at += len(unit)
            goes_on = not unit.endswith(b"\n")
            if goes_on or (gone and not gone.endswith(b"\n")):
                behind = bytes(self._pending[at : at + AROUND]) if goes_on else b""
                sides[number] = (_text(gone.rpartition(b"\n")[2])[-AROUND:], _text(behind.partition(b"\n")[0]))
            gone = unit[-CONTEXT_BYTES:]
        return sides

    def _lines(
        self, raw: Sequence[bytes], units: Sequence[str], starts: Sequence[int], count: int, hits: Sequence[Hit]
    ) -> list[CleanLine]:
        """The first `count` units with marks for hits; units that one hit connects become one line."""
        out: list[CleanLine] = []
        number, next_hit = 0, 0
        while number < count:
            begin, end = starts[number], starts[number] + len(units[number])
            if next_hit >= len(hits) or hits[next_hit].start >= end:
                out.append(CleanLine(text=units[number], raw_bytes=len(raw[number]), found=_NOTHING))
                number += 1
                continue
            first, mine = number, []
            while next_hit < len(hits) and hits[next_hit].start < end:
                mine.append(hits[next_hit])
                while hits[next_hit].end > end:
                    number += 1
                    end = starts[number] + len(units[number])
                next_hit += 1
            number += 1
            text = self._marked("".join(units[first:number]), begin, mine)
            size = sum(map(len, raw[first:number]))
            out.append(CleanLine(text=text, raw_bytes=size, found=dict(Counter(hit.rule for hit in mine))))
        return out

    def _marked(self, text: str, begin: int, hits: Sequence[Hit]) -> str:
        parts, at = [], 0
        for hit in hits:
            parts += [text[at : hit.start - begin], self._search.mark(hit)]
            at = hit.end - begin
        rest = text[at:]
        newline = "\n" if text.endswith("\n") and not rest else ""
        return "".join(parts) + rest + newline

    def _clean_alone(self, unit: bytes) -> CleanLine:
        """One unit that others are not to be lost for; a notice when it cannot be checked."""
        try:
            text = _text(unit)
            hits, _ = pem.find(text, is_closing=True)
            found = self._search.hits([text], [0], text, {})
            (line,) = self._lines([unit], [text], [0], 1, merged([*hits, *found]))
        except Exception:  # noqa: BLE001 - whatever it is, the line must not pass
            newline = "\n" if unit.endswith(b"\n") else ""
            return CleanLine(text=NOTICE + newline, raw_bytes=len(unit), found={FAILED: 1})
        return line


def _text(data: bytes) -> str:
    return without_escapes(data.decode("utf-8", "replace"))


def _texts(raw: Sequence[bytes]) -> Sequence[str]:
    """The units as text without escapes; all at once where they are whole lines."""
    if all(unit.endswith(b"\n") for unit in raw):
        text = _text(b"".join(raw))
        units = text.splitlines(keepends=True) if _has_plain_line_ends(text) else _split(text)
        if len(units) == len(raw):
            return units
    return [_text(unit) for unit in raw]


def _has_plain_line_ends(text: str) -> bool:
    return text.isascii() and not any(c in text for c in "\r\x0b\x0c\x1c\x1d\x1e")


def _split(text: str) -> list[str]:
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _unit_ends(pending: bytearray, *, is_closing: bool) -> list[int]:
    """Where the complete units of `pending` end."""
    ends: list[int] = []
    at, size = 0, len(pending)
    while at < size:
        newline = pending.find(b"\n", at)
        end = newline + 1 if newline >= 0 else size
        while end - at > UNIT_BYTES and (newline >= 0 or is_closing or end - at >= UNIT_BYTES + AROUND):
            at = _fold(pending, at)
            ends.append(at)
        if newline < 0 and not is_closing:
            break
        ends.append(end)
        at = end
    return ends


def _fold(pending: bytearray, at: int) -> int:
    """Where a long line is divided: not inside a character, not inside a short terminal escape."""
    end = at + UNIT_BYTES
    for _ in range(3):
        if pending[end] & 0xC0 != 0x80:
            break
        end -= 1
    escape = pending.rfind(b"\x1b", end - 32, end)
    return escape if escape >= 0 else end


def _settled(starts: Sequence[int], size: int, limit: int, hits: Sequence[Hit]) -> int:
    """How many units lie before `limit` without a hit that goes over the end of the last of them."""
    count = len(starts) if limit >= size else bisect_right(starts, limit) - 1
    while 0 < count < len(starts):
        border = starts[count]
        at = bisect_left(hits, border, key=lambda hit: hit.start) - 1
        if at < 0 or hits[at].end <= border:
            break
        count = bisect_right(starts, hits[at].start) - 1
    return count
