"""The sidecar that is a run's only way out: loopback ports that lead to Unix sockets outside.

A second container of ours, without a network either, listens on its own loopback and hands each connection to a socket
that is mounted into it alone. The run's container shares this loopback and nothing else with it: no file, no process,
no user. What stands behind a socket (a model gateway, an egress proxy) decides what gets further.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from windlass.adapters.runners.bubblewrap import check_inlets, unusable
from windlass.adapters.runners.container.engine import Engine
from windlass.adapters.runners.container.plan import RUN, Frame, locked
from windlass.core.errors import Refused, Unavailable
from windlass.ports import RunSpec, SandboxLimits

READY = b"windlass: open"
READY_S = 30.0
LIMITS = SandboxLimits(memory_bytes=256 << 20, processes=512, file_bytes=1 << 20, output_bytes=1 << 20)
SOCKET_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
# $@: port, socket, port, socket, …  Says that it is open once every port is listened on.
PROGRAM = """\
ports=
while [ $# -gt 1 ]; do
  socat "TCP4-LISTEN:$1,bind=127.0.0.1,fork,reuseaddr,backlog=128" "UNIX-CONNECT:$2" &
  ports="$ports $(printf %04X "$1")"
  shift 2
done
for port in $ports; do
  until grep -q " 0100007F:$port 00000000:0000 0A " /proc/net/tcp; do sleep 0.02; done
done
echo "windlass: open"
wait
"""


def body(spec: RunSpec, frame: Frame, *, owner: str) -> Mapping[str, Any]:
    """The engine's request. `owner`: the user outside whom the sockets let in. Raises Refused (inlet_unusable)."""
    check_inlets(spec.inlets)
    told: list[str] = []
    mounts = []
    for number, inlet in enumerate(spec.inlets):
        folder, name = inlet.socket.parent, inlet.socket.name
        if not SOCKET_NAME.fullmatch(name):
            raise unusable(inlet)
        told += [str(inlet.port), f"/inlets/{number}/{name}"]
        mounts.append({"Type": "bind", "Source": str(folder), "Target": f"/inlets/{number}", "ReadOnly": True})
    return {
        "Image": frame.image.id,
        "User": owner,
        "Entrypoint": ["sh"],
        "Cmd": ["-c", PROGRAM, "airlock", *told],
        "Labels": {**frame.labels, RUN: spec.id},
        "Hostname": "sandbox",
        "HostConfig": {
            **locked(LIMITS, replace(frame, network="none")),
            "PidsLimit": LIMITS.processes,
            "Init": True,
            "Mounts": mounts,
            "LogConfig": {"Type": frame.log_driver, "Config": {"max-size": "1048576"}},
        },
    }


async def open_airlock(engine: Engine, name: str, request: Mapping[str, Any]) -> str:
    """Make it, and wait until it listens; the network mode of the container that shall use it. Raises Unavailable."""
    made = await engine.create(name, request)
    await engine.start(name)
    try:
        async with asyncio.timeout(READY_S):
            while not await _is_open(engine, name):  # noqa: ASYNC110 - the engine's word, nothing of ours to wait on
                await asyncio.sleep(0.03)
    except TimeoutError:
        raise Unavailable(
            f"the sidecar {name} does not open", code="airlock_shut", hint="see the engine's log"
        ) from None
    return f"container:{made}"


async def _is_open(engine: Engine, name: str) -> bool:
    said = b"".join([data async for data in engine.log(name)])
    if READY in said:
        return True
    seen = await engine.seen(name)
    if seen is None or seen.is_over:
        why = said.decode("utf-8", "replace").strip()[-200:]
        raise Refused(
            f"the sidecar ended at once: {why}",
            code="airlock_shut",
            hint="its image needs sh and socat; see deploy/images/airlock",
        )
    return False
