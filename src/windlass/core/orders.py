"""The main line's orders, each built from the job alone, so that one can be given again without paying an agent twice.

Rule: an order that failed for now is given again later within the budget of revivals; the pauses grow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from windlass.core import effects
from windlass.core.endings import escalate
from windlass.core.job import Job, Reason
from windlass.core.transition import Plan

_BACKOFF_S = (2.0, 10.0, 30.0, 120.0, 600.0)


def order(plan: Plan, kind: str, *, delay_s: float = 0.0) -> None:
    """Order a main-line effect (runs of agents: see `crew`) as the job stands."""
    plan.order(_MAKE[kind](plan.job), delay_s=delay_s)


def revive(plan: Plan, kind: str, message: str, retry_after_s: float | None) -> None:
    """Infrastructure let us down: order the same effect again, later, within its own budget."""
    delay_s = spend_revival(plan, kind, message, retry_after_s)
    if delay_s is not None:
        order(plan, kind, delay_s=delay_s)


def spend_revival(plan: Plan, what: str, message: str, retry_after_s: float | None) -> float | None:
    """Seconds to wait before the next try, or None: the budget is used up and a person is asked."""
    budgets = plan.job.budgets
    if budgets.revivals >= plan.job.policy.limits.revivals:
        escalate(plan, Reason.INFRASTRUCTURE, f"{what} failed {budgets.revivals + 1} times: {message}")
        return None
    plan.set(budgets=dataclasses.replace(budgets, revivals=budgets.revivals + 1))
    delay_s = max(retry_after_s or 0.0, _BACKOFF_S[min(budgets.revivals, len(_BACKOFF_S) - 1)])
    plan.say(f"{what} failed for now ({message}); again in {delay_s:.0f} s")
    return delay_s


def _create_branch(job: Job) -> effects.Effect:
    return effects.CreateBranch(branch=job.branch, base_ref=job.base_ref, known_shas=job.pushed_shas)


def _verify_patch(job: Job) -> effects.Effect:
    assert job.patch is not None
    assert job.base_sha is not None
    return effects.VerifyPatch(patch=job.patch, base_sha=job.base_sha)


def _push_patch(job: Job) -> effects.Effect:
    assert job.patch is not None
    assert job.branch_sha is not None
    return effects.PushPatch(
        patch=job.patch,
        branch=job.branch,
        expected_sha=job.branch_sha,
        title=job.report_title or job.issue.title,
        issue_number=job.issue.number,
        agent=job.written_by or job.agent,
        committed_at_ms=job.patched_at_ms,
    )


def _open_pull_request(job: Job) -> effects.Effect:
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
        agent=job.written_by or job.agent,
        requested_by=job.requested_by,
        findings=job.remarks,
        run_notes=job.run_notes,
    )


_MAKE: dict[str, Callable[[Job], effects.Effect]] = {
    "CreateBranch": _create_branch,
    "VerifyPatch": _verify_patch,
    "PushPatch": _push_patch,
    "OpenPullRequest": _open_pull_request,
}
