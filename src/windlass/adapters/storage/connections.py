"""Where the store's connections come from: for reading, and for one write transaction.

Kept: on SQLite a write transaction takes the write lock when it begins, so it never fails half-way by somebody
else's write, and a reader never takes it. Every database error leaves as a WindlassError.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from windlass.adapters.storage.faults import translated


class Connections:
    """The engine's connections, handed out for one block each."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """For queries only."""
        with translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """For several queries that must see the same moment."""
        with translated(), self._engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Inside one transaction that commits when the block ends normally."""
        with translated(), self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()
