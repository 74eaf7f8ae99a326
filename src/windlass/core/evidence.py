"""One entry of the ledger: its kinds, its exact bytes, its place in the hash tree.

Keeps the rule that what was hashed is what is stored: a record is sealed once and never written again. Refuses
unknown kinds, floats, and entries above 64 KiB (the limit of transparency logs): large things are blobs, and a record
names them by their SHA-256, in a field called `digest` or ending in `_digest`.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from windlass.core import canonical
from windlass.core.errors import Refused
from windlass.core.merkle import leaf_hash

SCHEMA = "windlass.dev/record/v1"
MAX_RECORD_BYTES = 65_535

KINDS: Mapping[str, Mapping[str, type]] = {
    "decision": {},
    "intent": {"effect": str, "seq": int},
    "result": {"effect": str, "seq": int, "outcome": dict},
    "refusal": {"why": str},
    "approval": {"by": str, "head_sha": str},
    "gate": {"head_sha": str, "state": str},
    "merge": {"head_sha": str},
    "export": {"records": int, "leaves_sha256": str, "state": str},
    "config": {"key": str, "by": str},
}
"""Every kind, with the fields that its `data` must hold. Other fields are welcome."""

_STAND_IN_BYTES = 160  # the most that a replaced list still takes
_FIELDS = frozenset({"schema", "id", "job", "job_seq", "kind", "at", "data"})
_AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record as it was read back from its bytes. `at` is RFC 3339, UTC, milliseconds."""

    id: str
    job: str | None
    job_seq: int | None
    kind: str
    at: str
    data: Mapping[str, Any]


def seal(
    kind: str,
    data: Mapping[str, Any],
    *,
    id: str,  # noqa: A002 - the field's own name
    job_id: str | None,
    job_seq: int | None,
    at_ms: int,
) -> tuple[bytes, bytes]:
    """The record's exact RFC 8785 bytes and its RFC 6962 leaf hash (32 bytes).

    `job_seq` counts the job's records from 0 without a gap; both it and `job_id` are None for a record of no job.
    Half characters (lone surrogates, which no UTF-8 can hold) in texts become U+FFFD. Lists in `data` that would
    make the record too large are replaced by their SHA-256, largest first (`condense`).
    Raises Refused: unknown_kind, not_canonical, record_too_large.
    """
    if kind not in KINDS:
        raise Refused(f"{kind!r} is no kind of record", hint=f"use one of {', '.join(KINDS)}", code="unknown_kind")
    if (job_id is None) != (job_seq is None):
        raise Refused("a record has a job and a number in it, or neither", code="malformed_record")
    head = {"schema": SCHEMA, "id": id, "job": job_id, "job_seq": job_seq, "kind": kind, "at": rfc3339(at_ms)}
    try:
        body = canonical.encode({**head, "data": data})
    except Refused:
        # Hostile text must not be able to stop a record from being written.
        data = {_repaired(key): _repaired(value) for key, value in data.items()}
        body = canonical.encode({**head, "data": data})
    if len(body) > MAX_RECORD_BYTES:
        body = canonical.encode({**head, "data": condense(data, len(body) - MAX_RECORD_BYTES)})
    if len(body) > MAX_RECORD_BYTES:
        raise Refused(
            f"a record of {len(body)} bytes is above {MAX_RECORD_BYTES}",
            hint="keep large values as blobs and name their SHA-256 in the record",
            code="record_too_large",
        )
    return body, leaf_hash(body)


def condense(data: Mapping[str, Any], excess_bytes: int) -> Mapping[str, Any]:
    """`data` with its largest lists replaced by `{"sha256", "items", "bytes"}` until `excess_bytes` are saved.

    The SHA-256 is that of the list's canonical bytes, so whoever holds the list can still prove it. A list within a
    list counts as part of the outer one. Gives back what it could do, even when that is not enough.
    """
    sizes = {path: len(canonical.encode(value)) for path, value in _lists(data, ())}
    chosen: set[tuple[str, ...]] = set()
    for path in sorted(sizes, key=lambda path: (-sizes[path], path)):
        if excess_bytes <= 0 or sizes[path] <= _STAND_IN_BYTES:
            break
        chosen.add(path)
        excess_bytes -= sizes[path] - _STAND_IN_BYTES
    replaced = _replace(data, (), chosen)
    assert isinstance(replaced, Mapping)
    return replaced


def _repaired(value: Any) -> Any:
    """The value with U+FFFD for each half character (lone surrogate)."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, Mapping):
        return {_repaired(key): _repaired(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_repaired(item) for item in value]
    return value


def _lists(value: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _lists(item, (*path, key))
        elif isinstance(item, list | tuple):
            yield (*path, key), item


def _replace(value: Any, path: tuple[str, ...], chosen: set[tuple[str, ...]]) -> Any:
    if path in chosen:
        body = canonical.encode(value)
        return {"sha256": hashlib.sha256(body).hexdigest(), "items": len(value), "bytes": len(body)}
    if isinstance(value, Mapping):
        return {key: _replace(item, (*path, key), chosen) for key, item in value.items()}
    return value


def parse(body: bytes) -> Record:
    """Read a record's bytes. Raises Refused (malformed_record, not_canonical) unless `seal` could have made them."""
    if len(body) > MAX_RECORD_BYTES:
        raise _malformed("it is too large")
    value = canonical.decode(body)
    if not isinstance(value, dict) or set(value) != _FIELDS or value["schema"] != SCHEMA:
        raise _malformed(f"it does not have the fields of {SCHEMA}")
    _check_shape(value)
    return Record(**{name: value[name] for name in _FIELDS - {"schema"}})


def _check_shape(value: Mapping[str, Any]) -> None:
    job, seq, kind = value["job"], value["job_seq"], value["kind"]
    is_of_job = isinstance(job, str) and job != "" and type(seq) is int and seq >= 0
    if not is_of_job and not (job is None and seq is None):
        raise _malformed("its job and its number in the job do not fit together")
    if not isinstance(value["id"], str) or not value["id"]:
        raise _malformed("it has no id")
    if not isinstance(kind, str) or kind not in KINDS:
        raise _malformed("its kind is unknown")
    if not isinstance(value["at"], str) or not _is_instant(value["at"]):
        raise _malformed("its time is not RFC 3339 in UTC with milliseconds")
    if not isinstance(value["data"], dict):
        raise _malformed("its data is not an object")


def missing_fields(record: Record) -> tuple[str, ...]:
    """Names of the fields that a record of this kind must have, and this one has not (or of another type)."""
    wanted = KINDS[record.kind]
    return tuple(name for name, kind in wanted.items() if type(record.data.get(name)) is not kind)


def blob_digests(data: Any) -> Iterator[str]:
    """The blobs that a record names: SHA-256 in hex, in fields called `digest` or ending in `_digest`, at any depth."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            is_named = key == "digest" or key.endswith("_digest")
            if is_named and isinstance(value, str) and _DIGEST.fullmatch(value):
                yield value
            else:
                yield from blob_digests(value)
    elif isinstance(data, list | tuple):
        for item in data:
            yield from blob_digests(item)


def rfc3339(at_ms: int) -> str:
    """An instant in milliseconds since the Unix epoch as `2026-01-31T12:00:00.000Z`."""
    try:
        at = _EPOCH + datetime.timedelta(milliseconds=at_ms)
    except OverflowError as error:
        raise Refused("an instant is out of range", hint="give milliseconds since 1970", code="bad_instant") from error
    return at.strftime("%Y-%m-%dT%H:%M:%S.").rjust(20, "0") + f"{at_ms % 1000:03d}Z"


def _is_instant(text: str) -> bool:
    if not _AT.fullmatch(text):
        return False
    try:
        datetime.datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _malformed(why: str) -> Refused:
    return Refused(
        f"this is not a record: {why}", hint="a record is stored once and never edited", code="malformed_record"
    )
