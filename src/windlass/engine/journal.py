"""Sees to it that every decision is in its job's step log soon after it was made.

Decisions are in the database already; this only copies them, so nothing waits for it and nothing is lost with it: a
new process begins with every job that is not over.
"""

from __future__ import annotations

import threading

from windlass.core.job import TERMINAL, State
from windlass.engine.execution_log import ExecutionLog

_MOST_AT_START = 10_000


class Journal:
    """The jobs on which something was decided since the last time."""

    def __init__(self, log: ExecutionLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._touched: set[str] = set()
        self._is_first = True

    def touch(self, job_id: str) -> None:
        """Something was decided on this job. May be called from any thread."""
        with self._lock:
            self._touched.add(job_id)

    def write(self) -> int:
        """Bring the logs of those jobs up to date; how many there were."""
        if self._is_first:
            self._is_first = False
            active = [state for state in State if state not in TERMINAL]
            for job in self._log.store.jobs(states=active, limit=_MOST_AT_START):
                self.touch(job.id)
        with self._lock:
            touched, self._touched = self._touched, set()
        for job_id in sorted(touched):
            self._log.catch_up(job_id)
        return len(touched)
