"""Blobs as objects of S3, Google Cloud Storage or Azure: `PREFIX/sha256/ab/abcdef…`, by obstore.

Keeps the rule that a name's bytes are written once: every put is conditional, so nothing is ever overwritten, not even
by a race. What is read is checked against its name. Refused: URLs of other kinds, and names that are no SHA-256.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, LocalStore, MemoryStore, ObjectStore, S3Store, from_url

from windlass.core.errors import Broken, Failed, NotFound, Refused, Unavailable, WindlassError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_SCHEMES = ("s3://", "gs://", "az://", "file://", "memory://")
_TIMEOUT = "60s"
_PATIENCE = datetime.timedelta(seconds=60)
# Some of obstore's errors are Python's own: FileNotFoundError, PermissionError.
_ERRORS = (exceptions.BaseError, OSError)
_FINAL = (
    exceptions.PermissionDeniedError,
    exceptions.UnauthenticatedError,
    exceptions.NotFoundError,
    FileNotFoundError,
    PermissionError,
)


class ObjectBlobs:
    """Fills `ports.Blobs`. Any number of threads and processes may share one bucket and prefix.

    Raises Unavailable (blobs_unreachable) for trouble that may pass, Failed (blobs_refused) for credentials, buckets
    and rights that are wrong.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, data: bytes) -> str:
        """Keep `data`; its SHA-256 in hex. Idempotent. Raises Broken when other bytes stand under that name."""
        digest = hashlib.sha256(data).hexdigest()
        try:
            obstore.put(self._store, _path(digest), data, mode="create", use_multipart=False)
        except exceptions.AlreadyExistsError:
            self.get(digest)  # raises when it is not what it says
        except _ERRORS as error:
            raise _trouble(error) from error
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes. Raises NotFound, Refused (bad_digest), and Broken (blob_damaged) when they have changed."""
        path = _path(digest)
        try:
            data = bytes(obstore.get(self._store, path).bytes())
        except (exceptions.NotFoundError, FileNotFoundError) as error:
            raise NotFound(f"there is no blob {digest}", hint="it may have been deleted", code="no_blob") from error
        except _ERRORS as error:
            raise _trouble(error) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise Broken(
                f"the blob {digest} has other bytes than it was stored with",
                hint="restore it from a backup; the ledger still tells what it was",
                code="blob_damaged",
            )
        return data


def open_blobs(url: str, options: Mapping[str, Any] | None = None, *, allows_http: bool = False) -> ObjectBlobs:
    """Blobs at `s3://bucket/prefix`, `gs://bucket/prefix` or `az://account/container/prefix`.

    `options` are the store's own (`access_key_id`, `endpoint`, …); what is not given is taken from where the provider's
    own tools take it (environment, instance or workload identity). `allows_http`: for servers of one's own without TLS.
    Raises Refused (bad_config).
    """
    if not url.startswith(_SCHEMES):
        hint = "use s3://bucket/prefix, gs://bucket/prefix or az://account/container/prefix"
        raise Refused(f"no blobs at {url[:80]!r}", code="bad_config", hint=hint)
    given: dict[str, Any] = dict(options or {})
    if not url.startswith(("file:", "memory:")):
        given["client_options"] = {"timeout": _TIMEOUT, "allow_http": allows_http}
        given["retry_config"] = {"max_retries": 5, "retry_timeout": _PATIENCE}
    try:
        store: ObjectStore = from_url(url, **given)
    except (exceptions.BaseError, ValueError, TypeError) as error:
        raise Refused(f"blobs at {url[:80]!r}: {_line(error)}", code="bad_config", hint="mend `blobs`") from error
    assert isinstance(store, S3Store | GCSStore | AzureStore | LocalStore | MemoryStore)
    return ObjectBlobs(store)


def _path(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise Refused(f"{digest[:80]!r} is no SHA-256 in hex", hint="use 64 lower-case digits", code="bad_digest")
    return f"sha256/{digest[:2]}/{digest}"


def _trouble(error: Exception) -> WindlassError:
    if isinstance(error, _FINAL):
        hint = "check bucket, credentials and rights (get and put)"
        return Failed(f"the object store refuses: {_line(error)}", hint=hint, code="blobs_refused")
    return Unavailable(
        f"the object store does not answer as it should: {_line(error)}",
        hint="it is tried again",
        code="blobs_unreachable",
        retry_after_s=5.0,
    )


def _line(error: Exception) -> str:
    """The first line of a long message; it names no credential."""
    return str(error).strip().split("\n", 1)[0][:200]
