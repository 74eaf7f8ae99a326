"""The one way into the REST API: faults, caller, operation, limits, ETag, error bodies, headers, the request log.

Nothing but a `Denied` turns into a 4xx; anything unforeseen is a 500 in GitHub's shape and is raised in the log.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from windlass.localforge.actors import NOBODY, Actor, identify
from windlass.localforge.api import checks, code, hooks, issues, people, pulls
from windlass.localforge.api.calls import OPERATIONS, Call, Operation, Reply, Table, admit, parse_query
from windlass.localforge.errors import Denied
from windlass.localforge.hub import Hub

ROOMS: Final = (people, issues, code, pulls, checks, hooks)
PREFIX: Final = "/api/v3"
_BODY_LIMIT: Final = 10 << 20
_WINDOW_MS: Final = 3_600_000
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer, as the log keeps it. `template` is GitHub's path, or '' when none fits."""

    at_ms: int
    method: str
    path: str
    query: str
    template: str
    login: str
    status: int
    request_body: bytes
    request_type: str
    response_body: bytes
    response_type: str
    fault: str = ""


class Door:
    """The REST API as an ASGI endpoint. `limit` is the hourly limit per caller; None shows one and enforces none."""

    def __init__(self, hub: Hub, *, limit: int | None = None) -> None:
        self.hub = hub
        self.limit = limit
        self.exchanges: deque[Exchange] = deque(maxlen=2000)
        self.watchers: list[Callable[[Exchange], None]] = []
        self._table = Table(OPERATIONS)
        self._used: dict[str, tuple[int, int]] = {}

    async def answer(self, request: Request) -> Response:
        """Answer one request."""
        path = request.scope.get("raw_path", b"").decode("latin-1").split("?")[0].removeprefix(PREFIX) or "/"
        try:
            raw = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        except Denied as refusal:
            return self._render(request, _refusal(refusal), NOBODY)
        return await self._serve(request, path, raw)

    async def _serve(self, request: Request, path: str, raw: bytes) -> Response:
        actor, entry, fault = NOBODY, None, ""
        try:
            actor = identify(self.hub.site, request.headers.get("authorization"))
            entry, params = self._table.find(request.method, path)
            fault = await self._fault_before()
            self._count(actor, path)
            reply = _fault_reply(self.hub, fault) or await self._run(request, path, raw, actor, entry, params)
            if self.hub.site.dice.strikes("api_lost_response"):
                fault, reply = "api_lost_response", _gateway()
        except Denied as refusal:
            reply = _refusal(refusal)
        except Exception:  # noqa: BLE001 - the door answers 500 and the log says why
            _LOG.exception("the local forge failed on %s %s", request.method, path)
            reply = Reply(status=500, body={"message": "Server Error", "status": "500"})
        response = self._render(request, reply, actor)
        self._note(request, path, raw, actor, entry, response, fault)
        return response

    async def _run(
        self, request: Request, path: str, raw: bytes, actor: Actor, entry: Operation, params: dict[str, str]
    ) -> Reply:
        call = Call(
            hub=self.hub,
            actor=actor,
            method=request.method,
            path=path,
            params=params,
            query=parse_query(request.scope["query_string"]),
            accept=request.headers.get("accept", ""),
            raw_body=raw,
            rate=self._rate_body(actor),
        )
        admit(call, entry)
        return await entry.endpoint(call)

    # ---------------------------------------------------------------- faults and limits

    async def _fault_before(self) -> str:
        dice = self.hub.site.dice
        for name in ("api_5xx", "api_rate_limited", "api_secondary", "api_timeout"):
            if dice.strikes(name):
                if name == "api_timeout":
                    await asyncio.sleep(self.hub.site.faults.api_timeout_s)
                return name
        return ""

    def _window(self, actor: Actor) -> tuple[str, int, int]:
        key = actor.account.login if actor.account else (actor.app.slug if actor.app else "")
        now = self.hub.site.now_ms()
        began, used = self._used.get(key, (now, 0))
        return (key, began, used) if now - began < _WINDOW_MS else (key, now, 0)

    def _count(self, actor: Actor, path: str) -> None:
        if path == "/rate_limit":
            return
        key, began, used = self._window(actor)
        self._used[key] = (began, used + 1)
        if self.limit is not None and used >= self.limit:
            raise Denied(403, f"API rate limit exceeded for {key or 'your address'}.")

    def _uncount(self, actor: Actor) -> None:
        key, began, used = self._window(actor)
        self._used[key] = (began, max(0, used - 1))

    def _rate(self, actor: Actor) -> dict[str, int]:
        _, began, used = self._window(actor)
        limit = self.limit if self.limit is not None else 15_000
        left = max(0 if self.limit is not None else 1, limit - used)
        return {"limit": limit, "used": min(used, limit), "remaining": left, "reset": (began + _WINDOW_MS) // 1000}

    def _rate_body(self, actor: Actor) -> dict[str, Any]:
        core = self._rate(actor)
        search = {"limit": 30, "used": 0, "remaining": 30, "reset": core["reset"]}
        return {"resources": {"core": core, "search": search}, "rate": core}

    # ---------------------------------------------------------------- the answer

    def _render(self, request: Request, reply: Reply, actor: Actor) -> Response:
        content, status = reply.content(), reply.status
        headers = {
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Request-Id": uuid.uuid4().hex.upper(),
            "X-GitHub-Api-Version-Selected": "2022-11-28",
            "X-Content-Type-Options": "nosniff",
        }
        if status == 200 and request.method in ("GET", "HEAD"):
            etag = f'W/"{hashlib.sha256(content).hexdigest()}"'
            headers |= {"ETag": etag, "Cache-Control": "private, max-age=60, s-maxage=60"}
            if etag in request.headers.get("if-none-match", ""):
                status, content = 304, b""
                self._uncount(actor)
        rate = self._rate(actor)
        headers |= {f"X-RateLimit-{name.capitalize()}": str(value) for name, value in rate.items()}
        headers |= {"X-RateLimit-Resource": "core"} | dict(reply.headers)
        if actor.account is not None and actor.installation is None:
            headers |= {"X-OAuth-Scopes": "repo"}
        media_type = reply.media_type if content else None
        return Response(b"" if request.method == "HEAD" else content, status, headers, media_type)

    def _note(
        self,
        request: Request,
        path: str,
        raw: bytes,
        actor: Actor,
        entry: Operation | None,
        response: Response,
        fault: str,
    ) -> None:
        exchange = Exchange(
            at_ms=self.hub.site.now_ms(),
            method=request.method,
            path=path,
            query=request.scope["query_string"].decode("latin-1"),
            template=entry.template if entry else "",
            login=actor.account.login if actor.account else (actor.app.slug if actor.app else ""),
            status=response.status_code,
            request_body=raw,
            request_type=request.headers.get("content-type", ""),
            response_body=bytes(response.body),
            response_type=response.headers.get("content-type", ""),
            fault=fault,
        )
        self.exchanges.append(exchange)
        for watcher in self.watchers:
            watcher(exchange)


async def _body(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _BODY_LIMIT:
            raise Denied(413, "Payload too large")
        parts.append(part)
    return b"".join(parts)


def _refusal(refusal: Denied) -> Reply:
    headers = dict(refusal.headers)
    return Reply(status=refusal.status, body=refusal.body(), headers=headers)


def _gateway() -> Reply:
    return Reply(status=502, body=b"<html><body>502 Bad Gateway</body></html>", media_type="text/html")


def _fault_reply(hub: Hub, fault: str) -> Reply | None:
    wait_s = hub.site.faults.retry_after_s
    pause = str(max(1, round(wait_s)))
    match fault:
        case "api_5xx" | "api_timeout":
            return _gateway()
        case "api_rate_limited":
            reset = str(int(hub.site.now_ms() / 1000 + wait_s) + 1)
            headers = {
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": reset,
                "Retry-After": f"{max(1, round(wait_s))}",
            }
            return Reply(status=403, body=Denied(403, "API rate limit exceeded.").body(), headers=headers)
        case "api_secondary":
            message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
            headers = {"Retry-After": pause}
            return Reply(status=403, body=Denied(403, message).body(), headers=headers)
        case _:
            return None
