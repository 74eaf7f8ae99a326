"""The straight way from a request to an open pull request: branch, run, verify, push, open.

Exactly one of these effects is under way at a time (`Job.work`). An answer with another number comes from a worker
that was overtaken and is refused. Each effect is built from the job alone, so it can be ordered again after a failure
without paying the agent twice: the patch is kept before anything is pushed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import assert_never

from windlass.core import effects
from windlass.core.events import (
    BranchCreated,
    Check,
    EffectFailed,
    PatchPushed,
    PatchVerified,
    PullRequestOpened,
    RunFinished,
    RunStarted,
)
from windlass.core.job import Job, Outcome, Reason, State, TestRun, Verification
from windlass.core.transition import Plan

_BACKOFF_S = (2.0, 10.0, 30.0, 120.0, 600.0)
# What a runner refuses because this machine is not set up for the run.
_NO_SANDBOX = (
    *("no_engine", "engine_unusable", "engine_refuses", "image_missing", "container_foreign", "mount_missing"),
    *("open_network", "no_egress", "inlet_unusable", "airlock_shut"),
)
_LONGEST_FEEDBACK = 12_000

Answer = BranchCreated | RunFinished | PatchVerified | PatchPushed | PullRequestOpened


def begin(plan: Plan) -> None:
    """Order the branch."""
    _order(plan, "CreateBranch")


def advance(plan: Plan, event: Answer) -> None:
    """Take the answer to the effect that is waited for, and order the next one."""
    if plan.job.work is None or plan.job.work.seq != event.seq:
        plan.say(f"{event.kind} answers an order that is not waited for any more")
        return
    plan.set(work=None)
    match event:
        case BranchCreated():
            _branch_created(plan, event)
        case RunFinished():
            _run_finished(plan, event)
        case PatchVerified():
            _patch_verified(plan, event)
        case PatchPushed():
            _patch_pushed(plan, event)
        case PullRequestOpened():
            _pull_opened(plan, event)
        case _:
            assert_never(event)


def run_started(plan: Plan, event: RunStarted) -> None:
    """A slot was free and the agent works."""
    job = plan.job
    if job.work is None or job.work.seq != event.seq or job.state is State.RUNNING:
        return
    limits = job.policy.limits
    plan.say(f"run {event.run_id} started")
    plan.enter(State.RUNNING, deadline_s=limits.run_start_s + limits.run_total_s + 900)


def start_run(
    plan: Plan,
    *,
    purpose: str,
    start_sha: str,
    feedback: str,
    feedback_digest: str = "",
    checks: tuple[Check, ...] = (),
) -> None:
    """Order a run of the coder; it waits in the queue until a slot is free."""
    plan.set(
        run_id=f"{plan.job.id}-r{plan.job.seq}",
        purpose=purpose,
        start_sha=start_sha,
        feedback=feedback[:_LONGEST_FEEDBACK],
        feedback_digest=feedback_digest,
        patch=None,
        verification=None,
    )
    plan.order(_start_run(plan.job, checks))


def escalate(plan: Plan, reason: Reason, detail: str) -> None:
    """Ask a person. What is under way is stopped; what was made is kept."""
    stop_running(plan)
    plan.drop_work()
    plan.say(f"a person is asked: {detail}")
    plan.enter(State.ESCALATED, deadline_s=plan.job.policy.limits.escalation_s, reason=reason, detail=detail)
    plan.order(
        effects.Notify(subject=f"{plan.job.repository}#{plan.job.issue.number} needs a person", text=detail[:2000])
    )


def abandon(plan: Plan, reason: Reason, detail: str) -> None:
    """Stop for good and leave nothing without an owner."""
    job = plan.job
    stop_running(plan)
    plan.drop_work()
    plan.enter(State.CANCELLED, deadline_s=None, reason=reason, detail=detail)
    plan.order(effects.Abandon(branch=job.branch, known_shas=_own_tips(job), pull_number=job.pull_number))


def give_way(plan: Plan) -> None:
    """End without cleaning up: the next job on this issue takes over the branch and the pull request."""
    stop_running(plan)
    plan.drop_work()
    plan.say("the work was asked for again; a new job takes over")
    plan.enter(State.CANCELLED, deadline_s=None, reason=Reason.ASKED_AGAIN, detail="asked for again")


def fail(plan: Plan, reason: Reason, detail: str) -> None:
    """End the job; a person is told."""
    job = plan.job
    stop_running(plan)
    plan.drop_work()
    plan.say(detail)
    plan.enter(State.FAILED, deadline_s=None, reason=reason, detail=detail)
    plan.order(effects.Notify(subject=f"{job.repository}#{job.issue.number} failed", text=detail[:2000]))


def failed(plan: Plan, event: EffectFailed) -> None:
    """The main-line effect could not be carried out."""
    job = plan.job
    plan.set(work=None)
    if event.is_transient:
        _revive(plan, event.effect, event.message, event.retry_after_s)
        return
    reason = {
        "branch_not_ours": Reason.BRANCH_NOT_OURS,
        "pull_request_not_ours": Reason.PULL_REQUEST_NOT_OURS,
        "push_refused": Reason.PUSH_REFUSED,
        "head_moved": Reason.HEAD_MOVED,
        "repository_unusable": Reason.REPOSITORY_UNUSABLE,
        "bad_policy": Reason.REPOSITORY_UNUSABLE,
        "agent_unusable": Reason.AGENT_FAILED,
        **dict.fromkeys(_NO_SANDBOX, Reason.INFRASTRUCTURE),
    }.get(event.code, Reason.FORGE_REFUSED)
    fatal = {Reason.REPOSITORY_UNUSABLE, Reason.FORGE_REFUSED}
    (fail if reason in fatal and job.patch is None else escalate)(plan, reason, event.message)


def _revive(plan: Plan, kind: str, message: str, retry_after_s: float | None) -> None:
    """Infrastructure let us down: order the same effect again, later, within its own budget."""
    budgets = plan.job.budgets
    if budgets.revivals >= plan.job.policy.limits.revivals:
        escalate(plan, Reason.INFRASTRUCTURE, f"{kind} failed {budgets.revivals + 1} times: {message}")
        return
    plan.set(budgets=dataclasses.replace(budgets, revivals=budgets.revivals + 1))
    delay_s = max(retry_after_s or 0.0, _BACKOFF_S[min(budgets.revivals, len(_BACKOFF_S) - 1)])
    plan.say(f"{kind} failed for now ({message}); again in {delay_s:.0f} s")
    _order(plan, kind, delay_s=delay_s)


def _order(plan: Plan, kind: str, *, delay_s: float = 0.0) -> None:
    """Order a main-line effect as the job stands."""
    if kind == "StartRun":
        plan.set(run_id=f"{plan.job.id}-r{plan.job.seq}")
    plan.order(_MAKE[kind](plan.job, plan.now_ms), delay_s=delay_s)


def _branch_created(plan: Plan, event: BranchCreated) -> None:
    plan.say(f"branch {plan.job.branch} is {'adopted' if event.adopted else 'made'} at {event.branch_sha[:7]}")
    plan.set(base_sha=event.base_sha, branch_sha=event.branch_sha)
    start_run(plan, purpose="implement", start_sha=event.base_sha, feedback="")


def _run_finished(plan: Plan, event: RunFinished) -> None:
    plan.set(report_digest=event.report_digest, report_title=event.report_title[:250])
    if event.patch is not None:
        plan.set(patch=event.patch, patched_at_ms=plan.now_ms)
    if event.outcome is Outcome.COMPLETED and event.patch is not None and not event.refusals:
        plan.say(f"the agent changed {len(event.patch.files)} file(s)")
        _publish_state(plan)
        _order(plan, "VerifyPatch")
        return
    if event.outcome is Outcome.INFRA_ERROR:
        _revive(plan, "StartRun", event.detail or "the run was lost", None)
        return
    reason, detail = _judge(event)
    feedback = "\n".join(event.refusals) if event.refusals else detail
    _try_again(plan, reason, detail, feedback)


def _judge(event: RunFinished) -> tuple[Reason, str]:
    if event.refusals:
        return Reason.PATCH_REFUSED, f"the change may not be published: {event.refusals[0]}"
    match event.outcome:
        case Outcome.COMPLETED | Outcome.NO_CHANGE:
            return Reason.NO_CHANGE, event.detail or "the agent changed nothing"
        case Outcome.INCOMPLETE:
            return Reason.AGENT_INCOMPLETE, event.detail or "the agent did not finish"
        case Outcome.TIMED_OUT:
            return Reason.AGENT_TIMED_OUT, event.detail or "the agent took too long"
        case Outcome.FAILED | Outcome.CANCELLED | Outcome.REFUSED | Outcome.INFRA_ERROR:
            return Reason.AGENT_FAILED, event.detail or f"the agent's run ended as {event.outcome}"
        case _:
            assert_never(event.outcome)


def _try_again(plan: Plan, reason: Reason, detail: str, feedback: str, *, feedback_digest: str = "") -> None:
    """One agent attempt is spent; another with what went wrong as input, or a person is asked."""
    job = plan.job
    spent = job.budgets.agent_attempts + 1
    plan.set(budgets=dataclasses.replace(job.budgets, agent_attempts=spent))
    if spent >= job.policy.limits.agent_attempts:
        escalate(plan, reason, detail)
        return
    plan.say(f"attempt {spent} of {job.policy.limits.agent_attempts} did not succeed: {detail}")
    plan.enter(State.QUEUED, deadline_s=job.policy.limits.job_s)
    start_run(plan, purpose=job.purpose, start_sha=job.start_sha, feedback=feedback, feedback_digest=feedback_digest)


def _patch_verified(plan: Plan, event: PatchVerified) -> None:
    plan.set(verification=event.verification)
    verdict = may_publish(event.verification, needs_red_to_green=plan.job.policy.require_red_to_green)
    if verdict:
        head = event.verification.head
        _try_again(plan, Reason.TESTS_FAILED, verdict, _failing_names(head, verdict), feedback_digest=head.log_digest)
        return
    plan.say(f"verified: base {event.verification.base.status}, head {event.verification.head.status}")
    _order(plan, "PushPatch")


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


def _publish_state(plan: Plan) -> None:
    limits = plan.job.policy.limits
    plan.enter(State.PUBLISHING, deadline_s=3 * limits.test_timeout_s + 3600)


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
    _order(plan, "OpenPullRequest")


def _pull_opened(plan: Plan, event: PullRequestOpened) -> None:
    plan.say(f"pull request #{event.number} is {'up to date' if event.adopted else 'open'}")
    plan.set(pull_number=event.number, pull_url=event.url, observe_again=True)
    plan.enter(State.CHECKING, deadline_s=plan.job.policy.limits.checks_start_s)


def stop_running(plan: Plan) -> None:
    """Have the agent or the tests killed, if any are at work."""
    job, work = plan.job, plan.job.work
    if work is None:
        return
    if work.kind == "StartRun" and job.run_id is not None:
        plan.order(effects.StopRun(run_id=job.run_id))
    elif work.kind == "VerifyPatch":
        for run_id in effects.verification_run_ids(job.id, work.seq):
            plan.order(effects.StopRun(run_id=run_id))


def _own_tips(job: Job) -> tuple[str, ...]:
    tips = (*job.pushed_shas, job.base_sha, job.branch_sha)
    return tuple(dict.fromkeys(sha for sha in tips if sha))


def _create_branch(job: Job, _now_ms: int) -> effects.Effect:
    return effects.CreateBranch(branch=job.branch, base_ref=job.base_ref, known_shas=job.pushed_shas)


def _start_run(job: Job, checks: tuple[Check, ...] = ()) -> effects.StartRun:
    return effects.StartRun(
        run_id=job.run_id or f"{job.id}-r{job.seq}",
        role="coder",
        attempt=job.budgets.agent_attempts + 1,
        purpose=job.purpose,
        agent=job.agent,
        issue=job.issue,
        task_type=job.task_type,
        start_sha=job.start_sha,
        feedback=job.feedback,
        feedback_digest=job.feedback_digest,
        failed_checks=checks,
    )


def _verify_patch(job: Job, _now_ms: int) -> effects.Effect:
    assert job.patch is not None
    assert job.base_sha is not None
    return effects.VerifyPatch(patch=job.patch, base_sha=job.base_sha)


def _push_patch(job: Job, _now_ms: int) -> effects.Effect:
    assert job.patch is not None
    assert job.branch_sha is not None
    return effects.PushPatch(
        patch=job.patch,
        branch=job.branch,
        expected_sha=job.branch_sha,
        title=job.report_title or job.issue.title,
        issue_number=job.issue.number,
        agent=job.agent,
        committed_at_ms=job.patched_at_ms,
    )


def _open_pull_request(job: Job, _now_ms: int) -> effects.Effect:
    assert job.patch is not None
    assert job.head_sha is not None
    return effects.OpenPullRequest(
        branch=job.branch,
        base_ref=job.base_ref,
        head_sha=job.head_sha,
        issue=job.issue,
        report_digest=job.report_digest,
        patch=job.patch,
        verification=job.verification,
        agent=job.agent,
        requested_by=job.requested_by,
    )


_MAKE: dict[str, Callable[[Job, int], effects.Effect]] = {
    "CreateBranch": _create_branch,
    "StartRun": lambda job, _now_ms: _start_run(job),
    "VerifyPatch": _verify_patch,
    "PushPatch": _push_patch,
    "OpenPullRequest": _open_pull_request,
}
