"""Sees one container through to its end: its output, its deadlines, its result, its removal.

It holds the run's lock as long as it works, so that nobody else does the same. Whatever it is in the middle of when
Windlass dies, the container goes on and the next process takes it up from the run directory. The engine may be away
for a while; when that lasts, the work is put down (Unavailable) and can be taken up again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from windlass.adapters.runners.container.charge import REMOVED, Beginning, Charge, silence_s
from windlass.adapters.runners.container.ending import EndingWatch
from windlass.adapters.runners.container.engine import Engine, Seen
from windlass.adapters.runners.container.meter import Meter, remove_groups
from windlass.adapters.runners.container.recording import Recording
from windlass.adapters.runners.rundir import RunDirectory
from windlass.adapters.runners.shim.life import TICK_S, Life
from windlass.adapters.runners.shim.space import Space
from windlass.core.errors import Failed, Refused, Unavailable, WindlassError

log = logging.getLogger("windlass.runners")

AWAY_S, AWAY_PAUSE_S = 10.0, 0.25
FIRST_LOOK_S = 0.02
SETTLE_S = 2.0
SHORT_BYTES = 1 << 16
ASK_S = 2.0
KILLED, FULL = 137, 1.02
NOT_STARTED = 127


class Supervision:
    """One container under somebody's eyes.

    It is attached to, because following an engine's log loses what a flood turns over, and with Podman even the end.
    """

    def __init__(self, engine: Engine, run: RunDirectory, charge: Charge) -> None:
        self._engine = engine
        self._run = run
        self._charge = charge
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._begun = Beginning.read(run)
        self._life = Life(charge.life())
        self._ending = EndingWatch(Path(charge.workdir), charge.as_ending())
        self._meter = Meter(charge.group, counts_network=charge.network == "bridge")
        self._space = Space(charge.disk(), self._meter.members)
        self._verdict: tuple[str, str] | None = None
        self._looked_at = self._asked_at = 0.0
        self._away_since: float | None = None
        self._pid, self._id = 0, ""
        self._error = self._over = ""
        self._has_broken = False

    async def see_through(self, lock: int) -> None:
        """Until the result is written and the container is gone; then the lock is let go. Raises Unavailable."""
        try:
            await self._see_through()
        except BaseException as error:
            if not self.started.done():
                self.started.set_exception(error)
                self.started.exception()  # whoever waits for it hears of it; nobody has to
            raise
        finally:
            os.close(lock)

    async def _see_through(self) -> None:
        goes_on = self._run.output.exists()
        recording = Recording(self._run.output, self._charge.output_bytes, goes_on=goes_on)
        try:
            self._go_on(recording)
            seen = await self._follow(recording)
            await self._make_sure(seen, recording)
            for text in filter(None, (self._error, self._over)):
                recording.add(f"windlass: {text}\n".encode())
        finally:
            recording.close()
        self._run.write("result.json", self._result(seen, recording.total))
        await self._remove()

    def _go_on(self, recording: Recording) -> None:
        if self._begun is not None:
            is_told = recording.total and not self._charge.is_watch_only
            silent_s = silence_s([self._run.output] if is_told else [Path(path) for path in self._charge.watch])
            self._life.go_on(self._begun.elapsed_s(), self._begun.since_last_s(), silent_s)

    async def _make_sure(self, seen: Seen | None, recording: Recording) -> None:
        """The last bytes, in case the engine broke off: its log has them. A long log is read only if it surely did."""
        if seen is not None and not seen.is_fresh and (self._has_broken or recording.total < SHORT_BYTES):
            with suppress(Failed, Refused):
                await recording.catch_up(self._engine.log(self._charge.name))

    # -------------------------------------------------------------- following

    async def _follow(self, recording: Recording) -> Seen | None:
        """Through all tries to the end; how the container was then, None when it was gone."""
        if self._begun is None:
            pump = self._begin(recording)
        else:
            seen = await self._seen()
            pump = self._begin(recording) if seen and seen.is_fresh else self._take_up(recording)
        while True:
            seen = await self._until_over(pump, recording)
            if not self._may_try_again(seen):
                return seen
            self._verdict = None
            pump = self._begin(recording)

    def _may_try_again(self, seen: Seen | None) -> bool:
        tries = self._begun.tries if self._begun else 0
        return seen is not None and self._verdict == ("timed_out", "start") and tries < self._charge.start_tries

    def _begin(self, recording: Recording) -> asyncio.Task[None]:
        self._begun = Beginning.now(self._begun)
        self._begun.write(self._run)
        self._life.go_on(self._begun.elapsed_s(), 0.0, None)
        return asyncio.create_task(self._live(recording))

    def _take_up(self, recording: Recording) -> asyncio.Task[None]:
        self._tell_started()
        return asyncio.create_task(self._reread(recording))

    async def _live(self, recording: Recording) -> None:
        """Start it, and take what it prints as it comes."""
        name = self._charge.name
        try:
            async with self._engine.attached(name) as stream:
                await self._engine.start(name)
                self._tell_started()
                with suppress(aiohttp.ClientError, OSError):
                    while (message := await stream.read_out()) is not None:
                        self._take(recording, message.data)
        except (Refused, Failed) as error:
            self._error = error.message
            self._tell_started()

    async def _reread(self, recording: Recording) -> None:
        """What it prints, out of the engine's log, until it is over."""
        while True:
            began = time.monotonic()
            seen = await self._engine.seen(self._charge.name)
            if seen is None:
                return
            if await recording.catch_up(self._engine.log(self._charge.name)):
                self._life.sign()
            if seen.is_over:
                return
            await asyncio.sleep(max(TICK_S, 4 * (time.monotonic() - began)))

    def _take(self, recording: Recording, data: bytes) -> None:
        recording.add(data)
        self._life.sign()

    def _tell_started(self) -> None:
        if not self.started.done():
            self.started.set_result(None)

    # -------------------------------------------------------------- holding it

    async def _until_over(self, pump: asyncio.Task[None], recording: Recording) -> Seen | None:
        """Until the container is over or gone. What is asked of the engine in vain is asked again."""
        try:
            while True:
                await asyncio.wait(
                    {pump}, timeout=min(self._life.next_s() + 0.001, TICK_S if self._looked_at else 0.02)
                )
                try:
                    await self._look()
                    if pump.done():
                        seen = await self._settled(pump)
                        if seen is None or seen.is_over or self._error or (seen.is_fresh and self._verdict):
                            return seen
                        pump = asyncio.create_task(self._reread(recording))
                    self._away_since = None
                except (Unavailable, Failed) as error:
                    if not self.started.done():
                        raise
                    await self._bear(error)
                    if pump.done():
                        pump = asyncio.create_task(self._reread(recording))
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def _settled(self, pump: asyncio.Task[None]) -> Seen | None:
        """How it is once its output has ended; the engine may need a moment to notice the end itself."""
        pump.result()
        until = time.monotonic() + SETTLE_S
        while True:
            seen = await self._engine.seen(self._charge.name)
            if seen is None or seen.is_over or self._error or time.monotonic() > until:
                return seen
            await asyncio.sleep(0.01)

    async def _look(self) -> None:
        """Deadlines, orders to stop, and what it uses."""
        if self._verdict is None:
            self._verdict = self._judge()
        if self._verdict is not None:
            await self._engine.kill(self._charge.name)
        if time.monotonic() - self._looked_at >= TICK_S:
            self._looked_at = time.monotonic()
            self._life.look()
            await self._measure()
            if self._verdict is None and (over := await asyncio.to_thread(self._space.over)):
                self._verdict, self._over = ("exited", ""), f"{over}; the run was ended"
                await self._engine.kill(self._charge.name)

    def _judge(self) -> tuple[str, str] | None:
        if (self._run.at / "stop").exists():
            return "stopped", ""
        if self._ending.is_due():
            return "ending", ""
        missed = self._life.missed()
        return ("timed_out", missed) if missed else None

    async def _measure(self) -> None:
        if not self._pid and (not self._charge.group or self._charge.network == "bridge"):
            seen = await self._engine.seen(self._charge.name)
            self._pid = seen.pid if seen and Path(f"/proc/{seen.pid}").exists() else 0
            self._id = seen.id if seen else ""
        self._meter.look(self._pid, self._id)
        if not self._meter.saw_something and time.monotonic() - self._asked_at >= ASK_S:
            self._asked_at = time.monotonic()
            with suppress(WindlassError):
                self._meter.take(*await self._engine.usage(self._charge.name))

    async def _seen(self) -> Seen | None:
        """How it is, asked until there is an answer."""
        while True:
            try:
                return await self._engine.seen(self._charge.name)
            except (Unavailable, Failed) as error:
                await self._bear(error)

    async def _bear(self, error: WindlassError) -> None:
        """The engine is away or out of order: wait a moment, but not for ever."""
        self._has_broken = True
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since > AWAY_S:
            log.warning("the container engine is away", extra={"container": self._charge.name, "error": str(error)})
            raise Unavailable(error.message, code="engine_away", hint=error.hint, retry_after_s=5.0) from error
        await asyncio.sleep(AWAY_PAUSE_S)

    # -------------------------------------------------------------- ending

    def _result(self, seen: Seen | None, printed: int) -> dict[str, Any]:
        ended, deadline = self._verdict or (("exited", "") if seen else ("lost", ""))
        self._meter.look(0)
        code = NOT_STARTED if self._error else seen.exit_code if seen else None
        if ended == "exited" and code == KILLED and (self._run.at / "stop").exists():
            ended = "stopped"
        return {
            "ended": ended,
            "exit_code": code if ended == "exited" else None,
            "deadline": deadline,
            "duration_s": self._duration_s(seen),
            "cpu_s": self._meter.cpu_s,
            "peak_memory_bytes": self._meter.peak_bytes,
            "output_bytes": printed,
            "bytes_out": self._bytes_out(),
            "image_digest": self._charge.image,
            "is_out_of_memory": self._ran_out(seen, code if ended == "exited" else None),
        }

    def _ran_out(self, seen: Seen | None, code: int | None) -> bool:
        """Whether it failed because memory ran out: somebody says so, or it was killed when all of it was used."""
        if seen is None or not code:
            return False
        limit = self._charge.memory_bytes
        is_full = code == KILLED and 0 < limit <= self._meter.peak_bytes * FULL
        return seen.is_out_of_memory or self._meter.is_out_of_memory or is_full

    def _duration_s(self, seen: Seen | None) -> float:
        told = seen.duration_s if seen else None
        elapsed = self._begun.elapsed_s() if self._begun else 0.0
        return min(told, elapsed) if told is not None and told >= 0 else elapsed

    def _bytes_out(self) -> int | None:
        """Nothing gets out where there is no way out; through a sidecar, whoever stands behind it counts."""
        return (
            self._meter.bytes_out if self._charge.network == "bridge" else 0 if self._charge.network == "none" else None
        )

    async def _remove(self) -> None:
        await remove(self._engine, self._charge)
        (self._run.at / REMOVED).touch()


async def remove(engine: Engine, charge: Charge) -> None:
    """Everything of a run that is not a file: its container, its sidecar, its control groups."""
    if charge.sidecar:
        await asyncio.gather(engine.remove(charge.name), engine.kill(charge.sidecar))
        await engine.remove(charge.sidecar)
    else:
        await engine.remove(charge.name)
    if charge.group:
        await asyncio.to_thread(remove_groups, charge.group)
