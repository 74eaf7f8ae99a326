"""localforge as a process of its own that tells which calls it got and when.

`python -m benchmarks.forge_process SETUP.json`: prints one JSON line when it is ready, then one for every HTTP call:
`[seconds, method, path, status]`, stamped by the monotonic clock that all processes of a machine share when the last
byte of the answer was given out. Both sides of a comparison are timed here, where neither can flatter itself.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from windlass.localforge import LocalForge
from windlass.localforge.__main__ import ForgeConfig, furnish


class Told:
    """An ASGI app whose calls are printed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, and tell of it."""
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        came_s = time.monotonic()
        await self._app(scope, receive, watch)
        if scope["type"] == "http":
            _say([came_s, time.monotonic(), scope["method"], scope["path"], status])


def _say(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


async def _serve(root: Path, config: ForgeConfig) -> None:
    forge = LocalForge(root, ci_concurrency=config.ci_concurrency)
    forge.app = Told(forge.app)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    base_url = await forge.start()
    _say({"base_url": base_url, "api_url": forge.api_url, **furnish(forge, config)})
    await stop.wait()
    await forge.stop()


def main() -> None:
    """Serve until SIGTERM."""
    given = json.loads(Path(sys.argv[1]).read_text())
    asyncio.run(_serve(Path(given["root"]), ForgeConfig.model_validate(given["config"])))


if __name__ == "__main__":
    main()
