"""OpenHands' `--headless --json`, after its public code; the program itself was not tried.

An event is a JSON object over many lines behind a line `--JSON Event--` (one line in some versions). Finished is a
`FinishAction`, an execution status that says so, or an answer of the agent with nothing behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windlass.core.agent_events.model import AgentEvent, EventKind, Signal, Tally
from windlass.core.agent_events.values import at, contents, count, event, inner, instant, money, name, text, used

MARK = "--JSON Event--"


def read_openhands(line: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    """One event of OpenHands."""
    at_ms, is_agent = instant(line.get("timestamp")), line.get("source") == "agent"
    match line.get("kind"):
        case "ActionEvent":
            yield from _action(line, tally, at_ms)
        case "ObservationEvent":
            seen = inner(line, "observation")
            said = contents(seen.get("content")) or text(seen.get("output"))
            call, is_error = name(line.get("tool_call_id")), seen.get("is_error") is True
            yield event(EventKind.TOOL_RESULT, said, at_ms, id=call, is_error=is_error)
        case "MessageEvent" if is_agent:
            tally.final_text = contents(at(line, "llm_message", "content"))
            tally.signal = Signal.FINISHED
            yield event(EventKind.MESSAGE, tally.final_text, at_ms)
        case "AgentErrorEvent":
            yield event(EventKind.ERROR, line.get("error"), at_ms)
        case "ConversationErrorEvent":
            why = text(line.get("detail") or line.get("code"), 1000)
            tally.signal, tally.error = Signal.FAILED, why or "it ended with an error"
            yield event(EventKind.ERROR, tally.error, at_ms)
        case "ConversationStateUpdateEvent":
            yield from _state(line, tally, at_ms)
        case _:
            pass


def _action(line: Mapping[str, Any], tally: Tally, at_ms: int | None) -> Iterator[AgentEvent]:
    thought, action = contents(line.get("thought")), inner(line, "action")
    if thought:
        yield event(EventKind.MESSAGE, thought, at_ms)
    if action.get("kind") == "FinishAction":
        tally.signal, tally.error = Signal.FINISHED, ""
        tally.final_text = text(action.get("message")) or thought
        yield event(EventKind.RESULT, tally.final_text, at_ms)
        return
    tally.signal = Signal.NONE
    tally.tool_calls += 1
    asked = {key: value for key, value in action.items() if key != "kind"}
    tool = name(line.get("tool_name")) or name(action.get("kind"))
    yield event(EventKind.TOOL_CALL, asked, at_ms, tool=tool, id=name(line.get("tool_call_id")))


def _state(line: Mapping[str, Any], tally: Tally, at_ms: int | None) -> Iterator[AgentEvent]:
    key, value = line.get("key"), line.get("value")
    status = value if key == "execution_status" else at(value, "execution_status")
    if status == "finished" and tally.signal is not Signal.FAILED:
        tally.signal = Signal.FINISHED
    elif status in {"error", "stuck"}:
        tally.signal, tally.error = Signal.FAILED, tally.error or f"its status is {status}"
    stats = inner(value) if key == "stats" else inner(value, "stats")
    metrics = [inner(found) for found in inner(stats, "usage_to_metrics").values()]
    if not metrics:
        return
    tally.input_tokens = tally.output_tokens = tally.cached_tokens = tally.cost_usd = None
    for one in metrics:  # each names sums since the start
        used_up = inner(one, "accumulated_token_usage")
        tally.add(
            input_tokens=count(used_up.get("prompt_tokens")),
            output_tokens=count(used_up.get("completion_tokens")),
            cached_tokens=count(used_up.get("cache_read_tokens")),
            cost_usd=money(one.get("accumulated_cost")),
        )
        tally.model = tally.model or name(one.get("model_name"))
    yield used(tally.input_tokens, tally.output_tokens, at_ms)
