"""All tables, in one metadata. Rows never leave `adapters/storage`; what leaves is plain data.

Refused: a table without a comment, and a change here without a migration (a test compares the two).
"""

from windlass.adapters.storage.models.columns import metadata
from windlass.adapters.storage.models.flow import deliveries, effects, events, replicas
from windlass.adapters.storage.models.forge import approvals, ci_results, pull_requests
from windlass.adapters.storage.models.knowledge import (
    execution_logs,
    feedback,
    log_places,
    model_versions,
    prompt_templates,
    system_config,
    usage,
)
from windlass.adapters.storage.models.ledger import checkpoints, compliance_records, ledger_leaves, ledger_waiting
from windlass.adapters.storage.models.work import (
    ACTIVE,
    agent_jobs,
    agent_runs,
    agents,
    issues,
    pushed_commits,
    repositories,
    run_places,
)

__all__ = [
    "ACTIVE",
    "agent_jobs",
    "agent_runs",
    "agents",
    "approvals",
    "checkpoints",
    "ci_results",
    "compliance_records",
    "deliveries",
    "effects",
    "events",
    "execution_logs",
    "feedback",
    "issues",
    "ledger_leaves",
    "ledger_waiting",
    "log_places",
    "metadata",
    "model_versions",
    "prompt_templates",
    "pull_requests",
    "pushed_commits",
    "replicas",
    "repositories",
    "run_places",
    "system_config",
    "usage",
]
