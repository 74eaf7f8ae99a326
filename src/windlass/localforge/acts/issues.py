"""Opening, changing, labelling and commenting on issues (and on pull requests, where they are the same)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from windlass.localforge.errors import invalid, not_found
from windlass.localforge.hub import Hub
from windlass.localforge.model import Comment, Issue, IssueEvent, Label, Repository
from windlass.localforge.shapes.issues import comment as comment_shape
from windlass.localforge.shapes.issues import issue as issue_shape
from windlass.localforge.shapes.repositories import label as label_shape

BODY_LIMIT: Final = 65_536
TITLE_LIMIT: Final = 256
LABEL_LIMIT: Final = 50
LABELS_PER_ISSUE: Final = 100


def check_text(resource: str, title: str | None, body: str | None) -> None:
    """Raises Denied (422) when a title or body is over GitHub's limits."""
    if title is not None and not title.strip():
        raise invalid(resource, "title", "missing_field")
    if title is not None and len(title) > TITLE_LIMIT:
        raise invalid(resource, "title", "custom", f"title is too long (maximum is {TITLE_LIMIT} characters)")
    if body is not None and len(body) > BODY_LIMIT:
        raise invalid(resource, "body", "custom", f"body is too long (maximum is {BODY_LIMIT} characters)")


def new_issue(hub: Hub, repo: Repository, author: str, title: str, body: str | None) -> Issue:
    """A row with the next number; nobody is told yet."""
    check_text("Issue", title, body)
    now = hub.site.now_ms()
    number = repo.next_number
    repo.next_number += 1
    issue = Issue(
        id=hub.site.world.new_id(),
        number=number,
        author=hub.site.account(author).login,
        title=title,
        body=body,
        created_at_ms=now,
        updated_at_ms=now,
    )
    repo.issues[number] = issue
    return issue


def open_issue(
    hub: Hub,
    repo: Repository,
    author: str,
    title: str,
    body: str | None,
    labels: Sequence[str] = (),
    app_id: int | None = None,
) -> Issue:
    """Open an issue, labelled from the start or not."""
    for name in labels:
        check_label(name)
    issue = new_issue(hub, repo, author, title, body)
    issue.app_id = app_id
    hub.announce_issue(repo, issue, "opened", author)
    add_labels(hub, repo, issue, labels, author)
    return issue


def note(hub: Hub, issue: Issue, event: str, by: str) -> IssueEvent:
    """A line in an issue's history."""
    now = hub.site.now_ms()
    issue.updated_at_ms = now
    line = IssueEvent(id=hub.site.world.new_id(), event=event, actor=hub.site.account(by).login, created_at_ms=now)
    issue.events.append(line)
    hub.site.touch()
    return line


# -------------------------------------------------------------------- changing


def edit_issue(hub: Hub, repo: Repository, issue: Issue, by: str, *, title: str | None, body: str | None) -> None:
    """Change words. What stays as it is raises no event."""
    changes = take_words(hub, issue, by, title=title, body=body)
    if changes:
        hub.announce_issue(repo, issue, "edited", by, changes=changes)


def take_words(hub: Hub, issue: Issue, by: str, *, title: str | None, body: str | None) -> dict[str, dict[str, str]]:
    """Put in a new title and body; what they were, in the shape of an event's `changes`."""
    check_text("PullRequest" if issue.pull else "Issue", title, body)
    changes: dict[str, dict[str, str]] = {}
    if title is not None and title != issue.title:
        changes["title"] = {"from": issue.title}
        note(hub, issue, "renamed", by).rename = (issue.title, title)
        issue.title = title
    if body is not None and body != issue.body:
        changes["body"] = {"from": issue.body or ""}
        issue.body = body
    issue.updated_at_ms = hub.site.now_ms()
    hub.site.touch()
    return changes


def set_state(hub: Hub, repo: Repository, issue: Issue, by: str, state: str, reason: str | None = None) -> None:
    """Close or reopen an issue that is no pull request. What stays as it is raises no event."""
    if turn(hub, issue, by, state, reason):
        hub.announce_issue(repo, issue, "closed" if state == "closed" else "reopened", by)


def turn(hub: Hub, issue: Issue, by: str, state: str, reason: str | None = None) -> bool:
    """Change the state's row and history; whether anything changed."""
    if state == issue.state:
        return False
    issue.state = state
    is_closed = state == "closed"
    issue.state_reason = None if issue.pull else ((reason or "completed") if is_closed else "reopened")
    issue.closed_at_ms = hub.site.now_ms() if is_closed else None
    issue.closed_by = hub.site.account(by).login if is_closed else None
    note(hub, issue, "closed" if is_closed else "reopened", by)
    return True


# -------------------------------------------------------------------- labels


def check_label(name: str) -> None:
    """Raises Denied (422) on a name that is no label's."""
    if not name.strip():
        raise invalid("Label", "name", "missing_field")
    if len(name) > LABEL_LIMIT:
        raise invalid("Label", "name", "custom", f"name is too long (maximum is {LABEL_LIMIT} characters)")


def make_label(hub: Hub, repo: Repository, name: str, color: str = "ededed", description: str | None = None) -> Label:
    """A new label. Raises Denied (422, already_exists)."""
    check_label(name)
    if name.lower() in repo.labels:
        raise invalid("Label", "name", "already_exists")
    label = Label(id=hub.site.world.new_id(), name=name, color=color, description=description)
    repo.labels[name.lower()] = label
    hub.site.touch()
    return label


def add_labels(hub: Hub, repo: Repository, issue: Issue, names: Sequence[str], by: str) -> None:
    """Put labels on; those that are there stay and raise no event; unknown ones are made."""
    for name in names:
        check_label(name)
    present = {name.lower() for name in issue.labels}
    fresh = [name for name in dict.fromkeys(names) if name.lower() not in present]
    if len(issue.labels) + len(fresh) > LABELS_PER_ISSUE:
        raise invalid("Issue", "labels", "custom", f"an issue has at most {LABELS_PER_ISSUE} labels")
    for name in fresh:
        label = repo.labels.get(name.lower()) or make_label(hub, repo, name)
        if label.name not in issue.labels:
            issue.labels.append(label.name)
            _labelled(hub, repo, issue, label, "labeled", by)


def remove_label(hub: Hub, repo: Repository, issue: Issue, name: str, by: str) -> None:
    """Take a label off. Raises Denied (404) when it is not on."""
    label = repo.labels.get(name.lower())
    if label is None or label.name not in issue.labels:
        raise not_found()
    issue.labels.remove(label.name)
    _labelled(hub, repo, issue, label, "unlabeled", by)


def _labelled(hub: Hub, repo: Repository, issue: Issue, label: Label, action: str, by: str) -> None:
    line = note(hub, issue, action, by)
    line.label, line.label_color = label.name, label.color
    shape = label_shape(hub.site, repo, label)
    if issue.pull is None:
        hub.announce_issue(repo, issue, action, by, label=shape)
    else:
        hub.site.spawn(hub.announce_pull(repo, issue, action, by, label=shape))


# -------------------------------------------------------------------- comments


def add_comment(hub: Hub, repo: Repository, issue: Issue, author: str, body: str, app_id: int | None = None) -> Comment:
    """Say something."""
    if not body.strip():
        raise invalid("IssueComment", "body", "missing_field")
    check_text("IssueComment", None, body)
    now = hub.site.now_ms()
    comment = Comment(
        id=hub.site.world.new_id(),
        issue_number=issue.number,
        author=hub.site.account(author).login,
        body=body,
        created_at_ms=now,
        updated_at_ms=now,
        app_id=app_id,
    )
    repo.comments[comment.id] = comment
    issue.comments.append(comment.id)
    issue.updated_at_ms = now
    _commented(hub, repo, comment, "created", author)
    return comment


def edit_comment(hub: Hub, repo: Repository, comment: Comment, by: str, body: str) -> None:
    """Say it differently."""
    if not body.strip():
        raise invalid("IssueComment", "body", "missing_field")
    check_text("IssueComment", None, body)
    changes = {"body": {"from": comment.body}}
    comment.body, comment.updated_at_ms = body, hub.site.now_ms()
    _commented(hub, repo, comment, "edited", by, changes)


def delete_comment(hub: Hub, repo: Repository, comment: Comment, by: str) -> None:
    """Take it back."""
    _commented(hub, repo, comment, "deleted", by)
    del repo.comments[comment.id]
    repo.issues[comment.issue_number].comments.remove(comment.id)


def _commented(
    hub: Hub, repo: Repository, comment: Comment, action: str, by: str, changes: dict[str, dict[str, str]] | None = None
) -> None:
    content = {
        "issue": issue_shape(hub.site, repo, repo.issues[comment.issue_number]),
        "comment": comment_shape(hub.site, repo, comment),
    }
    hub.announce(repo, "issue_comment", action, by, content | ({"changes": changes} if changes else {}))
