"""The one place where it is decided what happens next: `decide(job, event, policy, now) -> Transition`.

Pure and total: every event in every state has an answer, mostly "nothing". A final state stays final, a job that is
not final has a deadline, one main-line effect is under way at most, and an answer that is not to the effect waited
for changes nothing. What a read pull request means is in `reviewing`.
"""

from __future__ import annotations

import dataclasses
from typing import assert_never

from windlass.core import crew_results, mainline, reviewing
from windlass.core.endings import abandon, escalate, fail, give_way
from windlass.core.events import (
    BranchCreated,
    DeadlinePassed,
    EffectDone,
    EffectFailed,
    Event,
    IssueLabelled,
    IssueWithdrawn,
    PatchPushed,
    PatchVerified,
    PullRequestObserved,
    PullRequestOpened,
    PullRequestTouched,
    RunFinished,
    RunStarted,
    StopRequested,
)
from windlass.core.job import Job, Reason, State, TaskType
from windlass.core.policy import Policy
from windlass.core.records import RecordDraft, plain
from windlass.core.tasks import detect_task_type
from windlass.core.transition import Plan, Transition

# How a person restarts an escalated job: the label comes off and on, and the next job takes over branch and pull.
ASKED_AGAIN = "asked again"
# States in which a person has not seen a pull request yet: taking the label back takes the work back.
_BEFORE_PULL = frozenset({State.QUEUED, State.RUNNING, State.PUBLISHING})


def open_job(
    event: IssueLabelled, policy: Policy, now_ms: int, *, job_id: str, known_shas: tuple[str, ...] = ()
) -> Transition:
    """A new job for a request that was allowed; its first order makes the branch.

    A request that cannot be worked on opens a job that has failed already, so that a person is told why.
    """
    job = Job(
        id=job_id,
        repository=event.repository,
        issue=event.issue,
        task_type=event.task_type or detect_task_type(event.issue),
        requested_by=event.requested_by,
        epoch=event.epoch,
        branch=f"ai-{event.issue.number}",
        base_ref=policy.base or event.base_ref,
        created_at_ms=now_ms,
        state=State.QUEUED,
        deadline_at_ms=now_ms,
        agent=event.agent or policy.agent,
        policy=policy,
        pushed_shas=known_shas,
    )
    plan = Plan(job, now_ms)
    plan.record(
        "decision",
        opened=job.id,
        issue=event.issue,
        requested_by=event.requested_by,
        source=event.source,
        epoch=event.epoch,
        repository=event.repository,
        policy_sha256=policy.digest,
    )
    plan.say(f"{event.requested_by} asked for work on #{event.issue.number} ({event.source})")
    plan.enter(State.QUEUED, deadline_s=policy.limits.job_s)
    if event.problem:
        fail(plan, Reason.REPOSITORY_UNUSABLE, event.problem)
    else:
        mainline.begin(plan)
    reviewing.refresh(plan)
    return plan.done()


def refusal(event: IssueLabelled, why: str) -> tuple[RecordDraft, ...]:
    """What goes on the ledger when a request is turned down."""
    data = {"issue": plain(event.issue), "requested_by": event.requested_by, "why": why, "epoch": event.epoch}
    return (RecordDraft(kind="refusal", data={"repository": event.repository, **data}),)


def decide(job: Job, event: Event, policy: Policy, now_ms: int) -> Transition:
    """What `event` means for `job`. Deterministic: the same arguments give the same transition, byte for byte."""
    plan = Plan(dataclasses.replace(job, policy=policy), now_ms)
    _answer(plan, event)
    if job.is_terminal:
        _decide_when_final(plan, event)
    else:
        _decide(plan, event)
    reviewing.refresh(plan)
    return plan.done()


def _answer(plan: Plan, event: Event) -> None:
    """Close the order that this event answers, and put its facts on the ledger."""
    seq = getattr(event, "seq", None)
    if seq is None or isinstance(event, RunStarted):
        return
    plan.close(seq, "failed" if isinstance(event, EffectFailed) else "done")
    plan.record("result", seq=seq, effect=_answered_effect(event), outcome=event)


def _answered_effect(event: Event) -> str:
    if isinstance(event, EffectDone | EffectFailed):
        return event.effect
    return {
        "BranchCreated": "CreateBranch",
        "RunFinished": "StartRun",
        "PatchVerified": "VerifyPatch",
        "PatchPushed": "PushPatch",
        "PullRequestOpened": "OpenPullRequest",
        "PullRequestObserved": "Observe",
    }[event.kind]


def _decide_when_final(plan: Plan, event: Event) -> None:
    """Nothing moves a final job; only its own loose ends (comment, gate, clean-up) are still tied."""
    match event:
        case EffectDone() | EffectFailed():
            reviewing.side_effect_answered(plan, event)
        case PullRequestObserved():
            plan.set(observing_seq=None, observe_again=False)
        case _:
            plan.say("the job is over")


def _decide(plan: Plan, event: Event) -> None:
    match event:
        case IssueLabelled():
            plan.say("work on this issue is under way already")
        case IssueWithdrawn():
            _withdraw(plan, event)
        case StopRequested():
            _stop(plan, event)
        case DeadlinePassed():
            _deadline(plan, event)
        case PullRequestTouched():
            reviewing.touch(plan, event.what)
        case PullRequestObserved():
            reviewing.observed(plan, event)
        case EffectDone():
            reviewing.side_effect_answered(plan, event)
        case EffectFailed():
            _effect_failed(plan, event)
        case RunStarted():
            crew_results.run_started(plan, event)
        case BranchCreated() | RunFinished() | PatchVerified() | PatchPushed() | PullRequestOpened():
            mainline.advance(plan, event)
        case _:
            assert_never(event)


def _effect_failed(plan: Plan, event: EffectFailed) -> None:
    if not mainline.failed(plan, event):
        reviewing.side_effect_answered(plan, event)


def _withdraw(plan: Plan, event: IssueWithdrawn) -> None:
    if event.how == ASKED_AGAIN:
        give_way(plan)
        return
    if plan.job.state in _BEFORE_PULL or plan.job.pull_number is None:
        plan.say(f"the issue was {event.how}{' by ' + event.by if event.by else ''}")
        abandon(plan, Reason.ISSUE_WITHDRAWN, f"the issue was {event.how}")
    else:
        reviewing.touch(plan, f"issue {event.how}")


def _stop(plan: Plan, event: StopRequested) -> None:
    plan.say(f"{event.by} asked to stop{': ' + event.why if event.why else ''}")
    plan.record("decision", stop_requested_by=event.by, why=event.why)
    abandon(plan, Reason.STOPPED, f"stopped by {event.by}{': ' + event.why if event.why else ''}")


def _deadline(plan: Plan, event: DeadlinePassed) -> None:
    job = plan.job
    if job.deadline_at_ms is None or event.deadline_at_ms != job.deadline_at_ms or plan.now_ms < job.deadline_at_ms:
        plan.say("that deadline is not the job's any more")
        return
    match job.state:
        case State.QUEUED | State.RUNNING | State.PUBLISHING:
            escalate(plan, Reason.WALL_CLOCK, f"{job.state} took longer than it may")
        case State.CHECKING | State.REVIEWING:
            reviewing.waited_too_long(plan)
        case State.ESCALATED:
            plan.say("nobody answered the escalation in time")
            plan.drop_work()
            plan.enter(State.FAILED, deadline_s=None, reason=Reason.ESCALATION_EXPIRED, detail=str(job.reason or ""))
        case State.MERGED | State.CLOSED | State.FAILED | State.CANCELLED | State.SHADOWED:
            plan.say("the job is over")
        case _:
            assert_never(job.state)


__all__ = ["TaskType", "decide", "open_job", "refusal"]
