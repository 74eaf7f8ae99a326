"""What kind of work an issue asks for, from its labels and words."""

from __future__ import annotations

from windlass.core.job import IssueSnapshot, TaskType

_LABELS = {
    "bug": TaskType.BUGFIX,
    "bugfix": TaskType.BUGFIX,
    "type: bug": TaskType.BUGFIX,
    "enhancement": TaskType.FEATURE,
    "feature": TaskType.FEATURE,
    "type: feature": TaskType.FEATURE,
    "refactor": TaskType.REFACTOR,
    "refactoring": TaskType.REFACTOR,
    "tech debt": TaskType.REFACTOR,
}
_WORDS = (
    (TaskType.REFACTOR, ("refactor", "clean up", "restructure", "simplify", "rename", "deduplicate")),
    (
        TaskType.BUGFIX,
        ("bug", "fix", "fails", "broken", "error", "wrong", "crash", "incorrect", "regression", "should "),
    ),
    (TaskType.FEATURE, ("add ", "support", "implement", "allow", "introduce", "new ", "feature")),
)


def detect_task_type(issue: IssueSnapshot) -> TaskType:
    """Labels first, then the title's words, then the body's; a bug fix when nothing says otherwise.

    >>> detect_task_type(IssueSnapshot(number=1, title="Add a --json option", body="", author="ada"))
    <TaskType.FEATURE: 'feature'>
    """
    for label in issue.labels:
        if label.lower() in _LABELS:
            return _LABELS[label.lower()]
    for text in (issue.title.lower(), issue.body[:2000].lower()):
        for task_type, words in _WORDS:
            if any(word in text for word in words):
                return task_type
    return TaskType.BUGFIX
