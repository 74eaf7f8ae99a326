"""The step log: nothing lost by a kill, nothing twice, read by pages, levels, runs and times."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.engine.world import World

from windlass.adapters.logs import SecretRedactor
from windlass.adapters.storage.execution_logs import SqlLogIndex
from windlass.core.errors import Conflict, Refused, Unavailable
from windlass.core.log_lines import LogLine
from windlass.engine import execution_log
from windlass.engine.execution_log import ExecutionLog, Place, Said, Tail, Writer
from windlass.engine.journal import Journal
from windlass.engine.log_reading import LogPage, LogQuery, read_page
from windlass.ports import LogChunk, RunRecord

SECRET = "known-secret-value-0123456789"


@pytest.fixture
def log(small: World) -> ExecutionLog:
    index = SqlLogIndex(small.store.connections)  # type: ignore[attr-defined]
    return ExecutionLog(small.store, index, small.blobs, SecretRedactor(key=b"k" * 32, known=[SECRET]), small.clock)


@pytest.fixture
def place(small: World) -> Place:
    job = small.ask()
    small.store.save_run(RunRecord(id="r1", job_id=job.id, role="coder", attempt=1, agent="a", status="running"))
    return Place(job=job.id, stream="r1", run="r1")


def page(log: ExecutionLog, place: Place, **query: Any) -> LogPage:
    return read_page(log.index, log.blobs, place.job, LogQuery(**query))


def lines(log: ExecutionLog, place: Place, **query: Any) -> list[LogLine]:
    return [line for _, line in page(log, place, **query).lines]


def texts(log: ExecutionLog, place: Place, **query: Any) -> list[str]:
    return [line.text for line in lines(log, place, **query)]


def test_a_kill_at_any_moment_loses_nothing_and_doubles_nothing(
    log: ExecutionLog, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tail that is dropped is what a kill leaves: what was not written is in the file still."""
    monkeypatch.setattr(execution_log, "CHUNK_AGE_S", 0.0)
    path, want = tmp_path / "output", []
    with path.open("wb") as output:
        for number in range(60):
            line = f"line {number} with {SECRET} and ünïcode"
            want.append(line.replace(SECRET, log.redactor.redact(SECRET)[0]))
            output.write((line + "\n").encode()[:15])
            output.flush()
            Tail(log, place, path).step(is_over=False)
            output.write((line + "\n").encode()[15:])
            output.flush()
            tail = Tail(log, place, path)
            for _ in range(number % 3):
                tail.step(is_over=False)
    tail = Tail(log, place, path)
    while tail.step(is_over=True):
        pass
    found = lines(log, place)
    assert [line.text for line in found] == want
    assert [line.seq for line in found] == list(range(60))
    assert log.found(place.job, "r1") == {"known-value": 60}


async def test_lines_are_there_while_the_run_goes_on(
    log: ExecutionLog, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_log, "CHUNK_AGE_S", 0.05)
    ended, path = asyncio.Event(), tmp_path / "output"
    following = asyncio.create_task(log.follow(place, path, ended))
    path.write_bytes(b"first\nsecond\nno end yet")
    while texts(log, place) != ["first", "second"]:
        await asyncio.sleep(0.01)
    ended.set()
    await following
    assert texts(log, place) == ["first", "second", "no end yet"]


class Flaky:
    """Blobs that fail now and then."""

    def __init__(self, blobs: Any) -> None:
        self._blobs = blobs
        self.calls = 0

    def put(self, data: bytes) -> str:
        self.calls += 1
        if self.calls % 2:
            raise Unavailable("not now")
        return str(self._blobs.put(data))

    def get(self, digest: str) -> bytes:
        return bytes(self._blobs.get(digest))


async def test_trouble_with_the_blobs_delays_the_log_and_loses_nothing(
    log: ExecutionLog, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution_log, "POLL_S", 0.01)
    monkeypatch.setattr(execution_log, "CHUNK_BYTES", 400)
    log.blobs = Flaky(log.blobs)
    path, ended = tmp_path / "output", asyncio.Event()
    path.write_text("".join(f"line {n}\n" for n in range(40)))
    ended.set()
    await log.follow(place, path, ended)
    assert texts(log, place) == [f"line {n}" for n in range(40)]


def test_two_writers_of_one_stream_never_both_count(log: ExecutionLog, place: Place) -> None:
    one, two = Writer(log, place), Writer(log, place)
    one.say(Said(kind="notice", text="from one"))
    two.say(Said(kind="notice", text="from two"))
    one.flush()
    with pytest.raises(Conflict):
        two.flush()
    assert texts(log, place) == ["from one"]


def test_a_step_is_said_once(log: ExecutionLog, place: Place) -> None:
    once = Place(job=place.job, stream="r1/result", run="r1")
    for _ in range(3):
        log.say_once(once, [Said(kind="result", text=f"done {SECRET}", data={"key": [SECRET, 1]})])
    (line,) = lines(log, place)
    assert SECRET not in json.dumps(line.as_json())
    assert (line.run, line.seq, line.data["key"][1]) == ("r1", 0, 1)


def test_trouble_is_told_and_goes_no_further(log: ExecutionLog, place: Place, caplog: pytest.LogCaptureFixture) -> None:
    log.blobs = Flaky(log.blobs)
    log.say_once(place, [Said(kind="result", text="done")])
    log.catch_up("no such job")
    assert "cannot be written" in caplog.text
    log.say_once(place, [Said(kind="result", text="done")])
    assert texts(log, place) == ["done"]


def test_pages_levels_runs_and_times(log: ExecutionLog, small: World, place: Place) -> None:
    for number in range(30):
        writer = Writer(log, place if number % 2 else Place(job=place.job, stream="verify-3-base"))
        level = ("debug", "info", "warning", "error")[number % 4]
        writer.say(Said(kind="notice", text=str(number), level=level, at_ms=number * 1000))
        writer.flush()
    everything = [str(number) for number in range(30)]
    assert texts(log, place) == everything
    assert texts(log, place, level="error") == [str(n) for n in range(30) if n % 4 == 3]
    assert texts(log, place, run="r1") == [str(n) for n in range(30) if n % 2]
    assert texts(log, place, run="verify-3-base", level="warning") == [str(n) for n in range(30) if n % 4 == 2]
    assert texts(log, place, from_ms=5000, to_ms=7000) == ["5", "6", "7"]
    got: list[str] = []
    cursor, has_more = "", True
    while has_more:
        part = page(log, place, limit=7, cursor=cursor)
        assert len(part.lines) <= 7
        got += [line.text for _, line in part.lines]
        cursor, has_more = part.cursor, part.has_more
    assert got == everything
    assert page(log, place, cursor=cursor) == LogPage(lines=(), cursor=cursor, has_more=False)
    Writer(log, place).say(Said(kind="notice", text="unwritten"))
    late = Writer(log, place)
    late.say(Said(kind="notice", text="late"))
    late.flush()
    assert texts(log, place, cursor=cursor) == ["late"]


@pytest.mark.parametrize("query", [{"cursor": "x"}, {"level": "loud"}, {"limit": 0}, {"limit": 10**6}])
def test_bad_questions_are_refused(log: ExecutionLog, place: Place, query: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        page(log, place, **query)


def test_a_lost_chunk_shows_as_a_gap(log: ExecutionLog, place: Place) -> None:
    lost = LogChunk(
        job_id=place.job, stream="r1", run_id="r1", chunk=0, first_seq=0, lines=5, size_bytes=9, first_at_ms=1,
        last_at_ms=2, level="error", digest="0" * 64, next_offset=9,
    )  # fmt: skip
    log.index.append(lost)
    log.say_once(Place(job=place.job, stream="r1/result", run="r1"), [Said(kind="result", text="after")])
    assert [line.text[:27] for line in lines(log, place)] == ["5 lines of this log cannot ", "after"]


def test_large_output_is_cut_into_chunks_of_bounded_size(log: ExecutionLog, place: Place, tmp_path: Path) -> None:
    path = tmp_path / "output"
    path.write_bytes(b"".join(b"%d %s\n" % (n, b"x" * 900) for n in range(1500)))
    tail = Tail(log, place, path)
    while tail.step(is_over=True):
        pass
    chunks = log.index.chunks(place.job)
    assert max(chunk.size_bytes for chunk in chunks) <= execution_log.CHUNK_BYTES
    assert (len(chunks) > 4, chunks[-1].next_offset) == (True, path.stat().st_size)
    assert sum(chunk.lines for chunk in chunks) == 1500


def test_decisions_are_in_the_log_once(log: ExecutionLog, small: World) -> None:
    job = small.ask()
    journal = Journal(log)
    assert journal.write() == 1
    before = texts(log, Place(job=job.id, stream=""))
    assert before
    assert "IssueLabelled" in before[0]
    journal.touch(job.id)
    assert journal.write() == 1
    assert texts(log, Place(job=job.id, stream="")) == before


def test_tool_calls_are_recognised(log: ExecutionLog, place: Place, tmp_path: Path) -> None:
    path = tmp_path / "output"
    event = {"type": "assistant", "message": {"content": [{"type": "tool_use", "name": "Bash", "input": {"c": "ls"}}]}}
    shell = {"type": "item.completed", "item": {"type": "command_execution", "command": "ls"}}
    path.write_text(f"{json.dumps(event)}\n{json.dumps(shell)}\n{{broken\n")
    Tail(log, place, path).step(is_over=False)
    tail = Tail(log, place, path)
    while tail.step(is_over=True):
        pass
    assert [(line.kind, line.data.get("tool")) for line in lines(log, place)] == [
        ("tool_call", "Bash"),
        ("tool_call", "shell"),
        ("output", None),
    ]
