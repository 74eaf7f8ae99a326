"""Heartbeats of the processes that share a database, by the database's clock.

A replica whose row has expired may be buried by another; it learns of that when its own row is gone. A row that has
merely expired (the database was away for a while) is renewed, since nobody has taken over its work.
"""

from __future__ import annotations

import sqlalchemy as sa

from windlass.adapters.storage.connections import Connections
from windlass.adapters.storage.models import replicas

_NOW_MS = {
    "sqlite": sa.text("select cast((julianday('now') - 2440587.5) * 86400000 as integer)"),
    "postgresql": sa.text("select (extract(epoch from clock_timestamp()) * 1000)::bigint"),
}


class SqlReplicas:
    """The `replicas` table."""

    def __init__(self, engine: sa.Engine) -> None:
        self._connections = Connections(engine)
        self._is_registered = False

    def beat(self, executor_id: str, *, host: str, pid: int, ttl_s: float) -> bool:
        """Renew our row; False when another replica has buried us."""
        with self._connections.writing() as connection:
            now_ms = _now_ms(connection)
            row = {"host": host, "pid": pid, "expires_at_ms": now_ms + int(ttl_s * 1000)}
            mine = sa.update(replicas).where(replicas.c.executor_id == executor_id).values(row)
            is_there = connection.execute(mine).rowcount == 1
            if not is_there and self._is_registered:
                return False
            if not is_there:
                connection.execute(sa.insert(replicas).values(executor_id=executor_id, started_at_ms=now_ms, **row))
        self._is_registered = True
        return True

    def live(self) -> frozenset[str]:
        """Executor ids whose row has not expired."""
        with self._connections.reading() as connection:
            now_ms = _now_ms(connection)
            found = connection.scalars(sa.select(replicas.c.executor_id).where(replicas.c.expires_at_ms > now_ms))
            return frozenset(found)

    def bury(self, executor_id: str) -> bool:
        """Remove an expired row; True when it is gone now, False when the replica came back."""
        with self._connections.writing() as connection:
            now_ms = _now_ms(connection)
            expired = (replicas.c.executor_id == executor_id) & (replicas.c.expires_at_ms <= now_ms)
            connection.execute(sa.delete(replicas).where(expired))
            left = sa.select(sa.func.count()).where(replicas.c.executor_id == executor_id)
            return connection.scalar(left) == 0

    def leave(self, executor_id: str) -> None:
        """Remove our own row."""
        with self._connections.writing() as connection:
            connection.execute(sa.delete(replicas).where(replicas.c.executor_id == executor_id))


def _now_ms(connection: sa.Connection) -> int:
    return int(connection.scalar(_NOW_MS[connection.dialect.name]) or 0)
