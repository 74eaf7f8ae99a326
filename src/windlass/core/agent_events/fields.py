"""Any agent that prints JSON objects, read by the paths of keys that its catalogue entry names.

A path is keys joined by dots. A number that appears on several lines counts as the sum since the start, so the last one
holds, unless `adds_up` says that each line names its own step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from windlass.core.agent_events.model import AgentEvent, EventKind, Signal, Tally
from windlass.core.agent_events.values import at, count, event, money, name, text, used


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Where things stand in a line; '' where the agent does not say it.

    `finished` and `failed`: a line is the end when the value at `end` is one of these.
    """

    end: str = ""
    finished: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    message: str = ""
    tool: str = ""
    error: str = ""
    model: str = ""
    input_tokens: str = ""
    output_tokens: str = ""
    cached_tokens: str = ""
    cost_usd: str = ""
    turns: str = ""
    adds_up: bool = False


def read_fields(fields: Fields, line: Mapping[str, Any], tally: Tally) -> Iterator[AgentEvent]:
    """One line, by the fields."""

    def look(path: str) -> Any:
        return at(line, *path.split(".")) if path else None

    tally.model = name(look(fields.model)) or tally.model
    if isinstance(said := look(fields.message), str) and said:
        tally.final_text = text(said)
        yield event(EventKind.MESSAGE, said)
    if tool := name(look(fields.tool)):
        tally.tool_calls += 1
        yield event(EventKind.TOOL_CALL, "", tool=tool)
    if wrong := text(look(fields.error), 1000):
        tally.error = wrong
        yield event(EventKind.ERROR, wrong)
    yield from _use(fields, look, tally)
    end = look(fields.end)
    word = str(end).lower() if isinstance(end, bool) else text(end, 200)
    if word and word in fields.finished:
        tally.signal, tally.error = Signal.FINISHED, ""
        yield event(EventKind.RESULT, tally.final_text)
    elif word and word in fields.failed:
        tally.signal, tally.error = Signal.FAILED, tally.error or f"it ended with {word}"
        yield event(EventKind.RESULT, tally.error, is_error=True)


def _use(fields: Fields, look: Any, tally: Tally) -> Iterator[AgentEvent]:
    paths = (fields.input_tokens, fields.output_tokens, fields.cached_tokens)
    read, written, cached = (count(look(path)) for path in paths)
    cost = money(look(fields.cost_usd))
    tally.turns = count(look(fields.turns)) if count(look(fields.turns)) is not None else tally.turns
    if read is None and written is None and cached is None and cost is None:
        return
    if not fields.adds_up:
        tally.input_tokens = tally.input_tokens if read is None else None
        tally.output_tokens = tally.output_tokens if written is None else None
        tally.cached_tokens = tally.cached_tokens if cached is None else None
        tally.cost_usd = tally.cost_usd if cost is None else None
    tally.add(input_tokens=read, output_tokens=written, cached_tokens=cached, cost_usd=cost)
    yield used(read, written)
