"""Reading a job's step log: pages by time, level and run, and where to go on.

A cursor is `CHUNK.LINE`, the place of the last line that was given; it stays good for ever, because chunks never
change and their numbers only grow. A chunk that cannot be read any more shows as one line that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from windlass.core.errors import Broken, NotFound, Refused
from windlass.core.log_lines import LogLine, decode, levels_from
from windlass.ports import Blobs, LogChunk, LogIndex

LARGEST_PAGE = 5000
_CURSOR = re.compile(r"([0-9]{1,18})\.([0-9]{1,9})")
_CHUNKS_AT_ONCE = 20
_CHUNKS_PER_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """What is asked for. `level` is the lowest wanted, instants are milliseconds, both included."""

    from_ms: int | None = None
    to_ms: int | None = None
    level: str = "debug"
    run: str = ""
    limit: int = 1000
    cursor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """Lines with their cursors, and the cursor to go on from; `has_more` says whether to ask at once."""

    lines: tuple[tuple[str, LogLine], ...]
    cursor: str
    has_more: bool


def read_page(index: LogIndex, blobs: Blobs, job_id: str, query: LogQuery) -> LogPage:
    """The next lines. Raises Refused (bad_cursor, bad_level, bad_limit), Unavailable."""
    if not 1 <= query.limit <= LARGEST_PAGE:
        raise Refused(f"no page of {query.limit} lines", code="bad_limit", hint=f"1 to {LARGEST_PAGE}")
    levels = levels_from(query.level)
    number, done = _place(query.cursor)
    lines: list[tuple[str, LogLine]] = []
    after, seen = number - 1, 0
    while True:
        chunks = index.chunks(
            job_id,
            after=after,
            run_id=query.run,
            levels=levels if query.level != "debug" else (),
            from_ms=query.from_ms,
            to_ms=query.to_ms,
            limit=_CHUNKS_AT_ONCE,
        )
        for chunk in chunks:
            for at, line in _lines(blobs, chunk):
                if (chunk.number == number and at <= done) or not _is_wanted(line, query, levels):
                    continue
                if len(lines) == query.limit:
                    return LogPage(lines=tuple(lines), cursor=lines[-1][0], has_more=True)
                lines.append((f"{chunk.number}.{at}", line))
            after, number, done, seen = chunk.number, chunk.number, chunk.lines, seen + 1
        cursor = f"{number}.{done}" if number else query.cursor
        if len(chunks) < _CHUNKS_AT_ONCE or seen >= _CHUNKS_PER_PAGE:
            return LogPage(lines=tuple(lines), cursor=cursor, has_more=len(chunks) == _CHUNKS_AT_ONCE)


def _place(cursor: str) -> tuple[int, int]:
    if not cursor:
        return 0, 0
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise Refused(f"no cursor: {cursor[:40]!r}", code="bad_cursor", hint="send the one of the last answer")
    return int(found[1]), int(found[2])


def _lines(blobs: Blobs, chunk: LogChunk) -> Iterator[tuple[int, LogLine]]:
    """(place from 1, line) of each line of a chunk."""
    try:
        for at, raw in enumerate(blobs.get(chunk.digest).splitlines(), 1):
            yield at, decode(raw)
    except (NotFound, Broken) as error:
        yield (
            chunk.lines,
            LogLine(
                at_ms=chunk.last_at_ms,
                job=chunk.job_id,
                run=chunk.run_id or chunk.stream,
                seq=chunk.first_seq,
                level="error",
                kind="notice",
                text=f"{chunk.lines} lines of this log cannot be read any more: {error.message}",
                data={"code": error.code},
            ),
        )


def _is_wanted(line: LogLine, query: LogQuery, levels: tuple[str, ...]) -> bool:
    if line.level not in levels or (query.run and line.run != query.run):
        return False
    if query.from_ms is not None and line.at_ms < query.from_ms:
        return False
    return query.to_ms is None or line.at_ms <= query.to_ms
