"""What the tables themselves refuse, on SQLite and on PostgreSQL: every CHECK, reference and immutable row."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.storage_rows import filled_database, sample_values
from tests.support.storage_samples import order, put, sample_job
from tests.support.stores import Opened

from windlass.adapters.storage import SqlStore
from windlass.adapters.storage.faults import translated
from windlass.adapters.storage.guards import IMMUTABLE
from windlass.adapters.storage.models import metadata
from windlass.core.errors import Conflict, Refused

CHECKS = [
    (table.name, str(rule.name), str(rule.sqltext))
    for table in metadata.sorted_tables
    for rule in sorted(table.constraints, key=lambda r: str(r.name))
    if isinstance(rule, sa.CheckConstraint)
]


def breaking(table: str, rule: str) -> dict[str, Any]:
    """Values that break this rule and, as far as it can be, no other."""
    if found := re.fullmatch(r'length\("(\w+)"\) > 0', rule):
        column = metadata.tables[table].c[found[1]]
        return {found[1]: b"" if isinstance(column.type, sa.LargeBinary) else ""}
    if found := re.fullmatch(r'"(\w+)" >= (\d+)', rule):
        return {found[1]: int(found[2]) - 1}
    if found := re.fullmatch(r"(\w+) in \(.*\)", rule):
        return {found[1]: "nonsense"} | ({"closed_at_ms": 1} if table == "effects" else {})
    if found := re.fullmatch(r"length\((\w+)\) = 32", rule):
        return {found[1]: b"x" * 31}
    return {
        "(job_id is null) = (job_seq is null)": {"job_seq": None},
        "(status = 'ordered') = (closed_at_ms is null)": {"closed_at_ms": 1},
        "last_at_ms >= first_at_ms": {"first_at_ms": 2, "last_at_ms": 1},
    }.get(rule) or {"deadline_at_ms": None}


@pytest.mark.parametrize(("table", "name", "rule"), CHECKS, ids=[name for _, name, _ in CHECKS])
def test_every_check_refuses(filled: Opened, table: str, name: str, rule: str) -> None:
    values = sample_values(table, 2) | breaking(table, rule)
    with pytest.raises(Refused) as caught, translated(), filled.engine.begin() as connection:
        connection.execute(sa.insert(metadata.tables[table]), values)
    assert caught.value.code == "database_rule"
    assert name in caught.value.message


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgres"))])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One row in every table; shared, because every test here ends in a rollback."""
    yield from filled_database(request, tmp_path_factory)


def test_the_rows_themselves_are_accepted(filled: Opened) -> None:
    with filled.engine.connect() as connection, connection.begin() as transaction:
        for table in metadata.sorted_tables:
            # On PostgreSQL refused rows use numbers up too, so the one that is referred to is given.
            known = {"number": 2} if table.name == "execution_logs" else {}
            connection.execute(sa.insert(table), sample_values(table.name, 2) | known)
        transaction.rollback()


@pytest.mark.parametrize("table", IMMUTABLE)
@pytest.mark.parametrize("act", ["update", "delete", "replace"])
def test_immutable_rows_stay(filled: Opened, table: str, act: str) -> None:
    column = next(c.name for c in metadata.tables[table].c if not c.primary_key)
    statement = {
        "update": f'UPDATE {table} SET "{column}" = "{column}"',
        "delete": f"DELETE FROM {table}",
        "replace": f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"
        if filled.engine.dialect.name == "sqlite"
        else f"TRUNCATE {table} CASCADE",
    }[act]
    before = filled.rows(f"SELECT * FROM {table}")
    with pytest.raises(Refused, match="immutable") as caught, translated(), filled.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    assert caught.value.code == "immutable"
    assert filled.rows(f"SELECT * FROM {table}") == before
    assert before


FOREIGN = [
    (table.name, key.parent.name)
    for table in metadata.sorted_tables
    for constraint in sorted(table.foreign_key_constraints, key=lambda c: str(c.name))
    for key in constraint.elements[:1]
]


@pytest.mark.parametrize(("table", "column"), FOREIGN)
def test_every_reference_is_held(filled: Opened, table: str, column: str) -> None:
    kind = metadata.tables[table].c[column].type.python_type
    values = sample_values(table, 2) | {column: 999 if kind is int else "nowhere"}
    with pytest.raises(Conflict), translated(), filled.engine.begin() as connection:
        connection.execute(sa.insert(metadata.tables[table]), values)


def test_a_job_with_evidence_cannot_be_deleted(opened: Opened) -> None:
    job = put(opened.store, sample_job())
    with opened.store.transaction() as transaction:
        transaction.add_order(job.id, order(), 1, queue="q", partition="", priority=0)
    with pytest.raises(Conflict), translated(), opened.engine.begin() as connection:
        connection.execute(sa.delete(metadata.tables["agent_jobs"]))
    assert opened.store.job(job.id) == job


def first_plan(opened: Opened, ask: Callable[[], object]) -> str:
    """How the database would carry out the first query that `ask` makes, when reading whole tables is forbidden."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "UPDATE")):
            asked.append((statement, parameters))

    sa.event.listen(opened.engine, "before_cursor_execute", note)
    ask()
    sa.event.remove(opened.engine, "before_cursor_execute", note)
    is_sqlite = opened.engine.dialect.name == "sqlite"
    with opened.engine.connect() as connection:
        if not is_sqlite:
            connection.exec_driver_sql("SET enable_seqscan = off")
        explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
        return str(connection.exec_driver_sql(explain + asked[0][0], asked[0][1]).all())


@pytest.mark.parametrize(
    ("index", "ask"),
    [
        ("ix_deliveries_waiting", lambda store: store.claim_deliveries("me", 5, 1, 1)),
        ("ix_effects_open", lambda store: store.open_effects(5, 5)),
        ("ix_agent_jobs_due", lambda store: store.due_jobs(5, 5)),
        ("ix_agent_jobs_newest", lambda store: store.jobs()),
        ("ix_agent_jobs_issue", lambda store: store.latest_job("octo/demo", 1)),
        ("ix_events_job_id_number", lambda store: store.events("x")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_asked_often_is_answered_by_an_index(
    opened: Opened, index: str, ask: Callable[[SqlStore], object]
) -> None:
    assert index in first_plan(opened, lambda: ask(opened.store))


def test_the_active_job_is_found_by_its_unique_index(opened: Opened) -> None:
    def ask() -> None:
        with opened.store.transaction() as transaction:
            transaction.active_job("octo/demo", 1)

    assert "uq_agent_jobs_one_active_per_issue" in first_plan(opened, ask)
