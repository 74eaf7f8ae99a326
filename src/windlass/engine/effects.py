"""Carrying out one order: claim it, do it, say as an event what came of it.

Every effect is idempotent, so this may happen twice; the claim's number decides whose answer counts. What the outside
refuses for now is tried again here for a few seconds with growing, jittered pauses, and then given back to `decide`,
which owns the budgets. An error nobody foresaw is reported as transient, never swallowed.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar, assert_never

from windlass.core import effects
from windlass.core.errors import Broken, Failed, Refused, Unavailable, WindlassError
from windlass.core.events import EffectDone, EffectFailed, Event, PullRequestObserved, RunFinished, RunStarted
from windlass.engine.loop import Door
from windlass.engine.stages import branch, publish, retract, run, side, verify
from windlass.engine.stages.context import Claim, Outside, Overtaken

log = logging.getLogger("windlass.effects")

_TRIES = 5
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 15.0
_STORE_TRIES = 750
_TAKE_BACK_TRIES = 100

T = TypeVar("T")

Stage = Callable[[], Awaitable[Event]]


class Executor:
    """Carries out orders for one replica."""

    def __init__(self, outside: Outside, door: Door) -> None:
        self._outside = outside
        self._door = door

    async def carry_out(self, job_id: str, seq: int) -> None:
        """Do one order to its end; returns without a word when it is done, void or somebody else's by now."""
        store = self._outside.store
        stored = await _patiently(lambda: store.claim_effect(job_id, seq))
        job = await _patiently(lambda: store.job(job_id)) if stored else None
        if stored is None or job is None:
            await self._take_back(job_id, seq)
            return
        claim = Claim(outside=self._outside, job=job, seq=seq, number=stored.claim)
        effect = stored.order.effect
        try:
            event = await self._attempt(claim, effect)
            await self._insist_on_currency(claim)
        except Overtaken:
            log.info("overtaken", extra={"job": job_id, "seq": seq, "effect": effect.kind})
            if not await _patiently(lambda: store.is_open(job_id, seq)):
                await self._tidy(effect)
                await self._take_back(job_id, seq)
            return
        await self._report(claim, event)
        await self._tidy(effect)

    async def _attempt(self, claim: Claim, effect: effects.Effect) -> Event:
        for number in range(_TRIES):
            try:
                return await self._dispatch(claim, effect)
            except Unavailable as error:
                pause_s = max(error.retry_after_s or 0.0, _FIRST_PAUSE_S * 2**number) * random.uniform(0.8, 1.3)  # noqa: S311
                if number + 1 == _TRIES or pause_s > _LONGEST_PAUSE_S:
                    return _failure(claim, effect, error.code, str(error), error.retry_after_s, is_transient=True)
                await asyncio.sleep(pause_s)
                await self._insist_on_currency(claim)
            except (Refused, Failed, Broken) as error:
                return _failure(claim, effect, error.code, str(error), None, is_transient=False)
            except Overtaken:
                raise
            except Exception as error:
                log.exception("effect failed unexpectedly", extra={"job": claim.job.id, "effect": effect.kind})
                return _failure(claim, effect, "internal", f"{type(error).__name__}: {error}", None, is_transient=True)
        raise AssertionError("unreachable")

    async def _dispatch(self, claim: Claim, effect: effects.Effect) -> Event:
        match effect:
            case effects.CreateBranch():
                return await branch.create_branch(claim, effect)
            case effects.StartRun():
                return await run.start_run(claim, effect, announce=lambda event: self._announce(claim, event))
            case effects.StopRun():
                return await run.stop_run(claim, effect)
            case effects.VerifyPatch():
                return await verify.verify_patch(claim, effect)
            case effects.PushPatch():
                return await publish.push_patch(claim, effect)
            case effects.OpenPullRequest():
                return await publish.open_pull_request(claim, effect)
            case _:
                return await self._dispatch_side(claim, effect)

    async def _dispatch_side(
        self,
        claim: Claim,
        effect: effects.UpdateStatusComment
        | effects.SetCommitStatus
        | effects.Observe
        | effects.RerunChecks
        | effects.Abandon
        | effects.Notify,
    ) -> EffectDone | PullRequestObserved:
        match effect:
            case effects.UpdateStatusComment():
                return await side.update_status_comment(claim, effect)
            case effects.SetCommitStatus():
                return await side.set_commit_status(claim, effect)
            case effects.Observe():
                return await side.observe(claim, effect)
            case effects.RerunChecks():
                return await side.rerun_checks(claim, effect)
            case effects.Abandon():
                return await side.abandon(claim, effect)
            case effects.Notify():
                return await side.notify(claim, effect)
            case _:
                assert_never(effect)

    def _announce(self, claim: Claim, event: RunStarted) -> None:
        self._door.handle(event, job_id=claim.job.id, dedup=f"{claim.key}:started")

    async def _report(self, claim: Claim, event: Event) -> None:
        """Bring the answer in."""
        await _patiently(lambda: self._door.handle(event, job_id=claim.job.id, dedup=f"{claim.key}:answer"))

    async def _insist_on_currency(self, claim: Claim) -> None:
        """Raises Overtaken. What was done outside must not be forgotten only because the store is away."""
        store = self._outside.store
        if not await _patiently(lambda: store.is_current(claim.job.id, claim.seq, claim.number)):
            raise Overtaken(claim.key)

    async def _take_back(self, job_id: str, seq: int) -> None:
        """What a voided order did after all is taken back, however long the forge is away; a kill only delays it."""
        store = self._outside.store
        found = await _patiently(lambda: [e for e in store.effects(job_id) if e.order.seq == seq])
        job = await _patiently(lambda: store.job(job_id))
        if job is None or not found or found[0].status != "void" or found[0].claim == 0:
            return
        claim, effect = Claim(outside=self._outside, job=job, seq=seq, number=found[0].claim), found[0].order.effect
        for number in range(_TAKE_BACK_TRIES):
            try:
                await retract.take_back(claim, effect)
            except Unavailable as error:
                await asyncio.sleep(max(error.retry_after_s or 0.0, min(60.0, _FIRST_PAUSE_S * 2 ** min(number, 9))))
            except WindlassError as error:
                log.warning("a voided order cannot be taken back", extra={"job": job_id, "seq": seq, "why": str(error)})
                return
            else:
                return

    async def _tidy(self, effect: effects.Effect) -> None:
        """After the evidence is written, never before: the sandbox and its files go."""
        if isinstance(effect, effects.StartRun):
            try:
                await run.discard_run(self._outside, effect)
            except Exception:
                log.exception("a finished run could not be cleaned up; the reaper will", extra={"run": effect.run_id})


async def _patiently(ask: Callable[[], T]) -> T:
    """Ask the store, however long it is away (about an hour). Raises Unavailable after that."""
    for number in range(_STORE_TRIES):
        try:
            return await asyncio.to_thread(ask)
        except Unavailable as error:
            log.warning("the store is unavailable", extra={"error": str(error)})
            await asyncio.sleep(min(5.0, 0.05 * 2 ** min(number, 8)) * random.uniform(0.7, 1.3))  # noqa: S311
    raise Unavailable("the store did not come back", hint="the order is put back on its queue by the repair pass")


def _failure(
    claim: Claim, effect: effects.Effect, code: str, message: str, retry_after_s: float | None, *, is_transient: bool
) -> EffectFailed:
    return EffectFailed(
        seq=claim.seq,
        effect=effect.kind,
        code=code,
        message=claim.outside.redact(message)[:1000],
        is_transient=is_transient,
        retry_after_s=retry_after_s,
    )


__all__ = ["Executor", "RunFinished"]
