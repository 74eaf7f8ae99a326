"""ports.Store: what runs used, on SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest
from tests.support.storage_samples import put, sample_job
from tests.support.stores import Opened

from windlass.core.agent_events import Usage
from windlass.core.errors import Conflict
from windlass.ports import RunRecord


def test_usage_is_kept_once_per_run_and_its_model_becomes_known(opened: Opened) -> None:
    store, job = opened.store, put(opened.store, sample_job())
    for name in ("r1", "r2"):
        store.save_run(RunRecord(id=name, job_id=job.id, role="coder", attempt=1, agent="a", status="running"))
    whole = Usage(model="big-1", input_tokens=200, output_tokens=40, cached_tokens=10, cost_usd="0.0012005", turns=2)
    store.save_usage(job.id, "r1", Usage(model="big-1"), at_ms=5)
    store.save_usage(job.id, "r1", whole, at_ms=7, cpu_s=1.5)
    store.save_usage(job.id, "r2", Usage(input_tokens=0), at_ms=9)
    rows = opened.rows("select * from usage order by run_id")
    facts = ("run_id", "model", "input_tokens", "output_tokens", "cost_microusd", "cpu_ms", "at_ms")
    assert [tuple(row[fact] for fact in facts) for row in rows] == [
        ("r1", "big-1", 200, 40, 1201, 1500, 7),
        ("r2", "", 0, None, None, None, 9),
    ]
    (model,) = opened.rows("select * from model_versions")
    assert (model["name"], model["first_seen_at_ms"], model["last_seen_at_ms"]) == ("big-1", 5, 7)


def test_usage_of_nothing_known_is_refused(opened: Opened) -> None:
    job = put(opened.store, sample_job())
    with pytest.raises(Conflict):
        opened.store.save_usage(job.id, "none", Usage(input_tokens=1), at_ms=1)
    hostile = Usage(model="NUL \0 and \ud800", cost_usd="no number")
    opened.store.save_run(RunRecord(id="r", job_id=job.id, role="coder", attempt=1, agent="a", status="running"))
    opened.store.save_usage(job.id, "r", hostile, at_ms=1)
    (row,) = opened.rows("select * from usage")
    assert row["cost_microusd"] is None
