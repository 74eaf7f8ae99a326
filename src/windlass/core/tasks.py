"""What kind of work an issue asks for, from its labels, its form's fields and its words.

Rule: what somebody chose (a label, a field of an issue form) comes before what can be read out of words. Refuses to
leave it open: an issue that says nothing is a bug fix.
"""

from __future__ import annotations

import re

from windlass.core.job import IssueSnapshot, TaskType

_NAMES = {
    **dict.fromkeys(
        ("bug", "bugfix", "bug fix", "bug report", "defect", "fix", "regression", "crash", "hotfix"), TaskType.BUGFIX
    ),
    **dict.fromkeys(
        ("enhancement", "feature", "feature request", "feat", "improvement", "new feature", "story"), TaskType.FEATURE
    ),
    **dict.fromkeys(
        (
            "refactor",
            "refactoring",
            "tech debt",
            "technical debt",
            "debt",
            "cleanup",
            "clean up",
            "chore",
            "maintenance",
        ),
        TaskType.REFACTOR,
    ),
}
# Fields of issue forms whose answer names the kind, and fields that only one kind of form has.
_KIND_FIELDS = frozenset(
    {"type", "kind", "category", "issue type", "type of issue", "type of change", "what kind of work is this"}
)
_TELLING_FIELDS = (
    (TaskType.BUGFIX, ("reproduce", "actual behavio", "current behavio", "what happened", "describe the bug")),
    (TaskType.FEATURE, ("solution you'd like", "feature description", "use case", "user story", "proposed feature")),
    (TaskType.REFACTOR, ("what should be refactored", "code smell", "technical debt")),
)
_FIRST_WORDS = {
    **dict.fromkeys(("fix", "fixes", "repair", "correct", "resolve", "prevent", "stop"), TaskType.BUGFIX),
    **dict.fromkeys(
        ("add", "support", "implement", "allow", "introduce", "provide", "create", "enable", "feat", "feature"),
        TaskType.FEATURE,
    ),
    **dict.fromkeys(
        (
            "refactor",
            "restructure",
            "simplify",
            "rename",
            "deduplicate",
            "extract",
            "move",
            "split",
            "reorganise",
            "reorganize",
        ),
        TaskType.REFACTOR,
    ),
}
_WORDS = (
    (TaskType.REFACTOR, r"refactor\w*|clean up|restructur\w*|deduplicat\w*|tech(?:nical)? debt"),
    (
        TaskType.BUGFIX,
        r"bugs?|fix\w*|fail\w*|broken|breaks?|errors?|wrong|crash\w*|incorrect\w*|regression|should(?:n't| not)?"
        r"|exception|traceback|hangs?",
    ),
    (TaskType.FEATURE, r"adds?|support|implement|allow|introduce|new|feature|would like|ability to"),
    (TaskType.REFACTOR, r"simplify|rename|extract"),
)
_PATTERNS = tuple((kind, re.compile(rf"\b(?:{words})\b")) for kind, words in _WORDS)
_PREFIX = re.compile(r"^(?:type|kind|category|issue|t|c)\s*[:/_-]+\s*")
_NOT_WORDS = re.compile(r"[^a-z' ]+")
_FIELD = re.compile(r"^###[ \t]+(\S[^\n]*?)[ \t]*\n+(.*?)(?=\n###[ \t]|\Z)", re.MULTILINE | re.DOTALL)
_NO_ANSWER = "_no response_"
_LONGEST_BODY = 20_000


def detect_task_type(issue: IssueSnapshot) -> TaskType:
    """Labels first, then form fields, then the title's words, then the body's; a bug fix when nothing says otherwise.

    >>> detect_task_type(IssueSnapshot(number=1, title="Add a --json option", body="", author="ada"))
    <TaskType.FEATURE: 'feature'>
    """
    fields = form_fields(issue.body)
    return (
        next((kind for label in issue.labels if (kind := _named(label))), None)
        or _by_fields(fields)
        or _by_title(issue.title.lower())
        or _by_words(issue.body[:2000].lower())
        or TaskType.BUGFIX
    )


def form_fields(body: str) -> dict[str, str]:
    """Field → answer of an issue form, names in lower case; {} for a body that no form made.

    GitHub renders a form's answers as `### Field`, a blank line, the answer (`_No response_` for none).

    >>> form_fields("### Type\\n\\nFeature\\n\\n### Notes\\n\\n_No response_")
    {'type': 'Feature', 'notes': ''}
    """
    text = body[:_LONGEST_BODY].replace("\r\n", "\n")
    if not text.lstrip().startswith("### "):
        return {}
    found = {}
    for name, answer in _FIELD.findall(text.lstrip()):
        given = answer.strip()
        found[name.strip().strip("?:*").lower()] = "" if given.lower() == _NO_ANSWER else given
    return found


def _by_fields(fields: dict[str, str]) -> TaskType | None:
    for name, answer in fields.items():
        if name in _KIND_FIELDS and (kind := _named(answer.splitlines()[0] if answer else "")):
            return kind
    for kind, telling in _TELLING_FIELDS:
        if any(words in name and answer for name, answer in fields.items() for words in telling):
            return kind
    return None


def _by_title(title: str) -> TaskType | None:
    words = re.findall(r"[a-z']+", title)
    prefix = re.match(r"\s*\[?\s*([a-z ]+?)\s*(?:\([^)]*\))?!?\s*[\]:]", title)
    if prefix and (kind := _named(prefix[1])):
        return kind
    return (_FIRST_WORDS.get(words[0]) if words else None) or _by_words(title)


def _by_words(text: str) -> TaskType | None:
    return next((kind for kind, pattern in _PATTERNS if pattern.search(text)), None)


def _named(label: str) -> TaskType | None:
    """The kind that a label or an answer names, whatever prefix, emoji or case it comes with."""
    plain = _PREFIX.sub("", label.strip().lower()[:100].lstrip("\U0001f41b\u2728\u267b\ufe0f "))
    words = " ".join(_NOT_WORDS.sub(" ", plain).split())
    return _NAMES.get(words)
