"""Write docs/erd.md from the tables themselves: `python scripts/erd.py` writes, `--check` only compares.

Kept: the page says what the schema says (a test compares them). Meanings come from the columns' comments.
"""

from __future__ import annotations

import sys
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from windlass.adapters.storage.guards import IMMUTABLE
from windlass.adapters.storage.models import metadata

PAGE = Path(__file__).parent.parent / "docs" / "erd.md"
_DIALECT: sa.Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
INTRODUCTION = """\
# The data model

Made by `python scripts/erd.py` from the tables in `windlass.adapters.storage.models`; do not edit it by hand.

The same schema is used on SQLite and on PostgreSQL; types are given as PostgreSQL names them. Instants are
milliseconds since the Unix epoch, UTC, and end in `_at_ms`. JSON is kept as ASCII text. Tables marked *immutable*
carry triggers that refuse every change. Durable execution keeps its own tables beside these; they are not ours.
"""


def page() -> str:
    """The whole page."""
    tables = sorted(metadata.tables.values(), key=lambda table: table.name)
    return "\n".join([INTRODUCTION, _diagram(tables), *(_section(table) for table in tables)])


def _diagram(tables: list[sa.Table]) -> str:
    lines = ["```mermaid", "erDiagram"]
    for table in tables:
        for constraint in sorted(table.foreign_key_constraints, key=lambda c: str(c.name)):
            left = "|o" if any(column.nullable for column in constraint.columns) else "||"
            right = "o|" if _is_unique(table, constraint) else "o{"
            names = ", ".join(constraint.column_keys)
            lines.append(f'    {constraint.referred_table.name} {left}--{right} {table.name} : "{names}"')
    for table in tables:
        lines.append(f"    {table.name} {{")
        lines += [f"        {_type(column)} {column.name}{_marks(column)}" for column in table.c]
        lines.append("    }")
    return "\n".join([*lines, "```", ""])


def _section(table: sa.Table) -> str:
    immutable = " *Immutable.*" if table.name in IMMUTABLE else ""
    lines = [f"## {table.name}", "", f"{table.comment}.{immutable}", "", "| column | type | meaning |", "|---|---|---|"]
    lines += [f"| `{column.name}` | {_type(column)}{_details(column)} | {column.comment} |" for column in table.c]
    return "\n".join([*lines, "", *_rules(table)])


def _rules(table: sa.Table) -> list[str]:
    """Unique keys and the checks that say more than 'not empty' and 'not negative'."""
    lines = []
    for rule in sorted(table.constraints, key=lambda c: str(c.name)):
        if isinstance(rule, sa.UniqueConstraint) and len(rule.columns) > 1:
            lines.append(f"- unique: {', '.join(f'`{c.name}`' for c in rule.columns)}")
        elif isinstance(rule, sa.CheckConstraint) and not str(rule.name).endswith(("_filled", "_least")):
            lines.append(f"- check: `{rule.sqltext}`")
    for index in sorted(table.indexes, key=lambda i: str(i.name)):
        if index.unique:
            where = index.dialect_options["postgresql"]["where"]
            lines.append(f"- unique: {', '.join(f'`{c.name}`' for c in index.columns)} where `{where}`")
    return [*lines, ""] if lines else []


def _type(column: sa.Column[object]) -> str:
    return column.type.compile(dialect=_DIALECT).lower().replace(" ", "_")


def _marks(column: sa.Column[object]) -> str:
    marks = ["PK"] if column.primary_key else []
    marks += ["FK"] if column.foreign_keys else []
    marks += ["UK"] if column.unique else []
    return f" {', '.join(marks)}" if marks else ""


def _details(column: sa.Column[object]) -> str:
    words = ["primary key"] if column.primary_key else []
    words += [f"→ {key.target_fullname}" for key in sorted(column.foreign_keys, key=lambda k: k.target_fullname)]
    words += ["unique"] if column.unique else []
    words += ["may be NULL"] if column.nullable else []
    return "".join(f", {word}" for word in words)


def _is_unique(table: sa.Table, constraint: sa.ForeignKeyConstraint) -> bool:
    names = set(constraint.column_keys)
    is_key = names == {column.name for column in table.primary_key}
    return is_key or any(column.name in names and column.unique for column in table.c)


def main(arguments: list[str]) -> int:
    """0: written, or equal under --check."""
    if "--check" in arguments:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page() else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
