"""How much of the machine's disk a run holds: its work directory, and files it has deleted but keeps open.

A private /tmp is in memory and has a size; the work directory is a place on the machine's own disk, and hardly any file
system holds a directory to one. So it is counted, a slice at a time, in longer slices while the disk is filling up.
Nothing is opened or followed: the directory belongs to the agent. A run that is over its limit is ended by who asks.
"""
# ruff: noqa: PTH116, PTH208 - pathlib doubles the time this takes to start

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator

from windlass.adapters.runners.shim.files import Spec

SLICE_S, LONG_SLICE_S = 0.02, 0.15
PAUSE_S = 1.0
STEP = 200
BLOCK_BYTES = 512


class Space:
    """One run's use of the disk. `disk`: `path`, and how many `bytes` and `files` it may hold; 0 is no limit."""

    def __init__(self, disk: Spec | None, processes: Callable[[], Iterable[int]]) -> None:
        self._path: str = disk["path"] if disk else ""
        self._most_bytes: int = disk["bytes"] if disk else 0
        self._most_files: int = disk["files"] if disk else 0
        self._processes = processes
        self._walk: Iterator[None] | None = None
        self._rests_until = 0.0
        self._bytes = self._files = 0
        self._free_at_first = self._free()

    def over(self) -> str:
        """What it holds too much of, as far as is known by now, or ''. To be asked a few times a second."""
        if not self._path or not (self._most_bytes or self._most_files) or time.monotonic() < self._rests_until:
            return ""
        if self._walk is None:
            self._bytes = self._files = 0
            self._walk = self._count()
        until = time.monotonic() + (LONG_SLICE_S if self._is_filling() else SLICE_S)
        for _ in self._walk:
            if self._verdict() or time.monotonic() > until:
                return self._verdict()
        self._walk = None
        self._rests_until = time.monotonic() + PAUSE_S
        return self._verdict()

    def _verdict(self) -> str:
        if self._most_bytes and self._bytes > self._most_bytes:
            return f"the work directory holds more than {self._most_bytes} bytes"
        if self._most_files and self._files > self._most_files:
            return f"the work directory holds more than {self._most_files} files"
        return ""

    def _count(self) -> Iterator[None]:
        folders = [self._path]
        while folders:
            with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
                for number, entry in enumerate(entries):
                    self._add(entry, folders)
                    if number % STEP == STEP - 1:
                        yield
            yield
        self._add_deleted()

    def _add(self, entry: os.DirEntry[str], folders: list[str]) -> None:
        self._files += 1
        with contextlib.suppress(OSError):
            self._bytes += entry.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)

    def _add_deleted(self) -> None:
        """Files that have no name any more and take their place as long as somebody keeps them open."""
        with contextlib.suppress(OSError):
            here = os.lstat(self._path).st_dev
            seen = set()
            for pid in self._processes():
                for found in _open_files(pid):
                    if stat.S_ISREG(found.st_mode) and not found.st_nlink and found.st_dev == here:
                        self._bytes += 0 if found.st_ino in seen else found.st_blocks * BLOCK_BYTES
                        seen.add(found.st_ino)

    def _free(self) -> tuple[int, int]:
        """(bytes, files) that the disk still takes."""
        with contextlib.suppress(OSError):
            told = os.statvfs(self._path)
            return told.f_bavail * told.f_frsize, told.f_favail
        return 0, 0

    def _is_filling(self) -> bool:
        """Whether the disk lost much since the run began, whoever took it."""
        limits = (self._most_bytes, self._most_files)
        lost = (before - now for before, now in zip(self._free_at_first, self._free(), strict=True))
        return any(limit and gone > limit // 4 for limit, gone in zip(limits, lost, strict=True))


def _open_files(pid: int) -> Iterator[os.stat_result]:
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                yield os.stat(f"/proc/{pid}/fd/{name}")
