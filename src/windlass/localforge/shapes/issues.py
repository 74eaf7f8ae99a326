"""Issues, comments and issue events as GitHub shows them."""

from __future__ import annotations

from typing import Any

from windlass.localforge.model import Comment, Issue, IssueEvent, Repository
from windlass.localforge.shapes.people import maybe_app, maybe_user, node_id, user
from windlass.localforge.shapes.repositories import api_url, label
from windlass.localforge.site import Site, iso

_ASSOCIATIONS = {"admin": "MEMBER", "maintain": "MEMBER", "write": "COLLABORATOR", "triage": "COLLABORATOR"}


def association(site: Site, repo: Repository, login: str) -> str:
    """How a login belongs to the repository: OWNER, MEMBER, COLLABORATOR, NONE."""
    if login.lower() == repo.owner.lower():
        return "OWNER"
    return _ASSOCIATIONS.get(site.level(repo, login), "NONE")


def reactions(url: str) -> dict[str, Any]:
    """No reactions."""
    faces = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")
    return {"url": f"{url}/reactions", "total_count": 0} | dict.fromkeys(faces, 0)


def issue(site: Site, repo: Repository, found: Issue) -> dict[str, Any]:
    """The `issue` shape, also of webhooks; of a pull request too."""
    url = f"{api_url(site, repo)}/issues/{found.number}"
    kind = "pull" if found.pull else "issues"
    out: dict[str, Any] = {
        "url": url,
        "repository_url": api_url(site, repo),
        "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "timeline_url": f"{url}/timeline",
        "html_url": f"{site.base_url}/{repo.full_name}/{kind}/{found.number}",
        "id": found.id,
        "node_id": node_id("Issue", found.id),
        "number": found.number,
        "title": found.title,
        "user": user(site, site.account(found.author)),
        "labels": labels(site, repo, found),
        "state": found.state,
        "state_reason": found.state_reason,
        "locked": False,
        "assignee": None,
        "assignees": [],
        "milestone": None,
        "comments": len(found.comments),
        "created_at": iso(found.created_at_ms),
        "updated_at": iso(found.updated_at_ms),
        "closed_at": None if found.closed_at_ms is None else iso(found.closed_at_ms),
        "author_association": association(site, repo, found.author),
        "active_lock_reason": None,
        "body": found.body,
        "reactions": reactions(url),
        "performed_via_github_app": maybe_app(site, found.app_id),
    }
    if found.pull is not None:
        out |= {"draft": found.pull.is_draft, "pull_request": _pull_links(site, repo, found)}
    return out


def _pull_links(site: Site, repo: Repository, found: Issue) -> dict[str, Any]:
    html = f"{site.base_url}/{repo.full_name}/pull/{found.number}"
    merged = found.pull.merged_at_ms if found.pull else None
    return {
        "url": f"{api_url(site, repo)}/pulls/{found.number}",
        "html_url": html,
        "diff_url": f"{html}.diff",
        "patch_url": f"{html}.patch",
        "merged_at": None if merged is None else iso(merged),
    }


def full_issue(site: Site, repo: Repository, found: Issue) -> dict[str, Any]:
    """The `issue` shape of REST, which says who closed it."""
    return issue(site, repo, found) | {"closed_by": maybe_user(site, found.closed_by)}


def labels(site: Site, repo: Repository, found: Issue) -> list[dict[str, Any]]:
    """An issue's labels."""
    return [label(site, repo, repo.labels[name.lower()]) for name in found.labels]


def comment(site: Site, repo: Repository, found: Comment) -> dict[str, Any]:
    """The `issue-comment` shape."""
    url = f"{api_url(site, repo)}/issues/comments/{found.id}"
    on = repo.issues[found.issue_number]
    kind = "pull" if on.pull else "issues"
    return {
        "url": url,
        "html_url": f"{site.base_url}/{repo.full_name}/{kind}/{on.number}#issuecomment-{found.id}",
        "issue_url": f"{api_url(site, repo)}/issues/{on.number}",
        "id": found.id,
        "node_id": node_id("IssueComment", found.id),
        "user": user(site, site.account(found.author)),
        "created_at": iso(found.created_at_ms),
        "updated_at": iso(found.updated_at_ms),
        "author_association": association(site, repo, found.author),
        "performed_via_github_app": maybe_app(site, found.app_id),
        "body": found.body,
        "reactions": reactions(url),
    }


def event(site: Site, repo: Repository, found: IssueEvent) -> dict[str, Any]:
    """The `issue-event-for-issue` shape."""
    url = api_url(site, repo)
    out: dict[str, Any] = {
        "id": found.id,
        "node_id": node_id("IssueEvent", found.id),
        "url": f"{url}/issues/events/{found.id}",
        "actor": user(site, site.account(found.actor)),
        "event": found.event,
        "commit_id": found.commit_id,
        "commit_url": None if found.commit_id is None else f"{url}/commits/{found.commit_id}",
        "created_at": iso(found.created_at_ms),
        "performed_via_github_app": None,
    }
    if found.label:
        out["label"] = {"name": found.label, "color": found.label_color}
    if found.rename is not None:
        out["rename"] = {"from": found.rename[0], "to": found.rename[1]}
    return out
