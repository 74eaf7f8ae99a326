"""Generic access over every entity of the data model, on both databases."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.support.storage_rows import fill, sample_values
from tests.support.storage_samples import sample_job
from tests.support.stores import Opened

from windlass.adapters.storage import ENTITIES, Tables
from windlass.adapters.storage.codec import encode_job
from windlass.adapters.storage.models import metadata
from windlass.core.errors import Conflict, NotFound, Refused
from windlass.core.job import State

ASKED = {
    *("repositories", "issues", "agents", "agent_jobs", "agent_runs", "pull_requests", "ci_results", "approvals"),
    *("compliance_records", "execution_logs", "system_config", "model_versions", "prompt_templates", "feedback"),
    *("deliveries", "usage"),
}
IMMUTABLE = {
    *("approvals", "compliance_records", "ledger_leaves", "checkpoints", "execution_logs", "system_config"),
}
MADE: dict[str, dict[str, Any]] = {
    "agent_jobs": {"snapshot": encode_job(sample_job(2, id="id-2")), "updated_at_ms": 5},
    "compliance_records": {"job_id": "id-1", "kind": "refusal", "data": {"why": "no"}, "at_ms": 5},
    "checkpoints": {"size": 2, "root": b"r" * 32, "note": "n", "at_ms": 5},
    "system_config": {"key": "limit", "value": '{"a":1}', "by": "ann", "at_ms": 5, "why": "because"},
}
CHANGES: dict[str, dict[str, Any]] = {
    "repositories": {"default_branch": "trunk"},
    "issues": {"title": "Other"},
    "agents": {"definition": '{"image":"x"}'},
    "agent_runs": {"detail": "more", "finished_at_ms": 9},
    "pull_requests": {"state": "merged"},
    "ci_results": {"conclusion": "success"},
    "model_versions": {"note": "slow"},
    "prompt_templates": {"is_active": False},
    "feedback": {"body": "thanks"},
    "deliveries": {"attempts": 3},
    "usage": {"cost_microusd": None},
}


@pytest.fixture
def tables(opened: Opened) -> Tables:
    """Row 1 is in every table."""
    with opened.engine.begin() as connection:
        fill(connection)
    return Tables(opened.store)


def key_of(name: str, row: dict[str, Any]) -> Any:
    key = tuple(row[column.name] for column in ENTITIES[name].key)
    return key if len(key) > 1 else key[0]


def given(name: str) -> dict[str, Any]:
    """Row 2, still of job 1 and run 1."""
    values = MADE.get(name) or sample_values(name, 2)
    parents = {"job_id": "id-1", "run_id": "id-1", "issue_number": 1, "agent": "agent-1"}
    if name in ("issues", "agent_jobs", "compliance_records", "pull_requests"):
        parents = {"job_id": "id-1"}
    return {column: parents.get(column, value) for column, value in values.items()}


def test_every_entity_that_was_asked_for_is_there() -> None:
    assert ENTITIES.keys() >= ASKED
    assert {name for name, entity in ENTITIES.items() if "update" not in entity.acts} == IMMUTABLE
    assert {name for name, entity in ENTITIES.items() if "create" not in entity.acts} == {"ledger_leaves"}


@pytest.mark.parametrize("name", ENTITIES)
def test_rows_are_created_read_listed_changed_and_deleted(tables: Tables, name: str) -> None:
    before = tables.list(name)
    assert len(before) == 1
    assert tables.read(name, key_of(name, before[0])) == before[0]
    if "create" not in ENTITIES[name].acts:
        return
    if name == "agent_jobs":
        tables.create("issues", sample_values("issues", 2))
    row = tables.create(name, given(name))
    key = key_of(name, row)
    assert row.keys() == {column.name for column in metadata.tables[name].c}
    assert tables.read(name, key) == row
    both = tables.list(name)
    assert len(both) == 2
    assert row in both
    assert tables.list(name, after=key_of(name, both[0])) == both[1:]
    assert tables.list(name, limit=1) == both[:1]
    column = ENTITIES[name].key[0].name
    assert row in tables.list(name, {column: row[column]})
    if "update" in ENTITIES[name].acts:
        change_and_delete(tables, name, key, row)
    else:
        for act in (lambda: tables.update(name, key, {}), lambda: tables.delete(name, key)):
            with pytest.raises(Refused) as caught:
                act()
            assert caught.value.code == "immutable"


def change_and_delete(tables: Tables, name: str, key: Any, row: dict[str, Any]) -> None:
    changes = CHANGES.get(name) or {
        "snapshot": encode_job(sample_job(2, id="id-2", state=State.FAILED, deadline_at_ms=None)),
        "updated_at_ms": 6,
    }
    changed = tables.update(name, key, changes)
    assert changed != row
    assert {column: changed[column] for column in changes} == changes
    assert tables.read(name, key) == changed
    tables.delete(name, key)
    for act in (tables.read, tables.delete):
        with pytest.raises(NotFound):
            act(name, key)
    with pytest.raises(NotFound):
        tables.update(name, key, changes)


@pytest.mark.parametrize("name", sorted(set(ENTITIES) - {"ledger_leaves"}))
def test_bad_rows_are_refused(tables: Tables, name: str) -> None:
    good = given(name)
    first = next(iter(good))
    for bad in (good | {"surprise": 1}, good | {first: object()}, {}):
        with pytest.raises(Refused) as caught:
            tables.create(name, bad)
        assert caught.value.code == "bad_value"
        assert caught.value.message.startswith(f"{name}.")
    assert len(tables.list(name)) == 1


def test_rows_that_break_a_rule_are_refused_and_say_which(tables: Tables) -> None:
    with pytest.raises(Conflict):
        tables.create("repositories", sample_values("repositories", 1))
    with pytest.raises(Conflict):
        tables.delete("repositories", "octo/demo")
    with pytest.raises(Conflict):
        tables.create("usage", given("usage") | {"job_id": "nowhere"})
    with pytest.raises(Refused, match="ck_usage_cpu_ms_least"):
        tables.create("usage", given("usage") | {"cpu_ms": -1})
    with pytest.raises(Refused):
        tables.create("usage", given("usage") | {"cpu_ms": 2**63})
    with pytest.raises(Refused, match="JSON"):
        tables.update("agents", "agent-1", {"definition": "{"})
    with pytest.raises(Refused):
        tables.update("agents", "agent-1", {"name": "other"})


def test_strange_questions_are_refused(tables: Tables) -> None:
    for code, ask in (
        ("unknown_entity", lambda: tables.read("passwords", 1)),
        ("bad_key", lambda: tables.read("issues", 1)),
        ("bad_key", lambda: tables.read("usage", "1")),
        ("unknown_column", lambda: tables.list("usage", {"1=1;--": 1})),
        ("no_change", lambda: tables.update("usage", 1, {})),
    ):
        with pytest.raises(Refused) as caught:
            ask()
        assert caught.value.code == code


def test_a_jobs_columns_follow_its_snapshot(tables: Tables, opened: Opened) -> None:
    job = opened.store.jobs()[0]
    changed = dataclasses.replace(job, state=State.ESCALATED, seq=9)
    row = tables.update("agent_jobs", job.id, {"snapshot": encode_job(changed), "updated_at_ms": 7})
    assert (row["state"], row["seq"], row["updated_at_ms"]) == ("escalated", 9, 7)
    assert opened.store.job(job.id) == changed
    other = dataclasses.replace(changed, id="other")
    with pytest.raises(Refused) as caught:
        tables.update("agent_jobs", job.id, {"snapshot": encode_job(other), "updated_at_ms": 7})
    assert caught.value.code == "wrong_key"
    with pytest.raises(Refused):
        tables.create("agent_jobs", {"snapshot": "{}", "updated_at_ms": 1})


def test_a_created_record_is_sealed_and_waits_for_its_leaf(tables: Tables, opened: Opened) -> None:
    row = tables.create("compliance_records", given("compliance_records"))
    assert row["job_seq"] == 1
    assert b'"why":"no"' in row["body"]
    assert opened.store.records()[-1].id == row["id"]
