"""The schema's history, run by Alembic from `windlass.adapters.storage.migrate`."""
