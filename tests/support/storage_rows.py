"""One plausible row for every table, made from the tables' own description, so that a new table is tried too."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.postgres import create_database, drop_database
from tests.support.storage_samples import REPOSITORY, sample_job
from tests.support.stores import Opened, open_store
from windlass.adapters.storage.models import metadata
from windlass.adapters.storage.rows import job_row

FIXED: dict[str, dict[str, Any]] = {
    "repositories": {"full_name": [REPOSITORY, "octo/second"]},
    "issues": {"repository": REPOSITORY},
    "agents": {"name": ["agent-1", "agent-2"]},
    "agent_runs": {"outcome": "completed", "finished_at_ms": None},
    "pull_requests": {"repository": REPOSITORY, "state": "open"},
    "ci_results": {"pull_request": 1},
    "compliance_records": {"job_seq": [0, 1], "leaf_hash": b"h" * 32},
    "ledger_leaves": {"leaf_index": [0, 1]},
    "checkpoints": {"root": b"r" * 32},
    "effects": {"status": "ordered", "closed_at_ms": None},
    "prompt_templates": {"task_type": "bugfix"},
    "execution_logs": {"level": "info"},
    "feedback": {"source": "ci"},
}


def sample_values(table: str, number: int) -> dict[str, Any]:
    """Row `number` (1 or 2) of a table; row 2 refers to row 2 of other tables, but for repositories and pulls."""
    if table == "agent_jobs":
        row = job_row(sample_job(number, id=f"id-{number}"), updated_at_ms=1)
        return row | {"pull_number": 7, "reason": "stopped"}
    fixed = {
        name: value[number - 1] if isinstance(value, list) else value for name, value in FIXED.get(table, {}).items()
    }
    values = {c.name: _value(c, number) for c in metadata.tables[table].c if c.name != "number"}
    return values | fixed


def _value(column: sa.Column[Any], number: int) -> Any:
    if column.info.get("is_json"):
        return "{}"
    if column.name.endswith("id") and isinstance(column.type, sa.Text):
        return f"id-{number}"
    return {str: f"{column.name}-{number}", int: number, float: 1.5, bool: True, bytes: b"\0\xff"}[
        column.type.python_type
    ]


def fill(connection: sa.Connection, number: int = 1) -> None:
    """Put row `number` into every table that the database has."""
    there = set(sa.inspect(connection).get_table_names())
    for table in metadata.sorted_tables:
        if table.name in there:
            connection.execute(sa.insert(table), _fitting(connection, table, number))


def _fitting(connection: sa.Connection, table: sa.Table, number: int) -> dict[str, Any]:
    """Only what the table has at this revision."""
    columns = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    values = sample_values(table.name, number)
    return {name: value for name, value in values.items() if name in columns}


def filled_database(request: pytest.FixtureRequest, paths: pytest.TempPathFactory) -> Iterator[Opened]:
    """A migrated database with row 1 in every table, and row 2 in those that others refer to."""
    if request.param == "sqlite":
        path = paths.mktemp("filled") / "windlass.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        server, name, url = "", "", f"sqlite:///{path}"
    else:
        server, name = request.getfixturevalue("postgres_url"), f"filled_{uuid.uuid4().hex}"
        url = create_database(server, name, request.getfixturevalue("postgres_template"))
    opened = open_store(url)
    with opened.engine.begin() as connection:
        fill(connection)
    yield opened
    opened.store.close()
    if name:
        drop_database(server, name)
