"""One SQLAlchemy engine for a URL, set up so that what was committed survives a power cut.

SQLite: a file, WAL, synchronous=FULL, foreign keys on, 30 s patience; only writing takes the write lock (a store's
transaction says BEGIN IMMEDIATE itself). PostgreSQL 15 or later, by psycopg 3. Refused: other databases, SQLite in
memory (every thread would see its own), old servers, unusable directories. Passwords never appear in a message.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc as sae

from windlass.adapters.storage.faults import translate, translated
from windlass.core.errors import Refused, Unavailable, WindlassError

OLDEST_POSTGRES = 15
OLDEST_SQLITE = (3, 35, 0)
POOL_SIZE = 20
_HINT = "use sqlite:////path/windlass.db or postgresql://user:password@host/database"


def make_engine(url: str) -> sa.Engine:
    """An engine for `url`, tried once.

    `sqlite:///relative`, `sqlite:////absolute`, `postgresql://…` (psycopg 3). Raises Refused (database_url,
    database_directory, database_too_old, database_login) and Unavailable (database_unreachable).
    """
    parsed = _parse(url)
    engine = _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else _postgres(parsed)
    try:
        _try(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _parse(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (sae.ArgumentError, ValueError) as error:
        raise Refused("the database URL cannot be read", code="database_url", hint=_HINT) from error
    match parsed.drivername:
        case "sqlite" | "sqlite+pysqlite":
            return parsed
        case "postgres" | "postgresql" | "postgresql+psycopg":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise Refused(f"no support for databases of kind {other!r}", code="database_url", hint=_HINT)


def _sqlite(url: sa.URL) -> sa.Engine:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise Refused("SQLite must be a plain file", code="database_url", hint=_HINT)
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise Refused(f"SQLite {sqlite3.sqlite_version} is too old", code="database_too_old", hint="3.35 or later")
    _usable(Path(url.database).parent)
    engine = sa.create_engine(url, pool_size=POOL_SIZE, max_overflow=10, pool_timeout=30)
    sa.event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _usable(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _directory(directory, error.strerror or "cannot be made") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise _directory(directory, "not writable")


def _directory(directory: Path, why: str) -> Refused:
    hint = "name a directory that this user may write to"
    return Refused(f"the database's directory {directory} cannot be used: {why}", code="database_directory", hint=hint)


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    """`IMMEDIATE` makes the driver's own BEGIN before a write take the lock at once: no deadlock by upgrading."""
    connection.isolation_level = "IMMEDIATE"
    pragmas = ("busy_timeout=30000", "synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON")
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")


def _postgres(url: sa.URL) -> sa.Engine:
    if not url.database:
        raise Refused("the database URL names no database", code="database_url", hint=_HINT)
    arguments = {"connect_timeout": 10, "application_name": "windlass"}
    return sa.create_engine(
        url, pool_size=POOL_SIZE, max_overflow=10, pool_timeout=30, pool_pre_ping=True, connect_args=arguments
    )


def _try(engine: sa.Engine) -> None:
    probe: Callable[[sa.Connection], None] = _try_sqlite if engine.dialect.name == "sqlite" else _try_postgres
    try:
        with translated(), engine.connect() as connection:
            probe(connection)
    except Unavailable as error:
        raise _explained(engine, error) from error
    except sae.DBAPIError as error:
        raise translate(error) from error


def _try_sqlite(connection: sa.Connection) -> None:
    """The journal mode stays with the file, so it is set once here and not by every connection."""
    mode = connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar()
    if mode != "wal":
        hint = "network file systems cannot; use a local disk"
        raise Refused("the database's directory does not support WAL", code="database_directory", hint=hint)


def _try_postgres(connection: sa.Connection) -> None:
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one())
    if version // 10000 < OLDEST_POSTGRES:
        hint = f"PostgreSQL {OLDEST_POSTGRES} or later is needed"
        raise Refused(f"PostgreSQL {version // 10000} is too old", code="database_too_old", hint=hint)


def _explained(engine: sa.Engine, error: Unavailable) -> WindlassError:
    where = engine.url.render_as_string(hide_password=True)
    wrong = ("password authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied")
    if any(words in error.message for words in wrong):
        hint = "check user, password and database name"
        return Refused(f"{where}: the server refuses this login or database", code="database_login", hint=hint)
    return Unavailable(f"{where}: {error.message}", code=error.code, hint=error.hint, retry_after_s=error.retry_after_s)
