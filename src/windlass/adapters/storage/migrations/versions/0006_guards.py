"""Triggers that refuse to change the ledger and the approvals.

The statements are frozen here: a later change of `guards` needs a migration of its own.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = ("compliance_records", "ledger_leaves", "checkpoints", "approvals")


def upgrade() -> None:
    """Put the guards up."""
    for statement in _sqlite() if op.get_bind().dialect.name == "sqlite" else _postgres():
        op.execute(statement)


def downgrade() -> None:
    """Take the guards down."""
    if op.get_bind().dialect.name == "sqlite":
        statements = [f"DROP TRIGGER {table}_no_{act}" for table in TABLES for act in ("update", "delete")]
    else:
        statements = [f"DROP TRIGGER {table}_no_{act} ON {table}" for table in TABLES for act in ("change", "truncate")]
        statements.append("DROP FUNCTION windlass_refuse_change()")
    for statement in statements:
        op.execute(statement)


def _sqlite() -> list[str]:
    return [
        f"CREATE TRIGGER {table}_no_{act.lower()} BEFORE {act} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is immutable: {act} is refused'); END"
        for table in TABLES
        for act in ("UPDATE", "DELETE")
    ]


def _postgres() -> list[str]:
    call = "EXECUTE FUNCTION windlass_refuse_change()"
    statements = [FUNCTION]
    for table in TABLES:
        statements.append(f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {call}")
        statements.append(f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {call}")
    return statements


FUNCTION = """
CREATE OR REPLACE FUNCTION windlass_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is immutable: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'WL001';
END
$$
"""
