"""An answer on its way to the run: each event is read before the run sees it, and the real key never passes.

Nothing is delayed but what has to be: a piece that may be the beginning of the key, and, where an event of our own
asking has to be kept back, the event that is not whole yet. Memory is bounded: an event above the limit passes unread.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress

from windlass.adapters.gateway.dialects.dialect import Reader

MASK = b"[redacted]"
MAX_EVENT_BYTES = 16 << 20
MAX_ANSWER_BYTES = 32 << 20
_BLANK = re.compile(rb"\r?\n\r?\n")


class Masked:
    """A stream without a secret, however it is cut into pieces."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """More of the stream; what may go on."""
        data = (self._held + data).replace(self._secret, MASK)
        keep = self._beginning(data)
        self._held = data[len(data) - keep :]
        return data[: len(data) - keep] if keep else data

    def end(self) -> bytes:
        """What was held back."""
        held, self._held = self._held, b""
        return held

    def _beginning(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of the secret."""
        longest = min(len(self._secret) - 1, len(data))
        at = data.find(self._secret[:1], len(data) - longest) if longest > 0 else -1
        while at >= 0:
            if self._secret.startswith(data[at:]):
                return len(data) - at
            at = data.find(self._secret[:1], at + 1)
        return 0


class Passing:
    """An answer that nothing has to be read from."""

    def feed(self, data: bytes) -> bytes:
        """As it is."""
        return data

    def end(self) -> bytes:
        """Nothing is held."""
        return b""


class Whole:
    """A JSON answer: passes at once and is read when it has ended."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        """As it is."""
        self._size += len(data)
        if self._size <= MAX_ANSWER_BYTES:
            self._pieces.append(data)
        else:
            self._pieces.clear()
        return data

    def end(self) -> bytes:
        """Read it."""
        with suppress(ValueError, RecursionError):  # then it does not say what was used
            self._reader.whole(json.loads(b"".join(self._pieces)))
        return b""


class Events:
    """Server-sent events. `can_hide`: some may have to be kept back, so that only whole ones go on."""

    def __init__(self, reader: Reader, *, can_hide: bool) -> None:
        self._reader = reader
        self._can_hide = can_hide
        self._open = bytearray()

    def feed(self, data: bytes) -> bytes:
        """More of the stream; what may go on."""
        shown = [event for event in self._events(data) if self._read(event)]
        return b"".join(shown) if self._can_hide else data

    def end(self) -> bytes:
        """What did not end with a blank line."""
        last = bytes(self._open)
        self._open.clear()
        return last if self._read(last) and self._can_hide else b""

    def _events(self, data: bytes) -> Iterator[bytes]:
        look = max(0, len(self._open) - 3)
        self._open += data
        while end := _BLANK.search(self._open, look):
            yield bytes(self._open[: end.end()])
            del self._open[: end.end()]
            look = 0
        if len(self._open) > MAX_EVENT_BYTES:
            yield bytes(self._open)
            self._open.clear()

    def _read(self, event: bytes) -> bool:
        """Whether it goes on."""
        if len(event) > MAX_EVENT_BYTES:
            return True
        lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
        return not lines or self._reader.event(b"\n".join(lines))


Flow = Passing | Whole | Events


class Outflow:
    """The two together: read, then masked."""

    def __init__(self, flow: Flow, secret: bytes) -> None:
        self._flow = flow
        self._masked = Masked(secret)

    def feed(self, data: bytes) -> bytes:
        """More of the answer; what may go on."""
        return self._masked.feed(self._flow.feed(data))

    def end(self) -> bytes:
        """The answer has ended as it should: what is left of it."""
        return self._masked.feed(self._flow.end()) + self._masked.end()


def flow_of(kind: str, reader: Reader | None, *, can_hide: bool) -> Flow:
    """How an answer of this content type is read."""
    if reader is None:
        return Passing()
    return Events(reader, can_hide=can_hide) if kind.startswith("text/event-stream") else Whole(reader)
