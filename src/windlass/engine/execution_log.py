"""The step log of a job: what its runs printed and did, as JSONL in blobs, written while it happens.

Every line goes through the redactor before it is anywhere. A chunk is a blob and a row that says how far its source
was read, written together in that order; so a kill at any moment loses nothing that the source still has, and doubles
nothing. Trouble with the log never ends a run: it is tried again, and told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from windlass.core.errors import Conflict, WindlassError
from windlass.core.log_lines import LogLine, gravest, output_lines, tool_called
from windlass.engine.decision_lines import decision_lines
from windlass.ports import Blobs, CleanLine, Clock, LogChunk, LogIndex, Redactor, Store

CHUNK_BYTES = 256 * 1024
CHUNK_AGE_S = 2.0
READ_BYTES = 256 * 1024
CONTEXT_BYTES = 16 * 1024
SILENT_S = 1.0
POLL_S = 0.25
LAST_TRIES = 5
DECISIONS = "decisions"

log = logging.getLogger("windlass.log")


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A step that Windlass itself tells. `at_ms` None: now."""

    kind: str
    text: str
    level: str = "info"
    data: Mapping[str, Any] = field(default_factory=dict)
    at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which stream of which job; `run` is the run's id where the stream is of a run that the tables know."""

    job: str
    stream: str
    run: str = ""


class ExecutionLog:
    """Writes step logs. Blocking methods are called from threads."""

    def __init__(self, store: Store, index: LogIndex, blobs: Blobs, redactor: Redactor, clock: Clock) -> None:
        self.store = store
        self.index = index
        self.blobs = blobs
        self.redactor = redactor
        self.clock = clock

    def say_once(self, place: Place, said: Sequence[Said]) -> None:
        """Write a stream of a few steps, whole, unless it is there already. Never raises."""
        with contextlib.suppress(Conflict), _told(place):
            writer = Writer(self, place)
            if writer.is_new:
                for step in said:
                    writer.say(step)
                writer.flush()

    def catch_up(self, job_id: str) -> None:
        """Write the decisions on a job that are not in its log yet. Never raises."""
        place = Place(job=job_id, stream=DECISIONS)
        with contextlib.suppress(Conflict), _told(place):
            writer = Writer(self, place)
            for event in self.store.events(job_id):
                if event.id > writer.offset:
                    for level, kind, text, data in decision_lines(event):
                        writer.say(Said(kind=kind, text=text, level=level, data=data, at_ms=event.at_ms))
                    writer.offset = event.id
            writer.flush()

    def found(self, job_id: str, run_id: str) -> dict[str, int]:
        """Rule → number of secrets taken out of what a run printed. {} when that cannot be told."""
        total: Counter[str] = Counter()
        try:
            after = 0
            while chunks := self.index.chunks(job_id, run_id=run_id, after=after, limit=500):
                for chunk in chunks:
                    total.update(chunk.redactions)
                after = chunks[-1].number
        except WindlassError as error:
            log.warning("the redaction counts cannot be read", extra={"job": job_id, "why": str(error)})
        return dict(total)

    async def follow(self, place: Place, output: Path, ended: asyncio.Event) -> None:
        """Take in what is appended to `output` until `ended` is set and everything is read. Never raises."""
        tail = Tail(self, place, output)
        tries, kept = 0, -1
        while True:
            is_over = ended.is_set()
            try:
                has_more = await asyncio.to_thread(tail.step, is_over=is_over)
            except Exception as error:
                tries, kept = (1, tail.kept) if tail.kept > kept else (tries + 1, kept)
                log.warning("the step log cannot be written", extra={"job": place.job, "why": str(error)})
                tail, has_more = Tail(self, place, output), False
                if is_over and tries >= LAST_TRIES:
                    log.exception("a step log is not complete", extra={"job": place.job, "stream": place.stream})
                    return
                await asyncio.sleep(POLL_S * min(tries, 40))
                continue
            if is_over and not has_more:
                return
            if not has_more:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), POLL_S)


@contextlib.contextmanager
def _told(place: Place) -> Iterator[None]:
    """Trouble with a log is told and goes no further; somebody else's better chunk is no trouble."""
    try:
        yield
    except Conflict:
        raise
    except Exception as error:
        log.exception("the step log cannot be written", extra={"job": place.job, "kind": type(error).__name__})


class Writer:
    """Appends to one stream. Not to be shared between threads. Raises what the index and the blobs raise."""

    def __init__(self, parts: ExecutionLog, place: Place) -> None:
        self._parts = parts
        self._place = place
        last = parts.index.last(place.job, place.stream)
        self.is_new = last is None
        self._chunk = 0 if last is None else last.chunk + 1
        self._seq = 0 if last is None else last.first_seq + last.lines
        self.offset = self.kept = 0 if last is None else last.next_offset
        self._lines: list[bytes] = []
        self._bytes = 0
        self._levels: set[str] = set()
        self._instants: list[int] = []
        self._found: Counter[str] = Counter()
        self._since_s = 0.0

    def say(self, said: Said) -> None:
        """One step of our own."""
        text, found = self._parts.redactor.redact(said.text)
        data, more = _clean_data(said.data, self._parts.redactor)
        at_ms = self._parts.clock.now_ms() if said.at_ms is None else said.at_ms
        self._add(at_ms, said.level, said.kind, text, data)
        self._found.update(found)
        self._found.update(more)

    def take(self, lines: Sequence[CleanLine]) -> None:
        """Lines of the run's output, clean already."""
        at_ms = self._parts.clock.now_ms()
        encode = output_lines(at_ms, self._place.job, self._place.run or self._place.stream)
        for line in lines:
            text = line.text.rstrip("\r\n")
            tool = tool_called(text)
            if tool:
                self._add(at_ms, "info", "tool_call", text, {"tool": tool})
            else:
                self._put(at_ms, "info", encode(self._seq, text))
            if line.found:
                self._found.update(line.found)
            self.offset += line.raw_bytes
            if self._bytes >= CHUNK_BYTES:
                self.flush()

    def flush_if_due(self) -> None:
        """Write what has waited for two seconds."""
        if self._lines and time.monotonic() - self._since_s >= CHUNK_AGE_S:
            self.flush()

    def flush(self) -> None:
        """Write what waits: first the blob, then its row."""
        if not self._lines:
            return
        data = b"".join(self._lines)
        chunk = LogChunk(
            job_id=self._place.job,
            stream=self._place.stream,
            run_id=self._place.run,
            chunk=self._chunk,
            first_seq=self._seq - len(self._lines),
            lines=len(self._lines),
            size_bytes=len(data),
            first_at_ms=min(self._instants),
            last_at_ms=max(self._instants),
            level=gravest(self._levels),
            digest=self._parts.blobs.put(data),
            next_offset=self.offset,
            redactions=dict(self._found),
        )
        self._parts.index.append(chunk)
        self.kept = self.offset
        self._chunk += 1
        self._lines, self._bytes, self._levels, self._instants, self._found = [], 0, set(), [], Counter()

    def _add(self, at_ms: int, level: str, kind: str, text: str, data: Mapping[str, Any]) -> None:
        line = LogLine(
            at_ms=at_ms,
            job=self._place.job,
            run=self._place.run or self._place.stream,
            seq=self._seq,
            level=level,
            kind=kind,
            text=text,
            data=data,
        )
        self._put(at_ms, level, line.encode())

    def _put(self, at_ms: int, level: str, line: bytes) -> None:
        if self._lines and self._bytes + len(line) > CHUNK_BYTES:
            self.flush()
        if not self._lines:
            self._since_s = time.monotonic()
        self._seq += 1
        self._lines.append(line)
        self._bytes += len(line)
        self._levels.add(level)
        self._instants.append(at_ms)


class Tail:
    """Reads a growing file from where its stream's last chunk left off. Blocks; one step at a time."""

    def __init__(self, parts: ExecutionLog, place: Place, path: Path) -> None:
        self._parts = parts
        self._place = place
        self._path = path
        self._writer: Writer | None = None

    @property
    def kept(self) -> int:
        """How far the source is in the log for good."""
        return 0 if self._writer is None else self._writer.kept

    def step(self, *, is_over: bool) -> bool:
        """Take in the next bytes; whether there may be more at once."""
        writer = self._writer or self._open()
        data = self._read()
        if data:
            self._at += len(data)
            self._silent_since_s = time.monotonic()
            writer.take(self._stream.add(data))
        elif is_over:
            writer.take(self._stream.close())
            writer.flush()
        elif time.monotonic() - self._silent_since_s >= SILENT_S:
            writer.take(self._stream.release())
        writer.flush_if_due()
        return bool(data)

    def _open(self) -> Writer:
        writer = Writer(self._parts, self._place)
        self._at = writer.offset
        self._silent_since_s = time.monotonic()
        before = b""
        if self._at:
            with contextlib.suppress(OSError), self._path.open("rb") as file:
                file.seek(max(0, self._at - CONTEXT_BYTES))
                before = file.read(min(self._at, CONTEXT_BYTES))
        self._stream = self._parts.redactor.stream(before)
        self._writer = writer
        return writer

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                return file.read(READ_BYTES)
        except FileNotFoundError:
            return b""


def _clean_data(value: Mapping[str, Any], redactor: Redactor) -> tuple[dict[str, Any], Counter[str]]:
    found: Counter[str] = Counter()

    def clean(item: Any) -> Any:
        if isinstance(item, str):
            text, seen = redactor.redact(item)
            found.update(seen)
            return text
        if isinstance(item, Mapping):
            return {clean(str(name)): clean(inner) for name, inner in item.items()}
        if isinstance(item, list | tuple):
            return [clean(inner) for inner in item]
        return item if item is None or isinstance(item, bool | int | float) else clean(str(item))

    return clean(value), found
