"""What is known of objects in a mirror, so that git is not asked twice for what cannot change.

Rule: only facts about immutable objects that are there are kept (a commit's tree, the tree that a diff makes), never
where a branch is or that something is missing. A mirror that was removed and made again is another mirror.
"""

from __future__ import annotations

from pathlib import Path

MOST_FACTS = 10_000


class Memory:
    """Facts by mirror. Forgets all of a mirror's when there are too many: they are cheap to learn again."""

    def __init__(self) -> None:
        self._facts: dict[tuple[str, int, int], dict[str, str]] = {}

    def of(self, mirror: Path) -> dict[str, str]:
        """What is known of this mirror, to read and to add to."""
        seen = (mirror / "HEAD").stat()
        facts = self._facts.setdefault((str(mirror), seen.st_ino, seen.st_mtime_ns), {})
        if len(facts) > MOST_FACTS:
            facts.clear()
        return facts
