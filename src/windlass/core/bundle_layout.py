"""What is in an evidence bundle, under which names, in which order, and how one is put together.

Keeps the rule that the same evidence makes the same bytes, and that every byte is vouched for: the list of sums is
signed by the log's key and names everything else. Refuses nothing here; `bundle` judges what came from elsewhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from windlass.core import canonical
from windlass.core.notes import Checkpoint, Proof, VerifyKey, fingerprint, pem, sign

SCHEMA = "windlass.dev/bundle/v1"

GUIDE = "VERIFY.md"
MANIFEST = "manifest.json"
CHECKPOINT = "checkpoint"
VKEY = "vkey"
PEM = "key.pem"
SUMS = "SHA256SUMS"
REQUIRED = (GUIDE, MANIFEST, CHECKPOINT, VKEY, PEM)

RECORD_NAME = re.compile(r"records/(\d{6})\.json")
PROOF_NAME = re.compile(r"proofs/(\d{6})\.tlog-proof")
BLOB_NAME = re.compile(r"blobs/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleContents:
    """The members of a bundle, name → exact bytes, in the file's order."""

    members: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRecord:
    """A record's exact bytes, its leaf index, and the hashes that prove it in the tree of the bundle's checkpoint."""

    body: bytes
    index: int
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """What a bundle is made of. `checkpoint` is the signed note; `blobs`: SHA-256 in hex → bytes, as far as kept."""

    job: str
    head: Checkpoint
    checkpoint: str
    key: VerifyKey
    records: tuple[LoggedRecord, ...]
    blobs: Mapping[str, bytes]
    absent_blobs: tuple[str, ...]


def compose(what: Ingredients, sign_bytes: Callable[[bytes], bytes]) -> BundleContents:
    """Put a bundle together; `sign_bytes` signs the list of sums with the log's key."""
    members: dict[str, bytes] = {
        GUIDE: guide(what.job, what.head.origin, fingerprint(what.key.public_key)).encode(),
        MANIFEST: manifest(
            job=what.job,
            head=what.head,
            indexes=[record.index for record in what.records],
            blobs=sorted(what.blobs),
            absent_blobs=sorted(what.absent_blobs),
        ),
        CHECKPOINT: what.checkpoint.encode(),
        VKEY: f"{what.key.encode()}\n".encode(),
        PEM: pem(what.key.public_key).encode(),
    }
    for number, record in enumerate(what.records):
        members[record_name(number)] = record.body
    for number, record in enumerate(what.records):
        proof = Proof(index=record.index, hashes=record.proof, checkpoint=what.checkpoint)
        members[proof_name(number)] = proof.encode().encode()
    for digest in sorted(what.blobs):
        members[f"blobs/{digest}"] = what.blobs[digest]
    members[SUMS] = sign(sums_text(members), what.key, sign_bytes).encode().encode()
    return BundleContents(members=members)


def expected_order(records: int, blobs: Sequence[str]) -> list[str]:
    """The names of a bundle with so many records and these blobs, in order."""
    names = [*REQUIRED, *map(record_name, range(records)), *map(proof_name, range(records))]
    return [*names, *(f"blobs/{digest}" for digest in sorted(blobs)), SUMS]


def record_name(number: int) -> str:
    """Where the job's record `number` is."""
    return f"records/{number:06d}.json"


def proof_name(number: int) -> str:
    """Where the proof of the job's record `number` is."""
    return f"proofs/{number:06d}.tlog-proof"


def manifest(
    *, job: str, head: Checkpoint, indexes: Sequence[int], blobs: Sequence[str], absent_blobs: Sequence[str]
) -> bytes:
    """What the bundle says about itself; every word of it follows from the other members."""
    value: dict[str, Any] = {
        "schema": SCHEMA,
        "job": job,
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "records": len(indexes),
        "leaf_indexes": list(indexes),
        "blobs": list(blobs),
        "absent_blobs": list(absent_blobs),
    }
    return canonical.encode(value)


def sums_text(members: Mapping[str, bytes]) -> str:
    """The signed list: a first line that no checkpoint has, then what `sha256sum --check` reads."""
    lines = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in members.items() if name != SUMS)
    return f"{SCHEMA}\n{''.join(lines)}"


def guide(job: str, origin: str, key_fingerprint: str) -> str:
    """The page in the bundle that tells an auditor what to type."""
    shown = (re.sub(r"[^A-Za-z0-9._:/#-]", "?", text) for text in (job, origin))
    return _GUIDE.format(what=" in the log ".join(shown), fingerprint=key_fingerprint)


_GUIDE = """\
# Evidence of one job

This bundle holds the records of job {what}.

With Windlass, offline:

    windlass evidence verify BUNDLE.tar --key KEY

KEY is the operator's public key, which you got by another way than this bundle. The key in here has the SHA-256
fingerprint (of its DER form)

    {fingerprint}

Without Windlass, in the directory where you unpacked the bundle:

    # the fingerprint of the key
    openssl pkey -pubin -in key.pem -outform DER | sha256sum
    # the signatures under the log's head and under the list of sums
    for note in checkpoint SHA256SUMS; do
      sed '/^$/,$d' "$note" > text
      sed -n '/^$/,$p' "$note" | awk 'NF == 3 {{ print $3 }}' | base64 -d | tail -c +5 > signature
      openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in text -sigfile signature
    done
    # every other byte of the bundle
    grep -E '^[0-9a-f]{{64}}  ' SHA256SUMS | sha256sum --check --strict --quiet && echo sums are right

Each proofs/N.tlog-proof shows, by the rules of RFC 6962, that records/N.json is in the tree whose root the
checkpoint signs (format: c2sp.org/tlog-proof). A record's leaf hash is SHA-256 of a zero byte and the file's bytes.
"""
