"""Fills ports.Redactor: the one place that every text goes through before Windlass writes it anywhere.

Kept: what cannot be checked is left out; equal secrets get equal marks under a key that never leaves the state
directory. Refused: keys that are too short to keep a guessed secret from being confirmed.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from windlass.adapters.logs.known import KnownValues
from windlass.adapters.logs.rules import Rules, maintained
from windlass.adapters.logs.stream import CleaningStream, Search
from windlass.core.errors import Refused

_KEY_BYTES = 32


class SecretRedactor:
    """Takes `known` values and whatever the rules know out of texts and streams. May be shared between threads."""

    def __init__(self, *, key: bytes, known: Iterable[str] = (), rules: Rules | None = None) -> None:
        if len(key) < _KEY_BYTES // 2:
            raise Refused("the redaction key is too short", code="bad_key", hint="16 random bytes or more")
        self._key = key
        self._values = tuple(known)
        self._search = Search(KnownValues(self._values), rules or maintained(), key)

    def redact(self, text: str) -> tuple[str, Mapping[str, int]]:
        """(the text without terminal escapes and secrets, rule → number taken out)."""
        stream = self.stream()
        data = text.encode("utf-8", "replace")
        lines = [*stream.add(data), *stream.close()]
        found: Counter[str] = Counter()
        for line in lines:
            found.update(line.found)
        return "".join(line.text for line in lines), dict(found)

    def stream(self, before: bytes = b"") -> CleaningStream:
        """For text that comes in pieces."""
        return CleaningStream(self._search, before)

    def plus(self, values: Iterable[str]) -> SecretRedactor:
        """The same with more known values."""
        return SecretRedactor(key=self._key, known=(*self._values, *values), rules=self._search.rules)


def correlation_key(path: Path) -> bytes:
    """The key of the marks, kept in a file of mode 0600 that is made when it is not there. Raises Refused (bad_key)."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, secrets.token_bytes(_KEY_BYTES))
        os.fsync(fd)
    finally:
        os.close(fd)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was faster: its key holds
    finally:
        draft.unlink()
    return path.read_bytes()
