"""What an agent's directory holds that is not as at the start.

Rule: tracked paths always count, untracked ones unless they are noise, leftovers of tools, or ignored by the start
tree; a path that cannot be taken stays as it was and is named in a refusal, so that the rest of the work is kept.
Refuses directories without bound: past the caps nothing is taken at all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from windlass.adapters.git import walk
from windlass.adapters.git.ignore import LEFTOVERS, StartIgnores
from windlass.adapters.git.trees import Entry
from windlass.adapters.git.walk import Caps, Content, Seen
from windlass.core.patch_guard import GITLINK_MODE, is_git_directory, matches_any, shown


@dataclass(slots=True)
class Survey:
    """One look at one directory. Bytes that changed are written to `place`, each file named by its blob id.

    `files` are the entries that count, `changed` their new contents, `kept` tracked paths (and directories of such)
    that stay as they were, `refusals` one line per cause; `is_complete` is False when a cap was met.
    """

    directory: Path
    place: Path
    entries: Mapping[str, Entry]
    noise: Sequence[str]
    caps: Caps
    files: dict[str, Seen] = field(default_factory=dict)
    changed: dict[str, Content] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)
    is_complete: bool = True
    _parents: set[str] = field(default_factory=set)
    _submodules: set[str] = field(default_factory=set)

    async def run(self, ignores: StartIgnores) -> None:
        """Walk, then read. Raises Refused (workspace_missing)."""
        self._parents = {parent for path in self.entries for parent in parents(path)}
        self._submodules = {path for path, entry in self.entries.items() if entry.mode == GITLINK_MODE}
        with walk.opened_root(self.directory) as root:
            await self._walk(root, ignores)
            if self.is_complete:
                await asyncio.to_thread(self._read, root)

    def gone(self) -> list[str]:
        """Tracked paths that are not there any more."""
        return [path for path in self.entries if path not in self.files and not self._stays(path)]

    def _stays(self, path: str) -> bool:
        if path in self._submodules or path in self.kept or matches_any(self.noise, path):
            return True
        return bool(self.kept) and any(parent in self.kept for parent in parents(path))

    async def _walk(self, root: int, ignores: StartIgnores) -> None:
        level, room = [""], self.caps.entries
        while level:
            seen, unreadable = await asyncio.to_thread(walk.scan, root, level, room)
            for path in unreadable:
                self._keep(path, "cannot be read; make it readable or remove it")
            if "" in unreadable:
                self._give_up("the workspace itself cannot be read; make it readable")
                return
            room -= len(seen)
            if room < 0:
                self._give_up(f"more than {self.caps.entries} files and directories; remove what is not needed")
                return
            counted = await self._counted(seen, ignores)
            level = [entry.path for entry in seen if entry.path in counted and self._take(entry)]

    async def _counted(self, seen: Sequence[Seen], ignores: StartIgnores) -> set[str]:
        """The paths that are, or may lead to, part of the change."""
        tracked = {entry.path for entry in seen if self._is_tracked(entry)}
        litter = (*LEFTOVERS, *self.noise)
        new = [
            e for e in seen if e.path not in tracked and not matches_any(litter, e.path, is_directory=e.is_directory)
        ]
        ignored = await ignores.ignored([entry for entry in new if not is_git_directory(entry.name)])
        noise = {path for path in tracked & self.entries.keys() if matches_any(self.noise, path)}
        return (tracked - noise) | ({entry.path for entry in new} - ignored)

    def _is_tracked(self, seen: Seen) -> bool:
        return seen.path in self._parents if seen.is_directory else seen.path in self.entries

    def _take(self, seen: Seen) -> bool:
        """Sort one entry in; True when it is a directory to look into."""
        if self._submodules and any(parent in self._submodules for parent in parents(seen.path)):
            self._keep(seen.path, "is inside a submodule, which is another repository; remove it")
        elif is_git_directory(seen.name):
            self._keep(seen.path, "is, or passes for, a git directory; remove it")
        elif seen.is_directory and not walk.is_path_short(seen.path, self.caps.depth):
            self._keep(seen.path, "is nested too deeply; remove it")
        elif seen.is_directory:
            return True
        elif seen.kind not in {"file", "link"}:
            self._keep(seen.path, f"is {seen.kind}; remove it")
        elif seen.size > self.caps.file_bytes and not self._is_same_size(seen):
            self._keep(seen.path, f"is larger than {self.caps.file_bytes} bytes; leave it out or make it smaller")
        else:
            self.files[seen.path] = seen
        return False

    def _keep(self, path: str, why: str) -> None:
        """Leave a path as it was at the start, and say so."""
        self.kept.add(path)
        self.files.pop(path, None)
        self.refusals.append(f"{shown(path)} {why}")

    def _give_up(self, why: str) -> None:
        self.is_complete = False
        self.refusals.append(why)

    def _is_same_size(self, seen: Seen) -> bool:
        entry = self.entries.get(seen.path)
        return entry is not None and entry.size == seen.size

    def _read(self, root: int) -> None:
        """Find the contents that changed, within the caps."""
        left = self.caps.changed_bytes
        for seen in tuple(self.files.values()):
            if not self._is_same_size(seen) and (len(self.changed) >= self.caps.changed_files or seen.size > left):
                self._give_up("the change is too large to keep; remove generated files or ask for less")
                return
            left -= self._compare(root, seen)

    def _compare(self, root: int, seen: Seen) -> int:
        """Read one entry and keep its bytes when they are new; how many."""
        try:
            data = walk.read(root, seen, max(self.caps.file_bytes, seen.size if self._is_same_size(seen) else 0))
        except (OSError, ValueError):
            self._keep(seen.path, "cannot be read; make it readable or remove it")
            return 0
        sha = walk.blob_id(data)
        entry = self.entries.get(seen.path)
        if entry is not None and (entry.sha, entry.mode) == (sha, seen.mode):
            return 0
        if seen.kind == "file" and seen.links > 1:
            self._keep(seen.path, "is a hard link; write it as a file of its own")
            return 0
        (self.place / sha).write_bytes(data)
        self.changed[seen.path] = Content(sha, len(data), os.fsdecode(data) if seen.kind == "link" else "")
        return len(data)


def parents(path: str) -> Iterator[str]:
    """The directories a path lies in, innermost first, without the root."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
