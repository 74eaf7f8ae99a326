"""The schema that migrations make is the schema that the models describe, on both databases, rows in it or not."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests.support.storage_rows import fill, sample_values

from windlass.adapters.storage import is_current, make_engine, migrate
from windlass.adapters.storage.guards import IMMUTABLE
from windlass.adapters.storage.migrate import VERSION_TABLE, config, include_object, scripts
from windlass.adapters.storage.models import metadata
from windlass.core.errors import Broken, Refused

REVISIONS = [script.revision for script in reversed(list(scripts().walk_revisions()))]
STRANGE = "CREATE TABLE workflow_status (id TEXT PRIMARY KEY)"


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    made = make_engine(database_url)
    yield made
    made.dispose()


def schema(engine: sa.Engine) -> dict[str, Any]:
    """Everything the database's own catalogue says of our tables, triggers left out."""
    if engine.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL"
    else:
        query = """
        SELECT c.conrelid::regclass || ' ' || conname, pg_get_constraintdef(oid) FROM pg_constraint c
            WHERE connamespace = 'public'::regnamespace AND contype <> 't'
        UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT table_name || '.' || column_name, concat_ws(' ', ordinal_position, data_type, is_nullable,
            column_default, col_description(table_name::regclass, ordinal_position))
            FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT relname, obj_description(oid) FROM pg_class
            WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"""
    with engine.connect() as connection:
        found = connection.execute(sa.text(query))
        return {name: _plain(said) for name, said in found if VERSION_TABLE not in name}


def _plain(statement: str) -> Any:
    """A table's parts in any order: constraints are numbered by the tool, not by us."""
    inner = re.match(r"CREATE TABLE \"?\w+\"? \((.*)\)$", statement, re.DOTALL)
    return sorted(line.strip(" ,\n\t") for line in inner[1].split("\n") if line.strip()) if inner else statement


def test_migrations_make_what_the_models_say(engine: sa.Engine) -> None:
    migrate(engine)
    migrated = schema(engine)
    with engine.begin() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_object": include_object, "compare_type": True, "version_table": VERSION_TABLE}
        )
        assert compare_metadata(context, metadata) == []
        connection.execute(sa.text(f"DROP TABLE {VERSION_TABLE}"))
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.text(f"DROP TABLE {table.name}"))
        metadata.create_all(connection)
    assert migrated == schema(engine)
    assert len(migrated) > 40


def test_durable_executions_own_tables_are_left_alone(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(STRANGE)
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_object": include_object, "version_table": VERSION_TABLE}
        )
        assert compare_metadata(context, metadata) == []
        assert sa.inspect(connection).has_table("workflow_status")


@pytest.mark.parametrize("step", range(len(REVISIONS)), ids=REVISIONS)
def test_each_migration_keeps_the_rows_that_are_there(engine: sa.Engine, step: int) -> None:
    if step:
        migrate(engine, REVISIONS[step - 1])
        with engine.begin() as connection:
            fill(connection)
    before = _rows(engine)
    migrate(engine, REVISIONS[step])
    assert {table: rows for table, rows in _rows(engine).items() if table in before} == before
    migrate(engine)
    assert is_current(engine)
    assert not step or len(before["agent_jobs"]) == 1


def _rows(engine: sa.Engine) -> dict[str, list[tuple[Any, ...]]]:
    with engine.connect() as connection:
        there = [name for name in sa.inspect(connection).get_table_names() if name in metadata.tables]
        return {name: [tuple(r) for r in connection.exec_driver_sql(f"SELECT * FROM {name}")] for name in there}


def test_migrations_can_be_taken_back_one_by_one(engine: sa.Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        for revision in reversed(REVISIONS[:-1]):
            command.downgrade(config(connection), revision)
    with engine.begin() as connection:
        command.downgrade(config(connection), "base")
    assert set(sa.inspect(engine).get_table_names()) <= {VERSION_TABLE}
    migrate(engine)
    assert is_current(engine)


def test_guards_are_up_after_migration(engine: sa.Engine) -> None:
    migrate(engine)
    query = (
        "SELECT DISTINCT tbl_name FROM sqlite_master WHERE type = 'trigger'"
        if engine.dialect.name == "sqlite"
        else "SELECT DISTINCT event_object_table FROM information_schema.triggers"
    )
    with engine.connect() as connection:
        assert set(connection.exec_driver_sql(query).scalars()) == set(IMMUTABLE)


def test_many_processes_may_start_at_once(database_url: str) -> None:
    gate = threading.Barrier(4)

    def start(_: int) -> bool:
        engine = make_engine(database_url)
        gate.wait(10)
        migrate(engine)
        done = is_current(engine)
        engine.dispose()
        return done

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, range(4))) == [True] * 4


def test_a_newer_database_is_refused_and_left_as_it_is(engine: sa.Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = 'ffff'"))
    with pytest.raises(Refused, match="ffff") as caught:
        migrate(engine)
    assert caught.value.code == "database_newer"
    assert caught.value.hint
    assert not is_current(engine)


def test_a_failed_migration_leaves_nothing(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE usage (id TEXT)")
    with pytest.raises((Refused, Broken)):
        migrate(engine)
    assert set(sa.inspect(engine).get_table_names()) == {"usage"}


def test_migrating_leaves_logging_alone(engine: sa.Engine) -> None:
    before = (logging.getLogger().level, list(logging.getLogger().handlers))
    migrate(engine)
    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == before


def test_the_sample_rows_cover_every_table() -> None:
    for table in metadata.tables.values():
        assert sample_values(table.name, 1).keys() == {c.name for c in table.c if c.name != "number"}
