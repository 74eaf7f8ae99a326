"""How the local forge says no over HTTP: GitHub's statuses and error bodies.

A `Denied` is raised by acts and endpoints and rendered once, at the door. It is a `Refused`, so set-up calls from
Python that break a rule fail like every other part of Windlass does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from windlass.core.errors import Refused

DOCS = "https://docs.github.com/rest"


class Denied(Refused):
    """One refusal: `status` is the HTTP status, `errors` GitHub's list of what is wrong with which field."""

    code = "localforge_denied"

    def __init__(
        self,
        status: int,
        message: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint=f"HTTP {status} from the local forge")
        self.status = status
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """GitHub's error body."""
        out: dict[str, Any] = {"message": self.message, "documentation_url": DOCS, "status": str(self.status)}
        if self.errors:
            out["errors"] = [dict(error) for error in self.errors]
        return out


def not_found() -> Denied:
    """404, also for what the caller may not know of."""
    return Denied(404, "Not Found")


def invalid(resource: str, field: str, code: str = "invalid", message: str = "") -> Denied:
    """422 about one field; `code` is GitHub's: missing, missing_field, invalid, already_exists, custom."""
    error = {"resource": resource, "field": field, "code": code}
    if message:
        error["message"] = message
    return Denied(422, "Validation Failed", errors=[error])


def unprocessable(message: str) -> Denied:
    """422 with a message of its own and no list."""
    return Denied(422, message)


def forbidden(message: str) -> Denied:
    """403: the caller is known, and may not."""
    return Denied(403, message)
