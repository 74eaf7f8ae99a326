"""Which HTTP status says what: the only place that knows."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from windlass.core.errors import Broken, Conflict, Failed, Forbidden, NotFound, Refused, Unavailable, WindlassError

_STATUSES: tuple[tuple[type[WindlassError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (Forbidden, 403),
    (Refused, 400),
    (Unavailable, 503),
    (Failed, 502),
    (Broken, 500),
)


def status_of(error: WindlassError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def problem(error: WindlassError) -> dict[str, str]:
    """The body of an error answer."""
    return {"code": error.code, "message": error.message, "hint": error.hint}


class HttpProblem(HTTPException):
    """What only HTTP knows to be wrong, with its status and the same body as every other error."""

    def __init__(
        self, status: int, code: str, message: str, hint: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers)
        self.body = {"code": code, "message": message, "hint": hint}


async def on_http_error(_request: Request, error: Exception) -> JSONResponse:
    """Ours, and what the framework itself refuses: unknown addresses, methods."""
    assert isinstance(error, HTTPException)
    body = {"code": f"http_{error.status_code}", "message": str(error.detail), "hint": "see /docs for what there is"}
    if isinstance(error, HttpProblem):
        body = error.body
    return JSONResponse(body, error.status_code, headers=error.headers)


async def on_fault(_request: Request, _error: Exception) -> JSONResponse:
    """A fault of ours: it is in the log, and tells the caller nothing of our insides."""
    return JSONResponse({"code": "internal", "message": "a fault in Windlass", "hint": "see the server's log"}, 500)
