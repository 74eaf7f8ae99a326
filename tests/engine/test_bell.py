"""The bell: an order is carried out when it is committed, not when somebody polls for it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from windlass.adapters.storage import SqlStore, make_engine, migrate
from windlass.adapters.storage.replicas import SqlReplicas
from windlass.core.effects import Notify, Order
from windlass.engine.bell import Bell
from windlass.engine.durable import QUEUE_NAMES, Durable, DurableSettings, Enqueuer

LONG_S = 60.0


def waiter(stop: threading.Event, queue: str, seen: list[bool]) -> threading.Thread:
    """A queue's thread, as it pauses between two looks."""
    thread = threading.Thread(target=lambda: seen.append(stop.wait(LONG_S)), name=f"queue-worker-{queue}")
    thread.start()
    return thread


def test_a_ring_wakes_the_queue_of_the_order_only() -> None:
    bell, stop = Bell("light", "tests"), threading.Event()
    bell.hang(stop)
    light, tests = [], []
    first, second = waiter(stop, "light", light), waiter(stop, "tests", tests)
    bell.order("light")
    bell.ring()
    first.join(LONG_S / 2)
    assert (light, tests) == ([False], [])
    stop.set()
    second.join(LONG_S / 2)
    assert tests == [True]


def test_what_another_thread_has_not_committed_yet_is_not_rung_for() -> None:
    bell, stop = Bell("light"), threading.Event()
    bell.hang(stop)
    seen: list[bool] = []
    thread = waiter(stop, "light", seen)
    other = threading.Thread(target=bell.order, args=("light",))
    other.start()
    other.join()
    bell.ring()
    thread.join(0.2)
    assert seen == []
    stop.set()
    thread.join(LONG_S / 2)
    assert seen == [True]


def test_others_wait_for_the_stop_as_ever() -> None:
    bell, stop = Bell("light"), threading.Event()
    bell.hang(stop)
    bell.order("light")
    bell.ring()
    assert stop.wait(0.01) is False
    stop.set()
    assert stop.wait(LONG_S) is True


async def test_an_order_does_not_wait_for_the_poll(tmp_path: Path) -> None:
    """With a poll once a minute, only the bell can bring it in time; it fails when DBOS pauses in another way."""
    engine = make_engine(f"sqlite:///{tmp_path / 'windlass.db'}")
    migrate(engine)
    bell = Bell(*QUEUE_NAMES)
    enqueue = Enqueuer(engine, bell)
    durable = Durable(engine, SqlReplicas(engine), DurableSettings(poll_interval_s=LONG_S), bell, is_alone=True)
    carried: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    async def carry_out(job_id: str, seq: int) -> None:
        carried.put_nowait((job_id, seq))

    def order(seq: int) -> None:
        with engine.begin() as connection:
            enqueue(connection, "job", Order(seq=seq, effect=Notify(subject="s", text="t")), "light", "a/b", 50)
        bell.ring()

    await durable.start(carry_out)
    try:
        async with asyncio.timeout(LONG_S / 2):
            # The queue's thread begins within a second of the start; from then on every ring is heard.
            seq = 0
            while carried.empty():
                await asyncio.to_thread(order, seq)
                seq += 1
                await asyncio.sleep(0.1)
            await asyncio.to_thread(order, seq)
            while (await carried.get()) != ("job", seq):
                pass
    finally:
        await durable.drain(5, frozenset)
        SqlStore(engine, clock=None).close()  # type: ignore[arg-type]
