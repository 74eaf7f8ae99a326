"""Pull requests: opening, following their branches, merging."""

from __future__ import annotations

import re
from typing import Any, Final

from windlass.localforge.acts.checks import unmet_checks
from windlass.localforge.acts.issues import check_text, new_issue, note, set_state, take_words, turn
from windlass.localforge.acts.reviews import dismiss_stale, unmet_reviews
from windlass.localforge.errors import Denied, invalid
from windlass.localforge.git import ZERO
from windlass.localforge.hub import Hub
from windlass.localforge.model import Issue, Pull, Repository
from windlass.localforge.shapes.pulls import the_pull

_CLOSING: Final = re.compile(r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?):?\s+#(\d{1,9})\b", re.IGNORECASE)
METHODS: Final = ("merge", "squash")


async def open_pull(
    hub: Hub,
    repo: Repository,
    author: str,
    *,
    head: str,
    base: str,
    title: str,
    body: str | None,
    is_draft: bool = False,
    app_id: int | None = None,
) -> Issue:
    """Open a pull request. Raises Denied (422) as GitHub does on bad ends, no difference or a second one."""
    check_text("PullRequest", title, body)
    branch = _own_branch(repo, head)
    git = hub.site.git(repo)
    head_sha, base_sha = git.branch(branch), git.branch(base)
    if head_sha is None:
        raise invalid("PullRequest", "head")
    if base_sha is None:
        raise invalid("PullRequest", "base")
    if _open_from(repo, branch, base):
        raise _custom(f"A pull request already exists for {repo.owner}:{branch}.")
    if await git.is_ancestor(head_sha, base_sha):
        raise _custom(f"No commits between {base} and {branch}")
    if _open_from(repo, branch, base):  # another one came while git was asked
        raise _custom(f"A pull request already exists for {repo.owner}:{branch}.")
    issue = new_issue(hub, repo, author, title, body)
    issue.app_id = app_id
    issue.pull = Pull(head_ref=branch, base_ref=base, head_sha=head_sha, base_sha=base_sha, is_draft=is_draft)
    await git.set_ref(f"refs/pull/{issue.number}/head", head_sha, ZERO)
    await hub.announce_pull(repo, issue, "opened", author)
    hub.site.spawn(weigh(hub, repo, issue))
    await hub.checks.consider(repo, head_sha, branch=branch, before=None)
    return issue


def _own_branch(repo: Repository, head: str) -> str:
    owner, colon, branch = head.rpartition(":")
    if colon and owner.lower() != repo.owner.lower():
        raise invalid("PullRequest", "head")
    return branch


def _open_from(repo: Repository, branch: str, base: str) -> bool:
    return any(
        issue.pull.head_ref == branch and issue.pull.base_ref == base
        for issue in repo.issues.values()
        if issue.pull is not None and issue.state == "open"
    )


def _custom(message: str) -> Denied:
    return Denied(422, "Validation Failed", errors=[{"resource": "PullRequest", "code": "custom", "message": message}])


async def weigh(hub: Hub, repo: Repository, issue: Issue) -> None:
    """Work out whether a pull request can be merged; until then `mergeable` is null, as on GitHub."""
    pull, git = the_pull(issue), hub.site.git(repo)
    base, head = git.branch(pull.base_ref), pull.head_sha
    if base is None or pull.merged_at_ms is not None:
        return
    fits = await git.merged_tree(base, head) is not None
    if (git.branch(pull.base_ref), pull.head_sha) == (base, head):
        pull.mergeable = fits


# -------------------------------------------------------------------- changing


async def edit_pull(
    hub: Hub, repo: Repository, issue: Issue, by: str, *, title: str | None, body: str | None, base: str | None
) -> None:
    """Change words or the base. What stays as it is raises no event."""
    pull, git = the_pull(issue), hub.site.git(repo)
    if base is not None and git.branch(base) is None:
        raise invalid("PullRequest", "base")
    changes: dict[str, Any] = dict(take_words(hub, issue, by, title=title, body=body))
    if base is not None and base != pull.base_ref:
        changes["base"] = {"ref": {"from": pull.base_ref}, "sha": {"from": pull.base_sha}}
        pull.base_ref, pull.base_sha, pull.mergeable = base, git.branch(base) or pull.base_sha, None
        hub.site.spawn(weigh(hub, repo, issue))
    if changes:
        await hub.announce_pull(repo, issue, "edited", by, changes=changes)


async def set_pull_state(hub: Hub, repo: Repository, issue: Issue, by: str, state: str) -> None:
    """Close or reopen. Raises Denied (422) when it cannot be reopened."""
    pull = the_pull(issue)
    if state == issue.state:
        return
    if state == "open":
        tip = hub.site.git(repo).branch(pull.head_ref)
        if pull.merged_at_ms is not None or tip is None or _open_from(repo, pull.head_ref, pull.base_ref):
            raise invalid("PullRequest", "state", "invalid", "state cannot be changed.")
        pull.head_sha = tip
    turn(hub, issue, by, state)
    await hub.announce_pull(repo, issue, "closed" if state == "closed" else "reopened", by)


# -------------------------------------------------------------------- following branches


async def follow_branch(hub: Hub, repo: Repository, branch: str, new: str, by: str) -> None:
    """A branch moved (ZERO: went away): pull requests from it and onto it follow."""
    for issue in [found for found in repo.issues.values() if found.pull is not None and found.state == "open"]:
        pull = the_pull(issue)
        if pull.head_ref == branch:
            await _head_moved(hub, repo, issue, new, by)
        elif pull.base_ref == branch and new != ZERO:
            pull.mergeable = None
            if await hub.site.git(repo).is_ancestor(pull.head_sha, new):
                await _close_as_merged(hub, repo, issue, by, new)
            else:
                hub.site.spawn(weigh(hub, repo, issue))


async def _head_moved(hub: Hub, repo: Repository, issue: Issue, new: str, by: str) -> None:
    pull, git = the_pull(issue), hub.site.git(repo)
    if new == ZERO:
        await set_pull_state(hub, repo, issue, by, "closed")
        return
    if new == pull.head_sha:
        return
    before, pull.head_sha, pull.mergeable = pull.head_sha, new, None
    pull.base_sha = git.branch(pull.base_ref) or pull.base_sha
    issue.updated_at_ms = hub.site.now_ms()
    ref = f"refs/pull/{issue.number}/head"
    await git.set_ref(ref, new, git.refs.get(ref, ZERO))
    await hub.announce_pull(repo, issue, "synchronize", by, before=before, after=new)
    dismiss_stale(hub, repo, issue, by)
    hub.site.spawn(weigh(hub, repo, issue))


# -------------------------------------------------------------------- merging


async def merge_blocker(hub: Hub, repo: Repository, issue: Issue, by_level: str) -> str:
    """Why the protection of the base does not let this be merged, or ''."""
    pull = the_pull(issue)
    rules = repo.protections.get(pull.base_ref)
    if rules is None or (by_level == "admin" and not rules.is_enforced_for_admins):
        return ""
    missing = unmet_checks(repo, pull.head_sha, rules.required_checks)
    if missing:
        return f'Required status check "{missing[0]}" is expected.'
    base = hub.site.git(repo).branch(pull.base_ref)
    if rules.needs_up_to_date and base and not await hub.site.git(repo).is_ancestor(base, pull.head_sha):
        return "Head branch is not up to date with the base branch."
    return unmet_reviews(hub, repo, issue, rules)


async def merge(
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
    """Merge; the merge commit. Raises Denied: 405 when it may not be, 409 when the head is another than `sha`.

    Held under the repository's lock by the caller, because the base branch moves.
    """
    pull, git = the_pull(issue), hub.site.git(repo)
    base = git.branch(pull.base_ref)
    if issue.state != "open" or pull.is_draft or base is None:
        raise Denied(405, "Pull Request is not mergeable")
    if method not in METHODS:
        raise Denied(405, f"{method.capitalize()} merges are not allowed on this repository.")
    if sha is not None and sha != pull.head_sha:
        raise Denied(409, "Head branch was modified. Review and try the merge again.")
    blocker = await merge_blocker(hub, repo, issue, by_level)
    if blocker:
        raise Denied(405, blocker)
    tree = await git.merged_tree(base, pull.head_sha)
    if tree is None:
        raise Denied(405, "Pull Request is not mergeable")
    commit = await _merge_commit(hub, repo, issue, by, tree, base, method, title, message)
    if not await git.set_ref(f"refs/heads/{pull.base_ref}", commit, base):
        raise Denied(409, "Base branch was modified. Review and try the merge again.")
    await _close_as_merged(hub, repo, issue, by, commit)
    return commit


async def _merge_commit(
    hub: Hub,
    repo: Repository,
    issue: Issue,
    by: str,
    tree: str,
    base: str,
    method: str,
    title: str | None,
    message: str | None,
) -> str:
    pull = the_pull(issue)
    if method == "merge":
        subject = title or f"Merge pull request #{issue.number} from {repo.owner}/{pull.head_ref}"
        body = issue.title if message is None else message
        parents = [base, pull.head_sha]
    else:
        subject = title or f"{issue.title} (#{issue.number})"
        body = message or ""
        parents = [base]
    text = f"{subject}\n\n{body}".strip() + "\n"
    return await hub.site.git(repo).write_commit(
        tree, parents, text, author=signature(hub, by), at_ms=hub.site.now_ms()
    )


def signature(hub: Hub, login: str) -> tuple[str, str]:
    """The name and no-reply address that the forge signs somebody's commits with."""
    account = hub.site.account(login)
    return account.login, f"{account.id}+{account.login}@users.noreply.localforge"


async def _close_as_merged(hub: Hub, repo: Repository, issue: Issue, by: str, commit: str) -> None:
    pull = the_pull(issue)
    pull.merged_at_ms, pull.merged_by = hub.site.now_ms(), hub.site.account(by).login
    pull.merge_commit_sha, pull.mergeable = commit, None
    note(hub, issue, "merged", by).commit_id = commit
    turn(hub, issue, by, "closed")
    await hub.announce_pull(repo, issue, "closed", by)
    if pull.base_ref == repo.default_branch:
        _close_mentioned(hub, repo, issue, by)


def _close_mentioned(hub: Hub, repo: Repository, issue: Issue, by: str) -> None:
    for match in _CLOSING.finditer(issue.body or ""):
        target = repo.issues.get(int(match[1]))
        if target is not None and target.pull is None:
            set_state(hub, repo, target, by, "closed")
