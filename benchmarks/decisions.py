"""Decisions per second: through the door and the store, against the same SQL written raw; and the pure decision.

Whole lives of jobs are decided upon, seven decisions each, with the orders handed to durable execution in the same
transaction, as in production. Every statement that writes is recorded with its values and then carried out again on
a second, equal database by the bare driver, with the same commits: that is the floor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from dbos import DBOS

from benchmarks import lives, postgres
from benchmarks.figures import Figure, Size, Spread
from windlass.adapters.storage import SqlStore, make_engine, migrate
from windlass.core import workflow
from windlass.core.job import Job
from windlass.core.policy import Policy
from windlass.engine.bell import Bell
from windlass.engine.durable import Enqueuer
from windlass.engine.loop import Door

PER_LIFE = 7
Written = list[list[tuple[str, Any, bool]]]


class _Clock:
    def __init__(self) -> None:
        self._now = itertools.count(lives.START_MS)

    def now_ms(self) -> int:
        """The next millisecond."""
        return next(self._now)


@dataclasses.dataclass
class Side:
    """One database with a door before it. `written` are the transactions since the last look."""

    engine: sa.Engine
    door: Door
    written: Written

    @classmethod
    @contextlib.contextmanager
    def over(cls, url: str) -> Iterator[Side]:
        """A migrated database, closed at the end."""
        engine, clock, numbers = _prepared(url), _Clock(), itertools.count(1)
        store = SqlStore(engine, clock=clock, enqueue=Enqueuer(engine, Bell()))
        written: Written = [[]]
        sa.event.listen(engine, "before_cursor_execute", _recorder(written))
        sa.event.listen(engine, "commit", lambda _: written.append([]))
        try:
            yield cls(engine, Door(store, clock, new_id=lambda: f"j{next(numbers):08d}"), written)
        finally:
            store.close()

    def live(self, numbers: Sequence[int]) -> float:
        """Decide whole lives; seconds."""
        self.written[:] = [[]]
        began = time.perf_counter()
        for number in numbers:
            job = self.door.request(lives.asked(number), Policy()).job
            assert job is not None
            for name, event in lives.answers(number, job):
                handled = self.door.handle(lives.fitting(job, event), job_id=job.id, dedup=f"{job.id}:{name}")
                assert handled.job is not None
                job = handled.job
        return time.perf_counter() - began


def run(size: Size) -> list[Figure]:
    """The figures."""
    figures = [_pure(size)]
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        urls = [f"sqlite:///{Path(home, name)}" for name in ("ours.db", "floor.db")]
        figures.append(_through_store("SQLite", urls, size))
    if postgres.binaries() is not None:
        with postgres.server() as place:
            urls = [postgres.fresh_database(place, name) for name in ("ours", "floor")]
            figures.append(_through_store("PostgreSQL", urls, size))
    return figures


def _through_store(kind: str, urls: Sequence[str], size: Size) -> Figure:
    rounds, each = size.of(12, 1), size.of(10, 2)
    ours, floor = [], []
    with Side.over(urls[0]) as side, contextlib.ExitStack() as stack:
        _prepared(urls[1]).dispose()
        replay = stack.enter_context(_raw(urls[1]))
        for turn in range(rounds):
            decisions = each * PER_LIFE
            ours.append(decisions / side.live(range(turn * each + 1, (turn + 1) * each + 1)))
            floor.append(decisions / replay([one for one in side.written if one]))
    statements = sum(map(len, side.written)) / (each * PER_LIFE)
    return Figure(
        name=f"decisions per second, {kind}",
        unit="1/s",
        ours=Spread.of(ours),
        others={"the same SQL writes, bare driver": Spread.of(floor)},
        is_rate=True,
        notes=(f"one thread, one commit per decision, {statements:.1f} writing statements each",),
    )


def _pure(size: Size) -> Figure:
    rounds, each = size.of(15, 1), size.of(100, 3)
    ours, floor = [], []
    gc.collect()
    for _ in range(rounds):
        began = time.perf_counter()
        for number in range(each):
            job = _decided(number)
        ours.append(each * PER_LIFE / (time.perf_counter() - began))
        began = time.perf_counter()
        for number in range(each * PER_LIFE):
            job = dataclasses.replace(job, created_at_ms=number)
        floor.append(each * PER_LIFE / (time.perf_counter() - began))
    return Figure(
        name="pure decisions per second",
        unit="1/s",
        ours=Spread.of(ours),
        others={"copying the job, changing nothing": Spread.of(floor)},
        is_rate=True,
    )


def _decided(number: int) -> Job:
    job = workflow.open_job(lives.asked(number), Policy(), lives.START_MS, job_id="j").job
    for _, event in lives.answers(number, job):
        job = workflow.decide(job, lives.fitting(job, event), job.policy, lives.START_MS).job
    return job


def _prepared(url: str) -> sa.Engine:
    """A database with our tables and those of durable execution."""
    engine = make_engine(url)
    migrate(engine)
    DBOS.migrate(url)
    return engine


def _recorder(written: Written) -> Callable[..., None]:
    def note(_connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, executemany: bool) -> None:
        if statement.lstrip()[:6].upper() in {"INSERT", "UPDATE", "DELETE"}:
            written[-1].append((statement, values, executemany))

    return note


@contextlib.contextmanager
def _raw(url: str) -> Iterator[Callable[[Written], float]]:
    """Carries recorded transactions out with the bare driver; seconds."""
    parsed = sa.make_url(url)
    connection: Any
    if parsed.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(parsed.database), isolation_level=None)
        for pragma in ("busy_timeout=30000", "synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON"):
            connection.execute(f"PRAGMA {pragma}")
        begin = "BEGIN IMMEDIATE"
    else:
        connection = psycopg.connect(url, autocommit=True)
        begin = "BEGIN"

    def replay(written: Written) -> float:
        cursor = connection.cursor()
        began = time.perf_counter()
        for transaction in written:
            cursor.execute(begin)
            for statement, values, is_many in transaction:
                (cursor.executemany if is_many else cursor.execute)(statement, values)
            cursor.execute("COMMIT")
        return time.perf_counter() - began

    try:
        yield replay
    finally:
        connection.close()
