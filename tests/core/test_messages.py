"""What people read: hostile text stays data, limits are kept, and nobody else can speak in our place."""

from __future__ import annotations

import dataclasses
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.jobs import PATCH, opened
from windlass.core import messages
from windlass.core.job import Approval, Reason, State, TestRun, Verification, WeakenedTest

NASTY = [
    "@ada",
    "@acme/team",
    messages.MARKER,
    "<!-- x",
    "-->",
    "```",
    "~~~",
    "`" * 40,
    "\u202e",
    "\u200b",
    "\x1b[31m",
    "\x00",
    "\r",
    "\n",
    "|",
    "\\",
    "<b>",
    "</details>",
    "![x](https://evil.example/p.png)",
    "https://evil.example",
    "www.evil.example",
    "Fixes #9",
    "GH-9",
    "&amp;",
    "*_[]",
    "\U000e0041",
    "\u3164",
]
hostile = st.lists(st.sampled_from(NASTY) | st.text(max_size=20), max_size=12).map("".join)
hostile_long = st.tuples(hostile, st.integers(1, 4000)).map(lambda pair: pair[0] * pair[1])


def bad_run(text: str) -> TestRun:
    return TestRun(status="failed", exit_code=1, summary=text)


def text_of(report: str, evil: str) -> messages.PullText:
    weak = tuple(WeakenedTest(path=evil, name=evil, how="skipped", detail=evil) for _ in range(25))
    found = Verification(command=evil, base=bad_run(evil), head=bad_run(evil), red_to_green=True, weakened_tests=weak)
    return messages.PullText(
        job_id="j1",
        issue_number=7,
        issue_title=evil,
        requested_by=evil,
        agent=evil,
        report=report,
        patch=dataclasses.replace(PATCH, files=(f"a/{evil}/Dockerfile", *PATCH.files)),
        verification=found,
    )


def outside_code(markdown: str) -> str:
    """What is left of a text when fenced blocks and code spans are taken out, by the rules of CommonMark."""
    lines, fence = [], ""
    for line in markdown.split("\n"):
        opening = re.match(r" {0,3}(`{3,}|~{3,})", line)
        if fence:
            if re.fullmatch(rf" {{0,3}}{fence[0]}{{{len(fence)},}}[ \t]*", line):
                fence = ""
        elif opening:
            fence = opening.group(1)
        else:
            lines.append(line)
    assert not fence, "every fence is closed"
    return re.sub(r"(?<!`)`[^`\n]+`(?!`)", "", "\n".join(lines))


def assert_harmless(markdown: str) -> None:
    plain = outside_code(markdown)
    assert not re.search(r"@\w", plain), "a mention"
    assert not re.search(r"://\w|(?i:\bwww\.)", plain), "a link"
    assert not re.search(r"(?i)\bgh-\d", plain)
    assert "<b>" not in plain
    assert "\x1b" not in markdown
    assert "\u202e" not in markdown


@given(report=hostile_long, evil=hostile)
def test_a_pull_request_text_is_harmless_whatever_the_strangers_wrote(report: str, evil: str) -> None:
    body = messages.pull_body(text_of(report, evil))
    assert len(body) <= 65_536
    assert_harmless(body)
    plain = outside_code(body)
    assert plain.count("<!--") == 1, "the only comment is our own last line"
    assert body.endswith("<!-- windlass:job:j1 -->")
    assert body.startswith("Closes #7\n")
    assert messages.MARKER not in plain
    assert plain.count("<details>") == plain.count("</details>") <= 1
    assert not re.search(r"(?<!\\)#(?!#)\d", plain.removeprefix("Closes #7")), "no other issue is referred to"


@given(report=st.text("`~\n ab", max_size=300))
def test_no_line_of_a_report_closes_its_fence(report: str) -> None:
    block = messages.fenced(report)
    first, *_, last = block.split("\n")
    assert outside_code(block) == ""
    assert first == last + "text"
    assert len(block) <= len(report) + 40


@given(evil=hostile, by=hostile)
def test_the_status_comment_carries_our_marker_once_and_last(evil: str, by: str) -> None:
    job = dataclasses.replace(
        opened().job,
        state=State.ESCALATED,
        reason=Reason.TESTS_FAILED,
        detail=evil,
        head_sha="h" * 40,
        pull_number=4,
        approval=Approval(by=by, head_sha="h" * 40, review_id=1, at_ms=1),
    )
    body = messages.status_comment(job)
    assert body.count(messages.MARKER) == 1
    assert body.endswith(messages.MARKER)
    assert body.count("<!--") == 1
    assert_harmless(body.removesuffix(messages.MARKER))
    assert len(body) < 6000


@given(title=hostile_long, issue=hostile)
def test_titles_are_one_line_within_the_limit(title: str, issue: str) -> None:
    found = messages.pull_title(title, issue, 7)
    assert 1 <= len(found) <= messages.TITLE_LIMIT
    assert found == " ".join(found.split())
    assert not {unicodedata.category(c) for c in found} & {"Cc", "Cs"}


@given(title=hostile_long, agent=hostile)
def test_a_commit_message_has_a_short_subject_and_only_our_trailers(title: str, agent: str) -> None:
    message = messages.commit_message(title=title, issue_number=7, job_id="j1", agent=agent)
    lines = message.split("\n")
    assert len(lines[0]) <= 72
    assert lines[1:4] == ["", "For #7.", ""]
    assert lines[4].startswith("Assisted-by: ")
    assert lines[5:] == ["Windlass-Job: j1", ""]
    assert not re.search(r"@\w|#\d", lines[0]), "merging it tells nobody and closes nothing"


@given(evil=hostile)
def test_the_gate_fits_into_a_status(evil: str) -> None:
    job = dataclasses.replace(
        opened().job, head_sha="h" * 40, approval=Approval(by=evil, head_sha="h" * 40, review_id=1, at_ms=1)
    )
    state, description = messages.gate(job)
    assert state == "success"
    assert len(description) <= messages.STATUS_LIMIT
    moved = dataclasses.replace(job, head_sha="x" * 40)
    assert messages.gate(moved)[0] == "pending", "an approval of another commit is none"


@given(text=st.text(max_size=200) | hostile)
def test_what_is_visible_has_no_hidden_character_and_stays_so(text: str) -> None:
    shown = messages.visible(text)
    assert messages.visible(shown) == shown
    assert not [c for c in shown if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} and c not in "\t\n"]
    assert not re.search(
        "[\u200b-\u200f\u202a-\u202e\u2060-\u2069\U000e0000-\U000e0fff\u3164\uffa0\u00ad\ufeff]", shown
    )


def test_text_that_people_write_survives() -> None:
    for text in ("naïve café — 100 % of 中文, Привет, 👍", "a\tb\nc"):
        assert messages.visible(text) == text


@pytest.mark.parametrize(
    ("base", "head", "proven", "weak", "line"),
    [
        ("failed", "passed", True, 0, "tests failed on base, passed on head, red to green proven"),
        ("passed", "passed", False, 2, "tests passed on base, passed on head, **2 weakened test(s)**"),
        ("absent", "absent", False, 0, "no test command was found"),
    ],
)
def test_the_verification_in_one_line(base: str, head: str, proven: bool, weak: int, line: str) -> None:
    weakened = tuple(WeakenedTest(path="t.py", name="t", how="deleted") for _ in range(weak))
    found = Verification(
        command="make test",
        base=TestRun(status=base),
        head=TestRun(status=head),
        red_to_green=proven,
        weakened_tests=weakened,
    )
    assert messages.verification_line(found) == line


def test_an_unverified_change_says_so() -> None:
    body = messages.pull_body(dataclasses.replace(text_of("", "x"), verification=None))
    assert "Not verified" in body
    assert "<details>" not in body, "no report, no section"


def test_what_runs_elsewhere_is_named_before_what_the_agent_says() -> None:
    files = (*(f"web{n}/package.json" for n in range(30)), "src/a.py")
    text = dataclasses.replace(text_of("I did it", "x"), patch=dataclasses.replace(PATCH, files=files))
    body = messages.pull_body(text)
    (line,) = [line for line in body.split("\n") if "installed, built or opened" in line]
    assert "`web0/package.json`" in line
    assert line.endswith(", and 10 more.")
    assert "src/a.py" not in line
    assert body.index(line) < body.index("I did it")
    plain = dataclasses.replace(text, patch=dataclasses.replace(PATCH, files=("src/a.py",)))
    assert "installed, built or opened" not in messages.pull_body(plain)
