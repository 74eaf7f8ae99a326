"""Run in a network namespace of its own: a public host on its loopback, and an agent that tries names for it.

Prints a line for each list of hosts: what came of every name.
"""

from __future__ import annotations

import asyncio
import http.server
import os
import sys
import threading
from pathlib import Path

from windlass.adapters.runners.egress.guarded import GuardedRunner
from windlass.adapters.runners.process import ProcessRunner
from windlass.ports import Deadlines, RunSpec

NAMES = {
    "good.example": "good.example",
    "below.good.example": "below.good.example",
    "other.example": "other.example",
    "rebound": "rebound.good.example",
    "meta": "meta.good.example",
    "inner": "inner.good.example",
}
PROGRAM = """\
import os, urllib.error, urllib.request
for name in NAMES.values():
    try:
        print(urllib.request.urlopen(f"http://{name}/", timeout=20).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


class World(http.server.BaseHTTPRequestHandler):
    """The public host, which is on every address of this world."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


async def main(root: Path) -> None:
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 80), World)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    work = root / "work"
    work.mkdir()
    runner = GuardedRunner(ProcessRunner(root / "runs", instance="w"), root / "egress", instance="w")
    patience = Deadlines(start_s=60, idle_s=60, total_s=90)
    for name, hosts in (("list", (".good.example",)), ("all", ("*",))):
        program = f"NAMES = {NAMES!r}\n{PROGRAM}"
        spec = RunSpec(
            id=name, argv=("python3", "-"), workdir=work, deadlines=patience, stdin=program.encode(), egress=hosts
        )
        await runner.start(spec)
        codes = (await runner.wait(name)).output.read_text().split()
        await runner.discard(name)
        print(", ".join(f"{one} {code}" for one, code in zip(NAMES, codes, strict=True)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
