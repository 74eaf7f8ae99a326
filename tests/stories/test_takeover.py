"""Asking again, and other people's work under our names: ours is taken over, theirs is never touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.stories.harness import LABEL, MEND, REPOSITORY, Town, town
from windlass.core.job import Reason, State


async def test_an_escalated_job_that_is_asked_for_again_takes_over_branch_and_pull_request(
    tmp_path: Path, database_url: str
) -> None:
    plan = {"required": ("tests", "late"), "policy": {"limits": {"checks_total_s": 1}}}
    async with town(tmp_path, database_url, agent="date +%N > stamp.txt; " + MEND, **plan) as here:
        first = await here.until(await here.ask(), State.ESCALATED)
        await _ask_again(here, 1)
        await here.until(1, may_end=True, when=lambda j: j.id != first.id)
        here.forge.require_checks(REPOSITORY, ["tests", "windlass/human-approval"])
        job = await here.until(1, State.REVIEWING, may_end=True, when=lambda j: j.id != first.id)
        old = here.windlass.store.job(first.id)
        assert old is not None
        assert (old.state, old.reason) == (State.CANCELLED, Reason.ASKED_AGAIN)
        assert job.pull_number == first.pull_number
        assert job.head_sha != first.head_sha
        assert len(here.pulls("ai-1")) == 1
        await here.approve_and_merge(job)


async def test_a_branch_with_other_peoples_commits_is_left_alone(tmp_path: Path, database_url: str) -> None:
    async with town(tmp_path, database_url) as here:
        theirs = await here.forge.commit(REPOSITORY, "ai-1", {"mine.txt": b"max was here\n"}, "Mine", "max")
        job = await here.until(await here.ask(), State.ESCALATED)
        assert job.reason is Reason.BRANCH_NOT_OURS
        assert here.outcomes(job) == []
        await here.call("POST", "/stop-job", job=job.id, reason="never mind")
        await here.until(1, State.CANCELLED)
        await here.quiet()
        assert here.tip("ai-1") == theirs


async def test_after_the_foreign_branch_is_gone_asking_again_works(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        await here.forge.commit(REPOSITORY, "ai-1", {"mine.txt": b"max was here\n"}, "Mine", "max")
        await here.until(await here.ask(), State.ESCALATED)
        assert (await here.say("max", "DELETE", "/git/refs/heads/ai-1")).is_success
        await _ask_again(here, 1)
        await here.until(1, State.REVIEWING, may_end=True)


async def test_a_branch_that_a_person_made_at_the_base_is_adopted(tmp_path: Path) -> None:
    async with town(tmp_path) as here:
        base = str(here.tip("main"))
        answer = await here.say("max", "POST", "/git/refs", ref="refs/heads/ai-1", sha=base)
        assert answer.is_success
        await here.until(await here.ask(), State.REVIEWING)


async def test_a_strangers_pull_request_from_our_branch_is_not_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town(tmp_path) as here:
        kind = type(here.windlass.outside.repositories)
        push = kind.push

        async def push_and_be_late(self: Any, *arguments: Any, **named: Any) -> None:
            await push(self, *arguments, **named)
            taken = await here.say("max", "POST", "/pulls", title="Mine", head="ai-1", base="main")
            assert taken.is_success

        monkeypatch.setattr(kind, "push", push_and_be_late)
        job = await here.until(await here.ask(), State.ESCALATED)
        assert job.reason is Reason.PULL_REQUEST_NOT_OURS
        assert [(pull.author, pull.title) for pull in here.pulls("ai-1")] == [("max", "Mine")]


async def test_work_that_was_merged_can_be_asked_for_again_and_begins_anew(tmp_path: Path) -> None:
    async with town(tmp_path, agent="date +%N > stamp.txt; " + MEND) as here:
        here.most_pulls = 2
        first = await here.until(await here.ask(), State.REVIEWING)
        first = await here.approve_and_merge(first)
        await here.quiet()
        assert (await here.say("rita", "PATCH", "/issues/1", state="open")).is_success
        await _ask_again(here, 1)
        job = await here.until(1, State.REVIEWING, may_end=True, when=lambda j: j.id != first.id)
        assert job.pull_number != first.pull_number
        await here.approve_and_merge(job)


async def _ask_again(here: Town, number: int) -> None:
    here.forge.remove_label(REPOSITORY, number, LABEL, "rita")
    await here.quiet()
    here.forge.add_label(REPOSITORY, number, LABEL, "rita")
