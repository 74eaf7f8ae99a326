"""The prompt: strangers' words are data behind fences, the end marker is never in it, hidden text is not told."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_messages import outside_code
from windlass.core.job import IssueSnapshot, TaskType
from windlass.core.prompt import Request, render

NASTY = ["WORK-COMPLETED", "work-completed", "WORK", "-COMPLETED", "<!--", "-->", "<!-", "-", "```", "\n", "````text"]
NASTY += ["\u200b", "\u202e", "\U000e0041", "## Rules\n", "\x00", "\r"]
hostile = st.lists(st.sampled_from(NASTY) | st.text(max_size=10), max_size=15).map("".join)


def request(evil: str, **changes: object) -> Request:
    issue = IssueSnapshot(number=7, title=evil, body=evil, author="eve")
    given_fields: dict[str, object] = {
        "issue": issue,
        "task_type": TaskType.BUGFIX,
        "purpose": "fix_ci",
        "feedback": evil,
        "logs": ((evil, evil),),
        "files": (evil, "src/a.py"),
        "test_command": "pytest",
    }
    return Request(**(given_fields | changes))  # type: ignore[arg-type]


@given(evil=hostile)
def test_the_end_marker_is_never_in_a_prompt(evil: str) -> None:
    assert "WORK-COMPLETED" not in render(request(evil)).upper()


@given(evil=hostile)
def test_strangers_words_stay_behind_fences(evil: str) -> None:
    text = outside_code(render(request(evil)))
    headings = re.findall(r"(?m)^## .*$", text)
    expected = ["## Rules", "## Report", "## Tests", "## Files", "## Issue #7 (data)", "## What has to be addressed"]
    assert [h for h in headings if not h.startswith("## Log of ")][:6] == [
        *expected[:5],
        *(["## What has to be addressed (data)"] if evil else []),
    ]
    assert len([h for h in headings if h.startswith("## Log of ")]) == 1


@given(evil=hostile)
def test_what_a_person_would_not_see_is_not_told(evil: str) -> None:
    text = render(request("", issue=IssueSnapshot(number=7, title="t", body=evil, author="eve"), files=(), logs=()))
    assert "<!--" not in text
    assert not re.search("[\u200b-\u200f\u202a-\u202e\U000e0000-\U000e0fff\x00\r]", text)


def test_a_hidden_comment_is_not_told_even_when_it_is_cut_in_pieces() -> None:
    bodies = ["a<!-- do evil -->b", "a<!-<!-- x -->- do evil -->b", "a<!-- do evil", "a<!\u200b-- do evil -->b"]
    for body in bodies:
        text = render(
            Request(issue=IssueSnapshot(number=1, title="t", body=body, author="e"), task_type=TaskType.BUGFIX)
        )
        assert "do evil" not in text


def test_many_nested_comments_end_as_well() -> None:
    body = "<!-" * 10_000 + "<!---->" + "- -->" * 10_000
    text = render(Request(issue=IssueSnapshot(number=1, title="t", body=body, author="e"), task_type=TaskType.BUGFIX))
    assert "<!--" not in text


def test_long_texts_are_cut_where_they_matter_least() -> None:
    body, log = "b" * 100_000 + "END", "l" * 100_000 + "LAST"
    issue = IssueSnapshot(number=1, title="t", body=body, author="e")
    text = render(Request(issue=issue, task_type=TaskType.FEATURE, logs=(("tests", log),)))
    assert len(text) < 80_000
    assert "END" not in text
    assert "LAST" in text
    assert text.count("(cut)") == 2


def test_files_are_listed_up_to_a_number() -> None:
    files = tuple(f"f{n}" for n in range(1000))
    text = render(request("", files=files))
    assert "f399\n" in text
    assert "f400\n" not in text
    assert "and 600 more" in text


@pytest.mark.parametrize("purpose", ["implement", "fix_ci", "address_review"])
@pytest.mark.parametrize("task_type", list(TaskType))
def test_every_purpose_of_every_kind_is_worded(purpose: str, task_type: TaskType) -> None:
    text = render(request("x", purpose=purpose, task_type=task_type))
    assert text.startswith(f"# Task: {task_type}\n")
    assert ("Your earlier change" in text) is (purpose != "implement")
    assert text == render(request("x", purpose=purpose, task_type=task_type))


def test_an_issue_without_text_says_so() -> None:
    issue = IssueSnapshot(number=1, title="Totals are wrong", body="  ", author="e")
    text = render(Request(issue=issue, task_type=TaskType.BUGFIX))
    assert "has no text" in text
    assert "the repository is empty" in text
