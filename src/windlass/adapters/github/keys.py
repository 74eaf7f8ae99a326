"""Who we are to the forge, and what each call may do.

`Need` names what a call needs; an App's token is cut down to exactly that and to one repository. Nothing here shows
a secret: not in a repr, not in an error.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypedDict


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAuth:
    """A personal access token, classic or fine-grained."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppAuth:
    """A GitHub App. `installation_id` None: every installation of the App, found by the repository's owner."""

    app_id: str | int
    private_key_pem: str = field(repr=False)
    installation_id: int | None = None


class Need(enum.Enum):
    """What a call is for. APP: the App itself (signed by its key), METADATA: to list repositories."""

    APP = "app"
    METADATA = "metadata"
    READ = "read"
    CONVERSE = "converse"
    PULLS = "pulls"
    REFS = "refs"
    STATUSES = "statuses"
    CHECKS = "checks"
    ACTIONS = "actions"
    GIT_READ = "git_read"
    GIT_WRITE = "git_write"


READ_PERMISSIONS = ("contents", "issues", "pull_requests", "checks", "statuses", "actions", "administration")

# Optional permissions are asked for as far as the installation grants them; required ones are refused when missing.
REQUIRED: Mapping[Need, Mapping[str, str]] = {
    Need.APP: {},
    Need.METADATA: {"metadata": "read"},
    Need.READ: {"metadata": "read"},
    Need.CONVERSE: {"issues": "write"},
    Need.PULLS: {"pull_requests": "write"},
    Need.REFS: {"contents": "write"},
    Need.STATUSES: {"statuses": "write"},
    Need.CHECKS: {"checks": "write"},
    Need.ACTIONS: {"actions": "write"},
    Need.GIT_READ: {"contents": "read"},
    Need.GIT_WRITE: {"contents": "write"},
}
OPTIONAL: Mapping[Need, Mapping[str, str]] = {
    Need.READ: dict.fromkeys(READ_PERMISSIONS, "read"),
    Need.CONVERSE: {"pull_requests": "write"},
    Need.PULLS: {"contents": "read"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a call needs, and on which repository (`owner/name`; '' for the whole account)."""

    need: Need
    repo: str = ""


class AuthKeywords(TypedDict, total=False):
    """How gidgethub takes a credential."""

    oauth_token: str
    jwt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """One credential in use. `account` names whose rate limit it draws on; `expires_at_ms` 0: does not expire."""

    account: str
    secret: str = field(repr=False)
    is_jwt: bool = False
    expires_at_ms: int = 0

    def keywords(self) -> AuthKeywords:
        """For a call of gidgethub."""
        return {"jwt": self.secret} if self.is_jwt else {"oauth_token": self.secret}


class Keys(Protocol):
    """Gives credentials out."""

    async def bearer(self, access: Access) -> Bearer:
        """A credential for this access. Raises Forbidden, NotFound, Unavailable."""

    def forget(self, bearer: Bearer) -> bool:
        """The forge refused it: throw it away. True when asking again may give another one."""

    async def accounts(self) -> tuple[Access, ...]:
        """One access per account whose repositories we may list."""


class TokenKeys:
    """Always the one token."""

    def __init__(self, auth: TokenAuth) -> None:
        self._bearer = Bearer(account="token", secret=auth.token)

    async def bearer(self, access: Access) -> Bearer:  # noqa: ARG002 - a token cannot be cut down
        """The token, whatever it is for."""
        return self._bearer

    def forget(self, bearer: Bearer) -> bool:  # noqa: ARG002 - there is only the one
        """There is no other."""
        return False

    async def accounts(self) -> tuple[Access, ...]:
        """The token's own."""
        return (Access(need=Need.METADATA),)
