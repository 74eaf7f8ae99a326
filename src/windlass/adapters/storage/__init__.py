"""Where jobs, events, effects, deliveries and the ledger live: SQLite (WAL) by default, PostgreSQL 15 or later by URL.

`make_engine(url)`, then `migrate(engine)`, then `SqlStore(engine, …)`. Rows never leave this package.
"""

from windlass.adapters.storage.crud import ENTITIES, Tables
from windlass.adapters.storage.database import make_engine
from windlass.adapters.storage.migrate import is_current, migrate
from windlass.adapters.storage.store import SqlStore
from windlass.adapters.storage.transaction import SqlTransaction

__all__ = ["ENTITIES", "SqlStore", "SqlTransaction", "Tables", "is_current", "make_engine", "migrate"]
