"""What CI says, and what it costs: flakes are run again, the base's faults are not the agent's, silence is no pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.stories.harness import MEND, REPOSITORY, town
from windlass.core.ci import GATE_CONTEXT
from windlass.core.job import Reason, State

# A CI that asks for more than the repository's own tests do.
STRICT = {"tests": "test -e greeting.txt || { echo 'missing: greeting.txt'; exit 1; }"}
# An agent that learns what CI wants only from CI's log.
LEARNS = "grep -q 'missing: greeting.txt' windsurf-instructions.txt && echo hello > greeting.txt; " + MEND


async def test_red_checks_are_run_again_once_and_then_mended_by_the_agent_who_reads_the_log(
    tmp_path: Path, database_url: str
) -> None:
    async with town(tmp_path, database_url, checks=STRICT, agent=LEARNS, is_app=True) as here:
        job = await here.until(await here.ask(), State.REVIEWING, when=lambda j: j.budgets.ci_fix_rounds)
        assert (job.budgets.flake_reruns, job.budgets.ci_fix_rounds, job.budgets.agent_attempts) == (1, 1, 0)
        first, second = here.prompts(job)
        assert "missing: greeting.txt" not in first
        assert "missing: greeting.txt" in second
        assert here.content(job, "greeting.txt") == "hello\n"
        assert here.check_runs() == 3
        assert len(here.pulls("ai-1")) == 1
        await here.approve_and_merge(job)


async def test_a_flaky_check_costs_no_attempt(tmp_path: Path) -> None:
    async with town(tmp_path, modes={"tests": "flaky"}, is_app=True) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        assert (job.budgets.flake_reruns, job.budgets.ci_fix_rounds, job.budgets.agent_attempts) == (1, 0, 0)
        assert here.outcomes(job) == ["completed"]


async def test_checks_that_are_red_on_the_base_too_are_not_paid_for(tmp_path: Path) -> None:
    checks = {"tests": "echo 'the forge has no such compiler'; exit 1"}
    async with town(tmp_path, checks=checks, checks_on_default_branch=True) as here:
        job = await here.until(await here.ask(), State.ESCALATED)
        assert job.reason is Reason.CI_RED_ON_BASE
        assert here.outcomes(job) == ["completed"]
        assert (job.budgets.flake_reruns, job.budgets.ci_fix_rounds) == (0, 0)


async def test_checks_that_stay_red_are_a_persons_affair_in_the_end(tmp_path: Path) -> None:
    checks = {"tests": "exit 1"}
    limits = {"ci_fix_rounds": 1, "flake_reruns": 0}
    agent = "date +%N > stamp.txt; " + MEND
    async with town(tmp_path, checks=checks, policy={"limits": limits}, agent=agent) as here:
        job = await here.until(await here.ask(), State.ESCALATED)
        assert job.reason is Reason.CI_FAILED
        assert here.outcomes(job) == ["completed", "completed"]


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"checks": {}}, Reason.CI_NOT_STARTED),
        ({"modes": {"tests": "hangs"}}, Reason.CI_TIMED_OUT),
        ({"required": ("tests", "never-heard-of")}, Reason.CI_TIMED_OUT),
        ({"modes": {"tests": "action_required"}}, Reason.CI_ACTION_REQUIRED),
    ],
    ids=["never starts", "hangs", "required check missing", "waits for a person"],
)
async def test_checks_that_never_say_yes_are_no_pass(tmp_path: Path, plan: dict[str, Any], reason: Reason) -> None:
    short = {"limits": {"checks_start_s": 1, "checks_total_s": 1, "checks_quiet_s": 0}}
    async with town(tmp_path, policy=short, **plan) as here:
        job = await here.until(await here.ask(), State.ESCALATED)
        assert job.reason is reason
        await here.quiet()
        assert here.gate(str(job.head_sha)) == "pending"
        assert "a person is needed" in here.comments(1)[0]


async def test_an_escalated_job_goes_on_by_itself_when_the_missing_check_turns_green(tmp_path: Path) -> None:
    short = {"limits": {"checks_total_s": 1}}
    async with town(tmp_path, required=("tests", "late"), policy=short) as here:
        job = await here.until(await here.ask(), State.ESCALATED)
        sent = {"state": "success", "context": "late"}
        assert (await here.say("max", "POST", f"/statuses/{job.head_sha}", **sent)).is_success
        job = await here.until(1, State.REVIEWING)
        assert job.reason is None


async def test_without_required_checks_windlass_waits_for_quiet_before_it_calls_them_green(tmp_path: Path) -> None:
    async with town(tmp_path, required=(), policy={"limits": {"checks_quiet_s": 1}}) as here:
        here.forge.require_checks(REPOSITORY, [GATE_CONTEXT])
        job = await here.until(await here.ask(), State.REVIEWING)
        assert job.ci_verdict == "green"


async def test_a_lost_ci_runner_is_asked_to_run_again(tmp_path: Path) -> None:
    async with town(tmp_path, modes={"tests": "lost"}, is_app=True) as here:
        number = await here.ask()
        await here.until(number, State.CHECKING, when=lambda job: job.budgets.flake_reruns)
        here.forge.set_check_mode(REPOSITORY, "tests", "run")
        job = await here.until(number, State.REVIEWING, State.ESCALATED, when=lambda j: not j.work)
        assert job.budgets.agent_attempts == 0
