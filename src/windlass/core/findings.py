"""What reviewing agents found: taken out of a report by a strict schema, told apart by marks, kept as JSON.

A report is hostile text. Only the last fenced `json` block counts, and only when all of it fits the schema: a report
that does not is no review. Marks say whether a finding is the same as an earlier one, however it is spaced or spelled
in capitals; they prove nothing more.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from windlass.core.errors import Broken, Refused

SEVERITIES = ("blocker", "major", "minor")
SERIOUS = frozenset({"blocker", "major"})
MOST_FINDINGS = 100
LONGEST_TEXT = 4000
LONGEST_PATH = 500
_BLOCK = re.compile(r"^(?P<fence>`{3,})json[^\S\n]*\n(?P<text>.*?)^(?P=fence)[^\S\n]*$", re.MULTILINE | re.DOTALL)

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Findings of a reviewing agent",
    "type": "array",
    "maxItems": MOST_FINDINGS,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["path", "line", "severity", "text"],
        "properties": {
            "path": {"type": "string", "maxLength": LONGEST_PATH, "pattern": "^[^\\u0000-\\u001f]*$"},
            "line": {"type": "integer", "minimum": 0, "maximum": 10_000_000},
            "severity": {"enum": list(SEVERITIES)},
            "text": {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT},
        },
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a reviewing agent found. `line` is 0 when the whole file is meant, `path` '' when the whole change is."""

    path: str
    line: int
    severity: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRef:
    """A finding without its text: what is decided upon. `mark` is the same for the same finding."""

    mark: str
    severity: str
    path: str
    line: int


def read(report: str) -> tuple[Finding, ...]:
    """The findings that a report lists. Raises Refused (bad_findings) when it does not list them as it must."""
    blocks = [found["text"] for found in _BLOCK.finditer(report)]
    if not blocks:
        raise _bad("the report has no fenced json block with a list of findings")
    try:
        document = json.loads(blocks[-1])
    except (ValueError, RecursionError):
        raise _bad("the json block of the report is not JSON") from None
    return _findings(document)


def encode(findings: Sequence[Finding]) -> bytes:
    """The same findings give the same bytes."""
    return json.dumps([asdict(one) for one in findings], sort_keys=True, separators=(",", ":")).encode()


def decode(data: bytes) -> tuple[Finding, ...]:
    """What `encode` wrote. Raises Broken."""
    try:
        return _findings(json.loads(data))
    except (ValueError, RecursionError, Refused) as error:
        raise Broken(f"kept findings cannot be read: {error}", hint="restore the blob from a backup") from error


def reference(finding: Finding) -> FindingRef:
    """A finding's place and mark."""
    words = " ".join(re.findall(r"\w+", finding.text.casefold()))
    mark = hashlib.sha256(f"{finding.path}\0{words}".encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return FindingRef(mark=mark, severity=finding.severity, path=finding.path, line=finding.line)


def serious(references: Iterable[FindingRef]) -> tuple[FindingRef, ...]:
    """Those that somebody has to do something about before the change is published."""
    return tuple(one for one in references if one.severity in SERIOUS)


def comes_back(rounds: Sequence[Sequence[str]], now: Iterable[str]) -> bool:
    """Whether a mark of `now` was there in an earlier round, gone in a later one, and is there again.

    >>> comes_back([["a"], ["b"]], ["a"]), comes_back([["a"], ["a"]], ["a"])
    (True, False)
    """
    return any(
        any(mark in earlier and mark not in later for at, earlier in enumerate(rounds) for later in rounds[at + 1 :])
        for mark in set(now)
    )


def _findings(document: object) -> tuple[Finding, ...]:
    if not isinstance(document, list) or len(document) > MOST_FINDINGS:
        raise _bad(f"the findings are no list of at most {MOST_FINDINGS}")
    return tuple(_finding(number, entry) for number, entry in enumerate(document))


def _finding(number: int, entry: object) -> Finding:
    if not isinstance(entry, dict) or set(entry) != {"path", "line", "severity", "text"}:
        raise _bad(f"finding {number} does not have exactly the keys path, line, severity and text")
    path, line, severity, text = entry["path"], entry["line"], entry["severity"], entry["text"]
    if not isinstance(path, str) or len(path) > LONGEST_PATH or re.search(r"[\x00-\x1f]", path):
        raise _bad(f"finding {number}: path is no file's name")
    if isinstance(line, bool) or not isinstance(line, int) or not 0 <= line <= 10_000_000:
        raise _bad(f"finding {number}: line is no line's number")
    if severity not in SEVERITIES:
        raise _bad(f"finding {number}: severity is not one of {', '.join(SEVERITIES)}")
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST_TEXT:
        raise _bad(f"finding {number}: text is empty or longer than {LONGEST_TEXT} characters")
    return Finding(path=path, line=line, severity=severity, text=text)


def _bad(why: str) -> Refused:
    return Refused(why, code="bad_findings", hint="see docs/findings.schema.json")
