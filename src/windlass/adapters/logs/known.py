"""Layer 1: the secret values that Windlass itself holds or hands out, in every encoding.

One Aho-Corasick automaton over the squeezed text finds all forms of all values in one pass. `held` tells where a value
may have begun that the text has not shown to its end: nothing from there on may be written yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import ahocorasick  # type: ignore[import-not-found]

from windlass.adapters.logs.hits import Hit
from windlass.adapters.logs.plain import Places, squeezed, squeezed_lines
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
        self._heads: set[str] = set()
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
        self._heads = {word[:_HEAD] for word in words}

    def find(self, text: str) -> list[Hit]:
        """Every place where a value stands, in whatever form."""
        if self._words is None:
            return []
        found = list(self._look(squeezed(text), text, is_wrapped=False))
        if "\\n" in text or "\\r" in text:
            found += self._look(squeezed_lines(text), text, is_wrapped=True)
        return found

    def _look(self, small: str, text: str, *, is_wrapped: bool) -> Iterator[Hit]:
        assert self._words is not None
        seen = list(self._words.iter(small))
        if not seen:
            return
        places = Places(text, is_wrapped=is_wrapped)
        for last, (number, length) in seen:
            start, end = places.original(last - length + 1), places.original(last) + 1
            if end - start <= self.reach:
                yield Hit(start, end, RULE, self._values[number])

    def held(self, text: str, *, shortest: int = 1) -> int:
        """Where the end of `text` may be the beginning of a value; its length when it cannot be.

        Beginnings of fewer than `shortest` characters do not count.
        """
        if self._words is None:
            return len(text)
        begin = max(0, len(text) - self.reach)
        tail = text[begin:]
        at = self._prefix(squeezed(tail), shortest)
        held = begin + Places(tail).original(at) if at is not None else len(text)
        if "\\n" in tail or "\\r" in tail:
            at = self._prefix(squeezed_lines(tail), shortest)
            if at is not None:
                held = min(held, begin + Places(tail, is_wrapped=True).original(at))
        return held

    def _prefix(self, small: str, shortest: int) -> int | None:
        """The earliest place from which on `small` is the beginning of a longer word."""
        assert self._words is not None
        for at in range(max(0, len(small) - self._longest + 1), len(small) - shortest + 1):
            tail = small[at : at + _HEAD]
            if len(tail) == _HEAD and tail not in self._heads:
                continue
            rest = small[at:]
            if self._words.longest_prefix(rest) == len(rest):
                return at
        return None
