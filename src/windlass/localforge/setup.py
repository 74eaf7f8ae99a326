"""Setting a forge up from Python: accounts, Apps, repositories, issues, webhooks. No permissions, no faults.

Blocking and meant for the start of a demo, a run or a test. Raises Refused (code localforge_denied, bad_name,
bad_source, …) on what cannot be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from windlass.core.errors import Conflict, Refused
from windlass.localforge import actors
from windlass.localforge.acts import issues
from windlass.localforge.acts.pulls import signature
from windlass.localforge.acts.refs import merge_now, ref_moved
from windlass.localforge.acts.reviews import submit
from windlass.localforge.api.hooks import hook_shape
from windlass.localforge.git import ZERO
from windlass.localforge.hub import Hub
from windlass.localforge.keys import new_key_pair
from windlass.localforge.model import (
    LEVELS,
    Account,
    App,
    CheckMode,
    Hook,
    Installation,
    Protection,
    Repository,
)
from windlass.localforge.smart_http import prepare

DEFAULT_PERMISSIONS: Final = {
    "metadata": "read",
    "contents": "write",
    "pull_requests": "write",
    "issues": "write",
    "checks": "write",
    "statuses": "write",
    "administration": "read",
}
EVENTS: Final = (
    "check_run",
    "check_suite",
    "create",
    "delete",
    "issue_comment",
    "issues",
    "pull_request",
    "pull_request_review",
    "push",
    "status",
)
_LOGIN: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,37}[A-Za-z0-9])?(?:\[bot\])?")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewApp:
    """A fresh App: the only time its private key is shown."""

    app_id: int
    private_key_pem: str
    installation_id: int
    slug: str
    login: str

    def __repr__(self) -> str:
        return f"NewApp(app_id={self.app_id}, installation_id={self.installation_id}, slug={self.slug!r})"


class Setup:
    """The set-up calls."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._site = hub.site

    # ---------------------------------------------------------------- who

    def _account(self, login: str, kind: str) -> Account:
        if not _LOGIN.fullmatch(login):
            raise Refused(f"not a login: {login!r}", hint="letters, digits and inner hyphens", code="bad_name")
        if login.lower() in self._site.world.accounts:
            raise Conflict(f"there is an account {login} already", hint="choose another login")
        at = self._site.now_ms()
        account = Account(id=self._site.world.new_id(), login=login, kind=kind, created_at_ms=at)
        self._site.world.accounts[login.lower()] = account
        self._site.touch()
        return account

    def create_user(self, login: str, *, is_bot: bool = False) -> str:
        """A new user; the token. Raises Conflict when there is one of that name."""
        account = self._account(login, "Bot" if is_bot else "User")
        return actors.user_token(self._site, account.login).value

    def token_for(self, login: str) -> str:
        """A further token for a user that is there."""
        self._site.touch()
        return actors.user_token(self._site, self._site.account(login).login).value

    def create_app(
        self,
        slug: str = "windlass",
        *,
        owner: str | None = None,
        permissions: Mapping[str, str] | None = None,
        repositories: Sequence[str] | None = None,
        events: Sequence[str] = EVENTS,
    ) -> NewApp:
        """A new App, installed on `owner` (default: the owner of the first repository, else an account `acme`)."""
        app, private = self.new_app(slug, permissions=permissions, events=events)
        first = next(iter(self._site.world.repositories.values()), None)
        home = owner or (first.owner if first else "acme")
        installation_id = self.install_app(app.id, home, repositories=repositories)
        return NewApp(
            app_id=app.id,
            private_key_pem=private,
            installation_id=installation_id,
            slug=slug,
            login=f"{slug}[bot]",
        )

    def new_app(
        self, slug: str, *, permissions: Mapping[str, str] | None = None, events: Sequence[str] = EVENTS
    ) -> tuple[App, str]:
        """An App without installations, and its private key."""
        private, public = new_key_pair()
        bot = self._account(f"{slug}[bot]", "Bot")
        app = App(
            id=self._site.world.new_id(),
            slug=slug,
            name=slug,
            owner=bot.login,
            public_key_pem=public,
            permissions=dict(permissions or DEFAULT_PERMISSIONS),
            events=list(events),
            created_at_ms=bot.created_at_ms,
        )
        self._site.world.apps[app.id] = app
        return app, private

    def install_app(self, app_id: int, owner: str, *, repositories: Sequence[str] | None = None) -> int:
        """Install an App on an account, for all or for some repositories; the installation's id."""
        app = self._site.app(app_id)
        if owner.lower() not in self._site.world.accounts:
            self._account(owner, "Organization")
        installation = Installation(
            id=self._site.world.new_id(),
            app_id=app.id,
            account=self._site.account(owner).login,
            permissions=dict(app.permissions),
            repositories=None if repositories is None else [name.lower() for name in repositories],
            created_at_ms=self._site.now_ms(),
        )
        self._site.world.installations[installation.id] = installation
        self._site.touch()
        return installation.id

    # ---------------------------------------------------------------- repositories

    def create_repository(
        self,
        full_name: str,
        *,
        source: Path | None = None,
        default_branch: str = "main",
        checks: Mapping[str, str] | None = None,
        required_checks: Sequence[str] = (),
        protected: bool = True,
        private: bool = False,
        required_reviews: int = 1,
        runs_checks_on_default_branch: bool = False,
    ) -> None:
        """A new repository; `source` is a git repository whose branches are copied. Its owner is made if need be."""
        owner, slash, name = full_name.partition("/")
        if not slash or not _NAME.fullmatch(name) or name in (".", "..") or name.endswith(".git"):
            raise Refused(f"not a repository's name: {full_name!r}", hint="owner/name", code="bad_name")
        if full_name.lower() in self._site.world.repositories:
            raise Conflict(f"there is a repository {full_name} already", hint="choose another name")
        if owner.lower() not in self._site.world.accounts:
            self._account(owner, "Organization")
        now = self._site.now_ms()
        repo = Repository(
            id=self._site.world.new_id(),
            full_name=f"{self._site.account(owner).login}/{name}",
            default_branch=default_branch,
            is_private=private,
            created_at_ms=now,
            pushed_at_ms=now,
            checks=dict(checks or {}),
            runs_checks_on_default_branch=runs_checks_on_default_branch,
        )
        self._site.import_git(repo, source)
        prepare(self._hub, repo)
        self._site.world.repositories[full_name.lower()] = repo
        if protected:
            rules = Protection(required_checks=list(required_checks), required_reviews=required_reviews)
            repo.protections[default_branch] = rules
        self._site.touch()

    def number_from(self, full_name: str, number: int) -> None:
        """Give the next issue or pull request at least this number."""
        repo = self._site.repository(full_name)
        repo.next_number = max(repo.next_number, number)
        self._site.touch()

    def grant(self, full_name: str, login: str, permission: str) -> None:
        """What a user may do: none, read, triage, write, maintain or admin."""
        if permission not in LEVELS:
            raise Refused(f"not a permission: {permission!r}", hint=f"one of {', '.join(LEVELS)}", code="bad_level")
        repo = self._site.repository(full_name)
        repo.levels[self._site.account(login).login.lower()] = permission
        self._site.touch()

    def protect(self, full_name: str, branch: str, rules: Protection | None) -> None:
        """Give a branch other rules; None takes them away."""
        repo = self._site.repository(full_name)
        repo.protections.pop(branch, None)
        if rules is not None:
            repo.protections[branch] = rules
        self._site.touch()

    def require_checks(self, full_name: str, names: Sequence[str], branch: str | None = None) -> None:
        """Which contexts must be green on a protected branch before a merge."""
        repo = self._site.repository(full_name)
        repo.protections.setdefault(branch or repo.default_branch, Protection()).required_checks = list(names)
        self._site.touch()

    def set_checks(self, full_name: str, checks: Mapping[str, str]) -> None:
        """Name → shell command of the repository's checks."""
        self._site.repository(full_name).checks = dict(checks)
        self._site.touch()

    def set_check_mode(self, full_name: str, name: str, mode: CheckMode) -> None:
        """Let one check misbehave from now on; `run` is honest again."""
        if mode not in get_args(CheckMode):
            raise Refused(f"not a mode: {mode!r}", hint=f"one of {', '.join(get_args(CheckMode))}", code="bad_mode")
        self._site.repository(full_name).check_modes[name] = mode
        self._site.touch()

    # ---------------------------------------------------------------- issues and webhooks

    def open_issue(self, full_name: str, author: str, title: str, body: str | None, labels: Sequence[str] = ()) -> int:
        """A new issue; its number."""
        repo = self._site.repository(full_name)
        return issues.open_issue(self._hub, repo, author, title, body, labels).number

    def add_label(self, full_name: str, number: int, label: str, by: str) -> None:
        """Put a label on, as somebody."""
        repo = self._site.repository(full_name)
        issues.add_labels(self._hub, repo, self._site.issue(repo, number), [label], by)

    def remove_label(self, full_name: str, number: int, label: str, by: str) -> None:
        """Take a label off, as somebody."""
        repo = self._site.repository(full_name)
        issues.remove_label(self._hub, repo, self._site.issue(repo, number), label, by)

    def close_issue(self, full_name: str, number: int, by: str) -> None:
        """Close an issue, as somebody."""
        repo = self._site.repository(full_name)
        issues.set_state(self._hub, repo, self._site.issue(repo, number), by, "closed")

    def set_webhook(self, full_name: str | None, url: str, secret: str, events: Sequence[str] = EVENTS) -> int:
        """Call `url` on these events of one repository, or (None) of all, as an App's webhook does; the hook's id."""
        name = None if full_name is None else self._site.repository(full_name).full_name.lower()
        hook = Hook(
            id=self._site.world.new_id(),
            repository=name,
            url=url,
            secret=secret,
            events=list(events),
            created_at_ms=self._site.now_ms(),
        )
        for old in [old.id for old in self._site.world.hooks.values() if (old.repository, old.url) == (name, url)]:
            del self._site.world.hooks[old]
        self._site.world.hooks[hook.id] = hook
        self._site.touch()
        self._hub.post.ping(hook, self._ping(hook))
        return hook.id

    def _ping(self, hook: Hook) -> dict[str, Any]:
        root = f"{self._site.base_url}/api/v3"
        base = f"{root}/repos/{hook.repository}" if hook.repository else f"{root}/app"
        return {"zen": "Keep it logically awesome.", "hook_id": hook.id, "hook": hook_shape(base, hook)}

    # ---------------------------------------------------------------- acting as people (needs the running loop)

    async def commit(
        self, full_name: str, branch: str, files: Mapping[str, bytes | None], message: str, by: str
    ) -> str:
        """Commit files (None: deleted) onto a branch, past any protection; the new tip. Makes the branch if need be."""
        repo = self._site.repository(full_name)
        git = self._site.git(repo)
        async with self._site.lock(repo):
            old = git.branch(branch)
            start = old or git.branch(repo.default_branch)
            tree = await git.tree_with(start, files)
            author = signature(self._hub, by)
            sha = await git.write_commit(
                tree, [start] if start else [], message, author=author, at_ms=self._site.now_ms()
            )
            await git.set_ref(f"refs/heads/{branch}", sha, old or ZERO)
            await ref_moved(self._hub, repo, f"refs/heads/{branch}", old or ZERO, sha, by)
        return sha

    def approve(self, full_name: str, number: int, by: str, body: str = "") -> int:
        """Approve a pull request's head, as somebody; the review's id."""
        repo = self._site.repository(full_name)
        return submit(self._hub, repo, self._site.issue(repo, number), by, "APPROVE", body).id

    async def merge(self, full_name: str, number: int, by: str) -> str:
        """Merge a pull request, as somebody and under the branch's rules; the merge commit."""
        repo = self._site.repository(full_name)
        level = self._site.level(repo, by)
        if not actors.at_least(level, "write"):
            raise Refused(f"{by} may not merge in {full_name}", hint="grant write", code="localforge_denied")
        return await merge_now(self._hub, repo, self._site.issue(repo, number), by, by_level=level)
