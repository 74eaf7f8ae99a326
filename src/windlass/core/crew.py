"""The runs of a workflow's step: who is put to work, on what, with how much money.

One step is under way at a time and its runs are out side by side. A writer's change is handed on by its digest; readers
get a copy that is thrown away. What comes of a step is in `crew_results`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from windlass.core import effects
from windlass.core.endings import escalate
from windlass.core.events import Check
from windlass.core.job import Job, Member, Pending, Reason, State
from windlass.core.orders import order, spend_revival
from windlass.core.roles import RoleSpec, coder_before, first_coder
from windlass.core.transition import Plan

_LONGEST_FEEDBACK = 12_000


def begin_round(
    plan: Plan, *, purpose: str, start_sha: str, feedback: str = "", checks: tuple[Check, ...] = ()
) -> None:
    """Work from a commit: the whole workflow, or from its first coder on when a change is there to be mended."""
    plan.set(
        purpose=purpose,
        start_sha=start_sha,
        patch=None,
        verification=None,
        remarks=(),
        trees_judged=(),
        marks_found=(),
        run_notes=(),
        written_by="",
    )
    first = 0 if purpose == "implement" else first_coder(plan.job.policy.workflow)
    _start_step(plan, first, feedback=feedback, checks=checks, is_single=purpose != "implement")


def next_step(plan: Plan) -> None:
    """The step after this one; publish when there is none."""
    job = plan.job
    if job.step + 1 < len(job.policy.workflow):
        plan.enter(State.QUEUED, deadline_s=job.policy.limits.job_s)
        _start_step(plan, job.step + 1)
    elif job.patch is None:
        escalate(plan, Reason.NO_CHANGE, "the workflow ended without a change")
    else:
        publish_state(plan)
        order(plan, "PushPatch")


def publish_state(plan: Plan) -> None:
    """Testing, pushing, opening: no agent is needed for these."""
    limits = plan.job.policy.limits
    plan.enter(State.PUBLISHING, deadline_s=3 * limits.test_timeout_s * max(1, len(candidates(plan.job))) + 3600)


def try_again(plan: Plan, reason: Reason, detail: str, feedback: str, *, feedback_digest: str = "") -> None:
    """One agent attempt is spent; another with what went wrong as input, or a person is asked."""
    job = plan.job
    spent = job.budgets.agent_attempts + 1
    plan.set(budgets=dataclasses.replace(job.budgets, agent_attempts=spent))
    if spent >= job.policy.limits.agent_attempts:
        escalate(plan, reason, detail)
        return
    plan.say(f"attempt {spent} of {job.policy.limits.agent_attempts} did not succeed: {detail}")
    plan.enter(State.QUEUED, deadline_s=job.policy.limits.job_s)
    if not job.policy.workflow[job.step].is_reading:
        plan.set(patch=job.handed, verification=None)
    _start_step(plan, job.step, feedback=feedback, feedback_digest=feedback_digest, notes=job.notes, is_single=True)


def rework(plan: Plan, why: str, *, notes: Sequence[str] = (), feedback: str = "", feedback_digest: str = "") -> None:
    """Back to the coder before this step, with what is wrong; a person is asked when that was done often enough."""
    job = plan.job
    target, limits = coder_before(job.policy.workflow, job.step), job.policy.limits
    if target is None or job.budgets.rework_rounds >= limits.rework_rounds:
        escalate(plan, Reason.FINDINGS_OPEN, f"{why}, after {job.budgets.rework_rounds} round(s) of rework")
        return
    assert job.patch is not None
    plan.say(f"{why}; the coder is asked to mend it")
    plan.set(
        budgets=dataclasses.replace(job.budgets, rework_rounds=job.budgets.rework_rounds + 1),
        trees_judged=(*job.trees_judged, job.patch.tree_sha)[-50:],
    )
    plan.enter(State.QUEUED, deadline_s=limits.job_s)
    _start_step(plan, target, feedback=feedback, feedback_digest=feedback_digest, notes=notes, is_single=True)


# ------------------------------------------------------------------ putting to work


def _start_step(
    plan: Plan,
    step: int,
    *,
    feedback: str = "",
    feedback_digest: str = "",
    notes: Sequence[str] = (),
    checks: tuple[Check, ...] = (),
    is_single: bool = False,
) -> None:
    """Order the runs of a step; they wait in the queue until a slot is free."""
    plan.set(
        step=step,
        handed=plan.job.patch,
        feedback=feedback[:_LONGEST_FEEDBACK],
        feedback_digest=feedback_digest,
        notes=tuple(notes),
    )
    specs = _specs(plan.job, is_single=is_single)
    limit = _cost_limit(plan.job, len(specs))
    if limit == 0:
        spent = plan.job.budgets.cost_microusd / 1_000_000
        escalate(plan, Reason.MONEY, f"the money of this job is spent: {spent:.2f} US dollars")
        return
    crew = tuple(_put_to_work(plan, spec, number, limit, checks) for number, spec in enumerate(specs))
    plan.set(crew=crew, run_id=crew[0].run_id, work=Pending(seq=crew[0].seq, kind="StartRun"))


def _specs(job: Job, *, is_single: bool) -> tuple[RoleSpec, ...]:
    members = job.policy.workflow[job.step].members
    return tuple(member for member in members for _ in range(1 if is_single else member.candidates))


def _cost_limit(job: Job, runs: int) -> int | None:
    """Millionths of a dollar for each of so many runs; None is no limit, 0 is nothing left."""
    limits = job.policy.limits
    shares = [limits.run_cost_cents * 10_000] if limits.run_cost_cents else []
    if limits.job_cost_cents:
        shares.append(max(0, limits.job_cost_cents * 10_000 - job.budgets.cost_microusd) // runs)
    return min(shares) if shares else None


def _put_to_work(plan: Plan, spec: RoleSpec, number: int, limit: int | None, checks: tuple[Check, ...]) -> Member:
    run_id = f"{plan.job.id}-r{plan.job.seq}"
    seq = plan.order(_start_run(plan.job, spec, run_id, number, limit, checks))
    return Member(seq=seq, run_id=run_id, role=spec.role, agent=_agent(plan.job, spec), number=number)


def _start_run(
    job: Job, spec: RoleSpec, run_id: str, number: int, limit: int | None, checks: tuple[Check, ...]
) -> effects.StartRun:
    return effects.StartRun(
        run_id=run_id,
        role=spec.role,
        attempt=job.budgets.agent_attempts + 1,
        purpose=_purpose(job, spec.role),
        agent=_agent(job, spec),
        issue=job.issue,
        task_type=job.task_type,
        start_sha=job.start_sha,
        feedback=job.feedback,
        feedback_digest=job.feedback_digest,
        failed_checks=checks,
        handed=job.handed,
        findings=job.notes,
        is_read_only=spec.role == "reviewer",
        cost_limit_microusd=limit,
        step=job.step,
        number=number,
    )


def _agent(job: Job, spec: RoleSpec) -> str:
    """The step's own, then the one that was asked for, then the role's, then the job's."""
    asked = job.agent if spec.role == "coder" and job.agent != job.policy.agent else ""
    return spec.agent or asked or job.policy.agents.get(spec.role, "") or job.agent


def _purpose(job: Job, role: str) -> str:
    if role == "reviewer":
        return "review"
    if role == "tester":
        return "test" if job.handed is not None else "implement"
    if job.handed is None:
        return job.purpose
    return "address_findings" if job.notes or job.feedback else "continue"


def put_to_work_again(plan: Plan, member: Member, message: str, retry_after_s: float | None) -> None:
    """The same run under a new name: infrastructure let it down, which costs no attempt."""
    delay_s = spend_revival(plan, "StartRun", message, retry_after_s)
    if delay_s is None:
        return
    job, spec = plan.job, RoleSpec(role=member.role, agent=member.agent)
    run_id = f"{job.id}-r{job.seq}"
    limit = _cost_limit(job, 1 + sum(one.is_out for one in job.crew if one.seq != member.seq))
    seq = plan.order(_start_run(job, spec, run_id, member.number, limit, ()), delay_s=delay_s)
    replace(plan, member, dataclasses.replace(member, seq=seq, run_id=run_id))
    first = next(one for one in plan.job.crew if one.is_out)
    plan.set(run_id=plan.job.crew[0].run_id, work=Pending(seq=first.seq, kind="StartRun"))


def replace(plan: Plan, before: Member, after: Member) -> None:
    """Put what is known of a member now in its place."""
    plan.set(crew=tuple(after if member.seq == before.seq else member for member in plan.job.crew))


def candidates(job: Job) -> tuple[Member, ...]:
    """The members of the step under way that made a change; of the same change only the first."""
    seen: dict[str, Member] = {}
    for member in job.crew:
        if member.has_change and member.patch is not None and member.role != "reviewer":
            seen.setdefault(member.patch.tree_sha, member)
    return tuple(seen.values())
