"""The ledger: records that are never changed, their places in the tree, and its signed heads."""

from __future__ import annotations

import sqlalchemy as sa

from windlass.adapters.storage.models.columns import (
    binary,
    counted,
    counter,
    filled,
    integer,
    job_key,
    metadata,
    optional,
    text,
)

compliance_records = sa.Table(
    "compliance_records",
    metadata,
    counter("order of writing"),
    text("id", "UUIDv7 of the record", unique=True),
    job_key(nullable=True),
    integer("job_seq", "its place among the job's records, from 0, without gaps", nullable=True),
    text("kind", "what it is evidence of"),
    integer("at_ms", "when it was written"),
    binary("body", "the exact RFC 8785 bytes that were hashed"),
    binary("leaf_hash", "RFC 6962 leaf hash of the body, 32 bytes"),
    sa.UniqueConstraint("job_id", "job_seq"),
    sa.CheckConstraint("(job_id is null) = (job_seq is null)", name="job_seq_with_job"),
    sa.CheckConstraint("length(leaf_hash) = 32", name="leaf_hash_sha256"),
    *filled("id", "kind", "body"),
    *counted("job_seq", "at_ms"),
    comment="One immutable, hashed entry of the ledger",
)

ledger_waiting = sa.Table(
    "ledger_waiting",
    metadata,
    text("record_id", "a record without a leaf", sa.ForeignKey("compliance_records.id"), primary_key=True),
    comment="Records that wait for their place in the tree",
)

ledger_leaves = sa.Table(
    "ledger_leaves",
    metadata,
    integer("leaf_index", "place in the tree, from 0, without gaps", primary_key=True, autoincrement=False),
    text("record_id", "the record at that place", sa.ForeignKey("compliance_records.id"), unique=True),
    *counted("leaf_index"),
    comment="Which record is which leaf of the Merkle tree; never changed",
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    counter("order of signing"),
    integer("size", "number of leaves that it covers", unique=True),
    binary("root", "Merkle root over them, 32 bytes"),
    text("note", "the signed note"),
    integer("at_ms", "when it was signed"),
    optional("witness", "who cosigned it"),
    sa.CheckConstraint("length(root) = 32", name="root_sha256"),
    *filled("note"),
    *counted("size", "at_ms"),
    comment="A signed head of the ledger; never changed",
)
