"""The inbox: raw deliveries, stored before they are answered, handed out to one worker at a time.

Kept: a delivery is in the table before its call is answered, exactly as it came in, and is handed out until
somebody says what came of it. Refused: a delivery without an id.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from windlass.adapters.storage.connections import Connections
from windlass.adapters.storage.models import deliveries as inbox
from windlass.adapters.storage.rows import delivery_of, insert, shown
from windlass.core.errors import Refused
from windlass.ports import Delivery

_BATCH = 500
_COLUMNS = tuple(inbox.c[name] for name in Delivery.__slots__)


class Inbox:
    """The part of ports.Store that keeps deliveries."""

    _connections: Connections

    def put_deliveries(self, deliveries: Sequence[Delivery]) -> tuple[bool, ...]:
        """Store raw deliveries in one commit; False for ids that were there already (or earlier in the same call)."""
        rows = {one.id: _row(one) for one in reversed(deliveries)}
        if not rows:
            return ()
        new: set[str] = set()
        with self._connections.writing() as connection:
            statement = insert(connection, inbox).on_conflict_do_nothing().returning(inbox.c.id)
            for batch in _batches(list(reversed(rows.values()))):
                new.update(connection.scalars(statement.values(batch)))
        return tuple(_take(new, one.id) for one in deliveries)

    def claim_deliveries(self, owner: str, limit: int, lease_ms: int, now_ms: int) -> tuple[Delivery, ...]:
        """Oldest unprocessed deliveries nobody else holds, held for `lease_ms`; `attempts` counts this one too."""
        free = (
            inbox.c.processed_at_ms.is_(None),
            inbox.c.leased_until_ms <= now_ms,
            inbox.c.retry_at_ms <= now_ms,
        )
        order = (inbox.c.received_at_ms, inbox.c.id)
        oldest = sa.select(inbox.c.id).where(*free).order_by(*order).limit(limit)
        with self._connections.reading() as connection:
            if connection.scalar(oldest.limit(1)) is None:
                return ()
        with self._connections.writing() as connection:
            ids = connection.scalars(oldest.with_for_update(skip_locked=True)).all()
            claim = {"owner": owner, "leased_until_ms": now_ms + lease_ms, "attempts": inbox.c.attempts + 1}
            statement = sa.update(inbox).where(inbox.c.id.in_(ids)).values(claim).returning(*_COLUMNS)
            found = [delivery_of(row) for row in connection.execute(statement).mappings()]
        return tuple(sorted(found, key=lambda one: (one.received_at_ms, one.id)))

    def release_delivery(self, delivery_id: str, *, retry_at_ms: int, error: str) -> None:
        """Give a delivery back, to be tried again from `retry_at_ms`; one that was dealt with stays so."""
        waiting = (inbox.c.id == delivery_id, inbox.c.processed_at_ms.is_(None))
        given = {"owner": None, "leased_until_ms": 0, "retry_at_ms": retry_at_ms, "error": shown(error)}
        with self._connections.writing() as connection:
            connection.execute(sa.update(inbox).where(*waiting).values(given))


def _row(one: Delivery) -> dict[str, object]:
    if not one.id or shown(one.id) != one.id:
        hint = "the forge sends one id with every webhook call"
        raise Refused("a delivery has no usable id", code="delivery_id", hint=hint)
    return {name: getattr(one, name) for name in Delivery.__slots__} | {"event": shown(one.event)}


def _batches(rows: list[dict[str, object]]) -> list[list[dict[str, object]]]:
    return [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]


def _take(new: set[str], delivery_id: str) -> bool:
    """True once for each new id."""
    is_new = delivery_id in new
    new.discard(delivery_id)
    return is_new
