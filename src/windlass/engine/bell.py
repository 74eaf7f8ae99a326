"""Rings when an order was committed, so that its queue is looked at now and not at the next poll.

The bell only saves waiting: whoever misses a ring (another replica, a crash between commit and ring) finds the order
at its next poll. It knows nothing of jobs; it stands between a thread that commits and threads that wait.
"""

from __future__ import annotations

import functools
import threading

_THREAD_NAME = "queue-worker-"


class Bell:
    """One per process. `order` before the commit and `ring` after it are called on the same thread."""

    def __init__(self, *queues: str) -> None:
        self._rung = {f"{_THREAD_NAME}{queue}": threading.Event() for queue in queues}
        self._ordered = threading.local()

    def order(self, queue: str) -> None:
        """An order for this queue is about to be committed."""
        self._names().add(f"{_THREAD_NAME}{queue}")

    def ring(self) -> None:
        """What was ordered on this thread is committed: wake the threads of its queues."""
        names = self._names()
        while names:
            rung = self._rung.get(names.pop())
            if rung is not None:
                rung.set()

    def hang(self, stop: threading.Event) -> None:
        """Have the queues' threads, which pause by waiting for `stop`, wait for the bell as well."""
        stop.wait = functools.partial(self._wait, stop)  # type: ignore[method-assign]
        stop.set = functools.partial(self._stop, stop)  # type: ignore[method-assign]

    def _names(self) -> set[str]:
        names: set[str] | None = getattr(self._ordered, "names", None)
        if names is None:
            names = self._ordered.names = set()
        return names

    def _wait(self, stop: threading.Event, timeout: float | None = None) -> bool:
        rung = self._rung.get(threading.current_thread().name)
        if rung is None:
            return threading.Event.wait(stop, timeout)
        if not stop.is_set():
            rung.wait(timeout)
            rung.clear()
        return stop.is_set()

    def _stop(self, stop: threading.Event) -> None:
        threading.Event.set(stop)
        for rung in self._rung.values():
            rung.set()
