"""The HTTP API: start, stop, ask, and the webhook listener. It puts events in and reads queries, nothing else.

Until login exists every call needs the bearer token that `windlass serve` made; the webhook listener checks GitHub's
signature instead, and the two probes tell nothing. A delivery is on disk before it is answered.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pydantic_core
from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from windlass import __version__
from windlass.core.errors import Forbidden, Refused, WindlassError
from windlass.core.job import Job, State, TaskType
from windlass.engine.intake import Intake, StartRequest
from windlass.engine.queries import Queries
from windlass.faces.api.errors import HttpProblem, on_fault, on_http_error, problem, status_of
from windlass.faces.api.logs import logs_router
from windlass.ports import Delivery


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What the API is put in front of. `verify_signature(body, header)` checks GitHub's HMAC."""

    intake: Intake
    queries: Queries
    token: str
    verify_signature: Callable[[bytes, str], bool]
    is_ready: Callable[[], Awaitable[str]]
    now_ms: Callable[[], int]
    export_evidence: Callable[[str], Awaitable[bytes]]
    reconcile: Callable[[], Awaitable[Mapping[str, Any]]]
    largest_payload_bytes: int


class StartJob(BaseModel):
    """Ask for work on an issue."""

    model_config = ConfigDict(extra="forbid")
    repository: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$", description="owner/name")
    issue: int = Field(ge=1, le=2**31 - 1, description="the issue's number")
    requested_by: str = Field("operator", min_length=1, max_length=100, description="login of who asks")
    agent: str = Field("", max_length=100, description="agent to use; empty: the policy's")
    type: TaskType | None = Field(None, description="kind of work; left out: found from the issue")


class StopJob(BaseModel):
    """Stop a job for good: its run is killed, its pull request closed, its branch removed."""

    model_config = ConfigDict(extra="forbid")
    job: str = Field(min_length=1, max_length=100, description="the job's id")
    requested_by: str = Field("operator", min_length=1, max_length=100, description="login of who asks")
    reason: str = Field("", max_length=500, description="why, for the record")


class JobView(BaseModel):
    """A job as the outside sees it. Instants are milliseconds since the Unix epoch, UTC."""

    job: str
    state: State
    reason: str | None
    detail: str
    repository: str
    issue: int
    title: str
    branch: str
    base_sha: str | None
    head_sha: str | None
    pull_request: int | None
    pull_request_url: str
    requested_by: str
    created_at_ms: int
    deadline_at_ms: int | None


class JobAnswer(JobView):
    """A job, and whether this call opened or changed it."""

    is_new: bool


class StatusAnswer(BaseModel):
    """How many jobs are in each state, and the newest of those asked for."""

    version: str
    counts: dict[str, int]
    jobs: list[JobView]


class ReconcileAnswer(BaseModel):
    """How much one repair pass found to do, and which of its parts could not be done (name: why)."""

    deadlines: int = 0
    orders: int = 0
    reaped: int = 0
    looks: int = 0
    issues: int = 0
    withdrawn: int = 0
    redelivered: int = 0
    problems: dict[str, str] = Field(default_factory=dict)


class Problem(BaseModel):
    """What went wrong and what to do about it."""

    code: str
    message: str
    hint: str


def create_app(backend: Backend) -> FastAPI:
    """The API over a running engine."""
    app = FastAPI(
        title="Windlass",
        version=__version__,
        summary="From a labelled issue to a pull request that a human can approve",
        responses={code: {"model": Problem} for code in (400, 401, 403, 404, 409, 503)},
    )
    guard = _guard(backend.token)
    app.include_router(_probes(backend))
    app.include_router(_webhooks(backend))
    app.include_router(_jobs(backend), dependencies=[Depends(guard)])
    app.include_router(logs_router(backend.queries), dependencies=[Depends(guard)])
    app.add_exception_handler(WindlassError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_fault)
    app.add_middleware(Identified)
    return app


def view(job: Job) -> dict[str, Any]:
    """A job as plain JSON."""
    return {
        "job": job.id,
        "state": job.state,
        "reason": job.reason.value if job.reason else None,
        "detail": job.detail,
        "repository": job.repository,
        "issue": job.issue.number,
        "title": job.issue.title,
        "branch": job.branch,
        "base_sha": job.base_sha,
        "head_sha": job.head_sha,
        "pull_request": job.pull_number,
        "pull_request_url": job.pull_url,
        "requested_by": job.requested_by,
        "created_at_ms": job.created_at_ms,
        "deadline_at_ms": job.deadline_at_ms,
    }


# At module level, because annotations are resolved in the module's names.
_BEARER = HTTPBearer(auto_error=False, description="the token in `api-token` of the state directory")


def _guard(token: str) -> Callable[..., None]:
    def check(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> None:
        given = credentials.credentials if credentials else ""
        if not hmac.compare_digest(given.encode(), token.encode()):
            hint = "send the token in `api-token` of the state directory as `Authorization: Bearer …`"
            raise HttpProblem(401, "no_token", "a bearer token is needed", hint, {"WWW-Authenticate": "Bearer"})

    return check


def _probes(backend: Backend) -> APIRouter:
    router = APIRouter(tags=["probes"])

    @router.get("/healthz", summary="Is the process alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", summary="Can it take work?")
    async def readyz() -> JSONResponse:
        why = await backend.is_ready()
        return JSONResponse({"status": "not ready", "why": why} if why else {"status": "ok"}, 503 if why else 200)

    return router


def _jobs(backend: Backend) -> APIRouter:
    router = APIRouter(tags=["jobs"])

    @router.post("/start-job", status_code=202, summary="Ask for work on an issue")
    async def start_job(
        body: StartJob, idempotency_key: Annotated[str | None, Header(max_length=200)] = None
    ) -> JobAnswer:
        request = StartRequest(
            repository=body.repository,
            issue=body.issue,
            requested_by=body.requested_by,
            idempotency_key=idempotency_key or uuid.uuid4().hex,
            agent=body.agent,
            task_type=body.type,
        )
        handled = await backend.intake.start(request)
        if handled.job is None:
            raise Forbidden("; ".join(handled.why) or "this request was answered before", code="not_started")
        return JobAnswer(**view(handled.job), is_new=handled.is_opened)

    @router.post("/stop-job", status_code=202, summary="Stop a job")
    async def stop_job(
        body: StopJob, idempotency_key: Annotated[str | None, Header(max_length=200)] = None
    ) -> JobAnswer:
        job = await asyncio.to_thread(backend.queries.job, body.job)
        key = idempotency_key or uuid.uuid4().hex
        handled = await backend.intake.stop(job.id, by=body.requested_by, why=body.reason, key=key)
        return JobAnswer(**view(handled.job or job), is_new=handled.is_new)

    @router.get("/status", summary="Jobs and their states")
    async def status(
        job: Annotated[str | None, Query(max_length=100)] = None,
        state: Annotated[list[State] | None, Query()] = None,
        repository: Annotated[str | None, Query(max_length=200)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    ) -> StatusAnswer:
        def ask() -> StatusAnswer:
            if job is not None:
                jobs: tuple[Job, ...] = (backend.queries.job(job),)
            else:
                jobs = backend.queries.jobs(states=state, repository=repository, limit=limit)
            views = [JobView(**view(found)) for found in jobs]
            return StatusAnswer(version=__version__, counts=backend.queries.counts(), jobs=views)

        return await asyncio.to_thread(ask)

    @router.post("/api/v1/reconcile", summary="Make up for lost webhooks and orders now")
    async def reconcile() -> ReconcileAnswer:
        return ReconcileAnswer(**await backend.reconcile())

    _job_details(router, backend)
    return router


def _job_details(router: APIRouter, backend: Backend) -> None:
    @router.get("/api/v1/jobs/{job}", summary="One job with its runs and orders")
    async def details(job: str) -> dict[str, Any]:
        return await asyncio.to_thread(backend.queries.details, job)

    @router.get("/api/v1/jobs/{job}/why", summary="Every decision of a job, with its reasons")
    async def why(job: str) -> list[dict[str, Any]]:
        found = await asyncio.to_thread(backend.queries.why, job)
        return [
            {
                "number": e.number,
                "at_ms": e.at_ms,
                "event": e.event,
                "source": e.source,
                "target": e.target,
                "why": list(e.why),
                "is_replayed": e.is_replayed,
            }
            for e in found
        ]

    @router.get("/api/v1/jobs/{job}/prompts", summary="What a job's agents were told, and where every part came from")
    async def prompts(job: str, run: Annotated[str, Query(max_length=200)] = "") -> list[dict[str, Any]]:
        return list(await asyncio.to_thread(backend.queries.prompts, job, run))

    @router.get("/api/v1/jobs/{job}/evidence", summary="The evidence bundle of a job", response_class=Response)
    async def evidence(job: str) -> Response:
        found = await asyncio.to_thread(backend.queries.job, job)
        data = await backend.export_evidence(found.id)
        name = f'attachment; filename="windlass-evidence-{found.id}.tar"'
        return Response(data, media_type="application/x-tar", headers={"Content-Disposition": name})


def _webhooks(backend: Backend) -> APIRouter:
    router = APIRouter(tags=["webhooks"])

    @router.post("/webhooks/github", status_code=202, summary="Where the forge delivers its webhooks")
    async def github(request: Request) -> Response:
        body = await _body(request, backend.largest_payload_bytes)
        headers = request.headers
        if not backend.verify_signature(body, headers.get("x-hub-signature-256", "")):
            raise HttpProblem(401, "bad_signature", "the signature is wrong", "check the webhook secret on both sides")
        if not headers.get("content-type", "").startswith("application/json"):
            hint = "set the webhook's content type to application/json"
            raise HttpProblem(415, "bad_content_type", "only JSON is taken", hint)
        delivery_id, event = headers.get("x-github-delivery", ""), headers.get("x-github-event", "")
        if not 0 < len(delivery_id) <= 100 or not 0 < len(event) <= 100:
            hint = "send X-GitHub-Delivery and X-GitHub-Event, at most 100 characters each"
            raise HttpProblem(400, "bad_headers", "the delivery's id or event is missing", hint)
        _insist_on_json(body)
        delivery = Delivery(id=delivery_id, event=event, body=body, received_at_ms=backend.now_ms())
        is_new = await backend.intake.receive(delivery)
        return PlainTextResponse("stored" if is_new else "known", 202)

    return router


async def _body(request: Request, limit: int) -> bytes:
    length = request.headers.get("content-length", "0")
    what = f"payloads above {limit} bytes are not taken"
    too_large = HttpProblem(413, "too_large", what, "GitHub sends 25 MB at most")
    if length.isdigit() and int(length) > limit:
        raise too_large
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def _insist_on_json(body: bytes) -> None:
    try:
        pydantic_core.from_json(body)
    except ValueError:
        raise HttpProblem(400, "bad_json", "the payload is not JSON", "send what GitHub sends") from None


class Identified:
    """Every answer carries the request's id, so that a log line can be found. Plain ASGI: it costs next to nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on and add to its answer's head."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")[:64]
        request_id = given or uuid.uuid4().hex.encode()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                took = f"total;dur={(time.monotonic() - started) * 1000:.1f}".encode()
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id),
                    (b"server-timing", took),
                ]
            await send(message)

        await self._app(scope, receive, answer)


async def _on_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, WindlassError)
    return JSONResponse(problem(error), status_of(error))


async def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    refused = Refused(f"{where}: {first['msg']}", code="bad_request", hint="see /docs for what is expected")
    return JSONResponse(problem(refused), 400)


def openapi_json(app: FastAPI) -> str:
    """The OpenAPI description, for the documentation."""
    return json.dumps(app.openapi(), indent=2, sort_keys=True) + "\n"
