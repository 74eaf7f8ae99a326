"""The container engine's API, in our words and with our errors; the only module that knows the client library.

Every call names its container, so that a call made twice does no harm. What the engine says is not trusted to be
there: an engine that is away or restarted is Unavailable, a container that is gone is NotFound.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp
from aiodocker import Docker, DockerError
from aiodocker.stream import Stream

from windlass.core.errors import Conflict, Failed, NotFound, Refused, Unavailable, WindlassError

CONNECT_S, CALL_S, PULL_S = 5.0, 120.0, 1800.0
NOT_CONNECTED = 900
BUSY = ("already in use", "not running", "can only kill running", "container state improper")
HEADER = struct.Struct(">BxxxL")
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that is here. `id`: `sha256:…` of its configuration, which names exactly this content."""

    id: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A container as the engine sees it. `status`: created, running, exited, …; `pid` 0 when nothing runs."""

    id: str
    status: str
    exit_code: int
    pid: int
    is_out_of_memory: bool
    labels: Mapping[str, str]
    duration_s: float | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether nothing of it has run yet."""
        return self.status in {"created", "configured", "initialized"}

    @property
    def is_over(self) -> bool:
        """Whether it has run and will not go on."""
        return self.status in {"exited", "dead", "stopped"}


class Engine:
    """One engine behind one address. Every event loop that asks it has connections of its own."""

    def __init__(self, address: str, api: str) -> None:
        self._address = address
        self._api = api
        self._makes_groups: bool | None = None
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Docker] = WeakKeyDictionary()

    async def close(self) -> None:
        """Let go of this loop's connections; containers go on."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    async def makes_groups(self) -> bool:
        """Whether it makes control groups of the name that it is told (driver cgroupfs), asked once."""
        if self._makes_groups is None:
            with _asking("its settings"):
                self._makes_groups = (await self._client().system.info()).get("CgroupDriver") == "cgroupfs"
        return self._makes_groups

    # -------------------------------------------------------------- images

    async def image(self, name: str) -> Image:
        """Raises NotFound when it is not here."""
        with _asking(f"image {name}"):
            found = await self._client().images.inspect(name)
        digest = str(found["Id"])
        path = next((e[5:] for e in (found.get("Config") or {}).get("Env") or () if e.startswith("PATH=")), "")
        return Image(id=digest if ":" in digest else f"sha256:{digest}", path=path)

    async def pull(self, name: str) -> None:
        """Fetch an image from where its name says."""
        with _asking(f"pull of {name}"):
            async with asyncio.timeout(PULL_S):
                await self._client().images.pull(name)

    # -------------------------------------------------------------- containers

    async def create(self, name: str, body: Mapping[str, Any]) -> str:
        """Make a container, not started; its id. Raises Conflict when there is one of that name."""
        with _asking(f"container {name}"):
            return (await self._client().containers.create(dict(body), name=name)).id

    async def start(self, name: str) -> None:
        """Fine when it runs already."""
        with _asking(f"container {name}"):
            await self._client().containers.container(name).start()

    async def seen(self, name: str) -> Seen | None:
        """How it is; None when it is not there."""
        try:
            with _asking(f"container {name}"):
                found = await self._client().containers.container(name).show()
        except NotFound:
            return None
        return _seen(found)

    async def kill(self, name: str) -> None:
        """SIGKILL to everything in it; fine when it is gone or does not run."""
        try:
            with _asking(f"container {name}"):
                await self._client().containers.container(name).kill(signal="SIGKILL")
        except (NotFound, Conflict):
            return

    async def remove(self, name: str) -> None:
        """Kill and remove with its volumes; fine when it is gone."""
        try:
            with _asking(f"container {name}"):
                await self._client().containers.container(name).delete(force=True, v=True)
        except NotFound:
            return
        except Conflict:  # somebody else is removing it: wait until that is done
            await self._until_gone(name)

    async def labelled(self, labels: Mapping[str, str]) -> tuple[tuple[str, bool, Mapping[str, str]], ...]:
        """(name, whether it runs, labels) of every container that carries these labels."""
        filters = json.dumps({"label": [f"{key}={value}" for key, value in labels.items()]})
        with _asking("the list of containers"):
            found = await self._client().containers.list(all=True, filters=filters)
        listed = [(str(c["Names"][0]).lstrip("/"), c["State"] == "running", c["Labels"]) for c in found]
        return tuple(entry for entry in listed if all(entry[2].get(key) == labels[key] for key in labels))

    async def usage(self, name: str) -> tuple[float, int]:
        """(processor seconds, peak or present bytes of memory) by the engine's own count; zeros when it is over."""
        with _asking(f"container {name}"):
            found = await self._client().containers.container(name).stats(stream=False)
        told: Mapping[str, Any] = found[0] if found else {}
        memory = told.get("memory_stats") or {}
        spent = ((told.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage") or 0
        return spent / 1e9, int(memory.get("max_usage") or memory.get("usage") or 0)

    # -------------------------------------------------------------- output

    @asynccontextmanager
    async def attached(self, name: str) -> AsyncIterator[Stream]:
        """What it prints from now on; it need not have been started."""
        stream = self._client().containers.container(name).attach(stdout=True, stderr=True, stdin=False, logs=False)
        with _asking(f"container {name}"):
            await stream.__aenter__()
        try:
            yield stream
        finally:
            await stream.close()

    async def log(self, name: str) -> AsyncIterator[bytes]:
        """What it has printed so far: both streams, in order."""
        client = self._client()
        with _asking(f"log of {name}"):
            options = {"stdout": "1", "stderr": "1"}
            where = f"{client.docker_host}/{self._api}/containers/{name}/logs"
            timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_S)
            async with client.session.get(where, params=options, timeout=timeout) as answer:
                if answer.status != 200:
                    raise DockerError(answer.status, (await answer.text())[:300])
                async for data in _unframed(answer.content):
                    yield data

    # -------------------------------------------------------------- connections

    def _client(self) -> Docker:
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            timeout = aiohttp.ClientTimeout(total=CALL_S, sock_connect=CONNECT_S)
            client = self._clients[loop] = Docker(url=self._address, timeout=timeout, api_version=self._api)
        return client

    async def _until_gone(self, name: str) -> None:
        for _ in range(100):
            if await self.seen(name) is None:
                return
            await asyncio.sleep(0.1)
        raise Unavailable(f"container {name} cannot be removed", code="engine_away", hint="see the engine's log")


async def _unframed(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The payload of the engine's frames, in larger pieces."""
    held = bytearray()
    while data := await content.read(CHUNK_BYTES):
        held += data
        at, found = 0, []
        while len(held) - at >= HEADER.size:
            size = HEADER.unpack_from(held, at)[1]
            end = at + HEADER.size + size
            if end > len(held):
                break
            found.append(bytes(held[at + HEADER.size : end]))
            at = end
        del held[:at]
        if found:
            yield b"".join(found)


def _seen(found: Mapping[str, Any]) -> Seen:
    state = found["State"]
    labels = (found.get("Config") or {}).get("Labels") or {}
    return Seen(
        id=str(found["Id"]),
        status="running" if state.get("Running") else str(state["Status"]),
        exit_code=int(state.get("ExitCode") or 0),
        pid=int(state.get("Pid") or 0),
        is_out_of_memory=bool(state.get("OOMKilled")),
        labels=labels,
        duration_s=_between(state.get("StartedAt"), state.get("FinishedAt")),
    )


def _between(first: object, last: object) -> float | None:
    try:
        return (datetime.fromisoformat(str(last)) - datetime.fromisoformat(str(first))).total_seconds()
    except ValueError:
        return None


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """The engine's and the client's errors as ours."""
    try:
        yield
    except DockerError as error:
        raise _translated(what, error) from error
    except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise away(what, str(error) or type(error).__name__) from error


def away(what: str, why: str) -> Unavailable:
    """The error for an engine that does not answer."""
    return Unavailable(
        f"the container engine does not answer ({what}): {why[:200]}",
        code="engine_away",
        hint="see whether its service runs; runs in containers go on without it",
        retry_after_s=5.0,
    )


def _translated(what: str, error: DockerError) -> WindlassError:
    said = f"{what}: {' '.join(str(error.message).split())[:300]}"
    if error.status == NOT_CONNECTED:
        return away(what, str(error.message))
    if error.status == 404:
        return NotFound(said, code="container_missing")
    if error.status in {304, 409} or any(word in said for word in BUSY):
        return Conflict(said, code="container_busy")
    hint = "see the engine's log"
    if error.status < 500:
        return Refused(f"the container engine refuses {said}", code="engine_refuses", hint=hint)
    return Failed(f"the container engine fails: {said}", code="engine_refuses", hint=hint)
