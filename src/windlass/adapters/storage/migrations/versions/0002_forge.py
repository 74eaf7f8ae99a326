"""What the forge showed: pull requests, CI results and approvals."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _pull_requests()
    _ci_results()
    _approvals()


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("approvals")
    op.drop_table("ci_results")
    op.drop_table("pull_requests")


def _pull_requests() -> None:
    op.create_table(
        "pull_requests",
        sa.Column("number", BIG, autoincrement=True, nullable=False, comment="our own number"),
        sa.Column("repository", sa.Text(), nullable=False, comment="owner/name"),
        sa.Column("pull_number", BIG, nullable=False, comment="the forge's number"),
        sa.Column("job_id", sa.Text(), nullable=False, comment="the job it belongs to"),
        sa.Column("url", sa.Text(), server_default="", nullable=False, comment="where people read it"),
        sa.Column("title", sa.Text(), server_default="", nullable=False, comment="its title when last read"),
        sa.Column("state", sa.Text(), nullable=False, comment="open, closed or merged"),
        sa.Column("head_sha", sa.Text(), server_default="", nullable=False, comment="its head when last read"),
        sa.Column("base_ref", sa.Text(), server_default="", nullable=False, comment="the branch it goes into"),
        sa.Column("merged_by", sa.Text(), server_default="", nullable=False, comment="the login of who merged it"),
        sa.Column(
            "merge_commit_sha", sa.Text(), server_default="", nullable=False, comment="the commit the merge made"
        ),
        sa.Column("created_at_ms", BIG, nullable=False, comment="when we first knew it"),
        sa.Column("updated_at_ms", BIG, nullable=False, comment="when it was last read"),
        sa.CheckConstraint("state in ('open', 'closed', 'merged')", name=op.f("ck_pull_requests_state_known")),
        sa.CheckConstraint('"created_at_ms" >= 0', name=op.f("ck_pull_requests_created_at_ms_least")),
        sa.CheckConstraint('"pull_number" >= 1', name=op.f("ck_pull_requests_pull_number_least")),
        sa.CheckConstraint('"updated_at_ms" >= 0', name=op.f("ck_pull_requests_updated_at_ms_least")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["agent_jobs.id"], name=op.f("fk_pull_requests_job_id"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(
            ["repository"], ["repositories.full_name"], name=op.f("fk_pull_requests_repository"), onupdate="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_pull_requests")),
        sa.UniqueConstraint("repository", "pull_number", name=op.f("uq_pull_requests_repository_pull_number")),
        comment="A pull request that a job opened",
    )
    op.create_index(op.f("ix_pull_requests_job_id"), "pull_requests", ["job_id"], unique=False)


def _ci_results() -> None:
    op.create_table(
        "ci_results",
        sa.Column("number", BIG, autoincrement=True, nullable=False, comment="our own number"),
        sa.Column("pull_request", BIG, nullable=False, comment="the pull request it speaks of"),
        sa.Column("sha", sa.Text(), nullable=False, comment="the commit that was checked"),
        sa.Column(
            "is_base",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="whether that commit is the base, not the head",
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="the check's name or the status's context"),
        sa.Column("source", sa.Text(), nullable=False, comment="where it was read from: check run, commit status"),
        sa.Column("app", sa.Text(), server_default="", nullable=False, comment="the app that reported it"),
        sa.Column("check_id", BIG, server_default="0", nullable=False, comment="the forge's id, 0 for a commit status"),
        sa.Column("status", sa.Text(), nullable=False, comment="queued, in_progress or completed"),
        sa.Column(
            "conclusion", sa.Text(), server_default="", nullable=False, comment="the forge's word, '' until completed"
        ),
        sa.Column(
            "completed_at_ms",
            BIG,
            server_default="0",
            nullable=False,
            comment="when the forge says it ended, 0 while it runs",
        ),
        sa.Column("url", sa.Text(), server_default="", nullable=False, comment="where people read it"),
        sa.Column("summary", sa.Text(), server_default="", nullable=False, comment="what the check says, hostile text"),
        sa.Column("first_at_ms", BIG, nullable=False, comment="when it was first read"),
        sa.Column("updated_at_ms", BIG, nullable=False, comment="when it was last read"),
        sa.CheckConstraint('"check_id" >= 0', name=op.f("ck_ci_results_check_id_least")),
        sa.CheckConstraint('"completed_at_ms" >= 0', name=op.f("ck_ci_results_completed_at_ms_least")),
        sa.CheckConstraint('"first_at_ms" >= 0', name=op.f("ck_ci_results_first_at_ms_least")),
        sa.CheckConstraint('"updated_at_ms" >= 0', name=op.f("ck_ci_results_updated_at_ms_least")),
        sa.CheckConstraint('length("name") > 0', name=op.f("ck_ci_results_name_filled")),
        sa.CheckConstraint('length("sha") > 0', name=op.f("ck_ci_results_sha_filled")),
        sa.CheckConstraint('length("source") > 0', name=op.f("ck_ci_results_source_filled")),
        sa.CheckConstraint('length("status") > 0', name=op.f("ck_ci_results_status_filled")),
        sa.ForeignKeyConstraint(["pull_request"], ["pull_requests.number"], name=op.f("fk_ci_results_pull_request")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_ci_results")),
        sa.UniqueConstraint("pull_request", "sha", "name", "source", "app", "check_id", name="uq_ci_results_check"),
        comment="One check's word on one commit",
    )


def _approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("number", BIG, autoincrement=True, nullable=False, comment="our own number"),
        sa.Column("job_id", sa.Text(), nullable=False, comment="the job it belongs to"),
        sa.Column("by", sa.Text(), nullable=False, comment="the login of the human"),
        sa.Column("head_sha", sa.Text(), nullable=False, comment="the one commit that was approved"),
        sa.Column("review_id", BIG, nullable=False, comment="the forge's id of the review"),
        sa.Column("at_ms", BIG, nullable=False, comment="when it was given"),
        sa.CheckConstraint('"at_ms" >= 0', name=op.f("ck_approvals_at_ms_least")),
        sa.CheckConstraint('length("by") > 0', name=op.f("ck_approvals_by_filled")),
        sa.CheckConstraint('length("head_sha") > 0', name=op.f("ck_approvals_head_sha_filled")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["agent_jobs.id"], name=op.f("fk_approvals_job_id"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_approvals")),
        sa.UniqueConstraint(
            "job_id", "head_sha", "review_id", "by", name=op.f("uq_approvals_job_id_head_sha_review_id_by")
        ),
        comment="A human's yes to exactly one commit; never changed",
    )
