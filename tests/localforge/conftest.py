"""What localforge's tests share: a small real repository, a conforming forge, a receiver of webhooks."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.localforge.conformance import ForgeMaker, conforming_forge
from windlass.localforge import LocalForge

__all__ = ["conforming_forge"]
REPO = "acme/demo"


def git(*args: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """git, as a user has it."""
    who = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "protocol.version=2")
    done = subprocess.run(["git", *who, *args], cwd=cwd, capture_output=True, text=True, check=False)
    if check:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two commits on `main` and one on `old`; tests leave it as it is."""
    path = tmp_path_factory.mktemp("source")
    (path / "src").mkdir(parents=True)
    git("init", "-q", "-b", "main", cwd=path)
    (path / "README.md").write_text("# Demo\n")
    (path / "src" / "ä b.txt").write_text("one\n")
    git("add", ".", cwd=path)
    git("commit", "-q", "-m", "Begin", cwd=path)
    git("branch", "old", cwd=path)
    (path / "README.md").write_text("# Demo\n\nMore.\n")
    git("commit", "-q", "-am", "Say more", cwd=path)
    return path


@dataclass
class Desk:
    """A forge with a repository, an admin `ann`, a writer `bob`, a reader `eve`, and a client for each."""

    forge: LocalForge
    tokens: dict[str, str]
    clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    def client(self, login: str | None = None, *, token: str | None = None) -> httpx.AsyncClient:
        """An API client with somebody's token."""
        value = token or (self.tokens[login] if login else None)
        key = value or ""
        if key not in self.clients:
            headers = {"Authorization": f"Bearer {value}"} if value else {}
            self.clients[key] = httpx.AsyncClient(base_url=self.forge.api_url, headers=headers, timeout=20)
        return self.clients[key]

    async def call(
        self, login: str | None, line: str, body: Any = None, *, expect: int | None = None, **options: Any
    ) -> Any:
        """`call("ann", "GET /issues")` on the repository; the JSON, after checking the status."""
        method, path = line.split(" ", 1)
        url = path if path.startswith("//") else f"/repos/{REPO}{path if path != '/' else ''}"
        reply = await self.client(login).request(method, url.replace("//", "/", 1), json=body, **options)
        wanted = expect or (200 if body is None or method in ("PATCH", "PUT") else reply.status_code)
        assert reply.status_code == wanted or (expect is None and reply.status_code in (200, 201)), reply.text
        return reply.json() if reply.content else None

    def url(self, login: str, repo: str = REPO) -> str:
        """A clone URL with somebody's token in it."""
        return self.forge.clone_url(repo).replace("//", f"//x-access-token:{self.tokens[login]}@")

    async def branch(self, name: str, files: dict[str, bytes | None] | None = None, by: str = "bob") -> str:
        """A branch with one commit more than `main`."""
        return await self.forge.commit(REPO, name, files or {"new.txt": name.encode()}, f"Add {name}", by)

    async def pull(self, branch: str = "ai-1", by: str = "bob", body: str = "") -> dict[str, Any]:
        """A branch and its pull request."""
        await self.branch(branch)
        opened = await self.call(
            by, "POST /pulls", {"title": f"PR {branch}", "head": branch, "base": "main", "body": body}
        )
        assert isinstance(opened, dict)
        return opened

    async def green(self, ref: str, timeout_s: float = 20) -> list[dict[str, Any]]:
        """The check runs of a ref, when all have ended."""
        async with asyncio.timeout(timeout_s):
            while True:
                runs = (await self.call("ann", f"GET /commits/{ref}/check-runs"))["check_runs"]
                if runs and all(run["status"] == "completed" for run in runs):
                    return list(runs)
                await asyncio.sleep(0.02)


@pytest.fixture
async def desk(conforming_forge: ForgeMaker, source: Path) -> Desk:
    """The usual forge."""
    forge = await conforming_forge()
    return furnish(forge, source)


_DESKS: list[Desk] = []


@pytest.fixture(autouse=True)
async def clients_are_closed() -> AsyncIterator[None]:
    """Every desk's clients let go at the end."""
    yield
    for made in _DESKS:
        for client in made.clients.values():
            await client.aclose()
    _DESKS.clear()


def furnish(forge: LocalForge, source: Path, **options: Any) -> Desk:
    """Users and a repository."""
    tokens = {login: forge.create_user(login) for login in ("ann", "bob", "eve")}
    forge.create_repository(REPO, source=source, **{"checks": {"tests": "cat README.md"}, **options})
    for login, level in (("ann", "admin"), ("bob", "write"), ("eve", "read")):
        forge.grant(REPO, login, level)
    _DESKS.append(Desk(forge=forge, tokens=tokens))
    return _DESKS[-1]


@dataclass
class Mailbox:
    """A receiver of webhooks. `status` is what it answers."""

    url: str
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    status: int = 202

    def events(self) -> list[str]:
        """`event.action` of every call, in the order of arrival."""
        found = []
        for headers, body in self.calls:
            action = json.loads(body).get("action")
            found.append(headers["x-github-event"] + (f".{action}" if action else ""))
        return found


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    """A real HTTP server that keeps what it gets."""
    box = Mailbox(url="")

    async def take(request: Request) -> Response:
        box.calls.append((dict(request.headers), await request.body()))
        return Response("thanks", box.status)

    config = uvicorn.Config(
        Starlette(routes=[Route("/hook", take, methods=["POST"])]), port=0, log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    box.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/hook"
    yield box
    server.should_exit = True
    await serving
