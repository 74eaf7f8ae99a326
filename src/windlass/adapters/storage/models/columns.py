"""The few kinds of column and rule that every table is made of, so that both databases get the same ones.

Instants are BIGINT milliseconds since the Unix epoch, UTC; JSON is ASCII text, the same bytes on both databases
(PostgreSQL's own JSON types refuse NUL characters, which hostile text may hold). Refused: a column without a
comment, because the entity page is made from the comments.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BigCount = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def counter(comment: str) -> sa.Column[int]:
    """The primary key `number`, given by the database, growing."""
    return sa.Column("number", BigCount, primary_key=True, autoincrement=True, comment=comment)


def text(name: str, comment: str, *foreign: sa.ForeignKey, **options: Any) -> sa.Column[str]:
    """Text that must be given."""
    return sa.Column(name, sa.Text(), *foreign, nullable=options.pop("nullable", False), comment=comment, **options)


def optional(name: str, comment: str) -> sa.Column[str]:
    """Text that is '' when nothing is known."""
    return sa.Column(name, sa.Text(), nullable=False, server_default="", comment=comment)


def document(name: str, comment: str, **options: Any) -> sa.Column[str]:
    """JSON as text."""
    return text(name, comment, info={"is_json": True}, **options)


def integer(name: str, comment: str, *foreign: sa.ForeignKey, **options: Any) -> sa.Column[int]:
    """A whole number of 64 bits."""
    return sa.Column(name, BigCount, *foreign, nullable=options.pop("nullable", False), comment=comment, **options)


def count(name: str, comment: str) -> sa.Column[int]:
    """A whole number that starts at 0."""
    return integer(name, comment, server_default="0")


def real(name: str, comment: str) -> sa.Column[float]:
    """A 64-bit float that starts at 0."""
    return sa.Column(name, sa.Double(), nullable=False, server_default="0", comment=comment)


def claim(name: str, comment: str, *, default: bool) -> sa.Column[bool]:
    """True or False."""
    return sa.Column(
        name, sa.Boolean(), nullable=False, server_default=sa.true() if default else sa.false(), comment=comment
    )


def binary(name: str, comment: str) -> sa.Column[bytes]:
    """Exact bytes."""
    return sa.Column(name, sa.LargeBinary(), nullable=False, comment=comment)


def job_key(*, nullable: bool = False) -> sa.Column[str]:
    """The job that a row belongs to; held to it at commit, so that a transaction may write in any order."""
    foreign = sa.ForeignKey("agent_jobs.id", deferrable=True, initially="DEFERRED")
    return text("job_id", "the job it belongs to", foreign, nullable=nullable)


def filled(*columns: str) -> list[sa.CheckConstraint]:
    """These texts are not empty."""
    return [sa.CheckConstraint(f'length("{c}") > 0', name=f"{c}_filled") for c in columns]


def counted(*columns: str, least: int = 0) -> list[sa.CheckConstraint]:
    """These numbers are `least` or more (or NULL where the column allows it)."""
    return [sa.CheckConstraint(f'"{c}" >= {least}', name=f"{c}_least") for c in columns]


def one_of(column: str, values: Iterable[str]) -> sa.CheckConstraint:
    """The column holds one of `values` (or NULL where it allows it)."""
    return sa.CheckConstraint(f"{column} in ({quoted(values)})", name=f"{column}_known")


def quoted(values: Iterable[str]) -> str:
    """SQL literals of plain words, in the order of their declaration."""
    return ", ".join(f"'{v.value if isinstance(v, enum.Enum) else v}'" for v in values)
