"""Which chunks of which step logs there are; fills ports.LogIndex.

Kept: numbers grow within a job in the order of commits, so that who follows a log by number misses nothing
(PostgreSQL: an advisory lock per job; SQLite: the write lock). Refused: a place in a stream that is taken, as Conflict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from windlass.adapters.storage import codec
from windlass.adapters.storage.connections import Connections
from windlass.adapters.storage.models import execution_logs, log_places
from windlass.adapters.storage.rows import is_postgres
from windlass.ports import LogChunk

_LOCK = 7270_09
_BOTH = sa.join(execution_logs, log_places, execution_logs.c.number == log_places.c.log_number)
_COLUMNS = (
    execution_logs,
    log_places.c.stream,
    log_places.c.run,
    log_places.c.chunk.label("place"),
    log_places.c.first_seq,
    log_places.c.next_offset,
    log_places.c.redactions,
)


class SqlLogIndex:
    """The tables `execution_logs` and `log_places`. All methods block and may be called from any thread."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def append(self, chunk: LogChunk) -> int:
        """Keep one; its number. Raises Conflict when the stream has that place already, or the job is unknown."""
        with self._connections.writing() as connection:
            if is_postgres(connection):
                key = sa.func.hashtext(chunk.job_id)
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK, key)))
            made = sa.insert(execution_logs).values(_log_row(chunk)).returning(execution_logs.c.number)
            number = int(connection.scalars(made).one())
            connection.execute(sa.insert(log_places).values(log_number=number, **_place_row(chunk)))
        return number

    def last(self, job_id: str, stream: str) -> LogChunk | None:
        """The newest chunk of one stream."""
        query = (
            sa.select(*_COLUMNS)
            .select_from(_BOTH)
            .where(log_places.c.job_id == job_id, log_places.c.stream == stream)
            .order_by(log_places.c.chunk.desc())
            .limit(1)
        )
        with self._connections.reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _chunk(row)

    def chunks(
        self,
        job_id: str,
        *,
        after: int = 0,
        run_id: str = "",
        levels: Sequence[str] = (),
        from_ms: int | None = None,
        to_ms: int | None = None,
        limit: int = 100,
    ) -> tuple[LogChunk, ...]:
        """Chunks with numbers above `after`, in order, that may hold lines of these levels in [from_ms, to_ms]."""
        query = sa.select(*_COLUMNS).select_from(_BOTH)
        query = query.where(execution_logs.c.job_id == job_id, execution_logs.c.number > after)
        if run_id:
            query = query.where(sa.or_(log_places.c.run == run_id, log_places.c.stream == run_id))
        if levels:
            query = query.where(execution_logs.c.level.in_(levels))
        if from_ms is not None:
            query = query.where(execution_logs.c.last_at_ms >= from_ms)
        if to_ms is not None:
            query = query.where(execution_logs.c.first_at_ms <= to_ms)
        query = query.order_by(execution_logs.c.number).limit(limit)
        with self._connections.reading() as connection:
            return tuple(_chunk(row) for row in connection.execute(query).mappings())


def _log_row(chunk: LogChunk) -> dict[str, Any]:
    is_run = chunk.run_id and chunk.run_id == chunk.stream
    return {
        "job_id": chunk.job_id,
        "run_id": chunk.run_id if is_run else None,
        "chunk": chunk.chunk,
        "first_at_ms": chunk.first_at_ms,
        "last_at_ms": chunk.last_at_ms,
        "line_count": chunk.lines,
        "size_bytes": chunk.size_bytes,
        "level": chunk.level,
        "digest": chunk.digest,
    }


def _place_row(chunk: LogChunk) -> dict[str, Any]:
    return {
        "job_id": chunk.job_id,
        "stream": chunk.stream,
        "run": chunk.run_id,
        "chunk": chunk.chunk,
        "first_seq": chunk.first_seq,
        "next_offset": chunk.next_offset,
        "redactions": codec.dump(dict(chunk.redactions)),
    }


def _chunk(row: Mapping[Any, Any]) -> LogChunk:
    return LogChunk(
        number=row["number"],
        job_id=row["job_id"],
        stream=row["stream"],
        run_id=row["run"],
        chunk=row["place"],
        first_seq=row["first_seq"],
        lines=row["line_count"],
        size_bytes=row["size_bytes"],
        first_at_ms=row["first_at_ms"],
        last_at_ms=row["last_at_ms"],
        level=row["level"],
        digest=row["digest"],
        next_offset=row["next_offset"],
        redactions=codec.load(row["redactions"]),
    )
