"""Made-up jobs: the events of a job's life up to its open pull request, as the stages would answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from windlass.core import workflow
from windlass.core.events import (
    BranchCreated,
    Event,
    IssueLabelled,
    PatchPushed,
    PatchVerified,
    PullRequestOpened,
    RunFinished,
    RunStarted,
)
from windlass.core.job import IssueSnapshot, Job, Outcome, PatchRef, TestRun, Verification
from windlass.core.policy import Policy

REPOSITORY = "bench/waiting"
START_MS = 1_767_225_600_000
BODY = "Ten euros split between three friends gives three times 3.33. Where is the last cent?\n" * 8


def asked(number: int) -> IssueLabelled:
    """Somebody put the label on issue `number`."""
    title = f"Splitting a bill loses cents ({number})"
    issue = IssueSnapshot(number=number, title=title, body=BODY, author="requester", labels=("AI-Ready",))
    return IssueLabelled(
        repository=REPOSITORY,
        issue=issue,
        requested_by="requester",
        may_request=True,
        epoch=f"labelling-{number}",
        base_ref="main",
    )


def answers(number: int, job: Job) -> Iterator[tuple[str, Event]]:
    """(name, event) in order; `fitting` makes each the answer to what the job waits for by then."""
    base, head, tree = (f"{kind}{number:x}".rjust(40, "0") for kind in ("a", "b", "c"))
    patch = PatchRef(digest=tree.rjust(64, "0"), start_sha=base, tree_sha=tree, files=("bill/split.py",), **_LINES)
    run = f"{job.id}-r2"
    yield "branch", BranchCreated(seq=0, base_sha=base, branch_sha=base)
    yield "started", RunStarted(seq=0, run_id=run)
    yield "ran", RunFinished(seq=0, run_id=run, outcome=Outcome.COMPLETED, patch=patch, duration_s=1.0)
    yield "verified", PatchVerified(seq=0, verification=_GOOD)
    yield "pushed", PatchPushed(seq=0, head_sha=head, tree_sha=tree)
    url = f"https://forge.example/{REPOSITORY}/pull/{number}"
    yield "opened", PullRequestOpened(seq=0, number=number, url=url, title="Split bills without loss")


_LINES = {"insertions": 2, "deletions": 1, "size_bytes": 400}
_GOOD = Verification(
    command="python3 -m unittest",
    base=TestRun(status="failed", exit_code=1, duration_s=0.1, failed_tests=("tests.test_split.test_cents",)),
    head=TestRun(status="passed", exit_code=0, duration_s=0.1, passed_tests=("tests.test_split.test_cents",)),
    red_to_green=True,
)


def fitting(job: Job, event: Event) -> Event:
    """The event as the answer to what the job really waits for."""
    if isinstance(event, RunStarted | RunFinished):
        assert job.work is not None
        return dataclasses.replace(event, seq=job.work.seq, run_id=job.run_id or "")
    if job.work is not None and hasattr(event, "seq"):
        return dataclasses.replace(event, seq=job.work.seq)  # type: ignore[call-arg]
    return event


def waiting_job() -> Job:
    """A job that waits for CI, made by the real decisions."""
    job = workflow.open_job(asked(1), Policy(), START_MS, job_id="j-template").job
    for _, event in answers(1, job):
        job = workflow.decide(job, fitting(job, event), job.policy, START_MS).job
    return job
