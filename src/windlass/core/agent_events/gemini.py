"""Gemini CLI's `--output-format stream-json`, read off 0.61.0. It reports no cost; messages come in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windlass.core.agent_events.model import AgentEvent, EventKind, Signal, Tally
from windlass.core.agent_events.values import at, count, event, inner, instant, name, text, used


def read_gemini(line: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    """One line of Gemini CLI."""
    at_ms = instant(line.get("timestamp"))
    match line.get("type"):
        case "init":
            tally.model = name(line.get("model"))
        case "message" if line.get("role") == "assistant":
            piece = text(line.get("content"))
            tally.final_text = text(tally.final_text + piece) if line.get("delta") is True else piece
            yield event(EventKind.MESSAGE, piece, at_ms)
        case "tool_use":
            tally.tool_calls += 1
            tally.final_text = ""  # what is said before a tool is called is not the last word
            tool, call = name(line.get("tool_name")), name(line.get("tool_id"))
            yield event(EventKind.TOOL_CALL, line.get("parameters"), at_ms, tool=tool, id=call)
        case "tool_result":
            said = line.get("output") or at(line, "error", "message")
            is_error = line.get("status") != "success"
            yield event(EventKind.TOOL_RESULT, said, at_ms, id=name(line.get("tool_id")), is_error=is_error)
        case "error":
            tally.error = text(line.get("message"), 1000)
            yield event(EventKind.ERROR, tally.error, at_ms)
        case "result":
            yield from _result(line, tally, at_ms)
        case _:
            pass


def _result(line: Mapping[str, Any], tally: Tally, at_ms: int | None) -> Iterator[AgentEvent]:
    stats = inner(line, "stats")
    tally.input_tokens, tally.output_tokens = count(stats.get("input_tokens")), count(stats.get("output_tokens"))
    tally.cached_tokens = count(stats.get("cached"))
    answered = {model: count(at(use, "total_tokens")) or 0 for model, use in inner(stats, "models").items()}
    if answered:
        tally.model = name(max(answered, key=lambda model: answered[model])) or tally.model
    if line.get("status") == "success":
        tally.signal, tally.error = Signal.FINISHED, ""
    else:
        said = text(at(line, "error", "message"), 1000)
        is_limit = name(at(line, "error", "type")) == "FatalTurnLimitedError"
        tally.signal, tally.error = Signal.CUT if is_limit else Signal.FAILED, said or "it ended with an error"
    yield used(tally.input_tokens, tally.output_tokens, at_ms)
    yield event(EventKind.RESULT, tally.final_text or tally.error, at_ms, is_error=tally.signal is not Signal.FINISHED)
