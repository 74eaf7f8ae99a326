"""What kind of work an issue asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.job import IssueSnapshot, TaskType
from windlass.core.tasks import detect_task_type


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
    ],
)
def test_labels_then_title_then_body(asked: IssueSnapshot, kind: str) -> None:
    assert detect_task_type(asked) == kind


@given(title=st.text(max_size=50), body=st.text(max_size=200), label=st.text(max_size=20))
def test_every_text_has_a_kind(title: str, body: str, label: str) -> None:
    assert detect_task_type(issue(title, body, (label,))) in TaskType
