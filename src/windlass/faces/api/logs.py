"""Step logs over HTTP: pages for programs, and a live stream (server-sent events) for who watches.

A stream goes on after a lost connection from `Last-Event-ID`; it says something at least every 15 seconds, and ends
when the job has ended or waits for people. Refused: levels, instants and cursors that are none.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel

from windlass.core.errors import Unavailable
from windlass.core.job import Job, State
from windlass.core.log_lines import instant_ms, levels_from
from windlass.engine.log_reading import LARGEST_PAGE, LogPage, LogQuery
from windlass.engine.queries import Queries

HEARTBEAT_S = 15.0
POLL_S = 0.5
_RESTING = frozenset({State.REVIEWING, State.ESCALATED})
_STREAM = "text/event-stream"


class LineView(BaseModel):
    """One step. `kind`: prompt, run, output, tool_call, change, result, verification, decision, refusal, notice."""

    at: str
    job: str
    run: str
    seq: int
    level: str
    kind: str
    text: str
    data: dict[str, Any]


class LogAnswer(BaseModel):
    """A page, and the cursor to go on from; `has_more` says that there is more already."""

    lines: list[LineView]
    cursor: str
    has_more: bool


class ReportView(BaseModel):
    """What one run's agent reported, in its own words."""

    run: str
    text: str


def logs_router(queries: Queries) -> APIRouter:
    """The routes; whoever includes them puts the guard before them."""
    router = APIRouter(tags=["jobs"])

    @router.get(
        "/api/v1/jobs/{job}/logs",
        summary="A job's step log, by pages or live",
        response_model=LogAnswer,
        responses={200: {"content": {_STREAM: {}}}},
    )
    async def logs(
        request: Request,
        job: str,
        start: Annotated[str | None, Query(alias="from", max_length=40, description="instant, included")] = None,
        end: Annotated[str | None, Query(alias="to", max_length=40, description="instant, included")] = None,
        level: Annotated[str, Query(description="lowest level: debug, info, warning or error")] = "debug",
        run: Annotated[str, Query(max_length=200, description="only this run or stream")] = "",
        limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = 1000,
        cursor: Annotated[str, Query(max_length=40, description="the `cursor` of the page before")] = "",
        follow: Annotated[bool, Query(description="send lines as they come, as server-sent events")] = False,
        last_event_id: Annotated[str | None, Header(max_length=40)] = None,
    ) -> Any:
        levels_from(level)
        query = LogQuery(
            from_ms=None if start is None else instant_ms(start),
            to_ms=None if end is None else instant_ms(end),
            level=level,
            run=run,
            limit=limit,
            cursor=last_event_id or cursor,
        )
        page = await asyncio.to_thread(queries.logs, job, query)  # what is wrong is said before a stream begins
        if follow or _STREAM in request.headers.get("accept", ""):
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return StreamingResponse(_events(queries, job, query), media_type=_STREAM, headers=headers)
        return _answer(page)

    @router.get("/api/v1/jobs/{job}/reports", summary="What a job's agents reported")
    async def reports(job: str) -> list[ReportView]:
        found = await asyncio.to_thread(queries.reports, job)
        return [ReportView(run=run, text=text) for run, text in found]

    return router


def _answer(page: LogPage) -> Response:
    lines = [line.as_json() for _, line in page.lines]
    body = {"lines": lines, "cursor": page.cursor, "has_more": page.has_more}
    return Response(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"), media_type="application/json")


async def _events(queries: Queries, job_id: str, query: LogQuery) -> AsyncIterator[bytes]:
    """Lines as they come. Whether the job rests is asked before its lines are read, so that none is left out."""
    said_s = time.monotonic()
    yield b"retry: 2000\n\n"
    while True:
        try:
            job = await asyncio.to_thread(queries.job, job_id)
            page = await asyncio.to_thread(queries.logs, job.id, query)
        except Unavailable:
            job, page = None, LogPage(lines=(), cursor=query.cursor, has_more=False)
        if page.lines:
            said_s = time.monotonic()
            yield b"".join(
                _event(cursor, json.dumps(line.as_json(), ensure_ascii=False)) for cursor, line in page.lines
            )
        query = replace(query, cursor=page.cursor or query.cursor)
        if page.has_more:
            continue
        if job is not None and _rests(job):
            yield b"event: end\n" + _event(query.cursor, json.dumps({"job": job.id, "state": job.state.value}))
            return
        if time.monotonic() - said_s >= HEARTBEAT_S:
            said_s = time.monotonic()
            yield b": still here\n\n"
        await asyncio.sleep(POLL_S)


def _rests(job: Job) -> bool:
    return job.is_terminal or job.state in _RESTING


def _event(cursor: str, data: str) -> bytes:
    return f"id: {cursor}\ndata: {data}\n\n".encode("utf-8", "replace")
