"""One atomic change: ports.Transaction over one connection that is inside a transaction.

Kept: a job is changed by whoever holds its row (PostgreSQL: FOR UPDATE) or the one write lock (SQLite); a refused
insert leaves the transaction usable; a job's records are counted from 0 without gaps. Refused: a second active job
on an issue, changing a job that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from windlass.adapters.storage import codec, forge_rows
from windlass.adapters.storage.faults import translated
from windlass.adapters.storage.models import (
    ACTIVE,
    agent_jobs,
    compliance_records,
    deliveries,
    effects,
    events,
    issues,
    ledger_waiting,
    pushed_commits,
    repositories,
)
from windlass.adapters.storage.rows import SNAPSHOT, TimeOrderedIds, insert, job_row, shown, upsert
from windlass.core.effects import Order
from windlass.core.errors import Conflict, NotFound
from windlass.core.events import Event, PullSnapshot
from windlass.core.job import Job
from windlass.core.policy import Policy
from windlass.core.records import RecordDraft
from windlass.ports import Clock

Enqueue = Callable[[sa.Connection, str, Order, str, str, int], None]
"""(connection, job id, order, queue, partition, priority): hand an order to durable execution, in our transaction."""

Seal = Callable[..., tuple[bytes, bytes]]
"""seal(kind, data, *, id, job_id, job_seq, at_ms) → (exact body, leaf hash of 32 bytes)."""


_SAVE_JOB = sa.update(agent_jobs).where(agent_jobs.c.id == sa.bindparam("which"))
_FINISH_EVENT = sa.update(events).where(events.c.number == sa.bindparam("which"))
_MARK_DELIVERY = sa.update(deliveries).where(deliveries.c.id == sa.bindparam("which"))
"""Built once: what is set comes with the parameters, which spares SQLAlchemy much of the work per call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a transaction works with."""

    seal: Seal
    clock: Clock
    enqueue: Enqueue | None
    ids: TimeOrderedIds


class SqlTransaction:
    """Fills ports.Transaction. Made by SqlStore.transaction() and dead when its block ends."""

    def __init__(self, connection: sa.Connection, parts: Parts) -> None:
        self._connection = connection
        self._parts = parts
        self._held: dict[str, Job] = {}
        self._next_seq: dict[str, int] = {}

    def lock_job(self, job_id: str) -> Job | None:
        """The job, held against other writers until the end. Raises Broken when its snapshot is not ours."""
        return self._hold(sa.select(SNAPSHOT).where(agent_jobs.c.id == job_id))

    def active_job(self, repository: str, issue_number: int) -> Job | None:
        """The one job on this issue that is not terminal, held against other writers."""
        return self._hold(
            sa.select(SNAPSHOT).where(
                agent_jobs.c.repository == repository,
                agent_jobs.c.issue_number == issue_number,
                ACTIVE,
            )
        )

    def _hold(self, query: sa.Select[str]) -> Job | None:
        with translated():
            snapshot = self._connection.scalar(query.with_for_update())
        if snapshot is None:
            return None
        job = codec.decode_job(snapshot)
        self._held[job.id] = job
        return job

    def insert_event(self, dedup: str, job_id: str | None, event: Event, at_ms: int) -> int | None:
        """The event's number, or None when `dedup` was seen before."""
        row = {
            "dedup": shown(dedup),
            "job_id": job_id,
            "kind": event.kind,
            "at_ms": at_ms,
            "event": codec.encode_event(event),
        }
        statement = insert(self._connection, events).on_conflict_do_nothing(index_elements=[events.c.dedup])
        with translated():
            number: int | None = self._connection.scalar(statement.returning(events.c.number), row)
        return number

    def finish_event(
        self,
        event_id: int,
        *,
        job_id: str | None,
        before: Job | None,
        after: Job | None,
        why: Sequence[str],
        policy: Policy | None,
    ) -> None:
        """Write what was decided on the event. Raises NotFound."""
        row = {
            "job_id": job_id,
            "source_state": before.state.value if before else "",
            "target_state": after.state.value if after else "",
            "why": codec.dump(list(why)),
            "job_before": codec.encode_job(before) if before else None,
            "job_after": codec.encode_job(after) if after else None,
            "policy": codec.encode_policy(policy) if policy else None,
        }
        self._change(_FINISH_EVENT, event_id, row, "event")

    def insert_job(self, job: Job) -> None:
        """Make the job's repository and issue known and write it. Raises Conflict (active_job)."""
        now = self._parts.clock.now_ms()
        with translated():
            self._know_issue(job, now)
            statement = insert(self._connection, agent_jobs).on_conflict_do_nothing().returning(agent_jobs.c.id)
            is_new = self._connection.scalar(statement, job_row(job, updated_at_ms=now)) is not None
        if not is_new:
            where = f"{job.repository}#{job.issue.number}"
            hint = "stop that job first, or wait for its end"
            raise Conflict(f"{where} has an active job already", code="active_job", hint=hint)
        self._held[job.id] = job
        self._write_around(job, None, now)

    def _know_issue(self, job: Job, now: int) -> None:
        seen = {"created_at_ms": now, "updated_at_ms": now}
        known = insert(self._connection, repositories).on_conflict_do_nothing()
        self._connection.execute(known, {"full_name": job.repository, **seen})
        row = {
            "repository": job.repository,
            "issue_number": job.issue.number,
            "title": shown(job.issue.title),
            "author": shown(job.issue.author),
            "url": shown(job.issue.url),
            "labels": codec.dump(list(job.issue.labels)),
            **seen,
        }
        key = ("repository", "issue_number")
        self._connection.execute(upsert(self._connection, issues, key, ("created_at_ms",)), row)

    def save_job(self, job: Job) -> None:
        """Write the job and what the tables show of it. Raises NotFound, Conflict (database_conflict)."""
        now = self._parts.clock.now_ms()
        self._change(_SAVE_JOB, job.id, job_row(job, updated_at_ms=now), "job")
        self._write_around(job, self._held.get(job.id), now)
        self._held[job.id] = job

    def _write_around(self, job: Job, before: Job | None, now: int) -> None:
        with translated():
            if job.pushed_shas and (before is None or before.pushed_shas != job.pushed_shas):
                self._write_commits(job)
            forge_rows.write_job(self._connection, job, before, now)

    def _write_commits(self, job: Job) -> None:
        rows = [{"job_id": job.id, "sha": sha, "position": i} for i, sha in enumerate(job.pushed_shas)]
        self._connection.execute(insert(self._connection, pushed_commits).on_conflict_do_nothing(), rows)

    def save_checks(self, job_id: str, pull: PullSnapshot, at_ms: int) -> None:
        """Write what was read of the job's pull request and its checks. Raises NotFound."""
        with translated():
            forge_rows.write_checks(self._connection, job_id, pull, at_ms)

    def add_order(self, job_id: str, order: Order, at_ms: int, *, queue: str, partition: str, priority: int) -> None:
        """Write the effect and hand it to durable execution. Raises Conflict when the number is taken."""
        row = {
            "job_id": job_id,
            "seq": order.seq,
            "kind": order.effect.kind,
            "body": codec.encode_order(order),
            "status": "ordered",
            "queue": queue,
            "partition": partition,
            "priority": priority,
            "ordered_at_ms": at_ms,
        }
        with translated():
            self._connection.execute(sa.insert(effects), row)
            if self._parts.enqueue is not None:
                self._parts.enqueue(self._connection, job_id, order, queue, partition, priority)

    def close_order(self, job_id: str, seq: int, status: str) -> None:
        """Mark an effect done, failed or void; one that is closed stays as it is."""
        self._close((seq,), job_id, status)

    def void_orders(self, job_id: str, seqs: Iterable[int]) -> None:
        """Nobody shall carry these out any more; those that are closed stay as they are."""
        self._close(tuple(seqs), job_id, "void")

    def _close(self, seqs: tuple[int, ...], job_id: str, status: str) -> None:
        if not seqs:
            return
        statement = (
            sa.update(effects)
            .where(effects.c.job_id == job_id, effects.c.seq.in_(seqs), effects.c.status == "ordered")
            .values(status=status, closed_at_ms=self._parts.clock.now_ms())
        )
        with translated():
            self._connection.execute(statement)

    def add_records(self, job_id: str | None, drafts: Sequence[RecordDraft], at_ms: int) -> tuple[str, ...]:
        """Append to the ledger; the records' ids. Raises NotFound for an unknown job, Refused from `seal`."""
        if not drafts:
            return ()
        first = None if job_id is None else self._reserve(job_id, len(drafts))
        rows = [
            self._record(job_id, draft, None if first is None else first + i, at_ms) for i, draft in enumerate(drafts)
        ]
        with translated():
            self._connection.execute(sa.insert(compliance_records), rows)
            self._connection.execute(sa.insert(ledger_waiting), [{"record_id": row["id"]} for row in rows])
        return tuple(row["id"] for row in rows)

    def _reserve(self, job_id: str, count: int) -> int:
        if job_id not in self._held and self.lock_job(job_id) is None:
            raise NotFound(f"no job {job_id}", hint="records are written after their job")
        first = self._next_seq.get(job_id)
        if first is None:
            newest = sa.select(sa.func.max(compliance_records.c.job_seq)).where(compliance_records.c.job_id == job_id)
            with translated():
                found = self._connection.scalar(newest)
            first = 0 if found is None else found + 1
        self._next_seq[job_id] = first + count
        return first

    def _record(self, job_id: str | None, draft: RecordDraft, job_seq: int | None, at_ms: int) -> dict[str, Any]:
        record_id = self._parts.ids.next(at_ms)
        body, leaf_hash = self._parts.seal(
            draft.kind, draft.data, id=record_id, job_id=job_id, job_seq=job_seq, at_ms=at_ms
        )
        return {
            "id": record_id,
            "job_id": job_id,
            "job_seq": job_seq,
            "kind": draft.kind,
            "at_ms": at_ms,
            "body": body,
            "leaf_hash": leaf_hash,
        }

    def mark_delivery(self, delivery_id: str, *, at_ms: int, outcome: str) -> None:
        """The delivery has been dealt with. Raises NotFound."""
        done = {"processed_at_ms": at_ms, "outcome": shown(outcome), "owner": None, "leased_until_ms": 0}
        self._change(_MARK_DELIVERY, delivery_id, done, "delivery")

    def known_shas(self, repository: str, issue_number: int) -> tuple[str, ...]:
        """Every commit that any job pushed for this issue, oldest job first."""
        query = (
            sa.select(pushed_commits.c.sha)
            .join(agent_jobs, agent_jobs.c.id == pushed_commits.c.job_id)
            .where(agent_jobs.c.repository == repository, agent_jobs.c.issue_number == issue_number)
            .order_by(agent_jobs.c.created_at_ms, agent_jobs.c.id, pushed_commits.c.position)
        )
        with translated():
            return tuple(dict.fromkeys(self._connection.scalars(query)))

    def _change(self, statement: sa.Update, which: str | int, row: dict[str, Any], what: str) -> None:
        with translated():
            changed = self._connection.execute(statement, {**row, "which": which}).rowcount
        if changed == 0:
            raise NotFound(f"no {what} {which}", hint="it must be written first")
