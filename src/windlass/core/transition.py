"""What one decision is made of, and the pad it is written on.

A `Plan` starts from a job and collects changes, orders, records and reasons; `Plan.done()` is the `Transition` that
is then carried into one database transaction. Nothing here touches the outside.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from windlass.core.effects import MAIN_LINE, Effect, Order
from windlass.core.job import Job, Pending, Reason, State
from windlass.core.records import RecordDraft, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """The outcome of one decision: the job as it is now, what to order, void and close, what to put on the ledger."""

    job: Job
    orders: tuple[Order, ...] = ()
    voided: tuple[int, ...] = ()
    closed: tuple[tuple[int, str], ...] = ()
    records: tuple[RecordDraft, ...] = ()
    why: tuple[str, ...] = ()


class Plan:
    """A decision in the making. `look_delay_s`: how long the next look at the pull request may wait."""

    def __init__(self, job: Job, now_ms: int) -> None:
        self.before = job
        self.job = job
        self.now_ms = now_ms
        self.look_delay_s = 0.0
        self._orders: list[Order] = []
        self._voided: list[int] = []
        self._closed: list[tuple[int, str]] = []
        self._records: list[RecordDraft] = []
        self._why: list[str] = []

    def set(self, **changes: Any) -> None:
        """Change the job."""
        self.job = dataclasses.replace(self.job, **changes)

    def say(self, why: str) -> None:
        """One reason, for `windlass why`."""
        self._why.append(why)

    def record(self, kind: str, **data: Any) -> None:
        """Put something on the ledger."""
        self._records.append(RecordDraft(kind=kind, data=plain(data)))

    def order(self, effect: Effect, *, delay_s: float = 0.0) -> int:
        """Order an effect; its number. A main-line effect becomes the one that is waited for."""
        seq = self.job.seq
        self._orders.append(Order(seq=seq, effect=effect, delay_s=delay_s))
        self.set(seq=seq + 1)
        if effect.kind in MAIN_LINE:
            self.set(work=Pending(seq=seq, kind=effect.kind))
        self.record("intent", seq=seq, effect=effect.kind, order=effect)
        return seq

    def close(self, seq: int, status: str = "done") -> None:
        """An ordered effect has been answered."""
        self._closed.append((seq, status))

    def drop_work(self) -> None:
        """Whatever the main line waits for is not wanted any more; its late result will be refused."""
        if self.job.work is not None:
            out = {member.seq for member in self.job.crew if member.is_out}
            self._voided.extend(sorted(out | {self.job.work.seq}))
            crew = tuple(dataclasses.replace(member, is_out=False) for member in self.job.crew)
            self.set(work=None, crew=crew)

    def enter(self, state: State, *, deadline_s: float | None, reason: Reason | None = None, detail: str = "") -> None:
        """Go to a state with its own deadline, seconds from now (None only for terminal states)."""
        deadline = None if deadline_s is None else self.now_ms + int(deadline_s * 1000)
        self.set(state=state, reason=reason, detail=detail[:500], deadline_at_ms=deadline, is_last_look=False)

    def done(self) -> Transition:
        """The finished decision; a changed state is a record of its own."""
        if self.job.state is not self.before.state or self.job.reason is not self.before.reason:
            self.record(
                "decision",
                source=self.before.state,
                target=self.job.state,
                reason=self.job.reason,
                detail=self.job.detail,
                why=self._why,
                policy_sha256=self.job.policy.digest,
            )
        return Transition(
            job=self.job,
            orders=tuple(self._orders),
            voided=tuple(self._voided),
            closed=tuple(self._closed),
            records=tuple(self._records),
            why=tuple(self._why),
        )
