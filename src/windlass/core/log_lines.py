"""One line of a job's step log: JSON, one object a line, and what can be read out of an agent's own lines.

A line is `{at, job, run, seq, level, kind, text, data}`: `at` is RFC 3339 in UTC with milliseconds, `seq` counts
within one stream of the job, `level` is debug, info, warning or error. Refused when read: anything else, as Broken.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from json.encoder import encode_basestring
from typing import Any, Final

from windlass.core.errors import Broken, Refused

LEVELS: Final = ("debug", "info", "warning", "error")
_LONGEST_EVENT: Final = 1 << 20
_DEEPEST: Final = 6
_MAYBE_TOOL: Final = re.compile("tool|_call|command")
_TOOL_TYPES: Final = frozenset({"tool_use", "tool_call", "function_call", "mcp_tool_call", "tool-call", "toolCall"})
_COMMAND_TYPES: Final = frozenset({"command_execution", "local_shell_call", "exec_command_begin"})
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One step. `kind`: prompt, run, output, tool_call, change, result, verification, decision, refusal, notice."""

    at_ms: int
    job: str
    run: str
    seq: int
    level: str
    kind: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The object that is stored and sent."""
        return {
            "at": timestamp(self.at_ms),
            "job": self.job,
            "run": self.run,
            "seq": self.seq,
            "level": self.level,
            "kind": self.kind,
            "text": self.text,
            "data": dict(self.data),
        }

    def encode(self) -> bytes:
        """One JSONL line in UTF-8 with its newline."""
        return _ENCODER.encode(self.as_json()).encode("utf-8", "replace") + b"\n"


def output_lines(at_ms: int, job: str, run: str, kind: str = "output") -> Callable[[int, str], bytes]:
    """A quick `encode` for many lines of one instant: (seq, text) → the same bytes as LogLine.encode with no data."""
    quoted = _ENCODER.encode
    head = f'{{"at":"{timestamp(at_ms)}","job":{quoted(job)},"run":{quoted(run)},"seq":'
    middle = f',"level":"info","kind":{quoted(kind)},"text":'

    def encode(seq: int, text: str) -> bytes:
        return f'{head}{seq}{middle}{encode_basestring(text)},"data":{{}}}}\n'.encode("utf-8", "replace")

    return encode


def decode(raw: bytes | str) -> LogLine:
    """The line that `encode` made. Raises Broken (log_damaged)."""
    try:
        found = json.loads(raw)
        return LogLine(
            at_ms=instant_ms(found["at"]),
            job=str(found["job"]),
            run=str(found["run"]),
            seq=int(found["seq"]),
            level=str(found["level"]),
            kind=str(found["kind"]),
            text=str(found["text"]),
            data=dict(found["data"]),
        )
    except (ValueError, KeyError, TypeError, Refused) as error:
        raise Broken("a line of a step log cannot be read", code="log_damaged", hint="restore the blob") from error


def timestamp(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds.

    >>> timestamp(1_700_000_000_123)
    '2023-11-14T22:13:20.123Z'
    """
    at = datetime.datetime.fromtimestamp(at_ms // 1000, tz=datetime.UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def instant_ms(text: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 instant, or of a plain number of them. Raises Refused (bad_instant).

    >>> instant_ms("2023-11-14T22:13:20.123Z"), instant_ms("1700000000123")
    (1700000000123, 1700000000123)
    """
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return int(text)
    try:
        at = datetime.datetime.fromisoformat(text)
        at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
        since = at - datetime.datetime.fromtimestamp(0, tz=datetime.UTC)
    except (ValueError, TypeError, OverflowError):
        hint = "as 2026-01-31T12:00:00Z, or milliseconds since 1970"
        raise Refused(f"not an instant: {text[:60]!r}", code="bad_instant", hint=hint) from None
    return since // datetime.timedelta(milliseconds=1)


def levels_from(level: str) -> tuple[str, ...]:
    """This level and the graver ones. Raises Refused (bad_level)."""
    if level not in LEVELS:
        raise Refused(f"no level {level[:40]!r}", code="bad_level", hint=f"one of {', '.join(LEVELS)}")
    return LEVELS[LEVELS.index(level) :]


def gravest(levels: Iterable[str]) -> str:
    """The gravest of some levels; debug for none."""
    return max(levels, key=LEVELS.index, default="debug")


def tool_called(text: str) -> str:
    """The name of the tool that an agent's JSON event says it calls, or ''.

    Understood are the event shapes that coding agents print line by line: objects whose `type` says that they are a
    tool's use, at the top or up to six levels inside.
    """
    if not text.startswith("{") or not _MAYBE_TOOL.search(text) or len(text) > _LONGEST_EVENT:
        return ""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return _tool(found, 0)


def _tool(value: object, depth: int) -> str:
    if depth > _DEEPEST:
        return ""
    if isinstance(value, dict):
        kind = value.get("type")
        if isinstance(kind, str) and kind in _TOOL_TYPES:
            return _name(value)
        if isinstance(kind, str) and kind in _COMMAND_TYPES:
            return "shell"
        inner: list[object] = list(value.values())
    elif isinstance(value, list):
        inner = value
    else:
        return ""
    return next((name for item in inner if isinstance(item, dict | list) and (name := _tool(item, depth + 1))), "")


def _name(event: Mapping[str, object]) -> str:
    for key in ("name", "tool_name", "tool", "toolName"):
        name = event.get(key)
        if isinstance(name, str) and name:
            return name[:100]
    return "tool"
