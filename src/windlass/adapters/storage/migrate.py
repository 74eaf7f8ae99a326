"""Bring a database to this version's schema, once, however many processes start at the same time.

Kept: either all missing migrations are applied or none; tables that are not ours (durable execution keeps its own
in the same database) are never looked at. Refused: a database that a newer version has written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from windlass.adapters.storage.connections import Connections
from windlass.adapters.storage.faults import translated
from windlass.adapters.storage.models import metadata
from windlass.core.errors import Refused

VERSION_TABLE = "windlass_schema"
_SCRIPTS = Path(__file__).parent / "migrations"
_LOCK = 7270_00


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Apply what is missing up to `revision`.

    Raises Refused (database_newer) when the database knows a revision that this version does not.
    """
    with Connections(engine).writing() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        _refuse_newer(connection)
        command.upgrade(config(connection), revision)


def is_current(engine: sa.Engine) -> bool:
    """Whether the database has exactly this version's schema revision."""
    with translated(), engine.connect() as connection:
        return set(_revisions(connection)) == set(scripts().get_heads())


def config(connection: sa.Connection | None = None) -> Config:
    """Alembic's configuration over our scripts, for one open connection."""
    made = Config()
    made.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def scripts() -> ScriptDirectory:
    """Our migrations."""
    return ScriptDirectory.from_config(config())


def include_object(_object: Any, name: str | None, kind: str, is_reflected: bool, _other: Any) -> bool:
    """Alembic's filter: of what the database holds, only tables that we know are ours."""
    return not (kind == "table" and is_reflected and name not in metadata.tables)


def _revisions(connection: sa.Connection) -> tuple[str, ...]:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_heads()


def _refuse_newer(connection: sa.Connection) -> None:
    known = {script.revision for script in scripts().walk_revisions()}
    foreign = [revision for revision in _revisions(connection) if revision not in known]
    if foreign:
        hint = "start that newer version, or restore the backup made before it"
        raise Refused(
            f"the database is at schema {foreign[0]}, which this version does not know",
            code="database_newer",
            hint=hint,
        )
