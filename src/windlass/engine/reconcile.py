"""Repair: what no webhook told, what an engine lost, what a crash left behind.

Every duty here only looks and brings events; hearing them twice changes nothing, so every replica may do all of them.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path
from typing import Protocol

from windlass.core.errors import NotFound, Refused, Unavailable, WindlassError
from windlass.core.events import DeadlinePassed, PullRequestTouched
from windlass.core.job import State
from windlass.engine.intake import Intake
from windlass.engine.loop import Door, Place, place_of
from windlass.ports import Clock, Forge, Runner, Store, StoredEffect

log = logging.getLogger("windlass.reconcile")


class Orders(Protocol):
    """What durable execution can say of an order, and how one is put back."""

    def is_lost(self, job_id: str, seq: int) -> bool:
        """Whether nobody will carry it out any more."""

    def again(self, job_id: str, seq: int, place: Place) -> None:
        """Put it back on its queue."""


class Reconciler:
    """Holds memory to the world."""

    def __init__(
        self,
        store: Store,
        forge: Forge,
        runner: Runner,
        clock: Clock,
        door: Door,
        intake: Intake,
        orders: Orders,
        workspaces: Path,
    ) -> None:
        self._store = store
        self._forge = forge
        self._runner = runner
        self._clock = clock
        self._door = door
        self._intake = intake
        self._orders = orders
        self._looked_at = ""
        self._workspaces = workspaces
        self._redelivered: set[str] = set()

    def deadlines(self, limit: int = 200) -> int:
        """Bring the deadlines that have passed."""
        due = self._store.due_jobs(self._clock.now_ms(), limit)
        for job_id, deadline_at_ms in due:
            event = DeadlinePassed(deadline_at_ms=deadline_at_ms)
            self._bring(event, job_id, f"deadline:{job_id}:{deadline_at_ms}")
        return len(due)

    def _bring(self, event: DeadlinePassed | PullRequestTouched, job_id: str, dedup: str) -> None:
        """One job that cannot be decided on must not keep the others from being looked at."""
        try:
            self._door.handle(event, job_id=job_id, dedup=dedup)
        except Unavailable:
            raise
        except Exception:
            log.exception("a job cannot be decided on", extra={"job": job_id, "event": event.kind})

    def look_again(self, batch: int, period_s: float) -> int:
        """Have some open pull requests looked at again, in turn, so that a lost webhook costs one period at most."""
        chosen = self._store.jobs_with_pull(self._looked_at, batch)
        self._looked_at = chosen[-1] if len(chosen) == batch else ""
        slot = int(self._clock.now_ms() / 1000 / max(period_s, 0.1))
        for job_id in chosen:
            event = PullRequestTouched(what="reconcile")
            self._bring(event, job_id, f"look:{job_id}:{slot}")
        return len(chosen)

    async def issues(self) -> int:
        """Look at every labelled issue that has no job, in every repository we may work on."""
        found = 0
        for repository in await self._repositories():
            try:
                found += await self._issues_of(repository)
            except NotFound:
                continue
            except Unavailable:
                raise
            except WindlassError as error:
                log.warning("a repository cannot be looked at", extra={"repository": repository, "error": str(error)})
        return found

    async def _repositories(self) -> tuple[str, ...]:
        known = await asyncio.to_thread(self._store.repositories)
        return tuple(dict.fromkeys((*await self._forge.repositories(), *known)))

    async def _issues_of(self, repository: str) -> int:
        policy = await self._intake.policy(repository)
        slot = self._clock.now_ms()
        found = 0
        for number in await self._forge.labelled_issues(repository, policy.label):
            job = await asyncio.to_thread(self._store.latest_job, repository, number)
            if job is None or job.is_terminal or job.state is State.ESCALATED:
                found += await self._look_at(repository, number, slot)
        return found

    async def _look_at(self, repository: str, number: int, slot: int) -> int:
        """One issue that cannot be looked at must not keep the others from it; 1 when it was."""
        try:
            await self._intake.look_at_issue(repository, number, key=f"reconcile:{repository}:{number}:{slot}")
        except Refused as error:
            log.warning("an issue cannot be looked at", extra={"issue": f"{repository}#{number}", "error": str(error)})
            return 0
        return 1

    def withdrawn(self) -> tuple[tuple[str, int], ...]:
        """Issues of jobs without a pull request, whose label may have gone without a word."""
        states = (State.QUEUED, State.RUNNING, State.PUBLISHING)
        return tuple((job.repository, job.issue.number) for job in self._store.jobs(states=states, limit=1000))

    async def look_at_withdrawn(self) -> int:
        """Re-read the issues behind running jobs."""
        found = await asyncio.to_thread(self.withdrawn)
        slot = self._clock.now_ms()
        return sum([await self._look_at(repository, number, slot) for repository, number in found])

    def orders(self, older_than_s: float, limit: int = 200) -> int:
        """Put back orders that durable execution has lost."""
        before_ms = self._clock.now_ms() - int(older_than_s * 1000)
        lost = 0
        for stored in self._store.open_effects(before_ms, limit):
            delayed_until_ms = stored.ordered_at_ms + int(stored.order.delay_s * 1000)
            if delayed_until_ms < before_ms and self._is_lost(stored.job_id, stored.order.seq):
                self._put_back(stored)
                lost += 1
        return lost

    def _is_lost(self, job_id: str, seq: int) -> bool:
        """Asked in this order: an order that was carried out since it was listed is not lost."""
        return self._orders.is_lost(job_id, seq) and self._store.is_open(job_id, seq)

    def _put_back(self, stored: StoredEffect) -> None:
        job = self._store.job(stored.job_id)
        kind = stored.order.effect.kind
        place = place_of(job.repository if job else "", kind)
        log.warning("a lost order is put back", extra={"job": stored.job_id, "seq": stored.order.seq, "effect": kind})
        self._orders.again(stored.job_id, stored.order.seq, place)

    async def deliveries(self, since_s: float) -> int:
        """Ask the forge to deliver again what it could not deliver."""
        since_ms = self._clock.now_ms() - int(since_s * 1000)
        missed = [d for d in await self._forge.failed_deliveries(since_ms) if d not in self._redelivered]
        for delivery_id in missed:
            await self._forge.redeliver(delivery_id)
            self._redelivered.add(delivery_id)
        return len(missed)

    async def reap(self) -> tuple[str, ...]:
        """Kill sandboxes of ours whose order is closed, and remove what is left of them."""
        killed = await self._runner.reap(self._is_wanted)
        await asyncio.to_thread(self._sweep_workspaces)
        return killed

    def _is_wanted(self, run_id: str) -> bool:
        """A run's id is `<job>-r<seq>` or `<job>-t<seq>-<tree>`; it is wanted while that order is open."""
        parts = run_id.split("-")
        seq = parts[1][1:] if len(parts) > 1 else ""
        return seq.isdecimal() and self._store.is_open(parts[0], int(seq))

    def _sweep_workspaces(self) -> None:
        for home in self._workspaces.iterdir():
            if not self._is_wanted(home.name):
                shutil.rmtree(home, ignore_errors=True)
