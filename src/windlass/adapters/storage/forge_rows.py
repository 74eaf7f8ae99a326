"""What a job carries and what was read of its pull request, as rows of pull_requests, ci_results and approvals.

Kept: one row per pull request and per check on a commit, the newest reading wins; approvals are only ever added.
Everything here runs inside the caller's transaction and the caller translates database errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from windlass.adapters.storage.models import agent_jobs, approvals, ci_results, pull_requests
from windlass.adapters.storage.rows import insert, shown, upsert
from windlass.core.errors import NotFound
from windlass.core.events import Check, PullSnapshot
from windlass.core.job import Job, State

_CHECK_KEY = ("pull_request", "sha", "name", "source", "app", "check_id")


def write_job(connection: sa.Connection, job: Job, before: Job | None, now_ms: int) -> None:
    """The pull request and the approval that the job names, when they differ from what it named `before`."""
    if job.pull_number is not None and (before is None or _pull_of(before) != _pull_of(job)):
        _write_pull(connection, job.repository, job.pull_number, job.id, _pull_of(job), now_ms)
    if job.approval is not None and (before is None or before.approval != job.approval):
        row = {
            "job_id": job.id,
            "by": shown(job.approval.by),
            "head_sha": job.approval.head_sha,
            "review_id": job.approval.review_id,
            "at_ms": job.approval.at_ms,
        }
        connection.execute(insert(connection, approvals).on_conflict_do_nothing(), row)


def write_checks(connection: sa.Connection, job_id: str, pull: PullSnapshot, at_ms: int) -> None:
    """The pull request as it was read, and every check on its head and base. Raises NotFound for an unknown job."""
    repository = connection.scalar(sa.select(agent_jobs.c.repository).where(agent_jobs.c.id == job_id))
    if repository is None:
        raise NotFound(f"no job {job_id}", hint="checks are written after their job")
    seen = {
        "title": shown(pull.title),
        "state": "merged" if pull.is_merged else "closed" if pull.state == "closed" else "open",
        "head_sha": pull.head_sha,
        "base_ref": shown(pull.base_ref),
        "merged_by": shown(pull.merged_by),
        "merge_commit_sha": pull.merge_commit_sha,
    }
    number = _write_pull(connection, repository, pull.number, job_id, seen, at_ms)
    head = _check_rows(pull.checks, pull.head_sha, number, at_ms, is_base=False)
    base = _check_rows(pull.base_checks, pull.base_sha, number, at_ms, is_base=True)
    rows = {tuple(row[key] for key in _CHECK_KEY): row for row in (*base, *head)}
    if rows:
        connection.execute(upsert(connection, ci_results, _CHECK_KEY, ("first_at_ms",)), list(rows.values()))


def _pull_of(job: Job) -> dict[str, Any]:
    """What a job knows of its pull request: empty values say nothing and are left out."""
    state = {State.MERGED: "merged", State.CLOSED: "closed"}.get(job.state, "")
    known = {"url": shown(job.pull_url), "head_sha": job.head_sha, "base_ref": shown(job.base_ref), "state": state}
    return {name: value for name, value in known.items() if value} | {"number": job.pull_number}


def _write_pull(
    connection: sa.Connection, repository: str, number: int, job_id: str, seen: Mapping[str, Any], at_ms: int
) -> int:
    """Insert or update one pull request with what was `seen`; our own number of it."""
    changed = {name: value for name, value in seen.items() if name != "number"}
    changed |= {"job_id": job_id, "updated_at_ms": at_ms}
    key = {"repository": repository, "pull_number": number}
    statement = (
        insert(connection, pull_requests)
        .values({"state": "open", "created_at_ms": at_ms, **key, **changed})
        .on_conflict_do_update(index_elements=[pull_requests.c[name] for name in key], set_=changed)
        .returning(pull_requests.c.number)
    )
    return int(connection.scalars(statement).one())


def _check_rows(
    checks: Iterable[Check], sha: str, pull_request: int, at_ms: int, *, is_base: bool
) -> Iterable[dict[str, Any]]:
    for check in checks:
        yield {
            "pull_request": pull_request,
            "sha": sha,
            "is_base": is_base,
            "name": shown(check.name),
            "source": check.source,
            "app": shown(check.app),
            "check_id": check.id,
            "status": check.status,
            "conclusion": check.conclusion,
            "completed_at_ms": check.completed_at_ms,
            "url": shown(check.url),
            "summary": shown(check.summary),
            "first_at_ms": at_ms,
            "updated_at_ms": at_ms,
        }
