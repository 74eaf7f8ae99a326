"""Replicas as processes on one database: started, asked, killed, frozen; and what they wrote, in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dbos import DBOS

from windlass.adapters.storage import make_engine
from windlass.core.effects import Notify, Order
from windlass.engine.bell import Bell
from windlass.engine.durable import QUEUE_NAMES, Enqueuer

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 40.0
QUICK = {"poll_interval_s": 0.05, "replica_ttl_s": 2.0, "stranded_grace_s": 1.5}


class Replica:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process, executor_id: str) -> None:
        self.process = process
        self.executor_id = executor_id

    @property
    def pid(self) -> int:
        return self.process.pid

    async def ask(self, **question: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
        return json.loads(await asyncio.wait_for(self.process.stdout.readline(), PATIENCE_S))

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)


class Cluster:
    """A database, the replicas on it and their common log."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self.engine = make_engine(url)
        DBOS.migrate(self.engine.url.render_as_string(hide_password=False))
        self.log = home / "log"
        self.replicas: list[Replica] = []
        self._enqueue = Enqueuer(self.engine, Bell(*QUEUE_NAMES))
        self._errors = home / "errors"

    async def start(self, **settings: Any) -> Replica:
        with self._errors.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-W", "ignore", "-m", "tests.engine.replica"),
                *(self.url, str(self.log), json.dumps(QUICK | settings)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
            )
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
        assert line, self._errors.read_text()
        self.replicas.append(Replica(process, json.loads(line)))
        return self.replicas[-1]

    def order(
        self, *jobs: str, queue: str = "light", repository: str = "acme/a", priority: int = 50, delay_s: float = 0.0
    ) -> None:
        """Orders in one transaction each, in this order."""
        for job in jobs:
            with self.engine.begin() as connection:
                self.order_in(connection, job, queue=queue, repository=repository, priority=priority, delay_s=delay_s)

    def order_in(self, connection: sa.Connection, job: str, *, queue: str, repository: str, **more: Any) -> None:
        order = Order(seq=1, effect=Notify(subject="s", text="t"), delay_s=more.get("delay_s", 0.0))
        self._enqueue(connection, job, order, queue, repository, more.get("priority", 50))

    def lines(self, what: str | None = None) -> list[dict[str, Any]]:
        """What was written, oldest first."""
        if not self.log.exists():
            return []
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [one for one in found if what in (None, one["what"])]

    def begun(self) -> list[str]:
        return [one["job"] for one in self.lines("begin")]

    def begun_by(self, replica: Replica) -> list[str]:
        return [one["job"] for one in self.lines("begin") if one["pid"] == replica.pid]

    def replicas_known(self) -> set[str]:
        with self.engine.connect() as connection:
            return set(connection.scalars(sa.text("select executor_id from replicas")))

    def ended(self) -> list[str]:
        return [one["job"] for one in self.lines("end")]

    async def until(self, is_so: Callable[[], bool]) -> float:
        """Seconds it took."""
        began = time.monotonic()
        while not is_so():
            assert time.monotonic() - began < PATIENCE_S, f"{self.lines()}\n{self._errors.read_text()[-3000:]}"
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    @property
    def table(self) -> str:
        """Durable execution's own table."""
        return "workflow_status" if self.engine.dialect.name == "sqlite" else "dbos.workflow_status"

    def change(self, statement: str, **values: Any) -> int:
        with self.engine.begin() as connection:
            return connection.execute(sa.text(statement.replace("TABLE", self.table)), values).rowcount

    def rows(self, columns: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            query = f"select {columns} from {self.table} order by workflow_uuid"
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def statuses(self) -> dict[str, str]:
        return {name.split(":")[0]: status for name, status in self.rows("workflow_uuid, status")}

    async def close(self) -> None:
        for replica in self.replicas:
            with contextlib.suppress(ProcessLookupError):
                replica.process.kill()
            await replica.process.wait()
            transport = replica.process._transport  # type: ignore[attr-defined]
            transport.close()
        self.engine.dispose()


@contextlib.asynccontextmanager
async def cluster(url: str, home: Path) -> AsyncIterator[Cluster]:
    """Nobody is left when the block ends."""
    made = Cluster(url, home)
    try:
        yield made
    finally:
        await made.close()
