"""What a run was in its job's workflow, and what its sandbox was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table; runs without a row in it were the only one of the only step."""
    op.create_table(
        "run_places",
        sa.Column("run_id", sa.Text(), nullable=False, comment="the run it is about"),
        _text("purpose", "what it was put to work for"),
        _count("step", "its place in the policy's workflow, from 0"),
        _count("candidate", "which of several tries of the same step it is, from 0"),
        _text("findings_digest", "SHA-256 (hex) of what a reviewing agent found"),
        _text("image_digest", "the container image that it ran in"),
        _text("model_access", "how it reached its model: gateway, environment or ''"),
        sa.Column("bytes_out", BIG, nullable=True, comment="bytes that it sent, NULL when nobody counted"),
        *(
            sa.CheckConstraint(f'"{name}" >= 0', name=op.f(f"ck_run_places_{name}_least"))
            for name in ("step", "candidate", "bytes_out")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["agent_runs.id"], name=op.f("fk_run_places_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_places")),
        comment="What a run was in its job's workflow, and what its sandbox was",
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("run_places")


def _text(name: str, comment: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False, comment=comment)


def _count(name: str, comment: str) -> sa.Column[int]:
    return sa.Column(name, BIG, server_default="0", nullable=False, comment=comment)
