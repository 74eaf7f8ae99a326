"""What a container printed, into the run's output file: once each byte, also when somebody else took the first ones.

The engine keeps a bounded log. After a restart of Windlass it is read again and what the file has already is skipped,
found by its position and held to its last bytes. Where the engine's log was turned over in between, that is said in
the file: bytes are then missing, never doubled without a word.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from windlass.adapters.runners.shim.output import Output

MARK_BYTES, LEAST_MARK = 4096, 16
GAP = b"\n[windlass: some output from here is missing, the engine no longer had it]\n"


class Recording:
    """The output of one run. Several readers may feed it, one after another."""

    def __init__(self, path: Path, limit: int, *, goes_on: bool) -> None:
        self._output = Output(str(path), limit, goes_on=goes_on)
        self._taken = self._output.total  # of what the engine keeps; notes of ours are not among it
        self._mark = _end_of(path) if goes_on else b""
        self._noted = 0

    @property
    def total(self) -> int:
        """Bytes printed so far."""
        return self._output.total - self._noted

    def add(self, data: bytes) -> None:
        """What comes next."""
        self._output.add(data)
        self._taken += len(data)
        self._mark = (self._mark + data)[-MARK_BYTES:]

    def note(self, text: bytes) -> None:
        """A word of ours in the output."""
        self._noted += len(text)
        self._output.add(text)

    async def catch_up(self, log: AsyncIterator[bytes]) -> bool:
        """Take what a log, read from its beginning to its present end, has beyond what was taken; True for anything."""
        whole = bytearray()
        async for data in log:
            whole += data
        fresh, is_whole = beyond(bytes(whole), self._taken, self._mark)
        if not is_whole:
            self.note(GAP)
        if fresh:
            self.add(fresh)
        return bool(fresh)

    def close(self) -> None:
        """Write the tail."""
        self._output.close()


def beyond(log: bytes, taken: int, mark: bytes) -> tuple[bytes, bool]:
    """(what of `log` comes after the first `taken` bytes, which end with `mark`; whether nothing is missing)."""
    if len(log) >= taken and log[:taken].endswith(mark):
        return log[taken:], True
    at = log.rfind(mark) if len(mark) >= LEAST_MARK else -1
    return (log[at + len(mark) :], True) if at >= 0 else (log, False)


def _end_of(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MARK_BYTES))
        return file.read()
