"""Pull requests and reviews as GitHub shows them."""

from __future__ import annotations

from typing import Any

from windlass.localforge.git import Git
from windlass.localforge.gitdata import FileChange
from windlass.localforge.model import Issue, Pull, Repository, Review
from windlass.localforge.shapes.issues import association, labels
from windlass.localforge.shapes.people import maybe_user, node_id, user
from windlass.localforge.shapes.repositories import api_url, repository
from windlass.localforge.site import Site, iso


def the_pull(found: Issue) -> Pull:
    """An issue's pull request part, for callers that know it is one."""
    assert found.pull is not None
    return found.pull


def _end(site: Site, repo: Repository, ref: str, sha: str) -> dict[str, Any]:
    owner = user(site, site.account(repo.owner))
    return {"label": f"{repo.owner}:{ref}", "ref": ref, "sha": sha, "user": owner, "repo": repository(site, repo)}


def _links(site: Site, repo: Repository, found: Issue) -> dict[str, dict[str, str]]:
    api, number = api_url(site, repo), found.number
    sha = the_pull(found).head_sha
    return {
        "self": {"href": f"{api}/pulls/{number}"},
        "html": {"href": f"{site.base_url}/{repo.full_name}/pull/{number}"},
        "issue": {"href": f"{api}/issues/{number}"},
        "comments": {"href": f"{api}/issues/{number}/comments"},
        "review_comments": {"href": f"{api}/pulls/{number}/comments"},
        "review_comment": {"href": f"{api}/pulls/comments{{/number}}"},
        "commits": {"href": f"{api}/pulls/{number}/commits"},
        "statuses": {"href": f"{api}/statuses/{sha}"},
    }


def simple_pull(site: Site, repo: Repository, found: Issue) -> dict[str, Any]:
    """The `pull-request-simple` shape: lists and review webhooks."""
    pull, links = the_pull(found), _links(site, repo, found)
    html = links["html"]["href"]
    return {
        "url": links["self"]["href"],
        "id": found.id,
        "node_id": node_id("PullRequest", found.id),
        "html_url": html,
        "diff_url": f"{html}.diff",
        "patch_url": f"{html}.patch",
        "issue_url": links["issue"]["href"],
        "number": found.number,
        "state": found.state,
        "locked": False,
        "title": found.title,
        "user": user(site, site.account(found.author)),
        "body": found.body,
        "created_at": iso(found.created_at_ms),
        "updated_at": iso(found.updated_at_ms),
        "closed_at": None if found.closed_at_ms is None else iso(found.closed_at_ms),
        "merged_at": None if pull.merged_at_ms is None else iso(pull.merged_at_ms),
        "merge_commit_sha": pull.merge_commit_sha,
        "assignee": None,
        "assignees": [],
        "requested_reviewers": [],
        "requested_teams": [],
        "labels": labels(site, repo, found),
        "milestone": None,
        "draft": pull.is_draft,
        "commits_url": links["commits"]["href"],
        "review_comments_url": links["review_comments"]["href"],
        "review_comment_url": links["review_comment"]["href"],
        "comments_url": links["comments"]["href"],
        "statuses_url": links["statuses"]["href"],
        "head": _end(site, repo, pull.head_ref, pull.head_sha),
        "base": _end(site, repo, pull.base_ref, pull.base_sha),
        "_links": links,
        "author_association": association(site, repo, found.author),
        "auto_merge": None,
        "active_lock_reason": None,
    }


async def changes(git: Git, pull: Pull) -> tuple[FileChange, ...]:
    """What a pull request changes: from where it left the base to its head."""
    return await git.changes(await start_of(git, pull), pull.head_sha)


async def start_of(git: Git, pull: Pull) -> str:
    """Where a pull request left its base."""
    return await git.merge_base(pull.base_sha, pull.head_sha) or pull.base_sha


async def full_pull(site: Site, repo: Repository, found: Issue) -> dict[str, Any]:
    """The `pull-request` shape, also of webhooks."""
    pull, git = the_pull(found), site.git(repo)
    files = await changes(git, pull)
    commits = await git.log(pull.base_sha, pull.head_sha)
    return simple_pull(site, repo, found) | {
        "merged": pull.merged_at_ms is not None,
        "mergeable": pull.mergeable,
        "rebaseable": pull.mergeable,
        "mergeable_state": _mergeable_state(pull),
        "merged_by": maybe_user(site, pull.merged_by),
        "comments": len(found.comments),
        "review_comments": 0,
        "maintainer_can_modify": False,
        "commits": len(commits),
        "additions": sum(change.additions for change in files),
        "deletions": sum(change.deletions for change in files),
        "changed_files": len(files),
    }


def _mergeable_state(pull: Pull) -> str:
    if pull.mergeable is None:
        return "unknown"
    return "clean" if pull.mergeable else "dirty"


def review(site: Site, repo: Repository, found: Issue, given: Review) -> dict[str, Any]:
    """The `pull-request-review` shape; REST writes the state in capitals."""
    html = f"{site.base_url}/{repo.full_name}/pull/{found.number}#pullrequestreview-{given.id}"
    url = f"{api_url(site, repo)}/pulls/{found.number}"
    return {
        "id": given.id,
        "node_id": node_id("PullRequestReview", given.id),
        "user": user(site, site.account(given.author)),
        "body": given.body,
        "state": given.state,
        "html_url": html,
        "pull_request_url": url,
        "author_association": association(site, repo, given.author),
        "_links": {"html": {"href": html}, "pull_request": {"href": url}},
        "submitted_at": iso(given.submitted_at_ms),
        "commit_id": given.commit_id,
    }


def webhook_review(site: Site, repo: Repository, found: Issue, given: Review) -> dict[str, Any]:
    """A review in a webhook, where the state is in small letters and an empty body is null."""
    return review(site, repo, found, given) | {"state": given.state.lower(), "body": given.body or None}
