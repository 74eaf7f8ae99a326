"""Pull requests, CI results and approvals: what the forge showed of the work."""

from __future__ import annotations

import sqlalchemy as sa

from windlass.adapters.storage.models.columns import (
    claim,
    counted,
    counter,
    filled,
    integer,
    job_key,
    metadata,
    one_of,
    optional,
    text,
)

pull_requests = sa.Table(
    "pull_requests",
    metadata,
    counter("our own number"),
    text("repository", "owner/name", sa.ForeignKey("repositories.full_name", onupdate="CASCADE")),
    integer("pull_number", "the forge's number"),
    job_key(),
    optional("url", "where people read it"),
    optional("title", "its title when last read"),
    text("state", "open, closed or merged"),
    optional("head_sha", "its head when last read"),
    optional("base_ref", "the branch it goes into"),
    optional("merged_by", "the login of who merged it"),
    optional("merge_commit_sha", "the commit the merge made"),
    integer("created_at_ms", "when we first knew it"),
    integer("updated_at_ms", "when it was last read"),
    sa.UniqueConstraint("repository", "pull_number"),
    one_of("state", ("open", "closed", "merged")),
    *counted("pull_number", least=1),
    *counted("created_at_ms", "updated_at_ms"),
    sa.Index(None, "job_id"),
    comment="A pull request that a job opened",
)

ci_results = sa.Table(
    "ci_results",
    metadata,
    counter("our own number"),
    integer("pull_request", "the pull request it speaks of", sa.ForeignKey("pull_requests.number")),
    text("sha", "the commit that was checked"),
    claim("is_base", "whether that commit is the base, not the head", default=False),
    text("name", "the check's name or the status's context"),
    text("source", "where it was read from: check run, commit status"),
    optional("app", "the app that reported it"),
    integer("check_id", "the forge's id, 0 for a commit status", server_default="0"),
    text("status", "queued, in_progress or completed"),
    optional("conclusion", "the forge's word, '' until completed"),
    integer("completed_at_ms", "when the forge says it ended, 0 while it runs", server_default="0"),
    optional("url", "where people read it"),
    optional("summary", "what the check says, hostile text"),
    integer("first_at_ms", "when it was first read"),
    integer("updated_at_ms", "when it was last read"),
    sa.UniqueConstraint("pull_request", "sha", "name", "source", "app", "check_id", name="uq_ci_results_check"),
    *filled("sha", "name", "source", "status"),
    *counted("check_id", "completed_at_ms", "first_at_ms", "updated_at_ms"),
    comment="One check's word on one commit",
)

approvals = sa.Table(
    "approvals",
    metadata,
    counter("our own number"),
    job_key(),
    text("by", "the login of the human"),
    text("head_sha", "the one commit that was approved"),
    integer("review_id", "the forge's id of the review"),
    integer("at_ms", "when it was given"),
    sa.UniqueConstraint("job_id", "head_sha", "review_id", "by"),
    *filled("by", "head_sha"),
    *counted("at_ms"),
    comment="A human's yes to exactly one commit; never changed",
)
