"""Registering the GitHub App by manifest: one loopback page, one redirect back, one exchange, three files.

The way is GitHub's: a form with the manifest is posted to the forge, the person confirms there, the browser comes back
with a code, and the code is exchanged once for the App's key and secret. Refused: a callback without the state that
this very page was made with, another host name than the page's own (DNS rebinding), a second use of the code, and
files that are there already. Source: docs.github.com, "Registering a GitHub App from a manifest".
"""

from __future__ import annotations

import asyncio
import hmac
import html
import ipaddress
import json
import os
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse

from windlass.core.errors import Conflict, Failed, Refused, Unavailable
from windlass.faces.cli.options import AppMade, AppRequest, Say
from windlass.wiring.service import listening

PERMISSIONS = {
    "metadata": "read",
    "contents": "write",
    "issues": "write",
    "pull_requests": "write",
    "checks": "write",
    "statuses": "write",
    "actions": "write",
}
EVENTS = (
    "check_run",
    "check_suite",
    "issues",
    "pull_request",
    "pull_request_review",
    "push",
    "repository",
    "status",
    "workflow_run",
)
_ORGANIZATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})")
_CODE = re.compile(r"[A-Za-z0-9_-]{1,200}")
_LARGEST_ANSWER = 256 << 10
_EXCHANGE_TIMEOUT_S = 30.0
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:4rem auto;padding:0 1rem}}
button{{font:inherit;padding:.5rem 1rem}}td{{padding:.1rem 1rem .1rem 0}}</style>
<h1>{title}</h1>{body}</html>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeAddress:
    """`web_url`: where people register Apps; `api_url`: where the code is exchanged. Neither ends in a slash."""

    web_url: str
    api_url: str


def forge_address(url: str) -> ForgeAddress:
    """GitHub, a ghe.com tenant or a GitHub Enterprise Server by its web address. Raises Refused (bad_forge_url)."""
    found = _web_url(url, "the forge", "bad_forge_url")
    host = found.host
    web_url = str(found).rstrip("/")
    if host == "github.com" or host.endswith(".ghe.com"):
        return ForgeAddress(web_url=web_url, api_url=f"https://api.{host}")
    return ForgeAddress(web_url=web_url, api_url=f"{web_url}/api/v3")


def manifest(name: str, public_url: str, redirect_url: str, *, reads_administration: bool = False) -> dict[str, Any]:
    """The App's manifest, as GitHub documents it."""
    more = {"administration": "read"} if reads_administration else {}
    return {
        "name": name,
        "url": public_url,
        "description": "Takes labelled issues to pull requests that a human can approve.",
        "public": False,
        "hook_attributes": {"url": f"{public_url}/webhooks/github", "active": True},
        "redirect_url": redirect_url,
        "default_permissions": PERMISSIONS | more,
        "default_events": list(EVENTS),
    }


async def create(request: AppRequest, show: Say) -> AppMade:
    """Register the App and write key, secret and settings.

    Raises Refused (bad_option, bad_forge_url, bad_code), Conflict (already_there), Failed (bad_answer), Unavailable.
    """
    forge = forge_address(request.forge_url)
    files = _files(request)
    public_url = _public_url(request.public_url, forge)
    if request.organization and not _ORGANIZATION.fullmatch(request.organization):
        raise _bad_option(f"{request.organization!r} is not an organization", "give its login")
    if not 0 < len(request.name) <= 34:
        raise _bad_option("the App's name must have 1 to 34 characters", "give --name")
    app = FastAPI(openapi_url=None)
    async with listening(app, "127.0.0.1", request.port) as base_url:
        wanted = manifest(
            request.name, public_url, f"{base_url}/created", reads_administration=request.reads_administration
        )
        door = Registration(forge, base_url, wanted, request.organization)
        door.put_on(app)
        show(f"{base_url}/")
        given = await door.finished(request.timeout_s)
    return files.write(given, forge, public_url)


class Registration:
    """The page, the way back and the one exchange."""

    def __init__(self, forge: ForgeAddress, base_url: str, wanted: dict[str, Any], organization: str) -> None:
        self._forge = forge
        self._base_url = base_url
        self._wanted = wanted
        self._state = secrets.token_urlsafe(32)
        where = f"organizations/{organization}/settings" if organization else "settings"
        self._action = f"{forge.web_url}/{where}/apps/new?state={self._state}"
        self._result: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._is_used = False

    def put_on(self, app: FastAPI) -> None:
        """Add the two pages."""
        app.add_route("/", self._guarded(self._form), methods=["GET"])
        app.add_route("/created", self._guarded(self._created), methods=["GET"])

    async def finished(self, timeout_s: float) -> dict[str, Any]:
        """What the forge handed out. Raises Unavailable (not_confirmed) after `timeout_s`."""
        await asyncio.wait({self._result}, timeout=timeout_s)
        if not self._result.done() and not self._is_used:
            message = f"nobody confirmed the App within {timeout_s:.0f} s"
            raise Unavailable(message, hint="run the command again", code="not_confirmed")
        return await self._result

    def _guarded(self, page: Callable[[Request], Awaitable[HTMLResponse]]) -> Callable[..., Awaitable[HTMLResponse]]:
        own = self._base_url.partition("://")[2]

        async def answer(request: Request) -> HTMLResponse:
            if request.headers.get("host") != own:
                return self._page("Refused", "<p>This page has another address.</p>", 403)
            return await page(request)

        return answer

    async def _form(self, _request: Request) -> HTMLResponse:
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(level)}</td></tr>"
            for name, level in self._wanted["default_permissions"].items()
        )
        body = (
            f"<p>The forge asks you to confirm the App <b>{html.escape(self._wanted['name'])}</b> and then leads you "
            f"back here. It will be allowed:</p><table>{rows}</table>"
            f'<form action="{html.escape(self._action)}" method="post">'
            f'<input type="hidden" name="manifest" value="{html.escape(json.dumps(self._wanted))}">'
            f"<p><button>Register it on {html.escape(self._forge.web_url)}</button></p></form>"
        )
        return self._page("Register Windlass as a GitHub App", body)

    async def _created(self, request: Request) -> HTMLResponse:
        state, code = request.query_params.get("state", ""), request.query_params.get("code", "")
        if not hmac.compare_digest(state.encode(), self._state.encode()):
            return self._page("Refused", "<p>This answer does not belong to this page.</p>", 403)
        if self._is_used:
            return self._page("Refused", "<p>The App was registered already.</p>", 409)
        if not _CODE.fullmatch(code):
            return self._page("Refused", "<p>The forge sent no code.</p>", 400)
        self._is_used = True
        try:
            self._result.set_result(await exchange(self._forge, code))
        except (Refused, Failed, Unavailable) as error:
            self._result.set_exception(error)
            return self._page("Not registered", f"<p>{html.escape(str(error))}</p>", 502)
        return self._page("Registered", "<p>Go back to the terminal; this page may be closed.</p>")

    def _page(self, title: str, body: str, status: int = 200) -> HTMLResponse:
        policy = (
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; "
            f"form-action 'self' {self._forge.web_url}"
        )
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return HTMLResponse(_PAGE.format(title=title, body=body), status, headers)


async def exchange(forge: ForgeAddress, code: str) -> dict[str, Any]:
    """The code for the App's id, key and secret. Raises Refused (bad_code), Failed (bad_answer), Unavailable."""
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    is_loopback = _is_loopback(httpx.URL(forge.api_url).host)
    try:
        async with httpx.AsyncClient(timeout=_EXCHANGE_TIMEOUT_S, trust_env=not is_loopback) as client:
            answer = await client.post(f"{forge.api_url}/app-manifests/{code}/conversions", headers=headers)
    except httpx.HTTPError as error:
        hint = "the App exists by now: delete it on the forge, then run the command again"
        raise Unavailable(f"{forge.api_url} did not answer", hint=hint, code="not_exchanged") from error
    if answer.status_code in {404, 422}:
        hint = "a code holds for one hour and one use: run the command again"
        raise Refused("the forge does not take the code", hint=hint, code="bad_code")
    if answer.status_code != 201 or len(answer.content) > _LARGEST_ANSWER:
        raise _bad_answer(f"the forge answers {answer.status_code}")
    return _checked(answer)


def _checked(answer: httpx.Response) -> dict[str, Any]:
    try:
        given = answer.json()
    except ValueError as error:
        raise _bad_answer("the forge's answer is not JSON") from error
    kinds = {"id": int, "slug": str, "pem": str, "webhook_secret": str, "html_url": str}
    for name, kind in kinds.items():
        if not isinstance(given, dict) or not isinstance(given.get(name), kind) or not given[name]:
            raise _bad_answer(f"the forge's answer has no {name}")
    if not given["pem"].startswith("-----BEGIN") or not re.fullmatch(r"[A-Za-z0-9-]{1,100}", given["slug"]):
        raise _bad_answer("the forge's answer has no usable key or name")
    return {name: given[name] for name in kinds}


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where key, secret and settings go."""

    state_dir: Path
    key: Path
    secret: Path
    config: Path

    def write(self, given: dict[str, Any], forge: ForgeAddress, public_url: str) -> AppMade:
        """Write all three. Raises Failed (not_written) with what to do, because the App exists by now."""
        try:
            _write_new(self.key, given["pem"], 0o600)
            _write_new(self.secret, given["webhook_secret"] + "\n", 0o600)
            _write_new(self.config, self._settings(given, forge, public_url), 0o644)
        except OSError as error:
            message = f"{error.filename} cannot be written: {error.strerror}"
            hint = f"delete the App {given['slug']} on the forge and what was written, then run the command again"
            raise Failed(message, hint=hint, code="not_written") from error
        return AppMade(
            app_id=given["id"],
            slug=given["slug"],
            install_url=_install_url(given, forge),
            webhook_url=f"{public_url}/webhooks/github",
            private_key_file=self.key,
            webhook_secret_file=self.secret,
            config=self.config,
        )

    def _settings(self, given: dict[str, Any], forge: ForgeAddress, public_url: str) -> str:
        document = {
            "state_dir": str(self.state_dir),
            "forge": {
                "api_url": forge.api_url,
                "app_id": str(given["id"]),
                "app_private_key_file": str(self.key),
                "webhook_secret_file": str(self.secret),
            },
            "api": {"public_url": public_url},
        }
        head = (
            f"# Written by `windlass github-app create` for the App {given['slug']}. All keys: docs/configuration.md\n"
        )
        return head + yaml.safe_dump(document, sort_keys=False)


def _files(request: AppRequest) -> Files:
    state_dir = request.state_dir.expanduser().absolute()
    files = Files(
        state_dir=state_dir,
        key=state_dir / "github-app.pem",
        secret=state_dir / "github-webhook-secret",
        config=request.config.expanduser().absolute(),
    )
    for path in (files.key, files.secret, files.config):
        if path.exists() or path.is_symlink():
            raise Conflict(f"{path} is there already", hint="move it away, or choose others", code="already_there")
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (state_dir, files.config.parent):
            if not os.access(directory, os.W_OK | os.X_OK):
                raise PermissionError(13, "permission denied", str(directory))
    except OSError as error:
        raise _bad_option(
            f"{error.filename} cannot be used: {error.strerror}", "give --state-dir and --config"
        ) from None
    return files


def _write_new(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _install_url(given: dict[str, Any], forge: ForgeAddress) -> str:
    page = str(given["html_url"])
    own = (
        page if page.startswith(forge.web_url + "/") and page.isprintable() else f"{forge.web_url}/apps/{given['slug']}"
    )
    return f"{own}/installations/new"


def _public_url(text: str, forge: ForgeAddress) -> str:
    url = _web_url(text, "--url", "bad_option")
    if _is_loopback(url.host) and not _is_loopback(httpx.URL(forge.web_url).host):
        raise _bad_option(f"the forge cannot reach {text}", "give the address at which GitHub reaches this server")
    return str(url).rstrip("/")


def _web_url(text: str, what: str, code: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    is_safe = url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.host))
    if not is_safe or not url.host or url.userinfo or url.query or url.fragment or not text.isascii():
        hint = "write it as https://HOST, without a query"
        raise Refused(f"{text.rpartition('@')[2][:100]!r} is no address for {what}", hint=hint, code=code)
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bad_option(message: str, hint: str) -> Refused:
    return Refused(message, hint=hint, code="bad_option")


def _bad_answer(message: str) -> Failed:
    hint = "the App may exist by now: look at the forge's settings, delete it there and run the command again"
    return Failed(message, hint=hint, code="bad_answer")
