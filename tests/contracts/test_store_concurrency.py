"""ports.Store under several writers at once, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.support.storage_samples import REPOSITORY, delivery, order, put, sample_draft, sample_job
from tests.support.stores import Opened, open_store

from windlass.adapters.storage import SqlStore
from windlass.core.errors import Conflict
from windlass.core.events import IssueWithdrawn
from windlass.core.job import State


def together(count: int, act: Callable[[int], Any]) -> list[Any]:
    """What `act` gives in `count` threads that start at the same moment."""
    gate = threading.Barrier(count)

    def one(number: int) -> Any:
        gate.wait(10)
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_two_who_lock_a_job_go_one_after_the_other(store: SqlStore) -> None:
    job = put(store, sample_job())

    def grow(_: int) -> None:
        for _round in range(5):
            with store.transaction() as transaction:
                held = transaction.lock_job(job.id)
                assert held is not None
                transaction.save_job(dataclasses.replace(held, seq=held.seq + 1))

    together(4, grow)
    found = store.job(job.id)
    assert found is not None
    assert found.seq == 20


@pytest.mark.parametrize("by_issue", [False, True])
def test_a_held_job_keeps_the_second_waiting(store: SqlStore, by_issue: bool) -> None:
    job = put(store, sample_job())
    inside, let_go = threading.Event(), threading.Event()
    seen: list[str] = []

    def first() -> None:
        with store.transaction() as transaction:
            held = transaction.active_job(REPOSITORY, 1) if by_issue else transaction.lock_job(job.id)
            assert held is not None
            inside.set()
            let_go.wait(10)
            transaction.save_job(dataclasses.replace(held, detail="first"))
            seen.append("first")

    def second() -> None:
        with store.transaction() as transaction:
            held = transaction.lock_job(job.id)
            assert held is not None
            seen.append(f"second after {held.detail}")

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        assert inside.wait(10)
        two = pool.submit(second)
        time.sleep(0.1)
        assert store.job(job.id) == job, "a reader does not wait and sees what was committed"
        assert seen == []
        let_go.set()
        one.result(10)
        two.result(10)
    assert seen == ["first", "second after first"]


def test_one_of_many_inserts_wins_the_issue(store: SqlStore) -> None:
    def start(_: int) -> bool:
        job = sample_job()
        try:
            with store.transaction() as transaction:
                if transaction.active_job(REPOSITORY, 1) is not None:
                    return False
                transaction.insert_job(job)
        except Conflict:
            return False
        return True

    assert together(20, start).count(True) == 1
    assert len(store.jobs(states=[State.QUEUED])) == 1


def test_one_of_many_equal_events_is_taken(store: SqlStore) -> None:
    def take(_: int) -> int | None:
        with store.transaction() as transaction:
            return transaction.insert_event("same", None, IssueWithdrawn(how="closed"), 1)

    assert len([number for number in together(12, take) if number is not None]) == 1


def test_leaf_indexes_have_no_gaps_whoever_gives_them(opened: Opened, migrated_url: str) -> None:
    jobs = [put(opened.store, sample_job(number)) for number in range(1, 5)]
    stores = [open_store(migrated_url) for _ in range(4)]
    given: list[int] = []

    def write_and_place(number: int) -> None:
        store = stores[number].store
        for _round in range(6):
            with store.transaction() as transaction:
                transaction.add_records(jobs[number].id, [sample_draft(), sample_draft()], 1)
            given.append(store.sequence_records(3))

    together(4, write_and_place)
    while left := opened.store.sequence_records(5):
        given.append(left)
    records = opened.store.records()
    assert [record.leaf_index for record in records] == list(range(48))
    assert sum(given) == 48
    for job in jobs:
        assert [record.job_seq for record in opened.store.records(job.id)] == list(range(12))
    for one in stores:
        one.store.close()


def test_records_of_one_job_are_counted_without_gaps_by_many_writers(store: SqlStore) -> None:
    job = put(store, sample_job())

    def write(_: int) -> None:
        for _round in range(4):
            with store.transaction() as transaction:
                transaction.add_records(job.id, [sample_draft()], 1)

    together(5, write)
    store.sequence_records(100)
    assert [record.job_seq for record in store.records(job.id)] == list(range(20))


def test_no_delivery_is_held_twice(store: SqlStore) -> None:
    store.put_deliveries([delivery(f"d{i:02}", i) for i in range(40)])

    def drain(number: int) -> list[str]:
        mine: list[str] = []
        while claimed := store.claim_deliveries(f"w{number}", 3, 10_000, 100):
            mine += [one.id for one in claimed]
        return mine

    held = [name for mine in together(4, drain) for name in mine]
    assert len(held) == len(set(held))
    assert set(held) == {f"d{i:02}" for i in range(40)}


def test_equal_deliveries_are_new_to_one(store: SqlStore) -> None:
    batch = [delivery(f"d{i}") for i in range(10)]
    answers = together(6, lambda number: store.put_deliveries(batch if number % 2 else batch[::-1]))
    assert sum(is_new for answer in answers for is_new in answer) == 10


def test_claims_of_one_effect_differ(store: SqlStore) -> None:
    job = put(store, sample_job())
    with store.transaction() as transaction:
        transaction.add_order(job.id, order(), 1, queue="light", partition="", priority=0)
    claims = [found.claim for found in together(6, lambda _: store.claim_effect(job.id, 1))]
    assert sorted(claims) == [1, 2, 3, 4, 5, 6]
    assert [store.is_current(job.id, 1, claim) for claim in range(1, 7)] == [False] * 5 + [True]


def test_versions_of_a_setting_have_no_gaps(opened: Opened) -> None:
    together(6, lambda number: opened.store.set_config("k", number, by="ann", at_ms=1))
    rows = opened.rows("select version from system_config where key = 'k' order by version")
    assert [row["version"] for row in rows] == [1, 2, 3, 4, 5, 6]


def test_decisions_per_second(opened: Opened, database_kind: str) -> None:
    """Says how many; holds only that all are there."""
    store, job = opened.store, put(opened.store, sample_job())
    start, count = time.perf_counter(), 100
    for number in range(count):
        event = IssueWithdrawn(how="closed")
        with store.transaction() as transaction:
            event_id = transaction.insert_event(f"e{number}", job.id, event, number)
            assert event_id is not None
            held = transaction.lock_job(job.id)
            assert held is not None
            after = dataclasses.replace(held, seq=number)
            transaction.save_job(after)
            transaction.finish_event(event_id, job_id=job.id, before=held, after=after, why=["x"], policy=held.policy)
            transaction.add_records(job.id, [sample_draft()], number)
    rate = count / (time.perf_counter() - start)
    print(f"\n{database_kind}: {rate:.0f} decisions/s by one writer")
    assert len(store.events(job.id)) == len(store.records(job.id)) == count
