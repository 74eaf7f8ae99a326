"""Heartbeats of the processes that share a database, by the database's clock.

A replica whose row has expired may be buried by another; it learns of that when its own row is gone. A row that has
merely expired (the database was away for a while) is renewed, since nobody has taken over its work.
"""

from __future__ import annotations

import sqlalchemy as sa

from windlass.adapters.storage.connections import Connections
from windlass.adapters.storage.models import deliveries, replicas

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

    def known(self) -> frozenset[str]:
        """Executor ids of all rows, expired or not."""
        with self._connections.reading() as connection:
            return frozenset(connection.scalars(sa.select(replicas.c.executor_id)))

    def bury(self, executor_id: str, *, is_certain: bool = False) -> bool:
        """Remove an expired row, and free the deliveries that the replica held; False when it came back.

        `is_certain`: nobody else can be alive, so the row need not have expired.
        """
        with self._connections.writing() as connection:
            it = replicas.c.executor_id == executor_id
            dead = it if is_certain else it & (replicas.c.expires_at_ms <= _now_ms(connection))
            connection.execute(sa.delete(replicas).where(dead))
            if connection.scalar(sa.select(sa.func.count()).where(it)):
                return False
            held = (deliveries.c.owner == executor_id, deliveries.c.processed_at_ms.is_(None))
            connection.execute(sa.update(deliveries).where(*held).values(owner=None, leased_until_ms=0))
        return True

    def leave(self, executor_id: str) -> None:
        """Remove our own row, and free the deliveries that we held."""
        self.bury(executor_id, is_certain=True)


def _now_ms(connection: sa.Connection) -> int:
    return int(connection.scalar(_NOW_MS[connection.dialect.name]) or 0)
