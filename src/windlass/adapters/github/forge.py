"""GitHub, GitHub Enterprise Server, or localforge, behind the port `Forge`.

Each operation is one line that leads to the room it belongs to. Writes that would change nothing are left out, so
that hearing a thing twice costs one read and our own webhooks lead nowhere.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import httpx

from windlass.adapters.github.address import Address, parse_address, repository_vars
from windlass.adapters.github.answers import unreadable
from windlass.adapters.github.app_keys import AppKeys
from windlass.adapters.github.checks import Checks
from windlass.adapters.github.contents import Contents
from windlass.adapters.github.deliveries import AppDeliveries, HookDeliveries
from windlass.adapters.github.issues import Issues
from windlass.adapters.github.keys import Access, AppAuth, Keys, Need, TokenAuth, TokenKeys
from windlass.adapters.github.payload import claim, name, repository, whole
from windlass.adapters.github.session import Session
from windlass.adapters.github.snapshot import PullReader, permission_of
from windlass.adapters.github.wire import MAX_CONNECTIONS, Wire
from windlass.core.errors import Refused
from windlass.core.events import Check, PullSnapshot
from windlass.core.prompt import Comment
from windlass.ports import Clock, GitCredential, IssueInfo, Labelling, PullInfo, RepositoryInfo

HOSTED_WRITE_SPACING_S = 1.0


def github_forge(
    *,
    api_url: str = "https://api.github.com",
    auth: TokenAuth | AppAuth,
    clock: Clock,
    timeout_s: float = 20.0,
    min_write_spacing_s: float | None = None,
    api_version: str = "2022-11-28",
    webhook_url: str = "",
) -> GitHubForge:
    """A forge at `api_url` (`https://HOST/api/v3` for GitHub Enterprise Server and localforge).

    `timeout_s` bounds each exchange. `min_write_spacing_s` None: a second on GitHub's own service, which asks for
    it, and nothing elsewhere. `webhook_url` is ours; with a token, only hooks to it are asked about failed deliveries.
    Must be closed. A forge belongs to one event loop. Raises Refused (code bad_forge_url, bad_token).
    """
    address = parse_address(api_url)
    if isinstance(auth, TokenAuth) and not (auth.token.isascii() and auth.token.isprintable() and auth.token.strip()):
        raise Refused("The token is empty or not text", hint="give the token as the forge showed it", code="bad_token")
    client = httpx.AsyncClient(
        timeout=httpx.Timeout(timeout_s),
        limits=httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
        follow_redirects=False,
        trust_env=not address.is_loopback,
    )
    wire = Wire(client, address, clock, timeout_s=timeout_s, api_version=api_version)
    spacing_s = min_write_spacing_s
    if spacing_s is None:
        spacing_s = HOSTED_WRITE_SPACING_S if address.is_hosted else 0.0
    keys: Keys = TokenKeys(auth) if isinstance(auth, TokenAuth) else AppKeys(auth, wire, clock)
    session = Session(wire, keys, write_spacing_s=spacing_s)
    is_app = isinstance(auth, AppAuth)
    return GitHubForge(client=client, address=address, session=session, is_app=is_app, webhook_url=webhook_url)


class GitHubForge:
    """Fills `ports.Forge`; made by `github_forge`."""

    def __init__(
        self, *, client: httpx.AsyncClient, address: Address, session: Session, is_app: bool, webhook_url: str
    ) -> None:
        self._client = client
        self._address = address
        self._session = session
        self._is_app = is_app
        self._login = ""
        self._known: set[str] = set()
        self._issues = Issues(session, self.identity)
        self._contents = Contents(session)
        self._pulls = PullReader(session)
        self._checks = Checks(session)
        self._deliveries: AppDeliveries | HookDeliveries = (
            AppDeliveries(session) if is_app else HookDeliveries(session, webhook_url=webhook_url, known=self._known)
        )

    def __repr__(self) -> str:
        return f"GitHubForge({self._address.api_url!r})"

    async def identity(self) -> str:
        """The login that our writes appear under; an App's is its slug with `[bot]`."""
        if not self._login:
            if self._is_app:
                slug = name(await self._session.get(Access(need=Need.APP), "/app"), "slug")
                login = f"{slug}[bot]" if slug else ""
            else:
                login = name(await self._session.get(Access(need=Need.METADATA), "/user"), "login")
            if not login:
                raise unreadable("GET identity")
            self._login = login
        return self._login

    async def repositories(self) -> tuple[str, ...]:
        """Full names of all repositories that we may work on: neither archived nor disabled, and writable."""
        template = "/installation/repositories{?per_page}" if self._is_app else "/user/repos{?per_page}"
        key = "repositories" if self._is_app else None
        found: list[str] = []
        for access in await self._session.accounts():
            for item in await self._session.pages(access, template, key=key):
                is_writable = self._is_app or claim(item, "permissions", "push") is not False
                if is_writable and not claim(item, "archived") and not claim(item, "disabled"):
                    found.append(repository(item, "full_name"))
        return tuple(dict.fromkeys(full_name for full_name in found if full_name))

    async def repository(self, repo: str) -> RepositoryInfo:
        """One repository, under the name that it has now."""
        data = await self._session.get(self._reading(repo), "/repos/{owner}/{name}", **repository_vars(repo))
        full_name, default_branch = repository(data, "full_name"), name(data, "default_branch")
        if not full_name or not default_branch or whole(data, "id") <= 0:
            raise unreadable("GET repository")
        return RepositoryInfo(
            id=whole(data, "id"),
            full_name=full_name,
            default_branch=default_branch,
            clone_url=self._address.clone_url(full_name),
        )

    async def issue(self, repo: str, number: int) -> IssueInfo:
        """One issue."""
        return await self._issues.read(repo, number)

    async def comments(self, repo: str, number: int) -> tuple[Comment, ...]:
        """What was said on an issue, with what its authors may do now."""
        return await self._issues.comments(repo, number)

    async def labelled_issues(self, repo: str, label: str) -> tuple[int, ...]:
        """Numbers of open issues that carry `label`."""
        self._known.add(repo)
        return await self._issues.labelled(repo, label)

    async def labelling(self, repo: str, number: int, label: str) -> Labelling | None:
        """Who put the label on, last; the id is the labelling event's."""
        return await self._issues.labelling(repo, number, label)

    async def permission(self, repo: str, login: str) -> str:
        """What a user may do now."""
        return await permission_of(self._session, repo, login)

    async def file(self, repo: str, path: str, ref: str) -> bytes | None:
        """A file's bytes at a ref, or None."""
        return await self._contents.file(repo, path, ref)

    async def ref(self, repo: str, branch: str) -> str | None:
        """The tip of a branch, or None."""
        return await self._contents.ref(repo, branch)

    async def create_ref(self, repo: str, branch: str, sha: str) -> None:
        """Make a branch. Raises Conflict when it exists."""
        await self._contents.create_ref(repo, branch, sha)

    async def delete_ref(self, repo: str, branch: str) -> None:
        """Delete a branch; fine when it is not there."""
        await self._contents.delete_ref(repo, branch)

    async def find_pull(self, repo: str, branch: str) -> PullInfo | None:
        """The pull request from `branch`: an open one, else the newest."""
        return await self._contents.find_pull(repo, branch)

    async def create_pull(self, repo: str, *, head: str, base: str, title: str, body: str) -> PullInfo:
        """Open a pull request. Raises Conflict when one is open from that head."""
        return await self._contents.create_pull(repo, head=head, base=base, title=title, body=body)

    async def update_pull(
        self, repo: str, number: int, *, title: str | None = None, body: str | None = None, state: str | None = None
    ) -> None:
        """Change a pull request."""
        await self._contents.update_pull(repo, number, title=title, body=body, state=state)

    async def add_labels(self, repo: str, number: int, labels: Sequence[str]) -> None:
        """Put labels on an issue or pull request."""
        await self._issues.add_labels(repo, number, labels)

    async def pull_snapshot(self, repo: str, number: int) -> PullSnapshot:
        """Everything that is decided upon, at one head."""
        return await self._pulls.read(repo, number)

    async def upsert_comment(self, repo: str, number: int, *, marker: str, body: str) -> int:
        """Make our one comment that carries `marker` say `body`; its id."""
        return await self._issues.upsert_comment(repo, number, marker, body)

    async def set_status(
        self, repo: str, sha: str, *, context: str, state: str, description: str, target_url: str = ""
    ) -> None:
        """Set a commit status."""
        await self._contents.set_status(
            repo, sha, context=context, state=state, description=description, target_url=target_url
        )

    async def upsert_check_run(
        self, repo: str, sha: str, *, name: str, external_id: str, summary: str, text: str
    ) -> bool:
        """A neutral, completed check run that carries a text; False when we may not write check runs."""
        return await self._checks.upsert(repo, sha, name=name, external_id=external_id, summary=summary, text=text)

    async def rerun_check(self, repo: str, check_id: int) -> None:
        """Ask for one check run to be run again."""
        await self._checks.rerun(repo, check_id)

    async def check_log(self, repo: str, check: Check) -> str:
        """What a failed check printed; hostile text, at most 64 KiB from its end."""
        return await self._checks.log(repo, check)

    async def credential(self, repo: str, *, write: bool) -> GitCredential:
        """For one git fetch or push. An App's token is cut down to this repository and to contents."""
        repository_vars(repo)
        access = Access(need=Need.GIT_WRITE if write else Need.GIT_READ, repo=repo)
        pair = f"x-access-token:{await self._session.secret(access)}"
        header = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return GitCredential(url=self._address.clone_url(repo), headers={"Authorization": header})

    async def failed_deliveries(self, since_ms: int) -> tuple[str, ...]:
        """Ids of webhook calls that the forge could not deliver, oldest first."""
        return await self._deliveries.failed(since_ms)

    async def redeliver(self, delivery_id: str) -> None:
        """Ask the forge to deliver once more, under the same GUID."""
        await self._deliveries.redeliver(delivery_id)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    def _reading(self, repo: str) -> Access:
        self._known.add(repo)
        return Access(need=Need.READ, repo=repo)
