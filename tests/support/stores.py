"""A migrated SqlStore with a list of what it enqueued, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.storage_samples import TickingClock
from windlass.adapters.storage import SqlStore, make_engine


@dataclass
class Opened:
    """A store, its engine and the orders that were handed on with a live connection."""

    store: SqlStore
    engine: sa.Engine
    clock: TickingClock
    enqueued: list[tuple[Any, ...]] = field(default_factory=list)

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """What a query finds."""
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.text(statement), values).mappings()]


def open_store(url: str) -> Opened:
    """A store over a migrated database."""
    engine, clock = make_engine(url), TickingClock()
    enqueued: list[tuple[Any, ...]] = []

    def enqueue(connection: sa.Connection, *order: Any) -> None:
        assert connection.in_transaction()
        enqueued.append(order)

    store = SqlStore(engine, clock=clock, enqueue=enqueue)
    return Opened(store=store, engine=engine, clock=clock, enqueued=enqueued)


@pytest.fixture
def opened(migrated_url: str) -> Iterator[Opened]:
    """On SQLite, then on PostgreSQL."""
    made = open_store(migrated_url)
    yield made
    made.store.close()


@pytest.fixture
def store(opened: Opened) -> SqlStore:
    """The store alone."""
    return opened.store
