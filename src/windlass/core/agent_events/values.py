"""Safe looks into what an agent printed: every look gives a value of the wanted kind or its absence, and never raises.

JSON from an agent may nest without end, hold numbers of any size, or anything where a text was expected.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from windlass.core.agent_events.model import MAX_NAME_CHARS, MAX_TEXT_CHARS, AgentEvent, EventKind, Scalar

MAX_LINE_CHARS = 8 << 20
_MOST_TOKENS = 1 << 50
_HIGHEST_COST = Decimal(1_000_000)
_LATEST_MS = 1 << 45


def document(text: str) -> Mapping[str, Any] | None:
    """A JSON object, or None when this is none (or one that is too large or too deep to be read)."""
    text = text.strip()
    if not text.startswith("{") or len(text) > MAX_LINE_CHARS:
        return None
    try:
        found = json.loads(text, strict=False)
    except (ValueError, RecursionError, MemoryError):
        return None
    return found if isinstance(found, dict) else None


def at(value: Any, *path: str) -> Any:
    """What is at the end of a path of keys, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def inner(value: Any, *path: str) -> Mapping[str, Any]:
    """The object at the end of a path, or an empty one."""
    found = at(value, *path)
    return found if isinstance(found, Mapping) else {}


def items(value: Any) -> Iterator[Mapping[str, Any]]:
    """The objects of a list; nothing of anything else."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, Mapping))


def text(value: Any, limit: int = MAX_TEXT_CHARS) -> str:
    """A text as it is, anything else as JSON, '' for nothing; cut to a size, with a sign that it was."""
    if value is None:
        return ""
    if not isinstance(value, str):
        try:
            value = json.dumps(value, ensure_ascii=False)
        except (ValueError, RecursionError, TypeError):
            return ""
    return value if len(value) <= limit else f"{value[:limit]} … (cut)"


def name(value: Any) -> str:
    """A short text of one line; '' for anything but a text."""
    return " ".join(value.split())[:MAX_NAME_CHARS] if isinstance(value, str) else ""


def count(value: Any) -> int | None:
    """A whole number from 0 on, or None."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value < _MOST_TOKENS else None


def total(*values: Any) -> int | None:
    """The sum of the counts among the values; None when there is none."""
    found = [number for number in map(count, values) if number is not None]
    return sum(found) if found else None


def money(value: Any) -> Decimal | None:
    """A sum in US dollars from 0 on, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        cost = Decimal(str(value)[:64])
    except (InvalidOperation, ValueError):
        return None
    return cost if cost.is_finite() and 0 <= cost < _HIGHEST_COST else None


def instant(value: Any) -> int | None:
    """Milliseconds since 1970 from an ISO 8601 text (UTC where it names no zone) or a number of milliseconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value < _LATEST_MS else None
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        found = datetime.datetime.fromisoformat(value)
        zoned = found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
        milliseconds = int(zoned.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
    return milliseconds if 0 <= milliseconds < _LATEST_MS else None


def contents(value: Any) -> str:
    """The text of a message's content: a text, or the texts of a list of parts."""
    if isinstance(value, str):
        return text(value)
    return text("\n".join(part["text"] for part in items(value) if isinstance(part.get("text"), str)))


def event(kind: EventKind, said: Any, at_ms: int | None = None, **data: Scalar | None) -> AgentEvent:
    """An event; facts that are None or '' are left out."""
    facts = {key: fact for key, fact in data.items() if fact is not None and fact != ""}
    return AgentEvent(kind=kind, text=text(said), at_ms=at_ms, data=facts)


def used(tally_input: int | None, tally_output: int | None, at_ms: int | None = None) -> AgentEvent:
    """A usage event."""
    shown = f"{'?' if tally_input is None else tally_input} in, {'?' if tally_output is None else tally_output} out"
    return event(EventKind.USAGE, shown, at_ms, input_tokens=tally_input, output_tokens=tally_output)
