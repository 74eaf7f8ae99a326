"""ports.Store: deliveries, runs, repositories, configuration and the ledger, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses

import pytest
from tests.support.storage_samples import delivery, put, sample_draft, sample_job
from tests.support.stores import Opened

from windlass.adapters.storage import SqlStore
from windlass.core import evidence, merkle
from windlass.core.errors import Broken, Conflict, NotFound, Refused
from windlass.ports import RunRecord

# ------------------------------------------------------------------ deliveries


def test_deliveries_are_stored_once(opened: Opened) -> None:
    store = opened.store
    assert store.put_deliveries([]) == ()
    assert store.put_deliveries([delivery("a"), delivery("b"), delivery("a", body=b"other")]) == (True, True, False)
    assert store.put_deliveries([delivery("c"), delivery("a"), delivery("c")]) == (True, False, False)
    found = {one.id: one for one in store.claim_deliveries("me", 10, 100, 50)}
    assert found["a"].body == b"\0\xff{}"
    many = [delivery(f"m{i}") for i in range(1_100)]
    assert all(store.put_deliveries(many))
    assert not any(store.put_deliveries(many))


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_a_delivery_without_a_usable_id_is_refused(store: SqlStore, name: str) -> None:
    with pytest.raises(Refused) as caught:
        store.put_deliveries([delivery("fine"), delivery(name)])
    assert caught.value.code == "delivery_id"
    assert store.put_deliveries([delivery("fine")]) == (True,)


def test_a_delivery_is_held_by_one_until_its_lease_ends(store: SqlStore) -> None:
    store.put_deliveries([delivery("late", 3), delivery("early", 1), delivery("middle", 2)])
    first = store.claim_deliveries("a", 2, 100, 1_000)
    assert [(one.id, one.attempts) for one in first] == [("early", 1), ("middle", 1)]
    assert [one.id for one in store.claim_deliveries("b", 5, 100, 1_000)] == ["late"]
    assert store.claim_deliveries("b", 5, 100, 1_099) == ()
    assert [(one.id, one.attempts) for one in store.claim_deliveries("b", 1, 100, 1_100)] == [("early", 2)]


def test_a_delivery_is_released_for_later_or_done_with(opened: Opened) -> None:
    store = opened.store
    store.put_deliveries([delivery("x")])
    store.claim_deliveries("a", 1, 100, 0)
    store.release_delivery("x", retry_at_ms=500, error="no luck\0")
    assert store.claim_deliveries("a", 1, 100, 499) == ()
    assert [one.id for one in store.claim_deliveries("a", 1, 100, 500)] == ["x"]
    with store.transaction() as transaction:
        transaction.mark_delivery("x", at_ms=600, outcome="ignored")
    store.release_delivery("x", retry_at_ms=0, error="too late")
    assert store.claim_deliveries("a", 1, 100, 10_000) == ()
    (row,) = opened.rows("select * from deliveries")
    assert (row["outcome"], row["error"], row["processed_at_ms"]) == ("ignored", "no luck\ufffd", 600)
    with store.transaction() as transaction, pytest.raises(NotFound):
        transaction.mark_delivery("y", at_ms=1, outcome="")


# ------------------------------------------------------------------ runs, repositories, configuration


def test_runs_are_inserted_then_updated(opened: Opened) -> None:
    store, job = opened.store, put(opened.store, sample_job())
    run = RunRecord(id="r1", job_id=job.id, role="coder", attempt=1, agent="patch", status="running", cpu_s=0.25)
    second = dataclasses.replace(run, id="r2", attempt=2)
    store.save_run(run)
    store.save_run(second)
    done = dataclasses.replace(
        run, status="finished", outcome="completed", started_at_ms=1, finished_at_ms=2, peak_memory_bytes=1 << 40
    )
    store.save_run(done)
    assert store.runs(job.id) == (done, second)
    assert store.runs("none") == ()
    assert [row["name"] for row in opened.rows("select name from agents")] == ["patch"]
    with pytest.raises(Conflict):
        store.save_run(dataclasses.replace(run, id="r3", job_id="none"))
    with pytest.raises(Refused):
        store.save_run(dataclasses.replace(run, id="r3", outcome="splendid"))


def test_repositories_are_known_once(opened: Opened) -> None:
    store = opened.store
    store.save_repository("octo/b", default_branch="main", forge_id=5)
    store.save_repository("octo/a", default_branch="main", forge_id=None)
    store.save_repository("octo/a", default_branch="trunk", forge_id=6)
    store.save_repository("octo/a", default_branch="trunk", forge_id=None)
    assert store.repositories() == ("octo/a", "octo/b")
    (row,) = opened.rows("select * from repositories where full_name = 'octo/a'")
    assert (row["default_branch"], row["forge_id"]) == ("trunk", 6)
    store.save_repository("octo/renamed", default_branch="main", forge_id=5)
    assert store.repositories() == ("octo/a", "octo/renamed")


def test_versions_of_templates_are_kept_and_the_newest_is_in_use(opened: Opened) -> None:
    store = opened.store
    for digest in ("a" * 64, "a" * 64, "b" * 64, "a" * 64):
        store.know_template("bugfix/coder", digest, f"body {digest[0]}")
    store.know_template("feature/coder", "c" * 64, "other")
    rows = opened.rows("select * from prompt_templates order by task_type, digest")
    kept = [(row["task_type"], row["role"], row["digest"][0], row["body"], bool(row["is_active"])) for row in rows]
    assert kept == [
        ("bugfix", "coder", "a", "body a", True),
        ("bugfix", "coder", "b", "body b", False),
        ("feature", "coder", "c", "other", True),
    ]
    with pytest.raises(Refused):
        store.know_template("poem/coder", "d" * 64, "body")


def test_configuration_keeps_every_version(opened: Opened) -> None:
    store = opened.store
    assert store.get_config("limit") is None
    for value in (1, {"a": [1.5, None, "\0"]}, False):
        store.set_config("limit", value, by="ann", at_ms=5, why="because")
        assert store.get_config("limit") == value
    store.set_config("other", "x", by="bob", at_ms=6)
    rows = opened.rows("select * from system_config where key = 'limit' order by version")
    assert [(row["version"], row["by"], row["why"]) for row in rows] == [(n, "ann", "because") for n in (1, 2, 3)]
    with pytest.raises(Refused):
        store.set_config("limit", float("nan"), by="ann", at_ms=5)
    with pytest.raises(Refused):
        store.set_config("", 1, by="ann", at_ms=5)


# ------------------------------------------------------------------ ledger


def test_records_are_sealed_counted_and_placed(store: SqlStore) -> None:
    one, two = put(store, sample_job(1)), put(store, sample_job(2))
    with store.transaction() as transaction:
        transaction.add_records(one.id, [sample_draft("a"), sample_draft("b")], 10)
        transaction.add_records(two.id, [sample_draft("c")], 11)
        transaction.add_records(one.id, [sample_draft("d")], 12)
        transaction.add_records(None, [sample_draft("e")], 13)
        transaction.add_records(None, [], 13)
    with store.transaction() as transaction:
        transaction.add_records(one.id, [sample_draft("f")], 14)
    waiting = store.records()
    assert [record.leaf_index for record in waiting] == [None] * 6
    assert store.ledger_size() == 0
    assert store.sequence_records(4) == 4
    assert store.sequence_records(4) == 2
    assert store.sequence_records(4) == 0
    placed = store.records()
    assert [(r.id, r.leaf_index) for r in placed] == [(r.id, i) for i, r in enumerate(waiting)]
    assert [r.job_seq for r in store.records(one.id)] == [0, 1, 2, 3]
    assert [(r.job_id, r.job_seq) for r in placed][4] == (None, None)
    assert store.ledger_size() == 6
    assert store.leaf_hashes(0, 6) == [merkle.leaf_hash(r.body) for r in placed]
    assert store.leaf_hashes(2, 4) == [r.leaf_hash for r in placed[2:4]]
    first = placed[0]
    expected = evidence.seal("refusal", {"why": "a"}, id=first.id, job_id=one.id, job_seq=0, at_ms=10)
    assert (first.body, first.leaf_hash) == expected


def test_records_are_read_in_pages_with_the_waiting_ones_last(store: SqlStore) -> None:
    job = put(store, sample_job())
    with store.transaction() as transaction:
        transaction.add_records(job.id, [sample_draft(str(i)) for i in range(4)], 1)
    store.sequence_records(3)
    assert [r.leaf_index for r in store.records()] == [0, 1, 2, None]
    assert [r.leaf_index for r in store.records(after=0, limit=1)] == [1]
    assert [r.leaf_index for r in store.records(after=1, limit=2)] == [2, None]
    assert [r.job_seq for r in store.records(job.id, after=2)] == [3]
    assert store.records("none") == ()
    assert store.records(limit=0) == ()


def test_records_of_an_unknown_job_are_refused(store: SqlStore) -> None:
    with store.transaction() as transaction, pytest.raises(NotFound):
        transaction.add_records("none", [sample_draft()], 1)


def test_what_seal_refuses_is_refused(store: SqlStore) -> None:
    job = put(store, sample_job())
    with pytest.raises(Refused, match="kind"), store.transaction() as transaction:
        transaction.add_records(job.id, [dataclasses.replace(sample_draft(), kind="gossip")], 1)
    with store.transaction() as transaction:
        transaction.add_records(job.id, [sample_draft()], 1)
    assert [r.job_seq for r in store.records(job.id)] == [0]


def test_checkpoints_are_kept_by_size(store: SqlStore) -> None:
    assert store.latest_checkpoint() is None
    store.add_checkpoint(3, b"\1" * 32, "three", 10)
    store.add_checkpoint(7, b"\2" * 32, "seven", 20)
    store.add_checkpoint(7, b"\2" * 32, "seven again", 30)
    assert store.latest_checkpoint() == (7, "seven")
    assert store.checkpoints() == ((3, "three"), (7, "seven"))
    assert store.checkpoints(after=3) == ((7, "seven"),)
    assert store.checkpoints(limit=1) == ((3, "three"),)
    with pytest.raises(Broken) as caught:
        store.add_checkpoint(7, b"\3" * 32, "forged", 40)
    assert caught.value.code == "two_roots"
    with pytest.raises(Refused):
        store.add_checkpoint(8, b"short", "x", 40)
