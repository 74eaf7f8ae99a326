"""A forge on a bad day: webhooks never come, calls fail, answers get lost. The job arrives all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.stories.harness import REPOSITORY, town
from windlass.core.errors import Unavailable
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
        {"api_rate_limited": 0.03, "api_secondary": 0.03, "retry_after_s": 0.2},
        {"api_lost_response": 0.2, "git_push_lost_response": 0.5},
    ],
    ids=["errors", "rate limits", "lost answers"],
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


@pytest.mark.parametrize("fault", ["git_push_5xx", "git_push_lost_response"])
async def test_a_push_that_fails_is_pushed_again_without_paying_the_agent_twice(tmp_path: Path, fault: str) -> None:
    async with town(tmp_path) as here:
        here.forge.faults.change({fault: 1.0})
        number = await here.ask()
        await here.until_true(lambda: here.forge.faults.counts.get(fault))
        here.forge.faults.calm()
        job = await here.until(number, State.REVIEWING)
        assert here.outcomes(job) == ["completed"]
        assert here.git("rev-list", "--count", f"main..{job.head_sha}").strip() == "1"


async def test_a_job_that_is_withdrawn_while_the_answer_to_the_new_branch_is_lost_leaves_no_branch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town(tmp_path, agent="sleep 100") as here:
        kind = type(here.windlass.forge)
        create = kind.create_ref

        async def create_and_lose(self: Any, repo: str, branch: str, sha: str) -> None:
            await create(self, repo, branch, sha)
            here.forge.close_issue(REPOSITORY, 1, "rita")
            raise Unavailable("the answer was lost", retry_after_s=2)

        monkeypatch.setattr(kind, "create_ref", create_and_lose)
        await here.until(await here.ask(), State.CANCELLED)
        await here.quiet()
        await here.until_true(lambda: here.tip("ai-1") is None, 5)
