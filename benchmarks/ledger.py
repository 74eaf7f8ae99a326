"""The ledger: append and verify, against hashing the same bytes and against writing them raw."""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
import tempfile
import time
from pathlib import Path

from benchmarks import lives
from benchmarks.figures import Figure, Size, Spread
from windlass.adapters.blobs import DirectoryBlobs
from windlass.adapters.signing import Ed25519FileSigner, verify_ed25519
from windlass.adapters.storage import SqlStore, make_engine, migrate
from windlass.core import workflow
from windlass.core.policy import Policy
from windlass.core.records import RecordDraft
from windlass.engine.ledger import Ledger
from windlass.wiring.parts import SystemClock

PER_COMMIT = 20


def run(size: Size) -> list[Figure]:
    """The figures."""
    rounds, commits = size.of(8, 1), size.of(50, 2)
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        log = _Log(Path(home))
        times: dict[str, list[float]] = {name: [] for name in ("append", "sequence", "verify", "hash", "raw")}
        for _ in range(rounds):
            for name, seconds in log.turn(commits).items():
                times[name].append(seconds)
        log.close()
    return _figures(times, commits * PER_COMMIT)


def _figures(times: dict[str, list[float]], each: int) -> list[Figure]:
    rates = {name: Spread.of(each / seconds for seconds in of) for name, of in times.items()}
    appended = Spread.of(each / (a + s) for a, s in zip(times["append"], times["sequence"], strict=True))
    bare = {"bare SHA-256 of the same bytes": rates["hash"]}
    raw = {"the same rows into a bare SQLite table": rates["raw"]}
    note = f"{PER_COMMIT} records a commit, then their places in the tree; SQLite, synchronous=FULL"
    return [
        Figure(
            name="ledger append, records per second",
            unit="1/s",
            ours=appended,
            others=bare | raw,
            is_rate=True,
            notes=(note,),
        ),
        Figure(
            name="ledger verify, records per second",
            unit="1/s",
            ours=rates["verify"],
            others=bare,
            is_rate=True,
            notes=("reads every record back, makes its leaf and the roots anew, checks the signatures",),
        ),
    ]


class _Log:
    """One log that grows by each turn; what is verified is the whole, counted by its records."""

    def __init__(self, home: Path) -> None:
        engine = make_engine(f"sqlite:///{home / 'log.db'}")
        migrate(engine)
        clock = SystemClock()
        self._store = SqlStore(engine, clock=clock)
        self._ledger = Ledger(
            self._store,
            Ed25519FileSigner(home / "key.pem", "bench/log"),
            DirectoryBlobs(home / "blobs"),
            clock,
            "bench.example/log",
            verify_signature=verify_ed25519,
        )
        self._bare = sqlite3.connect(home / "bare.db", isolation_level=None)
        self._bare.execute("PRAGMA journal_mode=WAL")
        self._bare.execute("PRAGMA synchronous=FULL")
        self._bare.execute("CREATE TABLE record (id TEXT PRIMARY KEY, body BLOB, leaf BLOB)")
        opened = workflow.open_job(lives.asked(1), Policy(), lives.START_MS, job_id="j1")
        with self._store.transaction() as transaction:
            transaction.insert_job(opened.job)
        self._drafts: tuple[RecordDraft, ...] = tuple(itertools.islice(itertools.cycle(opened.records), PER_COMMIT))
        self._seen = 0

    def turn(self, commits: int) -> dict[str, float]:
        """Seconds for `commits` × `PER_COMMIT` records of each kind of work."""
        began = time.perf_counter()
        for _ in range(commits):
            with self._store.transaction() as transaction:
                transaction.add_records("j1", self._drafts, lives.START_MS)
        appended = time.perf_counter()
        self._ledger.sequence()
        sequenced = time.perf_counter()
        self._ledger.checkpoint()
        bodies = [(record.id, record.body) for record in self._store.records(after=self._seen - 1)]
        self._seen += len(bodies)
        return {
            "append": appended - began,
            "sequence": sequenced - appended,
            "verify": self._verify(len(bodies)),
            "hash": _hash(bodies),
            "raw": self._write_raw(bodies),
        }

    def close(self) -> None:
        """Let go of the databases."""
        self._bare.close()
        self._store.close()

    def _verify(self, each: int) -> float:
        began = time.perf_counter()
        report = self._ledger.verify()
        took = time.perf_counter() - began
        if not report.is_sound or report.size != self._seen:
            raise RuntimeError(f"the log does not hold: {report.problems[:1]}")
        return took * each / report.size

    def _write_raw(self, bodies: list[tuple[str, bytes]]) -> float:
        began = time.perf_counter()
        for start in range(0, len(bodies), PER_COMMIT):
            self._bare.execute("BEGIN IMMEDIATE")
            rows = [(name, body, b"\0" * 32) for name, body in bodies[start : start + PER_COMMIT]]
            self._bare.executemany("INSERT INTO record VALUES (?, ?, ?)", rows)
            self._bare.execute("COMMIT")
        return time.perf_counter() - began


def _hash(bodies: list[tuple[str, bytes]]) -> float:
    began = time.perf_counter()
    for _, body in bodies:
        hashlib.sha256(b"\0" + body).digest()
    return time.perf_counter() - began
