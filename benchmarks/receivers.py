"""Webhook receivers to compare: `python -m benchmarks.receivers windlass|aiohttp|memory DIRECTORY`.

`windlass` is our API over an engine that is not started, so that storing is measured and not processing. `aiohttp` is
the receiver that gidgethub's documentation leads to, made durable: the same signature, the same row in the same table
with the same safety (WAL, synchronous=FULL), one commit per call before the answer. `memory` is that without a disk.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from gidgethub import sansio

from benchmarks.load import SECRET
from windlass.adapters.storage import make_engine, migrate
from windlass.config import ForgeSettings, Settings
from windlass.wiring.parts import build
from windlass.wiring.service import api_of, listening

INSERT = (
    "INSERT INTO deliveries (id, event, body, received_at_ms, attempts) VALUES (?, ?, ?, ?, 0) ON CONFLICT DO NOTHING"
)
Keep = Callable[[str, str, bytes], None]


async def _windlass(directory: Path) -> None:
    forge = ForgeSettings(api_url="http://127.0.0.1:9/api/v3", token="none", webhook_secret=SECRET)  # type: ignore[arg-type]
    windlass = build(Settings(state_dir=directory, forge=forge))
    try:
        async with listening(api_of(windlass), "127.0.0.1", 0) as url:
            await _until_stopped(int(url.rpartition(":")[2]))
    finally:
        await windlass.close()


async def _aiohttp(keep: Keep) -> None:
    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        event = sansio.Event.from_http(request.headers, body, secret=SECRET)
        keep(event.delivery_id, event.event, body)
        return web.Response(status=202, text="stored")

    app = web.Application(client_max_size=26_214_400)
    app.router.add_post("/webhooks/github", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    await _until_stopped(int(runner.addresses[0][1]))
    await runner.cleanup()


async def _until_stopped(port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(json.dumps(port), flush=True)
    await stop.wait()


def _durable(directory: Path) -> Keep:
    path = directory / "receiver.sqlite"
    engine = make_engine(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA synchronous=FULL")

    def keep(delivery_id: str, event: str, body: bytes) -> None:
        database.execute(INSERT, (delivery_id, event, body, time.time_ns() // 1_000_000))

    return keep


def _in_memory() -> Keep:
    rows: dict[str, tuple[str, bytes, int]] = {}

    def keep(delivery_id: str, event: str, body: bytes) -> None:
        rows.setdefault(delivery_id, (event, body, time.time_ns() // 1_000_000))

    return keep


if __name__ == "__main__":
    who, place = sys.argv[1], Path(sys.argv[2])
    if who == "windlass":
        asyncio.run(_windlass(place))
    else:
        asyncio.run(_aiohttp(_durable(place) if who == "aiohttp" else _in_memory()))
