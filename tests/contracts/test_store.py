"""ports.Store: every method, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.support.storage_samples import REPOSITORY, sample_draft, sample_issue, sample_job, sample_pull
from tests.support.stores import Opened

from windlass.adapters.storage import SqlStore, SqlTransaction
from windlass.core import evidence, merkle
from windlass.core.effects import Notify, Order
from windlass.core.errors import Broken, Conflict, NotFound, Refused
from windlass.core.events import Check, IssueWithdrawn, StopRequested
from windlass.core.job import Approval, Job, State
from windlass.core.policy import Policy
from windlass.ports import Delivery, RunRecord, Store, Transaction


def as_store(store: SqlStore) -> Store:
    """mypy compares the port with what fills it."""
    return store


def as_transaction(transaction: SqlTransaction) -> Transaction:
    """mypy compares the port with what fills it."""
    return transaction


def put(store: SqlStore, job: Job) -> Job:
    with store.transaction() as transaction:
        transaction.insert_job(job)
    return job


def save(store: SqlStore, job: Job, **changes: Any) -> Job:
    changed = dataclasses.replace(job, **changes)
    with store.transaction() as transaction:
        transaction.lock_job(job.id)
        transaction.save_job(changed)
    return changed


def order(seq: int = 1) -> Order:
    return Order(seq=seq, effect=Notify(subject="s", text="t"), delay_s=1.5)


# ------------------------------------------------------------------ jobs


def test_a_job_comes_back_as_it_was_written(store: SqlStore) -> None:
    job = put(store, sample_job(issue=sample_issue(title="NUL \0 and \ud800", labels=("AI-Ready",))))
    assert store.job(job.id) == job
    with store.transaction() as transaction:
        assert transaction.lock_job(job.id) == job
        assert transaction.active_job(REPOSITORY, 1) == job
        assert transaction.lock_job("none") is None
        assert transaction.active_job(REPOSITORY, 2) is None
        assert transaction.active_job("octo/other", 1) is None
    assert store.job("none") is None


def test_an_issue_has_one_active_job(store: SqlStore) -> None:
    first, second = put(store, sample_job()), sample_job()
    with store.transaction() as transaction:
        with pytest.raises(Conflict) as caught:
            transaction.insert_job(second)
        assert caught.value.code == "active_job"
        transaction.add_records(first.id, [sample_draft()], 1)
    assert store.job(second.id) is None
    assert len(store.records(first.id)) == 1, "the transaction went on after the refusal"
    save(store, first, state=State.CLOSED, deadline_at_ms=None)
    put(store, second)
    put(store, sample_job(2))
    with store.transaction() as transaction:
        assert transaction.active_job(REPOSITORY, 1) == second


def test_the_same_job_id_is_refused_too(store: SqlStore) -> None:
    job = put(store, sample_job())
    with store.transaction() as transaction, pytest.raises(Conflict):
        transaction.insert_job(dataclasses.replace(job, issue=sample_issue(9)))


def test_saving_shows_in_the_columns(opened: Opened) -> None:
    job = put(opened.store, sample_job())
    saved = save(opened.store, job, state=State.CHECKING, seq=4, deadline_at_ms=9_000, head_sha="c" * 40, agent="x")
    assert opened.store.job(job.id) == saved
    (row,) = opened.rows("select * from agent_jobs")
    shown = {name: row[name] for name in ("state", "seq", "deadline_at_ms", "head_sha", "agent", "issue_number")}
    assert shown == {
        "state": "checking",
        "seq": 4,
        "deadline_at_ms": 9_000,
        "head_sha": "c" * 40,
        "agent": "x",
        "issue_number": 1,
    }
    assert row["updated_at_ms"] > 0


def test_an_unknown_job_is_not_saved(store: SqlStore) -> None:
    with store.transaction() as transaction, pytest.raises(NotFound):
        transaction.save_job(sample_job())


def test_an_active_job_needs_a_deadline(store: SqlStore) -> None:
    with pytest.raises(Refused, match="active_has_deadline") as caught, store.transaction() as transaction:
        transaction.insert_job(sample_job(deadline_at_ms=None))
    assert caught.value.code == "database_rule"


def test_jobs_are_listed_newest_first(store: SqlStore) -> None:
    old = put(store, sample_job(1, created_at_ms=10))
    new = put(store, sample_job(2, created_at_ms=20))
    other = put(store, sample_job(1, repository="octo/other", created_at_ms=15))
    done = save(store, old, state=State.MERGED, deadline_at_ms=None)
    assert store.jobs() == (new, other, done)
    assert store.jobs(limit=1) == (new,)
    assert store.jobs(states=[State.MERGED]) == (done,)
    assert store.jobs(states=[]) == ()
    assert store.jobs(states=[State.QUEUED], repository=REPOSITORY) == (new,)


def test_the_newest_job_on_an_issue_is_found_whatever_its_state(store: SqlStore) -> None:
    old = put(store, sample_job(created_at_ms=10))
    save(store, old, state=State.FAILED, deadline_at_ms=None)
    new = put(store, sample_job(created_at_ms=20))
    done = save(store, new, state=State.CLOSED, deadline_at_ms=None)
    assert store.latest_job(REPOSITORY, 1) == done
    assert store.latest_job(REPOSITORY, 2) is None


def test_hints_find_active_jobs(store: SqlStore) -> None:
    job = put(store, sample_job(1))
    job = save(store, job, pull_number=7, head_sha="a" * 40, branch_sha="c" * 40, pushed_shas=("d" * 40, "a" * 40))
    other = put(store, sample_job(2))
    assert store.find_jobs(REPOSITORY, branch="ai-1") == (job.id,)
    assert store.find_jobs(REPOSITORY, pull_number=7) == (job.id,)
    for sha in ("a", "c", "d"):
        assert store.find_jobs(REPOSITORY, sha=sha * 40) == (job.id,)
    assert set(store.find_jobs(REPOSITORY, branch="ai-2", pull_number=7)) == {job.id, other.id}
    assert store.find_jobs(REPOSITORY) == ()
    assert store.find_jobs("octo/other", branch="ai-1") == ()
    assert store.find_jobs(REPOSITORY, sha="e" * 40) == ()
    save(store, job, state=State.MERGED, deadline_at_ms=None)
    assert store.find_jobs(REPOSITORY, branch="ai-1") == ()


def test_due_jobs_come_earliest_first(store: SqlStore) -> None:
    late = put(store, sample_job(1, deadline_at_ms=300))
    early = put(store, sample_job(2, deadline_at_ms=200))
    put(store, sample_job(3, deadline_at_ms=401))
    done = put(store, sample_job(4, deadline_at_ms=100))
    save(store, done, state=State.CANCELLED)
    assert store.due_jobs(400, 10) == ((early.id, 200), (late.id, 300))
    assert store.due_jobs(400, 1) == ((early.id, 200),)
    assert store.due_jobs(199, 10) == ()


def test_pushed_commits_of_all_jobs_on_the_issue_are_known(store: SqlStore) -> None:
    first = put(store, sample_job(created_at_ms=10))
    save(store, first, state=State.FAILED, deadline_at_ms=None, pushed_shas=("b" * 40, "a" * 40))
    second = put(store, sample_job(created_at_ms=20))
    save(store, second, pushed_shas=("a" * 40, "c" * 40))
    put(store, sample_job(2, pushed_shas=("e" * 40,)))
    with store.transaction() as transaction:
        assert transaction.known_shas(REPOSITORY, 1) == ("b" * 40, "a" * 40, "c" * 40)
        assert transaction.known_shas(REPOSITORY, 2) == ("e" * 40,)
        assert transaction.known_shas(REPOSITORY, 3) == ()


# ------------------------------------------------------------------ pull requests, checks, approvals


def test_a_job_shows_its_pull_request_and_its_approvals(opened: Opened) -> None:
    job = put(opened.store, sample_job())
    job = save(opened.store, job, pull_number=7, pull_url="https://forge/7", head_sha="a" * 40)
    yes = Approval(by="bob", head_sha="a" * 40, review_id=5, at_ms=77)
    job = save(opened.store, job, approval=yes)
    job = save(opened.store, job, approval=None)
    job = save(opened.store, job, approval=yes)
    job = save(opened.store, job, approval=Approval(by="eve", head_sha="c" * 40, review_id=6, at_ms=78))
    found = opened.rows("select by, head_sha, review_id, at_ms from approvals order by number".replace("by,", '"by",'))
    assert [(row["by"], row["at_ms"]) for row in found] == [("bob", 77), ("eve", 78)]
    save(opened.store, job, state=State.MERGED, deadline_at_ms=None)
    (pull,) = opened.rows("select * from pull_requests")
    assert (pull["pull_number"], pull["job_id"], pull["state"]) == (7, job.id, "merged")
    assert (pull["url"], pull["head_sha"]) == ("https://forge/7", "a" * 40)


def test_checks_are_kept_per_commit_and_the_newest_reading_wins(opened: Opened) -> None:
    job = put(opened.store, sample_job())
    seen = sample_pull(base_checks=(Check(name="test", source="check_run", status="completed", id=9),))
    with opened.store.transaction() as transaction:
        transaction.save_checks(job.id, seen, 100)
    again = dataclasses.replace(
        seen, checks=(dataclasses.replace(seen.checks[1], status="completed", conclusion="success"),) * 2
    )
    with opened.store.transaction() as transaction:
        transaction.save_checks(job.id, dataclasses.replace(again, is_merged=True, title="T\0"), 200)
    rows = opened.rows("select * from ci_results order by number")
    assert [(r["name"], r["check_id"], r["conclusion"], r["first_at_ms"], r["updated_at_ms"]) for r in rows] == [
        ("test", 9, "", 100, 200),
        ("test", 1, "failure", 100, 100),
        ("test", 2, "success", 100, 200),
        ("lint", 0, "success", 100, 100),
    ]
    assert [r["sha"][0] for r in rows] == ["b", "a", "a", "a"]
    assert [bool(r["is_base"]) for r in rows] == [True, False, False, False]
    (pull,) = opened.rows("select * from pull_requests")
    assert (pull["state"], pull["title"], pull["created_at_ms"]) == ("merged", "T\ufffd", 100)
    with opened.store.transaction() as transaction, pytest.raises(NotFound):
        transaction.save_checks("none", seen, 1)


# ------------------------------------------------------------------ events and effects


def test_an_event_is_taken_once_and_keeps_its_decision(store: SqlStore) -> None:
    job = sample_job()
    after = dataclasses.replace(job, state=State.RUNNING)
    event = StopRequested(by="ann", why="\0")
    with store.transaction() as transaction:
        number = transaction.insert_event("once", None, event, 5)
        assert number is not None
        transaction.insert_job(job)
        transaction.save_job(after)
        transaction.finish_event(
            number, job_id=job.id, before=job, after=after, why=["a", "b"], policy=Policy(label="L")
        )
        assert transaction.insert_event("once", None, event, 6) is None
    with store.transaction() as transaction:
        assert transaction.insert_event("once", job.id, event, 7) is None
        second = transaction.insert_event("twice", job.id, IssueWithdrawn(how="closed"), 8)
        with pytest.raises(NotFound):
            transaction.finish_event(10**6, job_id=None, before=None, after=None, why=(), policy=None)
    first, last = store.events(job.id)
    assert (first.id, first.dedup, first.at_ms, first.event) == (number, "once", 5, event)
    assert (first.source_state, first.target_state, first.why) == ("queued", "running", ("a", "b"))
    assert (first.job_before, first.job_after, first.policy) == (job, after, Policy(label="L"))
    assert (last.id, last.event, last.job_before, last.why) == (second, IssueWithdrawn(how="closed"), None, ())


def test_an_event_may_name_its_job_before_the_job_is_written(store: SqlStore) -> None:
    job = sample_job()
    with store.transaction() as transaction:
        transaction.insert_event("early", job.id, IssueWithdrawn(how="closed"), 1)
        transaction.insert_job(job)
    assert len(store.events(job.id)) == 1
    with pytest.raises(Conflict), store.transaction() as transaction:
        transaction.insert_event("stray", "nobody", IssueWithdrawn(how="closed"), 1)
    with store.transaction() as transaction:
        assert transaction.insert_event("stray", job.id, IssueWithdrawn(how="closed"), 1) is not None


def test_an_order_is_written_and_handed_on_in_the_transaction(opened: Opened) -> None:
    store, job = opened.store, put(opened.store, sample_job())
    with store.transaction() as transaction:
        transaction.add_order(job.id, order(), 50, queue="light", partition=REPOSITORY, priority=10)
    assert opened.enqueued == [(job.id, order(), "light", REPOSITORY, 10)]
    (effect,) = store.effects(job.id)
    assert (effect.order, effect.status, effect.claim, effect.ordered_at_ms) == (order(), "ordered", 0, 50)
    with pytest.raises(Conflict), store.transaction() as transaction:
        transaction.add_order(job.id, order(), 50, queue="light", partition="", priority=0)


def test_a_claim_fences_the_one_before(store: SqlStore) -> None:
    job = put(store, sample_job())
    with store.transaction() as transaction:
        transaction.add_order(job.id, order(), 50, queue="light", partition="", priority=0)
    first = store.claim_effect(job.id, 1)
    assert first is not None
    assert first.claim == 1
    assert store.is_current(job.id, 1, 1)
    second = store.claim_effect(job.id, 1)
    assert second is not None
    assert (second.claim, second.order) == (2, order())
    assert not store.is_current(job.id, 1, 1)
    assert store.is_current(job.id, 1, 2)
    with store.transaction() as transaction:
        transaction.close_order(job.id, 1, "done")
        transaction.close_order(job.id, 1, "failed")
        transaction.void_orders(job.id, [1])
    assert not store.is_current(job.id, 1, 2)
    assert store.claim_effect(job.id, 1) is None
    assert store.claim_effect(job.id, 2) is None
    assert store.effects(job.id)[0].status == "done"


def test_open_effects_are_those_that_are_old_and_not_closed(store: SqlStore) -> None:
    job = put(store, sample_job())
    with store.transaction() as transaction:
        for seq, at_ms in ((1, 30), (2, 20), (3, 10), (4, 5), (5, 40)):
            transaction.add_order(job.id, order(seq), at_ms, queue="light", partition="", priority=0)
        transaction.void_orders(job.id, iter([3, 9]))
        transaction.void_orders(job.id, [])
        transaction.close_order(job.id, 4, "failed")
    assert [e.order.seq for e in store.open_effects(40, 10)] == [2, 1]
    assert [e.order.seq for e in store.open_effects(41, 1)] == [2]
    assert [e.status for e in store.effects(job.id)] == ["ordered", "ordered", "void", "failed", "ordered"]
    with pytest.raises(Refused), store.transaction() as transaction:
        transaction.close_order(job.id, 1, "perhaps")


def test_an_exception_undoes_everything(opened: Opened) -> None:
    job = sample_job()

    def fail_at_the_end() -> None:
        with opened.store.transaction() as transaction:
            transaction.insert_event("gone", None, IssueWithdrawn(how="closed"), 1)
            transaction.insert_job(job)
            transaction.add_order(job.id, order(), 1, queue="light", partition="", priority=0)
            transaction.add_records(job.id, [sample_draft()], 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_at_the_end()
    assert opened.store.job(job.id) is None
    for table in ("events", "agent_jobs", "effects", "compliance_records", "ledger_waiting", "issues"):
        assert opened.rows(f"select * from {table}") == []


# ------------------------------------------------------------------ deliveries


def delivery(name: str, at_ms: int = 1, **changes: Any) -> Delivery:
    return Delivery(**{"id": name, "event": "issues", "body": b"\0\xff{}", "received_at_ms": at_ms, **changes})


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
    assert store.active_run_ids() == {"r1", "r2"}
    done = dataclasses.replace(
        run, status="finished", outcome="completed", started_at_ms=1, finished_at_ms=2, peak_memory_bytes=1 << 40
    )
    store.save_run(done)
    assert store.runs(job.id) == (done, second)
    assert store.active_run_ids() == {"r2"}
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
