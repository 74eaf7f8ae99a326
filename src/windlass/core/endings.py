"""How work stops: a person is asked, the job ends, a newer one takes over. Whoever is at work is stopped first.

Rule: what was made is kept, what is under way is voided, and nothing of ours is left without an owner.
"""

from __future__ import annotations

from windlass.core import effects
from windlass.core.job import Job, Reason, State
from windlass.core.transition import Plan

# What a runner refuses because this machine is not set up for the run.
_NO_SANDBOX = (
    *("no_engine", "engine_unusable", "engine_refuses", "image_missing", "container_foreign", "mount_missing"),
    *("open_network", "no_egress", "inlet_unusable", "airlock_shut"),
)


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


def refuse(plan: Plan, code: str, message: str) -> None:
    """The outside said no for good: fail when there is nothing to lose, else ask a person."""
    reason = {
        "branch_not_ours": Reason.BRANCH_NOT_OURS,
        "pull_request_not_ours": Reason.PULL_REQUEST_NOT_OURS,
        "push_refused": Reason.PUSH_REFUSED,
        "head_moved": Reason.HEAD_MOVED,
        "repository_unusable": Reason.REPOSITORY_UNUSABLE,
        "bad_policy": Reason.REPOSITORY_UNUSABLE,
        "agent_unusable": Reason.AGENT_FAILED,
        **dict.fromkeys(_NO_SANDBOX, Reason.INFRASTRUCTURE),
    }.get(code, Reason.FORGE_REFUSED)
    fatal = {Reason.REPOSITORY_UNUSABLE, Reason.FORGE_REFUSED}
    (fail if reason in fatal and plan.job.patch is None else escalate)(plan, reason, message)


def stop_running(plan: Plan) -> None:
    """Have the agents or the tests killed, if any are at work."""
    job, work = plan.job, plan.job.work
    if work is None:
        return
    if work.kind == "StartRun":
        for member in job.crew:
            if member.is_out:
                plan.order(effects.StopRun(run_id=member.run_id))
    elif work.kind == "VerifyPatch":
        for run_id in effects.verification_run_ids(job.id, work.seq):
            plan.order(effects.StopRun(run_id=run_id))


def _own_tips(job: Job) -> tuple[str, ...]:
    tips = (*job.pushed_shas, job.base_sha, job.branch_sha)
    return tuple(dict.fromkeys(sha for sha in tips if sha))
