"""A forge of canned answers on a real socket: what goes over the wire, without what a forge would remember."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Act = Callable[[web.Request], Awaitable[web.StreamResponse]]
FIXED_MS = 1_700_000_000_000


class FakeClock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.ms = FIXED_MS

    def now_ms(self) -> int:
        return self.ms


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Canned:
    """Answers by 'METHOD /path'; the last answer of a list stays."""

    answers: dict[str, list[Act]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    url: str = ""

    def on(self, call: str, *acts: Act) -> None:
        self.answers[call] = list(acts)

    def calls(self, call: str) -> list[Seen]:
        return [s for s in self.seen if f"{s.method} {s.path}" == call]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        headers = {k.lower(): v for k, v in request.headers.items()}
        self.seen.append(Seen(request.method, request.path, headers, json.loads(raw) if raw else None))
        acts = self.answers.get(f"{request.method} {request.path}")
        if not acts:
            return web.json_response({"message": "Not Found"}, status=404)
        return await (acts.pop(0) if len(acts) > 1 else acts[0])(request)


def says(data: Any, status: int = 200, **headers: str) -> Act:
    """A JSON answer; header names with _ for -."""

    async def act(_: web.Request) -> web.StreamResponse:
        return web.json_response(data, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return act


def sends(body: bytes, status: int = 200, **headers: str) -> Act:
    async def act(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return act


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """The connection is cut after the request was read."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3)
    return web.Response()


@asynccontextmanager
async def canned() -> AsyncIterator[Canned]:
    forge = Canned()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", forge.answer)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    forge.url = f"http://127.0.0.1:{server.port}/api/v3"
    try:
        yield forge
    finally:
        await server.close()
