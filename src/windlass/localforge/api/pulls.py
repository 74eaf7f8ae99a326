"""Pull requests, their commits, files, reviews and merges."""

from __future__ import annotations

from windlass.localforge.acts import pulls as acts
from windlass.localforge.acts import reviews
from windlass.localforge.acts.refs import merge_now
from windlass.localforge.api.calls import Call, Reply, operation
from windlass.localforge.errors import forbidden, invalid, not_found, unprocessable
from windlass.localforge.model import Issue, Review
from windlass.localforge.shapes import pulls as shapes
from windlass.localforge.shapes.pulls import the_pull
from windlass.localforge.shapes.repositories import commit as commit_shape
from windlass.localforge.shapes.repositories import file_change

_ROOT = "/repos/{owner}/{repo}/pulls"
_ONE = _ROOT + "/{pull_number}"
_READ = ["pull_requests:read"]
_WRITE = ["pull_requests:write"]


@operation(f"GET {_ROOT}", app=_READ, user="read")
async def list_pulls(call: Call) -> Reply:
    """Pull requests; `head` is `owner:branch`, and without an owner it filters nothing, as on GitHub."""
    state, head, base = (call.query.get(name, "") for name in ("state", "head", "base"))
    state = state or "open"
    if state not in ("open", "closed", "all"):
        raise invalid("PullRequest", "state")
    owner, colon, branch = head.partition(":")
    found = []
    for issue in call.repo.issues.values():
        if issue.pull is None or (state != "all" and issue.state != state) or (base and issue.pull.base_ref != base):
            continue
        if colon and (owner.lower() != call.repo.owner.lower() or issue.pull.head_ref != branch):
            continue
        found.append(issue)
    by_update = call.query.get("sort") == "updated"
    is_descending = call.query.get("direction", "desc") != "asc"
    found.sort(key=lambda issue: (by_update and issue.updated_at_ms, issue.number), reverse=is_descending)
    return call.listing(found, lambda issue: shapes.simple_pull(call.site, call.repo, issue))


async def _full(call: Call, issue: Issue, status: int = 200) -> Reply:
    return Reply(status=status, body=await shapes.full_pull(call.site, call.repo, issue))


@operation(f"POST {_ROOT}", app=_WRITE, user="read")
async def create_pull(call: Call) -> Reply:
    """Open a pull request between two branches of the repository."""
    text = {name: call.needed_text(name, "PullRequest") for name in ("title", "head", "base")}
    body, is_draft = call.text("body", "PullRequest"), call.flag("draft")
    async with call.site.lock(call.repo):
        issue = await acts.open_pull(
            call.hub, call.repo, call.actor.login, body=body, is_draft=is_draft, app_id=call.actor.app_id, **text
        )
    return await _full(call, issue, 201)


@operation(f"GET {_ONE}", app=_READ, user="read")
async def get_pull(call: Call) -> Reply:
    """One pull request; its diff with the diff media type."""
    issue = call.pull()
    if ".diff" in call.accept:
        pull = the_pull(issue)
        diff = await call.git.diff(await shapes.start_of(call.git, pull), pull.head_sha)
        return Reply(body=diff, media_type="application/vnd.github.diff; charset=utf-8")
    return await _full(call, issue)


@operation(f"PATCH {_ONE}", app=_WRITE, user="read")
async def edit_pull(call: Call) -> Reply:
    """Words, base and state: by the author or those who may push."""
    issue, by = call.pull(), call.actor.login
    if by.lower() != issue.author.lower() and not call.may(*_WRITE, user="write"):
        raise forbidden("Must have admin rights to Repository.")
    state = call.text("state", "PullRequest")
    if state not in (None, "open", "closed"):
        raise invalid("PullRequest", "state")
    title, body, base = (call.text(name, "PullRequest") for name in ("title", "body", "base"))
    async with call.site.lock(call.repo):
        await acts.edit_pull(call.hub, call.repo, issue, by, title=title, body=body, base=base)
        if state is not None:
            await acts.set_pull_state(call.hub, call.repo, issue, by, state)
    return await _full(call, issue)


@operation(f"GET {_ONE}/commits", app=_READ, user="read")
async def list_commits(call: Call) -> Reply:
    """The commits, oldest first, at most 250."""
    pull = the_pull(call.pull())
    page, headers = call.page_of((await call.git.log(pull.base_sha, pull.head_sha))[:250])
    found = [commit_shape(call.site, call.repo, await call.git.commit(sha)) for sha in page]
    return Reply(body=found, headers=headers)


@operation(f"GET {_ONE}/files", app=_READ, user="read")
async def list_files(call: Call) -> Reply:
    """The changed files, at most 3000."""
    pull = the_pull(call.pull())
    changes = (await shapes.changes(call.git, pull))[:3000]
    return call.listing(changes, lambda change: file_change(call.site, call.repo, change, pull.head_sha))


# -------------------------------------------------------------------- reviews


@operation(f"GET {_ONE}/reviews", app=_READ, user="read")
async def list_reviews(call: Call) -> Reply:
    """Reviews, oldest first."""
    issue = call.pull()
    return call.listing(the_pull(issue).reviews, lambda given: shapes.review(call.site, call.repo, issue, given))


@operation(f"POST {_ONE}/reviews", app=_WRITE, user="read")
async def create_review(call: Call) -> Reply:
    """Give an opinion, on the head or on an older commit of the pull request."""
    issue = call.pull()
    body, event = call.text("body", "PullRequestReview") or "", call.needed_text("event", "PullRequestReview")
    commit_id = call.text("commit_id", "PullRequestReview")
    pull = the_pull(issue)
    if commit_id is not None and commit_id not in await call.git.log(pull.base_sha, pull.head_sha):
        raise unprocessable("Unprocessable Entity: The commit_id is not part of the pull request")
    given = reviews.submit(call.hub, call.repo, issue, call.actor.login, event, body, commit_id)
    return Reply(body=shapes.review(call.site, call.repo, issue, given))


def _review(call: Call, issue: Issue) -> Review:
    wanted = call.number("review_id")
    for given in the_pull(issue).reviews:
        if given.id == wanted:
            return given
    raise not_found()


@operation(f"GET {_ONE}/reviews/{{review_id}}", app=_READ, user="read")
async def get_review(call: Call) -> Reply:
    """One review."""
    issue = call.pull()
    return Reply(body=shapes.review(call.site, call.repo, issue, _review(call, issue)))


@operation(f"PUT {_ONE}/reviews/{{review_id}}/dismissals", app=_WRITE, user="write")
async def dismiss_review(call: Call) -> Reply:
    """Take an opinion back."""
    issue = call.pull()
    given = _review(call, issue)
    reviews.dismiss(
        call.hub, call.repo, issue, given, call.actor.login, call.needed_text("message", "PullRequestReview")
    )
    return Reply(body=shapes.review(call.site, call.repo, issue, given))


# -------------------------------------------------------------------- merging


@operation(f"GET {_ONE}/merge", app=["contents:read"], user="read")
async def is_merged(call: Call) -> Reply:
    """204 when merged, else 404."""
    if the_pull(call.pull()).merged_at_ms is None:
        raise not_found()
    return Reply(status=204)


@operation(f"PUT {_ONE}/merge", app=["contents:write"], user="write")
async def merge_pull(call: Call) -> Reply:
    """Merge, if the head is what the caller saw and the base's protection allows it."""
    issue = call.pull()
    words = {name: call.text(name, "PullRequest") for name in ("sha", "merge_method", "commit_title", "commit_message")}
    commit = await merge_now(
        call.hub,
        call.repo,
        issue,
        call.actor.login,
        by_level=call.level(),
        sha=words["sha"],
        method=words["merge_method"] or "merge",
        title=words["commit_title"],
        message=words["commit_message"],
    )
    return Reply(body={"sha": commit, "merged": True, "message": "Pull Request successfully merged"})
