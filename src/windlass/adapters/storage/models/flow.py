"""Deliveries, events, effects and replicas: what came in, what was decided, what was ordered, and who is alive."""

from __future__ import annotations

import sqlalchemy as sa

from windlass.adapters.storage.models.columns import (
    binary,
    count,
    counted,
    counter,
    document,
    filled,
    integer,
    job_key,
    metadata,
    one_of,
    optional,
    text,
)

WAITING = sa.text("processed_at_ms is null")
OPEN = sa.text("status = 'ordered'")

deliveries = sa.Table(
    "deliveries",
    metadata,
    text("id", "the forge's id of the webhook call", primary_key=True),
    text("event", "the forge's name of the event"),
    binary("body", "the exact bytes that came in"),
    integer("received_at_ms", "when it came in"),
    count("attempts", "how often somebody began to process it"),
    text("owner", "who holds it", nullable=True),
    integer("leased_until_ms", "until when it is held", server_default="0"),
    integer("retry_at_ms", "not before this", server_default="0"),
    integer("processed_at_ms", "when it had been dealt with", nullable=True),
    optional("outcome", "what came of it"),
    optional("error", "what went wrong last"),
    *filled("id"),
    *counted("attempts", "received_at_ms", "leased_until_ms", "retry_at_ms", "processed_at_ms"),
    sa.Index("ix_deliveries_waiting", "received_at_ms", "id", sqlite_where=WAITING, postgresql_where=WAITING),
    comment="One webhook call, stored raw before it is answered",
)

events = sa.Table(
    "events",
    metadata,
    counter("order of arrival"),
    text("dedup", "what makes it the same event when it comes again", unique=True),
    job_key(nullable=True),
    text("kind", "which event"),
    integer("at_ms", "when it was taken in"),
    document("event", "JSON of the event"),
    optional("source_state", "the job's state before"),
    optional("target_state", "the job's state after"),
    document("why", "JSON list: the decision's reasons", server_default="[]"),
    document("job_before", "JSON of the job before", nullable=True),
    document("job_after", "JSON of the job after", nullable=True),
    document("policy", "JSON of the policy that was decided under", nullable=True),
    *filled("dedup", "kind", "event"),
    *counted("at_ms"),
    sa.Index(None, "job_id", "number"),
    comment="What happened, and what was decided on it",
)

effects = sa.Table(
    "effects",
    metadata,
    text(
        "job_id",
        "the job that ordered it",
        sa.ForeignKey("agent_jobs.id", deferrable=True, initially="DEFERRED"),
        primary_key=True,
    ),
    integer("seq", "its number in the job", primary_key=True, autoincrement=False),
    text("kind", "which effect"),
    document("body", "JSON of the order"),
    text("status", "ordered, done, failed or void"),
    count("claim", "grows each time somebody begins to carry it out"),
    text("queue", "where it waits"),
    optional("partition", "whose limits it counts against"),
    count("priority", "lower goes first"),
    integer("ordered_at_ms", "when it was given"),
    integer("claimed_at_ms", "when somebody last began", nullable=True),
    integer("closed_at_ms", "when it was done, failed or void", nullable=True),
    one_of("status", ("ordered", "done", "failed", "void")),
    sa.CheckConstraint("(status = 'ordered') = (closed_at_ms is null)", name="closed_has_instant"),
    *filled("kind", "body", "queue"),
    *counted("seq", "claim", "ordered_at_ms"),
    sa.Index("ix_effects_open", "ordered_at_ms", sqlite_where=OPEN, postgresql_where=OPEN),
    comment="An order to the outside, keyed <job>:<seq>",
)

replicas = sa.Table(
    "replicas",
    metadata,
    text("executor_id", "the process's name in durable execution", primary_key=True),
    text("host", "the machine or pod it runs on"),
    integer("pid", "its process id there"),
    integer("started_at_ms", "when it started"),
    integer("expires_at_ms", "taken for dead when this has passed"),
    *filled("executor_id", "host"),
    *counted("pid", "started_at_ms", "expires_at_ms"),
    sa.Index(None, "expires_at_ms"),
    comment="A process of this installation that is alive",
)
