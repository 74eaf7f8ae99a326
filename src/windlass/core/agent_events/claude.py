"""Claude Code's `--output-format stream-json`, and Qwen Code's, which is made after it.

Read off Claude Code 2.1.330 and Qwen Code 0.15.10. Rules: `is_error` outweighs `subtype` (an API failure says
`success`); Qwen says success with exit code 0 even when its model answered 401, and only its text tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windlass.core.agent_events import values
from windlass.core.agent_events.model import AgentEvent, EventKind, Signal, Tally
from windlass.core.agent_events.values import at, contents, count, event, inner, instant, items, money, name, text, used

_CUT = frozenset({"error_max_turns", "error_max_budget_usd", "error_max_session_turns"})
_SYNTHETIC = "<synthetic>"


def read_claude(line: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    """One line of Claude Code."""
    usage = inner(line, "usage")
    fresh, read, made = (
        usage.get(key) for key in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    yield from _read(line, tally, input_tokens=values.total(fresh, read, made), cached_tokens=count(read))


def read_qwen(line: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    """One line of Qwen Code; its input tokens hold the cached ones already."""
    usage = inner(line, "usage")
    cached = count(usage.get("cache_read_input_tokens"))
    yield from _read(line, tally, input_tokens=count(usage.get("input_tokens")), cached_tokens=cached)
    if line.get("type") == "result" and text(line.get("result")).startswith("[API Error"):
        tally.signal, tally.error = Signal.FAILED, text(line.get("result"), 1000)


def _read(
    line: Mapping[str, Any], tally: Tally, *, input_tokens: int | None, cached_tokens: int | None
) -> Iterator[AgentEvent]:
    match line.get("type"):
        case "system":
            yield from _system(line, tally)
        case "assistant":
            yield from _assistant(line, tally)
        case "user":
            yield from _results(line)
        case "result":
            tally.input_tokens, tally.cached_tokens = input_tokens, cached_tokens
            yield from _result(line, tally)
        case _:
            pass


def _system(line: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    if line.get("subtype") == "init":
        tally.model = tally.model or name(line.get("model"))
    elif line.get("subtype") == "api_retry":
        tally.error = text(line.get("error"), 1000)
        yield event(EventKind.ERROR, f"the model's service failed, tried again: {tally.error}")


def _assistant(line: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    message, at_ms = inner(line, "message"), instant(line.get("timestamp"))
    model = name(message.get("model"))
    tally.model = model if model and model != _SYNTHETIC else tally.model
    for part in items(message.get("content")):
        if part.get("type") == "text":
            tally.final_text = text(part.get("text"))
            yield event(EventKind.MESSAGE, part.get("text"), at_ms)
        elif part.get("type") == "tool_use":
            tally.tool_calls += 1
            tool, call = name(part.get("name")), name(part.get("id"))
            yield event(EventKind.TOOL_CALL, part.get("input"), at_ms, tool=tool, id=call)


def _results(line: Mapping[str, Any]) -> Iterator[AgentEvent]:
    for part in items(at(line, "message", "content")):
        if part.get("type") == "tool_result":
            said = contents(part.get("content"))
            is_error = part.get("is_error") is True
            at_ms = instant(line.get("timestamp"))
            yield event(EventKind.TOOL_RESULT, said, at_ms, id=name(part.get("tool_use_id")), is_error=is_error)


def _result(line: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    subtype, said = name(line.get("subtype")), text(line.get("result"))
    tally.output_tokens = count(at(line, "usage", "output_tokens"))
    tally.cost_usd, tally.turns = money(line.get("total_cost_usd")), count(line.get("num_turns"))
    tally.final_text = said or tally.final_text
    if subtype in _CUT:
        tally.signal, tally.error = Signal.CUT, subtype
    elif subtype == "success" and line.get("is_error") is not True:
        tally.signal, tally.error = Signal.FINISHED, ""
    else:
        tally.signal, tally.error = Signal.FAILED, said[:1000] or subtype or "it ended with an error"
    yield used(tally.input_tokens, tally.output_tokens)
    yield event(EventKind.RESULT, said or subtype, is_error=tally.signal is not Signal.FINISHED)
