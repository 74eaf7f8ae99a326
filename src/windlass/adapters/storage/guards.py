"""Which tables the database itself keeps as they were written (migration 0006 puts the triggers up).

Kept: a row of these tables is inserted once and never updated, deleted or truncated by anybody who connects as we
do. What a database superuser does is found by the ledger's own proof, not here.
"""

from __future__ import annotations

IMMUTABLE = ("compliance_records", "ledger_leaves", "checkpoints", "approvals")

REFUSED_SQLSTATE = "WL001"
"""What PostgreSQL's triggers raise: outside every class of the standard."""
