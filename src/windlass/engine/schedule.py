"""The duties that recur: each a task of its own that survives its own errors and never overlaps itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from windlass.core.errors import Unavailable

log = logging.getLogger("windlass.schedule")


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What to do every `period_s` seconds. `wake`, when set, cuts the wait short."""

    name: str
    period_s: float
    act: Callable[[], Awaitable[object]]
    wake: asyncio.Event | None = None
    is_at_start: bool = True


class Schedule:
    """Runs duties until it is stopped."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, duties: list[Duty]) -> None:
        """Begin; each duty at once, then in its rhythm."""
        self._tasks = [asyncio.create_task(_repeat(duty), name=f"duty-{duty.name}") for duty in duties]

    async def stop(self) -> None:
        """End all duties; one that is at work is cancelled, which loses nothing."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []


async def _repeat(duty: Duty) -> None:
    if not duty.is_at_start:
        await asyncio.sleep(duty.period_s)
    while True:
        pause_s = duty.period_s
        try:
            if await duty.act() and duty.wake is not None:
                continue  # there may be more at once
        except Unavailable as error:
            pause_s = max(pause_s, min(error.retry_after_s or 1.0, 600.0))
            log.warning("duty is put off", extra={"duty": duty.name, "error": str(error)})
        except Exception:
            log.exception("duty failed; it is tried again", extra={"duty": duty.name})
            pause_s = max(pause_s, 1.0)
        await _pause(duty, pause_s * random.uniform(0.9, 1.1))  # noqa: S311


async def _pause(duty: Duty, pause_s: float) -> None:
    if duty.wake is None:
        await asyncio.sleep(pause_s)
        return
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(duty.wake.wait(), pause_s)
    duty.wake.clear()
