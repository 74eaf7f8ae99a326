"""Judge an evidence bundle: pure, offline, from its bytes alone.

Keeps the rule that a bundle is either consistent in every byte or proves nothing. Refuses to call a signer known that
nobody vouched for, and says in words what is proven and what is not, so that a reader never has to guess.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from windlass.core import bundle_layout as layout
from windlass.core import story, ustar
from windlass.core.bundle_layout import BundleContents
from windlass.core.errors import Refused
from windlass.core.evidence import Record, blob_digests, parse
from windlass.core.merkle import is_included, leaf_hash
from windlass.core.notes import (
    Checkpoint,
    Note,
    Pin,
    VerifyKey,
    VerifySignature,
    fingerprint,
    parse_checkpoint,
    parse_note,
    parse_proof,
    parse_vkey,
    pem,
    signers,
)

MAX_BUNDLE_BYTES = 512 << 20
MAX_PROBLEMS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of judging a bundle. `proven` is empty unless `ok`; `fingerprint` is SHA-256 hex of the key's DER form.

    `job`, `state`, `exported_at`, `origin` and `root` (hex) are what the bundle says; believe them only when `ok`.
    """

    ok: bool
    problems: tuple[str, ...]
    proven: tuple[str, ...]
    not_proven: tuple[str, ...]
    is_signer_pinned: bool
    signer: str = ""
    fingerprint: str = ""
    job: str = ""
    state: str = ""
    exported_at: str = ""
    origin: str = ""
    records: int = 0
    blobs: int = 0
    size: int = 0
    root: str = ""


def encode(contents: BundleContents) -> bytes:
    """The bundle's file. Raises Refused (bad_archive) for names that no bundle has."""
    return ustar.pack(contents.members)


def decode(data: bytes) -> BundleContents:
    """Read a bundle's file. Raises Refused (bad_archive) when it is no plain tar file in its one form, or no bundle."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise Refused("the file is too large to be a bundle", hint="export again, with fewer blobs", code="bad_archive")
    members = ustar.unpack(data)
    if layout.MANIFEST not in members or layout.SUMS not in members:
        raise Refused(
            f"this is not an evidence bundle: it has no {layout.MANIFEST} or no {layout.SUMS}",
            hint="make one with `windlass evidence export JOB`",
            code="bad_archive",
        )
    return BundleContents(members=members)


def verify(bundle: BundleContents, *, pinned_key: Pin | None, verify_signature: VerifySignature) -> Verdict:
    """Check everything. Never raises for what is in the bundle; each contradiction is one line in `problems`."""
    audit = _Audit(members=bundle.members, verify_signature=verify_signature)
    steps: tuple[Callable[[], None], ...] = (
        audit.check_names,
        lambda: audit.check_key(pinned_key),
        audit.check_sums,
        audit.check_checkpoint,
        audit.check_records,
        audit.check_proofs,
        audit.check_story,
        audit.check_blobs,
        audit.check_manifest,
    )
    for step in steps:
        audit.attempt(step)
    return _conclude(audit, pinned_key)


@dataclass(slots=True, kw_only=True)
class _Audit:
    members: Mapping[str, bytes]
    verify_signature: VerifySignature
    problems: list[str] = field(default_factory=list)
    open_points: list[str] = field(default_factory=list)
    key: VerifyKey | None = None
    head: Checkpoint | None = None
    records: list[Record] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    blobs: list[str] = field(default_factory=list)
    absent_blobs: list[str] = field(default_factory=list)

    def attempt(self, step: Callable[[], None], where: str = "") -> None:
        try:
            step()
        except Refused as error:
            self.problems.append(f"{where}{error.message}")

    def text(self, name: str) -> str:
        if name not in self.members:
            raise Refused(f"{name} is missing", code="missing_member")
        try:
            return self.members[name].decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused(f"{name} is not text", code="bad_member") from error

    def check_names(self) -> None:
        names = list(self.members)
        records = sum(1 for name in names if layout.RECORD_NAME.fullmatch(name))
        self.blobs = [found[1] for found in map(layout.BLOB_NAME.fullmatch, names) if found]
        expected = layout.expected_order(records, self.blobs)
        self.problems += [f"{name} is missing" for name in expected if name not in self.members]
        self.problems += [f"{name} does not belong here" for name in sorted(set(names) - set(expected))]
        if not self.problems and names != expected:
            self.problems.append("the members are not in their order")

    def check_key(self, pinned: Pin | None) -> None:
        self.key = parse_vkey(self.text(layout.VKEY).removesuffix("\n"))
        if self.text(layout.VKEY) != self.key.encode() + "\n" or self.text(layout.PEM) != pem(self.key.public_key):
            self.problems.append("vkey and key.pem do not hold the same key in the same form")
        if pinned is None:
            return
        if pinned.public_key != self.key.public_key:
            self.problems.append(f"the bundle is signed by {fingerprint(self.key.public_key)}, not by the given key")
        elif pinned.name not in ("", self.key.name):
            self.problems.append(f"the bundle is signed in the name of {self.key.name}, not of {pinned.name}")

    def signed_note(self, name: str) -> Note:
        """The note, checked to be signed by the bundle's key and by nobody else."""
        if self.key is None:
            raise Refused(f"{name} cannot be checked without a key", code="missing_member")
        note = parse_note(self.text(name))
        if note.encode() != self.text(name) or len(note.signatures) != 1:
            raise Refused(f"{name} is not one text with one signature", code="bad_member")
        if not signers(note, [self.key], self.verify_signature):
            raise Refused(f"{name} is not signed by the bundle's key", code="bad_signature")
        return note

    def check_sums(self) -> None:
        note = self.signed_note(layout.SUMS)
        if note.text != layout.sums_text(self.members):
            self.problems.append(f"{layout.SUMS} does not fit the members: something was changed, added or removed")

    def check_checkpoint(self) -> None:
        self.head = parse_checkpoint(self.signed_note(layout.CHECKPOINT).text)
        if self.head.extensions:
            self.problems.append("the checkpoint has lines that nobody knows the meaning of")

    def check_records(self) -> None:
        number = 0
        while (name := layout.record_name(number)) in self.members:
            self.bodies.append(self.members[name])
            self.attempt(lambda: self.records.append(parse(self.bodies[-1])), f"{name}: ")
            number += 1
        if len(self.records) != len(self.bodies):
            return
        if len({record.id for record in self.records}) != number:
            self.problems.append("a record is there twice")
        for at, record in enumerate(self.records):
            if record.job_seq != at:
                self.problems.append(f"record {at} says that it is record {record.job_seq} of its job")
            if record.job is None or record.job != self.records[0].job:
                self.problems.append(f"record {at} belongs to another job")

    def check_proofs(self) -> None:
        for number, body in enumerate(self.bodies):
            name = layout.proof_name(number)
            self.attempt(functools.partial(self.check_proof, name, body), f"{name}: ")
        if any(after <= before for before, after in zip(self.indexes, self.indexes[1:], strict=False)):
            self.problems.append("the records are not in the order of the log")

    def check_proof(self, name: str, body: bytes) -> None:
        text = self.text(name)
        proof = parse_proof(text)
        if proof.encode() != text or proof.checkpoint != self.text(layout.CHECKPOINT):
            raise Refused("the proof is not about this bundle's checkpoint", code="bad_proof")
        if self.head is None:
            raise Refused("the proof cannot be checked without a checkpoint", code="bad_proof")
        if not is_included(leaf_hash(body), proof.index, self.head.size, proof.hashes, self.head.root):
            raise Refused("the record is not in the log at this place", code="bad_proof")
        self.indexes.append(proof.index)

    def check_story(self) -> None:
        if len(self.records) != len(self.bodies):
            return
        told = story.tell(self.records)
        self.problems += [*story.closing_problems(self.records, self.bodies), *told.problems]
        self.open_points += told.open_points

    def check_blobs(self) -> None:
        named = {digest for record in self.records for digest in blob_digests(record.data)}
        for digest in self.blobs:
            if hashlib.sha256(self.members[f"blobs/{digest}"]).hexdigest() != digest:
                self.problems.append(f"blobs/{digest} has other bytes than its name says")
            if digest not in named:
                self.problems.append(f"blobs/{digest} is not named by any record")
        self.absent_blobs = sorted(named - set(self.blobs))

    def check_manifest(self) -> None:
        if self.head is None or not self.records:
            return
        job = self.records[0].job or ""
        expected = layout.manifest(
            job=job, head=self.head, indexes=self.indexes, blobs=sorted(self.blobs), absent_blobs=self.absent_blobs
        )
        if self.members.get(layout.MANIFEST) != expected:
            self.problems.append(f"{layout.MANIFEST} does not say what the other members say")


def _conclude(audit: _Audit, pinned: Pin | None) -> Verdict:
    is_ok = not audit.problems and audit.head is not None and audit.key is not None
    key, head = audit.key, audit.head
    last = audit.records[-1] if audit.records else None
    is_pinned = pinned is not None and key is not None and pinned.public_key == key.public_key
    return Verdict(
        ok=is_ok,
        problems=tuple(audit.problems[:MAX_PROBLEMS]),
        proven=_proven(audit) if is_ok else (),
        not_proven=_not_proven(audit, is_pinned),
        is_signer_pinned=is_pinned,
        signer=key.name if key else "",
        fingerprint=fingerprint(key.public_key) if key else "",
        job=(last.job or "") if last else "",
        state=str(last.data.get("state", "")) if last else "",
        exported_at=last.at if last else "",
        origin=head.origin if head else "",
        records=len(audit.bodies),
        blobs=len(audit.blobs),
        size=head.size if head else 0,
        root=head.root.hex() if head else "",
    )


def _proven(audit: _Audit) -> tuple[str, ...]:
    assert audit.head is not None
    count, last = len(audit.records), audit.records[-1]
    return (
        f"These {count} records are, byte for byte, in the log {audit.head.origin} of {audit.head.size} entries "
        "whose head the key below signed.",
        f"None of the job's records is missing, added or moved, from the first to the closing one of {last.at}.",
        f"The {len(audit.blobs)} blobs in the bundle are the bytes that the records name.",
        "The records fit together: each result was intended before, each approval names the head of its time, "
        "and no gate was opened and no merge called approved for another commit.",
    )


def _not_proven(audit: _Audit, is_pinned: bool) -> tuple[str, ...]:
    lines = [] if is_pinned else ["Who made this bundle: the signer is not pinned, anybody could have signed it."]
    lines += audit.open_points
    if audit.absent_blobs:
        lines.append(f"What {len(audit.absent_blobs)} blobs held: records name them, the bundle does not have them.")
    return (
        *lines,
        "When things happened: the times are those of the operator's clock.",
        "That nothing was done beside the log: compare with the pull requests and branches on the forge itself.",
        "That others were shown the same log: compare the checkpoint with one kept elsewhere.",
        "What happened to the job after the closing record.",
    )
