"""How a job is told in a terminal: one line for each thing that happened, with seconds since the start."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from windlass.core.job import Job, State
from windlass.core.messages import visible

_COLOURS = {
    State.QUEUED: "cyan",
    State.RUNNING: "yellow",
    State.PUBLISHING: "yellow",
    State.CHECKING: "yellow",
    State.REVIEWING: "green",
    State.ESCALATED: "red",
    State.MERGED: "bold green",
    State.CLOSED: "red",
    State.FAILED: "red",
    State.CANCELLED: "red",
    State.SHADOWED: "cyan",
}
# Housekeeping that a person watching does not need.
_DULL = ("look again", "an older look", "answers an order", "that deadline", "checks are under way")


class Teller:
    """Prints what happens, to standard error by default so that standard output stays for data."""

    def __init__(self, *, to_stdout: bool = False, is_quiet: bool = False) -> None:
        self._console = Console(stderr=not to_stdout, highlight=False, soft_wrap=True)
        self._started = time.monotonic()
        self._state: State | None = None
        self._is_quiet = is_quiet

    def say(self, text: str) -> None:
        """One line of our own words (may hold rich's markup; hostile text must be escaped by the caller)."""
        if not self._is_quiet:
            self._console.print(text)

    def on_change(self, job: Job, why: Sequence[str]) -> None:
        """What a decision changed."""
        if self._is_quiet:
            return
        for line in why:
            if not any(dull in line for dull in _DULL):
                self._print(escape(_plain(line)), "")
        if job.state is not self._state:
            self._state = job.state
            reason = f" [dim]({job.reason})[/dim]" if job.reason else ""
            self._print(f"[{_COLOURS[job.state]}]{job.state.value}[/]{reason}", "●")

    def _print(self, text: str, sign: str) -> None:
        at_s = time.monotonic() - self._started
        self._console.print(f"[dim]{at_s:7.1f} s[/dim] {sign or ' '} {text}")


def _plain(text: str) -> str:
    return " ".join(visible(text).split())[:200]
