"""Agents that write what they did into one file at the end: mini-swe-agent's trajectory, and ATIF (Devin's `--export`).

mini-swe-agent (format `mini-swe-agent-1.1`, 2.4.6) exits with 0 even when it failed: only its `exit_status` tells.
ATIF, the Agent Trajectory Interchange Format 1.x, has no field for the end: a last step of the agent that calls no tool
is taken for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from windlass.core.agent_events.model import AgentEvent, EventKind, Signal, Tally
from windlass.core.agent_events.values import at, contents, count, event, inner, instant, items, money, name, text, used

_CUT = frozenset({"LimitsExceeded", "TimeExceeded", "StepLimitExceeded", "CostLimitExceeded"})


def read_mini(whole: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    """A whole trajectory of mini-swe-agent."""
    for message in items(whole.get("messages")):
        said, role = contents(message.get("content")), message.get("role")
        if role == "assistant":
            tally.tool_calls += len(list(items(message.get("tool_calls"))))
            if said:
                tally.final_text = said
                yield event(EventKind.MESSAGE, said)
            for call in items(message.get("tool_calls")):
                tool, asked = name(at(call, "function", "name")), at(call, "function", "arguments")
                yield event(EventKind.TOOL_CALL, asked, tool=tool, id=name(call.get("id")))
        elif role == "tool":
            yield event(EventKind.TOOL_RESULT, said, id=name(message.get("tool_call_id")))
    info = inner(whole, "info")
    stats, status = inner(info, "model_stats"), name(info.get("exit_status"))
    tally.cost_usd, tally.turns = money(stats.get("instance_cost")), count(stats.get("api_calls"))
    tally.model = name(at(info, "config", "model", "model_name"))
    tally.final_text = text(info.get("submission")) or tally.final_text
    if status == "Submitted":
        tally.signal = Signal.FINISHED
    elif status:
        tally.signal = Signal.CUT if status in _CUT else Signal.FAILED
        tally.error = f"it ended with {status}"
    yield event(EventKind.RESULT, status, is_error=tally.signal is not Signal.FINISHED)


def read_atif(whole: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    """A whole trajectory in ATIF."""
    if not name(whole.get("schema_version")).startswith("ATIF-"):
        return
    tally.model = name(at(whole, "agent", "model_name"))
    for step in items(whole.get("steps")):
        yield from _atif_step(step, tally)
    metrics = inner(whole, "final_metrics")
    tally.input_tokens = _or(count(metrics.get("total_prompt_tokens")), tally.input_tokens)
    tally.output_tokens = _or(count(metrics.get("total_completion_tokens")), tally.output_tokens)
    tally.cached_tokens = _or(count(metrics.get("total_cached_tokens")), tally.cached_tokens)
    cost = money(metrics.get("total_cost_usd"))
    tally.cost_usd = tally.cost_usd if cost is None else cost
    yield used(tally.input_tokens, tally.output_tokens)


def _atif_step(step: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    at_ms, said = instant(step.get("timestamp")), contents(step.get("message"))
    if step.get("source") != "agent":
        return
    calls, metrics = list(items(step.get("tool_calls"))), inner(step, "metrics")
    tally.tool_calls += len(calls)
    tally.turns = (tally.turns or 0) + 1
    tally.model = name(step.get("model_name")) or tally.model
    found = [count(metrics.get(key)) for key in ("prompt_tokens", "completion_tokens", "cached_tokens")]
    cost = money(metrics.get("cost_usd"))
    tally.add(input_tokens=found[0], output_tokens=found[1], cached_tokens=found[2], cost_usd=cost)
    tally.signal = Signal.NONE if calls else Signal.FINISHED
    if said:
        tally.final_text = said
        yield event(EventKind.MESSAGE, said, at_ms)
    for call in calls:
        tool, number = name(call.get("function_name")), name(call.get("tool_call_id"))
        yield event(EventKind.TOOL_CALL, call.get("arguments"), at_ms, tool=tool, id=number)
    for seen in items(at(step, "observation", "results")):
        yield event(EventKind.TOOL_RESULT, contents(seen.get("content")), at_ms, id=name(seen.get("source_call_id")))


def _or(first: int | None, second: int | None) -> int | None:
    return second if first is None else first
