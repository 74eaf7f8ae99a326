"""The gateway as a process of its own, beside the agents: it goes on when Windlass is killed.

It lives as long as a Windlass is connected or a run is open, and holds a lock for just as long. Settings and real keys
come by standard input, later keys over the control socket; they stay in memory, which no other process of the same user
can read and no core dump shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import uvicorn

from windlass.adapters.gateway.control import MAX_LINE_BYTES, Control
from windlass.adapters.gateway.door import Door
from windlass.adapters.gateway.options import OwnPrice
from windlass.adapters.gateway.places import Places, places_of
from windlass.adapters.gateway.prices import Prices
from windlass.adapters.gateway.runs import OpenRuns
from windlass.adapters.gateway.upstream import Upstream

PR_SET_DUMPABLE = 4
FIRST_VISIT_S = 15.0
LINGER_S = 1.0
LOOK_S = 0.25
MOST_FILES = 65_536


class Server(uvicorn.Server):
    """Uvicorn without signals of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are ours."""
        yield


class Life:
    """When it is over: told so, nobody there and nothing open, all silent for too long, or its files gone."""

    def __init__(self, silent_s: float, alive: Path) -> None:
        self.ended = asyncio.Event()
        self._alive = alive
        self._silent_s = silent_s
        self._last = time.monotonic()
        self._patience_s = FIRST_VISIT_S

    async def watch(self, control: Control, runs: OpenRuns) -> None:
        """Return when it is over."""
        while not self.ended.is_set() and self._alive.exists():
            if control.connections or any(True for _ in runs.tasks()):
                self._last = time.monotonic()
            if control.has_visitors:
                self._patience_s = LINGER_S
            alone_s = time.monotonic() - self._last
            if alone_s > (self._silent_s if len(runs) else self._patience_s):
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), LOOK_S)


async def serve(places: Places, given: Mapping[str, Any]) -> None:
    """From the first call to the last."""
    runs, life = OpenRuns(places.runs), Life(given["silent_s"], places.alive)
    runs.bring(given["keys"], given["of_runs"])  # before the door opens: to runs that wait nothing has happened
    upstream = Upstream(idle_s=given["idle_s"], proxy_url=given["proxy_url"], ca_file=given["ca_file"])
    own = [_price(price) for price in given["prices"]]
    door = Door(
        runs, upstream, Prices(own), body_bytes=given["largest_body_bytes"], output_tokens=given["output_tokens"]
    )
    control = Control(runs, given["identity"], life.ended.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, life.ended.set)
    talk = await asyncio.start_unix_server(control.serve, sock=listening(places.control, 0o600), limit=MAX_LINE_BYTES)
    server = _web(door)
    serving = asyncio.create_task(server.serve(sockets=[listening(places.door, 0o666)]))
    serving.add_done_callback(lambda _: life.ended.set())
    try:
        await life.watch(control, runs)
    finally:
        server.should_exit = True
        talk.close()
        for task in list(runs.tasks()):
            task.cancel()
        await serving
        await upstream.aclose()


def listening(path: Path, mode: int) -> socket.socket:
    """A listening socket in the place of whatever was there."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.bind(str(fresh))
    fresh.chmod(mode)
    found.listen(1024)
    found.setblocking(False)
    fresh.rename(path)
    return found


def sealed() -> None:
    """Nobody reads this process's memory; it may hold as many connections as the system lets it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> int:
    """0: it has lived, or another one lives."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # what Windlass itself inherited
    os.chdir("/")
    sealed()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    given = json.loads(sys.stdin.buffer.read())
    places = places_of(Path(given["root"]))
    places.make()
    lock = os.open(places.alive, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return 0
    logging.basicConfig(level="WARNING", format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("uvicorn").setLevel("CRITICAL")  # what a run sends must not fill a disk
    try:
        asyncio.run(serve(places, given))
    finally:
        places.clear()
    return 0


def _web(door: Door) -> Server:
    config = uvicorn.Config(
        door,
        lifespan="off",
        log_config=None,
        access_log=False,
        ws="none",
        server_header=False,
        timeout_keep_alive=120,
        timeout_graceful_shutdown=2,
    )
    return Server(config)


def _price(given: Mapping[str, Any]) -> OwnPrice:
    cached = given.get("cached_usd")
    return OwnPrice(
        pattern=given["pattern"],
        input_usd=Decimal(given["input_usd"]),
        output_usd=Decimal(given["output_usd"]),
        cached_usd=None if cached is None else Decimal(cached),
    )
