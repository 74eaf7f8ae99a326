"""Small makers of core data for the tests of decisions."""

from __future__ import annotations

import dataclasses
from typing import Any

from windlass.core.events import Check, IssueLabelled, PullSnapshot, Review
from windlass.core.job import IssueSnapshot, Job, PatchRef, TestRun, Verification
from windlass.core.policy import Limits, Policy
from windlass.core.transition import Transition
from windlass.core.workflow import open_job

NOW = 1_800_000_000_000
ISSUE = IssueSnapshot(number=7, title="Crash on empty input", body="It fails.", author="olga", labels=("AI-Ready",))
ASKED = IssueLabelled(
    repository="acme/shop", issue=ISSUE, requested_by="olga", may_request=True, epoch="e1", base_ref="main"
)
POLICY = Policy(limits=Limits(checks_quiet_s=0))
PATCH = PatchRef(
    digest="d" * 64, start_sha="b" * 40, tree_sha="e" * 40, files=("calc.py", "test_calc.py"), insertions=3, deletions=1
)
GOOD = Verification(
    command="pytest",
    base=TestRun(status="failed", exit_code=1),
    head=TestRun(status="passed", exit_code=0),
    red_to_green=True,
)


def opened(policy: Policy = POLICY, **changes: Any) -> Transition:
    """A job just opened."""
    return open_job(dataclasses.replace(ASKED, **changes), policy, NOW, job_id="j1")


def snapshot(job: Job, **changes: Any) -> PullSnapshot:
    """The job's pull request, open, at its head, with one green required check."""
    base = PullSnapshot(
        number=job.pull_number or 1,
        state="open",
        is_merged=False,
        head_sha=job.head_sha or "h" * 40,
        base_ref="main",
        base_sha="b" * 40,
        required=("tests",),
        checks=(check(),),
        committers=("windlass-bot",),
        is_mergeable=True,
    )
    return dataclasses.replace(base, **changes)


def check(conclusion: str = "success", *, name: str = "tests", number: int = 1, at_ms: int = 1) -> Check:
    """A completed check, or a running one when `conclusion` is empty."""
    status = "completed" if conclusion else "in_progress"
    return Check(name=name, source="check_run", status=status, conclusion=conclusion, id=number, completed_at_ms=at_ms)


def review(
    state: str = "approved", *, by: str = "rita", sha: str = "h" * 40, number: int = 1, **changes: Any
) -> Review:
    """A review by a human who may approve."""
    given = Review(
        id=number, reviewer=by, is_human=True, state=state, commit_sha=sha, submitted_at_ms=number, permission="write"
    )
    return dataclasses.replace(given, **changes)
