"""The ledger's part of the store, in memory, and a whole small log to test with."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from windlass.adapters.blobs import DirectoryBlobs
from windlass.adapters.signing import Ed25519FileSigner, verify_ed25519
from windlass.core.errors import Conflict
from windlass.core.evidence import seal
from windlass.core.job import IssueSnapshot, Job, State, TaskType
from windlass.core.records import RecordDraft
from windlass.engine.ledger import Ledger
from windlass.ports import StoredRecord

START_MS = 1_767_225_600_000
ORIGIN = "windlass.example/log"


class TickingClock:
    """Each look is one second later."""

    def __init__(self) -> None:
        self.at_ms = START_MS

    def now_ms(self) -> int:
        self.at_ms += 1000
        return self.at_ms


class MemoryTransaction:
    def __init__(self, store: MemoryLedgerStore) -> None:
        self._store = store
        self.added: list[StoredRecord] = []

    def lock_job(self, job_id: str) -> Job | None:
        return self._store.jobs_by_id.get(job_id)

    def add_records(self, job_id: str | None, drafts: Sequence[RecordDraft], at_ms: int) -> None:
        for draft in drafts:
            known = [one for one in (*self._store.rows, *self.added) if one.job_id == job_id]
            seq = None if job_id is None else len(known)
            name = f"record-{len(self._store.rows) + len(self.added):06d}"
            body, leaf = seal(draft.kind, draft.data, id=name, job_id=job_id, job_seq=seq, at_ms=at_ms)
            row = StoredRecord(
                id=name, job_id=job_id, job_seq=seq, kind=draft.kind, at_ms=at_ms, body=body, leaf_hash=leaf
            )
            self.added.append(row)


class MemoryLedgerStore:
    """What the ledger uses of `ports.Store`. `rows`, `checkpoint_rows` are open to tests that tamper."""

    def __init__(self) -> None:
        self.jobs_by_id: dict[str, Job] = {}
        self.rows: list[StoredRecord] = []
        self.checkpoint_rows: dict[int, tuple[bytes, str]] = {}
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        with self._lock:
            transaction = MemoryTransaction(self)
            yield transaction
            self.rows += transaction.added

    def records(
        self, job_id: str | None = None, *, after: int = -1, limit: int | None = None
    ) -> tuple[StoredRecord, ...]:
        found = [row for row in self.rows if job_id in (None, row.job_id)]
        found = [row for row in found if row.leaf_index is None or row.leaf_index > after]
        found.sort(key=lambda row: len(self.rows) if row.leaf_index is None else row.leaf_index)
        return tuple(found[:limit])

    def sequence_records(self, limit: int) -> int:
        with self._lock:
            size, given = self.ledger_size(), 0
            for at, row in enumerate(self.rows):
                if row.leaf_index is None and given < limit:
                    self.set(at, leaf_index=size + given)
                    given += 1
            return given

    def set(self, at: int, **changes: Any) -> None:
        """Change a row, as nobody may."""
        row = self.rows[at]
        self.rows[at] = StoredRecord(**{name: getattr(row, name) for name in row.__slots__} | changes)

    def leaf_hashes(self, start: int, end: int) -> list[bytes]:
        by_index = {row.leaf_index: row.leaf_hash for row in self.rows if row.leaf_index is not None}
        return [by_index[index] for index in range(start, end) if index in by_index]

    def ledger_size(self) -> int:
        return sum(1 for row in self.rows if row.leaf_index is not None)

    def add_checkpoint(self, size: int, root: bytes, note: str, at_ms: int) -> None:
        kept = self.checkpoint_rows.setdefault(size, (root, note))
        if kept[0] != root:
            raise Conflict("another root at this size")

    def latest_checkpoint(self) -> tuple[int, str] | None:
        if not self.checkpoint_rows:
            return None
        size = max(self.checkpoint_rows)
        return size, self.checkpoint_rows[size][1]

    def checkpoints(self, *, after: int = -1, limit: int | None = None) -> tuple[tuple[int, str], ...]:
        found = [(size, note) for size, (_, note) in sorted(self.checkpoint_rows.items()) if size > after]
        return tuple(found[:limit])


def make_job(job_id: str, number: int = 1, state: State = State.MERGED) -> Job:
    return Job(
        id=job_id,
        repository="acme/shop",
        issue=IssueSnapshot(number=number, title="Totals are wrong", body="", author="ada"),
        task_type=TaskType.BUGFIX,
        requested_by="ada",
        epoch=f"label-{number}",
        branch=f"ai-{number}",
        base_ref="main",
        created_at_ms=START_MS,
        state=state,
        deadline_at_ms=None if state is State.MERGED else START_MS,
    )


def story_of(patch: str, log: str, head: str = "c" * 40) -> list[RecordDraft]:
    """The records of a job that went well, in the shapes in which `core.workflow` writes them."""

    def draft(kind: str, **data: Any) -> RecordDraft:
        return RecordDraft(kind=kind, data=data)

    run = {"kind": "RunFinished", "patch": {"digest": patch, "start_sha": "b" * 40}, "log_digest": log}
    pull = {"number": 7, "head_sha": head, "checks": [{"name": "tests", "conclusion": "success"}]}
    return [
        draft("decision", opened="job", requested_by="ada", policy_sha256="ab" * 32),
        draft("intent", effect="StartRun", seq=0, order={"purpose": "implement", "prompt_digest": "e" * 64}),
        draft("result", effect="StartRun", seq=0, outcome=run),
        draft("intent", effect="PushPatch", seq=1, order={"branch": "ai-1"}),
        draft("result", effect="PushPatch", seq=1, outcome={"kind": "PatchPushed", "head_sha": head}),
        draft("intent", effect="Observe", seq=2, order={"pull_number": 7}),
        draft("result", effect="Observe", seq=2, outcome={"kind": "PullRequestObserved", "pull": pull}),
        draft("approval", by="grace", head_sha=head, review_id=9, at_ms=START_MS),
        draft("intent", effect="SetCommitStatus", seq=3, order={"sha": head, "state": "success"}),
        draft("merge", head_sha=head, merge_commit_sha="d" * 40, merged_by="grace", approved_by="grace"),
    ]


class SmallLog:
    """A store with two jobs' records between one another, a key, blobs and the ledger over them."""

    def __init__(self, root: Path, store: Any = None) -> None:
        self.root = root
        self.store: Any = MemoryLedgerStore() if store is None else store
        self.clock = TickingClock()
        self.signer = Ed25519FileSigner(root / "log.key", ORIGIN)
        self.blobs = DirectoryBlobs(root / "blobs")
        self.patch = self.blobs.put(b"diff --git a/x b/x\n")
        self.log = self.blobs.put(b"ran the tests: 3 passed\n")
        self.ledger = self.open()

    def open(self) -> Ledger:
        """A ledger as another process would have it."""
        return Ledger(self.store, self.signer, self.blobs, self.clock, ORIGIN, verify_signature=verify_ed25519)

    def add_job(self, job_id: str, number: int = 1) -> None:
        self.store.jobs_by_id[job_id] = make_job(job_id, number)

    def write(self, job_id: str | None, *drafts: RecordDraft) -> None:
        with self.store.transaction() as transaction:
            transaction.add_records(job_id, drafts, self.clock.now_ms())

    def tell_two_jobs(self) -> None:
        """`job-1` and `job-2`, record by record in turn, with a configuration change in the middle."""
        self.add_job("job-1", 1)
        self.add_job("job-2", 2)
        for first, second in zip(story_of(self.patch, self.log), story_of(self.patch, self.log, "9" * 40), strict=True):
            self.write("job-1", first)
            self.write("job-2", second)
        self.write(None, RecordDraft(kind="config", data={"key": "agents.limit", "by": "root", "version": 2}))
