"""What runs used: one row per run, and the models that answered.

Kept: what was not reported is NULL, never 0; a run's row is replaced as a whole, so that a run concluded twice counts
once. Refused: nothing an agent says is trusted to be a number that the columns can hold.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

import sqlalchemy as sa

from windlass.adapters.storage.connections import Connections
from windlass.adapters.storage.models import model_versions
from windlass.adapters.storage.models import usage as table
from windlass.adapters.storage.rows import insert, shown
from windlass.core.agent_events.model import Usage

_MICRO = Decimal(1_000_000)


class UsageTable:
    """The part of ports.Store that keeps usage."""

    _connections: Connections

    def save_usage(self, job_id: str, run_id: str, usage: Usage, *, at_ms: int, cpu_s: float = 0.0) -> None:
        """Keep what one run used, in place of what was kept of it before. Raises Conflict for an unknown job or run."""
        row = {
            "job_id": job_id,
            "run_id": run_id,
            "model": shown(usage.model),
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost_microusd": microusd(usage.cost_usd),
            "cpu_ms": int(cpu_s * 1000) or None,
            "at_ms": at_ms,
        }
        with self._connections.writing() as connection:
            connection.execute(sa.delete(table).where(table.c.run_id == run_id))
            connection.execute(sa.insert(table), row)
            if usage.model:
                _know(connection, shown(usage.model), at_ms)


def microusd(cost_usd: str | None) -> int | None:
    """Millionths of a dollar, rounded half up; None for what is no amount.

    >>> microusd("0.0012")
    1200
    """
    if cost_usd is None:
        return None
    try:
        return max(int((Decimal(cost_usd) * _MICRO).to_integral_value(ROUND_HALF_UP)), 0)
    except (InvalidOperation, ValueError, OverflowError):
        return None


def _know(connection: sa.Connection, name: str, at_ms: int) -> None:
    statement = insert(connection, model_versions)
    key = [model_versions.c[part] for part in ("provider", "name", "version")]
    later = statement.on_conflict_do_update(index_elements=key, set_={"last_seen_at_ms": at_ms})
    connection.execute(
        later,
        {"provider": "", "name": name, "version": "", "first_seen_at_ms": at_ms, "last_seen_at_ms": at_ms},
    )
