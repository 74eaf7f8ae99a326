"""What the proxy decided, out of its access log. The log is the proxy's, the names in it are the run's: hostile text.

Refuses nothing; a line that is not understood is left out, and of a flood of decisions the first ones are told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from windlass.ports import Contact

MOST_CONTACTS = 1000
MOST_BYTES = 8 << 20
_LINE = re.compile(r"(\d{1,15}) ([A-Z_]{1,60}) (\S{1,200}) (\S{1,1000}) (\d{1,5}|-) (\d{1,18}) (\d{1,18})\n")
_DENIED = ("TCP_DENIED", "NONE_DENIED")


def contacts(log: Path) -> tuple[Contact, ...]:
    """The decisions in the order in which they ended, at most `MOST_CONTACTS`."""
    return tuple(found for found, _ in zip(_read(log), range(MOST_CONTACTS), strict=False))


def sent_bytes(log: Path) -> int:
    """What the run sent through the proxy, in all."""
    return sum(found.sent_bytes for found in _read(log))


def _read(log: Path) -> Iterator[Contact]:
    try:
        with log.open("rb") as file:
            text = file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return
    for found in _LINE.finditer(text):
        at_ms, verdict, method, host, port, sent, received = found.groups()
        if host == "-" and verdict.startswith("NONE"):
            continue  # a connection on which nothing was asked
        yield Contact(
            at_ms=int(at_ms),
            host=unquote(host)[:253],
            port=int(port) if port != "-" else 0,
            method=unquote(method)[:40],
            is_allowed=not verdict.startswith(_DENIED),
            sent_bytes=int(sent),
            received_bytes=int(received),
        )
