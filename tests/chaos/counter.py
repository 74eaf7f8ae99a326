"""Who counts what really happened: agents that began to work, seen from outside of everything that is killed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class AgentCounter:
    """Each agent says its run's id when it begins; what it says is counted and acknowledged."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.port = 0

    @asynccontextmanager
    async def listening(self, place: Path) -> AsyncIterator[AgentCounter]:
        """Count while the block runs; on a port, and on a socket in `place` that everybody may use."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        place.mkdir()
        other = await asyncio.start_unix_server(self._take, str(place / "counter.sock"))
        (place / "counter.sock").chmod(0o666)
        async with server, other:
            yield self

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode().strip()
        self.begun[line.partition("/")[2]] += 1
        writer.write(b".")
        writer.close()


class Front:
    """One address for several replicas, as a load balancer is: a call goes to the next that takes the connection."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = ports
        self._next = 0
        self.port = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Front]:
        """Pass calls on while the block runs."""
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await self._connect()
            if there is not None:
                await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._ports:
            self._next += 1
            try:
                return await asyncio.open_connection("127.0.0.1", self._ports[self._next % len(self._ports)])
            except OSError:
                continue
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # one side was killed
    finally:
        writer.close()
