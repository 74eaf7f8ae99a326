"""Branches and tags: which names are allowed, who may move what, and what follows when one moved."""

from __future__ import annotations

import re
from typing import Any, Final

from windlass.localforge.acts.pulls import follow_branch, merge
from windlass.localforge.git import ZERO, Git
from windlass.localforge.gitdata import Commit
from windlass.localforge.hub import Hub
from windlass.localforge.model import Issue, Repository
from windlass.localforge.shapes.pulls import the_pull
from windlass.localforge.shapes.repositories import email_login, git_time

REF_BYTES: Final = 255
COMMITS_PER_PUSH: Final = 20
_BAD: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^/|/$|\.$|(^|/)\.|\.lock(/|$)")


def ref_fault(ref: str) -> str:
    """Why this is no ref that GitHub takes, or ''. `ref` is full: `refs/heads/…`."""
    if not ref.startswith("refs/") or ref.count("/") < 2 or len(ref.encode()) > REF_BYTES or _BAD.search(ref):
        return f"{ref!r} is not a valid ref name."
    short = ref.split("/", 2)[2]
    if short == "@" or short.startswith(("refs/", "-")) or re.fullmatch(r"[0-9a-f]{40}", short):
        return f"{ref!r} is not a valid ref name."
    return ""


def protection_fault(repo: Repository, ref: str, new: str, *, is_new: bool, level: str) -> str:
    """Why a branch's protection forbids moving it directly, or ''."""
    rules = repo.protections.get(ref.removeprefix("refs/heads/")) if ref.startswith("refs/heads/") else None
    if rules is None or is_new or (level == "admin" and not rules.is_enforced_for_admins):
        return ""
    if new == ZERO:
        return "Cannot delete a protected branch."
    return "Changes must be made through a pull request."


async def ref_moved(hub: Hub, repo: Repository, ref: str, old: str, new: str, by: str) -> None:
    """A ref went from `old` to `new` (ZERO: was or is not there): tell, follow, check."""
    repo.pushed_at_ms = hub.site.now_ms()
    await _announce_push(hub, repo, ref, old, new, by)
    if not ref.startswith("refs/heads/"):
        return
    branch = ref.removeprefix("refs/heads/")
    await follow_branch(hub, repo, branch, new, by)
    if new != ZERO:
        await hub.checks.consider(repo, new, branch=branch, before=None if old == ZERO else old)


async def merge_now(
    hub: Hub,
    repo: Repository,
    issue: Issue,
    by: str,
    *,
    by_level: str,
    sha: str | None = None,
    method: str = "merge",
    title: str | None = None,
    message: str | None = None,
) -> str:
    """Merge a pull request and tell of the base branch's move; the merge commit. Raises Denied as `merge` does."""
    pull = the_pull(issue)
    async with hub.site.lock(repo):
        before = hub.site.git(repo).branch(pull.base_ref) or ZERO
        commit = await merge(
            hub, repo, issue, by, by_level=by_level, sha=sha, method=method, title=title, message=message
        )
        await ref_moved(hub, repo, f"refs/heads/{pull.base_ref}", before, commit, by)
    return commit


async def _announce_push(hub: Hub, repo: Repository, ref: str, old: str, new: str, by: str) -> None:
    if not hub.site.world.hooks:
        hub.site.touch()
        return
    git = hub.site.git(repo)
    kind = "tag" if ref.startswith("refs/tags/") else "branch"
    named = {"ref": ref.split("/", 2)[2], "ref_type": kind, "pusher_type": "user"}
    if old == ZERO:
        extra = {"master_branch": repo.default_branch, "description": repo.description}
        hub.announce(repo, "create", None, by, named | extra)
    commits = await _pushed(git, repo, ref, old, new)
    is_forced = ZERO not in (old, new) and not await git.is_ancestor(old, new)
    shapes = [await _push_commit(hub, repo, git, commit) for commit in commits[-COMMITS_PER_PUSH:]]
    is_commit = new != ZERO and await git.has_commit(new)
    head = await _push_commit(hub, repo, git, await git.commit(new)) if is_commit else None
    account = hub.site.account(by)
    content = {
        "ref": ref,
        "before": old,
        "after": new,
        "created": old == ZERO,
        "deleted": new == ZERO,
        "forced": is_forced,
        "base_ref": None,
        "compare": f"{hub.site.base_url}/{repo.full_name}/compare/{old[:12]}...{new[:12]}",
        "commits": shapes,
        "head_commit": head,
        "pusher": {"name": account.login, "email": f"{account.login}@users.noreply.localforge"},
    }
    hub.announce(repo, "push", None, by, content)
    if new == ZERO:
        hub.announce(repo, "delete", None, by, named)


async def _pushed(git: Git, repo: Repository, ref: str, old: str, new: str) -> list[Commit]:
    if new == ZERO or not await git.has_commit(new):
        return []
    default = f"refs/heads/{repo.default_branch}"
    base = old if old != ZERO else git.refs.get(default)
    if base is None or (ref == default and old == ZERO):
        return []
    return [await git.commit(sha) for sha in (await git.log(base, new))[-COMMITS_PER_PUSH:]]


async def _push_commit(hub: Hub, repo: Repository, git: Git, commit: Commit) -> dict[str, Any]:
    files = await git.changes(commit.parents[0], commit.sha) if commit.parents else ()
    people = {}
    for role, who in (("author", commit.author), ("committer", commit.committer)):
        people[role] = {"name": who.name, "email": who.email}
        if email_login(who.email):
            people[role]["username"] = email_login(who.email)
    return {
        "id": commit.sha,
        "tree_id": commit.tree,
        "distinct": True,
        "message": commit.message,
        "timestamp": git_time(commit.committer),
        "url": f"{hub.site.base_url}/{repo.full_name}/commit/{commit.sha}",
        **people,
        "added": [change.path for change in files if change.status in ("added", "renamed", "copied")],
        "removed": [change.previous_path or change.path for change in files if change.status in ("removed", "renamed")],
        "modified": [change.path for change in files if change.status in ("modified", "changed")],
    }
