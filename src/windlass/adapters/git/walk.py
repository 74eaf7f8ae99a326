"""Looking at a directory that an agent wrote, as data.

Rule: every step goes from the root by open directory handles without following links, nothing but regular files is
ever opened, and each number (entries, depth, bytes) has a bound. What cannot be taken is told in one line, and left.
Blocking; called from threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from windlass.core.errors import Refused
from windlass.core.patch_guard import FILE_BYTES, PATH_BYTES

_CHUNK = 1 << 20
_SPECIAL = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """How much of an agent's directory is looked at and kept.

    `entries` in all, `depth` of directories, `changed_files` and `changed_bytes` that are stored, `file_bytes` of one.
    """

    entries: int = 1_000_000
    depth: int = 100
    changed_files: int = 20_000
    changed_bytes: int = 100_000_000
    file_bytes: int = FILE_BYTES


@dataclass(frozen=True, slots=True)
class Seen:
    """One entry of a directory. `kind`: file, link, directory, or what it is in words when it cannot be taken."""

    path: str
    kind: str
    size: int
    is_executable: bool
    links: int

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory (not a link to one)."""
        return self.kind == "directory"

    @property
    def mode(self) -> str:
        """git's mode of it."""
        if self.kind == "link":
            return "120000"
        return "100755" if self.is_executable else "100644"


@dataclass(frozen=True, slots=True)
class Content:
    """A file's or link's bytes by their blob id; `target` is a link's."""

    sha: str
    size: int
    target: str = ""


@contextlib.contextmanager
def opened(root: int, path: str) -> Iterator[int]:
    """A handle on a directory below `root`, no link followed on the way. Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    at = os.dup(root)
    try:
        for name in path.split("/") if path else ():
            below = os.open(name, flags, dir_fd=at)
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)


@contextlib.contextmanager
def opened_root(directory: Path) -> Iterator[int]:
    """A handle on the workspace. Raises Refused (workspace_missing) when it is not a directory, or is a link."""
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        hint = "the run's directory was removed or replaced; run again"
        raise Refused("the workspace is not a directory", hint=hint, code="workspace_missing") from None
    try:
        yield root
    finally:
        os.close(root)


def scan(root: int, directories: Sequence[str], room: int) -> tuple[list[Seen], list[str]]:
    """What lies in these directories, at most `room` + 1 entries, and the directories that cannot be read."""
    found: list[Seen] = []
    unreadable: list[str] = []
    for path in directories:
        try:
            with opened(root, path) as handle, os.scandir(handle) as entries:
                for entry in entries:
                    found.append(_seen(f"{path}/{entry.name}" if path else entry.name, entry))
                    if len(found) > room:
                        return found, unreadable
        except OSError:
            unreadable.append(path)
    return found, unreadable


def _seen(path: str, entry: os.DirEntry[str]) -> Seen:
    facts = entry.stat(follow_symlinks=False)
    kind = stat.S_IFMT(facts.st_mode)
    words = {stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFDIR: "directory"} | _SPECIAL
    is_executable = bool(facts.st_mode & stat.S_IXUSR)
    return Seen(path, words.get(kind, "something unknown"), facts.st_size, is_executable, facts.st_nlink)


def blob_id(data: bytes) -> str:
    """The id git gives these bytes as a blob."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def read(root: int, seen: Seen, cap: int) -> bytes:
    """The bytes of a file (at most `cap`), or a link's target. Raises OSError, ValueError when it is not that now."""
    parent, _, name = seen.path.rpartition("/")
    with opened(root, parent) as at:
        if seen.kind == "link":
            return os.fsencode(os.readlink(name, dir_fd=at))
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ValueError(seen.path)
            return _all(handle, cap)
        finally:
            os.close(handle)


def _all(handle: int, cap: int) -> bytes:
    found = bytearray()
    while chunk := os.read(handle, min(_CHUNK, cap + 1 - len(found))):
        found += chunk
        if len(found) > cap:
            raise ValueError("grew")
    return bytes(found)


def is_path_short(path: str, depth: int) -> bool:
    """Whether a directory may be entered."""
    return path.count("/") < depth and len(os.fsencode(path)) <= PATH_BYTES
