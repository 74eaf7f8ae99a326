"""The ledger: gives records their place in the log, signs its head, checks it all, and hands out evidence.

Keeps the rule that nothing is signed that contradicts what was signed before. Refuses (Broken) a log that shrank or
whose leaves no longer lead to a kept checkpoint; nobody gets a signature or a bundle from such a log.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from windlass.core import bundle, bundle_layout, notes, story
from windlass.core.bundle_layout import BundleContents, Ingredients, LoggedRecord
from windlass.core.errors import Broken, Failed, NotFound, Refused
from windlass.core.evidence import blob_digests, parse
from windlass.core.merkle import consistency_ranges, inclusion_ranges
from windlass.core.notes import Checkpoint, Pin, VerifyKey, VerifySignature
from windlass.core.records import RecordDraft
from windlass.engine.ledger_check import LedgerReport, recheck
from windlass.engine.ledger_leaves import Leaves
from windlass.ports import Blobs, Clock, Signer, Store, StoredRecord

BATCH = 1000
MAX_BLOB_BYTES = 32 << 20
MAX_BLOBS_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """A written bundle. `root` in hex; `absent_blobs` are named by records and not in the bundle."""

    path: Path
    job: str
    records: int
    blobs: int
    absent_blobs: tuple[str, ...]
    size: int
    root: str
    vkey: str
    fingerprint: str


class Ledger:
    """The log of one instance. Safe for several threads; several processes may each have one on the same store.

    `origin` names the log in checkpoints; `verify_signature(public key, message, signature)` checks Ed25519;
    `older_keys` are keys that earlier checkpoints were signed with.
    """

    def __init__(
        self,
        store: Store,
        signer: Signer,
        blobs: Blobs,
        clock: Clock,
        origin: str,
        *,
        verify_signature: VerifySignature,
        older_keys: Sequence[VerifyKey] = (),
    ) -> None:
        self._store = store
        self._signer = signer
        self._blobs = blobs
        self._clock = clock
        self._origin = _checked_origin(origin)
        self._verify_signature = verify_signature
        self._keys = (VerifyKey(name=signer.name, public_key=signer.public_key()), *older_keys)
        self._lock = threading.RLock()
        self._leaves = Leaves(store)
        self._trusted_size = -1

    @property
    def vkey(self) -> str:
        """The key that an auditor pins, as C2SP tools read it."""
        return self._keys[0].encode()

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex of the public key's DER form."""
        return notes.fingerprint(self._keys[0].public_key)

    def sequence(self) -> int:
        """Give all waiting records their leaf index; how many got one."""
        total = 0
        while True:
            count = self._store.sequence_records(BATCH)
            total += count
            if count < BATCH:
                return total

    def checkpoint(self) -> str:
        """The signed note over the log as it is; a new one is signed and kept only when the log grew.

        Raises Broken (ledger_broken) rather than sign what contradicts the newest kept checkpoint.
        """
        with self._lock:
            latest = self._grow()
            size = self._leaves.size
            if latest is not None and latest.is_by_current_key and latest.head.size == size:
                return latest.note
            head = Checkpoint(origin=self._origin, size=size, root=self._leaves.root())
            note = notes.sign(head.text(), self._keys[0], self._signer.sign).encode()
            self._store.add_checkpoint(size, head.root, note, self._clock.now_ms())
            self._trusted_size = size
            return note

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """The hashes that prove leaf `index` in the tree of `size`. Raises NotFound when the log is not that long."""
        with self._lock:
            self._check_known(index, size)
            return tuple(map(self._leaves.root_of, inclusion_ranges(index, size)))

    def consistency(self, old_size: int, size: int) -> tuple[bytes, ...]:
        """The hashes that prove that the log of `old_size` is a prefix of the log of `size`."""
        with self._lock:
            self._check_known(old_size - 1, size)
            return tuple(map(self._leaves.root_of, consistency_ranges(old_size, size)))

    def records(self, job_id: str) -> tuple[StoredRecord, ...]:
        """A job's records, as they are stored, in their order in the job."""
        return tuple(sorted(self._store.records(job_id), key=_job_seq))

    def verify(self) -> LedgerReport:
        """Re-read everything: every record's bytes, its leaf, the roots at all kept checkpoints, their signatures.

        Never raises for what it finds in the log. Takes as long as reading the log; memory does not grow with it,
        but for one number per job.
        """
        return recheck(self._store, self._keys, self._verify_signature, self._origin)

    def export(
        self,
        job_id: str,
        destination: Path,
        *,
        max_blob_bytes: int = MAX_BLOB_BYTES,
        max_blobs_bytes: int = MAX_BLOBS_BYTES,
    ) -> ExportSummary:
        """Close the job's records with an `export` record, sign the log, and write a bundle of them to `destination`.

        Blobs above the limits, and those that are gone, are left out and named in the bundle as absent. An existing
        file at `destination` is replaced as a whole. Raises NotFound (no such job), Broken, Refused (bad_destination).
        """
        what, data = self._assemble(job_id, max_blob_bytes, max_blobs_bytes)
        _write(destination, data)
        return self._summary(what, destination)

    def export_bytes(self, job_id: str) -> bytes:
        """As `export`, with the usual limits, for whoever sends the bundle on instead of keeping it."""
        return self._assemble(job_id, MAX_BLOB_BYTES, MAX_BLOBS_BYTES)[1]

    def _assemble(self, job_id: str, max_blob_bytes: int, max_blobs_bytes: int) -> tuple[Ingredients, bytes]:
        closing_seq = self._close(job_id)
        self.sequence()
        with self._lock:
            note = self.checkpoint()
            head = notes.parse_checkpoint(notes.parse_note(note).text)
            logged = self._logged(job_id, closing_seq, head.size)
        kept, absent = self._gather(logged, max_blob_bytes, max_blobs_bytes)
        what = Ingredients(
            job=job_id, head=head, checkpoint=note, key=self._keys[0], records=logged, blobs=kept, absent_blobs=absent
        )
        contents = bundle_layout.compose(what, self._signer.sign)
        self._check_own(contents)
        return what, bundle.encode(contents)

    def _close(self, job_id: str) -> int:
        """Append the closing record, holding the job so that nothing comes between; its number in the job."""
        with self._store.transaction() as transaction:
            job = transaction.lock_job(job_id)
            if job is None:
                raise NotFound(f"there is no job {job_id}", hint="see `windlass status`", code="no_job")
            bodies = [record.body for record in self.records(job_id)]
            data = story.closing(bodies, state=job.state.value, reason=job.reason.value if job.reason else "")
            transaction.add_records(job_id, [RecordDraft(kind="export", data=data)], self._clock.now_ms())
            return len(bodies)

    def _logged(self, job_id: str, closing_seq: int, size: int) -> tuple[LoggedRecord, ...]:
        """The job's records up to the closing one, each with its proof in the tree of `size`."""
        found: list[LoggedRecord] = []
        for record in self.records(job_id)[: closing_seq + 1]:
            if record.leaf_index is None:
                raise _broken(f"record {record.id} has no place in the log, though all records have been given one")
            proof = self.inclusion(record.leaf_index, size)
            found.append(LoggedRecord(body=record.body, index=record.leaf_index, proof=proof))
        return tuple(found)

    def _gather(
        self, logged: Sequence[LoggedRecord], max_blob_bytes: int, max_blobs_bytes: int
    ) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """The blobs that the records name, in the order of naming until the limit is reached; and those left out."""
        named = dict.fromkeys(digest for one in logged for digest in blob_digests(parse(one.body).data))
        kept: dict[str, bytes] = {}
        total = 0
        for digest in named:
            with contextlib.suppress(NotFound):
                data = self._blobs.get(digest)
                if len(data) <= max_blob_bytes and total + len(data) <= max_blobs_bytes:
                    kept[digest] = data
                    total += len(data)
        return kept, tuple(sorted(set(named) - set(kept)))

    def _check_own(self, contents: BundleContents) -> None:
        """Judge a bundle as its reader will; whoever gets one from here can rely on it."""
        pin = Pin(public_key=self._keys[0].public_key, name=self._keys[0].name)
        verdict = bundle.verify(contents, pinned_key=pin, verify_signature=self._verify_signature)
        if not verdict.ok:
            raise _broken(f"the job's records do not prove themselves: {verdict.problems[0]}")

    def _summary(self, what: Ingredients, path: Path) -> ExportSummary:
        return ExportSummary(
            path=path,
            job=what.job,
            records=len(what.records),
            blobs=len(what.blobs),
            absent_blobs=what.absent_blobs,
            size=what.head.size,
            root=what.head.root.hex(),
            vkey=self.vkey,
            fingerprint=self.fingerprint,
        )

    def _grow(self) -> _Kept | None:
        """Take in what was added since; the newest kept checkpoint, to which the leaves have been found to lead."""
        stored = self._store.latest_checkpoint()
        size = self._store.ledger_size()
        latest = None if stored is None else self._read_checkpoint(stored[1])
        known = max(self._leaves.size, latest.head.size if latest else 0)
        if size < known:
            raise _broken(f"the log has {size} entries, and had {known}")
        self._leaves.grow(size)
        if latest is not None and latest.head.size != self._trusted_size:
            if self._leaves.root_of((0, latest.head.size)) != latest.head.root:
                raise _broken(f"the entries do not lead to the kept checkpoint of {latest.head.size} entries")
            self._trusted_size = latest.head.size
        return latest

    def _read_checkpoint(self, text: str) -> _Kept:
        try:
            note = notes.parse_note(text)
            head = notes.parse_checkpoint(note.text)
        except Refused as error:
            raise _broken(f"the newest kept checkpoint cannot be read: {error.message}") from error
        by = notes.signers(note, self._keys, self._verify_signature)
        if not by or head.origin != self._origin:
            raise Broken(
                "the newest kept checkpoint is not of this log, or not signed by a known key",
                hint="if the signing key or the origin was changed on purpose, give the older key in the configuration",
                code="ledger_unknown_key",
            )
        return _Kept(head=head, note=text, is_by_current_key=self._keys[0] in by)

    def _check_known(self, index: int, size: int) -> None:
        if size > self._leaves.size:
            self._grow()
        if not -1 <= index < size <= self._leaves.size:
            raise NotFound(
                f"the log has {self._leaves.size} entries", hint="ask for entries and sizes within it", code="no_leaf"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    head: Checkpoint
    note: str
    is_by_current_key: bool


def _job_seq(record: StoredRecord) -> int:
    return -1 if record.job_seq is None else record.job_seq


def _checked_origin(origin: str) -> str:
    notes.check_name(origin)
    if origin == bundle_layout.SCHEMA:
        raise Refused(f"{origin} cannot name a log", hint="name it like example.com/windlass", code="bad_origin")
    return origin


def _write(destination: Path, data: bytes) -> None:
    """Whole or not at all, and on the disk when it returns."""
    draft = destination.with_name(f".{destination.name}.{secrets.token_hex(8)}")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(destination)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise Refused(
            f"the bundle cannot be written to {destination}: {error.strerror}",
            hint="name a file in a directory that exists and that you may write to",
            code="bad_destination",
        ) from error
    except OSError as error:
        raise Failed(
            f"the bundle cannot be written to {destination}: {error.strerror}",
            hint="free some space, or write elsewhere",
            code="destination_failed",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _broken(message: str) -> Broken:
    return Broken(message, hint="stop, keep a copy of the database, and compare it with a backup", code="ledger_broken")
