"""A hostile agent in a sandbox of each kind, and what of the machine it is set against."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.contracts.runners import KINDS, Bench, benches
from tests.support.podman import PYTHON_IMAGE

from windlass.ports import RunResult

INSIDE = Path(__file__).with_name("inside.py")
CANARY = "canary-" + "Zk4vQ8xW2pL7"
WORLDS = ("user", "mnt", "net", "pid", "ipc", "uts")


@dataclass
class Cell:
    """One sandbox, and the machine outside as the attacks are told of it."""

    bench: Bench
    outside: Path
    ports: list[list[Any]] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return self.bench.kind

    def begin(self, name: str, **told: Any) -> tuple[tuple[str, ...], str]:
        """The command of an attack; its program is in the work directory afterwards."""
        shutil.copy(INSIDE, self.bench.workdir / "inside.py")
        (self.bench.workdir / "inside.py").chmod(0o644)
        return ("python3", "inside.py", name, json.dumps(told)), PYTHON_IMAGE if self.kind == "container" else ""

    async def attack(self, name: str, *, changes: dict[str, Any] | None = None, **told: Any) -> RunResult:
        argv, image = self.begin(name, **told)
        return await self.bench.run("", **{"argv": argv, "image": image, **(changes or {})})

    async def got(self, name: str, **told: Any) -> list[str]:
        """What an attack that came to its end has got."""
        result = await self.attack(name, **told)
        said = result.output.read_text(errors="replace")
        assert said.rstrip().endswith("DONE"), said[-2000:]
        return gains(said)


def gains(said: str) -> list[str]:
    return [line.removeprefix("GOT ") for line in said.splitlines() if line.startswith("GOT ")]


@pytest.fixture(params=KINDS)
async def cell(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cell]:
    async for bench in benches(request.param, tmp_path, request):
        if bench.podman is not None:
            bench.podman.need(PYTHON_IMAGE)
        with machine(tmp_path / "state", bench) as cell:
            yield cell


@contextmanager
def machine(state: Path, bench: Bench) -> Iterator[Cell]:
    """Secrets of the machine: a state directory, a process that has one in its environment, services, sockets."""
    state.mkdir()
    for name in ("ledger-key.pem", "api-token", "windlass.db"):
        (state / name).write_text(CANARY)
    cell = Cell(bench, state)
    env = {**os.environ, "MODEL_KEY": CANARY}
    victim = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)", CANARY], env=env)
    cell.pids = [victim.pid, os.getpid()]
    try:
        with services(cell, state / "control.sock"):
            yield cell
    finally:
        victim.kill()
        victim.wait()


@contextmanager
def services(cell: Cell, path: Path) -> Iterator[None]:
    """What listens on the machine: TCP on both loopbacks, UDP, a Unix socket, an abstract one. None may be reached."""
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("0.0.0.0", 0)) as every,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        unix.bind(os.path.relpath(path) if len(str(path)) > 100 else str(path))
        path.chmod(0o666)
        abstract.bind(f"\0{cell.bench.instance}")
        datagrams.bind(("127.0.0.1", 0))
        for one in (unix, abstract):
            one.listen()
        listening = (four, every, unix, abstract, datagrams)
        for one in listening:
            one.setblocking(False)
        cell.ports = [["127.0.0.1", s.getsockname()[1]] for s in (four, every, datagrams)]
        cell.ports += [[address, every.getsockname()[1]] for address in own_addresses()]
        with ipv6_service() as port:
            cell.ports += [["::1", port]] if port else []
            yield
        for one in (four, every, unix, abstract):
            with pytest.raises(BlockingIOError):
                one.accept()
        with pytest.raises(BlockingIOError):
            datagrams.recv(100)


@contextmanager
def ipv6_service() -> Iterator[int]:
    """A port on ::1, or 0 where the machine has none."""
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        yield 0
        return
    with server:
        server.setblocking(False)
        yield server.getsockname()[1]
        with pytest.raises(BlockingIOError):
            server.accept()


def own_addresses() -> list[str]:
    """The machine's addresses on real networks, as it would use them to go out. Nothing is sent."""
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return found


def worlds(cell: Cell) -> dict[str, str]:
    """The machine's own namespaces. An engine run by root gives containers no user namespace, but a plain user."""
    shared = {"user"} if cell.kind == "container" else set()
    return {name: os.readlink(f"/proc/self/ns/{name}") for name in WORLDS if name not in shared}
