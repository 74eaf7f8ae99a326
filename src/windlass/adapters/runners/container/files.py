"""The directories of a run before a container gets them: there, ours, no links, and given to the container's user.

Everything below them may have been written by an agent before: nothing is followed, and what is opened is held open
while it is looked at, so that a link put in its place in between leads nowhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from windlass.core.errors import Refused
from windlass.ports import RunSpec


def placed(workdir: Path) -> Path:
    """The work directory by its real path. Raises Refused (workdir_missing) for what is not a directory."""
    if workdir.is_symlink() or not workdir.is_dir():
        raise Refused(
            f"no work directory {workdir}", code="workdir_missing", hint="make it before the start; it cannot be a link"
        )
    return workdir.resolve()


def mountable(spec: RunSpec) -> None:
    """Raises Refused (mount_missing) for what shall be shown and is not there; an engine would make it up."""
    for mount in spec.mounts:
        if mount.source.is_symlink() or not mount.source.exists():
            raise Refused(f"cannot mount {mount.source}", code="mount_missing", hint="name an existing path, no link")


def write_places(spec: RunSpec) -> tuple[Path, ...]:
    """The directories that stay writable in a read-only work directory, made where they are missing.

    Raises Refused (workdir_missing) when one of them leads out or is no directory.
    """
    return tuple(_made(spec.workdir, name) for name in spec.writes) if spec.is_read_only else ()


def _made(workdir: Path, name: str) -> Path:
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise _no_place(name)
    try:
        with _held(workdir) as top:
            at = os.dup(top)
            for part in parts:
                at = _step(at, part)
            os.close(at)
    except OSError as error:
        raise _no_place(name) from error
    return workdir.joinpath(*parts)


def _step(at: int, part: str) -> int:
    try:
        with suppress(FileExistsError):
            os.mkdir(part, 0o755, dir_fd=at)
        return os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)


def _no_place(name: str) -> Refused:
    return Refused(
        f"{name!r} cannot be a writable place in the work directory",
        code="workdir_missing",
        hint="it must be a directory inside, and no link",
    )


def give(path: Path, uid: int | None) -> None:
    """Make a tree of ours the container user's; nothing where the user is ourselves (None). Links are never followed.

    A file with further names elsewhere keeps its owner: it might be a file of the machine's.
    """
    if uid is None:
        return
    if not path.is_dir():
        os.chown(path, uid, uid, follow_symlinks=False)
        return
    with _held(path) as top:
        os.fchown(top, uid, uid)
        for _, folders, names, at in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            for name in (*folders, *names):
                found = os.stat(name, dir_fd=at, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
                    os.chown(name, uid, uid, dir_fd=at, follow_symlinks=False)


@contextmanager
def _held(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
