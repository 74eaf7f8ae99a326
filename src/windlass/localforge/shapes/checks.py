"""Commit statuses, check suites and check runs as GitHub shows them."""

from __future__ import annotations

from typing import Any

from windlass.localforge.gitdata import Commit
from windlass.localforge.model import CheckRun, CheckSuite, Repository, Status
from windlass.localforge.shapes.people import app, node_id, user
from windlass.localforge.shapes.repositories import api_url, repository, simple_commit
from windlass.localforge.site import Site, iso


def status(site: Site, repo: Repository, found: Status) -> dict[str, Any]:
    """The `status` shape."""
    return simple_status(site, repo, found) | {"creator": user(site, site.account(found.creator))}


def simple_status(site: Site, repo: Repository, found: Status) -> dict[str, Any]:
    """The `simple-commit-status` shape."""
    at = iso(found.created_at_ms)
    return {
        "url": f"{api_url(site, repo)}/statuses/{found.sha}",
        "avatar_url": f"{site.base_url}/avatars/u/{site.account(found.creator).id}",
        "id": found.id,
        "node_id": node_id("StatusContext", found.id),
        "state": found.state,
        "description": found.description,
        "target_url": found.target_url,
        "context": found.context,
        "created_at": at,
        "updated_at": at,
    }


def pulls_at(site: Site, repo: Repository, sha: str) -> list[dict[str, Any]]:
    """Open pull requests whose head is this commit, in the `pull-request-minimal` shape."""
    url = api_url(site, repo)
    where = {"id": repo.id, "url": url, "name": repo.name}
    out = []
    for found in repo.issues.values():
        if found.pull is None or found.state != "open" or found.pull.head_sha != sha:
            continue
        head = {"ref": found.pull.head_ref, "sha": found.pull.head_sha, "repo": where}
        base = {"ref": found.pull.base_ref, "sha": found.pull.base_sha, "repo": where}
        out.append(
            {"url": f"{url}/pulls/{found.number}", "id": found.id, "number": found.number, "head": head, "base": base}
        )
    return out


def check_run(site: Site, repo: Repository, found: CheckRun) -> dict[str, Any]:
    """The `check-run` shape."""
    url = f"{api_url(site, repo)}/check-runs/{found.id}"
    html = f"{site.base_url}/{repo.full_name}/runs/{found.id}"
    return {
        "id": found.id,
        "name": found.name,
        "node_id": node_id("CheckRun", found.id),
        "head_sha": found.head_sha,
        "external_id": found.external_id,
        "url": url,
        "html_url": html,
        "details_url": found.details_url or html,
        "status": found.status,
        "conclusion": found.conclusion,
        "started_at": iso(found.started_at_ms),
        "completed_at": None if found.completed_at_ms is None else iso(found.completed_at_ms),
        "output": {
            "title": found.title,
            "summary": found.summary,
            "text": found.text,
            "annotations_count": 0,
            "annotations_url": f"{url}/annotations",
        },
        "check_suite": {"id": found.suite_id},
        "app": app(site, site.app(found.app_id)),
        "pull_requests": pulls_at(site, repo, found.head_sha),
    }


def webhook_check_run(site: Site, repo: Repository, found: CheckRun) -> dict[str, Any]:
    """A check run in a webhook, which carries its suite."""
    return check_run(site, repo, found) | {"check_suite": _suite(site, repo, repo.suites[found.suite_id])}


def _suite(site: Site, repo: Repository, found: CheckSuite) -> dict[str, Any]:
    return {
        "id": found.id,
        "node_id": node_id("CheckSuite", found.id),
        "head_branch": found.head_branch,
        "head_sha": found.head_sha,
        "status": found.status,
        "conclusion": found.conclusion,
        "url": f"{api_url(site, repo)}/check-suites/{found.id}",
        "before": found.before,
        "after": found.head_sha,
        "pull_requests": pulls_at(site, repo, found.head_sha),
        "app": app(site, site.app(found.app_id)),
        "created_at": iso(found.created_at_ms),
        "updated_at": iso(found.updated_at_ms),
    }


def webhook_check_suite(site: Site, repo: Repository, found: CheckSuite, head: Commit) -> dict[str, Any]:
    """A check suite in a webhook."""
    runs = [run for run in repo.runs.values() if run.suite_id == found.id]
    return _suite(site, repo, found) | {
        "latest_check_runs_count": len({run.name for run in runs}),
        "check_runs_url": f"{api_url(site, repo)}/check-suites/{found.id}/check-runs",
        "head_commit": simple_commit(head),
    }


def check_suite(site: Site, repo: Repository, found: CheckSuite, head: Commit) -> dict[str, Any]:
    """The `check-suite` shape of REST."""
    return webhook_check_suite(site, repo, found, head) | {"repository": repository(site, repo)}
