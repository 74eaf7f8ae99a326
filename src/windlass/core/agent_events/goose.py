"""Goose's `goose run --output-format stream-json`, after its documentation; the program itself was not tried.

A message may come in pieces under one id. The closing `complete` names a total of tokens only, neither what was read
nor what was written: both stay unknown. Goose ends normally after an error of its model and says so in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windlass.core.agent_events.model import AgentEvent, EventKind, Signal, Tally
from windlass.core.agent_events.values import at, contents, count, event, inner, items, name, text

_FAILED = "Ran into this error"


def read_goose(line: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    """One line of Goose."""
    match line.get("type"):
        case "message":
            yield from _message(inner(line, "message"), tally)
        case "error":
            tally.signal, tally.error = Signal.FAILED, text(line.get("error"), 1000) or "it ended with an error"
            yield event(EventKind.ERROR, tally.error)
        case "complete":
            if tally.signal is not Signal.FAILED:
                tally.signal, tally.error = Signal.FINISHED, ""
            total = count(line.get("total_tokens"))
            yield event(EventKind.RESULT, tally.final_text or tally.error, total_tokens=total)
        case _:
            pass


def _message(message: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    for part in items(message.get("content")):
        match part.get("type"):
            case "text" if message.get("role") == "assistant":
                yield from _said(text(part.get("text")), tally)
            case "toolRequest":
                tally.tool_calls += 1
                tally.final_text = ""
                call = inner(part, "toolCall", "value") or inner(part, "toolCall")
                asked, tool = call.get("arguments"), name(call.get("name"))
                yield event(EventKind.TOOL_CALL, asked, tool=tool, id=name(part.get("id")))
            case "toolResponse":
                value = at(part, "toolResult", "value")
                said = contents(at(value, "content") if isinstance(value, Mapping) else value)
                is_error = at(part, "toolResult", "status") == "error" or at(value, "isError") is True
                yield event(EventKind.TOOL_RESULT, said, id=name(part.get("id")), is_error=is_error)
            case _:
                pass


def _said(piece: str, tally: Tally) -> Iterator[AgentEvent]:
    tally.final_text = text(tally.final_text + piece)
    if piece.startswith(_FAILED):
        tally.signal, tally.error = Signal.FAILED, piece[:1000]
        yield event(EventKind.ERROR, piece)
    else:
        yield event(EventKind.MESSAGE, piece)
