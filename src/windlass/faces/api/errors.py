"""Which HTTP status says what: the only place that knows."""

from __future__ import annotations

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
