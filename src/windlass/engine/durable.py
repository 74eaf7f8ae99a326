"""Durable execution of effects: the only module that knows DBOS Transact.

An order is enqueued inside the transaction that decided it, under the id `<job>:<seq>`, and runs as one short
workflow on some replica. The job's life is in our rows; here is only "carry this out, at least once".
Handled here: a constant application version, a portable serializer, our own SQLite engine, priorities always set,
bounded threads, replicas that died (taken over within `replica_ttl_s`), and claims that were lost with a database
connection. Measured reasons: docs/decisions/0003-dbos-runs-effects.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import socket
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions

from windlass.core.effects import Order
from windlass.engine.bell import Bell
from windlass.engine.loop import Place

log = logging.getLogger("windlass.durable")

_NAME = "windlass"
_VERSION = "1"
_WORKFLOW = "carry_out_v1"
_MOST_THREADS = 32
QUEUE_NAMES = ("agent", "tests", "light")
# Slow work is taken from the repositories in random order, so that one with much to do does not starve the others.
_FAIR_QUEUES = frozenset({"agent", "tests"})
_LOST = ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

CarryOut = Callable[[str, int], Awaitable[None]]


class Replicas(Protocol):
    """Heartbeats of the processes that share a database."""

    def beat(self, executor_id: str, *, host: str, pid: int, ttl_s: float) -> bool:
        """Renew our row; False when another replica has declared us dead."""

    def live(self) -> frozenset[str]:
        """Executor ids whose row has not expired, by the database's clock."""

    def known(self) -> frozenset[str]:
        """Executor ids of all rows, expired or not."""

    def bury(self, executor_id: str, *, is_certain: bool = False) -> bool:
        """Remove an expired row and free its deliveries; False when it came back. `is_certain`: unexpired too."""

    def leave(self, executor_id: str) -> None:
        """Remove our own row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableSettings:
    """How much runs at once and how fast things are noticed. Times in seconds."""

    agent_slots: int = 4
    agent_slots_per_repository: int = 2
    test_slots: int = 2
    light_slots: int = 12
    poll_interval_s: float = 0.1
    replica_ttl_s: float = 6.0
    stranded_grace_s: float = 15.0


class Enqueuer:
    """Puts orders on their queues."""

    def __init__(self, engine: sa.Engine, bell: Bell) -> None:
        self._bell = bell
        self._client = DBOSClient(
            system_database_engine=engine,
            application_name=_NAME,
            lazy=True,
            serializer=DBOSPortableJSONSerializer(),
        )

    def __call__(
        self, connection: sa.Connection, job_id: str, order: Order, queue: str, partition: str, priority: int
    ) -> None:
        """Enqueue inside the caller's transaction."""
        place = Place(queue=queue, partition=partition, priority=priority)
        options = _options(f"{job_id}:{order.seq}", place, order.delay_s)
        if order.delay_s <= 0:
            self._bell.order(queue)
        self._client.enqueue_in_transaction(connection, options, job_id, order.seq)

    def again(self, job_id: str, seq: int, place: Place) -> None:
        """Enqueue an order once more, whose first workflow was lost; claims keep the two apart."""
        options = _options(f"{job_id}:{seq}.{uuid.uuid4().hex[:8]}", place, 0.0)
        self._client.enqueue(options, job_id, seq)


def _options(workflow_id: str, place: Place, delay_s: float) -> EnqueueOptions:
    options: EnqueueOptions = {
        "workflow_name": _WORKFLOW,
        "queue_name": place.queue,
        "workflow_id": workflow_id,
        "app_version": _VERSION,
        "priority": place.priority,
    }
    if place.queue in _FAIR_QUEUES:
        options["queue_partition_key"] = place.partition
    if delay_s > 0:
        options["delay_seconds"] = delay_s
    return options


class Durable:
    """This process as one replica. One per process, because DBOS is a process-wide singleton."""

    def __init__(
        self, engine: sa.Engine, replicas: Replicas, settings: DurableSettings, bell: Bell, *, is_alone: bool
    ) -> None:
        self._engine = engine
        self._bell = bell
        self._replicas = replicas
        self._settings = settings
        self._is_alone = is_alone
        self._running: dict[str, str] = {}
        self._guard: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._threads = ThreadPoolExecutor(max_workers=_MOST_THREADS, thread_name_prefix="windlass")
        self.executor_id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.on_declared_dead: Callable[[], None] = lambda: os._exit(70)

    async def start(self, carry_out: CarryOut) -> None:
        """Join: register queues, take part in the work, take over what dead replicas left."""
        logging.getLogger("dbos").setLevel(logging.ERROR)
        config: DBOSConfig = {
            "name": _NAME,
            "system_database_url": self._engine.url.render_as_string(hide_password=False),
            "system_database_engine": self._engine,
            "executor_id": self.executor_id,
            "application_version": _VERSION,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",
            "max_executor_threads": _MOST_THREADS,
        }
        await asyncio.to_thread(self._beat)
        dbos = DBOS(config=config)
        self._register(carry_out)
        DBOS.launch()
        for stop in dbos.background_thread_stop_events:
            self._bell.hang(stop)
        await self._register_queues()
        self._use_own_threads()
        await asyncio.to_thread(self._sweep)
        self._guard = asyncio.create_task(self._watch(), name="replica-guard")

    async def drain(self, timeout_s: float, may_leave: Callable[[], frozenset[str]]) -> None:
        """Claim nothing more, let short stages end; leave those in `may_leave()` to whoever comes next."""
        self._is_stopping = True
        self._use_own_threads()
        await asyncio.to_thread(DBOS.destroy, workflow_completion_timeout_sec=0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while set(self._running.values()) - may_leave():  # noqa: ASYNC110 a bounded poll at shutdown
                    await asyncio.sleep(0.02)
        if self._guard is not None:
            self._guard.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._guard
        await asyncio.to_thread(self._replicas.leave, self.executor_id)

    def _use_own_threads(self) -> None:
        """DBOS makes its own pool the loop's default and shuts it down when it ends; ours outlives it, bounded."""
        asyncio.get_running_loop().set_default_executor(self._threads)

    def is_lost(self, job_id: str, seq: int) -> bool:
        """Whether durable execution will not carry out this order any more."""
        prefix = f"{job_id}:{seq}"
        found = DBOS.list_workflows(workflow_id_prefix=prefix, load_input=False, load_output=False)
        own = [w for w in found if w.workflow_id == prefix or w.workflow_id.startswith(f"{prefix}.")]
        return all(w.status in (*_LOST, "SUCCESS") for w in own)

    def forget_finished(self, before_ms: int, limit: int = 500) -> int:
        """Delete the engine's own rows of work that ended before then; ours stay."""
        done = DBOS.list_workflows(
            status=["SUCCESS", *_LOST], limit=limit, load_input=False, load_output=False, end_time=_iso(before_ms)
        )
        ids = [w.workflow_id for w in done]
        if ids:
            DBOS.delete_workflows(ids)
        return len(ids)

    def _register(self, carry_out: CarryOut) -> None:
        running = self._running

        @DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=1_000_000)
        async def workflow(job_id: str, seq: int) -> None:
            workflow_id = DBOS.workflow_id or ""
            running[workflow_id] = f"{job_id}:{seq}"
            try:
                await carry_out(job_id, seq)
            finally:
                running.pop(workflow_id, None)

    async def _register_queues(self) -> None:
        s = self._settings
        per_repository = min(s.agent_slots_per_repository, s.agent_slots)
        await DBOS.register_queue_async(
            "agent",
            global_concurrency=s.agent_slots,
            partition_concurrency=per_repository,
            polling_interval_sec=s.poll_interval_s,
        )
        await DBOS.register_queue_async(
            "tests",
            worker_concurrency=s.test_slots,
            partition_worker_concurrency=s.test_slots,
            polling_interval_sec=s.poll_interval_s,
        )
        await DBOS.register_queue_async(
            "light", worker_concurrency=s.light_slots, polling_interval_sec=s.poll_interval_s
        )

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._settings.replica_ttl_s / 3)
            try:
                await asyncio.to_thread(self._beat)
                if not self._is_stopping:
                    await asyncio.to_thread(self._sweep)
            except Exception:
                log.exception("the replica guard could not look after the replicas; it tries again")

    def _beat(self) -> None:
        alive = self._replicas.beat(
            self.executor_id, host=socket.gethostname(), pid=os.getpid(), ttl_s=self._settings.replica_ttl_s
        )
        if not alive:
            log.critical("another replica has taken over this one's work; it stops to start clean")
            self.on_declared_dead()

    def _sweep(self) -> None:
        """Requeue what dead replicas held, and claims of ours that were never begun."""
        pending = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        # Never ourselves: our row may have expired while we were slow, and nobody else has taken over our work.
        live = {self.executor_id} if self._is_alone else self._replicas.live() | {self.executor_id}
        for dead in (self._replicas.known() | {w.executor_id for w in pending if w.executor_id}) - live:
            if self._replicas.bury(dead, is_certain=self._is_alone):
                self._requeue((w for w in pending if w.executor_id == dead), f"of the dead replica {dead}")
        oldest = self._grace_ms()
        mine = (w for w in pending if w.executor_id == self.executor_id and w.workflow_id not in self._running)
        self._requeue((w for w in mine if (w.updated_at or 0) < oldest), "claimed but never begun")

    def _grace_ms(self) -> float:
        with self._engine.connect() as connection:
            now = connection.scalar(_NOW_MS[self._engine.dialect.name])
        return float(now or 0) - self._settings.stranded_grace_s * 1000

    def _requeue(self, workflows: Iterable[Any], why: str) -> None:
        by_queue: dict[str, list[str]] = defaultdict(list)
        for workflow in workflows:
            by_queue[workflow.queue_name or "light"].append(workflow.workflow_id)
        for queue, ids in by_queue.items():
            DBOS.resume_workflows(ids, queue_name=queue)
            log.warning("orders put back on their queue", extra={"queue": queue, "count": len(ids), "why": why})


_NOW_MS = {
    "sqlite": sa.text("select cast((julianday('now') - 2440587.5) * 86400000 as integer)"),
    "postgresql": sa.text("select (extract(epoch from clock_timestamp()) * 1000)::bigint"),
}


def _iso(at_ms: int) -> str:
    return datetime.datetime.fromtimestamp(at_ms / 1000, tz=datetime.UTC).isoformat()
