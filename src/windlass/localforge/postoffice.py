"""Webhooks: who is called, signed how, when, and what is kept of every attempt.

A delivery never holds up what caused it. It is tried once, for ten seconds; nothing is redelivered by itself, as on
GitHub. The log outlives a restart (`deliveries.jsonl`), so that a redelivery can be asked for afterwards.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections import deque
from typing import Any, Final

import httpx
from pydantic import TypeAdapter, ValidationError

from windlass.localforge.errors import not_found
from windlass.localforge.model import Delivery, Hook, Repository
from windlass.localforge.shapes.people import node_id
from windlass.localforge.site import Site

TIMEOUT_S: Final = 10.0
_CONCURRENCY: Final = 16
_KEPT: Final = 20_000
_REPLY_LIMIT: Final = 64 * 1024
_LOG_FILE: Final = "deliveries.jsonl"
_DELIVERY: Final = TypeAdapter(Delivery)


class PostOffice:
    """Sends webhooks in the background."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.log: dict[int, Delivery] = {}
        self._waiting: deque[Delivery] = deque()
        self._wake: asyncio.Event | None = None
        self._client: httpx.AsyncClient | None = None
        self._slots = asyncio.Semaphore(_CONCURRENCY)
        self._under_way = 0
        self._read_log()

    # ---------------------------------------------------------------- life

    def open(self) -> None:
        """Begin to deliver, in the running loop."""
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(_CONCURRENCY)
        self.site.spawn(self._dispatch())

    async def close(self) -> None:
        """Let go of connections; what still waits stays undelivered, as when a forge goes down."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def idle(self, timeout_s: float = 30.0) -> None:
        """Until nothing waits or is under way. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while self._waiting or self._under_way:  # noqa: ASYNC110 - only set-up code waits here
                await asyncio.sleep(0.005)

    # ---------------------------------------------------------------- sending

    def send(self, repo: Repository | None, event: str, payload: dict[str, Any]) -> None:
        """Call every hook that wants this event."""
        for hook in self.site.world.hooks.values():
            wants = "*" in hook.events or event in hook.events
            if wants and (hook.repository is None or (repo and hook.repository == repo.full_name.lower())):
                self._queue(self._address(hook, repo, event, payload))

    def ping(self, hook: Hook, payload: dict[str, Any]) -> None:
        """The first call of a new hook."""
        self._queue(self._address(hook, None, "ping", payload))

    def redeliver(self, delivery_id: int) -> Delivery:
        """The same call once more, under the same GUID. Raises Denied (404)."""
        old = self.log.get(delivery_id)
        if old is None:
            raise not_found()
        again = Delivery(
            id=self.site.world.new_id(),
            guid=old.guid,
            hook_id=old.hook_id,
            event=old.event,
            action=old.action,
            repository_id=old.repository_id,
            installation_id=old.installation_id,
            is_redelivery=True,
            payload=old.payload,
        )
        self._queue(again)
        return again

    def of_hook(self, hook_ids: frozenset[int]) -> list[Delivery]:
        """Finished deliveries of some hooks, newest first."""
        return [d for d in reversed(self.log.values()) if d.hook_id in hook_ids and d.delivered_at_ms]

    def _address(self, hook: Hook, repo: Repository | None, event: str, payload: dict[str, Any]) -> Delivery:
        installation = self.site.installation_for(repo) if repo and hook.repository is None else None
        if installation is not None:
            lite = {"id": installation.id, "node_id": node_id("Installation", installation.id)}
            payload = payload | {"installation": lite}
        return Delivery(
            id=self.site.world.new_id(),
            guid=str(uuid.uuid4()),
            hook_id=hook.id,
            event=event,
            action=payload.get("action"),
            repository_id=repo.id if repo else None,
            installation_id=installation.id if installation else None,
            is_redelivery=False,
            payload=json.dumps(payload, ensure_ascii=False, separators=(",", ":")),
        )

    def _queue(self, delivery: Delivery) -> None:
        if not delivery.is_redelivery and self.site.dice.strikes("lose"):
            return
        self.log[delivery.id] = delivery
        while len(self.log) > _KEPT:
            del self.log[next(iter(self.log))]
        self._waiting.append(delivery)
        if self._wake is not None:
            self._wake.set()

    # ---------------------------------------------------------------- delivering

    async def _dispatch(self) -> None:
        assert self._wake is not None
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._slots.acquire()
                delivery = self._waiting.popleft()
                self._under_way += 1
                self.site.spawn(self._carry(delivery))

    async def _carry(self, delivery: Delivery) -> None:
        try:
            await self._hold_back()
            await self._attempt(delivery)
            if self.site.dice.strikes("duplicate"):
                await self._attempt(delivery)
        finally:
            self._under_way -= 1
            self._slots.release()

    async def _hold_back(self) -> None:
        faults = self.site.faults
        pause = faults.delay_s
        if self.site.dice.strikes("reorder"):
            pause += self.site.dice.within(faults.reorder_window_s)
        if pause:
            await asyncio.sleep(pause)

    async def _attempt(self, delivery: Delivery) -> None:
        hook = self.site.world.hooks.get(delivery.hook_id)
        if hook is None or self._client is None:
            return
        body = delivery.payload.encode()
        delivery.request_headers = signed_headers(hook, delivery, body)
        began = time.monotonic()
        if self.site.dice.strikes("drop"):
            delivery.status, delivery.status_code = "failed to connect to host", 502
        else:
            await self._post(hook, delivery, body)
        delivery.duration_s = round(time.monotonic() - began, 3)
        delivery.delivered_at_ms = self.site.now_ms()
        self._write_log(delivery)

    async def _post(self, hook: Hook, delivery: Delivery, body: bytes) -> None:
        assert self._client is not None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reply = await self._client.post(hook.url, content=body, headers=delivery.request_headers)
        except TimeoutError:
            delivery.status, delivery.status_code = "timed out", 504
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            delivery.status, delivery.status_code = "failed to connect to host", 502
            delivery.response_body = type(error).__name__
        else:
            delivery.status = "OK" if reply.is_success else f"Invalid HTTP Response: {reply.status_code}"
            delivery.status_code = reply.status_code
            delivery.response_headers = dict(reply.headers)
            delivery.response_body = reply.content[:_REPLY_LIMIT].decode(errors="replace")

    # ---------------------------------------------------------------- the log on disk

    def _write_log(self, delivery: Delivery) -> None:
        with (self.site.root / _LOG_FILE).open("ab") as file:
            file.write(_DELIVERY.dump_json(delivery) + b"\n")

    def _read_log(self) -> None:
        path = self.site.root / _LOG_FILE
        if not path.exists():
            return
        with path.open("rb") as file:
            for line in deque(file, maxlen=_KEPT):
                try:
                    delivery = _DELIVERY.validate_json(line)
                except ValidationError:
                    continue  # a line cut by a kill; the delivery was never answered for
                self.log[delivery.id] = delivery
                self.site.world.next_id = max(self.site.world.next_id, delivery.id)


def signed_headers(hook: Hook, delivery: Delivery, body: bytes) -> dict[str, str]:
    """The headers of one webhook call, with both of GitHub's signatures when there is a secret."""
    headers = {
        "Accept": "*/*",
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/0localf",
        "X-GitHub-Delivery": delivery.guid,
        "X-GitHub-Event": delivery.event,
        "X-GitHub-Hook-ID": str(hook.id),
        "X-GitHub-Hook-Installation-Target-Type": "integration" if hook.repository is None else "repository",
        "X-GitHub-Hook-Installation-Target-ID": str(delivery.repository_id or hook.id),
    }
    if hook.secret:
        key = hook.secret.encode()
        headers["X-Hub-Signature"] = "sha1=" + hmac.new(key, body, hashlib.sha1).hexdigest()
        headers["X-Hub-Signature-256"] = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
    return headers
