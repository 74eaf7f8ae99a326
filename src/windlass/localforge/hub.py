"""What the acts need at hand: the site, the post office, and whoever runs the checks.

It only joins them, and says events in GitHub's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from windlass.localforge.model import CheckRun, Issue, Repository
from windlass.localforge.postoffice import PostOffice
from windlass.localforge.shapes.issues import issue as issue_shape
from windlass.localforge.shapes.people import user
from windlass.localforge.shapes.pulls import full_pull, simple_pull
from windlass.localforge.shapes.repositories import repository
from windlass.localforge.site import Site


class CheckStarter(Protocol):
    """Whoever runs the repository's checks."""

    async def consider(self, repo: Repository, sha: str, *, branch: str, before: str | None) -> None:
        """A commit became the head of a branch or pull request: check it, unless that was done."""

    async def again(self, repo: Repository, run: CheckRun) -> None:
        """Run one check once more."""


@dataclass(slots=True)
class Hub:
    """The parts, joined."""

    site: Site
    post: PostOffice
    checks: CheckStarter

    def announce(
        self, repo: Repository, event: str, action: str | None, sender: str, content: Mapping[str, Any]
    ) -> None:
        """Tell the webhooks what happened, and that the world changed."""
        self.site.touch()
        if not self.site.world.hooks:
            return
        head: dict[str, Any] = {} if action is None else {"action": action}
        org = self.site.account(repo.owner)
        tail = {"repository": repository(self.site, repo), "sender": user(self.site, self.site.account(sender))}
        if org.kind == "Organization":
            tail["organization"] = organization(self.site, org.login)
        self.post.send(repo, event, head | dict(content) | tail)

    def announce_issue(self, repo: Repository, found: Issue, action: str, sender: str, **extra: Any) -> None:
        """An `issues` event."""
        self.announce(repo, "issues", action, sender, {"issue": issue_shape(self.site, repo, found)} | extra)

    async def announce_pull(self, repo: Repository, found: Issue, action: str, sender: str, **extra: Any) -> None:
        """A `pull_request` event."""
        shape = await full_pull(self.site, repo, found)
        self.announce(repo, "pull_request", action, sender, {"number": found.number, "pull_request": shape} | extra)

    def announce_review(
        self, repo: Repository, found: Issue, action: str, sender: str, review: Mapping[str, Any]
    ) -> None:
        """A `pull_request_review` event."""
        shape = simple_pull(self.site, repo, found)
        self.announce(repo, "pull_request_review", action, sender, {"review": dict(review), "pull_request": shape})


def organization(site: Site, login: str) -> dict[str, Any]:
    """The `organization-simple` shape."""
    account = site.account(login)
    url = f"{site.base_url}/api/v3/orgs/{account.login}"
    shape = user(site, account)
    links = {"events_url": f"{url}/events", "hooks_url": f"{url}/hooks", "issues_url": f"{url}/issues"}
    people = {"members_url": f"{url}/members{{/member}}", "public_members_url": f"{url}/public_members{{/member}}"}
    kept = {key: shape[key] for key in ("login", "id", "node_id", "avatar_url", "repos_url")}
    return kept | links | people | {"url": url, "description": None}
