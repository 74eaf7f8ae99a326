"""A fresh database for a test, once on SQLite and once on PostgreSQL.

`database_url` is empty; `migrated_url` has the schema of this version (copied from a template, which is quick).
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.postgres import create_database, drop_database
from windlass.adapters.storage import make_engine, migrate

KINDS = ("sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres")))


@pytest.fixture(params=KINDS)
def database_kind(request: pytest.FixtureRequest) -> str:
    """sqlite or postgres."""
    return str(request.param)


@pytest.fixture
def database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of its own."""
    if database_kind == "sqlite":
        return f"sqlite:///{tmp_path / 'windlass.db'}"
    make: Callable[..., str] = request.getfixturevalue("make_postgres_database")
    return make()


@pytest.fixture
def migrated_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A migrated database of its own."""
    if database_kind == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "windlass.db")
        return f"sqlite:///{tmp_path / 'windlass.db'}"
    make: Callable[..., str] = request.getfixturevalue("make_postgres_database")
    return make(request.getfixturevalue("postgres_template"))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, in one piece (its log is written back when the last connection closes)."""
    path = tmp_path_factory.mktemp("template") / "windlass.db"
    _migrate(f"sqlite:///{path}")
    assert not path.with_name("windlass.db-wal").exists()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> Iterator[str]:
    """A migrated database's name."""
    name = f"template_{uuid.uuid4().hex}"
    _migrate(create_database(postgres_url, name))
    yield name
    drop_database(postgres_url, name)


def _migrate(url: str) -> None:
    engine = make_engine(url)
    migrate(engine)
    engine.dispose()
