"""How many lines a change adds to and takes from each file, read from `git diff` output for people to see.

Counts what hunk headers announce and nothing else, so a line that looks like a header changes nothing. Names that git
quotes and binary files are left out. Never raises.
"""

from __future__ import annotations

import re

_HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


def line_counts(diff: bytes) -> dict[str, tuple[int, int]]:
    """Path → (lines added, lines removed)."""
    counts: dict[str, tuple[int, int]] = {}
    path, old_left, new_left = "", 0, 0
    for line in diff.split(b"\n"):
        if old_left > 0 or new_left > 0:
            sign = line[:1]
            old_left -= sign in (b"-", b" ", b"")
            new_left -= sign in (b"+", b" ", b"")
            added, removed = counts[path]
            counts[path] = (added + (sign == b"+"), removed + (sign == b"-"))
        elif line.startswith((b"--- a/", b"+++ b/")):
            path = line[6:].rstrip(b"\t").decode("utf-8", "replace")
        elif line.startswith(b"diff --git "):
            path = ""
        elif path and (hunk := _HUNK.match(line)) is not None:
            old_left, new_left = int(hunk[1] or 1), int(hunk[2] or 1)
            counts.setdefault(path, (0, 0))
    return counts
