"""Layer 1: the secret values that Windlass itself holds or hands out, in every encoding.

One Aho-Corasick automaton over the squeezed text finds all forms of all values in one pass. `held` tells where a value
may have begun that the text has not shown to its end: nothing from there on may be written yet.
"""

from __future__ import annotations

from collections.abc import Iterable

import ahocorasick  # type: ignore[import-not-found]

from windlass.adapters.logs.hits import Hit
from windlass.adapters.logs.plain import Places, nearly_squeezed_lines, squeezed, squeezed_lines
from windlass.core.redaction import SHORTEST, encodings, pieces

RULE = "known-value"
_HEAD = 4
_SLACK = 2048


class KnownValues:
    """Finds these values. Values of fewer than eight characters are not looked for."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values = tuple(dict.fromkeys(v for v in values if len(v.strip()) >= SHORTEST))
        self._words: ahocorasick.Automaton | None = None
        self._longest = 0
        self._heads = ahocorasick.Automaton()
        self._build()
        self.reach = 2 * self._longest + _SLACK

    def _build(self) -> None:
        words: dict[str, int] = {}
        for number, value in enumerate(self._values):
            for form in (*encodings(value), *pieces(value)):
                word = squeezed(form)
                if len(word) >= SHORTEST:
                    words.setdefault(word, number)
        if not words:
            return
        self._words = ahocorasick.Automaton()
        for word, number in words.items():
            self._words.add_word(word, (number, len(word)))
        self._words.make_automaton()
        self._longest = max(map(len, words))
        for word in words:
            self._heads.add_word(word[:_HEAD], True)
        self._heads.make_automaton()

    def find(self, text: str) -> list[Hit]:
        """Every place where a value stands, in whatever form."""
        if self._words is None:
            return []
        found = self._look(squeezed(text), text, is_wrapped=False)
        if _has_escaped_lines(text) and next(self._words.iter(nearly_squeezed_lines(text)), None):
            found += self._look(squeezed_lines(text), text, is_wrapped=True)
        return found

    def _look(self, small: str, text: str, *, is_wrapped: bool) -> list[Hit]:
        assert self._words is not None
        seen = list(self._words.iter(small))
        if not seen:
            return []
        places = Places(text, is_wrapped=is_wrapped)
        found = []
        for last, (number, length) in seen:
            start, end = places.original(last - length + 1), places.original(last) + 1
            if end - start <= self.reach:
                found.append(Hit(start, end, RULE, self._values[number]))
        return found

    def held(self, text: str, *, shortest: int = 1) -> int:
        """Where the end of `text` may be the beginning of a value; its length when it cannot be.

        Beginnings of fewer than `shortest` characters do not count.
        """
        if self._words is None:
            return len(text)
        tail = text[-self.reach :]
        held = self._held(tail, squeezed(tail), shortest, is_wrapped=False)
        if _has_escaped_lines(tail):
            held = max(held, self._held(tail, squeezed_lines(tail), shortest, is_wrapped=True))
        return len(text) - held

    def _held(self, tail: str, small: str, shortest: int, *, is_wrapped: bool) -> int:
        """How many characters at the end of `tail` may be the beginning of a value."""
        at = self._prefix(small[-self._longest :], shortest)
        if not at:
            return 0
        size = at  # most often only a few, so map few
        while True:
            size = min(2 * size + 16, len(tail))
            part = tail[-size:]
            less = squeezed_lines(part) if is_wrapped else squeezed(part)
            if len(less) > at or size == len(tail):
                return len(part) - Places(part, is_wrapped=is_wrapped).original(max(0, len(less) - at))

    def _prefix(self, small: str, shortest: int) -> int:
        """The length of the longest end of `small` that is the beginning of a word."""
        assert self._words is not None
        size = len(small)
        begins = [last - _HEAD + 1 for last, _ in self._heads.iter(small)]
        for at in (*begins, *range(max(0, size - _HEAD + 1), size)):
            if size - at < shortest:
                break
            rest = small[at:]
            if self._words.longest_prefix(rest) == len(rest):
                return len(rest)
        return 0


def _has_escaped_lines(text: str) -> bool:
    return "\\n" in text or "\\r" in text
