"""Commit statuses, check runs and check suites."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from windlass.localforge.acts import checks as acts
from windlass.localforge.api.calls import Call, Reply, operation, wrong_type
from windlass.localforge.api.code import commit_of
from windlass.localforge.errors import forbidden, invalid, not_found, unprocessable
from windlass.localforge.model import CheckRun, CheckSuite, Status
from windlass.localforge.shapes import checks as shapes
from windlass.localforge.shapes.repositories import api_url, repository

_ROOT = "/repos/{owner}/{repo}"
_SUITE = _ROOT + "/check-suites/{check_suite_id}"
_RUN = _ROOT + "/check-runs/{check_run_id}"


# -------------------------------------------------------------------- statuses


@operation(f"POST {_ROOT}/statuses/{{sha}}", app=["statuses:write"], user="write")
async def create_status(call: Call) -> Reply:
    """Set a status on a commit that is here."""
    sha = call.params["sha"]
    if not await call.git.has_commit(sha):
        raise unprocessable(f"No commit found for SHA: {sha[:100]}")
    description, target = call.text("description", "Status"), call.text("target_url", "Status")
    if description is not None and len(description) > 140:
        raise invalid("Status", "description", "custom", "description is too long (maximum is 140 characters)")
    if target and not target.startswith(("http://", "https://")):
        raise invalid("Status", "target_url", "custom", "target_url must use http(s) scheme")
    status = Status(
        id=call.site.world.new_id(),
        sha=sha,
        context=call.text("context", "Status") or "default",
        state=call.needed_text("state", "Status"),
        description=description,
        target_url=target or None,
        creator=call.actor.login,
        created_at_ms=call.site.now_ms(),
    )
    await acts.set_status(call.hub, call.repo, status)
    return Reply(status=201, body=shapes.status(call.site, call.repo, status))


@operation(f"GET {_ROOT}/commits/{{ref}}/statuses", app=["statuses:read"], user="read")
async def list_statuses(call: Call) -> Reply:
    """All statuses of a commit, newest first."""
    sha = await commit_of(call, call.params["ref"])
    found = [status for status in reversed(call.repo.statuses) if status.sha == sha]
    return call.listing(found, lambda status: shapes.status(call.site, call.repo, status))


@operation(f"GET {_ROOT}/commits/{{ref}}/status", app=["statuses:read"], user="read")
async def combined_status(call: Call) -> Reply:
    """The last status of each context, and what they make together; check runs do not count."""
    sha = await commit_of(call, call.params["ref"])
    latest = acts.latest_statuses(call.repo, sha)
    page, headers = call.page_of(latest)
    url = f"{api_url(call.site, call.repo)}/commits/{sha}"
    body = {
        "state": acts.combined_state(latest),
        "statuses": [shapes.simple_status(call.site, call.repo, status) for status in page],
        "sha": sha,
        "total_count": len(latest),
        "repository": repository(call.site, call.repo),
        "commit_url": url,
        "url": f"{url}/status",
    }
    return Reply(body=body, headers=headers)


# -------------------------------------------------------------------- check runs


@operation(f"POST {_ROOT}/check-runs", app=["checks:write"], user="app")
async def create_run(call: Call) -> Reply:
    """A check run of the calling App."""
    name, sha = call.needed_text("name", "CheckRun"), call.needed_text("head_sha", "CheckRun")
    if not await call.git.has_commit(sha):
        raise unprocessable(f"No commit found for SHA: {sha[:100]}")
    app_id = call.actor.app_id
    assert app_id is not None
    suite = acts.suite_of(call.repo, app_id, sha)
    if suite is None:
        suite = await acts.open_suite(call.hub, call.repo, app_id, sha, branch=_branch_at(call, sha), before=None)
    run = CheckRun(
        id=call.site.world.new_id(),
        suite_id=suite.id,
        app_id=app_id,
        name=name,
        head_sha=sha,
        started_at_ms=call.site.now_ms(),
    )
    _take(call, run)
    await acts.add_run(call.hub, call.repo, suite, run)
    return Reply(status=201, body=shapes.check_run(call.site, call.repo, run))


def _branch_at(call: Call, sha: str) -> str | None:
    return next((name for name, tip in call.git.branches().items() if tip == sha), None)


def _take(call: Call, run: CheckRun) -> None:
    """Put the body's fields into a run, and see that it is one."""
    run.status = call.text("status", "CheckRun") or run.status
    run.conclusion = call.text("conclusion", "CheckRun") or run.conclusion
    if run.conclusion is not None:
        run.status = "completed"
    run.external_id = call.text("external_id", "CheckRun") or run.external_id
    run.details_url = call.text("details_url", "CheckRun") or run.details_url
    run.started_at_ms = _time(call, "started_at") or run.started_at_ms
    if run.status == "completed":
        run.completed_at_ms = _time(call, "completed_at") or run.completed_at_ms or call.site.now_ms()
    output = call.data.get("output")
    if output is not None:
        _take_output(run, output)
    acts.check_output(run)


def _take_output(run: CheckRun, output: Any) -> None:
    if not isinstance(output, dict):
        raise wrong_type("output", output, "object")
    for name in ("title", "summary", "text"):
        value = output.get(name)
        if value is not None and not isinstance(value, str):
            raise wrong_type(f"output/{name}", value, "string")
    run.title = output.get("title", run.title)
    run.summary = output.get("summary", run.summary)
    run.text = output.get("text", run.text)
    if run.title is None or run.summary is None:
        raise invalid("CheckRun", "output", "missing_field")


def _time(call: Call, name: str) -> int | None:
    text = call.text(name, "CheckRun")
    if text is None:
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise invalid("CheckRun", name) from error


def _run(call: Call) -> CheckRun:
    found = call.repo.runs.get(call.number("check_run_id"))
    if found is None:
        raise not_found()
    return found


@operation(f"GET {_RUN}", app=["checks:read"], user="read")
async def get_run(call: Call) -> Reply:
    """One check run."""
    return Reply(body=shapes.check_run(call.site, call.repo, _run(call)))


@operation(f"PATCH {_RUN}", app=["checks:write"], user="app")
async def update_run(call: Call) -> Reply:
    """Change a run of one's own."""
    run = _run(call)
    if run.app_id != call.actor.app_id:
        raise forbidden("Invalid app_id - check run can only be modified by the GitHub App that created it.")
    was = run.status
    run.name = call.text("name", "CheckRun") or run.name
    _take(call, run)
    await acts.run_changed(call.hub, call.repo, run, was=was)
    return Reply(body=shapes.check_run(call.site, call.repo, run))


@operation(f"GET {_RUN}/annotations", app=["checks:read"], user="read")
async def list_annotations(call: Call) -> Reply:
    """There are none here."""
    _run(call)
    return Reply(body=[])


@operation(f"POST {_RUN}/rerequest", app=["checks:write"], user="app")
async def rerequest_run(call: Call) -> Reply:
    """Run one check of the forge's CI once more."""
    run = _run(call)
    if run.status != "completed" or run.app_id != call.site.world.ci_app_id:
        raise unprocessable("This check run is not rerequestable")
    await call.hub.checks.again(call.repo, run)
    return Reply(status=201, body={})


@operation(f"GET {_ROOT}/commits/{{ref}}/check-runs", app=["checks:read"], user="read")
async def list_runs(call: Call) -> Reply:
    """Check runs of a commit: the latest of each name, or all of them."""
    sha = await commit_of(call, call.params["ref"])
    return _runs_reply(call, [run for run in call.repo.runs.values() if run.head_sha == sha])


def _runs_reply(call: Call, runs: list[CheckRun]) -> Reply:
    if call.query.get("filter", "latest") != "all":
        latest = {(run.app_id, run.suite_id, run.name): run for run in runs}
        runs = list(latest.values())
    wanted = {name: call.query[name] for name in ("check_name", "status", "app_id") if name in call.query}
    runs = [run for run in runs if _matches(run, wanted)]
    page, headers = call.page_of(sorted(runs, key=lambda run: run.id, reverse=True))
    shaped = [shapes.check_run(call.site, call.repo, run) for run in page]
    return Reply(body={"total_count": len(runs), "check_runs": shaped}, headers=headers)


def _matches(run: CheckRun, wanted: dict[str, str]) -> bool:
    own = {"check_name": run.name, "status": run.status, "app_id": str(run.app_id)}
    return all(own[name] == value for name, value in wanted.items())


# -------------------------------------------------------------------- check suites


@operation(f"GET {_ROOT}/commits/{{ref}}/check-suites", app=["checks:read"], user="read")
async def list_suites(call: Call) -> Reply:
    """Check suites of a commit."""
    sha = await commit_of(call, call.params["ref"])
    found = [suite for suite in call.repo.suites.values() if suite.head_sha == sha]
    if call.query.get("app_id"):
        found = [suite for suite in found if str(suite.app_id) == call.query["app_id"]]
    page, headers = call.page_of(found)
    head = await call.git.commit(sha)
    shaped = [shapes.check_suite(call.site, call.repo, suite, head) for suite in page]
    return Reply(body={"total_count": len(found), "check_suites": shaped}, headers=headers)


def _suite(call: Call) -> CheckSuite:
    found = call.repo.suites.get(call.number("check_suite_id"))
    if found is None:
        raise not_found()
    return found


@operation(f"GET {_SUITE}", app=["checks:read"], user="read")
async def get_suite(call: Call) -> Reply:
    """One check suite."""
    suite = _suite(call)
    head = await call.git.commit(suite.head_sha)
    return Reply(body=shapes.check_suite(call.site, call.repo, suite, head))


@operation(f"GET {_SUITE}/check-runs", app=["checks:read"], user="read")
async def list_suite_runs(call: Call) -> Reply:
    """Check runs of a suite."""
    suite = _suite(call)
    return _runs_reply(call, [run for run in call.repo.runs.values() if run.suite_id == suite.id])


@operation(f"POST {_SUITE}/rerequest", app=["checks:write"], user="app")
async def rerequest_suite(call: Call) -> Reply:
    """Run all checks of one of the CI's suites once more."""
    suite = _suite(call)
    if suite.status != "completed" or suite.app_id != call.site.world.ci_app_id:
        raise unprocessable("This check suite is not rerequestable")
    latest = {run.name: run for run in call.repo.runs.values() if run.suite_id == suite.id}
    for run in latest.values():
        await call.hub.checks.again(call.repo, run)
    return Reply(status=201, body={})
