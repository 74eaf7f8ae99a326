"""How things go wrong, sorted by who has to act.

WindlassError
├── Refused      the request is wrong or not allowed          → the caller changes it, no retry
│   ├── NotFound · Conflict · Forbidden
├── Unavailable  the outside did not answer or asked to wait  → tried again, after `retry_after_s`
├── Failed       the outside said no for good                 → the job fails, a person is told
└── Broken       our own record contradicts itself            → stop, wake someone

HTTP statuses live in `faces/api`, exit codes in `faces/cli`.
"""

from __future__ import annotations


class WindlassError(Exception):
    """Something went wrong. `code` is stable, `message` is one line, `hint` says what to do."""

    code = "error"

    def __init__(self, message: str, *, hint: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class Refused(WindlassError):
    """The request is wrong or not allowed; the caller must change something."""

    code = "refused"


class NotFound(Refused):
    """What was asked for is not there."""

    code = "not_found"


class Conflict(Refused):
    """What was asked for contradicts what is there."""

    code = "conflict"


class Forbidden(Refused):
    """The caller may not do this."""

    code = "forbidden"


class Unavailable(WindlassError):
    """The outside did not answer, or asked us to wait `retry_after_s` seconds (None: unknown)."""

    code = "unavailable"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after_s = retry_after_s


class Failed(WindlassError):
    """The outside said no for good."""

    code = "failed"


class Broken(WindlassError):
    """Our own record contradicts itself or its proof."""

    code = "broken"
