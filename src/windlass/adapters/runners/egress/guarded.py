"""Any runner, with a proxy of its own for each run that may reach some hosts and no others; fills `ports.Runner`.

Rule: a run with an egress list has no network but one port on its loopback, behind which its proxy stands, so what does
not ask the proxy gets nowhere. The proxy lives as long as the run's sandbox, whatever becomes of Windlass, and its log
until the run is discarded. Refused: an egress list where the proxy's programs are not installed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from windlass.adapters.runners.egress import decisions
from windlass.adapters.runners.egress.allowing import AllowList, allow_list
from windlass.adapters.runners.egress.proxy import Proxy
from windlass.adapters.runners.rundir import RunDirectory, unwanted
from windlass.core.run_ids import RUN_ID
from windlass.ports import Inlet, Runner, RunResult, RunSpec

PORTS = (30_000, 40_000)  # on the run's own loopback; different for most runs, because without a sandbox it is shared
OWNER = "owner.json"


class GuardedRunner:
    """`inner` does the running; `root` holds a directory for each run that has a proxy."""

    def __init__(self, inner: Runner, root: Path, *, instance: str) -> None:
        self._inner = inner
        self._root = root.absolute()
        self._root.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._instance = instance

    async def start(self, spec: RunSpec) -> bool:
        """Start, or adopt. Raises what the inner one raises, and Refused (no_egress, bad_egress), Unavailable."""
        if not spec.egress or self._inner.is_known(spec.id):
            return await self._inner.start(spec)
        allowed = allow_list(spec.egress)
        inlet = await asyncio.to_thread(self._open, spec.id, allowed)
        try:
            return await self._inner.start(_behind(spec, inlet))
        except BaseException:
            if not self._inner.is_known(spec.id):
                await asyncio.to_thread(self._remove, spec.id)
            raise

    def is_known(self, run_id: str) -> bool:
        """Whether the inner one knows it."""
        return self._inner.is_known(run_id)

    def output(self, run_id: str) -> Path:
        """The run's output file."""
        return self._inner.output(run_id)

    async def wait(self, run_id: str) -> RunResult:
        """Until it ends; with every decision of its proxy."""
        result = await self._inner.wait(run_id)
        if not self._has_proxy(run_id):
            return result
        return await asyncio.to_thread(self._told, run_id, result)

    async def stop(self, run_id: str) -> None:
        """Kill everything under this id, the proxy last: what it decided stays known."""
        await self._inner.stop(run_id)
        if self._has_proxy(run_id):
            await asyncio.to_thread(self._proxy(run_id).end)

    async def discard(self, run_id: str) -> None:
        """Stop, and remove every trace."""
        await self._inner.discard(run_id)
        if self._has_proxy(run_id):
            await asyncio.to_thread(self._remove, run_id)

    async def reap(self, is_wanted: Callable[[str], bool]) -> tuple[str, ...]:
        """As the inner one; and the proxies of our instance whose run is not wanted."""
        killed = await self._inner.reap(is_wanted)
        await asyncio.to_thread(self._reap, is_wanted)
        return killed

    def isolation(self, run_id: str = "") -> str:
        """What holds this run, or any, in one line."""
        held = self._inner.isolation(run_id)
        if not run_id or not self._has_proxy(run_id):
            return held
        count = RunDirectory(self._root / run_id).read(OWNER).get("hosts", 0)
        return f"{held}; reaches {'every public host' if count < 0 else f'{count} host(s)'} through a proxy"

    # -------------------------------------------------------------- the proxy

    def _open(self, run_id: str, allowed: AllowList) -> Inlet:
        at = self._root / run_id
        at.mkdir(mode=0o711, exist_ok=True)
        hosts = -1 if allowed.is_everything else len(allowed.names) + len(allowed.doors)
        RunDirectory(at).write(OWNER, {"instance": self._instance, "id": run_id, "hosts": hosts})
        proxy = self._proxy(run_id)
        if not proxy.is_alive():  # one that lives is of a start whose run is only just beginning
            proxy.end()
            try:
                proxy.start(allowed)
            except BaseException:
                self._remove(run_id)
                raise
        number = int(hashlib.sha256(f"{self._instance}/{run_id}".encode()).hexdigest()[:8], 16)
        return Inlet(port=PORTS[0] + number % (PORTS[1] - PORTS[0]), socket=proxy.socket)

    def _told(self, run_id: str, result: RunResult) -> RunResult:
        proxy = self._proxy(run_id)
        proxy.end()
        return replace(result, contacts=decisions.contacts(proxy.log), bytes_out=decisions.sent_bytes(proxy.log))

    def _remove(self, run_id: str) -> None:
        self._proxy(run_id).end()
        RunDirectory(self._root / run_id).remove()

    def _proxy(self, run_id: str) -> Proxy:
        return Proxy(self._root / run_id, mark=f"{self._instance}/{run_id}/egress")

    def _has_proxy(self, run_id: str) -> bool:
        return bool(RUN_ID.fullmatch(run_id)) and (self._root / run_id).is_dir()

    def _reap(self, is_wanted: Callable[[str], bool]) -> None:
        for run_id, _ in unwanted(self._root, self._instance, is_wanted):
            self._remove(run_id)


def _behind(spec: RunSpec, inlet: Inlet) -> RunSpec:
    """The same run, without a network and with the proxy on its loopback."""
    env = {**proxy_variables(inlet.port), **spec.env}
    return replace(spec, egress=(), needs_network=False, inlets=(*spec.inlets, inlet), env=env)


def proxy_variables(port: int) -> Mapping[str, str]:
    """What programs look for, in both spellings; loopback itself is reached directly."""
    url = f"http://127.0.0.1:{port}"
    told = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "ALL_PROXY": url, "NO_PROXY": "127.0.0.1,localhost"}
    return {**told, **{name.lower(): value for name, value in told.items()}, "NODE_USE_ENV_PROXY": "1"}
