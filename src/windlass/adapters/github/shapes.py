"""Turns the forge's JSON into our own words.

Pure. An answer that lacks what we decide upon is refused as unreadable; text is handed on as the hostile text it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windlass.adapters.github.answers import unreadable
from windlass.adapters.github.payload import claim, dig, instant_ms, name, objects, sha, text, whole
from windlass.core.events import Check, Review
from windlass.core.job import IssueSnapshot
from windlass.core.prompt import Comment
from windlass.ports import IssueInfo, Labelling, PullInfo

GHOST = "ghost"
ROLES = ("admin", "maintain", "write", "triage", "read")
RUN_STATUSES = frozenset({"queued", "in_progress", "completed"})
STATUS_CONCLUSIONS = {"success": "success", "failure": "failure", "error": "failure"}
MAX_SUMMARY_CHARS = 2_000
ACTIONS_APP = "github-actions"


def read_issue(data: Any) -> IssueInfo:
    """One issue."""
    number = whole(data, "number")
    if number <= 0:
        raise unreadable("GET issue")
    snapshot = IssueSnapshot(
        number=number,
        title=text(data, "title"),
        body=text(data, "body"),
        author=name(data, "user", "login") or GHOST,
        url=text(data, "html_url"),
        labels=read_labels(data),
    )
    is_pull = dig(data, "pull_request") is not None
    return IssueInfo(snapshot=snapshot, state=name(data, "state") or "open", is_pull_request=is_pull)


def read_labels(data: Any) -> tuple[str, ...]:
    """Names of the labels on an issue or pull request; GitHub also allows bare strings there."""
    listed = dig(data, "labels")
    items = listed if isinstance(listed, list) else []
    names = (name({"name": item}, "name") if isinstance(item, str) else name(item, "name") for item in items)
    return tuple(label for label in names if label)


def read_labelling(events: list[dict[str, Any]], label: str) -> Labelling | None:
    """The last 'labeled' of `label` that no 'unlabeled' follows. Labels do not differ by case on GitHub."""
    found: dict[str, Any] | None = None
    for event in sorted(events, key=lambda item: whole(item, "id")):
        if name(event, "label", "name").casefold() != label.casefold():
            continue
        if name(event, "event") == "labeled":
            found = event
        elif name(event, "event") == "unlabeled":
            found = None
    if found is None:
        return None
    return Labelling(
        id=str(whole(found, "id")),
        by=name(found, "actor", "login") or GHOST,
        by_is_bot=not is_human(dig(found, "actor")),
        at_ms=instant_ms(found, "created_at"),
    )


def read_comment(data: Any, permissions: Mapping[str, str]) -> Comment:
    """A comment on an issue. `permissions` by login: who is not in it has none."""
    author = name(data, "user", "login") or GHOST
    created_at_ms = instant_ms(data, "created_at")
    return Comment(
        author=author,
        is_bot=not is_human(dig(data, "user")),
        permission=permissions.get(author, "none"),
        body=text(data, "body"),
        created_at_ms=created_at_ms,
        edited_at_ms=max(created_at_ms, instant_ms(data, "updated_at")),
    )


def is_human(user: Any) -> bool:
    """Whether an account is a person's; a deleted one is nobody's."""
    return name(user, "type") == "User" and not name(user, "login").endswith("[bot]")


def read_pull(data: Any) -> PullInfo:
    """One pull request, from a list or by itself."""
    head_sha = sha(data, "head", "sha")
    number = whole(data, "number")
    if number <= 0 or not head_sha:
        raise unreadable("GET pull request")
    return PullInfo(
        number=number,
        url=text(data, "html_url"),
        state=name(data, "state"),
        is_merged=bool(claim(data, "merged")) or instant_ms(data, "merged_at") > 0,
        head_sha=head_sha,
        head_ref=name(data, "head", "ref"),
        base_ref=name(data, "base", "ref"),
        title=text(data, "title"),
        body=text(data, "body"),
        author=name(data, "user", "login") or GHOST,
        labels=read_labels(data),
    )


def read_role(data: Any) -> str:
    """What somebody may do: `role_name` when it is one of GitHub's own, else the coarse `permission`."""
    role = name(data, "role_name")
    coarse = name(data, "permission")
    if role in ROLES:
        return role
    return coarse if coarse in ROLES else "none"


def read_check_run(data: Any) -> Check:
    """A check run. Waiting, requested and pending runs are queued."""
    status = name(data, "status")
    summary = "\n".join(part for part in (text(data, "output", "title"), text(data, "output", "summary")) if part)
    return Check(
        name=text(data, "name"),
        source="check_run",
        status=status if status in RUN_STATUSES else "queued",
        conclusion=name(data, "conclusion") if status == "completed" else "",
        app=name(data, "app", "slug"),
        id=whole(data, "id"),
        url=text(data, "html_url"),
        summary=summary[:MAX_SUMMARY_CHARS],
    )


def read_statuses(listed: list[dict[str, Any]]) -> list[Check]:
    """Commit statuses, the newest of each context."""
    newest: dict[str, dict[str, Any]] = {}
    for item in listed:
        context = text(item, "context")
        if context not in newest or whole(item, "id") > whole(newest[context], "id"):
            newest[context] = item
    return [_read_status(item) for item in newest.values()]


def _read_status(data: Any) -> Check:
    conclusion = STATUS_CONCLUSIONS.get(name(data, "state"), "")
    return Check(
        name=text(data, "context"),
        source="status",
        status="completed" if conclusion else "in_progress",
        conclusion=conclusion,
        id=whole(data, "id"),
        url=text(data, "target_url"),
        summary=text(data, "description")[:MAX_SUMMARY_CHARS],
    )


def read_review(data: Any, permissions: dict[str, str]) -> Review:
    """One review; `permissions` by login, of now."""
    reviewer = name(data, "user", "login") or GHOST
    return Review(
        id=whole(data, "id"),
        reviewer=reviewer,
        is_human=is_human(dig(data, "user")),
        state=name(data, "state").lower(),
        commit_sha=sha(data, "commit_id"),
        submitted_at_ms=instant_ms(data, "submitted_at"),
        permission=permissions.get(reviewer, ""),
        body=text(data, "body"),
    )


def read_committers(commits: list[dict[str, Any]]) -> tuple[str, ...]:
    """Logins of authors and committers; names and e-mail addresses of those whom the forge does not know."""
    found: list[str] = []
    for item in commits:
        for role in ("author", "committer"):
            login = name(item, role, "login")
            found += [login] if login else [text(item, "commit", role, "name"), text(item, "commit", role, "email")]
    return tuple(person for person in dict.fromkeys(found) if person)


def read_rule_contexts(rules: list[dict[str, Any]]) -> list[str]:
    """Contexts that a branch's rulesets require."""
    wanted = [rule for rule in rules if name(rule, "type") == "required_status_checks"]
    return [text(c, "context") for rule in wanted for c in objects(rule, "parameters", "required_status_checks")]


def read_protected_contexts(data: Any) -> list[str]:
    """Contexts that classic branch protection requires."""
    listed = dig(data, "contexts")
    plain = [item for item in listed if isinstance(item, str)] if isinstance(listed, list) else []
    return plain + [text(check, "context") for check in objects(data, "checks")]
