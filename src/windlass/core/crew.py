"""The runs of a workflow's step: who is put to work on what, and what comes of them together.

One step is under way at a time. Its runs are out side by side; the step is over when the last one is answered for.
A writer's change is handed on by its digest; readers get a copy that is thrown away. What reviewing agents find goes
back to the coder before, within `rework_rounds`, and to a person as soon as the work goes in circles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import assert_never

from windlass.core import effects
from windlass.core.endings import escalate, refuse
from windlass.core.events import Check, EffectFailed, RunFinished, RunStarted
from windlass.core.findings import comes_back, serious
from windlass.core.job import Job, Member, Outcome, Pending, Reason, RunNote, State
from windlass.core.orders import order, spend_revival
from windlass.core.roles import RoleSpec, coder_before, first_coder, has_coded
from windlass.core.transition import Plan

_LONGEST_FEEDBACK = 12_000
_MOST_NOTES = 40
_SLACK_S = 900


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
    return Member(seq=seq, run_id=run_id, role=spec.role, agent=spec.agent or plan.job.agent, number=number)


def _start_run(
    job: Job, spec: RoleSpec, run_id: str, number: int, limit: int | None, checks: tuple[Check, ...]
) -> effects.StartRun:
    return effects.StartRun(
        run_id=run_id,
        role=spec.role,
        attempt=job.budgets.agent_attempts + 1,
        purpose=_purpose(job, spec.role),
        agent=spec.agent or job.agent,
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


def _purpose(job: Job, role: str) -> str:
    if role == "reviewer":
        return "review"
    if role == "tester":
        return "test" if job.handed is not None else "implement"
    if job.handed is None:
        return job.purpose
    return "address_findings" if job.notes or job.feedback else "continue"


# ------------------------------------------------------------------ what comes of it


def run_started(plan: Plan, event: RunStarted) -> None:
    """A slot was free and an agent works."""
    job = plan.job
    if _out(job, event.seq) is None:
        return
    plan.say(f"run {event.run_id} started")
    if job.state is not State.RUNNING:
        limits = job.policy.limits
        turns = len(job.crew)  # all may have to wait for the same slot
        plan.enter(State.RUNNING, deadline_s=turns * (limits.run_start_s + limits.run_total_s) + _SLACK_S)


def run_finished(plan: Plan, event: RunFinished) -> None:
    """One run is answered for; the step is judged with the last one."""
    member = _out(plan.job, event.seq)
    if member is None:
        plan.say(f"{event.kind} answers an order that is not waited for any more")
        return
    _count_cost(plan, event)
    if event.outcome is Outcome.INFRA_ERROR:
        _put_to_work_again(plan, member, event.detail or "the run was lost", None)
        return
    done = dataclasses.replace(
        member,
        is_out=False,
        agent=event.agent or member.agent,
        outcome=event.outcome,
        detail=event.detail,
        refusals=event.refusals,
        patch=event.patch,
        patched_at_ms=plan.now_ms,
        report_digest=event.report_digest,
        report_title=event.report_title[:250],
        findings=event.findings,
        findings_digest=event.findings_digest,
    )
    _settle(plan, member, done)


def run_failed(plan: Plan, event: EffectFailed) -> bool:
    """A run could not be carried out; whether this was one of ours."""
    member = _out(plan.job, event.seq)
    if member is None:
        return False
    if event.is_transient:
        _put_to_work_again(plan, member, event.message, event.retry_after_s)
    elif len(plan.job.crew) > 1 and member.role == "coder":
        lost = dataclasses.replace(member, is_out=False, outcome=Outcome.FAILED, detail=event.message[:500])
        _settle(plan, member, lost)
    else:
        refuse(plan, event.code, event.message)
    return True


def _out(job: Job, seq: int) -> Member | None:
    return next((member for member in job.crew if member.is_out and member.seq == seq), None)


def _settle(plan: Plan, before: Member, done: Member) -> None:
    _replace(plan, before, done)
    waiting = [member for member in plan.job.crew if member.is_out]
    if waiting:
        plan.say(f"run {done.run_id} ended as {done.outcome}; {len(waiting)} of its step still work")
        plan.set(work=Pending(seq=waiting[0].seq, kind="StartRun"))
        return
    plan.set(work=None)
    (_reviewed if plan.job.policy.workflow[plan.job.step].is_reading else _written)(plan)


def _replace(plan: Plan, before: Member, after: Member) -> None:
    plan.set(crew=tuple(after if member.seq == before.seq else member for member in plan.job.crew))


def _put_to_work_again(plan: Plan, member: Member, message: str, retry_after_s: float | None) -> None:
    """The same run under a new name: infrastructure let it down, which costs no attempt."""
    delay_s = spend_revival(plan, "StartRun", message, retry_after_s)
    if delay_s is None:
        return
    job, spec = plan.job, RoleSpec(role=member.role, agent=member.agent)
    run_id = f"{job.id}-r{job.seq}"
    limit = _cost_limit(job, 1 + sum(one.is_out for one in job.crew if one.seq != member.seq))
    seq = plan.order(_start_run(job, spec, run_id, member.number, limit, ()), delay_s=delay_s)
    _replace(plan, member, dataclasses.replace(member, seq=seq, run_id=run_id))
    first = next(one for one in plan.job.crew if one.is_out)
    plan.set(run_id=plan.job.crew[0].run_id, work=Pending(seq=first.seq, kind="StartRun"))


def _count_cost(plan: Plan, event: RunFinished) -> None:
    budgets = plan.job.budgets
    if event.cost_microusd is None:
        plan.set(budgets=dataclasses.replace(budgets, unpriced_runs=budgets.unpriced_runs + 1))
    else:
        spent = budgets.cost_microusd + event.cost_microusd
        plan.set(budgets=dataclasses.replace(budgets, cost_microusd=spent))


# ------------------------------------------------------------------ writers


def _written(plan: Plan) -> None:
    """A writer's step is over: its change goes to the tests; of several, each one does."""
    job = plan.job
    good = candidates(job)
    if not good:
        _not_written(plan)
        return
    if _goes_in_circles(plan, good):
        return
    for member in good:
        assert member.patch is not None
        plan.say(f"{_name(member)} changed {len(member.patch.files)} file(s)")
    adopt(plan, good[0])
    if not has_coded(job.policy.workflow, job.step):
        credit(plan, good[0], "wrote tests before the change")
        plan.say("tests were written first; the coder makes them pass")
        next_step(plan)
        return
    publish_state(plan)
    order(plan, "VerifyPatch")


def candidates(job: Job) -> tuple[Member, ...]:
    """The members of the step under way that made a change; of the same change only the first."""
    seen: dict[str, Member] = {}
    for member in job.crew:
        if member.has_change and member.patch is not None and member.role != "reviewer":
            seen.setdefault(member.patch.tree_sha, member)
    return tuple(seen.values())


def adopt(plan: Plan, member: Member) -> None:
    """Make this member's change the job's."""
    job = plan.job
    plan.set(patch=member.patch, patched_at_ms=member.patched_at_ms, verification=member.verification)
    if member.role == "coder" or not job.report_digest:
        plan.set(report_digest=member.report_digest, report_title=member.report_title)


def credit(plan: Plan, member: Member, words: str) -> None:
    """One line about a run that counts, for the pull request; who wrote is named in the commit."""
    job = plan.job
    line = RunNote(run_id=member.run_id, role=member.role, agent=member.agent, words=words)
    plan.set(run_notes=(*job.run_notes, line)[-_MOST_NOTES:])
    writers = [name for name in job.written_by.split(", ") if name]
    if member.role != "reviewer" and member.agent and member.agent not in writers:
        plan.set(written_by=", ".join([*writers, member.agent])[:200])


def _not_written(plan: Plan) -> None:
    refused = next((member for member in plan.job.crew if member.refusals), None)
    member = refused or plan.job.crew[0]
    if member.role == "coder":
        plan.set(report_digest=member.report_digest, report_title=member.report_title)
    reason, detail = _judge(member)
    plan.set(patch=member.patch or plan.job.patch, patched_at_ms=member.patched_at_ms)
    try_again(plan, reason, detail, "\n".join(member.refusals) if member.refusals else detail)


def _goes_in_circles(plan: Plan, good: Sequence[Member]) -> bool:
    """Whether the work stands still or comes back to where reviewers have sent it away from."""
    job = plan.job
    trees = {member.patch.tree_sha for member in good if member.patch is not None}
    if job.handed is not None and trees == {job.handed.tree_sha}:
        if job.policy.workflow[job.step].role == "tester":
            plan.say("the tester added nothing")
            next_step(plan)
        elif job.notes or job.feedback:
            escalate(plan, Reason.FINDINGS_OPEN, "the coder changed nothing about what was found")
        else:
            try_again(plan, Reason.NO_CHANGE, "the agent changed nothing", "the agent changed nothing")
        return True
    if trees & set(job.trees_judged):
        escalate(plan, Reason.OSCILLATING, "the coder went back to a change that was found wanting before")
        return True
    return False


def _judge(member: Member) -> tuple[Reason, str]:
    if member.refusals:
        return Reason.PATCH_REFUSED, f"the change may not be published: {member.refusals[0]}"
    assert member.outcome is not None
    match member.outcome:
        case Outcome.COMPLETED | Outcome.NO_CHANGE:
            return Reason.NO_CHANGE, member.detail or "the agent changed nothing"
        case Outcome.INCOMPLETE:
            return Reason.AGENT_INCOMPLETE, member.detail or "the agent did not finish"
        case Outcome.TIMED_OUT:
            return Reason.AGENT_TIMED_OUT, member.detail or "the agent took too long"
        case Outcome.FAILED | Outcome.CANCELLED | Outcome.REFUSED | Outcome.INFRA_ERROR:
            return Reason.AGENT_FAILED, member.detail or f"the agent's run ended as {member.outcome}"
        case _:
            assert_never(member.outcome)


def _name(member: Member) -> str:
    return f"the {member.role}" if member.number == 0 else f"candidate {member.number + 1}"


# ------------------------------------------------------------------ readers


def _reviewed(plan: Plan) -> None:
    """A reviewing step is over: what was found leads on, back, or to a person."""
    job = plan.job
    unread = next((member for member in job.crew if member.outcome is not Outcome.COMPLETED), None)
    if unread is not None:
        reason, detail = _judge(unread)
        reason = Reason.AGENT_INCOMPLETE if reason is Reason.NO_CHANGE else reason
        try_again(plan, reason, detail, detail)
        return
    for member in job.crew:
        credit(plan, member, f"{len(member.findings)} finding(s), {len(serious(member.findings))} serious")
    found = [one for member in job.crew for one in member.findings]
    remarks = tuple(member.findings_digest for member in job.crew if member.findings)
    plan.set(remarks=remarks)
    grave = serious(found)
    plan.say(f"{len(job.crew)} reviewing agent(s) found {len(found)} thing(s), {len(grave)} of them serious")
    if not grave:
        next_step(plan)
        return
    marks = tuple(sorted({one.mark for one in grave}))
    if comes_back(job.marks_found, marks):
        escalate(plan, Reason.OSCILLATING, "what was mended in one round is found again in a later one")
    elif job.marks_found and set(job.marks_found[-1]) == set(marks):
        escalate(plan, Reason.FINDINGS_OPEN, "the same findings stand as in the round before")
    else:
        plan.set(marks_found=(*job.marks_found, marks)[-20:])
        rework(plan, f"{len(grave)} serious finding(s)", notes=remarks)
