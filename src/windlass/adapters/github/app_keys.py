"""An App's credentials: its own signed token, and installation tokens cut down to one repository and one need.

Many callers that want the same token at once cause one request (GitHub allows 2,000 an hour); a token is renewed
five minutes before it ends and thrown away when the forge refuses it. Tokens live in memory only and are opaque:
their form and length changed in 2026. Permissions that the installation does not grant are never asked for, because
GitHub refuses such a request as a whole. Source: docs.github.com, "Authenticating as a GitHub App installation".
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import jwt

from windlass.adapters.github.address import repository_vars
from windlass.adapters.github.answers import unreadable
from windlass.adapters.github.keys import OPTIONAL, REQUIRED, Access, AppAuth, Bearer, Need
from windlass.adapters.github.payload import dig, instant_ms, name, text, whole
from windlass.adapters.github.wire import Wire
from windlass.core.errors import Forbidden, NotFound, Refused, Unavailable
from windlass.ports import Clock

RENEW_BEFORE_MS = 5 * 60_000
INSTALLATIONS_FRESH_MS = 10 * 60_000
LEVELS = ("", "read", "write", "admin")
MAX_TOKENS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """One account that installed the App. `permissions` are pairs of name and level."""

    id: int
    account: str
    permissions: tuple[tuple[str, str], ...]
    is_suspended: bool

    def grants(self, permission: str, level: str) -> bool:
        """Whether the installation has at least this level; metadata may always be read."""
        held = dict(self.permissions).get(permission, "read" if permission == "metadata" else "")
        return held in LEVELS and LEVELS.index(held) >= LEVELS.index(level)


class AppKeys:
    """Fills Keys for an App."""

    def __init__(self, auth: AppAuth, wire: Wire, clock: Clock) -> None:
        self._auth = auth
        self._wire = wire
        self._clock = clock
        self._tokens: dict[Access, Bearer] = {}
        self._minting: dict[Access, asyncio.Task[Bearer]] = {}
        self._installations: tuple[Installation, ...] = ()
        self._installations_at_ms: int | None = None

    async def bearer(self, access: Access) -> Bearer:
        """A token that holds for at least five minutes more; minted once, however many ask."""
        if access.need is Need.APP:
            return self._app_bearer()
        held = self._tokens.get(access)
        if held is not None and held.expires_at_ms - self._clock.now_ms() > RENEW_BEFORE_MS:
            return held
        task = self._minting.get(access)
        if task is None:
            task = asyncio.create_task(self._mint(access))
            self._minting[access] = task
            task.add_done_callback(lambda done: self._minted(access, done))
        return await asyncio.shield(task)

    def forget(self, bearer: Bearer) -> bool:
        """Throw a refused token away; the App's own signature cannot be had any better."""
        for access in [access for access, held in self._tokens.items() if held.secret == bearer.secret]:
            del self._tokens[access]
        return not bearer.is_jwt

    async def accounts(self) -> tuple[Access, ...]:
        """One per installation that is not suspended."""
        found = await self._known_installations()
        return tuple(Access(need=Need.METADATA, repo=f"{i.account}/") for i in found if not i.is_suspended)

    def _minted(self, access: Access, done: asyncio.Task[Bearer]) -> None:
        self._minting.pop(access, None)
        if done.cancelled() or done.exception() is not None:
            return
        if len(self._tokens) >= MAX_TOKENS:
            self._tokens.pop(min(self._tokens, key=lambda a: self._tokens[a].expires_at_ms))
        self._tokens[access] = done.result()

    async def _mint(self, access: Access) -> Bearer:
        installation = await self._installation(access.repo)
        wanted = _wanted(access.need, installation)
        asked: dict[str, Any] = {"permissions": wanted}
        repo_name = access.repo.partition("/")[2]
        if repo_name:
            asked["repositories"] = [repository_vars(access.repo)["name"]]
        try:
            answer = await self._ask_for_token(installation.id, asked)
        except Refused as exc:
            raise self._not_given(exc, access.repo) from exc
        token = dig(answer, "token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
            raise unreadable("POST /app/installations/…/access_tokens")
        return Bearer(
            account=f"installation {installation.id}",
            secret=token,
            expires_at_ms=instant_ms(answer, "expires_at") or self._clock.now_ms() + 3_600_000,
        )

    def _not_given(self, problem: Refused, repo: str) -> Refused:
        """GitHub says 422 both when it does not know the repository and when permissions were taken away."""
        if type(problem) is not Refused:
            return problem
        self._installations_at_ms = None
        if "permission" in problem.message:
            hint = "grant the App what it asks for and accept it on the account"
            return Forbidden(problem.message, hint=hint, code="permission_missing")
        hint = f"check the name {repo}, and that the App's installation covers it"
        return NotFound(problem.message, hint=hint, code="not_installed")

    async def _ask_for_token(self, installation_id: int, asked: dict[str, Any]) -> Any:
        """Two tries: a token that nobody received hurts nobody."""
        template, values = "/app/installations/{id}/access_tokens", {"id": str(installation_id)}
        try:
            return await self._wire.write(self._app_bearer(), "POST", template, values, asked)
        except Unavailable as exc:
            if exc.code not in {"server_error", "connection"} or exc.retry_after_s:
                raise
            return await self._wire.write(self._app_bearer(), "POST", template, values, asked)

    def _app_bearer(self) -> Bearer:
        """Dated a minute back for the sake of clocks that differ; GitHub allows ten minutes in all."""
        issued_at_s = self._clock.now_ms() // 1000 - 60
        claims = {"iat": issued_at_s, "exp": issued_at_s + 9 * 60, "iss": str(self._auth.app_id)}
        try:
            signed = jwt.encode(claims, self._auth.private_key_pem, algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError) as exc:
            message = "The App's private key cannot be read"
            raise Refused(message, hint="use the PEM file that GitHub gave out", code="bad_app_key") from exc
        return Bearer(account="app", secret=signed, is_jwt=True)

    async def _installation(self, repo: str) -> Installation:
        owner = repo.partition("/")[0].lower()
        only = self._auth.installation_id
        found = _matching(await self._known_installations(), owner, only)
        if found is None:
            found = _matching(await self._known_installations(anew=True), owner, only)
        if found is None:
            raise NotFound(
                f"The App is not installed on {owner!r}",
                hint="install it there, or correct the installation's id",
                code="not_installed",
            )
        if found.is_suspended:
            message = f"The App's installation on {owner!r} is suspended"
            raise Forbidden(message, hint="unsuspend it on the forge", code="installation_suspended")
        return found

    async def _known_installations(self, *, anew: bool = False) -> tuple[Installation, ...]:
        now_ms = self._clock.now_ms()
        at_ms = self._installations_at_ms
        if anew or at_ms is None or now_ms - at_ms > INSTALLATIONS_FRESH_MS:
            bearer = self._app_bearer()
            listed = await self._wire.pages(bearer, "/app/installations{?per_page}", {"per_page": "100"}, key=None)
            found = tuple(_read_installation(item) for item in listed)
            only = self._auth.installation_id
            self._installations = tuple(i for i in found if i.id > 0 and only in {None, i.id})
            self._installations_at_ms = now_ms
        return self._installations


def _matching(installations: tuple[Installation, ...], owner: str, only: int | None) -> Installation | None:
    """By owner; the one that the operator named is taken for every owner, and the forge says when it is not."""
    return next((i for i in installations if only is not None or i.account.lower() == owner), None)


def _read_installation(item: dict[str, Any]) -> Installation:
    granted = dig(item, "permissions")
    pairs = granted.items() if isinstance(granted, dict) else ()
    return Installation(
        id=whole(item, "id"),
        account=name(item, "account", "login"),
        permissions=tuple((key, level) for key, level in pairs if isinstance(level, str)),
        is_suspended=bool(text(item, "suspended_at")),
    )


def _wanted(need: Need, installation: Installation) -> dict[str, str]:
    required = REQUIRED[need]
    for permission, level in required.items():
        if not installation.grants(permission, level):
            raise Forbidden(
                f"The App may not {level} {permission} for {installation.account!r}",
                hint=f"grant the App the permission '{permission}: {level}' and accept it on the account",
                code="permission_missing",
            )
    optional = OPTIONAL.get(need, {})
    return dict(required) | {p: level for p, level in optional.items() if installation.grants(p, level)}
