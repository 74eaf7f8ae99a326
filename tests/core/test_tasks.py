"""What kind of work an issue asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.job import IssueSnapshot, TaskType
from windlass.core.tasks import detect_task_type, form_fields


def issue(title: str, body: str = "", labels: tuple[str, ...] = ()) -> IssueSnapshot:
    return IssueSnapshot(number=1, title=title, body=body, author="ada", labels=labels)


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (issue("Anything", labels=("AI-Ready", "bug")), "bugfix"),
        (issue("Fix the crash", labels=("Enhancement",)), "feature"),
        (issue("Fix the crash", labels=("tech debt",)), "refactor"),
        (issue("Crash on empty input"), "bugfix"),
        (issue("Totals are wrong"), "bugfix"),
        (issue("Add a --json option"), "feature"),
        (issue("Support IPv6"), "feature"),
        (issue("Refactor the parser"), "refactor"),
        (issue("Simplify the error type"), "refactor"),
        (issue("Parser", "It crashes."), "bugfix"),
        (issue("Parser", "Please implement comments."), "feature"),
        (issue("Parser"), "bugfix"),
        (issue("", ""), "bugfix"),
        (issue("Anything", labels=("kind/feature",)), "feature"),
        (issue("Anything", labels=("Type: Bug \U0001f41b",)), "bugfix"),
        (issue("Add x", labels=("technical-debt",)), "refactor"),
        (issue("Anything", labels=("debugger", "bug-bounty")), "bugfix"),
        (issue("feat(cli): fix for all"), "feature"),
        (issue("fix: add the missing flag"), "bugfix"),
        (issue("[Feature request]: errors in colour"), "feature"),
        (issue("refactor!: split errors"), "refactor"),
        (issue("Add an error page"), "feature"),
        (issue("Change prefix of addresses"), "bugfix"),
        (issue("Page", "### Type\n\nFeature request\n\n### What\n\nIt crashes"), "feature"),
        (issue("Page", "### Type of change\n\n_No response_\n\n### Steps to reproduce\n\n1. Open"), "bugfix"),
        (issue("Page", "### Use case\r\n\r\nI print"), "feature"),
        (issue("Page", "### Steps to reproduce\n\n_No response_\n\n### Idea\n\nimplement it"), "feature"),
    ],
)
def test_labels_then_title_then_body(asked: IssueSnapshot, kind: str) -> None:
    assert detect_task_type(asked) == kind


@given(title=st.text(max_size=50), body=st.text(max_size=200), label=st.text(max_size=20))
def test_every_text_has_a_kind(title: str, body: str, label: str) -> None:
    assert detect_task_type(issue(title, body, (label,))) in TaskType


def test_fields_of_a_form() -> None:
    body = "### What happened?\n\nIt broke.\n\nTwice.\n\n### Version\n\n_No response_\n"
    assert form_fields(body) == {"what happened": "It broke.\n\nTwice.", "version": ""}
    assert form_fields("Some text\n\n### Heading\n\nmore") == {}
    assert form_fields("### " * 10_000) is not None
