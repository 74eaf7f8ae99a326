"""Which chunks there are: the same answers on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import threading

import pytest
from tests.support.storage_samples import sample_job
from tests.support.stores import Opened

from windlass.adapters.storage.execution_logs import SqlLogIndex
from windlass.core.errors import Conflict
from windlass.ports import LogChunk


def a_chunk(job_id: str, stream: str = "decisions", place: int = 0, **changes: object) -> LogChunk:
    made = LogChunk(
        job_id=job_id,
        stream=stream,
        chunk=place,
        first_seq=place * 10,
        lines=10,
        size_bytes=100,
        first_at_ms=place * 1000,
        last_at_ms=place * 1000 + 500,
        level="info",
        digest="d" * 64,
        next_offset=(place + 1) * 100,
        redactions={"rule": place},
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def job_id(opened: Opened) -> str:
    job = sample_job(1)
    with opened.store.transaction() as transaction:
        transaction.insert_job(job)
    return job.id


def test_what_is_appended_is_found(opened: Opened, job_id: str) -> None:
    index = SqlLogIndex(opened.store.connections)
    numbers = [index.append(a_chunk(job_id, place=place)) for place in range(5)]
    assert numbers == sorted(set(numbers))
    last = index.last(job_id, "decisions")
    assert last == a_chunk(job_id, place=4, number=numbers[-1])
    assert index.last(job_id, "other") is None
    with pytest.raises(Conflict):
        index.append(a_chunk(job_id, place=4))
    grave = index.append(a_chunk(job_id, "verify-1-base", level="error", run_id="r"))
    assert [c.number for c in index.chunks(job_id)] == [*numbers, grave]
    assert [c.number for c in index.chunks(job_id, after=numbers[2], limit=1)] == [numbers[3]]
    assert [c.number for c in index.chunks(job_id, levels=("warning", "error"))] == [grave]
    assert [c.number for c in index.chunks(job_id, run_id="r")] == [grave]
    assert [c.number for c in index.chunks(job_id, run_id="decisions")] == numbers
    assert [c.chunk for c in index.chunks(job_id, run_id="decisions", from_ms=1500, to_ms=3000)] == [1, 2, 3]


def test_many_writers_leave_no_gap_behind_a_reader(opened: Opened, job_id: str) -> None:
    """Who follows by number must never be overtaken by a lower number that comes later."""
    index, seen, done = SqlLogIndex(opened.store.connections), [0], threading.Event()

    def write(stream: str) -> None:
        for place in range(15):
            index.append(a_chunk(job_id, stream, place))

    def follow() -> None:
        while True:
            is_last = done.is_set()
            seen.extend(c.number for c in index.chunks(job_id, after=seen[-1]))
            if is_last:
                return

    reader = threading.Thread(target=follow)
    writers = [threading.Thread(target=write, args=(f"s{n}",)) for n in range(4)]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert seen[1:] == [c.number for c in index.chunks(job_id)]
    assert len(seen) == 61
