"""A forge on a bad day: webhooks that never come, calls that fail, answers that get lost. The job arrives all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.harness import town
from windlass.core.job import State


async def test_without_any_webhook_the_work_and_the_approval_are_found_by_looking(
    tmp_path: Path, database_url: str
) -> None:
    async with town(tmp_path, database_url, has_webhook=False, engine={"reconcile_period_s": 0.5}) as here:
        job = await here.until(await here.ask(), State.REVIEWING)
        await here.approve_and_merge(job)


async def test_webhooks_that_are_dropped_doubled_and_reordered_change_nothing(tmp_path: Path) -> None:
    async with town(tmp_path, engine={"reconcile_period_s": 1}) as here:
        here.forge.faults.change({"drop": 0.2, "lose": 0.1, "duplicate": 0.2, "reorder": 0.5})
        numbers = [await here.ask() for _ in range(2)]
        for number in numbers:
            await here.until(number, State.REVIEWING)
        await here.approve_and_merge(here.job(numbers[0]))
        here.forge.faults.calm()
        assert len(here.jobs()) == len(numbers)


@pytest.mark.parametrize(
    "faults",
    [
        {"api_5xx": 0.2},
        {"api_rate_limited": 0.1, "api_secondary": 0.1, "retry_after_s": 0.2},
        {"api_lost_response": 0.2, "git_push_lost_response": 0.5},
        {"git_push_5xx": 0.5},
    ],
    ids=["errors", "rate limits", "lost answers", "refused pushes"],
)
async def test_a_forge_that_fails_calls_still_gets_one_branch_one_pull_request_and_one_comment(
    tmp_path: Path, faults: dict[str, float]
) -> None:
    async with town(tmp_path, engine={"reconcile_period_s": 1}) as here:
        here.forge.faults.change(faults)
        job = await here.until(await here.ask(), State.REVIEWING, timeout_s=60)
        here.forge.faults.calm()
        assert sum(here.forge.faults.counts.values()) > 0
        assert len(here.pulls("ai-1")) == 1
        assert here.outcomes(job) == ["completed"]
        await here.approve_and_merge(job)


async def test_a_job_that_is_withdrawn_while_answers_get_lost_leaves_no_branch(tmp_path: Path) -> None:
    async with town(tmp_path, agent="sleep 100") as here:
        here.forge.faults.change({"api_lost_response": 1.0})
        number = await here.ask()
        await here.until_true(lambda: here.tip(f"ai-{number}") or here.forge.faults.counts.get("api_lost_response", 0) > 9)
        here.forge.faults.calm()
        here.forge.close_issue("acme/answers", number, "rita")
        await here.until(number, State.CANCELLED)
        await here.quiet()
        assert here.tip(f"ai-{number}") is None
