"""The strangers' part of a prompt: issue, comments, feedback, findings and logs, reduced and cut to the budget.

Rule: what people wrote goes through the Markdown reduction, what machines printed through the reduction of characters;
everything taken out or cut is flagged with its source. Pure computing: the caller runs it off the event loop.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from windlass.adapters.prompts.markdown import reduced
from windlass.core.prompt import PromptRequest, cut, flagged
from windlass.core.records import digest
from windlass.core.visible import seen

_LONGEST_TITLE = 500
_LONGEST_ISSUE = 60_000
_LONGEST_COMMENT = 8_000
_LONGEST_LOG = 24_000
_LONGEST_CHANGE = 60_000
_MOST_COMMENTS = 100


@dataclass(slots=True)
class Room:
    """Characters that are left. Every text takes from it, with what its fence costs."""

    left: int
    flags: Counter[str] = field(default_factory=Counter)

    def take(self, source: str, text: str, most: int, *, keep_end: bool = False) -> str:
        """As much of a text as fits, at most `most`; '' when nothing does."""
        limit = min(most, self.left - 100)
        if not text or limit < 1:
            self.flags[f"{source}:cut"] += bool(text)
            return ""
        taken = cut(text, limit, keep_end=keep_end)
        self.flags[f"{source}:cut"] += taken is not text
        self.left -= len(taken) + 100
        return taken

    def note(self, source: str, counts: dict[str, int]) -> None:
        """Remember what was taken out of a source."""
        for kind, number in counts.items():
            self.flags[f"{source}:{kind}"] += number

    def flagged(self) -> tuple[str, ...]:
        """`source:kind=count`, sorted."""
        sources: dict[str, dict[str, int]] = {}
        for name, number in self.flags.items():
            source, _, kind = name.rpartition(":")
            sources.setdefault(source, {})[kind] = number
        return tuple(flag for source in sorted(sources) for flag in flagged(source, sources[source]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Strangers:
    """Reduced texts. `issue` is title, blank line, body; `search` is what the repository is searched with."""

    issue: str
    comments: tuple[str, ...]
    comments_used: tuple[tuple[str, int, str], ...]
    feedback: str
    change: str
    findings: str
    logs: tuple[str, ...]
    search: tuple[str, str]


def reduce_all(request: PromptRequest, room: Room) -> Strangers:
    """Everything that strangers said, in the order of who is needed most; takes from `room`."""
    total = room.left
    title = _one_line("title", request.issue.title, room)
    body = _people("issue", request.issue.body, room) or "(the issue has no text: its title is all there is)"
    issue = room.take("issue", f"{cut(title, _LONGEST_TITLE)}\n\n{body}", min(_LONGEST_ISSUE, total * 2 // 5))
    feedback = room.take("feedback", _people("feedback", request.feedback, room), total // 4)
    change = room.take("change", _machines("change", request.change, room), min(_LONGEST_CHANGE, total * 3 // 10))
    findings = room.take("findings", _findings(request, room), total // 6)
    logs = _logs(request, room, total * 7 // 20)
    comments, used = _comments(request, room, total // 6)
    told = "\n".join([body, feedback, *logs, *comments])
    return Strangers(
        issue=issue,
        comments=comments,
        comments_used=used,
        feedback=feedback,
        change=change,
        findings=findings,
        logs=logs,
        search=(title, told),
    )


def _people(source: str, text: str, room: Room) -> str:
    found = reduced(text)
    room.note(source, dict(found.removed))
    return found.text


def _machines(source: str, text: str, room: Room) -> str:
    found = seen(text, is_code=True)
    room.note(source, dict(found.removed))
    return found.text.strip("\n")


def _one_line(source: str, text: str, room: Room) -> str:
    """A title or a name: no Markdown, one line."""
    found = seen(text[:10_000])
    room.note(source, dict(found.removed))
    return " ".join(found.text.split())


def _comments(
    request: PromptRequest, room: Room, most: int
) -> tuple[tuple[str, ...], tuple[tuple[str, int, str], ...]]:
    """The newest that fit, told in the order they were written."""
    texts: list[str] = []
    used: list[tuple[str, int, str]] = []
    ordered = sorted(request.comments, key=lambda one: one.created_at_ms)
    room.flags["comments:cut"] += len(ordered[:-_MOST_COMMENTS])
    for comment in reversed(ordered[-_MOST_COMMENTS:]):
        head = f"by {_one_line('comments', comment.author, room)[:80]}"
        text = f"{head}\n\n{_people('comments', comment.body, room)}"
        limit = min(_LONGEST_COMMENT, most - sum(len(one) for one in texts))
        taken = room.take("comments", text, limit)
        if taken:
            texts.append(taken)
            used.append((comment.author, comment.created_at_ms, digest(comment.body.encode("utf-8", "replace"))))
    return tuple(reversed(texts)), tuple(reversed(used))


def _findings(request: PromptRequest, room: Room) -> str:
    lines = []
    for one in request.findings:
        place = _one_line("findings", one.path, room) + (f":{one.line}" if one.line > 0 else "")
        severity = _one_line("findings", one.severity, room)[:20]
        lines.append(f"- [{severity}] {place}: {_people('findings', one.text, room)}")
    return "\n".join(lines)


def _logs(request: PromptRequest, room: Room, most: int) -> tuple[str, ...]:
    """Each log's end, the same share for each; its name is a stranger's word too."""
    if not request.logs:
        return ()
    share = min(_LONGEST_LOG, most // len(request.logs))
    found = []
    for name, text in request.logs:
        head = f"check: {_one_line('logs', name, room)[:80]}\n"
        shown = _machines("logs", cut(text, 4 * _LONGEST_LOG, keep_end=True), room)
        taken = room.take("logs", shown, share - len(head), keep_end=True)
        found.append(head + taken)
    return tuple(found)
