"""What came in and what was ordered: deliveries, events, effects and replicas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _deliveries()
    _events()
    _effects()
    _replicas()


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("replicas")
    op.drop_table("effects")
    op.drop_table("events")
    op.drop_table("deliveries")


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Text(), nullable=False, comment="the forge's id of the webhook call"),
        sa.Column("event", sa.Text(), nullable=False, comment="the forge's name of the event"),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="the exact bytes that came in"),
        sa.Column("received_at_ms", BIG, nullable=False, comment="when it came in"),
        sa.Column(
            "attempts", BIG, server_default="0", nullable=False, comment="how often somebody began to process it"
        ),
        sa.Column("owner", sa.Text(), nullable=True, comment="who holds it"),
        sa.Column("leased_until_ms", BIG, server_default="0", nullable=False, comment="until when it is held"),
        sa.Column("retry_at_ms", BIG, server_default="0", nullable=False, comment="not before this"),
        sa.Column("processed_at_ms", BIG, nullable=True, comment="when it had been dealt with"),
        sa.Column("outcome", sa.Text(), server_default="", nullable=False, comment="what came of it"),
        sa.Column("error", sa.Text(), server_default="", nullable=False, comment="what went wrong last"),
        sa.CheckConstraint('"attempts" >= 0', name=op.f("ck_deliveries_attempts_least")),
        sa.CheckConstraint('"leased_until_ms" >= 0', name=op.f("ck_deliveries_leased_until_ms_least")),
        sa.CheckConstraint('"processed_at_ms" >= 0', name=op.f("ck_deliveries_processed_at_ms_least")),
        sa.CheckConstraint('"received_at_ms" >= 0', name=op.f("ck_deliveries_received_at_ms_least")),
        sa.CheckConstraint('"retry_at_ms" >= 0', name=op.f("ck_deliveries_retry_at_ms_least")),
        sa.CheckConstraint('length("id") > 0', name=op.f("ck_deliveries_id_filled")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        comment="One webhook call, stored raw before it is answered",
    )
    op.create_index(
        "ix_deliveries_waiting",
        "deliveries",
        ["received_at_ms", "id"],
        unique=False,
        sqlite_where=sa.text("processed_at_ms is null"),
        postgresql_where=sa.text("processed_at_ms is null"),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("number", BIG, autoincrement=True, nullable=False, comment="order of arrival"),
        sa.Column("dedup", sa.Text(), nullable=False, comment="what makes it the same event when it comes again"),
        sa.Column("job_id", sa.Text(), nullable=True, comment="the job it belongs to"),
        sa.Column("kind", sa.Text(), nullable=False, comment="which event"),
        sa.Column("at_ms", BIG, nullable=False, comment="when it was taken in"),
        sa.Column("event", sa.Text(), nullable=False, comment="JSON of the event"),
        sa.Column("source_state", sa.Text(), server_default="", nullable=False, comment="the job's state before"),
        sa.Column("target_state", sa.Text(), server_default="", nullable=False, comment="the job's state after"),
        sa.Column("why", sa.Text(), server_default="[]", nullable=False, comment="JSON list: the decision's reasons"),
        sa.Column("job_before", sa.Text(), nullable=True, comment="JSON of the job before"),
        sa.Column("job_after", sa.Text(), nullable=True, comment="JSON of the job after"),
        sa.Column("policy", sa.Text(), nullable=True, comment="JSON of the policy that was decided under"),
        sa.CheckConstraint('"at_ms" >= 0', name=op.f("ck_events_at_ms_least")),
        sa.CheckConstraint('length("dedup") > 0', name=op.f("ck_events_dedup_filled")),
        sa.CheckConstraint('length("event") > 0', name=op.f("ck_events_event_filled")),
        sa.CheckConstraint('length("kind") > 0', name=op.f("ck_events_kind_filled")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["agent_jobs.id"], name=op.f("fk_events_job_id"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_events")),
        sa.UniqueConstraint("dedup", name=op.f("uq_events_dedup")),
        comment="What happened, and what was decided on it",
    )
    op.create_index(op.f("ix_events_job_id_number"), "events", ["job_id", "number"], unique=False)


def _effects() -> None:
    op.create_table(
        "effects",
        sa.Column("job_id", sa.Text(), nullable=False, comment="the job that ordered it"),
        sa.Column("seq", BIG, autoincrement=False, nullable=False, comment="its number in the job"),
        sa.Column("kind", sa.Text(), nullable=False, comment="which effect"),
        sa.Column("body", sa.Text(), nullable=False, comment="JSON of the order"),
        sa.Column("status", sa.Text(), nullable=False, comment="ordered, done, failed or void"),
        sa.Column(
            "claim", BIG, server_default="0", nullable=False, comment="grows each time somebody begins to carry it out"
        ),
        sa.Column("queue", sa.Text(), nullable=False, comment="where it waits"),
        sa.Column("partition", sa.Text(), server_default="", nullable=False, comment="whose limits it counts against"),
        sa.Column("priority", BIG, server_default="0", nullable=False, comment="lower goes first"),
        sa.Column("ordered_at_ms", BIG, nullable=False, comment="when it was given"),
        sa.Column("claimed_at_ms", BIG, nullable=True, comment="when somebody last began"),
        sa.Column("closed_at_ms", BIG, nullable=True, comment="when it was done, failed or void"),
        sa.CheckConstraint("(status = 'ordered') = (closed_at_ms is null)", name=op.f("ck_effects_closed_has_instant")),
        sa.CheckConstraint("status in ('ordered', 'done', 'failed', 'void')", name=op.f("ck_effects_status_known")),
        sa.CheckConstraint('"claim" >= 0', name=op.f("ck_effects_claim_least")),
        sa.CheckConstraint('"ordered_at_ms" >= 0', name=op.f("ck_effects_ordered_at_ms_least")),
        sa.CheckConstraint('"seq" >= 0', name=op.f("ck_effects_seq_least")),
        sa.CheckConstraint('length("body") > 0', name=op.f("ck_effects_body_filled")),
        sa.CheckConstraint('length("kind") > 0', name=op.f("ck_effects_kind_filled")),
        sa.CheckConstraint('length("queue") > 0', name=op.f("ck_effects_queue_filled")),
        sa.ForeignKeyConstraint(
            ["job_id"], ["agent_jobs.id"], name=op.f("fk_effects_job_id"), initially="DEFERRED", deferrable=True
        ),
        sa.PrimaryKeyConstraint("job_id", "seq", name=op.f("pk_effects")),
        comment="An order to the outside, keyed <job>:<seq>",
    )
    op.create_index(
        "ix_effects_open",
        "effects",
        ["ordered_at_ms"],
        unique=False,
        sqlite_where=sa.text("status = 'ordered'"),
        postgresql_where=sa.text("status = 'ordered'"),
    )


def _replicas() -> None:
    op.create_table(
        "replicas",
        sa.Column("executor_id", sa.Text(), nullable=False, comment="the process's name in durable execution"),
        sa.Column("host", sa.Text(), nullable=False, comment="the machine or pod it runs on"),
        sa.Column("pid", BIG, nullable=False, comment="its process id there"),
        sa.Column("started_at_ms", BIG, nullable=False, comment="when it started"),
        sa.Column("expires_at_ms", BIG, nullable=False, comment="taken for dead when this has passed"),
        sa.CheckConstraint('"expires_at_ms" >= 0', name=op.f("ck_replicas_expires_at_ms_least")),
        sa.CheckConstraint('"pid" >= 0', name=op.f("ck_replicas_pid_least")),
        sa.CheckConstraint('"started_at_ms" >= 0', name=op.f("ck_replicas_started_at_ms_least")),
        sa.CheckConstraint('length("executor_id") > 0', name=op.f("ck_replicas_executor_id_filled")),
        sa.CheckConstraint('length("host") > 0', name=op.f("ck_replicas_host_filled")),
        sa.PrimaryKeyConstraint("executor_id", name=op.f("pk_replicas")),
        comment="A process of this installation that is alive",
    )
    op.create_index(op.f("ix_replicas_expires_at_ms"), "replicas", ["expires_at_ms"], unique=False)
