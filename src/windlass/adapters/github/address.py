"""Where the forge is: the one host that may see our credentials, and the names that may stand in its URLs.

Refuses every URL outside the API's own scheme, host, port and path, whoever wrote it (a redirect, a Link header, a
payload), and every name that could step out of its place in a path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import httpx

from windlass.adapters.github.payload import is_repository
from windlass.core.errors import Forbidden, Refused

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9a-f:.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`api_url`: without a slash at its end. `web_url`: where pages and git are, without one too."""

    api_url: str
    web_url: str

    @property
    def is_hosted(self) -> bool:
        """Whether this is GitHub's own service (github.com or ghe.com), with its limits."""
        host = httpx.URL(self.api_url).host
        return host == "api.github.com" or host.endswith(".ghe.com")

    @property
    def is_loopback(self) -> bool:
        """Whether the forge is on this machine."""
        return httpx.URL(self.api_url).host in {"127.0.0.1", "localhost", "::1"}

    def demand(self, url: str) -> None:
        """Raises Forbidden (code foreign_host) unless `url` is below the API's own URL."""
        try:
            asked = httpx.URL(url)
        except httpx.InvalidURL as exc:
            raise Forbidden(
                "The forge named a URL that is none", hint="check the forge's API URL", code="foreign_host"
            ) from exc
        own = httpx.URL(self.api_url + "/")
        is_below = _origin(asked) == _origin(own) and asked.path.startswith(own.path)
        if not is_below or asked.userinfo:
            raise Forbidden(
                f"A URL on {asked.host[:100]!r} is not below {self.api_url}; our credential does not go there",
                hint="set the forge's API URL to the address that it names itself",
                code="foreign_host",
            )

    def clone_url(self, repo: str) -> str:
        """Where git finds `owner/name`."""
        return f"{self.web_url}/{repo}.git"


def parse_address(api_url: str) -> Address:
    """`https://api.github.com`, `https://api.TENANT.ghe.com`, `https://HOST/api/v3`, or any other http(s) URL.

    Raises Refused (code bad_forge_url).
    """
    try:
        url = httpx.URL(api_url.rstrip("/"))
    except httpx.InvalidURL as exc:
        raise _bad_url(api_url) from exc
    if (
        url.scheme not in {"http", "https"}
        or url.userinfo
        or url.query
        or url.fragment
        or not _HOST.fullmatch(url.host)
    ):
        raise _bad_url(api_url)
    text = str(url).rstrip("/")
    if url.host == "api.github.com" or (url.host.startswith("api.") and url.host.endswith(".ghe.com")):
        return Address(api_url=text, web_url=text.replace("//api.", "//", 1))
    return Address(api_url=text, web_url=text.removesuffix("/api/v3"))


def repository_vars(repo: str) -> dict[str, Any]:
    """The URI template variables `owner` and `name`. Raises Refused (code bad_name)."""
    if not is_repository(repo):
        raise Refused(f"{repo[:100]!r} is not a repository", hint="write it as owner/name", code="bad_name")
    owner, name = repo.split("/")
    return {"owner": owner, "name": name}


def segments(path: str) -> list[str]:
    """A branch or file path for `{/path*}`. Raises Refused (code bad_name) when it would leave its place."""
    parts = path.split("/")
    if not path or set(parts) & {"", ".", ".."} or "\x00" in path:
        raise Refused(f"{path[:100]!r} cannot stand in a URL", hint="use a plain relative path", code="bad_name")
    return parts


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    default = {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, url.port or default


def _bad_url(api_url: str) -> Refused:
    return Refused(
        f"{api_url.rpartition('@')[2][:100]!r} is not the URL of a forge's API",
        hint="use https://api.github.com, or https://HOST/api/v3 for GitHub Enterprise Server",
        code="bad_forge_url",
    )
