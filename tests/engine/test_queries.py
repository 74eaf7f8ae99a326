"""What people may ask: jobs by the beginning of their id, their history, and whether it still explains them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.engine.test_effects import carry_out, to_push
from tests.engine.test_loop import open_pull
from tests.engine.world import POLICY, World, asked

from windlass.core import events
from windlass.core.errors import NotFound
from windlass.core.job import Reason, State
from windlass.engine.queries import Queries
from windlass.ports import RunRecord


def ask_of(world: World) -> Queries:
    return Queries(world.store, world.blobs)


async def test_why_decides_again_and_finds_the_same(both: World) -> None:
    job = to_push(both)
    await carry_out(both, job, "PushPatch")
    await carry_out(both, job, "OpenPullRequest")
    both.clock.now += 5000
    both.door.handle(events.StopRequested(by="rita", why="x"), job_id=job.id, dedup="s")
    both.door.handle(events.PullRequestTouched(what="late"), job_id=job.id, dedup="t")
    told = ask_of(both).why(job.id)
    assert [e.event for e in told] == [
        "IssueLabelled",
        "BranchCreated",
        "RunFinished",
        "PatchVerified",
        "PatchPushed",
        "PullRequestOpened",
        "StopRequested",
        "PullRequestTouched",
    ]
    assert told[0].is_replayed is None, "nothing was there to decide on"
    assert all(e.is_replayed is True for e in told[1:])
    assert (told[6].source, told[6].target) == ("checking", "cancelled")
    assert told[6].why[0] == "rita asked to stop: x"
    assert told[7].why == ("the job is over",)


def test_a_history_that_does_not_explain_the_job_is_found_out(both: World, opened: Any) -> None:
    job = both.ask()
    both.door.handle(events.BranchCreated(seq=0, base_sha="b" * 40, branch_sha="b" * 40), job_id=job.id, dedup="a")
    stored = both.store.events(job.id)[1]
    assert stored.job_after is not None
    forged = dataclasses.replace(stored.job_after, requested_by="eve")
    with both.store.transaction() as tx:
        tx.finish_event(
            stored.id, job_id=job.id, before=stored.job_before, after=forged, why=stored.why, policy=stored.policy
        )
    assert ask_of(both).why(job.id)[1].is_replayed is False
    with both.store.transaction() as tx:
        tx.finish_event(
            stored.id,
            job_id=job.id,
            before=stored.job_before,
            after=stored.job_after,
            why=("no",),
            policy=stored.policy,
        )
    assert ask_of(both).why(job.id)[1].is_replayed is False


def test_an_escalated_job_that_was_asked_for_again_still_explains_itself(both: World) -> None:
    job = open_pull(both, both.ask())
    with both.store.transaction() as tx:
        tx.lock_job(job.id)
        tx.save_job(dataclasses.replace(job, state=State.ESCALATED, reason=Reason.CI_FAILED))
    both.door.request(asked(epoch="again"), POLICY)
    assert [e.is_replayed for e in ask_of(both).why(job.id)] == [None, True]


def test_jobs_by_the_beginning_of_their_id(both: World) -> None:
    first, second = both.ask(1), both.ask(2)
    queries = ask_of(both)
    assert queries.job(first.id) == first
    assert queries.job("job1") == first
    assert queries.job("job2wx") == second
    with pytest.raises(NotFound):
        queries.job("job")
    with pytest.raises(NotFound):
        queries.job("nobody")
    with pytest.raises(NotFound):
        queries.job("%")
    assert {j.id for j in queries.jobs()} == {first.id, second.id}
    assert queries.jobs(states=[State.RUNNING]) == ()
    assert len(queries.jobs(limit=1)) == 1
    counts = queries.counts()
    assert counts["queued"] == 2
    assert sum(counts.values()) == 2
    assert set(counts) == {state.value for state in State}


def test_details_and_reports_of_a_job(small: World) -> None:
    job = small.ask()
    report, log = small.blobs.put("Änderung".encode()), small.blobs.put(b"\xff printed")
    small.store.save_run(
        RunRecord(
            id="r1",
            job_id=job.id,
            role="coder",
            attempt=1,
            agent="patch",
            status="finished",
            report_digest=report,
            log_digest=log,
        )
    )
    details = ask_of(small).details(job.id)
    assert details["job"]["id"] == job.id
    assert details["runs"][0]["id"] == "r1"
    assert details["orders"][0] == {"seq": 0, "effect": "CreateBranch", "status": "ordered", "claims": 0}
    assert ask_of(small).reports(job.id) == (("r1", "Änderung"),)
