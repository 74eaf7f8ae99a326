"""Windlass's own event lines, printed by its driver for agents that speak the Agent Client Protocol.

One JSON object per line: `event` (a kind of AgentEvent, or `end`), `text`, `at_ms`, `data`. The agent's standard error
comes in between as plain lines. The driver runs beside the agent in the same sandbox: its word is the agent's word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windlass.core.agent_events.model import AgentEvent, EventKind, Signal, Tally
from windlass.core.agent_events.values import count, event, inner, instant, money, name, text

_SIGNALS = {
    "end_turn": Signal.FINISHED,
    "max_tokens": Signal.CUT,
    "max_turn_requests": Signal.CUT,
    "refusal": Signal.FAILED,
    "cancelled": Signal.FAILED,
}
_KINDS = {kind.value: kind for kind in EventKind}


def read_windlass(line: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    """One line of the driver."""
    kind, said, data = name(line.get("event")), text(line.get("text")), inner(line, "data")
    if kind == "end":
        reason = name(data.get("stop_reason"))
        tally.signal = _SIGNALS.get(reason, Signal.FAILED)
        tally.error = "" if tally.signal is Signal.FINISHED else (said or f"the turn ended with {reason}")[:1000]
        yield event(EventKind.RESULT, tally.final_text or tally.error, is_error=tally.signal is not Signal.FINISHED)
        return
    if kind not in _KINDS:
        return
    if kind == EventKind.MESSAGE:
        tally.final_text = said
    elif kind == EventKind.TOOL_CALL:
        tally.tool_calls += 1
    elif kind == EventKind.ERROR:
        tally.error = said[:1000]
    elif kind == EventKind.USAGE:
        _use(data, tally)
    facts = {key: value for key, value in data.items() if isinstance(value, str | int)}
    yield AgentEvent(kind=_KINDS[kind], text=said, at_ms=instant(line.get("at_ms")), data=facts)


def _use(data: Mapping[str, Any], tally: Tally) -> None:
    """Sums since the start; what a line does not name stays as it was."""
    for key in ("input_tokens", "output_tokens", "cached_tokens", "turns"):
        found = count(data.get(key))
        if found is not None:
            setattr(tally, key, found)
    cost = money(data.get("cost_usd"))
    tally.cost_usd = tally.cost_usd if cost is None else cost
    tally.model = name(data.get("model")) or tally.model
