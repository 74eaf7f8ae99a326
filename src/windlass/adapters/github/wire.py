"""The only place where a byte goes to the forge: gidgethub on one shared HTTP client, with its gaps closed.

Every URL is held against the forge's address before the credential goes out; redirects are followed by hand and
stay on the host; every call has a deadline and a largest answer; reads are tried again at once when the connection
or the server failed, writes never are, because a lost answer does not mean that nothing was done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urljoin

import httpx
from gidgethub import GitHubException, sansio
from gidgethub.abc import GitHubAPI

from windlass.adapters.github.address import Address
from windlass.adapters.github.answers import Answer, problem, unreadable
from windlass.adapters.github.etags import EtagCache
from windlass.adapters.github.keys import Bearer
from windlass.core.errors import Failed, Forbidden, Unavailable, WindlassError
from windlass.ports import Clock

READ_PAUSES_S = (0.1, 0.4)
MAX_REDIRECTS = 3
MAX_CONNECTIONS = 20
MAX_ANSWER_BYTES = 32 << 20
MAX_ITEMS = 20_000
REDIRECTS = frozenset({301, 302, 307, 308})
FOREIGN_LIMIT_BYTES = 64 << 20
JSON_ACCEPT = "application/vnd.github+json"
RAW_ACCEPT = "application/vnd.github.raw+json"


class Wire(GitHubAPI):
    """`timeout_s` bounds one exchange as a whole, from connecting to the last byte; waiting for a turn is not in it."""

    def __init__(
        self, client: httpx.AsyncClient, address: Address, clock: Clock, *, timeout_s: float, api_version: str
    ) -> None:
        super().__init__("windlass", base_url=address.api_url)
        self._client = client
        self._address = address
        self._clock = clock
        self._timeout_s = timeout_s
        self._api_version = api_version
        self._etags = EtagCache()
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS)

    async def read(self, bearer: Bearer, template: str, values: Mapping[str, Any]) -> Any:
        """GET one thing: decoded JSON."""
        try:
            return await self.getitem(template, values, accept=JSON_ACCEPT, **bearer.keywords())
        except (GitHubException, ValueError, LookupError, RecursionError) as exc:
            raise unreadable(f"GET {template}") from exc

    async def pages(
        self, bearer: Bearer, template: str, values: Mapping[str, Any], *, key: str | None, most: int = MAX_ITEMS
    ) -> list[dict[str, Any]]:
        """GET all pages of a list (below `key` when it is wrapped), at most `most` items."""
        items: list[dict[str, Any]] = []
        found = self.getiter(template, values, accept=JSON_ACCEPT, iterable_key=key, **bearer.keywords())
        try:
            async for item in found:
                if not isinstance(item, dict):
                    raise unreadable(f"GET {template}")
                items.append(item)
                if len(items) >= most:
                    break
        except (GitHubException, ValueError, LookupError, RecursionError, TypeError) as exc:
            raise unreadable(f"GET {template}") from exc
        finally:
            await found.aclose()
        return items

    async def write(self, bearer: Bearer, method: str, template: str, values: Mapping[str, Any], data: Any) -> Any:
        """POST, PATCH or DELETE, once; decoded JSON or None."""
        body = b"" if data is None else data
        acts: dict[str, Callable[..., Awaitable[Any]]]
        acts = {"POST": self.post, "PATCH": self.patch, "DELETE": self.delete}
        try:
            return await acts[method](template, values, data=body, accept=JSON_ACCEPT, **bearer.keywords())
        except (GitHubException, ValueError, LookupError, RecursionError) as exc:
            raise unreadable(f"{method} {template}") from exc

    async def raw(self, bearer: Bearer, template: str, values: Mapping[str, Any]) -> bytes:
        """GET a file's bytes."""
        url = sansio.format_url(template, values, base_url=self.base_url)
        headers = sansio.create_headers(self.requester, accept=RAW_ACCEPT, **bearer.keywords())
        return (await self._read(url, headers)).body

    async def tail(self, bearer: Bearer, template: str, values: Mapping[str, Any], *, limit_bytes: int) -> bytes:
        """The end of what the forge points to, on whatever host: that host is asked without any credential."""
        url = sansio.format_url(template, values, base_url=self.base_url)
        headers = sansio.create_headers(self.requester, accept=JSON_ACCEPT, **bearer.keywords())
        self._address.demand(url)
        answer = await self._send("GET", url, self._complete(headers), b"")
        if answer.status not in REDIRECTS:
            self._demand_success(answer, "GET", url, headers)
            return answer.body[-limit_bytes:]
        return await self._foreign_tail(urljoin(url, answer.headers.get("location", "")), limit_bytes)

    async def sleep(self, seconds: float) -> None:
        """What gidgethub demands of its clients."""
        await asyncio.sleep(seconds)

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, Mapping[str, str], bytes]:
        """What gidgethub calls for each exchange."""
        if method == "GET":
            answer = await self._read(url, headers)
        else:
            answer = await self._follow(method, url, self._complete(headers), body)
            self._demand_success(answer, method, url, headers)
        return answer.status, answer.headers, answer.body

    async def _read(self, url: str, headers: Mapping[str, str]) -> Answer:
        key = f"{headers.get('accept', '')} {url}"
        known = self._etags.find(key)
        sent = self._complete(headers) | ({"if-none-match": known.etag} if known else {})
        answer = await self._persist(url, sent)
        if answer.status == 304 and known is not None:
            return known.answer
        self._etags.keep(key, answer)
        return answer

    async def _persist(self, url: str, headers: Mapping[str, str]) -> Answer:
        """A read, tried again at once when the connection or the server failed."""
        for pause_s in READ_PAUSES_S:
            try:
                return await self._read_once(url, headers)
            except Unavailable as exc:
                if exc.code not in {"server_error", "connection"} or (exc.retry_after_s or 0) > pause_s:
                    raise
            await asyncio.sleep(pause_s)
        return await self._read_once(url, headers)

    async def _read_once(self, url: str, headers: Mapping[str, str]) -> Answer:
        answer = await self._follow("GET", url, headers, b"")
        if answer.status != 304 or "if-none-match" not in headers:
            self._demand_success(answer, "GET", url, headers)
        return answer

    def _demand_success(self, answer: Answer, method: str, url: str, headers: Mapping[str, str]) -> None:
        secret = headers.get("authorization", "").partition(" ")[2]
        call = f"{method} {httpx.URL(url).path[:200]}"
        found = problem(answer, call=call, now_ms=self._clock.now_ms(), secret=secret)
        if found is not None:
            raise found

    async def _follow(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Repeat the request as it is wherever the forge sends it, as long as that is the forge.

        Source: docs.github.com, "Best practices for using the REST API", Follow redirects.
        """
        for _ in range(MAX_REDIRECTS + 1):
            self._address.demand(url)
            answer = await self._send(method, url, headers, body)
            location = answer.headers.get("location", "")
            if answer.status not in REDIRECTS or not location:
                return answer
            url = urljoin(url, location)
        raise Failed(
            f"{method} was redirected more than {MAX_REDIRECTS} times",
            hint="check the forge's API URL",
            code="too_many_redirects",
        )

    def _complete(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {**headers, "x-github-api-version": self._api_version}

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        call = f"{method} {httpx.URL(url).path[:200]}"
        try:
            async with (
                self._slots,
                asyncio.timeout(self._timeout_s),
                self._client.stream(method, url, headers=headers, content=body) as response,
            ):
                content = await _all_of(response, call)
                return Answer(status=response.status_code, headers=response.headers, body=content)
        except (TimeoutError, httpx.HTTPError, httpx.StreamError) as exc:
            raise _lost(call, exc) from exc

    async def _foreign_tail(self, url: str, limit_bytes: int) -> bytes:
        """A signed URL of a blob store: no credential, no further redirect, never from https to http."""
        is_secure = httpx.URL(self.base_url).scheme == "https"
        if not url.startswith(("https://",) if is_secure else ("https://", "http://")):
            raise Forbidden(
                "The forge keeps the log at an address that is not safe to read",
                hint="have the forge serve its logs over https",
                code="foreign_host",
            )
        try:
            async with (
                self._slots,
                asyncio.timeout(self._timeout_s),
                self._client.stream("GET", url, headers={"user-agent": self.requester}) as response,
            ):
                if response.status_code != 200:
                    raise Unavailable(
                        f"The log store answered {response.status_code}",
                        hint="nothing to do; the log may be had later",
                        code="server_error",
                    )
                return await _end_of(response, limit_bytes)
        except (TimeoutError, httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as exc:
            raise _lost("GET of a log", exc) from exc


def _lost(call: str, exc: Exception) -> WindlassError:
    is_late = isinstance(exc, TimeoutError | httpx.TimeoutException)
    what = "was not answered in time" if is_late else f"lost its connection ({type(exc).__name__})"
    return Unavailable(
        f"{call} {what}",
        hint="check the forge's address and the network; what was asked may have been done",
        code="timeout" if is_late else "connection",
    )


async def _all_of(response: httpx.Response, call: str) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise Failed(
                f"{call} answered with more than {MAX_ANSWER_BYTES >> 20} MiB",
                hint="this is not an answer that Windlass reads; look at what the forge has there",
                code="answer_too_large",
            )
    return bytes(content)


async def _end_of(response: httpx.Response, limit_bytes: int) -> bytes:
    end, seen = b"", 0
    async for chunk in response.aiter_bytes():
        end, seen = (end + chunk)[-limit_bytes:], seen + len(chunk)
        if seen > FOREIGN_LIMIT_BYTES:
            break
    return end
