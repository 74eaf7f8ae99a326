"""Blobs as files of one directory: `sha256/ab/abcdef…`.

Keeps the rule that a blob is there whole or not at all, and is still the same when it is read. Refuses names that
are no SHA-256, so that nothing outside the directory is ever touched.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
from pathlib import Path

from windlass.core.errors import Broken, Failed, NotFound, Refused, Unavailable, WindlassError

_DIGEST = re.compile(r"[0-9a-f]{64}")


class DirectoryBlobs:
    """Fills `ports.Blobs`. Several threads and processes may share one `root`; it is made when it is not there.

    Raises Unavailable (blobs_full) when the disk is full and Failed (blobs_unusable) for other trouble with it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, data: bytes) -> str:
        """Keep `data`; its SHA-256 in hex. After it returns, the bytes survive a power cut. Idempotent."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        try:
            # A file of the right size may still have rotten bytes, so what is there is compared, not trusted.
            if not _holds(path, data):
                _write(path, data)
        except OSError as error:
            raise _trouble(error) from error
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes. Raises NotFound, Refused (bad_digest), and Broken (blob_damaged) when they have changed."""
        path = self._path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"there is no blob {digest}", hint="it may have been deleted", code="no_blob") from error
        except OSError as error:
            raise _trouble(error) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise Broken(
                f"the blob {digest} has other bytes than it was stored with",
                hint="restore it from a backup; the ledger still tells what it was",
                code="blob_damaged",
            )
        return data

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise Refused(f"{digest[:80]!r} is no SHA-256 in hex", hint="use 64 lower-case digits", code="bad_digest")
        return self._root / "sha256" / digest[:2] / digest


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    for directory in (path.parent, path.parent.parent, path.parent.parent.parent):
        _sync(directory)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _trouble(error: OSError) -> WindlassError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable("no room left for blobs", hint="free some disk space", code="blobs_full", retry_after_s=60.0)
    return Failed(
        f"the blob directory cannot be used: {error.strerror}",
        hint="check the directory's owner, mode and file system",
        code="blobs_unusable",
    )
