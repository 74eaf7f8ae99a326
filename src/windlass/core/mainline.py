"""The straight way from a request to an open pull request: branch, the workflow's steps, verify, push, open.

Exactly one of these is under way at a time (`Job.work`): an effect, or the runs of one step (`crew`). An answer with
another number comes from a worker that was overtaken and is refused. The patch is kept before anything is pushed, so
that nothing is paid for twice.
"""

from __future__ import annotations

import dataclasses
from typing import assert_never

from windlass.core import crew, crew_results
from windlass.core.endings import refuse
from windlass.core.events import (
    BranchCreated,
    EffectFailed,
    PatchPushed,
    PatchVerified,
    PullRequestOpened,
    RunFinished,
)
from windlass.core.job import Job, Member, Reason, State, TestRun, Verification
from windlass.core.orders import order, revive
from windlass.core.transition import Plan

Answer = BranchCreated | RunFinished | PatchVerified | PatchPushed | PullRequestOpened


def begin(plan: Plan) -> None:
    """Order the branch."""
    order(plan, "CreateBranch")


def advance(plan: Plan, event: Answer) -> None:
    """Take the answer to the effect that is waited for, and order the next one."""
    if isinstance(event, RunFinished):
        crew_results.run_finished(plan, event)
        return
    if plan.job.work is None or plan.job.work.seq != event.seq:
        plan.say(f"{event.kind} answers an order that is not waited for any more")
        return
    plan.set(work=None)
    match event:
        case BranchCreated():
            _branch_created(plan, event)
        case PatchVerified():
            _patch_verified(plan, event)
        case PatchPushed():
            _patch_pushed(plan, event)
        case PullRequestOpened():
            _pull_opened(plan, event)
        case _:
            assert_never(event)


def failed(plan: Plan, event: EffectFailed) -> bool:
    """A main-line effect could not be carried out; whether it was the one that is waited for."""
    if crew_results.run_failed(plan, event):
        return True
    if plan.job.work is None or plan.job.work.seq != event.seq:
        return False
    plan.set(work=None)
    if event.is_transient:
        revive(plan, event.effect, event.message, event.retry_after_s)
    else:
        refuse(plan, event.code, event.message)
    return True


def _branch_created(plan: Plan, event: BranchCreated) -> None:
    plan.say(f"branch {plan.job.branch} is {'adopted' if event.adopted else 'made'} at {event.branch_sha[:7]}")
    plan.set(base_sha=event.base_sha, branch_sha=event.branch_sha)
    crew.begin_round(plan, purpose="implement", start_sha=event.base_sha)


def _patch_verified(plan: Plan, event: PatchVerified) -> None:
    """One candidate is judged after the other; then the best one, or the only one, goes on."""
    job = plan.job
    judged = next(m for m in crew.candidates(job) if m.patch == job.patch)
    crew.replace(plan, judged, dataclasses.replace(judged, verification=event.verification))
    waiting = [member for member in crew.candidates(plan.job) if member.verification is None]
    if waiting:
        plan.say(f"candidate {judged.number + 1}: head {event.verification.head.status}")
        crew_results.adopt(plan, waiting[0])
        order(plan, "VerifyPatch")
        return
    best = _best(plan.job)
    if len(crew.candidates(plan.job)) > 1:
        plan.say(f"candidate {best.number + 1} of {len(plan.job.crew)} is the best by the repository's tests")
    crew_results.adopt(plan, best)
    _judge(plan, best)


def _best(job: Job) -> Member:
    """By the tests alone: may be published, red to green, fewer weakened tests, fewer failures, the smaller change."""

    def rank(member: Member) -> tuple[object, ...]:
        found, patch = member.verification, member.patch
        assert found is not None
        assert patch is not None
        may = may_publish(found, needs_red_to_green=job.policy.require_red_to_green) == ""
        size = patch.insertions + patch.deletions
        failures = len(found.head.failed_tests)
        return (not may, not found.red_to_green, len(found.weakened_tests), failures, size, member.number)

    return min(crew.candidates(job), key=rank)


def _judge(plan: Plan, member: Member) -> None:
    found = member.verification
    assert found is not None
    verdict = may_publish(found, needs_red_to_green=plan.job.policy.require_red_to_green)
    crew_results.credit(plan, member, f"tests {found.base.status} on base, {found.head.status} on its change")
    if not verdict:
        plan.say(f"verified: base {found.base.status}, head {found.head.status}")
        crew.next_step(plan)
        return
    feedback, log = _failing_names(found.head, verdict), found.head.log_digest
    if member.role == "tester":
        crew.rework(plan, f"with the tester's tests {verdict}", feedback=feedback, feedback_digest=log)
    else:
        crew.try_again(plan, Reason.TESTS_FAILED, verdict, feedback, feedback_digest=log)


def may_publish(verification: Verification, *, needs_red_to_green: bool) -> str:
    """Why a verified change is not good enough, or ''.

    Failing tests on the head are forgiven only when each of them fails on the base as well and at least one other
    was mended: then the change made things better and nothing worse. A test command that cannot be run or is
    absent cannot tell; the pull request then says so, and CI and the reviewer judge.
    """
    base, head = verification.base, verification.head
    if needs_red_to_green and not verification.red_to_green:
        return "no test was red on the base and green on the change, and the policy asks for one"
    if head.status in {"passed", "absent"} or (head.status == "errored" and base.status == "errored"):
        return ""
    broken = set(head.failed_tests)
    if head.status == "failed" and broken and broken < set(base.failed_tests):
        return ""
    return f"the tests {_status_words(head)} with the change ({head.summary or 'no summary'})"


def _status_words(run: TestRun) -> str:
    return {"failed": "fail", "timed_out": "take too long", "errored": "cannot be run"}.get(run.status, run.status)


def _failing_names(head: TestRun, verdict: str) -> str:
    names = "\n".join(f"- {name}" for name in head.failed_tests[:50])
    return f"{verdict}\n{names}" if names else verdict


def _patch_pushed(plan: Plan, event: PatchPushed) -> None:
    job = plan.job
    plan.say(f"{job.branch} is at {event.head_sha[:7]}")
    shas = (*(sha for sha in job.pushed_shas if sha != event.head_sha), event.head_sha)[-50:]
    plan.set(
        head_sha=event.head_sha,
        branch_sha=event.head_sha,
        pushed_shas=shas,
        pushed_at_ms=plan.now_ms,
        approval=None,
        ci_verdict="",
        rerun_marks=(),
    )
    order(plan, "OpenPullRequest")


def _pull_opened(plan: Plan, event: PullRequestOpened) -> None:
    plan.say(f"pull request #{event.number} is {'up to date' if event.adopted else 'open'}")
    plan.set(pull_number=event.number, pull_url=event.url, observe_again=True)
    plan.enter(State.CHECKING, deadline_s=plan.job.policy.limits.checks_start_s)
