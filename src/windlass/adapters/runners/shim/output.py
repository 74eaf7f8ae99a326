"""What a run printed, kept within a limit: the head at once in the file, of the rest only the newest bytes.

Printing without end neither fills the disk nor slows the printer, and is no reason to end a run.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque

TAIL_BYTES = 1 << 20
SMALL_BYTES = 4096


class Output:
    """What was printed: the head goes to the file at once, of the rest only the newest bytes are kept in memory."""

    def __init__(self, path: str, limit: int, *, goes_on: bool = False) -> None:
        """`goes_on`: behind what somebody before us wrote of the same run; `total` tells how much that is."""
        fresh = os.O_APPEND if goes_on else os.O_TRUNC
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | fresh | os.O_CLOEXEC, 0o600)
        self._tail_limit = min(limit // 2, TAIL_BYTES)
        self._head_left = limit - self._tail_limit
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.total = self._kept = self._found()

    def _found(self) -> int:
        size = os.fstat(self._file).st_size
        if size > self._head_left:  # a tail was written, but not the result: it is read once more
            os.ftruncate(self._file, self._head_left)
        found = min(size, self._head_left)
        self._head_left -= found
        return found

    def add(self, data: bytes) -> None:
        self.total += len(data)
        head, rest = data[: self._head_left], data[self._head_left :]
        if head:
            self._head_left -= self._write(head)
        if rest:
            if self._tail and len(self._tail[-1]) < SMALL_BYTES:
                self._tail[-1] += rest
            else:
                self._tail.append(rest)
            self._tail_bytes += len(rest)
        while self._tail and self._tail_bytes - len(self._tail[0]) >= self._tail_limit:
            self._tail_bytes -= len(self._tail.popleft())

    def close(self) -> None:
        tail = b"".join(self._tail)[-self._tail_limit :] if self._tail_limit else b""
        left_out = self.total - self._kept - len(tail)
        if left_out > 0:
            self._write(b"\n[windlass: %d bytes left out here]\n" % left_out)
        self._write(tail)
        os.close(self._file)

    def _write(self, data: bytes) -> int:
        view, written = memoryview(data), 0
        with contextlib.suppress(OSError):  # a full disk must not end the run
            while written < len(data):
                written += os.write(self._file, view[written:])
        self._kept += written
        return len(data)
