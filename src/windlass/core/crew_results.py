"""What comes of a step: its runs are answered for one by one, and judged together with the last one.

A change goes to the tests. What reviewing agents find goes back to the coder before, within `rework_rounds`, and to a
person as soon as the work stands still or goes in circles. An answer that is not waited for changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import assert_never

from windlass.core.crew import (
    candidates,
    next_step,
    publish_state,
    put_to_work_again,
    replace,
    rework,
    try_again,
)
from windlass.core.endings import escalate, refuse
from windlass.core.events import EffectFailed, RunFinished, RunStarted
from windlass.core.findings import comes_back, serious
from windlass.core.job import Job, Member, Outcome, Pending, Reason, RunNote, State
from windlass.core.orders import order
from windlass.core.roles import has_coded
from windlass.core.transition import Plan

_MOST_NOTES = 40
_SLACK_S = 900


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
        put_to_work_again(plan, member, event.detail or "the run was lost", None)
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
        put_to_work_again(plan, member, event.message, event.retry_after_s)
    elif len(plan.job.crew) > 1 and member.role == "coder":
        lost = dataclasses.replace(member, is_out=False, outcome=Outcome.FAILED, detail=event.message[:500])
        _settle(plan, member, lost)
    else:
        refuse(plan, event.code, event.message)
    return True


def _out(job: Job, seq: int) -> Member | None:
    return next((member for member in job.crew if member.is_out and member.seq == seq), None)


def _settle(plan: Plan, before: Member, done: Member) -> None:
    replace(plan, before, done)
    waiting = [member for member in plan.job.crew if member.is_out]
    if waiting:
        plan.say(f"run {done.run_id} ended as {done.outcome}; {len(waiting)} of its step still work")
        plan.set(work=Pending(seq=waiting[0].seq, kind="StartRun"))
        return
    plan.set(work=None)
    (_reviewed if plan.job.policy.workflow[plan.job.step].is_reading else _written)(plan)


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
