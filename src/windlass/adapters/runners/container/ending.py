"""Whether a run has said that it is over, in a file of its own (`ports.Ending`).

The file lies in a directory that the agent owns: it is opened without following a link or waiting for a writer, and
only its end is read.
"""

from __future__ import annotations

import os
import re
import stat
import time
from pathlib import Path

from windlass.ports import Ending

TAIL_BYTES = 4096


class EndingWatch:
    """Looks for the last line that ends a run, and gives the run its grace."""

    def __init__(self, workdir: Path, ending: Ending | None) -> None:
        self._workdir = workdir
        self._ending = ending
        self._pattern = re.compile(ending.pattern) if ending else None
        self._seen_at: float | None = None

    def is_due(self) -> bool:
        """Whether the last line was there, and its grace has passed."""
        if self._ending is None or self._pattern is None:
            return False
        if not self._pattern.search(last_line(self._workdir, self._ending.file)):
            self._seen_at = None
            return False
        if self._seen_at is None:
            self._seen_at = time.monotonic()
        return time.monotonic() - self._seen_at >= self._ending.grace_s


def last_line(workdir: Path, name: str) -> str:
    """The last line of a regular file that is not blank, at most its last 4 KiB; '' when there is none."""
    try:
        fd = os.open(workdir / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return ""
        lines = os.pread(fd, TAIL_BYTES, max(0, found.st_size - TAIL_BYTES)).decode("utf-8", "replace").split("\n")
    finally:
        os.close(fd)
    return next((line for line in reversed(lines) if line.strip()), "")
