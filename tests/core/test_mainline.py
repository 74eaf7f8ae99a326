"""The straight way: what each answer and each failure of the one awaited effect leads to."""

from __future__ import annotations

import dataclasses

import pytest

from tests.core.jobs import GOOD, ISSUE, NOW, PATCH
from tests.core.test_workflow import BAD, BRANCH, Drive
from windlass.core import events
from windlass.core.job import Outcome, Reason, State, TestRun, Verification
from windlass.core.mainline import may_publish
from windlass.core.policy import Limits, Policy


def at_run(policy: Policy | None = None) -> Drive:
    drive = Drive(policy or Policy(limits=Limits(checks_quiet_s=0)))
    drive.hear(events.BranchCreated(seq=drive.last("CreateBranch").seq, base_sha=BRANCH, branch_sha=BRANCH))
    return drive


def finish(drive: Drive, outcome: Outcome = Outcome.COMPLETED, **changes: object) -> None:
    given = {"patch": PATCH} if outcome is Outcome.COMPLETED else {}
    drive.hear(
        events.RunFinished(
            seq=drive.last("StartRun").seq,
            run_id=drive.job.run_id or "",
            outcome=outcome,
            **(given | changes),  # type: ignore[arg-type]
        )
    )


def fail(
    drive: Drive, kind: str, code: str = "refused", *, transient: bool = False, after: float | None = None
) -> None:
    seq = drive.last(kind).seq
    drive.hear(
        events.EffectFailed(seq=seq, effect=kind, code=code, message="m", is_transient=transient, retry_after_s=after)
    )


@pytest.mark.parametrize(
    ("outcome", "changes", "reason"),
    [
        (Outcome.COMPLETED, {"patch": None}, Reason.NO_CHANGE),
        (Outcome.COMPLETED, {"refusals": ("a symlink",)}, Reason.PATCH_REFUSED),
        (Outcome.NO_CHANGE, {}, Reason.NO_CHANGE),
        (Outcome.INCOMPLETE, {}, Reason.AGENT_INCOMPLETE),
        (Outcome.FAILED, {}, Reason.AGENT_FAILED),
        (Outcome.CANCELLED, {}, Reason.AGENT_FAILED),
        (Outcome.TIMED_OUT, {}, Reason.AGENT_TIMED_OUT),
        (Outcome.TIMED_OUT, {"patch": PATCH}, Reason.AGENT_TIMED_OUT),
    ],
)
def test_how_a_run_ends_names_the_reason_once_the_attempts_are_spent(
    outcome: Outcome, changes: dict[str, object], reason: Reason
) -> None:
    drive = at_run(Policy(limits=Limits(agent_attempts=2)))
    finish(drive, outcome, **changes)
    assert (drive.job.state, drive.job.budgets.agent_attempts) == (State.QUEUED, 1)
    assert drive.last("StartRun").effect.attempt == 2
    finish(drive, outcome, **changes)
    assert (drive.job.state, drive.job.reason) == (State.ESCALATED, reason)
    assert drive.count("StartRun") == 2
    assert drive.count("VerifyPatch") == 0
    assert drive.count("Notify") == 1


def test_refusals_are_told_to_the_next_attempt() -> None:
    drive = at_run()
    finish(drive, refusals=("evil -> /etc/passwd is a symlink out", "more"))
    assert drive.last("StartRun").effect.feedback == "evil -> /etc/passwd is a symlink out\nmore"


def test_a_lost_run_costs_no_attempt_and_gets_a_name_of_its_own() -> None:
    drive = at_run(Policy(limits=Limits(revivals=1)))
    first = drive.job.run_id
    finish(drive, Outcome.INFRA_ERROR)
    assert drive.job.budgets.agent_attempts == 0
    assert drive.job.run_id != first
    assert drive.last("StartRun").delay_s > 0
    finish(drive, Outcome.INFRA_ERROR)
    assert (drive.job.state, drive.job.reason) == (State.ESCALATED, Reason.INFRASTRUCTURE)


def test_an_answer_from_an_overtaken_worker_changes_nothing_but_is_on_record() -> None:
    drive = at_run()
    before = drive.job
    transition = drive.hear(events.RunFinished(seq=0, run_id="old", outcome=Outcome.COMPLETED, patch=PATCH))
    assert dataclasses.replace(drive.job, comment=before.comment, comment_seq=before.comment_seq) == before
    assert [r.kind for r in transition.records] == ["result"]
    assert not transition.orders


def test_a_start_is_heard_once_and_only_for_the_awaited_run() -> None:
    drive = at_run()
    seq, run_id = drive.last("StartRun").seq, drive.job.run_id or ""
    drive.hear(events.RunStarted(seq=seq + 50, run_id=run_id))
    assert drive.job.state is State.QUEUED
    drive.hear(events.RunStarted(seq=seq, run_id=run_id))
    limits = drive.job.policy.limits
    assert drive.job.state is State.RUNNING
    deadline = drive.job.deadline_at_ms
    assert deadline == NOW + (limits.run_start_s + limits.run_total_s + 900) * 1000
    drive.now += 60_000
    drive.hear(events.RunStarted(seq=seq, run_id=run_id))
    assert drive.job.deadline_at_ms == deadline


@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        ("branch_not_ours", State.ESCALATED, Reason.BRANCH_NOT_OURS),
        ("repository_unusable", State.FAILED, Reason.REPOSITORY_UNUSABLE),
        ("bad_policy", State.FAILED, Reason.REPOSITORY_UNUSABLE),
        ("forbidden", State.FAILED, Reason.FORGE_REFUSED),
        ("agent_unusable", State.ESCALATED, Reason.AGENT_FAILED),
    ],
)
def test_a_refusal_before_there_is_a_change(code: str, state: State, reason: Reason) -> None:
    drive = Drive()
    fail(drive, "CreateBranch", code)
    assert (drive.job.state, drive.job.reason) == (state, reason)
    assert drive.job.work is None
    assert drive.count("Notify") == 1


@pytest.mark.parametrize("code", ["forbidden", "repository_unusable", "push_refused", "head_moved"])
def test_a_refusal_after_there_is_a_change_keeps_it_and_asks_a_person(code: str) -> None:
    drive = at_run()
    finish(drive)
    drive.hear(events.PatchVerified(seq=drive.last("VerifyPatch").seq, verification=GOOD))
    fail(drive, "PushPatch", code)
    assert drive.job.state is State.ESCALATED
    assert drive.job.patch == PATCH
    assert drive.count("Abandon") == 0


def test_each_failure_for_now_waits_longer_and_at_least_as_long_as_asked() -> None:
    drive = Drive(Policy(limits=Limits(revivals=6)))
    delays = []
    for _ in range(6):
        fail(drive, "CreateBranch", transient=True)
        delays.append(drive.last("CreateBranch").delay_s)
    assert delays == sorted(delays)
    assert delays[0] < delays[-1]
    other = Drive()
    fail(other, "CreateBranch", transient=True, after=3600.0)
    assert other.last("CreateBranch").delay_s == 3600.0


def test_publishing_again_after_an_outage_does_not_pay_the_agent_again() -> None:
    drive = at_run()
    finish(drive)
    drive.hear(events.PatchVerified(seq=drive.last("VerifyPatch").seq, verification=GOOD))
    first = drive.last("PushPatch").effect
    fail(drive, "PushPatch", transient=True)
    assert drive.last("PushPatch").effect == first, "the same commit, byte for byte"
    assert drive.count("StartRun") == 1


PASSED, FAILED = TestRun(status="passed"), TestRun(status="failed", failed_tests=("a", "b"))
ERRORED, ABSENT, LATE = TestRun(status="errored"), TestRun(status="absent"), TestRun(status="timed_out")
ONE_LESS = TestRun(status="failed", failed_tests=("a",))
UNNAMED = TestRun(status="failed")


@pytest.mark.parametrize(
    ("base", "head", "may"),
    [
        (PASSED, PASSED, True),
        (FAILED, PASSED, True),
        (ABSENT, ABSENT, True),
        (ERRORED, ERRORED, True),
        (PASSED, ERRORED, False),
        (PASSED, FAILED, False),
        (FAILED, FAILED, False),
        (FAILED, ONE_LESS, True),
        (ONE_LESS, FAILED, False),
        (FAILED, UNNAMED, False),
        (FAILED, LATE, False),
        (LATE, LATE, False),
    ],
)
def test_when_a_verified_change_may_be_published(base: TestRun, head: TestRun, may: bool) -> None:
    found = Verification(command="t", base=base, head=head, red_to_green=False)
    assert (may_publish(found, needs_red_to_green=False) == "") is may
    assert may_publish(found, needs_red_to_green=True), "nothing was proven"
    proven = dataclasses.replace(found, red_to_green=True)
    assert may_publish(proven, needs_red_to_green=True) == may_publish(found, needs_red_to_green=False)


def test_a_policy_that_wants_a_proof_gets_one_or_a_person() -> None:
    drive = at_run(Policy(require_red_to_green=True, limits=Limits(agent_attempts=1)))
    finish(drive)
    passing = dataclasses.replace(GOOD, red_to_green=False)
    drive.hear(events.PatchVerified(seq=drive.last("VerifyPatch").seq, verification=passing))
    assert (drive.job.state, drive.job.reason) == (State.ESCALATED, Reason.TESTS_FAILED)


def test_feedback_is_bounded() -> None:
    drive = at_run()
    finish(drive, refusals=tuple("x" * 1000 for _ in range(50)))
    assert len(drive.last("StartRun").effect.feedback) <= 12_000
    finish(drive)
    many = dataclasses.replace(BAD, head=TestRun(status="failed", failed_tests=tuple(f"t{n}" for n in range(200))))
    drive = at_run()
    finish(drive)
    drive.hear(events.PatchVerified(seq=drive.last("VerifyPatch").seq, verification=many))
    assert drive.last("StartRun").effect.feedback.count("\n- t") == 50


def test_the_title_of_the_commit_is_the_agents_else_the_issues() -> None:
    for title, wanted in (("Mend it", "Mend it"), ("", ISSUE.title)):
        drive = at_run()
        finish(drive, report_title=title)
        drive.hear(events.PatchVerified(seq=drive.last("VerifyPatch").seq, verification=GOOD))
        assert drive.last("PushPatch").effect.title == wanted


def test_only_the_last_fifty_pushed_commits_are_kept_without_doubles() -> None:
    drive = Drive(epoch="again")
    drive.job = dataclasses.replace(drive.job, pushed_shas=tuple(f"{n:040x}" for n in range(50)))
    drive.to_pull(f"{7:040x}")
    assert drive.job.pushed_shas[-1] == f"{7:040x}"
    assert len(drive.job.pushed_shas) == len(set(drive.job.pushed_shas)) == 50
