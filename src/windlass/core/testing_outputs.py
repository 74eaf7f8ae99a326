"""Reads names and a summary out of what test commands print: pytest, unittest, go, cargo, TAP, jest and their like.

The text is hostile and may be cut in the middle. Nothing here decides whether tests passed (the exit code does): names
only tell people which ones. It refuses to keep more than `MAX_NAMES` names of each kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_NAMES = 200
MAX_NAME_CHARS = 300
MAX_OUTPUT_CHARS = 4 << 20
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|[@-Z\\-_])")
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]")

# One line each: (pattern with the group `name`, and `word` where the pattern does not fix the outcome).
_LINES = tuple(
    re.compile(pattern)
    for pattern in (
        # pytest -v, also under xdist; and its short summary
        r"(?P<name>\S+\.py::\S.*?) (?P<word>PASSED|FAILED|ERROR|XPASS)(?: +\[ *\d+%\])?",
        r"\[gw\d+\] (?:\[ *\d+%\] )?(?P<word>PASSED|FAILED|ERROR) (?P<name>\S+\.py::.+)",
        r"(?P<word>PASSED|FAILED|ERROR) (?P<name>[^\s:]+\.py(?:::.+?)?)(?: - .*)?",
        # unittest, with and without -v
        r"(?P<name>test\w* \([\w.]+\))(?: \[.*\])? \.\.\. (?P<word>ok|FAIL|ERROR|unexpected success)",
        r"(?P<word>FAIL|ERROR): (?P<name>test\w* \([\w.]+\)|setUp\w+ \([\w.]+\))(?: .*)?",
        # go test -v
        r" *--- (?P<word>PASS|FAIL): (?P<name>\S+) \([\d.]+s\)",
        # cargo test
        r"test (?P<name>\S.*?)(?: - should panic)? \.\.\. (?P<word>ok|FAILED)",
        # TAP
        r" *(?P<word>ok|not ok) \d+ -? ?(?P<name>[^#]+?)(?: # (?:time|duration).*)?",
        # jest, vitest, mocha, node --test
        r" *(?P<word>[✓✔√✕✖✗×]) (?P<name>\S.*?)(?: \(?[\d.]+ ?m?s\)?)?",
    )
)
_PASSED = frozenset({"PASSED", "XPASS", "ok", "PASS", "✓", "✔", "√"})
_SUMMARIES = tuple(
    re.compile(pattern)
    for pattern in (
        r"=* ?((?:\d+ \w+(?:, )?)+ in [\d.]+s(?: \([\d:]+\))?) ?=*",
        r"=* ?(no tests ran in [\d.]+s) ?=*",
        r"(Ran \d+ tests? in [\d.]+s)",
        r"((?:OK|FAILED) ?\([\w =,]+\)|NO TESTS RAN)",
        r"(test result: .{1,200})",
        r"(Tests: +.{1,200})",
        r"(?:[#ℹ] )((?:pass|fail) \d+)",
        r" *(\d+ (?:passing|failing).{0,40})",
        r"((?:ok|FAIL)\t\S+\t.{1,60})",
    )
)


def parse_tests(output: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """(names that passed, names that failed, summary in one line). A name that failed once has not passed."""
    passed: dict[str, None] = {}
    failed: dict[str, None] = {}
    summary: dict[str, None] = {}
    for line in _lines(output):
        found = _outcome(line)
        if found is not None:
            name, is_pass = found
            (passed if is_pass else failed).setdefault(name, None)
        elif (said := _summary(line)) and len(summary) < 100:
            summary[said] = None
    good = tuple(name for name in passed if name not in failed)[:MAX_NAMES]
    return good, tuple(failed)[:MAX_NAMES], "; ".join([*summary][-4:])[:MAX_NAME_CHARS]


def _lines(output: str) -> Iterator[str]:
    """Of a text that is too long its end, because summaries stand there."""
    text = _ANSI.sub("", output[-MAX_OUTPUT_CHARS:])
    for line in text.split("\n"):
        if len(line) <= 4 * MAX_NAME_CHARS:
            yield _UNSAFE.sub("", line).rstrip()


def _outcome(line: str) -> tuple[str, bool] | None:
    for pattern in _LINES:
        match = pattern.fullmatch(line)
        if match:
            if re.search(r"#\s*(SKIP|TODO)\b", line, re.I):
                return None
            return match["name"].strip()[:MAX_NAME_CHARS], match["word"] in _PASSED
    return None


def _summary(line: str) -> str:
    for pattern in _SUMMARIES:
        match = pattern.fullmatch(line)
        if match:
            return match[1].strip().replace("\t", " ")
    return ""
