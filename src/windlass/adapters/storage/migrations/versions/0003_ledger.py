"""The ledger: records, leaves and checkpoints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _compliance_records()
    _ledger_waiting()
    _ledger_leaves()
    _checkpoints()


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("checkpoints")
    op.drop_table("ledger_leaves")
    op.drop_table("ledger_waiting")
    op.drop_table("compliance_records")


def _compliance_records() -> None:
    op.create_table(
        "compliance_records",
        sa.Column("number", BIG, autoincrement=True, nullable=False, comment="order of writing"),
        sa.Column("id", sa.Text(), nullable=False, comment="UUIDv7 of the record"),
        sa.Column("job_id", sa.Text(), nullable=True, comment="the job it belongs to"),
        sa.Column("job_seq", BIG, nullable=True, comment="its place among the job's records, from 0, without gaps"),
        sa.Column("kind", sa.Text(), nullable=False, comment="what it is evidence of"),
        sa.Column("at_ms", BIG, nullable=False, comment="when it was written"),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="the exact RFC 8785 bytes that were hashed"),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False, comment="RFC 6962 leaf hash of the body, 32 bytes"),
        sa.CheckConstraint('"at_ms" >= 0', name=op.f("ck_compliance_records_at_ms_least")),
        sa.CheckConstraint('"job_seq" >= 0', name=op.f("ck_compliance_records_job_seq_least")),
        sa.CheckConstraint("(job_id is null) = (job_seq is null)", name=op.f("ck_compliance_records_job_seq_with_job")),
        sa.CheckConstraint('length("body") > 0', name=op.f("ck_compliance_records_body_filled")),
        sa.CheckConstraint('length("id") > 0', name=op.f("ck_compliance_records_id_filled")),
        sa.CheckConstraint('length("kind") > 0', name=op.f("ck_compliance_records_kind_filled")),
        sa.CheckConstraint("length(leaf_hash) = 32", name=op.f("ck_compliance_records_leaf_hash_sha256")),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["agent_jobs.id"],
            name=op.f("fk_compliance_records_job_id"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_compliance_records")),
        sa.UniqueConstraint("id", name=op.f("uq_compliance_records_id")),
        sa.UniqueConstraint("job_id", "job_seq", name=op.f("uq_compliance_records_job_id_job_seq")),
        comment="One immutable, hashed entry of the ledger",
    )


def _ledger_waiting() -> None:
    op.create_table(
        "ledger_waiting",
        sa.Column("record_id", sa.Text(), nullable=False, comment="a record without a leaf"),
        sa.ForeignKeyConstraint(["record_id"], ["compliance_records.id"], name=op.f("fk_ledger_waiting_record_id")),
        sa.PrimaryKeyConstraint("record_id", name=op.f("pk_ledger_waiting")),
        comment="Records that wait for their place in the tree",
    )


def _ledger_leaves() -> None:
    op.create_table(
        "ledger_leaves",
        sa.Column(
            "leaf_index", BIG, autoincrement=False, nullable=False, comment="place in the tree, from 0, without gaps"
        ),
        sa.Column("record_id", sa.Text(), nullable=False, comment="the record at that place"),
        sa.CheckConstraint('"leaf_index" >= 0', name=op.f("ck_ledger_leaves_leaf_index_least")),
        sa.ForeignKeyConstraint(["record_id"], ["compliance_records.id"], name=op.f("fk_ledger_leaves_record_id")),
        sa.PrimaryKeyConstraint("leaf_index", name=op.f("pk_ledger_leaves")),
        sa.UniqueConstraint("record_id", name=op.f("uq_ledger_leaves_record_id")),
        comment="Which record is which leaf of the Merkle tree; never changed",
    )


def _checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("number", BIG, autoincrement=True, nullable=False, comment="order of signing"),
        sa.Column("size", BIG, nullable=False, comment="number of leaves that it covers"),
        sa.Column("root", sa.LargeBinary(), nullable=False, comment="Merkle root over them, 32 bytes"),
        sa.Column("note", sa.Text(), nullable=False, comment="the signed note"),
        sa.Column("at_ms", BIG, nullable=False, comment="when it was signed"),
        sa.Column("witness", sa.Text(), server_default="", nullable=False, comment="who cosigned it"),
        sa.CheckConstraint('"at_ms" >= 0', name=op.f("ck_checkpoints_at_ms_least")),
        sa.CheckConstraint('"size" >= 0', name=op.f("ck_checkpoints_size_least")),
        sa.CheckConstraint('length("note") > 0', name=op.f("ck_checkpoints_note_filled")),
        sa.CheckConstraint("length(root) = 32", name=op.f("ck_checkpoints_root_sha256")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint("size", name=op.f("uq_checkpoints_size")),
        comment="A signed head of the ledger; never changed",
    )
