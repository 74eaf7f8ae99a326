"""opencode's `opencode run --format json`, read off 1.18.33.

There is no closing event: the step that ends with reason `stop` is the last one. Its cost is computed by opencode from
the configured price and summed here; input and cached tokens are counted apart and put together here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windlass.core.agent_events.model import AgentEvent, EventKind, Signal, Tally, plus
from windlass.core.agent_events.values import at, count, event, inner, instant, money, name, text, total, used

_CUT = frozenset({"length", "max-steps"})


def read_opencode(line: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    """One line of opencode."""
    at_ms, part = instant(line.get("timestamp")), inner(line, "part")
    match line.get("type"):
        case "step_start":
            tally.signal = Signal.NONE
        case "text":
            tally.final_text = text(part.get("text"))
            yield event(EventKind.MESSAGE, part.get("text"), at_ms)
        case "tool_use":
            yield from _tool(part, tally, at_ms)
        case "step_finish":
            yield from _step(part, tally, at_ms)
        case "error":
            said = at(line, "error", "data", "message") or at(line, "error", "name") or line.get("error")
            tally.signal, tally.error = Signal.FAILED, text(said, 1000) or "it ended with an error"
            yield event(EventKind.ERROR, tally.error, at_ms)
        case _:
            pass


def _tool(part: Mapping[str, Any], tally: Tally, at_ms: int | None) -> Iterator[AgentEvent]:
    tally.tool_calls += 1
    state, tool, call = inner(part, "state"), name(part.get("tool")), name(part.get("callID"))
    is_error = state.get("status") == "error"
    yield event(EventKind.TOOL_CALL, state.get("input"), at_ms, tool=tool, id=call)
    yield event(EventKind.TOOL_RESULT, state.get("output") or state.get("error"), at_ms, id=call, is_error=is_error)


def _step(part: Mapping[str, Any], tally: Tally, at_ms: int | None) -> Iterator[AgentEvent]:
    tokens, reason = inner(part, "tokens"), name(part.get("reason"))
    cached = count(at(tokens, "cache", "read"))
    read = total(tokens.get("input"), cached, at(tokens, "cache", "write"))
    written = total(tokens.get("output"), tokens.get("reasoning"))
    tally.add(input_tokens=read, output_tokens=written, cached_tokens=cached, cost_usd=money(part.get("cost")))
    tally.turns = plus(tally.turns, 1)
    if reason == "stop":
        tally.signal, tally.error = Signal.FINISHED, ""
    elif reason in _CUT:
        tally.signal, tally.error = Signal.CUT, f"the last step ended with {reason}"
    yield used(read, written, at_ms)
