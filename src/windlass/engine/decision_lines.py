"""What was decided on a job, as steps of its log: one per event, and one per refusal or failure in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windlass.core.events import EffectFailed, RunFinished
from windlass.core.job import State
from windlass.ports import StoredEvent

_GRAVE = {State.ESCALATED.value: "warning", State.FAILED.value: "error"}


def decision_lines(stored: StoredEvent) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """(level, kind, text, data) for each line that an event gives. Events that changed and said nothing give none."""
    event = stored.event
    is_move = stored.source_state != stored.target_state
    data = {"event": stored.id, "kind": event.kind, "source": stored.source_state, "target": stored.target_state}
    match event:
        case RunFinished():
            for refusal in event.refusals:
                yield "warning", "refusal", refusal, {"event": stored.id, "run": event.run_id}
        case EffectFailed():
            level = "warning" if event.is_transient else "error"
            yield level, "notice", f"{event.effect} failed: {event.message}", {"event": stored.id, "code": event.code}
        case _:
            pass
    if is_move or stored.why:
        moved = f"{stored.source_state or 'nothing'} → {stored.target_state}" if is_move else stored.target_state
        why = "; ".join(stored.why)
        level = _GRAVE.get(stored.target_state, "info") if is_move else "debug"
        yield level, "decision", f"{event.kind}: {moved}" + (f": {why}" if why else ""), data
