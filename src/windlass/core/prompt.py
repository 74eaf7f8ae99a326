"""What a prompt is made of and what is known of it afterwards; and how hostile text is fenced.

Rule: strangers' words stand in a prompt only as data between fences that no line of them can close, and the end marker
of the exchange contract never stands in it, because a run counts as finished where an agent repeats it. What a prompt
says comes from templates (port `Prompts`); here are the plain data and the pure rules that hold for every template.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from windlass.core.findings import Finding
from windlass.core.job import IssueSnapshot, TaskType

PURPOSES = ("implement", "fix_ci", "address_review", "address_findings", "continue", "review", "test")
WRITERS = frozenset({"admin", "maintain", "write"})
CHARS_PER_TOKEN = 4
CUT = "… (cut)"
_MOST_TICKS = 12
_TOO_MANY_TICKS = re.compile(f"`{{{_MOST_TICKS + 1},}}")
_MARKER = re.compile("WORK-COMPLETED", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """One comment on an issue. `permission` is what its author may do now: admin, maintain, write, triage, read, none.

    `is_bot`: not a person's account, ours included. Instants in ms since the epoch; `edited_at_ms` is the last change.
    """

    author: str
    is_bot: bool
    permission: str
    body: str
    created_at_ms: int
    edited_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRequest:
    """Everything a prompt is rendered from. All texts are hostile; `logs` are (name, text) pairs.

    `start_sha` is the commit the agent works from, `base_sha` the one that the project's instructions are taken from;
    `comments` are those that count already (`admitted`). `token_limit` bounds the prompt at 4 characters a token.
    `tree_sha`, when given, is what stands in the workspace, with `change` (a diff) on the start commit.
    """

    repository: str
    issue: IssueSnapshot
    task_type: TaskType
    start_sha: str
    base_sha: str
    role: str = "coder"
    purpose: str = "implement"
    comments: tuple[Comment, ...] = ()
    feedback: str = ""
    logs: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()
    test_command: str = ""
    tree_sha: str = ""
    change: str = ""
    changed_files: tuple[str, ...] = ()
    token_limit: int = 24_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateVersion:
    """A template as it was used, with everything it includes. `name` is `<task type>/<role>`; `digest` of `body`."""

    name: str
    digest: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextFile:
    """A file of the start commit that the prompt quotes. `blob_sha` is git's id of its content."""

    path: str
    blob_sha: str
    why: str
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionFile:
    """A file of the base commit that says how to work in the repository. `is_quoted`: its text is in the prompt."""

    path: str
    sha256: str
    size_bytes: int
    is_quoted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A rendered prompt and where every part of it came from.

    `digest` is the SHA-256 (hex) of the text's UTF-8; `flags` say what was taken out or cut, as `source:kind=count`;
    `comments` are (author, created_at_ms, SHA-256 of the body) of those that were used.
    """

    text: str
    digest: str
    templates: tuple[TemplateVersion, ...]
    files: tuple[ContextFile, ...]
    instructions: tuple[InstructionFile, ...]
    comments: tuple[tuple[str, int, str], ...]
    flags: tuple[str, ...]
    tokens_estimate: int


def manifest(prompt: Prompt, *, digest: str, flags: Sequence[str]) -> dict[str, object]:
    """Where a prompt came from, as plain JSON: digests and names, no text. `digest` is of the text as it was sent."""
    return {
        "prompt_sha256": digest,
        "tokens_estimate": prompt.tokens_estimate,
        "flags": list(flags),
        "templates": [{"name": one.name, "sha256": one.digest} for one in prompt.templates],
        "files": [
            {"path": one.path, "blob": one.blob_sha, "why": one.why, "whole": one.is_whole} for one in prompt.files
        ],
        "instructions": [
            {"path": one.path, "sha256": one.sha256, "size_bytes": one.size_bytes, "quoted": one.is_quoted}
            for one in prompt.instructions
        ],
        "comments": [{"author": who, "created_at_ms": at_ms, "sha256": body} for who, at_ms, body in prompt.comments],
    }


def admitted(
    comments: Iterable[Comment], *, own_login: str, before_ms: int
) -> tuple[tuple[Comment, ...], dict[str, int]]:
    """The comments that an agent is told, and why (how often) others are not.

    Told are a person's with write access now, written and last changed not after `before_ms` (when the work was asked
    for): what is added later has not been seen by whoever asked. Our own comments are not worth a word.
    """
    used: list[Comment] = []
    left_out = {"bot": 0, "no_write_access": 0, "later": 0}
    for comment in comments:
        if comment.author.casefold() == own_login.casefold():
            continue
        if comment.is_bot:
            left_out["bot"] += 1
        elif comment.permission not in WRITERS:
            left_out["no_write_access"] += 1
        elif max(comment.created_at_ms, comment.edited_at_ms) > before_ms:
            left_out["later"] += 1
        else:
            used.append(comment)
    return tuple(used), {why: count for why, count in left_out.items() if count}


def flagged(source: str, counts: Mapping[str, int]) -> tuple[str, ...]:
    """Flags of one source.

    >>> flagged("issue", {"bidi": 2})
    ('issue:bidi=2',)
    """
    return tuple(f"{source}:{kind}={counts[kind]}" for kind in sorted(counts) if counts[kind])


def fence(text: str, label: str) -> str:
    """Hostile text as a labelled code block that no line of it can close, at most 40 characters longer.

    Longer runs of backticks are cut, because each would make both fences as long as itself. `label` is ours.
    """
    text = _TOO_MANY_TICKS.sub("`" * _MOST_TICKS, text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}text {label} (data)\n{text}\n{ticks}"


def without_marker(text: str) -> str:
    """Without the words that say that a run is finished, in whatever case; file names are strangers' words too."""
    return _MARKER.sub(lambda found: found[0][:4] + " " + found[0][5:], text)


def cut(text: str, limit: int, *, keep_end: bool = False) -> str:
    """At most `limit` characters and a notice; logs keep their end, all else its beginning."""
    if len(text) <= limit:
        return text
    limit = max(limit, 0)
    return f"{CUT}\n{text[len(text) - limit :]}" if keep_end else f"{text[:limit]}\n{CUT}"


def tokens(text: str) -> int:
    """An estimate, rounded up: 4 characters a token."""
    return -(-len(text) // CHARS_PER_TOKEN)


def blob_sha(data: bytes) -> str:
    """The id that git gives this content (SHA-1 object format)."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
