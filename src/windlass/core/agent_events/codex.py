"""Codex's `codex exec --json`, read off 0.169.0.

The stream names neither the model nor a cost. A turn that fails says so in `turn.failed`; the `error` lines before it
are tries that Codex makes again by itself, without end when the network is down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windlass.core.agent_events.model import AgentEvent, EventKind, Signal, Tally, plus
from windlass.core.agent_events.values import at, count, event, inner, items, name, text, used

_TOOLS = frozenset({"command_execution", "file_change", "mcp_tool_call", "web_search", "todo_list", "collab_tool_call"})
_OWN = frozenset({"id", "type", "status", "aggregated_output", "exit_code"})


def read_codex(line: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    """One line of Codex."""
    match line.get("type"):
        case "item.started" | "item.completed":
            yield from _item(line, tally)
        case "turn.completed":
            usage = inner(line, "usage")
            found = [count(usage.get(key)) for key in ("input_tokens", "output_tokens", "cached_input_tokens")]
            tally.add(input_tokens=found[0], output_tokens=found[1], cached_tokens=found[2])
            tally.turns = plus(tally.turns, 1)
            tally.signal, tally.error = Signal.FINISHED, ""
            yield used(found[0], found[1])
            yield event(EventKind.RESULT, tally.final_text)
        case "turn.failed":
            tally.signal, tally.error = Signal.FAILED, text(at(line, "error", "message"), 1000) or "the turn failed"
            yield event(EventKind.ERROR, tally.error)
        case "error":
            tally.error = text(line.get("message"), 1000)
            yield event(EventKind.ERROR, tally.error)
        case _:
            pass


def _item(line: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    item, is_over = inner(line, "item"), line.get("type") == "item.completed"
    kind, call = name(item.get("type")), name(item.get("id"))
    if kind == "agent_message" and is_over:
        tally.final_text = text(item.get("text"))
        yield event(EventKind.MESSAGE, item.get("text"))
    elif kind == "error" and is_over:
        yield event(EventKind.ERROR, item.get("message"))
    elif kind in _TOOLS and not is_over:
        tally.tool_calls += 1
        yield event(EventKind.TOOL_CALL, _asked(item), tool=kind, id=call)
    elif kind == "file_change" and is_over:
        tally.tool_calls += 1  # it has no start of its own
        yield event(EventKind.TOOL_RESULT, _changes(item), tool=kind, id=call, is_error=item.get("status") == "failed")
    elif kind in _TOOLS:
        is_error = item.get("status") == "failed" or count(item.get("exit_code")) not in {0, None}
        said = item.get("aggregated_output") if "aggregated_output" in item else _asked(item)
        code = count(item.get("exit_code"))
        yield event(EventKind.TOOL_RESULT, said, tool=kind, id=call, is_error=is_error, exit_code=code)


def _asked(item: Mapping[str, Any]) -> Any:
    return item.get("command") or {key: value for key, value in item.items() if key not in _OWN}


def _changes(item: Mapping[str, Any]) -> str:
    return "\n".join(f"{name(change.get('kind'))} {name(change.get('path'))}" for change in items(item.get("changes")))
