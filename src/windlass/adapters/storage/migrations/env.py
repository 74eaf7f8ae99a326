"""Alembic's entry: runs migrations on the connection that `windlass.adapters.storage.migrate` holds, nowhere else."""

from __future__ import annotations

from alembic import context

from windlass.adapters.storage.migrate import VERSION_TABLE, include_object
from windlass.adapters.storage.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    include_object=include_object,
    compare_type=True,
    compare_server_default=False,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
