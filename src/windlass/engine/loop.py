"""The one door: every event enters here, and one transaction writes what follows from it.

Dedup, lock, decide, new state, records and orders are one commit. Whoever brings the same event again (a redelivery,
a stage carried out twice, another replica) is told that it is known. Nothing else in Windlass changes a job.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from windlass.core import workflow
from windlass.core.events import Event, IssueLabelled, IssueWithdrawn, PullRequestObserved
from windlass.core.job import Job, State
from windlass.core.policy import Policy
from windlass.core.transition import Transition
from windlass.ports import Clock, Store, Transaction

log = logging.getLogger("windlass.engine")

OnChange = Callable[[Job, Sequence[str]], None]

# Which queue carries out which effect; all others are light calls to the forge.
QUEUES = {"StartRun": "agent", "VerifyPatch": "tests"}
# Lower is sooner. Stopping and cleaning up come first, then what a person waits for.
PRIORITIES = {"StopRun": 1, "Abandon": 2, "SetCommitStatus": 10, "PushPatch": 20, "OpenPullRequest": 20}
USUAL_PRIORITY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an order waits: its queue, the repository it belongs to, and how soon it is wanted (lower is sooner)."""

    queue: str
    partition: str
    priority: int


def place_of(repository: str, effect_kind: str) -> Place:
    """Where orders of this kind wait."""
    return Place(
        queue=QUEUES.get(effect_kind, "light"),
        partition=repository.lower(),
        priority=PRIORITIES.get(effect_kind, USUAL_PRIORITY),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What became of an event. `is_new` is False when it was known already; `job` is as it stands now."""

    is_new: bool
    job: Job | None
    why: tuple[str, ...] = ()
    is_opened: bool = False


class Door:
    """Where events come in. `new_id` makes job ids; `on_change` hears of every changed job after the commit."""

    def __init__(
        self, store: Store, clock: Clock, *, new_id: Callable[[], str], on_change: OnChange | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._on_change = on_change

    def handle(self, event: Event, *, job_id: str, dedup: str) -> Handled:
        """Decide on an event of a known job. Raises what the store raises; then nothing has changed."""
        now_ms = self._clock.now_ms()
        with self._store.transaction() as tx:
            event_id = tx.insert_event(dedup, job_id, event, now_ms)
            if event_id is None:
                return Handled(is_new=False, job=None)
            job = tx.lock_job(job_id)
            if job is None:
                tx.finish_event(event_id, job_id=None, before=None, after=None, why=("no such job",), policy=None)
                return Handled(is_new=True, job=None, why=("no such job",))
            transition = workflow.decide(job, event, job.policy, now_ms)
            self._write(tx, event_id, event, job, transition, now_ms)
        self._tell(job, transition)
        return Handled(is_new=True, job=transition.job, why=transition.why)

    def request(self, event: IssueLabelled, policy: Policy) -> Handled:
        """Open a job, unless this very asking is known, it is not allowed, or one is under way already."""
        now_ms = self._clock.now_ms()
        dedup = f"ask:{event.repository.lower()}:{event.issue.number}:{event.epoch}"
        with self._store.transaction() as tx:
            event_id = tx.insert_event(dedup, None, event, now_ms)
            if event_id is None:
                return Handled(is_new=False, job=tx.active_job(event.repository, event.issue.number))
            if not event.may_request:
                why = f"{event.requested_by} may not ask for work here"
                tx.add_records(None, workflow.refusal(event, why), now_ms)
                tx.finish_event(event_id, job_id=None, before=None, after=None, why=(why,), policy=policy)
                return Handled(is_new=True, job=None, why=(why,))
            active = tx.active_job(event.repository, event.issue.number)
            if active is not None and active.state is not State.ESCALATED:
                transition = workflow.decide(active, event, active.policy, now_ms)
                self._write(tx, event_id, event, active, transition, now_ms)
                return Handled(is_new=True, job=active, why=transition.why)
            gone = self._give_way(tx, active, event, now_ms) if active is not None else None
            transition = self._open(tx, event_id, event, policy, now_ms)
        if gone is not None:
            self._tell(active, gone)
        self._tell(None, transition)
        return Handled(is_new=True, job=transition.job, why=transition.why, is_opened=True)

    def _open(self, tx: Transaction, event_id: int, event: IssueLabelled, policy: Policy, now_ms: int) -> Transition:
        known = tx.known_shas(event.repository, event.issue.number)
        transition = workflow.open_job(event, policy, now_ms, job_id=self._new_id(), known_shas=known)
        tx.insert_job(transition.job)
        self._write(tx, event_id, event, None, transition, now_ms)
        return transition

    def _give_way(self, tx: Transaction, active: Job, event: IssueLabelled, now_ms: int) -> Transition:
        """An escalated job ends so that the work can start over."""
        withdrawn = IssueWithdrawn(how=workflow.ASKED_AGAIN, by=event.requested_by)
        event_id = tx.insert_event(f"again:{active.id}:{event.epoch}", active.id, withdrawn, now_ms)
        assert event_id is not None
        transition = workflow.decide(active, withdrawn, active.policy, now_ms)
        self._write(tx, event_id, withdrawn, active, transition, now_ms)
        return transition

    def _write(
        self, tx: Transaction, event_id: int, event: Event, before: Job | None, transition: Transition, now_ms: int
    ) -> None:
        job = transition.job
        tx.save_job(job)
        for seq, status in transition.closed:
            tx.close_order(job.id, seq, status)
        tx.void_orders(job.id, transition.voided)
        for order in transition.orders:
            place = place_of(job.repository, order.effect.kind)
            tx.add_order(job.id, order, now_ms, queue=place.queue, partition=place.partition, priority=place.priority)
        if isinstance(event, PullRequestObserved):
            tx.save_checks(job.id, event.pull, now_ms)
        tx.add_records(job.id, transition.records, now_ms)
        tx.finish_event(event_id, job_id=job.id, before=before, after=job, why=transition.why, policy=job.policy)

    def _tell(self, before: Job | None, transition: Transition) -> None:
        job = transition.job
        if before is None or before.state is not job.state:
            log.info(
                "job state",
                extra={
                    "job": job.id,
                    "repository": job.repository,
                    "issue": job.issue.number,
                    "state": job.state.value,
                    "reason": job.reason.value if job.reason else None,
                    "why": list(transition.why),
                },
            )
        if self._on_change is not None:
            self._on_change(job, transition.why)
