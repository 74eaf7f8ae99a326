"""What the tests of a living gateway share: one gateway, a provider behind it, and runs that knock at its door."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from windlass.adapters.gateway import GatewayOptions, LocalGateway
from windlass.core.agent_events import Usage
from windlass.ports import Admission, Grant

from .provider import Provider

KEY = "sk-real-0123456789abcdef"
PATHS = {
    "anthropic": "/v1/messages",
    "openai": "/v1/chat/completions",
    "gemini": "/v1beta/models/gemini-2.5-pro:streamGenerateContent",
}


class Desk:
    """A gateway and the provider behind it."""

    def __init__(self, root: Path, provider: Provider, gateway: LocalGateway) -> None:
        self.root = root
        self.provider = provider
        self.gateway = gateway
        self._numbers = itertools.count(1)

    def run(self, protocol: str = "anthropic", limit_usd: float | None = None, key: str = KEY) -> Run:
        """A new run."""
        grant = Grant(protocol=protocol, upstream=self.upstream(protocol), key=key, cost_limit_usd=limit_usd)
        return Run(self, f"r{next(self._numbers)}", protocol, grant)

    def upstream(self, protocol: str) -> str:
        return self.provider.url + ("/v1" if protocol == "openai" else "")

    @property
    def pid(self) -> int:
        """The gateway's process."""
        return gateway_pid(self.root)


class Run:
    """One run's side."""

    def __init__(self, desk: Desk, name: str, protocol: str, grant: Grant) -> None:
        self.name = name
        self.desk = desk
        self.grant = grant
        self.path = PATHS[protocol]
        self.admission: Admission = desk.gateway.admit(name, grant)

    def client(self, **headers: str) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=str(self.admission.inlet.socket))
        key = {"x-api-key": self.admission.key}
        return httpx.Client(transport=transport, base_url="http://run", headers=key | headers, timeout=60)

    def post(self, path: str = "", **body: Any) -> httpx.Response:
        with self.client() as client:
            return client.post(path or self.path, json={"model": "claude-sonnet-4-5", "max_tokens": 1000} | body)

    @property
    def usage(self) -> Usage | None:
        return self.desk.gateway.usage(self.name)

    @property
    def lines(self) -> list[str]:
        return (self.desk.root / "runs" / f"{self.name}.jsonl").read_text().splitlines()[1:]


def gateway_pid(root: Path, *, is_needed: bool = True) -> int:
    """The process of the gateway with its files in `root`; 0 when there is none and none is needed."""
    entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = [int(entry.name) for entry in entries if _holds(entry, root / "alive")]
    assert len(found) <= 1, found
    assert found or not is_needed
    return found[0] if found else 0


@contextmanager
def desk_of(root: Path, provider: Provider, options: GatewayOptions | None = None) -> Iterator[Desk]:
    gateway = LocalGateway(root, options, {"agents.a.KEY": KEY})
    desk = Desk(root, provider, gateway)
    try:
        yield desk
    finally:
        for path in (root / "runs").glob("*.jsonl"):
            desk.gateway.forget(path.stem)
        desk.gateway.stop()
        until(lambda: not gateway._places.is_alive())


def until(look: Callable[[], object], timeout_s: float = 60) -> None:
    ends = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.01)


def _holds(process: Path, path: Path) -> bool:
    try:
        if os.readlink(process / "cwd") != "/" or b"adapters.gateway.process" not in (process / "cmdline").read_bytes():
            return False
        return any(os.readlink(fd) == str(path) for fd in (process / "fd").iterdir())
    except OSError:
        return False
