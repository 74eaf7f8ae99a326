"""`windlass serve`: the engine and its API in one process, until SIGTERM drains it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import secrets as randomness
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sized
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from windlass.adapters.github import verify_signature
from windlass.config import Settings
from windlass.core.errors import Refused, WindlassError
from windlass.faces.api.app import Backend, create_app
from windlass.wiring.parts import Windlass, build, webhook_secrets

log = logging.getLogger("windlass.service")

TOKEN_FILE = "api-token"  # noqa: S105 a file's name
# On demand: every pull request at once, orders that are silent for longer than an engine's poll, what GitHub still has.
_ALL_PULLS = 100_000
_LOOK_PERIOD_S = 0.1
_LOST_AFTER_S = 5.0
_REDELIVERED_FOR_S = 3 * 86_400


class QuietServer(uvicorn.Server):
    """uvicorn without signal handlers of its own: ours decide when to drain."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Leave the signals alone."""
        yield


def api_of(windlass: Windlass) -> FastAPI:
    """The API in front of an engine."""
    settings = windlass.settings
    live = webhook_secrets(settings)

    async def export(job_id: str) -> bytes:
        return await asyncio.to_thread(windlass.ledger.export_bytes, job_id)

    backend = Backend(
        intake=windlass.intake,
        queries=windlass.queries,
        token=api_token(settings.state_dir),
        verify_signature=lambda body, header: bool(live) and verify_signature(body, header, live),
        is_ready=windlass.is_ready,
        now_ms=windlass.clock.now_ms,
        export_evidence=export,
        reconcile=lambda: repair(windlass),
        largest_payload_bytes=settings.api.largest_payload_bytes,
    )
    return create_app(backend)


async def repair(windlass: Windlass) -> dict[str, Any]:
    """One whole repair pass on demand: how much each part found, and what kept a part from being done."""
    duties = windlass.reconciler
    parts: dict[str, Callable[[], Awaitable[Sized | int]]] = {
        "deadlines": lambda: asyncio.to_thread(duties.deadlines),
        "orders": lambda: asyncio.to_thread(duties.orders, _LOST_AFTER_S),
        "reaped": duties.reap,
        "looks": lambda: asyncio.to_thread(_look_at_all, windlass),
        "issues": duties.issues,
        "withdrawn": duties.look_at_withdrawn,
        "redelivered": lambda: duties.deliveries(_REDELIVERED_FOR_S),
    }
    found: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, act in parts.items():
        try:
            done = await act()
        except WindlassError as error:
            problems[name] = str(error)
        else:
            found[name] = done if isinstance(done, int) else len(done)
    log.info("repaired on demand", extra={"found": found, "problems": problems})
    return {**found, "problems": problems}


def _look_at_all(windlass: Windlass) -> int:
    """Twice, because the first pass begins where the periodic one stopped; hearing it twice changes nothing."""
    windlass.reconciler.look_again(_ALL_PULLS, _LOOK_PERIOD_S)
    return windlass.reconciler.look_again(_ALL_PULLS, _LOOK_PERIOD_S)


def api_token(state_dir: Path) -> str:
    """The bearer token of the API, made on first use with mode 0600. Raises Refused when others may read it."""
    path = state_dir.expanduser().absolute() / TOKEN_FILE
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(randomness.token_urlsafe(32) + "\n")
    if path.stat().st_mode & 0o077:
        raise Refused(f"{path} can be read by others", code="bad_permissions", hint=f"chmod 600 {path}")
    token = path.read_text().strip()
    if len(token) < 20:
        raise Refused(f"{path} holds no token", code="bad_config", hint="delete it; a new one is made")
    return token


@contextlib.asynccontextmanager
async def listening(app: FastAPI, host: str, port: int) -> AsyncIterator[str]:
    """Serve the API while the block runs; yields its base URL."""
    listener = _listener(host, port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=5, server_header=False
    )
    server = QuietServer(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="api")
    try:
        while not server.started and not task.done():  # noqa: ASYNC110 uvicorn has no event for it
            await asyncio.sleep(0.005)
        address = listener.getsockname()
        yield f"http://{_bracketed(str(address[0]))}:{address[1]}"
    finally:
        server.should_exit = True
        await task
        listener.close()


def _listener(host: str, port: int) -> socket.socket:
    if not _is_loopback(host):
        raise Refused(
            f"the API may not listen on {host}: it has no login yet",
            code="bad_config",
            hint="use 127.0.0.1 and put a reverse proxy with authentication in front",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio leaves it out for sockets it did not make
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Refused(f"cannot listen on {host}:{port}", code="bad_config", hint=error.strerror or "") from error
    listener.listen(512)
    return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def serve(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; a second signal ends at once. Raises Refused before anything is started."""
    windlass = build(settings)
    if not webhook_secrets(settings):
        log.warning("no webhook secret is set: every webhook is refused; work is found by reconciling only")
    wanted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop_or_die, wanted)
    await windlass.start()
    try:
        async with listening(api_of(windlass), settings.api.host, settings.api.port) as base:
            log.info("ready", extra={"api": base, "state": str(settings.state_dir), "pid": os.getpid()})
            await wanted.wait()
            log.info("draining")
    finally:
        await windlass.stop()
    log.info("stopped")


def _stop_or_die(wanted: asyncio.Event) -> None:
    if wanted.is_set():
        os._exit(130)
    wanted.set()
