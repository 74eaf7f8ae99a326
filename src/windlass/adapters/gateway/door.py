"""The door that runs knock at: one call from its key to the last byte of its answer.

In this order: whose key it is, whether this kind of call is passed on, how much it may cost; only then is it sent, and
what it did cost is written down before the run sees the end of the answer. Refused: keys that are not open, calls that
no dialect lists, bodies that are not what they should be, and calls that the run's money does not cover.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from windlass.adapters.gateway.account import Bill
from windlass.adapters.gateway.bodies import Bodies, Gone, TooLarge, TooSlow, parsed, written
from windlass.adapters.gateway.books import KEY_PREFIX
from windlass.adapters.gateway.dialects.dialect import Ask, BadRequest, Reader, Route, weighed
from windlass.adapters.gateway.outflow import Outflow, flow_of
from windlass.adapters.gateway.prices import Prices
from windlass.adapters.gateway.runs import OpenRun, OpenRuns
from windlass.adapters.gateway.upstream import UNSENT, Upstream, address_of, returned_headers, sent_headers

log = logging.getLogger("windlass.gateway")

CALLS_AT_ONCE = 32
KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied(Exception):
    """The gateway's own no: an HTTP status, what kind of no it is, and one line."""

    status: int
    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """One call as it came in. Names of headers are in small letters."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]

    def presented(self) -> str:
        """The key it shows, in whichever of the places that providers know."""
        given = dict(self.headers)
        scheme, _, token = given.get("authorization", "").partition(" ")
        found = [given.get(name, "") for name in KEY_HEADERS]
        found += [token.strip()] if scheme.lower() == "bearer" else []
        found += [unquote(pair[4:]) for pair in self.query.split("&") if pair.startswith("key=")]
        return next((key for key in found if key.startswith(KEY_PREFIX)), "")


@dataclass(slots=True, kw_only=True)
class Paid:
    """A call in flight that costs money."""

    ask: Ask
    number: int
    reader: Reader
    is_settled: bool = False


class Door:
    """The ASGI application."""

    def __init__(
        self, runs: OpenRuns, upstream: Upstream, prices: Prices, *, body_bytes: int, output_tokens: int
    ) -> None:
        self._runs = runs
        self._upstream = upstream
        self._prices = prices
        self._bodies = Bodies(body_bytes)
        self._body_bytes = body_bytes
        self._output_tokens = output_tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call. What goes wrong after the answer has begun ends the connection without an ending."""
        if scope["type"] != "http":
            return
        knock = _knock(scope)
        if knock.method in {"HEAD", "GET"} and knock.path == "/":
            await _plain(send, 200, b"")  # some agents look whether somebody is there
            return
        run = self._runs.find(knock.presented())
        try:
            if run is None:
                raise Denied(status=401, kind="authentication", message="this key is not open")
            await self._as_task(run, knock, receive, send)
        except Denied as no:
            await _deny(send, run, no)
        except (Gone, httpx.HTTPError, asyncio.CancelledError):
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
        except Exception:
            log.exception("a call ended by a fault of the gateway")
            raise

    async def _as_task(self, run: OpenRun, knock: Knock, receive: Receive, send: Send) -> None:
        """The call as a task of its run, so that closing the run ends it."""
        if len(run.tasks) >= CALLS_AT_ONCE:
            raise Denied(status=429, kind="busy", message=f"the run has {CALLS_AT_ONCE} calls in flight already")
        task = asyncio.create_task(self._call(run, knock, receive, send))
        run.tasks.add(task)
        try:
            await task
        finally:
            task.cancel()
            run.tasks.discard(task)

    async def _call(self, run: OpenRun, knock: Knock, receive: Receive, send: Send) -> None:
        route = run.dialect.route(knock.method, knock.path)
        if route is None:
            raise Denied(status=404, kind="not_found", message=f"{knock.method} {knock.path[:100]} is not passed on")
        if not run.key:
            raise Denied(status=503, kind="upstream", message="the gateway was restarted and waits for its keys")
        async with AsyncExitStack() as room:
            body = await self._body(run, knock, receive, room)
            paid, body, hides = await self._paid(run, route, knock, body) if route.is_paid else (None, body, False)
            leaving = _Leaving(receive)
            try:
                answer = await self._sent(run, route, knock, body, paid)
            except BaseException:
                leaving.ignore()
                raise
            del body
        try:
            await self._relay(run, answer, send, paid, leaving, hides=hides)
        finally:
            leaving.ignore()
            await answer.aclose()

    async def _body(self, run: OpenRun, knock: Knock, receive: Receive, room: AsyncExitStack) -> bytes:
        if dict(knock.headers).get("content-encoding", "identity").lower() != "identity":
            raise Denied(status=415, kind="invalid", message="compressed requests are not passed on")
        try:
            return await self._bodies.read(receive, run.large, room)
        except TooLarge:
            message = f"the request is larger than {self._body_bytes} bytes"
            raise Denied(status=413, kind="too_large", message=message) from None
        except TooSlow:
            raise Denied(status=408, kind="timeout", message="the request did not come in time") from None

    # ---------------------------------------------------------------- money

    async def _paid(self, run: OpenRun, route: Route, knock: Knock, data: bytes) -> tuple[Paid, bytes, bool]:
        """The call's money held, and the request as it goes on: written anew, bounded, asking what it used."""
        dialect, account = run.dialect, run.book.account
        try:
            body = await parsed(data)
            ask = dialect.ask(route, body)
            if account.limit_usd is not None and ask.output_tokens is None:
                dialect.bounded(route, body, self._output_tokens)
                ask = dialect.ask(route, body)
            hides = dialect.prepare(route, body)
            data = await written(body, len(data))
        except BadRequest as error:
            raise Denied(status=400, kind="invalid", message=str(error)) from None
        ask = weighed(ask, data, dict(knock.headers))
        number = self._held(run, ask)
        return Paid(ask=ask, number=number, reader=dialect.reader(route, hides_usage=hides)), data, hides

    def _held(self, run: OpenRun, ask: Ask) -> int:
        """The number under which the call's estimate is held. No other call comes between look and hold."""
        usd = self._prices.ceiling(ask, run.book.head.upstream)
        why = run.book.account.why_not(usd)
        if why:
            why += f" (model {ask.model or 'not named'}; gateway.prices can name its price)" if usd is None else ""
            with suppress(OSError):
                run.book.refuse(why)
            raise Denied(status=402, kind="budget", message=why)
        try:
            return run.book.hold(usd)
        except OSError as error:
            log.exception("a run's account cannot be written")
            raise Denied(status=503, kind="upstream", message="the gateway cannot keep its accounts") from error

    def _settle(self, run: OpenRun, paid: Paid) -> None:
        """Write down what the call came to, once; without a word on it the estimate stays."""
        found = None if paid.is_settled else paid.reader.found()
        if found is None:
            return
        paid.is_settled = True
        usage = found.usage
        bill = Bill(
            model=found.model or paid.ask.model,
            input_tokens=int(usage.reported_value("input_tokens")),
            output_tokens=int(usage.reported_value("output_tokens")),
            cached_tokens=int(usage.reported_value("cache_read_tokens")),
            usd=self._prices.cost(paid.ask, found, run.book.head.upstream),
        )
        with suppress(OSError):  # a full disk: the estimate stays
            run.book.settle(paid.number, bill)

    def _release(self, run: OpenRun, paid: Paid | None) -> None:
        """The provider never took the call on."""
        if paid is not None and not paid.is_settled:
            paid.is_settled = True
            with suppress(OSError):
                run.book.release(paid.number)

    # ---------------------------------------------------------------- answer

    async def _sent(self, run: OpenRun, route: Route, knock: Knock, body: bytes, paid: Paid | None) -> httpx.Response:
        head = run.book.head
        url = address_of(head.upstream, route.path, knock.query)
        headers = sent_headers(knock.headers, run.dialect.headers(run.key, urlsplit(url).hostname or ""))
        try:
            answer = await self._upstream.send(knock.method, url, headers, body)
        except UNSENT as error:
            self._release(run, paid)
            message = f"the provider cannot be reached: {_why(error, run.key)}"
            raise Denied(status=502, kind="upstream", message=message) from None
        except httpx.TimeoutException:
            raise Denied(status=504, kind="timeout", message="the provider did not answer in time") from None
        except httpx.TransportError as error:
            message = f"the provider broke off: {_why(error, run.key)}"
            raise Denied(status=502, kind="upstream", message=message) from None
        if not answer.is_success:
            self._release(run, paid)
        if answer.is_redirect:
            await answer.aclose()
            raise Denied(
                status=502, kind="upstream", message="the provider redirects elsewhere; see its upstream setting"
            )
        return answer

    async def _relay(
        self, run: OpenRun, answer: httpx.Response, send: Send, paid: Paid | None, leaving: _Leaving, *, hides: bool
    ) -> None:
        reader = paid.reader if paid is not None and answer.is_success else None
        flow = flow_of(answer.headers.get("content-type", ""), reader, can_hide=hides)
        outflow = Outflow(flow, run.key.encode())
        headers = returned_headers(answer, run.key)
        await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
        async for chunk in answer.aiter_bytes():
            data = outflow.feed(chunk)
            if reader is not None and paid is not None and reader.is_complete:
                self._settle(run, paid)
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        rest = outflow.end()
        if reader is not None and paid is not None:
            self._settle(run, paid)
        leaving.ignore()  # from here on it may
        await send({"type": "http.response.body", "body": rest, "more_body": False})
        await asyncio.to_thread(run.book.sync)


def _knock(scope: Scope) -> Knock:
    return Knock(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1") if scope.get("raw_path") else scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers=tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]),
    )


class _Leaving:
    """Ends the current task when whoever asked leaves."""

    def __init__(self, receive: Receive) -> None:
        self._task = asyncio.current_task()
        self._watch = asyncio.create_task(self._wait(receive))

    def ignore(self) -> None:
        """It does not matter any more."""
        self._watch.cancel()

    async def _wait(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if self._task is not None:
            self._task.cancel()


def _why(error: Exception, key: str) -> str:
    return (str(error) or type(error).__name__).replace(key, "[redacted]")[:200]


async def _deny(send: Send, run: OpenRun | None, no: Denied) -> None:
    if run is not None:
        body: dict[str, Any] = run.dialect.error(no.status, no.kind, f"windlass: {no.message}")
    else:  # nobody knows which form is expected: one that every agent can read
        error = {"type": "authentication_error", "code": no.status, "status": "UNAUTHENTICATED"}
        body = {"type": "error", "error": {**error, "message": f"windlass: {no.message}"}}
    await _plain(send, no.status, json.dumps(body).encode())


async def _plain(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"retry-after", b"1")] if status in {429, 503} else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
