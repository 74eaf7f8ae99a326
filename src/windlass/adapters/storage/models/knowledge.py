"""Configuration, models, templates, logs, usage and feedback: what operators set and what is learned."""

from __future__ import annotations

import sqlalchemy as sa

from windlass.adapters.storage.models.columns import (
    BigCount,
    claim,
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
from windlass.core.job import TaskType

system_config = sa.Table(
    "system_config",
    metadata,
    text("key", "which parameter", primary_key=True),
    integer("version", "from 1, without gaps; the newest holds", primary_key=True, autoincrement=False),
    document("value", "JSON of the value"),
    text("by", "who changed it"),
    integer("at_ms", "when"),
    optional("why", "the reason given"),
    *filled("key", "by", "value"),
    *counted("version", least=1),
    *counted("at_ms"),
    comment="What an operator changed at run time, every version of it",
)

model_versions = sa.Table(
    "model_versions",
    metadata,
    counter("our own number"),
    optional("provider", "who serves it"),
    text("name", "the model's name"),
    optional("version", "the version as the provider answered it"),
    integer("first_seen_at_ms", "when it first worked here"),
    integer("last_seen_at_ms", "when it last worked here"),
    optional("note", "what people should know"),
    sa.UniqueConstraint("provider", "name", "version"),
    *filled("name"),
    *counted("first_seen_at_ms", "last_seen_at_ms"),
    comment="A model version that worked on jobs",
)

prompt_templates = sa.Table(
    "prompt_templates",
    metadata,
    counter("our own number"),
    text("task_type", "which kind of work"),
    text("role", "for which role"),
    text("digest", "SHA-256 (hex) of the template's bytes: its version"),
    text("body", "the template"),
    claim("is_active", "whether it is in use", default=True),
    integer("created_at_ms", "when it was first seen"),
    sa.UniqueConstraint("task_type", "role", "digest"),
    one_of("task_type", TaskType),
    *filled("role", "digest", "body"),
    *counted("created_at_ms"),
    comment="A version of a prompt template",
)

execution_logs = sa.Table(
    "execution_logs",
    metadata,
    counter("our own number"),
    job_key(),
    text("run_id", "the run it is of", sa.ForeignKey("agent_runs.id"), nullable=True),
    integer("chunk", "its place in the run's log, from 0"),
    integer("first_at_ms", "instant of its first line"),
    integer("last_at_ms", "instant of its last line"),
    count("line_count", "JSONL lines in it"),
    count("size_bytes", "bytes in it"),
    text("level", "the gravest level in it", server_default="info"),
    text("digest", "SHA-256 (hex) of the blob that holds it"),
    sa.UniqueConstraint("job_id", "run_id", "chunk"),
    one_of("level", ("debug", "info", "warning", "error")),
    sa.CheckConstraint("last_at_ms >= first_at_ms", name="last_after_first"),
    *filled("digest"),
    *counted("chunk", "first_at_ms", "line_count", "size_bytes"),
    sa.Index(None, "job_id", "first_at_ms"),
    comment="Where a stretch of a run's step log is kept; never changed",
)

log_places = sa.Table(
    "log_places",
    metadata,
    sa.Column(
        "log_number",
        BigCount,
        sa.ForeignKey("execution_logs.number"),
        primary_key=True,
        autoincrement=False,
        comment="the chunk it is about",
    ),
    job_key(),
    text("stream", "whose sequence the chunk is in: a run, its result, a verification, the decisions"),
    optional("run", "the run it is of, '' for none"),
    integer("chunk", "its place in the stream, from 0"),
    count("first_seq", "number of its first line in the stream"),
    count("next_offset", "how far the stream's source was read when it was written"),
    document("redactions", "rule → number of secrets taken out", server_default="{}"),
    sa.UniqueConstraint("job_id", "stream", "chunk"),
    *filled("stream"),
    *counted("chunk", "first_seq", "next_offset"),
    comment="How a stretch of a step log goes on from the one before; never changed",
)

usage = sa.Table(
    "usage",
    metadata,
    counter("our own number"),
    job_key(),
    text("run_id", "the run that used it", sa.ForeignKey("agent_runs.id"), nullable=True),
    optional("model", "the model, '' for machine time"),
    integer("input_tokens", "tokens read, NULL when not reported", nullable=True),
    integer("output_tokens", "tokens written, NULL when not reported", nullable=True),
    integer("cost_microusd", "millionths of a US dollar, NULL when not reported", nullable=True),
    integer("cpu_ms", "CPU time, NULL when not measured", nullable=True),
    integer("egress_bytes", "bytes sent out, NULL when not measured", nullable=True),
    integer("at_ms", "when it was written"),
    *counted("input_tokens", "output_tokens", "cost_microusd", "cpu_ms", "egress_bytes", "at_ms"),
    sa.Index(None, "job_id"),
    sa.Index(None, "at_ms"),
    comment="What work cost",
)

feedback = sa.Table(
    "feedback",
    metadata,
    counter("our own number"),
    job_key(nullable=True),
    text("source", "human, ci, review or windlass"),
    text("category", "which kind of finding"),
    optional("by", "who said it"),
    optional("body", "what was said, hostile text"),
    integer("at_ms", "when"),
    one_of("source", ("human", "ci", "review", "windlass")),
    *filled("category"),
    *counted("at_ms"),
    sa.Index(None, "job_id"),
    comment="What is to be learned from a job",
)
