"""Issues, their comments, labels and history."""

from __future__ import annotations

from windlass.localforge.acts import issues as acts
from windlass.localforge.api.calls import Call, Reply, operation
from windlass.localforge.errors import forbidden, invalid, not_found
from windlass.localforge.model import Comment, Issue
from windlass.localforge.shapes import issues as shapes
from windlass.localforge.shapes.repositories import label as label_shape

_READ = ["issues:read", "pull_requests:read"]
_WRITE = ["issues:write", "pull_requests:write"]
_ROOT = "/repos/{owner}/{repo}"
_ONE = _ROOT + "/issues/{issue_number}"


@operation(f"GET {_ROOT}/issues", app=_READ, user="read")
async def list_issues(call: Call) -> Reply:
    """Issues and pull requests, newest first unless asked otherwise; `labels` must all be on."""
    state = call.query.get("state", "open")
    if state not in ("open", "closed", "all"):
        raise invalid("Issue", "state")
    wanted = {name.lower() for name in call.query.get("labels", "").split(",") if name}
    found = [
        issue
        for issue in call.repo.issues.values()
        if (state == "all" or issue.state == state) and wanted <= {name.lower() for name in issue.labels}
    ]
    by_update = call.query.get("sort") == "updated"
    is_descending = call.query.get("direction", "desc") != "asc"
    found.sort(key=lambda issue: (by_update and issue.updated_at_ms, issue.number), reverse=is_descending)
    return call.listing(found, lambda issue: shapes.full_issue(call.site, call.repo, issue))


@operation(f"POST {_ROOT}/issues", app=["issues:write"], user="read")
async def create_issue(call: Call) -> Reply:
    """Open an issue; labels only by those who may label."""
    title, body = call.needed_text("title", "Issue"), call.text("body", "Issue")
    labels = call.texts("labels", call.data.get("labels") or [])
    if not call.may("issues:write", user="triage"):
        labels = []
    issue = acts.open_issue(call.hub, call.repo, call.actor.login, title, body, labels, call.actor.app_id)
    return Reply(status=201, body=shapes.full_issue(call.site, call.repo, issue))


@operation(f"GET {_ONE}", app=_READ, user="read")
async def get_issue(call: Call) -> Reply:
    """One issue or pull request."""
    return Reply(body=shapes.full_issue(call.site, call.repo, call.issue()))


@operation(f"PATCH {_ONE}", app=_WRITE, user="read")
async def edit_issue(call: Call) -> Reply:
    """Words, state and labels: by the author or those who triage."""
    issue, by = call.issue(), call.actor.login
    _own_or_triage(call, issue.author)
    state = call.text("state", "Issue")
    if state not in (None, "open", "closed"):
        raise invalid("Issue", "state")
    labels = None if call.data.get("labels") is None else call.texts("labels", call.data["labels"])
    title, body = call.text("title", "Issue"), call.text("body", "Issue")
    acts.edit_issue(call.hub, call.repo, issue, by, title=title, body=body)
    if labels is not None:
        _set_labels(call, issue, labels)
    if state is not None and issue.pull is None:
        acts.set_state(call.hub, call.repo, issue, by, state, call.text("state_reason", "Issue"))
    return Reply(body=shapes.full_issue(call.site, call.repo, issue))


def _own_or_triage(call: Call, author: str) -> None:
    if call.actor.login.lower() != author.lower() and not call.may(*_WRITE, user="triage"):
        raise forbidden("Must have admin rights to Repository.")


@operation(f"GET {_ONE}/events", app=_READ, user="read")
async def list_events(call: Call) -> Reply:
    """An issue's history, oldest first."""
    return call.listing(call.issue().events, lambda line: shapes.event(call.site, call.repo, line))


# -------------------------------------------------------------------- comments


@operation(f"GET {_ONE}/comments", app=_READ, user="read")
async def list_comments(call: Call) -> Reply:
    """Comments, oldest first."""
    found = [call.repo.comments[number] for number in call.issue().comments]
    return call.listing(found, lambda comment: shapes.comment(call.site, call.repo, comment))


@operation(f"POST {_ONE}/comments", app=_WRITE, user="read")
async def create_comment(call: Call) -> Reply:
    """Say something."""
    issue, body = call.issue(), call.needed_text("body", "IssueComment")
    comment = acts.add_comment(call.hub, call.repo, issue, call.actor.login, body, call.actor.app_id)
    return Reply(status=201, body=shapes.comment(call.site, call.repo, comment))


def _comment(call: Call) -> Comment:
    found = call.repo.comments.get(call.number("comment_id"))
    if found is None:
        raise not_found()
    return found


def _own_comment(call: Call) -> Comment:
    found = _comment(call)
    if call.actor.login.lower() != found.author.lower() and not call.may(*_WRITE, user="write"):
        raise forbidden("Must have admin rights to Repository.")
    return found


@operation(f"GET {_ROOT}/issues/comments/{{comment_id}}", app=_READ, user="read")
async def get_comment(call: Call) -> Reply:
    """One comment."""
    return Reply(body=shapes.comment(call.site, call.repo, _comment(call)))


@operation(f"PATCH {_ROOT}/issues/comments/{{comment_id}}", app=_WRITE, user="read")
async def edit_comment(call: Call) -> Reply:
    """Say it differently."""
    found, body = _own_comment(call), call.needed_text("body", "IssueComment")
    acts.edit_comment(call.hub, call.repo, found, call.actor.login, body)
    return Reply(body=shapes.comment(call.site, call.repo, found))


@operation(f"DELETE {_ROOT}/issues/comments/{{comment_id}}", app=_WRITE, user="read")
async def delete_comment(call: Call) -> Reply:
    """Take it back."""
    acts.delete_comment(call.hub, call.repo, _own_comment(call), call.actor.login)
    return Reply(status=204)


# -------------------------------------------------------------------- labels


def _labels_of(call: Call, issue: Issue) -> Reply:
    return call.listing(shapes.labels(call.site, call.repo, issue), lambda shape: shape)


@operation(f"GET {_ONE}/labels", app=_READ, user="read")
async def list_issue_labels(call: Call) -> Reply:
    """The labels that are on."""
    return _labels_of(call, call.issue())


def _names(call: Call) -> list[str]:
    return call.texts("labels", call.data.get("labels", call.data.get("")))


@operation(f"POST {_ONE}/labels", app=_WRITE, user="triage")
async def add_issue_labels(call: Call) -> Reply:
    """Put labels on; the reply lists all that are on."""
    issue = call.issue()
    acts.add_labels(call.hub, call.repo, issue, _names(call), call.actor.login)
    return _labels_of(call, issue)


@operation(f"PUT {_ONE}/labels", app=_WRITE, user="triage")
async def set_issue_labels(call: Call) -> Reply:
    """Have exactly these labels on."""
    issue = call.issue()
    _set_labels(call, issue, _names(call))
    return _labels_of(call, issue)


def _set_labels(call: Call, issue: Issue, names: list[str]) -> None:
    kept = {name.lower() for name in names}
    for name in [name for name in issue.labels if name.lower() not in kept]:
        acts.remove_label(call.hub, call.repo, issue, name, call.actor.login)
    acts.add_labels(call.hub, call.repo, issue, names, call.actor.login)


@operation(f"DELETE {_ONE}/labels/{{name}}", app=_WRITE, user="triage")
async def remove_issue_label(call: Call) -> Reply:
    """Take one label off."""
    issue = call.issue()
    acts.remove_label(call.hub, call.repo, issue, call.params["name"], call.actor.login)
    return _labels_of(call, issue)


@operation(f"GET {_ROOT}/labels", app=_READ, user="read")
async def list_labels(call: Call) -> Reply:
    """The repository's labels."""
    return call.listing(list(call.repo.labels.values()), lambda found: label_shape(call.site, call.repo, found))


@operation(f"POST {_ROOT}/labels", app=_WRITE, user="triage")
async def create_label(call: Call) -> Reply:
    """A new label."""
    color = call.text("color", "Label") or "ededed"
    if len(color) != 6 or any(char not in "0123456789abcdefABCDEF" for char in color):
        raise invalid("Label", "color")
    name, description = call.needed_text("name", "Label"), call.text("description", "Label")
    if description is not None and len(description) > 100:
        raise invalid("Label", "description", "custom", "description is too long (maximum is 100 characters)")
    found = acts.make_label(call.hub, call.repo, name, color, description)
    return Reply(status=201, body=label_shape(call.site, call.repo, found))


@operation(f"GET {_ROOT}/labels/{{name}}", app=_READ, user="read")
async def get_label(call: Call) -> Reply:
    """One label."""
    found = call.repo.labels.get(call.params["name"].lower())
    if found is None:
        raise not_found()
    return Reply(body=label_shape(call.site, call.repo, found))
