"""Commit statuses, check suites and check runs: what machines say of a commit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from windlass.localforge.errors import invalid
from windlass.localforge.hub import Hub
from windlass.localforge.model import CheckRun, CheckSuite, Repository, Status
from windlass.localforge.shapes.checks import webhook_check_run, webhook_check_suite
from windlass.localforge.shapes.repositories import webhook_commit
from windlass.localforge.site import iso

STATES: Final = ("error", "failure", "pending", "success")
CONCLUSIONS: Final = ("success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required")
RUN_STATUSES: Final = ("queued", "in_progress", "completed")
TEXT_LIMIT: Final = 65_535
STATUSES_PER_CONTEXT: Final = 1000
PASSING: Final = frozenset({"success", "neutral", "skipped"})
_WORST_FIRST: Final = ("action_required", "timed_out", "failure", "cancelled", "success", "neutral", "skipped")


# -------------------------------------------------------------------- statuses


async def set_status(hub: Hub, repo: Repository, status: Status) -> None:
    """Add a commit status."""
    if status.state not in STATES:
        raise invalid("Status", "state", "custom", "state is not included in the list")
    same = [old for old in repo.statuses if old.sha == status.sha and old.context == status.context]
    if len(same) >= STATUSES_PER_CONTEXT:
        raise invalid("Status", "sha", "custom", "This SHA and context has reached the maximum number of statuses.")
    repo.statuses.append(status)
    site, git = hub.site, hub.site.git(repo)
    shape = webhook_commit(site, repo, await git.commit(status.sha))
    branches = [
        {"name": name, "commit": {"sha": sha, "url": shape["url"]}, "protected": name in repo.protections}
        for name, sha in git.branches().items()
        if sha == status.sha
    ]
    at = iso(status.created_at_ms)
    content = {
        "id": status.id,
        "sha": status.sha,
        "name": repo.full_name,
        "target_url": status.target_url,
        "context": status.context,
        "description": status.description,
        "state": status.state,
        "commit": shape,
        "branches": branches,
        "created_at": at,
        "updated_at": at,
    }
    hub.announce(repo, "status", None, status.creator, content)


def latest_statuses(repo: Repository, sha: str) -> list[Status]:
    """The last status of each context, newest first."""
    latest: dict[str, Status] = {}
    for status in repo.statuses:
        if status.sha == sha:
            latest.pop(status.context, None)
            latest[status.context] = status
    return list(reversed(latest.values()))


def combined_state(statuses: Iterable[Status]) -> str:
    """GitHub's rule: failure if any failed, pending if any is or there is none, else success."""
    states = {status.state for status in statuses}
    if states & {"error", "failure"}:
        return "failure"
    return "pending" if not states or "pending" in states else "success"


# -------------------------------------------------------------------- check suites and runs


async def open_suite(
    hub: Hub, repo: Repository, app_id: int, sha: str, *, branch: str | None, before: str | None
) -> CheckSuite:
    """A new suite of one App on one commit."""
    now = hub.site.now_ms()
    suite = CheckSuite(
        id=hub.site.world.new_id(),
        app_id=app_id,
        head_sha=sha,
        head_branch=branch,
        before=before,
        created_at_ms=now,
        updated_at_ms=now,
    )
    repo.suites[suite.id] = suite
    await _suite_event(hub, repo, suite, "requested")
    return suite


def suite_of(repo: Repository, app_id: int, sha: str) -> CheckSuite | None:
    """The App's suite on a commit."""
    found = [suite for suite in repo.suites.values() if suite.app_id == app_id and suite.head_sha == sha]
    return found[-1] if found else None


async def add_run(hub: Hub, repo: Repository, suite: CheckSuite, run: CheckRun) -> None:
    """A new run in a suite; telling of its end too when it is born completed."""
    check_output(run)
    repo.runs[run.id] = run
    _follow(hub, repo, suite)
    _run_event(hub, repo, run, "created")
    if run.status == "completed":
        _run_event(hub, repo, run, "completed")
        await _maybe_close(hub, repo, suite)


async def run_changed(hub: Hub, repo: Repository, run: CheckRun, *, was: str) -> None:
    """A run's fields were changed; `was` is its status before."""
    suite = repo.suites[run.suite_id]
    _follow(hub, repo, suite)
    hub.site.touch()
    if run.status == "completed" and was != "completed":
        _run_event(hub, repo, run, "completed")
        await _maybe_close(hub, repo, suite)


def check_output(run: CheckRun) -> None:
    """Raises Denied (422) when a run is not one that GitHub takes."""
    if run.status not in RUN_STATUSES:
        raise invalid("CheckRun", "status")
    if run.status == "completed" and run.conclusion not in CONCLUSIONS:
        raise invalid("CheckRun", "conclusion", "missing_field" if run.conclusion is None else "invalid")
    for field, text in (("summary", run.summary), ("text", run.text)):
        if text is not None and len(text) > TEXT_LIMIT:
            raise invalid("CheckRun", field, "custom", f"{field} exceeds a maximum of {TEXT_LIMIT} characters")


def latest_runs(repo: Repository, sha: str) -> list[CheckRun]:
    """The newest run of each name and App, newest first."""
    latest = {(run.app_id, run.name): run for run in repo.runs.values() if run.head_sha == sha}
    return sorted(latest.values(), key=lambda run: run.id, reverse=True)


def _follow(hub: Hub, repo: Repository, suite: CheckSuite) -> None:
    """A suite's status and conclusion follow from its latest runs."""
    latest = {run.name: run for run in repo.runs.values() if run.suite_id == suite.id}
    suite.updated_at_ms = hub.site.now_ms()
    if all(run.status == "completed" for run in latest.values()):
        ends = {run.conclusion for run in latest.values()}
        suite.status = "completed"
        suite.conclusion = next((end for end in _WORST_FIRST if end in ends), "neutral")
    else:
        suite.conclusion = None
        suite.status = "queued" if all(run.status == "queued" for run in latest.values()) else "in_progress"


async def _maybe_close(hub: Hub, repo: Repository, suite: CheckSuite) -> None:
    if suite.status == "completed":
        await _suite_event(hub, repo, suite, "completed")


async def _suite_event(hub: Hub, repo: Repository, suite: CheckSuite, action: str) -> None:
    head = await hub.site.git(repo).commit(suite.head_sha)
    shape = webhook_check_suite(hub.site, repo, suite, head)
    hub.announce(repo, "check_suite", action, _voice(hub, suite.app_id), {"check_suite": shape})


def _run_event(hub: Hub, repo: Repository, run: CheckRun, action: str) -> None:
    shape = webhook_check_run(hub.site, repo, run)
    hub.announce(repo, "check_run", action, _voice(hub, run.app_id), {"check_run": shape})


def _voice(hub: Hub, app_id: int) -> str:
    return hub.site.bot_of(hub.site.app(app_id)).login


# -------------------------------------------------------------------- green or not


def unmet_checks(repo: Repository, sha: str, required: Iterable[str]) -> list[str]:
    """Required contexts that are not green on a commit; a run and a status of one name must both be green."""
    words: dict[str, list[bool]] = {}
    for run in latest_runs(repo, sha):
        words.setdefault(run.name, []).append(run.status == "completed" and run.conclusion in PASSING)
    for status in latest_statuses(repo, sha):
        words.setdefault(status.context, []).append(status.state == "success")
    return [name for name in required if not words.get(name) or not all(words[name])]
