"""Core data to rows and back: the one place that knows which column shows what.

Columns that people read hold text without NUL and lone surrogates (PostgreSQL refuses both); the exact text is in
the JSON beside them.
"""

from __future__ import annotations

import os
import threading
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from windlass.adapters.storage import codec
from windlass.adapters.storage.models import agent_jobs, agent_runs, compliance_records, ledger_leaves, run_places
from windlass.core.job import Job
from windlass.ports import Delivery, RunRecord, StoredEffect, StoredEvent, StoredRecord

Insert = postgresql.Insert | sqlite.Insert


def insert(connection: sa.Connection, table: sa.Table) -> Insert:
    """An INSERT that knows ON CONFLICT on this connection's database."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def upsert(connection: sa.Connection, table: sa.Table, key: tuple[str, ...], keep: tuple[str, ...] = ()) -> Insert:
    """An INSERT that changes the row with the same `key` instead, leaving `key` and `keep` as they were.

    Pass a list of rows with all columns in it that shall change.
    """
    statement = insert(connection, table)
    return statement.on_conflict_do_update(
        index_elements=[table.c[k] for k in key],
        set_={c.name: statement.excluded[c.name] for c in table.c if c.name not in (*key, *keep, "number")},
    )


def is_postgres(connection: sa.Connection) -> bool:
    """Whether this is PostgreSQL; else it is SQLite."""
    return connection.dialect.name == "postgresql"


def shown(text: str) -> str:
    """The text as a column of either database can hold it."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def job_row(job: Job, *, updated_at_ms: int) -> dict[str, Any]:
    """The row of a job, its snapshot included."""
    plain = {
        name: getattr(job, name)
        for name in ("id", "repository", "seq", "pull_number", "deadline_at_ms", "created_at_ms")
    }
    words = ("requested_by", "epoch", "branch", "base_ref", "agent", "gate", "ci_verdict")
    marks = ("base_sha", "branch_sha", "head_sha", "run_id")
    return {
        **plain,
        **{name: shown(getattr(job, name)) for name in words},
        **{name: None if getattr(job, name) is None else shown(getattr(job, name)) for name in marks},
        "issue_number": job.issue.number,
        "task_type": job.task_type.value,
        "state": job.state.value,
        "reason": job.reason.value if job.reason else None,
        "updated_at_ms": updated_at_ms,
        "snapshot": codec.encode_job(job),
    }


def run_rows(run: RunRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rows of a run: itself, and its place."""
    values = {name: shown(value) if isinstance(value, str) else value for name, value in asdict(run).items()}
    place = {name: values.pop(name) for name in RUN_PLACE}
    return values, {"run_id": run.id, **place}


def run_of(row: sa.RowMapping) -> RunRecord:
    """A run out of its rows; one without a place has the usual one."""
    found = {name: row[name] for name in RunRecord.__slots__}
    absent = {name for name in RUN_PLACE if found[name] is None}
    return RunRecord(**{name: value for name, value in found.items() if name not in absent})


def delivery_of(row: sa.RowMapping) -> Delivery:
    """A delivery out of its row."""
    return Delivery(
        id=row["id"],
        event=row["event"],
        body=bytes(row["body"]),
        received_at_ms=row["received_at_ms"],
        attempts=row["attempts"],
    )


def effect_of(row: sa.RowMapping) -> StoredEffect:
    """An effect out of its row. Raises Broken when its JSON is not ours."""
    return StoredEffect(
        job_id=row["job_id"],
        order=codec.decode_order(row["body"]),
        status=row["status"],
        claim=row["claim"],
        ordered_at_ms=row["ordered_at_ms"],
    )


def event_of(row: sa.RowMapping) -> StoredEvent:
    """An event out of its row. Raises Broken when its JSON is not ours."""
    before, after, policy = row["job_before"], row["job_after"], row["policy"]
    return StoredEvent(
        id=row["number"],
        dedup=row["dedup"],
        job_id=row["job_id"],
        at_ms=row["at_ms"],
        event=codec.decode_event(row["event"]),
        source_state=row["source_state"],
        target_state=row["target_state"],
        why=tuple(codec.load(row["why"])),
        job_before=None if before is None else codec.decode_job(before),
        job_after=None if after is None else codec.decode_job(after),
        policy=None if policy is None else codec.decode_policy(policy),
    )


def record_of(row: sa.RowMapping) -> StoredRecord:
    """A ledger entry out of its row joined with its leaf."""
    return StoredRecord(
        id=row["id"],
        job_id=row["job_id"],
        job_seq=row["job_seq"],
        kind=row["kind"],
        at_ms=row["at_ms"],
        body=bytes(row["body"]),
        leaf_hash=bytes(row["leaf_hash"]),
        leaf_index=row["leaf_index"],
    )


RECORD_COLUMNS = (*(c for c in compliance_records.c if c.name != "number"), ledger_leaves.c.leaf_index)
RUN_PLACE = tuple(column.name for column in run_places.c if column.name != "run_id")
RUN_COLUMNS = tuple((run_places if name in RUN_PLACE else agent_runs).c[name] for name in RunRecord.__slots__)
SNAPSHOT = agent_jobs.c.snapshot


class TimeOrderedIds:
    """UUIDs of version 7 (RFC 9562): growing within this process, unique everywhere."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self, now_ms: int) -> str:
        """A new id for this instant."""
        with self._lock:
            self._last = max(self._last + 1, now_ms << 12)
            moment = self._last
        tail = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
        number = (moment >> 12) << 80 | 7 << 76 | (moment & 0xFFF) << 64 | 2 << 62 | tail
        digits = f"{number:032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
