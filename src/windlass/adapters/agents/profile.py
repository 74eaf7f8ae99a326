"""A copy of an editor's prepared profile for one run: the run may spoil it, and never reaches the operator's own.

Only directories and regular files are copied; links, sockets and pipes are not (an editor leaves a link as its lock,
and a copied lock keeps it from starting). Left out as well: caches, logs, and what tells of the operator's other work.
Refuses a profile that is not there, cannot be read, or is so large that it is surely the wrong directory.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from windlass.core.errors import Refused

MAX_FILES = 20_000
MAX_BYTES = 1 << 30
# Of VS Code and of the browser inside it, at any depth.
LEFT_OUT = frozenset(
    {
        *("SingletonLock", "SingletonCookie", "SingletonSocket", "code.lock", "lockfile"),
        *("Cache", "CachedData", "CachedProfilesData", "CachedExtensionVSIXs", "Code Cache", "GPUCache"),
        *("DawnCache", "DawnGraphiteCache", "DawnWebGPUCache", "Service Worker", "VideoDecodeStats"),
        *("logs", "Crashpad", "Crash Reports", "Backups", "History", "workspaceStorage"),
    }
)


def check(profile: Path) -> None:
    """Raises Refused (agent_unusable) when it cannot be a profile."""
    if not profile.is_dir():
        raise _unusable(f"there is no directory {profile}")
    if not os.access(profile, os.R_OK | os.X_OK):
        raise _unusable(f"{profile} cannot be read")


def copy(profile: Path, target: Path) -> None:
    """Make `target`, mode 0700, a fresh copy. Raises Refused (agent_unusable)."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(mode=0o700, parents=True)
    files = size = 0
    try:
        for entry, place in _entries(profile, target):
            if entry.is_dir(follow_symlinks=False):
                place.mkdir()
                continue
            files, size = files + 1, size + entry.stat(follow_symlinks=False).st_size
            if files > MAX_FILES or size > MAX_BYTES:
                raise _unusable(f"{profile} has more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB")
            shutil.copyfile(entry.path, place, follow_symlinks=False)
            place.chmod(0o600)
    except OSError as error:
        raise _unusable(f"{error.filename} cannot be copied: {error.strerror}") from error


def _entries(folder: Path, target: Path) -> Iterator[tuple[os.DirEntry[str], Path]]:
    """What counts below a directory, each directory before what is in it, and where it goes."""
    with os.scandir(folder) as found:
        kept = [entry for entry in found if entry.name not in LEFT_OUT]
    for entry in sorted(kept, key=lambda one: one.name):
        if entry.is_dir(follow_symlinks=False):
            yield entry, target / entry.name
            yield from _entries(Path(entry.path), target / entry.name)
        elif entry.is_file(follow_symlinks=False):
            yield entry, target / entry.name


def _unusable(why: str) -> Refused:
    hint = "prepare a profile of its own for the agent and name it in agents.NAME.profile, see docs/windsurf.md"
    return Refused(f"the agent's profile: {why}", code="agent_unusable", hint=hint)
