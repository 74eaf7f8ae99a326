"""Stopping and restarting, in every state: nothing without an owner stays, nothing that was paid for is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.harness import MEND, WAIT, Town, town
from windlass.core.job import Job, Reason, State

# An agent that leaves a trace of which execution it is.
STAMPED = "cat /proc/sys/kernel/random/uuid > stamp.txt; " + WAIT + MEND
SLOW_TESTS = {"test_command": "sleep 2; sh tests/check.sh"}


async def reach(here: Town, state: str) -> Job:
    """Bring a new job to a state and hold it there."""
    number = await here.ask()
    match state:
        case "queued":
            await here.at_work(number)
            waiting = await here.ask("Second in the queue")
            return await here.until(waiting, State.QUEUED, when=lambda job: job.base_sha)
        case "running":
            return await here.at_work(number)
        case "publishing":
            here.let_go(await here.at_work(number))
            return await here.until(number, State.PUBLISHING)
        case "checking":
            here.let_go(await here.at_work(number))
            return await here.until(number, State.CHECKING)
        case "reviewing":
            here.let_go(await here.at_work(number))
            return await here.until(number, State.REVIEWING)
        case _:
            here.let_go(await here.at_work(number))
            return await here.until(number, State.ESCALATED)


PLANS: dict[str, dict[str, object]] = {
    "queued": {"slots": 1},
    "running": {},
    "publishing": {"policy": SLOW_TESTS},
    "checking": {"modes": {"tests": "hangs"}},
    "reviewing": {},
    "escalated": {"modes": {"tests": "action_required"}},
}


@pytest.mark.parametrize("state", PLANS)
async def test_stop_job_leaves_no_process_no_branch_and_no_open_pull_request(tmp_path: Path, state: str) -> None:
    async with town(tmp_path, agent=STAMPED, **PLANS[state]) as here:
        job = await reach(here, state)
        assert state != "running" or here.processes() != []
        answer = await here.call("POST", "/stop-job", job=job.id, requested_by="ada", reason="not needed")
        assert answer.is_success, answer.text
        job = await here.until(job.issue.number, State.CANCELLED)
        assert job.reason is Reason.STOPPED
        await here.quiet()
        assert here.tip(job.branch) is None
        assert [pull.state for pull in here.pulls(job.branch)] == ["closed"] * len(here.pulls(job.branch))
        assert "stopped by ada: not needed" in here.comments(job.issue.number)[0]
        for other in here.jobs():
            if not other.is_terminal:
                await here.call("POST", "/stop-job", job=other.id)
                await here.until(other.issue.number, State.CANCELLED)
        again = await here.call("POST", "/stop-job", job=job.id, requested_by="ada")
        assert again.is_success


@pytest.mark.parametrize("state", [state for state in PLANS if state not in {"queued", "escalated"}])
async def test_a_restart_continues_where_it_was_and_pays_no_agent_twice(
    tmp_path: Path, database_url: str, state: str
) -> None:
    async with town(tmp_path, database_url, agent=STAMPED, **PLANS[state]) as here:
        job = await reach(here, state)
        stamp = await _stamp(here, job) if state == "running" else ""
        await here.restart()
        if state == "running":
            assert (here.workspace(job) / "stamp.txt").read_text() == stamp
            here.let_go(job)
        if state == "checking":
            here.forge.set_check_mode("acme/answers", "tests", "run")
            await _checks_again(here, job)
        job = await here.until(1, State.REVIEWING, timeout_s=60)
        assert here.outcomes(job) == ["completed"]
        if stamp:
            assert here.content(job, "stamp.txt") == stamp
        await here.approve_and_merge(job)


async def test_an_approval_and_a_merge_that_happen_while_windlass_is_down_are_found(tmp_path: Path) -> None:
    async with town(tmp_path, engine={"reconcile_period_s": 1}) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        port = int(here.api_url.rsplit(":", 1)[1])
        await here.stop_engine()
        await here.approve(job)
        await here.start_engine(port)
        await here.until_gate(str(job.head_sha), "success")
        await here.stop_engine()
        assert (await here.merge(job)).is_success
        await here.start_engine(port)
        job = await here.until(1, State.MERGED)
        assert job.approval is not None


async def test_a_label_that_comes_off_while_windlass_is_down_stops_the_work(tmp_path: Path) -> None:
    async with town(tmp_path, agent="sleep 100", engine={"reconcile_period_s": 0.5}) as here:
        await here.at_work(await here.ask())
        port = int(here.api_url.rsplit(":", 1)[1])
        await here.stop_engine()
        here.forge.close_issue("acme/answers", 1, "rita")
        await here.start_engine(port)
        job = await here.until(1, State.CANCELLED)
        assert job.reason is Reason.ISSUE_WITHDRAWN
        await here.quiet()
        assert here.tip("ai-1") is None


async def _stamp(here: Town, job: Job) -> str:
    """Which execution of the agent this is."""
    file = here.workspace(job) / "stamp.txt"
    await here.until_true(lambda: file.exists() and file.read_text())
    return file.read_text()


async def _checks_again(here: Town, job: Job) -> None:
    """A person has the hanging check run again."""
    runs = here.forge.site.repository("acme/answers").runs.values()
    check = next(run for run in runs if run.name == "tests" and run.head_sha == job.head_sha)
    await here.forge.hub.checks.again(here.forge.site.repository("acme/answers"), check)
