"""What is set and learned: configuration, models, templates, logs, usage and feedback."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _system_config()
    _model_versions()
    _prompt_templates()
    _execution_logs()
    _usage()
    _feedback()


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("feedback")
    op.drop_table("usage")
    op.drop_table("execution_logs")
    op.drop_table("prompt_templates")
    op.drop_table("model_versions")
    op.drop_table("system_config")


def _system_config() -> None:
    op.create_table(
        "system_config",
        sa.Column("key", sa.Text(), nullable=False, comment="which parameter"),
        sa.Column(
            "version", BIG, autoincrement=False, nullable=False, comment="from 1, without gaps; the newest holds"
        ),
        sa.Column("value", sa.Text(), nullable=False, comment="JSON of the value"),
        sa.Column("by", sa.Text(), nullable=False, comment="who changed it"),
        sa.Column("at_ms", BIG, nullable=False, comment="when"),
        sa.Column("why", sa.Text(), server_default="", nullable=False, comment="the reason given"),
        sa.CheckConstraint('"at_ms" >= 0', name=op.f("ck_system_config_at_ms_least")),
        sa.CheckConstraint('"version" >= 1', name=op.f("ck_system_config_version_least")),
        sa.CheckConstraint('length("by") > 0', name=op.f("ck_system_config_by_filled")),
        sa.CheckConstraint('length("key") > 0', name=op.f("ck_system_config_key_filled")),
        sa.CheckConstraint('length("value") > 0', name=op.f("ck_system_config_value_filled")),
        sa.PrimaryKeyConstraint("key", "version", name=op.f("pk_system_config")),
        comment="What an operator changed at run time, every version of it",
    )


def _model_versions() -> None:
    op.create_table(
        "model_versions",
        sa.Column("number", BIG, autoincrement=True, nullable=False, comment="our own number"),
        sa.Column("provider", sa.Text(), server_default="", nullable=False, comment="who serves it"),
        sa.Column("name", sa.Text(), nullable=False, comment="the model's name"),
        sa.Column(
            "version", sa.Text(), server_default="", nullable=False, comment="the version as the provider answered it"
        ),
        sa.Column("first_seen_at_ms", BIG, nullable=False, comment="when it first worked here"),
        sa.Column("last_seen_at_ms", BIG, nullable=False, comment="when it last worked here"),
        sa.Column("note", sa.Text(), server_default="", nullable=False, comment="what people should know"),
        sa.CheckConstraint('"first_seen_at_ms" >= 0', name=op.f("ck_model_versions_first_seen_at_ms_least")),
        sa.CheckConstraint('"last_seen_at_ms" >= 0', name=op.f("ck_model_versions_last_seen_at_ms_least")),
        sa.CheckConstraint('length("name") > 0', name=op.f("ck_model_versions_name_filled")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_model_versions")),
        sa.UniqueConstraint("provider", "name", "version", name=op.f("uq_model_versions_provider_name_version")),
        comment="A model version that worked on jobs",
    )


def _prompt_templates() -> None:
    op.create_table(
        "prompt_templates",
        sa.Column("number", BIG, autoincrement=True, nullable=False, comment="our own number"),
        sa.Column("task_type", sa.Text(), nullable=False, comment="which kind of work"),
        sa.Column("role", sa.Text(), nullable=False, comment="for which role"),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 (hex) of the template's bytes: its version"),
        sa.Column("body", sa.Text(), nullable=False, comment="the template"),
        sa.Column("is_active", sa.Boolean(), server_default=sa.true(), nullable=False, comment="whether it is in use"),
        sa.Column("created_at_ms", BIG, nullable=False, comment="when it was first seen"),
        sa.CheckConstraint(
            "task_type in ('bugfix', 'feature', 'refactor')", name=op.f("ck_prompt_templates_task_type_known")
        ),
        sa.CheckConstraint('"created_at_ms" >= 0', name=op.f("ck_prompt_templates_created_at_ms_least")),
        sa.CheckConstraint('length("body") > 0', name=op.f("ck_prompt_templates_body_filled")),
        sa.CheckConstraint('length("digest") > 0', name=op.f("ck_prompt_templates_digest_filled")),
        sa.CheckConstraint('length("role") > 0', name=op.f("ck_prompt_templates_role_filled")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_prompt_templates")),
        sa.UniqueConstraint("task_type", "role", "digest", name=op.f("uq_prompt_templates_task_type_role_digest")),
        comment="A version of a prompt template",
    )


def _execution_logs() -> None:
    op.create_table(
        "execution_logs",
        sa.Column("number", BIG, autoincrement=True, nullable=False, comment="our own number"),
        sa.Column("job_id", sa.Text(), nullable=False, comment="the job it belongs to"),
        sa.Column("run_id", sa.Text(), nullable=True, comment="the run it is of"),
        sa.Column("chunk", BIG, nullable=False, comment="its place in the run's log, from 0"),
        sa.Column("first_at_ms", BIG, nullable=False, comment="instant of its first line"),
        sa.Column("last_at_ms", BIG, nullable=False, comment="instant of its last line"),
        sa.Column("line_count", BIG, server_default="0", nullable=False, comment="JSONL lines in it"),
        sa.Column("size_bytes", BIG, server_default="0", nullable=False, comment="bytes in it"),
        sa.Column("level", sa.Text(), server_default="info", nullable=False, comment="the gravest level in it"),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 (hex) of the blob that holds it"),
        sa.CheckConstraint(
            "level in ('debug', 'info', 'warning', 'error')", name=op.f("ck_execution_logs_level_known")
        ),
        sa.CheckConstraint('"chunk" >= 0', name=op.f("ck_execution_logs_chunk_least")),
        sa.CheckConstraint('"first_at_ms" >= 0', name=op.f("ck_execution_logs_first_at_ms_least")),
        sa.CheckConstraint('"line_count" >= 0', name=op.f("ck_execution_logs_line_count_least")),
        sa.CheckConstraint('"size_bytes" >= 0', name=op.f("ck_execution_logs_size_bytes_least")),
        sa.CheckConstraint("last_at_ms >= first_at_ms", name=op.f("ck_execution_logs_last_after_first")),
        sa.CheckConstraint('length("digest") > 0', name=op.f("ck_execution_logs_digest_filled")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["agent_jobs.id"], name=op.f("fk_execution_logs_job_id"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(["run_id"], ["agent_runs.id"], name=op.f("fk_execution_logs_run_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_execution_logs")),
        sa.UniqueConstraint("job_id", "run_id", "chunk", name=op.f("uq_execution_logs_job_id_run_id_chunk")),
        comment="Where a stretch of a run's step log is kept; never changed",
    )
    op.create_index(
        op.f("ix_execution_logs_job_id_first_at_ms"), "execution_logs", ["job_id", "first_at_ms"], unique=False
    )


def _usage() -> None:
    op.create_table(
        "usage",
        sa.Column("number", BIG, autoincrement=True, nullable=False, comment="our own number"),
        sa.Column("job_id", sa.Text(), nullable=False, comment="the job it belongs to"),
        sa.Column("run_id", sa.Text(), nullable=True, comment="the run that used it"),
        sa.Column("model", sa.Text(), server_default="", nullable=False, comment="the model, '' for machine time"),
        sa.Column("input_tokens", BIG, nullable=True, comment="tokens read, NULL when not reported"),
        sa.Column("output_tokens", BIG, nullable=True, comment="tokens written, NULL when not reported"),
        sa.Column("cost_microusd", BIG, nullable=True, comment="millionths of a US dollar, NULL when not reported"),
        sa.Column("cpu_ms", BIG, nullable=True, comment="CPU time, NULL when not measured"),
        sa.Column("egress_bytes", BIG, nullable=True, comment="bytes sent out, NULL when not measured"),
        sa.Column("at_ms", BIG, nullable=False, comment="when it was written"),
        sa.CheckConstraint('"at_ms" >= 0', name=op.f("ck_usage_at_ms_least")),
        sa.CheckConstraint('"cost_microusd" >= 0', name=op.f("ck_usage_cost_microusd_least")),
        sa.CheckConstraint('"cpu_ms" >= 0', name=op.f("ck_usage_cpu_ms_least")),
        sa.CheckConstraint('"egress_bytes" >= 0', name=op.f("ck_usage_egress_bytes_least")),
        sa.CheckConstraint('"input_tokens" >= 0', name=op.f("ck_usage_input_tokens_least")),
        sa.CheckConstraint('"output_tokens" >= 0', name=op.f("ck_usage_output_tokens_least")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["agent_jobs.id"], name=op.f("fk_usage_job_id"), initially="DEFERRED", deferrable=True
        ),
        sa.ForeignKeyConstraint(["run_id"], ["agent_runs.id"], name=op.f("fk_usage_run_id")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_usage")),
        comment="What work cost",
    )
    op.create_index(op.f("ix_usage_at_ms"), "usage", ["at_ms"], unique=False)
    op.create_index(op.f("ix_usage_job_id"), "usage", ["job_id"], unique=False)


def _feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("number", BIG, autoincrement=True, nullable=False, comment="our own number"),
        sa.Column("job_id", sa.Text(), nullable=True, comment="the job it belongs to"),
        sa.Column("source", sa.Text(), nullable=False, comment="human, ci, review or windlass"),
        sa.Column("category", sa.Text(), nullable=False, comment="which kind of finding"),
        sa.Column("by", sa.Text(), server_default="", nullable=False, comment="who said it"),
        sa.Column("body", sa.Text(), server_default="", nullable=False, comment="what was said, hostile text"),
        sa.Column("at_ms", BIG, nullable=False, comment="when"),
        sa.CheckConstraint("source in ('human', 'ci', 'review', 'windlass')", name=op.f("ck_feedback_source_known")),
        sa.CheckConstraint('"at_ms" >= 0', name=op.f("ck_feedback_at_ms_least")),
        sa.CheckConstraint('length("category") > 0', name=op.f("ck_feedback_category_filled")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["agent_jobs.id"], name=op.f("fk_feedback_job_id"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_feedback")),
        comment="What is to be learned from a job",
    )
    op.create_index(op.f("ix_feedback_job_id"), "feedback", ["job_id"], unique=False)
