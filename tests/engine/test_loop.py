"""The one door: an event once, everything or nothing, one job per issue, on both databases."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.core.jobs import snapshot
from tests.engine.world import POLICY, REPO, World, asked

from windlass.core import events
from windlass.core.errors import Conflict, Unavailable
from windlass.core.job import Job, Reason, State
from windlass.engine.loop import Door, place_of
from windlass.ports import Store, Transaction

BRANCH = "b" * 40


def everything(world: World, job: Job) -> Any:
    store = world.store
    return (store.job(job.id), store.events(job.id), store.effects(job.id), store.records())


def open_pull(world: World, job: Job) -> Job:
    """The job with a pull request, as after a push."""
    changed = dataclasses.replace(
        world.now(job),
        state=State.CHECKING,
        work=None,
        base_sha=BRANCH,
        head_sha="h" * 40,
        branch_sha="h" * 40,
        pushed_shas=("h" * 40,),
        pull_number=4,
        pull_url="https://forge/4",
    )
    with world.store.transaction() as tx:
        tx.lock_job(job.id)
        tx.save_job(changed)
    return changed


def test_a_request_opens_a_job_with_its_orders_records_and_event(both: World) -> None:
    handled = both.door.request(asked(), POLICY)
    assert handled.is_new
    assert handled.is_opened
    assert handled.job is not None
    job, stored, orders, records = everything(both, handled.job)
    assert job == handled.job
    assert [e.event.kind for e in stored] == ["IssueLabelled"]
    assert stored[0].job_after == job
    assert {e.order.effect.kind for e in orders} == {"CreateBranch", "UpdateStatusComment"}
    assert {r.kind for r in records} == {"decision", "intent"}
    assert both.told == [(job.id, "queued")]


def test_the_same_asking_again_changes_nothing_whatever_the_case_of_the_name(both: World) -> None:
    job = both.ask()
    before = everything(both, job)
    for repository in (REPO, REPO.upper()):
        again = both.door.request(asked(repository=repository), POLICY)
        assert not again.is_new
        assert not again.is_opened
    assert everything(both, job) == before


def test_another_asking_while_work_is_under_way_opens_nothing(both: World) -> None:
    job = both.ask()
    handled = both.door.request(asked(epoch="e-second"), POLICY)
    assert handled.is_new
    assert not handled.is_opened
    assert handled.job is not None
    assert handled.job.id == job.id
    assert "under way" in handled.why[0]
    assert len(both.store.jobs()) == 1


def test_a_request_that_is_not_allowed_is_on_record_and_asked_again_is_known(both: World) -> None:
    refused = asked(may_request=False, requested_by="eve")
    handled = both.door.request(refused, POLICY)
    assert handled.job is None
    assert "eve may not ask" in handled.why[0]
    assert [r.kind for r in both.store.records()] == ["refusal"]
    assert not both.door.request(refused, POLICY).is_new
    assert len(both.store.records()) == 1
    assert both.store.jobs() == ()


def test_an_event_is_decided_upon_once(both: World) -> None:
    job = both.ask()
    event = events.BranchCreated(seq=0, base_sha=BRANCH, branch_sha=BRANCH)
    first = both.door.handle(event, job_id=job.id, dedup="job1:0:answer")
    before = everything(both, job)
    again = both.door.handle(event, job_id=job.id, dedup="job1:0:answer")
    assert first.is_new
    assert not again.is_new
    assert everything(both, job) == before


def test_an_event_of_an_unknown_job_is_kept_and_hurts_nobody(both: World) -> None:
    handled = both.door.handle(events.StopRequested(by="rita"), job_id="nobody", dedup="x")
    assert handled.is_new
    assert handled.job is None
    assert handled.why == ("no such job",)
    assert not both.door.handle(events.StopRequested(by="rita"), job_id="nobody", dedup="x").is_new


def test_an_escalated_job_gives_way_in_the_same_transaction(both: World) -> None:
    job = open_pull(both, both.ask())
    with both.store.transaction() as tx:
        tx.lock_job(job.id)
        tx.save_job(dataclasses.replace(job, state=State.ESCALATED, reason=Reason.CI_FAILED))
    handled = both.door.request(asked(epoch="e-again"), POLICY)
    assert handled.is_opened
    assert handled.job is not None
    old = both.now(job)
    assert (old.state, old.reason) == (State.CANCELLED, Reason.ASKED_AGAIN)
    assert handled.job.pushed_shas == ("h" * 40,), "the new job knows what the old one pushed as ours"
    assert not [e for e in both.store.effects(job.id) if e.order.effect.kind == "Abandon"]
    assert [e.event.kind for e in both.store.events(job.id)][-1] == "IssueWithdrawn"
    assert (job.id, "cancelled") in both.told
    assert (handled.job.id, "queued") in both.told


def test_checks_that_were_read_are_written_to_the_tables(both: World, opened: Any) -> None:
    job = open_pull(both, both.ask())
    touched = both.door.handle(events.PullRequestTouched(what="t"), job_id=job.id, dedup="t")
    assert touched.job is not None
    seq = touched.job.observing_seq
    assert seq is not None
    pull = snapshot(touched.job)
    both.door.handle(events.PullRequestObserved(seq=seq, pull=pull), job_id=job.id, dedup=f"{job.id}:{seq}:answer")
    rows = opened.rows("select name, conclusion from ci_results")
    assert [(r["name"], r["conclusion"]) for r in rows] == [("tests", "success")]
    assert both.now(job).state is State.REVIEWING


class Faulty:
    """A store whose transactions break at a chosen call, or when they commit."""

    def __init__(self, store: Store, at: str, error: Exception) -> None:
        self._store, self._at, self._error = store, at, error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        with self._store.transaction() as tx:
            yield FaultyTransaction(tx, self._at, self._error)
            if self._at == "commit":
                raise self._error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class FaultyTransaction:
    def __init__(self, tx: Transaction, at: str, error: Exception) -> None:
        self._tx, self._at, self._error = tx, at, error

    def __getattr__(self, name: str) -> Any:
        if name == self._at:
            raise self._error
        return getattr(self._tx, name)


CALLS = ("insert_event", "insert_job", "save_job", "add_order", "add_records", "finish_event", "known_shas", "commit")


@pytest.mark.parametrize("at", CALLS)
@pytest.mark.parametrize("error", [Unavailable("gone"), RuntimeError("a fault of ours")])
def test_whatever_breaks_a_transaction_leaves_nothing_behind(both: World, at: str, error: Exception) -> None:
    told: list[Job] = []
    door = Door(
        Faulty(both.store, at, error),  # type: ignore[arg-type]
        both.clock,
        new_id=lambda: "job9",
        on_change=lambda job, _why: told.append(job),
    )
    with pytest.raises(type(error)):
        door.request(asked(), POLICY)
    assert both.store.jobs() == ()
    assert both.store.records() == ()
    assert told == []
    assert both.door.request(asked(), POLICY).is_opened, "the same asking works once the fault is gone"


@pytest.mark.parametrize(
    "at", ["lock_job", "save_job", "close_order", "add_order", "add_records", "finish_event", "commit"]
)
def test_an_answer_that_cannot_be_written_can_be_given_again(both: World, at: str) -> None:
    job = both.ask()
    before = everything(both, job)
    event = events.BranchCreated(seq=0, base_sha=BRANCH, branch_sha=BRANCH)
    faulty = Door(Faulty(both.store, at, Unavailable("gone")), both.clock, new_id=lambda: "x")  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        faulty.handle(event, job_id=job.id, dedup="a")
    assert everything(both, job) == before
    assert both.door.handle(event, job_id=job.id, dedup="a").is_new


def test_two_askings_at_once_make_one_job(both: World) -> None:
    start, results = threading.Barrier(6), []

    def ask(number: int) -> None:
        start.wait()
        try:
            results.append(both.door.request(asked(epoch=f"e{number}"), POLICY).is_opened)
        except Conflict:
            results.append(False)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 5 + [True]
    assert len(both.store.jobs()) == 1


def test_where_orders_wait() -> None:
    assert place_of("Acme/Shop", "StartRun").queue == "agent"
    assert place_of("Acme/Shop", "StartRun").partition == "acme/shop"
    assert place_of("a/b", "VerifyPatch").queue == "tests"
    light = [place_of("a/b", kind) for kind in ("StopRun", "Abandon", "SetCommitStatus", "Observe", "Notify")]
    assert {place.queue for place in light} == {"light"}
    assert [place.priority for place in light] == sorted(place.priority for place in light)
    assert all(place.priority > 0 for place in light), "0 means unset, which would come first"
