"""What a pull request that was re-read means, where a late, doubled or older word must change nothing."""

from __future__ import annotations

import pytest

from tests.core.jobs import check, review, snapshot
from tests.core.test_workflow import Drive
from windlass.core import events
from windlass.core.job import Outcome, Reason, State
from windlass.core.policy import Limits, Policy


def at_pull(**limits: int) -> Drive:
    drive = Drive(Policy(limits=Limits(checks_quiet_s=0, **limits)))
    drive.to_pull()
    return drive


def pass_deadline(drive: Drive, deadline_at_ms: int | None) -> None:
    assert deadline_at_ms is not None
    drive.hear(events.DeadlinePassed(deadline_at_ms=deadline_at_ms))


def test_a_deadline_of_before_says_nothing_of_the_one_of_now() -> None:
    drive = at_pull()
    first = drive.job.deadline_at_ms
    drive.now = (first or 0) + 1
    pass_deadline(drive, first)
    assert drive.job.is_last_look
    drive.now = (drive.job.deadline_at_ms or 0) + 1
    pass_deadline(drive, first)
    assert drive.job.state is State.CHECKING, "only its own deadline ends the last look"
    pass_deadline(drive, drive.job.deadline_at_ms)
    assert drive.job.state is State.ESCALATED


def test_a_side_effect_that_fails_leaves_the_awaited_work_alone() -> None:
    drive = Drive()
    seq = drive.last("UpdateStatusComment").seq
    work = drive.job.work
    drive.hear(
        events.EffectFailed(seq=seq, effect="UpdateStatusComment", code="forbidden", message="no", is_transient=False)
    )
    assert drive.job.work == work
    assert drive.job.state is State.QUEUED


def test_an_older_look_is_not_used() -> None:
    drive = at_pull()
    old = drive.job.observing_seq
    assert old is not None
    drive.observe(checks=(check(""),))
    closed = snapshot(drive.job, state="closed")
    drive.hear(events.PullRequestObserved(seq=old, pull=closed))
    assert drive.job.state is State.CHECKING


def test_a_request_for_changes_is_answered_once() -> None:
    drive = at_pull(review_rounds=0)
    for _ in range(3):
        drive.observe(reviews=(review("changes_requested"),))
        assert (drive.job.state, drive.job.reason) == (State.ESCALATED, Reason.CHANGES_REQUESTED)
    assert drive.count("Notify") == 1
    drive.observe(reviews=(review("changes_requested"), review("changes_requested", by="max", number=2)))
    assert drive.count("Notify") == 2, "another person's word is new"


@pytest.mark.parametrize("older", ["h" * 40, "b" * 40])
def test_a_forge_that_still_shows_an_older_head_of_ours_is_asked_again(older: str) -> None:
    drive = at_pull(flake_reruns=0)
    drive.observe(checks=(check("failure"),))
    drive.run_to_pull("n" * 40)
    drive.observe(head_sha=older, reviews=(review(sha=older),))
    assert drive.job.head_sha == "n" * 40
    assert not drive.job.is_human_driven
    assert drive.job.approval is None
    assert drive.job.state is State.CHECKING
    assert drive.last("Observe").delay_s > 0


@pytest.mark.parametrize(("outcome", "reason"), [(Outcome.FAILED, Reason.AGENT_FAILED)])
def test_a_green_pull_request_does_not_cure_what_is_not_its_fault(outcome: Outcome, reason: Reason) -> None:
    drive = at_pull(agent_attempts=1, flake_reruns=0)
    drive.observe(checks=(check("failure"),))
    run_id = drive.job.run_id or ""
    drive.hear(events.RunFinished(seq=drive.last("StartRun").seq, run_id=run_id, outcome=outcome))
    assert (drive.job.state, drive.job.reason) == (State.ESCALATED, reason)
    drive.observe()
    assert (drive.job.state, drive.job.reason) == (State.ESCALATED, reason)
    drive.observe(checks=(check(""),))
    assert drive.job.state is State.ESCALATED


def test_a_conflict_asks_a_person_once_and_is_cured_when_it_is_gone() -> None:
    drive = at_pull()
    for _ in range(2):
        drive.observe(is_mergeable=False)
        assert (drive.job.state, drive.job.reason) == (State.ESCALATED, Reason.MERGE_CONFLICT)
    assert drive.count("Notify") == 1
    drive.observe(is_mergeable=True)
    assert drive.job.state is State.REVIEWING
