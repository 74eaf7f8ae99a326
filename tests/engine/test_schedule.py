"""Duties survive their own errors, wait as long as the outside asks, and never overlap themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from windlass.core.errors import Unavailable
from windlass.engine import schedule
from windlass.engine.schedule import Duty, Schedule


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.001)


class Pauses:
    """Takes the place of sleeping: notes the pause and goes on at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        original = schedule._pause

        async def pause(duty: Duty, pause_s: float) -> None:
            self.seconds.append(pause_s)
            await original(duty, 0.001)

        monkeypatch.setattr(schedule, "_pause", pause)


async def test_a_duty_survives_its_errors(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    pauses = Pauses(monkeypatch)
    results: list[Exception | int] = [ValueError("a fault"), Unavailable("away"), 0]
    calls = 0

    async def act() -> int:
        nonlocal calls
        calls += 1
        found = results[min(calls, len(results)) - 1]
        if isinstance(found, Exception):
            raise found
        return found

    running = Schedule()
    running.start([Duty(name="d", period_s=0.01, act=act)])
    await until(lambda: calls >= 4)
    await running.stop()
    assert "duty failed" in caplog.text
    assert "duty is put off" in caplog.text
    assert pauses.seconds[0] >= 0.9, "an error is not tried again at full speed"
    assert pauses.seconds[1] >= 0.9
    assert pauses.seconds[2] < 0.1


@pytest.mark.parametrize(("asked", "waited"), [(30.0, 30.0), (None, 1.0), (86_400.0, 600.0)])
async def test_a_duty_waits_as_long_as_the_outside_asks_within_reason(
    monkeypatch: pytest.MonkeyPatch, asked: float | None, waited: float
) -> None:
    pauses = Pauses(monkeypatch)

    async def act() -> None:
        raise Unavailable("limit", retry_after_s=asked)

    running = Schedule()
    running.start([Duty(name="d", period_s=0.01, act=act)])
    await until(lambda: bool(pauses.seconds))
    await running.stop()
    assert waited * 0.9 <= pauses.seconds[0] <= waited * 1.1


async def test_a_wake_up_call_cuts_the_wait_short_and_none_is_lost() -> None:
    wake, calls = asyncio.Event(), 0

    async def act() -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            wake.set()  # something arrives while the duty is at work
        return 0

    running = Schedule()
    running.start([Duty(name="d", period_s=3600, act=act, wake=wake)])
    await until(lambda: calls == 1)
    wake.set()
    await until(lambda: calls == 3)
    await running.stop()


async def test_as_long_as_there_is_more_it_goes_on_at_once() -> None:
    left = 5

    async def act() -> int:
        nonlocal left
        left -= 1
        return max(left, 0)

    running = Schedule()
    running.start([Duty(name="d", period_s=3600, act=act, wake=asyncio.Event())])
    await until(lambda: left <= 0)
    await running.stop()


async def test_a_slow_duty_holds_no_other_up_and_never_overlaps_itself() -> None:
    at_work = most = fast = 0
    gate = asyncio.Event()

    async def slow() -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await gate.wait()
        at_work -= 1

    async def quick() -> None:
        nonlocal fast
        fast += 1

    running = Schedule()
    running.start([Duty(name="slow", period_s=0.001, act=slow), Duty(name="quick", period_s=0.001, act=quick)])
    await until(lambda: fast > 5)
    assert (at_work, most) == (1, 1)
    gate.set()
    await until(lambda: fast > 15)
    await running.stop()
    assert most == 1


async def test_a_duty_that_waits_first_is_not_done_at_once_and_stopping_ends_everything() -> None:
    calls = 0

    async def act() -> None:
        nonlocal calls
        calls += 1

    forever: Callable[[], Awaitable[object]] = asyncio.Event().wait
    running = Schedule()
    running.start(
        [
            Duty(name="later", period_s=3600, act=act, is_at_start=False),
            Duty(name="stuck", period_s=1, act=forever),
        ]
    )
    await asyncio.sleep(0.02)
    await asyncio.wait_for(running.stop(), 5)
    assert calls == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("duty-")]
