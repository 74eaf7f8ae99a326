"""Who calls, and what they may do: tokens, App JWTs, permissions.

An installation token may do what its permissions say, in its repositories, and never more than the installation may
now. A user's token may do what the user's level says. What one may not see is 404; what one may not do is 403.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from windlass.localforge.errors import Denied, forbidden, not_found
from windlass.localforge.model import LEVELS, Account, App, Installation, Repository, Token
from windlass.localforge.site import Site, covers

TOKEN_LIFE_MS: Final = 3_600_000
_JWT_LIFE_S: Final = 600
_CLOCK_DRIFT_S: Final = 60
_GRADES: Final = {"read": 1, "write": 2, "admin": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A caller. `app` is set for an App's JWT and for installation tokens; `installation` only for the latter."""

    account: Account | None = None
    app: App | None = None
    installation: Installation | None = None
    permissions: Mapping[str, str] | None = None
    repositories: frozenset[str] | None = None

    @property
    def login(self) -> str:
        """Who writes appear under. Raises Denied: 401 for nobody, 403 for an App's JWT."""
        if self.account is None:
            if self.app is None:
                raise Denied(401, "Requires authentication")
            raise forbidden("Resource not accessible by integration")
        return self.account.login

    @property
    def app_id(self) -> int | None:
        """The App that acts, when one does."""
        return self.app.id if self.app else None


NOBODY: Final = Actor()


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What an operation asks for. `app`: alternatives like `issues:write`; `user`: the least level."""

    app: tuple[str, ...] = ()
    user: str = "read"


def identify(site: Site, authorization: str | None) -> Actor:
    """The caller behind an Authorization header. Raises Denied (401) when it is no good."""
    if not authorization:
        return NOBODY
    scheme, _, value = authorization.strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "basic":
        value = _basic_secret(value)
    elif scheme.lower() not in ("token", "bearer"):
        raise bad_credentials()
    token = site.world.tokens.get(value)
    if token is not None:
        return _token_actor(site, token)
    if scheme.lower() == "bearer" and value.count(".") == 2:
        return _jwt_actor(site, value)
    raise bad_credentials()


def bad_credentials() -> Denied:
    """401."""
    return Denied(401, "Bad credentials")


def _basic_secret(value: str) -> str:
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise bad_credentials() from error
    return password if password not in ("", "x-oauth-basic") else user


def _token_actor(site: Site, token: Token) -> Actor:
    if token.expires_at_ms is not None and token.expires_at_ms <= site.now_ms():
        raise bad_credentials()
    account = site.account(token.login)
    if token.installation_id is None:
        return Actor(account=account)
    installation = site.world.installations.get(token.installation_id)
    if installation is None:
        raise bad_credentials()
    return Actor(
        account=account,
        app=site.app(installation.app_id),
        installation=installation,
        permissions=token.permissions,
        repositories=None if token.repositories is None else frozenset(token.repositories),
    )


def _jwt_actor(site: Site, text: str) -> Actor:
    try:
        claims = jwt.decode(text, options={"verify_signature": False})
        app = site.world.apps.get(int(claims.get("iss", 0)))
        if app is None:
            raise Denied(401, "A JSON web token could not be decoded")
        options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_iss": False}
        jwt.decode(text, app.public_key_pem, algorithms=["RS256"], options=options)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise Denied(401, "A JSON web token could not be decoded") from error
    _check_times(claims, site.now_ms() // 1000)
    return Actor(app=app)


def _check_times(claims: Mapping[str, Any], now_s: int) -> None:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int | float) or isinstance(issued, bool):
        raise Denied(401, "Missing 'issued at' claim ('iat') in assertion")
    if not isinstance(expires, int | float) or isinstance(expires, bool):
        raise Denied(401, "Missing 'expiration time' claim ('exp') in assertion")
    if issued > now_s + _CLOCK_DRIFT_S:
        raise Denied(
            401, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
        )
    if expires <= now_s:
        raise Denied(401, "'Expiration time' claim ('exp') must be a numeric value representing the future time")
    if expires > now_s + _JWT_LIFE_S + _CLOCK_DRIFT_S:
        raise Denied(401, "'Expiration time' claim ('exp') is too far in the future")


# -------------------------------------------------------------------- what they may


def may_see(site: Site, actor: Actor, repo: Repository) -> bool:
    """Whether the repository exists as far as this caller is concerned."""
    if not repo.is_private:
        return True
    if actor.installation is not None:
        return _reaches(actor, repo)
    return actor.account is not None and site.level(repo, actor.account.login) != "none"


def _reaches(actor: Actor, repo: Repository) -> bool:
    if actor.installation is None or not covers(actor.installation, repo):
        return False
    return actor.repositories is None or repo.full_name.lower() in actor.repositories


def granted(actor: Actor) -> dict[str, str]:
    """An installation token's permissions, as far as the installation still has them."""
    assert actor.installation is not None
    have = actor.installation.permissions
    asked = have if actor.permissions is None else actor.permissions
    return {name: _least(grade, have[name]) for name, grade in asked.items() if name in have}


def _least(one: str, other: str) -> str:
    return one if _GRADES[one] <= _GRADES[other] else other


def has_permission(actor: Actor, need: str) -> bool:
    """Whether an installation token has one permission, e.g. `contents:write`."""
    name, _, grade = need.partition(":")
    if name == "metadata" and grade == "read":
        return True
    return _GRADES.get(granted(actor).get(name, ""), 0) >= _GRADES[grade]


def level_of(site: Site, actor: Actor, repo: Repository) -> str:
    """A user's level; `read` at most for those who are nobody here."""
    if actor.account is None or actor.installation is not None:
        return "none" if repo.is_private else "read"
    return site.level(repo, actor.account.login)


def at_least(level: str, need: str) -> bool:
    """Whether a level includes another; no level includes `app`, which only Apps have."""
    return need != "app" and LEVELS.index(level) >= LEVELS.index(need)


def allows(site: Site, actor: Actor, repo: Repository, need: Need) -> bool:
    """Whether the caller may do what needs `need` in a repository that it sees."""
    if actor.installation is None:
        return actor.app is None and at_least(level_of(site, actor, repo), need.user)
    is_public_read = not repo.is_private and all(item.endswith(":read") for item in need.app) and need.user == "read"
    if not _reaches(actor, repo):
        return is_public_read and bool(need.app)
    return any(has_permission(actor, item) for item in need.app)


def require(site: Site, actor: Actor, repo: Repository, need: Need) -> None:
    """Raises Denied: 401 for nobody who writes, 404 for what they may not see, 403 for what they may not do."""
    if not may_see(site, actor, repo):
        raise not_found()
    if allows(site, actor, repo, need):
        return
    if actor.installation is not None or actor.app is not None:
        raise forbidden("Resource not accessible by integration")
    if actor.account is None:
        raise Denied(401, "Requires authentication")
    if need.user == "app":
        raise forbidden("You must authenticate via a GitHub App.")
    right = "admin" if need.user == "admin" else "push"
    raise forbidden(f"Must have {right} rights to Repository.")


# -------------------------------------------------------------------- minting


def user_token(site: Site, login: str) -> Token:
    """A personal access token without an end."""
    token = Token(value="ghp_" + secrets.token_hex(18), login=login)
    site.world.tokens[token.value] = token
    return token


def installation_token(
    site: Site, installation: Installation, permissions: dict[str, str] | None, repositories: list[str] | None
) -> Token:
    """A token for an hour, in the long stateless form that GitHub hands out; expired ones are forgotten."""
    now = site.now_ms()
    for old in [t.value for t in site.world.tokens.values() if t.expires_at_ms and t.expires_at_ms < now]:
        del site.world.tokens[old]
    parts = [secrets.token_urlsafe(size) for size in (27, 288, 64)]
    token = Token(
        value=f"ghs_{installation.app_id}_{'.'.join(parts)}",
        login=site.bot_of(site.app(installation.app_id)).login,
        installation_id=installation.id,
        permissions=permissions,
        repositories=repositories,
        expires_at_ms=now + TOKEN_LIFE_MS,
    )
    site.world.tokens[token.value] = token
    return token
