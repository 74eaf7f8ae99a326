"""A world over each database, and one over SQLite alone where the database is not the point."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.world import World
from tests.support.stores import Opened, open_store


@pytest.fixture
def both(opened: Opened, tmp_path: Path) -> World:
    """On SQLite, then on PostgreSQL."""
    return World(opened.store, tmp_path)


@pytest.fixture
def small(sqlite_template: Path, tmp_path: Path) -> Iterator[World]:
    """On SQLite."""
    shutil.copyfile(sqlite_template, tmp_path / "windlass.db")
    made = open_store(f"sqlite:///{tmp_path / 'windlass.db'}")
    yield World(made.store, tmp_path)
    made.store.close()
