"""Calls with the right credential: one mutating call at a time per account, none while the forge asked for silence.

A refused token is replaced once. What a rate limit told one call holds for all calls of that account, because
GitHub bans who goes on. Source: docs.github.com, "Best practices for using the REST API".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from windlass.adapters.github.keys import Access, Bearer, Keys
from windlass.adapters.github.wire import MAX_ITEMS, Wire
from windlass.core.errors import Forbidden, Unavailable

LIMIT_CODES = frozenset({"rate_limited", "secondary_rate_limited"})
T = TypeVar("T")


class Pace:
    """The traffic of one account. Seconds are of the running loop's own clock."""

    def __init__(self, spacing_s: float) -> None:
        self._spacing_s = spacing_s
        self._turn = asyncio.Lock()
        self._next_write_s = 0.0
        self._silent_until_s = 0.0

    def demand_open(self) -> None:
        """Raises Unavailable while the forge has asked us to wait."""
        left_s = self._silent_until_s - asyncio.get_running_loop().time()
        if left_s > 0:
            raise Unavailable(
                f"The forge asked us to wait {left_s:.0f} s more",
                hint="nothing to do; calls go on by themselves",
                code="rate_limited",
                retry_after_s=left_s,
            )

    def note(self, problem: Unavailable) -> None:
        """Keep silent as long as a rate limit says."""
        if problem.code in LIMIT_CODES and problem.retry_after_s:
            until_s = asyncio.get_running_loop().time() + problem.retry_after_s
            self._silent_until_s = max(self._silent_until_s, until_s)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """One write at a time, `spacing_s` apart."""
        async with self._turn:
            loop = asyncio.get_running_loop()
            wait_s = self._next_write_s - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self.demand_open()
            try:
                yield
            finally:
                self._next_write_s = loop.time() + self._spacing_s


class Session:
    """Reads and writes. Templates are URI templates (RFC 6570), never URLs out of a payload."""

    def __init__(self, wire: Wire, keys: Keys, *, write_spacing_s: float) -> None:
        self._wire = wire
        self._keys = keys
        self._write_spacing_s = write_spacing_s
        self._paces: dict[str, Pace] = {}

    async def get(self, access: Access, template: str, **values: Any) -> Any:
        """Decoded JSON."""
        return await self._call(access, lambda bearer: self._wire.read(bearer, template, values))

    async def pages(
        self, access: Access, template: str, *, key: str | None = None, most: int = MAX_ITEMS, **values: Any
    ) -> list[dict[str, Any]]:
        """All items of all pages."""
        paged = {"per_page": "100", **values}
        return await self._call(access, lambda bearer: self._wire.pages(bearer, template, paged, key=key, most=most))

    async def raw(self, access: Access, template: str, **values: Any) -> bytes:
        """A file's bytes."""
        return await self._call(access, lambda bearer: self._wire.raw(bearer, template, values))

    async def tail(self, access: Access, template: str, *, limit_bytes: int, **values: Any) -> bytes:
        """The end of a log that the forge may keep elsewhere."""
        return await self._call(
            access, lambda bearer: self._wire.tail(bearer, template, values, limit_bytes=limit_bytes)
        )

    async def send(self, access: Access, method: str, template: str, data: Any = None, **values: Any) -> Any:
        """One write; never repeated but after a refused credential, which did nothing."""

        async def act(bearer: Bearer) -> Any:
            async with self._pace(bearer).writing():
                return await self._wire.write(bearer, method, template, values, data)

        return await self._call(access, act)

    async def secret(self, access: Access) -> str:
        """The bare credential, for git."""
        return (await self._keys.bearer(access)).secret

    async def accounts(self) -> tuple[Access, ...]:
        """One access per account whose repositories we may list."""
        return await self._keys.accounts()

    def _pace(self, bearer: Bearer) -> Pace:
        return self._paces.setdefault(bearer.account, Pace(self._write_spacing_s))

    async def _call(self, access: Access, act: Callable[[Bearer], Awaitable[T]]) -> T:
        bearer = await self._keys.bearer(access)
        try:
            return await self._paced(bearer, act)
        except Forbidden as exc:
            if exc.code != "bad_credentials" or not self._keys.forget(bearer):
                raise
        return await self._paced(await self._keys.bearer(access), act)

    async def _paced(self, bearer: Bearer, act: Callable[[Bearer], Awaitable[T]]) -> T:
        pace = self._pace(bearer)
        pace.demand_open()
        try:
            return await act(bearer)
        except Unavailable as exc:
            pace.note(exc)
            raise


async def together(*calls: Coroutine[Any, Any, T]) -> list[T]:
    """Run calls side by side; all end before the first problem, if any, is raised."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
