"""Where mirrors lie and how calls stay out of each other's way.

Rule: one bare mirror per repository, only ever added to (no gc, no prune), written by Windlass alone; every call that
needs an index or files gets a scratch directory of its own, and one writer of refs at a time holds the mirror's lock,
in this process and in any other. Refuses nothing itself: names are checked in `names`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from windlass.adapters.git.process import Call, Git
from windlass.core.errors import Unavailable

# info/attributes outranks every .gitattributes in a tree: bytes go in and out as they are, nothing is left out.
ATTRIBUTES = (
    "* !text !eol !crlf !ident !filter !working-tree-encoding !diff !merge !export-ignore !export-subst !whitespace\n"
)

LOCK_POLL_S = 0.01
STALE_SCRATCH_S = 2 * 86400


async def ensure_mirror(git: Git, path: Path) -> Path:
    """The mirror, made when it is not there yet; complete or absent, never half made."""
    if (path / "HEAD").is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    async with held(path, timeout_s=git.timeout_s):
        if not (path / "HEAD").is_file():
            await _make(git, path)
    return path


async def _make(git: Git, path: Path) -> None:
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
    try:
        await init_bare(git, fresh)
        fresh.rename(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


async def init_bare(git: Git, path: Path) -> None:
    """An empty bare repository at `path`, without hooks, whose attributes are neutral."""
    await git.run(Call(args=("init", "--quiet", "--bare", "--object-format=sha1", str(path))))
    (path / "info").mkdir(exist_ok=True)
    (path / "info" / "attributes").write_text(ATTRIBUTES, encoding="ascii")


@contextlib.asynccontextmanager
async def held(path: Path, *, timeout_s: float) -> AsyncIterator[None]:
    """The lock of the mirror at `path`, against every task and process. Raises Unavailable (git_locked).

    A flock on an open file of our own: it is gone with the process that held it, however that ends.
    """
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline_s = time.monotonic() + timeout_s
        while not _locked(descriptor):
            if time.monotonic() > deadline_s:
                raise Unavailable("the mirror is in use", hint="it is tried again", code="git_locked", retry_after_s=5)
            await asyncio.sleep(LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """A private directory (0700) for one call; gone afterwards."""
    parent = root / ".scratch"
    parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def sweep_scratch(root: Path) -> None:
    """Remove what calls of killed processes left behind two days ago or earlier."""
    oldest_s = time.time() - STALE_SCRATCH_S
    for place in (root / ".scratch").glob("*"):
        with contextlib.suppress(OSError):
            if place.lstat().st_mtime < oldest_s:
                shutil.rmtree(place, ignore_errors=True)
