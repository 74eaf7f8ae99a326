"""The report of an agent that wrote none: its last words, then its steps, one line each.

What stands here was said by an agent; it is cleaned of terminal sequences and cut, and passes redaction later like any
other report. The marker of the exchange is never written: it is for agents to say.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from windlass.adapters.agents import exchange
from windlass.core.agent_events import AgentEvent, EventKind, Summary

MOST_STEPS = 300
MAX_STEP_CHARS = 200
_SAYS = {
    EventKind.MESSAGE: "said",
    EventKind.TOOL_CALL: "called",
    EventKind.TOOL_RESULT: "got",
    EventKind.ERROR: "error",
}


def render(events: Iterable[AgentEvent], summary: Summary) -> str:
    """The report as Markdown: `[2026-01-31T12:00:00Z] called Bash: …` for each step whose time is known."""
    steps = [line for event in events if (line := _step(event))]
    left_out = len(steps) - MOST_STEPS
    if left_out > 0:
        steps = [*steps[: MOST_STEPS // 2], f"… {left_out} steps left out here …", *steps[-MOST_STEPS // 2 :]]
    parts = [summary.final_text.strip(), *(["## Steps", "\n".join(steps)] if steps else [])]
    return exchange.clean("\n\n".join(part for part in parts if part).encode("utf-8", "replace"))


def _step(event: AgentEvent) -> str:
    verb = _SAYS.get(event.kind)
    if verb is None:
        return ""
    tool = str(event.data.get("tool", "")) if event.kind is EventKind.TOOL_CALL else ""
    said = " ".join(event.text.replace(exchange.MARKER, "").split())[:MAX_STEP_CHARS]
    words = f"{verb} {tool}".rstrip() + (f": {said}" if said else "")
    return f"- {_stamp(event.at_ms)}{words}"


def _stamp(at_ms: int | None) -> str:
    if at_ms is None:
        return ""
    at = datetime.datetime.fromtimestamp(at_ms / 1000, tz=datetime.UTC)
    return at.strftime("[%Y-%m-%dT%H:%M:%SZ] ")
