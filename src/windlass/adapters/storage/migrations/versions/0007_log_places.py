"""How the chunks of a step log go on from one another."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "log_places",
        sa.Column("log_number", BIG, autoincrement=False, nullable=False, comment="the chunk it is about"),
        sa.Column("job_id", sa.Text(), nullable=False, comment="the job it belongs to"),
        sa.Column(
            "stream",
            sa.Text(),
            nullable=False,
            comment="whose sequence the chunk is in: a run, its result, a verification, the decisions",
        ),
        sa.Column("run", sa.Text(), server_default="", nullable=False, comment="the run it is of, '' for none"),
        sa.Column("chunk", BIG, nullable=False, comment="its place in the stream, from 0"),
        sa.Column(
            "first_seq", BIG, server_default="0", nullable=False, comment="number of its first line in the stream"
        ),
        sa.Column(
            "next_offset",
            BIG,
            server_default="0",
            nullable=False,
            comment="how far the stream's source was read when it was written",
        ),
        sa.Column(
            "redactions", sa.Text(), server_default="{}", nullable=False, comment="rule → number of secrets taken out"
        ),
        sa.CheckConstraint('"chunk" >= 0', name=op.f("ck_log_places_chunk_least")),
        sa.CheckConstraint('"first_seq" >= 0', name=op.f("ck_log_places_first_seq_least")),
        sa.CheckConstraint('"next_offset" >= 0', name=op.f("ck_log_places_next_offset_least")),
        sa.CheckConstraint('length("stream") > 0', name=op.f("ck_log_places_stream_filled")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["agent_jobs.id"], name=op.f("fk_log_places_job_id"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(["log_number"], ["execution_logs.number"], name=op.f("fk_log_places_log_number")),
        sa.PrimaryKeyConstraint("log_number", name=op.f("pk_log_places")),
        sa.UniqueConstraint("job_id", "stream", "chunk", name=op.f("uq_log_places_job_id_stream_chunk")),
        comment="How a stretch of a step log goes on from the one before; never changed",
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("log_places")
