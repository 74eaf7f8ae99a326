"""What a pull request that was re-read means: checks, reviews, a moved head, a merge.

Level-triggered: a snapshot is judged for what it shows, not for what changed, so hearing a thing twice, late or out of
order ends in the same place. The side slots (observation, status comment, approval gate) hold one order each, so
that two of a kind can never overtake one another.
"""

from __future__ import annotations

import dataclasses

from windlass.core import approval, ci, effects, messages
from windlass.core.ci import CiReading, CiVerdict
from windlass.core.crew import begin_round
from windlass.core.endings import escalate, stop_running
from windlass.core.events import EffectDone, EffectFailed, PullRequestObserved, PullSnapshot, Review
from windlass.core.job import Job, Reason, State
from windlass.core.transition import Plan

LAST_LOOK_S = 60
_COALESCE_S = 0.25
_STALE_S = 2.0
_SIDE_RETRY_S = 30.0
_WATCHED = frozenset({State.CHECKING, State.REVIEWING, State.ESCALATED})
# Escalations that the pull request itself can answer: once it looks well again the job goes on.
_CURABLE = frozenset(
    {
        Reason.CI_FAILED,
        Reason.CI_NOT_STARTED,
        Reason.CI_TIMED_OUT,
        Reason.CI_ACTION_REQUIRED,
        Reason.CI_RED_ON_BASE,
        Reason.MERGE_CONFLICT,
        Reason.CHANGES_REQUESTED,
        Reason.HEAD_MOVED,
    }
)


def touch(plan: Plan, what: str) -> None:
    """Something may have changed: look again, once, however many hints there are."""
    if plan.job.pull_number is None:
        return  # the look that follows the opening will see it
    plan.say(f"{what}: look again")
    plan.set(observe_again=True)


def observed(plan: Plan, event: PullRequestObserved) -> None:
    """Judge what the forge showed."""
    if plan.job.observing_seq != event.seq:
        plan.say("an older look at the pull request; not used")
        return
    plan.set(observing_seq=None)
    pull = event.pull
    if pull.is_merged:
        _merged(plan, pull)
    elif pull.state == "closed":
        _closed(plan, pull)
    elif plan.job.state not in _WATCHED:
        return  # a further round is under way; its answer is followed by a look of its own
    elif _is_stale_head(plan.job, pull):
        plan.say(f"the forge still shows the older head {pull.head_sha[:7]}")
        plan.set(observe_again=True)
        plan.look_delay_s = _STALE_S
    else:
        _judge_open(plan, pull)
        _end_last_look(plan)


def _end_last_look(plan: Plan) -> None:
    """The last look has shown nothing new and no further one is wanted: a person is asked now, not a minute later."""
    job = plan.job
    if job.is_last_look and plan.before.is_last_look and not job.observe_again:
        waited_too_long(plan)


def waited_too_long(plan: Plan) -> None:
    """A deadline while checking or reviewing: look once more before a person is asked, webhooks do get lost."""
    job = plan.job
    if not job.is_last_look:
        plan.say("the deadline passed; one last look before a person is asked")
        plan.set(is_last_look=True, observe_again=True, deadline_at_ms=plan.now_ms + LAST_LOOK_S * 1000)
        return
    if job.state is State.REVIEWING:
        escalate(plan, Reason.REVIEW_TIMED_OUT, "nobody reviewed the pull request in time")
    elif job.ci_verdict in {"", CiVerdict.NONE}:
        escalate(plan, Reason.CI_NOT_STARTED, "no check has reported on the pull request's head")
    else:
        escalate(plan, Reason.CI_TIMED_OUT, "the checks did not finish in time")


def side_effect_answered(plan: Plan, event: EffectDone | EffectFailed) -> None:
    """Free the slot of an answered side effect; a transient failure makes `refresh` try again later."""
    has_failed = isinstance(event, EffectFailed)
    again = isinstance(event, EffectFailed) and event.is_transient
    if isinstance(event, EffectFailed):
        plan.say(f"{event.effect} failed: {event.message}")
    job = plan.job
    if event.seq == job.observing_seq:
        plan.set(observing_seq=None, observe_again=again)
    elif event.seq == job.comment_seq:
        plan.set(comment_seq=None, comment="" if again else job.comment)
    elif event.seq == job.gate_seq:
        plan.set(gate_seq=None, gate="" if again else job.gate)
    elif has_failed and event.effect == "RerunChecks":
        plan.set(rerun_marks=(), observe_again=job.pull_number is not None)
    if again and isinstance(event, EffectFailed):
        _retry_loose_end(plan, event)


def refresh(plan: Plan) -> None:
    """Order whatever of observation, comment and gate is wanted and not under way."""
    job = plan.job
    if job.observe_again and job.observing_seq is None and job.pull_number is not None and not job.is_terminal:
        plan.set(observe_again=False)
        plan.set(observing_seq=plan.order(effects.Observe(pull_number=job.pull_number), delay_s=_look_delay_s(plan)))
    if job.comment_seq is None:
        _refresh_comment(plan)
    if job.gate_seq is None and job.pull_number is not None and job.head_sha is not None:
        _refresh_gate(plan)


def _look_delay_s(plan: Plan) -> float:
    """At once; but hints that came during the last look share the next one."""
    coalesce_s = _COALESCE_S if plan.before.observing_seq is not None else 0.0
    return max(plan.look_delay_s, coalesce_s)


def _refresh_comment(plan: Plan) -> None:
    body = messages.status_comment(plan.job)
    fingerprint = messages.fingerprint(body)
    if fingerprint != plan.job.comment:
        effect = effects.UpdateStatusComment(issue_number=plan.job.issue.number, body=body)
        seq = plan.order(effect, delay_s=_side_delay_s(plan, plan.before.comment_seq))
        plan.set(comment_seq=seq, comment=fingerprint)


def _refresh_gate(plan: Plan) -> None:
    job = plan.job
    assert job.head_sha is not None
    state, description = messages.gate(job)
    wanted = f"{job.head_sha}:{state}:{description}"
    if wanted != job.gate:
        effect = effects.SetCommitStatus(
            sha=job.head_sha, context=ci.GATE_CONTEXT, state=state, description=description
        )
        seq = plan.order(effect, delay_s=_side_delay_s(plan, plan.before.gate_seq))
        plan.set(gate_seq=seq, gate=wanted)


def _side_delay_s(plan: Plan, slot_before: int | None) -> float:
    """A slot that was freed by a failure waits before it is used again."""
    was_cleared = (plan.job.comment == "" and plan.before.comment != "") or (
        plan.job.gate == "" and plan.before.gate != ""
    )
    return _SIDE_RETRY_S if slot_before is not None and was_cleared else 0.0


def _retry_loose_end(plan: Plan, event: EffectFailed) -> None:
    """Clean-up and notices must not get lost to an outage: order them again."""
    delay_s = max(event.retry_after_s or 0.0, _SIDE_RETRY_S)
    job = plan.job
    if event.effect == "Abandon":
        tips = tuple(sha for sha in (*job.pushed_shas, job.base_sha, job.branch_sha) if sha)
        effect = effects.Abandon(branch=job.branch, known_shas=tips, pull_number=job.pull_number)
        plan.order(effect, delay_s=delay_s)
    elif event.effect == "StopRun" and len(job.crew) == 1:  # of several, the reaper stops those that are left
        plan.order(effects.StopRun(run_id=job.crew[0].run_id), delay_s=delay_s)
    elif event.effect == "Notify":
        subject = f"{job.repository}#{job.issue.number}: {job.state}"
        plan.order(effects.Notify(subject=subject, text=job.detail), delay_s=delay_s)


def _is_stale_head(job: Job, pull: PullSnapshot) -> bool:
    return pull.head_sha != job.head_sha and (pull.head_sha in job.pushed_shas or pull.head_sha == job.base_sha)


def _merged(plan: Plan, pull: PullSnapshot) -> None:
    reading = approval.read(pull, policy=plan.job.policy, requested_by=plan.job.requested_by)
    yes = reading.approval
    stop_running(plan)
    plan.drop_work()
    plan.set(approval=yes, head_sha=pull.head_sha)
    plan.record(
        "merge",
        head_sha=pull.head_sha,
        merge_commit_sha=pull.merge_commit_sha,
        merged_by=pull.merged_by,
        approved_by=yes.by if yes else None,
        pull=pull.number,
    )
    if yes is None:
        plan.say("merged without an approval that counts")
        why = "; ".join(reading.not_counted) or "nobody approved this head"
        plan.enter(State.CLOSED, deadline_s=None, reason=Reason.MERGED_WITHOUT_APPROVAL, detail=why)
        plan.order(effects.Notify(subject=f"{plan.job.repository}#{pull.number} merged without approval", text=why))
        return
    plan.say(f"merged by {pull.merged_by}, approved by {yes.by} at {pull.head_sha[:7]}")
    _record_approval(plan, pull, yes.by)
    plan.enter(State.MERGED, deadline_s=None, detail=f"merged by {pull.merged_by}")


def _record_approval(plan: Plan, pull: PullSnapshot, by: str) -> None:
    known = plan.before.approval
    given = plan.job.approval
    if given is not None and given != known:
        plan.record("approval", by=by, head_sha=pull.head_sha, review_id=given.review_id, at_ms=given.at_ms)


def _closed(plan: Plan, pull: PullSnapshot) -> None:
    stop_running(plan)
    plan.drop_work()
    plan.say("the pull request was closed")
    plan.enter(State.CLOSED, deadline_s=None, reason=Reason.PULL_REQUEST_CLOSED, detail=f"#{pull.number} was closed")


def _judge_open(plan: Plan, pull: PullSnapshot) -> None:
    if pull.head_sha != plan.job.head_sha:
        _head_moved(plan, pull)
    is_unhappy = _judge_reviews(plan, pull)
    if plan.job.work is not None or plan.job.state not in _WATCHED:
        return
    if is_unhappy and plan.job.reason is Reason.CHANGES_REQUESTED:
        return
    if pull.is_mergeable is False:
        if plan.job.reason is not Reason.MERGE_CONFLICT:
            escalate(plan, Reason.MERGE_CONFLICT, f"the branch conflicts with {pull.base_ref}")
        return
    _judge_checks(plan, pull)


def _head_moved(plan: Plan, pull: PullSnapshot) -> None:
    """Somebody else pushed: what was approved is gone, and the agent leaves their work alone."""
    plan.say(f"the head moved to {pull.head_sha[:7]}, which is not ours")
    plan.drop_work()
    plan.set(
        head_sha=pull.head_sha,
        approval=None,
        is_human_driven=True,
        ci_verdict="",
        rerun_marks=(),
        pushed_at_ms=plan.now_ms,
    )
    plan.enter(State.CHECKING, deadline_s=plan.job.policy.limits.checks_start_s)


def _judge_reviews(plan: Plan, pull: PullSnapshot) -> bool:
    """Take in what reviewers say; whether somebody's request for changes of this head stands."""
    job = plan.job
    reading = approval.read(pull, policy=job.policy, requested_by=job.requested_by)
    for why in reading.not_counted:
        plan.say(why)
    if reading.approval != job.approval:
        plan.set(approval=reading.approval)
        if reading.approval is not None:
            plan.say(f"{reading.approval.by} approved {pull.head_sha[:7]}")
            _record_approval(plan, pull, reading.approval.by)
    fresh = tuple(r for r in reading.changes_requested if r.id not in job.reviews_seen)
    if fresh:
        _changes_requested(plan, pull, fresh)
    return bool(reading.changes_requested)


def _changes_requested(plan: Plan, pull: PullSnapshot, fresh: tuple[Review, ...]) -> None:
    job = plan.job
    who = ", ".join(sorted({review.reviewer for review in fresh}))
    plan.set(reviews_seen=(*job.reviews_seen, *(review.id for review in fresh))[-200:])
    plan.say(f"{who} asked for changes")
    limits = job.policy.limits
    if job.is_human_driven or job.budgets.review_rounds >= limits.review_rounds:
        escalate(plan, Reason.CHANGES_REQUESTED, f"{who} asked for changes")
        return
    plan.drop_work()
    plan.set(budgets=dataclasses.replace(job.budgets, review_rounds=job.budgets.review_rounds + 1))
    plan.enter(State.QUEUED, deadline_s=limits.job_s)
    feedback = "\n\n".join(f"{review.reviewer} asks for changes:\n{review.body}" for review in fresh)
    begin_round(plan, purpose="address_review", start_sha=pull.head_sha, feedback=feedback)


def _judge_checks(plan: Plan, pull: PullSnapshot) -> None:
    job = plan.job
    quiet_ms = job.policy.limits.checks_quiet_s * 1000
    is_quiet = plan.now_ms - (job.pushed_at_ms or 0) >= quiet_ms
    reading = ci.read(pull, rerun_marks=job.rerun_marks, is_quiet=is_quiet)
    plan.set(ci_verdict=reading.verdict.value)
    match reading.verdict:
        case CiVerdict.GREEN:
            _green(plan)
        case CiVerdict.RED:
            _red(plan, pull, reading)
        case CiVerdict.ACTION_REQUIRED:
            _escalate_once(plan, Reason.CI_ACTION_REQUIRED, "a check waits for a person's action on the forge")
        case CiVerdict.PENDING:
            _pending(plan, is_quiet=is_quiet, waiting_for=reading.waiting_for)
        case CiVerdict.NONE:
            _nothing_yet(plan)


def _green(plan: Plan) -> None:
    if plan.job.state is State.REVIEWING or not _may_go_on(plan.job):
        return
    plan.say("the required checks are green at the head")
    plan.enter(State.REVIEWING, deadline_s=plan.job.policy.limits.review_s)


def _may_go_on(job: Job) -> bool:
    return job.state is not State.ESCALATED or job.reason in _CURABLE


def _pending(plan: Plan, *, is_quiet: bool, waiting_for: tuple[str, ...]) -> None:
    job = plan.job
    if not waiting_for and not is_quiet:
        # Nothing is required and all are green: look again when the quiet time is over.
        plan.set(observe_again=True)
        plan.look_delay_s = max(1.0, float(job.policy.limits.checks_quiet_s))
    if not _may_go_on(job):
        return
    started = job.state is State.CHECKING and plan.before.ci_verdict not in {"", CiVerdict.NONE}
    if started or (job.state is State.ESCALATED and job.reason is Reason.CI_TIMED_OUT):
        return
    plan.say(f"checks are under way{': ' + ', '.join(waiting_for[:5]) if waiting_for else ''}")
    plan.enter(State.CHECKING, deadline_s=job.policy.limits.checks_total_s)


def _nothing_yet(plan: Plan) -> None:
    if plan.job.state is State.REVIEWING:
        plan.say("the checks are gone")
        plan.enter(State.CHECKING, deadline_s=plan.job.policy.limits.checks_start_s)


def _red(plan: Plan, pull: PullSnapshot, reading: CiReading) -> None:
    """Triage before spending: red on the base, then a flake, then the agent, then a person."""
    job = plan.job
    names = ", ".join(check.name for check in reading.failed[:5])
    if job.state is State.ESCALATED:
        plan.say(f"still red: {names}")
        return
    budgets, limits = job.budgets, job.policy.limits
    rerunnable = tuple(check for check in reading.failed if check.source == "check_run" and check.id)
    if ci.is_red_on_base(reading.failed, pull):
        escalate(plan, Reason.CI_RED_ON_BASE, f"red on the base commit too: {names}")
    elif budgets.flake_reruns < limits.flake_reruns and len(rerunnable) == len(reading.failed):
        plan.say(f"{names} failed; run again once before the agent is asked")
        plan.set(
            budgets=dataclasses.replace(budgets, flake_reruns=budgets.flake_reruns + 1),
            rerun_marks=tuple(ci.mark(check) for check in rerunnable),
            ci_verdict=CiVerdict.PENDING.value,
        )
        plan.enter(State.CHECKING, deadline_s=limits.checks_total_s)
        plan.order(effects.RerunChecks(head_sha=pull.head_sha, check_ids=tuple(check.id for check in rerunnable)))
    elif job.is_human_driven or budgets.ci_fix_rounds >= limits.ci_fix_rounds:
        escalate(plan, Reason.CI_FAILED, f"failing checks: {names}")
    else:
        plan.say(f"{names} failed; the agent is asked to mend it")
        plan.set(budgets=dataclasses.replace(budgets, ci_fix_rounds=budgets.ci_fix_rounds + 1))
        plan.enter(State.QUEUED, deadline_s=limits.job_s)
        feedback = "\n\n".join(f"{check.name}: {check.conclusion}\n{check.summary}" for check in reading.failed)
        begin_round(plan, purpose="fix_ci", start_sha=pull.head_sha, feedback=feedback, checks=reading.failed[:10])


def _escalate_once(plan: Plan, reason: Reason, detail: str) -> None:
    if plan.job.state is not State.ESCALATED:
        escalate(plan, reason, detail)
