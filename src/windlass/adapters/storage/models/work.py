"""Repositories, issues, agents, jobs and runs: what is asked, of whom, and each try at it."""

from __future__ import annotations

import sqlalchemy as sa

from windlass.adapters.storage.models.columns import (
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
    quoted,
    real,
    text,
)
from windlass.core.job import TERMINAL, Outcome, State, TaskType

TERMINAL_STATES = tuple(s for s in State if s in TERMINAL)
ACTIVE = sa.text(f"state not in ({quoted(TERMINAL_STATES)})")
"""The partial indexes' predicate. Queries say it in these words: neither database sees through parameters."""

repositories = sa.Table(
    "repositories",
    metadata,
    text("full_name", "owner/name on the forge", primary_key=True),
    optional("default_branch", "the forge's default branch, '' until read"),
    integer("forge_id", "the forge's own id, which survives a rename", nullable=True, unique=True),
    claim("is_enabled", "whether jobs may be started for it", default=True),
    optional("rollout", "the stage it is in: '' until decided"),
    integer("created_at_ms", "when it was first seen"),
    integer("updated_at_ms", "when it was last read"),
    *filled("full_name"),
    *counted("created_at_ms", "updated_at_ms"),
    comment="A repository that Windlass works on",
)

issues = sa.Table(
    "issues",
    metadata,
    text("repository", "owner/name", sa.ForeignKey("repositories.full_name", onupdate="CASCADE"), primary_key=True),
    integer("issue_number", "the forge's number", primary_key=True, autoincrement=False),
    text("title", "its title when a job was last opened"),
    optional("author", "the login of who wrote it"),
    optional("url", "where people read it"),
    document("labels", "JSON list of label names", server_default="[]"),
    integer("created_at_ms", "when it was first seen"),
    integer("updated_at_ms", "when it was last read"),
    *counted("issue_number", least=1),
    *counted("created_at_ms", "updated_at_ms"),
    comment="A request on the forge; its text as it stood is in the job's snapshot",
)

agents = sa.Table(
    "agents",
    metadata,
    text("name", "what policies and people call it", primary_key=True),
    optional("driver", "how it is driven: command, patch, container, …"),
    document("definition", "JSON: what a catalogue entry says", server_default="{}"),
    claim("is_enabled", "whether it may be started", default=True),
    integer("created_at_ms", "when it was first seen"),
    *filled("name"),
    *counted("created_at_ms"),
    comment="A program that codes",
)

agent_jobs = sa.Table(
    "agent_jobs",
    metadata,
    text("id", "the job's id", primary_key=True),
    text("repository", "owner/name"),
    integer("issue_number", "the issue it works on"),
    text("task_type", "bugfix, feature or refactor"),
    text("requested_by", "the login of who asked"),
    text("epoch", "the forge's id of the one act of asking"),
    text("branch", "the branch it works on"),
    text("base_ref", "the branch it shall be merged into"),
    text("state", "where it is in its life"),
    text("reason", "why it is there, when the state alone does not say", nullable=True),
    optional("agent", "the agent that was asked"),
    count("seq", "number of its newest effect"),
    optional("gate", "what the approval gate says"),
    optional("ci_verdict", "what CI said of the head"),
    integer("pull_number", "its pull request", nullable=True),
    text("base_sha", "the commit it started from", nullable=True),
    text("branch_sha", "the branch's tip that it knows", nullable=True),
    text("head_sha", "the commit under review", nullable=True),
    text("run_id", "the run under way", nullable=True),
    integer("deadline_at_ms", "when it is looked at again at the latest; NULL only when terminal", nullable=True),
    integer("created_at_ms", "when it was opened"),
    integer("updated_at_ms", "when it last changed"),
    document("snapshot", "JSON of the whole job; the columns above show parts of it"),
    sa.ForeignKeyConstraint(
        ["repository", "issue_number"], ["issues.repository", "issues.issue_number"], onupdate="CASCADE"
    ),
    one_of("state", State),
    one_of("task_type", TaskType),
    sa.CheckConstraint(
        f"state in ({quoted(TERMINAL_STATES)}) or deadline_at_ms is not null", name="active_has_deadline"
    ),
    *filled("id", "requested_by", "branch", "base_ref", "reason", "snapshot"),
    *counted("pull_number", least=1),
    *counted("seq", "created_at_ms", "updated_at_ms"),
    sa.Index(
        "uq_agent_jobs_one_active_per_issue",
        "repository",
        "issue_number",
        unique=True,
        sqlite_where=ACTIVE,
        postgresql_where=ACTIVE,
    ),
    sa.Index("ix_agent_jobs_due", "deadline_at_ms", sqlite_where=ACTIVE, postgresql_where=ACTIVE),
    sa.Index("ix_agent_jobs_branch", "repository", "branch"),
    sa.Index("ix_agent_jobs_pull", "repository", "pull_number"),
    sa.Index("ix_agent_jobs_issue", "repository", "issue_number", "created_at_ms"),
    sa.Index("ix_agent_jobs_newest", "created_at_ms"),
    comment="One piece of asked work on one issue",
)

pushed_commits = sa.Table(
    "pushed_commits",
    metadata,
    text("job_id", "the job that pushed it", sa.ForeignKey("agent_jobs.id", ondelete="CASCADE"), primary_key=True),
    text("sha", "the commit", primary_key=True),
    integer("position", "its place among the job's pushes, from 0"),
    *filled("sha"),
    *counted("position"),
    sa.Index(None, "sha"),
    comment="Every commit that a job pushed",
)

agent_runs = sa.Table(
    "agent_runs",
    metadata,
    counter("order of first sight"),
    text("id", "the run's id", unique=True),
    job_key(),
    text("role", "what the agent was asked to be"),
    integer("attempt", "which try it is"),
    text("agent", "who worked", sa.ForeignKey("agents.name", onupdate="CASCADE")),
    text("status", "where the run is"),
    optional("outcome", "how it ended, '' until then"),
    integer("started_at_ms", "when the agent began", nullable=True),
    integer("finished_at_ms", "when it was over; NULL while a sandbox may be up", nullable=True),
    optional("patch_digest", "SHA-256 (hex) of the change"),
    optional("report_digest", "SHA-256 (hex) of the agent's own report"),
    optional("log_digest", "SHA-256 (hex) of what it printed"),
    optional("prompt_digest", "SHA-256 (hex) of the prompt"),
    optional("model", "the model that answered, as it was named"),
    real("cpu_s", "CPU time in seconds"),
    count("peak_memory_bytes", "most memory held at once"),
    optional("detail", "one line for people"),
    one_of("outcome", ("", *Outcome)),
    *filled("id", "role", "status"),
    *counted("attempt", "cpu_s", "peak_memory_bytes", "started_at_ms", "finished_at_ms"),
    sa.Index(None, "job_id"),
    sa.Index(
        "ix_agent_runs_active",
        "id",
        sqlite_where=sa.text("finished_at_ms is null"),
        postgresql_where=sa.text("finished_at_ms is null"),
    ),
    comment="One try by one agent in one role",
)

run_places = sa.Table(
    "run_places",
    metadata,
    text("run_id", "the run it is about", sa.ForeignKey("agent_runs.id", ondelete="CASCADE"), primary_key=True),
    optional("purpose", "what it was put to work for"),
    count("step", "its place in the policy's workflow, from 0"),
    count("candidate", "which of several tries of the same step it is, from 0"),
    optional("findings_digest", "SHA-256 (hex) of what a reviewing agent found"),
    optional("image_digest", "the container image that it ran in"),
    optional("model_access", "how it reached its model: gateway, environment or ''"),
    integer("bytes_out", "bytes that it sent, NULL when nobody counted", nullable=True),
    *counted("step", "candidate", "bytes_out"),
    comment="What a run was in its job's workflow, and what its sandbox was",
)
