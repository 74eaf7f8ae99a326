"""The ledger's tables: giving records their place, and reading them back.

Kept: leaf indexes start at 0 and have no gaps, whoever sequences and however many at once, because one at a time
does (PostgreSQL: an advisory lock; SQLite: the write lock). A job's records keep their order. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from windlass.adapters.storage.connections import Connections
from windlass.adapters.storage.models import checkpoints, compliance_records, ledger_leaves, ledger_waiting
from windlass.adapters.storage.rows import RECORD_COLUMNS, insert, is_postgres, record_of
from windlass.core.errors import Broken
from windlass.ports import StoredRecord

_LEDGER_LOCK = 7270_01
_BATCH = 1000
_ALL = 2**62


class LedgerTables:
    """The part of ports.Store that keeps the ledger."""

    _connections: Connections

    def records(
        self, job_id: str | None = None, *, after: int = -1, limit: int | None = None
    ) -> tuple[StoredRecord, ...]:
        """Entries whose leaf index is above `after`, in leaf order, then those without a leaf as written."""
        room = _ALL if limit is None else limit
        placed = _of_job(_placed().where(ledger_leaves.c.leaf_index > after), job_id).limit(room)
        with self._connections.snapshot() as connection:
            found = [record_of(row) for row in connection.execute(placed).mappings()]
            if len(found) < room:
                waiting = _of_job(_waiting(), job_id).limit(room - len(found))
                found += [record_of(row) for row in connection.execute(waiting).mappings()]
        return tuple(found)

    def sequence_records(self, limit: int) -> int:
        """Give waiting entries their leaf index, in the order of writing; the number of entries that got one."""
        with self._connections.reading() as connection:
            if connection.scalar(sa.select(ledger_waiting.c.record_id).limit(1)) is None:
                return 0
        with self._connections.writing() as connection:
            if is_postgres(connection):
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LEDGER_LOCK)))
            size = _size(connection)
            done = 0
            while done < limit and (placed := _place(connection, size + done, min(_BATCH, limit - done))):
                done += placed
        return done

    def leaf_hashes(self, start: int, end: int) -> list[bytes]:
        """Leaf hashes of [start, end)."""
        query = (
            sa.select(compliance_records.c.leaf_hash)
            .join(ledger_leaves, ledger_leaves.c.record_id == compliance_records.c.id)
            .where(ledger_leaves.c.leaf_index >= start, ledger_leaves.c.leaf_index < end)
            .order_by(ledger_leaves.c.leaf_index)
        )
        with self._connections.reading() as connection:
            return [bytes(leaf_hash) for leaf_hash in connection.scalars(query)]

    def ledger_size(self) -> int:
        """Number of leaves."""
        with self._connections.reading() as connection:
            return _size(connection)

    def add_checkpoint(self, size: int, root: bytes, note: str, at_ms: int) -> None:
        """Keep one signed checkpoint; the same size with the same root again changes nothing.

        Raises Broken (two_roots) when that size has another root, Refused when the root is not 32 bytes.
        """
        row = {"size": size, "root": root, "note": note, "at_ms": at_ms}
        with self._connections.writing() as connection:
            connection.execute(insert(connection, checkpoints).on_conflict_do_nothing(index_elements=["size"]), row)
            kept = connection.scalars(sa.select(checkpoints.c.root).where(checkpoints.c.size == size)).one()
        if bytes(kept) != root:
            hint = "the ledger was changed, or somebody else signs for it: stop and compare with the kept checkpoints"
            raise Broken(f"the ledger of {size} leaves was signed with another root", code="two_roots", hint=hint)

    def checkpoints(self, *, after: int = -1, limit: int | None = None) -> tuple[tuple[int, str], ...]:
        """(size, note) of the kept checkpoints of more than `after` leaves, smallest first."""
        query = sa.select(checkpoints.c.size, checkpoints.c.note).where(checkpoints.c.size > after)
        with self._connections.reading() as connection:
            found = connection.execute(query.order_by(checkpoints.c.size).limit(_ALL if limit is None else limit))
            return tuple((row.size, row.note) for row in found)

    def latest_checkpoint(self) -> tuple[int, str] | None:
        """(size, note) of the newest checkpoint."""
        query = sa.select(checkpoints.c.size, checkpoints.c.note).order_by(checkpoints.c.number.desc()).limit(1)
        with self._connections.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (row.size, row.note)


def _size(connection: sa.Connection) -> int:
    newest = connection.scalar(sa.select(sa.func.max(ledger_leaves.c.leaf_index)))
    return 0 if newest is None else newest + 1


def _place(connection: sa.Connection, start: int, limit: int) -> int:
    """Move up to `limit` waiting records into the tree from leaf `start`; how many."""
    oldest = (
        sa.select(ledger_waiting.c.record_id)
        .join(compliance_records, compliance_records.c.id == ledger_waiting.c.record_id)
        .order_by(compliance_records.c.number)
        .limit(limit)
    )
    ids: Sequence[str] = connection.scalars(oldest).all()
    if ids:
        rows = [{"leaf_index": start + i, "record_id": record_id} for i, record_id in enumerate(ids)]
        connection.execute(sa.insert(ledger_leaves), rows)
        connection.execute(sa.delete(ledger_waiting).where(ledger_waiting.c.record_id.in_(ids)))
    return len(ids)


def _placed() -> sa.Select[Any]:
    joined = ledger_leaves.join(compliance_records, compliance_records.c.id == ledger_leaves.c.record_id)
    return sa.select(*RECORD_COLUMNS).select_from(joined).order_by(ledger_leaves.c.leaf_index)


def _waiting() -> sa.Select[Any]:
    """Joined with leaves for the column alone: what waits has none."""
    joined = ledger_waiting.join(compliance_records, compliance_records.c.id == ledger_waiting.c.record_id).outerjoin(
        ledger_leaves, ledger_leaves.c.record_id == compliance_records.c.id
    )
    return sa.select(*RECORD_COLUMNS).select_from(joined).order_by(compliance_records.c.number)


def _of_job(query: sa.Select[Any], job_id: str | None) -> sa.Select[Any]:
    return query if job_id is None else query.where(compliance_records.c.job_id == job_id)
