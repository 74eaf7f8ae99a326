"""Agents that print text: any program, and Aider, whose text has a few lines worth reading.

Plain text carries no outcome: whoever judges needs the report's last line or the change itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from windlass.core.agent_events.model import AgentEvent, EventKind, Signal, Tally
from windlass.core.agent_events.values import event, money, name, text, used

_MODEL = re.compile(r"(?:Main model|Model): (\S{1,200})")
_TOKENS = re.compile(
    r"Tokens: ([\d.,]{1,20}[kM]?) sent,(?: [\d.,]{1,20}[kM]? cache write,)?(.{0,40}?) ?([\d.,]{1,20}[kM]?) received"
)
_HIT = re.compile(r"([\d.,]{1,20}[kM]?) cache hit")
_COST = re.compile(r"Cost: \$([\d.]{1,20}) message")
_FAILED = re.compile(r"litellm\.[A-Za-z]{0,60}Error|The API provider is not able to authenticate you")
_SCALES = {"k": 1000, "M": 1_000_000}


def read_plain(line: str, tally: Tally) -> Iterator[AgentEvent]:
    """One line of text."""
    if line.strip():
        tally.final_text = text(line.strip())
        yield event(EventKind.MESSAGE, line.rstrip())


def read_aider(line: str, tally: Tally) -> Iterator[AgentEvent]:
    """One line of Aider (0.86)."""
    line = line[:10_000]
    if found := _TOKENS.match(line):
        hit = _HIT.search(found[2])
        read, written, cost = _tokens(found[1]), _tokens(found[3]), _COST.search(line)
        cached = _tokens(hit[1]) if hit else None
        read = read if cached is None or read is None else read + cached
        tally.add(input_tokens=read, output_tokens=written, cached_tokens=cached)
        if cost:
            tally.add(cost_usd=money(cost[1]))
        tally.turns = (tally.turns or 0) + 1
        tally.signal, tally.error = Signal.FINISHED, ""
        yield used(read, written)
    elif line.startswith("Applied edit to "):
        tally.tool_calls += 1
        yield event(EventKind.TOOL_RESULT, line, tool="edit")
    elif _FAILED.search(line):
        tally.signal, tally.error = Signal.FAILED, line.strip()[:1000]
        yield event(EventKind.ERROR, line)
    else:
        if found := _MODEL.match(line):
            tally.model = name(found[1])
        yield from read_plain(line, tally)


def _tokens(said: str) -> int | None:
    scale = _SCALES.get(said[-1:], 1)
    number = money(said.rstrip("kM").replace(",", ""))
    return None if number is None else int(number * Decimal(scale))
