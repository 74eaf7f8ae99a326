"""ports.Store: every method, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses

import pytest
from tests.support.storage_samples import (
    REPOSITORY,
    order,
    put,
    sample_draft,
    sample_issue,
    sample_job,
    sample_pull,
    save,
)
from tests.support.stores import Opened

from windlass.adapters.storage import SqlStore, SqlTransaction
from windlass.core.effects import Order, StopRun
from windlass.core.errors import Conflict, NotFound, Refused
from windlass.core.events import Check, IssueWithdrawn, StopRequested
from windlass.core.job import Approval, State
from windlass.core.policy import Policy
from windlass.ports import Store, Transaction


def as_store(store: SqlStore) -> Store:
    """mypy compares the port with what fills it."""
    return store


def as_transaction(transaction: SqlTransaction) -> Transaction:
    """mypy compares the port with what fills it."""
    return transaction


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


def test_watched_counted_and_named_jobs(store: SqlStore) -> None:
    watched = save(store, put(store, sample_job(1)), pull_number=4)
    plain = put(store, sample_job(2))
    over = save(store, put(store, sample_job(3)), pull_number=6, state=State.MERGED, deadline_at_ms=None)
    assert store.jobs_with_pull("", 10) == (watched.id,)
    assert store.jobs_with_pull(watched.id, 10) == ()
    assert store.jobs_by_prefix(plain.id, 10) == (plain.id,)
    assert set(store.jobs_by_prefix("", 10)) == {watched.id, plain.id, over.id}
    assert len(store.jobs_by_prefix("", 2)) == 2
    assert store.jobs_by_prefix("~", 10) == ()
    assert store.count_jobs()["merged"] == 1
    assert sum(store.count_jobs().values()) == 3
    with store.transaction() as transaction:
        transaction.add_order(
            plain.id, Order(seq=0, effect=StopRun(run_id="r")), 5, queue="q", partition="p", priority=1
        )
    assert store.is_open(plain.id, 0)
    assert not store.is_open(plain.id, 1)


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
