"""Which exit code says what: the only place that knows.

0 done, 1 unexpected, 2 usage, 3 a person is needed, 4 refused (change the input), 5 failed, 6 unavailable for now.
"""

from __future__ import annotations

from windlass.core.errors import Broken, Failed, Refused, Unavailable, WindlassError
from windlass.core.job import Job, State

OK, ESCALATED, REFUSED, FAILED, UNAVAILABLE = 0, 3, 4, 5, 6


def of_error(error: WindlassError) -> int:
    """The exit code of an error."""
    match error:
        case Refused():
            return REFUSED
        case Unavailable():
            return UNAVAILABLE
        case Failed() | Broken():
            return FAILED
        case _:
            return FAILED


def of_job(job: Job) -> int:
    """The exit code of a job that a command waited for."""
    match job.state:
        case State.REVIEWING | State.MERGED:
            return OK
        case State.ESCALATED:
            return ESCALATED
        case _:
            return FAILED
