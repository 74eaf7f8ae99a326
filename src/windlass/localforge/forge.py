"""The embedded forge: everything joined behind one ASGI app, with its life and its set-up calls.

It serves one machine: it binds to loopback unless told otherwise, keeps its state in one directory, and is no
replacement for a real forge.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import time
from collections import deque
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from windlass.core.errors import Refused, Unavailable
from windlass.localforge.acts.refs import ref_moved
from windlass.localforge.api.door import PREFIX, Door, Exchange
from windlass.localforge.ci import Builder, CiRunner, SubprocessCi
from windlass.localforge.faults import Faults
from windlass.localforge.git import ZERO
from windlass.localforge.hub import Hub
from windlass.localforge.model import Delivery
from windlass.localforge.postoffice import PostOffice
from windlass.localforge.setup import Setup
from windlass.localforge.shapes.pulls import the_pull
from windlass.localforge.site import Site, SystemClock
from windlass.localforge.smart_http import GitDoor, is_git_path
from windlass.localforge.web import Pages
from windlass.ports import Clock

CI_SLUG: Final = "localforge-ci"
_SAVE_EVERY_S: Final = 1.0
_START_LIMIT_S: Final = 10.0
_STOP_LIMIT_S: Final = 2


class LocalForge(Setup):
    """A GitHub-compatible server. Set-up calls are inherited from `Setup`; `app` is the ASGI app.

    `rate_limit` is the hourly limit of API calls per caller; None enforces none.
    """

    def __init__(
        self,
        root: Path,
        *,
        ci: CiRunner | None = None,
        clock: Clock | None = None,
        seed: int = 0,
        ci_concurrency: int = 2,
        rate_limit: int | None = None,
    ) -> None:
        site = Site(root, clock=clock or SystemClock(), seed=seed)
        builder = Builder(ci or SubprocessCi(), concurrency=ci_concurrency)
        self.hub = Hub(site, PostOffice(site), builder)
        builder.hub = self.hub
        super().__init__(self.hub)
        self.site = site
        self.door = Door(self.hub, limit=rate_limit)
        self._builder = builder
        self._pages = Pages(self.hub)
        self._git_door = GitDoor(self.hub)
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        if not site.world.site_token:
            site.world.site_token = "lfa_" + secrets.token_hex(20)
            ci_app, _ = self.new_app(CI_SLUG, permissions={"checks": "write", "metadata": "read"}, events=[])
            site.world.ci_app_id = ci_app.id
        self.app: ASGIApp = self._application()

    # ---------------------------------------------------------------- the app

    def _application(self) -> ASGIApp:
        methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
        api = [Route(PREFIX + "/{path:path}", self.door.answer, methods=methods), Route(PREFIX, self.door.answer)]
        own = Mount("/_localforge", routes=[Route("/faults", self._faults, methods=["GET", "PUT"])])
        inner = Starlette(routes=[*api, own, *self._pages.routes()], exception_handlers={Refused: self._page_refused})

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and is_git_path(scope["path"]):
                response = await self._git_door.answer(Request(scope, receive))
                await response(scope, receive, send)
            else:
                await inner(scope, receive, send)

        return app

    async def _page_refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return self._pages.refusal(request, error)

    async def _faults(self, request: Request) -> Response:
        """Read or set the faults, with the site's own token."""
        given = request.headers.get("authorization", "").partition(" ")[2]
        if not secrets.compare_digest(given.encode(), self.admin_token.encode()):
            return JSONResponse({"message": "Bad credentials"}, 401)
        if request.method == "PUT":
            try:
                values = json.loads(await request.body())
                self.faults.change(values if isinstance(values, Mapping) else {"": values})
            except (ValueError, Refused) as error:
                return JSONResponse({"message": str(error)}, 422)
        return JSONResponse(self.faults.as_json())

    # ---------------------------------------------------------------- life

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Serve from the running loop; the base URL. Raises Unavailable (code port_taken)."""
        listener = _listen(host, port)
        name = f"[{host}]" if ":" in host else host
        self.open(f"http://{name}:{listener.getsockname()[1]}")
        config = uvicorn.Config(
            self.app,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_STOP_LIMIT_S,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        deadline = time.monotonic() + _START_LIMIT_S
        while not self._server.started:
            if self._serving.done() or time.monotonic() > deadline:
                raise Unavailable("the local forge did not start", hint="see the log", code="no_start")
            await asyncio.sleep(0.001)
        return self.base_url

    def open(self, base_url: str) -> None:
        """Begin background work in the running loop, for callers that serve `app` themselves."""
        self.site.base_url = base_url.rstrip("/")
        self.hub.post.open()
        self._builder.open()
        self.site.spawn(self._catch_up())
        self.site.spawn(self._keep())

    async def stop(self) -> None:
        """Stop serving and save. Checks that run are killed, and run again after the next start."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._server = self._serving = None
        await self.site.settle()
        await self.hub.post.close()
        self.save()

    async def _catch_up(self) -> None:
        """After a kill the saved metadata may be a second older than the branches: pull requests follow them."""
        for repo in list(self.site.world.repositories.values()):
            branches = self.site.git(repo).branches()
            for issue in [found for found in repo.issues.values() if found.pull and found.state == "open"]:
                pull = the_pull(issue)
                tip = branches.get(pull.head_ref, ZERO)
                if tip != pull.head_sha:
                    async with self.site.lock(repo):
                        await ref_moved(self.hub, repo, f"refs/heads/{pull.head_ref}", pull.head_sha, tip, issue.author)

    async def _keep(self) -> None:
        """Save when something changed, at most every second, and never for more than a tenth of the time."""
        while True:
            cost_s = 0.0
            if self.site.is_dirty:
                began = time.monotonic()
                self.save()
                cost_s = time.monotonic() - began
            await asyncio.sleep(max(_SAVE_EVERY_S, 10 * cost_s))

    def save(self) -> None:
        """Write the metadata to `<root>/localforge.json`, atomically."""
        self.site.save()

    # ---------------------------------------------------------------- looking in

    @property
    def base_url(self) -> str:
        """Where the forge is served."""
        return self.site.base_url

    @property
    def api_url(self) -> str:
        """Where the REST API is served."""
        return self.site.base_url + PREFIX

    @property
    def admin_token(self) -> str:
        """What opens `/_localforge`."""
        return self.site.world.site_token

    @property
    def faults(self) -> Faults:
        """The fault switches."""
        return self.site.faults

    @property
    def exchanges(self) -> deque[Exchange]:
        """The last API requests and answers."""
        return self.door.exchanges

    def deliveries(self) -> list[Delivery]:
        """Every webhook call of the log, oldest first."""
        return list(self.hub.post.log.values())

    def refs(self, full_name: str) -> dict[str, str]:
        """The repository's refs."""
        return dict(self.site.git(self.site.repository(full_name)).refs)

    def git_path(self, full_name: str) -> Path:
        """Where the bare repository is on disk."""
        return self.site.git_path(self.site.repository(full_name))

    def clone_url(self, full_name: str) -> str:
        """Where git finds the repository."""
        return f"{self.base_url}/{self.site.repository(full_name).full_name}.git"

    async def idle(self, timeout_s: float = 30.0) -> None:
        """Until no webhook waits or is under way. Raises TimeoutError."""
        await self.hub.post.idle(timeout_s)


class _Server(uvicorn.Server):
    """A server that leaves signals to the process it is embedded in."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio leaves it out for sockets it did not make
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        hint = "choose another port, or 0 for any"
        raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror}", hint=hint, code="port_taken") from error
    listener.setblocking(False)
    return listener
