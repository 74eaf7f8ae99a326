"""The asked work: repositories, issues, agents, jobs and runs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _repositories()
    _issues()
    _agents()
    _agent_jobs()
    _pushed_commits()
    _agent_runs()


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("agent_runs")
    op.drop_table("pushed_commits")
    op.drop_table("agent_jobs")
    op.drop_table("agents")
    op.drop_table("issues")
    op.drop_table("repositories")


def _repositories() -> None:
    op.create_table(
        "repositories",
        sa.Column("full_name", sa.Text(), nullable=False, comment="owner/name on the forge"),
        sa.Column(
            "default_branch",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="the forge's default branch, '' until read",
        ),
        sa.Column("forge_id", BIG, nullable=True, comment="the forge's own id, which survives a rename"),
        sa.Column(
            "is_enabled",
            sa.Boolean(),
            server_default=sa.true(),
            nullable=False,
            comment="whether jobs may be started for it",
        ),
        sa.Column(
            "rollout", sa.Text(), server_default="", nullable=False, comment="the stage it is in: '' until decided"
        ),
        sa.Column("created_at_ms", BIG, nullable=False, comment="when it was first seen"),
        sa.Column("updated_at_ms", BIG, nullable=False, comment="when it was last read"),
        sa.CheckConstraint('"created_at_ms" >= 0', name=op.f("ck_repositories_created_at_ms_least")),
        sa.CheckConstraint('"updated_at_ms" >= 0', name=op.f("ck_repositories_updated_at_ms_least")),
        sa.CheckConstraint('length("full_name") > 0', name=op.f("ck_repositories_full_name_filled")),
        sa.PrimaryKeyConstraint("full_name", name=op.f("pk_repositories")),
        sa.UniqueConstraint("forge_id", name=op.f("uq_repositories_forge_id")),
        comment="A repository that Windlass works on",
    )


def _issues() -> None:
    op.create_table(
        "issues",
        sa.Column("repository", sa.Text(), nullable=False, comment="owner/name"),
        sa.Column("issue_number", BIG, autoincrement=False, nullable=False, comment="the forge's number"),
        sa.Column("title", sa.Text(), nullable=False, comment="its title when a job was last opened"),
        sa.Column("author", sa.Text(), server_default="", nullable=False, comment="the login of who wrote it"),
        sa.Column("url", sa.Text(), server_default="", nullable=False, comment="where people read it"),
        sa.Column("labels", sa.Text(), server_default="[]", nullable=False, comment="JSON list of label names"),
        sa.Column("created_at_ms", BIG, nullable=False, comment="when it was first seen"),
        sa.Column("updated_at_ms", BIG, nullable=False, comment="when it was last read"),
        sa.CheckConstraint('"created_at_ms" >= 0', name=op.f("ck_issues_created_at_ms_least")),
        sa.CheckConstraint('"issue_number" >= 1', name=op.f("ck_issues_issue_number_least")),
        sa.CheckConstraint('"updated_at_ms" >= 0', name=op.f("ck_issues_updated_at_ms_least")),
        sa.ForeignKeyConstraint(
            ["repository"], ["repositories.full_name"], name=op.f("fk_issues_repository"), onupdate="CASCADE"
        ),
        sa.PrimaryKeyConstraint("repository", "issue_number", name=op.f("pk_issues")),
        comment="A request on the forge; its text as it stood is in the job's snapshot",
    )


def _agents() -> None:
    op.create_table(
        "agents",
        sa.Column("name", sa.Text(), nullable=False, comment="what policies and people call it"),
        sa.Column(
            "driver",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="how it is driven: command, patch, container, …",
        ),
        sa.Column(
            "definition", sa.Text(), server_default="{}", nullable=False, comment="JSON: what a catalogue entry says"
        ),
        sa.Column(
            "is_enabled", sa.Boolean(), server_default=sa.true(), nullable=False, comment="whether it may be started"
        ),
        sa.Column("created_at_ms", BIG, nullable=False, comment="when it was first seen"),
        sa.CheckConstraint('"created_at_ms" >= 0', name=op.f("ck_agents_created_at_ms_least")),
        sa.CheckConstraint('length("name") > 0', name=op.f("ck_agents_name_filled")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_agents")),
        comment="A program that codes",
    )


def _agent_jobs() -> None:
    op.create_table(
        "agent_jobs", *_agent_jobs_columns(), *_agent_jobs_rules(), comment="One piece of asked work on one issue"
    )
    op.create_index("ix_agent_jobs_branch", "agent_jobs", ["repository", "branch"], unique=False)
    op.create_index(
        "ix_agent_jobs_due",
        "agent_jobs",
        ["deadline_at_ms"],
        unique=False,
        sqlite_where=sa.text("state not in ('merged', 'closed', 'failed', 'cancelled', 'shadowed')"),
        postgresql_where=sa.text("state not in ('merged', 'closed', 'failed', 'cancelled', 'shadowed')"),
    )
    op.create_index("ix_agent_jobs_issue", "agent_jobs", ["repository", "issue_number", "created_at_ms"], unique=False)
    op.create_index("ix_agent_jobs_newest", "agent_jobs", ["created_at_ms"], unique=False)
    op.create_index("ix_agent_jobs_pull", "agent_jobs", ["repository", "pull_number"], unique=False)
    op.create_index(
        "uq_agent_jobs_one_active_per_issue",
        "agent_jobs",
        ["repository", "issue_number"],
        unique=True,
        sqlite_where=sa.text("state not in ('merged', 'closed', 'failed', 'cancelled', 'shadowed')"),
        postgresql_where=sa.text("state not in ('merged', 'closed', 'failed', 'cancelled', 'shadowed')"),
    )


def _agent_jobs_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", sa.Text(), nullable=False, comment="the job's id"),
        sa.Column("repository", sa.Text(), nullable=False, comment="owner/name"),
        sa.Column("issue_number", BIG, nullable=False, comment="the issue it works on"),
        sa.Column("task_type", sa.Text(), nullable=False, comment="bugfix, feature or refactor"),
        sa.Column("requested_by", sa.Text(), nullable=False, comment="the login of who asked"),
        sa.Column("epoch", sa.Text(), nullable=False, comment="the forge's id of the one act of asking"),
        sa.Column("branch", sa.Text(), nullable=False, comment="the branch it works on"),
        sa.Column("base_ref", sa.Text(), nullable=False, comment="the branch it shall be merged into"),
        sa.Column("state", sa.Text(), nullable=False, comment="where it is in its life"),
        sa.Column("reason", sa.Text(), nullable=True, comment="why it is there, when the state alone does not say"),
        sa.Column("agent", sa.Text(), server_default="", nullable=False, comment="the agent that was asked"),
        sa.Column("seq", BIG, server_default="0", nullable=False, comment="number of its newest effect"),
        sa.Column("gate", sa.Text(), server_default="", nullable=False, comment="what the approval gate says"),
        sa.Column("ci_verdict", sa.Text(), server_default="", nullable=False, comment="what CI said of the head"),
        sa.Column("pull_number", BIG, nullable=True, comment="its pull request"),
        sa.Column("base_sha", sa.Text(), nullable=True, comment="the commit it started from"),
        sa.Column("branch_sha", sa.Text(), nullable=True, comment="the branch's tip that it knows"),
        sa.Column("head_sha", sa.Text(), nullable=True, comment="the commit under review"),
        sa.Column("run_id", sa.Text(), nullable=True, comment="the run under way"),
        sa.Column(
            "deadline_at_ms",
            BIG,
            nullable=True,
            comment="when it is looked at again at the latest; NULL only when terminal",
        ),
        sa.Column("created_at_ms", BIG, nullable=False, comment="when it was opened"),
        sa.Column("updated_at_ms", BIG, nullable=False, comment="when it last changed"),
        sa.Column(
            "snapshot", sa.Text(), nullable=False, comment="JSON of the whole job; the columns above show parts of it"
        ),
    ]


def _agent_jobs_rules() -> list[sa.Constraint]:
    return [
        sa.CheckConstraint(
            "state in ('merged', 'closed', 'failed', 'cancelled', 'shadowed') or deadline_at_ms is not null",
            name=op.f("ck_agent_jobs_active_has_deadline"),
        ),
        sa.CheckConstraint(
            "state in ('queued', 'running', 'publishing', 'checking', 'reviewing', 'escalated', 'merged', "
            "'closed', 'failed', 'cancelled', 'shadowed')",
            name=op.f("ck_agent_jobs_state_known"),
        ),
        sa.CheckConstraint(
            "task_type in ('bugfix', 'feature', 'refactor')", name=op.f("ck_agent_jobs_task_type_known")
        ),
        sa.CheckConstraint('"created_at_ms" >= 0', name=op.f("ck_agent_jobs_created_at_ms_least")),
        sa.CheckConstraint('"pull_number" >= 1', name=op.f("ck_agent_jobs_pull_number_least")),
        sa.CheckConstraint('"seq" >= 0', name=op.f("ck_agent_jobs_seq_least")),
        sa.CheckConstraint('"updated_at_ms" >= 0', name=op.f("ck_agent_jobs_updated_at_ms_least")),
        sa.CheckConstraint('length("base_ref") > 0', name=op.f("ck_agent_jobs_base_ref_filled")),
        sa.CheckConstraint('length("branch") > 0', name=op.f("ck_agent_jobs_branch_filled")),
        sa.CheckConstraint('length("id") > 0', name=op.f("ck_agent_jobs_id_filled")),
        sa.CheckConstraint('length("reason") > 0', name=op.f("ck_agent_jobs_reason_filled")),
        sa.CheckConstraint('length("requested_by") > 0', name=op.f("ck_agent_jobs_requested_by_filled")),
        sa.CheckConstraint('length("snapshot") > 0', name=op.f("ck_agent_jobs_snapshot_filled")),
        sa.ForeignKeyConstraint(
            ["repository", "issue_number"],
            ["issues.repository", "issues.issue_number"],
            name=op.f("fk_agent_jobs_repository_issue_number"),
            onupdate="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agent_jobs")),
    ]


def _pushed_commits() -> None:
    op.create_table(
        "pushed_commits",
        sa.Column("job_id", sa.Text(), nullable=False, comment="the job that pushed it"),
        sa.Column("sha", sa.Text(), nullable=False, comment="the commit"),
        sa.Column("position", BIG, nullable=False, comment="its place among the job's pushes, from 0"),
        sa.CheckConstraint('"position" >= 0', name=op.f("ck_pushed_commits_position_least")),
        sa.CheckConstraint('length("sha") > 0', name=op.f("ck_pushed_commits_sha_filled")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["agent_jobs.id"], name=op.f("fk_pushed_commits_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "sha", name=op.f("pk_pushed_commits")),
        comment="Every commit that a job pushed",
    )
    op.create_index(op.f("ix_pushed_commits_sha"), "pushed_commits", ["sha"], unique=False)


def _agent_runs() -> None:
    op.create_table(
        "agent_runs", *_agent_runs_columns(), *_agent_runs_rules(), comment="One try by one agent in one role"
    )
    op.create_index(
        "ix_agent_runs_active",
        "agent_runs",
        ["id"],
        unique=False,
        sqlite_where=sa.text("finished_at_ms is null"),
        postgresql_where=sa.text("finished_at_ms is null"),
    )
    op.create_index(op.f("ix_agent_runs_job_id"), "agent_runs", ["job_id"], unique=False)


def _agent_runs_columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("number", BIG, autoincrement=True, nullable=False, comment="order of first sight"),
        sa.Column("id", sa.Text(), nullable=False, comment="the run's id"),
        sa.Column("job_id", sa.Text(), nullable=False, comment="the job it belongs to"),
        sa.Column("role", sa.Text(), nullable=False, comment="what the agent was asked to be"),
        sa.Column("attempt", BIG, nullable=False, comment="which try it is"),
        sa.Column("agent", sa.Text(), nullable=False, comment="who worked"),
        sa.Column("status", sa.Text(), nullable=False, comment="where the run is"),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False, comment="how it ended, '' until then"),
        sa.Column("started_at_ms", BIG, nullable=True, comment="when the agent began"),
        sa.Column("finished_at_ms", BIG, nullable=True, comment="when it was over; NULL while a sandbox may be up"),
        sa.Column("patch_digest", sa.Text(), server_default="", nullable=False, comment="SHA-256 (hex) of the change"),
        sa.Column(
            "report_digest",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="SHA-256 (hex) of the agent's own report",
        ),
        sa.Column(
            "log_digest", sa.Text(), server_default="", nullable=False, comment="SHA-256 (hex) of what it printed"
        ),
        sa.Column("prompt_digest", sa.Text(), server_default="", nullable=False, comment="SHA-256 (hex) of the prompt"),
        sa.Column(
            "model", sa.Text(), server_default="", nullable=False, comment="the model that answered, as it was named"
        ),
        sa.Column("cpu_s", sa.Double(), server_default="0", nullable=False, comment="CPU time in seconds"),
        sa.Column("peak_memory_bytes", BIG, server_default="0", nullable=False, comment="most memory held at once"),
        sa.Column("detail", sa.Text(), server_default="", nullable=False, comment="one line for people"),
    ]


def _agent_runs_rules() -> list[sa.Constraint]:
    return [
        sa.CheckConstraint(
            "outcome in ('', 'completed', 'no_change', 'incomplete', 'failed', 'timed_out', 'cancelled', "
            "'refused', 'infra_error')",
            name=op.f("ck_agent_runs_outcome_known"),
        ),
        sa.CheckConstraint('"attempt" >= 0', name=op.f("ck_agent_runs_attempt_least")),
        sa.CheckConstraint('"cpu_s" >= 0', name=op.f("ck_agent_runs_cpu_s_least")),
        sa.CheckConstraint('"finished_at_ms" >= 0', name=op.f("ck_agent_runs_finished_at_ms_least")),
        sa.CheckConstraint('"peak_memory_bytes" >= 0', name=op.f("ck_agent_runs_peak_memory_bytes_least")),
        sa.CheckConstraint('"started_at_ms" >= 0', name=op.f("ck_agent_runs_started_at_ms_least")),
        sa.CheckConstraint('length("id") > 0', name=op.f("ck_agent_runs_id_filled")),
        sa.CheckConstraint('length("role") > 0', name=op.f("ck_agent_runs_role_filled")),
        sa.CheckConstraint('length("status") > 0', name=op.f("ck_agent_runs_status_filled")),
        sa.ForeignKeyConstraint(["agent"], ["agents.name"], name=op.f("fk_agent_runs_agent"), onupdate="CASCADE"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["agent_jobs.id"], name=op.f("fk_agent_runs_job_id"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_agent_runs")),
        sa.UniqueConstraint("id", name=op.f("uq_agent_runs_id")),
    ]
