"""Repositories, labels, refs, commits and differences as GitHub shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from windlass.localforge.gitdata import Commit, FileChange, Signature
from windlass.localforge.model import LEVELS, Label, Repository
from windlass.localforge.shapes.people import node_id, user
from windlass.localforge.site import Site, iso

_URLS: Final = {
    "archive_url": "/{archive_format}{/ref}",
    "assignees_url": "/assignees{/user}",
    "blobs_url": "/git/blobs{/sha}",
    "branches_url": "/branches{/branch}",
    "collaborators_url": "/collaborators{/collaborator}",
    "comments_url": "/comments{/number}",
    "commits_url": "/commits{/sha}",
    "compare_url": "/compare/{base}...{head}",
    "contents_url": "/contents/{+path}",
    "contributors_url": "/contributors",
    "deployments_url": "/deployments",
    "downloads_url": "/downloads",
    "events_url": "/events",
    "forks_url": "/forks",
    "git_commits_url": "/git/commits{/sha}",
    "git_refs_url": "/git/refs{/sha}",
    "git_tags_url": "/git/tags{/sha}",
    "hooks_url": "/hooks",
    "issue_comment_url": "/issues/comments{/number}",
    "issue_events_url": "/issues/events{/number}",
    "issues_url": "/issues{/number}",
    "keys_url": "/keys{/key_id}",
    "labels_url": "/labels{/name}",
    "languages_url": "/languages",
    "merges_url": "/merges",
    "milestones_url": "/milestones{/number}",
    "notifications_url": "/notifications{?since,all,participating}",
    "pulls_url": "/pulls{/number}",
    "releases_url": "/releases{/id}",
    "stargazers_url": "/stargazers",
    "statuses_url": "/statuses/{sha}",
    "subscribers_url": "/subscribers",
    "subscription_url": "/subscription",
    "tags_url": "/tags",
    "teams_url": "/teams",
    "trees_url": "/git/trees{/sha}",
}
_ZEROES: Final = ("size", "stargazers_count", "watchers_count", "forks_count", "forks", "watchers")
_SETTINGS: Final = {
    "fork": False,
    "language": None,
    "homepage": None,
    "mirror_url": None,
    "license": None,
    "has_issues": True,
    "has_projects": False,
    "has_downloads": True,
    "has_wiki": False,
    "has_pages": False,
    "has_discussions": False,
    "archived": False,
    "disabled": False,
    "allow_forking": False,
    "is_template": False,
    "web_commit_signoff_required": False,
}


def api_url(site: Site, repo: Repository) -> str:
    """Where the repository's endpoints begin."""
    return f"{site.base_url}/api/v3/repos/{repo.full_name}"


def repository(site: Site, repo: Repository) -> dict[str, Any]:
    """The `repository` shape, also of webhooks."""
    url, html = api_url(site, repo), f"{site.base_url}/{repo.full_name}"
    open_issues = sum(issue.state == "open" for issue in repo.issues.values())
    named = {
        "id": repo.id,
        "node_id": node_id("Repository", repo.id),
        "name": repo.name,
        "full_name": repo.full_name,
        "private": repo.is_private,
        "owner": user(site, site.account(repo.owner)),
        "html_url": html,
        "description": repo.description,
        "url": url,
        "created_at": iso(repo.created_at_ms),
        "updated_at": iso(repo.pushed_at_ms),
        "pushed_at": iso(repo.pushed_at_ms),
        "git_url": f"{html}.git",
        "ssh_url": f"{html}.git",
        "clone_url": f"{html}.git",
        "svn_url": html,
        "open_issues_count": open_issues,
        "open_issues": open_issues,
        "default_branch": repo.default_branch,
        "visibility": "private" if repo.is_private else "public",
        "topics": [],
        "custom_properties": {},
    }
    return named | {key: url + tail for key, tail in _URLS.items()} | _SETTINGS | dict.fromkeys(_ZEROES, 0)


def full_repository(site: Site, repo: Repository, level: str) -> dict[str, Any]:
    """The `full-repository` shape, with what the caller may do."""
    merging = {"allow_squash_merge": True, "allow_merge_commit": True, "allow_rebase_merge": False}
    extra = {"subscribers_count": 0, "network_count": 0, "delete_branch_on_merge": False, "allow_auto_merge": False}
    return repository(site, repo) | merging | extra | {"permissions": rights(level)}


def rights(level: str) -> dict[str, bool]:
    """A level as GitHub's five flags."""
    rank = LEVELS.index(level)
    names = {"pull": "read", "triage": "triage", "push": "write", "maintain": "maintain", "admin": "admin"}
    return {name: rank >= LEVELS.index(need) for name, need in names.items()}


def label(site: Site, repo: Repository, found: Label) -> dict[str, Any]:
    """The `label` shape."""
    return {
        "id": found.id,
        "node_id": node_id("Label", found.id),
        "url": f"{api_url(site, repo)}/labels/{quote(found.name, safe='')}",
        "name": found.name,
        "color": found.color,
        "default": False,
        "description": found.description,
    }


def ref(site: Site, repo: Repository, name: str, sha: str) -> dict[str, Any]:
    """The `git-ref` shape."""
    url = api_url(site, repo)
    return {
        "ref": name,
        "node_id": node_id("Ref", f"{repo.id}:{name}"),
        "url": f"{url}/git/{name}",
        "object": {"sha": sha, "type": "commit", "url": f"{url}/git/commits/{sha}"},
    }


# -------------------------------------------------------------------- commits


def git_time(signature: Signature) -> str:
    """A git time as GitHub writes it."""
    return datetime.fromtimestamp(signature.at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _person(signature: Signature) -> dict[str, Any]:
    return {"name": signature.name, "email": signature.email, "date": git_time(signature)}


_UNSIGNED: Final = {"verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None}


def git_commit(site: Site, repo: Repository, found: Commit) -> dict[str, Any]:
    """The `git-commit` shape."""
    url = api_url(site, repo)
    return {
        "sha": found.sha,
        "node_id": node_id("Commit", f"{repo.id}:{found.sha}"),
        "url": f"{url}/git/commits/{found.sha}",
        "html_url": f"{site.base_url}/{repo.full_name}/commit/{found.sha}",
        "author": _person(found.author),
        "committer": _person(found.committer),
        "tree": {"sha": found.tree, "url": f"{url}/git/trees/{found.tree}"},
        "message": found.message,
        "parents": parents(site, repo, found, "git/commits"),
        "verification": dict(_UNSIGNED),
    }


def parents(site: Site, repo: Repository, found: Commit, kind: str = "commits") -> list[dict[str, Any]]:
    """A commit's parents."""
    url, html = api_url(site, repo), f"{site.base_url}/{repo.full_name}"
    return [{"sha": sha, "url": f"{url}/{kind}/{sha}", "html_url": f"{html}/commit/{sha}"} for sha in found.parents]


def commit(site: Site, repo: Repository, found: Commit) -> dict[str, Any]:
    """The `commit` shape, without files."""
    url = api_url(site, repo)
    return {
        "url": f"{url}/commits/{found.sha}",
        "sha": found.sha,
        "node_id": node_id("Commit", f"{repo.id}:{found.sha}"),
        "html_url": f"{site.base_url}/{repo.full_name}/commit/{found.sha}",
        "comments_url": f"{url}/commits/{found.sha}/comments",
        "commit": {
            "url": f"{url}/git/commits/{found.sha}",
            "author": _person(found.author),
            "committer": _person(found.committer),
            "message": found.message,
            "comment_count": 0,
            "tree": {"sha": found.tree, "url": f"{url}/git/trees/{found.tree}"},
            "verification": dict(_UNSIGNED),
        },
        "author": _account_of(site, found.author),
        "committer": _account_of(site, found.committer),
        "parents": parents(site, repo, found),
    }


def webhook_commit(site: Site, repo: Repository, found: Commit) -> dict[str, Any]:
    """The `commit` shape of webhooks, which do not say when a signature was verified."""
    shape = commit(site, repo, found)
    del shape["commit"]["verification"]["verified_at"]
    return shape


def _account_of(site: Site, signature: Signature) -> dict[str, Any] | None:
    login = email_login(signature.email)
    account = site.world.accounts.get(login.lower()) if login else None
    return None if account is None else user(site, account)


def email_login(email: str) -> str:
    """The login behind a no-reply address (`[id+]login@users.noreply.localforge`), or ''."""
    name, _, host = email.partition("@")
    return name.rpartition("+")[2] if host == "users.noreply.localforge" else ""


def simple_commit(found: Commit) -> dict[str, Any]:
    """The `simple-commit` shape."""
    return {
        "id": found.sha,
        "tree_id": found.tree,
        "message": found.message,
        "timestamp": git_time(found.committer),
        "author": {"name": found.author.name, "email": found.author.email},
        "committer": {"name": found.committer.name, "email": found.committer.email},
    }


def file_change(site: Site, repo: Repository, change: FileChange, sha: str) -> dict[str, Any]:
    """The `diff-entry` shape."""
    path = quote(change.path)
    html = f"{site.base_url}/{repo.full_name}"
    out: dict[str, Any] = {
        "sha": change.sha,
        "filename": change.path,
        "status": change.status,
        "additions": change.additions,
        "deletions": change.deletions,
        "changes": change.additions + change.deletions,
        "blob_url": f"{html}/blob/{sha}/{path}",
        "raw_url": f"{html}/raw/{sha}/{path}",
        "contents_url": f"{api_url(site, repo)}/contents/{path}?ref={sha}",
    }
    if change.previous_path is not None:
        out["previous_filename"] = change.previous_path
    if change.patch is not None:
        out["patch"] = change.patch
    return out
