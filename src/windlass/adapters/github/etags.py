"""Answers that the forge need not send again: the newest ones, up to so many bytes.

An answer is used only after the forge has said 304 to the very credential that asks, so nobody sees through this
what the forge would not show. Source: docs.github.com, "Use conditional requests": a 304 costs no rate limit.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from windlass.adapters.github.answers import Answer

KEPT_HEADERS = ("content-type", "etag", "link")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """An answer with status 200 and the tag that asks for news about it."""

    etag: str
    answer: Answer


class EtagCache:
    """Least recently used answers go first. `max_bytes` counts bodies and keys."""

    def __init__(self, *, max_bytes: int = 16 << 20) -> None:
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._kept: OrderedDict[str, Remembered] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """What is held now."""
        return self._size_bytes

    def find(self, key: str) -> Remembered | None:
        """What was answered last, and is worth asking for with If-None-Match."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: str, answer: Answer) -> None:
        """Remember a successful answer that has a tag; one larger than an eighth of the whole is not worth it."""
        self._drop(key)
        etag = answer.headers.get("etag", "")
        if answer.status != 200 or not etag or len(answer.body) > self._max_bytes // 8:
            return
        headers = {k: answer.headers[k] for k in KEPT_HEADERS if k in answer.headers}
        self._kept[key] = Remembered(etag=etag, answer=Answer(status=200, headers=headers, body=answer.body))
        self._size_bytes += len(key) + len(answer.body)
        while self._size_bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._size_bytes -= len(key) + len(gone.answer.body)
