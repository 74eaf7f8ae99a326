"""What people may ask: jobs, their history, and whether the history still explains them.

Reads only. Faces render what is returned here as plain data.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from windlass.core import findings, workflow
from windlass.core.errors import NotFound
from windlass.core.events import RunFinished, RunStarted
from windlass.core.job import Job, State
from windlass.core.records import plain
from windlass.engine.execution_log import ExecutionLog
from windlass.engine.log_reading import LogPage, LogQuery, read_page
from windlass.ports import Blobs, RunRecord, Store, StoredEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One event of a job: what it was, what it changed, and whether deciding again gives the same."""

    number: int
    at_ms: int
    event: str
    source: str
    target: str
    why: tuple[str, ...]
    is_replayed: bool | None


class Queries:
    """Questions to the store."""

    def __init__(self, store: Store, blobs: Blobs, steps: ExecutionLog | None = None) -> None:
        self._store = store
        self._blobs = blobs
        self._steps = steps

    def job(self, job_id: str) -> Job:
        """One job, by its id or an unambiguous beginning of it. Raises NotFound."""
        job = self._store.job(job_id)
        if job is not None:
            return job
        matches = self._store.jobs_by_prefix(job_id, 2) if len(job_id) >= 4 else ()
        job = self._store.job(matches[0]) if len(matches) == 1 else None
        if job is not None:
            return job
        raise NotFound(f"there is no job {job_id}", hint="`windlass status` lists the jobs")

    def jobs(
        self, *, states: Sequence[State] | None = None, repository: str | None = None, limit: int = 100
    ) -> tuple[Job, ...]:
        """Jobs, newest first."""
        return self._store.jobs(states=states, repository=repository, limit=limit)

    def details(self, job_id: str) -> dict[str, Any]:
        """One job with its runs, what they found, and orders, as plain JSON."""
        job = self.job(job_id)
        return {
            "job": plain(job),
            "runs": [self._run(run) for run in self._store.runs(job.id)],
            "orders": [
                {"seq": e.order.seq, "effect": e.order.effect.kind, "status": e.status, "claims": e.claim}
                for e in self._store.effects(job.id)
            ],
        }

    def _run(self, run: RunRecord) -> dict[str, Any]:
        kept = findings.decode(self._blobs.get(run.findings_digest)) if run.findings_digest else ()
        return {**plain(run), "findings": [dataclasses.asdict(one) for one in kept]}

    def why(self, job_id: str) -> tuple[Explained, ...]:
        """Every event of a job with its reasons, each decision taken again and compared."""
        return tuple(_explain(stored) for stored in self._store.events(self.job(job_id).id))

    def reports(self, job_id: str) -> tuple[tuple[str, str], ...]:
        """(run id, text) of what a job's agents reported."""
        runs = [run for run in self._store.runs(self.job(job_id).id) if run.report_digest]
        return tuple((run.id, self._blobs.get(run.report_digest).decode("utf-8", "replace")) for run in runs)

    def logs(self, job_id: str, query: LogQuery) -> LogPage:
        """A page of a job's step log. Raises NotFound, Refused, Unavailable."""
        job = self.job(job_id)
        if self._steps is None:
            return LogPage(lines=(), cursor="", has_more=False)
        self._steps.catch_up(job.id)
        return read_page(self._steps.index, self._blobs, job.id, query)

    def prompts(self, job_id: str, run_id: str = "") -> tuple[dict[str, Any], ...]:
        """What a job's agents were told, oldest first, or one run's: text, where it came from, what was taken out.

        Raises NotFound for a run that the job has not.
        """
        job = self.job(job_id)
        manifests: dict[str, str] = {}
        flags: dict[str, tuple[str, ...]] = {}
        for stored in self._store.events(job.id):
            event = stored.event
            if isinstance(event, RunStarted | RunFinished):
                manifests[event.run_id] = event.prompt_manifest_digest or manifests.get(event.run_id, "")
                flags[event.run_id] = event.prompt_flags
        runs = [run for run in self._store.runs(job.id) if run_id in {"", run.id}]
        if run_id and not runs:
            raise NotFound(f"job {job.id} has no run {run_id}", hint=f"`windlass prompt show {job.id}` shows all")
        return tuple(
            self._prompt(run, manifests.get(run.id, ""), flags.get(run.id, ())) for run in runs if run.prompt_digest
        )

    def _prompt(self, run: RunRecord, manifest_digest: str, flags: tuple[str, ...]) -> dict[str, Any]:
        return {
            "run": run.id,
            "role": run.role,
            "attempt": run.attempt,
            "agent": run.agent,
            "digest": run.prompt_digest,
            "flags": list(flags),
            "manifest": json.loads(self._blobs.get(manifest_digest)) if manifest_digest else None,
            "text": self._blobs.get(run.prompt_digest).decode("utf-8", "replace"),
        }

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        return {state.value: 0 for state in State} | dict(self._store.count_jobs())


def _explain(stored: StoredEvent) -> Explained:
    return Explained(
        number=stored.id,
        at_ms=stored.at_ms,
        event=stored.event.kind,
        source=stored.source_state,
        target=stored.target_state,
        why=stored.why,
        is_replayed=_replay(stored),
    )


def _replay(stored: StoredEvent) -> bool | None:
    """Decide again on what was stored; None for an event that opened the job or concerned none."""
    if stored.job_before is None or stored.job_after is None:
        return None
    again = workflow.decide(stored.job_before, stored.event, stored.job_before.policy, stored.at_ms)
    return again.job == stored.job_after and again.why == stored.why
