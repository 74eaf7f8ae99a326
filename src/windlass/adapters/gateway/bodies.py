"""Requests come in here: whole, because their price has to be known before they go on, and in bounded memory.

A small body needs no leave. A large one needs one of a few places, at most one per run, so that no run can fill the
memory or keep the others out; and a body that comes too slowly is given up.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, NoReturn

from windlass.adapters.gateway.dialects.dialect import BadRequest, Document

SMALL_BYTES = 1 << 20
LARGE_AT_ONCE = 4
PAUSE_S = 30.0
IN_THREAD_BYTES = 128 << 10

Receive = Callable[[], Awaitable[dict[str, Any]]]


class TooLarge(Exception):
    """The body is above the limit."""


class TooSlow(Exception):
    """The body did not come, or there was no room for it, in time."""


class Gone(Exception):
    """Whoever asked has left."""


class Bodies:
    """Takes bodies in. `largest_bytes` is the limit of one."""

    def __init__(self, largest_bytes: int) -> None:
        self._largest = largest_bytes
        self._places = asyncio.Semaphore(LARGE_AT_ONCE)

    async def read(self, receive: Receive, own: asyncio.Lock, room: AsyncExitStack) -> bytes:
        """The whole body; the place of a large one is held by `room`. Raises TooLarge, TooSlow, Gone."""
        pieces: list[bytes] = []
        size, is_more = 0, True
        while is_more:
            message = await _in_time(receive())
            if message["type"] == "http.disconnect":
                raise Gone
            piece = message.get("body", b"")
            if size <= SMALL_BYTES < size + len(piece):
                await _in_time(room.enter_async_context(own))
                await _in_time(room.enter_async_context(self._places))
            size += len(piece)
            if size > self._largest:
                raise TooLarge
            pieces.append(piece)
            is_more = message.get("more_body", False)
        return b"".join(pieces)


async def parsed(data: bytes) -> Document:
    """A body as an object; each name in it counts once, the last time it stands there. Raises BadRequest."""
    return await asyncio.to_thread(_parsed, data) if len(data) > IN_THREAD_BYTES else _parsed(data)


async def written(body: Document, size: int) -> bytes:
    """The body as compact JSON in UTF-8."""
    return await asyncio.to_thread(_written, body) if size > IN_THREAD_BYTES else _written(body)


async def _in_time(coming: Awaitable[Any]) -> Any:
    try:
        return await asyncio.wait_for(coming, PAUSE_S)
    except TimeoutError:
        raise TooSlow from None


def _parsed(data: bytes) -> Document:
    try:
        document = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadRequest("the request is not JSON") from None
    if not isinstance(document, dict):
        raise BadRequest("the request is not a JSON object")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _written(body: Document) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair: only an escape can say it
        return json.dumps(body, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        raise BadRequest("the request holds a number or a depth that JSON cannot say") from None
