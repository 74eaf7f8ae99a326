"""Reads what an agent printed, line by line, into events and a sum: one reader for each format, all used the same way.

Keeps the rule that reading never fails: a line that is no event of the format gives no event, or one of plain text
where the format is text; whatever a line holds, the next one is read. Nothing here is trusted afterwards either.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from windlass.core.agent_events.claude import read_claude, read_qwen
from windlass.core.agent_events.codex import read_codex
from windlass.core.agent_events.fields import Fields, read_fields
from windlass.core.agent_events.files import read_atif, read_mini
from windlass.core.agent_events.gemini import read_gemini
from windlass.core.agent_events.goose import read_goose
from windlass.core.agent_events.model import AgentEvent, Summary, Tally
from windlass.core.agent_events.opencode import read_opencode
from windlass.core.agent_events.openhands import MARK, read_openhands
from windlass.core.agent_events.own import read_windlass
from windlass.core.agent_events.plain import read_aider, read_plain
from windlass.core.agent_events.values import MAX_LINE_CHARS, document

ReadObject = Callable[[Mapping[str, Any], Tally], Iterator[AgentEvent]]
ReadText = Callable[[str, Tally], Iterator[AgentEvent]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How lines are read (`by_object` for JSON lines, `by_text` for others) and how the file at the end is."""

    by_object: ReadObject | None = None
    by_text: ReadText | None = None
    by_file: ReadObject | None = None
    is_spread: bool = False


FORMATS: Mapping[str, Format] = {
    "plain": Format(by_text=read_plain),
    "claude": Format(by_object=read_claude),
    "codex": Format(by_object=read_codex),
    "gemini": Format(by_object=read_gemini),
    "qwen": Format(by_object=read_qwen),
    "opencode": Format(by_object=read_opencode),
    "aider": Format(by_text=read_aider),
    "mini": Format(by_text=read_plain, by_file=read_mini),
    "goose": Format(by_object=read_goose),
    "openhands": Format(by_object=read_openhands, is_spread=True),
    "atif": Format(by_text=read_plain, by_file=read_atif),
    "windlass": Format(by_object=read_windlass),
    "jsonl": Format(),
}
"""Every format by the name that a catalogue entry gives it. `jsonl` is read by the entry's own fields."""


class Reading:
    """One run as it is read. Feed it every line in order, then the output file if there is one; ask for the sum."""

    def __init__(self, name: str, fields: Fields | None = None) -> None:
        self._format = FORMATS[name]
        if name == "jsonl":
            self._format = Format(by_object=functools.partial(read_fields, fields or Fields()))
        self._tally = Tally()
        self._open: list[str] | None = None
        self._open_chars = 0

    def feed(self, line: str) -> tuple[AgentEvent, ...]:
        """The events of one line, without its line end."""
        if len(line) > MAX_LINE_CHARS:
            return ()
        if self._format.is_spread:
            return self._feed_spread(line)
        found = document(line) if self._format.by_object is not None else None
        if found is not None:
            return self._object(found)
        return self._take(self._format.by_text, line) if self._format.by_text is not None else ()

    def feed_file(self, content: str) -> tuple[AgentEvent, ...]:
        """The events of the file that the agent wrote at its end."""
        found = document(content)
        return () if found is None or self._format.by_file is None else self._take(self._format.by_file, found)

    def summary(self) -> Summary:
        """What it comes to, up to now."""
        return self._tally.summary()

    def _feed_spread(self, line: str) -> tuple[AgentEvent, ...]:
        """An object over several lines ends where it can be read as a whole."""
        if line.strip() == MARK:
            self._open, self._open_chars = [], 0
            return ()
        if self._open is None:
            found = document(line)
            return () if found is None else self._object(found)
        self._open.append(line)
        self._open_chars += len(line)
        if self._open_chars > MAX_LINE_CHARS:
            self._open = None
            return ()
        found = document("\n".join(self._open)) if line.rstrip().endswith("}") and not line.startswith(" ") else None
        if found is None:
            return ()
        self._open = None
        return self._object(found)

    def _object(self, found: Mapping[str, Any]) -> tuple[AgentEvent, ...]:
        return () if self._format.by_object is None else self._take(self._format.by_object, found)

    def _take(self, read: Callable[[Any, Tally], Iterator[AgentEvent]], given: Any) -> tuple[AgentEvent, ...]:
        events: list[AgentEvent] = []
        try:
            events.extend(read(given, self._tally))
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
            return tuple(events)  # a shape nobody thought of costs this line and no other
        return tuple(events)
