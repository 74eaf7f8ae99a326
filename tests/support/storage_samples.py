"""Jobs, events and a store for the storage tests."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from windlass.adapters.storage import SqlStore
from windlass.core.effects import Notify, Order
from windlass.core.events import Check, PullSnapshot
from windlass.core.job import IssueSnapshot, Job, State, TaskType
from windlass.core.records import RecordDraft
from windlass.ports import Delivery

REPOSITORY = "octo/demo"
_numbers = itertools.count(1)


class TickingClock:
    """Grows by one millisecond with each look."""

    def __init__(self, start_ms: int = 1_700_000_000_000) -> None:
        self.now = start_ms

    def now_ms(self) -> int:
        """The next millisecond."""
        self.now += 1
        return self.now


def sample_issue(number: int = 1, **changes: Any) -> IssueSnapshot:
    """An issue."""
    return IssueSnapshot(**{"number": number, "title": "Fix it", "body": "It is broken", "author": "ann", **changes})


def sample_job(number: int = 1, **changes: Any) -> Job:
    """An active job on issue `number`, with an id of its own."""
    serial = next(_numbers)
    values: dict[str, Any] = {
        "id": f"job-{serial}",
        "repository": REPOSITORY,
        "issue": sample_issue(number),
        "task_type": TaskType.BUGFIX,
        "requested_by": "ann",
        "epoch": f"epoch-{serial}",
        "branch": f"ai-{number}",
        "base_ref": "main",
        "created_at_ms": 1_000 + serial,
        "state": State.QUEUED,
        "deadline_at_ms": 5_000,
    }
    return Job(**{**values, **changes})


def sample_pull(number: int = 7, **changes: Any) -> PullSnapshot:
    """A pull request with two checks on its head, one of them twice under different ids."""
    values: dict[str, Any] = {
        "number": number,
        "state": "open",
        "is_merged": False,
        "head_sha": "a" * 40,
        "base_ref": "main",
        "base_sha": "b" * 40,
        "title": "Fix it",
        "checks": (
            Check(name="test", source="check_run", status="completed", conclusion="failure", app="ci", id=1),
            Check(name="test", source="check_run", status="in_progress", app="ci", id=2),
            Check(name="lint", source="status", status="completed", conclusion="success"),
        ),
    }
    return PullSnapshot(**{**values, **changes})


def sample_draft(text: str = "because") -> RecordDraft:
    """A ledger entry."""
    return RecordDraft(kind="refusal", data={"why": text})


def put(store: SqlStore, job: Job) -> Job:
    """Write a new job."""
    with store.transaction() as transaction:
        transaction.insert_job(job)
    return job


def save(store: SqlStore, job: Job, **changes: Any) -> Job:
    """Change a job under its lock."""
    changed = dataclasses.replace(job, **changes)
    with store.transaction() as transaction:
        transaction.lock_job(job.id)
        transaction.save_job(changed)
    return changed


def order(seq: int = 1) -> Order:
    """An order."""
    return Order(seq=seq, effect=Notify(subject="s", text="t"), delay_s=1.5)


def delivery(name: str, at_ms: int = 1, **changes: Any) -> Delivery:
    """A webhook call."""
    return Delivery(**{"id": name, "event": "issues", "body": b"\0\xff{}", "received_at_ms": at_ms, **changes})
