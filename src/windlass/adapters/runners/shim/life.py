"""The three deadlines of a run and the signs of life they wait for: printed bytes, or a watched file that changes.

Watched files are looked at, never opened or followed: they lie in a directory that the agent owns.
"""

from __future__ import annotations

import os
import time

from windlass.adapters.runners.shim.files import Spec

TICK_S = 0.25


class Life:
    """The three deadlines, and the signs of life they wait for."""

    def __init__(self, spec: Spec) -> None:
        self._start_s: float = spec["start_s"]
        self._idle_s: float = spec["idle_s"]
        self._total_s: float = spec["total_s"]
        self._watched: list[str] = spec["watch"]
        self._is_watch_only: bool = spec.get("is_watch_only", False)
        self._seen = self._look()
        self.began = self._tried = time.monotonic()
        self._last_sign: float | None = None

    def go_on(self, elapsed_s: float, waited_s: float, silent_s: float | None) -> None:
        """Count from a first start `elapsed_s` ago and a last one `waited_s` ago.

        `silent_s`: how long ago the last sign of life was, None when there was none.
        """
        now = time.monotonic()
        self.began, self._tried = now - elapsed_s, now - waited_s
        self._last_sign = None if silent_s is None else now - silent_s

    def sign(self) -> None:
        """Something was printed."""
        if not self._is_watch_only:
            self._last_sign = time.monotonic()

    def look(self) -> None:
        """A watched file that changed is a sign of life; where nothing else is one, only if something is in it."""
        now = self._look()
        if now != self._seen:
            self._seen = now
            if not self._is_watch_only or any(size > 0 for size, _ in now):
                self._last_sign = time.monotonic()

    def missed(self) -> str:
        """Which deadline has passed: start, idle, total or ''."""
        missed = self._missed()
        if missed in ("start", "idle"):
            self.look()
            missed = self._missed()
        return missed

    def _missed(self) -> str:
        now = time.monotonic()
        if now - self.began >= self._total_s:
            return "total"
        if self._last_sign is None:
            return "start" if now - self._tried >= self._start_s else ""
        return "idle" if now - self._last_sign >= self._idle_s else ""

    def next_s(self) -> float:
        """Seconds until a deadline can pass, at most a tick."""
        now = time.monotonic()
        quiet = self._tried + self._start_s if self._last_sign is None else self._last_sign + self._idle_s
        return max(0.0, min(TICK_S, self.began + self._total_s - now, quiet - now))

    def _look(self) -> list[tuple[int, int]]:
        found = []
        for path in self._watched:
            try:
                seen = os.lstat(path)
            except OSError:
                found.append((-1, -1))
            else:
                found.append((seen.st_size, seen.st_mtime_ns))
        return found
