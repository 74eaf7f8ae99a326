"""What an agent said while it worked, in one vocabulary for all agents.

Keeps the rule that what was not reported stays unknown: a cost or a count that an agent did not name is None, never 0.
Refuses nothing: everything here was written by an agent and is hostile text, cut to a size but not cleaned of secrets.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

MAX_TEXT_CHARS = 32_000
MAX_NAME_CHARS = 200

Scalar = str | int | bool


class EventKind(enum.StrEnum):
    """What one event is."""

    MESSAGE = "message"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    USAGE = "usage"
    ERROR = "error"
    RESULT = "result"


class Signal(enum.StrEnum):
    """What an agent's own words say about its end. CUT: a limit of its own stopped it before it was done."""

    NONE = "none"
    FINISHED = "finished"
    CUT = "cut"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEvent:
    """One step of an agent. `at_ms` is the instant that the agent itself names, None when it names none.

    `text` holds at most MAX_TEXT_CHARS; `data` flat facts: `tool`, `id`, `is_error`, counts by their name.
    """

    kind: EventKind
    text: str = ""
    at_ms: int | None = None
    data: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a run used by the agent's own account; None: not reported.

    `input_tokens` counts everything that the model read, `cached_tokens` how many of these came from a cache.
    `cost_usd` is a decimal number as text, at most nine places.
    """

    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: str | None = None
    turns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a whole run comes to. `final_text` is the last thing it said; `usage` None when it reported nothing."""

    signal: Signal = Signal.NONE
    final_text: str = ""
    error: str = ""
    tool_calls: int = 0
    usage: Usage | None = None


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a reader has gathered up to now."""

    signal: Signal = Signal.NONE
    final_text: str = ""
    error: str = ""
    tool_calls: int = 0
    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: Decimal | None = None
    turns: int | None = None

    def summary(self) -> Summary:
        """The sum."""
        usage = Usage(
            model=self.model,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens,
            cost_usd=_shown(self.cost_usd),
            turns=self.turns,
        )
        return Summary(
            signal=self.signal,
            final_text=self.final_text,
            error=self.error,
            tool_calls=self.tool_calls,
            usage=None if usage == Usage() else usage,
        )

    def add(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cached_tokens: int | None = None,
        cost_usd: Decimal | None = None,
    ) -> None:
        """Add one step's use to what is known."""
        self.input_tokens = plus(self.input_tokens, input_tokens)
        self.output_tokens = plus(self.output_tokens, output_tokens)
        self.cached_tokens = plus(self.cached_tokens, cached_tokens)
        if cost_usd is not None:
            self.cost_usd = (self.cost_usd or Decimal(0)) + cost_usd


def plus(first: int | None, second: int | None) -> int | None:
    """A sum in which an unknown adds nothing; None when both are unknown."""
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _shown(cost: Decimal | None) -> str | None:
    if cost is None:
        return None
    text = f"{cost:.9f}".rstrip("0").rstrip(".")
    return text or "0"
